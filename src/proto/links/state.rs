//! Where a connection of the end that dials is, and the moves that are legal there.

use std::time::Instant;

/// Where a connection of the end that dials is.
///
/// ```text
///           Dial             Welcome          Recall
///  Resting ──────▶ Dialling ─────────▶ Up ────────────▶ Leaving
///     ▲               │ Rest            │ Rest             │ Rest
///     ╰───────────────┴─────────────────┴──────────────────╯
///  Wait: Resting, for longer
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// There is none; it may be dialled from this time on.
    Resting(Instant),
    /// It is being dialled on this link.
    Dialling(usize),
    /// It carries legs on this link.
    Up(usize),
    /// It finishes what it holds on this link, then goes home.
    Leaving(usize),
}

/// What happens to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// It is dialled on this link.
    Dial(usize),
    /// It was welcomed.
    Welcome,
    /// It is called back to its home.
    Recall,
    /// It is gone, and may be dialled again from then on.
    Rest(Instant),
    /// There is none yet, and it may be dialled from then on only.
    Wait(Instant),
}

impl State {
    /// The state after a move; None if the move is not legal.
    pub(super) fn next(self, step: Move) -> Option<State> {
        match (self, step) {
            (State::Resting(_), Move::Dial(link)) => Some(State::Dialling(link)),
            (State::Resting(_), Move::Wait(at)) => Some(State::Resting(at)),
            (State::Dialling(link), Move::Welcome) => Some(State::Up(link)),
            (State::Up(link), Move::Recall) => Some(State::Leaving(link)),
            (State::Dialling(_) | State::Up(_) | State::Leaving(_), Move::Rest(at)) => {
                Some(State::Resting(at))
            }
            _ => None,
        }
    }

    /// The link of a connection that is up.
    pub fn up_on(self) -> Option<usize> {
        match self {
            State::Up(link) | State::Leaving(link) => Some(link),
            State::Resting(_) | State::Dialling(_) => None,
        }
    }
}
