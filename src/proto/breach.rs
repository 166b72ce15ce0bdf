//! What a peer does that the rules of the protocol forbid, in one list, with the words for it.
//!
//! Whatever it is, the connection on which it happened is closed, and nothing that was said there is believed. The
//! words follow "the peer".

use super::hello::HelloError;
use super::wire::WireError;

/// One breach of the rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    /// Bytes that are no frame.
    #[error("sent nonsense: {0}")]
    Nonsense(#[from] WireError),
    /// What should have been a welcome is none.
    #[error("sent no welcome: {0}")]
    NoWelcome(HelloError),
    /// It refuses what it asked for.
    #[error("refused a connection that it had asked for")]
    RefusedItsOwn,
    /// Its welcome was not answered yet, or this end did not welcome it.
    #[error("spoke before it was welcome")]
    NotWelcome,
    /// It waits for its turn, and sends a leg: whoever keeps to the rules sends nothing before.
    #[error("sent a leg before its turn")]
    NotItsTurn,
    /// Only senders say this, and this end receives nothing.
    #[error("sent a sender's message to the sender")]
    ToTheSender,
    /// Only receivers say this, and this end sends nothing.
    #[error("sent a receiver's message to the receiver")]
    ToTheReceiver,
    /// Only the output of a sender that offered to stop has enough.
    #[error("has enough of a stream that is wanted whole")]
    Enough,
    /// It acknowledges more legs than the connection carried.
    #[error("acknowledges {counted} legs where {sent} were sent")]
    CountBeyondSent {
        /// What it claims.
        counted: u64,
        /// What was sent.
        sent: u64,
    },
    /// It wants a leg, or has delivered bytes, that were never sent.
    #[error("acknowledges what was never sent")]
    BeyondSent,
    /// It complains about a leg that the connection is not carrying.
    #[error("complains about leg {0}, which is not on the way")]
    UnknownLeg(u64),
    /// A leg beyond the window that it was given.
    #[error("sent leg {0} beyond the window")]
    BeyondWindow(u64),
    /// Legs that together need more memory than the window has.
    #[error("sent more than the window holds")]
    BeyondMemory,
    /// A leg of so many bytes, longer than was agreed.
    #[error("sent a leg of {0} bytes, longer than was agreed")]
    TooLong(u32),
    /// A welcome that asks for legs of at most so many bytes, smaller than any sender cuts them.
    #[error("asks for legs of {0} bytes, smaller than there are")]
    LegsTooSmall(u32),
    /// A leg in an encoding that was not agreed.
    #[error("sent a leg in an encoding that was not agreed")]
    Encoding,
    /// A leg that is not of the length, or in the encoding, that its header says.
    #[error("sent leg {0}, which does not decode to what it should be")]
    Misfolded(u64),
    /// A leg that overlaps its neighbours, or leaves a gap to them.
    #[error("sent leg {0}, which does not fit its neighbours")]
    Misfit(u64),
    /// A leg beyond the end that was announced, or an end before what was received.
    #[error("contradicts the announced end of the stream with leg {0}")]
    PastEnd(u64),
    /// Another end than the one announced before.
    #[error("announced another end of the stream than before")]
    OtherEnd,
}
