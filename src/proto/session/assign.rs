//! Legs to connections.
//!
//! [`Sender`](super::super::sender::Sender) says which leg suits a connection. The connections that are ready are asked
//! here, in the order of their links, until none can take anything more or, while the receiver's output is slow, two
//! carry something.

use super::super::leg::{CONNECTIONS_MAX, Leg};
use super::super::sender::Backlog;
use super::super::set::ConnectionSet;
use super::outbound::{Given, Outbound};
use std::time::{Duration, Instant};

/// While the receiver's output is what the stream waits for, so many connections carry new legs at a time: one that
/// writes and one that drains. More would bring nothing sooner, but fill more of the kernel's memory, none of it in
/// any cache, and wake more threads: 3 to 11 % of the throughput on a loopback of two cores, in interleaved runs.
const ENOUGH: usize = 2;

/// That holds on paths with round trips up to this. On longer ones connections that rest lose congestion windows which
/// took long to open, on lossy ones above all, and no memory is too slow for what such paths carry.
const NEAR: Duration = Duration::from_millis(5);

/// What waits for the output must last for so many of a link's shortest round trips: one until the sender hears that
/// the output is short of legs, one until more legs are there, and two for the legs that are on their way meanwhile.
const ANSWERS: u32 = 4;

impl Outbound {
    /// Legs for the connections that are ready, until either runs out.
    pub fn assign(&mut self, now: Instant) -> Vec<(usize, Leg)> {
        let (mut legs, mut passed) = (Vec::new(), ConnectionSet::EMPTY);
        self.sender.cut_to(self.leg_size());
        let mut enough = self.has_enough(now);
        while self.offers(now, enough)
            && let Some(connection) = self.choose(passed)
        {
            passed.insert(connection);
            let mates = self.mates(connection);
            let leg = if enough {
                self.sender.take_again(now, connection, mates)
            } else {
                self.sender.take(now, connection, mates)
            };
            let Some(leg) = leg else { continue };
            passed = ConnectionSet::EMPTY;
            let Given { bytes, legs: before, .. } = self.given[connection];
            self.given[connection] =
                Given { bytes: bytes + leg.len(), legs: before + 1, leg: Some(leg.sequence) };
            self.unready(connection);
            legs.push((connection, leg));
            enough = self.has_enough(now);
        }
        self.held_back = enough && !self.ready.is_empty() && !self.sender.is_drained();
        legs
    }

    /// Whether there may be a leg for some connection; only one to be sent again if those that carry are `enough`.
    fn offers(&self, now: Instant, enough: bool) -> bool {
        if enough { self.sender.has_again() } else { self.sender.has_something(now) }
    }

    /// Whether the receiver's output is what the stream waits for, and will be for as long as it takes to hear that it
    /// is not and to bring more: then the connections that carry something are enough. Of those only the ones count
    /// that do their part.
    fn has_enough(&mut self, now: Instant) -> bool {
        let Backlog { bytes: backlog, most } = self.sender.backlog();
        if backlog <= most / 8 {
            return false;
        }
        let Some(rate) = self.taken.rate(now) else { return false };
        let attached = self.attached();
        let part = rate / attached.len().max(1) as f64;
        let (mut carriers, mut answer) = (0, Duration::ZERO);
        for connection in attached.iter().filter(|connection| !self.is_ready(*connection)) {
            let stays = self.carriers[connection].is_some_and(|carrier| !carrier.recalled);
            let pace = self.sender.steady_pace(now, connection).filter(|_| stays);
            // half of it: those that carry hold each other up, and are measured so
            if pace.and_then(|pace| pace.rate()).is_some_and(|rate| rate >= part / 2.0) {
                (carriers, answer) = (carriers + 1, answer.max(self.shortest(connection)));
            }
        }
        carriers >= ENOUGH && answer <= NEAR && backlog as f64 > rate * (answer * ANSWERS).as_secs_f64()
    }

    /// The shortest round trip of any connection on the link of this one: what one connection has measured itself may
    /// be no more than how late its thread was.
    fn shortest(&self, connection: usize) -> Duration {
        let measured = self.mates(connection).iter().filter_map(|mate| self.sender.pace(mate)?.rtt_min());
        measured.min().unwrap_or(Duration::MAX)
    }

    /// The connections on the link of this one, itself included.
    fn mates(&self, connection: usize) -> ConnectionSet {
        let link = self.link_of(connection);
        (0..CONNECTIONS_MAX).filter(|mate| self.link_of(*mate) == link).collect()
    }

    /// The ready connection that takes the next leg: the first link's first, and of a link's the one that drained
    /// last, whose path and caches are warm. For a leg sent again, another link than before first.
    fn choose(&self, passed: ConnectionSet) -> Option<usize> {
        let avoided = self.sender.avoid();
        let is_avoided = |link| avoided.iter().any(|connection| self.link_of(connection) == Some(link));
        let candidates = self.ready.iter().rev().copied().filter(|connection| !passed.contains(*connection));
        let placed = candidates.filter_map(|connection| {
            let carrier = self.carriers[connection].filter(|carrier| !carrier.recalled)?;
            Some((is_avoided(carrier.link), carrier.link, connection))
        });
        placed.min_by_key(|(avoided, link, _)| (*avoided, *link)).map(|(.., connection)| connection)
    }
}
