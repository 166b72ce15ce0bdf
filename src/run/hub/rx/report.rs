//! What the receiving hub says of itself when it is asked.

use super::super::{Asker, phase};
use super::Hub;
use crate::proto::reception::SlotStats;
use crate::report::{Connection, Detail, Link, Side, Snapshot, State, Waited};
use crate::run::worker::Command;
use std::net::IpAddr;
use std::time::Instant;

impl Hub {
    pub(super) fn report(&mut self, asker: Asker) {
        for (index, place) in self.places.iter().enumerate() {
            if let (Some(place), Some(informer)) = (place, asker.informer(index)) {
                place.handle.command(Command::Inform(informer));
            }
        }
        let snapshot = self.snapshot();
        self.tally.answer(asker, snapshot);
    }

    pub(super) fn snapshot(&mut self) -> Snapshot {
        let now = Instant::now();
        let (next, delivered, _) = self.core.position();
        let slots = self.core.slots();
        let receiver = self.core.receiver();
        let (ahead, ahead_bytes) = receiver.map_or((0, 0), |r| r.ahead());
        let connection = |(number, slot): (usize, &SlotStats)| Connection {
            number,
            link: Some(slot.link.into()),
            state: if slot.up { State::Up } else { State::Down },
            leg: self.brought[number],
            bytes: slot.bytes,
            rate: self.tally.connection_rate(now, number),
            kernel: None,
        };
        let known = slots.iter().enumerate().filter(|(_, slot)| slot.up || slot.legs > 0);
        let connections = known.map(connection).collect();
        let link = |(&index, address): (&usize, &IpAddr)| Link {
            name: match self.core.borrows() {
                true => format!("to {}", address.to_canonical()),
                false => format!("from {}", address.to_canonical()),
            },
            index,
            up: slots.iter().filter(|slot| slot.up && usize::from(slot.link) == index).count(),
            rate: self.tally.link_rate(now, index),
            trouble: String::new(),
        };
        let links = self.sources.iter().map(link).collect();
        Snapshot {
            side: Side::Rx,
            phase: phase(
                self.settled.as_ref().or(self.ending.as_ref()),
                self.tally.has_met(),
                receiver.is_some_and(|r| r.whole().is_some()),
            ),
            elapsed: self.tally.elapsed(now),
            expected: None,
            delivered,
            rate: self.tally.rate(now),
            held: self.shared.pool.in_use(),
            buffer: self.shared.pool.capacity(),
            detail: Detail::Rx {
                received: receiver.map_or(0, |r| r.received_bytes()),
                next,
                ahead: (ahead as u64, ahead_bytes),
                copies: receiver.map_or(0, |r| r.duplicates()),
                blocked: self.shared.blocked.for_how_long(now),
            },
            waited: self.waited(now),
            lost: self.core.connections_lost(),
            last_loss: self.last_loss.clone(),
            links,
            connections,
        }
    }

    /// The output's waiting is measured where it happens; all other time is the network's, or the input's.
    fn waited(&mut self, now: Instant) -> Waited {
        let all = self.tally.waited(now).network;
        let output = self.shared.blocked.total(now).min(all);
        Waited { network: all - output, output, ..Waited::default() }
    }
}
