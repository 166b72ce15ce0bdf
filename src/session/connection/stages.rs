//! Legs on their way through the user's programs, on one connection.
//!
//! ```text
//!  writer ─ a leg to encode ─▶ Run ─▶ sealed ─▶ writer          one at a time
//!  inbox  ─ what came ─▶ queue ─▶ Run ─▶ the core               one at a time, in the order of its coming
//! ```
//!
//! The owner of the connection polls the pipes of the programs beside its socket, so nothing here waits. What always
//! holds: the core is told of what came in the order in which it came, because acknowledgements count legs in that
//! order. Where as many legs wait here as there is memory for, no further leg is read from the socket. A sender knows that,
//! and sends none before: so whatever else it says is read at once, however slow the programs are.

use super::seat::SessionDesk;
use crate::message;
use crate::proto::leg::{Leg, Payload, is_enough_to_decode};
use crate::proto::outcome::Status;
use crate::proto::session::Landing;
use crate::proto::way::Way;
use crate::proto::wire::{Frame, LegHeader};
use crate::session::compressing::Compressing;
use crate::session::core::SessionCore;
use crate::session::filter::{OutputSize, Step};
use crate::session::filters::{Counted, Filters};
use crate::session::limits::LEGS;
use crate::session::orders::Ticket;
use crate::session::pool::{Buffer, Pool};
use crate::session::pump::Stop;
use crate::stage;
use mio::{Registry, Token};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The tokens of the programs' pipes.
const ENCODER: [Token; 3] = [Token(2), Token(3), Token(4)];
const DECODER: [Token; 3] = [Token(5), Token(6), Token(7)];

/// Memory that is not there is asked for again after this, and so is a program that cannot be started now.
const AGAIN: Duration = Duration::from_millis(5);

/// Whom the stages tell what has come.
#[derive(Clone, Copy)]
pub(super) struct Hearer<'a> {
    pub(crate) desk: &'a SessionDesk,
    /// The connection that has brought it.
    pub(crate) ticket: Ticket,
    /// Names that connection and its peer.
    pub(crate) origin: &'a Arc<str>,
}

/// What has come on a connection in place of a leg.
pub(super) enum Came {
    /// A leg that was here already.
    Again,
    /// A leg with a wrong CRC-32.
    Damaged(u64),
    /// A leg as it is in the stream, and its CRC-32 if it is checked.
    Whole(LegHeader, Option<u32>, Buffer),
    /// A leg as a program made it, the first so many bytes; and the CRC-32 that it should have.
    Encoded(LegHeader, Option<u32>, Payload, usize),
}

impl Came {
    /// Tells the core; of a frame that came before a whole leg too.
    ///
    /// # Errors
    /// The connection is over.
    pub(super) fn tell(self, hearer: Hearer<'_>, before: Option<Frame>) -> Result<(), Stop> {
        let Hearer { desk, ticket, origin } = hearer;
        let connection = ticket.connection;
        let told = match self {
            Came::Again | Came::Encoded(..) => {
                desk.tell_as(ticket, |core, now| core.session.leg_again(now, connection))
            }
            Came::Damaged(sequence) => {
                desk.tell_as(ticket, |core, now| core.session.leg_damaged(now, connection, sequence))
            }
            Came::Whole(header, crc, buffer) => {
                let (payload, origin): (Payload, _) = (Arc::new(buffer), Some(origin.clone()));
                let leg = Leg { crc, origin, ..Leg::new(header.sequence, header.offset, payload) };
                message::note(LEGS, || {
                    format!("{}: {leg:?} came", leg.origin.as_deref().unwrap_or_default())
                });
                desk.tell_as(ticket, |core, now| {
                    core.came(connection, leg.sequence, leg.len());
                    match before {
                        Some(frame) => core.session.frame_and_leg(now, connection, frame, leg),
                        None => core.session.leg(now, connection, leg),
                    }
                })
            }
        };
        told.ok_or(Stop::Over)
    }

    fn bytes(&self) -> usize {
        if let Came::Encoded(.., len) = self { *len } else { 0 }
    }
}

/// A leg that went through the program.
struct Encoded {
    /// The bytes that the program has made of it.
    made: usize,
    /// The leg as it is to be sent.
    sealed: (LegHeader, Leg),
}

/// The legs of one connection that are with programs.
#[derive(Default)]
pub(super) struct Stages {
    filters: Option<Arc<Filters>>,
    to_encode: Option<(Leg, Option<u32>)>,
    encoder: Option<Counted>,
    queue: VecDeque<Came>,
    decoder: Option<Counted>,
    /// When to look again, without news of a pipe.
    look: Option<Instant>,
    /// The core knows that legs wait here.
    told: bool,
}

impl Stages {
    pub(super) fn new(filters: Option<Arc<Filters>>) -> Self {
        Stages { filters, ..Stages::default() }
    }

    /// Ends the programs: what they would have made is not wanted any more.
    pub(super) fn clear(&mut self) {
        *self = Stages::new(self.filters.take());
    }

    /// When to look again, if no pipe has news before.
    pub(super) fn look(&self) -> Option<Instant> {
        self.look
    }

    // ---- legs that go out -----------------------------------------------------------------------------

    /// A leg to encode; there is none under way.
    pub(super) fn give(&mut self, leg: Leg, crc: Option<u32>) {
        self.to_encode = Some((leg, crc));
    }

    /// Legs through the programs, as far as they go without waiting. A leg as it is to be sent, if one is encoded: then
    /// it is to be asked again.
    ///
    /// # Errors
    /// The connection is over, or not to be used.
    pub(super) fn turn(
        &mut self,
        hearer: Hearer<'_>,
        pool: &Pool,
        compressing: Option<&Compressing>,
        registry: &Registry,
    ) -> Result<Option<(LegHeader, Leg)>, Stop> {
        if self.filters.is_none() {
            return Ok(None);
        }
        self.look = None;
        self.decode(hearer, pool, registry)?;
        let Hearer { desk, ticket, .. } = hearer;
        let (connection, waits) = (ticket.connection, !self.queue.is_empty());
        if std::mem::replace(&mut self.told, waits) != waits {
            desk.tell_as(ticket, |core, now| core.session.decodes(now, connection, waits));
        }
        // the receiver takes no longer ones, and the CRC-32 of the stream's bytes may follow what the program makes
        let sending = |core: &mut SessionCore| core.session.sending().map(|sending| sending.encoded_max());
        let most = desk.peek_as(ticket, sending).ok_or(Stop::Over)?.unwrap_or_default();
        match self.encode(most.saturating_sub(stage::TRAILER), registry, compressing) {
            Ok(None) => Ok(None),
            Ok(Some(Encoded { made, sealed })) => {
                let noted = desk.note_as(ticket, |core| core.session.encoded(connection, made as u64));
                noted.map(|()| Some(sealed)).ok_or(Stop::Over)
            }
            Err(why) => {
                let told = desk.tell_as(ticket, |core, now| core.session.leg_failed(now, None, &why));
                told.map(|()| None).ok_or(Stop::Over)
            }
        }
    }

    /// As far as encoding goes: the leg, once it is encoded; the program may make `most` bytes of it.
    ///
    /// # Errors
    /// The program has failed; why, for the user.
    fn encode(
        &mut self,
        most: usize,
        registry: &Registry,
        compressing: Option<&Compressing>,
    ) -> Result<Option<Encoded>, String> {
        let (Some(filters), Some((leg, crc))) = (&self.filters, &self.to_encode) else { return Ok(None) };
        let Some(command) = &filters.encode else { return Ok(None) };
        if self.encoder.is_none() {
            let Some(output) = filters.room(most + stage::TRAILER) else {
                self.look = Some(Instant::now() + AGAIN);
                return Ok(None);
            };
            let (input, output) = ((leg.payload.clone(), leg.bytes().len()), (output, stage::TRAILER));
            self.encoder = filters.begin(command, input, OutputSize::AtMost, output, (registry, ENCODER))?;
        }
        let Some(Counted { run, .. }) = &mut self.encoder else {
            self.look = Some(Instant::now() + AGAIN);
            return Ok(None);
        };
        match run.advance() {
            Step::Working(until) => {
                self.look = self.look.into_iter().chain([until]).min();
                Ok(None)
            }
            Step::Done(made) => {
                let encoded = Encoded { made: made.len(), sealed: seal(leg, *crc, made, compressing) };
                (self.encoder, self.to_encode) = (None, None);
                Ok(Some(encoded))
            }
            Step::Failed(why) => {
                (self.encoder, self.to_encode) = (None, None);
                Err(why)
            }
        }
    }

    // ---- legs that come in ----------------------------------------------------------------------------

    /// Whether nothing waits here, so that what comes may be told at once.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether no further leg may come.
    pub(super) fn is_full(&self) -> bool {
        let encoded = || self.queue.iter().map(|came| came.bytes() as u64).sum();
        self.filters
            .as_ref()
            .is_some_and(|filters| is_enough_to_decode(self.queue.len(), encoded(), filters.most()))
    }

    /// What has come, behind everything that waits.
    pub(super) fn queue(&mut self, came: Came) {
        self.queue.push_back(came);
    }

    /// As far as decoding goes; tells the core of what is done.
    ///
    /// # Errors
    /// The connection is over, or not to be used.
    fn decode(&mut self, hearer: Hearer<'_>, pool: &Pool, registry: &Registry) -> Result<(), Stop> {
        let judged = |core: &mut SessionCore| core.session.outcome(Way::In).is_some();
        let Hearer { desk, ticket, .. } = hearer;
        if !self.queue.is_empty() && desk.peek_as(ticket, judged).ok_or(Stop::Over)? {
            // nobody wants them
            (self.decoder, self.queue) = (None, VecDeque::new());
        }
        loop {
            let Some(Came::Encoded(header, said, payload, len)) = self.queue.front() else {
                match self.queue.pop_front() {
                    Some(came) => came.tell(hearer, None)?,
                    None => return Ok(()),
                }
                continue;
            };
            let (header, said, input) = (*header, *said, (payload.clone(), *len));
            if self.decoder.is_none() && !self.begin(&header, input, hearer, pool, registry)? {
                return Ok(());
            }
            let Some(Counted { run, .. }) = &mut self.decoder else { continue };
            match run.advance() {
                Step::Working(until) => {
                    self.look = self.look.into_iter().chain([until]).min();
                    return Ok(());
                }
                Step::Failed(why) => return self.fail(Status::Output, &why, hearer),
                Step::Done(made) => {
                    let found = said.map(|_| stage::checksum(&made));
                    if said != found {
                        let why = format!(
                            "leg {} is not what it was before the programs of through: the decoder is not the \
                             inverse of the encoder",
                            header.sequence
                        );
                        return self.fail(Status::Corrupt, &why, hearer);
                    }
                    self.done(Came::Whole(header, found, made), hearer)?;
                }
            }
        }
    }

    /// Begins to decode the first of the queue, unless it is here already or cannot be decoded: then it is in the queue no
    /// more. False if it has to wait: for memory, or for other programs to end.
    fn begin(
        &mut self,
        header: &LegHeader,
        input: (Payload, usize),
        hearer: Hearer<'_>,
        pool: &Pool,
        registry: &Registry,
    ) -> Result<bool, Stop> {
        let Hearer { desk, ticket, .. } = hearer;
        let landing = desk.peek_as(ticket, |core| core.session.landing(ticket.connection, header));
        let landing = landing.ok_or(Stop::Over)??;
        let room = pool.try_take(header.raw as usize);
        let filters = self.filters.clone();
        let programs = filters.as_ref().and_then(|filters| filters.decode.as_ref().zip(Some(filters)));
        let (Landing::Keep, Some((command, filters))) = (landing, programs) else {
            self.done(Came::Again, hearer)?;
            return Ok(true);
        };
        let Some(output) = room else {
            self.look = Some(Instant::now() + AGAIN);
            return Ok(false);
        };
        // all of the output is room for it: as many bytes as the leg has
        match filters.begin(command, input, OutputSize::Exactly, (output, 0), (registry, DECODER)) {
            Ok(Some(counted)) => self.decoder = Some(counted),
            Ok(None) => {
                self.look = Some(Instant::now() + AGAIN);
                return Ok(false);
            }
            Err(why) => self.fail(Status::Output, &why, hearer)?,
        }
        Ok(true)
    }

    /// The first of the queue has become this.
    fn done(&mut self, came: Came, hearer: Hearer<'_>) -> Result<(), Stop> {
        self.decoder = None;
        self.queue.pop_front();
        came.tell(hearer, None)
    }

    /// The stream that comes in has failed.
    fn fail(&mut self, status: Status, why: &str, hearer: Hearer<'_>) -> Result<(), Stop> {
        self.decoder = None;
        self.queue.clear();
        let Hearer { desk, ticket, .. } = hearer;
        let told = desk.tell_as(ticket, |core, now| core.session.output_failed(now, status, why));
        told.ok_or(Stop::Over)
    }
}

/// The first bytes of a buffer, where more follow that do not belong to them.
struct Prefix(Arc<Buffer>, usize);

impl AsRef<[u8]> for Prefix {
    fn as_ref(&self) -> &[u8] {
        &(*self.0).as_ref()[..self.1]
    }
}

/// A leg as it is to be sent, from what the program made of it; compressed as well, if that is wanted and makes it
/// smaller.
fn seal(
    leg: &Leg,
    crc: Option<u32>,
    mut made: Buffer,
    compressing: Option<&Compressing>,
) -> (LegHeader, Leg) {
    let len = made.len();
    let header = stage::encoded(leg, stage::THROUGH, made.space(), len, crc);
    made.set_len(header.encoded as usize);
    let made = Arc::new(made);
    if let Some(compressing) = compressing {
        let prefix = Leg { payload: Arc::new(Prefix(made.clone(), len)), ..leg.clone() };
        let (smaller, payload) = compressing.encode(compressing.wish(), prefix, crc);
        if smaller.is_encoded() {
            let flags = smaller.flags | stage::THROUGH;
            return (LegHeader { raw: header.raw, flags, ..smaller }, payload);
        }
    }
    (header, Leg { payload: made, ..leg.clone() })
}
