//! What the poll says of local sockets while another thread writes to them.
//!
//! The program that gets bytes from the tunnel often answers before the call that wrote them has come back. The thread that
//! polls would then wait for the lock of the local side, and the answer would wait until that thread is awake again.
//! Instead the thread that polls leaves what the poll has said to the thread that writes, which is about to give back the
//! lock.
//!
//! What always holds: the thread that writes takes what was left after it has given back the lock. It does so once for each
//! time it has the lock, so that it does not become the thread that polls. No more than [`LEFT_MAX`] is left.
//! `tests/readiness.rs` tries this in every order of the threads.

use crate::sync::{Mutex, MutexGuard, Unpoisoned};
use mio::Token;

/// So much may be left to a thread that writes: as much as one look of the poll brings. A thread that writes for longer
/// makes the poll's thread wait, and so the rest stays in the kernel.
pub(crate) const LEFT_MAX: usize = 256;

/// What the poll has said of one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Which socket.
    pub(crate) token: Token,
    /// It may have something to read.
    pub(crate) readable: bool,
    /// It may take something.
    pub(crate) writable: bool,
    /// Nothing follows what there is to read.
    pub(crate) ended: bool,
    /// It may be broken.
    pub(crate) error: bool,
    /// Urgent data has come.
    pub(crate) urgent: bool,
}

impl Seen {
    /// Nothing of this socket.
    pub(crate) fn nothing(token: Token) -> Self {
        Seen { token, readable: false, writable: false, ended: false, error: false, urgent: false }
    }
}

impl From<&mio::event::Event> for Seen {
    fn from(event: &mio::event::Event) -> Self {
        Seen {
            token: event.token(),
            readable: event.is_readable(),
            writable: event.is_writable(),
            ended: event.is_read_closed(),
            error: event.is_error(),
            urgent: event.is_priority(),
        }
    }
}

/// Between the thread that polls and one that writes.
#[derive(Default)]
pub(crate) struct Handover(Mutex<State>);

#[derive(Default)]
struct State {
    /// A thread writes, and will take what is left.
    writes: bool,
    /// At most [`LEFT_MAX`].
    left: Vec<Seen>,
}

impl Handover {
    /// A thread is about to take the lock of the local side and write. There is one such thread at a time.
    pub(crate) fn begin(&self) {
        self.lock().writes = true;
    }

    /// It has given back the lock. What was left to it meanwhile.
    pub(crate) fn end(&self) -> Vec<Seen> {
        let mut state = self.lock();
        state.writes = false;
        std::mem::take(&mut state.left)
    }

    /// Leaves to the thread that writes what the poll has said. False, and nothing was left, if there is none, or if it
    /// has been left too much already.
    pub(crate) fn leave(&self, seen: impl Iterator<Item = Seen>) -> bool {
        let mut state = self.lock();
        if !state.writes {
            return false;
        }
        let before = state.left.len();
        state.left.extend(seen.take(LEFT_MAX + 1 - before));
        let fits = state.left.len() <= LEFT_MAX;
        if !fits {
            state.left.truncate(before);
        }
        fits
    }

    /// Held for a moment only.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unpoisoned()
    }
}
