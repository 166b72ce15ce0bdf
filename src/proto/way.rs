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
