//! Threads of this process, each with a name.

use std::io;
use std::thread;

/// Starts a thread. One that panics ends the process, with a message: never a hang.
///
/// # Errors
/// The kernel has no threads left.
pub fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(body).map(drop)
}
