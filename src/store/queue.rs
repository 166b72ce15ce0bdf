//! Whose turn it is: a few sessions at a time have a place, the others wait.
//!
//! A place that becomes free goes to the next key that has one waiting, and there to the one that came first. Whoever
//! has a place and makes no progress for a minute loses it when another one waits; without a connection, after ten
//! seconds. How many wait is bounded, and how many of one key, so that none keeps the others out by waiting. Pure: time
//! comes in as an argument.

use std::collections::{BTreeMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Without progress for so long, a session loses its place to one that waits: longer than a path is ever away that comes
/// back soon.
pub const STALL: Duration = Duration::from_secs(60);

/// Without a connection for so long, a session loses its place to one that waits. A sender whose connections broke
/// dials again at once, and after pauses of 5 s at most while that fails: it comes again within this time if it can. One
/// that finds its path silent closes nothing here, and is given [`STALL`].
pub const AWAY: Duration = Duration::from_secs(10);

/// Bounds.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Sessions with a place, at least 1.
    pub places: usize,
    /// Sessions that wait, at most.
    pub waiting: usize,
    /// Of them with one key, at most.
    pub of_one_key: usize,
    /// Without progress for so long, a session loses its place to one that waits. It is [`STALL`] but for tests.
    pub stall: Duration,
    /// Without a connection for so long, the same. It is [`AWAY`] but for tests.
    pub away: Duration,
}

/// Why a session has lost its place; others wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// It made no progress.
    Stalled,
    /// It had no connection.
    Away,
}

/// What happens to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn<S> {
    /// It has a place.
    Go(S),
    /// So many go before it.
    Wait(S, usize),
    /// It has lost its place.
    Lost(S, Lost),
}

/// The answer to a session that comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// It has a place.
    Go,
    /// So many go before it.
    Wait(usize),
    /// Too many wait.
    Full,
}

/// How a session with a place stands.
#[derive(Clone, Copy, Debug)]
struct Running {
    /// When it last made progress.
    since: Instant,
    /// Since when it has no connection, if it has none.
    away: Option<Instant>,
}

impl Running {
    fn new(now: Instant) -> Self {
        Running { since: now, away: None }
    }

    /// When it loses its place to one that waits, and why.
    fn ends(&self, bounds: &Bounds) -> (Instant, Lost) {
        let stalled = (self.since + bounds.stall, Lost::Stalled);
        let away = self.away.map(|since| (since + bounds.away, Lost::Away));
        away.filter(|away| away.0 < stalled.0).unwrap_or(stalled)
    }
}

/// The sessions `S` of keys `K`. Call `poll` after each call that may free a place, and at `deadline`.
#[derive(Debug)]
pub struct Queue<K, S> {
    bounds: Bounds,
    /// With a place.
    running: BTreeMap<S, Running>,
    /// Keys with sessions that wait, the next one first; of each, those that wait, the first one first. None is empty.
    ring: VecDeque<(K, VecDeque<S>)>,
    /// What those that wait were told last.
    told: BTreeMap<S, usize>,
}

impl<K: Clone + Eq + Hash, S: Copy + Ord> Queue<K, S> {
    /// With nobody in it.
    pub fn new(bounds: Bounds) -> Self {
        let bounds = Bounds { places: bounds.places.max(1), ..bounds };
        Queue { bounds, running: BTreeMap::new(), ring: VecDeque::new(), told: BTreeMap::new() }
    }

    /// A session has come. It is one that is not here.
    pub fn arrive(&mut self, now: Instant, key: &K, session: S) -> Came {
        if self.ring.is_empty() && self.running.len() < self.bounds.places {
            self.running.insert(session, Running::new(now));
            return Came::Go;
        }
        let of_key = self.ring.iter().position(|(known, _)| known == key);
        let count = of_key.map_or(0, |index| self.ring[index].1.len());
        if self.told.len() >= self.bounds.waiting || count >= self.bounds.of_one_key {
            return Came::Full;
        }
        match of_key {
            Some(index) => self.ring[index].1.push_back(session),
            None => self.ring.push_back((key.clone(), VecDeque::from([session]))),
        }
        let ahead = self.order().position(|next| next == session).unwrap_or(0);
        self.told.insert(session, ahead);
        Came::Wait(ahead)
    }

    /// A session with a place has made progress.
    pub fn progress(&mut self, now: Instant, session: S) {
        if let Some(running) = self.running.get_mut(&session) {
            running.since = now;
        }
    }

    /// A session with a place has had no connection since then, or has one.
    pub fn away(&mut self, session: S, since: Option<Instant>) {
        if let Some(running) = self.running.get_mut(&session) {
            running.away = since;
        }
    }

    /// A session is over, or has gone.
    pub fn leave(&mut self, session: S) {
        self.running.remove(&session);
        if self.told.remove(&session).is_some() {
            self.ring.iter_mut().for_each(|(_, waiting)| waiting.retain(|other| *other != session));
            self.ring.retain(|(_, waiting)| !waiting.is_empty());
        }
    }

    /// What follows, until nothing does.
    pub fn poll(&mut self, now: Instant) -> Option<Turn<S>> {
        if self.running.len() < self.bounds.places {
            if let Some(next) = self.advance() {
                self.running.insert(next, Running::new(now));
                return Some(Turn::Go(next));
            }
        } else if !self.ring.is_empty()
            && let Some((session, (_, why))) = self.first_to_end().filter(|(_, (at, _))| *at <= now)
        {
            self.running.remove(&session);
            return Some(Turn::Lost(session, why));
        }
        let moved = self.order().enumerate().find(|(ahead, session)| self.told.get(session) != Some(ahead));
        let (ahead, session) = moved?;
        self.told.insert(session, ahead);
        Some(Turn::Wait(session, ahead))
    }

    /// When there is something to do, if nothing happens before.
    pub fn deadline(&self) -> Option<Instant> {
        self.first_to_end().filter(|_| !self.ring.is_empty()).map(|(_, (at, _))| at)
    }

    /// Whether it has a place.
    pub fn has_place(&self, session: S) -> bool {
        self.running.contains_key(&session)
    }

    /// How many go before it, as it was told last; none if it does not wait.
    pub fn ahead(&self, session: S) -> Option<usize> {
        self.told.get(&session).copied()
    }

    /// How many have a place.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// How many may have one.
    pub fn places(&self) -> usize {
        self.bounds.places
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.told.len()
    }

    /// Who loses its place first if nothing changes; when, and why.
    fn first_to_end(&self) -> Option<(S, (Instant, Lost))> {
        let ends = self.running.iter().map(|(session, running)| (*session, running.ends(&self.bounds)));
        ends.min_by_key(|(_, (at, _))| *at)
    }

    /// The next one; its key goes to the end of the ring.
    fn advance(&mut self) -> Option<S> {
        let (key, mut waiting) = self.ring.pop_front()?;
        let next = waiting.pop_front()?;
        if !waiting.is_empty() {
            self.ring.push_back((key, waiting));
        }
        self.told.remove(&next);
        Some(next)
    }

    /// All that wait, in the order in which they get a place.
    fn order(&self) -> impl Iterator<Item = S> {
        let rounds = self.ring.iter().map(|(_, waiting)| waiting.len()).max().unwrap_or(0);
        let of_round =
            |round: usize| self.ring.iter().filter_map(move |(_, waiting)| waiting.get(round).copied());
        (0..rounds).flat_map(of_round)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Sessions = Queue<&'static str, u32>;

    fn queue(places: usize) -> (Sessions, Instant) {
        (Queue::new(Bounds { places, waiting: 64, of_one_key: 16, stall: STALL, away: AWAY }), Instant::now())
    }

    fn turns(queue: &mut Sessions, now: Instant) -> Vec<Turn<u32>> {
        std::iter::from_fn(|| queue.poll(now)).collect()
    }

    #[test]
    fn ten_with_two_places_all_get_their_turn_and_are_told_how_long_it_takes() {
        let (mut queue, now) = queue(2);
        for session in 0..10 {
            let came = queue.arrive(now, &"key", session);
            assert_eq!(came, if session < 2 { Came::Go } else { Came::Wait(session as usize - 2) });
        }
        for over in 0..10 {
            assert!(queue.has_place(over));
            queue.leave(over);
            let turns = turns(&mut queue, now);
            if over + 2 < 10 {
                assert_eq!(turns[0], Turn::Go(over + 2));
                let waiting: Vec<_> =
                    (over + 3..10).map(|s| Turn::Wait(s, (s - over - 3) as usize)).collect();
                assert_eq!(turns[1..], waiting);
            }
        }
        assert_eq!(turns(&mut queue, now), []);
    }

    #[test]
    fn keys_take_turns_and_within_a_key_who_came_first() {
        let (mut queue, now) = queue(1);
        for (session, key) in ["a", "a", "a", "a", "b", "b", "c"].into_iter().enumerate() {
            queue.arrive(now, &key, session as u32);
        }
        let mut served = vec![];
        let mut running = 0;
        while queue.waiting() > 0 {
            queue.leave(running);
            let Turn::Go(next) = queue.poll(now).unwrap() else { panic!() };
            served.push(next);
            running = next;
        }
        // 0 had the place; then a, b, c by turns
        assert_eq!(served, [1, 4, 6, 2, 5, 3]);
    }

    #[test]
    fn who_comes_does_not_pass_those_that_wait() {
        let (mut queue, now) = queue(1);
        queue.arrive(now, &"a", 0);
        queue.arrive(now, &"a", 1);
        queue.leave(0);
        // before anybody has polled
        assert_eq!(queue.arrive(now, &"b", 2), Came::Wait(1));
        assert_eq!(turns(&mut queue, now), [Turn::Go(1), Turn::Wait(2, 0)]);
    }

    #[test]
    fn one_that_stalls_loses_its_place_when_others_wait_and_not_before() {
        let (mut queue, now) = queue(2);
        let at = |seconds| now + Duration::from_secs(seconds);
        queue.arrive(now, &"a", 0);
        queue.arrive(now, &"a", 1);
        assert_eq!(queue.deadline(), None);
        assert_eq!(turns(&mut queue, at(500)), []);
        queue.progress(at(500), 1);
        assert_eq!(queue.arrive(at(501), &"b", 2), Came::Wait(0));
        assert_eq!(queue.deadline(), Some(at(60)));
        assert_eq!(turns(&mut queue, at(501)), [Turn::Lost(0, Lost::Stalled), Turn::Go(2)]);
        // nobody waits any more
        assert_eq!((queue.deadline(), turns(&mut queue, at(9999))), (None, vec![]));
        queue.arrive(at(9999), &"b", 3);
        queue.progress(at(9999), 2);
        queue.progress(at(9999), 1);
        assert_eq!(turns(&mut queue, at(10_058)), []);
        assert_eq!(queue.deadline(), Some(at(10_059)));
        // one at a time, and nobody twice
        assert_eq!(turns(&mut queue, at(10_059)), [Turn::Lost(1, Lost::Stalled), Turn::Go(3)]);
        queue.leave(1);
        queue.progress(at(10_060), 1);
        assert!(!queue.has_place(1));
    }

    #[test]
    fn one_without_a_connection_loses_its_place_sooner_unless_it_comes_again() {
        let (mut queue, now) = queue(2);
        let at = |seconds| now + Duration::from_secs(seconds);
        for session in 0..2 {
            queue.arrive(now, &"a", session);
        }
        queue.away(0, Some(at(1)));
        queue.away(1, Some(at(2)));
        // nobody waits for its place
        assert_eq!((queue.deadline(), turns(&mut queue, at(20))), (None, vec![]));
        queue.arrive(at(3), &"b", 2);
        assert_eq!(queue.deadline(), Some(at(11)));
        assert_eq!(turns(&mut queue, at(10)), []);
        queue.away(0, None);
        assert_eq!(queue.deadline(), Some(at(12)));
        assert_eq!(turns(&mut queue, at(11)), []);
        assert_eq!(turns(&mut queue, at(12)), [Turn::Lost(1, Lost::Away), Turn::Go(2)]);
        // who has lost it is not asked any more, and who has come again has the other time
        queue.away(1, Some(at(2)));
        queue.arrive(at(12), &"b", 3);
        assert_eq!(queue.deadline(), Some(at(60)));
        // one that makes no progress is not saved by having gone late
        queue.away(0, Some(at(59)));
        assert_eq!(turns(&mut queue, at(60)), [Turn::Lost(0, Lost::Stalled), Turn::Go(3)]);
    }

    #[test]
    fn waiting_is_bounded_and_one_key_does_not_fill_it() {
        let (mut queue, now) = queue(1);
        queue.arrive(now, &"a", 0);
        let came: Vec<Came> = (1..20).map(|session| queue.arrive(now, &"a", session)).collect();
        assert_eq!(came[15], Came::Wait(15));
        assert_eq!(came[16..], [Came::Full; 3]);
        assert_eq!(queue.arrive(now, &"b", 20), Came::Wait(1));
        for (number, key) in ["b", "c", "d", "e"].into_iter().enumerate() {
            for session in 0..16 {
                queue.arrive(now, &key, 100 * (number as u32 + 1) + session);
            }
        }
        assert_eq!(queue.waiting(), 64);
        assert_eq!(queue.arrive(now, &"f", 999), Came::Full);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Arrive(usize),
        Leave(usize),
        Progress(usize),
        Away(usize, bool),
        Pass(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0usize..4).prop_map(Step::Arrive),
            2 => (0usize..100).prop_map(Step::Leave),
            1 => (0usize..100).prop_map(Step::Progress),
            1 => (0usize..100, any::<bool>()).prop_map(|(which, away)| Step::Away(which, away)),
            1 => (0u64..70).prop_map(Step::Pass),
        ]
    }

    proptest! {
        /// Nobody starves: with each place that is given, everybody is as near as told or nearer; at most so many have
        /// one; the order within a key is kept; and between two turns of a key, every other that waits has one.
        #[test]
        fn whatever_comes_nobody_starves(steps in proptest::collection::vec(step(), 1..80)) {
            let keys = ["a", "b", "c", "d"];
            let (mut queue, mut now) = queue(2);
            let (mut next, mut here, mut key_of) = (0u32, Vec::<u32>::new(), BTreeMap::new());
            for step in steps {
                match step {
                    Step::Arrive(key) => {
                        key_of.insert(next, keys[key]);
                        if queue.arrive(now, &keys[key], next) != Came::Full {
                            here.push(next);
                        }
                        next += 1;
                    }
                    Step::Leave(which) if !here.is_empty() => queue.leave(here.remove(which % here.len())),
                    Step::Progress(which) if !here.is_empty() => queue.progress(now, here[which % here.len()]),
                    Step::Pass(seconds) => now += Duration::from_secs(seconds),
                    Step::Away(which, away) if !here.is_empty() => {
                        queue.away(here[which % here.len()], away.then_some(now));
                    }
                    Step::Leave(_) | Step::Progress(_) | Step::Away(..) => {}
                }
                let expected: Vec<u32> = queue.order().collect();
                let mut given = 0;
                while let Some(turn) = queue.poll(now) {
                    match turn {
                        Turn::Go(session) => {
                            prop_assert_eq!(Some(&session), expected.get(given));
                            given += 1;
                        }
                        Turn::Lost(session, _) => here.retain(|other| *other != session),
                        Turn::Wait(session, ahead) => {
                            prop_assert_eq!(queue.order().position(|other| other == session), Some(ahead));
                        }
                    }
                    prop_assert!(queue.running.len() <= 2);
                }
                // no place is empty while somebody waits, and all that are here are somewhere
                prop_assert!(queue.waiting() == 0 || queue.running.len() == 2);
                prop_assert_eq!(queue.waiting() + queue.running.len(), here.len());
                let order: Vec<u32> = queue.order().collect();
                for key in keys {
                    let of_key: Vec<u32> = order.iter().copied().filter(|s| key_of[s] == key).collect();
                    prop_assert!(of_key.is_sorted());
                    let first_round = order.iter().take(queue.ring.len()).filter(|s| key_of[*s] == key).count();
                    prop_assert!(first_round <= 1);
                }
            }
        }
    }
}
