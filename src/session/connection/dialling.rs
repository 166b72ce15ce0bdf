//! The thread of a connection at the end that dials: it has one TCP connection after another, as the core orders.

use super::owner::Serving;
use super::seat::Seat;
use super::shared::{self, Shared};
use crate::channel::connect::Dialled;
use crate::channel::peer_key;
use crate::proto::welcoming::Welcoming;
use crate::session::destination::Destination;
use crate::session::orders::{Order, Ticket};
use crate::session::pump::Inlet;
use mio::{Events, Poll};
use std::sync::Arc;

/// A thread that dials.
pub(crate) struct Dialling {
    /// Its number; threads begin with different addresses of a name.
    pub(crate) connection: usize,
    /// What it owns.
    pub(crate) seat: Arc<Seat>,
    /// Where it waits.
    pub(crate) poll: Poll,
    /// Where links lead.
    pub(crate) destinations: Vec<Destination>,
    /// The session.
    pub(crate) shared: Shared,
}

impl Dialling {
    /// Works until the session is over.
    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(8);
        loop {
            match self.shared.desk.take_order(self.connection) {
                Some(Order::Dial { ticket, link, hello, timeout, segment }) => {
                    let hello = self.shared.desk.peek(|core| core.session.renewed(*hello));
                    let dialled = self.destinations[link].dial(self.connection, &hello, timeout, segment);
                    self.answered(ticket, link, dialled, &mut events);
                }
                Some(Order::Finish) => return,
                None => {
                    // an interruption is a wake-up like any other
                    let _ = self.poll.poll(&mut events, None);
                }
            }
        }
    }

    fn answered(&mut self, ticket: Ticket, link: usize, dialled: Dialled, events: &mut Events) {
        let (desk, connection) = (&self.shared.desk, self.connection);
        match dialled {
            Dialled::Refused(refusal) => {
                desk.lose(ticket, |core, now| core.session.refused(now, connection, &refusal));
            }
            Dialled::Failed(error) => {
                desk.lose(ticket, |core, now| core.session.dial_failed(now, connection, &error));
            }
            Dialled::Welcomed(welcomed) => {
                let address = welcomed.channel.peer().map(|address| address.ip());
                let (welcome, round_trip) = (welcomed.welcome, welcomed.round_trip);
                let key = peer_key(&welcomed.channel);
                let told = desk.connected(ticket, |core, now| {
                    core.met(now, link, address);
                    core.session.welcomed(now, connection, &welcome, key, round_trip);
                    shared::is_checked(&core.session)
                });
                let Some(checked) = told else { return };
                let origin = address.map_or_else(|| "nowhere".to_owned(), |address| address.to_string());
                let channel = Arc::new(welcomed.channel);
                let serving = Serving::new(&self.shared, &self.seat, &mut self.poll, ticket, channel.clone());
                let origin = format!("connection {connection} to {origin}");
                serving.run(Welcoming::Done, checked, Inlet::with(&welcomed.early), &origin, events);
            }
        }
    }
}
