//! The command that a sender's stream goes to at the moment, for who has to end it when the sender is gone.
//!
//! ```text
//!  Idle ──begin──▶ Takes ──note_whole──▶ HasAll ──note_over──▶ Idle
//!                  ▲   │ begin: the one before has failed
//!                  ╰───╯
//! ```
//!
//! Giving the sender up is possible at any time and happens once. It ends a command that takes, leaves one that has all
//! of its stream alone, and lets none begin afterwards.

use crate::endpoint::exec::Exec;
use crate::sync::Unpoisoned;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

/// The command of one sender, shared with the thread that sees the end of its session.
#[derive(Default)]
pub(crate) struct Current(Mutex<State>);

#[derive(Default)]
struct State {
    phase: Phase,
    /// The sender is given up.
    given_up: bool,
}

#[derive(Default)]
enum Phase {
    /// No command has begun, or the last one had all of its stream and is over.
    #[default]
    Idle,
    /// A command that lacks a part of its stream. One that has failed stays here until the next begins.
    Takes(Weak<Exec>),
    /// It has all of its stream, and is waited for.
    HasAll,
}

impl Current {
    /// A command is about to take a stream. False: the sender is given up, and the command must not start.
    pub(super) fn begin(&self, exec: &Arc<Exec>) -> bool {
        self.go_to(Phase::Takes(Arc::downgrade(exec)))
    }

    /// The command has all of its stream and is waited for from now on. False: the sender is given up, and the command is
    /// being ended.
    pub(super) fn note_whole(&self) -> bool {
        self.go_to(Phase::HasAll)
    }

    /// The command that had all is over.
    pub(super) fn note_over(&self) {
        self.lock().phase = Phase::Idle;
    }

    fn go_to(&self, phase: Phase) -> bool {
        let mut state = self.lock();
        if !state.given_up {
            state.phase = phase;
        }
        !state.given_up
    }

    /// Whether the sender is given up.
    pub(super) fn is_given_up(&self) -> bool {
        self.lock().given_up
    }

    /// Whether a command has all of its stream and is waited for.
    pub(crate) fn has_all(&self) -> bool {
        matches!(self.lock().phase, Phase::HasAll)
    }

    /// The sender brings no more. A command that lacks a part of its stream is ended, and this call waits until it is; no
    /// command begins any more.
    pub(crate) fn give_up(&self) {
        let mut state = self.lock();
        state.given_up = true;
        let exec = match &state.phase {
            Phase::Takes(exec) => exec.upgrade(),
            Phase::Idle | Phase::HasAll => None,
        };
        drop(state);
        exec.iter().for_each(|exec| exec.end());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unpoisoned()
    }
}
