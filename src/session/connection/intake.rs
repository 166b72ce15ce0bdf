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
use crate::session::decoding::Decoding;
use crate::session::limits::{FRAMES, LEGS};
use crate::session::orders::Ticket;
use crate::session::pool::{Buffer, Pool};
use crate::session::pump::{Intake, Stop};
use crate::stage;
use crate::sys::refusal;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Takes what comes on one connection.
pub(crate) struct Inbox<'a> {
    pub desk: &'a SessionDesk,
    pub ticket: Ticket,
    /// Where legs live.
    pub pool: &'a Pool,
    /// What decompresses them.
    pub decoding: &'a Decoding,
    /// Names the connection and its peer.
    pub origin: &'a Arc<str>,
    /// What is done to connections on purpose; none once the session is over.
    pub hazard: Option<&'a Hazard>,
    /// What is done to the connection when the leg under way is whole.
    pub due: &'a mut Option<Harm>,
}

/// A leg in the stream, and its CRC-32.
type Opened = Result<(Option<u32>, Buffer), stage::Damaged>;

/// How long memory is waited for that other connections are about to free.
const ROOM_TIME: Duration = Duration::from_millis(500);

impl Inbox<'_> {
    fn frame_counts(&self) -> Option<Harm> {
        self.hazard.and_then(Hazard::frame)
    }

    /// The leg as it is in the stream, and its CRC-32 if it is checked, from what came whole and undamaged. None if it
    /// is not wanted any more.
    fn open(&self, header: &LegHeader, payload: Buffer) -> Result<Option<Opened>, Stop> {
        let Some(mut raw) = self.room(header)? else { return Ok(None) };
        let (encoded, said) = stage::opened(header, &payload);
        let misfit = |_| Stop::Lost(LossReason::Breach(Breach::Misfolded(header.sequence)));
        self.decoding.decode(encoded, raw.space()).map_err(misfit)?;
        raw.set_len(header.raw as usize);
        let found = said.map(|_| stage::checksum(&raw));
        Ok(Some(if said == found { Ok((found, raw)) } else { Err(stage::Damaged) }))
    }

    /// Memory for a leg as it is in the stream; None if the leg is not wanted any more. The window has room for each leg
    /// once. Only while two connections bring the same leg can there be none, until the first of them is done.
    fn room(&self, header: &LegHeader) -> Result<Option<Buffer>, Stop> {
        let begun = Instant::now();
        loop {
            if let Some(room) = self.pool.try_take(header.raw as usize) {
                return Ok(Some(room));
            }
            let place = self.ticket.place;
            let placed = self.desk.peek_as(self.ticket, |core| core.session.place(place, header));
            if refusal::is_known() || placed.ok_or(Stop::Over)?? == Place::Scratch {
                return Ok(None);
            }
            if begun.elapsed() > ROOM_TIME {
                return Err(Stop::Lost(LossReason::Breach(Breach::BeyondMemory)));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
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
        let opened = match buffer.map(|buffer| (stage::verify(&header, &buffer), buffer)) {
            None => None,
            Some((Err(damaged), _)) => Some(Err(damaged)),
            Some((Ok(_), buffer)) if header.is_encoded() => self.open(&header, buffer)?,
            Some((Ok(crc), buffer)) => Some(Ok((crc, buffer))),
        };
        let told = match opened {
            None => self.desk.tell_as(self.ticket, |core, now| core.session.leg_again(now, place)),
            Some(Err(stage::Damaged)) => {
                self.desk.tell_as(self.ticket, |core, now| core.session.leg_damaged(now, place, sequence))
            }
            Some(Ok((crc, buffer))) => {
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
