//! The owners: one thread per direction that holds its state machine and carries out what that decides.
//!
//! Events come in through one channel, whatever their source; actions go out as commands that never block.
//! Everything is decided in [`crate::proto`].

pub mod rx;
mod tally;
pub mod tx;

use crate::proto::hello::Features;
use crate::proto::life::Steady;
use crate::proto::outcome::{Outcome, Status};
use crate::report::{Kernel, Phase, Snapshot};
use crate::run::conn::Informer;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// The verbosities at which each leg, and each other frame, is told.
const LEGS: u8 = 4;
const FRAMES: u8 = 5;

/// Events handled before the actions they caused are carried out: a burst of acknowledgements is one step.
const BURST: usize = 64;

/// Hears of the far end's features.
pub type Announce = Box<dyn Fn(Features) + Send>;

/// Hears how a stream ended whose direction goes on, because it keeps connections for the other one.
pub type Settle = Box<dyn Fn(Outcome) + Send>;

/// What a thread of a direction will do.
type Thread = Box<dyn FnOnce() + Send>;

/// What the two hubs of one process know of each other without asking, where their streams share connections. It
/// only ever grows, so that an old value is a safe one.
#[derive(Default)]
pub struct Pairing {
    /// Any of the borrower's stream has come or gone: nobody but this peer can finish it.
    begun: Arc<AtomicBool>,
    /// The first leg that a sending borrower still holds.
    head: AtomicU64,
}

impl Pairing {
    fn has_borrower_begun(&self) -> bool {
        self.begun.load(SeqCst)
    }

    /// Not later than what a sending borrower holds.
    fn head(&self) -> u64 {
        self.head.load(SeqCst)
    }

    /// A sending borrower's word.
    fn publish(&self, begun: bool, head: u64) {
        if begun {
            self.begun.store(true, SeqCst);
        }
        self.head.store(head, SeqCst);
    }
}

/// What a direction needs from outside, whichever way it goes.
pub enum Order {
    /// End now, and tell the peer this.
    Stop(Outcome),
    /// The session's other stream was judged.
    OtherSettled,
    /// The session's other direction has ended: keep no connection for it.
    Release,
    /// Say how it goes.
    Report(Asker),
}

/// Who wants to know how it goes. Answers go past the hub's events and never wait.
pub struct Asker {
    /// Where the answer goes; once more, unasked, when the direction ends.
    pub snapshots: Sender<Snapshot>,
    /// Where each connection says what its kernel knows, by its number. Closed when all have.
    pub kernels: Option<Sender<(usize, Kernel)>>,
}

impl Asker {
    /// What a connection shall do to tell what its kernel knows.
    fn informer(&self, connection: usize) -> Option<Informer> {
        let kernels = self.kernels.clone()?;
        // nobody listens any more: it came too late
        Some(Box::new(move |kernel| drop(kernels.send((connection, kernel)))))
    }
}

/// The phase of a direction that has ended, or has not.
fn phase(ending: Option<&Outcome>, met: bool, closing: bool) -> Phase {
    match ending {
        Some(Outcome { status: Status::Complete, .. }) => Phase::Over(Ok(())),
        Some(ending) => Phase::Over(Err(ending.sentence.clone())),
        None if closing => Phase::Closing,
        None if met => Phase::Moving,
        None => Phase::Waiting,
    }
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
