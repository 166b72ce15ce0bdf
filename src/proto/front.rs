//! How far the output has got into a leg that has not come whole.
//!
//! ```text
//!            begin                moved, moved, …            through
//!  nothing ─────────▶ begun, 0 ───────────────────▶ begun, k ───────▶ nothing
//!     ▲                                                │
//!     ╰────────────────────── resume: at k ────────────╯   a copy has come whole
//! ```
//!
//! One copy of a leg is moved, by one connection. If that connection ends, or the sink takes no more of it now, what the
//! sink has taken stays where it is: whichever copy comes whole first is written from there on. Nothing is ever taken
//! back, and no byte is written twice.

/// The leg that the output has begun with, if there is one. `T` names connections.
#[derive(Debug, Default)]
pub struct Front<T>(Option<Begun<T>>);

#[derive(Clone, Copy, Debug)]
struct Begun<T> {
    sequence: u64,
    /// Bytes of it that the sink has.
    taken: usize,
    /// The connection that moves it.
    by: T,
}

impl<T: Copy + PartialEq> Front<T> {
    /// Nothing has begun.
    pub fn new() -> Self {
        Front(None)
    }

    /// Whether the connection may move bytes of a copy of this leg of which it has moved `at` so far. At 0 it begins with
    /// it, unless the sink has some of that leg already. The leg must be the one that the output wants next.
    pub fn may_move(&mut self, by: T, sequence: u64, at: usize) -> bool {
        match self.0.filter(|begun| begun.sequence == sequence) {
            Some(Begun { taken: 0, .. }) | None if at == 0 => {
                self.0 = Some(Begun { sequence, taken: 0, by });
                true
            }
            Some(begun) => at > 0 && begun.by == by && begun.taken == at,
            None => false,
        }
    }

    /// The sink has got so many bytes more of it.
    pub fn moved(&mut self, bytes: usize) {
        self.0.iter_mut().for_each(|begun| begun.taken += bytes);
    }

    /// How much the sink has of it.
    pub fn taken(&self) -> usize {
        self.0.as_ref().map_or(0, |begun| begun.taken)
    }

    /// The leg counts as delivered.
    pub fn through(&mut self) {
        self.0 = None;
    }

    /// A copy of this leg has come whole, and is the one that is written: from which byte on.
    pub fn resume(&mut self, sequence: u64) -> usize {
        self.0.take().filter(|begun| begun.sequence == sequence).map_or(0, |begun| begun.taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leg_is_moved_by_one_connection_from_its_first_byte_to_its_last() {
        let mut front = Front::new();
        assert!(!front.may_move('a', 7, 3), "it has not begun");
        assert!(front.may_move('a', 7, 0) && front.may_move('a', 7, 0));
        front.moved(3);
        assert!(front.may_move('a', 7, 3) && front.taken() == 3);
        assert!(!front.may_move('a', 7, 2) && !front.may_move('a', 7, 4));
        assert!(!front.may_move('b', 7, 3) && !front.may_move('b', 7, 0), "another has begun with it");
        front.moved(2);
        front.through();
        assert!(!front.may_move('a', 7, 5));
        assert!(front.may_move('b', 8, 0), "the next one is anybody's");
        assert_eq!(front.resume(8), 0);
    }

    #[test]
    fn of_which_nothing_was_moved_another_may_move() {
        let mut front = Front::new();
        assert!(front.may_move('a', 7, 0) && front.may_move('b', 7, 0));
        front.moved(1);
        assert!(front.may_move('b', 7, 1) && !front.may_move('a', 7, 0));
    }

    #[test]
    fn the_copy_that_comes_whole_is_written_from_where_the_sink_is() {
        let mut front = Front::new();
        assert_eq!(front.resume(7), 0, "nothing has begun");
        front.may_move('a', 7, 0);
        front.moved(3);
        assert_eq!(front.resume(7), 3);
        assert!(!front.may_move('a', 7, 3), "its turn is over");
        assert_eq!(front.resume(7), 0, "it is written once");
        // all of it was moved, and the core was told of another copy before
        front.may_move('a', 8, 0);
        front.moved(10);
        assert_eq!(front.resume(8), 10);
    }

    #[test]
    fn what_the_sink_has_of_one_leg_says_nothing_of_another() {
        let mut front = Front::new();
        front.may_move('a', 7, 0);
        assert_eq!(front.resume(8), 0);
        assert!(front.may_move('b', 9, 0), "a leg that was not there any more is forgotten");
        assert!(!front.may_move('a', 7, 3));
    }
}
