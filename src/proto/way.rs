//! The two directions that a process can carry a stream in.

/// One direction, as this process sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// This process receives.
    In = 0,
    /// This process transmits.
    Out = 1,
}
