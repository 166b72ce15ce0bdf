//! Whether the bytes of a stream are moved through this process or copied.
//!
//! Moving is tried where it was chosen. Where it is of no use, it is given up for good, and the user is told so once.

use crate::message;
use crate::report::Passage;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// The verbosity at which it is told.
pub(crate) const TOLD: u8 = 2;

/// A pipe must have had no place for more this many times before its filling is judged.
const FULL: u32 = 16;

const NOT_NOW: u8 = 0;
const MOVES: u8 = 1;
const COPIES: u8 = 2;

/// Why bytes are copied from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The kernel does not move any.
    Kernel,
    /// The bytes fill less than half of the pages that hold them, and each page takes the place of a full one in a pipe.
    Pieces,
    /// What else is in the way, in words.
    Other(String),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::Kernel => "the kernel does not move it",
            Why::Pieces => "what comes fills less than half of its pages",
            Why::Other(why) => why,
        })
    }
}

/// What was chosen for one way of a session. Any thread may look.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choice {
    /// At the start.
    chosen: Passage,
    state: Arc<AtomicU8>,
}

impl Choice {
    /// In this way, as far as nothing speaks against it.
    pub(crate) fn new(chosen: Passage) -> Self {
        Choice { chosen, ..Self::default() }
    }

    /// The way that was chosen at the start.
    pub(crate) fn chosen(&self) -> Passage {
        self.chosen
    }

    /// The way of what came last.
    pub(crate) fn latest(&self) -> Passage {
        let moves = self.state.load(Ordering::Relaxed) == MOVES;
        if self.chosen == Passage::Moved && !moves { Passage::Copied } else { self.chosen }
    }

    /// Whether moving may be tried.
    pub(crate) fn may_move(&self) -> bool {
        self.chosen == Passage::Moved && self.state.load(Ordering::Relaxed) != COPIES
    }

    /// What came last was moved, or was not. Whether something is moved now, and was not before.
    pub(crate) fn note(&self, moves: bool) -> bool {
        let state = if moves { MOVES } else { NOT_NOW };
        let before = self.state.load(Ordering::Relaxed);
        // only written where that is new: this is called often
        before != COPIES
            && before != state
            && self.state.compare_exchange(before, state, Ordering::Relaxed, Ordering::Relaxed).is_ok()
            && moves
    }

    /// From now on everything is copied.
    pub(crate) fn copy(&self, why: &Why) {
        if self.state.swap(COPIES, Ordering::Relaxed) != COPIES {
            message::note(TOLD, || format!("the stream is copied from now on: {why}"));
        }
    }
}

/// How full a pipe was when it took nothing more.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fill {
    times: u32,
    bytes: u64,
    /// What it could have held.
    of: u64,
}

impl Fill {
    /// A pipe took nothing more when it had `bytes` in it and could hold `of`. Whether pipes hold so little that bytes should
    /// be copied for good: less than half, on average.
    pub(crate) fn is_thin(&mut self, bytes: usize, of: usize) -> bool {
        (self.times, self.bytes, self.of) = (self.times + 1, self.bytes + bytes as u64, self.of + of as u64);
        self.times >= FULL && self.bytes * 2 < self.of
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moving_is_tried_until_it_is_given_up_for_good() {
        let choice = Choice::new(Passage::Moved);
        assert_eq!((choice.may_move(), choice.latest()), (true, Passage::Copied));
        assert!(choice.note(true) && !choice.note(true) && choice.clone().latest() == Passage::Moved);
        assert!(!choice.note(false) && choice.may_move() && choice.latest() == Passage::Copied);
        choice.copy(&Why::Kernel);
        assert!(!choice.note(true) && !choice.may_move() && choice.latest() == Passage::Copied);
    }

    #[test]
    fn what_was_not_chosen_is_not_tried() {
        for chosen in [Passage::Copied, Passage::File] {
            let choice = Choice::new(chosen);
            choice.note(true);
            assert_eq!((choice.may_move(), choice.latest(), choice.chosen()), (false, chosen, chosen));
        }
    }

    #[test]
    fn a_pipe_that_is_full_of_little_is_judged_by_the_average() {
        let mut fill = Fill::default();
        assert!((1..FULL).all(|_| !fill.is_thin(362, 1024)), "a few times say little");
        assert!(fill.is_thin(362, 1024));
        let mut fill = Fill::default();
        assert!((0..100).all(|_| !fill.is_thin(1024, 1024)));
        assert!((0..50).all(|_| !fill.is_thin(362, 1024)), "it was otherwise for long");
        assert!((0..400).any(|_| fill.is_thin(362, 1024)));
        // large pages hold more than the pipe is said to
        assert!((0..1000).all(|_| !Fill::default().is_thin(8192, 1024)));
    }
}
