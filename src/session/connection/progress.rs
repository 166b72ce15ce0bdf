//! When the peer's kernel took bytes last: its count is looked at from time to time only, and a death is to be seen as
//! soon as if it were watched. And whether what is sent is swallowed while the peer is heard.
//!
//! Pure. What always holds: it is never said to have taken them earlier than it did.

use crate::proto::life::Silence;
use crate::sys::socket::TcpInfo;
use std::time::{Duration, Instant};

/// A segment that the kernel has sent so often again is swallowed.
const BACKOFF: u8 = 3;

/// So long without an acknowledgement, what is sent again and again is believed to be swallowed.
const STUCK: Duration = Duration::from_millis(500);

/// What was seen of the peer's kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    /// Bytes that it has taken.
    acked: u64,
    /// When it took bytes last, at the latest.
    moved: Instant,
    /// When it was looked at last.
    looked: Instant,
    /// How often something had been sent again when the peer was first heard although its kernel took nothing.
    heard: Option<u8>,
}

impl Progress {
    /// It has taken so many bytes by now.
    pub(super) fn new(now: Instant, acked: u64) -> Self {
        Progress { acked, moved: now, looked: now, heard: None }
    }

    /// A look at it. What it took since the look before, it took at its last acknowledgement or earlier; but time as
    /// deadlines see it may have stood still meanwhile. How much that was.
    pub(super) fn look(&mut self, now: Instant, info: TcpInfo) -> u64 {
        let taken = info.bytes_acked.saturating_sub(self.acked);
        if taken > 0 {
            let last = now.checked_sub(info.since_ack).unwrap_or(self.looked);
            (self.acked, self.moved, self.heard) = (info.bytes_acked, last.max(self.looked), None);
        }
        self.looked = now;
        taken
    }

    /// How long there has been no life, as of now, of a peer that was `heard` last then; how much its kernel took since the
    /// look before; and whether the peer is heard all the same while its kernel takes nothing of what is sent to it again and
    /// again.
    pub(super) fn silence(
        &mut self,
        now: Instant,
        heard: Instant,
        info: Option<TcpInfo>,
    ) -> (Silence, u64, bool) {
        let taken = info.map_or(0, |info| self.look(now, info));
        let (peer, kernel) = (now.saturating_duration_since(heard), self.silent(now));
        let silence = Silence { peer, kernel, waits: info.is_none_or(|info| info.waits()) };
        let stuck = info.is_some_and(|info| self.is_swallowed(now, peer, info));
        (silence, taken, stuck)
    }

    /// Whether the kernel takes nothing of what is sent to it again and again, though the peer is heard; `peer`: how long
    /// ago it was heard last. Where the whole path was away, the peer may be heard first when it is back. So something must
    /// have been sent again after that.
    pub(super) fn is_swallowed(&mut self, now: Instant, peer: Duration, info: TcpInfo) -> bool {
        let kernel = self.silent(now);
        if info.unacked == 0 || info.probes > 0 || kernel < STUCK {
            return false;
        }
        if kernel.saturating_sub(peer) >= STUCK {
            self.heard.get_or_insert(info.backoff);
        }
        info.backoff >= BACKOFF && self.heard.is_some_and(|before| info.backoff > before)
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
        assert_eq!(progress.look(start + ms(1000), info(500, ms(900))), 499);
        assert_eq!(progress.silent(start + ms(1000)), ms(900));
        assert_eq!(progress.look(start + ms(2000), info(500, ms(10))), 0);
        assert_eq!(progress.silent(start + ms(2000)), ms(1900), "one that takes nothing new is no progress");
        progress.look(start + ms(2500), info(501, ms(0)));
        assert_eq!(progress.silent(start + ms(2500)), ms(0));
    }

    #[test]
    fn what_is_sent_again_after_the_peer_was_heard_and_not_taken_is_swallowed() {
        let start = Instant::now();
        let sent = |backoff| TcpInfo { unacked: 3, backoff, ..info(500, ms(0)) };
        let mut progress = Progress::new(start, 500);
        assert!(!progress.is_swallowed(start + ms(400), ms(0), sent(3)), "so soon nothing is");
        // the path is away for 6 s: the last words of both came at about the same time
        assert!(!progress.is_swallowed(start + ms(3000), ms(2900), sent(4)));
        assert!(!progress.is_swallowed(start + ms(6400), ms(0), sent(5)), "it may just be back");
        assert!(!progress.is_swallowed(start + ms(6500), ms(100), sent(5)));
        progress.look(start + ms(7000), info(900, ms(0)));
        assert!(!progress.is_swallowed(start + ms(9000), ms(10), sent(2)));
        assert!(!progress.is_swallowed(start + ms(9000), ms(10), TcpInfo { probes: 1, ..sent(4) }), "full");
        assert!(progress.is_swallowed(start + ms(10_000), ms(900), sent(3)));
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
