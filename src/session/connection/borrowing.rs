//! When the thread of a connection waits for the sockets behind the output as well.
//!
//! It does where its connection brings small legs, and nothing much: what answers them comes from those sockets. As soon as
//! much is to be carried, two threads are better than one.

use crate::endpoint::Lookout;
use crate::proto::leg::SMALL_LEG;
use mio::{Registry, Token};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The token of the lookout.
pub(super) const LOOKOUT: Token = Token(9);

/// So many turns must have brought small legs, and none much, before the lookout is borrowed: that costs some calls.
const SMALL_TURNS: u32 = 4;

/// For so long after much was carried the lookout is not borrowed.
const PAUSE: Duration = Duration::from_millis(100);

/// Whether the lookout is borrowed, and what decides that.
pub(super) struct Borrowing {
    lookout: Option<Arc<dyn Lookout>>,
    loan: Option<u64>,
    /// The lookout has something to look at.
    news: bool,
    /// Bytes of legs that this turn has brought.
    brought: u64,
    /// How many bytes the connection's writer had written at the end of this turn and of the one before.
    written: [u64; 2],
    /// Turns that brought small legs, since much was carried.
    small: u32,
    /// When much was carried last.
    busy: Option<Instant>,
}

impl Borrowing {
    /// Nothing is borrowed.
    pub(super) fn new(lookout: Option<Arc<dyn Lookout>>) -> Self {
        Borrowing { lookout, loan: None, news: false, brought: 0, written: [0; 2], small: 0, busy: None }
    }

    /// This turn has brought so many bytes of legs.
    pub(super) fn brought(&mut self, bytes: u64) {
        self.brought += bytes;
    }

    /// The connection's writer has written so many bytes in all.
    pub(super) fn wrote(&mut self, bytes: u64) {
        self.written[0] = bytes;
    }

    /// After a turn; `more`: there is more to do.
    pub(super) fn follow(&mut self, registry: &Registry, now: Instant, more: bool) {
        let Some(lookout) = &self.lookout else { return };
        let [written, before] = self.written;
        self.written[1] = written;
        let brought = std::mem::take(&mut self.brought);
        if more || brought > SMALL_LEG || written - before > SMALL_LEG {
            (self.small, self.busy) = (0, Some(now));
            return self.end(registry);
        }
        if brought == 0 || self.loan.is_some() {
            return;
        }
        self.small += 1;
        let calm = self.busy.is_none_or(|at| now.saturating_duration_since(at) >= PAUSE);
        if self.small >= SMALL_TURNS && calm {
            self.small = 0;
            self.loan = lookout.borrow(registry, LOOKOUT);
            self.news = self.loan.is_some();
        }
    }

    /// Whether the lookout is borrowed, as far as this thread knows.
    pub(super) fn is_borrowed(&self) -> bool {
        self.loan.is_some()
    }

    /// The poll says that the lookout has news.
    pub(super) fn tell(&mut self) {
        self.news = true;
    }

    /// Whether there is something to look at.
    pub(super) fn has_news(&self) -> bool {
        self.news
    }

    /// Does what the lookout's news call for, if it has any.
    pub(super) fn look(&mut self, registry: &Registry) {
        if !std::mem::take(&mut self.news) {
            return;
        }
        let Some((lookout, loan)) = self.lookout.as_ref().zip(self.loan) else { return };
        match lookout.look(loan) {
            Some(more) => self.news = more,
            // another thread has borrowed it
            None => self.end(registry),
        }
    }

    /// Gives it back, if it is borrowed.
    pub(super) fn end(&mut self, registry: &Registry) {
        self.news = false;
        if let Some((lookout, loan)) = self.lookout.as_ref().zip(self.loan.take()) {
            lookout.give_back(loan, registry);
        }
    }
}
