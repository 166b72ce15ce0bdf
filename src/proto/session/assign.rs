//! Legs to connections.
//!
//! [`Sender`](super::super::sender::Sender) says which leg suits a connection. The connections that are ready are asked
//! here, in the order of their links, until none can take anything more, or until the receiver's output or the
//! connections that carry something have enough.

use super::super::leg::Leg;
use super::super::sched::NEAR;
use super::super::sender::{Backlog, Progress};
use super::super::set::ConnectionSet;
use super::outbound::{Given, Outbound};
use super::sole::{NEXT_TO_NOTHING, Stand};
use std::time::{Duration, Instant};

/// While the receiver's output is what the stream waits for, so many connections carry new legs at a time: one that
/// writes and one that drains. More would bring nothing sooner, but fill more of the kernel's memory, none of it in
/// any cache, and wake more threads: 3 to 11 % of the throughput on a loopback of two cores, in interleaved runs.
///
/// That holds on paths that are near. On longer ones connections that rest lose congestion windows which took long to
/// open, on lossy ones above all, and no memory is too slow for what such paths carry.
const ENOUGH: usize = 2;

/// What waits for the output must last for so many of a link's shortest round trips: one until the sender hears that
/// the output is short of legs, one until more legs are there, and two for the legs that are on their way meanwhile.
const ANSWERS: u32 = 4;

/// A connection that has been at a leg for longer is not counted on for the next one.
const SWIFT: Duration = Duration::from_millis(20);

/// When the receiver's output has taken nothing for so long, the stream stands still.
const STANDSTILL: Duration = Duration::from_secs(1);

/// Why connections get no fresh legs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Restraint {
    /// They get them.
    None,
    /// The receiver's output has enough.
    Output,
    /// The connections that carry something will take what waits, until then.
    Carriers(Instant),
}

impl Outbound {
    /// Gives legs to the connections that are ready, until there are no more legs or no more such connections. `asking`:
    /// connections that brought small legs whose acknowledgement waits for a leg that goes the other way.
    pub fn assign(&mut self, now: Instant, asking: ConnectionSet, mut give: impl FnMut(usize, Leg)) {
        let mut passed = ConnectionSet::EMPTY;
        self.sender.cut_to(self.leg_size());
        let bounded = self.is_near_and_taken(now);
        let round = self.circulation.round(self.sender.is_overtaken());
        self.sender.keep_within(if bounded { round } else { u64::MAX });
        let (received, blocked) = (self.received(), self.blocked_at_peer());
        self.sole.note(now, Stand { received, blocked, full: self.circulation.is_full() });
        let mut restraint = self.restraint(now);
        while self.offers(now, restraint)
            && let Some(connection) = self.choose(passed, asking)
        {
            passed.insert(connection);
            let mates = self.carriers.mates(connection);
            self.sender.set_apart(self.set_apart());
            let leg = match restraint {
                Restraint::None => self.sender.take(now, connection, mates),
                Restraint::Output | Restraint::Carriers(_) => self.sender.take_again(now, connection, mates),
            };
            let Some(leg) = leg else { continue };
            passed = ConnectionSet::EMPTY;
            let Given { bytes, legs: before, .. } = self.given[connection];
            self.given[connection] =
                Given { bytes: bytes + leg.len(), legs: before + 1, leg: Some(leg.sequence), at: Some(now) };
            self.carriers.note_unready(connection);
            give(connection, leg);
            self.sender.cut_to(self.leg_size());
            restraint = self.restraint(now);
        }
        let waits = !self.carriers.ready().is_empty() && !self.sender.is_drained();
        self.held_back = waits && restraint == Restraint::Output;
        self.waits_until = match restraint {
            Restraint::Carriers(until) if waits => Some(until),
            _ => None,
        };
        if bounded && !self.carriers.ready().is_empty() && self.sender.is_shut() {
            self.circulation.note_held();
        }
        self.circulation.note_stock(now, self.waiting(), self.is_hungry(), bounded);
    }

    /// Whether one connection carries all that is new, as far as is known.
    pub fn one_carries(&self) -> bool {
        self.sole.suffices()
    }

    /// Whether there may be a leg for some connection.
    fn offers(&self, now: Instant, restraint: Restraint) -> bool {
        if restraint == Restraint::None { self.sender.has_something(now) } else { self.sender.has_again() }
    }

    fn restraint(&mut self, now: Instant) -> Restraint {
        if self.sender.is_drained() {
            return Restraint::None;
        }
        if self.has_enough(now) {
            return Restraint::Output;
        }
        if self.sender.is_shut() {
            // idle connections may have to help with what others hold
            return Restraint::None;
        }
        self.carriers(now).map_or(Restraint::None, Restraint::Carriers)
    }

    /// Until when the connections that carry something can be expected to take what waits; None if they are too few. Where
    /// [one connection carries](Self::one_carries), one is enough.
    ///
    /// Without this, every leg that is cut while others are at work would wake the thread of an idle connection, here and
    /// at the far end: with legs of 128 KiB, ten threads a megabyte.
    fn carriers(&self, now: Instant) -> Option<Instant> {
        if !self.near {
            return None;
        }
        let stay = self.carriers.up() - self.carriers.recalled() - self.carriers.ready();
        let until = |connection: usize| self.given[connection].at.map(|at| at + SWIFT);
        let times = stay.iter().filter_map(until).filter(|until| *until > now);
        let (count, until) =
            times.fold((0, None), |(n, first), at| (n + 1, Some(first.map_or(at, |f: Instant| f.min(at)))));
        // one at work takes a whole leg when it is done, whatever its share of the stock
        let share = self.circulation.share().max(self.leg_size() as u64);
        until.filter(|_| self.sole.suffices() || self.waiting() <= count * share)
    }

    /// Whether all paths are near, and the receiver's output takes what comes.
    fn is_near_and_taken(&self, now: Instant) -> bool {
        self.near && self.taken_at.is_some_and(|at| at + STANDSTILL > now)
    }

    /// Bytes that wait for a connection.
    fn waiting(&self) -> u64 {
        let Progress { pushed, sent, .. } = self.sender.progress();
        pushed - sent
    }

    /// Looks whether all paths are near.
    pub(super) fn measure_paths(&mut self) {
        let attached = self.attached();
        self.near =
            !attached.is_empty() && attached.iter().all(|connection| self.shortest(connection) <= NEAR);
        for size in [&mut self.piece_size, &mut self.leg_size] {
            size.set_near(self.near);
        }
        let on_one_link = attached.iter().all(|connection| self.carriers.mates(connection) == attached);
        let is_shortest = |connection| self.shortest(connection) <= NEXT_TO_NOTHING;
        self.sole.allow(self.near && on_one_link && attached.iter().all(is_shortest));
    }

    /// Whether the stream waits for the receiver's output, and the output has enough to last until this end would hear that
    /// it ran short and could bring more. Then the connections that carry something are enough, if [`ENOUGH`] of them do
    /// their part.
    fn has_enough(&mut self, now: Instant) -> bool {
        let Backlog { bytes: backlog, most } = self.sender.backlog();
        if backlog <= most / 8 {
            return false;
        }
        let Some(rate) = self.taken.rate(now) else { return false };
        let attached = self.attached();
        let part = rate / attached.len().max(1) as f64;
        let (mut carriers, mut answer) = (0, Duration::ZERO);
        let stay = attached - self.carriers.recalled() - self.carriers.ready();
        for connection in stay.iter() {
            let pace = self.sender.steady_pace(now, connection);
            // half of it: connections that carry at the same time slow each other down, and the rates show that
            if pace.and_then(|pace| pace.rate()).is_some_and(|rate| rate >= part / 2.0) {
                (carriers, answer) = (carriers + 1, answer.max(self.shortest(connection)));
            }
        }
        carriers >= ENOUGH && answer <= NEAR && backlog as f64 > rate * (answer * ANSWERS).as_secs_f64()
    }

    /// The shortest round trip of any connection on the link of this one. A connection's own measurement may show how late
    /// its thread was rather than the path.
    fn shortest(&self, connection: usize) -> Duration {
        let measured =
            self.carriers.mates(connection).iter().filter_map(|mate| self.sender.pace(mate)?.rtt_min());
        measured.min().unwrap_or(Duration::MAX)
    }

    /// The ready connection that takes the next leg. It is on the first link that has any. On that link a connection that is
    /// `asking` comes first, then the one that drained last, whose path and caches are warm. A leg that is sent again goes
    /// to another link than before if it can.
    fn choose(&self, passed: ConnectionSet, asking: ConnectionSet) -> Option<usize> {
        let able = self.carriers.ready() - self.set_apart() - passed;
        let elsewhere = self.sender.avoid().iter().fold(able, |rest, one| rest - self.carriers.mates(one));
        let able = if elsewhere.is_empty() { able } else { elsewhere };
        let first = self.carriers.on_first_link(able);
        self.carriers.latest_ready(first & asking).or_else(|| self.carriers.latest_ready(first))
    }

    /// The connections that are asked to take nothing: those that are called back, and a lifeline while there is another
    /// connection. What others carry and cannot bring takes a lifeline all the same.
    fn set_apart(&self) -> ConnectionSet {
        let spared =
            if self.sender.avoid().is_empty() { self.carriers.spared() } else { ConnectionSet::EMPTY };
        self.carriers.recalled() | spared
    }
}
