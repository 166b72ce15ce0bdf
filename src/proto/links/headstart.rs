//! When the further connections of a session are dialled: a little after the first one.
//!
//! All threads of a process that start at once wait for each other, for processors and for the process's memory map above
//! all. So a session begins with one attempt, of the connection that is numbered first. The others are not dialled while
//! that attempt is under way, or has led to a connection, but for [`HEADSTART`] at most; for [`ALONE`] while the first
//! connection carries all that is new. If the first one fails, nothing keeps the others back.
//!
//! What always holds: from the second attempt of a session on, no attempt of any connection is delayed here.

use super::state::DialState;
use std::time::{Duration, Instant};

/// For this long no other connection than the first is dialled. A receiver that is near answers in half of this time;
/// where the receiver is not near, nobody misses so short a time.
pub const HEADSTART: Duration = Duration::from_millis(2);

/// As [`HEADSTART`], where the first connection carries all new legs. To start and to end fifteen connections costs both ends
/// together 8 ms of processor time, a fifth of what 100 MB cost.
pub(super) const ALONE: Duration = Duration::from_millis(50);

/// How far it is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Headstart {
    /// No connection has been dialled.
    ToCome,
    /// The first one was dialled then, once, and no other.
    Since(Instant),
    /// Another one was dialled, or the first one again.
    Over,
}

impl Headstart {
    /// A connection is dialled.
    pub(super) fn note_dial(&mut self, now: Instant, connection: usize) {
        *self = match (*self, connection) {
            (Headstart::ToCome, 0) => Headstart::Since(now),
            // another one, or the first one again, which has failed then
            _ => Headstart::Over,
        };
    }

    /// Until when no other connection is dialled than the first, which is in this state; None if nothing keeps them back.
    /// `carries`: the first one carries all that is new.
    pub(super) fn ends(self, first: DialState, carries: bool) -> Option<Instant> {
        let Headstart::Since(began) = self else { return None };
        match first {
            DialState::Dialling(_) => Some(began + HEADSTART),
            DialState::Up(_) => Some(began + if carries { ALONE } else { HEADSTART }),
            DialState::Resting(_) | DialState::Leaving(_) => None,
        }
    }
}
