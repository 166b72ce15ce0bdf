//! How a session that fails while it has no connection still tells of it; see [`Unsaid`](super::unsaid::Unsaid).

use super::super::leg::CONNECTIONS_MAX;
use super::super::links::LossReason;
use super::super::outcome::Outcome;
use super::super::peer_key::PeerKey;
use super::super::waiting::Patience;
use super::super::way::Way;
use super::Session;
use super::unsaid::{FAILURE, ORDER, Unsaid};
use std::time::Instant;

impl Session {
    /// This end cannot go on; the peer is told why. With no connection up, one is waited for, for up to [`ORDER`].
    pub fn fail(&mut self, now: Instant, outcome: &Outcome) {
        if !self.defers(now, None, outcome) {
            self.stop(now, outcome);
        }
        self.step(now);
    }

    /// A key is not trusted any more. If it is the peer's, the session ends so; one of which nothing has come loses its
    /// connections instead, and is forgotten.
    pub fn distrust(&mut self, now: Instant, key: PeerKey, outcome: &Outcome) {
        if self.peer_key() != Some(key) || self.is_over() {
            return;
        }
        if self.ownership.dials() || self.view().begun {
            return self.fail(now, outcome);
        }
        for connection in 0..CONNECTIONS_MAX {
            if self.link_of(connection).is_some() {
                self.give_up(now, connection, LossReason::Left);
            }
        }
        self.step(now);
    }

    /// The session is to end so. Whether that waits for a connection to tell it on.
    pub(super) fn defers(&mut self, now: Instant, way: Option<Way>, outcome: &Outcome) -> bool {
        if self.is_over() || !self.carrying().is_empty() || !self.hopes(way) {
            return false;
        }
        let time = if way.is_some() { FAILURE } else { ORDER };
        let until = now
            + self.ownership.patience().map_or(time, |patience| match patience {
                Patience::For(patience) => patience.min(time),
                Patience::ForEver => time,
            });
        match &mut self.unsaid {
            // what failed first is the reason; the user waits for an order to take effect
            Some(unsaid) => unsaid.until = unsaid.until.min(until),
            None => self.unsaid = Some(Unsaid { way, outcome: outcome.clone(), until }),
        }
        true
    }

    /// Whether it is worth while to wait for a connection, to tell of a stream that failed, or of an order.
    fn hopes(&self, way: Option<Way>) -> bool {
        self.ownership.hopes(way.is_some(), self.view())
    }

    /// Ends what waits to be told, if it was waited for long enough or there is somebody to tell.
    pub(super) fn say_unsaid(&mut self, now: Instant) {
        let Some(unsaid) = &self.unsaid else { return };
        if !self.hopes(unsaid.way) || unsaid.until <= now || !self.carrying().is_empty() {
            self.end_unsaid(now);
        }
    }

    /// Ends what waits to be told, now. Whether anything did.
    pub(super) fn end_unsaid(&mut self, now: Instant) -> bool {
        let Some(Unsaid { way, outcome, .. }) = self.unsaid.take() else { return false };
        match way {
            Some(way) => self.break_stream(now, way, outcome),
            None => self.stop(now, &outcome),
        }
        true
    }

    /// When that is due.
    pub(super) fn unsaid_until(&self) -> Option<Instant> {
        self.unsaid.as_ref().map(|unsaid| unsaid.until)
    }
}
