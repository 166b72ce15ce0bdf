//! How far the sender is, and what each connection carries. Nothing changes here.

use super::super::sched::Pace;
use super::super::set::ConnectionSet;
use super::{Backlog, Progress, Sender, SenderStats};
use std::time::Instant;

impl Sender {
    /// Whether the receiver has every leg of the whole stream.
    pub fn all_received(&self) -> bool {
        self.ended && self.is_empty()
    }

    /// Whether the input has ended.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether nothing that was given to this connection is still on the way.
    pub fn is_idle(&self, connection: usize) -> bool {
        !self.busy.contains(connection)
    }

    /// When the oldest leg was given to this connection of those that it has not brought yet.
    pub fn oldest_sent(&self, connection: usize) -> Option<Instant> {
        self.connections[connection].as_ref()?.flights.front().map(|flight| flight.sent)
    }

    /// When the latest leg was given to this connection of those that it has brought.
    pub fn answered(&self, connection: usize) -> Option<Instant> {
        self.connections[connection].as_ref()?.answered
    }

    /// Bytes that this connection was given and has not brought yet.
    pub fn bytes_in_flight(&self, connection: usize) -> u64 {
        self.connections[connection].as_ref().map_or(0, |carrier| carrier.bytes_in_flight)
    }

    /// Bytes of the legs that were sent and are not known to be received.
    pub fn bytes_under_way(&self) -> u64 {
        self.held.iter().filter(|held| held.payload.is_some()).map(|held| held.len).sum()
    }

    /// Whether nothing waits, and every leg that was sent is received.
    pub fn is_empty(&self) -> bool {
        self.is_drained() && self.held.is_empty()
    }

    /// Connections that have something on the way.
    pub fn busy(&self) -> ConnectionSet {
        self.busy
    }

    /// Whether nothing that was sent is still to be received.
    pub fn holds_nothing(&self) -> bool {
        self.held.is_empty()
    }

    /// Whether nothing waits for its first sending.
    pub fn is_drained(&self) -> bool {
        self.uncut.is_empty()
    }

    /// Whether something waits that the window does not admit.
    pub fn is_shut(&self) -> bool {
        !self.is_drained() && !self.has_fresh()
    }

    /// Whether the head is missing, and a leg that was sent later has been received.
    pub fn is_overtaken(&self) -> bool {
        self.held.front().is_some_and(|head| head.sent < self.newest_received)
    }

    /// What waits for the receiver's output.
    pub fn backlog(&self) -> Backlog {
        let received = self.held.front().map_or(self.sent_bytes(), |head| head.offset);
        Backlog {
            bytes: received.saturating_sub(self.delivered),
            most: self.edge.bytes.saturating_sub(self.delivered),
        }
    }

    /// How far the stream is.
    pub fn progress(&self) -> Progress {
        Progress { pushed: self.pushed, sent: self.sent_bytes(), delivered: self.delivered }
    }

    /// Whether any leg has been received.
    pub fn has_received(&self) -> bool {
        self.first > 0 || self.newest_received.is_some()
    }

    /// The oldest leg still held.
    pub fn head(&self) -> u64 {
        self.first
    }

    /// What is known of a connection's pace.
    pub fn pace(&self, connection: usize) -> Option<&Pace> {
        self.connections[connection].as_ref().map(|carrier| &carrier.pace)
    }

    /// Whether any connection could be given a leg now. Costs next to nothing, unlike asking each of them.
    pub fn has_something(&self, now: Instant) -> bool {
        let is_late = || self.lates.first().is_some_and(|(at, _)| *at <= now);
        let has_copies = || self.rescues && (self.ended || is_late() || self.is_starving());
        self.has_again() || self.has_fresh() || has_copies()
    }

    /// Whether a leg is to be sent again.
    pub fn has_again(&self) -> bool {
        !self.again.is_empty()
    }

    /// Counters since the start.
    pub fn stats(&self) -> SenderStats {
        self.stats
    }
}
