//! The receiving hub and the sending one of the same session, where they share connections.

use super::super::Pairing;
use super::super::tx::Lender;
use super::{Event, Hub, Place, Start};
use crate::run::conn::Handle;
use crate::run::worker::Command;
use crate::run::worker::receiving::{Met, Receiving};
use std::sync::Arc;
use std::time::Instant;

impl Start {
    /// Lends every connection that is let in to the other direction, which sends with this `congestion` control.
    pub fn lend_to(&mut self, lender: Lender, congestion: Option<String>) {
        self.hub.lender = Some(lender);
        self.hub.congestion = congestion;
    }

    /// What this borrower and the owner of the connections know of each other.
    pub(in super::super) fn pairing(&self) -> Arc<Pairing> {
        Arc::new(Pairing { begun: self.hub.shared.begun.clone(), ..Pairing::default() })
    }

    /// The receiving role of the worker in this place.
    pub(in super::super) fn role(&self, place: usize) -> Receiving {
        let ear = self.hub.ear.clone();
        let report = move |number, report| ear.send(Event::Worker(place, number, report)).is_ok();
        Receiving::dialled(place, self.terms, self.hub.shared.clone(), report)
    }

    /// Where commands for the worker in the next place go.
    pub(in super::super) fn borrow_from(&mut self, handle: Arc<Handle<Command>>) {
        self.hub.lines.push(handle);
    }
}

impl Hub {
    /// The other direction has a connection, which this one borrows.
    pub(super) fn borrow(&mut self, now: Instant, place: usize, number: u64, met: Met) {
        if let Some(address) = met.address {
            self.meet(now, met.link, address);
        }
        (self.announce)(met.features);
        self.places[place] = self.lines.get(place).map(|handle| Place { handle: handle.clone(), number });
        self.core.given(now, place, met.link);
        self.publish();
        // the window may have opened since its far end was welcomed, when nothing could be said there yet
        self.command(place, Command::Acknowledge { always: false });
    }

    /// Hears of the other direction, if that borrows from this one.
    pub(super) fn consult(&mut self) {
        if self.lender.as_ref().is_some_and(|lender| lender.pairing().has_borrower_begun()) {
            self.core.other_begun();
        }
    }
}
