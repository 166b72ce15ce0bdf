//! How the audience hears of news: in the order in which they were posted, whichever thread they follow from.
//!
//! A session that is forgotten and the next one that is met are news of two threads. Were each to tell its own after the
//! lock, the audience could hear of the new one first, and forget that. So one thread at a time passes on what waits;
//! another one leaves its own to that thread and goes on, unless a peer could make it come back with more for ever.

use super::super::orders::Core;
use super::{Desk, NEVER, Reach};
use crate::sync::Unpoisoned;

impl<C: Core, L: Reach<C>> Desk<C, L> {
    /// Tells the audience what waits, unless another thread does.
    pub(super) fn pass_on(&self) {
        let mut next = self.lock().unheard.begin();
        while let Some(news) = next {
            self.audience.hear(news);
            next = self.lock().unheard.go_on();
            self.heard.notify_all();
        }
    }

    /// Waits until the audience has heard so many news. Not for a thread that holds a writer, nor for one that is heard.
    pub(super) fn await_heard(&self, news: u64) {
        let mut state = self.lock();
        while state.unheard.heard() < news {
            let waited = self.heard.wait_timeout(state, NEVER);
            state = waited.unpoisoned().0;
        }
    }
}
