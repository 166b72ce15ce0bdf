//! Which thread has the poll of the local sockets: its own, or one that has borrowed it.
//!
//! What always holds: the own thread hears what the poll says unless somebody has borrowed it, and is woken when it has the
//! poll back. A borrower looks at once. `tests/readiness.rs` tries this in every order of the threads.

use crate::sync::{Mutex, MutexGuard, Unpoisoned};
use std::time::Instant;

/// To whom the poll is lent.
#[derive(Default)]
pub(crate) struct Loans(Mutex<State>);

#[derive(Default)]
struct State {
    /// Loans there have been.
    begun: u64,
    /// The number of the loan under way, if there is one.
    current: Option<u64>,
    /// When the local side is to be attended to, if nothing happens before.
    until: Option<Instant>,
}

impl Loans {
    /// Lends the poll, whoever has it: the loan's number. Who has had it hears once more of an event, and finds out.
    pub(crate) fn begin(&self) -> u64 {
        let mut state = self.lock();
        state.begun += 1;
        let number = state.begun;
        state.current = Some(number);
        number
    }

    /// Whether a loan has not ended.
    pub(crate) fn is_current(&self, number: u64) -> bool {
        self.lock().current == Some(number)
    }

    /// Ends a loan, if no later one has ended it: whether the own thread has the poll back, and is to be woken.
    pub(crate) fn end(&self, number: u64) -> bool {
        self.lock().current.take_if(|current| *current == number).is_some()
    }

    /// When the local side is to be attended to, if nothing happens before.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.lock().until
    }

    /// The local side is to be attended to then: whether the own thread is to be woken, because that is another time than
    /// before and the poll is lent.
    pub(crate) fn set_until(&self, until: Option<Instant>) -> bool {
        let mut state = self.lock();
        std::mem::replace(&mut state.until, until) != until && state.current.is_some()
    }

    /// For the own thread, before it waits: whether the poll is lent, and until when to wait at most.
    pub(crate) fn own_turn(&self) -> (bool, Option<Instant>) {
        let state = self.lock();
        (state.current.is_some(), state.until)
    }

    /// Held for a moment only.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unpoisoned()
    }
}
