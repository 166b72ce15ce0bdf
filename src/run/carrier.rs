//! One connection of the receiving side: a thread that reads legs to their end, whatever anyone else does.
//!
//! It never waits for the output or for another leg: a leg inside the window always has a place, one that is
//! known already is read to nowhere. It acknowledges what it brought by itself, from the hub's published
//! position and its own count, so that an acknowledgement never waits for the hub.

use crate::chaos::{Harm, Hazard};
use crate::proto::leg::{Leg, Payload};
use crate::proto::life::{REAP, Steady};
use crate::proto::reception::Loss;
use crate::proto::wire::{Abort, Ack, Edge, Fin, Frame, LegHeader};
use crate::run::conn::{Connection, FAREWELL, Handle, Informer, WAKER};
use crate::run::pool::{Buffer, Pool};
use crate::run::pump::{Fault, Intake, ReadEnd, Wrote};
use crate::stage;
use crossbeam_channel::Receiver;
use mio::{Events, Poll};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What the hub wants.
pub enum Command {
    /// Acknowledge, even if nothing came here; always, or only if there is news.
    Acknowledge {
        /// Whether the sender may be waiting for it.
        always: bool,
    },
    /// Write a frame.
    Tell(Frame),
    /// Close at once.
    Drop,
    /// The session is over: write what there is, close in order, and report `Closed`.
    Finish,
    /// Tell what the kernel knows about the connection.
    Inform(Informer),
}

/// What a carrier reports.
pub enum Report {
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
    /// After `Finish`: nothing is left to do.
    Closed,
}

/// Where the receiver stands, published by the hub and the output, read by every carrier. Each number only
/// grows, so that reading them one by one is enough.
#[derive(Debug, Default)]
pub struct Position {
    next: AtomicU64,
    delivered: AtomicU64,
    edge_bytes: AtomicU64,
    edge_legs: AtomicU64,
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
}

/// How often a connection says where the receiver stands although nobody asked.
const UNASKED: Duration = Duration::from_secs(1);

/// What every carrier of a process shares.
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
}

/// The thread's state.
pub struct Carrier<F: Fn(Report)> {
    poll: Poll,
    commands: Receiver<Command>,
    connection: Option<Connection>,
    inbox: Inbox<F>,
    shared: Shared,
    /// What was last acknowledged here.
    told: Option<Ack>,
    ack_due: bool,
    unasked_at: Instant,
    finishing: Option<Instant>,
    steady: Steady,
}

impl<F: Fn(Report)> Carrier<F> {
    /// Takes over a connection whose hello was accepted; `welcome` is the answer, not yet written,
    /// `origin` what messages call it.
    ///
    /// # Errors
    /// The kernel has no descriptors left, or the connection is gone.
    pub fn new(
        stream: std::net::TcpStream,
        welcome: &[u8],
        origin: Arc<str>,
        shared: Shared,
        report: F,
    ) -> io::Result<(Self, Handle<Command>)> {
        let poll = Poll::new()?;
        let (handle, commands) = Handle::new(poll.registry())?;
        let now = Instant::now();
        let mut connection = Connection::new(now, stream, &[], poll.registry())?;
        connection.outlet.raw(welcome);
        let carrier = Carrier {
            poll,
            commands,
            connection: Some(connection),
            inbox: Inbox {
                report,
                origin,
                shared: shared.clone(),
                count: 0,
                brought: false,
                deaf: false,
                answers: Vec::new(),
                due: None,
                harm: None,
            },
            shared,
            told: None,
            ack_due: false,
            unasked_at: now + UNASKED,
            finishing: None,
            steady: Steady::new(),
        };
        Ok((carrier, handle))
    }

    /// Works until the connection is gone.
    pub fn run(mut self) {
        let mut events = Events::with_capacity(8);
        loop {
            if let Some(connection) = &mut self.connection {
                events.iter().filter(|e| e.token() != WAKER).for_each(|e| {
                    connection.event(e);
                });
            }
            let now = self.steady.now(Instant::now());
            while let Ok(command) = self.commands.try_recv() {
                self.obey(now, command);
            }
            if let Err((loss, why)) = self.serve(now) {
                self.lose(loss, why);
            }
            if self.connection.is_none() {
                return;
            }
            self.wait(&mut events);
        }
    }

    fn wait(&mut self, events: &mut Events) {
        let more = self.connection.as_ref().is_some_and(Connection::is_readable);
        let until = self.finishing.unwrap_or(self.unasked_at);
        let timeout = self.steady.wait(Instant::now(), Some(until));
        if more {
            return *events = Events::with_capacity(8);
        }
        // an interruption is a wake-up like any other
        let _ = self.poll.poll(events, timeout);
    }

    fn obey(&mut self, now: Instant, command: Command) {
        let Some(connection) = &mut self.connection else { return };
        match command {
            Command::Acknowledge { always } => {
                let news = self.told.is_none_or(|told| told != self.current(told.count, told.blocked_ms));
                self.ack_due |= always || news;
            }
            Command::Tell(frame) => {
                connection.outlet.frame(&frame);
                if !matches!(frame, Frame::Abort(_)) {
                    self.inbox.count_frame();
                }
            }
            Command::Inform(inform) => {
                if let Some(kernel) = connection.kernel() {
                    inform(kernel);
                }
            }
            Command::Drop => self.connection.take().into_iter().for_each(Connection::give_up),
            Command::Finish => {
                self.finishing = Some(now + FAREWELL);
                self.inbox.deaf = true;
            }
        }
    }

    /// Everything that can be done without waiting.
    fn serve(&mut self, now: Instant) -> Result<(), (Loss, String)> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        let closed = |why: String| (Loss::Closed, why);
        if self.finishing.is_some() && connection.is_silent() {
            return Err(closed("silent".into()));
        }
        if let Some(harm) = self.inbox.harm.take() {
            self.suffer(harm);
            return Ok(());
        }
        let first = connection.write();
        let read = connection.read(now, &mut self.inbox);
        if let Some(harm) = self.inbox.harm.take() {
            self.suffer(harm);
            return Ok(());
        }
        let end = read.map_err(|why| closed(why.to_string()))?;
        self.ack_due |= std::mem::take(&mut self.inbox.brought);
        if self.unasked_at <= now {
            (self.ack_due, self.unasked_at) = (true, now + UNASKED);
        }
        // while the socket is full, what is not written yet would only grow old in a queue
        if first == Ok(Wrote::All) {
            self.answer(now);
        }
        if let Some(harm) = self.inbox.harm.take() {
            self.suffer(harm);
        }
        let Some(connection) = &mut self.connection else { return Ok(()) };
        match first.and_then(|_| connection.write()) {
            Ok(Wrote::All) if self.finishing.is_some() => connection.finish_writing(),
            Ok(_) => {}
            Err(why) => {
                // the reason may be there to be read
                while matches!(connection.read(now, &mut self.inbox), Ok(ReadEnd::More)) {}
                return Err(closed(why.to_string()));
            }
        }
        if end == ReadEnd::Eof || self.finishing.is_some_and(|until| until <= now) {
            return Err(closed("closed by the sender".into()));
        }
        if end == ReadEnd::Blocked && now.saturating_duration_since(connection.heard()) >= REAP {
            return Err((Loss::Silent, format!("silent for {} s", REAP.as_secs())));
        }
        Ok(())
    }

    /// Complaints and pongs, then the acknowledgement if one is due: a damaged leg is complained about
    /// before it is counted.
    fn answer(&mut self, now: Instant) {
        let ack = (self.ack_due && self.finishing.is_none()).then(|| {
            let blocked = self.shared.blocked.for_how_long(Instant::now());
            self.current(self.inbox.count, u32::try_from(blocked.as_millis()).unwrap_or(u32::MAX))
        });
        let Some(connection) = &mut self.connection else { return };
        for frame in self.inbox.answers.drain(..).chain(ack.map(Frame::Ack)) {
            connection.outlet.frame(&frame);
            self.inbox.harm = self.inbox.harm.or(self.shared.hazard.frame());
        }
        if ack.is_some() {
            (self.told, self.ack_due) = (ack, false);
            self.unasked_at = now + UNASKED;
        }
    }

    fn current(&self, count: u64, blocked_ms: u32) -> Ack {
        let position = &self.shared.position;
        Ack {
            next: position.next(),
            delivered: position.delivered.load(Relaxed),
            edge: position.edge(),
            count,
            blocked_ms,
        }
    }

    fn suffer(&mut self, harm: Harm) {
        let had = self.connection.is_some();
        self.connection = self.connection.take().and_then(|connection| connection.suffer(harm));
        if had && self.connection.is_none() {
            let closed = if self.finishing.is_some() {
                Report::Closed
            } else {
                Report::Lost(Loss::Closed, harm.to_string())
            };
            (self.inbox.report)(closed);
        }
    }

    fn lose(&mut self, loss: Loss, why: String) {
        let Some(connection) = self.connection.take() else { return };
        if self.finishing.is_some() {
            drop(connection);
            return (self.inbox.report)(Report::Closed);
        }
        connection.give_up();
        (self.inbox.report)(Report::Lost(loss, why));
    }
}

/// What a receiver's connection may bring, and where it goes.
struct Inbox<F: Fn(Report)> {
    report: F,
    /// This connection and its peer, as messages name them.
    origin: Arc<str>,
    shared: Shared,
    /// Legs taken whole on this connection, in the order they came: duplicates and damaged ones too.
    count: u64,
    /// Since the last acknowledgement a leg has come.
    brought: bool,
    /// The session is over: whatever still comes is discarded.
    deaf: bool,
    answers: Vec<Frame>,
    /// What is done to the connection when the leg under way is whole.
    due: Option<Harm>,
    /// What is done to it now.
    harm: Option<Harm>,
}

impl<F: Fn(Report)> Inbox<F> {
    /// A frame has come or goes; what that does to the connection is done when this turn is over.
    fn count_frame(&mut self) {
        if !self.deaf {
            self.harm = self.harm.or(self.shared.hazard.frame());
        }
    }

    fn harmed(&self) -> Result<(), Fault> {
        self.harm.map_or(Ok(()), |_| Err(Fault::Harmed))
    }

    fn take_leg(&mut self, header: &LegHeader, buffer: Option<Buffer>) {
        self.count += 1;
        self.brought = true;
        let Some(buffer) = buffer else { return self.came_again() };
        match stage::verify(header, &buffer) {
            Ok(crc) => {
                let payload: Payload = Arc::new(buffer);
                let origin = Some(self.origin.clone());
                let leg = Leg { crc, origin, ..Leg::new(header.sequence, header.offset, payload) };
                (self.report)(Report::Leg(leg));
            }
            Err(stage::Damaged) => {
                self.answers.push(Frame::Nack { sequence: header.sequence });
                self.came_again();
            }
        }
    }

    fn came_again(&self) {
        self.shared.again.fetch_add(1, Relaxed);
    }
}

impl<F: Fn(Report)> Intake for Inbox<F> {
    fn place(&mut self, header: &LegHeader) -> Result<Option<Buffer>, Fault> {
        self.due = if self.deaf { None } else { self.shared.hazard.frame() };
        if self.due == Some(Harm::Cut) {
            self.harm = self.due.take();
            self.harmed()?;
        }
        let (position, edge) = (&self.shared.position, self.shared.position.edge());
        if self.deaf || header.sequence < position.next() {
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
        room.map(Some).ok_or_else(|| Fault::Breach("sent more than the window holds".into()))
    }

    fn leg(&mut self, header: LegHeader, buffer: Option<Buffer>) -> Result<(), Fault> {
        self.take_leg(&header, buffer);
        self.harm = self.harm.or(self.due.take());
        self.harmed()
    }

    fn frame(&mut self, frame: Frame) -> Result<(), Fault> {
        let last = matches!(frame, Frame::Bye | Frame::Abort(_));
        match frame {
            _ if self.deaf => {}
            Frame::Ping { token } => self.answers.push(Frame::Pong { token }),
            Frame::Fin(fin) => (self.report)(Report::Fin(fin)),
            Frame::Bye => (self.report)(Report::Bye),
            Frame::Abort(abort) => (self.report)(Report::Abort(abort)),
            Frame::Leg(_) | Frame::Ack(_) | Frame::Nack { .. } | Frame::Pong { .. } | Frame::Verdict(_) => {
                return Err(Fault::Breach("sent a receiver's message to the receiver".into()));
            }
        }
        if !last {
            self.count_frame();
        }
        self.harmed()
    }
}
