//! What a session is made from: what this end does, and what the user wants of it.

use super::super::hello::{Features, Hello, Id};
use super::super::waiting::Patience;
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
