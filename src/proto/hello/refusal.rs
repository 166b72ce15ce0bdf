//! Why a listener does not take a connection. The body of a refusal stays as it is in every version to come.

/// The listener does not take the connection, and goes on listening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why, for the program.
    pub code: RefusalCode,
    /// Why, for the user; cut to [`SENTENCE_MAX`](super::super::codec::SENTENCE_MAX) bytes on the wire.
    pub sentence: String,
}

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RefusalCode {
    /// The receiver is with another session.
    Busy = 1,
    /// The checkphrases differ.
    Checkphrase = 2,
    /// The receiver speaks another version; also whatever another version's refusal says that this one has
    /// no code for.
    Version = 3,
    /// The receiver lacks a mandatory feature.
    Feature = 4,
    /// The receiver does not know a mandatory option.
    Option = 5,
    /// The session has begun, with another receiver.
    NotThatReceiver = 6,
    /// The receiver has completed its session and is about to end.
    Finished = 7,
    /// A newer attempt of this connection is there already.
    Stale = 8,
    /// The session has as many connections as it may have.
    TooMany = 9,
    /// The hello makes no sense.
    Malformed = 10,
    /// The receiver does not do what the connection is for.
    Direction = 11,
    /// The receiver lets in nobody without a key that it knows.
    Key = 12,
}

impl RefusalCode {
    /// The code that this byte stands for; none if this version does not know it.
    pub(super) fn from_wire(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Busy,
            2 => Self::Checkphrase,
            3 => Self::Version,
            4 => Self::Feature,
            5 => Self::Option,
            6 => Self::NotThatReceiver,
            7 => Self::Finished,
            8 => Self::Stale,
            9 => Self::TooMany,
            10 => Self::Malformed,
            11 => Self::Direction,
            12 => Self::Key,
            _ => return None,
        })
    }
}
