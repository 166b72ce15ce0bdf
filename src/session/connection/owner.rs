//! The work on a connection, by the thread that owns it. At the end that listens, such a thread has one connection and
//! ends with it; for the end that dials see `dialling`.

use super::borrowing::{Borrowing, LOOKOUT};
use super::ended::Ended;
use super::holding::Holding;
use super::intake::{ConnectionIntake, Wait};
use super::seat::{Seat, WAKER};
use super::shared::{self, Shared};
use super::stages::{Hearer, Stages};
use super::writer::Writer;
use crate::channel::hear::{self, Arrived};
use crate::channel::{Channel, failure, peer_key};
use crate::chaos::Harm;
use crate::proto::coming::Coming;
use crate::proto::handshake::{Hearing, WELCOME_TIME};
use crate::proto::kernel::{KernelProgress, KernelView};
use crate::proto::life::{REAP, REAP_BORROWED};
use crate::proto::links::LossReason;
use crate::proto::welcoming::Welcoming;
use crate::session::limits::FAREWELL;
use crate::session::orders::{Standing, Ticket};
use crate::session::pump::{Inlet, ReadEnd, Stop};
use crate::sys::socket::TcpInfo;
use mio::{Events, Poll, Token};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The token of the thread's one connection.
const SOCKET: Token = Token(0);

/// A thread for one connection that was let in.
pub(crate) struct Accepted {
    /// The connection.
    pub(crate) ticket: Ticket,
    /// What it owns.
    pub(crate) seat: Arc<Seat>,
    /// Where it waits.
    pub(crate) poll: Poll,
    /// The connection.
    pub(crate) channel: Channel,
    /// The connection and its peer, as messages name them.
    pub(crate) origin: String,
    /// Where the far end's welcome was said ahead: whether it wants legs checked.
    pub(crate) ahead: Option<bool>,
    /// The session.
    pub(crate) shared: Shared,
}

impl Accepted {
    /// Works until the connection has ended.
    pub(crate) fn run(self) {
        let Accepted { ticket, seat, mut poll, channel, origin, ahead, shared } = self;
        let welcoming = Welcoming::let_in(shared.sends, ahead.is_some());
        let mut events = Events::with_capacity(8);
        let serving = Serving::new(&shared, &seat, &mut poll, ticket, Arc::new(channel));
        serving.run(welcoming, ahead.unwrap_or(false), Inlet::new(), &origin, &mut events);
    }
}

/// How far a connection is with its close.
struct Finishing {
    /// The close may take until then.
    until: Instant,
    /// This end has written everything, and said that nothing follows.
    has_said_all: bool,
    /// The peer has closed in order.
    heard_out: bool,
}

/// Work on one connection.
pub(super) struct Serving<'a> {
    shared: &'a Shared,
    seat: &'a Arc<Seat>,
    poll: &'a mut Poll,
    ticket: Ticket,
    channel: Arc<Channel>,
    readable: bool,
    /// Nothing is read any more, but the socket stays open.
    mute: bool,
    /// The poll has told that the peer has closed the connection, or of an error.
    ended: bool,
    /// What is done to the connection when the leg under way is whole.
    due: Option<Harm>,
    /// When a byte of the peer came last.
    heard: Instant,
    /// What the peer's kernel takes.
    progress: KernelProgress,
    coming: Coming,
    /// The core wants to know of its signs of life.
    examined: bool,
    /// The session is over.
    finishing: Option<Finishing>,
    /// There is more to read or to write, and the poll need not say so.
    more: bool,
    /// There may be more to write, and the socket was not full.
    unwritten: bool,
    /// The writer waits for this thread, or somebody has woken it.
    called: bool,
    /// Whether the leg that comes waits for the sink.
    holding: Holding,
    /// Whether it waits for the sockets behind the output as well.
    borrowing: Borrowing,
    /// Legs on their way through the user's programs.
    stages: Stages,
}

impl<'a> Serving<'a> {
    /// For a new connection, which this thread owns.
    pub(super) fn new(
        shared: &'a Shared,
        seat: &'a Arc<Seat>,
        poll: &'a mut Poll,
        ticket: Ticket,
        channel: Arc<Channel>,
    ) -> Self {
        let now = shared.desk.now();
        Serving {
            holding: Holding::on(&channel),
            borrowing: Borrowing::new(shared.lookout.clone()),
            progress: KernelProgress::new(now, channel.info().map_or(0, |info| info.bytes_acked)),
            coming: Coming::new(now),
            shared,
            seat,
            poll,
            ticket,
            channel,
            readable: true,
            mute: false,
            ended: false,
            due: None,
            heard: now,
            examined: false,
            finishing: None,
            more: true,
            unwritten: false,
            called: true,
            stages: Stages::new(shared.filters.clone()),
        }
    }

    /// Works until the connection has ended, and closes it.
    pub(super) fn run(
        mut self,
        welcoming: Welcoming,
        checked: bool,
        inlet: Inlet,
        origin: &str,
        events: &mut Events,
    ) {
        let hazard = &self.shared.hazard;
        let writer = Writer::new(
            self.heard,
            self.ticket,
            self.channel.clone(),
            welcoming,
            checked,
            hazard.clone(),
            (self.seat.busy(), self.seat.drain().clone()),
        );
        let compressing = self.shared.compressing.clone().map(|all| (all, self.seat.waker().clone()));
        let through = self.shared.filters.as_ref().is_some_and(|filters| filters.encode.is_some());
        *self.seat.lock() = Some(writer.compressing(compressing).through(through));
        let registered = self.channel.register(self.poll.registry(), SOCKET);
        let ended = match registered.map_err(|e| failure(&e)) {
            Ok(()) => self.work(welcoming, inlet, origin, events),
            Err(why) => Ended::Lost(why),
        };
        self.channel.deregister(self.poll.registry());
        self.close(ended);
    }

    fn work(&mut self, welcoming: Welcoming, inlet: Inlet, origin: &str, events: &mut Events) -> Ended {
        let welcomed = match welcoming {
            Welcoming::Done => Ok(inlet),
            Welcoming::First | Welcoming::Awaited | Welcoming::Ahead => self.await_welcome(events),
        };
        welcomed.and_then(|inlet| self.serve(inlet, &origin.into(), events)).err().unwrap_or(Ended::Over)
    }

    /// Waits for the far end's welcome, and tells of it.
    fn await_welcome(&mut self, events: &mut Events) -> Result<Inlet, Ended> {
        let mut hearing = Hearing::new(self.heard, WELCOME_TIME);
        let connection = self.ticket.connection;
        loop {
            let now = self.stand()?;
            self.flush()?;
            let until =
                self.finishes_until().map_or(hearing.until(), |finishing| finishing.min(hearing.until()));
            if let Some(welcome) = hearing.welcome().map_err(Ended::Lost)? {
                let (desk, round_trip) = (&self.shared.desk, hearing.taken(now));
                let key = peer_key(&self.channel);
                let told = desk.tell_as(self.ticket, |core, now| {
                    core.session.welcomed(now, connection, &welcome, key, round_trip);
                    shared::is_checked(&core.session)
                });
                let checked = told.ok_or(Ended::Over)?;
                self.seat.lock().iter_mut().for_each(|writer| writer.welcomed(checked));
                return Ok(Inlet::with(&hearing.rest()));
            }
            match hear::read(&mut &*self.channel, &mut hearing) {
                Ok(Arrived::Bytes) => {}
                Ok(Arrived::End) => return Err(Ended::Lost(LossReason::Closed)),
                Ok(Arrived::Nothing) if until <= now => return Err(Ended::Lost(LossReason::Silent)),
                Ok(Arrived::Nothing) => {
                    self.more = self.unwritten;
                    self.wait(now, events, Some(until))?;
                }
                Err(e) => return Err(Ended::Lost(failure(&e))),
            }
        }
    }

    /// Works on the connection until it ends; how it ended.
    fn serve(
        &mut self,
        mut inlet: Inlet,
        origin: &Arc<str>,
        events: &mut Events,
    ) -> Result<std::convert::Infallible, Ended> {
        loop {
            let now = self.stand()?;
            let end = self.read(now, &mut inlet, origin)?;
            if end == ReadEnd::Blocked {
                self.look_for_life(now)?;
            }
            let written = if self.is_to_write() { self.flush() } else { Ok(()) };
            if let Err(Ended::Lost(_)) = written {
                // the reason may be there to be read
                while self.read(now, &mut inlet, origin)? == ReadEnd::More {}
            }
            written?;
            self.work_on_stages(origin)?;
            self.finish(now, end)?;
            self.more = self.unwritten || self.goes_on(end);
            self.borrowing.follow(self.poll.registry(), now, self.more);
            let times = [self.finishes_until(), self.wakes_at(), self.stages_look(), self.holding.until()];
            let until = times.into_iter().flatten().min();
            self.wait(now, events, until)?;
        }
    }

    /// The time; an end if the connection is not wanted any more.
    fn stand(&mut self) -> Result<Instant, Ended> {
        let (standing, now) = self.shared.desk.standing(self.ticket);
        match standing {
            Standing::Wanted => {}
            Standing::Examined => self.examined = true,
            Standing::Leaving => return Err(Ended::Lost(LossReason::Left)),
            Standing::Over => return Err(Ended::Over),
            Standing::Finishing if self.finishing.is_none() => {
                self.finishing =
                    Some(Finishing { until: now + FAREWELL, has_said_all: false, heard_out: false });
                self.seat.lock().iter_mut().for_each(Writer::spare);
                self.stages.clear();
            }
            Standing::Finishing => {}
        }
        Ok(now)
    }

    /// Whether this thread has anything to write: what others post they mostly write themselves.
    fn is_to_write(&mut self) -> bool {
        let connection = self.ticket.connection;
        let mail = self.shared.desk.peek_as(self.ticket, |core| !core.session.mailbox(connection).is_empty());
        let is_called = std::mem::take(&mut self.called) || self.unwritten;
        is_called || self.finishing.is_some() || mail.unwrap_or(true)
    }

    /// Writes what waits.
    fn flush(&mut self) -> Result<(), Ended> {
        let mut writer = self.seat.lock();
        let Some(writer) = &mut *writer else { return Ok(()) };
        self.unwritten = !writer.flush(&self.shared.desk, u64::MAX);
        self.borrowing.wrote(writer.written());
        match writer.take_harm() {
            Some(Harm::Silence) => {
                writer.fall_silent();
                self.mute = true;
                self.holding.end(self.poll.registry());
            }
            Some(harm) => return Err(Ended::Harmed(harm)),
            None => {}
        }
        if let Some((leg, crc)) = writer.take_unencoded().filter(|_| self.finishing.is_none()) {
            self.stages.give(leg, crc);
        }
        writer.failed().map_or(Ok(()), |why| Err(Ended::Lost(why.clone())))
    }

    /// Legs through the user's programs, as far as they go without waiting.
    fn work_on_stages(&mut self, origin: &Arc<str>) -> Result<(), Ended> {
        let Shared { desk, pool, compressing, .. } = self.shared;
        while self.finishing.is_none() {
            let (hearer, compressing) =
                (Hearer { desk, ticket: self.ticket, origin }, compressing.as_deref());
            let turn = self.stages.turn(hearer, pool, compressing, self.poll.registry())?;
            let Some((header, leg)) = turn else { break };
            if let Some(compressing) = compressing {
                compressing.judge(|| desk.peek_as(self.ticket, |core| core.path(self.ticket.connection)));
            }
            if let Some(writer) = &mut *self.seat.lock() {
                // what a program made is in memory
                let _ = writer.send(header, leg);
            }
            self.flush()?;
        }
        Ok(())
    }

    /// When to look at the programs again, in the session's time: theirs has the gaps in which this process was stopped.
    fn stages_look(&self) -> Option<Instant> {
        self.stages.look().map(|at| self.shared.desk.now() + at.saturating_duration_since(Instant::now()))
    }

    /// Reads what there is, for one turn.
    fn read(&mut self, now: Instant, inlet: &mut Inlet, origin: &Arc<str>) -> Result<ReadEnd, Ended> {
        if self.mute {
            return Ok(if self.ended { ReadEnd::Eof } else { ReadEnd::Blocked });
        }
        if !self.readable {
            return Ok(ReadEnd::Blocked);
        }
        let is_going = self.finishing.is_none();
        let sink = self.holding.sink(self.shared).filter(|_| is_going);
        let mut awaits = None;
        let mut intake = ConnectionIntake {
            shared: self.shared,
            ticket: self.ticket,
            channel: &self.channel,
            ended: self.ended,
            output: sink.as_deref(),
            wait: Wait {
                patient: self.holding.is_patient(now),
                waker: self.seat.waker(),
                awaits: &mut awaits,
            },
            stages: &mut self.stages,
            origin,
            hazard: is_going.then_some(&self.shared.hazard),
            due: &mut self.due,
            before: None,
            legs: 0,
        };
        let read = inlet.bytes();
        let end = inlet.read(&mut &*self.channel, &mut intake);
        let end = intake.tell_before().and(end);
        self.borrowing.brought(intake.legs);
        let heard = inlet.bytes() > read;
        self.tell_coming(now, inlet);
        self.heard = if heard { now } else { self.heard };
        match end {
            Ok(end) => {
                self.readable = matches!(end, ReadEnd::More | ReadEnd::Full | ReadEnd::Held);
                self.holding.follow(self.poll.registry(), now, awaits, heard, sink);
                Ok(end)
            }
            Err(Stop::Harmed(Harm::Silence)) => {
                self.seat.lock().iter_mut().for_each(Writer::fall_silent);
                self.mute = true;
                self.holding.end(self.poll.registry());
                Ok(ReadEnd::Blocked)
            }
            Err(stop) => Err(stop.into()),
        }
    }

    /// Tells how far a leg has come that takes long.
    fn tell_coming(&mut self, now: Instant, inlet: &Inlet) {
        let connection = self.ticket.connection;
        let part = inlet.part().filter(|_| self.finishing.is_none());
        if let Some(bytes) = part.and_then(|part| self.coming.came(now, part)) {
            self.shared.desk.tell_as(self.ticket, |core, now| core.session.coming(now, connection, bytes));
        }
    }

    /// The socket has nothing to read now. Only then is silence judged. The kernel is asked for progress even while the
    /// peer speaks, because hearing the peer does not prove that anything reaches it.
    fn look_for_life(&mut self, now: Instant) -> Result<(), Ended> {
        if self.shared.receives && now.saturating_duration_since(self.heard) >= self.reap() {
            return Err(Ended::Lost(LossReason::Silent));
        }
        if std::mem::take(&mut self.examined) {
            let signs = self.progress.examine(now, self.heard, self.channel.info().map(view));
            let connection = self.ticket.connection;
            self.shared.desk.tell_as(self.ticket, |core, now| core.session.examined(now, connection, signs));
        }
        Ok(())
    }

    /// The peer has ended the connection, or the session is over and everything was written.
    fn finish(&mut self, now: Instant, end: ReadEnd) -> Result<(), Ended> {
        if let Some(finishing) = &mut self.finishing {
            let written = !self.unwritten && self.seat.lock().as_ref().is_none_or(Writer::is_empty);
            if written && !std::mem::replace(&mut finishing.has_said_all, true) {
                self.channel.finish_writing();
            }
            finishing.heard_out = end == ReadEnd::Eof && !self.mute;
            if self.mute || finishing.until <= now {
                return Err(Ended::Lost(LossReason::Closed));
            }
        }
        if end == ReadEnd::Eof { Err(Ended::Lost(LossReason::Closed)) } else { Ok(()) }
    }

    /// Whether to read on after a turn that ended so, without news.
    fn goes_on(&self, end: ReadEnd) -> bool {
        match end {
            ReadEnd::More => true,
            ReadEnd::Full => !self.stages.is_full(),
            ReadEnd::Held => self.holding.until().is_none(),
            ReadEnd::Blocked | ReadEnd::Eof => false,
        }
    }

    fn finishes_until(&self) -> Option<Instant> {
        self.finishing.as_ref().map(|finishing| finishing.until)
    }

    fn wakes_at(&self) -> Option<Instant> {
        // a sender that sends more than is read now is not heard before that changes, which wakes this thread
        (self.shared.receives && !self.stages.is_full()).then(|| self.heard + self.reap())
    }

    /// After so long without a byte it is cleared away.
    fn reap(&self) -> Duration {
        if self.channel.is_borrowed() { REAP_BORROWED } else { REAP }
    }

    /// Waits for news; until then at most, as of the beginning of this turn, `now`.
    fn wait(&mut self, now: Instant, events: &mut Events, until: Option<Instant>) -> Result<(), Ended> {
        if self.more && !self.shared.sends {
            // between two reads only acknowledgements wait, so the kernel is not asked whether the path drains
            return Ok(());
        }
        let left = until.map(|at| at.saturating_duration_since(now));
        let began = self.borrowing.is_borrowed().then(Instant::now);
        loop {
            self.borrowing.look(self.poll.registry());
            let waited = began.map_or(Duration::ZERO, |at| at.elapsed());
            let left = left.map(|left| left.saturating_sub(waited));
            let at_once = self.more || self.borrowing.has_news();
            // mostly the lookout has all the news that there are, and they need no turn
            let is_lookout_alone = self.poll(events, if at_once { Some(Duration::ZERO) } else { left })?;
            if !is_lookout_alone || self.more || left.is_some_and(|left| left.is_zero()) {
                return Ok(());
            }
        }
    }

    /// Polls once; whether the lookout has news, and nobody else.
    fn poll(&mut self, events: &mut Events, left: Option<Duration>) -> Result<bool, Ended> {
        match self.poll.poll(events, left) {
            Err(e) if e.kind() != io::ErrorKind::Interrupted => return Err(Ended::Lost(failure(&e))),
            _ => {}
        }
        let mut others = events.is_empty();
        for event in events.iter() {
            others |= event.token() != LOOKOUT;
            match event.token() {
                WAKER => self.called = true,
                LOOKOUT => self.borrowing.tell(),
                SOCKET => {
                    self.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
                    self.ended |= event.is_read_closed() || event.is_error();
                    if event.is_writable() || event.is_error() {
                        self.called |= self.seat.drain().say();
                    }
                }
                _ => {}
            }
        }
        Ok(!others)
    }

    /// Closes the connection, and tells the core why if it does not know.
    fn close(mut self, ended: Ended) {
        self.holding.end(self.poll.registry());
        self.borrowing.end(self.poll.registry());
        let Serving { shared, seat, ticket, channel, finishing, stages, .. } = self;
        // programs end before anybody is told that nothing is under way here any more
        drop(stages);
        let writer = seat.lock().take();
        let orderly = shared.sends || finishing.is_some();
        let why =
            ended.leave(writer, &channel, orderly, || shared.desk.peek(|core| core.session.has_spoken()));
        drop(channel);
        if let (Some(why), None) = (why, &finishing) {
            shared.desk.lose(ticket, |core, now| core.lost(now, ticket.connection, &why));
        }
        shared.desk.closed(ticket.connection, seat, finishing.is_some_and(|finishing| finishing.heard_out));
    }
}

/// What the kernel says of a connection, as the core wants it.
fn view(info: TcpInfo) -> KernelView {
    let TcpInfo { bytes_acked, since_ack, unacked, backoff, probes, .. } = info;
    KernelView { bytes_acked, since_ack, unacked, backoff, probes }
}
