//! The receiver's door: one poll loop for the listening sockets, pending handshakes and farewells.
//!
//! Strangers are met here and nowhere else. Each pending handshake holds a fixed amount of memory and time, and so does
//! each farewell; there are at most 64 of the first and 16 of the second, whatever comes. Who keeps a place when more
//! come is decided by [`Pending`]. Only a hello that is whole, right and allowed by the user's words reaches the session,
//! and that alone decides whose it is.

use super::limits::FAREWELL;
use super::pending::Pending;
use crate::channel::hear::{self, Heard as Bytes};
use crate::channel::{Channel, Transport, prepare};
use crate::proto::check::Expectations;
use crate::proto::handshake::{HELLO_TIME, Heard, Hearing};
use crate::proto::hello::{HELLO_MAX, Hello, Id, Refusal, Reply};
use crate::sys::socket::accept_with_bytes;
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Peers at a time that were told why not, and may read that in peace. More are closed at once: the answer is on its
/// way all the same.
const LEAVING_MAX: usize = 16;
/// Connections accepted before those that wait are attended again: fewer than it takes to lose a place unheard.
const BATCH: usize = 8;
/// How long accepting pauses when the process or the system has no descriptors left.
const EXHAUSTED: Duration = Duration::from_millis(250);
/// Addresses of the running session that are known: one for each of its connections.
const KNOWN_MAX: usize = 16;

const LISTENER: Token = Token(0);
const FIRST_PEER: usize = 1;

/// A peer whose hello is in order.
pub struct Guest {
    /// Its connection.
    pub channel: Channel,
    /// What it said.
    pub hello: Hello,
    /// Where it comes from.
    pub address: SocketAddr,
}

enum Peer {
    /// Has not said hello yet.
    Pending { channel: Channel, hearing: Hearing, address: SocketAddr },
    /// Was told why not, and may read that in peace.
    Leaving { channel: Channel, until: Instant },
}

impl Peer {
    fn until(&self) -> Instant {
        match self {
            Peer::Pending { hearing, .. } => hearing.until(),
            Peer::Leaving { until, .. } => *until,
        }
    }
}

/// Lets a peer in whose hello is in order, or answers with a refusal. False: there was no means to let it in.
pub type Admit = Box<dyn FnMut(Guest) -> Result<bool, (Channel, Refusal)> + Send>;

/// Where the connections of the session come from that was let in last.
#[derive(Default)]
struct Known {
    session: Option<Id>,
    /// The oldest first, at most [`KNOWN_MAX`].
    addresses: Vec<IpAddr>,
}

impl Known {
    fn note(&mut self, session: Id, address: IpAddr) {
        if self.session.replace(session) != Some(session) {
            self.addresses.clear();
        }
        self.addresses.retain(|known| *known != address);
        self.addresses.push(address);
        if self.addresses.len() > KNOWN_MAX {
            self.addresses.remove(0);
        }
    }
}

/// The thread's state.
pub struct Door {
    poll: Poll,
    listener: TcpListener,
    expectations: Expectations,
    /// By token, in the order in which they came.
    peers: BTreeMap<usize, Peer>,
    pending: Pending,
    /// How many of `peers` are leaving; at most [`LEAVING_MAX`].
    leaving: usize,
    known: Known,
    next_token: usize,
    /// More may wait to be accepted.
    accepting: bool,
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
        // without it the silent ones are held here alone
        let _ = accept_with_bytes(&listener);
        let mut listener = TcpListener::from_std(listener);
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Door {
            poll,
            listener,
            expectations,
            peers: BTreeMap::new(),
            pending: Pending::default(),
            leaving: 0,
            known: Known::default(),
            next_token: FIRST_PEER,
            accepting: true,
            paused: None,
            admit,
        })
    }

    /// Keeps the door until the process ends.
    pub fn run(mut self) {
        let mut events = Events::with_capacity(64);
        loop {
            let until = self.peers.values().map(Peer::until).chain(self.paused).min();
            let timeout = match until.map(|at| at.saturating_duration_since(Instant::now())) {
                _ if self.accepting && self.paused.is_none() => Some(Duration::ZERO),
                timeout => timeout,
            };
            // an interruption is a wake-up like any other
            let _ = self.poll.poll(&mut events, timeout);
            let now = Instant::now();
            for event in &events {
                match event.token() {
                    LISTENER => self.accepting = true,
                    Token(token) => self.attend(now, token),
                }
            }
            self.paused = self.paused.filter(|at| *at > now);
            self.accept(now);
            self.part(now);
        }
    }

    /// Accepts a few.
    fn accept(&mut self, now: Instant) {
        for _ in 0..BATCH {
            if !self.accepting || self.paused.is_some() {
                return;
            }
            match self.listener.accept() {
                Ok((stream, address)) => {
                    // IPv4 that came to an IPv6 socket is still IPv4 to the user
                    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
                    let stream = std::net::TcpStream::from(stream);
                    if prepare(&stream).is_ok() {
                        self.meet(now, Channel::plain(Transport::tcp(stream)), address);
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => self.accepting = false,
                Err(e) if is_exhaustion(&e) => self.paused = Some(now + EXHAUSTED),
                // one peer that left before it was met
                Err(_) => {}
            }
        }
    }

    fn meet(&mut self, now: Instant, channel: Channel, address: SocketAddr) {
        let hearing = Hearing::new(now, HELLO_TIME);
        let Some(token) = self.keep(Peer::Pending { channel, hearing, address }) else { return };
        let known = self.known.addresses.contains(&address.ip());
        let gone = self.pending.enter(now, token, address.ip(), known, rand::random());
        self.attend(now, token);
        if let Some(gone) = gone {
            // what it has said meanwhile counts
            self.attend(now, gone);
            if let Some(Peer::Pending { channel, .. }) = self.peers.remove(&gone) {
                // without a state that lingers in the kernel
                channel.give_up();
            }
        }
    }

    /// Registers a peer; its token.
    fn keep(&mut self, peer: Peer) -> Option<usize> {
        let token = self.next_token;
        self.next_token += 1;
        let (Peer::Pending { channel, .. } | Peer::Leaving { channel, .. }) = &peer;
        channel.register(self.poll.registry(), Token(token)).ok()?;
        self.peers.insert(token, peer);
        Some(token)
    }

    /// Forgets whose time is over.
    fn part(&mut self, now: Instant) {
        while let Some((token, _)) = self.peers.iter().find(|(_, peer)| peer.until() <= now) {
            let token = *token;
            match self.peers.remove(&token) {
                Some(Peer::Leaving { .. }) => self.leaving -= 1,
                Some(Peer::Pending { .. }) | None => self.pending.leave(token),
            }
        }
    }

    fn attend(&mut self, now: Instant, token: usize) {
        match self.peers.remove(&token) {
            Some(Peer::Pending { channel, hearing, address }) => {
                self.listen_to(now, token, channel, hearing, address);
            }
            Some(Peer::Leaving { channel, until }) => match discard(channel) {
                Some(channel) => drop(self.peers.insert(token, Peer::Leaving { channel, until })),
                None => self.leaving -= 1,
            },
            None => {}
        }
    }

    fn listen_to(
        &mut self,
        now: Instant,
        token: usize,
        channel: Channel,
        mut hearing: Hearing,
        address: SocketAddr,
    ) {
        let mut spoke = false;
        loop {
            match hear::read(&mut &channel, &mut hearing) {
                Ok(Bytes::Bytes) => {}
                Ok(Bytes::Nothing) => {
                    if spoke {
                        self.pending.spoke(token);
                    }
                    self.peers.insert(token, Peer::Pending { channel, hearing, address });
                    return;
                }
                // an end before the hello
                Ok(Bytes::End) | Err(_) => return self.pending.leave(token),
            }
            match hearing.hello(&self.expectations) {
                Heard::More => spoke = true,
                heard => {
                    self.pending.leave(token);
                    return self.answer(now, channel, address, heard);
                }
            }
        }
    }

    fn answer(&mut self, now: Instant, channel: Channel, address: SocketAddr, heard: Heard) {
        match heard {
            Heard::Hello(hello) => self.greet(now, channel, *hello, address),
            Heard::Refused(refusal) => self.see_off(now, channel, &refusal),
            Heard::Foreign | Heard::More => {}
        }
    }

    fn greet(&mut self, now: Instant, channel: Channel, hello: Hello, address: SocketAddr) {
        channel.deregister(self.poll.registry());
        let session = hello.session;
        match (self.admit)(Guest { channel, hello, address }) {
            Ok(true) => self.known.note(session, address.ip()),
            Ok(false) => {}
            Err((channel, refusal)) => self.see_off(now, channel, &refusal),
        }
    }

    /// Says why not, and lets the peer read it before the connection goes.
    fn see_off(&mut self, now: Instant, channel: Channel, refusal: &Refusal) {
        channel.deregister(self.poll.registry());
        let answer = Reply::Refusal(refusal.clone()).encode();
        // an answer is smaller than any socket's buffer; a peer that is gone needs none
        let answered = (&channel).write_all(&answer).and_then(|()| (&channel).flush());
        if answered.is_err() || self.leaving >= LEAVING_MAX {
            return;
        }
        channel.finish_writing();
        if let Some(token) = self.keep(Peer::Leaving { channel, until: now + FAREWELL }) {
            self.leaving += 1;
            self.attend(now, token);
        }
    }
}

/// Reads to nowhere; the connection, unless it has ended.
fn discard(channel: Channel) -> Option<Channel> {
    let mut chunk = [0; HELLO_MAX];
    // a turn's worth: whoever floods is forgotten when its time is over
    for _ in 0..64 {
        match (&channel).read(&mut chunk) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return (e.kind() == ErrorKind::WouldBlock).then_some(channel),
        }
    }
    Some(channel)
}

fn is_exhaustion(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM]
        .iter()
        .any(|e| error.raw_os_error() == Some(e.raw_os_error()))
}
