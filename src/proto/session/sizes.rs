//! How large the pieces are that the input reads, and the legs that are cut from them.

use super::super::leg::{LEG_MAX, LEG_NEAR};
use super::outbound::Outbound;
use super::terms::Appetite;

/// Below this it does not pay to have legs that cannot be cut.
const WHOLE_LEAST: usize = 256 << 10;

impl Outbound {
    /// What the input should read into the next piece. On paths that are near, a piece is one leg at most: the first legs of
    /// a stream are small for some milliseconds only, and all of a large piece would be cut into them. On longer paths
    /// much is read before legs have grown, and what is left of it then shall not be in small pieces.
    pub fn appetite(&self) -> Appetite {
        let longest = if self.near { self.leg_size() } else { LEG_MAX };
        let most = self.piece_size.most().min(longest);
        Appetite { enough: self.piece_size.get().min(most), most, hungry: self.is_hungry() }
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
