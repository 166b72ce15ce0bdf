//! A peer that shows life and brings nothing forward.
//!
//! Connections come up, questions are answered, and still no leg of a stream arrives, or no verdict: what does not
//! progress does not work. Only time in which the peer showed life is counted, since silence is for [`super::dialler`]
//! and [`super::listener`] to judge. An output that says it is blocked, and an input that has nothing, are no lack of
//! progress.
//!
//! Where a leg takes longer than patience, its bytes are progress before it is whole: if they flow, which is more than
//! questions and acknowledgements do, and if they can be bytes of legs that will be whole. A peer that lets bytes through
//! and no leg holds nobody for long. Of such bytes count at most twice as many as the legs under way have had at most since
//! the mark moved; the second time is for connections that break.

use super::super::leg::CONNECTIONS_MAX;
use super::super::way::PerWay;
use std::time::{Duration, Instant};

/// A pause between signs of life that is longer than this is silence.
pub(super) const SILENCE: Duration = Duration::from_secs(10);

/// So many bytes a second are a flow. Sixteen connections that carry no leg let less through: a ping each, encrypted, is
/// some 70 bytes.
const FLOW: u64 = 2048;

/// For so long at least it is seen whether bytes flow.
const LOOK: Duration = Duration::from_secs(1);

/// How far a stream is, in whatever numbers show that; none of them can go on growing without its progress.
pub(super) type Mark = [u64; 4];

/// How long one stream has been owed progress.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stall {
    mark: Mark,
    owed: bool,
    since: Instant,
    /// When something of the stream got through last: the mark moved, or bytes flowed.
    moved: Instant,
    /// The last sign of life.
    heard: Instant,
    /// Bytes of legs that are not whole, since the mark moved last.
    since_mark: u64,
    /// Of these, those that count as progress, since it is owed.
    parts: u64,
    /// The most bytes that legs under way have had since the mark moved last.
    most: u64,
    flow: Flow,
}

/// Bytes that have got through since a moment, while it is seen whether they flow.
#[derive(Clone, Copy, Debug)]
struct Flow {
    since: Instant,
    bytes: u64,
}

impl Flow {
    /// So many more; whether they flow, once that is seen.
    fn add(&mut self, at: Instant, bytes: u64) -> bool {
        self.bytes += bytes;
        let time = at.saturating_duration_since(self.since);
        if time < LOOK {
            return false;
        }
        let Flow { bytes, .. } = std::mem::replace(self, Flow { since: at, bytes: 0 });
        bytes as f64 >= FLOW as f64 * time.as_secs_f64()
    }
}

impl Stall {
    /// Nothing is owed.
    pub(super) fn new(now: Instant) -> Self {
        let flow = Flow { since: now, bytes: 0 };
        Stall {
            mark: Mark::default(),
            owed: false,
            since: now,
            moved: now,
            heard: now,
            since_mark: 0,
            parts: 0,
            most: 0,
            flow,
        }
    }

    /// The stream is so far, and whether the peer owes it progress.
    pub(super) fn note(&mut self, now: Instant, mark: Mark, owed: bool) {
        if mark != self.mark {
            (self.moved, self.since_mark, self.most) = (now, 0, 0);
        }
        if mark != self.mark || !(owed && self.owed) {
            (self.since, self.parts) = (now, 0);
        }
        (self.mark, self.owed) = (mark, owed);
    }

    /// So many bytes more got through, the last of them at that time. The legs under way have so many bytes, `most`.
    pub(super) fn partly(&mut self, at: Instant, bytes: u64, most: u64) {
        // a connection that breaks leaves the bound as it was
        self.most = self.most.max(most);
        let may_come = self.most.saturating_mul(2);
        let counts = bytes.min(may_come.saturating_sub(self.parts));
        self.parts += counts;
        // whether progress is owed changes with each leg that comes ahead of others: here it makes no difference
        let may_be_whole = self.since_mark < may_come;
        self.since_mark = self.since_mark.saturating_add(bytes);
        if self.flow.add(at, counts) {
            self.since = self.since.max(at);
            if may_be_whole {
                self.moved = self.moved.max(at);
            }
        }
    }

    /// When something of the stream got through last, or when it was to begin. Signs of life are none of that.
    pub(super) fn moved(&self) -> Instant {
        self.moved
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
    /// Of each way.
    pub(super) ways: PerWay<Stall>,
    /// By connection: bytes of the legs that it has brought since it was last told what the peer's kernel took there. These
    /// legs are whole.
    pub(super) counted: [u64; CONNECTIONS_MAX],
    /// The peer has shown life since progress was looked at.
    pub lively: bool,
}

impl Stalls {
    /// Nothing is owed.
    pub(super) fn new(now: Instant) -> Self {
        Stalls { ways: PerWay::from_fn(|_| Stall::new(now)), counted: [0; CONNECTIONS_MAX], lively: false }
    }

    /// The receiver says that its output is blocked.
    pub(super) fn excuse(&mut self, now: Instant) {
        self.ways.outgoing.excuse(now);
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

    #[test]
    fn what_got_through_is_told_from_what_is_not_owed() {
        let start = Instant::now();
        let mut stall = Stall::new(start);
        stall.note(start + secs(1), [1; 4], true);
        for second in 2..9 {
            stall.note(start + secs(second), [1; 4], second > 5);
            stall.excuse(start + secs(second));
            stall.partly(start + secs(second), 16 * 70, 1 << 20);
            stall.lives(start + secs(second));
        }
        assert_eq!(stall.moved(), start + secs(1));
        stall.partly(start + secs(9), 3000, 1 << 20);
        assert_eq!(stall.moved(), start + secs(9));
    }

    #[test]
    fn bytes_of_legs_that_are_never_whole_get_nothing_through_whether_owed_or_not() {
        let start = Instant::now();
        for owed in [false, true] {
            let mut stall = Stall::new(start);
            stall.note(start, [1; 4], owed);
            for second in 1..=60 {
                stall.partly(start + secs(second), 3000, 30_000);
                stall.note(start + secs(second), [1; 4], owed);
            }
            assert_eq!(stall.moved(), start + secs(20), "{owed}");
            stall.note(start + secs(61), [2; 4], owed);
            stall.partly(start + secs(62), 6000, 30_000);
            assert_eq!(stall.moved(), start + secs(62), "{owed}");
        }
    }

    #[test]
    fn what_connections_brought_that_broke_is_not_charged_to_those_that_are_left() {
        let start = Instant::now();
        let mut stall = Stall::new(start);
        stall.note(start, [1; 4], true);
        stall.partly(start + secs(1), 500_000, 16 << 15);
        stall.note(start + secs(1), [1; 4], true);
        for second in 2..=60 {
            stall.partly(start + secs(second), 3000, 1 << 15);
            stall.note(start + secs(second), [1; 4], true);
            stall.lives(start + secs(second));
        }
        assert_eq!((stall.lives(start + secs(60)), stall.moved()), (secs(0), start + secs(60)));
    }

    /// For how long progress is owed at the end of so many seconds, in each of which so many bytes get through.
    fn trickled(seconds: u64, bytes: u64, most: u64) -> Duration {
        let start = Instant::now();
        let mut stall = Stall::new(start);
        stall.note(start, [1; 4], true);
        for second in 1..=seconds {
            stall.partly(start + secs(second), bytes, most);
            stall.note(start + secs(second), [1; 4], true);
            stall.lives(start + secs(second));
        }
        stall.lives(start + secs(seconds))
    }

    #[test]
    fn bytes_of_legs_that_are_not_whole_are_progress_if_they_flow() {
        assert_eq!(trickled(60, 3000, 1 << 20), secs(0));
        assert_eq!(trickled(60, 16 * 70, 1 << 20), secs(60), "such may be questions");
    }

    #[test]
    fn no_more_bytes_are_progress_than_twice_those_of_the_legs_under_way() {
        assert_eq!(trickled(60, 3000, 30_000), secs(40));
        assert_eq!(trickled(60, 3000, 0), secs(60), "nothing is under way");
    }
}
