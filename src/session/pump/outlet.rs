//! The writing half of a connection: frames and legs into a socket.

use crate::proto::leg::Leg;
use crate::proto::wire::{FRAME_MAX, Frame, LegHeader};
use std::io::{self, ErrorKind, IoSlice, Write};

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
