//! The store: files that others send, each under its name in a folder, whole and right or not at all.
//!
//! - [`name`], [`meta`]: what a file may be called, and what may be said of it.
//! - [`shelf`]: how files come in and get their names; [`place`]: where it keeps what; [`sidecar`]: what it knows of a
//!   finished file; [`sum`]: by what it finds out how much is here already; [`summing`]: how that is made beside the
//!   rest.
//! - [`disk`]: all that it does with a file system; [`beneath`]: in a folder of the kernel's; [`below`]: how folders are
//!   opened there.
//! - [`record`]: what sender and receiver say to each other of files.
//! - [`claims`]: who has which name; [`queue`]: whose turn it is.
//! - [`ripe`]: which files of a watched folder are complete.
//!
//! Nothing here knows of connections or sessions, and only `claims` and `summing` of threads. `name`, `meta`, `record`,
//! `queue` and `ripe` are pure.

pub(crate) mod below;
pub(crate) mod beneath;
pub(crate) mod claims;
pub(crate) mod disk;
pub mod meta;
pub mod name;
pub(crate) mod place;
pub(crate) mod queue;
pub mod record;
pub(crate) mod ripe;
pub(crate) mod shelf;
pub(crate) mod sidecar;
pub(crate) mod sum;
pub(crate) mod summing;
