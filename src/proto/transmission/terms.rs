//! What a transmission is given, what it answers, and what it counts.

use super::super::event::Event;
use super::super::hello::Hello;
use super::super::leg::Leg;
use super::super::links::LossReason;
use super::super::outcome::Outcome;
use super::super::sender::SenderStats;
use super::super::sharing::Sharing;
use super::super::waiting::Patience;
use super::super::wire::Frame;
use std::time::Duration;

/// What the user asked for, as far as this core is concerned.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What every hello says; its instance, link, connection, attempt and begun fields are filled in here.
    pub hello: Hello,
    /// Names of the links, as the user typed them.
    pub links: Vec<String>,
    /// Connections.
    pub workers: usize,
    /// How long to wait with no working connection, if the user says so.
    pub patience: Option<Patience>,
    /// Whether legs and stream are checked by CRC-32.
    pub checked: bool,
    /// Decides jitter alone.
    pub seed: u64,
    /// Whose the connections are. To a borrower they are given: it has neither links nor workers of its own.
    pub sharing: Sharing,
}

/// What the owner shall do.
#[derive(Debug)]
pub enum Action {
    /// Get a connection, say hello, and report `welcomed`, `refused` or `dial_failed`.
    Dial {
        /// Which worker.
        worker: usize,
        /// On which link.
        link: usize,
        /// What to say.
        hello: Box<Hello>,
        /// How long it may take in all.
        timeout: Duration,
    },
    /// Write a leg; report `ready` when its last byte has left and the path drains again.
    Send(usize, Leg),
    /// Write a frame as soon as the leg under way is written.
    Tell(usize, Frame),
    /// Give the connection up at once, without waiting for anything.
    Drop(usize, LossReason),
    /// Close the connection in order: it has nothing on the way.
    Leave(usize),
    /// The stream is judged, and so it ended. Only with shared connections, which may be kept until `End`.
    Settle(Outcome),
    /// Something for the user.
    Say(Event),
    /// The session is over; the last frames have been told. Nothing follows.
    End(Outcome),
}

/// Counters of one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineStats {
    /// Stream bytes given to it.
    pub bytes: u64,
    /// Legs given to it.
    pub legs: u64,
    /// The leg it was given last.
    pub leg: Option<u64>,
}

/// Counters of a sending session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransmissionStats {
    /// Of its legs.
    pub sender: SenderStats,
    /// Connections that were up and ended before the session did.
    pub connections_lost: u64,
    /// The link and reason of the last one.
    pub last_loss: Option<(usize, LossReason)>,
}
