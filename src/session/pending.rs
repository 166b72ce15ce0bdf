//! Which strangers keep a place at the door, when more come than there are places. A stranger has not said hello yet.
//!
//! ```text
//!  newcomer ─▶ fresh: the last few, each is looked at ─▶ a seat, lent for a while by lot ─▶ gone when it is needed
//! ```
//!
//! A hello comes with the connection, or a round trip after it where something stands between. A flood of silent
//! connections from the sender's own address cannot be told from the sender. So nobody is sent away before a look, and
//! whoever has a seat keeps it for as long as a hello may take: of many tries a few then succeed, at any rate of the
//! flood. To evict the oldest, or at random, lets none last a round trip.
//!
//! Pure: the time and chance are arguments. Call order: [`Pending::enter`] for everybody who comes, and the one it names
//! has to go; [`Pending::spoke`] and [`Pending::leave`] as it happens. Holds at most [`PLACES`], so that what it costs to
//! look at all of them is bounded.

use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Strangers that may wait. With the one that is just being met there are 64.
pub(super) const PLACES: usize = 63;

/// Places that the addresses of sessions that run have for themselves while they need them.
const KEPT: usize = 16;

/// The latest to come, who have been looked at no more than once or twice.
const FRESH: usize = 16;

/// Places that connections from one address may have before it gives way to others: a sender has as many connections.
const SHARE: usize = 16;

/// How long a seat is lent: a round trip within a continent, and for one in eight the longest there is on the ground
/// (a hello that stands behind a relay comes a round trip late). The shorter, the more get one.
const LENT: Duration = Duration::from_millis(80);
const LENT_LONG: Duration = Duration::from_millis(600);

struct Stranger {
    token: usize,
    source: u64,
    known: bool,
    spoke: bool,
    /// Its handshake waits for its turn.
    postponed: bool,
    /// It has a seat, lent until then.
    lent: Option<Instant>,
}

/// Those that wait, in the order in which they came; at most [`PLACES`].
#[derive(Default)]
pub(super) struct Pending(Vec<Stranger>);

impl Pending {
    /// Somebody has come, to be known by this token; `known`: from an address of a session that runs. Who has to go,
    /// if there is no room for all: it may be the newcomer.
    pub(super) fn enter(
        &mut self,
        now: Instant,
        token: usize,
        address: IpAddr,
        known: bool,
        chance: u64,
    ) -> Option<usize> {
        let stranger =
            Stranger { token, source: source(address), known, spoke: false, postponed: false, lent: None };
        self.0.push(stranger);
        let gone = (self.0.len() > PLACES).then(|| self.victim(now, chance)).flatten();
        let gone = gone.map(|index| self.0.remove(index).token);
        self.lend(now, chance);
        gone
    }

    /// It has said the beginning of a right hello.
    pub(super) fn spoke(&mut self, token: usize) {
        if let Some(stranger) = self.0.iter_mut().find(|stranger| stranger.token == token) {
            stranger.spoke = true;
        }
    }

    /// Its handshake waits for its turn.
    pub(super) fn postpone(&mut self, token: usize) {
        if let Some(stranger) = self.0.iter_mut().find(|stranger| stranger.token == token) {
            stranger.postponed = true;
        }
    }

    /// Whether a handshake waits for its turn.
    pub(super) fn has_postponed(&self) -> bool {
        self.0.iter().any(|stranger| stranger.postponed)
    }

    /// It is the turn of the handshake of whoever came first.
    pub(super) fn take_postponed(&mut self) -> Option<usize> {
        let next = self.0.iter_mut().find(|stranger| stranger.postponed)?;
        next.postponed = false;
        Some(next.token)
    }

    /// It waits no more.
    pub(super) fn leave(&mut self, token: usize) {
        self.0.retain(|stranger| stranger.token != token);
    }

    /// With one too many: of those that have more places than are theirs the busiest address, and of that one whose
    /// time is over, else the one that has been fresh longest, else any; the silent before those that have spoken.
    fn victim(&self, now: Instant, chance: u64) -> Option<usize> {
        let may_go = self.may_go();
        let all = || may_go.iter().map(|index| (*index, &self.0[*index]));
        let silent: Vec<_> = all().filter(|(_, stranger)| !stranger.spoke).collect();
        // where most have begun to speak, to have begun is no sign of honesty
        let found = if 2 * silent.len() >= may_go.len() { silent } else { all().collect() };
        let any = |of: Vec<usize>| of.get(chance as usize % of.len().max(1)).copied();
        let over = found.iter().filter(|(_, stranger)| stranger.lent.is_some_and(|until| until <= now));
        let fresh = || found.iter().find(|(_, stranger)| stranger.lent.is_none()).map(|(index, _)| *index);
        any(over.map(|(index, _)| *index).collect())
            .or_else(|| fresh().filter(|_| self.fresh() > FRESH))
            .or_else(|| any(found.iter().map(|(index, _)| *index).collect()))
    }

    /// Those of the busiest address, if it has more than its share, among those that have more places than are theirs.
    fn may_go(&self) -> Vec<usize> {
        let known = self.0.iter().filter(|stranger| stranger.known).count() > KEPT;
        let class = || (0..self.0.len()).filter(|index| self.0[*index].known == known);
        let mut places: Vec<(u64, usize)> = Vec::new();
        for source in class().map(|index| self.0[index].source) {
            match places.iter_mut().find(|(other, _)| *other == source) {
                Some((_, count)) => *count += 1,
                None => places.push((source, 1)),
            }
        }
        match places.iter().max_by_key(|(_, count)| count) {
            Some((busiest, count)) if *count > SHARE => {
                class().filter(|index| self.0[*index].source == *busiest).collect()
            }
            _ => class().collect(),
        }
    }

    /// Who has been fresh longest gets a seat, if there is one.
    fn lend(&mut self, now: Instant, chance: u64) {
        let mut seats = self.0.len() - self.fresh();
        let time = if (chance >> 32).is_multiple_of(8) { LENT_LONG } else { LENT };
        while self.fresh() > FRESH && seats < PLACES - FRESH {
            let oldest = self.0.iter_mut().find(|stranger| stranger.lent.is_none());
            oldest.into_iter().for_each(|stranger| stranger.lent = Some(now + time));
            seats += 1;
        }
    }

    fn fresh(&self) -> usize {
        self.0.iter().filter(|stranger| stranger.lent.is_none()).count()
    }
}

/// What counts as one address: an IPv6 host has a /64 of its own.
fn source(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => (u128::from(address) >> 64) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOD: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));
    /// The token of the one that is honest.
    const HONEST: usize = usize::MAX;
    const TRIES: usize = 60;

    /// A flood of silent connections, 6000 a second, and who keeps a place in it.
    struct Flood {
        pending: Pending,
        now: Instant,
        next: usize,
        chance: u64,
        from: fn(usize) -> IpAddr,
        speaks: bool,
    }

    impl Flood {
        fn new(from: fn(usize) -> IpAddr) -> Flood {
            let (pending, now) = (Pending::default(), Instant::now());
            let mut flood = Flood { pending, now, next: 0, chance: 1, from, speaks: false };
            flood.go(Duration::from_secs(2));
            flood
        }

        fn chance(&mut self) -> u64 {
            // xorshift: any sequence does
            self.chance ^= self.chance << 13;
            self.chance ^= self.chance >> 7;
            self.chance ^= self.chance << 17;
            self.chance
        }

        /// Whether the honest one is still there after this time.
        fn go(&mut self, time: Duration) -> bool {
            let until = self.now + time;
            let mut there = true;
            while self.now < until {
                self.now += Duration::from_micros(166);
                let chance = self.chance();
                let address = (self.from)(self.next);
                there &= self.pending.enter(self.now, self.next, address, false, chance) != Some(HONEST);
                if self.speaks {
                    self.pending.spoke(self.next);
                }
                assert!(self.pending.0.len() <= PLACES);
                self.next += 1;
            }
            there
        }

        /// How many of [`TRIES`] from this address last for so long.
        fn tries(&mut self, address: IpAddr, known: bool, lasts: Duration) -> usize {
            let mut lasted = 0;
            for _ in 0..TRIES {
                let chance = self.chance();
                let gone = self.pending.enter(self.now, HONEST, address, known, chance);
                lasted += usize::from(gone != Some(HONEST) && self.go(lasts));
                self.pending.leave(HONEST);
                self.go(Duration::from_millis(20));
            }
            lasted
        }
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn without_a_crowd_nobody_goes() {
        let mut pending = Pending::default();
        let now = Instant::now();
        assert!((0..PLACES).all(|token| pending.enter(now, token, FLOOD, false, 7).is_none()));
        (0..PLACES).for_each(|token| pending.leave(token));
        assert!(pending.0.is_empty());
    }

    #[test]
    fn handshakes_that_wait_have_their_turn_in_the_order_of_coming_unless_their_peer_has_left() {
        let (mut pending, now) = (Pending::default(), Instant::now());
        assert!((0..4).all(|token| pending.enter(now, token, FLOOD, false, 7).is_none()));
        [3, 1, 0, 3].into_iter().for_each(|token| pending.postpone(token));
        pending.leave(1);
        assert!(pending.has_postponed());
        let turns: Vec<usize> = std::iter::from_fn(|| pending.take_postponed()).collect();
        assert_eq!(turns, [0, 3]);
        pending.postpone(1);
        assert!(!pending.has_postponed() && pending.0.len() == 3, "one that is not here does not wait");
    }

    #[test]
    fn the_address_of_the_flood_still_gets_a_look_and_now_and_then_a_seat() {
        let mut flood = Flood::new(|_| FLOOD);
        assert_eq!(flood.tries(FLOOD, false, ms(2)), TRIES, "each is looked at");
        // a sender tries sixteen at a time: within a few rounds one gets through
        let lasted = flood.tries(FLOOD, false, ms(50));
        assert!((1..20).contains(&lasted), "{lasted}");
    }

    #[test]
    fn another_address_is_not_touched_by_it() {
        let mut flood = Flood::new(|_| FLOOD);
        assert_eq!(flood.tries(OTHER, false, ms(1000)), TRIES);
    }

    #[test]
    fn the_session_s_own_addresses_have_places_of_their_own() {
        let many = |n: usize| IpAddr::from([198, 51, (n >> 8) as u8, n as u8]);
        let mut flood = Flood::new(many);
        assert!(flood.tries(OTHER, false, ms(50)) < 20, "one of many");
        assert_eq!(flood.tries(OTHER, true, ms(1000)), TRIES);
        // and are not more than their own when they flood themselves
        for token in 0..100 {
            let token = 1 << 32 | token;
            flood.pending.enter(flood.now, token, FLOOD, true, 5);
        }
        assert!(flood.pending.0.iter().filter(|stranger| !stranger.known).count() >= PLACES - KEPT - 1);
    }

    #[test]
    fn who_has_begun_to_speak_outlasts_the_silent() {
        let mut flood = Flood::new(|_| FLOOD);
        for _ in 0..20 {
            let chance = flood.chance();
            flood.pending.enter(flood.now, HONEST, FLOOD, false, chance);
            flood.pending.spoke(HONEST);
            assert!(flood.go(ms(1000)));
            flood.pending.leave(HONEST);
        }
    }

    #[test]
    fn a_flood_that_begins_to_speak_gains_nothing() {
        let mut flood = Flood::new(|_| FLOOD);
        flood.speaks = true;
        flood.go(ms(1000));
        assert_eq!(flood.tries(FLOOD, false, ms(2)), TRIES);
        assert!(flood.tries(FLOOD, false, ms(50)) >= 1);
    }

    #[test]
    fn an_ipv6_host_is_its_network() {
        let six = |text: &str| source(text.parse().unwrap());
        assert_eq!(six("2001:db8::1"), six("2001:db8::ffff:1"));
        assert_ne!(six("2001:db8::1"), six("2001:db8:0:1::1"));
    }
}
