//! The two ways that a stream can go, as this process sees them.

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// This process receives.
    In = 0,
    /// This process transmits.
    Out = 1,
}

impl Way {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::In, Self::Out];

    /// The other one.
    pub const fn other(self) -> Self {
        match self {
            Self::In => Self::Out,
            Self::Out => Self::In,
        }
    }
}
