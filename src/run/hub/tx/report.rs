//! What the sending hub says of itself when it is asked.

use super::super::tally::Cause;
use super::super::{Asker, phase};
use super::Hub;
use crate::proto::links::WorkerState;
use crate::proto::outcome::Status;
use crate::report::{Connection, Detail, Link, Side, Snapshot, State};
use crate::run::summary::Summary;
use crate::run::worker::Command;
use std::time::Instant;

impl Hub {
    pub(super) fn summary(&self) -> Summary {
        let (pushed, _, delivered) = self.core.sender().bytes();
        let complete = self.outcome().is_some_and(|ending| ending.status == Status::Complete);
        let stats = self.core.stats();
        Summary {
            sent: true,
            bytes: if complete { pushed } else { delivered },
            time: self.met.map(|met| met.elapsed()).unwrap_or_default(),
            legs_again: stats.sender.legs_again,
            connections_lost: stats.connections_lost,
        }
    }

    pub(super) fn account(&mut self, now: Instant) {
        self.tally.delivered(now, self.core.sender().bytes().2);
        self.tally.wait_for(now, self.cause());
    }

    /// What keeps the stream from going faster. A full buffer means that the network takes long to confirm
    /// what is on its way, not that the input is slow.
    fn cause(&self) -> Cause {
        let sender = self.core.sender();
        let hungry = self.core.is_hungry() && !sender.has_ended();
        let room = || self.pool.in_use() + self.core.leg_size() as u64 <= self.pool.capacity();
        if !self.tally.has_met() {
            Cause::Nobody
        } else if hungry && room() {
            Cause::Input
        } else if self.core.awaits_verdict()
            || (!self.core.blocked_at_peer().is_zero() && (hungry || self.core.waits_for_output()))
        {
            Cause::Output
        } else {
            Cause::Network
        }
    }

    pub(super) fn report(&mut self, asker: Asker) {
        for index in 0..self.workers.len() {
            if self.core.links().link_of(index).is_some()
                && let Some(informer) = asker.informer(index)
            {
                self.command(index, Command::Inform(informer));
            }
        }
        let snapshot = self.snapshot();
        self.tally.answer(asker, snapshot);
    }

    pub(super) fn snapshot(&mut self) -> Snapshot {
        let now = Instant::now();
        let (stats, links) = (self.core.stats(), self.core.links());
        let (read, sent, delivered) = self.core.sender().bytes();
        // the verdict may overtake the last acknowledgement
        let complete = self.outcome().is_some_and(|ending| ending.status == Status::Complete);
        let delivered = if complete { read } else { delivered };
        let name = |link: usize| self.names.get(&link).cloned().unwrap_or_default();
        let link = |index| Link {
            name: name(index),
            index,
            up: links.connections_on(index),
            rate: self.tally.link_rate(now, index),
            trouble: if links.connections_on(index) > 0 {
                String::new()
            } else {
                links.trouble(index).into()
            },
        };
        let all_links = self.names.keys().copied().map(link).collect();
        let connection = |number| {
            let (state, link) = match links.state(number) {
                WorkerState::Resting(_) => (State::Down, None),
                WorkerState::Dialling(link) => (State::Dialling, Some(link)),
                WorkerState::Up(link) => (State::Up, Some(link)),
                WorkerState::Leaving(link) => (State::Leaving, Some(link)),
            };
            let line = self.core.line_stats(number);
            let rate = self.tally.connection_rate(now, number);
            Connection { number, link, state, leg: line.leg, bytes: line.bytes, rate, kernel: None }
        };
        let known = (0..self.workers.len()).filter(|worker| self.workers[*worker].is_some());
        let connections = known.map(connection).collect();
        Snapshot {
            side: Side::Tx,
            phase: phase(self.outcome(), self.tally.has_met(), self.core.awaits_verdict()),
            elapsed: self.tally.elapsed(now),
            expected: None,
            delivered,
            connections,
            links: all_links,
            rate: self.tally.rate(now),
            held: self.pool.in_use(),
            buffer: self.buffer,
            detail: Detail::Tx {
                read,
                sent,
                again: (stats.sender.legs_again, stats.sender.bytes_again),
                rescues: stats.sender.rescues,
                damaged: stats.sender.damaged,
            },
            waited: self.tally.waited(now),
            lost: stats.connections_lost,
            last_loss: stats.last_loss.map(|(link, why)| format!("{}: {why}", name(link))),
        }
    }
}
