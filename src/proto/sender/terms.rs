//! What a sender says of its peer and of itself.

/// A peer that broke the rules of the protocol; its connection is closed and nothing it said is believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    /// It counts more legs than this connection carried.
    #[error("acknowledges {counted} legs where {sent} were sent")]
    CountBeyondSent {
        /// What it claims.
        counted: u64,
        /// What was sent.
        sent: u64,
    },
    /// It wants a leg, or has delivered bytes, that were never sent.
    #[error("acknowledges what was never sent")]
    BeyondSent,
    /// It complains about a leg that this connection is not carrying.
    #[error("complains about leg {0}, which is not on the way")]
    UnknownLeg(u64),
    /// A message that makes no sense in this direction or state.
    #[error("sent {0} out of place")]
    OutOfPlace(&'static str),
}

/// What an acknowledgement achieved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Legs that are now received and were not before.
    pub legs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Whether anything moved: legs, delivered bytes or the window.
    pub moved: bool,
}

/// Counters of a direction's sending side, since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderStats {
    /// Legs sent again, for whatever reason.
    pub legs_again: u64,
    /// Bytes of them.
    pub bytes_again: u64,
    /// Overtaken legs that were rescued.
    pub rescues: u64,
    /// Legs the receiver found damaged.
    pub damaged: u64,
}
