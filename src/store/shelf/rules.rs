//! What holds for all files of a shelf, and what is said of one.

use super::super::meta::Meta;
use super::super::name::Name;
use std::time::Duration;

/// What holds for all files of a shelf.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// A newer file of the same key takes an older one's place.
    pub(crate) replace: bool,
    /// A file with the sum stands beside each.
    pub(crate) sums: bool,
    /// A command runs after each.
    pub(crate) then: bool,
    /// The most bytes of one key, finished and not.
    pub(crate) quota: Option<u64>,
    /// The most partials of one key.
    pub(crate) partials: usize,
    /// How long a partial is kept that nobody goes on with.
    pub(crate) keep: Duration,
    /// Bytes that stay free on the disk.
    pub(crate) keepfree: u64,
    /// How much of a partial may be less than durable: 64 MiB, except in tests.
    pub(crate) stride: u64,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            replace: false,
            sums: false,
            then: false,
            quota: None,
            partials: 1000,
            keep: Duration::from_secs(7 * 24 * 3600),
            keepfree: 0,
            stride: 64 << 20,
        }
    }
}

/// Who sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The fingerprint of the key, which nobody else can have.
    pub(crate) key: String,
    /// What the user calls it.
    pub(crate) name: String,
    /// Which of all visits this is: no two have the same number at a time.
    pub(crate) visit: u64,
}

/// A file that is to be stored.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// Its name.
    pub(crate) name: Name,
    /// Bytes, where the sender knows.
    pub(crate) size: Option<u64>,
    /// What the sender says of it.
    pub(crate) meta: Meta,
}
