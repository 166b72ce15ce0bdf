//! What the poll says of local sockets while another thread writes to them.
//!
//! Whoever gets bytes from the tunnel often answers before the call that wrote them has come back. The thread that polls
//! would then wait for the lock of the local side, and cost the answer the time of its waking. Instead it leaves what it
//! has seen to the thread that has the lock, which is about to give it back.
//!
//! What always holds: what was left is taken by the writing thread after it has given back the lock. It does that once for
//! each time it has the lock, so that it does not become the thread that polls.

use mio::Token;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What the poll has said of one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Which socket.
    pub token: Token,
    /// It may have something to read.
    pub readable: bool,
    /// It may take something.
    pub writable: bool,
    /// Nothing follows what there is to read.
    pub ended: bool,
    /// It may be broken.
    pub error: bool,
}

impl From<&mio::event::Event> for Seen {
    fn from(event: &mio::event::Event) -> Self {
        Seen {
            token: event.token(),
            readable: event.is_readable(),
            writable: event.is_writable(),
            ended: event.is_read_closed(),
            error: event.is_error(),
        }
    }
}

/// Between the thread that polls and one that writes.
#[derive(Default)]
pub struct Handover(Mutex<State>);

#[derive(Default)]
struct State {
    /// A thread writes, and will take what is left.
    writes: bool,
    left: Vec<Seen>,
}

impl Handover {
    /// A thread is about to take the lock of the local side and write. There is one such thread at a time.
    pub fn begin(&self) {
        self.lock().writes = true;
    }

    /// It has given back the lock. What was left to it meanwhile.
    pub fn end(&self) -> Vec<Seen> {
        let mut state = self.lock();
        state.writes = false;
        std::mem::take(&mut state.left)
    }

    /// Leaves to the thread that writes what the poll has said. False, and nothing was left, if there is none.
    pub fn leave(&self, seen: impl Iterator<Item = Seen>) -> bool {
        let mut state = self.lock();
        if state.writes {
            state.left.extend(seen);
        }
        state.writes
    }

    /// Held for a moment only.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(token: usize) -> Seen {
        Seen { token: Token(token), readable: true, writable: false, ended: false, error: false }
    }

    #[test]
    fn what_is_left_while_somebody_writes_is_taken_once() {
        let handover = Handover::default();
        assert!(!handover.leave([seen(1)].into_iter()), "nobody would take it");
        handover.begin();
        assert!(handover.leave([seen(2)].into_iter()) && handover.leave([seen(3)].into_iter()));
        assert_eq!(handover.end(), [seen(2), seen(3)]);
        assert!(!handover.leave([seen(4)].into_iter()));
        handover.begin();
        assert_eq!(handover.end(), []);
    }
}
