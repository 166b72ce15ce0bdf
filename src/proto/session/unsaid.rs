//! An end while there is no connection to tell it on.
//!
//! The end that dials then looks for its receiver a little longer, so that both ends end for the same reason: an input
//! that cannot be read often fails before anybody has answered. The end that listens waits for its sender, once a stream
//! has begun. Neither does so longer than [`FAILURE`], or [`ORDER`] where the user waits for the end.

use super::super::outcome::Outcome;
use super::super::way::Way;
use std::time::{Duration, Instant};

/// How long a receiver is looked for after a stream has failed: the first attempt and the one that follows it, which
/// has twice its time. Whoever is not told waits for a stream that never comes.
pub(super) const FAILURE: Duration = Duration::from_secs(10);
/// How long a receiver is looked for after an order to end, and only while an attempt is under way: the user waits for the
/// end, and an attempt that succeeds mostly does so within a few round trips.
pub(super) const ORDER: Duration = Duration::from_millis(450);

/// Why the session ends, once somebody was told or was looked for long enough.
#[derive(Clone, Debug)]
pub(super) struct Unsaid {
    /// The stream that failed; None for an order.
    pub(super) way: Option<Way>,
    pub(super) outcome: Outcome,
    pub(super) until: Instant,
}
