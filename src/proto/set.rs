//! A set of connections of one session, by number.

use super::leg::CONNECTIONS_MAX;
use std::fmt;
use std::ops::{BitAnd, BitOr, Sub};

const _: () = assert!(CONNECTIONS_MAX <= u32::BITS as usize);

/// Which of a session's connections; every number in it is less than [`CONNECTIONS_MAX`].
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct ConnectionSet(u32);

impl ConnectionSet {
    /// No connection.
    pub const EMPTY: Self = Self(0);

    /// This connection alone.
    pub fn of(connection: usize) -> Self {
        [connection].into_iter().collect()
    }

    /// Adds one.
    pub fn insert(&mut self, connection: usize) {
        debug_assert!(connection < CONNECTIONS_MAX);
        self.0 |= 1 << connection;
    }

    /// Takes one out.
    pub fn remove(&mut self, connection: usize) {
        self.0 &= !(1 << connection);
    }

    /// Whether it is in the set.
    pub fn contains(self, connection: usize) -> bool {
        self.0 & 1 << connection != 0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many there are.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// All of them, the lowest number first.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let lowest = rest.trailing_zeros();
            rest &= rest.checked_sub(1)?;
            Some(lowest as usize)
        })
    }
}

/// In both.
impl BitAnd for ConnectionSet {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// In either.
impl BitOr for ConnectionSet {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// In the first and not in the second.
impl Sub for ConnectionSet {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl FromIterator<usize> for ConnectionSet {
    fn from_iter<I: IntoIterator<Item = usize>>(connections: I) -> Self {
        let mut set = Self::EMPTY;
        connections.into_iter().for_each(|connection| set.insert(connection));
        set
    }
}

impl fmt::Debug for ConnectionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_cut_joined_and_subtracted() {
        let (a, b): (ConnectionSet, ConnectionSet) = ([1, 2].into_iter().collect(), ConnectionSet::of(2));
        let c = b | ConnectionSet::of(3);
        assert_eq!((a & c, a - c, (a | c).len()), (b, ConnectionSet::of(1), 3));
    }

    #[test]
    fn it_holds_what_was_inserted_and_not_removed() {
        let mut set: ConnectionSet = [3, 0, 15].into_iter().collect();
        set.remove(3);
        set.remove(7);
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 15]);
        assert!(set.contains(15) && !set.contains(3) && set.len() == 2 && !set.is_empty());
        assert_eq!(format!("{set:?}"), "{0, 15}");
    }
}
