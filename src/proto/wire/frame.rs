//! What frames hold.

use super::super::outcome::{CommandEnd, Status};

/// How much longer than [`LEG_MAX`](super::super::leg::LEG_MAX) a leg's encoded bytes may be. Generous: LZ4 and zstd add less
/// than 0.5 % (10 KiB) to what they cannot compress, and encryption a few bytes for each of its records.
pub const ENCODE_SLACK: usize = 64 << 10;

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
    /// [`Features::ENOUGH`](super::super::hello::Features::ENOUGH).
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
    pub(super) const KNOWN: u8 = Self::CHECKED | Self::ENCODED;
}

/// What precedes the encoded bytes of a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegHeader {
    /// Its number, less than `u64::MAX`, so that the next leg has one too.
    pub sequence: u64,
    /// Where it begins in the stream; `offset + raw` fits a u64.
    pub offset: u64,
    /// Its length in the stream, 1 to [`LEG_MAX`](super::super::leg::LEG_MAX).
    pub raw: u32,
    /// How many bytes follow this frame: the payload, 1 to [`LEG_MAX`](super::super::leg::LEG_MAX) + [`ENCODE_SLACK`].
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

impl LegHeader {
    /// Whether [`LegHeader::crc`] is there and holds: for a leg that is checked, and for every one that is encoded.
    pub fn has_crc(&self) -> bool {
        self.flags & (LegFlags::CHECKED | LegFlags::ENCODED) != 0
    }

    /// Whether the payload is something else than the leg's bytes.
    pub fn is_encoded(&self) -> bool {
        self.flags & LegFlags::ENCODED != 0
    }
}
