//! How large the pieces are that the input reads, and the legs that are cut from them.
//!
//! A leg that is longer than what any connection brings before it breaks would be sent again for ever, and what was cut
//! cannot be cut anew. So no leg is longer than what one connection is known to have brought.
//!
//! This is counted in bytes of the stream, and over all links: legs that a better link made long do not get through a
//! worse one after that has died, nor those that shrink less than the ones before them. Where every connection breaks before
//! an acknowledgement has come on it, legs stay small.

use super::super::leg::{LEG_FIRST, LEG_MAX, LEG_NEAR};
use super::super::set::ConnectionSet;
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
        let longest = if self.near { LEG_NEAR } else { LEG_MAX };
        // a power of two, as the sizes are that follow the rate
        let brought = self.carried_most.clamp(LEG_FIRST as u64, LEG_MAX as u64).ilog2();
        longest.min(1 << brought)
    }

    /// A connection may have brought more than any other.
    pub(super) fn note_carried(&mut self, connection: usize) {
        self.carried_most = self.carried_most.max(self.carried(connection));
    }

    /// A connection is gone. If it broke with legs on the way, what those that are there have not brought yet is not
    /// believed of any.
    pub(super) fn note_gone(&mut self, connection: usize) {
        if !self.sender.is_idle(connection) {
            let those = self.attached() | ConnectionSet::of(connection);
            self.carried_most = those.iter().map(|one| self.carried(one)).max().unwrap_or_default();
        }
    }

    /// Bytes that a connection has brought since it came up.
    fn carried(&self, connection: usize) -> u64 {
        self.given[connection].bytes.saturating_sub(self.sender.bytes_in_flight(connection))
    }
}
