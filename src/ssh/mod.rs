//! What is known of the system's ssh: how its command line reads, and what it says about a host.
//!
//! Pure: arguments and text in, values out. Nothing here runs ssh.

pub(crate) mod line;
pub(crate) mod resolved;

pub(crate) use line::Line;
pub use line::{Reading, read};
pub use resolved::Resolved;
