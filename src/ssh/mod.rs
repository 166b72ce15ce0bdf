//! What is known of the system's ssh: how its command line reads, and what it says about a host.
//!
//! Pure: arguments and text in, values out. Nothing here runs ssh.

pub mod line;
pub mod resolved;

pub use line::{Line, Reading, read};
pub use resolved::Resolved;
