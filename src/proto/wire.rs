//! The frames that follow the handshake: what they hold, and how they stand on the wire.
//!
//! The encoded bytes of a leg follow its frame and are no part of it. The types of the two directions are disjoint, so
//! that both can share a connection.
//!
//! Pure: bytes in, values out; knows no socket and no state. Whether a sound frame makes sense now, say an
//! ack of legs never sent, is for the core that takes it. What a peer sends is never asserted on: whatever
//! is wrong is a [`WireError`], after which the connection is of no more use.

mod error;
mod frame;
mod layout;

pub use super::codec::SENTENCE_MAX;
pub use error::WireError;
pub use frame::{Abort, Ack, ENCODE_SLACK, Fin, Frame, LegFlags, LegHeader, Verdict, WindowEdge};
pub use layout::{FRAME_MAX, LEG_HEADER, decode};
