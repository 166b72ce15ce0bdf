//! How large the pieces are that the input reads, and the legs that are cut from them.
//!
//! A leg that is longer than what any connection brings before it breaks would be sent again for ever, and what was cut
//! cannot be cut anew. So no leg is longer than what one connection is known to have brought.
//!
//! What was brought is counted in bytes of the stream, and over all links. So two kinds of long legs may not get through:
//! on a worse link, when the better link that brought long legs has died; and where legs compress less than those before.

use super::super::leg::{LEG_FIRST, LEG_MAX, LEG_NEAR};
use super::super::set::ConnectionSet;
use super::action::Appetite;
use super::outbound::Outbound;

/// Below this it does not pay to have legs that cannot be cut.
const WHOLE_LEAST: usize = 256 << 10;

impl Outbound {
    /// What the input should read into the next piece. On paths that are near, a piece is one leg at most: the first legs of
    /// a stream are small for some milliseconds only, and all of a large piece would be cut into them. On longer paths
    /// much is read before legs have grown, and what is left of it then shall not be in small pieces. The same holds where
    /// legs go through programs: many seconds may pass before one has shown how long it takes.
    pub fn appetite(&self) -> Appetite {
        let longest = if self.near && !self.through { self.leg_size() } else { LEG_MAX };
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

    /// The bytes of the longest leg now, besides what was agreed.
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
            self.broken += 1;
            let those = self.attached() | ConnectionSet::of(connection);
            self.carried_most = those.iter().map(|one| self.carried(one)).max().unwrap_or_default();
        }
    }

    /// A welcome has shown that so many bytes came, besides those that were acknowledged. Connections that broke have
    /// brought them, or ones that are up: one of all these has brought its share at least.
    pub(super) fn note_learnt(&mut self, bytes: u64) {
        if bytes > 0 {
            let shares = std::mem::take(&mut self.broken) + self.attached().len() as u64;
            self.carried_most = self.carried_most.max(bytes / shares.max(1));
        }
    }

    /// Bytes that a connection has brought since it came up.
    fn carried(&self, connection: usize) -> u64 {
        self.given[connection].bytes.saturating_sub(self.sender.bytes_in_flight(connection))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::hello::{Features, Id, Welcome};
    use crate::proto::wire::WindowEdge;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    const FIRST: u64 = LEG_FIRST as u64;

    /// A connection comes up: the receiver has so many of the legs.
    fn attach(outbound: &mut Outbound, connection: usize, next: u64) {
        let edge = WindowEdge { bytes: 1 << 40, legs: 1 << 20 };
        let (instance, features) = (Id::new([7; 16]), Features::NONE);
        let welcome = Welcome { instance, next, edge, leg_max: LEG_MAX as u32, features, buffer: 1 << 30 };
        let received = outbound.attach(connection, 0, 0, &welcome, None, true).unwrap();
        outbound.learnt(Instant::now(), received);
    }

    /// A connection is given so many legs.
    fn give(outbound: &mut Outbound, connection: usize, legs: usize) {
        for _ in 0..legs {
            outbound.ready(connection);
            let mut given = Vec::new();
            outbound.assign(Instant::now(), ConnectionSet::EMPTY, |to, leg| given.push((to, leg.len())));
            assert_eq!(given, [(connection, FIRST)]);
        }
    }

    #[test]
    fn what_goes_through_slow_programs_is_not_read_in_small_pieces_before_legs_have_grown() {
        for (through, most) in [(false, LEG_FIRST), (true, 256 << 10)] {
            let mut outbound = Outbound::new(1 << 30, false, through);
            attach(&mut outbound, 0, 0);
            outbound.round_trip(0, Duration::from_millis(1));
            assert!(outbound.near);
            assert_eq!((outbound.leg_size(), outbound.appetite().most), (LEG_FIRST, most));
        }
    }

    #[test]
    fn what_came_on_connections_that_broke_lets_legs_grow_by_the_share_of_each() {
        let mut outbound = Outbound::new(1 << 30, false, false);
        outbound.sender.push(Arc::new(vec![0u8; 64 << 20]));
        attach(&mut outbound, 0, 0);
        attach(&mut outbound, 1, 0);
        assert_eq!(outbound.longest(), LEG_FIRST);
        give(&mut outbound, 0, 17);
        give(&mut outbound, 1, 7);
        outbound.detach(0);
        outbound.detach(1);
        assert_eq!(outbound.longest(), LEG_FIRST, "no acknowledgement has come");
        // two broke and one is there: one of them has brought 8
        attach(&mut outbound, 2, 24);
        assert_eq!(outbound.longest(), 8 * LEG_FIRST);
        attach(&mut outbound, 3, 24);
        assert_eq!(outbound.longest(), 8 * LEG_FIRST, "nothing is new");
    }
}
