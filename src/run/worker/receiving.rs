//! A worker's receiving role: legs come in, what becomes of them is acknowledged.
//!
//! It never waits for the output or for another leg: a leg inside the window always has a place, one that is
//! known already is read to nowhere. It acknowledges what it brought by itself, from the hub's published
//! position and its own count, so that an acknowledgement never waits for the hub.

use crate::chaos::{Harm, Hazard};
use crate::proto::hello::{Features, Id, Reply, Welcome};
use crate::proto::leg::{Leg, Payload, leg_max};
use crate::proto::life::REAP;
use crate::proto::links::LossReason;
use crate::proto::reception::Loss;
use crate::proto::wire::{Abort, Ack, Edge, Fin, Frame, LegHeader};
use crate::run::conn::Connection;
use crate::run::pool::{Buffer, Pool};
use crate::run::pump::Fault;
use crate::stage;
use crossbeam_channel::Sender;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::time::{Duration, Instant};

/// What a receiving hub hears.
pub enum Report {
    /// Asks for what the far end of a connection dialled from here is to be welcomed with: the leg wanted next, and
    /// the window.
    Where(Sender<(u64, Edge)>),
    /// That connection serves this direction from now on.
    Up(Met),
    /// A leg has come whole, and is what was sent if it is checked.
    Leg(Leg),
    /// The sender announced the stream's end.
    Fin(Fin),
    /// The sender has the verdict.
    Bye,
    /// The sender gives up.
    Abort(Abort),
    /// The connection is gone.
    Lost(Loss, String),
    /// After `Finish`: nothing is left to do. Whether the last words got there: the peer has closed in order, or the
    /// connection lives on with them in it.
    Closed(bool),
}

/// The far end of a connection that was dialled from here.
#[derive(Clone, Copy, Debug)]
pub struct Met {
    /// The number of the link it was dialled on.
    pub link: u8,
    /// Where the hub stood when that had answered. Legs are acknowledged before the hub has seen them, so that its
    /// published position may be behind what the far end knows; the hub itself, asked now, is not.
    pub stands: (u64, Edge),
    /// Where it leads.
    pub address: Option<IpAddr>,
    /// What the far end makes use of.
    pub features: Features,
    /// The far end's memory for legs, in bytes.
    pub buffer: u64,
}

/// What a receiver that dials says of itself in its welcomes.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// The name of this process.
    pub instance: Id,
    /// What it makes use of.
    pub features: Features,
    /// Its memory for legs, in bytes.
    pub buffer: u64,
}

/// Where the receiver stands, published by the hub, and what the sender was told of that, published by every worker.
/// Each number only grows within a session, so that reading them one by one is enough.
#[derive(Debug, Default)]
pub struct Position {
    next: AtomicU64,
    delivered: AtomicU64,
    edge_bytes: AtomicU64,
    edge_legs: AtomicU64,
    /// The furthest edge that an acknowledgement carried.
    told_bytes: AtomicU64,
    told_legs: AtomicU64,
}

impl Position {
    /// The hub's word.
    pub fn publish(&self, next: u64, delivered: u64, edge: Edge) {
        self.next.store(next, Relaxed);
        self.delivered.store(delivered, Relaxed);
        self.edge_bytes.store(edge.bytes, Relaxed);
        self.edge_legs.store(edge.legs, Relaxed);
    }

    /// The next leg wanted.
    fn next(&self) -> u64 {
        self.next.load(Relaxed)
    }

    fn edge(&self) -> Edge {
        Edge { bytes: self.edge_bytes.load(Relaxed), legs: self.edge_legs.load(Relaxed) }
    }

    /// The furthest edge that the sender was told of. A worker that is about to say more may not have said so here
    /// yet: then it is told twice.
    pub fn told(&self) -> Edge {
        Edge { bytes: self.told_bytes.load(Relaxed), legs: self.told_legs.load(Relaxed) }
    }

    /// Another session may begin: nobody was told of its window yet.
    pub fn forget_told(&self) {
        self.told_bytes.store(0, Relaxed);
        self.told_legs.store(0, Relaxed);
    }

    fn tells(&self, edge: Edge) {
        self.told_bytes.fetch_max(edge.bytes, Relaxed);
        self.told_legs.fetch_max(edge.legs, Relaxed);
    }
}

/// How often a connection says where the receiver stands although nobody asked.
const UNASKED: Duration = Duration::from_secs(1);

/// What the receiving roles of a process share.
#[derive(Clone)]
pub struct Shared {
    /// Where the receiver stands.
    pub position: Arc<Position>,
    /// For how long the output has been blocked.
    pub blocked: Arc<crate::run::egress::Blocked>,
    /// Legs that came although they were there, or came damaged.
    pub again: Arc<AtomicU64>,
    /// Where legs live.
    pub pool: Pool,
    /// What is done to connections on purpose.
    pub hazard: Hazard,
    /// Whether any of the stream has come: then nobody but this sender can finish it.
    pub begun: Arc<AtomicBool>,
}

/// The state of the role.
pub struct Receiving {
    /// The hub's ear, told which connection it is; false if nobody listens there any more.
    report: Box<dyn Fn(u64, Report) -> bool + Send>,
    /// The worker's place at the hub.
    place: usize,
    /// The connection's number: of those that have this place, the hub knows the latest.
    number: u64,
    /// What to welcome the far end with; only where connections are dialled from here.
    terms: Option<Terms>,
    /// Whether the connection serves this role: the far end was welcomed.
    open: bool,
    /// This connection and its peer, as messages name them.
    origin: Arc<str>,
    shared: Shared,
    /// Legs taken whole on this connection, in the order they came: duplicates and damaged ones too.
    count: u64,
    /// Since the last acknowledgement a leg has come.
    brought: bool,
    /// The session is over: whatever still comes is discarded.
    over: bool,
    answers: Vec<Frame>,
    /// What is done to the connection when the leg under way is whole.
    due: Option<Harm>,
    /// What was last acknowledged here.
    told: Option<Ack>,
    ack_due: bool,
    unasked_at: Instant,
    /// Nothing has been heard for a long time.
    deserted: bool,
}

impl Receiving {
    /// The role for a connection that was let in at this place, with this number; messages call it `origin`.
    pub fn given(
        (place, number): (usize, u64),
        origin: Arc<str>,
        shared: Shared,
        report: impl Fn(u64, Report) -> bool + Send + 'static,
    ) -> Self {
        Receiving { number, origin, open: true, ..Self::new(place, None, shared, report) }
    }

    /// The role for each connection that the worker of this place will dial.
    pub fn dialled(
        place: usize,
        terms: Terms,
        shared: Shared,
        report: impl Fn(u64, Report) -> bool + Send + 'static,
    ) -> Self {
        Self::new(place, Some(terms), shared, report)
    }

    fn new(
        place: usize,
        terms: Option<Terms>,
        shared: Shared,
        report: impl Fn(u64, Report) -> bool + Send + 'static,
    ) -> Self {
        Receiving {
            report: Box::new(report),
            place,
            number: 0,
            terms,
            open: false,
            origin: "".into(),
            shared,
            count: 0,
            brought: false,
            over: false,
            answers: Vec::new(),
            due: None,
            told: None,
            ack_due: false,
            unasked_at: Instant::now() + UNASKED,
            deserted: false,
        }
    }

    /// Tells the hub. Once nobody hears it, the session's stream to here is over.
    pub fn say(&mut self, report: Report) {
        self.over |= !(self.report)(self.number, report);
    }

    /// The connection is gone.
    pub fn say_lost(&mut self, why: &LossReason) {
        if !self.open {
            return;
        }
        self.open = self.terms.is_none();
        let (loss, why) = match why {
            LossReason::Closed => (Loss::Closed, "closed by the sender".into()),
            LossReason::Silent if self.deserted => (Loss::Silent, format!("silent for {} s", REAP.as_secs())),
            LossReason::Silent => (Loss::Silent, "silent".into()),
            why => (Loss::Closed, why.to_string()),
        };
        self.say(Report::Lost(loss, why));
    }

    /// Whether the stream to here is over: whatever still comes for it is discarded.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// The hub wants nothing more.
    pub fn end(&mut self) {
        self.over = true;
    }

    /// Where the hub stands, after all that was acknowledged up to now.
    pub fn stands(&mut self) -> (u64, Edge) {
        let (sender, answer) = crossbeam_channel::bounded(1);
        self.say(Report::Where(sender));
        // a hub that is gone has published its last position
        let published = || (self.shared.position.next(), self.shared.position.edge());
        answer.recv().unwrap_or_else(|_| published())
    }

    /// The far end of a connection that was dialled from here is wanted: it is welcomed, and the role begins.
    pub fn begin(&mut self, now: Instant, connection: &mut Connection, met: Met) {
        let Some(terms) = self.terms else { return };
        let (next, edge) = met.stands;
        let welcome = Welcome {
            instance: terms.instance,
            next,
            edge,
            leg_max: leg_max(terms.buffer, met.buffer) as u32,
            features: terms.features,
            buffer: terms.buffer,
        };
        connection.outlet.raw(&Reply::Welcome(welcome).encode());
        self.number += 1;
        (self.open, self.count, self.brought, self.told, self.due) = (true, 0, false, None, None);
        self.answers.clear();
        (self.ack_due, self.unasked_at) = (false, now + UNASKED);
        let address = met.address.map_or_else(|| "nowhere".to_owned(), |address| address.to_string());
        self.origin = format!("connection {} to {address}", self.place).into();
        self.say(Report::Up(met));
    }

    /// When the role wants to be woken.
    pub fn wakes_at(&self) -> Option<Instant> {
        (self.open && !self.over).then_some(self.unasked_at)
    }

    /// Whether nobody uses the connection any more, as of a read that found nothing.
    pub fn is_deserted(&mut self, now: Instant, connection: &Connection) -> bool {
        self.deserted = now.saturating_duration_since(connection.heard()) >= REAP;
        self.deserted
    }

    // ---- acknowledging --------------------------------------------------------------------------------

    /// The hub wants an acknowledgement: always, or only if there is news.
    pub fn ask(&mut self, always: bool) {
        let news = self.told.is_none_or(|told| told != self.current(told.blocked_ms));
        self.ack_due |= always || news;
    }

    /// What is due now is due.
    pub fn step(&mut self, now: Instant) {
        self.ack_due |= std::mem::take(&mut self.brought);
        if self.unasked_at <= now {
            (self.ack_due, self.unasked_at) = (true, now + UNASKED);
        }
    }

    /// Complaints and pongs, then the acknowledgement if one is due: a damaged leg is complained about
    /// before it is counted. What the fault plan makes of that.
    pub fn answer(&mut self, now: Instant, connection: &mut Connection) -> Option<Harm> {
        let ack = (self.ack_due && self.open && !self.over).then(|| {
            let blocked = self.shared.blocked.for_how_long(Instant::now());
            self.current(u32::try_from(blocked.as_millis()).unwrap_or(u32::MAX))
        });
        let mut harm = None;
        for frame in self.answers.drain(..).chain(ack.map(Frame::Ack)) {
            connection.outlet.frame(&frame);
            harm = harm.or(self.shared.hazard.frame());
        }
        if let Some(Ack { edge, .. }) = ack {
            self.shared.position.tells(edge);
            (self.told, self.ack_due) = (ack, false);
            self.unasked_at = now + UNASKED;
        }
        harm
    }

    /// Writes this with the next answer.
    pub fn reply(&mut self, frame: Frame) {
        self.answers.push(frame);
    }

    fn current(&self, blocked_ms: u32) -> Ack {
        let position = &self.shared.position;
        Ack {
            next: position.next(),
            delivered: position.delivered.load(Relaxed),
            edge: position.edge(),
            count: self.count,
            blocked_ms,
        }
    }

    // ---- what comes in --------------------------------------------------------------------------------

    /// Where the bytes of a leg go; none if it is known already, and is read to nowhere.
    ///
    /// # Errors
    /// The sender may not send this leg, or the fault plan strikes in its middle.
    pub fn place(&mut self, header: &LegHeader, harm: &mut Option<Harm>) -> Result<Option<Buffer>, Fault> {
        if !self.open {
            return Err(Fault::Breach("sent a leg before it was welcome".into()));
        }
        self.due = if self.over { None } else { self.shared.hazard.frame() };
        if self.due == Some(Harm::Cut) {
            *harm = self.due.take();
            return Err(Fault::Harmed);
        }
        let (position, edge) = (&self.shared.position, self.shared.position.edge());
        if self.over || header.sequence < position.next() {
            return Ok(None);
        }
        if header.sequence >= edge.legs || header.offset + u64::from(header.raw) > edge.bytes {
            return Err(Fault::Breach(format!("sent leg {} beyond the window", header.sequence)));
        }
        if header.encoded != header.raw {
            return Err(Fault::Breach("sent a leg in an encoding that was not agreed".into()));
        }
        // inside the window there is room for everything that keeps to the agreed sizes
        let room = self.shared.pool.try_take(header.encoded as usize);
        // the session is being ended for that, and the sender told
        if room.is_none() && crate::sys::refusal::is_known() {
            return Ok(None);
        }
        room.map(Some).ok_or_else(|| Fault::Breach("sent more than the window holds".into()))
    }

    /// A leg is whole. What the fault plan makes of that.
    pub fn take_leg(&mut self, header: &LegHeader, buffer: Option<Buffer>) -> Option<Harm> {
        self.count += 1;
        self.brought = true;
        self.shared.begun.store(true, SeqCst);
        match buffer {
            None => self.came_again(),
            Some(buffer) => match stage::verify(header, &buffer) {
                Ok(crc) => {
                    let payload: Payload = Arc::new(buffer);
                    let origin = Some(self.origin.clone());
                    let leg = Leg { crc, origin, ..Leg::new(header.sequence, header.offset, payload) };
                    self.say(Report::Leg(leg));
                }
                Err(stage::Damaged) => {
                    self.answers.push(Frame::Nack { sequence: header.sequence });
                    self.came_again();
                }
            },
        }
        self.due.take()
    }

    fn came_again(&self) {
        self.shared.again.fetch_add(1, Relaxed);
    }

    /// Any other frame of a sender.
    ///
    /// # Errors
    /// It is none.
    pub fn frame(&mut self, frame: Frame) -> Result<(), Fault> {
        match frame {
            _ if self.over => {}
            Frame::Ping { .. } | Frame::Fin(_) | Frame::Bye if !self.open => {
                return Err(Fault::Breach("spoke before it was welcome".into()));
            }
            Frame::Ping { token } => self.answers.push(Frame::Pong { token }),
            Frame::Fin(fin) => {
                self.shared.begun.store(true, SeqCst);
                self.say(Report::Fin(fin));
            }
            Frame::Bye => self.say(Report::Bye),
            Frame::Abort(abort) => self.say(Report::Abort(abort)),
            Frame::Leg(_) | Frame::Ack(_) | Frame::Nack { .. } | Frame::Pong { .. } | Frame::Verdict(_) => {
                return Err(Fault::Breach("sent a receiver's message to the receiver".into()));
            }
        }
        Ok(())
    }
}
