//! The frames that follow the handshake: what they hold and how they stand on the wire. Big endian.
//!
//! A frame is type u8, flags u8, length of the body u16, the body, and the CRC-32 of all before it. The
//! encoded bytes of a leg follow its frame and are no part of it. Only [`Verdict`] and [`Abort`] vary in
//! length. The types of the two directions are disjoint, so that both can share a connection.
//!
//! Pure: bytes in, values out; knows no socket and no state. Whether a sound frame makes sense now, say an
//! ack of legs never sent, is for the core that takes it. What a peer sends is never asserted on: whatever
//! is wrong is a [`WireError`], after which the connection is of no more use.

use super::codec::{self, CRC, Reader, Shape, Unsound};
use super::leg::LEG_MAX;
use super::outcome::{CommandEnd, Status};

pub use super::codec::SENTENCE_MAX;

/// How much longer than [`LEG_MAX`] a leg's encoded bytes may be. Generous: LZ4 and zstd add less than 0.5 %
/// (10 KiB) to what they cannot compress, and encryption a few bytes for each of its records.
pub const ENCODE_SLACK: usize = 64 << 10;

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
    pub const LEG: u8 = 0x11;
    pub const FIN: u8 = 0x12;
    pub const PING: u8 = 0x13;
    pub const BYE: u8 = 0x14;
    pub const ACK: u8 = 0x21;
    pub const NACK: u8 = 0x22;
    pub const PONG: u8 = 0x23;
    pub const VERDICT: u8 = 0x24;
    pub const ENOUGH: u8 = 0x25;
    pub const ABORT: u8 = 0x31;
}

/// How a verdict says that the end of a command is the result; none of them: it is not.
mod command {
    pub const NONE: u8 = 0;
    pub const EXIT: u8 = 1;
    pub const SIGNAL: u8 = 2;
}

/// In the flags of a fin or verdict: the crc of the stream is there.
const STREAM_CHECKED: u8 = 1;

/// A frame, without the payload that follows a leg's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// tx to rx: a leg follows.
    Leg(LegHeader),
    /// tx to rx: the input has ended.
    Fin(Fin),
    /// tx to rx: answer with a pong.
    Ping {
        /// Comes back in the pong.
        token: u64,
    },
    /// tx to rx: the verdict has arrived, nothing more is wanted.
    Bye,
    /// rx to tx: how far things are.
    Ack(Ack),
    /// rx to tx: a leg did not match its crc and is wanted again. Precedes any ack that counts past it.
    Nack {
        /// The leg's number.
        sequence: u64,
    },
    /// rx to tx: the answer to a ping.
    Pong {
        /// The ping's.
        token: u64,
    },
    /// rx to tx: the last word on the whole stream.
    Verdict(Verdict),
    /// rx to tx: the output takes no more, which is no failure; the stream may end here. Only to a sender that offered
    /// [`Features::ENOUGH`](super::hello::Features::ENOUGH).
    Enough,
    /// Either way: the session is over, and why.
    Abort(Abort),
}

/// The bits of [`LegHeader::flags`].
pub struct LegFlags;

impl LegFlags {
    /// The bytes of the leg have a CRC-32: in [`LegHeader::crc`], or if the leg is encoded as the last four bytes of the
    /// payload.
    pub const CHECKED: u8 = 1;
    /// The leg was compressed: its payload is one frame of zstd.
    pub const COMPRESSED: u8 = 2;
    /// The leg went through the user's own program, before anything else.
    pub const THROUGH: u8 = 4;
    /// What makes the payload something else than the leg's bytes.
    pub const ENCODED: u8 = Self::COMPRESSED | Self::THROUGH;
    /// All bits that this version knows; others are an error, as the payload could not be understood.
    const KNOWN: u8 = Self::CHECKED | Self::ENCODED;
}

/// What precedes the encoded bytes of a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegHeader {
    /// Its number, less than `u64::MAX`, so that the next leg has one too.
    pub sequence: u64,
    /// Where it begins in the stream; `offset + raw` fits a u64.
    pub offset: u64,
    /// Its length in the stream, 1 to [`LEG_MAX`].
    pub raw: u32,
    /// How many bytes follow this frame: the payload, 1 to [`LEG_MAX`] + [`ENCODE_SLACK`].
    pub encoded: u32,
    /// [`LegFlags`].
    pub flags: u8,
    /// The CRC-32 of the payload, which is that of the leg unless it is encoded; 0 if there are no flags.
    pub crc: u32,
}

/// The whole stream, as the sender knows it at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fin {
    /// How many legs it has; at most `bytes`, as none is empty.
    pub legs: u64,
    /// How many bytes it has.
    pub bytes: u64,
    /// The CRC-32 of all its bytes, if it is checked.
    pub crc: Option<u32>,
}

/// The edge of the window: what the sender may send lies below it in both measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowEdge {
    /// No byte at this offset of the stream or beyond.
    pub bytes: u64,
    /// No leg of this number or beyond.
    pub legs: u64,
}

/// How far the receiver is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The head: the first leg not received; at most `edge.legs`.
    pub next: u64,
    /// How many bytes the output has taken; at most `edge.bytes`.
    pub delivered: u64,
    /// How far the sender may go.
    pub edge: WindowEdge,
    /// How many legs came whole on this connection, rescue copies and bad ones included.
    pub count: u64,
    /// For how long the output has now been taking nothing, in milliseconds; 0 if it is not blocked.
    pub blocked_ms: u32,
}

/// How the whole stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How many bytes were delivered.
    pub bytes: u64,
    /// The CRC-32 of the bytes delivered, if the stream is checked.
    pub crc: Option<u32>,
    /// The exit status of both ends.
    pub status: Status,
    /// How the command ended that took the stream, where that is what counts; only with [`Status::Complete`]. It may
    /// have ended before the stream did.
    pub command: Option<CommandEnd>,
    /// Why, for the user; may be empty.
    pub sentence: String,
}

/// Why a session ends before its stream does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Abort {
    /// The exit status; never [`Status::Complete`].
    pub status: Status,
    /// Why, for the user; may be empty.
    pub sentence: String,
}

/// What is wrong with a frame: always the peer's fault or the network's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// No frame has this type.
    #[error("there is no frame of type {0:#04x}")]
    Type(u8),
    /// Flags that a frame of this type does not have.
    #[error("a frame of type {kind:#04x} has no flags {flags:#04x}")]
    Flags {
        /// The type.
        kind: u8,
        /// All of its flags.
        flags: u8,
    },
    /// A length that a frame of this type does not have, or that its parts contradict.
    #[error("a frame of type {kind:#04x} cannot have {length} bytes")]
    Length {
        /// The type.
        kind: u8,
        /// The length of the body.
        length: u16,
    },
    /// The CRC-32 of the frame does not match.
    #[error("a frame was damaged on its way (wrong CRC-32)")]
    Checksum,
    /// A leg is empty or too long.
    #[error("a leg cannot have {0} bytes")]
    Raw(u32),
    /// The encoded bytes of a leg are none or too many.
    #[error("the payload of a leg cannot have {0} bytes")]
    Encoded(u32),
    /// A leg's number or place is beyond what can be counted.
    #[error("a leg lies beyond the end of any stream")]
    Overflow,
    /// A crc where the flags say that there is none.
    #[error("a frame without a checksum of its data brings one")]
    StrayCrc,
    /// No outcome has this number.
    #[error("there is no outcome {0}")]
    Status(u8),
    /// A command cannot have ended so, or not with this outcome.
    #[error("no command can have ended as {kind} {number}")]
    Command {
        /// What kind of end the frame claims.
        kind: u8,
        /// Its number.
        number: u8,
    },
    /// An abort that claims success.
    #[error("an abort cannot report success")]
    AbortComplete,
    /// A sentence that is not UTF-8.
    #[error("a sentence is not valid UTF-8")]
    Sentence,
}

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
    /// Whether [`LegHeader::crc`] is there and holds: for a leg that is checked, and for every one that is encoded.
    pub fn has_crc(&self) -> bool {
        self.flags & (LegFlags::CHECKED | LegFlags::ENCODED) != 0
    }

    /// Whether the payload is something else than the leg's bytes.
    pub fn is_encoded(&self) -> bool {
        self.flags & LegFlags::ENCODED != 0
    }

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
