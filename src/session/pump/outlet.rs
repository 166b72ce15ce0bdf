//! The writing half of a connection: frames and legs into a socket.
//!
//! If a leg is a part of a file, the kernel sends its bytes from the file to the socket. Where the kernel cannot do that,
//! they are read into a small space and written. If a leg is in a pipe, its bytes are given to a pipe of the connection's
//! own, and move from there to the socket.

use crate::channel::Channel;
use crate::endpoint::Part;
use crate::proto::leg::Leg;
use crate::proto::wire::{Frame, LegHeader};
use crate::session::moving::pipe_of;
use crate::session::part::{in_memory, part_of};
use crate::sys::kept::{KeptPipe, SIZE};
use std::io::{self, ErrorKind, IoSlice, Write};

/// Bytes of a file that are read at once where they cannot be sent without.
const READ: usize = 64 << 10;

/// A socket, as the writing half uses it.
pub(crate) trait Outward: Write {
    /// Sends the beginning of a part of a file without reading it; 0 where the file has ended.
    ///
    /// # Errors
    /// The kernel's; also where it cannot do this.
    fn send_part(&mut self, _part: &Part) -> io::Result<usize> {
        Err(ErrorKind::Unsupported.into())
    }

    /// Moves what a pipe holds.
    ///
    /// # Errors
    /// The kernel's; also where it cannot do this.
    fn send_kept(&mut self, _pipe: &mut KeptPipe) -> io::Result<usize> {
        Err(ErrorKind::Unsupported.into())
    }

    /// Writes what more follows at once.
    ///
    /// # Errors
    /// The kernel's.
    fn write_with_more(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write_vectored(slices)
    }

    /// Has the kernel send at once what it holds back because it was told that more follows.
    fn push(&mut self) {}
}

impl Outward for &Channel {
    fn send_part(&mut self, part: &Part) -> io::Result<usize> {
        self.send_file(&part.file.file, part.at, part.len)
    }

    fn send_kept(&mut self, pipe: &mut KeptPipe) -> io::Result<usize> {
        Channel::send_kept(self, pipe)
    }

    fn write_with_more(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Channel::write_with_more(self, slices)
    }

    fn push(&mut self) {
        Channel::push(self);
    }
}

/// Why nothing more can be written.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// The connection takes nothing any more; what the kernel says.
    Lost(io::Error),
    /// The leg under way cannot be had from its file any more, nor can the connection carry anything else; in words for
    /// the user.
    Unreadable(String),
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        WriteError::Lost(error)
    }
}

/// How a turn of writing ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrote {
    /// Everything has left for the kernel.
    All,
    /// The socket takes no more for now: its next edge says when.
    Blocked,
}

/// The writing half of a connection: one leg at a time, and frames between legs.
#[derive(Default)]
pub(crate) struct Outlet {
    /// Frames that wait, `frames[sent..]`; behind the leg if that has begun, before it otherwise.
    frames: Vec<u8>,
    sent: usize,
    leg: Option<OutgoingLeg>,
    /// The header of that leg.
    header: Vec<u8>,
    /// What there is still to send of a leg that is in a pipe. Made for the first of them.
    work: Option<KeptPipe>,
    bytes: u64,
    /// Something was written that may not have left for the kernel yet.
    unflushed: bool,
}

/// Where the bytes of a leg are.
enum BytesIn {
    Memory,
    File(Part),
    /// In the connection's pipe.
    Work,
}

struct OutgoingLeg {
    leg: Leg,
    bytes: BytesIn,
    /// Bytes of header and payload that have left.
    sent: usize,
}

impl OutgoingLeg {
    /// Whether the kernel may hold back what it has of this leg, since it was told that more follows. A little less than a
    /// segment can be more than it takes unsent: then it says that it is full, and sends that only after 200 ms.
    fn is_held_back(&self) -> bool {
        self.sent > 0 && !matches!(self.bytes, BytesIn::Memory)
    }
}

impl Outlet {
    /// Nothing to write yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Whether everything has left.
    pub(crate) fn is_empty(&self) -> bool {
        self.is_written() && !self.unflushed
    }

    fn is_written(&self) -> bool {
        self.leg.is_none() && self.frames.is_empty()
    }

    /// Bytes written since the start.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes a frame as soon as the leg under way has left.
    pub(crate) fn frame(&mut self, frame: &Frame) {
        frame.encode(&mut self.frames);
    }

    /// Writes bytes that are no frame (a handshake's) as soon as possible.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.frames.extend_from_slice(bytes);
    }

    /// Writes a leg, after the frames that wait; there must be none under way.
    ///
    /// # Errors
    /// Its bytes cannot be had; why, for the user.
    pub(crate) fn leg(&mut self, header: LegHeader, leg: Leg) -> Result<(), String> {
        debug_assert!(self.leg.is_none(), "one leg at a time");
        let (leg, bytes) = match part_of(&leg) {
            Some(part) => (leg, BytesIn::File(part)),
            None if self.is_given(&leg) => (leg, BytesIn::Work),
            None => (in_memory(leg)?, BytesIn::Memory),
        };
        self.header.clear();
        Frame::Leg(header).encode(&mut self.header);
        self.leg = Some(OutgoingLeg { leg, bytes, sent: 0 });
        Ok(())
    }

    /// Whether the leg is in a pipe, and the connection's own pipe was given all of it.
    fn is_given(&mut self, leg: &Leg) -> bool {
        let Some(content) = pipe_of(leg) else { return false };
        if self.work.is_none() {
            self.work = KeptPipe::new(SIZE).ok();
        }
        let given = self.work.as_mut().is_some_and(|work| work.is_empty() && content.give_to(work));
        if !given {
            self.work = None;
        }
        given
    }

    /// Drops the end of what waits, so that the peer sees a cut inside a leg or, without a leg, inside a frame.
    pub(crate) fn cut(&mut self) {
        match self.leg.take() {
            Some(leg) if leg.sent > 0 => self.frames.clear(),
            Some(leg) => {
                self.frames.extend_from_slice(&self.header);
                self.frames.extend_from_slice(&leg.leg.bytes()[..leg.leg.bytes().len() / 2]);
            }
            None => drop(self.frames.pop()),
        }
        self.sent = self.sent.min(self.frames.len());
        if self.sent == self.frames.len() {
            self.frames.clear();
            self.sent = 0;
        }
    }

    /// Writes until everything has left or the socket is full.
    ///
    /// # Errors
    /// The connection takes nothing any more, or the leg cannot be had.
    pub(crate) fn write(&mut self, stream: &mut impl Outward) -> Result<Wrote, WriteError> {
        while !self.is_empty() {
            let written = if self.is_written() {
                stream.flush().map(|()| None).map_err(WriteError::Lost)
            } else {
                self.write_once(stream).map(Some)
            };
            match written {
                Ok(None) => self.unflushed = false,
                Ok(Some(0)) => return Err(WriteError::Lost(ErrorKind::WriteZero.into())),
                Ok(Some(n)) => self.advance(n),
                Err(WriteError::Lost(e)) if e.kind() == ErrorKind::WouldBlock => {
                    if self.leg.as_ref().is_some_and(OutgoingLeg::is_held_back) {
                        stream.push();
                    }
                    return Ok(Wrote::Blocked);
                }
                Err(WriteError::Lost(e)) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(Wrote::All)
    }

    fn write_once(&mut self, stream: &mut impl Outward) -> Result<usize, WriteError> {
        let frames = &self.frames[self.sent..];
        let Some(leg) = &self.leg else { return Ok(stream.write(frames)?) };
        let header = &self.header[leg.sent.min(self.header.len())..];
        match &leg.bytes {
            BytesIn::Memory => {}
            BytesIn::File(_) | BytesIn::Work if !header.is_empty() => {
                let frames = if leg.sent > 0 { &[] } else { frames };
                return Ok(stream.write_with_more(&[IoSlice::new(frames), IoSlice::new(header)])?);
            }
            BytesIn::File(part) => return send_part(stream, &part.behind(leg.sent - self.header.len())),
            BytesIn::Work => {
                let work = self.work.as_mut().ok_or(ErrorKind::NotFound).map_err(io::Error::from)?;
                return Ok(stream.send_kept(work)?);
            }
        }
        let payload = &leg.leg.bytes()[leg.sent.saturating_sub(self.header.len())..];
        if leg.sent > 0 {
            Ok(stream.write_vectored(&[IoSlice::new(header), IoSlice::new(payload), IoSlice::new(frames)])?)
        } else {
            Ok(stream.write_vectored(&[IoSlice::new(frames), IoSlice::new(header), IoSlice::new(payload)])?)
        }
    }

    /// `n` bytes have left.
    fn advance(&mut self, mut n: usize) {
        self.bytes += n as u64;
        self.unflushed = true;
        let begun = self.leg.as_ref().is_some_and(|leg| leg.sent > 0);
        if !begun {
            n -= self.advance_frames(n);
        }
        if let Some(leg) = &mut self.leg {
            let whole = self.header.len() + leg.leg.len() as usize;
            let taken = n.min(whole - leg.sent);
            leg.sent += taken;
            n -= taken;
            if leg.sent == whole {
                self.leg = None;
            }
        }
        self.advance_frames(n);
    }

    fn advance_frames(&mut self, n: usize) -> usize {
        let taken = n.min(self.frames.len() - self.sent);
        self.sent += taken;
        if self.sent == self.frames.len() {
            self.frames.clear();
            self.sent = 0;
        }
        taken
    }
}

/// Sends the beginning of a part of a file, which is never empty.
fn send_part(stream: &mut impl Outward, part: &Part) -> Result<usize, WriteError> {
    match stream.send_part(part) {
        Ok(n) if n > 0 => return Ok(n),
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Err(e.into()),
        // it is the file's end, or one of the two fails, or the kernel does not do this: what comes now tells which
        Ok(_) | Err(_) => {}
    }
    let mut space = [0; READ];
    let n = part.read(&mut space).map_err(WriteError::Unreadable)?;
    Ok(stream.write(&space[..n])?)
}
