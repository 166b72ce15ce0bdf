//! Where bytes cross the socket: frames and legs out of and into one connection.
//!
//! Never blocks, and knows nothing of sessions: the [`Intake`] says what to do with a frame, and where a leg's bytes
//! go. Payload is read straight into the buffer that it stays in, and is written straight from it; header and payload
//! go out in one call. Another way of crossing (splice) belongs here, behind the same two types.

use crate::channel::failure;
use crate::chaos::Harm;
use crate::proto::leg::Leg;
use crate::proto::links::LossReason;
use crate::proto::wire::{FRAME_MAX, Frame, LegHeader, WireError, decode};
use crate::session::pool::Buffer;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};

/// Room for frames that are read together, and for the first bytes of a leg that came with its header;
/// the rest of a leg is read straight into its buffer.
const INLET: usize = 16 << 10;

/// A reader goes on for at most this many bytes before it lets its thread look at other things.
const TURN: usize = 1 << 20;

const _: () = assert!(INLET > 2 * FRAME_MAX);

/// Why reading a connection must end.
#[derive(Debug)]
pub enum Stop {
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

/// Where what arrives goes.
pub trait Intake {
    /// A leg is coming: the buffer for its bytes. None for a leg that is here already, whose bytes are dropped.
    ///
    /// # Errors
    /// The peer may not send this leg.
    fn place(&mut self, header: &LegHeader) -> Result<Option<Buffer>, Stop>;

    /// A leg is whole; its buffer as `place` gave it.
    ///
    /// # Errors
    /// The peer may not send this leg.
    fn leg(&mut self, header: LegHeader, buffer: Option<Buffer>) -> Result<(), Stop>;

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
pub enum ReadEnd {
    /// The socket has no more for now: its next edge says when.
    Blocked,
    /// There may be more; read again without waiting.
    More,
    /// A leg comes, and the intake is full: read again when it is not.
    Full,
    /// The peer has finished sending.
    Eof,
}

/// The reading half of a connection.
pub struct Inlet {
    /// Bytes read and not yet understood: `held[start..end]`.
    held: Box<[u8]>,
    start: usize,
    end: usize,
    leg: Option<Incoming>,
    /// Bytes read since the start.
    bytes: u64,
}

struct Incoming {
    header: LegHeader,
    buffer: Option<Buffer>,
    /// Bytes of the payload that are there; ≤ `header.encoded`.
    filled: usize,
}

impl Incoming {
    fn missing(&self) -> usize {
        self.header.encoded as usize - self.filled
    }

    /// Takes what belongs to this leg off the front of `from`; how many bytes these are.
    fn fill(&mut self, from: &[u8]) -> usize {
        let taken = from.len().min(self.missing());
        if let Some(buffer) = &mut self.buffer {
            buffer.space()[self.filled..self.filled + taken].copy_from_slice(&from[..taken]);
        }
        self.filled += taken;
        taken
    }
}

impl Inlet {
    /// Nothing read yet.
    pub fn new() -> Self {
        Inlet { held: vec![0; INLET].into(), start: 0, end: 0, leg: None, bytes: 0 }
    }

    /// As if `early` (at most 16 KiB of it) had been the first bytes read.
    pub fn with(early: &[u8]) -> Self {
        let mut inlet = Self::new();
        inlet.end = early.len().min(INLET);
        inlet.held[..inlet.end].copy_from_slice(&early[..inlet.end]);
        inlet
    }

    /// Bytes read since the start.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads until the socket is empty, a turn is over or the peer has finished.
    ///
    /// # Errors
    /// The connection cannot be used any more.
    pub fn read(&mut self, stream: &mut impl Read, intake: &mut impl Intake) -> Result<ReadEnd, Stop> {
        let mut turn = 0;
        loop {
            if !self.understand(intake)? {
                return Ok(ReadEnd::Full);
            }
            let n = match self.read_once(stream) {
                Ok(0) => return Ok(ReadEnd::Eof),
                Ok(n) => n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(ReadEnd::Blocked),
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(failure(&e).into()),
            };
            self.bytes += n as u64;
            turn += n;
            if turn >= TURN {
                let more = self.understand(intake)?;
                return Ok(if more { ReadEnd::More } else { ReadEnd::Full });
            }
        }
    }

    /// One read: into the leg that is under way first, what follows it into `held`.
    fn read_once(&mut self, stream: &mut impl Read) -> io::Result<usize> {
        if self.start > 0 {
            self.held.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let Some(incoming) = &mut self.leg else {
            let n = stream.read(&mut self.held[self.end..])?;
            self.end += n;
            return Ok(n);
        };
        let (filled, missing) = (incoming.filled, incoming.missing());
        let n = match &mut incoming.buffer {
            Some(buffer) => {
                let rest = &mut buffer.space()[filled..filled + missing];
                stream.read_vectored(&mut [IoSliceMut::new(rest), IoSliceMut::new(&mut self.held)])?
            }
            // a leg that is here already is read again and again into the same small space
            None => {
                let n = stream.read(&mut self.held)?;
                self.end = n;
                incoming.filled += n.min(missing);
                self.start = n.min(missing);
                return Ok(n);
            }
        };
        incoming.filled += n.min(missing);
        self.end = n.saturating_sub(missing);
        Ok(n)
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
                if let Some(buffer) = &mut whole.buffer {
                    buffer.set_len(whole.header.encoded as usize);
                }
                intake.leg(whole.header, whole.buffer)?;
            }
            let Some((frame, len)) = decode(&self.held[self.start..self.end])? else { return Ok(true) };
            if matches!(frame, Frame::Leg(_)) && intake.is_full() {
                return Ok(false);
            }
            self.start += len;
            match frame {
                Frame::Leg(header) => {
                    let buffer = intake.place(&header)?;
                    self.leg = Some(Incoming { header, buffer, filled: 0 });
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

/// How a turn of writing ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrote {
    /// Everything has left for the kernel.
    All,
    /// The socket takes no more for now: its next edge says when.
    Blocked,
}

/// The writing half of a connection: one leg at a time, and frames between legs.
#[derive(Default)]
pub struct Outlet {
    /// Frames that wait, `frames[sent..]`; behind the leg if that has begun, before it otherwise.
    frames: Vec<u8>,
    sent: usize,
    leg: Option<Outgoing>,
    bytes: u64,
    /// Something was written that may not have left for the kernel yet.
    unflushed: bool,
}

struct Outgoing {
    header: Vec<u8>,
    leg: Leg,
    /// Bytes of header and payload that have left.
    sent: usize,
}

impl Outlet {
    /// Nothing to write yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether everything has left.
    pub fn is_empty(&self) -> bool {
        self.is_written() && !self.unflushed
    }

    fn is_written(&self) -> bool {
        self.leg.is_none() && self.frames.is_empty()
    }

    /// Bytes written since the start.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes a frame as soon as the leg under way has left.
    pub fn frame(&mut self, frame: &Frame) {
        frame.encode(&mut self.frames);
    }

    /// Writes bytes that are no frame (a handshake's) as soon as possible.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.frames.extend_from_slice(bytes);
    }

    /// Writes a leg, after the frames that wait; there must be none under way.
    pub fn leg(&mut self, header: LegHeader, leg: Leg) {
        debug_assert!(self.leg.is_none(), "one leg at a time");
        let mut encoded = Vec::with_capacity(FRAME_MAX);
        Frame::Leg(header).encode(&mut encoded);
        self.leg = Some(Outgoing { header: encoded, leg, sent: 0 });
    }

    /// Drops the end of what waits, so that the peer sees a cut inside a leg or, without a leg, inside a frame.
    pub fn cut(&mut self) {
        match self.leg.take() {
            Some(leg) if leg.sent > 0 => self.frames.clear(),
            Some(leg) => {
                self.frames.extend_from_slice(&leg.header);
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
    /// The kernel's, when the connection takes nothing any more.
    pub fn write(&mut self, stream: &mut impl Write) -> io::Result<Wrote> {
        while !self.is_empty() {
            let written = if self.is_written() {
                stream.flush().map(|()| None)
            } else {
                self.write_once(stream).map(Some)
            };
            match written {
                Ok(None) => self.unflushed = false,
                Ok(Some(0)) => return Err(ErrorKind::WriteZero.into()),
                Ok(Some(n)) => self.advance(n),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(Wrote::Blocked),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(Wrote::All)
    }

    fn write_once(&mut self, stream: &mut impl Write) -> io::Result<usize> {
        let frames = &self.frames[self.sent..];
        let Some(leg) = &self.leg else { return stream.write(frames) };
        let header = &leg.header[leg.sent.min(leg.header.len())..];
        let payload = &leg.leg.bytes()[leg.sent.saturating_sub(leg.header.len())..];
        if leg.sent > 0 {
            stream.write_vectored(&[IoSlice::new(header), IoSlice::new(payload), IoSlice::new(frames)])
        } else {
            stream.write_vectored(&[IoSlice::new(frames), IoSlice::new(header), IoSlice::new(payload)])
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
            let whole = leg.header.len() + leg.leg.bytes().len();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::pool::Pool;
    use std::sync::Arc;

    /// Gives and takes a few bytes at a time, in a fixed irregular rhythm, and blocks now and then.
    struct Wire {
        bytes: Vec<u8>,
        read: usize,
        step: usize,
    }

    impl Wire {
        fn next(&mut self) -> io::Result<usize> {
            self.step += 1;
            if self.step.is_multiple_of(5) {
                Err(ErrorKind::WouldBlock.into())
            } else {
                Ok(1 + self.step * 7 % 50)
            }
        }
    }

    impl Write for Wire {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            let n = self.next()?.min(buf.len());
            self.bytes.extend_from_slice(&buf[..n]);
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Read for Wire {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let n = self.next()?.min(buf.len()).min(self.bytes.len() - self.read);
            buf[..n].copy_from_slice(&self.bytes[self.read..self.read + n]);
            self.read += n;
            Ok(n)
        }
    }

    struct Log {
        pool: Pool,
        skip: u64,
        seen: Vec<(u64, Option<Vec<u8>>)>,
        frames: Vec<Frame>,
    }

    impl Intake for Log {
        fn place(&mut self, header: &LegHeader) -> Result<Option<Buffer>, Stop> {
            Ok((header.sequence != self.skip).then(|| self.pool.take(header.encoded as usize)).flatten())
        }

        fn leg(&mut self, header: LegHeader, buffer: Option<Buffer>) -> Result<(), Stop> {
            self.seen.push((header.sequence, buffer.map(|b| b.to_vec())));
            Ok(())
        }

        fn frame(&mut self, frame: Frame) -> Result<(), Stop> {
            self.frames.push(frame);
            Ok(())
        }
    }

    fn leg(sequence: u64, len: usize) -> (LegHeader, Leg) {
        let bytes: Vec<u8> = (0..len).map(|i| (i as u64 * 31 + sequence) as u8).collect();
        let header =
            LegHeader { sequence, offset: 0, raw: len as u32, encoded: len as u32, flags: 0, crc: 0 };
        (header, Leg::new(sequence, 0, Arc::new(bytes)))
    }

    #[test]
    fn legs_and_frames_cross_in_order_whatever_the_socket_takes() {
        let mut wire = Wire { bytes: Vec::new(), read: 0, step: 0 };
        let mut outlet = Outlet::new();
        let legs: Vec<_> = (0..6).map(|s| leg(s, 1 + s as usize * 9000)).collect();
        for (header, leg) in legs.clone() {
            outlet.frame(&Frame::Ping { token: leg.sequence });
            outlet.leg(header, leg);
            let _ = outlet.write(&mut wire).unwrap();
            outlet.frame(&Frame::Ping { token: 100 });
            while outlet.write(&mut wire).unwrap() == Wrote::Blocked {}
        }
        assert_eq!(outlet.bytes(), wire.bytes.len() as u64);
        let mut log = Log { pool: Pool::new(1 << 20), skip: 4, seen: Vec::new(), frames: Vec::new() };
        let mut inlet = Inlet::new();
        while inlet.read(&mut wire, &mut log).unwrap() != ReadEnd::Eof {}
        for ((header, leg), (sequence, bytes)) in legs.iter().zip(&log.seen) {
            assert_eq!(header.sequence, *sequence);
            assert_eq!(bytes.is_none(), *sequence == 4);
            assert!(bytes.as_ref().is_none_or(|b| b == leg.bytes()), "leg {sequence}");
        }
        assert_eq!((log.seen.len(), log.frames.len()), (6, 12));
    }

    #[test]
    fn a_cut_leaves_a_part() {
        let mut wire = Vec::new();
        let mut outlet = Outlet::new();
        outlet.frame(&Frame::Ping { token: 1 });
        let (header, leg) = leg(0, 1000);
        outlet.leg(header, leg);
        outlet.cut();
        outlet.write(&mut wire).unwrap();
        let mut log = Log { pool: Pool::new(1 << 20), skip: 9, seen: Vec::new(), frames: Vec::new() };
        let read = Inlet::new().read(&mut wire.as_slice(), &mut log);
        assert!(matches!(read, Ok(ReadEnd::Eof)));
        assert_eq!((log.seen.len(), log.frames.len(), wire.len()), (0, 1, 16 + 36 + 500));
        outlet.frame(&Frame::Ping { token: 1 });
        outlet.cut();
        outlet.write(&mut wire).unwrap();
        assert_eq!(wire.len(), 16 + 36 + 500 + 15);
        outlet.cut();
        assert!(outlet.is_empty());
    }

    #[test]
    fn damage_is_a_breach() {
        let mut outlet = Outlet::new();
        outlet.frame(&Frame::Bye);
        let mut bytes = Vec::new();
        outlet.write(&mut bytes).unwrap();
        bytes[1] ^= 1;
        let mut log = Log { pool: Pool::new(1 << 20), skip: 0, seen: Vec::new(), frames: Vec::new() };
        let read = Inlet::new().read(&mut bytes.as_slice(), &mut log);
        assert!(matches!(read, Err(Stop::Lost(LossReason::Breach(_)))));
    }
}
