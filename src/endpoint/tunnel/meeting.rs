//! What a tunnel's far ends are, as far as they were met, and what follows from that: no lock and no socket, so that every
//! case is tried.
//!
//! Whoever says hello may be a stranger, so what the far ends seem to be decides nothing for good: as long as nothing
//! was read from a local connection and no leg came, the stream is what the far ends met last want. From then on it
//! stays ([`Meeting::begin`]), and waits for far ends that suit.

use crate::proto::hello::{FarEnd, Features};
use crate::proto::way::{PerWay, Way, Ways};

/// What the stream of a tunnel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Records of any number of connections.
    Records,
    /// The bytes of one connection, as they are.
    Raw,
}

/// How the far ends that were met last do not suit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misfit {
    /// One of two tunnels.
    Mixed,
    /// Something has begun, and with others.
    Changed,
}

impl Misfit {
    /// For the user.
    pub(super) fn sentence(self) -> &'static str {
        match self {
            Self::Mixed => "the far end tunnels in one direction and not in the other",
            Self::Changed => "the far end does not tunnel as the one did with which this tunnel has begun",
        }
    }

    /// From which verbosity on it is said: of two far ends one is always met first.
    pub(super) fn level(self) -> u8 {
        match self {
            Self::Mixed => 1,
            Self::Changed => 0,
        }
    }
}

/// Whether an end that has these streams can carry any number of connections.
pub(super) fn has_records(ways: Ways) -> bool {
    ways == Ways::BOTH
}

/// What follows from a far end that was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing: others are not met yet.
    Nothing,
    /// The stream is what it should be.
    Suits,
    /// The tunnel waits for others.
    Waits(Misfit),
    /// The stream is to be this from now on, and what was begun for others is undone.
    Become(Shape),
}

/// The far ends.
pub(super) struct Meeting {
    /// Which streams this process has.
    ways: Ways,
    /// What the far end of each said last.
    far: PerWay<Option<FarEnd>>,
    /// Something was read from a local connection, or a leg came: the shape stays.
    begun: bool,
}

impl Meeting {
    /// None was met.
    pub(super) fn new(ways: Ways) -> Self {
        Meeting { ways, far: PerWay::default(), begun: false }
    }

    /// Whether something has begun, so that the shape stays.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Something begins. Returns whether it is the first.
    pub(super) fn begin(&mut self) -> bool {
        !std::mem::replace(&mut self.begun, true)
    }

    /// The far end of one way was met, while the stream is this; `None`: it is nothing yet.
    pub(super) fn meet(&mut self, way: Way, far: FarEnd, shape: Option<Shape>) -> Next {
        self.far[way] = Some(far);
        match self.wanted() {
            None if self.is_mixed() => Next::Waits(Misfit::Mixed),
            None => Next::Nothing,
            wanted if wanted == shape => Next::Suits,
            Some(_) if self.begun => Next::Waits(Misfit::Changed),
            Some(wanted) => Next::Become(wanted),
        }
    }

    /// The far end of one way is gone. Returns whether what was begun for it is undone.
    pub(super) fn forget(&mut self, way: Way) -> bool {
        self.far[way] = None;
        !self.begun
    }

    /// Whether the far ends that were met last suit what the stream is.
    pub(super) fn suits(&self, shape: Option<Shape>) -> bool {
        shape.is_some() && self.wanted() == shape
    }

    /// A leg comes, while the stream is this. Returns whether something begins with it.
    ///
    /// # Errors
    /// The far end that has sent it does not suit.
    pub(super) fn leg(&mut self, shape: Option<Shape>) -> Result<bool, Misfit> {
        if self.is_mixed() {
            return Err(Misfit::Mixed);
        }
        match shape {
            None => Ok(false),
            Some(_) if self.suits(shape) => Ok(self.begin()),
            Some(_) => Err(Misfit::Changed),
        }
    }

    /// The least memory for legs that a far end has, in bytes.
    pub(super) fn least_buffer(&self) -> Option<u64> {
        self.far.iter().flatten().map(|far| far.buffer).min()
    }

    /// What the far ends that were met last want; none if not all were met, or if they differ.
    fn wanted(&self) -> Option<Shape> {
        let mut far = self.ways.iter().map(|way| self.tunnels(way));
        let first = far.next()??;
        let same = far.all(|other| other == Some(first));
        let shape = if first && has_records(self.ways) { Shape::Records } else { Shape::Raw };
        same.then_some(shape)
    }

    fn is_mixed(&self) -> bool {
        let far = Way::BOTH.map(|way| self.tunnels(way));
        has_records(self.ways) && matches!(far, [Some(a), Some(b)] if a != b)
    }

    /// Whether the far end of one way tunnels, if it was met.
    fn tunnels(&self, way: Way) -> Option<bool> {
        self.far[way].map(|far| far.features.contains(Features::TUNNEL))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Shape::{Raw, Records};

    fn far(tunnels: bool, buffer: u64) -> FarEnd {
        FarEnd { features: if tunnels { Features::TUNNEL } else { Features::NONE }, buffer }
    }

    /// One that has met these, of each way.
    fn met(ways: Ways, ends: PerWay<Option<bool>>, begun: bool) -> Meeting {
        Meeting { ways, far: PerWay::from_fn(|way| ends[way].map(|tunnels| far(tunnels, 1))), begun }
    }

    const SHAPES: [Option<Shape>; 3] = [None, Some(Records), Some(Raw)];
    const ENDS: [Option<bool>; 3] = [None, Some(false), Some(true)];

    /// Calls this with everything that the stream may be and whether it has begun.
    fn each(mut act: impl FnMut(Option<Shape>, bool)) {
        SHAPES.into_iter().for_each(|shape| [false, true].into_iter().for_each(|begun| act(shape, begun)));
    }

    /// What the far ends of two streams want.
    fn two(ends: PerWay<Option<bool>>) -> Option<Shape> {
        match (ends.incoming, ends.outgoing) {
            (Some(true), Some(true)) => Some(Records),
            (Some(false), Some(false)) => Some(Raw),
            _ => None,
        }
    }

    #[test]
    fn one_stream_is_raw_whatever_its_far_end_does() {
        for way in Way::BOTH {
            let ways = PerWay::from_fn(|one| one == way).into();
            each(|shape, begun| {
                for tunnels in [false, true] {
                    let mut meeting = met(ways, PerWay::default(), begun);
                    let expected = match (shape, begun) {
                        (Some(Raw), _) => Next::Suits,
                        (_, true) => Next::Waits(Misfit::Changed),
                        (_, false) => Next::Become(Raw),
                    };
                    let seen = (way, shape, begun, tunnels);
                    assert_eq!(meeting.meet(way, far(tunnels, 1), shape), expected, "{seen:?}");
                    assert_eq!(meeting.suits(shape), shape == Some(Raw), "{seen:?}");
                }
            });
        }
    }

    #[test]
    fn of_two_streams_every_pair_of_far_ends_in_every_shape() {
        each(|shape, begun| {
            for (first, second) in ENDS.into_iter().flat_map(|a| [false, true].map(|b| (a, b))) {
                for way in Way::BOTH {
                    let mut ends = PerWay { incoming: first, outgoing: first };
                    ends[way] = None;
                    let mut meeting = met(Ways::BOTH, ends, begun);
                    ends[way] = Some(second);
                    let expected = match (first, two(ends)) {
                        (None, _) => Next::Nothing,
                        (Some(_), None) => Next::Waits(Misfit::Mixed),
                        (_, wanted) if wanted == shape => Next::Suits,
                        (_, Some(_)) if begun => Next::Waits(Misfit::Changed),
                        (_, Some(wanted)) => Next::Become(wanted),
                    };
                    let seen = (shape, begun, ends, way);
                    assert_eq!(meeting.meet(way, far(second, 1), shape), expected, "{seen:?}");
                    assert_eq!(meeting.has_begun(), begun, "{seen:?}");
                }
            }
        });
    }

    #[test]
    fn a_leg_of_every_pair_of_far_ends_in_every_shape() {
        each(|shape, begun| {
            for ends in ENDS.into_iter().flat_map(|a| ENDS.map(|b| PerWay { incoming: a, outgoing: b })) {
                let mut meeting = met(Ways::BOTH, ends, begun);
                let mixed = matches!((ends.incoming, ends.outgoing), (Some(a), Some(b)) if a != b);
                let expected = match shape {
                    _ if mixed => Err(Misfit::Mixed),
                    None => Ok(false),
                    Some(_) if two(ends) == shape => Ok(!begun),
                    Some(_) => Err(Misfit::Changed),
                };
                assert_eq!(meeting.leg(shape), expected, "{shape:?} {begun} {ends:?}");
                assert_eq!(meeting.has_begun(), begun || expected == Ok(true), "{shape:?} {ends:?}");
            }
        });
    }

    #[test]
    fn who_is_forgotten_counts_no_more_and_undoes_what_has_not_begun() {
        for begun in [false, true] {
            let mut meeting = met(Ways::BOTH, PerWay::from_fn(|_| Some(true)), begun);
            assert!(meeting.suits(Some(Records)));
            assert_eq!(meeting.forget(Way::In), !begun);
            assert!(!meeting.suits(Some(Records)) && !meeting.suits(None));
        }
    }

    #[test]
    fn the_least_buffer_of_those_that_were_met_counts() {
        let mut meeting = met(Ways::BOTH, PerWay::default(), false);
        assert_eq!(meeting.least_buffer(), None);
        meeting.meet(Way::Out, far(true, 9), None);
        assert_eq!(meeting.least_buffer(), Some(9));
        meeting.meet(Way::In, far(true, 4), None);
        assert_eq!(meeting.least_buffer(), Some(4));
    }
}
