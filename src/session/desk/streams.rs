//! What the threads of the input and of the output ask the desk.

use super::super::orders::{Core, Delivery, Hunger};
use super::{Desk, Reach};

impl<C: Core, L: Reach<C>> Desk<C, L> {
    /// What the output shall do: write legs until it has so many `bytes`, at most `max` legs, if there are any.
    pub(crate) fn take_output(&self, max: usize, bytes: u64) -> Delivery {
        let mut state = self.lock();
        let over = state.over;
        state.output.take(max, bytes, over)
    }

    /// How much a leg is wanted; None when none is any more: the session is over, or has enough. The input is woken when a
    /// leg is wanted more.
    pub(crate) fn hunger(&self) -> Option<Hunger> {
        let mut state = self.lock();
        let hunger = state.core.hunger();
        state.input_awaits = Some(hunger);
        state.wants_input().then_some(hunger)
    }

    /// Whether the far end's output takes no more of the input, though the session goes on.
    pub(crate) fn has_ceased(&self) -> bool {
        self.lock().ceased
    }

    /// Whether the input is still of use: the session goes on, and the far end's output takes more.
    pub(crate) fn wants_input(&self) -> bool {
        self.lock().wants_input()
    }

    /// Whether a far end has been met; None when the session is over. If none has, the input is woken when one is met.
    pub(crate) fn has_met(&self) -> Option<bool> {
        let mut state = self.lock();
        if !state.met {
            state.input_awaits = Some(Hunger::Idle);
        }
        (!state.over).then_some(state.met)
    }
}
