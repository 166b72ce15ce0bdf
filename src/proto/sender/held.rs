//! What the sender notes of a leg, and of each copy of it that is under way.

use super::super::set::ConnectionSet;
use super::uncut::Slice;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A leg that is not known to be received.
pub(super) struct Held {
    /// None once received.
    pub payload: Option<Arc<Slice>>,
    pub offset: u64,
    pub len: u64,
    /// Connections that carry a copy now.
    pub carriers: ConnectionSet,
    /// When the latest copy was given to a connection; None for a moment only, while it is cut.
    pub sent: Option<Instant>,
    /// What connections had brought in all when the latest copy was given to one, in bytes.
    pub brought: u64,
    /// When the latest copy is late, as another link sees it.
    pub late: Option<Instant>,
    /// When the first of its copies should be there, as far as is known.
    pub expected: Option<Instant>,
    /// How long the latest copy may take before it is late.
    pub patience: Duration,
    /// Copies given to connections so far.
    pub copies: u32,
    /// Times it arrived damaged; < [`super::FAILURES_MAX`].
    pub failures: u8,
    /// The connections where it did.
    pub damaged_on: ConnectionSet,
    pub crc: Option<u32>,
}

impl Held {
    pub(super) fn new(offset: u64, payload: Arc<Slice>) -> Self {
        Held {
            offset,
            len: payload.len(),
            payload: Some(payload),
            carriers: ConnectionSet::EMPTY,
            sent: None,
            brought: 0,
            late: None,
            patience: Duration::ZERO,
            expected: None,
            copies: 0,
            failures: 0,
            damaged_on: ConnectionSet::EMPTY,
            crc: None,
        }
    }
}

/// A copy of a leg that was given to a connection and is not acknowledged there.
pub(super) struct Flight {
    pub sequence: u64,
    pub len: u64,
    pub sent: Instant,
    /// How long the connection should have needed, as known when it was sent.
    pub need: Option<Duration>,
    /// The bytes that a program made of it; 0 if it goes through none, or is still there.
    pub encoded: u64,
    /// The receiver found it damaged: counting it does not make it received.
    pub damaged: bool,
}
