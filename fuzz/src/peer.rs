//! A whole session and its far end, which is the script: legal grammar or none, any order, floods, lies in every number.
//!
//! The simulator has such a peer too, driven by chance on a network with delays. This one is driven by a fuzzer that
//! sees which way the session went, and so looks for what chance does not find.

use super::checks::Claims;
use super::line::Stage;
use super::owner::Owner;
use super::script::Script;
use millipede::proto::check::Expectations;
use millipede::proto::handshake::{HELLO_TIME, Heard, Hearing, WELCOME_TIME};
use millipede::proto::hello::{Features, Hello, Id, Refusal, RefusalCode, Reply, Welcome};
use millipede::proto::leg::{CONNECTIONS_MAX, LEG_MAX};
use millipede::proto::links::{DialError, LossReason};
use millipede::proto::outcome::Status;
use millipede::proto::session::{DiallerConfig, InboundConfig, OutboundConfig, Session};
use millipede::proto::waiting::Patience;
use millipede::proto::wire::{Abort, Ack, Fin, Frame, LegFlags, LegHeader, Verdict, WindowEdge};
use std::time::{Duration, Instant};

/// More acts than this make a run slow and find nothing more.
const ACTS: usize = 2000;
/// How long the end waits with no connection, where it is told.
const PATIENCE: Duration = Duration::from_secs(30);
/// By then an end with that patience has ended whose far end is gone for good; it may linger for a minute.
const GONE: Duration = Duration::from_secs(200);
/// More bytes than this are promised of a leg and never come.
const SENT: u32 = 16 << 10;

/// The far end of an end that dials.
pub fn dials(data: &[u8]) {
    play(data, true);
}

/// The far end of an end that listens.
pub fn listens(data: &[u8]) {
    play(data, false);
}

fn play(data: &[u8], dials: bool) {
    let mut script = Script::new(data);
    let choices = script.byte();
    let peer = &mut Peer::new(choices, script, dials);
    for _ in 0..ACTS {
        let Some(act) = peer.script.next() else { break };
        peer.act(act);
        peer.owner.check_success(&peer.claims);
    }
    peer.leave(choices & 8 != 0);
    peer.owner.check_success(&peer.claims);
}

struct Peer<'a> {
    script: Script<'a>,
    owner: Owner,
    claims: Claims,
    duplex: bool,
    /// What both ends know, besides.
    known: Features,
    /// The next leg of its own stream and where that begins.
    next: (u64, u64),
    attempt: u32,
}

impl<'a> Peer<'a> {
    fn new(choices: u8, mut script: Script<'a>, dials: bool) -> Self {
        let (duplex, inseparable, checked) = (choices & 1 != 0, choices & 2 != 0, choices & 4 != 0);
        let patience = (choices & 8 != 0).then_some(Patience::For(PATIENCE));
        let buffer = [512 << 10, 1 << 20, 4 << 20, 128 << 20][usize::from(choices >> 4) % 4];
        let now = Instant::now();
        let known = if choices & 128 != 0 { Features::ENOUGH } else { Features::NONE };
        let wanted = if duplex { Features::DUPLEX.0 } else { 0 } | known.0;
        let features = Features(wanted | Features::CHECKSUM.0);
        let waits = choices & 64 != 0;
        let instance = Id::new([1; 16]);
        let inbound = InboundConfig { patience, waits, ..InboundConfig::new(instance, features, buffer) };
        let session = if dials {
            let connections = [1, 2, 4, 16][script.below(4)];
            let links = (0..1 + script.below(3)).map(|link| format!("link {link}")).collect();
            let asked = if checked { features } else { Features(wanted) };
            let hello = Hello::of(Id::new([7; 16]), asked, buffer);
            let config =
                DiallerConfig { patience, waits, ..DiallerConfig::new(hello, links, connections, 1) };
            Session::dialling(now, config, duplex.then_some(inbound), inseparable && duplex)
        } else {
            let sends = duplex.then_some(OutboundConfig { buffer });
            Session::listening(now, inbound, sends, inseparable && duplex)
        };
        let mut owner = Owner::new(now, session, buffer, dials, checked && dials);
        owner.does(Session::tick);
        Peer { script, owner, claims: Claims::default(), duplex, known, next: (0, 0), attempt: 0 }
    }

    fn act(&mut self, act: u8) {
        match act % 32 {
            0 | 1 => self.wait(),
            2..=4 if self.owner.dials => self.answer(),
            2..=4 => self.say_hello(),
            22 => self.close(),
            23 => self.welcome_back(),
            24 => {
                let legs = self.script.number(1).min(100);
                self.owner.take(legs as usize);
            }
            25 => {
                let status = self.script.pick(&[Status::Output, Status::Corrupt]);
                self.owner.output_fails(status);
            }
            26 | 27 => {
                let size = self.script.pick(&[1000, 1, 16384, LEG_MAX]);
                (0..1 + self.script.below(8)).for_each(|_| self.owner.feed(size));
            }
            28 => {
                let why = (self.script.byte() == 1).then_some("the input fails");
                self.owner.input_ends(why);
            }
            29 => {
                if self.script.byte() == 1 {
                    self.owner.signal();
                }
            }
            30 => self.change(),
            31 => self.flood(),
            act => {
                let bytes = self.message(act);
                self.say(&bytes);
            }
        }
    }

    /// A connection that is there, if there is one.
    fn connection(&mut self) -> Option<usize> {
        let first = self.script.below(CONNECTIONS_MAX);
        let all = (0..CONNECTIONS_MAX).map(|number| (first + number) % CONNECTIONS_MAX);
        all.into_iter().find(|connection| self.owner.lines[*connection].is_some())
    }

    fn say(&mut self, bytes: &[u8]) {
        if let Some(connection) = self.connection() {
            self.owner.read(connection, bytes);
        }
    }

    fn wait(&mut self) {
        const TIMES: [u64; 10] = [1, 0, 20, 50, 100, 250, 500, 1000, 5000, 30_000];
        let time = Duration::from_millis(self.script.pick(&TIMES));
        self.owner.pass(time);
    }

    /// What the kernel and the output are like from now on.
    fn change(&mut self) {
        let connection = self.script.below(CONNECTIONS_MAX);
        match self.script.byte() % 5 {
            0 => self.owner.set_full(connection, true),
            1 => self.owner.set_full(connection, false),
            2 => self.owner.kernel_silent = !self.owner.kernel_silent,
            3 => {
                let blocked = Duration::from_millis(self.script.number(0).min(1 << 40));
                self.owner.does(|session, _| session.output_blocked(blocked));
            }
            _ => {
                if self.owner.lines[connection].is_some() {
                    self.owner.does(|session, now| session.stuck(now, connection, now));
                }
            }
        }
    }

    fn close(&mut self) {
        let Some(connection) = self.connection() else { return };
        let why = match self.script.odd() {
            true => LossReason::Failed("reset".into()),
            false => LossReason::Closed,
        };
        self.owner.lose(connection, &why);
    }

    /// One message hundreds of times, or half of one.
    fn flood(&mut self) {
        let act = self.script.byte() % 32;
        let bytes = self.message(act);
        match self.script.odd() {
            true => self.say(&bytes[..bytes.len() / 2]),
            false => self.say(&bytes.repeat(300.min(1 + (1 << 20) / bytes.len().max(1)))),
        }
    }

    // ---- the handshake --------------------------------------------------------------------------------

    /// Somebody dials and says hello.
    fn say_hello(&mut self) {
        self.attempt += 1;
        let lies = self.script.byte();
        let attempt = u64::from(self.attempt);
        let features = if self.duplex { Features::DUPLEX.0 } else { 0 } | self.known.0;
        let mut hello = Hello {
            connection: self.script.byte() % 16,
            link: self.script.byte() % 16,
            attempt: self.attempt,
            ..Hello::of(Id::new([7; 16]), Features(features | u64::from(lies >> 7)), 4 << 20)
        };
        if lies & 1 != 0 {
            hello.session = Id::new([self.script.byte() % 3; 16]);
            hello.instance = self.script.odd().then(|| Id::new([self.script.byte() % 3; 16]));
            hello.begun = self.script.odd();
            hello.attempt = self.script.number(attempt) as u32;
            hello.buffer = self.script.number(4 << 20);
        }
        let mut bytes = hello.encode();
        if lies & 2 != 0 {
            let at = self.script.below(bytes.len());
            bytes[at] ^= self.script.byte();
        }
        let mut hearing = Hearing::new(self.owner.now, HELLO_TIME);
        hearing.push(&bytes);
        let features = Features(features | Features::CHECKSUM.0);
        let ours = Expectations {
            checkphrase: None,
            features,
            duplex: self.duplex,
            initiates: false,
            through: false,
            compresses: false,
        };
        if let Heard::Hello(hello) = hearing.hello(&ours) {
            self.is_let_in(&hello);
        }
    }

    fn is_let_in(&mut self, hello: &Hello) {
        let (owner, duplex) = (&mut self.owner, self.duplex);
        if owner.over {
            return;
        }
        let screened = owner.session.screen(hello, None);
        let let_in = owner.session.hello(owner.now, hello, None);
        assert!(let_in.is_err() || screened.is_ok(), "lets in what it would not");
        if let Ok(connection) = let_in {
            let hearing = Hearing::new(owner.now, WELCOME_TIME);
            owner.connect(connection, if duplex { Stage::Welcomed(hearing) } else { Stage::Up });
        }
        owner.does(|_, _| {});
    }

    /// The far end of a duplex connection welcomes it, or says something else first.
    fn welcome_back(&mut self) {
        let welcome = self.welcome();
        let reply = match self.script.byte() {
            1 => Reply::Refusal(self.refusal()),
            _ => Reply::Welcome(welcome),
        };
        self.say(&reply.encode());
    }

    /// An attempt is answered.
    fn answer(&mut self) {
        let first = self.script.below(CONNECTIONS_MAX);
        let mut all = (0..CONNECTIONS_MAX).map(|number| (first + number) % CONNECTIONS_MAX);
        let Some(connection) = all.find(|connection| self.owner.asked[*connection].is_some()) else { return };
        if self.owner.over {
            return;
        }
        match self.script.byte() {
            1 => {
                let refusal = self.refusal();
                self.owner.asked[connection] = None;
                self.owner.does(|session, now| session.refused(now, connection, &refusal));
            }
            2 => self.owner.dial_failed(connection, &DialError::Refused),
            3 => self.owner.dial_failed(connection, &DialError::TimedOut),
            4 => self.owner.dial_failed(connection, &DialError::Swallowed),
            5 => self.owner.dial_failed(connection, &DialError::Closed),
            6 => self.owner.dial_failed(connection, &DialError::Unresolved("no".into())),
            7 => self.owner.dial_failed(connection, &DialError::Unanswered("no".into())),
            _ => {
                let welcome = self.welcome();
                self.owner.asked[connection] = None;
                self.owner.connect(connection, Stage::Up);
                self.owner.welcomed(connection, &welcome);
            }
        }
    }

    fn welcome(&mut self) -> Welcome {
        let lies = self.script.byte() == 1;
        let (came, bytes) = self.owner.told.came;
        let script = &mut self.script;
        let mut number = |truth| if lies { script.number(truth) } else { truth };
        let welcome = Welcome {
            next: number(came),
            edge: WindowEdge { bytes: number(bytes + (1 << 20)), legs: number(came + 4096) },
            leg_max: (number(65536) as u32).clamp(1, LEG_MAX as u32),
            buffer: number(4 << 20),
            instance: Id::new([2 + (number(0) % 3) as u8; 16]),
            features: Features(if self.duplex { Features::DUPLEX.0 } else { 0 } | self.known.0),
        };
        // it passes over the wire
        let bytes = Reply::Welcome(welcome).encode();
        let back = Reply::decode(&bytes);
        assert_eq!(back, Ok(Some((Reply::Welcome(welcome), bytes.len()))));
        welcome
    }

    fn refusal(&mut self) -> Refusal {
        use RefusalCode::*;
        const CODES: [RefusalCode; 11] = [
            Busy,
            Checkphrase,
            Version,
            Feature,
            Option,
            NotThatReceiver,
            Finished,
            Stale,
            TooMany,
            Malformed,
            Direction,
        ];
        Refusal { code: self.script.pick(&CODES), sentence: "no".into() }
    }

    // ---- frames ---------------------------------------------------------------------------------------

    /// A message, as it stands on the wire.
    fn message(&mut self, act: u8) -> Vec<u8> {
        let frame = match act {
            5..=9 => return (0..1 + self.script.below(4)).flat_map(|_| self.leg(false)).collect(),
            10 => return self.leg(true),
            11 => self.fin(),
            12 => Frame::Ping { token: self.script.number(0) },
            13 => Frame::Bye,
            14..=16 => self.ack(),
            17 if self.script.below(4) == 3 => Frame::Enough,
            17 => Frame::Nack { sequence: self.script.number(self.owner.told.came.0) },
            18 => {
                let ping = self.owner.told.pings[self.script.below(CONNECTIONS_MAX)];
                Frame::Pong { token: self.script.number(ping.unwrap_or(0)) }
            }
            19 => self.verdict(),
            20 if self.script.byte() == 1 => {
                Frame::Abort(Abort { status: Status::Incomplete, sentence: "ill".into() })
            }
            _ => return self.script.take(40).to_vec(),
        };
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        bytes
    }

    fn leg(&mut self, lies: bool) -> Vec<u8> {
        let length = self.script.pick(&[100, 1, 3000, 16384, 65536]);
        let (mut sequence, mut offset) = self.next;
        let (mut raw, mut encoded, mut flags, mut crc) = (length, length, 0, 0);
        if lies {
            (sequence, offset) = (self.script.number(sequence), self.script.number(offset));
            raw = (self.script.number(raw.into()) as u32).clamp(1, LEG_MAX as u32);
            encoded = self.script.number(raw.into()) as u32;
        }
        let sent = raw.min(SENT) as usize;
        if self.script.odd() {
            flags = LegFlags::CHECKED;
            crc = crc32fast::hash(&vec![0; sent]) ^ u32::from(self.script.byte());
        }
        if !lies {
            self.next = (self.next.0 + 1, self.next.1 + u64::from(length));
        }
        let mut bytes = Vec::new();
        Frame::Leg(LegHeader { sequence, offset, raw, encoded, flags, crc }).encode(&mut bytes);
        bytes.resize(bytes.len() + sent, 0);
        bytes
    }

    fn fin(&mut self) -> Frame {
        let (legs, bytes) = self.next;
        let crc = (self.script.byte() == 1).then_some(0);
        let fin = Fin { legs: self.script.number(legs), bytes: self.script.number(bytes), crc };
        self.claims.announced.push(fin.bytes);
        Frame::Fin(fin)
    }

    fn ack(&mut self) -> Frame {
        let lies = self.script.byte() == 1;
        let (came, bytes) = self.owner.told.came;
        let legs = self.owner.told.legs[self.script.below(CONNECTIONS_MAX)];
        let script = &mut self.script;
        let mut number = |truth| if lies { script.number(truth) } else { truth };
        Frame::Ack(Ack {
            next: number(came),
            delivered: number(bytes),
            edge: WindowEdge { bytes: number(bytes + (1 << 20)), legs: number(came + 4096) },
            count: number(legs),
            blocked_ms: number(0) as u32,
        })
    }

    fn verdict(&mut self) -> Frame {
        let fin = self.owner.told.fin;
        let bytes = self.script.number(fin.map_or(self.owner.told.came.1, |fin| fin.bytes));
        let status = self.script.pick(&[Status::Complete, Status::Output, Status::Corrupt]);
        if status == Status::Complete {
            self.claims.confirmed.push(bytes);
        }
        let crc = fin.and_then(|fin| fin.crc);
        Frame::Verdict(Verdict { bytes, crc, status, command: None, sentence: "so".into() })
    }

    // ---- the end --------------------------------------------------------------------------------------

    /// The far end is gone for good, and the output takes all there is: the end ends, by itself or when it is told.
    fn leave(&mut self, by_itself: bool) {
        for connection in 0..CONNECTIONS_MAX {
            self.owner.full[connection] = false;
            self.owner.lose(connection, &LossReason::Closed);
        }
        if !by_itself {
            self.owner.signal();
        }
        let until = self.owner.now + if by_itself { GONE } else { Duration::from_millis(1010) };
        while !self.owner.over && self.owner.now < until {
            self.owner.take(usize::MAX);
            for connection in 0..CONNECTIONS_MAX {
                self.owner.dial_failed(connection, &DialError::Refused);
            }
            self.owner.pass(Duration::from_millis(500));
        }
        assert!(self.owner.over, "it does not end");
    }
}
