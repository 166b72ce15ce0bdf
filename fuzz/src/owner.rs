//! An honest owner of a session, without a network: connections whose far end is the script. It carries out what the
//! session decides and keeps the books by which [`checks`](super::checks) judges it.

use super::line::{Books, Line, Read, Stage};
use millipede::proto::handshake::{CHUNK, Hearing, WELCOME_TIME};
use millipede::proto::hello::{Hello, Welcome};
use millipede::proto::kernel::Signs;
use millipede::proto::leg::{CONNECTIONS_MAX, LEG_MAX, Leg};
use millipede::proto::life::{REAP, Silence};
use millipede::proto::links::{DialError, LossReason};
use millipede::proto::mailbox::Item;
use millipede::proto::outcome::{Outcome, Status};
use millipede::proto::session::{Action, Landing, Session};
use millipede::proto::way::Way;
use millipede::proto::wire::{Fin, Frame, LegFlags, LegHeader, WindowEdge};
use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

static ZEROS: [u8; LEG_MAX] = [0; LEG_MAX];

/// So many zeros, which take no memory.
pub struct Zeros(usize);

impl AsRef<[u8]> for Zeros {
    fn as_ref(&self) -> &[u8] {
        &ZEROS[..self.0]
    }
}

/// What the far end was told.
#[derive(Default)]
pub struct Told {
    /// Legs and bytes of this end's stream, as far as they were sent.
    pub came: (u64, u64),
    pub fin: Option<Fin>,
    /// The last ping, by connection.
    pub pings: [Option<u64>; CONNECTIONS_MAX],
    /// Legs, by connection.
    pub legs: [u64; CONNECTIONS_MAX],
    /// How far this end lets it go.
    pub edge: Option<WindowEdge>,
}

/// What the output has got and taken.
#[derive(Default)]
pub struct Output {
    pub queue: VecDeque<Leg>,
    /// The next leg and byte that may be delivered.
    pub next: (u64, u64),
    pub taken: u64,
    checked: bool,
    crc: crc32fast::Hasher,
    /// It was told to close, and has not said that it did.
    pub closing: bool,
    pub closed: bool,
    pub failed: bool,
}

/// What the input has given.
#[derive(Default)]
pub struct Input {
    pub bytes: u64,
    pub over: bool,
    /// Pieces that the session may still hold.
    pub pieces: Vec<Weak<Zeros>>,
}

pub struct Owner {
    pub session: Session,
    pub now: Instant,
    pub buffer: u64,
    pub dials: bool,
    pub lines: [Option<Line>; CONNECTIONS_MAX],
    /// Sockets that take nothing.
    pub full: [bool; CONNECTIONS_MAX],
    /// Attempts that nobody has answered: what was said.
    pub asked: [Option<Box<Hello>>; CONNECTIONS_MAX],
    /// When each connection was dialled last, and whether it came up since.
    pub dialled: [Option<(Instant, bool)>; CONNECTIONS_MAX],
    /// The furthest edge that the far end gave.
    pub edge: WindowEdge,
    pub told: Told,
    pub input: Input,
    pub output: Output,
    pub checked: bool,
    pub over: bool,
    /// The far end wants no more of this end's stream.
    pub ceased: bool,
    /// When it was told to end.
    pub ordered: Option<Instant>,
    pub settled: [Option<Outcome>; 2],
    /// What the kernel says of the peer's is as old as what the peer says.
    pub kernel_silent: bool,
}

impl Owner {
    pub fn new(now: Instant, session: Session, buffer: u64, dials: bool, checked: bool) -> Self {
        Owner {
            session,
            now,
            buffer,
            dials,
            lines: Default::default(),
            full: [false; CONNECTIONS_MAX],
            asked: Default::default(),
            dialled: [None; CONNECTIONS_MAX],
            edge: WindowEdge { bytes: 0, legs: 0 },
            told: Told::default(),
            input: Input::default(),
            output: Output { checked: true, ..Output::default() },
            checked,
            over: false,
            ceased: false,
            ordered: None,
            settled: [None, None],
            kernel_silent: true,
        }
    }

    /// One event, all that follows from it, and whether all is well then.
    pub fn does(&mut self, event: impl FnOnce(&mut Session, Instant)) {
        if !self.over {
            event(&mut self.session, self.now);
        }
        self.settle();
        self.check();
    }

    // ---- what the session wants -----------------------------------------------------------------------

    fn settle(&mut self) {
        loop {
            while let Some(action) = self.session.poll() {
                assert!(!self.over, "{action:?} after the end");
                self.act(action);
            }
            drop(self.session.take_freed());
            let posted = self.session.take_posted();
            posted.iter().for_each(|connection| self.write(connection));
            let ready = self.ready();
            if posted.is_empty() && !ready {
                return;
            }
        }
    }

    fn act(&mut self, action: Action) {
        let now = self.now;
        match action {
            Action::Dial { connection, hello, .. } => {
                assert!(self.dials && self.lines[connection].is_none() && self.asked[connection].is_none());
                // attempts that fail have their pauses, link by link
                let apart = |(at, up): (Instant, bool)| !up || now - at >= Duration::from_millis(50);
                assert!(self.dialled[connection].is_none_or(apart), "dials without a pause");
                self.dialled[connection] = Some((now, false));
                self.asked[connection] = Some(hello);
            }
            Action::Drop(connection, _) => self.lines[connection] = None,
            Action::Leave(connection) => {
                self.lines[connection] = None;
                self.came_up(connection);
                self.session.lost(now, connection, &LossReason::Left);
            }
            Action::Look(connection) => {
                let Some(line) = self.lines[connection].as_ref().filter(|line| line.is_up()) else { return };
                let peer = now - line.heard_at;
                let kernel = if self.kernel_silent { peer } else { Duration::ZERO };
                let silence = Silence { peer, kernel, waits: true };
                self.session.examined(now, connection, Signs { silence, taken: 0, swallowed: false });
            }
            Action::Deliver(leg) => {
                assert_eq!((leg.sequence, leg.offset), self.output.next, "delivered out of order");
                self.output.next = (leg.sequence + 1, leg.range().end);
                self.output.queue.push_back(leg);
            }
            Action::CloseOutput => {
                assert!(self.output.queue.is_empty(), "closed before all was taken");
                self.output.closing = true;
            }
            Action::Met(Way::In, far) if !self.dials => {
                self.checked = far.features.contains(millipede::proto::hello::Features::CHECKSUM);
            }
            Action::Cease => self.ceased = true,
            Action::Met(..) | Action::Tell(_) => {}
            Action::Settled(way, outcome) => {
                let told = self.settled[way as usize].replace(outcome);
                assert!(told.is_none(), "judged twice");
            }
            Action::Over => self.over = true,
        }
    }

    fn came_up(&mut self, connection: usize) {
        self.dialled[connection].iter_mut().for_each(|(_, up)| *up = true);
    }

    /// Connections that have nothing to write may have legs. Whether there are such that were not known.
    fn ready(&mut self) -> bool {
        let mut any = false;
        for connection in 0..self.lines.len() {
            let asked = self.session.mailbox(connection).leg_bytes() == 0;
            let Some(line) = self.lines[connection].as_mut().filter(|line| line.is_up()) else { continue };
            if asked && !self.full[connection] && !self.over && !line.books.ready {
                line.books.ready = true;
                self.session.ready(self.now, connection);
                any = true;
            }
        }
        any
    }

    /// Everything that waits for this connection leaves, if its socket takes anything.
    fn write(&mut self, connection: usize) {
        while let Some(line) = self.lines[connection].as_ref().filter(|line| line.may_write()) {
            let _ = line;
            if self.full[connection] {
                return;
            }
            let Some(item) = self.session.take(connection) else { return };
            self.written(connection, item);
        }
        let waits = self.lines[connection].is_none() && !self.session.mailbox(connection).is_empty();
        assert!(self.over || !waits, "something is to be written on a connection that is not there");
    }

    /// A socket takes something again, or no more.
    pub fn set_full(&mut self, connection: usize, full: bool) {
        self.full[connection] = full;
        self.write(connection);
        self.does(|_, _| {});
    }

    fn written(&mut self, connection: usize, item: Item) {
        let welcomes = self.session.receiving().is_some();
        let Some(line) = &mut self.lines[connection] else { return };
        if let Some(wrong) = line.books.write(&item, welcomes) {
            panic!("connection {connection}: {wrong}");
        }
        match item {
            Item::Welcome(welcome) => self.told.edge = Some(welcome.edge),
            Item::Frame(Frame::Ack(ack)) => self.told.edge = Some(ack.edge),
            Item::Frame(Frame::Ping { token }) => self.told.pings[connection] = Some(token),
            Item::Frame(Frame::Fin(fin)) => self.told.fin = Some(fin),
            // nothing of these is of use to a peer that answers by its script
            Item::Frame(Frame::Leg(_) | Frame::Nack { .. } | Frame::Pong { .. } | Frame::Verdict(_)) => {}
            Item::Frame(Frame::Bye | Frame::Enough | Frame::Abort(_)) => {}
            Item::Leg(leg) => {
                let beyond = leg.sequence >= self.edge.legs || leg.range().end > self.edge.bytes;
                assert!(!beyond, "{leg:?} is sent beyond the window, {:?}", self.edge);
                if self.checked {
                    let crc = crc32fast::hash(leg.bytes());
                    self.session.note_crc(self.now, leg.sequence, crc);
                }
                self.told.legs[connection] += 1;
                self.told.came = self.told.came.max((leg.sequence + 1, leg.range().end));
            }
        }
    }

    // ---- connections ----------------------------------------------------------------------------------

    /// A connection is there, in place of an older one.
    pub fn connect(&mut self, connection: usize, stage: Stage) {
        self.full[connection] = false;
        self.told.legs[connection] = 0;
        self.told.pings[connection] = None;
        self.lines[connection] = Some(Line::new(self.now, connection, stage));
    }

    pub fn lose(&mut self, connection: usize, why: &LossReason) {
        if self.lines[connection].take().is_some() {
            self.does(|session, now| session.lost(now, connection, why));
        }
    }

    /// Bytes of the far end come.
    pub fn read(&mut self, connection: usize, bytes: &[u8]) {
        let Some(line) = self.lines[connection].as_mut().filter(|_| !self.over) else { return };
        line.heard_at = self.now;
        let Stage::Welcomed(hearing) = &mut line.stage else {
            line.inbox.extend_from_slice(bytes);
            return self.read_frames(connection);
        };
        let mut parts = bytes.chunks(CHUNK);
        while let Some(part) = parts.next() {
            hearing.push(part);
            match hearing.welcome() {
                Ok(None) => {}
                Ok(Some(welcome)) => {
                    let fresh = Hearing::new(self.now, WELCOME_TIME);
                    line.inbox = std::mem::replace(hearing, fresh).rest();
                    parts.for_each(|part| line.inbox.extend_from_slice(part));
                    line.stage = Stage::Up;
                    self.welcomed(connection, &welcome);
                    return self.read_frames(connection);
                }
                Err(why) => return self.lose(connection, &why),
            }
        }
    }

    pub fn welcomed(&mut self, connection: usize, welcome: &Welcome) {
        self.note_edge(welcome.edge);
        self.does(|session, now| session.welcomed(now, connection, welcome, None, Duration::from_millis(1)));
        if self.session.link_of(connection).is_some() {
            self.came_up(connection);
        }
        // what was put there before it could be written
        self.set_full(connection, false);
    }

    pub fn dial_failed(&mut self, connection: usize, why: &DialError) {
        if self.asked[connection].take().is_some() {
            self.does(|session, now| session.dial_failed(now, connection, why));
        }
    }

    fn note_edge(&mut self, edge: WindowEdge) {
        self.edge.bytes = self.edge.bytes.max(edge.bytes);
        self.edge.legs = self.edge.legs.max(edge.legs);
    }

    fn read_frames(&mut self, connection: usize) {
        while !self.over
            && let Some(line) = self.lines[connection].as_mut().filter(|line| line.is_up())
        {
            match line.next() {
                Ok(None | Some(Read::Piece(..))) => return,
                Ok(Some(Read::Header(header))) => match self.session.landing(connection, &header) {
                    Ok(landing) => line.coming = Some((header, landing)),
                    Err(why) => self.lose(connection, &why),
                },
                Ok(Some(Read::Leg(header, landing, bytes))) => self.leg(connection, &header, landing, bytes),
                Ok(Some(Read::Frame(frame))) => {
                    line.books.read_frame(&frame);
                    if let Frame::Ack(ack) = &frame {
                        self.note_edge(ack.edge);
                    }
                    self.does(|session, now| session.frame(now, connection, frame));
                }
                Err(why) => self.lose(connection, &why),
            }
            self.check();
        }
    }

    fn leg(&mut self, connection: usize, header: &LegHeader, landing: Landing, bytes: Vec<u8>) {
        let checked = header.flags & LegFlags::CHECKED != 0;
        let damaged = landing == Landing::Keep && checked && crc32fast::hash(&bytes) != header.crc;
        if let Some(Line { books, .. }) = &mut self.lines[connection] {
            Books::read_leg(books, header.sequence, damaged);
        }
        let crc = checked.then_some(header.crc);
        let leg = Leg { crc, ..Leg::new(header.sequence, header.offset, Arc::new(bytes)) };
        self.does(|session, now| match (damaged, landing) {
            (true, _) => session.leg_damaged(now, connection, header.sequence),
            (_, Landing::Scratch) => session.leg_again(now, connection),
            (_, Landing::Keep) => session.leg(now, connection, leg),
        });
    }

    // ---- the streams' other ends ----------------------------------------------------------------------

    /// The output takes up to so many legs; if it has taken all and was told to close, it closes.
    pub fn take(&mut self, legs: usize) {
        for _ in 0..legs {
            let Some(leg) = self.output.queue.pop_front().filter(|_| !self.output.failed) else { break };
            self.output.taken += leg.len();
            self.output.checked &= leg.crc.is_some();
            self.output.crc.update(leg.bytes());
            self.does(|session, now| session.delivered(now, 1, leg.len()));
        }
        if self.output.queue.is_empty() && std::mem::take(&mut self.output.closing) && !self.output.failed {
            self.output.closed = true;
            let crc = self.output.checked.then(|| self.output.crc.clone().finalize());
            self.does(|session, now| session.output_closed(now, crc));
        }
    }

    pub fn output_fails(&mut self, status: Status) {
        if self.session.receiving().is_some() && !self.output.closed && !self.output.failed {
            self.output.failed = true;
            self.does(|session, now| session.output_failed(now, status, "the output fails"));
        }
    }

    /// The input gives a piece, if there is memory for it.
    pub fn feed(&mut self, size: usize) {
        let most = self.session.appetite().most;
        let size = size.min(most);
        self.input.pieces.retain(|piece| piece.strong_count() > 0);
        let held = |piece: &Weak<Zeros>| piece.upgrade().map_or(0, |piece| piece.0 as u64);
        let used: u64 = self.input.pieces.iter().map(held).sum();
        if size == 0 || self.input.over || used + size as u64 > self.buffer {
            return;
        }
        let piece = Arc::new(Zeros(size));
        self.input.pieces.push(Arc::downgrade(&piece));
        self.input.bytes += size as u64;
        self.does(|session, now| session.input(now, piece));
    }

    pub fn input_ends(&mut self, why: Option<&str>) {
        if self.session.sending().is_none() || std::mem::replace(&mut self.input.over, true) {
            return;
        }
        self.does(|session, now| match why {
            None => session.input_ended(now),
            Some(why) => session.input_failed(now, why),
        });
    }

    pub fn signal(&mut self) {
        if self.ordered.is_none() && !self.over {
            self.ordered = Some(self.now);
            let outcome = Outcome::here(Status::Incomplete, "ended by a signal");
            self.does(|session, now| session.fail(now, &outcome));
        }
    }

    // ---- time -----------------------------------------------------------------------------------------

    /// Time passes; the owner wakes at every deadline.
    pub fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        let mut at_once = 0;
        while !self.over {
            let next = self.session.deadline(self.now).filter(|at| *at < until).unwrap_or(until);
            at_once = if next > self.now { 0 } else { at_once + 1 };
            assert!(at_once < 100, "time stands still");
            self.now = next.max(self.now);
            self.does(Session::tick);
            let due = self.session.deadline(self.now);
            assert!(self.over || due.is_none_or(|at| at > self.now), "a tick leaves a deadline in the past");
            self.patrol();
            if self.now >= until {
                return;
            }
        }
    }

    /// Connections that are silent for long are closed, and so are those that do not welcome in time.
    fn patrol(&mut self) {
        for connection in 0..self.lines.len() {
            let Some(line) = &self.lines[connection] else { continue };
            let silent = match &line.stage {
                Stage::Welcomed(hearing) => hearing.until() <= self.now,
                _ => self.now - line.heard_at >= REAP && self.session.receiving().is_some(),
            };
            if silent && !self.over {
                self.lose(connection, &LossReason::Silent);
            }
        }
    }
}
