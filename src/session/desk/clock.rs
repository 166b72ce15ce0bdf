//! The thread that keeps a session's time, and the wait for last words.

use super::super::orders::Core;
use super::{Desk, GRAIN, NEVER, Reach, State};
use crate::sync::{self, Unpoisoned};
use std::time::{Duration, Instant};

impl<C: Core, L: Reach<C>> Desk<C, L> {
    /// Has the core begin: what it wants done first is there before any thread runs that does it.
    pub(crate) fn begin(&self) {
        self.tell(|core, now| core.tick(now));
    }

    /// Ticks until the session is over.
    pub(crate) fn keep_time(&self) {
        loop {
            let mut state = self.lock();
            if state.over {
                return;
            }
            let now = state.now();
            if state.armed.is_some_and(|at| at <= now) {
                let now = state.enter();
                let todo = state.post_all(now, None);
                drop(state);
                self.follow(todo, true);
                continue;
            }
            // see GRAIN
            let soon = std::mem::take(&mut state.stirred).then(|| now + GRAIN);
            state.armed = state.core.deadline(now).into_iter().chain(soon).min();
            let wait = state.armed.map_or(NEVER, |at| at.saturating_duration_since(now));
            drop(self.clock.wait_timeout(state, wait).unpoisoned());
        }
    }

    /// From now on [`Desk::see_off`] waits for the short time only.
    pub(crate) fn hurry(&self) {
        self.lock().hurried.get_or_insert_with(sync::now);
        self.clock.notify_all();
    }

    /// [`Desk::note`] for what [`Desk::await_note`] waits for.
    pub(crate) fn note_awaited(&self, note: impl FnOnce(&mut C)) {
        self.note(note);
        self.clock.notify_all();
    }

    /// Waits until this is true of the core; at most for `time`, or for `short` from when it is to hurry.
    pub(crate) fn await_note(&self, time: Duration, short: Duration, is_noted: impl Fn(&C) -> bool) {
        self.await_end(time, short, |state| is_noted(&state.core));
    }

    /// Waits until `enough` is true, at most for `time`, or for `short` from when it is to hurry. `enough` is given how
    /// many connections are open, and whether the peer was seen to close one in order.
    pub(crate) fn see_off(&self, time: Duration, short: Duration, enough: impl Fn(usize, bool) -> bool) {
        self.await_end(time, short, |state| {
            enough(state.connections.iter().filter(|connection| connection.open).count(), state.heard_out)
        });
    }

    /// Waits until `is_enough` is true of what is behind the lock; both times as for [`Desk::see_off`].
    fn await_end(&self, time: Duration, short: Duration, is_enough: impl Fn(&State<C, L>) -> bool) {
        let start = sync::now();
        let mut state = self.lock();
        loop {
            // the session may have needed a while to end after the signal
            let hurried = state.hurried.map(|at| at.max(start) + short);
            let until = hurried.into_iter().fold(start + time, Instant::min);
            let left = until.saturating_duration_since(sync::now());
            if is_enough(&state) || left.is_zero() {
                return;
            }
            let waited = self.clock.wait_timeout(state, left);
            state = waited.unpoisoned().0;
        }
    }
}
