//! What can be wrong with a frame.

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
