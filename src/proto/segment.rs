//! A path that lets small segments through and swallows full ones, and the sizes that are tried there.
//!
//! A tunnel in between whose errors are filtered does that: the handshake passes, and nothing that fills a segment ever
//! arrives. The signs are told from outside: a connection is *stuck* where the peer is heard and its kernel takes
//! nothing of what was sent again and again; or TCP connects, segments are missing, and no welcome comes; or
//! connections are welcomed and fall silent with legs on their way, and those dialled in their place do the same.
//! Decides about one link, and never lowers the size because of a connection that was dialled with a larger one than is
//! tried now.
//!
//! A path that is dead in one direction looks the same, but the next dial does not connect: then the size is raised
//! again. The user hears of a smaller size only after a connection with it was welcomed.

use std::time::{Duration, Instant};

/// What is tried where full segments do not get through: less than any tunnel leaves of 1500 bytes, then what every
/// path must carry.
const SIZES: [u16; 2] = [1220, 536];
/// Attempts in a row that connected and were not welcomed.
const UNANSWERED: u32 = 2;
/// What fails within so long fails together: all connections of a link are often dialled at once.
const TOGETHER: Duration = Duration::from_secs(2);
/// So many bytes of a stream fill a segment of any size that is tried.
const LARGE: u64 = 4096;
/// While anything gets through, a connection that is stuck has another reason.
const MOVES: Duration = Duration::from_secs(1);
/// After this one connection tries the full size again.
const AGAIN: Duration = Duration::from_secs(600);

/// The largest segments of one link's connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct Segments {
    /// None is what the path says it can.
    size: Option<u16>,
    /// No connection was welcomed with this size yet.
    untried: bool,
    /// When the size was lowered, or the full one was tried again.
    since: Option<Instant>,
    /// Attempts in a row that connected and were not welcomed.
    unanswered: u32,
    /// When the last of them failed; others that fail with it are the same attempt.
    failed: Option<Instant>,
    /// Since when connections that were welcomed have fallen silent with legs on their way.
    hung: Option<Instant>,
    /// When something large got through last.
    moved: Option<Instant>,
    /// When the kernel of the peer took something large last, at the earliest.
    taken: Option<Instant>,
}

impl Segments {
    /// The size for the next dial; None is the full one.
    pub(crate) fn next(&mut self, now: Instant) -> Option<u16> {
        self.size?;
        if self.since.is_none_or(|since| now >= since + AGAIN) {
            self.since = Some(now);
            return None;
        }
        self.size
    }

    /// A connection with such segments was welcomed. Its size, if it is lower than before and the first with it.
    pub(crate) fn welcomed(&mut self, dialled: Option<u16>) -> Option<u16> {
        self.unanswered = 0;
        if self.is_untried(dialled) {
            self.untried = false;
            return dialled;
        }
        None
    }

    /// TCP with such segments did not connect: whatever else is wrong there, it is not the size of segments.
    pub(crate) fn unconnected(&mut self, dialled: Option<u16>) {
        if self.is_untried(dialled) {
            (self.size, self.untried) = (None, false);
        }
    }

    /// TCP connected with such segments, some of them are missing, and no welcome came.
    pub(crate) fn unanswered(&mut self, now: Instant, dialled: Option<u16>) {
        if self.failed.is_some_and(|at| now < at + TOGETHER) {
            return;
        }
        (self.unanswered, self.failed) = (self.unanswered + 1, Some(now));
        if self.unanswered >= UNANSWERED {
            self.lower(now, dialled);
        }
    }

    /// A connection that was dialled then, with such segments, was welcomed and fell silent with legs on its way. If it was
    /// dialled in place of one that fell silent so, and nothing large got through since, the link is not dead, and still
    /// it carries nothing.
    pub(crate) fn hung(&mut self, now: Instant, at: Instant, dialled: Option<u16>) {
        if at < *self.hung.get_or_insert(now) {
            return;
        }
        self.hung = None;
        self.lower(now, dialled);
    }

    /// A connection with such segments has been stuck since then. Where another one got anything large through after
    /// that, as on a link that has become very slow, it is not the size of segments.
    pub(crate) fn stuck(&mut self, now: Instant, since: Instant, dialled: Option<u16>) {
        let moves = self.moved.is_some_and(|at| now < at + MOVES);
        if !moves && self.taken.is_none_or(|at| at <= since + MOVES) {
            self.lower(now, dialled);
        }
    }

    /// The kernel of the peer took so many bytes, the last of them at that time.
    pub(crate) fn taken(&mut self, at: Instant, bytes: u64) {
        if bytes >= LARGE {
            self.taken = self.taken.max(Some(at));
        }
    }

    /// Whether a connection with such segments is to be given up for one with smaller ones.
    pub(crate) fn is_too_large(&self, dialled: Option<u16>) -> bool {
        largest(dialled) > largest(self.size)
    }

    /// So many bytes of a stream got through on a connection with such segments.
    pub(crate) fn moved(&mut self, now: Instant, dialled: Option<u16>, bytes: u64) {
        if bytes < LARGE {
            return;
        }
        (self.moved, self.hung) = (Some(now), None);
        if dialled.is_none() {
            (self.size, self.untried) = (None, false);
        }
    }

    fn is_untried(&self, dialled: Option<u16>) -> bool {
        self.untried && dialled == self.size
    }

    fn lower(&mut self, now: Instant, dialled: Option<u16>) {
        // one that was dialled before the size was lowered says nothing of what is tried now
        if self.is_too_large(dialled) {
            return;
        }
        let lower = SIZES.into_iter().find(|size| *size < largest(self.size));
        if lower.is_some() {
            (self.size, self.untried, self.since, self.unanswered) = (lower, true, Some(now), 0);
        }
    }
}

fn largest(size: Option<u16>) -> u16 {
    size.unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_go_down_once_for_each_that_is_stuck_and_no_further() {
        let (mut segments, now) = (Segments::default(), Instant::now());
        assert_eq!(segments.next(now), None);
        segments.stuck(now, now, None);
        assert_eq!(segments.next(now), Some(1220));
        segments.stuck(now, now, None);
        assert_eq!(segments.next(now), Some(1220), "that one was dialled before");
        segments.stuck(now, now, Some(1220));
        assert_eq!(segments.next(now), Some(536));
        segments.stuck(now, now, Some(536));
        assert_eq!(segments.next(now), Some(536));
    }

    #[test]
    fn a_lower_size_is_news_when_the_first_connection_with_it_is_welcomed() {
        let (mut segments, now) = (Segments::default(), Instant::now());
        segments.stuck(now, now, None);
        assert_eq!(segments.welcomed(None), None, "it was dialled before");
        assert_eq!([(); 2].map(|()| segments.welcomed(Some(1220))), [Some(1220), None]);
        segments.stuck(now, now, Some(1220));
        assert_eq!([(); 2].map(|()| segments.welcomed(Some(536))), [Some(536), None]);
    }

    #[test]
    fn where_nothing_connects_with_a_lower_size_the_link_is_dead_and_the_size_right() {
        let (mut segments, now) = (Segments::default(), Instant::now());
        segments.stuck(now, now, None);
        segments.unconnected(None);
        assert_eq!(segments.next(now), Some(1220), "it was dialled before");
        segments.unconnected(Some(1220));
        assert_eq!((segments.next(now), segments.welcomed(None)), (None, None));
        segments.stuck(now, now, None);
        segments.welcomed(Some(1220));
        segments.unconnected(Some(1220));
        assert_eq!(segments.next(now), Some(1220), "one was welcomed with it");
    }

    #[test]
    fn two_attempts_in_a_row_without_a_welcome_are_the_same() {
        let (mut segments, now) = (Segments::default(), Instant::now());
        let mut after = |n: u32, dialled| {
            segments.unanswered(now + TOGETHER * n, dialled);
            segments.size
        };
        assert_eq!(after(0, None), None);
        assert_eq!(after(1, None), Some(1220));
        assert_eq!([2, 3].map(|n| after(n, Some(1220))), [Some(1220), Some(536)]);
    }

    #[test]
    fn what_fails_together_or_before_a_welcome_counts_once() {
        let (mut segments, now) = (Segments::default(), Instant::now());
        [0, 0, 1].into_iter().for_each(|n| segments.unanswered(now + TOGETHER / 2 * n, None));
        assert_eq!(segments.size, None, "they fail together");
        segments.welcomed(None);
        segments.unanswered(now + TOGETHER * 2, None);
        assert_eq!(segments.size, None);
    }

    #[test]
    fn who_is_dialled_in_place_of_one_that_fell_silent_and_falls_silent_too_is_the_same() {
        let (mut segments, start) = (Segments::default(), Instant::now());
        let at = |n: u32| start + TOGETHER * n;
        let hung = |segments: &mut Segments, now, dialled_at, dialled| {
            segments.hung(at(now), at(dialled_at), dialled);
            segments.size
        };
        assert_eq!(hung(&mut segments, 1, 0, None), None);
        assert_eq!(hung(&mut segments, 9, 0, None), None, "one of the first ones: the link may have died");
        assert_eq!(hung(&mut segments, 9, 2, None), Some(1220));
        assert_eq!(hung(&mut segments, 10, 2, None), Some(1220), "it was dialled before");
        segments.moved(at(11), Some(1220), LARGE);
        assert_eq!(hung(&mut segments, 12, 11, Some(1220)), Some(1220), "something got through before");
        assert_eq!(hung(&mut segments, 14, 13, Some(1220)), Some(536));
    }

    #[test]
    fn where_others_get_something_large_through_meanwhile_the_link_is_slow() {
        let (mut segments, start) = (Segments::default(), Instant::now());
        let at = |n: u32| start + MOVES * n;
        segments.taken(at(3), LARGE - 1);
        segments.taken(at(2), LARGE);
        segments.stuck(at(9), at(0), None);
        assert_eq!(segments.size, None);
        segments.stuck(at(9), at(1), None);
        assert_eq!(segments.size, Some(1220), "it was one of the last");
    }

    #[test]
    fn after_ten_minutes_one_connection_tries_the_full_size() {
        let (mut segments, start) = (Segments::default(), Instant::now());
        segments.stuck(start, start, None);
        let later = start + AGAIN;
        assert_eq!([0, 1].map(|_| segments.next(later)), [None, Some(1220)], "one does");
        segments.stuck(later, later, None);
        assert_eq!(segments.next(later + AGAIN), None);
        segments.moved(later + AGAIN, Some(1220), 1 << 20);
        segments.moved(later + AGAIN, None, 100);
        assert_eq!(segments.next(later + AGAIN), Some(1220), "nothing large got through on a full one");
        segments.moved(later + AGAIN, None, LARGE);
        assert_eq!(segments.next(later + AGAIN), None);
        segments.stuck(later + AGAIN, later + AGAIN, None);
        assert_eq!(segments.size, None, "another has just got through");
        segments.stuck(later + AGAIN + MOVES, later + AGAIN + MOVES, None);
        assert_eq!(segments.size, Some(1220));
    }
}
