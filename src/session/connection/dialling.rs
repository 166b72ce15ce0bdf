//! The thread of a connection at the end that dials: it has one TCP connection after another, as the core orders.

use super::owner::Serving;
use super::seat::Seat;
use super::shared::{self, Shared};
use super::writer::Greeting;
use crate::channel::connect::Dialled;
use crate::channel::peer_key;
use crate::proto::session::Outbound;
use crate::session::dial::Destination;
use crate::session::limits::HEADSTART;
use crate::session::orders::{Order, Ticket};
use crate::session::pump::Inlet;
use mio::{Events, Poll};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where one connection carries what is new, the others are dialled when the stream has lasted so long. To start and to
/// end fifteen connections costs both ends together 8 ms of processor time, a fifth of what 100 MB cost.
const ALONE: Duration = Duration::from_millis(50);

/// A thread that dials.
pub struct Dialling {
    /// Its number; threads begin with different addresses of a name.
    pub place: usize,
    /// What it owns.
    pub seat: Arc<Seat>,
    /// Where it waits.
    pub poll: Poll,
    /// Where links lead.
    pub targets: Vec<Destination>,
    /// The session.
    pub shared: Shared,
}

impl Dialling {
    /// Works until the session is over.
    pub fn run(mut self) {
        let mut events = Events::with_capacity(8);
        if self.place > 0 {
            self.leave_it_to_the_first(&mut events);
        }
        loop {
            match self.shared.desk.take_order(self.place) {
                Some(Order::Dial { ticket, link, hello, timeout, segment }) => {
                    let hello = self.shared.desk.peek(|core| core.session.renewed(*hello));
                    let dialled = self.targets[link].dial(self.place, &hello, timeout, segment);
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

    /// Waits while the first connection is dialled, and while it is enough; not longer than the session.
    fn leave_it_to_the_first(&mut self, events: &mut Events) {
        let start = Instant::now();
        while !self.shared.desk.is_over() {
            let alone =
                self.shared.desk.peek(|core| core.session.sending().is_some_and(Outbound::one_carries));
            let Some(left) = left_alone(alone, start.elapsed()) else { return };
            // an interruption is a wake-up like any other
            let _ = self.poll.poll(events, Some(left));
        }
    }

    fn answered(&mut self, ticket: Ticket, link: usize, dialled: Dialled, events: &mut Events) {
        let (desk, place) = (&self.shared.desk, self.place);
        match dialled {
            Dialled::Refused(refusal) => {
                desk.lose(ticket, |core, now| core.session.refused(now, place, &refusal));
            }
            Dialled::Failed(error) => {
                desk.lose(ticket, |core, now| core.session.dial_failed(now, place, &error));
            }
            Dialled::Welcomed(welcomed) => {
                let address = welcomed.channel.peer().map(|address| address.ip());
                let (welcome, round_trip) = (welcomed.welcome, welcomed.round_trip);
                let key = peer_key(&welcomed.channel);
                let told = desk.connected(ticket, |core, now| {
                    core.met(now, link, address);
                    core.session.welcomed(now, place, &welcome, key, round_trip);
                    shared::is_checked(&core.session)
                });
                let Some(checked) = told else { return };
                let origin = address.map_or_else(|| "nowhere".to_owned(), |address| address.to_string());
                let channel = Arc::new(welcomed.channel);
                let serving = Serving::new(&self.shared, &self.seat, &mut self.poll, ticket, channel.clone());
                let origin = format!("connection {place} to {origin}");
                serving.run(Greeting::Done, checked, Inlet::with(&welcomed.early), &origin, events);
            }
        }
    }
}

/// For how long the first connection is still left alone, after so long; `alone`: it is up, and it is enough.
fn left_alone(alone: bool, passed: Duration) -> Option<Duration> {
    let left = if alone { ALONE } else { HEADSTART }.saturating_sub(passed);
    (!left.is_zero()).then_some(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_connections_are_dialled_at_once_unless_the_first_is_up_and_enough() {
        let ms = Duration::from_millis;
        assert_eq!(left_alone(false, ms(0)), Some(HEADSTART));
        assert_eq!(left_alone(false, ms(2)), None);
        assert_eq!((left_alone(true, ms(2)), left_alone(true, ms(50))), (Some(ms(48)), None));
    }
}
