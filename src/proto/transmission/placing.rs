//! Workers to links, and legs to connections.
//!
//! [`Links`](super::super::links::Links) says where a worker may dial, [`Sender`](super::super::sender::Sender)
//! which leg suits a connection; here the two meet: the connections that are ready are asked in the order of
//! their links, until nobody can take anything more or, while the receiver's output is slow, two carry something.

use super::super::hello::Hello;
use super::super::links::WorkerState;
use super::{Action, Transmission};
use std::time::{Duration, Instant};

/// While the receiver's output is what the stream waits for, so many connections carry new legs at a time: one that
/// writes and one that drains. More would bring nothing sooner, but fill more of the kernel's memory, none of it in
/// any cache, and wake more threads: 3 to 11 % of the throughput on a loopback of two cores, in interleaved runs.
const ENOUGH: usize = 2;

/// That is so on paths with round trips up to this. On longer ones connections that rest lose congestion windows which
/// took long to open, on lossy ones above all, and no memory is too slow for what such paths carry.
const NEAR: Duration = Duration::from_millis(5);

/// For how many of a link's shortest round trips what waits for the output must last: one until it is heard of that it
/// does not, one until more is there, and as much for the legs that are in between.
const ANSWERS: u32 = 4;

impl Transmission {
    /// Connections that were called back and have nothing on the way any more.
    pub(super) fn leave(&mut self) {
        for worker in 0..self.lines.len() {
            let leaving = matches!(self.links.state(worker), WorkerState::Leaving(_));
            if leaving && self.lines[worker].ready && self.sender.is_idle(worker) {
                self.lines[worker].ready = false;
                self.ready.retain(|w| *w != worker);
                self.actions.push_back(Action::Leave(worker));
            }
        }
    }

    /// Attempts for all workers that may make one now.
    pub(super) fn dial(&mut self, now: Instant) {
        for worker in 0..self.lines.len() {
            let Some((link, timeout)) = self.links.place(now, worker, self.begun()) else { continue };
            self.lines[worker].attempt += 1;
            self.lines[worker].known = self.sender.head();
            let hello = Hello {
                instance: self.instance.filter(|_| self.begun() || self.links.connections() > 0),
                begun: self.begun(),
                link: link as u8,
                connection: worker as u8,
                attempt: self.lines[worker].attempt,
                ..self.settings.hello.clone()
            };
            self.actions.push_back(Action::Dial { worker, link, hello: Box::new(hello), timeout });
        }
    }

    /// Legs to connections, until either runs out.
    pub(super) fn assign(&mut self, now: Instant) {
        let (mut passed, mut enough) = (0u32, self.has_enough(now));
        while let Some(worker) = self.choose(passed) {
            passed |= 1 << worker;
            let mates = self.mates(worker);
            let leg = if enough {
                self.sender.take_again(now, worker, mates)
            } else {
                self.sender.take(now, worker, mates)
            };
            let Some(leg) = leg else { continue };
            passed = 0;
            let line = &mut self.lines[worker];
            line.ready = false;
            line.stats.bytes += leg.len();
            line.stats.legs += 1;
            line.stats.leg = Some(leg.sequence);
            self.ready.retain(|w| *w != worker);
            self.actions.push_back(Action::Send(worker, leg));
            enough = self.has_enough(now);
        }
        self.held_back = enough && !self.ready.is_empty() && !self.sender.is_drained();
    }

    /// Whether the receiver's output is what the stream waits for, and will be for as long as it takes to hear that it
    /// is not and to bring more: then the connections that are in the middle of something are enough. Of those only
    /// the ones count that do their part.
    fn has_enough(&mut self, now: Instant) -> bool {
        let (backlog, window) = self.sender.backlog();
        if backlog <= window / 8 {
            return false;
        }
        let Some(rate) = self.taken.rate(now) else { return false };
        let part = rate / self.links.connections().max(1) as f64;
        let (mut carriers, mut answer) = (0, Duration::ZERO);
        for worker in (0..self.lines.len()).filter(|worker| !self.lines[*worker].ready) {
            let up = matches!(self.links.state(worker), WorkerState::Up(_));
            let pace = self.sender.steady_pace(now, worker).filter(|_| up);
            // half of it: those that carry hold each other up, and are measured so
            let pace = pace.filter(|pace| pace.rate().is_some_and(|rate| rate >= part / 2.0));
            if pace.is_some() {
                (carriers, answer) = (carriers + 1, answer.max(self.shortest(worker)));
            }
        }
        carriers >= ENOUGH && answer <= NEAR && backlog as f64 > rate * (answer * ANSWERS).as_secs_f64()
    }

    /// The shortest round trip of any connection on the link of this one: what one has measured itself may be no more
    /// than how late its thread was.
    fn shortest(&self, worker: usize) -> Duration {
        let mates = self.mates(worker);
        let measured = (0..self.lines.len()).filter(|mate| mates & 1 << mate != 0);
        let shortest = measured.filter_map(|mate| self.sender.pace(mate)?.rtt_min()).min();
        shortest.unwrap_or(Duration::MAX)
    }

    /// The connections on the link of this one, a bit each.
    fn mates(&self, worker: usize) -> u32 {
        let link = self.links.link_of(worker);
        (0..self.lines.len()).filter(|w| self.links.link_of(*w) == link).fold(0, |mates, w| mates | 1 << w)
    }

    /// The ready connection that takes the next leg: the first link's first, and of a link's the one that
    /// drained last, whose path and caches are warm. For a leg sent again, another link than before first.
    fn choose(&self, passed: u32) -> Option<usize> {
        let avoid: u32 = (0..self.lines.len())
            .filter(|w| self.sender.avoid() & (1 << w) != 0)
            .filter_map(|w| self.links.link_of(w))
            .fold(0, |links, link| links | 1 << link);
        self.ready
            .iter()
            .rev()
            .filter(|w| passed & (1 << **w) == 0)
            .filter_map(|w| match self.links.state(*w) {
                WorkerState::Up(link) => Some((avoid & (1 << link) != 0, link, *w)),
                _ => None,
            })
            .min_by_key(|(avoided, link, _)| (*avoided, *link))
            .map(|(.., worker)| worker)
    }
}
