//! Whether one connection carries the new legs of a stream, or all connections do.
//!
//! On a path whose round trip is next to nothing, one connection is mostly as fast as many: the processors are what is
//! scarce, and further connections cost them the waking of threads, and memory. The legs of one connection also come in
//! the order in which the output wants them, so that the receiver can move them there as they come. But a path may give
//! each connection a share only, and a connection may have to carry more than one thread can write.
//!
//! So one connection carries, as long as it suffices. While the input has to wait for it, and the output is not what holds
//! the stream back, all connections are tried now and then for a [`WINDOW`], and kept if they are faster. If they are not,
//! they are tried again after a pause that doubles. While all carry, one is tried likewise, and kept if it is as fast.
//!
//! Only new legs are meant. Legs are sent again on any connection, and other connections take over from one that is slow.

use std::time::{Duration, Instant};

/// One connection may suffice where the paths of one link have round trips up to this.
pub(super) const NEXT_TO_NOTHING: Duration = Duration::from_millis(1);

/// How long a rate is measured: a hundred and more legs, where this matters, or a hundred changes of thread.
const WINDOW: Duration = Duration::from_millis(100);

/// The input counts as waiting for the connections if it waited for at least the window divided by this. It waits by
/// turns: from when much is read until half of that is gone.
const WAITED: u32 = 4;

/// All connections count as faster only from this factor on; smaller differences are noise.
const FASTER: f64 = 1.15;

/// One connection is as fast as all if it carries this part of what all carry.
const AS_FAST: f64 = 0.95;

/// The pause before the other way is tried for the first time, and the longest.
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_MOST: Duration = Duration::from_secs(30);

/// Where the stream stands; all of it counts from the start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stand {
    /// Bytes received.
    pub received: u64,
    /// For how long the output has taken nothing.
    pub blocked: Duration,
    /// The input is to wait, as much waits for connections.
    pub full: bool,
}

/// A time in which a rate is measured.
#[derive(Clone, Copy, Debug)]
struct Window {
    since: Instant,
    begun: Stand,
    /// When it was last looked, and for how long the input had to wait so far.
    looked: Instant,
    waited: Duration,
}

/// What a window has shown.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Seen {
    /// It is not over.
    Nothing,
    /// There was not more to carry than was carried.
    Enough,
    /// Nothing but the connections limited this rate, in bytes per second.
    Rate(f64),
}

/// What was chosen, and what is tried.
#[derive(Debug)]
pub(super) struct Sole {
    /// The path is such that one connection may suffice.
    allowed: bool,
    /// All connections carry new legs; otherwise one does.
    all: bool,
    /// The present way is on trial: it is kept if it reaches this rate, in bytes per second.
    trial: Option<f64>,
    window: Option<Window>,
    /// [`Stand::full`] as it was last.
    full: bool,
    /// After the latest trial, the other way is not tried for so long.
    pause: Duration,
    tried_at: Option<Instant>,
}

impl Sole {
    /// One connection carries, wherever the path allows that.
    pub(super) fn new() -> Self {
        Sole {
            allowed: false,
            all: false,
            trial: None,
            window: None,
            full: false,
            pause: PAUSE,
            tried_at: None,
        }
    }

    /// Whether the path is such that one may suffice.
    pub(super) fn allow(&mut self, allowed: bool) {
        if self.allowed != allowed {
            *self = Sole { allowed, ..Sole::new() };
        }
    }

    /// Whether one connection carries what is new.
    pub(super) fn suffices(&self) -> bool {
        self.allowed && !self.all
    }

    /// The stream is so far now.
    pub(super) fn note(&mut self, now: Instant, stand: Stand) {
        if !self.allowed {
            return;
        }
        match self.look(now, stand) {
            Seen::Nothing => {}
            Seen::Enough => {
                if self.trial.take().is_some() {
                    self.all = !self.all;
                }
            }
            Seen::Rate(rate) => self.judge(now, rate),
        }
    }

    fn judge(&mut self, now: Instant, rate: f64) {
        let Some(least) = self.trial.take() else {
            let tried_at = *self.tried_at.get_or_insert(now);
            if now.saturating_duration_since(tried_at) >= self.pause {
                self.trial = Some(rate * if self.all { AS_FAST } else { FASTER });
                self.all = !self.all;
            }
            return;
        };
        self.tried_at = Some(now);
        if rate >= least {
            self.pause = PAUSE;
        } else {
            self.all = !self.all;
            self.pause = (self.pause * 2).min(PAUSE_MOST);
        }
    }

    fn look(&mut self, now: Instant, stand: Stand) -> Seen {
        let was_full = std::mem::replace(&mut self.full, stand.full);
        let fresh = Window { since: now, begun: stand, looked: now, waited: Duration::ZERO };
        let window = self.window.get_or_insert(fresh);
        if was_full {
            window.waited += now.saturating_duration_since(window.looked);
        }
        window.looked = now;
        let time = now.saturating_duration_since(window.since);
        if time < WINDOW {
            return Seen::Nothing;
        }
        let Window { begun, waited, .. } = *window;
        self.window = Some(fresh);
        let blocked = stand.blocked.saturating_sub(begun.blocked);
        // a longer one had a pause
        if time > WINDOW * 2 || waited * WAITED < time || blocked * 2 > time {
            return Seen::Enough;
        }
        Seen::Rate(stand.received.saturating_sub(begun.received) as f64 / time.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream at the rates that one and all connections have, in bytes per millisecond.
    struct Run {
        sole: Sole,
        now: Instant,
        stand: Stand,
        one: u64,
        all: u64,
        /// How much of the time the output takes nothing, of ten.
        blocked: u32,
        /// How much of the time all carried, and how often that changed.
        all_for: Duration,
        changes: u32,
    }

    impl Run {
        fn new(one: u64, all: u64) -> Self {
            let mut sole = Sole::new();
            sole.allow(true);
            let stand = Stand { full: true, ..Stand::default() };
            let now = Instant::now();
            Run { sole, now, stand, one, all, blocked: 0, all_for: Duration::ZERO, changes: 0 }
        }

        fn goes(&mut self, seconds: u64) {
            let ms = Duration::from_millis(1);
            for _ in 0..seconds * 1000 {
                let before = self.sole.suffices();
                self.now += ms;
                self.stand.received += if before { self.one } else { self.all };
                self.stand.blocked += ms * self.blocked / 10;
                self.all_for += if before { Duration::ZERO } else { ms };
                self.sole.note(self.now, self.stand);
                self.changes += u32::from(self.sole.suffices() != before);
            }
        }
    }

    #[test]
    fn one_carries_and_the_others_are_tried_ever_more_rarely_if_that_brings_nothing() {
        let mut run = Run::new(1000, 1100);
        run.goes(60);
        assert!(run.sole.suffices());
        assert_eq!(run.changes, 12, "after 0.6 s, 1.1, 2.1, 4.1, 8.1 and 16.1 more");
        assert!(run.all_for < Duration::from_millis(700), "{:?}", run.all_for);
    }

    #[test]
    fn all_carry_where_each_has_a_share_only_until_they_bring_no_more() {
        let mut run = Run::new(1000, 1500);
        run.goes(2);
        assert!(!run.sole.suffices());
        run.goes(60);
        assert!(run.all_for > Duration::from_secs(59), "{:?}", run.all_for);
        run.one = 1450;
        run.goes(64);
        assert!(run.sole.suffices(), "one is as fast");
    }

    #[test]
    fn nothing_is_tried_while_something_else_is_waited_for() {
        let mut run = Run::new(1000, 5000);
        run.blocked = 6;
        run.goes(10);
        assert_eq!(run.changes, 0, "the output");
        (run.blocked, run.stand.full) = (0, false);
        run.goes(10);
        assert_eq!(run.changes, 0, "the input");
        (run.blocked, run.stand.full) = (4, true);
        run.goes(2);
        assert!(run.changes > 0, "nothing");
    }

    #[test]
    fn a_trial_in_which_the_input_paused_decides_nothing() {
        let mut run = Run::new(1000, 5000);
        while run.changes == 0 {
            run.goes(1);
            run.stand.full = run.changes == 0;
        }
        run.sole = Sole { all: true, trial: Some(1.0), ..Sole::new() };
        run.sole.allowed = true;
        (run.now, run.stand.full) = (run.now + Duration::from_secs(1), false);
        run.goes(1);
        assert!(run.sole.suffices());
        run.stand.full = true;
        run.goes(2);
        assert!(!run.sole.suffices(), "it is tried again without a longer pause");
    }

    #[test]
    fn elsewhere_all_carry() {
        let mut sole = Sole::new();
        assert!(!sole.suffices());
        sole.allow(true);
        assert!(sole.suffices());
        sole.allow(false);
        sole.note(Instant::now(), Stand::default());
        assert!(!sole.suffices());
    }
}
