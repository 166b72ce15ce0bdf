//! The owners: one thread per direction that holds its state machine and carries out what that decides.
//!
//! Events come in through one channel, whatever their source; actions go out as commands that never block.
//! Everything is decided in [`crate::proto`].

pub mod rx;
pub mod tx;

use crate::proto::links::Steady;
use crate::proto::transmission::Ending;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// The verbosities at which each leg, and each other frame, is told.
const LEGS: u8 = 4;
const FRAMES: u8 = 5;

/// Events handled before the actions they caused are carried out: a burst of acknowledgements is one step.
const BURST: usize = 64;

/// What a direction needs from outside, whichever way it goes.
pub enum Order {
    /// End now, and tell the peer this.
    Stop(Ending),
}

/// Waits for events until `until` at the latest, and takes the burst that is there.
fn next_events<E>(
    events: &Receiver<E>,
    steady: &mut Steady,
    until: Option<Instant>,
    burst: &mut Vec<E>,
) -> Option<Instant> {
    let timeout = steady.wait(Instant::now(), until).unwrap_or(Duration::from_secs(3600));
    match events.recv_timeout(timeout) {
        Ok(event) => burst.push(event),
        Err(RecvTimeoutError::Timeout) => {}
        Err(RecvTimeoutError::Disconnected) => return None,
    }
    let now = steady.now(Instant::now());
    while burst.len() < BURST {
        let Ok(event) = events.try_recv() else { break };
        burst.push(event);
    }
    Some(now)
}
