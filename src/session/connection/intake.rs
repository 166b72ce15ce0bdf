//! What a connection brings, told to the core.

use super::holding::For;
use super::shared::Shared;
use super::stages::{Came, Hearer, Stages};
use super::writer::is_last_word;
use crate::channel::{Channel, failure};
use crate::chaos::{Harm, Hazard};
use crate::message;
use crate::proto::breach::Breach;
use crate::proto::leg::{SMALL_LEG, encoded_max};
use crate::proto::links::LossReason;
use crate::proto::session::Landing;
use crate::proto::wire::{Frame, LegHeader};
use crate::session::limits::FRAMES;
use crate::session::orders::Ticket;
use crate::session::pool::Buffer;
use crate::session::pump::{Intake, PASSED_LEAST, Passed, Room, Stop};
use crate::session::taking::{Pass, Taking};
use crate::stage;
use crate::sys::out_of_memory;
use mio::Waker;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Takes what comes on one connection.
pub(crate) struct ConnectionIntake<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) ticket: Ticket,
    /// The connection.
    pub(crate) channel: &'a Channel,
    /// The poll has told of its end, or of an error.
    pub(crate) ended: bool,
    /// Where the stream goes, if bytes may be moved there.
    pub(crate) output: Option<&'a dyn Taking>,
    /// What is waited for before the leg that comes can be moved there.
    pub(crate) wait: Wait<'a>,
    /// Legs on their way through the user's programs.
    pub(crate) stages: &'a mut Stages,
    /// Names the connection and its peer.
    pub(crate) origin: &'a Arc<str>,
    /// What is done to connections on purpose; none once the session is over.
    pub(crate) hazard: Option<&'a Hazard>,
    /// What is done to the connection when the leg under way is whole.
    pub(crate) due: &'a mut Option<Harm>,
    /// The acknowledgement that came last, and may be told together with a small leg behind it.
    pub(crate) before: Option<Frame>,
    /// Bytes of legs that came, as they were sent.
    pub(crate) legs: u64,
}

/// A leg may have to wait before it can be moved to the output.
pub(crate) struct Wait<'a> {
    /// The leg may wait, or go on waiting; otherwise the rest of the leg is read into memory.
    pub(crate) patient: bool,
    /// Wakes the thread that reads.
    pub(crate) waker: &'a Arc<Waker>,
    /// What it has to wait for, if that is so.
    pub(crate) awaits: &'a mut Option<For>,
}

/// How long memory is waited for that other connections are about to free.
const ROOM_TIME: Duration = Duration::from_millis(500);

/// How often it is looked meanwhile whether the leg is still wanted: when it is wanted no more, no memory comes back that
/// would tell.
const LOOK: Duration = Duration::from_millis(20);

impl ConnectionIntake<'_> {
    /// Tells of what came before the leg that comes. To be called when no more is read for now.
    pub(crate) fn tell_before(&mut self) -> Result<(), Stop> {
        self.before.take().map_or(Ok(()), |frame| self.tell(frame))
    }

    fn tell(&self, frame: Frame) -> Result<(), Stop> {
        let connection = self.ticket.connection;
        let told =
            self.shared.desk.tell_as(self.ticket, |core, now| core.session.frame(now, connection, frame));
        told.ok_or(Stop::Over)
    }

    fn frame_counts(&self) -> Option<Harm> {
        self.hazard.and_then(Hazard::frame)
    }

    /// What an encoded leg is, that came whole and undamaged: without the encodings that are not the user's.
    fn open(&self, header: LegHeader, payload: Buffer) -> Result<Came, Stop> {
        let (encoded, said) = stage::opened(&header, &payload);
        let (compressed, len) = (header.flags & stage::COMPRESSED != 0, encoded.len());
        let through = header.flags & stage::THROUGH != 0;
        if !compressed {
            return Ok(Came::Encoded(header, said, Arc::new(payload), len));
        }
        let misfit = || Stop::Lost(LossReason::Breach(Breach::Misfolded(header.sequence)));
        let len = if through { self.between(encoded).ok_or_else(misfit)? } else { header.raw as usize };
        let Some(mut opened) = self.room(&header, len)? else { return Ok(Came::Again) };
        self.shared.decoding.decode(encoded, opened.space()).map_err(|_| misfit())?;
        opened.set_len(len);
        if through {
            return Ok(Came::Encoded(header, said, Arc::new(opened), len));
        }
        let found = said.map(|_| stage::checksum(&opened));
        Ok(if said == found { Came::Whole(header, found, opened) } else { Came::Damaged(header.sequence) })
    }

    /// The length of a leg that was compressed after a program was given it, if it can be one.
    fn between(&self, encoded: &[u8]) -> Option<usize> {
        let most = encoded_max(self.shared.pool.capacity(), u64::MAX) as u64;
        stage::compress::length(encoded).filter(|len| (1..=most).contains(len)).map(|len| len as usize)
    }

    /// Whether a leg is the one that the output wants when it is done with what it has.
    fn is_next(&self, header: &LegHeader) -> Result<bool, Stop> {
        let next = self.shared.desk.peek_as(self.ticket, |core| {
            core.session.receiving().is_some_and(|stream| stream.position().next == header.sequence)
        });
        next.ok_or(Stop::Over)
    }

    /// Where the bytes of a leg go that are read here.
    fn keep(&self, header: &LegHeader) -> Result<Room, Stop> {
        let connection = self.ticket.connection;
        let landing = self.shared.desk.peek_as(self.ticket, |core| core.session.landing(connection, header));
        let room = match landing.ok_or(Stop::Over)?? {
            Landing::Scratch => None,
            Landing::Keep => self.room(header, header.encoded as usize)?,
        };
        Ok(room.map_or(Room::Nowhere, Room::Memory))
    }

    /// Memory for what a connection brings of a leg; None if the leg is not wanted any more. Legs of the agreed sizes inside
    /// the window have room once each: only while two connections bring the same one can there be none, until the first of
    /// them is done. If the kernel refused memory, the session is being ended for that, and the sender is told.
    fn room(&self, header: &LegHeader, len: usize) -> Result<Option<Buffer>, Stop> {
        let begun = Instant::now();
        loop {
            if let Some(room) = self.shared.pool.take_within(len, LOOK) {
                return Ok(Some(room));
            }
            let connection = self.ticket.connection;
            let landing =
                self.shared.desk.peek_as(self.ticket, |core| core.session.landing(connection, header));
            if out_of_memory::is_known() || landing.ok_or(Stop::Over)?? == Landing::Scratch {
                return Ok(None);
            }
            if begun.elapsed() > ROOM_TIME {
                return Err(Stop::Lost(LossReason::Breach(Breach::BeyondMemory)));
            }
        }
    }
}

impl Intake for ConnectionIntake<'_> {
    fn place(&mut self, header: &LegHeader, alone: bool) -> Result<Room, Stop> {
        *self.due = self.frame_counts();
        if let Some(harm) = self.due.take_if(|harm| *harm == Harm::Cut) {
            return Err(Stop::Harmed(harm));
        }
        if u64::from(header.encoded) > SMALL_LEG {
            self.tell_before()?;
        }
        let large = header.encoded >= PASSED_LEAST && !header.has_crc();
        if alone && large && self.may_pass() && self.stages.is_empty() {
            return Ok(Room::Past);
        }
        self.keep(header)
    }

    fn pass(&mut self, header: &LegHeader, filled: usize) -> Result<Passed, Stop> {
        let Some(output) = self.output else { return Ok(Passed::Instead(self.keep(header)?)) };
        Ok(match output.pass(self.ticket, header, filled, self.channel.readable(), self.wait.waker) {
            Pass::Moved(n) => Passed::Moved(n),
            Pass::End => Passed::End,
            Pass::Failed(e) => return Err(failure(&e).into()),
            Pass::Over => return Err(Stop::Over),
            Pass::Busy if self.wait.patient && self.is_next(header)? => {
                *self.wait.awaits = Some(For::Turn);
                Passed::Held
            }
            Pass::Busy | Pass::Not => Passed::Instead(self.keep(header)?),
            Pass::Nothing => match self.channel.peek(&mut [0]) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => Passed::Dry,
                Ok(0) => Passed::End,
                Ok(_) if self.wait.patient => {
                    *self.wait.awaits = Some(For::Sink);
                    Passed::Held
                }
                _ => Passed::Instead(self.keep(header)?),
            },
        })
    }

    fn may_pass(&self) -> bool {
        let plain = !self.channel.is_encrypted() && !self.channel.is_borrowed();
        plain && self.output.is_some_and(|output| output.may_pass())
    }

    fn is_emptied(&self) -> bool {
        // an end or an error behind what was read is there already: no edge will tell of it
        !self.ended && self.channel.is_read_whole()
    }

    fn leg(&mut self, header: LegHeader, room: Room) -> Result<(), Stop> {
        self.legs += u64::from(header.encoded);
        let came = match room {
            // the core knows
            Room::Past => return self.due.take().map_or(Ok(()), |harm| Err(Stop::Harmed(harm))),
            Room::Nowhere => Came::Again,
            Room::Memory(buffer) => match stage::verify(&header, &buffer) {
                Err(stage::Damaged) => Came::Damaged(header.sequence),
                Ok(_) if header.is_encoded() => self.open(header, buffer)?,
                Ok(crc) => Came::Whole(header, crc, buffer),
            },
        };
        if self.stages.is_empty() && !matches!(came, Came::Encoded(..)) {
            if !matches!(came, Came::Whole(..)) {
                self.tell_before()?;
            }
            let ConnectionIntake { shared, ticket, origin, .. } = *self;
            came.tell(Hearer { desk: &shared.desk, ticket, origin }, self.before.take())?;
        } else {
            self.tell_before()?;
            self.stages.queue(came);
        }
        self.due.take().map_or(Ok(()), |harm| Err(Stop::Harmed(harm)))
    }

    fn is_full(&self) -> bool {
        self.stages.is_full()
    }

    fn frame(&mut self, frame: Frame) -> Result<(), Stop> {
        let connection = self.ticket.connection;
        message::note(FRAMES, || format!("connection {connection}: {frame:?} came"));
        let counts = !is_last_word(&frame);
        self.tell_before()?;
        match frame {
            Frame::Ack(_) => self.before = Some(frame),
            frame => self.tell(frame)?,
        }
        let harm = if counts { self.frame_counts() } else { None };
        harm.map_or(Ok(()), |harm| Err(Stop::Harmed(harm)))
    }
}
