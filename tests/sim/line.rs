//! One connection as an end sees it: how far it has come, what was read and what is being written; and the books that
//! show whether the session keeps its order on it.

use millipede::proto::coming::{Coming, LegPart};
use millipede::proto::handshake::Hearing;
use millipede::proto::kernel::KernelProgress;
use millipede::proto::links::LossReason;
use millipede::proto::mailbox::Item;
use millipede::proto::session::Landing;
use millipede::proto::welcoming::Welcoming;
use millipede::proto::wire::{self, Frame, LegHeader};
use std::collections::VecDeque;
use std::time::Instant;

/// How far a connection has come.
pub enum Stage {
    /// The network is asked for it; this hello is said when it is there.
    Dialling(Vec<u8>),
    /// The hello was said then, and the answer is heard.
    Asked(Instant, Hearing),
    /// It was welcomed here, and the far end's welcome is heard.
    Welcomed(Hearing),
    Up,
}

/// What was read.
pub enum Read {
    /// A leg is coming: where it lands is to be asked.
    Header(LegHeader),
    Leg(LegHeader, Landing, Vec<u8>),
    /// What has come of a leg that is moved, behind so many bytes of it.
    Piece(LegHeader, usize, Vec<u8>),
    Frame(Frame),
}

pub struct Line {
    pub conn: usize,
    pub stage: Stage,
    pub welcoming: Welcoming,
    pub inbox: Vec<u8>,
    /// The leg that is coming, and where it goes.
    pub coming: Option<(LegHeader, Landing)>,
    /// Its bytes are moved to the output as they come, so many by now.
    pub moved: Option<usize>,
    /// The item that is being written, and how much of it has left.
    pub out: Vec<u8>,
    pub sent: usize,
    /// It is a leg.
    pub carries: bool,
    pub heard_at: Instant,
    /// What was told of a leg that is not whole.
    told: Coming,
    /// What was seen of the other kernel.
    pub progress: KernelProgress,
    /// Nothing more will be written.
    pub finished: bool,
    pub books: Books,
}

impl Line {
    pub fn new(now: Instant, conn: usize, stage: Stage) -> Self {
        Line {
            conn,
            stage,
            welcoming: Welcoming::Done,
            inbox: Vec::new(),
            coming: None,
            moved: None,
            out: Vec::new(),
            sent: 0,
            carries: false,
            heard_at: now,
            told: Coming::new(now),
            progress: KernelProgress::new(now, 0),
            finished: false,
            books: Books::default(),
        }
    }

    pub fn is_up(&self) -> bool {
        matches!(self.stage, Stage::Up)
    }

    /// Whether the session was told of it and took it.
    pub fn is_known(&self) -> bool {
        !matches!(self.stage, Stage::Dialling(_) | Stage::Asked(..))
    }

    /// Whether anything may be written.
    pub fn may_write(&self) -> bool {
        self.is_known() && self.welcoming.most_items() > 0 && !self.finished
    }

    pub fn has_written(&self) -> bool {
        self.sent == self.out.len()
    }

    /// Bytes of memory for the leg that is coming.
    pub fn in_flight(&self) -> u64 {
        self.coming
            .map_or(0, |(header, landing)| if landing == Landing::Keep { header.raw.into() } else { 0 })
    }

    /// How many more bytes have come of a leg that is wanted and not whole; told once a second.
    pub fn partly(&mut self, now: Instant) -> Option<u64> {
        let (header, _) = self.coming.filter(|(_, landing)| *landing == Landing::Keep)?;
        let bytes = self.moved.unwrap_or(self.inbox.len());
        self.told.came(now, LegPart { leg: header.sequence, bytes })
    }

    /// The next thing in what was read.
    pub fn next(&mut self) -> Result<Option<Read>, LossReason> {
        if let Some(((header, _), moved)) = self.coming.zip(self.moved) {
            let len = self.inbox.len().min(header.encoded as usize - moved);
            let piece = self.inbox.drain(..len).collect();
            return Ok((len > 0).then_some(Read::Piece(header, moved, piece)));
        }
        if let Some((header, landing)) = self.coming {
            let len = header.encoded as usize;
            if self.inbox.len() < len {
                return Ok(None);
            }
            self.coming = None;
            let bytes = self.inbox[..len].to_vec();
            self.inbox.drain(..len);
            return Ok(Some(Read::Leg(header, landing, bytes)));
        }
        let decoded = wire::decode(&self.inbox).map_err(|e| LossReason::Breach(e.into()))?;
        let Some((frame, len)) = decoded else { return Ok(None) };
        self.inbox.drain(..len);
        Ok(Some(match frame {
            Frame::Leg(header) => Read::Header(header),
            frame => Read::Frame(frame),
        }))
    }
}

/// What was read from a connection and written to it, as far as one must fit the other.
#[derive(Default)]
pub struct Books {
    /// Legs read to their end.
    read: u64,
    /// Complaints that are owed: at which count, of which leg.
    owed: VecDeque<(u64, u64)>,
    /// The last ping that was read.
    ping: Option<u64>,
    /// The welcome was written.
    pub welcomed: bool,
    /// The session was told that this connection can take a leg, and gave none since.
    pub ready: bool,
}

impl Books {
    /// A leg was read to its end; with `damaged`, a complaint is owed.
    pub fn read_leg(&mut self, sequence: u64, damaged: bool) {
        self.read += 1;
        if damaged {
            self.owed.push_back((self.read, sequence));
        }
    }

    pub fn read_frame(&mut self, frame: &Frame) {
        if let Frame::Ping { token } = frame {
            self.ping = Some(*token);
        }
    }

    /// What is wrong with writing this item now; `welcomes` if this end has to.
    pub fn write(&mut self, item: &Item, welcomes: bool) -> Option<String> {
        let wrong = |what: String| Some(what);
        match item {
            Item::Welcome(_) if !welcomes || self.welcomed => wrong("a welcome out of place".into()),
            Item::Welcome(_) => {
                self.welcomed = true;
                None
            }
            _ if welcomes && !self.welcomed => wrong(format!("{item:?} before the welcome")),
            Item::Leg(leg) if !std::mem::take(&mut self.ready) => wrong(format!("{leg:?} unasked")),
            Item::Frame(Frame::Ack(ack)) if ack.count > self.read => {
                wrong(format!("{} legs are acknowledged where {} came", ack.count, self.read))
            }
            Item::Frame(Frame::Ack(ack)) if self.owed.front().is_some_and(|(at, _)| *at <= ack.count) => {
                wrong(format!("an acknowledgement of {} legs overtakes {:?}", ack.count, self.owed))
            }
            Item::Frame(Frame::Nack { sequence }) => match self.owed.pop_front() {
                Some((_, owed)) if owed == *sequence => None,
                owed => wrong(format!("leg {sequence} is complained about where {owed:?} is owed")),
            },
            Item::Frame(Frame::Pong { token }) if self.ping != Some(*token) => {
                wrong(format!("a pong {token} where the last ping was {:?}", self.ping))
            }
            Item::Leg(_) | Item::Frame(_) => None,
        }
    }
}
