//! The receiving side's last step: writes legs in order to the sink, and says when they are taken.
//!
//! One thread waits for the sink. It watches the sink while idle, so that a reader that goes away is noticed without
//! anything to write. After the last leg it closes the sink and tells that only when what was written has been taken:
//! read from the pipe, or on the disk.
//!
//! A sink that never waits (a tunnel's) is written by the thread that brought the next leg. Writing needs the lease; a
//! thread that does not get it wakes the egress thread.
//!
//! Into a sink that is a pipe, a connection's thread may move the bytes of the leg that is wanted next as they arrive,
//! without a copy: [`Taking::pass`]. That needs the lease too. So the egress thread does not have it while it sleeps.

use super::choice::{Choice, Fill, TOLD, Why};
use super::connection::SessionDesk;
use super::orders::{Delivery, Ticket};
use super::taking::{Held, Pass, Taking};
use super::waits::Blocked;
use crate::endpoint::{Sink, SinkError};
use crate::message;
use crate::proto::front::Front;
use crate::proto::leg::{CONNECTIONS_MAX, Leg, SMALL_LEG};
use crate::proto::wire::LegHeader;
use crate::report::Passage;
use crate::stage::StreamCrc;
use crate::sync::Unpoisoned;
use crate::sys::bell::Bell;
use crate::sys::pipe::{Interest, Ready, capacity, unread, wait};
use crate::sys::signal;
use mio::Waker;
use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError, Weak};

/// Legs that go out in one call, at most.
const BATCH: usize = 64;

/// No further leg goes out in a call that has so many bytes. A call that waits for the sink's reader tells of nothing
/// until all of it is taken, and the sender would not go on. This is what a pipe holds.
const BATCH_BYTES: u64 = 1 << 20;

/// So much is moved in one call, at most: the sink's reader waits as long as that takes.
const PASS: usize = 256 << 10;

/// What egress is made from.
pub(crate) struct Egress {
    /// The session.
    pub(crate) desk: Arc<SessionDesk>,
    /// Where the stream goes.
    pub(crate) sink: Box<dyn Sink>,
    /// Rung when there is something to do, or the sink has news.
    pub(crate) bell: Bell,
    /// For how long the sink has been taking nothing.
    pub(crate) blocked: Arc<Blocked>,
    /// Whether this process was asked to end.
    pub(crate) is_asked_to_end: fn() -> bool,
}

/// How a turn of writing ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Everything that was there has been written.
    Asleep,
    /// The sink is to be closed: that was all.
    Close,
    /// The session is over.
    Over,
    /// The sink takes nothing without waiting.
    Waits,
}

/// What is behind the lease.
struct Writing {
    parts: Egress,
    crc: StreamCrc,
    /// The leg whose bytes the sink gets as they arrive.
    front: Front<Ticket>,
    /// Legs that are being written; the sink has taken `into` bytes of the first one.
    batch: Vec<Leg>,
    into: usize,
    /// The core was told that the sink has enough.
    told_enough: bool,
    /// Why the leg after these is not to be written.
    misplaced: Option<SinkError>,
    /// What the sink has is counted, and it gets nothing more.
    ended: bool,
    /// Why the sink takes no more. Set by a connection's thread when the sink fails; the egress thread reports it.
    failed: Option<SinkError>,
}

/// The output of a session.
pub(crate) struct Output {
    lease: Mutex<Writing>,
    bell: Bell,
    /// The sink's pipe, if it has one, while that is open.
    pipe: Weak<File>,
    blocked: Arc<Blocked>,
    choice: Choice,
    /// How full the pipe was when a connection had to wait for it.
    fill: Mutex<Fill>,
    /// By connection, who waits until nobody has the lease.
    waiting: Mutex<[Option<Arc<Waker>>; CONNECTIONS_MAX]>,
}

impl Output {
    /// Nothing written yet.
    pub(crate) fn new(parts: Egress) -> Arc<Self> {
        let bell = parts.bell.clone();
        let pipe = parts.sink.pipe().as_ref().map(Arc::downgrade).unwrap_or_default();
        let blocked = parts.blocked.clone();
        let writing = Writing {
            parts,
            crc: StreamCrc::new(),
            front: Front::new(),
            batch: Vec::new(),
            into: 0,
            told_enough: false,
            misplaced: None,
            ended: false,
            failed: None,
        };
        let chosen = if pipe.strong_count() > 0 { Passage::Moved } else { Passage::Copied };
        let (choice, fill) = (Choice::new(chosen), Mutex::default());
        let (lease, waiting) = (Mutex::new(writing), Mutex::default());
        let output = Arc::new(Output { lease, bell: bell.clone(), pipe, blocked, choice, fill, waiting });
        output.lock().parts.sink.on_news(Box::new(move |_| bell.ring()));
        output
    }

    /// The thread's work: writes until the stream is delivered, the sink fails or the session is over.
    pub(crate) fn run(&self) {
        let delivered = self.deliver();
        let writing = &mut *self.lock();
        writing.ended = true;
        let beyond = writing.beyond();
        let Writing { parts, crc, .. } = writing;
        parts.desk.note(|core| core.beyond = beyond);
        let closed = delivered.and_then(|turn| match turn {
            Turn::Close => {
                parts.blocked.begin();
                let finished = parts.sink.finish();
                parts.blocked.end();
                finished.map(|()| true)
            }
            Turn::Over | Turn::Asleep | Turn::Waits => Ok(false),
        });
        let command = parts.sink.ended_as();
        match (closed, command) {
            (Ok(false), _) => {}
            (Ok(true) | Err(_), Some((end, sentence))) => {
                let crc = crc.value();
                parts.desk.tell(|core, now| core.session.command_ended(now, crc, end, &sentence));
            }
            (Ok(true), None) => {
                parts.desk.tell(|core, now| core.session.output_closed(now, crc.value()));
            }
            // its reader was ended by the same signal, by which this process ends
            (Err(error), None) if error.is_unwanted && is_ending(parts.is_asked_to_end) => {}
            (Err(error), None) => {
                parts.desk.tell(|core, now| core.session.output_failed(now, error.status, &error.sentence));
            }
        }
        parts.desk.note_awaited(|core| core.has_counted = true);
    }

    /// How the bytes of the stream get to the sink.
    pub(crate) fn passage(&self) -> Passage {
        self.choice.latest()
    }

    /// Wakes the egress thread. For a caller that may not write.
    pub(crate) fn wake(&self) {
        self.bell.ring();
    }

    /// Writes what is there if the sink never waits; otherwise wakes the egress thread.
    pub(crate) fn write_here(&self) {
        let Some(mut writing) = self.try_lock() else { return self.bell.ring() };
        if writing.ended {
            return;
        }
        match writing.turn(false) {
            Ok(Turn::Asleep) => {}
            Ok(Turn::Close | Turn::Over | Turn::Waits) => self.bell.ring(),
            Err(error) => {
                writing.failed = Some(error);
                self.bell.ring();
            }
        }
    }

    /// Waits for the bell, and meanwhile watches whether there still is a reader.
    fn watch(&self, pipe: &File) -> Result<(), SinkError> {
        let mut seen = Ready::default();
        loop {
            let left = self.lock().parts.sink.look(seen)?;
            let waited = match left {
                None => wait(&[Interest::read(&self.bell), Interest::end(&pipe)], None),
                Some(_) => wait(&[Interest::read(&self.bell)], left).map(|[rung]| [rung, Ready::default()]),
            };
            let [rung, end] = waited.map_err(|e| SinkError::output(format!("cannot wait: {e}")))?;
            seen = end;
            if rung.any() {
                return self.lock().parts.sink.look(seen).map(drop);
            }
        }
    }

    /// Writes until the end of the stream or the session.
    fn deliver(&self) -> Result<Turn, SinkError> {
        loop {
            self.bell.clear();
            let mut writing = self.lock();
            match writing.turn(true)? {
                Turn::Asleep if writing.parts.sink.is_prompt() => {
                    drop(writing);
                    let waited = wait(&[Interest::read(&self.bell)], None);
                    waited.map_err(|e| SinkError::output(format!("cannot wait: {e}")))?;
                }
                Turn::Asleep => match writing.parts.sink.pipe() {
                    Some(pipe) => {
                        drop(writing);
                        self.wake_waiting();
                        self.watch(&pipe)?;
                    }
                    None => writing.parts.sink.watch(&self.bell)?,
                },
                turn => return Ok(turn),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Writing> {
        self.lease.lock().unpoisoned()
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, Writing>> {
        match self.lease.try_lock() {
            Ok(writing) => Some(writing),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn waiting(&self) -> MutexGuard<'_, [Option<Arc<Waker>>; CONNECTIONS_MAX]> {
        self.waiting.lock().unpoisoned()
    }

    /// Wakes whoever found that somebody had the lease.
    fn wake_waiting(&self) {
        for waker in self.waiting().iter_mut().filter_map(Option::take) {
            // fails only when the kernel's counter is full, and then it is awake
            let _ = waker.wake();
        }
    }
}

fn is_ending(is_asked_to_end: fn() -> bool) -> bool {
    signal::await_late();
    is_asked_to_end()
}

impl Taking for Output {
    fn may_pass(&self) -> bool {
        self.pipe.strong_count() > 0 && self.choice.may_move()
    }

    fn pass(
        &self,
        by: Ticket,
        header: &LegHeader,
        at: usize,
        socket: BorrowedFd<'_>,
        waker: &Arc<Waker>,
    ) -> Pass {
        if !self.choice.may_move() {
            return Pass::Not;
        }
        // whoever has it writes legs that come before this one, or another copy of it
        let Some(mut writing) = self.try_lock().or_else(|| {
            self.waiting()[by.connection] = Some(waker.clone());
            // it may have been given back just before that
            self.try_lock()
        }) else {
            return Pass::Busy;
        };
        let passed = writing.pass(by, header, at, socket);
        if writing.failed.is_some() {
            self.bell.ring();
        }
        drop(writing);
        self.wake_waiting();
        match passed {
            Ok(Pass::Moved(n)) => {
                if self.choice.note(true) {
                    message::note(TOLD, || "the stream is moved to its output without a copy".into());
                }
                Pass::Moved(n)
            }
            Ok(passed) => passed,
            Err(why) => {
                self.choice.copy(&why);
                Pass::Not
            }
        }
    }

    fn hold(&self) -> Option<Held> {
        let pipe = self.pipe.upgrade()?;
        let of = capacity(&pipe);
        if self.fill.lock().unpoisoned().is_thin(unread(&pipe).unwrap_or(of), of) {
            self.choice.copy(&Why::Pieces);
            return None;
        }
        Some(Held::new(pipe, self.blocked.clone()))
    }
}

impl Writing {
    /// Writes everything that is there; with `waits` it waits for the sink.
    fn turn(&mut self, waits: bool) -> Result<Turn, SinkError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        loop {
            self.settle();
            while !self.batch.is_empty() {
                if !self.write(waits)? {
                    return Ok(Turn::Waits);
                }
                self.settle();
            }
            if let Some(error) = self.misplaced.take() {
                return Err(error);
            }
            match self.parts.desk.take_output(BATCH, BATCH_BYTES) {
                Delivery::Legs(legs) => self.begin(legs),
                Delivery::Nothing => return Ok(Turn::Asleep),
                Delivery::Close => return Ok(Turn::Close),
                Delivery::Over => return Ok(Turn::Over),
            }
        }
    }

    /// These legs are the next ones, up to the first that does not belong where it is.
    fn begin(&mut self, legs: Vec<Leg>) {
        let into = legs.first().map_or(0, |first| self.front.resume(first.sequence));
        self.into = into;
        self.batch.clear();
        for leg in legs {
            if let Err(error) = self.parts.sink.verify(&leg) {
                self.misplaced = Some(error);
                return;
            }
            self.crc.append(&leg);
            self.batch.push(leg);
        }
    }

    /// Bytes that the sink has of the leg behind those that it has taken whole.
    fn beyond(&self) -> u64 {
        (if self.batch.is_empty() { self.front.taken() } else { self.into }) as u64
    }

    /// Writes as much as the sink takes at once; whether it took any.
    fn write(&mut self, waits: bool) -> Result<bool, SinkError> {
        let Egress { sink, blocked, .. } = &mut self.parts;
        let wrote = if waits {
            blocked.begin();
            let wrote = sink.write_legs(&self.batch, self.into);
            blocked.end();
            wrote?
        } else {
            let Some(wrote) = sink.write_legs_now(&self.batch, self.into)? else { return Ok(false) };
            wrote
        };
        self.into += wrote;
        Ok(true)
    }

    /// Tells of legs that were taken whole, and whether that is enough.
    fn settle(&mut self) {
        let (mut taken, mut bytes) = (0, 0);
        while let Some(leg) = self.batch.get(taken).filter(|leg| self.into >= leg.bytes().len()) {
            (self.into, bytes, taken) = (self.into - leg.bytes().len(), bytes + leg.len(), taken + 1);
        }
        // the memory first: the sender may send more as soon as it hears of it
        drop(self.batch.drain(..taken));
        self.tell_taken(taken as u64, bytes);
        if self.parts.sink.has_enough() && !std::mem::replace(&mut self.told_enough, true) {
            self.parts.desk.tell(|core, now| core.session.output_has_enough(now));
        }
    }

    /// Tells that the sink has taken so many legs whole.
    fn tell_taken(&self, legs: u64, bytes: u64) {
        let desk = &self.parts.desk;
        match legs {
            0 => {}
            _ if bytes > SMALL_LEG => {
                desk.tell(|core, now| core.session.delivered(now, legs, bytes));
            }
            _ => {
                let follows = desk.note(|core| core.session.delivered_little(core.now(), legs, bytes));
                follows.then(|| desk.tell(|core, now| core.session.tick(now)));
            }
        }
    }

    // ---- bytes that are moved -------------------------------------------------------------------------

    /// [`Taking::pass`] with the lease. The error: why nothing is to be moved any more.
    fn pass(
        &mut self,
        by: Ticket,
        header: &LegHeader,
        at: usize,
        socket: BorrowedFd<'_>,
    ) -> Result<Pass, Why> {
        let desk = &self.parts.desk;
        if self.ended || self.failed.is_some() || !self.batch.is_empty() {
            return Ok(Pass::Not);
        }
        if at == 0 {
            match desk.tell_as(by, |core, _| core.session.begin_head(by.connection, header)) {
                Some(true) => {}
                Some(false) => return Ok(Pass::Not),
                None => return Ok(Pass::Over),
            }
        }
        if !self.front.may_move(by, header.sequence, at) {
            return Ok(Pass::Not);
        }
        let missing = header.encoded as usize - at;
        let taken = self.parts.sink.take_from(socket, missing.min(PASS));
        if at == 0 && !matches!(taken, Ok(Ok(1..))) {
            // the connection may be over, and the head has begun for all of them
            self.parts.desk.note(|core| core.session.leave_head(header));
        }
        Ok(match taken {
            Ok(Ok(0)) => Pass::End,
            Ok(Ok(n)) => {
                self.front.moved(n);
                if n < missing { Pass::Moved(n) } else { self.through(by, header, n) }
            }
            Ok(Err(e)) => match e.kind() {
                ErrorKind::WouldBlock | ErrorKind::Interrupted => Pass::Nothing,
                // a sandbox may refuse the call; no socket says so when it is read
                ErrorKind::InvalidInput | ErrorKind::Unsupported | ErrorKind::PermissionDenied => {
                    return Err(Why::Kernel);
                }
                _ => Pass::Failed(e),
            },
            Err(error) => {
                self.failed = Some(error);
                Pass::Not
            }
        })
    }

    /// All of a leg was moved.
    fn through(&mut self, by: Ticket, header: &LegHeader, last: usize) -> Pass {
        let through = self.parts.desk.tell_as(by, |core, now| {
            core.came(by.connection, header.sequence, header.raw.into());
            core.session.head_through(now, by.connection, header)
        });
        match through {
            // another copy was whole before, and all of it counts as taken when it is to be written
            Some(false) => Pass::Moved(last),
            Some(true) => {
                self.front.through();
                self.crc.append_unchecked();
                Pass::Moved(last)
            }
            None => Pass::Over,
        }
    }
}

#[cfg(test)]
mod tests;
