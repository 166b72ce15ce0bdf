//! Connections that the receiving hub lets in and lends to the sending one.

use super::super::Pairing;
use super::Event;
use crate::proto::links::LossReason;
use crate::proto::transmission::Given;
use crate::run::conn::Handle;
use crate::run::worker::sending::{self, Sending};
use crate::run::worker::{Command, Role};
use crossbeam_channel::Sender;
use std::sync::Arc;

/// One connection, lent.
pub struct Loan {
    /// What the core is to know of it.
    pub given: Given,
    /// Which of those that had its place.
    pub number: u64,
    /// Where commands for it go.
    pub handle: Arc<Handle<Command>>,
    /// Where it comes from, as reports show it.
    pub source: String,
}

impl Loan {
    /// It is not wanted any more.
    pub fn return_at_once(self) {
        self.handle.command(Command::Finish(Role::Sending));
    }
}

/// The owner's way to the borrower.
pub struct Lender {
    ear: Sender<Event>,
    pairing: Arc<Pairing>,
}

impl Lender {
    pub(super) fn new(ear: Sender<Event>, pairing: Arc<Pairing>) -> Self {
        Lender { ear, pairing }
    }

    /// What the two hubs tell each other.
    pub fn pairing(&self) -> &Pairing {
        &self.pairing
    }

    /// The sending role of a connection of this place and number.
    pub fn role(&self, place: usize, number: u64, checked: bool) -> Sending {
        let ear = self.ear.clone();
        Sending::new(place, checked, move |report| ear.send(Event::Worker(place, number, report)).is_ok())
    }

    /// Lends a connection, before its thread has started.
    pub fn lend(&self, loan: Loan) {
        // a stream that is over needs none: the worker learns that when nobody hears it
        let _ = self.ear.send(Event::Loan(Box::new(loan)));
    }

    /// A connection that was lent has no thread.
    pub fn lost(&self, place: usize, number: u64, why: String) {
        let report = sending::Report::Lost(LossReason::Failed(why));
        let _ = self.ear.send(Event::Worker(place, number, report));
    }
}
