//! What a session tells its owner.

use super::super::event::Event;
use super::super::hello::{FarEnd, Features, Hello, Id};
use super::super::leg::Leg;
use super::super::links::LossReason;
use super::super::outcome::Outcome;
use super::super::waiting::Patience;
use super::super::way::Way;
use std::time::Duration;

/// The end that dials: the connections that it makes, and the stream that it sends.
#[derive(Clone, Debug)]
pub struct DiallerConfig {
    /// What every hello says; its instance, link, connection, attempt and begun fields are filled in by the session.
    pub hello: Hello,
    /// Names of the links, as the user typed them.
    pub links: Vec<String>,
    /// How many connections; at most [`CONNECTIONS_MAX`](super::super::leg::CONNECTIONS_MAX).
    pub connections: usize,
    /// How long to wait with no working connection, if the user says so.
    pub patience: Option<Patience>,
    /// Whether the last link is a lifeline, see [`Links`](super::super::links::Links): it carries legs only while no
    /// other link does. Then there are at least as many connections as links.
    pub lifeline: bool,
    /// Whether the stream has to wait for its turn: until [`Session::use_all`](super::Session::use_all) one connection
    /// suffices.
    pub waits: bool,
    /// Decides jitter alone.
    pub seed: u64,
}

impl DiallerConfig {
    /// An end that says this, on links of which none is a lifeline, and has all connections from the first.
    pub fn new(hello: Hello, links: Vec<String>, connections: usize, seed: u64) -> Self {
        DiallerConfig { hello, links, connections, patience: None, lifeline: false, waits: false, seed }
    }

    /// Whether legs and stream are checked by CRC-32.
    pub fn checks(&self) -> bool {
        self.hello.features.contains(Features::CHECKSUM)
    }

    /// Whether the stream goes to a command whose own end is the result, when it comes, and which may have enough of the
    /// stream before. Otherwise nothing but the whole stream is a success.
    pub fn sends_to_command(&self) -> bool {
        self.hello.features.contains(Features::ENOUGH)
    }
}

/// The stream that comes in.
#[derive(Clone, Debug)]
pub struct InboundConfig {
    /// The name of this process, in every welcome.
    pub instance: Id,
    /// Memory for legs, in bytes.
    pub buffer: u64,
    /// How long to wait with no working connection, if the user says so.
    pub patience: Option<Patience>,
    /// The features that both ends may use.
    pub features: Features,
    /// Where this end is there for one sender alone.
    pub tied: Option<Tied>,
    /// Whether only hellos of one session come here, since another decides whose come where. Then that session is not
    /// forgotten for the sake of another one; it ends when its sender stays away.
    pub of_one: bool,
    /// Whether the sender has to wait for its turn: until [`Session::use_all`](super::Session::use_all) an end that
    /// listens lets in no more connections than one that is dialled anew, and no leg.
    pub waits: bool,
}

impl InboundConfig {
    /// A receiver for whoever comes, with all of its connections from the first.
    pub fn new(instance: Id, features: Features, buffer: u64) -> Self {
        InboundConfig { instance, buffer, patience: None, features, tied: None, of_one: false, waits: false }
    }
}

/// A receiver that was started by its sender, and is of use to no other: from the first message on, its session is as
/// good as begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tied {
    /// How long it waits for a first message.
    pub unmet: Duration,
    /// When all connections were closed, not silent, and none came again for so long, the sender is gone.
    pub gone: Duration,
}

/// The stream that goes out of the end that listens. Whether it is checked is the other end's wish.
#[derive(Clone, Debug)]
pub struct OutboundConfig {
    /// Memory for legs, in bytes.
    pub buffer: u64,
}

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
    /// Tell `quiet` as soon as the connection has nothing to read.
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
    /// The link and reason of the last one.
    pub last: Option<(usize, LossReason)>,
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
