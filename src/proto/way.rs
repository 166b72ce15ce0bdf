//! The two ways that a stream can go.

/// One way, as this process sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// The stream comes in: this process receives it.
    In = 0,
    /// The stream goes out: this process transmits it.
    Out = 1,
}

impl Way {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::In, Self::Out];
}

/// A set of ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ways([bool; 2]);

impl Ways {
    /// Neither.
    pub const NONE: Self = Self([false; 2]);
    /// Both.
    pub const BOTH: Self = Self([true; 2]);

    /// Whether this way is in the set.
    pub fn contains(self, way: Way) -> bool {
        self.0[way as usize]
    }

    /// Adds one. Returns whether it was not there.
    pub fn insert(&mut self, way: Way) -> bool {
        !std::mem::replace(&mut self.0[way as usize], true)
    }

    /// All of them, [`Way::In`] first.
    pub fn iter(self) -> impl Iterator<Item = Way> {
        Way::BOTH.into_iter().filter(move |way| self.contains(*way))
    }
}

impl FromIterator<Way> for Ways {
    fn from_iter<I: IntoIterator<Item = Way>>(ways: I) -> Self {
        let mut set = Self::NONE;
        for way in ways {
            set.insert(way);
        }
        set
    }
}
