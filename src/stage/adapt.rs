//! Which level the legs of a stream are compressed with, where the user does not say.
//!
//! Pure: what was measured over an interval comes in, the level for the legs that follow comes out. A ladder of few
//! levels is climbed one rung at a time, and only where that promises something:
//!
//! ```text
//!              three intervals: waits for sockets > 60 %, and the next rung promises > 10 %
//!             ╭─────────────────────────────────────────────────────────────────────────╮
//!   raw ─ −3 ─ 1 ─ 3 ─ 6 ─ 9                                                             ▼
//!             ▲      compressing is > 90 % busy, or waits for cores: at once           on trial
//!             ╰───────────── less than half of the promise: undone, and held ───────────╯
//! ```
//!
//! A rung that promises nothing itself is passed over where the one above it does: the fast levels leave single bytes as
//! they are, and of a text with few repetitions make nothing.
//!
//! The promise of a rung is the least of what the processor can compress there and of what the network can carry of
//! it. Both are known from looks: now and then a piece of a leg is compressed with the rung that is in use and with the
//! next one. What always holds: a rung that has failed is not tried again for 30 s, and each time it fails for twice as
//! long as before, so that the level cannot swing. Waiting for the input or the output is never taken for the network.

use std::time::{Duration, Instant};

/// The levels of zstd that are tried, from none to the strongest that a processor of today may keep up with.
pub(crate) const RUNGS: [Option<i32>; 6] = [None, Some(-3), Some(1), Some(3), Some(6), Some(9)];

/// An interval lasts at least this, so that a pause of the network or of a thread is not the whole of it.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);

/// The same until the first step, so that the first seconds of a slow path are not wasted.
const FIRST_INTERVAL: Duration = Duration::from_millis(250);

/// After so long it is seen whether compressing is too much.
const ALARM: Duration = Duration::from_millis(250);

/// An interval has at least so many legs, and lasts so many round trips.
const LEGS: u64 = 32;
const ROUND_TRIPS: u32 = 4;

/// So many intervals in a row ask for a step.
const CALM: u32 = 3;

/// Of the time, that the stream must wait for sockets.
const WAITING: f64 = 0.6;

/// The gain that the next rung must promise.
const GAIN: f64 = 1.1;

/// Compressing takes at most so much of the time of those that compress.
const BUSY: f64 = 0.9;

/// A step is promised no more than this much of it: a rung that would be too much at once is no gain.
const BUSY_AFTER: f64 = 0.8;

/// Of the time of those that compress, that they may wait for a core, while they are busy for half of the time.
const STARVED: f64 = 0.5;

/// On a machine where no core is ever idle, compressing would get as much of one as this.
const CORES_MIN: f64 = 0.25;

/// How long a rung that has failed is held, at first and at most.
const HOLD: Duration = Duration::from_secs(30);
const HOLD_MAX: Duration = Duration::from_secs(3600);

/// What is kept of older looks at each interval.
const KEPT: f64 = 0.8;

/// Looks at legs that an interval should have. In the first one, of which it is not known how many legs it will have,
/// there are so many at once, and then each lies twice as far from the one before.
const LOOKS: u64 = 8;

/// What was measured over an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Interval {
    /// How long it was.
    pub(crate) time: Duration,
    /// Legs that were given to connections.
    pub(crate) legs: u64,
    /// Their bytes, in the stream and as they were sent.
    pub(crate) raw: u64,
    /// See `raw`.
    pub(crate) sent: u64,
    /// The time in which the stream waited for the network, or for its compressing; ≤ `time`.
    pub(crate) network: Duration,
    /// The time in which threads compressed, and for how much of that they had a core; summed over the threads.
    pub(crate) encoding: Duration,
    /// See `encoding`.
    pub(crate) cpu: Duration,
    /// Threads that may compress at once; at least 1.
    pub(crate) encoders: usize,
    /// Cores that had nothing to do; None where that cannot be known.
    pub(crate) idle: Option<f64>,
}

impl Interval {
    /// Of the time of those that compress, the part in which they do; 1 is all.
    fn busy(&self) -> f64 {
        per(self.encoding.as_secs_f64(), self.time.as_secs_f64() * self.encoders.max(1) as f64).min(1.0)
    }

    /// Of the time, the part in which the stream waited for sockets: for the network while somebody could compress.
    fn waiting(&self) -> f64 {
        let all_busy = self.busy().powi(self.encoders.max(1) as i32);
        per(self.network.as_secs_f64(), self.time.as_secs_f64()) * (1.0 - all_busy)
    }

    /// Whether compressing is too much for the processor.
    fn is_too_much(&self) -> bool {
        let waits = per((self.encoding.saturating_sub(self.cpu)).as_secs_f64(), self.encoding.as_secs_f64());
        self.busy() > BUSY || (waits > STARVED && self.busy() > BUSY / 2.0)
    }

    fn rate(&self) -> f64 {
        per(self.raw as f64, self.time.as_secs_f64())
    }

    fn wire_rate(&self) -> f64 {
        per(self.sent as f64, self.time.as_secs_f64())
    }

    /// Cores that compressing could have: those that it has, and those that are idle, as many as may compress.
    fn cores(&self) -> f64 {
        let all = self.encoders.max(1) as f64;
        let has = per(self.cpu.as_secs_f64(), self.time.as_secs_f64());
        self.idle.map_or(all, |idle| (has + idle).clamp(CORES_MIN.min(all), all))
    }
}

/// What came of compressing a piece of a leg.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Look {
    /// Bytes of it.
    pub(crate) raw: u64,
    /// Bytes that it came to; the same if it would be sent raw.
    pub(crate) encoded: u64,
    /// What that took of a core.
    pub(crate) cpu: Duration,
}

/// What is known of a rung from looks; older ones count less.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    raw: f64,
    encoded: f64,
    cpu: f64,
}

impl Figures {
    fn add(&mut self, look: Look) {
        self.raw += look.raw as f64;
        self.encoded += look.encoded as f64;
        self.cpu += look.cpu.as_secs_f64();
    }

    fn age(&mut self) {
        self.raw *= KEPT;
        self.encoded *= KEPT;
        self.cpu *= KEPT;
    }

    fn ratio(&self) -> Option<f64> {
        (self.encoded > 0.0).then(|| self.raw / self.encoded)
    }

    /// Core seconds for a byte.
    fn cost(&self) -> f64 {
        per(self.cpu, self.raw)
    }
}

/// A step that has yet to keep its promise.
#[derive(Clone, Copy, Debug)]
struct Trial {
    /// How many times the rate before it was promised.
    promise: f64,
    /// Bytes a second that the network carried before it.
    wire: f64,
    /// The first interval belongs to both rungs.
    settled: bool,
}

/// Why a rung is not tried.
#[derive(Clone, Copy, Debug, Default)]
struct Hold {
    until: Option<Instant>,
    /// How long it was held the last time.
    lasted: Duration,
}

/// The level of one stream.
#[derive(Clone, Debug)]
pub(crate) struct Adaptive {
    /// Always an index of [`RUNGS`].
    rung: usize,
    /// The rung that is looked at lies so many above: 1, or 2 while the next one promises nothing.
    ahead: usize,
    /// By rung: the one that was left for it, to fall back to; always lower, but for the first.
    below: [usize; RUNGS.len()],
    figures: [Figures; RUNGS.len()],
    /// What compressing whole legs with this rung has come to.
    spent: Figures,
    holds: [Hold; RUNGS.len()],
    /// Intervals in a row that asked for a step; < [`CALM`].
    calm: u32,
    trial: Option<Trial>,
    /// Whether there has been a step.
    stepped: bool,
    /// Legs between two looks; None while no looks are wanted.
    every: Option<u64>,
    /// Looks so far, until an interval has been judged.
    early: Option<u64>,
}

impl Adaptive {
    /// Starts with raw legs: it is not known yet whether the network is worth any compressing.
    pub(crate) fn new() -> Self {
        Adaptive {
            rung: 0,
            ahead: 1,
            below: std::array::from_fn(|rung| rung.saturating_sub(1)),
            figures: Default::default(),
            spent: Figures::default(),
            holds: Default::default(),
            calm: 0,
            trial: None,
            stepped: false,
            every: Some(1),
            early: Some(0),
        }
    }

    /// The level for the next legs; None to send them raw.
    pub(crate) fn level(&self) -> Option<i32> {
        RUNGS[self.rung]
    }

    /// The level that a look should try beside the one in use, and how many legs are to lie between two looks. None if
    /// nothing would follow from it.
    pub(crate) fn looks(&self) -> Option<(i32, u64)> {
        let next = RUNGS.get(self.rung + self.ahead).copied().flatten()?;
        self.every.map(|every| (next, every))
    }

    /// What came of a piece of a leg with the level in use, and with the one that [`Adaptive::looks`] named.
    pub(crate) fn looked(&mut self, here: Look, next: Look) {
        self.figures[self.rung].add(here);
        if let Some(figures) = self.figures.get_mut(self.rung + self.ahead) {
            figures.add(next);
        }
        if let (Some(early), Some(every)) = (&mut self.early, &mut self.every) {
            *early += 1;
            *every = if *early < LOOKS { 1 } else { every.saturating_mul(2) };
        }
    }

    /// Whether what was measured so far is an interval to be judged, on a path with this round trip.
    pub(crate) fn is_due(&self, so_far: &Interval, round_trip: Duration) -> bool {
        let least = if self.stepped { INTERVAL } else { FIRST_INTERVAL };
        let whole = so_far.time >= least.max(round_trip * ROUND_TRIPS) && so_far.legs >= LEGS;
        whole || (so_far.time >= ALARM && self.rung > 0 && so_far.is_too_much())
    }

    /// Judges an interval. Whether the level is another one from now on.
    pub(crate) fn judge(&mut self, now: Instant, interval: &Interval) -> bool {
        let before = self.rung;
        self.spent.add(Look { raw: interval.raw, encoded: interval.sent, cpu: interval.cpu });
        if (self.rung > 0 && interval.is_too_much()) || self.has_failed(interval) {
            self.fall(now);
        } else {
            self.consider(now, interval);
        }
        let looks = interval.waiting() > WAITING && self.trial.is_none();
        self.every = looks.then(|| (interval.legs / LOOKS).max(1));
        self.early = None;
        let (_, used) = self.figures.split_at_mut(self.rung);
        used.iter_mut().take(3).for_each(Figures::age);
        self.spent.age();
        if self.rung != before {
            self.spent = Figures::default();
        }
        self.rung != before
    }

    /// One rung down. The one that has failed is held.
    fn fall(&mut self, now: Instant) {
        let hold = &mut self.holds[self.rung];
        hold.lasted = (hold.lasted * 2).clamp(HOLD, HOLD_MAX);
        hold.until = Some(now + hold.lasted);
        self.rung = self.below[self.rung];
        (self.ahead, self.calm, self.trial, self.stepped) = (1, 0, None, true);
    }

    /// Whether a step on trial has brought less than half of its promise. A stream that is not held up by the network
    /// any more has all that it could be promised.
    fn has_failed(&mut self, interval: &Interval) -> bool {
        let Some(trial) = &mut self.trial else { return false };
        if !std::mem::replace(&mut trial.settled, true) {
            return false;
        }
        let Trial { promise, wire, .. } = *trial;
        self.trial = None;
        if per(interval.network.as_secs_f64(), interval.time.as_secs_f64()) < 0.5 {
            return false;
        }
        let gain = self.shrinks_more(self.below[self.rung], self.rung).unwrap_or(1.0)
            * per(interval.wire_rate(), wire);
        gain - 1.0 < (promise - 1.0) / 2.0
    }

    /// How many times smaller the second rung makes legs than the first one does.
    fn shrinks_more(&self, rung: usize, next: usize) -> Option<f64> {
        // what is sent raw was not looked at with any level
        let here = if rung == 0 { 1.0 } else { self.figures[rung].ratio()? };
        Some(self.figures.get(next)?.ratio()? / here)
    }

    /// Up to the rung that was looked at, if that was called for often enough.
    fn consider(&mut self, now: Instant, interval: &Interval) {
        let next = self.rung + self.ahead;
        let held = self.holds.get(next).is_none_or(|hold| hold.until.is_some_and(|until| now < until));
        let promise = self.promise(interval).filter(|promise| *promise > GAIN);
        let Some(promise) = promise.filter(|_| self.trial.is_none() && interval.waiting() > WAITING) else {
            self.calm = 0;
            self.look_elsewhere(promise, next);
            return;
        };
        self.calm = (self.calm + 1).min(CALM);
        if self.calm == CALM && !held {
            let trial = Trial { promise, wire: interval.wire_rate(), settled: false };
            self.below[next] = self.rung;
            (self.rung, self.ahead, self.calm) = (next, 1, 0);
            (self.trial, self.stepped) = (Some(trial), true);
        }
    }

    /// What is looked at promises nothing, as far as is known: the rung above the next one, or the next one again.
    fn look_elsewhere(&mut self, promise: Option<f64>, looked_at: usize) {
        let known = self.figures.get(looked_at).is_some_and(|figures| figures.ratio().is_some());
        if promise.is_none() && known {
            self.ahead = if self.ahead == 1 && self.rung + 2 < RUNGS.len() { 2 } else { 1 };
        }
    }

    /// How many times the rate of this interval the rung that is looked at should bring.
    fn promise(&self, interval: &Interval) -> Option<f64> {
        let next = self.rung + self.ahead;
        let more = self.shrinks_more(self.rung, next)?;
        let (here, next) = (self.figures[self.rung], self.figures[next]);
        // pieces cost less than whole legs, by as much with the one rung as with the other
        let scale = per(self.spent.cost(), here.cost()).max(1.0);
        let cost = next.cost() * scale;
        let able = if cost > 0.0 { interval.cores() * BUSY_AFTER / cost } else { f64::INFINITY };
        let rate = interval.rate();
        (rate > 0.0).then(|| (rate * more).min(able) / rate)
    }
}

impl Default for Adaptive {
    fn default() -> Self {
        Self::new()
    }
}

/// 0 where there is nothing to divide by.
fn per(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

#[cfg(test)]
mod tests;
