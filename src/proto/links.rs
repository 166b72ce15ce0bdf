//! The links of the end that dials: which connection dials which link and when, and which links are passed over.
//!
//! Decides about connections, never about legs. Each connection has a home link. It serves other links while its home
//! is dead and is called back when its home lives again.
//!
//! One link may be a lifeline: it has a single connection, which is there already, cannot be had again and is kept by
//! one connection alone. When that is gone, so is the link.
//!
//! Where one connection suffices for a while, one is kept, on whichever link it comes up: links are tried in their order,
//! each a little later than the one before, until one is up. What comes up besides leaves again.
//!
//! A session begins with its first connection, which is dialled a little before the others: see `headstart`.
//!
//! A link is *usable* while it has a connection up, or has not failed since it last had one. A link that is not usable
//! is dead: one connection at a time probes it, with growing, jittered pauses.

use super::life::{PEER_SILENCE, REAP};
use super::set::ConnectionSet;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::time::{Duration, Instant};

mod headstart;
mod link;
mod queries;
mod reason;
mod state;

pub use headstart::HEADSTART;
use headstart::Headstart;
use link::Link;
pub use reason::{DialError, LossReason};
use state::DialMove;
pub use state::DialState;

/// The first and the longest pause between probes of a dead link. A connection that achieves nothing takes the same pauses
/// between its attempts.
const PROBE_PAUSE_FIRST: Duration = Duration::from_millis(100);
const PROBE_PAUSE_MAX: Duration = Duration::from_secs(5);

/// The least time between two dials of a connection that was welcomed, whatever it achieved: who welcomes and closes
/// again and again does not keep this end busy. Attempts that fail have their pauses.
const DIALS_APART: Duration = Duration::from_millis(50);

/// So much later connections are dialled that nothing needs at once.
const LATER: Duration = Duration::from_millis(250);

/// Where one connection suffices, the next link is tried when an attempt has not succeeded for so long.
const NEXT: Duration = Duration::from_millis(250);

/// How long one attempt to connect and be welcomed may take, doubling while attempts time out.
const DIAL_FIRST: Duration = Duration::from_secs(3);
const DIAL_MAX: Duration = Duration::from_secs(30);
/// In mid-session a link that returns must be noticed soon: SYNs of one long attempt grow too far apart.
const DIAL_MAX_BEGUN: Duration = Duration::from_secs(6);

/// All links refused for so long in mid-session: the receiver is gone, not its host restarting a service. Without keys.
pub const REFUSED_MAX: Duration = Duration::from_secs(15);

struct Connection {
    home: usize,
    state: DialState,
    /// When it was dialled last.
    dialled: Option<Instant>,
    /// How many of its attempts and connections in a row achieved nothing.
    misses: u32,
}

/// How the lifeline ended. There is only one of it.
#[derive(Clone, Copy)]
struct LifelineEnd {
    at: Instant,
    /// When an answer had come on it last.
    answered: Option<Instant>,
}

impl LifelineEnd {
    /// Whether the receiver waits no more for a link whose last connection was lost at that time. Within [`REAP`] it has
    /// found that connection dead too. If the lifeline answered after that, and until it ended, the receiver has seen its
    /// end; else the network may have been away.
    fn outlived(self, down_since: Instant) -> bool {
        self.answered.is_some_and(|at| at >= down_since + REAP && self.at < at + PEER_SILENCE)
    }
}

/// All links and connections of one end that dials.
pub struct Links {
    links: Vec<Link>,
    connections: Vec<Connection>,
    /// Connections that rest.
    resting: ConnectionSet,
    /// When an answer came on the lifeline last.
    lifeline_answered: Option<Instant>,
    lifeline_end: Option<LifelineEnd>,
    /// One connection suffices.
    one: bool,
    headstart: Headstart,
    /// One connection carries all that is new.
    one_carries: bool,
    rng: SmallRng,
}

impl Links {
    /// Connections spread over links: each link keeps two (one if there are not enough), the rest start on the
    /// first. `seed` decides the jitter alone.
    pub fn new(now: Instant, links: usize, connections: usize, seed: u64) -> Self {
        let homes = homes(links, connections);
        let link = |index| Link::new(homes.iter().position(|home| *home == index));
        Links {
            links: (0..links).map(link).collect(),
            connections: homes
                .iter()
                .map(|home| Connection {
                    home: *home,
                    state: DialState::Resting(now),
                    dialled: None,
                    misses: 0,
                })
                .collect(),
            resting: (0..homes.len()).collect(),
            lifeline_answered: None,
            lifeline_end: None,
            one: false,
            headstart: Headstart::ToCome,
            one_carries: false,
            rng: SmallRng::seed_from_u64(seed),
        }
    }

    /// The last link is a lifeline, kept by the connection of the same number; there are at least as many connections as
    /// links. The others that no link needs are dialled a little later: where there is a lifeline, something very short
    /// may be over before they are of use.
    #[must_use]
    pub fn with_lifeline(mut self, now: Instant) -> Self {
        let Some(last) = self.links.len().checked_sub(1) else { return self };
        let mut homes = homes(last.max(1), self.connections.len() - 1);
        homes.insert(last, last);
        for (connection, home) in self.connections.iter_mut().zip(&homes) {
            connection.home = *home;
        }
        for (index, link) in self.links.iter_mut().enumerate() {
            link.keeper = homes.iter().position(|home| *home == index);
        }
        for connection in 0..self.connections.len() {
            if self.links[self.connections[connection].home].keeper != Some(connection) {
                self.advance(connection, DialMove::Wait(now + LATER));
            }
        }
        self.links[last].lifeline = true;
        self
    }

    /// From now on one connection suffices, or all are wanted.
    pub fn suffice_with_one(&mut self, one: bool) {
        self.one = one;
    }

    /// Whether one connection suffices.
    pub fn one_suffices(&self) -> bool {
        self.one
    }

    /// No connection waits for the first one.
    #[cfg(test)]
    pub(super) fn forgo_headstart(&mut self) {
        self.headstart = Headstart::Over;
    }

    /// One connection carries all that is new, or does not.
    pub fn note_whether_one_carries(&mut self, one_carries: bool) {
        self.one_carries = one_carries;
    }

    /// Whether a connection has rested long enough.
    pub fn any_rested(&self, now: Instant) -> bool {
        let kept_back = self.others_from().filter(|at| *at > now);
        let mut resting = self.resting.iter().take_while(|one| *one == 0 || kept_back.is_none());
        resting.any(|one| matches!(self.state(one), DialState::Resting(at) if at <= now))
    }

    /// Where this resting connection should dial now, and how long it may take. Counts as dialling from then.
    pub fn place(&mut self, now: Instant, connection: usize, begun: bool) -> Option<(usize, Duration)> {
        let DialState::Resting(at) = self.state(connection) else { return None };
        let kept_back = connection > 0 && self.others_from().is_some_and(|at| at > now);
        if at > now || kept_back || (self.one && !self.may_be_the_one(now, connection)) {
            return None;
        }
        let link = self.choose(now, connection)?;
        self.advance(connection, DialMove::Dial(link));
        self.headstart.note_dial(now, connection);
        self.connections[connection].dialled = Some(now);
        self.links[link].dial();
        let max = if begun { DIAL_MAX_BEGUN } else { DIAL_MAX };
        Some((link, (DIAL_FIRST * (1 << self.links[link].state().timeouts().min(4))).min(max)))
    }

    /// When a resting connection may next be placed.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let resting = self.resting.iter().filter_map(|connection| match self.state(connection) {
            DialState::Resting(at) => Some(at),
            _ => None,
        });
        let probes = self.links.iter().filter_map(|link| link.state().probe_at());
        let next = self.attempts().map(|dialled| dialled + NEXT).max().filter(|_| self.one);
        resting.chain(probes).chain(next).chain(self.others_from()).filter(|at| *at > now).min()
    }

    /// The attempt succeeded. Returns the connections that shall leave where they are and come home.
    pub fn up(&mut self, connection: usize) -> Vec<usize> {
        let DialState::Dialling(index) = self.state(connection) else { return Vec::new() };
        self.advance(connection, DialMove::Welcome);
        self.links[index].welcome();
        let mut recalled = self.recall();
        let stays = |at: &(usize, &Connection)| at.0 != connection && matches!(at.1.state, DialState::Up(_));
        let is_up = matches!(self.state(connection), DialState::Up(_));
        if is_up && self.one && self.connections.iter().enumerate().any(|at| stays(&at)) {
            self.advance(connection, DialMove::Recall);
            recalled.push(connection);
        }
        recalled
    }

    /// The attempt failed. True if that makes its link dead.
    pub fn failed(&mut self, now: Instant, connection: usize, why: &DialError) -> bool {
        let DialState::Dialling(index) = self.state(connection) else { return false };
        // where others are up, only this connection has trouble
        let at = if self.links[index].up() == 0 { now } else { self.pause_ends(now, connection) };
        self.advance(connection, DialMove::Rest(at));
        let Links { links, rng, .. } = self;
        let died = links[index].fail(now, why, |failures| pause(rng, failures));
        if self.links[index].lifeline {
            self.lifeline_ended(now, index);
        }
        died
    }

    /// The receiver lets no more connections in for now, and has nothing against the session or its link.
    pub fn put_off(&mut self, now: Instant, connection: usize) {
        if let DialState::Dialling(index) = self.state(connection) {
            self.links[index].put_off();
            let at = self.pause_ends(now, connection).max(now + DIALS_APART);
            self.advance(connection, DialMove::Rest(at));
        }
    }

    /// The receiver at this link's end does not want this session; the link is not used again.
    pub fn condemn(&mut self, now: Instant, connection: usize, sentence: &str) {
        if let DialState::Dialling(index) = self.state(connection) {
            self.links[index].condemn(sentence);
            self.advance(connection, DialMove::Rest(now));
            if self.links[index].lifeline {
                // that it was refused is an answer too
                self.answered(now, index);
                self.lifeline_ended(now, index);
            }
        }
    }

    /// The connection is gone; `progressed` if it achieved anything. True if its link is dead now.
    pub fn lost(&mut self, now: Instant, connection: usize, why: &LossReason, progressed: bool) -> bool {
        let Some(index) = self.link_of(connection) else { return false };
        let died = self.links[index].lose(now, why);
        let apart = self.connections[connection].dialled.map_or(now, |dialled| dialled + DIALS_APART);
        if *why == LossReason::Left {
            self.advance(connection, DialMove::Rest(now.max(apart)));
            return false;
        }
        if progressed {
            self.connections[connection].misses = 0;
        }
        let at = self.pause_ends(now, connection).max(apart);
        self.advance(connection, DialMove::Rest(at));
        if self.links[index].lifeline {
            self.lifeline_ended(now, index);
        }
        died
    }

    /// An answer has come on a link.
    pub fn answered(&mut self, now: Instant, link: usize) {
        if self.links[link].lifeline {
            self.lifeline_answered = Some(now);
        }
    }

    /// The lifeline is gone, and cannot be dialled again.
    fn lifeline_ended(&mut self, now: Instant, index: usize) {
        self.links[index].end();
        self.lifeline_end = Some(LifelineEnd { at: now, answered: self.lifeline_answered });
    }

    // ---- choosing -------------------------------------------------------------------------------------

    /// From when connections behind the first may be dialled, if they are kept back for it.
    fn others_from(&self) -> Option<Instant> {
        let first = self.connections.first()?;
        self.headstart.ends(first.state, self.one_carries)
    }

    /// Where one connection suffices: whether this one should be tried, as the first of its link, because none is up and
    /// none has been tried just now.
    fn may_be_the_one(&self, now: Instant, connection: usize) -> bool {
        let keeps = self.links[self.connections[connection].home].keeper == Some(connection);
        keeps && self.up_count() == 0 && self.attempts().all(|dialled| dialled + NEXT <= now)
    }

    /// When the attempts that are under way began.
    fn attempts(&self) -> impl Iterator<Item = Instant> {
        let under_way = self.connections.iter().filter(|c| matches!(c.state, DialState::Dialling(_)));
        under_way.filter_map(|connection| connection.dialled)
    }

    fn choose(&self, now: Instant, connection: usize) -> Option<usize> {
        let home = self.connections[connection].home;
        if self.links[home].state().is_usable() {
            return Some(home);
        }
        // with more links than connections, some link can be reached only by a connection that gives up its own
        let needed_elsewhere = self.up_count() == 0 && self.links.iter().any(|link| link.keeper.is_none());
        let home_link = &self.links[home];
        if home_link.keeper == Some(connection) && !home_link.state().is_bad() && !needed_elsewhere {
            return self.links[home].is_due(now).then_some(home);
        }
        let all = || (0..self.links.len()).filter(|link| !self.links[*link].lifeline);
        // of the dead ones that which has waited longest, or those that time out would starve the others
        let due = || std::iter::once(home).chain(all()).filter(|link| self.links[*link].is_due(now));
        all()
            .find(|link| self.links[*link].state().is_usable())
            .or_else(|| due().min_by_key(|link| self.links[*link].state().probe_at()))
    }

    /// Connections elsewhere whose home lives again.
    fn recall(&mut self) -> Vec<usize> {
        let mut leaving = Vec::new();
        for index in 0..self.len() {
            let Connection { home, state, .. } = self.connections[index];
            if let DialState::Up(link) = state
                && link != home
                && self.links[home].up() > 0
            {
                self.advance(index, DialMove::Recall);
                leaving.push(index);
            }
        }
        leaving
    }

    /// A connection that achieved something is dialled again at once; others after a growing pause.
    fn pause_ends(&mut self, now: Instant, connection: usize) -> Instant {
        let connection = &mut self.connections[connection];
        let wait =
            if connection.misses == 0 { Duration::ZERO } else { pause(&mut self.rng, connection.misses) };
        connection.misses += 1;
        now + wait
    }

    fn advance(&mut self, connection: usize, step: DialMove) {
        let state = &mut self.connections[connection].state;
        match state.next(step) {
            Some(next) => {
                *state = next;
                match next {
                    DialState::Resting(_) => self.resting.insert(connection),
                    DialState::Dialling(_) | DialState::Up(_) | DialState::Leaving(_) => {
                        self.resting.remove(connection)
                    }
                }
            }
            None => unreachable!("{step:?} is no move of a connection that is {state:?}"),
        }
    }
}

/// The pause after so many misses in a row. Starts at 0.1 s and doubles up to 5 s; the pause that is taken is a random
/// part of that, at least half.
fn pause(rng: &mut SmallRng, times: u32) -> Duration {
    let full = (PROBE_PAUSE_FIRST * (1 << (times.max(1) - 1).min(6))).min(PROBE_PAUSE_MAX);
    full.mul_f64(rng.random_range(0.5..=1.0))
}

/// The home link of each connection: one round over all links, a second, the rest to the first.
fn homes(links: usize, connections: usize) -> Vec<usize> {
    (0..links).chain(0..links).chain(std::iter::repeat(0)).take(connections).collect()
}

#[cfg(test)]
mod tests;
