//! When the peer's kernel took bytes last: its count is looked at from time to time only, and a death is to be seen as
//! soon as if it were watched.
//!
//! Pure. What always holds: it is never said to have taken them earlier than it did.

use crate::sys::socket::TcpInfo;
use std::time::{Duration, Instant};

/// What was seen of the peer's kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    acked: u64,
    /// When it took bytes last, at the latest.
    moved: Instant,
    /// When it was looked at last.
    looked: Instant,
}

impl Progress {
    /// It has taken so many bytes by now.
    pub(super) fn new(now: Instant, acked: u64) -> Self {
        Progress { acked, moved: now, looked: now }
    }

    /// A look at it. What it took since the look before, it took at its last acknowledgement or earlier; but time as
    /// deadlines see it may have stood still meanwhile.
    pub(super) fn look(&mut self, now: Instant, info: TcpInfo) {
        if info.bytes_acked > self.acked {
            let last = now.checked_sub(info.since_ack).unwrap_or(self.looked);
            (self.acked, self.moved) = (info.bytes_acked, last.max(self.looked));
        }
        self.looked = now;
    }

    /// For how long it has taken nothing.
    pub(super) fn silent(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.moved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn info(bytes_acked: u64, since_ack: Duration) -> TcpInfo {
        TcpInfo { bytes_acked, since_ack, ..TcpInfo::default() }
    }

    #[test]
    fn bytes_were_taken_at_the_last_acknowledgement_and_not_when_that_was_seen() {
        let start = Instant::now();
        let mut progress = Progress::new(start, 1);
        progress.look(start + ms(1000), info(500, ms(900)));
        assert_eq!(progress.silent(start + ms(1000)), ms(900));
        progress.look(start + ms(2000), info(500, ms(10)));
        assert_eq!(progress.silent(start + ms(2000)), ms(1900), "one that takes nothing new is no progress");
        progress.look(start + ms(2500), info(501, ms(0)));
        assert_eq!(progress.silent(start + ms(2500)), ms(0));
    }

    #[test]
    fn a_time_in_which_nobody_looked_is_not_held_against_it() {
        let start = Instant::now();
        let mut progress = Progress::new(start, 1);
        progress.look(start + ms(1000), info(500, ms(0)));
        // this process stood still for a minute, which its deadlines do not know
        progress.look(start + ms(2000), info(900, ms(59_000)));
        assert_eq!(progress.silent(start + ms(2000)), ms(1000));
    }
}
