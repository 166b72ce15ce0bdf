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
pub enum DialState {
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
pub(super) enum DialMove {
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

impl DialState {
    /// The state after a move; None if the move is not legal.
    pub(super) fn next(self, step: DialMove) -> Option<DialState> {
        match (self, step) {
            (DialState::Resting(_), DialMove::Dial(link)) => Some(DialState::Dialling(link)),
            (DialState::Resting(_), DialMove::Wait(at)) => Some(DialState::Resting(at)),
            (DialState::Dialling(link), DialMove::Welcome) => Some(DialState::Up(link)),
            (DialState::Up(link), DialMove::Recall) => Some(DialState::Leaving(link)),
            (DialState::Dialling(_) | DialState::Up(_) | DialState::Leaving(_), DialMove::Rest(at)) => {
                Some(DialState::Resting(at))
            }
            _ => None,
        }
    }

    /// The link of a connection that is up.
    pub fn up_on(self) -> Option<usize> {
        match self {
            DialState::Up(link) | DialState::Leaving(link) => Some(link),
            DialState::Resting(_) | DialState::Dialling(_) => None,
        }
    }
}
