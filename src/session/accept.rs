//! The receiver's door: one poll loop for the listening sockets, pending handshakes and farewells.
//!
//! Strangers are met here and nowhere else. Each pending handshake holds a fixed amount of memory and time;
//! there are at most 64, of which the oldest makes room. Only a hello that is whole, right and
//! allowed by the user's words reaches the session, and that alone decides whose it is.

use super::limits::FAREWELL;
use crate::channel::hear::{self, Heard as Bytes};
use crate::channel::prepare;
use crate::proto::check::Expectations;
use crate::proto::handshake::{HELLO_TIME, Heard, Hearing};
use crate::proto::hello::{HELLO_MAX, Hello, Refusal, Reply};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

/// Handshakes under way at a time.
const PENDING_MAX: usize = 64;
/// How long accepting pauses when the process or the system has no descriptors left.
const EXHAUSTED: Duration = Duration::from_millis(250);

const LISTENER: Token = Token(0);
const FIRST_PEER: usize = 1;

/// A peer whose hello is in order.
pub struct Guest {
    /// Connected, non-blocking, prepared.
    pub stream: std::net::TcpStream,
    /// What it said.
    pub hello: Hello,
    /// Where it comes from.
    pub address: SocketAddr,
}

enum Peer {
    /// Has not said hello yet.
    Pending { stream: TcpStream, hearing: Hearing, address: SocketAddr },
    /// Was told why not, and may read that in peace.
    Leaving { stream: TcpStream, until: Instant },
}

impl Peer {
    fn until(&self) -> Instant {
        match self {
            Peer::Pending { hearing, .. } => hearing.until(),
            Peer::Leaving { until, .. } => *until,
        }
    }
}

/// Lets a peer in whose hello is in order, or answers with a refusal.
pub type Admit = Box<dyn FnMut(Guest) -> Result<(), (std::net::TcpStream, Refusal)> + Send>;

/// The thread's state.
pub struct Door {
    poll: Poll,
    listener: TcpListener,
    expectations: Expectations,
    /// By token: the lowest is the oldest.
    peers: BTreeMap<usize, Peer>,
    next_token: usize,
    /// No descriptors were left: accept again then.
    paused: Option<Instant>,
    admit: Admit,
}

impl Door {
    /// A door at this listening socket; guests that meet the expectations are given to `admit`.
    ///
    /// # Errors
    /// The kernel has no descriptors left.
    pub fn new(
        listener: std::net::TcpListener,
        expectations: Expectations,
        admit: Admit,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::from_std(listener);
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let (peers, next_token) = (BTreeMap::new(), FIRST_PEER);
        Ok(Door { poll, listener, expectations, peers, next_token, paused: None, admit })
    }

    /// Keeps the door until the process ends.
    pub fn run(mut self) {
        let mut events = Events::with_capacity(PENDING_MAX);
        loop {
            let until = self.peers.values().map(Peer::until).chain(self.paused).min();
            let timeout = until.map(|at| at.saturating_duration_since(Instant::now()));
            // an interruption is a wake-up like any other
            let _ = self.poll.poll(&mut events, timeout);
            let now = Instant::now();
            for event in &events {
                match event.token() {
                    LISTENER => self.accept(now),
                    Token(token) => self.attend(now, token),
                }
            }
            if self.paused.is_some_and(|at| at <= now) {
                self.accept(now);
            }
            self.peers.retain(|_, peer| peer.until() > now);
        }
    }

    fn accept(&mut self, now: Instant) {
        self.paused = None;
        loop {
            match self.listener.accept() {
                Ok((stream, address)) => {
                    // IPv4 that came to an IPv6 socket is still IPv4 to the user
                    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
                    self.meet(now, stream, address);
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) if is_exhaustion(&e) => {
                    self.paused = Some(now + EXHAUSTED);
                    return;
                }
                // one peer that left before it was met
                Err(_) => {}
            }
        }
    }

    fn meet(&mut self, now: Instant, stream: TcpStream, address: SocketAddr) {
        if self.peers.len() >= PENDING_MAX {
            self.peers.pop_first();
        }
        let hearing = Hearing::new(now, HELLO_TIME);
        self.keep(now, Peer::Pending { stream, hearing, address });
    }

    /// Registers a peer, and looks at what it has said already.
    fn keep(&mut self, now: Instant, mut peer: Peer) {
        let token = self.next_token;
        self.next_token += 1;
        let (Peer::Pending { stream, .. } | Peer::Leaving { stream, .. }) = &mut peer;
        if self.poll.registry().register(stream, Token(token), Interest::READABLE).is_ok() {
            self.peers.insert(token, peer);
            self.attend(now, token);
        }
    }

    fn attend(&mut self, now: Instant, token: usize) {
        match self.peers.remove(&token) {
            Some(Peer::Pending { stream, hearing, address }) => {
                self.listen_to(now, token, stream, hearing, address);
            }
            Some(Peer::Leaving { stream, until }) => {
                let open = discard(stream).map(|stream| (token, Peer::Leaving { stream, until }));
                self.peers.extend(open);
            }
            None => {}
        }
    }

    fn listen_to(
        &mut self,
        now: Instant,
        token: usize,
        mut stream: TcpStream,
        mut hearing: Hearing,
        address: SocketAddr,
    ) {
        loop {
            match hearing.hello(&self.expectations) {
                Heard::More => {}
                Heard::Hello(hello) => return self.greet(now, stream, *hello, address),
                Heard::Refused(refusal) => return self.see_off(now, stream, &refusal),
                Heard::Foreign => return,
            }
            match hear::read(&mut stream, &mut hearing) {
                Ok(Bytes::Bytes) => {}
                Ok(Bytes::Nothing) => {
                    self.peers.insert(token, Peer::Pending { stream, hearing, address });
                    return;
                }
                // an end before the hello
                Ok(Bytes::End) | Err(_) => return,
            }
        }
    }

    fn greet(&mut self, now: Instant, mut stream: TcpStream, hello: Hello, address: SocketAddr) {
        let prepared = self.poll.registry().deregister(&mut stream).and_then(|()| prepare(&stream));
        if prepared.is_err() {
            return;
        }
        if let Err((stream, refusal)) = (self.admit)(Guest { stream: stream.into(), hello, address }) {
            self.see_off(now, TcpStream::from_std(stream), &refusal);
        }
    }

    /// Says why not, and lets the peer read it before the connection goes.
    fn see_off(&mut self, now: Instant, mut stream: TcpStream, refusal: &Refusal) {
        let _ = self.poll.registry().deregister(&mut stream);
        let answer = Reply::Refusal(refusal.clone()).encode();
        // an answer is smaller than any socket's buffer; a peer that is gone needs none
        if stream.write_all(&answer).and_then(|()| stream.shutdown(Shutdown::Write)).is_ok() {
            self.keep(now, Peer::Leaving { stream, until: now + FAREWELL });
        }
    }
}

/// Reads to nowhere; the stream, unless it has ended.
fn discard(mut stream: TcpStream) -> Option<TcpStream> {
    let mut chunk = [0; HELLO_MAX];
    // a turn's worth: whoever floods is forgotten when its time is over
    for _ in 0..64 {
        match stream.read(&mut chunk) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return (e.kind() == ErrorKind::WouldBlock).then_some(stream),
        }
    }
    Some(stream)
}

fn is_exhaustion(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM]
        .iter()
        .any(|e| error.raw_os_error() == Some(e.raw_os_error()))
}
