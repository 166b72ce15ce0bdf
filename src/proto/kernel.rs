//! When the peer's kernel last took bytes, and whether the path swallows what is sent while the peer is heard.
//!
//! The count of bytes that the peer's kernel has acknowledged is looked at from time to time only. This kernel also knows
//! when the last acknowledgement came, so that a dead connection is found as soon as if the count were watched.
//!
//! What always holds: bytes are never said to have been taken earlier than they were.

use super::life::Silence;
use std::time::{Duration, Instant};

/// A segment that this kernel has sent again so many times is swallowed.
const BACKOFF: u8 = 3;

/// What is sent again and again counts as swallowed after so long without an acknowledgement.
const STUCK: Duration = Duration::from_millis(500);

/// What this kernel says of a connection when it is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelView {
    /// Bytes that the peer's kernel has acknowledged since the connection began.
    pub bytes_acked: u64,
    /// How long ago the peer's kernel acknowledged anything last, be it nothing new.
    pub since_ack: Duration,
    /// Segments sent and not yet acknowledged.
    pub unacked: u32,
    /// How often in a row the oldest segment was sent again in vain, each time after twice the pause.
    pub backoff: u8,
    /// Probes of a shut window that were not answered.
    pub probes: u8,
}

impl KernelView {
    /// Whether the peer's kernel still has to take something: what is in flight, or what its shut window keeps back.
    fn waits(self) -> bool {
        self.unacked > 0 || self.probes > 0
    }
}

/// What a look at a connection has shown.
#[derive(Clone, Copy, Debug)]
pub struct Signs {
    /// How long there has been no sign of life.
    pub silence: Silence,
    /// Bytes that the peer's kernel has taken since the look before.
    pub taken: u64,
    /// The path swallows what is sent, though the peer is heard.
    pub swallowed: bool,
}

/// What was seen of the peer's kernel.
#[derive(Clone, Copy, Debug)]
pub struct KernelProgress {
    /// Bytes that the kernel has taken.
    acked: u64,
    /// When the kernel last took bytes, or a little later.
    moved: Instant,
    /// When the count was looked at last.
    looked: Instant,
    /// How many times a segment had been sent again when the peer was first heard while its kernel took nothing. None
    /// before that.
    heard: Option<u8>,
}

impl KernelProgress {
    /// The peer's kernel has taken so many bytes by now.
    pub fn new(now: Instant, acked: u64) -> Self {
        KernelProgress { acked, moved: now, looked: now, heard: None }
    }

    /// Looks at the count. Gives how many bytes the peer's kernel has taken since the look before. It took them when the
    /// last acknowledgement came, or earlier. That time is no earlier than the look before, since the time of deadlines may
    /// have stood still in between.
    fn look(&mut self, now: Instant, view: KernelView) -> u64 {
        let taken = view.bytes_acked.saturating_sub(self.acked);
        if taken > 0 {
            let last = now.checked_sub(view.since_ack).unwrap_or(self.looked);
            (self.acked, self.moved, self.heard) = (view.bytes_acked, last.max(self.looked), None);
        }
        self.looked = now;
        taken
    }

    /// Looks at a connection whose peer was last heard at `heard`. `view`: what this kernel says of it, if that can be
    /// asked; where it cannot, the peer's kernel counts as one that has to take something.
    pub fn examine(&mut self, now: Instant, heard: Instant, view: Option<KernelView>) -> Signs {
        let taken = view.map_or(0, |view| self.look(now, view));
        let (peer, kernel) = (now.saturating_duration_since(heard), self.silent(now));
        let silence = Silence { peer, kernel, waits: view.is_none_or(KernelView::waits) };
        let swallowed = view.is_some_and(|view| self.is_swallowed(now, peer, view));
        Signs { silence, taken, swallowed }
    }

    /// Whether the peer's kernel takes nothing of what is sent again and again, though the peer is heard. `peer`: how long
    /// ago the peer was heard last. A whole path may have been away: when it is back, the peer may be heard before its
    /// kernel has taken anything. So a segment must have been sent again since the peer was heard.
    fn is_swallowed(&mut self, now: Instant, peer: Duration, view: KernelView) -> bool {
        let kernel = self.silent(now);
        if view.unacked == 0 || view.probes > 0 || kernel < STUCK {
            return false;
        }
        if kernel.saturating_sub(peer) >= STUCK {
            self.heard.get_or_insert(view.backoff);
        }
        view.backoff >= BACKOFF && self.heard.is_some_and(|before| view.backoff > before)
    }

    /// For how long the peer's kernel has taken nothing.
    fn silent(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.moved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn info(bytes_acked: u64, since_ack: Duration) -> KernelView {
        KernelView { bytes_acked, since_ack, ..KernelView::default() }
    }

    #[test]
    fn bytes_were_taken_at_the_last_acknowledgement_and_not_when_that_was_seen() {
        let start = Instant::now();
        let mut progress = KernelProgress::new(start, 1);
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
        let sent = |backoff| KernelView { unacked: 3, backoff, ..info(500, ms(0)) };
        let mut progress = KernelProgress::new(start, 500);
        assert!(!progress.is_swallowed(start + ms(400), ms(0), sent(3)), "so soon nothing is");
        // the path is away for 6 s: the last words of both came at about the same time
        assert!(!progress.is_swallowed(start + ms(3000), ms(2900), sent(4)));
        assert!(!progress.is_swallowed(start + ms(6400), ms(0), sent(5)), "it may just be back");
        assert!(!progress.is_swallowed(start + ms(6500), ms(100), sent(5)));
        progress.look(start + ms(7000), info(900, ms(0)));
        assert!(!progress.is_swallowed(start + ms(9000), ms(10), sent(2)));
        assert!(
            !progress.is_swallowed(start + ms(9000), ms(10), KernelView { probes: 1, ..sent(4) }),
            "full"
        );
        assert!(progress.is_swallowed(start + ms(10_000), ms(900), sent(3)));
    }

    #[test]
    fn a_time_in_which_nobody_looked_is_not_held_against_it() {
        let start = Instant::now();
        let mut progress = KernelProgress::new(start, 1);
        progress.look(start + ms(1000), info(500, ms(0)));
        // this process stood still for a minute, which its deadlines do not know
        progress.look(start + ms(2000), info(900, ms(59_000)));
        assert_eq!(progress.silent(start + ms(2000)), ms(1000));
    }
}
