//! The snapshot of a session's stream, for reports.

use super::compressing::Compressing;
use super::connection::{Seat, SessionDesk};
use super::core::SessionCore;
use super::decoding::Decoding;
use super::pool::Pool;
use crate::proto::outcome::{Outcome, Status};
use crate::proto::sender::Progress;
use crate::proto::session::{Brought, Given, Inbound, Outbound, Session, Whereabouts};
use crate::proto::way::Way;
use crate::report::{Compressed, Connection, Detail, Link, Passage, Phase, Side, Snapshot, State, Waited};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How one stream goes, without what the kernels know.
pub(crate) fn snapshot(desk: &SessionDesk, way: Way, pool: &Pool) -> Snapshot {
    let (now, held) = (desk.now(), pool.in_use());
    desk.peek(|core| match way {
        Way::In => core.snapshot_in(now, held, pool.capacity()),
        Way::Out => core.snapshot_out(now, held),
    })
}

/// Adds what becomes of its legs on their way.
pub(crate) fn add_stages(snapshot: &mut Snapshot, compressing: Option<&Compressing>, decoding: &Decoding) {
    match snapshot.side {
        Side::Tx => {
            snapshot.held += compressing.map_or(0, Compressing::held);
            snapshot.compressed = compressing.map(Compressing::report);
        }
        Side::Rx => {
            let (raw, sent) = decoding.so_far();
            let Detail::Rx { received, .. } = snapshot.detail else { return };
            // copies of legs were counted there and not here
            let as_it_is = received.saturating_sub(raw);
            let came = Compressed { raw: raw + as_it_is, sent: sent + as_it_is, as_it_is, level: None };
            snapshot.compressed = (raw > 0).then_some(came);
        }
    }
}

/// Adds what the kernels know of its connections.
pub(crate) fn ask_kernels(desk: &SessionDesk, snapshot: &mut Snapshot) {
    for connection in snapshot.connections.iter_mut().filter(|connection| connection.state.is_up()) {
        let seat: Option<Arc<Seat>> = desk.seat_at(connection.number);
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
    // ---- the stream that goes out ---------------------------------------------------------------------

    fn snapshot_out(&mut self, now: Instant, held: u64) -> Snapshot {
        let (links, connections) = (self.links_out(now), self.connections_out(now));
        let delivered = self.delivered(Way::Out);
        let losses = self.session.losses();
        let last_loss =
            losses.last.as_ref().map(|loss| format!("{}: {}", self.link_name(loss.link), loss.why));
        let sending = self.outbound();
        let (closing, detail) = (sending.awaits_verdict(), detail_out(sending));
        let meters = &mut self.meters.outgoing;
        Snapshot {
            side: Side::Tx,
            peer: None,
            phase: phase(self.session.outcome(Way::Out), meters.has_met(), closing),
            elapsed: meters.elapsed(now),
            expected: None,
            passage: Passage::Copied,
            compressed: None,
            delivered,
            rate: meters.rate(now),
            held,
            buffer: self.buffer,
            detail,
            waited: meters.waited(now),
            lost: losses.count,
            last_loss,
            links,
            connections,
        }
    }

    fn outbound(&self) -> &Outbound {
        let Some(sending) = self.session.sending() else {
            unreachable!("only asked of a stream that there is")
        };
        sending
    }

    /// The links that the user named; at the far end those that have brought connections.
    fn links_out(&mut self, now: Instant) -> Vec<Link> {
        let known: Vec<usize> = if self.names.is_empty() {
            self.addresses.keys().copied().collect()
        } else {
            (0..self.names.len()).collect()
        };
        let link = |index| {
            let up = self.session.connections_on(index) > 0;
            let trouble = if up { String::new() } else { self.session.trouble(index).into() };
            self.link(now, Way::Out, index, self.link_name(index), trouble)
        };
        known.into_iter().map(link).collect()
    }

    fn link_name(&self, link: usize) -> String {
        match (self.names.get(link), self.addresses.get(&link)) {
            (Some(name), _) => name.clone(),
            (None, Some(address)) => format!("from {address}"),
            (None, None) => String::new(),
        }
    }

    /// The far end's connections are shown once they have been there.
    fn connections_out(&mut self, now: Instant) -> Vec<Connection> {
        let dials = !self.names.is_empty();
        let mut connections = Vec::new();
        for number in 0..self.session.connections() {
            let Given { bytes, legs, leg, .. } = self.outbound().given(number);
            if dials || legs > 0 || self.session.whereabouts(number) != Whereabouts::Down {
                connections.push(self.connection(now, Way::Out, number, bytes, leg));
            }
        }
        connections
    }

    // ---- the stream that comes in ---------------------------------------------------------------------

    fn snapshot_in(&mut self, now: Instant, held: u64, buffer: u64) -> Snapshot {
        let (links, connections) = (self.links_in(now), self.connections_in(now));
        let (delivered, waited) = (self.delivered(Way::In), self.waited_in(now));
        let closing = self.inbound().receiver().is_some_and(|receiver| receiver.whole().is_some());
        let detail = self.detail_in();
        let losses = self.session.losses();
        let last_loss =
            losses.last.as_ref().map(|loss| format!("connection {}: {}", loss.connection, loss.why));
        let meters = &mut self.meters.incoming;
        Snapshot {
            side: Side::Rx,
            peer: None,
            phase: phase(self.session.outcome(Way::In), meters.has_met(), closing),
            elapsed: meters.elapsed(now),
            expected: None,
            passage: Passage::Copied,
            compressed: None,
            delivered,
            rate: meters.rate(now),
            held,
            buffer,
            detail,
            waited,
            lost: losses.count,
            last_loss,
            links,
            connections,
        }
    }

    fn inbound(&self) -> &Inbound {
        let Some(receiving) = self.session.receiving() else {
            unreachable!("only asked of a stream that there is")
        };
        receiving
    }

    fn detail_in(&self) -> Detail {
        let receiver = self.inbound().receiver();
        let ahead = receiver.map(|receiver| receiver.ahead()).unwrap_or_default();
        Detail::Rx {
            received: receiver.map_or(0, |receiver| receiver.received_bytes()),
            next: self.inbound().position().next,
            ahead: (ahead.legs, ahead.bytes),
            copies: self.session.again() + receiver.map_or(0, |receiver| receiver.duplicates()),
            blocked: self.blocked.for_how_long(),
            in_doubt: !self.has_counted,
        }
    }

    /// Where connections have come from, or gone to.
    fn links_in(&mut self, now: Instant) -> Vec<Link> {
        let way = if self.names.is_empty() { "from" } else { "to" };
        let name = |(index, address): (&usize, &IpAddr)| (*index, format!("{way} {address}"));
        let named: Vec<_> = self.addresses.iter().map(name).collect();
        let link = |(index, name)| self.link(now, Way::In, index, name, String::new());
        named.into_iter().map(link).collect()
    }

    /// Connections are shown once they have been there.
    fn connections_in(&mut self, now: Instant) -> Vec<Connection> {
        let mut connections = Vec::new();
        for number in 0..self.session.connections() {
            let Brought { legs, bytes } = self.inbound().brought(number);
            if legs > 0 || self.session.link_of(number).is_some() {
                connections.push(self.connection(now, Way::In, number, bytes, self.brought[number]));
            }
        }
        connections
    }

    /// The output's waiting is measured where it happens; all other time is the network's, or the input's.
    fn waited_in(&mut self, now: Instant) -> Waited {
        let all: Duration = self.meters.incoming.waited(now).network;
        let output = self.blocked.total().min(all);
        Waited { network: all - output, output, ..Waited::default() }
    }

    // ---- either ---------------------------------------------------------------------------------------

    fn link(&mut self, now: Instant, way: Way, index: usize, name: String, trouble: String) -> Link {
        let rate = self.meters[way].link_rate(now, index);
        Link { name, index, up: self.session.connections_on(index), rate, trouble }
    }

    fn connection(
        &mut self,
        now: Instant,
        way: Way,
        number: usize,
        bytes: u64,
        leg: Option<u64>,
    ) -> Connection {
        let (state, link) = state(&self.session, number);
        let rate = self.meters[way].connection_rate(now, number);
        Connection { number, link, state, leg, bytes, rate, kernel: None }
    }
}

fn detail_out(sending: &Outbound) -> Detail {
    let stats = sending.sender().stats();
    let Progress { pushed: read, sent, .. } = sending.sender().progress();
    Detail::Tx {
        read,
        sent,
        again: (stats.legs_again, stats.bytes_again),
        rescues: stats.rescues,
        damaged: stats.damaged,
    }
}
