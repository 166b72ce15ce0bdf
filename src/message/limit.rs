//! How many lines others may cause: a token bucket for each kind of line.
//!
//! Pure: the time is an argument. Of each kind the first [`BURST`] lines are said. After that one line a [`REFILL`]
//! tells how many were not said. So whatever peers and strangers do, a kind costs at most [`BURST`] lines and one a
//! minute.
//!
//! ```text
//! may_say(now, kind) -> say the line?      due(now) -> lines that tell of the unsaid      next_due() -> when to ask
//! ```

use std::time::{Duration, Instant};

/// Lines of one kind that are said one after the other.
pub(crate) const BURST: u32 = 5;

/// After this long one more.
pub(crate) const REFILL: Duration = Duration::from_secs(60);

/// A kind of line: a few words that complete "214 more like it: ". They are constants of the source, so there are few.
pub(crate) type Kind = &'static str;

/// What has been said of late, by kind.
pub(crate) struct Limiter {
    kinds: Vec<(Kind, Bucket)>,
}

/// `tokens` ≤ [`BURST`]. While `unsaid` > 0, the next token is for telling of them.
struct Bucket {
    tokens: u32,
    /// When the tokens were counted last; whole refills only.
    since: Instant,
    unsaid: u64,
}

impl Bucket {
    fn refill(&mut self, now: Instant) {
        let refills = now.saturating_duration_since(self.since).as_secs() / REFILL.as_secs();
        if refills >= u64::from(BURST - self.tokens) {
            (self.tokens, self.since) = (BURST, self.since.max(now));
        } else {
            // less than BURST, as was just seen
            self.tokens += refills as u32;
            self.since += REFILL * refills as u32;
        }
    }

    fn spend(&mut self, now: Instant) -> bool {
        self.refill(now);
        let rich = self.tokens > 0;
        self.tokens -= u32::from(rich);
        rich
    }
}

impl Limiter {
    /// Nothing has been said.
    pub(crate) const fn new() -> Self {
        Limiter { kinds: Vec::new() }
    }

    /// Whether a line of this kind may be said now; if not, it is counted.
    pub(crate) fn may_say(&mut self, now: Instant, kind: Kind) -> bool {
        let bucket = self.bucket(now, kind);
        let may = bucket.unsaid == 0 && bucket.spend(now);
        bucket.unsaid += u64::from(!may);
        may
    }

    /// Which lines were not said, and how many of each, for those kinds of which a line may be said now.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<(Kind, u64)> {
        let told = |(kind, bucket): &mut (Kind, Bucket)| {
            (bucket.unsaid > 0 && bucket.spend(now)).then(|| (*kind, std::mem::take(&mut bucket.unsaid)))
        };
        self.kinds.iter_mut().filter_map(told).collect()
    }

    /// When [`Limiter::due`] should be asked again.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let unsaid = self.kinds.iter().filter(|(_, bucket)| bucket.unsaid > 0);
        unsaid.map(|(_, bucket)| bucket.since + if bucket.tokens > 0 { Duration::ZERO } else { REFILL }).min()
    }

    /// Everything that was not said, at the end.
    pub(crate) fn rest(&mut self) -> Vec<(Kind, u64)> {
        let unsaid = self.kinds.iter_mut().filter(|(_, bucket)| bucket.unsaid > 0);
        unsaid.map(|(kind, bucket)| (*kind, std::mem::take(&mut bucket.unsaid))).collect()
    }

    fn bucket(&mut self, now: Instant, kind: Kind) -> &mut Bucket {
        let place = self.kinds.iter().position(|(known, _)| *known == kind).unwrap_or_else(|| {
            self.kinds.push((kind, Bucket { tokens: BURST, since: now, unsaid: 0 }));
            self.kinds.len() - 1
        });
        &mut self.kinds[place].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn ten_thousand_at_once_are_a_few_lines() {
        let (start, mut limiter) = (Instant::now(), Limiter::new());
        let said = (0..10_000).filter(|_| limiter.may_say(start, "refused")).count();
        assert_eq!(said, BURST as usize);
        assert_eq!(limiter.due(start + secs(59)), []);
        assert_eq!(limiter.next_due(), Some(start + REFILL));
        assert_eq!(limiter.due(start + secs(60)), [("refused", 10_000 - u64::from(BURST))]);
        assert_eq!((limiter.next_due(), limiter.rest()), (None, Vec::new()));
    }

    #[test]
    fn however_they_are_spread_an_hour_costs_a_line_a_minute() {
        for gap in [1, 7, 360, 5_000] {
            let (start, mut limiter, mut said, mut told) = (Instant::now(), Limiter::new(), 0, 0);
            let times = 3_600_000 / gap;
            for time in 0..times {
                let now = start + Duration::from_millis(time * gap);
                for (_, unsaid) in limiter.due(now) {
                    (said, told) = (said + 1, told + unsaid);
                }
                let may = limiter.may_say(now, "refused");
                (said, told) = (said + u64::from(may), told + u64::from(may));
            }
            assert!(said <= u64::from(BURST) + 60, "{gap}: {said}");
            told += limiter.rest().iter().map(|(_, unsaid)| unsaid).sum::<u64>();
            assert_eq!(told, times, "each is said or counted");
        }
    }

    #[test]
    fn kinds_do_not_share_and_peace_restores_all() {
        let (start, mut limiter) = (Instant::now(), Limiter::new());
        let mut said = |at: u64, kind| (0..9).filter(|_| limiter.may_say(start + secs(at), kind)).count();
        assert_eq!((said(0, "a"), said(0, "b")), (5, 5));
        assert_eq!(said(301, "a"), 0, "the unsaid come first");
        assert_eq!(limiter.due(start + secs(301)), [("a", 13), ("b", 4)]);
        let mut said = |at: u64| (0..9).filter(|_| limiter.may_say(start + secs(at), "a")).count();
        assert_eq!(said(301), 4, "one was spent on telling");
        assert_eq!(limiter.rest(), [("a", 5)]);
    }

    #[test]
    fn a_clock_that_stands_or_comes_late_breaks_nothing() {
        let (start, mut limiter) = (Instant::now() + secs(100), Limiter::new());
        assert_eq!((0..6).filter(|_| limiter.may_say(start, "a")).count(), 5);
        assert!(!limiter.may_say(start - secs(50), "a"));
        assert_eq!(limiter.due(start - secs(50)), []);
        assert_eq!(limiter.due(start + secs(1_000_000)), [("a", 2)]);
    }
}
