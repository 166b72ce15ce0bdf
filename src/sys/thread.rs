//! Threads of this process, each with a name.
//!
//! Signals that ask the process for something ([`signal::ASKING`]) go to the one thread that unblocks them; no other
//! thread is interrupted by them, and each can see which of them are still on their way.

use crate::sys::signal;
use std::io;
use std::thread;

/// Starts a thread, with [`signal::ASKING`] blocked from its first instruction. One that panics ends the process,
/// with a message: never a hang.
///
/// # Errors
/// The kernel has no threads left.
pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    // a thread begins with the mask of the one that starts it
    let before = signal::block(signal::ASKING);
    let started = thread::Builder::new().name(name.to_owned()).spawn(body).map(drop);
    before.restore();
    started
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::signal::{any_pending, kill_thread};
    use std::sync::mpsc::channel;

    #[test]
    fn a_thread_sees_what_is_pending_and_is_not_interrupted() {
        let (sender, seen) = channel();
        spawn("test", move || {
            let before = any_pending(signal::ASKING);
            kill_thread(libc::SIGUSR2);
            sender.send((before, any_pending(signal::ASKING), any_pending(&[libc::SIGUSR1]))).unwrap();
        })
        .unwrap();
        assert_eq!(seen.recv().unwrap(), (false, true, false));
    }

    #[test]
    fn who_starts_a_thread_keeps_its_own_mask() {
        spawn("test", || {}).unwrap();
        // not blocked, so taken at once by the handler that does nothing
        kill_thread(libc::SIGUSR2);
        assert!(!any_pending(&[libc::SIGUSR2]));
    }
}
