//! How frames stand on the wire, byte by byte. Big endian.
//!
//! A frame is type u8, flags u8, length of the body u16, the body, and the CRC-32 of all before it. Only [`Verdict`] and
//! [`Abort`] vary in length. Every field is checked before the frame is given to anybody.

use super::super::codec::{self, CRC, Reader, SENTENCE_MAX, Shape, Unsound};
use super::super::leg::LEG_MAX;
use super::super::outcome::{CommandEnd, Status};
use super::error::WireError;
use super::frame::{Abort, Ack, ENCODE_SLACK, Fin, Frame, LegFlags, LegHeader, Verdict, WindowEdge};

/// The largest frame: a verdict with the longest sentence.
pub const FRAME_MAX: usize = PREFIX + VERDICT.fixed + VERDICT.tail + CRC;

/// The header of a leg, before its payload.
pub const LEG_HEADER: usize = PREFIX + LEG.fixed + CRC;

/// Type, flags and length of the body.
const PREFIX: usize = 4;

const LEG: Shape = Shape::exact(8 + 8 + 4 + 4 + 4);
const FIN: Shape = Shape::exact(8 + 8 + 4);
const TOKEN: Shape = Shape::exact(8);
const BYE: Shape = Shape::exact(0);
const ENOUGH: Shape = Shape::exact(0);
const ACK: Shape = Shape::exact(8 + 8 + 8 + 8 + 8 + 4);
const VERDICT: Shape = Shape::with_tail(8 + 4 + 1 + 1 + 1 + 2, SENTENCE_MAX);
const ABORT: Shape = Shape::with_tail(1 + 2, SENTENCE_MAX);

const _: () = {
    assert!(LEG_HEADER == 36);
    assert!(PREFIX + FIN.fixed + CRC == 28);
    assert!(PREFIX + TOKEN.fixed + CRC == 16);
    assert!(PREFIX + BYE.fixed + CRC == 8);
    assert!(PREFIX + ACK.fixed + CRC == 52);
    assert!(PREFIX + ABORT.fixed + CRC == 11);
    assert!(PREFIX + VERDICT.fixed + CRC == 25);
    assert!(FRAME_MAX == 425);
    assert!(LEG_MAX + ENCODE_SLACK <= u32::MAX as usize);
};

/// The types on the wire. The high digit is the direction: 1 tx to rx, 2 rx to tx, 3 both.
mod kind {
    pub(super) const LEG: u8 = 0x11;
    pub(super) const FIN: u8 = 0x12;
    pub(super) const PING: u8 = 0x13;
    pub(super) const BYE: u8 = 0x14;
    pub(super) const ACK: u8 = 0x21;
    pub(super) const NACK: u8 = 0x22;
    pub(super) const PONG: u8 = 0x23;
    pub(super) const VERDICT: u8 = 0x24;
    pub(super) const ENOUGH: u8 = 0x25;
    pub(super) const ABORT: u8 = 0x31;
}

/// How a verdict says that the end of a command is the result; none of them: it is not.
mod command {
    pub(super) const NONE: u8 = 0;
    pub(super) const EXIT: u8 = 1;
    pub(super) const SIGNAL: u8 = 2;
}

/// In the flags of a fin or verdict: the crc of the stream is there.
const STREAM_CHECKED: u8 = 1;

impl Frame {
    /// Appends the frame to `out`. Sentences are cut between characters to [`SENTENCE_MAX`] bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let (kind, flags) = self.kind_and_flags();
        out.extend_from_slice(&[kind, flags, 0, 0]);
        match self {
            Frame::Leg(leg) => leg.put(out),
            Frame::Fin(fin) => fin.put(out),
            Frame::Ping { token: number }
            | Frame::Pong { token: number }
            | Frame::Nack { sequence: number } => {
                out.extend_from_slice(&number.to_be_bytes());
            }
            Frame::Bye | Frame::Enough => {}
            Frame::Ack(ack) => ack.put(out),
            Frame::Verdict(verdict) => verdict.put(out),
            Frame::Abort(abort) => abort.put(out),
        }
        codec::seal(out, start, PREFIX);
    }

    fn kind_and_flags(&self) -> (u8, u8) {
        match self {
            Frame::Leg(leg) => (kind::LEG, leg.flags),
            Frame::Fin(fin) => (kind::FIN, checked(fin.crc)),
            Frame::Ping { .. } => (kind::PING, 0),
            Frame::Bye => (kind::BYE, 0),
            Frame::Ack(_) => (kind::ACK, 0),
            Frame::Nack { .. } => (kind::NACK, 0),
            Frame::Pong { .. } => (kind::PONG, 0),
            Frame::Verdict(verdict) => (kind::VERDICT, checked(verdict.crc)),
            Frame::Enough => (kind::ENOUGH, 0),
            Frame::Abort(_) => (kind::ABORT, 0),
        }
    }
}

/// The frame at the start of `buf` and its length there, without the payload of a leg; `None` if more bytes
/// are needed. A type, flags or length that cannot be is reported as soon as the prefix is there.
pub fn decode(buf: &[u8]) -> Result<Option<(Frame, usize)>, WireError> {
    let Some(&[kind, flags, _, _]) = buf.get(..PREFIX) else { return Ok(None) };
    let (shape, known) = shape_and_flags(kind)?;
    if flags & !known != 0 {
        return Err(WireError::Flags { kind, flags });
    }
    let sound = codec::body(buf, PREFIX, shape).map_err(|unsound| match unsound {
        Unsound::Length(length) => WireError::Length { kind, length },
        Unsound::Checksum => WireError::Checksum,
    })?;
    let Some((body, length)) = sound else { return Ok(None) };
    Ok(Some((parse(kind, flags, body)?, length)))
}

/// How long the body of a frame of this type may be, and the flags it may have.
fn shape_and_flags(kind: u8) -> Result<(Shape, u8), WireError> {
    Ok(match kind {
        kind::LEG => (LEG, LegFlags::KNOWN),
        kind::FIN => (FIN, STREAM_CHECKED),
        kind::PING | kind::PONG | kind::NACK => (TOKEN, 0),
        kind::BYE => (BYE, 0),
        kind::ENOUGH => (ENOUGH, 0),
        kind::ACK => (ACK, 0),
        kind::VERDICT => (VERDICT, STREAM_CHECKED),
        kind::ABORT => (ABORT, 0),
        _ => return Err(WireError::Type(kind)),
    })
}

/// The frame with this body, whose length and CRC-32 are those it should have.
fn parse(kind: u8, flags: u8, body: &[u8]) -> Result<Frame, WireError> {
    let short = WireError::Length { kind, length: body.len() as u16 };
    let mut fields = Reader(body);
    Ok(match kind {
        kind::LEG => Frame::Leg(LegHeader::take(&mut fields, flags).ok_or(short)?.checked()?),
        kind::FIN => Frame::Fin(Fin {
            legs: fields.u64().ok_or(short)?,
            bytes: fields.u64().ok_or(short)?,
            crc: crc(flags, fields.u32().ok_or(short)?)?,
        }),
        kind::PING => Frame::Ping { token: fields.u64().ok_or(short)? },
        kind::BYE => Frame::Bye,
        kind::ENOUGH => Frame::Enough,
        kind::ACK => Frame::Ack(Ack::take(&mut fields).ok_or(short)?),
        kind::NACK => Frame::Nack { sequence: fields.u64().ok_or(short)? },
        kind::PONG => Frame::Pong { token: fields.u64().ok_or(short)? },
        kind::VERDICT => {
            let bytes = fields.u64().ok_or(short)?;
            let crc = crc(flags, fields.u32().ok_or(short)?)?;
            let status = status(fields.u8().ok_or(short)?)?;
            let command = command_end(status, fields.u8().ok_or(short)?, fields.u8().ok_or(short)?)?;
            let sentence = fields.sentence().ok_or(WireError::Sentence)?;
            Frame::Verdict(Verdict { bytes, crc, status, command, sentence })
        }
        kind::ABORT => Frame::Abort(Abort {
            status: match status(fields.u8().ok_or(short)?)? {
                Status::Complete => return Err(WireError::AbortComplete),
                status => status,
            },
            sentence: fields.sentence().ok_or(WireError::Sentence)?,
        }),
        _ => return Err(WireError::Type(kind)),
    })
}

impl LegHeader {
    fn put(&self, out: &mut Vec<u8>) {
        let crc = if self.has_crc() { self.crc } else { 0 };
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.offset.to_be_bytes());
        out.extend_from_slice(&self.raw.to_be_bytes());
        out.extend_from_slice(&self.encoded.to_be_bytes());
        out.extend_from_slice(&crc.to_be_bytes());
    }

    fn take(fields: &mut Reader, flags: u8) -> Option<Self> {
        Some(Self {
            sequence: fields.u64()?,
            offset: fields.u64()?,
            raw: fields.u32()?,
            encoded: fields.u32()?,
            flags,
            crc: fields.u32()?,
        })
    }

    /// The same, once every field is known to be in its range.
    fn checked(self) -> Result<Self, WireError> {
        if self.raw == 0 || self.raw as usize > LEG_MAX {
            return Err(WireError::Raw(self.raw));
        }
        if self.encoded == 0 || self.encoded as usize > LEG_MAX + ENCODE_SLACK {
            return Err(WireError::Encoded(self.encoded));
        }
        if self.sequence == u64::MAX || self.offset.checked_add(self.raw.into()).is_none() {
            return Err(WireError::Overflow);
        }
        // an encoded leg that is checked has its CRC-32 behind at least one byte
        if self.is_encoded() && self.flags & LegFlags::CHECKED != 0 && self.encoded as usize <= CRC {
            return Err(WireError::Encoded(self.encoded));
        }
        crc(self.has_crc().into(), self.crc)?;
        Ok(self)
    }
}

impl Fin {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.legs.to_be_bytes());
        out.extend_from_slice(&self.bytes.to_be_bytes());
        out.extend_from_slice(&self.crc.unwrap_or(0).to_be_bytes());
    }
}

impl Ack {
    fn put(&self, out: &mut Vec<u8>) {
        for number in [self.next, self.delivered, self.edge.bytes, self.edge.legs, self.count] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&self.blocked_ms.to_be_bytes());
    }

    fn take(fields: &mut Reader) -> Option<Self> {
        Some(Self {
            next: fields.u64()?,
            delivered: fields.u64()?,
            edge: WindowEdge { bytes: fields.u64()?, legs: fields.u64()? },
            count: fields.u64()?,
            blocked_ms: fields.u32()?,
        })
    }
}

impl Verdict {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes.to_be_bytes());
        out.extend_from_slice(&self.crc.unwrap_or(0).to_be_bytes());
        out.push(self.status.code());
        out.extend_from_slice(&match self.command {
            None => [command::NONE, 0],
            Some(CommandEnd::Exit(status)) => [command::EXIT, status],
            Some(CommandEnd::Signal(signal)) => [command::SIGNAL, signal],
        });
        codec::put_sentence(out, &self.sentence);
    }
}

impl Abort {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(self.status.code());
        codec::put_sentence(out, &self.sentence);
    }
}

/// The flags of a frame that brings this crc of the stream, or none.
fn checked(crc: Option<u32>) -> u8 {
    if crc.is_some() { STREAM_CHECKED } else { 0 }
}

/// The crc that a frame with these flags brings. Without one the field is 0, and later versions may count
/// on that.
fn crc(checked: u8, field: u32) -> Result<Option<u32>, WireError> {
    match (checked, field) {
        (0, 0) => Ok(None),
        (0, _) => Err(WireError::StrayCrc),
        _ => Ok(Some(field)),
    }
}

/// How a command ended, as a verdict with this outcome says it.
fn command_end(status: Status, kind: u8, number: u8) -> Result<Option<CommandEnd>, WireError> {
    match (status, kind, number) {
        (_, command::NONE, 0) => Ok(None),
        (Status::Complete, command::EXIT, status) => Ok(Some(CommandEnd::Exit(status))),
        (Status::Complete, command::SIGNAL, signal @ 1..=CommandEnd::SIGNAL_MAX) => {
            Ok(Some(CommandEnd::Signal(signal)))
        }
        _ => Err(WireError::Command { kind, number }),
    }
}

/// The outcome with this number.
fn status(code: u8) -> Result<Status, WireError> {
    Status::from_wire(code).ok_or(WireError::Status(code))
}

#[cfg(test)]
mod tests;
