//! The receiving side's last step: writes legs in order to the sink, and says when they are taken.
//!
//! The only thread that may wait for the sink. Watches it while idle, so that a reader that goes away is
//! noticed without anything to write. After the last leg it closes the sink and tells that only when what
//! was written has been taken: read from the pipe, or on the disk.

use super::connection::SessionDesk;
use super::meters::Blocked;
use super::orders::Delivery;
use crate::endpoint::{Sink, SinkError};
use crate::proto::leg::Leg;
use crate::stage::StreamCrc;
use crate::sys::event::Bell;
use std::io::IoSlice;
use std::sync::Arc;

/// Legs that go out in one call, at most.
const BATCH: usize = 64;

/// The thread's state.
pub struct Egress {
    /// The session.
    pub desk: Arc<SessionDesk>,
    /// Where the stream goes.
    pub sink: Box<dyn Sink>,
    /// Rung when there is something to do.
    pub bell: Bell,
    /// For how long the sink has been taking nothing.
    pub blocked: Arc<Blocked>,
}

impl Egress {
    /// Works until the stream is delivered, the sink fails or the session is over.
    pub fn run(mut self) {
        let mut crc = StreamCrc::new();
        let delivered = self.deliver(&mut crc);
        let closed =
            delivered.and_then(|whole| if whole { self.sink.finish().map(|()| true) } else { Ok(false) });
        match closed {
            Ok(true) => self.desk.tell(|core, now| core.session.output_closed(now, crc.value())),
            Ok(false) => {}
            Err(error) => {
                self.desk.tell(|core, now| core.session.output_failed(now, error.code, &error.sentence));
            }
        }
    }

    /// True at the end of the stream; false if the session is over.
    fn deliver(&mut self, crc: &mut StreamCrc) -> Result<bool, SinkError> {
        loop {
            match self.desk.take_output(BATCH) {
                Delivery::Legs(mut legs) => {
                    let verified = self.verify(&mut legs);
                    legs.iter().for_each(|leg| crc.append(leg));
                    self.write(legs)?;
                    verified?;
                }
                Delivery::Nothing => {
                    self.sink.watch(&self.bell)?;
                    self.bell.clear();
                }
                Delivery::Close => return Ok(true),
                Delivery::Over => return Ok(false),
            }
        }
    }

    /// Keeps only legs that belong where they are.
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
            // the memory first: the sender may send more as soon as it hears of it
            drop(legs.drain(..taken));
            if taken > 0 {
                self.desk.tell(|core, now| core.session.delivered(now, taken as u64, bytes));
            }
        }
        Ok(())
    }
}
