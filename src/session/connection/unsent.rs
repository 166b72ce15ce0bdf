//! How many bytes the kernel may hold that were written to a connection and have not been sent.
//!
//! If they are few, a connection that cannot carry more is noticed early, while the next leg can still go elsewhere. If
//! they are many, the thread that writes is woken rarely. So the bound is a time, at the rate at which the connection was
//! written lately.
//!
//! Pure. What always holds: on a slow path the bound is [`UNSENT_LEAST`].

use crate::channel::UNSENT_LEAST;
use std::time::{Duration, Instant};

/// The bound is what the connection carries in this time, which is long enough to bring the next leg,
const TIME: Duration = Duration::from_millis(20);

/// but no more than so many bytes.
const MOST: f64 = (256 << 10) as f64;

/// A fast connection may have more than that: what it carries in this time. At 3 GB/s, 256 KiB are gone in 80 us, and the
/// thread that writes would be woken for each. A leg, a ping or a change of links is not late by so short a time.
const TIME_FAST: Duration = Duration::from_millis(1);

/// The most bytes of a fast connection: about half of what the kernel lets a socket hold (net.ipv4.tcp_wmem).
const MOST_FAST: f64 = (2 << 20) as f64;

/// A rate is measured over so long at least, or over [`RATE_BYTES`].
const RATE_TIME: Duration = Duration::from_millis(100);

/// Twice the bytes that a socket holds: when so many were written, most of them have left. Without this, a stream that lasts
/// 30 ms would never know its rate.
const RATE_BYTES: u64 = 8 << 20;

/// What the kernel may hold unsent.
#[derive(Debug)]
pub(super) struct Unsent {
    /// When the measuring of the rate began, and how many bytes had been written then.
    from: (Instant, u64),
    /// What the kernel was told last.
    told: u32,
}

impl Unsent {
    /// For a connection on which nothing was written.
    pub(super) fn new(now: Instant) -> Self {
        Unsent { from: (now, 0), told: UNSENT_LEAST }
    }

    /// `bytes` were written by now, in all. Gives the new bound in bytes, if it has changed by more than a quarter.
    pub(super) fn written(&mut self, now: Instant, bytes: u64) -> Option<u32> {
        let (since, from) = self.from;
        let (time, count) = (now.saturating_duration_since(since), bytes - from);
        if time < RATE_TIME && count < RATE_BYTES {
            return None;
        }
        self.from = (now, bytes);
        let rate = count as f64 / time.as_secs_f64().max(1e-4);
        let unsent =
            (rate * TIME.as_secs_f64()).min(MOST).max((rate * TIME_FAST.as_secs_f64()).min(MOST_FAST));
        let unsent = (unsent as u32).max(UNSENT_LEAST);
        let changed = unsent.abs_diff(self.told) > self.told / 4;
        changed.then(|| {
            self.told = unsent;
            unsent
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel is told after so many bytes in so many milliseconds.
    fn told(bytes: u64, ms: u64) -> Option<u32> {
        let now = Instant::now();
        Unsent::new(now).written(now + Duration::from_millis(ms), bytes)
    }

    #[test]
    fn it_is_a_time_between_bounds() {
        assert_eq!(told(1000, 100), None, "the least, as it was told at first");
        assert_eq!(told(200_000, 100), Some(40_000), "20 ms");
        assert_eq!(told(6_250_000, 100), Some(256 << 10), "500 Mbit/s: the bound");
        assert_eq!(told(100_000_000, 100), Some(1_000_000), "1 ms of a gigabyte a second");
        assert_eq!(told(1_000_000_000, 100), Some(2 << 20));
    }

    #[test]
    fn a_fast_path_is_measured_soon_and_a_slow_one_is_not() {
        assert_eq!(told(8 << 20, 4), Some(2 << 20));
        assert_eq!(told((8 << 20) - 1, 4), None, "it may all be in the kernel still");
        assert_eq!(told(1 << 20, 99), None);
    }

    #[test]
    fn a_path_that_has_become_slow_has_little_again() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut unsent = Unsent::new(start);
        assert_eq!(unsent.written(at(4), 8 << 20), Some(2 << 20));
        assert_eq!(unsent.written(at(8), 16 << 20), None, "nothing has changed");
        assert_eq!(unsent.written(at(100), (16 << 20) + 1000), None);
        assert_eq!(unsent.written(at(108), (16 << 20) + 2000), Some(UNSENT_LEAST));
    }
}
