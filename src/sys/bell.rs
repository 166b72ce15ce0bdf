//! A bell that wakes a thread out of waiting for descriptors.

use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// Once rung, its descriptor is readable until cleared. Clones are the same bell.
#[derive(Debug, Clone)]
pub(crate) struct Bell {
    /// Non-blocking, closed on exec.
    counter: Arc<OwnedFd>,
}

impl Bell {
    /// A silent bell.
    ///
    /// Errors: no descriptor left (`EMFILE`, `ENFILE`).
    pub(crate) fn new() -> io::Result<Bell> {
        let counter = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Bell { counter: Arc::new(counter) })
    }

    /// Wakes whoever waits, now or next; never blocks, and may be called from any thread any number of times.
    pub(crate) fn ring(&self) {
        // Fails only when the counter is full after 2^64 rings, and then the bell is ringing.
        let _ = rustix::io::write(&*self.counter, &1u64.to_ne_bytes());
    }

    /// Silences it; whether it had rung. Clear first, then look for what it rang for, so that no ring is lost.
    pub(crate) fn clear(&self) -> bool {
        rustix::io::read(&*self.counter, &mut [0; 8]).is_ok()
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.counter.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::pipe::{Interest, wait};
    use std::time::Duration;

    #[test]
    fn rings_wake_and_merge() {
        let bell = Bell::new().unwrap();
        let waits = |time| wait(&[Interest::read(&bell)], time).unwrap()[0].readable;
        assert!(!waits(Some(Duration::ZERO)));
        assert!(!bell.clear());
        let other = bell.clone();
        let ringer = std::thread::spawn(move || (other.ring(), other.ring()));
        assert!(waits(None));
        ringer.join().unwrap();
        assert!(bell.clear());
        assert!(!bell.clear());
        assert!(!waits(Some(Duration::ZERO)));
    }
}
