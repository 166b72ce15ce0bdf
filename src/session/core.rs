//! The core that stands behind the desk: what `proto` decides, and beside it what is counted for reports and for the level
//! of compression.

use super::compressing::Path;
use super::meters::{Cause, Meters};
use super::orders::{Core, Hunger};
use super::waits::{Blocked, InputWait, InputWaits};
use crate::proto::leg::{CONNECTIONS_MAX, LEG_MAX, Payload};
use crate::proto::links::LossReason;
use crate::proto::outcome::{Outcome, Status};
use crate::proto::sender::Progress;
use crate::proto::session::{Action, Session};
use crate::proto::set::ConnectionSet;
use crate::proto::way::{PerWay, Way};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// Memory the input may fill before any receiver was met: two pieces, one that waits and one that is read.
pub(crate) const BEFORE_MEETING: u64 = 2 * LEG_MAX as u64;

/// The core, and what is counted for reports.
pub(crate) struct SessionCore {
    /// Decides everything.
    pub(crate) session: Session,
    pub(super) meters: PerWay<Meters>,
    /// Memory for the stream that goes out, in bytes.
    pub(super) buffer: u64,
    /// What the input's thread waits for.
    pub(super) input: InputWaits,
    /// For how long the output has been taking nothing.
    pub(super) blocked: Arc<Blocked>,
    /// The peer's address on each link on which a connection was seen.
    pub(super) addresses: BTreeMap<usize, IpAddr>,
    /// The leg that each connection brought last.
    pub(super) brought: [Option<u64>; CONNECTIONS_MAX],
    /// When the first connection was up.
    pub(super) met: Option<Instant>,
    /// Bytes of the leg behind those that the output has taken, if the stream ended in the middle of it.
    pub(super) beyond: u64,
    /// The output takes nothing more: its thread has ended, or there is none.
    pub(super) has_counted: bool,
    /// Links as the user typed them; empty at the end that listens.
    pub(super) names: Vec<String>,
    /// As of the latest event.
    now: Instant,
}

impl SessionCore {
    /// Nothing has happened yet.
    pub(crate) fn new(
        now: Instant,
        session: Session,
        buffer: u64,
        names: Vec<String>,
        input: InputWaits,
        blocked: Arc<Blocked>,
    ) -> Self {
        SessionCore {
            has_counted: session.receiving().is_none(),
            session,
            meters: PerWay::from_fn(|_| Meters::new(now)),
            buffer,
            input,
            blocked,
            addresses: BTreeMap::new(),
            brought: [None; CONNECTIONS_MAX],
            met: None,
            beyond: 0,
            names,
            now,
        }
    }

    /// When the latest event was.
    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// A connection is up, or about to be, on a link that leads to this address.
    pub(crate) fn met(&mut self, now: Instant, link: usize, address: Option<IpAddr>) {
        self.met.get_or_insert(now);
        self.meters.iter_mut().for_each(|meters| meters.meet(now));
        self.addresses.extend(address.map(|address| (link, address)));
    }

    /// A connection has ended.
    pub(crate) fn lost(&mut self, now: Instant, connection: usize, why: &LossReason) {
        self.session.lost(now, connection, why);
    }

    /// A leg of so many bytes was given to a connection.
    pub(crate) fn sent(&mut self, connection: usize, bytes: u64) {
        let link = self.session.link_of(connection);
        self.meters.outgoing.leg(self.now, connection, link, bytes);
    }

    /// A connection has brought a leg.
    pub(crate) fn came(&mut self, connection: usize, sequence: u64, bytes: u64) {
        let link = self.session.link_of(connection);
        self.meters.incoming.leg(self.now, connection, link, bytes);
        self.brought[connection] = Some(sequence);
    }

    /// What the level of compressing follows, on this connection.
    pub(crate) fn path(&mut self, connection: usize) -> Path {
        let pace = self.session.sending().and_then(|sending| sending.sender().pace(connection));
        // the shortest: what waits in queues says nothing about how soon the path answers
        let round_trip = pace.and_then(|pace| pace.rtt_min()).unwrap_or_default();
        Path { network: self.meters.outgoing.waited(self.now).network, round_trip }
    }

    /// With so many bytes the next piece of the input goes at once; never 0.
    pub(crate) fn piece_size(&self) -> usize {
        self.session.appetite().size().max(1)
    }

    /// Whether the stream that goes out has ended, be it before its input.
    pub(crate) fn has_ended(&self) -> bool {
        self.session.sending().is_some_and(|sending| sending.sender().has_ended())
    }

    /// How a stream was judged, if it was.
    pub(crate) fn outcome(&self, way: Way) -> Option<&Outcome> {
        self.session.outcome(way)
    }

    /// What holds the outgoing stream back. If the buffer is full, that is the network, which takes long to confirm
    /// legs; the input is not slow then.
    fn cause(&self) -> Cause {
        let Some(sending) = self.session.sending().filter(|_| self.met.is_some()) else {
            return Cause::Nobody;
        };
        let hungry = sending.is_hungry() && !sending.sender().has_ended();
        if hungry && self.input.get() != InputWait::Memory {
            if self.input.get() == InputWait::Pace { Cause::Pacing } else { Cause::Input }
        } else if sending.awaits_verdict()
            || (!sending.blocked_at_peer().is_zero() && (hungry || sending.waits_for_output()))
        {
            Cause::Output
        } else {
            Cause::Network
        }
    }

    /// Bytes of a stream that the output has taken, as far as is known here.
    pub(super) fn delivered(&self, way: Way) -> u64 {
        match way {
            Way::In => {
                let whole = self.session.receiving().map_or(0, |receiving| receiving.position().delivered);
                whole + self.beyond
            }
            Way::Out => self.session.sending().map_or(0, |sending| {
                let Progress { pushed, delivered, .. } = sending.sender().progress();
                // the verdict may overtake the last acknowledgement
                let complete = self.outcome(way).is_some_and(|ending| ending.status == Status::Complete);
                if complete { pushed } else { delivered }
            }),
        }
    }
}

impl Core for SessionCore {
    fn enter(&mut self, now: Instant) {
        self.now = now;
        let causes = PerWay {
            incoming: if self.met.is_some() { Cause::Network } else { Cause::Nobody },
            outgoing: self.cause(),
        };
        for way in Way::BOTH {
            let delivered = self.delivered(way);
            let meters = &mut self.meters[way];
            meters.delivered(now, delivered);
            meters.wait_for(now, causes[way]);
        }
        self.session.output_blocked(self.blocked.for_how_long());
    }

    fn tick(&mut self, now: Instant) {
        self.session.tick(now);
    }

    fn poll(&mut self) -> Option<Action> {
        self.session.poll()
    }

    fn take_posted(&mut self) -> ConnectionSet {
        self.session.take_posted()
    }

    fn take_freed(&mut self) -> Vec<Payload> {
        self.session.take_freed()
    }

    fn deadline(&self, now: Instant) -> Option<Instant> {
        self.session.deadline(now)
    }

    fn hunger(&self) -> Hunger {
        let Some(sending) = self.session.sending().filter(|sending| sending.is_hungry()) else {
            return if self.session.has_enough_input() { Hunger::Sated } else { Hunger::None };
        };
        if sending.sender().holds_nothing() { Hunger::Idle } else { Hunger::Free }
    }
}
