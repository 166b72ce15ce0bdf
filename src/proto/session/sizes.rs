//! How large the pieces are that the input reads, and the legs that are cut from them.

use super::super::leg::{LEG_MAX, LEG_NEAR};
use super::outbound::Outbound;

/// Below this it does not pay to have legs that cannot be cut.
const WHOLE_LEAST: usize = 256 << 10;

impl Outbound {
    /// Bytes that the input should give at once: so many are enough while a connection waits for them, and never more
    /// than the second number.
    pub fn appetite(&self) -> (usize, usize) {
        (self.haste.get().min(self.longest()), self.haste.most().min(self.longest()))
    }

    /// Bytes that the input should put into a piece that can be sent as one leg only; None where legs should be cut when
    /// they are sent, because they are small, the path is long, or they must be read anyway.
    pub fn whole_leg(&self) -> Option<usize> {
        let size = self.leg_size();
        (self.near && !self.checked && size >= WHOLE_LEAST).then_some(size)
    }

    /// Bytes that the next leg has, at most.
    pub fn leg_size(&self) -> usize {
        self.leg_size.get().min(self.longest())
    }

    /// What no leg is longer than now, besides what was agreed.
    fn longest(&self) -> usize {
        if self.near { LEG_NEAR } else { LEG_MAX }
    }
}
