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
use std::io::IoSlice;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

/// Legs that go out in one call, at most.
const BATCH: usize = 64;

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
}

/// What is behind the lease.
struct Writing {
    parts: Egress,
    crc: StreamCrc,
    /// Why the sink takes no more, if another thread than egress found that out.
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
        let writing = Writing { parts, crc: StreamCrc::new(), failed: None };
        let output = Arc::new(Output { lease: Mutex::new(writing), bell: bell.clone() });
        output.lock().parts.sink.on_news(Box::new(move |_| bell.ring()));
        output
    }

    /// The thread's work: writes until the stream is delivered, the sink fails or the session is over.
    pub fn run(&self) {
        let delivered = self.deliver();
        let Writing { parts, crc, .. } = &mut *self.lock();
        let closed = delivered.and_then(|turn| match turn {
            Turn::Close => parts.sink.finish().map(|()| true),
            Turn::Over | Turn::Asleep => Ok(false),
        });
        match closed {
            Ok(true) => parts.desk.tell(|core, now| core.session.output_closed(now, crc.value())),
            Ok(false) => {}
            Err(error) => {
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
        if !writing.parts.sink.is_prompt() {
            return self.bell.ring();
        }
        match writing.turn() {
            Ok(Turn::Asleep) => {}
            Ok(Turn::Close | Turn::Over) => self.bell.ring(),
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
            match writing.turn()? {
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
    /// Writes everything that is there.
    fn turn(&mut self) -> Result<Turn, SinkError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        loop {
            match self.parts.desk.take_output(BATCH) {
                Delivery::Legs(mut legs) => {
                    let verified = self.parts.verify(&mut legs);
                    legs.iter().for_each(|leg| self.crc.append(leg));
                    self.parts.write(legs)?;
                    verified?;
                }
                Delivery::Nothing => return Ok(Turn::Asleep),
                Delivery::Close => return Ok(Turn::Close),
                Delivery::Over => return Ok(Turn::Over),
            }
        }
    }
}

impl Egress {
    /// Has the sink verify each leg, and keeps those before the first that does not verify.
    fn verify(&mut self, legs: &mut Vec<Leg>) -> Result<(), SinkError> {
        for index in 0..legs.len() {
            if let Err(error) = self.sink.verify(&legs[index]) {
                legs.truncate(index);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Writes all of the legs, and tells as they are taken.
    fn write(&mut self, mut legs: Vec<Leg>) -> Result<(), SinkError> {
        // bytes of the first leg that were taken
        let mut into = 0;
        while !legs.is_empty() {
            let slice =
                |(i, leg): (usize, &Leg)| -> usize { if i == 0 { into.min(leg.bytes().len()) } else { 0 } };
            let slices: Vec<IoSlice<'_>> = legs
                .iter()
                .enumerate()
                .map(|(i, leg)| IoSlice::new(&leg.bytes()[slice((i, leg))..]))
                .collect();
            self.blocked.begin();
            let wrote = self.sink.write(&slices);
            self.blocked.end();
            into += wrote?;
            let (mut taken, mut bytes) = (0, 0);
            while let Some(leg) = legs.get(taken).filter(|leg| into >= leg.bytes().len()) {
                (into, bytes, taken) = (into - leg.bytes().len(), bytes + leg.len(), taken + 1);
            }
            // free the memory before telling: the sender may send more as soon as it hears of the progress
            drop(legs.drain(..taken));
            if taken > 0 {
                self.desk.tell(|core, now| core.session.delivered(now, taken as u64, bytes));
            }
        }
        Ok(())
    }
}
