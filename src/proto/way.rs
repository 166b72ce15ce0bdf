//! The two ways that a stream can go.

use std::ops::{Index, IndexMut};

/// One way, as this process sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// The stream comes in: this process receives it.
    In,
    /// The stream goes out: this process transmits it.
    Out,
}

impl Way {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::In, Self::Out];
}

/// One of something for each way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerWay<T> {
    /// That of [`Way::In`].
    pub incoming: T,
    /// That of [`Way::Out`].
    pub outgoing: T,
}

impl<T> PerWay<T> {
    /// What this makes for each way.
    pub fn from_fn(mut make: impl FnMut(Way) -> T) -> Self {
        PerWay { incoming: make(Way::In), outgoing: make(Way::Out) }
    }

    /// Both, [`Way::In`] first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        [&self.incoming, &self.outgoing].into_iter()
    }

    /// Both, [`Way::In`] first.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        [&mut self.incoming, &mut self.outgoing].into_iter()
    }
}

impl<T> Index<Way> for PerWay<T> {
    type Output = T;

    fn index(&self, way: Way) -> &T {
        match way {
            Way::In => &self.incoming,
            Way::Out => &self.outgoing,
        }
    }
}

impl<T> IndexMut<Way> for PerWay<T> {
    fn index_mut(&mut self, way: Way) -> &mut T {
        match way {
            Way::In => &mut self.incoming,
            Way::Out => &mut self.outgoing,
        }
    }
}

/// A set of ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ways(PerWay<bool>);

impl Ways {
    /// Both.
    pub const BOTH: Self = Self(PerWay { incoming: true, outgoing: true });

    /// Whether this way is in the set.
    pub fn contains(self, way: Way) -> bool {
        self.0[way]
    }

    /// All of them, [`Way::In`] first.
    pub fn iter(self) -> impl Iterator<Item = Way> {
        Way::BOTH.into_iter().filter(move |way| self.contains(*way))
    }
}

impl From<PerWay<bool>> for Ways {
    fn from(has: PerWay<bool>) -> Self {
        Self(has)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_has_its_own() {
        let mut numbers = PerWay::from_fn(|way| if way == Way::In { 1 } else { 2 });
        assert_eq!((numbers.incoming, numbers.outgoing), (numbers[Way::In], numbers[Way::Out]));
        numbers[Way::Out] = 3;
        numbers.iter_mut().for_each(|number| *number *= 10);
        assert!(numbers.iter().eq(&[10, 30]));
    }

    #[test]
    fn a_set_has_the_ways_that_it_was_made_of() {
        for one in Way::BOTH {
            let ways = Ways::from(PerWay::from_fn(|way| way == one));
            assert!(Way::BOTH.into_iter().all(|way| ways.contains(way) == (way == one)));
            assert!(ways.iter().eq([one]) && ways != Ways::BOTH);
        }
        assert!(Ways::BOTH.iter().eq(Way::BOTH));
    }
}
