//! What a session says of itself when it is asked.

use super::connection::{Seat, SessionDesk};
use super::core::SessionCore;
use super::pool::Pool;
use crate::proto::links::WorkerState;
use crate::proto::outcome::{Outcome, Status};
use crate::proto::reception::SlotStats;
use crate::proto::way::Way;
use crate::report::{Connection, Detail, Link, Phase, Side, Snapshot, State, Waited};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How one stream goes, without what the kernels know.
pub fn snapshot(desk: &SessionDesk, way: Way, pool: &Pool) -> Snapshot {
    let (now, held) = (desk.now(), pool.in_use());
    desk.peek(|core| match way {
        Way::In => core.snapshot_in(now, held, pool.capacity()),
        Way::Out => core.snapshot_out(now, held),
    })
}

/// Adds what the kernels know of its connections.
pub fn ask_kernels(desk: &SessionDesk, snapshot: &mut Snapshot) {
    for connection in snapshot.connections.iter_mut().filter(|connection| connection.state.is_up()) {
        let seat: Option<Arc<Seat>> = desk.line(connection.number);
        connection.kernel = seat.and_then(|seat| seat.kernel());
    }
}

/// The phase of a stream that was judged, or was not.
fn phase(outcome: Option<&Outcome>, met: bool, closing: bool) -> Phase {
    match outcome {
        Some(Outcome { status: Status::Complete, .. }) => Phase::Over(Ok(())),
        Some(ending) => Phase::Over(Err(ending.sentence.clone())),
        None if !met => Phase::Waiting,
        None if closing => Phase::Closing,
        None => Phase::Moving,
    }
}

impl SessionCore {
    fn snapshot_out(&mut self, now: Instant, held: u64) -> Snapshot {
        let delivered = self.delivered(Way::Out);
        let Some(sending) = self.session.sending() else {
            unreachable!("only asked of a stream that there is")
        };
        let (stats, links) = (sending.stats(), sending.links());
        let (read, sent, _) = sending.sender().bytes();
        let meters = &mut self.meters[Way::Out as usize];
        let name = |link: usize| match (self.names.get(link), self.addresses.get(&link)) {
            (Some(name), _) => name.clone(),
            (None, Some(address)) => format!("from {address}"),
            (None, None) => String::new(),
        };
        let known: Vec<usize> = if self.names.is_empty() {
            self.addresses.keys().copied().collect()
        } else {
            (0..self.names.len()).collect()
        };
        let all_links = known.into_iter().map(|index| Link {
            name: name(index),
            index,
            up: links.connections_on(index),
            rate: meters.link_rate(now, index),
            trouble: if links.connections_on(index) > 0 {
                String::new()
            } else {
                links.trouble(index).into()
            },
        });
        let all_links = all_links.collect();
        let connection = |number| {
            let (state, link) = match links.state(number) {
                WorkerState::Resting(_) => (State::Down, None),
                WorkerState::Dialling(link) => (State::Dialling, Some(link)),
                WorkerState::Up(link) => (State::Up, Some(link)),
                WorkerState::Leaving(link) => (State::Leaving, Some(link)),
            };
            let line = sending.line_stats(number);
            let rate = meters.connection_rate(now, number);
            Connection { number, link, state, leg: line.leg, bytes: line.bytes, rate, kernel: None }
        };
        // the far end's connections are shown once they have been there
        let seen = |number: &usize| {
            !self.names.is_empty()
                || !matches!(links.state(*number), WorkerState::Resting(_))
                || sending.line_stats(*number).legs > 0
        };
        let connections = (0..sending.connections()).filter(seen).map(connection).collect();
        let detail = Detail::Tx {
            read,
            sent,
            again: (stats.sender.legs_again, stats.sender.bytes_again),
            rescues: stats.sender.rescues,
            damaged: stats.sender.damaged,
        };
        Snapshot {
            side: Side::Tx,
            phase: phase(self.session.outcome(Way::Out), meters.has_met(), sending.awaits_verdict()),
            elapsed: meters.elapsed(now),
            expected: None,
            delivered,
            connections,
            links: all_links,
            rate: meters.rate(now),
            held,
            buffer: self.buffer,
            detail,
            waited: meters.waited(now),
            lost: stats.connections_lost,
            last_loss: stats.last_loss.map(|(link, why)| format!("{}: {why}", name(link))),
        }
    }

    fn snapshot_in(&mut self, now: Instant, held: u64, buffer: u64) -> Snapshot {
        let delivered = self.delivered(Way::In);
        let waited = self.waited_in(now);
        let Some(receiving) = self.session.receiving() else {
            unreachable!("only asked of a stream that there is")
        };
        let meters = &mut self.meters[Way::In as usize];
        let (slots, receiver) = (receiving.slots(), receiving.receiver());
        let (ahead, ahead_bytes) = receiver.map_or((0, 0), |r| r.ahead());
        let connection = |(number, slot): (usize, &SlotStats)| Connection {
            number,
            link: Some(slot.link.into()),
            state: if slot.up { State::Up } else { State::Down },
            leg: self.brought[number],
            bytes: slot.bytes,
            rate: meters.connection_rate(now, number),
            kernel: None,
        };
        let known = slots.iter().enumerate().filter(|(_, slot)| slot.up || slot.legs > 0);
        let connections = known.map(connection).collect();
        let way = if self.names.is_empty() { "from" } else { "to" };
        let links = self.addresses.iter().map(|(&index, address)| Link {
            name: format!("{way} {address}"),
            index,
            up: slots.iter().filter(|slot| slot.up && usize::from(slot.link) == index).count(),
            rate: meters.link_rate(now, index),
            trouble: String::new(),
        });
        let links = links.collect();
        Snapshot {
            side: Side::Rx,
            phase: phase(
                self.session.outcome(Way::In),
                meters.has_met(),
                receiver.is_some_and(|r| r.whole().is_some()),
            ),
            elapsed: meters.elapsed(now),
            expected: None,
            delivered,
            rate: meters.rate(now),
            held,
            buffer,
            detail: Detail::Rx {
                received: receiver.map_or(0, |r| r.received_bytes()),
                next: receiving.position().next,
                ahead: (ahead as u64, ahead_bytes),
                copies: self.session.again() + receiver.map_or(0, |r| r.duplicates()),
                blocked: self.blocked.for_how_long(Instant::now()),
            },
            waited,
            lost: receiving.connections_lost(),
            last_loss: self.last_loss.clone(),
            links,
            connections,
        }
    }

    /// The output's waiting is measured where it happens; all other time is the network's, or the input's.
    fn waited_in(&mut self, now: Instant) -> Waited {
        let all: Duration = self.meters[Way::In as usize].waited(now).network;
        let output = self.blocked.total(Instant::now()).min(all);
        Waited { network: all - output, output, ..Waited::default() }
    }
}
