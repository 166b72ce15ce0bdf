//! Who means ill: an end without a session, which speaks the grammar in any order, floods and lies in every number.
//!
//! Most of what it says is what an honest end might, so that it gets far; it reads what it is told for that.

use super::clock::Event;
use super::line::{Line, Read, Stage};
use super::net::{DIALS, Delivery, Net, News};
use millipede::proto::handshake::{CHUNK, HELLO_TIME, Hearing};
use millipede::proto::hello::{Direction, Features, Hello, Id, Refusal, RefusalCode, Reply, Welcome};
use millipede::proto::leg::LEG_MAX;
use millipede::proto::outcome::{CommandEnd, Status};
use millipede::proto::session::Landing;
use millipede::proto::wire::{Abort, Ack, Fin, Frame, LegFlags, LegHeader, Verdict, WindowEdge};
use rand::RngExt;
use rand::rngs::SmallRng;
use std::time::Duration;

/// At most so many connections.
const CONNECTIONS: usize = 60;

/// A connection with an honest end.
struct Foe {
    line: Line,
    /// Legs that came on it.
    legs: u64,
}

pub struct Imp {
    rng: SmallRng,
    /// Whether it dials or listens.
    side: usize,
    duplex: bool,
    /// The session that it claims to be of.
    session: Id,
    foes: Vec<Foe>,
    dialled: usize,
    attempt: u32,
    /// The next leg of its own stream and where that begins.
    next: u64,
    offset: u64,
    /// The legs and bytes of the honest end's stream, as far as they came.
    came: (u64, u64),
    /// The end of that stream, as it was told.
    told: Option<Fin>,
    /// Ends of its own stream that it announced, in bytes.
    pub announced: Vec<u64>,
    /// It confirmed the honest end's stream, in bytes.
    pub confirmed: Vec<u64>,
    pub quiet: bool,
}

impl Imp {
    pub fn new(net: &mut Net, rng: SmallRng, side: usize, duplex: bool, session: Id) -> Self {
        net.clock.after(Duration::ZERO, Event::Malice);
        Imp {
            rng,
            side,
            duplex,
            session,
            foes: Vec::new(),
            dialled: 0,
            attempt: 0,
            next: 0,
            offset: 0,
            came: (0, 0),
            told: None,
            announced: Vec::new(),
            confirmed: Vec::new(),
            quiet: false,
        }
    }

    /// Whether this news is for it.
    pub fn has(&self, news: &Delivery) -> bool {
        let known = || self.foes.iter().any(|foe| foe.line.conn == news.conn);
        news.end == self.side && (self.side != DIALS || known())
    }

    /// It goes away, in order or not.
    pub fn leave(&mut self, net: &mut Net) {
        self.quiet = true;
        for foe in std::mem::take(&mut self.foes) {
            match self.rng.random() {
                true => net.close(foe.line.conn, self.side),
                false => net.reset(foe.line.conn, self.side),
            }
        }
    }

    /// Its turn.
    pub fn act(&mut self, net: &mut Net) {
        if self.quiet {
            return;
        }
        let wait = [0.0002, 0.005, 0.05, 0.3][self.rng.random_range(0..4)];
        net.clock.after(Duration::from_secs_f64(wait), Event::Malice);
        let dials = self.side == DIALS && self.dialled < CONNECTIONS;
        if dials && (self.foes.is_empty() || self.rng.random_ratio(1, 3)) {
            return self.dial(net);
        }
        if self.foes.is_empty() {
            return;
        }
        let foe = self.rng.random_range(0..self.foes.len());
        let conn = self.foes[foe].line.conn;
        match self.rng.random_range(0..40) {
            0 => net.close(conn, self.side),
            1 => net.reset(conn, self.side),
            2 => self.rave(net, foe),
            3 => self.flood(net, foe),
            _ => self.speak(net, foe),
        }
    }

    pub fn delivery(&mut self, net: &mut Net, news: &Delivery) {
        let conn = news.conn;
        if let (News::Connected, true) = (&news.news, self.side != DIALS) {
            let hearing = Hearing::new(net.clock.now, HELLO_TIME);
            let line = Line::new(net.clock.now, conn, Stage::Welcomed(hearing));
            self.foes.push(Foe { line, legs: 0 });
        }
        let Some(foe) = self.foes.iter().position(|foe| foe.line.conn == conn) else { return };
        match &news.news {
            News::Connected if self.side == DIALS => self.say_hello(net, foe),
            News::Connected | News::Drained => {}
            News::Bytes(bytes) => self.read(net, foe, bytes),
            News::Refused | News::Closed { .. } => {
                net.close(conn, self.side);
                self.foes.remove(foe);
            }
        }
    }

    // ---- the handshake --------------------------------------------------------------------------------

    fn dial(&mut self, net: &mut Net) {
        self.dialled += 1;
        let conn = net.dial(self.rng.random_range(0..net.links.len()));
        let hearing = Hearing::new(net.clock.now, HELLO_TIME);
        let line = Line::new(net.clock.now, conn, Stage::Asked(net.clock.now, hearing));
        self.foes.push(Foe { line, legs: 0 });
    }

    fn say_hello(&mut self, net: &mut Net, foe: usize) {
        self.attempt += 1;
        let features = if self.duplex { Features::DUPLEX.0 } else { 0 };
        let lies = self.rng.random_ratio(1, 4);
        let attempt = self.number(self.attempt.into()) as u32;
        let hello = Hello {
            session: if lies { Id::new([3; 16]) } else { self.session },
            instance: (lies && self.rng.random()).then(|| Id::new([self.rng.random_range(10..13); 16])),
            direction: if self.duplex != (lies && self.rng.random()) {
                Direction::Duplex
            } else {
                Direction::Transmit
            },
            begun: lies && self.rng.random(),
            checkphrase: (lies && self.rng.random_ratio(1, 4)).then_some(*b"evil"),
            link: self.rng.random_range(0..16),
            connection: self.rng.random_range(0..16),
            attempt: if lies { attempt } else { self.attempt },
            features: Features(features | self.rng.random_range(0..2)),
            buffer: self.number(4 << 20),
            options: Vec::new(),
        };
        let mut bytes = hello.encode();
        match self.rng.random_range(0..20) {
            0 => bytes.truncate(self.rng.random_range(0..bytes.len())),
            1 => bytes[20] ^= 1,
            2 => bytes.extend(hello.encode()),
            _ => {}
        }
        net.write(self.foes[foe].line.conn, self.side, &bytes);
    }

    /// A welcome, or what it says in place of one.
    fn welcome(&mut self, net: &mut Net, foe: usize) {
        let lies = self.rng.random_ratio(1, 3);
        let (came, came_bytes) = self.came;
        let mut number = |truth| if lies { self.number(truth) } else { truth };
        let (next, bytes, legs) = (number(came), number(came_bytes + (1 << 20)), number(came + 4096));
        let leg_max = (number(65536) as u32).clamp(1, LEG_MAX as u32);
        let welcome = Welcome {
            instance: Id::new([if lies { self.rng.random_range(10..13) } else { 11 }; 16]),
            next: next.min(legs),
            edge: WindowEdge { bytes, legs },
            leg_max,
            features: if self.duplex { Features::DUPLEX } else { Features::NONE },
            buffer: self.number(4 << 20),
        };
        let reply = match self.rng.random_range(0..12) {
            0 => Reply::Refusal(self.refusal()),
            1 => return,
            _ => Reply::Welcome(welcome),
        };
        net.write(self.foes[foe].line.conn, self.side, &reply.encode());
    }

    fn refusal(&mut self) -> Refusal {
        const CODES: [RefusalCode; 6] = [
            RefusalCode::Busy,
            RefusalCode::Malformed,
            RefusalCode::NotThatReceiver,
            RefusalCode::Finished,
            RefusalCode::Stale,
            RefusalCode::TooMany,
        ];
        let code = CODES[self.rng.random_range(0..CODES.len())];
        Refusal { code, sentence: "no \u{202e}\r\n".into() }
    }

    /// What it is told.
    fn read(&mut self, net: &mut Net, foe: usize, bytes: &[u8]) {
        let line = &mut self.foes[foe].line;
        match &mut line.stage {
            Stage::Up => line.inbox.extend_from_slice(bytes),
            Stage::Asked(_, hearing) => {
                hearing.push(&bytes[..bytes.len().min(CHUNK)]);
                if let Ok(Some(_)) = hearing.reply() {
                    line.stage = Stage::Up;
                    if self.duplex && !self.rng.random_ratio(1, 10) {
                        self.welcome(net, foe);
                    }
                }
            }
            Stage::Welcomed(_) => {
                line.stage = Stage::Up;
                if let Ok(Some((_, len))) = Hello::decode(bytes) {
                    line.inbox.extend_from_slice(&bytes[len..]);
                }
                self.welcome(net, foe);
            }
            Stage::Dialling(_) => {}
        }
        self.listen(foe);
    }

    fn listen(&mut self, foe: usize) {
        loop {
            let Foe { line, legs } = &mut self.foes[foe];
            match line.next() {
                Ok(Some(Read::Header(header))) => line.coming = Some((header, Landing::Scratch)),
                Ok(Some(Read::Leg(header, ..))) => {
                    *legs += 1;
                    let end = header.offset + u64::from(header.raw);
                    self.came = self.came.max((header.sequence + 1, end));
                }
                Ok(Some(Read::Frame(Frame::Fin(fin)))) => self.told = Some(fin),
                // nothing else that it hears is remembered; `message` makes frames of every kind
                Ok(Some(Read::Frame(
                    Frame::Leg(_)
                    | Frame::Ping { .. }
                    | Frame::Bye
                    | Frame::Ack(_)
                    | Frame::Nack { .. }
                    | Frame::Pong { .. }
                    | Frame::Verdict(_)
                    | Frame::Enough
                    | Frame::Abort(_),
                ))) => {}
                Ok(Some(Read::Piece(..))) => {}
                Ok(None) | Err(_) => return,
            }
        }
    }

    // ---- frames ---------------------------------------------------------------------------------------

    /// A few messages.
    fn speak(&mut self, net: &mut Net, foe: usize) {
        for _ in 0..self.rng.random_range(1..12) {
            let bytes = self.message(foe);
            net.write(self.foes[foe].line.conn, self.side, &bytes);
        }
    }

    /// One message hundreds of times.
    fn flood(&mut self, net: &mut Net, foe: usize) {
        let bytes = self.message(foe);
        for _ in 0..300 {
            net.write(self.foes[foe].line.conn, self.side, &bytes);
        }
    }

    /// No message at all, or half a one.
    fn rave(&mut self, net: &mut Net, foe: usize) {
        let mut bytes = self.message(foe);
        match self.rng.random() {
            true => bytes.iter_mut().for_each(|byte| *byte = self.rng.random()),
            false => bytes.truncate(bytes.len() / 2),
        }
        net.write(self.foes[foe].line.conn, self.side, &bytes);
    }

    fn message(&mut self, foe: usize) -> Vec<u8> {
        // what an end of this kind says, mostly
        let sends = self.side == DIALS || self.duplex;
        let receives = self.side != DIALS || self.duplex;
        let strange = self.rng.random_ratio(1, 50);
        let pick = self.rng.random_range(0..60);
        match pick {
            0..25 if sends || strange => return self.leg(),
            25..27 if sends || strange => self.fin(),
            27..30 if sends || strange => Frame::Ping { token: self.rng.random() },
            30 if sends || strange => Frame::Bye,
            31..45 if receives || strange => self.ack(foe),
            45..47 if receives || strange => Frame::Nack { sequence: self.number(self.came.0) },
            47..50 if receives || strange => Frame::Pong { token: self.number(1) },
            50 if receives || strange => self.verdict(),
            52 if receives || strange => Frame::Enough,
            51 if self.rng.random_ratio(1, 4) => {
                Frame::Abort(Abort { status: Status::Incomplete, sentence: "ill".into() })
            }
            _ => return Vec::new(),
        }
        .encoded()
    }

    fn leg(&mut self) -> Vec<u8> {
        let lies = self.rng.random_ratio(1, 10);
        let len = [1, 100, 3000, 16384][self.rng.random_range(0..4)];
        let (sequence, offset) = match lies {
            true => (self.number(self.next), self.number(self.offset)),
            false => (self.next, self.offset),
        };
        let checked = self.rng.random_ratio(1, 10);
        let raw = if lies { (self.number(len) as u32).clamp(1, LEG_MAX as u32) } else { len as u32 };
        let header = LegHeader {
            sequence,
            offset,
            raw,
            encoded: raw,
            flags: if checked { LegFlags::CHECKED } else { 0 },
            crc: if checked { self.rng.random() } else { 0 },
        };
        if !lies && !checked && self.rng.random_ratio(9, 10) {
            (self.next, self.offset) = (self.next + 1, self.offset + len);
        }
        let mut bytes = Frame::Leg(header).encoded();
        // long ones are promised and never come
        bytes.resize(bytes.len() + raw.min(16384) as usize, 7);
        bytes
    }

    fn fin(&mut self) -> Frame {
        let fin = Fin { legs: self.number(self.next), bytes: self.number(self.offset), crc: None };
        self.announced.push(fin.bytes);
        Frame::Fin(fin)
    }

    fn ack(&mut self, foe: usize) -> Frame {
        let lies = self.rng.random_ratio(1, 10);
        let (came, legs) = (self.came, self.foes[foe].legs);
        let mut number = |truth| if lies { self.number(truth) } else { truth };
        Frame::Ack(Ack {
            next: number(came.0),
            delivered: number(came.1),
            edge: WindowEdge { bytes: number(came.1 + (1 << 20)), legs: number(came.0 + 4096) },
            count: number(legs),
            blocked_ms: number(0) as u32,
        })
    }

    fn verdict(&mut self) -> Frame {
        let bytes = self.number(self.told.map_or(self.came.1, |fin| fin.bytes));
        let code = [Status::Complete, Status::Output, Status::Corrupt][self.rng.random_range(0..3)];
        if code == Status::Complete {
            self.confirmed.push(bytes);
        }
        Frame::Verdict(Verdict {
            bytes,
            crc: self.told.and_then(|fin| fin.crc),
            status: code,
            command: self.command_end().filter(|_| code == Status::Complete),
            sentence: "so".into(),
        })
    }

    /// The end of a command that nobody has asked for.
    fn command_end(&mut self) -> Option<CommandEnd> {
        [None, None, Some(CommandEnd::Exit(0)), Some(CommandEnd::Signal(9))][self.rng.random_range(0..4)]
    }

    /// A number, more often the true one than not.
    fn number(&mut self, truth: u64) -> u64 {
        match self.rng.random_range(0..12) {
            0 => 0,
            1 => u64::MAX,
            2 => truth.saturating_add(1),
            3 => truth.saturating_sub(1),
            4 => self.rng.random_range(0..1000),
            5 => 1 << self.rng.random_range(0..63),
            _ => truth,
        }
    }
}

trait Encoded {
    fn encoded(&self) -> Vec<u8>;
}

impl Encoded for Frame {
    fn encoded(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.encode(&mut bytes);
        bytes
    }
}
