//! The snapshot of a session's stream, for reports.

use super::connection::{Seat, SessionDesk};
use super::core::SessionCore;
use super::pool::Pool;
use crate::proto::outcome::{Outcome, Status};
use crate::proto::sender::Progress;
use crate::proto::session::{Brought, Given, Losses, Session, Whereabouts};
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

/// The phase of a stream, by how it was judged.
fn phase(outcome: Option<&Outcome>, met: bool, closing: bool) -> Phase {
    match outcome {
        Some(Outcome { status: Status::Complete, .. }) => Phase::Over(Ok(())),
        Some(ending) => Phase::Over(Err(ending.sentence.clone())),
        None if !met => Phase::Waiting,
        None if closing => Phase::Closing,
        None => Phase::Moving,
    }
}

/// Where a connection is, as a report shows it.
fn state(session: &Session, connection: usize) -> (State, Option<usize>) {
    match session.whereabouts(connection) {
        Whereabouts::Down => (State::Down, None),
        Whereabouts::Dialling(link) => (State::Dialling, Some(link)),
        Whereabouts::Up(link) => (State::Up, Some(link)),
        Whereabouts::Leaving(link) => (State::Leaving, Some(link)),
    }
}

impl SessionCore {
    fn snapshot_out(&mut self, now: Instant, held: u64) -> Snapshot {
        let delivered = self.delivered(Way::Out);
        let Some(sending) = self.session.sending() else {
            unreachable!("only asked of a stream that there is")
        };
        let (stats, session) = (sending.sender().stats(), &self.session);
        let losses: &Losses = session.losses();
        let Progress { pushed: read, sent, .. } = sending.sender().progress();
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
            up: session.connections_on(index),
            rate: meters.link_rate(now, index),
            trouble: if session.connections_on(index) > 0 {
                String::new()
            } else {
                session.trouble(index).into()
            },
        });
        let all_links = all_links.collect();
        let connection = |number| {
            let (state, link) = state(session, number);
            let Given { bytes, leg, .. } = sending.given(number);
            let rate = meters.connection_rate(now, number);
            Connection { number, link, state, leg, bytes, rate, kernel: None }
        };
        // the far end's connections are shown once they have been there
        let seen = |number: &usize| {
            !self.names.is_empty()
                || session.whereabouts(*number) != Whereabouts::Down
                || sending.given(*number).legs > 0
        };
        let connections = (0..session.connections()).filter(seen).map(connection).collect();
        let detail = Detail::Tx {
            read,
            sent,
            again: (stats.legs_again, stats.bytes_again),
            rescues: stats.rescues,
            damaged: stats.damaged,
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
            lost: losses.count,
            last_loss: losses.last.as_ref().map(|(link, why)| format!("{}: {why}", name(*link))),
        }
    }

    fn snapshot_in(&mut self, now: Instant, held: u64, buffer: u64) -> Snapshot {
        let delivered = self.delivered(Way::In);
        let waited = self.waited_in(now);
        let Some(receiving) = self.session.receiving() else {
            unreachable!("only asked of a stream that there is")
        };
        let meters = &mut self.meters[Way::In as usize];
        let (session, receiver) = (&self.session, receiving.receiver());
        let ahead = receiver.map(|r| r.ahead()).unwrap_or_default();
        let connection = |number: usize| {
            let (state, link) = state(session, number);
            let Brought { bytes, .. } = receiving.brought(number);
            let rate = meters.connection_rate(now, number);
            Connection { number, link, state, leg: self.brought[number], bytes, rate, kernel: None }
        };
        let known =
            |number: &usize| session.link_of(*number).is_some() || receiving.brought(*number).legs > 0;
        let connections = (0..session.connections()).filter(known).map(connection).collect();
        let way = if self.names.is_empty() { "from" } else { "to" };
        let links = self.addresses.iter().map(|(&index, address)| Link {
            name: format!("{way} {address}"),
            index,
            up: session.connections_on(index),
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
                ahead: (ahead.legs, ahead.bytes),
                copies: self.session.again() + receiver.map_or(0, |r| r.duplicates()),
                blocked: self.blocked.for_how_long(Instant::now()),
            },
            waited,
            lost: session.losses().count,
            last_loss: self.last_loss.clone(),
            links,
            connections,
        }
    }

    /// The time that the output was blocked is measured by egress. All other time counts for the network or the input.
    fn waited_in(&mut self, now: Instant) -> Waited {
        let all: Duration = self.meters[Way::In as usize].waited(now).network;
        let output = self.blocked.total(Instant::now()).min(all);
        Waited { network: all - output, output, ..Waited::default() }
    }
}
