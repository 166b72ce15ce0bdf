//! The receiving side's last step: writes legs in order to the sink, and says when they are taken.
//!
//! One thread waits for the sink. It watches the sink while idle, so that a reader that goes away is noticed without
//! anything to write. After the last leg it closes the sink and tells that only when what was written has been taken:
//! read from the pipe, or on the disk.
//!
//! A sink that never waits (a tunnel's) is written by the thread that brought the next leg. Writing needs the lease; a
//! thread that does not get it wakes the egress thread.

use super::connection::SessionDesk;
use super::meters::Blocked;
use super::orders::Delivery;
use crate::endpoint::{Sink, SinkError};
use crate::proto::leg::Leg;
use crate::stage::StreamCrc;
use crate::sys::event::Bell;
use crate::sys::pipe::{Interest, wait};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

/// Legs that go out in one call, at most.
const BATCH: usize = 64;

/// No further leg goes out in a call that has so many bytes. A call that waits for the sink's reader tells of nothing
/// until all of it is taken, and the sender would not go on. This is what a pipe holds.
const BATCH_BYTES: u64 = 1 << 20;

/// What egress is made from.
pub struct Egress {
    /// The session.
    pub desk: Arc<SessionDesk>,
    /// Where the stream goes.
    pub sink: Box<dyn Sink>,
    /// Rung when there is something to do, or the sink has news.
    pub bell: Bell,
    /// For how long the sink has been taking nothing.
    pub blocked: Arc<Blocked>,
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
    /// Legs that are being written; the sink has taken `into` bytes of the first one.
    batch: Vec<Leg>,
    into: usize,
    /// It was told that the sink has enough.
    told_enough: bool,
    /// Why the leg after these is not to be written.
    misplaced: Option<SinkError>,
    /// Why the sink takes no more, if somebody else than the thread saw that.
    failed: Option<SinkError>,
}

/// The output of a session.
pub struct Output {
    lease: Mutex<Writing>,
    bell: Bell,
}

impl Output {
    /// Nothing written yet.
    pub fn new(parts: Egress) -> Arc<Self> {
        let bell = parts.bell.clone();
        let writing = Writing {
            parts,
            crc: StreamCrc::new(),
            batch: Vec::new(),
            into: 0,
            told_enough: false,
            misplaced: None,
            failed: None,
        };
        let output = Arc::new(Output { lease: Mutex::new(writing), bell: bell.clone() });
        output.lock().parts.sink.on_news(Box::new(move |_| bell.ring()));
        output
    }

    /// The thread's work: writes until the stream is delivered, the sink fails or the session is over.
    pub fn run(&self) {
        let delivered = self.deliver();
        let Writing { parts, crc, .. } = &mut *self.lock();
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
            (Err(error), None) => {
                parts.desk.tell(|core, now| core.session.output_failed(now, error.code, &error.sentence));
            }
        }
    }

    /// Wakes the egress thread. For a caller that may not write.
    pub fn wake(&self) {
        self.bell.ring();
    }

    /// Writes what is there if the sink never waits; otherwise wakes the egress thread.
    pub fn write_here(&self) {
        let mut writing = match self.lease.try_lock() {
            Ok(writing) => writing,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return self.bell.ring(),
        };
        match writing.turn(false) {
            Ok(Turn::Asleep) => {}
            Ok(Turn::Close | Turn::Over | Turn::Waits) => self.bell.ring(),
            Err(error) => {
                writing.failed = Some(error);
                self.bell.ring();
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
                Turn::Asleep => writing.parts.sink.watch(&self.bell)?,
                turn => return Ok(turn),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Writing> {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writing {
    /// Writes everything that is there; with `waits` it waits for the sink.
    fn turn(&mut self, waits: bool) -> Result<Turn, SinkError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        loop {
            while !self.batch.is_empty() {
                if !self.write(waits)? {
                    return Ok(Turn::Waits);
                }
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
        (self.batch, self.into) = (Vec::with_capacity(legs.len()), 0);
        for leg in legs {
            if let Err(error) = self.parts.sink.verify(&leg) {
                self.misplaced = Some(error);
                return;
            }
            self.crc.append(&leg);
            self.batch.push(leg);
        }
    }

    /// Writes as much as the sink takes at once, and tells of legs that were taken whole; whether it took any.
    fn write(&mut self, waits: bool) -> Result<bool, SinkError> {
        let Egress { desk, sink, blocked, .. } = &mut self.parts;
        blocked.begin();
        let wrote = match waits {
            true => sink.write_legs(&self.batch, self.into).map(Some),
            false => sink.write_legs_now(&self.batch, self.into),
        };
        blocked.end();
        let Some(wrote) = wrote? else { return Ok(false) };
        self.into += wrote;
        let (mut taken, mut bytes) = (0, 0);
        while let Some(leg) = self.batch.get(taken).filter(|leg| self.into >= leg.bytes().len()) {
            (self.into, bytes, taken) = (self.into - leg.bytes().len(), bytes + leg.len(), taken + 1);
        }
        // the memory first: the sender may send more as soon as it hears of it
        drop(self.batch.drain(..taken));
        if taken > 0 {
            desk.tell(|core, now| core.session.delivered(now, taken as u64, bytes));
        }
        if sink.has_enough() && !std::mem::replace(&mut self.told_enough, true) {
            desk.tell(|core, now| core.session.output_has_enough(now));
        }
        Ok(true)
    }
}
