//! The output: takes legs at some rate, or sleeps, and knows whether what it takes is the stream.

use super::clock::{Clock, Event};
use super::data;
use millipede::proto::leg::Leg;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

pub struct Sink {
    /// The end whose output it is.
    end: usize,
    /// Whether the other end sends the stream that is known here.
    known: bool,
    /// Bytes a second; 0 while it sleeps.
    rate: f64,
    queue: VecDeque<Leg>,
    /// Whether `Taken` is planned for the first of the queue.
    busy: bool,
    pub taken: u64,
    pub closed: bool,
    crc: crc32fast::Hasher,
    /// Whether every leg was checked.
    checked: bool,
    taken_at: Instant,
    /// The longest time in which nothing was taken, up to a taking, and when it ended.
    pub gap: (Duration, Instant),
    pub first_at: Option<Instant>,
}

impl Sink {
    pub fn new(clock: &Clock, end: usize, rate: f64) -> Self {
        Sink {
            end,
            known: true,
            rate,
            queue: VecDeque::new(),
            busy: false,
            taken: 0,
            closed: false,
            crc: crc32fast::Hasher::new(),
            checked: true,
            taken_at: clock.now,
            gap: (Duration::ZERO, clock.now),
            first_at: None,
        }
    }

    pub fn give(&mut self, clock: &mut Clock, leg: Leg) {
        self.queue.push_back(leg);
        self.start(clock);
    }

    /// From now on it takes so many bytes a second; 0 is asleep.
    pub fn set_rate(&mut self, clock: &mut Clock, rate: f64) {
        self.rate = rate;
        self.start(clock);
    }

    /// The leg that was taken now.
    pub fn took(&mut self, clock: &mut Clock) -> Option<Leg> {
        self.busy = false;
        let leg = self.queue.pop_front()?;
        let gap = clock.now - self.taken_at;
        if gap > self.gap.0 && self.taken > 0 {
            self.gap = (gap, clock.now);
        }
        self.taken_at = clock.now;
        self.first_at.get_or_insert(clock.now);
        self.start(clock);
        Some(leg)
    }

    /// Whether it takes bytes of a leg that has not come whole.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && !self.busy && self.rate > 0.0
    }

    /// Takes bytes of a leg that has not come whole; what is wrong with them.
    pub fn pass(&mut self, now: Instant, offset: u64, bytes: &[u8]) -> Option<String> {
        self.taken_at = now;
        self.first_at.get_or_insert(now);
        self.checked = false;
        self.look_at(offset, bytes)
    }

    /// What is wrong with a leg that was taken, behind the first `from` bytes.
    pub fn check(&mut self, leg: &Leg, from: usize) -> Option<String> {
        let Some(rest) = leg.bytes().get(from..) else {
            return Some(format!("{from} bytes of {leg:?} were moved"));
        };
        let wrong = self.look_at(leg.offset + from as u64, rest);
        if leg.crc.is_some() {
            self.crc.update(leg.bytes());
        }
        self.checked &= leg.crc.is_some();
        wrong
    }

    fn look_at(&mut self, offset: u64, bytes: &[u8]) -> Option<String> {
        if offset != self.taken {
            return Some(format!("byte {offset} was delivered where byte {} is wanted", self.taken));
        }
        self.taken += bytes.len() as u64;
        let wrong = self.known.then(|| data::first_wrong(1 - self.end, offset, bytes)).flatten();
        wrong.map(|at| format!("byte {at} of the stream is wrong"))
    }

    /// The stream comes from somebody else: only its order is looked at.
    pub fn take_anything(&mut self) {
        self.known = false;
    }

    /// The stream's CRC, if every leg was checked.
    pub fn crc(&self) -> Option<u32> {
        self.checked.then(|| self.crc.clone().finalize())
    }

    /// For how long it has taken nothing of what it was given.
    pub fn blocked(&self, now: Instant) -> Duration {
        if self.queue.is_empty() { Duration::ZERO } else { now - self.taken_at }
    }

    fn start(&mut self, clock: &mut Clock) {
        if let Some(leg) = self.queue.front()
            && !self.busy
            && self.rate > 0.0
        {
            self.busy = true;
            clock.after(Duration::from_secs_f64(leg.len() as f64 / self.rate), Event::Taken(self.end));
        }
    }
}
