//! What a sender says of itself.

/// What an acknowledgement achieved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Acked {
    /// Bytes that are now received and were not before.
    pub bytes: u64,
    /// Whether anything moved: legs of this connection, be they damaged or there already, delivered bytes or the window.
    pub moved: bool,
}

/// How far a stream is, in bytes; `delivered` ≤ `sent` ≤ `pushed`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Given by the input.
    pub pushed: u64,
    /// Sent at least once.
    pub sent: u64,
    /// Taken by the receiver's output.
    pub delivered: u64,
}

/// What is received in order and waits for the receiver's output, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// So much.
    pub bytes: u64,
    /// The most that may wait: the window.
    pub most: u64,
}

/// Counters of a stream's sending side, since its start.
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
