//! Which leg is sent again, when, and on which connection.
//!
//! A connection that can take a leg is offered, in this order:
//!
//! 1. A leg to be *sent again*: its connection was lost, or it arrived damaged, or rule 2 says so.
//! 2. The *overtaken head*. When the leg that the receiver wants next is late, and one that was sent later has
//!    been received, it is to be sent again, whether or not the window is shut; so is everything else that only
//!    its connections hold, and these are *suspect*: no new legs until they answer.
//! 3. A leg never sent, if the window admits it; that is the ordinary case, and not decided here.
//! 4. A *late copy*: a leg whose latest copy is late. Links other than those that carry it may take it at once,
//!    its own link only after a time that doubles with each copy under way there (copies on suspects do not count).
//!    When a copy is received, connections that should have brought the leg long before are suspect too. Otherwise a
//!    connection that lets nothing through would go on taking legs, each of which waits until it is late.
//! 5. When the output is *starving* for the head, or *the input has ended*: a leg of a slow connection, if this
//!    one needs less than half the time, or the leg is overdue.
//!
//! A connection that is not needed for fresh legs, because the receiver's output is slow, is offered 1 and 2 only.
//!
//! Of the legs that one rule allows, and of rules 4 and 5 together, the oldest goes. What always holds:
//!
//! - A connection never gets a second copy of a leg that it carries.
//! - A connection that damaged a leg does not get it again while another one might do better. One that is known to be
//!   much slower does not do better than a connection that damaged the leg once.
//! - A connection that is known to be slow gets no copy of what was sent before while another one is known to be quick. One
//!   that is asked to take nothing does not count: what waited for it would wait for ever.
//! - For a moment a further copy waits for another link.
//! - A link may be slow, or silent, as a whole, and a further copy would only make it slower. So a link several of whose
//!   connections carry legs gets none until all connections together, those of other links too, have brought as many
//!   bytes since the latest copy as those of its connections that bring anything still carry.
//! - The first copy wins, and the receiver drops the rest.

use super::super::sched::{LATE_AT_LEAST, LATE_UNMEASURED, Pace, UNRATED_MAX};
use super::super::set::ConnectionSet;
use super::held::{Flight, Held};
use super::{Connection, Sender};
use std::time::{Duration, Instant};

/// A further copy of a late leg waits this long for a connection on another link. If something is slow or broken, it is
/// more often a whole link than one of its connections.
const OTHER_LINK_FIRST: Duration = Duration::from_millis(200);

/// For help to another connection on its own link, a connection is assumed to need at least this time.
const MATE_NEED: Duration = Duration::from_millis(500);

impl Sender {
    /// If the head has been overtaken and is late, marks it for sending again, with all other legs of the connections
    /// that carry it. Returns the leg and the connection that was too slow for it.
    pub fn rescue(&mut self, now: Instant) -> Option<(u64, usize)> {
        self.late_head().filter(|late| *late <= now)?;
        let head = self.first;
        let slow = self.held[0].carriers;
        slow.iter().for_each(|connection| self.suspect(connection));
        self.again.insert(head);
        self.stats.rescues += 1;
        slow.iter().next().map(|connection| (head, connection))
    }

    /// A leg was received. Other connections that carry it, and should have brought it long ago, are suspect.
    pub(super) fn beaten(&mut self, now: Instant, winner: &Flight) {
        let Some(held) = self.get(winner.sequence).filter(|held| self.rescues && held.payload.is_some())
        else {
            return;
        };
        let lost = |flight: &Flight| {
            flight.sequence == winner.sequence
                && flight.sent < winner.sent
                && flight.is_overdue(now, grace(true))
        };
        for connection in held.carriers.iter() {
            let carrier = self.connections[connection].as_ref();
            if carrier.is_some_and(|carrier| carrier.flights.iter().any(lost)) {
                self.suspect(connection);
            }
        }
    }

    /// The connection gets no new legs until it answers. Legs that only it carries are to be sent again.
    fn suspect(&mut self, connection: usize) {
        let Some(carrier) = self.connections[connection].as_mut() else { return };
        carrier.suspect = true;
        let carried: Vec<u64> = carrier.flights.iter().filter(|f| !f.damaged).map(|f| f.sequence).collect();
        let only = ConnectionSet::of(connection);
        for sequence in carried {
            if self.get(sequence).is_some_and(|h| h.payload.is_some() && h.carriers == only) {
                self.again.insert(sequence);
            }
        }
    }

    /// When the head is late, if it has been overtaken and is not already to be sent again.
    fn late_head(&self) -> Option<Instant> {
        let head = self.held.front()?;
        let overtaken = self.rescues && !head.carriers.is_empty() && head.sent? < self.newest_received?;
        (overtaken && !self.again.contains(&self.first)).then(|| head.late_among(head.carriers))?
    }

    /// When, after `now`, time alone may give `rescue`, or `take` for an idle connection, something to do.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let mut copies = self.lates.range((now, u64::MAX)..).map(|(at, _)| *at).next();
        if self.lates.first().is_some_and(|(at, _)| *at <= now) || self.is_starving() {
            // the leg is late already: by the passing of time alone a connection may become the right one for it
            copies = Some(copies.map_or(now + OTHER_LINK_FIRST, |at| at.min(now + OTHER_LINK_FIRST)));
        }
        let copies = copies.filter(|_| self.rescues && !self.has_fresh());
        self.late_head().into_iter().chain(copies).filter(|at| *at > now).min()
    }

    /// The pace of a connection, if it keeps to its pace: it is neither suspect nor overdue with a leg.
    pub fn steady_pace(&self, now: Instant, connection: usize) -> Option<&Pace> {
        let carrier = self.connections[connection].as_ref().filter(|carrier| !carrier.suspect)?;
        let overdue = carrier.flights.front().is_some_and(|first| first.is_overdue(now, grace(false)));
        (!overdue).then_some(&carrier.pace)
    }

    /// The connections that carry the leg that would be sent again first. For that leg another link is preferred.
    pub fn avoid(&self) -> ConnectionSet {
        self.again.first().and_then(|s| self.get(*s)).map_or(ConnectionSet::EMPTY, |held| held.carriers)
    }

    /// Rules 1 and 2: the oldest leg to be sent again that this connection suits.
    pub(super) fn next_again(&self, now: Instant, connection: usize, mates: ConnectionSet) -> Option<u64> {
        let suits = |s: &u64| self.get(*s).is_some_and(|held| self.suits(now, connection, mates, held));
        self.again.iter().copied().find(suits)
    }

    /// Rules 4 and 5, with nothing else to send: the oldest leg of which this connection should carry a copy.
    pub(super) fn next_straggler(
        &self,
        now: Instant,
        connection: usize,
        mates: ConnectionSet,
    ) -> Option<u64> {
        if !self.rescues {
            return None;
        }
        let late = self.next_late(now, connection, mates);
        let may_help = self.ended || self.is_starving();
        let slower = may_help.then(|| self.next_slower(now, connection, mates)).flatten();
        late.into_iter().chain(slower).min()
    }

    /// Rule 4: a leg that other connections hold too long.
    fn next_late(&self, now: Instant, connection: usize, mates: ConnectionSet) -> Option<u64> {
        let late = self.lates.iter().take_while(|(at, _)| *at <= now).map(|(_, sequence)| *sequence);
        let wanted = |held: &Held| {
            let here = held.carriers & mates & self.unsuspected();
            let late =
                (held.carriers & mates).is_empty() || held.late_among(here).is_some_and(|at| at <= now);
            !held.carriers.is_empty() && late && self.suits(now, connection, mates, held)
        };
        late.filter(|sequence| self.get(*sequence).is_some_and(wanted)).min()
    }

    /// Rule 5: of each slow connection the first leg that needs this one's help, and of those the oldest.
    fn next_slower(&self, now: Instant, connection: usize, mates: ConnectionSet) -> Option<u64> {
        let own = self.connections[connection].as_ref()?;
        let helper = Helper { own, now, starving: self.is_starving() };
        let wanted = |flight: &Flight| {
            self.get(flight.sequence).is_some_and(|held| {
                held.payload.is_some()
                    && !held.carriers.is_empty()
                    && helper.is_needed(flight, held, !(held.carriers & mates).is_empty())
                    && self.suits(now, connection, mates, held)
            })
        };
        let slow = self.connections.iter().flatten().filter(|carrier| helper.finds_slow(carrier));
        slow.filter_map(|carrier| carrier.flights.iter().find(|f| wanted(f))).map(|f| f.sequence).min()
    }

    /// Whether nothing more can be sent or even read, and the output has nothing, because the head is missing.
    pub(super) fn is_starving(&self) -> bool {
        let full = self.uncut.memory() >= self.memory / 8 * 7;
        (self.is_shut() || full) && self.held.front().is_some_and(|head| head.offset <= self.delivered)
    }

    /// Whether this connection may get a further copy of the leg. It may if neither it nor its link has a copy, and it
    /// has not damaged the leg before, or if no other connection or link offered itself in good time. A connection that
    /// is known to be slow may not while there is a quick one.
    fn suits(&self, now: Instant, connection: usize, mates: ConnectionSet, held: &Held) -> bool {
        let willing = self.willing();
        let sound = willing - held.damaged_on;
        let is_better = |other| held.failures > 1 || !self.is_slower(now, other, connection, held);
        let sounder = held.damaged_on.contains(connection) && sound.iter().any(is_better);
        let shared = !(held.carriers & mates).is_empty();
        let elsewhere = shared && !(willing - mates - held.carriers).is_empty();
        let here = held.carriers & mates & self.unsuspected();
        let waited = held.late_among(here).is_none_or(|at| at + OTHER_LINK_FIRST <= now);
        let barred = if held.failures > 1 { held.damaged_on } else { ConnectionSet::EMPTY };
        let others = willing - held.carriers - barred;
        let quicker = || others.iter().any(|other| self.is_slower(now, connection, other, held));
        if held.carriers.contains(connection) || shared && self.is_slow_as_a_whole(mates, held) {
            return false;
        }
        (waited || !sounder && !elsewhere) && !quicker()
    }

    /// Whether a link is slow, or silent, as a whole: other connections of it have legs under way too, and since the latest
    /// copy of this leg was sent, all connections have brought less than those of the link that bring anything still carry.
    /// Then the leg may only wait for its turn. A small leg takes no time from the others, and may be a keystroke that
    /// waits.
    fn is_slow_as_a_whole(&self, mates: ConnectionSet, held: &Held) -> bool {
        let brings = |mate: &usize| self.pace(*mate).and_then(Pace::confirmed_at) > held.sent;
        let carries = |mate| !self.is_idle(mate) && !held.carriers.contains(mate);
        if held.len <= UNRATED_MAX || !mates.iter().any(carries) {
            return false;
        }
        let lively: ConnectionSet = mates.iter().filter(brings).collect();
        let carried: u64 = lively.iter().map(|mate| self.bytes_in_flight(mate)).sum();
        lively.is_empty() || self.brought - held.brought < carried
    }

    /// Whether the connection is known to need long for the leg, and the other one, which keeps to its pace, less than half
    /// of that.
    fn is_slower(&self, now: Instant, connection: usize, other: usize, held: &Held) -> bool {
        let need = |one: usize, pace: &Pace| {
            let carrier = self.connections[one].as_ref()?;
            pace.need(carrier.bytes_in_flight + held.len)
        };
        let own = self.pace(connection).and_then(|pace| need(connection, pace));
        let quick = || self.steady_pace(now, other).and_then(|pace| need(other, pace));
        own.filter(|own| *own > LATE_UNMEASURED)
            .is_some_and(|own| quick().is_some_and(|quick| own > quick * 2))
    }

    /// The connections that are up and not suspect. One that is to get no further leg, as its receiver has enough to
    /// decode, may carry a leg as well as any.
    fn unsuspected(&self) -> ConnectionSet {
        let is_sound = |one: &usize| self.connections[*one].as_ref().is_some_and(|carrier| !carrier.suspect);
        (0..self.connections.len()).filter(is_sound).collect()
    }

    /// Connections that may be given legs, and are asked.
    fn willing(&self) -> ConnectionSet {
        let willing: ConnectionSet =
            (0..self.connections.len()).filter(|connection| self.is_willing(*connection)).collect();
        willing - self.set_apart
    }
}

/// A connection that offers its help to the slow ones, as rule 5 sees it.
struct Helper<'a> {
    own: &'a Connection,
    now: Instant,
    starving: bool,
}

impl Helper<'_> {
    /// Whether the other connection would hold the last of its legs too long, or has already held the first too long.
    fn finds_slow(&self, carrier: &Connection) -> bool {
        let last = carrier.flights.back().is_some_and(|last| self.is_faster(last, last.due(), false));
        last || carrier.flights.front().is_some_and(|first| first.is_overdue(self.now, grace(false)))
    }

    /// Whether a leg that others have is overdue, or would be here much sooner; `mate` if a connection on this
    /// one's own link has it.
    fn is_needed(&self, flight: &Flight, held: &Held, mate: bool) -> bool {
        let grace = grace(mate);
        let overdue = flight.is_overdue(self.now, grace)
            && held.expected.is_none_or(|expected| expected + grace <= self.now);
        let expected = held.expected.filter(|at| *at > self.now).or(flight.due());
        overdue || self.is_faster(flight, expected, mate)
    }

    /// Whether the leg is expected from those who have it in over twice the time that this one needs.
    fn is_faster(&self, flight: &Flight, expected: Option<Instant>, mate: bool) -> bool {
        // while the output starves, there is no waiting for a connection that should have shown its pace by now
        let there = expected.or(self.starving.then(|| flight.sent + LATE_UNMEASURED));
        there.zip(self.need(flight, mate)).is_some_and(|(there, here)| there > self.now + here * 2)
    }

    /// How long this connection needs for the leg.
    fn need(&self, flight: &Flight, mate: bool) -> Option<Duration> {
        let pace = &self.own.pace;
        // an idle connection of unknown pace is tried
        let guess = self.own.flights.is_empty().then(|| pace.rtt().unwrap_or_default() * 2);
        let need = pace.need(self.own.bytes_in_flight + flight.len).or(guess)?;
        // two connections on one link may slow each other down
        Some(if mate { need.max(MATE_NEED) } else { need })
    }
}

impl Held {
    /// When the leg's latest copy is late for these carriers. Each further copy under way is given twice the time of
    /// the one before, so that a path that slows down for everybody is not filled with copies. None while fresh.
    fn late_among(&self, carriers: ConnectionSet) -> Option<Instant> {
        let further = carriers.len().saturating_sub(1).min(6);
        Some(self.sent? + self.patience * (1 << further))
    }
}

impl Flight {
    /// When it should be there, if its connection's pace was known when it was sent.
    fn due(&self) -> Option<Instant> {
        self.need.map(|need| self.sent + need)
    }

    /// Whether it should have been there so long ago.
    fn is_overdue(&self, now: Instant, grace: Duration) -> bool {
        self.due().unwrap_or(self.sent + LATE_UNMEASURED) + grace <= now
    }
}

/// How long after its time a leg is overdue. The other connections of the same link wait longer: they share its
/// troubles.
fn grace(mate: bool) -> Duration {
    if mate { LATE_UNMEASURED } else { LATE_AT_LEAST }
}
