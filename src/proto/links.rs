//! Links and workers: who dials what and when, which links are passed over.
//!
//! Decides about connections, never about legs. Each worker has a home link; it serves others while that
//! one is dead and is called back when it lives again.
//!
//! ```text
//!            place()              up()          recall
//!  Resting ──────────▶ Dialling ────────▶ Up ──────────▶ Leaving
//!     ▲                   │ failed()       │ lost()         │ lost()
//!     └───────────────────┴────────────────┴────────────────┘
//! ```
//!
//! A link is *usable* while it has a connection up, or has not failed since it last had one. A link that is
//! not usable is dead: one worker at a time probes it, with growing, jittered pauses.

use super::hello::RefusalCode;
use super::leg::{CONNECTIONS_MAX, LINKS_MAX};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::time::{Duration, Instant};

/// Pauses between probes of a dead link, and between attempts of a worker whose connections achieve nothing.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How long one attempt to connect and be welcomed may take, doubling while attempts time out.
const DIAL_FIRST: Duration = Duration::from_secs(3);
const DIAL_MAX: Duration = Duration::from_secs(30);
/// In mid-session a link that returns must be noticed soon: SYNs of one long attempt grow too far apart.
const DIAL_MAX_BEGUN: Duration = Duration::from_secs(6);

/// All links refused for so long in mid-session: the receiver is gone, not its host restarting a service.
pub const REFUSED_MAX: Duration = Duration::from_secs(15);

/// So long after a false death, a link has the ordinary limit of silence again.
const FORGIVEN: Duration = Duration::from_secs(300);

/// Why an attempt to get a connection failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialError {
    /// A reset where a connection was asked for.
    Refused,
    /// An end before any welcome: forwarded ports and proxies end so when nobody is behind them.
    Closed,
    /// No connection, or no welcome, in the time allowed.
    TimedOut,
    /// The name has no address.
    Unresolved(String),
    /// The resolver has no answer for now; nothing is known about the name.
    Unanswered(String),
    /// Anything else the kernel says, or a peer that is no millipede.
    Unreachable(String),
}

impl std::fmt::Display for DialError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DialError::Refused => f.write_str("connection refused"),
            DialError::Closed => f.write_str("accepted, then closed: no receiver behind it?"),
            DialError::TimedOut => f.write_str("no answer"),
            DialError::Unresolved(why) | DialError::Unanswered(why) | DialError::Unreachable(why) => {
                f.write_str(why)
            }
        }
    }
}

/// Why a connection ended; decided where it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LossReason {
    /// The peer closed it.
    Closed,
    /// The kernel says so: reset, unreachable and the like.
    Failed(String),
    /// No life for too long.
    Silent,
    /// The peer broke the rules.
    Breach(String),
    /// This side closed it on purpose: to move to another link, or as its own fault plan demands.
    Left,
}

impl std::fmt::Display for LossReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LossReason::Closed => f.write_str("closed by the peer"),
            LossReason::Failed(why) => f.write_str(why),
            LossReason::Silent => f.write_str("silent"),
            LossReason::Breach(what) => write!(f, "the peer {what}"),
            LossReason::Left => f.write_str("left"),
        }
    }
}

/// Where a worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerState {
    /// Has no connection; may be placed from this time on.
    Resting(Instant),
    /// Is getting a connection on this link.
    Dialling(usize),
    /// Carries legs on this link.
    Up(usize),
    /// Finishes what it holds on this link, then goes home.
    Leaving(usize),
}

struct Worker {
    home: usize,
    state: WorkerState,
    /// Connections in a row that achieved nothing.
    misses: u32,
    /// Its connection was called silent on this link, since then, and nothing was tried after.
    silent_on: Option<(usize, Instant)>,
}

struct Link {
    /// The worker that stays with it and probes it; none if there are more links than workers.
    keeper: Option<usize>,
    up: usize,
    dialling: usize,
    /// Attempts that failed in a row, one counted per pause; 0 while usable.
    failures: u32,
    timeouts: u32,
    probe_at: Option<Instant>,
    /// Refused since then, with no other answer.
    refused: Option<Instant>,
    unresolved: bool,
    /// Not to be used again, and why.
    bad: Option<(RefusalCode, String)>,
    last: String,
    /// Multiplies the limit of silence; doubles with each false death.
    lenience: u32,
    /// When `lenience` last grew.
    wronged_at: Option<Instant>,
}

impl Link {
    fn usable(&self) -> bool {
        self.bad.is_none() && (self.up > 0 || self.failures == 0)
    }
}

/// All links and workers of one sending session.
pub struct Links {
    links: Vec<Link>,
    workers: Vec<Worker>,
    rng: SmallRng,
    /// Nothing is dialled from here: connections come by [`Links::give`].
    given: bool,
}

impl Links {
    /// Workers spread over links: each link keeps two (one if there are not enough), the rest start on the
    /// first. `seed` decides the jitter alone.
    pub fn new(now: Instant, links: usize, workers: usize, seed: u64) -> Self {
        let homes = homes(links, workers);
        let link = |index| Link {
            keeper: homes.iter().position(|home| *home == index),
            up: 0,
            dialling: 0,
            failures: 0,
            timeouts: 0,
            probe_at: None,
            refused: None,
            unresolved: false,
            bad: None,
            last: String::new(),
            lenience: 1,
            wronged_at: None,
        };
        Links {
            links: (0..links).map(link).collect(),
            workers: homes
                .iter()
                .map(|home| Worker {
                    home: *home,
                    state: WorkerState::Resting(now),
                    misses: 0,
                    silent_on: None,
                })
                .collect(),
            rng: SmallRng::seed_from_u64(seed),
            given: false,
        }
    }

    /// Links and workers of the far end, which dials: any that it may have, and none is ever placed or called back.
    pub fn given(now: Instant) -> Self {
        Links { given: true, ..Links::new(now, LINKS_MAX, CONNECTIONS_MAX, 0) }
    }

    /// The far end gets a connection for this worker on this link, in place of any that it was getting. Counts as
    /// dialling from then.
    pub fn give(&mut self, worker: usize, link: usize) {
        if let WorkerState::Dialling(before) = self.workers[worker].state {
            self.links[before].dialling -= 1;
        }
        self.workers[worker].state = WorkerState::Dialling(link);
        self.links[link].dialling += 1;
    }

    /// Where this resting worker should dial now, and how long it may take. Counts as dialling from then.
    pub fn place(&mut self, now: Instant, worker: usize, begun: bool) -> Option<(usize, Duration)> {
        let WorkerState::Resting(at) = self.workers[worker].state else { return None };
        if at > now || self.given {
            return None;
        }
        let link = self.choose(now, worker)?;
        self.workers[worker].state = WorkerState::Dialling(link);
        self.links[link].dialling += 1;
        let max = if begun { DIAL_MAX_BEGUN } else { DIAL_MAX };
        Some((link, (DIAL_FIRST * (1 << self.links[link].timeouts.min(4))).min(max)))
    }

    /// When a resting worker may next be placed.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        if self.given {
            return None;
        }
        let resting = self.workers.iter().filter_map(|w| match w.state {
            WorkerState::Resting(at) => Some(at),
            _ => None,
        });
        let probes = self.links.iter().filter(|l| l.bad.is_none()).filter_map(|l| l.probe_at);
        resting.chain(probes).filter(|at| *at > now).min()
    }

    /// The worker's attempt succeeded. Returns the workers that shall leave where they are and come home.
    pub fn up(&mut self, now: Instant, worker: usize) -> Vec<usize> {
        let WorkerState::Dialling(index) = self.workers[worker].state else { return Vec::new() };
        self.workers[worker].state = WorkerState::Up(index);
        let link = &mut self.links[index];
        link.dialling -= 1;
        link.up += 1;
        (link.failures, link.timeouts, link.probe_at) = (0, 0, None);
        (link.refused, link.unresolved) = (None, false);
        // whatever fell silent before the limit was raised was under the old one
        if let Some((_, since)) = self.workers[worker].silent_on.take().filter(|(link, _)| *link == index)
            && link.wronged_at.is_none_or(|at| since > at)
        {
            link.lenience = (link.lenience * 2).min(32);
            link.wronged_at = Some(now);
        }
        self.recall()
    }

    /// The worker's attempt failed. True if that makes its link dead.
    pub fn failed(&mut self, now: Instant, worker: usize, why: &DialError) -> bool {
        let WorkerState::Dialling(index) = self.workers[worker].state else { return false };
        self.workers[worker].state = WorkerState::Resting(now);
        self.workers[worker].silent_on = None;
        let link = &mut self.links[index];
        link.dialling -= 1;
        link.last = why.to_string();
        link.unresolved = matches!(why, DialError::Unresolved(_));
        let refused = matches!(why, DialError::Refused | DialError::Closed);
        link.refused = refused.then(|| link.refused.unwrap_or(now));
        if link.up > 0 {
            self.rest(now, worker);
            return false;
        }
        let died = link.failures == 0;
        if link.probe_at.is_none_or(|at| at <= now) {
            link.failures += 1;
            link.timeouts += (*why == DialError::TimedOut) as u32;
            link.probe_at = Some(now + pause(&mut self.rng, link.failures));
        }
        died
    }

    /// The receiver at this link's end does not want this session; the link is not used again.
    pub fn condemn(&mut self, now: Instant, worker: usize, code: RefusalCode, sentence: &str) {
        if let WorkerState::Dialling(index) = self.workers[worker].state {
            self.links[index].dialling -= 1;
            self.links[index].bad = Some((code, sentence.to_owned()));
            self.workers[worker].state = WorkerState::Resting(now);
        }
    }

    /// The worker's connection has been silent since then, and will be `lost` for it.
    pub fn fell_silent(&mut self, worker: usize, since: Instant) {
        if let Some(link) = self.link_of(worker) {
            self.workers[worker].silent_on = Some((link, since));
        }
    }

    /// The worker's connection is gone; `progressed` if it achieved anything. True if its link is dead now.
    pub fn lost(&mut self, now: Instant, worker: usize, why: &LossReason, progressed: bool) -> bool {
        let (WorkerState::Up(index) | WorkerState::Leaving(index)) = self.workers[worker].state else {
            return false;
        };
        let link = &mut self.links[index];
        link.up -= 1;
        if *why == LossReason::Left {
            self.workers[worker].state = WorkerState::Resting(now);
            return false;
        }
        link.last = why.to_string();
        if progressed {
            self.workers[worker].misses = 0;
        }
        let silent = *why == LossReason::Silent;
        if link.wronged_at.is_some_and(|at| now.saturating_duration_since(at) > FORGIVEN) {
            (link.lenience, link.wronged_at) = (1, None);
        }
        let since = self.workers[worker].silent_on.map_or(now, |(_, since)| since);
        self.workers[worker].silent_on = silent.then_some((index, since));
        let died = silent && link.up == 0;
        if died {
            (link.failures, link.probe_at) = (link.failures.max(1), Some(now));
        }
        self.rest(now, worker);
        died
    }

    /// Where a worker is.
    pub fn state(&self, worker: usize) -> WorkerState {
        self.workers[worker].state
    }

    /// The link of a worker that has a connection.
    pub fn link_of(&self, worker: usize) -> Option<usize> {
        match self.workers[worker].state {
            WorkerState::Up(link) | WorkerState::Leaving(link) => Some(link),
            _ => None,
        }
    }

    /// Connections that are up.
    pub fn connections(&self) -> usize {
        self.links.iter().map(|link| link.up).sum()
    }

    /// Connections up on one link.
    pub fn connections_on(&self, link: usize) -> usize {
        self.links[link].up
    }

    /// Attempts under way on links that have never failed: something may still come of them.
    pub fn hopeful(&self) -> bool {
        self.links.iter().any(|link| link.bad.is_none() && link.failures == 0 && link.dialling > 0)
    }

    /// Since when every link that is not bad has been refused, if all are and nothing is up.
    pub fn refused_since(&self) -> Option<Instant> {
        let mut good = self.links.iter().filter(|link| link.bad.is_none()).peekable();
        good.peek()?;
        good.map(|link| link.refused.filter(|_| link.up == 0))
            .try_fold(None, |latest: Option<Instant>, at| {
                at.map(|at| Some(latest.map_or(at, |latest| latest.max(at))))
            })?
    }

    /// Whether no link's name has an address.
    pub fn all_unresolved(&self) -> bool {
        self.links.iter().all(|link| link.unresolved)
    }

    /// The first refusal, if every link was refused for good.
    pub fn all_bad(&self) -> Option<(usize, RefusalCode, &str)> {
        let all = self.links.iter().all(|link| link.bad.is_some());
        all.then(|| self.first_bad()).flatten()
    }

    /// Whether a link was refused for good.
    pub fn is_bad(&self, link: usize) -> bool {
        self.links[link].bad.is_some()
    }

    /// The first link that was refused for good, its code and sentence.
    pub fn first_bad(&self) -> Option<(usize, RefusalCode, &str)> {
        self.links
            .iter()
            .enumerate()
            .find_map(|(i, link)| link.bad.as_ref().map(|(c, s)| (i, *c, s.as_str())))
    }

    /// The last thing that went wrong on a link; empty if nothing has.
    pub fn trouble(&self, link: usize) -> &str {
        self.links[link].bad.as_ref().map_or(&self.links[link].last, |(_, sentence)| sentence)
    }

    /// How many times longer than usual a connection on this link may be silent.
    pub fn lenience(&self, link: usize) -> u32 {
        self.links[link].lenience
    }

    // ---- choosing -------------------------------------------------------------------------------------

    fn choose(&self, now: Instant, worker: usize) -> Option<usize> {
        let home = self.workers[worker].home;
        if self.links[home].usable() {
            return Some(home);
        }
        // with more links than workers, some link can be reached only by a worker that gives up its own
        let needed_elsewhere = self.connections() == 0 && self.links.iter().any(|link| link.keeper.is_none());
        let home_link = &self.links[home];
        if home_link.keeper == Some(worker) && home_link.bad.is_none() && !needed_elsewhere {
            return self.due(now, home).then_some(home);
        }
        let all = || 0..self.links.len();
        // of the dead ones that which has waited longest, or those that time out would starve the others
        let due = || std::iter::once(home).chain(all()).filter(|link| self.due(now, *link));
        all()
            .find(|link| self.links[*link].usable())
            .or_else(|| due().min_by_key(|link| self.links[*link].probe_at))
    }

    /// Whether a dead link may be probed now.
    fn due(&self, now: Instant, link: usize) -> bool {
        let link = &self.links[link];
        link.bad.is_none() && link.dialling == 0 && link.probe_at.is_none_or(|at| at <= now)
    }

    /// Workers elsewhere whose home lives again.
    fn recall(&mut self) -> Vec<usize> {
        let mut leaving = Vec::new();
        for index in 0..self.workers.len() {
            let worker = &mut self.workers[index];
            if let WorkerState::Up(link) = worker.state
                && link != worker.home
                && !self.given
                && self.links[worker.home].up > 0
            {
                worker.state = WorkerState::Leaving(link);
                leaving.push(index);
            }
        }
        leaving
    }

    /// A worker whose connection achieved something goes on at once; others after a growing pause.
    fn rest(&mut self, now: Instant, worker: usize) {
        let worker = &mut self.workers[worker];
        let wait = if worker.misses == 0 { Duration::ZERO } else { pause(&mut self.rng, worker.misses) };
        worker.misses += 1;
        worker.state = WorkerState::Resting(now + wait);
    }
}

/// 0.1 s, doubling to 5 s, of which a random half to all.
fn pause(rng: &mut SmallRng, times: u32) -> Duration {
    let full = (PAUSE_FIRST * (1 << (times.max(1) - 1).min(6))).min(PAUSE_MAX);
    full.mul_f64(rng.random_range(0.5..=1.0))
}

/// The home link of each worker: one round over all links, a second, the rest to the first.
fn homes(links: usize, workers: usize) -> Vec<usize> {
    (0..links).chain(0..links).chain(std::iter::repeat(0)).take(workers).collect()
}

#[cfg(test)]
mod tests;
