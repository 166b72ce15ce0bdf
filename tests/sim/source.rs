//! The input: how fast it comes, and into which pieces it is read on its way to the core.

use super::clock::{Clock, Event};
use super::data::Piece;
use millipede::proto::session::{Appetite, Session};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A piece goes short when the input has paused for this long.
const PAUSE: Duration = Duration::from_millis(100);

/// The source does not fill its pipe byte by byte: what can be read at once comes this often.
const READ: Duration = Duration::from_millis(2);

/// What the input is like.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// All that will ever come.
    pub total: u64,
    /// Bytes a second.
    pub rate: f64,
    /// Of each period, the part in which nothing comes.
    pub pause: Duration,
    pub period: Duration,
    /// Pieces are never longer than this, however fast it comes.
    pub leg_max: usize,
    /// What there is goes at once to a connection that waits.
    pub charmode: bool,
}

pub struct Source {
    /// The end whose input it is.
    end: usize,
    pub flow: Flow,
    /// Bytes that have come, and that were given to the core.
    come: f64,
    pub pushed: u64,
    seen: Option<Instant>,
    pushed_at: Option<Instant>,
    ended: bool,
    /// The sender's memory: in use, and all of it.
    pub memory: Arc<AtomicU64>,
    pub budget: u64,
    /// When `Input` is planned.
    pub due: Option<Instant>,
}

impl Source {
    pub fn new(end: usize, flow: Flow, budget: u64) -> Self {
        Source {
            end,
            flow,
            come: 0.0,
            pushed: 0,
            seen: None,
            pushed_at: None,
            ended: false,
            memory: Arc::default(),
            budget,
            due: None,
        }
    }

    /// Gives the core at most one piece. False if there is nothing for it now; `Input` comes when there is.
    pub fn feed(&mut self, clock: &mut Clock, core: &mut Session) -> bool {
        if self.ended {
            return false;
        }
        self.flow_until(clock);
        if self.pushed == self.flow.total {
            self.ended = true;
            core.input_ended(clock.now);
            return true;
        }
        let here = (self.come as u64).min(self.flow.total) - self.pushed;
        let Appetite { enough, most, hungry } = core.appetite();
        let left = self.flow.total - self.pushed;
        let most = (most.min(self.flow.leg_max) as u64).min(left);
        let whole = if hungry { most.min(enough as u64) } else { most };
        let used = self.memory.load(Ordering::Relaxed);
        if core.has_enough_input() || used > 0 && used + most > self.budget {
            return false; // memory comes back with an acknowledgement, which asks again
        }
        let paused = |pause| self.pushed_at.is_none_or(|at| clock.now >= at + pause);
        let hasty = self.flow.charmode && hungry && paused(READ);
        let hurried = here > 0 && (paused(PAUSE) || hasty);
        if here < whole && !hurried {
            self.wait(clock, whole - here);
            return false;
        }
        let len = here.min(most);
        let piece = Piece::new(self.end, self.pushed, len as usize, &self.memory);
        self.pushed += len;
        self.pushed_at = Some(clock.now);
        core.input(clock.now, Arc::new(piece));
        true
    }

    /// Nobody wants any more of it.
    pub fn stop(&mut self) {
        self.ended = true;
    }

    fn flow_until(&mut self, clock: &Clock) {
        let seen = self.seen.replace(clock.now).unwrap_or(clock.now);
        let into = clock.elapsed().as_nanos() % self.flow.period.as_nanos().max(1);
        if into >= self.flow.pause.as_nanos() {
            self.come += self.flow.rate * (clock.now - seen).as_secs_f64();
        }
    }

    /// Looks again when a piece should be full, at least every 100 ms.
    fn wait(&mut self, clock: &mut Clock, missing: u64) {
        let full = Duration::from_secs_f64((missing as f64 / self.flow.rate).clamp(1e-4, 0.1));
        let at = clock.now + full.max(Duration::from_millis(1));
        if self.due.is_none_or(|due| due > at) {
            self.due = Some(at);
            clock.at(at, Event::Input(self.end));
        }
    }
}
