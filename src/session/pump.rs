//! Where bytes cross the socket: frames and legs out of and into one connection.
//!
//! Never blocks, and knows nothing of sessions: the [`Intake`] says what to do with a frame, and where a leg's bytes
//! go. Payload is read straight into the buffer that it stays in. It is written straight from there, header and payload in
//! one call, unless it is a part of a file or in a pipe: then the kernel moves it.
//! Bytes that come and are moved past this process are only counted here: the intake moves them.

use crate::channel::failure;
use crate::chaos::Harm;
use crate::proto::coming::LegPart;
use crate::proto::links::LossReason;
use crate::proto::wire::{FRAME_MAX, Frame, LEG_HEADER, LegHeader, WireError, decode};
use crate::session::pool::Buffer;
use std::io::{self, ErrorKind, IoSliceMut, Read};

mod outlet;

pub(crate) use outlet::{Outlet, WriteError, Wrote};

/// Room for frames that are read together, and for the first bytes of a leg that came with its header;
/// the rest of a leg is read straight into its buffer.
const INLET: usize = 16 << 10;

/// A reader goes on for at most this many bytes before it lets its thread look at other things.
const TURN: usize = 1 << 20;

/// A read counts as so many bytes at least: with TLS, one that brings little may have taken much.
const READ_LEAST: usize = 512;

/// After a read that brings more, the next one is made at once: while the bytes were copied, others may have come.
const FEW: usize = 4 << 10;

/// Legs of so many bytes are worth moving: for smaller ones the calls cost as much as the copy.
pub(crate) const PASSED_LEAST: u32 = 64 << 10;

const _: () = assert!(INLET > 2 * FRAME_MAX);

/// Why reading a connection must end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The connection is of no use any more: the kernel says so, or the peer broke the rules.
    Lost(LossReason),
    /// This side's fault plan strikes here.
    Harmed(Harm),
    /// The connection is not wanted any more.
    Over,
}

impl From<WireError> for Stop {
    fn from(error: WireError) -> Self {
        Stop::Lost(LossReason::Breach(error.into()))
    }
}

impl From<LossReason> for Stop {
    fn from(why: LossReason) -> Self {
        Stop::Lost(why)
    }
}

/// Where the bytes of a leg go.
#[derive(Debug)]
pub(crate) enum Room {
    /// Into this memory, which has room for all of them.
    Memory(Buffer),
    /// To nowhere: the leg is here already.
    Nowhere,
    /// The intake moves them: see [`Intake::pass`].
    Past,
}

/// What became of an attempt to move bytes of a leg.
#[derive(Debug)]
pub(crate) enum Passed {
    /// This many bytes were moved.
    Moved(usize),
    /// This many bytes were read, and there was space for more.
    Short(usize),
    /// The socket has no more for now.
    Dry,
    /// The bytes can be moved later, without news of the socket.
    Held,
    /// The peer has finished sending.
    End,
    /// The rest of the leg goes there.
    Instead(Room),
}

/// Where what arrives goes.
pub(crate) trait Intake {
    /// A leg is coming: where its bytes go. With `alone`, none of them were read yet: only then may they be moved.
    ///
    /// # Errors
    /// The peer may not send this leg.
    fn place(&mut self, header: &LegHeader, alone: bool) -> Result<Room, Stop>;

    /// Moves bytes of the leg past this process, behind the first `filled`, which were moved.
    ///
    /// # Errors
    /// The connection cannot be used any more.
    fn pass(&mut self, _header: &LegHeader, _filled: usize) -> Result<Passed, Stop> {
        Ok(Passed::Instead(Room::Nowhere))
    }

    /// Whether legs might be moved, so that nothing of a large one should be read together with its header.
    fn may_pass(&self) -> bool {
        false
    }

    /// Whether a read that brings less than there is space for has emptied the socket, so that the next edge tells of all
    /// that comes later.
    fn is_emptied(&self) -> bool {
        false
    }

    /// A leg is whole, where its bytes went.
    ///
    /// # Errors
    /// The peer may not send this leg.
    fn leg(&mut self, header: LegHeader, room: Room) -> Result<(), Stop>;

    /// Whether no further leg may come now: then nothing behind the last one is read.
    fn is_full(&self) -> bool {
        false
    }

    /// A frame other than a leg.
    ///
    /// # Errors
    /// The peer may not send this frame.
    fn frame(&mut self, frame: Frame) -> Result<(), Stop>;
}

/// How a turn of reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadEnd {
    /// The socket has no more for now: its next edge says when.
    Blocked,
    /// There may be more; read again without waiting.
    More,
    /// A leg comes, and the intake is full: read again when it is not.
    Full,
    /// The leg that comes could be moved later.
    Held,
    /// The peer has finished sending.
    Eof,
}

/// The reading half of a connection.
pub(crate) struct Inlet {
    /// Bytes read and not yet understood: `held[start..end]`.
    held: Box<[u8]>,
    start: usize,
    end: usize,
    leg: Option<IncomingLeg>,
    /// The latest leg was large, so that the next one may be worth moving.
    large: bool,
    /// Bytes read since the start.
    bytes: u64,
}

struct IncomingLeg {
    header: LegHeader,
    room: Room,
    /// Bytes of the payload that are there; ≤ `header.encoded`.
    filled: usize,
}

impl IncomingLeg {
    fn missing(&self) -> usize {
        self.header.encoded as usize - self.filled
    }

    /// Takes what belongs to this leg off the front of `from`; how many bytes these are.
    fn fill(&mut self, from: &[u8]) -> usize {
        let taken = from.len().min(self.missing());
        if let Room::Memory(buffer) = &mut self.room {
            buffer.space()[self.filled..self.filled + taken].copy_from_slice(&from[..taken]);
        }
        self.filled += taken;
        taken
    }
}

impl Inlet {
    /// Nothing read yet.
    pub(crate) fn new() -> Self {
        Inlet { held: vec![0; INLET].into(), start: 0, end: 0, leg: None, large: false, bytes: 0 }
    }

    /// As if `early` (at most 16 KiB of it) had been the first bytes read.
    pub(crate) fn with(early: &[u8]) -> Self {
        let mut inlet = Self::new();
        inlet.end = early.len().min(INLET);
        inlet.held[..inlet.end].copy_from_slice(&early[..inlet.end]);
        inlet
    }

    /// Bytes read since the start.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What has come of the leg under way, if it is wanted.
    pub(crate) fn part(&self) -> Option<LegPart> {
        let wanted = self.leg.as_ref().filter(|leg| !matches!(leg.room, Room::Nowhere));
        wanted.map(|leg| LegPart { leg: leg.header.sequence, bytes: leg.filled })
    }

    /// Reads until the socket is empty, a turn is over or the peer has finished.
    ///
    /// # Errors
    /// The connection cannot be used any more.
    pub(crate) fn read(&mut self, stream: &mut impl Read, intake: &mut impl Intake) -> Result<ReadEnd, Stop> {
        let mut turn = 0;
        loop {
            if !self.understand(intake)? {
                return Ok(ReadEnd::Full);
            }
            let passed = self.pass(intake)?;
            let mut emptied = false;
            let n = match passed.map_or_else(|| self.read_once(stream, intake.may_pass()), Ok) {
                Ok(Passed::Moved(0) | Passed::Short(0) | Passed::End) => return Ok(ReadEnd::Eof),
                Ok(Passed::Moved(n)) => n,
                Ok(Passed::Short(n)) => {
                    emptied = n <= FEW && intake.is_emptied();
                    n
                }
                Ok(Passed::Dry) => return Ok(ReadEnd::Blocked),
                Ok(Passed::Held) => return Ok(ReadEnd::Held),
                Ok(Passed::Instead(_)) => continue,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(ReadEnd::Blocked),
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(failure(&e).into()),
            };
            self.bytes += n as u64;
            turn += n.max(READ_LEAST);
            if emptied || turn >= TURN {
                return Ok(match self.understand(intake)? {
                    false => ReadEnd::Full,
                    true if emptied => ReadEnd::Blocked,
                    true => ReadEnd::More,
                });
            }
        }
    }

    /// Moves bytes of the leg that is under way, if it is one that is moved.
    fn pass(&mut self, intake: &mut impl Intake) -> Result<Option<Passed>, Stop> {
        let Some(IncomingLeg { header, room, filled }) = &mut self.leg else { return Ok(None) };
        let Room::Past = room else { return Ok(None) };
        let passed = match intake.pass(header, *filled)? {
            Passed::Instead(other) => {
                *room = other;
                return Ok(None);
            }
            passed => passed,
        };
        if let Passed::Moved(n) = passed {
            *filled += n;
        }
        Ok(Some(passed))
    }

    /// One read: into the leg that is under way first, what follows it into `held`. With `narrow`, what follows is at most
    /// the header of another leg.
    fn read_once(&mut self, stream: &mut impl Read, narrow: bool) -> io::Result<Passed> {
        if self.start > 0 {
            self.held.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let narrow = narrow && self.large && self.end < LEG_HEADER;
        let most = if narrow { LEG_HEADER } else { self.held.len() };
        let read = |n: usize, space: usize| if n < space { Passed::Short(n) } else { Passed::Moved(n) };
        let Some(incoming) = &mut self.leg else {
            let space = &mut self.held[self.end..most];
            let n = stream.read(space)?;
            let passed = read(n, space.len());
            self.end += n;
            return Ok(passed);
        };
        let (filled, missing) = (incoming.filled, incoming.missing());
        let n = match &mut incoming.room {
            Room::Memory(buffer) => {
                let rest = &mut buffer.space()[filled..filled + missing];
                let behind = &mut self.held[..most];
                stream.read_vectored(&mut [IoSliceMut::new(rest), IoSliceMut::new(behind)])?
            }
            // a leg that is here already is read again and again into the same small space
            Room::Nowhere | Room::Past => {
                let n = stream.read(&mut self.held)?;
                self.end = n;
                incoming.filled += n.min(missing);
                self.start = n.min(missing);
                return Ok(read(n, self.held.len()));
            }
        };
        incoming.filled += n.min(missing);
        self.end = n.saturating_sub(missing);
        Ok(read(n, missing + most))
    }

    /// Hands on everything in `held` that is whole; false if a leg is next and the intake is full.
    fn understand(&mut self, intake: &mut impl Intake) -> Result<bool, Stop> {
        loop {
            if let Some(incoming) = &mut self.leg {
                self.start += incoming.fill(&self.held[self.start..self.end]);
                if incoming.missing() > 0 {
                    return Ok(true);
                }
                let Some(mut whole) = self.leg.take() else { return Ok(true) };
                if let Room::Memory(buffer) = &mut whole.room {
                    buffer.set_len(whole.header.encoded as usize);
                }
                intake.leg(whole.header, whole.room)?;
            }
            let Some((frame, len)) = decode(&self.held[self.start..self.end])? else { return Ok(true) };
            if matches!(frame, Frame::Leg(_)) && intake.is_full() {
                return Ok(false);
            }
            self.start += len;
            match frame {
                Frame::Leg(header) => {
                    self.large = header.encoded >= PASSED_LEAST;
                    let room = intake.place(&header, self.start == self.end)?;
                    self.leg = Some(IncomingLeg { header, room, filled: 0 });
                }
                frame => intake.frame(frame)?,
            }
        }
    }
}

impl Default for Inlet {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
