//! The last word of a stream's end: whether it was said, whether it was heard, and how long it is kept for whoever has
//! not heard it.
//!
//! A receiver's last word is its verdict; the bye answers it. The last word of a sender that dials is its bye; a pong to
//! a later ping answers it.

use std::time::Instant;

/// Where a last word is.
///
/// ```text
///          Say            Hear
///  Unsaid ─────▶ Said ──────────▶ Heard
///                ▲  │
///                ╰──╯ Say: kept for longer
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum LastWord {
    /// Not said yet.
    #[default]
    Unsaid,
    /// Said, and repeated to whoever asks until then; None: without end.
    Said(Option<Instant>),
    /// The peer has it.
    Heard,
}

/// What happens to a last word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// It is said, or kept until then.
    Say(Option<Instant>),
    /// The peer shows that it has it.
    Hear,
}

impl LastWord {
    /// The state after a move; None if the move is not legal.
    pub(super) fn next(self, step: Move) -> Option<LastWord> {
        match (self, step) {
            (LastWord::Unsaid | LastWord::Said(_), Move::Say(until)) => Some(LastWord::Said(until)),
            (LastWord::Said(_), Move::Hear) => Some(LastWord::Heard),
            _ => None,
        }
    }

    /// Makes a move, if it is legal. One that is not changes nothing: a peer may say anything at any time.
    pub(super) fn advance(&mut self, step: Move) {
        *self = self.next(step).unwrap_or(*self);
    }

    /// Until when it is kept, if that has an end.
    pub(super) fn until(self) -> Option<Instant> {
        match self {
            LastWord::Said(until) => until,
            LastWord::Unsaid | LastWord::Heard => None,
        }
    }

    /// Whether nobody came for it in time.
    pub(super) fn has_lapsed(self, now: Instant) -> bool {
        self.until().is_some_and(|until| until <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_of_state_and_move_is_legal_or_not() {
        let at = Some(Instant::now());
        let states = [LastWord::Unsaid, LastWord::Said(None), LastWord::Heard];
        let table = states.map(|state| [Move::Say(at), Move::Hear].map(|step| state.next(step)));
        let said = Some(LastWord::Said(at));
        assert_eq!(table, [[said, None], [said, Some(LastWord::Heard)], [None, None]]);
    }

    #[test]
    fn a_word_lapses_at_its_time_unless_it_was_heard() {
        let now = Instant::now();
        let mut word = LastWord::Said(Some(now));
        assert!(word.has_lapsed(now) && !LastWord::Said(None).has_lapsed(now));
        word.advance(Move::Hear);
        word.advance(Move::Say(Some(now)));
        assert!(word == LastWord::Heard && !word.has_lapsed(now));
    }
}
