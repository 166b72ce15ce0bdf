//! What a session has its owner do, and what that is told when it asks.

use super::super::event::Event;
use super::super::hello::{FarEnd, Hello};
use super::super::leg::Leg;
use super::super::links::LossReason;
use super::super::outcome::Outcome;
use super::super::way::Way;
use std::time::Duration;

/// What the input should read into the next piece of the stream that goes out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Appetite {
    /// So many bytes are enough while connections are hungry; ≤ `most`.
    pub enough: usize,
    /// Bytes, at most.
    pub most: usize,
    /// A connection waits for input that is not there.
    pub hungry: bool,
}

impl Appetite {
    /// With so many bytes a piece goes at once.
    pub fn size(&self) -> usize {
        if self.hungry { self.enough } else { self.most }
    }
}

/// What the owner shall do.
#[derive(Debug)]
pub enum Action {
    /// Get a connection, say hello, and tell `welcomed`, `refused` or `dial_failed`.
    Dial {
        /// Its number.
        connection: usize,
        /// On which link.
        link: usize,
        /// What to say.
        hello: Box<Hello>,
        /// How long it may take in all.
        timeout: Duration,
        /// The largest segments of TCP that the connection may use; None for what the path says it can.
        segment: Option<u16>,
    },
    /// Close the connection at once, without waiting for anything; nothing more is told of it.
    Drop(usize, LossReason),
    /// Close the connection in order, because it has nothing on the way, and tell that it is lost as left.
    Leave(usize),
    /// Tell `examined` as soon as the connection has nothing to read.
    Look(usize),
    /// Give a leg to the output; tell `delivered` when it has been taken.
    Deliver(Leg),
    /// Everything was delivered: close the output and tell `output_closed`.
    CloseOutput,
    /// The far end's output takes no more, which is no failure: the input is not to be read any more, and its end is not
    /// to be told.
    Cease,
    /// The far end of a stream was met.
    Met(Way, FarEnd),
    /// The stream was judged, and so it ended. Its connections may be kept for the sake of the other one.
    Settled(Way, Outcome),
    /// Something for the user.
    Tell(Event),
    /// The session is over; the last frames are in the mailboxes. Nothing follows.
    Over,
}

/// Connections that were up and ended before the session did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// How many.
    pub count: u64,
    /// The last one.
    pub last: Option<Loss>,
}

/// A connection that was up and has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Its number.
    pub connection: usize,
    /// The link that it was on.
    pub link: usize,
    /// Why it ended.
    pub why: LossReason,
}

/// Where the bytes of a leg go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landing {
    /// Into memory: it is wanted.
    Keep,
    /// To nowhere: it is here already, or nobody wants it any more.
    Scratch,
}

/// Whom the owner of a session that is over still waits for, and not for long, so that its last words get there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// Nobody: the peer waits for nothing from here.
    Nobody,
    /// The first connection that the peer closes in order: then it has heard what there was.
    First,
    /// Every connection.
    All,
}

impl Farewell {
    /// How long the owner waits for them at most.
    pub const TIME: Duration = Duration::from_secs(2);

    /// Whether nobody is waited for any more, with so many connections `open`; `heard`: the peer has closed one in order
    /// since the session was over.
    pub fn is_over(self, open: usize, heard: bool) -> bool {
        match self {
            Farewell::Nobody => true,
            Farewell::First => open == 0 || heard,
            Farewell::All => open == 0,
        }
    }
}
