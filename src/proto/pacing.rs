//! How far and how fast the input may be read: `leglimit`, `delayus` and `rate`.
//!
//! Call order: [`Pacing::step`] until it says `Read`, read at most so much, tell [`Pacing::took`]. All three
//! are about the stream, whatever size its legs have and however many connections carry them.

use super::leg::LEG_MAX;
use std::time::{Duration, Instant};

/// With `rate`, the input is read this often a second: so the stream is smooth over a few such slices.
const SLICES_PER_SECOND: u64 = 40;

/// A reader that comes late makes up for at most this time. What it missed before that is not read in a burst.
const CATCH_UP: Duration = Duration::from_millis(50);

/// `leglimit` and `delayus` count in this many bytes.
const UNIT: u64 = LEG_MAX as u64;

/// What the reader may do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Read at most so many bytes; never 0.
    Read(usize),
    /// Wait until then, and ask again.
    Wait(Instant),
    /// The stream ends here.
    End,
}

/// The pace of one stream.
#[derive(Clone, Debug)]
pub(crate) struct Pacing {
    /// Bytes that the stream may have at most.
    limit: u64,
    /// The pause before each [`UNIT`].
    delay: Duration,
    /// Bytes a second; never 0.
    rate: Option<u64>,
    /// Bytes read; ≤ `limit`.
    taken: u64,
    /// The pause before the unit that begins at this offset is over or under way.
    delayed: Option<u64>,
    /// Nothing is read before this.
    free_at: Option<Instant>,
}

impl Pacing {
    /// A stream that ends after `units` of 2 MiB, pauses `delay` before each of them and has at most `rate`
    /// bytes a second.
    pub(crate) fn new(units: Option<u64>, delay: Duration, rate: Option<u64>) -> Self {
        let limit = units.map_or(u64::MAX, |units| units.saturating_mul(UNIT));
        Pacing { limit, delay, rate: rate.map(|r| r.max(1)), taken: 0, delayed: None, free_at: None }
    }

    /// Whether there is a rate to keep, so that nothing should be read far ahead of its sending.
    pub(crate) fn has_rate(&self) -> bool {
        self.rate.is_some()
    }

    /// What the reader may do at `now`.
    pub(crate) fn step(&mut self, now: Instant) -> Step {
        if self.taken >= self.limit {
            return Step::End;
        }
        let unit = self.taken - self.taken % UNIT;
        if !self.delay.is_zero() && unit == self.taken && self.delayed != Some(unit) {
            self.delayed = Some(unit);
            self.free_at = self.free_at.max(Some(now + self.delay));
        }
        match self.free_at.filter(|at| *at > now) {
            Some(at) => Step::Wait(at),
            None => Step::Read(self.room() as usize),
        }
    }

    /// So many bytes were read, until `now`.
    pub(crate) fn took(&mut self, now: Instant, bytes: usize) {
        self.taken += bytes as u64;
        let Some(rate) = self.rate else { return };
        let nanos = (bytes as u128 * 1_000_000_000 / u128::from(rate)).min(u64::MAX.into());
        let earliest = now.checked_sub(CATCH_UP).unwrap_or(now);
        let from = self.free_at.map_or(now, |at| at.max(earliest));
        self.free_at = Some(from + Duration::from_nanos(nanos as u64));
    }

    fn room(&self) -> u64 {
        let slice = self.rate.map_or(UNIT, |rate| (rate / SLICES_PER_SECOND).clamp(1, UNIT));
        let unit = if self.delay.is_zero() { UNIT } else { UNIT - self.taken % UNIT };
        slice.min(unit).min(self.limit - self.taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// Reads all it may in legs of at most `leg` bytes until `end`, each reading `late` after its time; the
    /// times and sizes of all readings.
    fn read(
        pacing: &mut Pacing,
        start: Instant,
        end: Duration,
        leg: usize,
        late: Duration,
    ) -> Vec<(Duration, usize)> {
        let (mut now, mut seen) = (start, Vec::new());
        while now < start + end {
            match pacing.step(now) {
                Step::End => break,
                Step::Wait(at) => now = at + late,
                Step::Read(most) => {
                    let bytes = most.min(leg);
                    pacing.took(now, bytes);
                    seen.push((now - start, bytes));
                }
            }
        }
        seen
    }

    fn sum(seen: &[(Duration, usize)]) -> u64 {
        seen.iter().map(|(_, bytes)| *bytes as u64).sum()
    }

    #[test]
    fn without_a_word_nothing_is_held_back() {
        let mut pacing = Pacing::new(None, Duration::ZERO, None);
        assert_eq!(pacing.step(Instant::now()), Step::Read(LEG_MAX));
    }

    #[test]
    fn the_limit_is_exact_whatever_the_legs() {
        for leg in [1000, 65536, LEG_MAX] {
            let mut pacing = Pacing::new(Some(3), Duration::ZERO, None);
            assert_eq!(sum(&read(&mut pacing, Instant::now(), ms(1), leg, ms(0))), 3 * UNIT);
            assert_eq!(pacing.step(Instant::now()), Step::End);
        }
        assert_eq!(Pacing::new(Some(0), ms(1), None).step(Instant::now()), Step::End);
    }

    #[test]
    fn each_unit_waits_once_whatever_the_legs() {
        for leg in [500_000, 1 << 20, LEG_MAX] {
            let mut pacing = Pacing::new(Some(5), ms(10), None);
            let seen = read(&mut pacing, Instant::now(), ms(1000), leg, ms(0));
            assert_eq!(sum(&seen), 5 * UNIT);
            let mut offset = 0;
            for (at, bytes) in seen {
                assert_eq!(at, ms(10 * (offset / UNIT + 1)), "at byte {offset}");
                offset += bytes as u64;
            }
        }
    }

    #[test]
    fn a_rate_is_kept_and_smooth() {
        for (rate, late) in [(10 << 20, ms(0)), (10 << 20, ms(7)), (64 << 10, ms(1)), (1 << 30, ms(1))] {
            let mut pacing = Pacing::new(None, Duration::ZERO, Some(rate));
            let seen = read(&mut pacing, Instant::now(), ms(10_000), LEG_MAX, late);
            let kept = sum(&seen) as f64 / (10 * rate) as f64;
            assert!((0.99..1.01).contains(&kept), "{kept} of {rate}");
            for (i, (from, _)) in seen.iter().enumerate() {
                let window: Vec<_> =
                    seen[i..].iter().take_while(|(at, _)| *at < *from + ms(100)).copied().collect();
                assert!(sum(&window) as f64 <= rate as f64 * 0.18, "burst at {from:?} of {rate}");
            }
        }
    }

    #[test]
    fn what_a_stall_has_missed_is_not_made_up_for() {
        let mut pacing = Pacing::new(None, Duration::ZERO, Some(1 << 20));
        let start = Instant::now();
        read(&mut pacing, start, ms(1000), LEG_MAX, ms(0));
        let after = read(&mut pacing, start + ms(60_000), ms(100), LEG_MAX, ms(0));
        assert!(sum(&after) <= (1 << 20) / 5, "{after:?}");
    }

    #[test]
    fn extreme_rates_neither_stop_nor_overflow() {
        let now = Instant::now();
        let mut slow = Pacing::new(None, Duration::ZERO, Some(1));
        assert_eq!(slow.step(now), Step::Read(1));
        slow.took(now, 1);
        assert_eq!(slow.step(now), Step::Wait(now + Duration::from_secs(1)));
        let mut fast = Pacing::new(Some(u64::MAX / UNIT), Duration::ZERO, Some(u64::MAX));
        fast.took(now, LEG_MAX);
        assert_eq!(fast.step(now), Step::Read(LEG_MAX));
    }
}
