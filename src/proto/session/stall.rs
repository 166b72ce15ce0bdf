//! A peer that shows life and brings nothing forward.
//!
//! Connections come up, questions are answered, and still no leg of a stream arrives, or no verdict: what does not
//! progress does not work. Only time in which the peer showed life is counted, since silence is for [`super::dialler`]
//! and [`super::listener`] to judge. An output that says it is blocked, and an input that has nothing, are no lack of
//! progress.

use super::super::way::Way;
use std::time::{Duration, Instant};

/// A pause between signs of life that is longer than this is silence.
pub(super) const SILENCE: Duration = Duration::from_secs(10);

/// How far a stream is, in whatever numbers show that; none of them can go on growing without its progress.
pub(super) type Mark = [u64; 4];

/// How long one stream has been owed progress.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stall {
    mark: Mark,
    owed: bool,
    since: Instant,
    /// The last sign of life.
    heard: Instant,
}

impl Stall {
    /// Nothing is owed.
    pub(super) fn new(now: Instant) -> Self {
        Stall { mark: Mark::default(), owed: false, since: now, heard: now }
    }

    /// The stream is so far, and whether the peer owes it progress.
    pub(super) fn note(&mut self, now: Instant, mark: Mark, owed: bool) {
        if mark != self.mark || !(owed && self.owed) {
            self.since = now;
        }
        (self.mark, self.owed) = (mark, owed);
    }

    /// The output at the other end says that it is blocked.
    pub(super) fn excuse(&mut self, now: Instant) {
        self.since = now;
    }

    /// The peer shows life. For how long it has done so, and owed progress.
    pub(super) fn lives(&mut self, now: Instant) -> Duration {
        let pause = now.saturating_duration_since(self.heard);
        if pause > SILENCE {
            self.since = (self.since + pause).min(now);
        }
        self.heard = now;
        if self.owed { now.saturating_duration_since(self.since) } else { Duration::ZERO }
    }
}

/// The streams of a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stalls {
    /// By [`Way`].
    pub(super) ways: [Stall; 2],
    /// The peer has shown life since progress was looked at.
    pub lively: bool,
}

impl Stalls {
    /// Nothing is owed.
    pub(super) fn new(now: Instant) -> Self {
        Stalls { ways: [Stall::new(now); 2], lively: false }
    }

    /// The receiver says that its output is blocked.
    pub(super) fn excuse(&mut self, now: Instant) {
        self.ways[Way::Out as usize].excuse(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn only_owed_time_with_signs_of_life_counts() {
        let start = Instant::now();
        let mut stall = Stall::new(start);
        stall.note(start + secs(5), [0; 4], true);
        assert_eq!(stall.lives(start + secs(8)), secs(3), "nothing was owed before");
        assert_eq!(stall.lives(start + secs(28)), secs(3), "it was silent");
        stall.note(start + secs(29), [0; 4], true);
        assert_eq!(stall.lives(start + secs(30)), secs(5));
        stall.note(start + secs(30), [1, 0, 0, 0], true);
        assert_eq!(stall.lives(start + secs(31)), secs(1), "it went on");
        stall.excuse(start + secs(32));
        assert_eq!(stall.lives(start + secs(32)), secs(0));
        stall.note(start + secs(32), [1, 0, 0, 0], false);
        assert_eq!(stall.lives(start + secs(39)), secs(0));
    }
}
