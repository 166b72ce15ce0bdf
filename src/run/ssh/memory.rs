//! How much memory an end of a command takes.

use crate::plan::{BUFFER_DEFAULT, BUFFER_MAX, BUFFER_MIN};
use crate::sys::limits::memory_share;

/// Memory for the legs of each stream at this end, in bytes: what the user wants for both ends, or what this host allows.
pub(super) fn buffer(wanted: Option<u64>) -> u64 {
    match wanted {
        Some(bytes) => bytes.clamp(BUFFER_MIN, BUFFER_MAX),
        None => memory_share(BUFFER_DEFAULT, BUFFER_MIN),
    }
}
