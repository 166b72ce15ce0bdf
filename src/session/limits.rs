//! Limits and levels that more than one of a session's threads keeps to.

use crate::proto::session::Farewell;
use std::time::Duration;

/// After the last word: how long to wait for the peer to close its side.
pub(crate) const FAREWELL: Duration = Farewell::TIME;

/// As [`FAREWELL`], where a signal has asked this process to end: the sender of the signal waits, and a peer that is not
/// slow has closed long before.
pub(crate) const HASTE: Duration = Duration::from_millis(400);

/// After the end of a session that failed: how long its output may go on with the legs that have come in order, so that
/// what is said of it at the end is exact. A disk takes them within this time. Whoever reads from a pipe may not, and
/// is not waited for.
pub(crate) const LAST_WRITES: Duration = Duration::from_secs(1);

/// The verbosity at which each leg is told.
pub(crate) const LEGS: u8 = 4;

/// The verbosity at which each other frame is told.
pub(crate) const FRAMES: u8 = 5;
