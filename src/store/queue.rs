//! Whose turn it is: a few sessions at a time have a place, the others wait.
//!
//! A place that becomes free goes to the next key that has one waiting, and there to the one that came first. Whoever
//! has a place and makes no progress for a minute loses it when another one waits; without a connection, after ten
//! seconds. How many wait is bounded, and how many of one key, so that none keeps the others out by waiting.
//!
//! One that waits without a connection for ten seconds gives way to one of its key that has waited with a connection for
//! as long, or that comes and finds no room. So of two that have both lost their connections neither puts the other out,
//! and the one that is back first does not either.
//!
//! Pure: time comes in as an argument.

use std::collections::{BTreeMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// Without progress for so long, a session loses its place to one that waits: longer than a path is ever away that comes
/// back soon.
pub(crate) const STALL: Duration = Duration::from_secs(60);

/// Without a connection for so long, a session loses its place to one that waits, or its turn to one of its key. A sender whose connections broke
/// dials again at once, and after pauses of 5 s at most while that fails: it comes again within this time if it can. One
/// that finds its path silent closes nothing here, and is given [`STALL`].
pub(crate) const AWAY: Duration = Duration::from_secs(10);

/// Bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Sessions with a place, at least 1.
    pub(crate) places: usize,
    /// Sessions that wait, at most.
    pub(crate) waiting: usize,
    /// Of them with one key, at most.
    pub(crate) of_one_key: usize,
    /// Without progress for so long, a session loses its place to one that waits. It is [`STALL`] but for tests.
    pub(crate) stall: Duration,
    /// Without a connection for so long, the same, or its turn to one of its key. It is [`AWAY`] but for tests.
    pub(crate) away: Duration,
}

/// Why a session has lost its place, or its turn; others wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// It made no progress.
    Stalled,
    /// It had no connection.
    Away,
}

/// What happens to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn<S> {
    /// It has a place.
    Go(S),
    /// So many go before it.
    Wait(S, usize),
    /// It has lost its place, or its turn.
    Lost(S, Lost),
}

/// The answer to a session that comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// It has a place.
    Go,
    /// So many go before it.
    Wait(usize),
    /// Too many wait.
    Full,
}

/// Whether a session has a connection, as far as was seen.
#[derive(Clone, Copy, Debug)]
struct Presence {
    /// When it came, or came back last.
    came: Instant,
    /// When it was seen to have one last, or came; not before `came`.
    there: Instant,
    /// Since when it has none, if it has none; not before `there`.
    away: Option<Instant>,
}

impl Presence {
    fn new(now: Instant) -> Self {
        Presence { came: now, there: now, away: None }
    }

    /// It was looked at: by its own clock it has had no connection for so long, or it has one. That clock may count a gap in
    /// which this process did not run, and the one of `now` does not: what was seen before counts more.
    fn seen(&mut self, now: Instant, alone: Option<Duration>) {
        match alone {
            None if self.away.is_some() => *self = Presence::new(now),
            None => self.there = now,
            Some(alone) => {
                let since = now.checked_sub(alone).unwrap_or(now);
                self.away = Some(since.max(self.away.unwrap_or(self.there)));
            }
        }
    }

    /// Since when it has a connection, if it has one.
    fn there_since(&self) -> Option<Instant> {
        self.away.is_none().then_some(self.came)
    }

    /// When it gives way, if it stays without a connection.
    fn gone_at(&self, bounds: &Bounds) -> Option<Instant> {
        self.away.map(|since| since + bounds.away)
    }
}

/// How a session with a place stands.
#[derive(Clone, Copy, Debug)]
struct Running {
    /// When it last made progress.
    since: Instant,
    presence: Presence,
}

impl Running {
    fn new(now: Instant, presence: Presence) -> Self {
        Running { since: now, presence }
    }

    /// When it loses its place to one that waits, and why.
    fn ends(&self, bounds: &Bounds) -> (Instant, Lost) {
        let stalled = (self.since + bounds.stall, Lost::Stalled);
        let away = self.presence.gone_at(bounds).map(|at| (at, Lost::Away));
        away.filter(|away| away.0 < stalled.0).unwrap_or(stalled)
    }
}

/// How a session stands that waits.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    /// How many go before it, as it was told last.
    told: usize,
    presence: Presence,
}

/// The sessions `S` of keys `K`. Call `poll` after each call that may free a place, and at `deadline`.
#[derive(Debug)]
pub(crate) struct Queue<K, S> {
    bounds: Bounds,
    /// With a place.
    running: BTreeMap<S, Running>,
    /// Keys with sessions that wait, the next one first; of each, those that wait, the first one first. None is empty.
    ring: VecDeque<(K, VecDeque<S>)>,
    /// Those in the ring.
    waiting: BTreeMap<S, Waiting>,
    /// Those that have lost their turn to one that came, and do not know yet.
    put_out: VecDeque<S>,
}

impl<K: Clone + Eq + Hash, S: Copy + Ord> Queue<K, S> {
    /// With nobody in it.
    pub(crate) fn new(bounds: Bounds) -> Self {
        let bounds = Bounds { places: bounds.places.max(1), ..bounds };
        Queue {
            bounds,
            running: BTreeMap::new(),
            ring: VecDeque::new(),
            waiting: BTreeMap::new(),
            put_out: VecDeque::new(),
        }
    }

    /// A session has come. It is one that is not here.
    pub(crate) fn arrive(&mut self, now: Instant, key: &K, session: S) -> Came {
        let presence = Presence::new(now);
        if self.ring.is_empty() && self.running.len() < self.bounds.places {
            self.running.insert(session, Running::new(now, presence));
            return Came::Go;
        }
        if !self.make_room(now, key) {
            return Came::Full;
        }
        match self.ring.iter_mut().find(|(known, _)| known == key) {
            Some((_, of_key)) => of_key.push_back(session),
            None => self.ring.push_back((key.clone(), VecDeque::from([session]))),
        }
        let ahead = self.order().position(|next| next == session).unwrap_or(0);
        self.waiting.insert(session, Waiting { told: ahead, presence });
        Came::Wait(ahead)
    }

    /// Whether one more of this key may wait. Where its share is used up, one of it that is gone gives way.
    fn make_room(&mut self, now: Instant, key: &K) -> bool {
        let of_key = self.ring.iter().find(|(known, _)| known == key).map(|(_, of_key)| of_key);
        if of_key.is_some_and(|of_key| of_key.len() >= self.bounds.of_one_key) {
            let gone = of_key.and_then(|of_key| self.first_gone(of_key)).filter(|(_, at)| *at <= now);
            let Some((gone, _)) = gone else { return false };
            self.leave(gone);
            self.put_out.push_back(gone);
        }
        self.waiting.len() < self.bounds.waiting
    }

    /// A session with a place has made progress.
    pub(crate) fn progress(&mut self, now: Instant, session: S) {
        if let Some(running) = self.running.get_mut(&session) {
            running.since = now;
        }
    }

    /// A session was looked at: by its own clock it has made no progress for so long. That clock may count a gap in which
    /// this process did not run, and the one of `now` does not: progress that was seen before counts more.
    pub(crate) fn stood_still(&mut self, now: Instant, session: S, time: Duration) {
        if let Some(running) = self.running.get_mut(&session) {
            running.since = running.since.max(now.checked_sub(time).unwrap_or(running.since));
        }
    }

    /// A session was looked at: by its own clock it has had no connection for so long, or it has one.
    pub(crate) fn seen(&mut self, now: Instant, session: S, alone: Option<Duration>) {
        let running = self.running.get_mut(&session).map(|running| &mut running.presence);
        let waiting = self.waiting.get_mut(&session).map(|waiting| &mut waiting.presence);
        running.or(waiting).into_iter().for_each(|presence| presence.seen(now, alone));
    }

    /// A session is over, or has gone.
    pub(crate) fn leave(&mut self, session: S) {
        self.running.remove(&session);
        self.put_out.retain(|other| *other != session);
        if self.waiting.remove(&session).is_some() {
            self.ring.iter_mut().for_each(|(_, waiting)| waiting.retain(|other| *other != session));
            self.ring.retain(|(_, waiting)| !waiting.is_empty());
        }
    }

    /// What follows, until nothing does.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Turn<S>> {
        if let Some(session) = self.put_out.pop_front() {
            return Some(Turn::Lost(session, Lost::Away));
        }
        // before a place goes to one that is gone
        if let Some((session, _)) = self.first_to_give_way().filter(|(_, at)| *at <= now) {
            self.leave(session);
            return Some(Turn::Lost(session, Lost::Away));
        }
        if self.running.len() < self.bounds.places {
            if let Some((next, presence)) = self.advance() {
                self.running.insert(next, Running::new(now, presence));
                return Some(Turn::Go(next));
            }
        } else if !self.ring.is_empty()
            && let Some((session, (_, why))) = self.first_to_end().filter(|(_, (at, _))| *at <= now)
        {
            self.running.remove(&session);
            return Some(Turn::Lost(session, why));
        }
        let is_news = |(ahead, session): &(usize, S)| self.ahead(*session) != Some(*ahead);
        let (ahead, session) = self.order().enumerate().find(is_news)?;
        self.waiting.get_mut(&session)?.told = ahead;
        Some(Turn::Wait(session, ahead))
    }

    /// When there is something to do, if nothing happens before.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let place = self.first_to_end().filter(|_| !self.ring.is_empty()).map(|(_, (at, _))| at);
        let turn = self.first_to_give_way().map(|(_, at)| at);
        place.into_iter().chain(turn).min()
    }

    /// Whether it has a place.
    pub(crate) fn has_place(&self, session: S) -> bool {
        self.running.contains_key(&session)
    }

    /// How many go before it, as it was told last; none if it does not wait.
    pub(crate) fn ahead(&self, session: S) -> Option<usize> {
        self.waiting.get(&session).map(|waiting| waiting.told)
    }

    /// How many have a place.
    pub(crate) fn running(&self) -> usize {
        self.running.len()
    }

    /// How many may have one.
    pub(crate) fn places(&self) -> usize {
        self.bounds.places
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Who loses its place first if nothing changes; when, and why.
    fn first_to_end(&self) -> Option<(S, (Instant, Lost))> {
        let ends = self.running.iter().map(|(session, running)| (*session, running.ends(&self.bounds)));
        ends.min_by_key(|(_, (at, _))| *at)
    }

    /// Who loses its turn first if nothing changes, and when: one of its key has waited with a connection for long enough.
    fn first_to_give_way(&self) -> Option<(S, Instant)> {
        let there_since = |session: &S| self.waiting.get(session)?.presence.there_since();
        let of_key = |(_, of_key): &(K, VecDeque<S>)| {
            let wanted = of_key.iter().filter_map(there_since).min()? + self.bounds.away;
            self.first_gone(of_key).map(|(gone, at)| (gone, at.max(wanted)))
        };
        self.ring.iter().filter_map(of_key).min_by_key(|(_, at)| *at)
    }

    /// Who of these that wait is gone first if nothing changes, and when.
    fn first_gone(&self, of_key: &VecDeque<S>) -> Option<(S, Instant)> {
        let gone_at = |session: &S| self.waiting.get(session)?.presence.gone_at(&self.bounds);
        let gone = of_key.iter().filter_map(|session| Some((*session, gone_at(session)?)));
        gone.min_by_key(|(_, at)| *at)
    }

    /// The next one; its key goes to the end of the ring.
    fn advance(&mut self) -> Option<(S, Presence)> {
        let (key, mut waiting) = self.ring.pop_front()?;
        let next = waiting.pop_front()?;
        if !waiting.is_empty() {
            self.ring.push_back((key, waiting));
        }
        let presence = self.waiting.remove(&next)?.presence;
        Some((next, presence))
    }

    /// All that wait, in the order in which they get a place.
    fn order(&self) -> impl Iterator<Item = S> {
        let rounds = self.ring.iter().map(|(_, waiting)| waiting.len()).max().unwrap_or(0);
        let of_round =
            |round: usize| self.ring.iter().filter_map(move |(_, waiting)| waiting.get(round).copied());
        (0..rounds).flat_map(of_round)
    }
}
