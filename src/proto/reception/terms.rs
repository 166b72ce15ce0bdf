//! What a reception is given, what it answers, and what it counts.

use super::super::event::Event;
use super::super::hello::{Features, Id, Welcome};
use super::super::leg::Leg;
use super::super::outcome::Outcome;
use super::super::sharing::Sharing;
use super::super::waiting::Patience;
use super::super::wire::Frame;

/// What the user asked for, as far as this core is concerned.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of this process, in every welcome.
    pub instance: Id,
    /// Memory for legs, in bytes.
    pub buffer: u64,
    /// How long to wait with no working connection, if the user says so.
    pub patience: Option<Patience>,
    /// The features both ends may use.
    pub features: Features,
    /// Whose the connections are. A borrower serves the one session that this process has with its peer.
    pub sharing: Sharing,
}

/// What the owner shall do.
#[derive(Debug)]
pub enum Action {
    /// Give a leg to the output; report `delivered` when it has been taken.
    Deliver(Leg),
    /// Everything was delivered: close the output and report `output_closed`.
    CloseOutput,
    /// Acknowledge on every connection: now, or within the usual delay.
    Acknowledge {
        /// Whether the sender may be waiting for it.
        now: bool,
    },
    /// Write a frame to a connection.
    Tell(usize, Frame),
    /// Close a connection at once; why, for the log.
    Drop(usize, String),
    /// The stream is judged, and so it ended. Only with shared connections, which may be kept until `End`.
    Settle(Outcome),
    /// Something for the user.
    Say(Event),
    /// The session is over; the last frames have been told. Nothing follows.
    End(Outcome),
}

/// A connection that was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Its place, 0 to 15: the sender's worker.
    pub connection: usize,
    /// Whether it takes the place of an older one, which is to be dropped without a word.
    pub replaces: bool,
    /// What to answer.
    pub welcome: Welcome,
}

/// How a connection ended at this side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Closed or reset: the far kernel spoke.
    Closed,
    /// Nothing was heard for a long time.
    Silent,
}

/// Counters of one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotStats {
    /// Whether it is up.
    pub up: bool,
    /// The sender's link.
    pub link: u8,
    /// Legs and bytes it has brought, copies included.
    pub legs: u64,
    /// Bytes of them.
    pub bytes: u64,
}
