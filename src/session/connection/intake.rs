//! What a connection brings, told to the core.

use super::seat::SessionDesk;
use super::writer::is_last_word;
use crate::chaos::{Harm, Hazard};
use crate::message;
use crate::proto::breach::Breach;
use crate::proto::leg::{Leg, Payload};
use crate::proto::links::LossReason;
use crate::proto::session::Place;
use crate::proto::wire::{Frame, LegHeader};
use crate::session::limits::{FRAMES, LEGS};
use crate::session::orders::Ticket;
use crate::session::pool::{Buffer, Pool};
use crate::session::pump::{Intake, Stop};
use crate::stage;
use crate::sys::refusal;
use std::sync::Arc;

/// Takes what comes on one connection.
pub(crate) struct Inbox<'a> {
    pub desk: &'a SessionDesk,
    pub ticket: Ticket,
    /// Where legs live.
    pub pool: &'a Pool,
    /// Names the connection and its peer.
    pub origin: &'a Arc<str>,
    /// What is done to connections on purpose; none once the session is over.
    pub hazard: Option<&'a Hazard>,
    /// What is done to the connection when the leg under way is whole.
    pub due: &'a mut Option<Harm>,
}

impl Inbox<'_> {
    fn frame_counts(&self) -> Option<Harm> {
        self.hazard.and_then(Hazard::frame)
    }
}

impl Intake for Inbox<'_> {
    fn place(&mut self, header: &LegHeader) -> Result<Option<Buffer>, Stop> {
        *self.due = self.frame_counts();
        if let Some(harm) = self.due.take_if(|harm| *harm == Harm::Cut) {
            return Err(Stop::Harmed(harm));
        }
        let place = self.ticket.place;
        let placed = self.desk.peek_as(self.ticket, |core| core.session.place(place, header));
        match placed.ok_or(Stop::Over)?? {
            Place::Scratch => Ok(None),
            // Legs of the agreed sizes inside the window always have room. If the kernel refused memory, the session is
            // being ended for that, and the sender is told.
            Place::Keep => match self.pool.try_take(header.encoded as usize) {
                None if !refusal::is_known() => Err(Stop::Lost(LossReason::Breach(Breach::BeyondMemory))),
                room => Ok(room),
            },
        }
    }

    fn leg(&mut self, header: LegHeader, buffer: Option<Buffer>) -> Result<(), Stop> {
        let (place, sequence) = (self.ticket.place, header.sequence);
        let told = match buffer.map(|buffer| (stage::verify(&header, &buffer), buffer)) {
            None => self.desk.tell_as(self.ticket, |core, now| core.session.leg_again(now, place)),
            Some((Err(stage::Damaged), _)) => {
                self.desk.tell_as(self.ticket, |core, now| core.session.leg_damaged(now, place, sequence))
            }
            Some((Ok(crc), buffer)) => {
                let (payload, origin): (Payload, _) = (Arc::new(buffer), Some(self.origin.clone()));
                let leg = Leg { crc, origin, ..Leg::new(sequence, header.offset, payload) };
                message::note(LEGS, || format!("{}: {leg:?} came", self.origin));
                self.desk.tell_as(self.ticket, |core, now| {
                    core.came(place, sequence, leg.len());
                    core.session.leg(now, place, leg);
                })
            }
        };
        told.ok_or(Stop::Over)?;
        self.due.take().map_or(Ok(()), |harm| Err(Stop::Harmed(harm)))
    }

    fn frame(&mut self, frame: Frame) -> Result<(), Stop> {
        let place = self.ticket.place;
        message::note(FRAMES, || format!("connection {place}: {frame:?} came"));
        let counts = !is_last_word(&frame);
        let told = self.desk.tell_as(self.ticket, |core, now| core.session.frame(now, place, frame));
        told.ok_or(Stop::Over)?;
        let harm = if counts { self.frame_counts() } else { None };
        harm.map_or(Ok(()), |harm| Err(Stop::Harmed(harm)))
    }
}
