//! The receiver's door: one poll loop for the listening sockets, pending handshakes and farewells.
//!
//! Strangers are met here and nowhere else. Each pending handshake holds a fixed amount of memory and time, and so does
//! each farewell; there are at most 64 of the first and 16 of the second, whatever comes. Who keeps a place when more
//! come is decided by [`Pending`]. Only a hello that is whole, right and allowed by the user's words reaches the session,
//! and that alone decides whose it is.

use super::allowance::Allowance;
use super::first::{First, LOOK, first};
use super::limits::FAREWELL;
use super::pending::Pending;
use crate::channel::hear::{self, Arrived};
use crate::channel::{Channel, Transport, prepare, tls_error};
use crate::message;
use crate::proto::check::Expectations;
use crate::proto::handshake::{HELLO_TIME, Heard, Hearing};
use crate::proto::hello::{HELLO_MAX, Hello, Refusal, RefusalCode, Reply};
use crate::sys::socket::accept_with_bytes;
use crate::trust::Trust;
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Peers at a time that were told why not, and may read that in peace. More are closed at once: the answer is on its
/// way all the same.
const LEAVING_MAX: usize = 16;
/// Connections accepted before those that wait are attended again: fewer than it takes to lose a place unheard.
const BATCH: usize = 8;
/// How long accepting pauses when the process or the system has no descriptors left.
const EXHAUSTED: Duration = Duration::from_millis(250);

const LISTENER: Token = Token(0);
const FIRST_PEER: usize = 1;

/// A peer whose hello is in order.
pub(crate) struct Guest {
    /// Its connection.
    pub(crate) channel: Channel,
    /// What it said.
    pub(crate) hello: Hello,
    /// Where it comes from; None for a connection that was there already.
    pub(crate) address: Option<SocketAddr>,
    /// Of a connection that was there already: how long the far end takes to answer on it.
    pub(crate) round_trip: Option<Duration>,
}

/// A peer that has not said hello yet.
struct Stranger {
    channel: Channel,
    hearing: Hearing,
    address: SocketAddr,
    /// How it speaks is known.
    sorted: bool,
}

enum Peer {
    /// Has not said hello yet.
    Pending(Stranger),
    /// Was told why not, and may read that in peace.
    Leaving { channel: Channel, until: Instant },
}

impl Peer {
    fn until(&self) -> Instant {
        match self {
            Peer::Pending(stranger) => stranger.hearing.until(),
            Peer::Leaving { until, .. } => *until,
        }
    }
}

/// What became of a look at a peer's first byte.
enum Sorted {
    /// The peer is to be listened to.
    Ready(Stranger),
    /// The peer has said nothing yet, or waits for its turn.
    Waits(Stranger),
    /// The peer is of no use.
    Gone,
}

/// Who lets in those peers whose hello is in order.
pub(crate) trait Host: Send {
    /// Lets one in. False: there was no means to let it in.
    ///
    /// # Errors
    /// The refusal to answer with.
    fn admit(&mut self, guest: Guest) -> Result<bool, (Channel, Refusal)>;

    /// Whether a connection of a session that is served comes from this address.
    fn knows(&self, address: IpAddr) -> bool;
}

/// The thread's state.
pub(crate) struct Door {
    poll: Poll,
    listener: TcpListener,
    expectations: Expectations,
    /// The keys, if connections are to be encrypted.
    trust: Option<Arc<Trust>>,
    /// How many strangers' handshakes it takes up.
    allowance: Allowance,
    /// The stranger whose postponed handshake has its turn.
    turn: Option<usize>,
    /// By token, in the order in which they came.
    peers: BTreeMap<usize, Peer>,
    pending: Pending,
    /// How many of `peers` are leaving; at most [`LEAVING_MAX`].
    leaving: usize,
    next_token: usize,
    /// More may wait to be accepted.
    accepting: bool,
    /// No descriptors were left: accept again then.
    paused: Option<Instant>,
    host: Box<dyn Host>,
}

impl Door {
    /// A door at this listening socket; guests that meet the expectations are given to `host`.
    ///
    /// # Errors
    /// The kernel has no descriptors left.
    pub(crate) fn new(
        listener: std::net::TcpListener,
        expectations: Expectations,
        trust: Option<Arc<Trust>>,
        host: Box<dyn Host>,
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
            trust,
            allowance: Allowance::new(Instant::now()),
            turn: None,
            peers: BTreeMap::new(),
            pending: Pending::default(),
            leaving: 0,
            next_token: FIRST_PEER,
            accepting: true,
            paused: None,
            host,
        })
    }

    /// Keeps the door until the process ends.
    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(64);
        loop {
            let allowed = self.pending.has_postponed().then(|| self.allowance.next());
            let until = self.peers.values().map(Peer::until).chain(self.paused).chain(allowed).min();
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
            self.take_up(now);
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
        let stranger = Stranger { channel, hearing, address, sorted: false };
        let Some(token) = self.keep(Peer::Pending(stranger)) else { return };
        let known = self.host.knows(address.ip());
        let gone = self.pending.enter(now, token, address.ip(), known, rand::random());
        self.attend(now, token);
        if let Some(gone) = gone {
            // what it has said meanwhile counts
            self.attend(now, gone);
            if let Some(Peer::Pending(stranger)) = self.peers.remove(&gone) {
                // without a state that lingers in the kernel
                stranger.channel.give_up();
            }
        }
    }

    /// Registers a peer; its token.
    fn keep(&mut self, peer: Peer) -> Option<usize> {
        let token = self.next_token;
        self.next_token += 1;
        let (Peer::Pending(Stranger { channel, .. }) | Peer::Leaving { channel, .. }) = &peer;
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
                Some(Peer::Pending(_)) | None => self.pending.leave(token),
            }
        }
    }

    fn attend(&mut self, now: Instant, token: usize) {
        match self.peers.remove(&token) {
            Some(Peer::Pending(stranger)) => match self.sort(now, token, stranger) {
                Sorted::Ready(stranger) => self.listen_to(now, token, stranger),
                Sorted::Waits(stranger) => drop(self.peers.insert(token, Peer::Pending(stranger))),
                Sorted::Gone => self.pending.leave(token),
            },
            Some(Peer::Leaving { channel, until }) => match discard(channel) {
                Some(channel) => drop(self.peers.insert(token, Peer::Leaving { channel, until })),
                None => self.leaving -= 1,
            },
            None => {}
        }
    }

    /// Finds out whether a peer speaks plainly or encrypted, by what it says first, and prepares for that. Only who has
    /// said all that a handshake begins with is allowed one: to say less is to cost nothing.
    fn sort(&mut self, now: Instant, token: usize, mut stranger: Stranger) -> Sorted {
        if stranger.sorted {
            return Sorted::Ready(stranger);
        }
        let mut space = [0; LOOK];
        let said = match stranger.channel.peek(&mut space) {
            Ok(len) if len > 0 => first(&space[..len]),
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Sorted::Waits(stranger),
            Ok(_) | Err(_) => return Sorted::Gone,
        };
        let address = stranger.address;
        match (said, &self.trust) {
            (First::Part, _) => return Sorted::Waits(stranger),
            (First::Handshake | First::Broken, Some(trust)) => {
                let known = self.host.knows(address.ip());
                // those that had to wait come before others
                let may_ask = !self.pending.has_postponed() || self.turn == Some(token);
                if said == First::Handshake && !known && !(may_ask && self.allowance.take(now)) {
                    self.pending.postpone(token);
                    return Sorted::Waits(stranger);
                }
                match stranger.channel.accepted(trust) {
                    Ok(channel) => stranger.channel = channel,
                    Err(_) => return Sorted::Gone,
                }
            }
            (First::Handshake | First::Broken, None) => {
                let line = || format!("{address}: wants to encrypt, and there is no key here");
                message::peer(1, "peers that want to encrypt", line);
                return Sorted::Gone;
            }
            (First::Plain, _) => {}
        }
        stranger.sorted = true;
        Sorted::Ready(stranger)
    }

    /// Goes on with handshakes that had to wait.
    fn take_up(&mut self, now: Instant) {
        while self.allowance.next() <= now
            && let Some(token) = self.pending.take_postponed()
        {
            self.turn = Some(token);
            self.attend(now, token);
        }
        self.turn = None;
    }

    fn listen_to(&mut self, now: Instant, token: usize, mut stranger: Stranger) {
        let mut spoke = false;
        loop {
            match hear::read(&mut &stranger.channel, &mut stranger.hearing) {
                Ok(Arrived::Bytes) => {}
                Ok(Arrived::Nothing) => {
                    // a handshake was answered
                    if spoke || stranger.channel.is_encrypted() {
                        self.pending.spoke(token);
                    }
                    self.peers.insert(token, Peer::Pending(stranger));
                    return;
                }
                // an end before the hello
                Ok(Arrived::End) => return self.pending.leave(token),
                Err(error) => {
                    self.pending.leave(token);
                    return self.turn_away(now, stranger, &error);
                }
            }
            match stranger.hearing.hello(&self.expectations) {
                Heard::More => spoke = true,
                heard => {
                    self.pending.leave(token);
                    return self.answer(now, stranger.channel, stranger.address, heard);
                }
            }
        }
    }

    /// A handshake failed; what TLS has to say of it is on its way.
    fn turn_away(&mut self, now: Instant, stranger: Stranger, error: &io::Error) {
        if let Some(why) = tls_error(error) {
            let line = || format!("{}: {why}", stranger.address);
            message::peer(1, "peers without the right key", line);
            self.linger(now, stranger.channel);
        }
    }

    fn answer(&mut self, now: Instant, channel: Channel, address: SocketAddr, heard: Heard) {
        match heard {
            Heard::Hello(_) | Heard::Refused(_) if self.trust.is_some() && !channel.is_encrypted() => {
                let sentence = "encryption is wanted: give the sender a key".into();
                self.see_off(now, channel, &Refusal { code: RefusalCode::Key, sentence });
            }
            Heard::Hello(hello) => self.greet(now, channel, *hello, address),
            Heard::Refused(refusal) => self.see_off(now, channel, &refusal),
            Heard::Foreign | Heard::More => {}
        }
    }

    fn greet(&mut self, now: Instant, channel: Channel, hello: Hello, address: SocketAddr) {
        channel.deregister(self.poll.registry());
        let guest = Guest { channel, hello, address: Some(address), round_trip: None };
        if let Err((channel, refusal)) = self.host.admit(guest) {
            self.see_off(now, channel, &refusal);
        }
    }

    /// Says why not, and lets the peer read it before the connection goes.
    fn see_off(&mut self, now: Instant, channel: Channel, refusal: &Refusal) {
        channel.deregister(self.poll.registry());
        let answer = Reply::Refusal(refusal.clone()).encode();
        // an answer is smaller than any socket's buffer; a peer that is gone needs none
        let answered = (&channel).write_all(&answer).and_then(|()| (&channel).flush());
        if answered.is_ok() {
            self.linger(now, channel);
        }
    }

    /// Lets the peer read what was said.
    fn linger(&mut self, now: Instant, channel: Channel) {
        if self.leaving >= LEAVING_MAX {
            return;
        }
        channel.deregister(self.poll.registry());
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
        match channel.discard(&mut chunk) {
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
