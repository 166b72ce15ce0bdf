//! What the receiver says of legs: which of them it has, which one was damaged, and how far the window goes.
//!
//! An acknowledgement is checked whole before anything follows from it. What it says of one connection is a count, in the
//! order in which legs were sent there. What it says of the stream, the next leg wanted and the window's edge, only ever
//! moves on: an older value that comes later changes nothing.

use super::super::breach::Breach;
use super::super::wire::{Ack, WindowEdge};
use super::{Acked, FAILURES_MAX, Sender};
use std::time::Instant;

impl Sender {
    /// The receiver's acknowledgement, as it came on this connection.
    ///
    /// # Errors
    /// A breach frees nothing.
    pub fn ack(&mut self, now: Instant, connection: usize, ack: &Ack) -> Result<Acked, Breach> {
        let Some(carrier) = self.connections[connection].as_ref() else { return Ok(Acked::default()) };
        let sent = carrier.counted + carrier.flights.len() as u64;
        if ack.count > sent {
            return Err(Breach::CountBeyondSent { counted: ack.count, sent });
        }
        if ack.next > self.fresh() || ack.delivered > self.sent_bytes() {
            return Err(Breach::BeyondSent);
        }
        let mut acked = self.count(now, connection, ack.count);
        acked.bytes += self.receive_below(ack.next);
        let wider = self.widen(ack.edge);
        let delivered = ack.delivered > self.delivered;
        self.delivered = self.delivered.max(ack.delivered);
        acked.moved |= acked.bytes > 0 || wider || delivered;
        Ok(acked)
    }

    /// The receiver found a leg damaged. False if that leg has now failed too often.
    pub fn nack(&mut self, connection: usize, sequence: u64) -> Result<bool, Breach> {
        let unknown = Breach::UnknownLeg(sequence);
        let carrier = self.connections[connection].as_mut().ok_or(unknown.clone())?;
        let flight =
            carrier.flights.iter_mut().find(|f| f.sequence == sequence && !f.damaged).ok_or(unknown)?;
        flight.damaged = true;
        self.stats.damaged += 1;
        let Some(held) = self.get_mut(sequence) else { return Ok(true) };
        held.carriers.remove(connection);
        // another copy of it has come whole
        if held.payload.is_none() {
            return Ok(true);
        }
        held.failures += 1;
        held.damaged_on.insert(connection);
        let bearable = held.failures < FAILURES_MAX;
        self.again.insert(sequence);
        Ok(bearable)
    }

    /// The receiver has taken `count` legs from this connection, in its send order.
    fn count(&mut self, now: Instant, connection: usize, count: u64) -> Acked {
        let mut acked = Acked::default();
        let Some(carrier) = self.connections[connection].as_mut() else { return acked };
        let taken = count.saturating_sub(carrier.counted) as usize;
        if taken == 0 {
            return acked;
        }
        self.brought += carrier.note_counted(now, taken);
        acked.moved = true;
        for _ in 0..taken {
            let carrier = self.connections[connection].as_mut();
            let Some(flight) = carrier.and_then(|carrier| carrier.flights.pop_front()) else { break };
            if flight.damaged {
                continue;
            }
            if let Some(held) = self.get_mut(flight.sequence) {
                held.carriers.remove(connection);
            }
            self.beaten(now, &flight);
            if let Some(len) = self.receive(flight.sequence, Some(flight.sent)) {
                acked.bytes += len;
            }
        }
        if self.connections[connection].as_ref().is_some_and(|carrier| carrier.flights.is_empty()) {
            self.busy.remove(connection);
        }
        self.drop_received();
        acked
    }

    /// The receiver has every leg below `next`. How many bytes of them it was not known to have.
    pub(super) fn receive_below(&mut self, next: u64) -> u64 {
        let mut bytes = 0;
        for sequence in self.first..next.min(self.fresh()) {
            let sent = self.get(sequence).and_then(|h| h.sent);
            bytes += self.receive(sequence, sent).unwrap_or(0);
        }
        self.drop_received();
        bytes
    }

    /// Marks a leg received; its length if it was not before.
    fn receive(&mut self, sequence: u64, sent: Option<Instant>) -> Option<u64> {
        self.again.remove(&sequence);
        let held = self.get_mut(sequence)?;
        let payload = held.payload.take()?;
        let (len, late) = (held.len, held.late);
        self.freed.push(payload);
        if let Some(late) = late {
            self.lates.remove(&(late, sequence));
        }
        self.newest_received = self.newest_received.max(sent);
        Some(len)
    }

    /// Forgets the legs at the front that were received.
    fn drop_received(&mut self) {
        while self.held.front().is_some_and(|held| held.payload.is_none()) {
            self.held.pop_front();
            self.first += 1;
        }
    }

    /// Takes what the receiver says of its window, which never moves back. Whether that moved it on.
    pub(super) fn widen(&mut self, edge: WindowEdge) -> bool {
        let before = self.edge;
        self.edge.bytes = self.edge.bytes.max(edge.bytes);
        self.edge.legs = self.edge.legs.max(edge.legs);
        self.edge != before
    }
}
