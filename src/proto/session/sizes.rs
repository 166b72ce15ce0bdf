//! How large the pieces are that the input reads, and the legs that are cut from them.
//!
//! What always holds: a leg is longer than [`leg_max`](super::super::leg::leg_max) only on a near path while so few
//! connections have something under way that the receiver has room for it. One that cannot be cut anew when it is sent
//! waits for that.

use super::super::leg::{LEG_NEAR, leaves_room};
use super::outbound::Outbound;

/// Below this it does not pay to have legs that cannot be cut.
const WHOLE_LEAST: usize = 256 << 10;

impl Outbound {
    /// See [`Session::keep_legs_short`](super::Session::keep_legs_short).
    pub(super) fn keep_legs_short(&mut self) {
        self.short = true;
    }

    /// Bytes that the input should give at once: so many are enough while a connection waits for them, and never more
    /// than the second number.
    pub fn appetite(&self) -> (usize, usize) {
        let longest = if self.near { LEG_NEAR } else { self.most };
        (self.haste.get().min(longest), self.haste.most().min(longest))
    }

    /// Bytes that the input should put into a piece that can be sent as one leg only; None where legs should be cut when
    /// they are sent, because they are small, the path is long, or they must be read anyway.
    pub fn whole_leg(&self) -> Option<usize> {
        let longest = if self.short { self.most } else { LEG_NEAR };
        let size = self.leg_size.get().min(longest);
        (self.near && !self.checked && size >= WHOLE_LEAST).then_some(size)
    }

    /// Bytes that the next leg has, at most.
    pub fn leg_size(&self) -> usize {
        let longest = self.leg_size.get().min(LEG_NEAR);
        if self.near && !self.short && leaves_room(longest, self.most, self.sender.busy()) {
            longest
        } else {
            self.leg_size.get().min(self.most)
        }
    }
}
