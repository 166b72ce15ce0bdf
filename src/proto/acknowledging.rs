//! When an acknowledgement is due on which connection, and what the sender has been told.
//!
//! A leg is acknowledged at once on the connection that brought it. Only the latest acknowledgement of a connection is
//! kept until it is written, so one may cover several legs. The other connections tell the news within [`DELAY`].
//!
//! If the sender may be waiting for the news, the [`LIVELY`] connections that brought the latest legs tell it at once,
//! and all of them [`RETELL`] later, unless legs come before: those show that the sender has heard it, and bring
//! acknowledgements of their own. Where no leg came of late, all of them tell it at once. To tell it on all whenever the
//! output has taken an eighth of a small window would wake the sender's threads 15 times for nothing.
//!
//! What the output takes is told in steps of [`STEP`] where the latest leg came from: a sender that keeps little under
//! way goes on then.
//!
//! While the receiver holds anything, every connection tells where it stands every [`UNASKED`]. Where nothing is under
//! way, nothing is said: pongs show life.
//!
//! Where this end sends a stream too, a small leg that leaves nothing missing may wait for [`RIDE`]: the answer to it is
//! likely to be on its way out, and the acknowledgement goes with that instead of waking the far end by itself. So the
//! answer goes on the connection that brought the leg, if that is ready.
//!
//! Counts legs per connection in the order they came, and never looks at their numbers: that is what the sender maps
//! to its own send order.

use super::leg::CONNECTIONS_MAX;
use super::set::ConnectionSet;
use super::wire::{Ack, WindowEdge};
use std::time::{Duration, Instant};

/// Connections that did not bring the latest leg tell the news of it within this time.
pub(crate) const DELAY: Duration = Duration::from_millis(100);

/// So many connections tell at once that the sender may go on, if each has brought a leg within [`DELAY`]: one is
/// enough, and the other one is there in case it has just died.
pub(crate) const LIVELY: usize = 2;

/// If no leg comes within this time after that, all connections tell it.
pub(crate) const RETELL: Duration = Duration::from_millis(20);

/// When the output has taken so many bytes that the sender has not been told of, it is told.
pub(crate) const STEP: u64 = 2 << 20;

/// How long the acknowledgement of a small leg may wait for a leg that goes the other way. An answer that takes longer
/// is not sent sooner by it.
pub(crate) const RIDE: Duration = Duration::from_millis(1);

/// How often a connection says where the receiver stands although nobody asked, while that holds legs.
pub(crate) const UNASKED: Duration = Duration::from_secs(1);

/// Where the receiver stands; what every acknowledgement has in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The head: the leg wanted next.
    pub next: u64,
    /// Bytes that the output has taken.
    pub delivered: u64,
    /// How far the sender may go.
    pub edge: WindowEdge,
}

impl Position {
    /// Before any session.
    pub const NOWHERE: Self = Position { next: 0, delivered: 0, edge: WindowEdge { bytes: 0, legs: 0 } };
}

/// One connection's account.
#[derive(Clone, Copy, Debug)]
struct Account {
    /// Legs taken whole on this connection, duplicates and damaged ones too.
    count: u64,
    /// What was last acknowledged here.
    told: Option<Ack>,
    /// When it is to speak unasked, if the receiver has held something for as long as that.
    unasked_at: Instant,
    /// When it brought the latest leg.
    brought: Option<Instant>,
}

/// The accounts of all connections of one session.
#[derive(Debug, Default)]
pub(crate) struct Acknowledging {
    accounts: [Option<Account>; CONNECTIONS_MAX],
    /// Those that have an account.
    open: ConnectionSet,
    /// Where an acknowledgement is due at once.
    due: ConnectionSet,
    /// Where one is due when its ride is over.
    riding: ConnectionSet,
    ride_ends: Option<Instant>,
    /// When those that have not told the latest news are to do so.
    news_at: Option<Instant>,
    /// When all are to tell that the sender may go on, unless a leg comes before.
    retell_at: Option<Instant>,
    /// The furthest edge that any acknowledgement carried.
    told: Option<WindowEdge>,
    /// The most bytes that any acknowledgement said the output has taken.
    told_delivered: u64,
    /// The connection that brought the latest leg, if it is there.
    latest: Option<usize>,
    /// If the receiver holds legs: no connection speaks unasked before this.
    holds: Option<Instant>,
}

impl Acknowledging {
    /// A connection brings legs from now on; nothing has come on it.
    pub(crate) fn open(&mut self, now: Instant, connection: usize) {
        let unasked_at = now + UNASKED;
        self.accounts[connection] = Some(Account { count: 0, told: None, unasked_at, brought: None });
        self.open.insert(connection);
        self.due.remove(connection);
    }

    /// The connection is gone.
    pub(crate) fn close(&mut self, connection: usize) {
        self.accounts[connection] = None;
        self.open.remove(connection);
        self.due.remove(connection);
        self.riding.remove(connection);
        self.latest.take_if(|latest| *latest == connection);
    }

    /// Another session may begin, whose sender was told of no window yet.
    pub(crate) fn forget_told(&mut self) {
        (self.told, self.told_delivered) = (None, 0);
    }

    /// Whether the connection brings legs.
    pub(crate) fn is_open(&self, connection: usize) -> bool {
        self.open.contains(connection)
    }

    /// When the connection brought its latest leg.
    pub(crate) fn brought(&self, connection: usize) -> Option<Instant> {
        self.accounts[connection].and_then(|account| account.brought)
    }

    /// A leg was read to its end on this connection, whatever became of it.
    pub(crate) fn took(&mut self, now: Instant, connection: usize) {
        if let Some(account) = &mut self.accounts[connection] {
            (account.count, account.brought) = (account.count + 1, Some(now));
            self.due.insert(connection);
            (self.retell_at, self.latest) = (None, Some(connection));
        }
    }

    /// The same of a small leg in its order, with nothing missing: that may wait for a leg that goes the other way.
    pub(crate) fn took_alone(&mut self, now: Instant, connection: usize) {
        if let Some(account) = &mut self.accounts[connection] {
            (account.count, account.brought) = (account.count + 1, Some(now));
            self.riding.insert(connection);
            self.retell_at = None;
            self.ride_ends.get_or_insert(now + RIDE);
        }
    }

    /// A small leg goes the other way on this connection: what there is to acknowledge goes with it. Other connections
    /// that brought legs still tell when their ride is over.
    pub(crate) fn ride(&mut self, connection: usize) {
        if !self.riding.is_empty() && self.is_open(connection) {
            self.due.insert(connection);
            self.riding.remove(connection);
            self.ride_ends.take_if(|_| self.riding.is_empty());
        }
    }

    /// The connections whose acknowledgement waits for a small leg that goes the other way.
    pub(crate) fn riding(&self) -> ConnectionSet {
        self.riding
    }

    /// There is news for the connections that did not bring it.
    pub(crate) fn news(&mut self, now: Instant) {
        self.news_at.get_or_insert(now + DELAY);
    }

    /// The output has taken so many bytes in all.
    pub(crate) fn progress(&mut self, now: Instant, delivered: u64) {
        self.news(now);
        if delivered >= self.told_delivered + STEP {
            self.latest.into_iter().for_each(|latest| self.due.insert(latest));
        }
    }

    /// The sender may be waiting: it is told where it is most likely to hear it, or on every connection.
    pub(crate) fn tell(&mut self, now: Instant) {
        let brought = |connection: &usize| self.brought(*connection);
        let is_lively = |connection: &usize| brought(connection).is_some_and(|at| at + DELAY > now);
        let mut lively: Vec<usize> = self.open.iter().filter(is_lively).collect();
        if lively.is_empty() {
            return self.tell_all();
        }
        lively.sort_by_key(|connection| std::cmp::Reverse(brought(connection)));
        lively.iter().take(LIVELY).for_each(|connection| self.due.insert(*connection));
        self.news(now);
        self.retell_at.get_or_insert(now + RETELL);
    }

    fn tell_all(&mut self) {
        (self.news_at, self.retell_at) = (None, None);
        self.due = self.open;
    }

    /// Whether an acknowledgement is due at once.
    pub(crate) fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// The furthest edge that the sender was told of.
    pub(crate) fn told(&self) -> Option<WindowEdge> {
        self.told
    }

    /// When [`Acknowledging::take_due`] has something to give, if nothing happens before.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let times = [self.news_at, self.retell_at, self.ride_ends, self.unasked_at()];
        times.into_iter().flatten().min()
    }

    /// When a connection is to say where the receiver stands although nobody asked.
    fn unasked_at(&self) -> Option<Instant> {
        let first = self.holds?;
        let each = self.open.iter().filter_map(|connection| self.accounts[connection].as_ref());
        each.map(|account| account.unasked_at.max(first)).min()
    }

    /// Whether the output has not taken all that came, or is closing; to be told before the others are asked.
    pub(crate) fn note_held(&mut self, now: Instant, holds: bool) {
        self.holds = holds.then(|| self.holds.unwrap_or(now + UNASKED));
    }

    /// The acknowledgements that are due, with the connections that they are for. `blocked` is for how long the output
    /// has been taking nothing.
    pub(crate) fn take_due(&mut self, now: Instant, at: Position, blocked: Duration) -> Vec<(usize, Ack)> {
        if self.retell_at.is_some_and(|at| at <= now) {
            self.tell_all();
        }
        let news = self.news_at.take_if(|at| *at <= now).is_some();
        if self.ride_ends.take_if(|at| *at <= now).is_some() {
            let over = std::mem::take(&mut self.riding);
            over.iter().for_each(|connection| self.due.insert(connection));
        }
        let is_past = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let unasked = is_past(self.holds) && is_past(self.unasked_at());
        if !news && self.due.is_empty() && !unasked {
            return Vec::new();
        }
        let blocked_ms = u32::try_from(blocked.as_millis()).unwrap_or(u32::MAX);
        let due = std::mem::take(&mut self.due);
        let mut acks = Vec::new();
        // the others have nothing to say
        let asked = if news || unasked { self.open } else { due };
        for connection in asked.iter() {
            let Some(account) = &mut self.accounts[connection] else { continue };
            let Position { next, delivered, edge } = at;
            let ack = Ack { next, delivered, edge, count: account.count, blocked_ms };
            let is_new = account.told.is_none_or(|told| told != Ack { blocked_ms: told.blocked_ms, ..ack });
            let speaks = unasked && account.unasked_at <= now;
            if due.contains(connection) || speaks || (news && is_new) {
                account.told = Some(ack);
                account.unasked_at = now + UNASKED;
                acks.push((connection, ack));
            }
        }
        if !acks.is_empty() {
            self.told_delivered = at.delivered;
            let told = self.told.unwrap_or(at.edge);
            let WindowEdge { bytes, legs } = at.edge;
            self.told = Some(WindowEdge { bytes: told.bytes.max(bytes), legs: told.legs.max(legs) });
        }
        acks
    }

    /// The connections that bring legs.
    pub(crate) fn open_connections(&self) -> ConnectionSet {
        self.open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(next: u64) -> Position {
        Position { next, delivered: 10 * next, edge: WindowEdge { bytes: 1000 + 10 * next, legs: 99 } }
    }

    fn due(acks: &mut Acknowledging, now: Instant, next: u64) -> Vec<(usize, u64)> {
        let due = acks.take_due(now, at(next), Duration::ZERO);
        due.into_iter().map(|(connection, ack)| (connection, ack.count)).collect()
    }

    #[test]
    fn where_a_leg_came_it_is_acknowledged_at_once_and_elsewhere_soon() {
        let (mut acks, start) = (Acknowledging::default(), Instant::now());
        acks.open(start, 0);
        acks.open(start, 3);
        acks.took(start, 3);
        acks.took(start, 3);
        acks.news(start);
        assert_eq!(due(&mut acks, start, 2), [(3, 2)]);
        assert_eq!(due(&mut acks, start, 2), []);
        assert_eq!(acks.deadline(), Some(start + DELAY));
        assert_eq!(due(&mut acks, start + DELAY, 2), [(0, 0)], "connection 3 has told it");
        assert_eq!(acks.told(), Some(at(2).edge));
    }

    #[test]
    fn every_connection_speaks_unasked_and_all_when_the_sender_may_wait() {
        let (mut acks, start) = (Acknowledging::default(), Instant::now());
        acks.open(start, 1);
        assert_eq!(acks.deadline(), None, "nothing is under way");
        acks.note_held(start, true);
        acks.open(start + DELAY, 2);
        assert_eq!(acks.deadline(), Some(start + UNASKED));
        assert_eq!(due(&mut acks, start + UNASKED, 0), [(1, 0)]);
        acks.tell(start);
        assert_eq!(due(&mut acks, start + UNASKED, 0), [(1, 0), (2, 0)]);
        acks.close(1);
        acks.tell(start);
        assert_eq!(due(&mut acks, start + UNASKED, 0), [(2, 0)]);
    }

    #[test]
    fn who_may_go_on_is_told_where_legs_came_from_and_elsewhere_if_none_follow() {
        let (mut acks, start) = (Acknowledging::default(), Instant::now());
        (0..4).for_each(|connection| acks.open(start, connection));
        let ms = Duration::from_millis;
        for (connection, at) in [(3, 0), (1, 2), (0, 1)] {
            acks.took(start + ms(at), connection);
        }
        assert_eq!(due(&mut acks, start + ms(2), 1), [(0, 1), (1, 1), (3, 1)]);
        acks.tell(start + ms(3));
        assert_eq!(due(&mut acks, start + ms(3), 2), [(0, 1), (1, 1)], "these brought the latest legs");
        assert_eq!(acks.deadline(), Some(start + ms(3) + RETELL));
        acks.took(start + ms(4), 3);
        assert_eq!(due(&mut acks, start + ms(3) + RETELL, 2), [(3, 2)], "the sender has gone on");
        acks.tell(start + ms(50));
        assert_eq!(due(&mut acks, start + ms(50), 3), [(1, 1), (3, 2)]);
        let all = [(0, 1), (1, 1), (2, 0), (3, 2)];
        assert_eq!(due(&mut acks, start + ms(50) + RETELL, 3), all, "it may not have heard");
        acks.tell(start + ms(4) + DELAY);
        assert_eq!(due(&mut acks, start + ms(4) + DELAY, 4), all, "nobody has brought anything of late");
        assert_eq!(acks.deadline(), None);
    }

    #[test]
    fn a_small_leg_alone_is_acknowledged_with_the_answer_to_it() {
        let (mut acks, start) = (Acknowledging::default(), Instant::now());
        acks.open(start, 0);
        acks.open(start, 3);
        acks.ride(0);
        assert_eq!(due(&mut acks, start, 0), [], "there is nothing to acknowledge");
        acks.took_alone(start, 3);
        assert_eq!(due(&mut acks, start, 1), []);
        acks.ride(0);
        assert_eq!(due(&mut acks, start, 1), [(0, 0)], "what is wanted next says it");
        assert_eq!(acks.deadline(), Some(start + RIDE));
        assert_eq!(due(&mut acks, start + RIDE, 1), [(3, 1)], "the count is told where the leg came");
        assert_eq!(due(&mut acks, start + RIDE, 1), []);
        acks.took_alone(start + RIDE, 3);
        acks.ride(3);
        assert_eq!(due(&mut acks, start + RIDE, 2), [(3, 2)], "the answer goes where the leg came");
        assert_eq!(acks.deadline(), None);
    }

    #[test]
    fn a_connection_that_is_gone_is_not_acknowledged_and_its_successor_begins_at_nothing() {
        let (mut acks, start) = (Acknowledging::default(), Instant::now());
        acks.open(start, 1);
        acks.took(start, 1);
        acks.close(1);
        acks.took(start, 1);
        assert_eq!(due(&mut acks, start, 1), []);
        acks.open(start, 1);
        acks.took(start, 1);
        assert_eq!(due(&mut acks, start, 1), [(1, 1)]);
    }
}
