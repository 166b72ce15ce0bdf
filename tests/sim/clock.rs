//! Fake time: the events to come, in order, and the moment they have reached.

use super::faults::Fault;
use super::net::{Delivery, Happening};
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

/// Everything that can happen in the simulated world.
#[derive(Debug)]
pub enum Event {
    /// Inside the network.
    Net(Happening),
    /// The network tells one of the ends.
    Deliver(Delivery),
    /// The session of this end asked to be woken.
    Wake(usize),
    /// The input of this end may have more.
    Input(usize),
    /// The output of this end has taken the leg it was at.
    Taken(usize),
    /// What is heard on this connection, by this end, has had its time: an answer to a hello, a hello, a welcome.
    Heard { end: usize, conn: usize },
    /// The stream of this end waits no longer for its turn.
    Turn(usize),
    /// A process looks at its connections, unasked.
    Patrol(usize),
    /// A process that has ended is gone, 2 s after its last word at the latest.
    Exit(usize),
    /// The user ends a process by a signal.
    Signal(usize),
    /// The turn of whoever means ill.
    Malice,
    /// Harm, or its end.
    Fault(Fault),
}

struct Entry {
    at: Instant,
    order: u64,
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    /// The earliest is the greatest, and of one moment's events the one that was planned first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

/// The clock and the events to come.
pub struct Clock {
    pub now: Instant,
    start: Instant,
    heap: BinaryHeap<Entry>,
    order: u64,
}

impl Clock {
    pub fn new() -> Self {
        let start = Instant::now();
        Clock { now: start, start, heap: BinaryHeap::new(), order: 0 }
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    pub fn at(&mut self, at: Instant, event: Event) {
        self.order += 1;
        self.heap.push(Entry { at: at.max(self.now), order: self.order, event });
    }

    pub fn after(&mut self, wait: Duration, event: Event) {
        self.at(self.now + wait, event);
    }

    /// The next event up to `until`, to whose time the clock moves; none moves it to `until`.
    pub fn next(&mut self, until: Instant) -> Option<Event> {
        if self.heap.peek().is_none_or(|entry| entry.at > until) {
            self.now = self.now.max(until);
            return None;
        }
        let entry = self.heap.pop()?;
        self.now = entry.at;
        Some(entry.event)
    }
}
