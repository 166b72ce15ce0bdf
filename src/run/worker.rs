//! One worker of the sending side: a thread that owns one connection at a time.
//!
//! Carries out what its hub commands, reports what happens, and decides nothing. Commands for a connection
//! that is gone already are ignored: the hub learns of the loss from the event that is on its way.

use crate::chaos::{Harm, Hazard};
use crate::proto::hello::{Hello, Refusal, Welcome};
use crate::proto::leg::Leg;
use crate::proto::life::{Silence, Steady};
use crate::proto::links::{DialError, LossReason};
use crate::proto::wire::{Frame, LegHeader};
use crate::run::conn::{Connection, FAREWELL, Handle, Informer, SOCKET, reason};
use crate::run::dial::{Dialled, Target, Welcomed};
use crate::run::pool::Buffer;
use crate::run::pump::{Fault, Intake, ReadEnd, Wrote};
use crate::stage;
use crossbeam_channel::Receiver;
use mio::{Events, Poll};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the hub wants.
pub enum Command {
    /// Get a connection.
    Dial {
        /// Where to.
        target: Arc<Target>,
        /// What to say.
        hello: Box<Hello>,
        /// How long it may take.
        timeout: Duration,
    },
    /// Write a leg.
    Send(Leg),
    /// Write a frame as soon as the leg under way has left.
    Tell(Frame),
    /// Give the connection up at once.
    Drop,
    /// Close the connection in order, and report it as left.
    Leave,
    /// The session is over: write what there is, close in order, and report `Closed`.
    Finish,
    /// Tell what the kernel knows about the connection, if there is one.
    Inform(Informer),
}

/// What a worker reports.
pub enum Report {
    /// The receiver welcomed the connection, this long after the hello.
    Welcomed(Welcome, Duration),
    /// The receiver refused it in words.
    Refused(Refusal),
    /// There is no connection.
    DialFailed(DialError),
    /// The leg has left and the path drains.
    Ready,
    /// The CRC-32 of a leg that is about to leave.
    Checked(u64, u32),
    /// A frame came.
    Frame(Frame),
    /// Nothing is to be read now, and there has been no life for so long.
    Quiet(Silence),
    /// The connection is gone.
    Lost(LossReason),
    /// After `Finish`: nothing is left to do.
    Closed,
}

/// How often a connection's signs of life are reported, and how often while there are none.
const QUIET_AFTER: Duration = Duration::from_secs(1);
const QUIET_AGAIN: Duration = Duration::from_millis(500);

/// The thread's state; `report` is how the hub hears of things.
pub struct Worker<F: Fn(Report)> {
    index: usize,
    poll: Poll,
    commands: Receiver<Command>,
    report: F,
    checked: bool,
    hazard: Hazard,
    connection: Option<Connection>,
    /// A leg has left, or the connection is new: report when the path drains.
    draining: bool,
    finishing: Option<Instant>,
    quiet_at: Instant,
    steady: Steady,
}

impl<F: Fn(Report)> Worker<F> {
    /// A worker and the handle on it; `report` gives its reports to the hub, legs are `checked` by CRC-32,
    /// connections harmed as `hazard` demands.
    ///
    /// # Errors
    /// The kernel has no descriptors left.
    pub fn new(
        index: usize,
        checked: bool,
        hazard: Hazard,
        report: F,
    ) -> io::Result<(Self, Handle<Command>)> {
        let poll = Poll::new()?;
        let (handle, commands) = Handle::new(poll.registry())?;
        let worker = Worker {
            index,
            poll,
            commands,
            report,
            checked,
            hazard,
            connection: None,
            draining: false,
            finishing: None,
            quiet_at: Instant::now(),
            steady: Steady::new(),
        };
        Ok((worker, handle))
    }

    /// Works until the hub is gone or the session is over.
    pub fn run(mut self) {
        let mut events = Events::with_capacity(8);
        while self.wait(&mut events) {
            let now = self.steady.now(Instant::now());
            for event in events.iter().filter(|event| event.token() == SOCKET) {
                let drained = self.connection.as_mut().is_some_and(|connection| connection.event(event));
                if drained && self.draining && self.connection.as_ref().is_some_and(|c| !c.outlet.has_leg()) {
                    self.draining = false;
                    (self.report)(Report::Ready);
                }
            }
            while let Ok(command) = self.commands.try_recv() {
                self.obey(now, command);
            }
            if let Err(why) = self.serve(now) {
                self.lose(why);
            }
            if self.finishing.is_some() && self.connection.is_none() {
                return (self.report)(Report::Closed);
            }
        }
    }

    fn wait(&mut self, events: &mut Events) -> bool {
        let more = self.connection.as_ref().is_some_and(Connection::is_readable);
        let until = self.connection.as_ref().map(|_| self.finishing.unwrap_or(self.quiet_at));
        let timeout = self.steady.wait(Instant::now(), until);
        match self.poll.poll(events, if more { Some(Duration::ZERO) } else { timeout }) {
            Ok(()) => true,
            Err(e) => e.kind() == io::ErrorKind::Interrupted,
        }
    }

    fn obey(&mut self, now: Instant, command: Command) {
        match (command, &mut self.connection) {
            (Command::Dial { target, hello, timeout }, _) => self.dial(&target, &hello, timeout),
            (Command::Finish, connection) => {
                self.finishing = Some(now + FAREWELL);
                if connection.as_mut().is_some_and(|c| c.outlet.is_empty()) {
                    connection.iter_mut().for_each(Connection::finish_writing);
                }
            }
            (_, None) => {}
            (Command::Send(leg), Some(connection)) => {
                let crc = self.checked.then(|| leg.crc.unwrap_or_else(|| stage::checksum(leg.bytes())));
                if let Some(crc) = crc {
                    (self.report)(Report::Checked(leg.sequence, crc));
                }
                connection.outlet.leg(header(&leg, crc), leg);
                self.draining = true;
                self.count_sent();
            }
            (Command::Tell(frame), Some(connection)) => {
                connection.outlet.frame(&frame);
                if !matches!(frame, Frame::Bye | Frame::Abort(_)) {
                    self.count_sent();
                }
            }
            (Command::Drop, connection) => {
                connection.take().into_iter().for_each(Connection::give_up);
            }
            (Command::Leave, Some(_)) => self.lose(LossReason::Left),
            (Command::Inform(inform), Some(connection)) => {
                if let Some(kernel) = connection.kernel() {
                    inform(kernel);
                }
            }
        }
    }

    /// A frame is about to leave, or would be.
    fn count_sent(&mut self) {
        if let Some(harm) = self.hazard.frame() {
            self.suffer(harm);
        }
    }

    fn suffer(&mut self, harm: Harm) {
        let had = self.connection.is_some();
        self.connection = self.connection.take().and_then(|connection| connection.suffer(harm));
        if had && self.connection.is_none() && self.finishing.is_none() {
            (self.report)(Report::Lost(LossReason::Failed(harm.to_string())));
        }
    }

    fn dial(&mut self, target: &Target, hello: &Hello, timeout: Duration) {
        let report = match target.dial(self.index, hello, timeout) {
            Dialled::Refused(refusal) => Report::Refused(refusal),
            Dialled::Failed(error) => Report::DialFailed(error),
            Dialled::Welcomed(welcomed) => self.connected(*welcomed),
        };
        (self.report)(report);
    }

    fn connected(&mut self, welcomed: Welcomed) -> Report {
        let now = self.steady.now(Instant::now());
        let Welcomed { stream, welcome, round_trip, early } = welcomed;
        match Connection::new(now, stream, &early, self.poll.registry()) {
            Ok(connection) => {
                self.connection = Some(connection);
                self.draining = true;
                self.quiet_at = now + QUIET_AFTER;
                Report::Welcomed(welcome, round_trip)
            }
            Err(e) => Report::DialFailed(DialError::Unreachable(reason(&e))),
        }
    }

    /// Everything that can be done without waiting.
    fn serve(&mut self, now: Instant) -> Result<(), LossReason> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        let deaf = self.finishing.is_some();
        if deaf && connection.is_silent() {
            return Err(LossReason::Closed);
        }
        let mut inbox = Inbox { report: &self.report, deaf, hazard: &self.hazard, harm: None };
        let had = connection.outlet.has_leg();
        let read = connection.read(now, &mut inbox);
        if let Some(harm) = inbox.harm {
            self.suffer(harm);
            return Ok(());
        }
        let end = read?;
        match connection.write() {
            Ok(Wrote::All) if self.finishing.is_some() => connection.finish_writing(),
            Ok(Wrote::All) if had && self.draining => {
                connection.pace(now);
                connection.ask_for_drain(self.poll.registry()).map_err(|e| LossReason::Failed(reason(&e)))?;
            }
            Ok(_) => {}
            Err(why) => {
                // the reason may be there to be read
                while connection.read(now, &mut inbox)? == ReadEnd::More {}
                return Err(why);
            }
        }
        if end == ReadEnd::Eof || self.finishing.is_some_and(|until| until <= now) {
            return Err(LossReason::Closed);
        }
        self.look_for_life(now, end);
        Ok(())
    }

    /// Silence is judged only right after a read that found nothing; and asked about even while the peer
    /// speaks, because that does not prove that anything gets there.
    fn look_for_life(&mut self, now: Instant, end: ReadEnd) {
        let Some(connection) = &mut self.connection else { return };
        if self.quiet_at <= now && end == ReadEnd::Blocked {
            let silence = connection.silence(now);
            self.quiet_at = now + if silence.peer < QUIET_AFTER { QUIET_AFTER } else { QUIET_AGAIN };
            (self.report)(Report::Quiet(silence));
        }
    }

    fn lose(&mut self, why: LossReason) {
        let Some(connection) = self.connection.take() else { return };
        match why {
            // everything was received: the peer shall see an orderly end
            LossReason::Left | LossReason::Closed => drop(connection),
            _ => connection.give_up(),
        }
        if self.finishing.is_none() {
            (self.report)(Report::Lost(why));
        }
    }
}

/// What a sender's connection may bring.
struct Inbox<'a, F: Fn(Report)> {
    report: &'a F,
    /// The session is over: whatever still comes is discarded.
    deaf: bool,
    hazard: &'a Hazard,
    /// What the frame just read does to its connection.
    harm: Option<Harm>,
}

impl<F: Fn(Report)> Intake for Inbox<'_, F> {
    fn place(&mut self, _: &LegHeader) -> Result<Option<Buffer>, Fault> {
        Err(Fault::Breach("sent a leg to the sender".into()))
    }

    fn leg(&mut self, _: LegHeader, _: Option<Buffer>) -> Result<(), Fault> {
        Ok(())
    }

    fn frame(&mut self, frame: Frame) -> Result<(), Fault> {
        if self.deaf {
            return Ok(());
        }
        let last = matches!(frame, Frame::Abort(_));
        (self.report)(Report::Frame(frame));
        self.harm = if last { None } else { self.hazard.frame() };
        self.harm.map_or(Ok(()), |_| Err(Fault::Harmed))
    }
}

fn header(leg: &Leg, crc: Option<u32>) -> LegHeader {
    let len = leg.len() as u32;
    let flags = crc.map_or(0, |_| stage::CHECKED);
    LegHeader {
        sequence: leg.sequence,
        offset: leg.offset,
        raw: len,
        encoded: len,
        flags,
        crc: crc.unwrap_or(0),
    }
}
