//! What the threads at both ends of a stream wait for, as the core sees it. These threads and the core share what is
//! measured: behind a lock that is held for a few additions, or in an atomic.

use crate::sync::Unpoisoned;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// For how long the output has been blocked. The threads that wait for it write this, the core reads it before every event:
/// acknowledgements tell the sender.
#[derive(Debug, Default)]
pub(crate) struct Blocked(Mutex<Waits>);

/// Waits for the output. There may be several at once: the egress thread writes, and a connection still waits to move a
/// leg.
#[derive(Debug, Default)]
struct Waits {
    under_way: usize,
    /// Since when those under way wait: the latest of them began then, or one ended.
    since: Option<Instant>,
    /// The time in which there was one, up to `since`.
    total: Duration,
}

impl Waits {
    fn begin(&mut self, now: Instant) {
        self.count(now);
        self.under_way += 1;
        self.since = Some(now);
    }

    fn end(&mut self, now: Instant) {
        self.count(now);
        self.under_way = self.under_way.saturating_sub(1);
        self.since = (self.under_way > 0).then_some(now);
    }

    fn count(&mut self, now: Instant) {
        self.total += self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
    }
}

impl Blocked {
    /// How long it has been waited for since a wait last began or ended; zero if nobody waits.
    pub(crate) fn for_how_long(&self) -> Duration {
        // the clock is not asked where nobody waits
        let since = self.waits().since;
        since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Time in which somebody waited, in all.
    pub(crate) fn total(&self) -> Duration {
        let waits = self.waits();
        waits.total + waits.since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Somebody waits from now on, until [`Blocked::end`].
    pub(crate) fn begin(&self) {
        self.waits().begin(Instant::now());
    }

    /// One of the waiting threads waits no more.
    pub(crate) fn end(&self) {
        self.waits().end(Instant::now());
    }

    fn waits(&self) -> MutexGuard<'_, Waits> {
        self.0.lock().unpoisoned()
    }
}

/// What the thread that reads the input waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum InputWait {
    /// The input.
    Source,
    /// Memory: that is, the network or the far output.
    Memory,
    /// The user's `rate` or `delayus`.
    Pace,
}

/// Shows the core what the thread that reads the input waits for.
#[derive(Clone, Debug, Default)]
pub(crate) struct InputWaits(Arc<AtomicU8>);

impl InputWaits {
    /// The thread waits for this from now on.
    pub(crate) fn set(&self, wait: InputWait) {
        self.0.store(wait as u8, Ordering::Relaxed);
    }

    /// What the thread waits for.
    pub(crate) fn get(&self) -> InputWait {
        match self.0.load(Ordering::Relaxed) {
            1 => InputWait::Memory,
            2 => InputWait::Pace,
            _ => InputWait::Source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection that was to move a leg gives up while the egress thread writes.
    #[test]
    fn the_output_is_blocked_until_nobody_waits_for_it() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let at = |n| start + ms(n);
        let mut waits = Waits::default();
        waits.begin(at(0));
        waits.begin(at(10));
        waits.end(at(15));
        assert_eq!((waits.since, waits.total), (Some(at(15)), ms(15)), "the other one still waits");
        waits.end(at(1015));
        assert_eq!((waits.since, waits.total), (None, ms(1015)));
    }
}
