//! How many handshakes of strangers are taken up: a token bucket. Each costs this end a fifth of a millisecond of work
//! with keys before it knows whom it deals with.
//!
//! Pure: the time is an argument.

use std::time::{Duration, Instant};

/// The most handshakes at once: the connections of four senders.
const BURST: u32 = 64;
/// One more handshake is allowed after each such time: a tenth of a processor at most.
const APART: Duration = Duration::from_millis(2);

/// How many may be taken up now; `tokens` ≤ [`BURST`].
pub(super) struct Allowance {
    tokens: u32,
    /// When the tokens were counted last, in whole steps.
    since: Instant,
}

impl Allowance {
    /// All of them.
    pub(super) fn new(now: Instant) -> Self {
        Allowance { tokens: BURST, since: now }
    }

    /// Takes one up, if that is allowed.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let steps = now.saturating_duration_since(self.since).as_millis() / APART.as_millis();
        if steps >= u128::from(BURST - self.tokens) {
            (self.tokens, self.since) = (BURST, self.since.max(now));
        } else {
            // less than BURST, as was just seen
            self.tokens += steps as u32;
            self.since += APART * steps as u32;
        }
        let allowed = self.tokens > 0;
        self.tokens -= u32::from(allowed);
        allowed
    }

    /// When one is allowed.
    pub(super) fn next(&self) -> Instant {
        if self.tokens > 0 { self.since } else { self.since + APART }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_allowed_and_then_one_a_step() {
        let mut now = Instant::now();
        let mut allowance = Allowance::new(now);
        assert!((0..BURST).all(|_| allowance.take(now)));
        assert!(!allowance.take(now));
        for _ in 0..5 {
            assert!(!allowance.take(now + APART - Duration::from_micros(1)));
            assert_eq!(allowance.next(), now + APART);
            now = allowance.next();
            assert!(allowance.take(now) && !allowance.take(now));
        }
    }

    #[test]
    fn never_more_than_a_burst_is_saved_up() {
        let now = Instant::now();
        let mut allowance = Allowance::new(now);
        let late = now + Duration::from_secs(3600);
        assert_eq!((0..10 * BURST).filter(|_| allowance.take(late)).count() as u32, BURST);
        // a clock that is read in another order changes nothing
        assert!(!allowance.take(now));
    }
}
