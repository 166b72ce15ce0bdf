//! What a session tells the user, as plain data.
//!
//! An event names connections and links by their numbers and carries no sentence of its own. `wording` turns it into
//! a line. [`Event::level`] says from which verbosity on the line is wanted.

use super::links::{DialError, LossReason};
use super::peer_key::PeerKey;
use std::time::Duration;

/// Something that happened to a session, or that it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The receiving end has met a sender.
    SessionBegins,
    /// The sender went away before anything of its stream came: the receiving end waits for another session.
    SessionForgotten,
    /// A connection that this end dialled was welcomed.
    ConnectionUp {
        /// Its number.
        connection: usize,
        /// The link it is on.
        link: usize,
        /// From the hello to the welcome.
        rtt: Duration,
        /// The key of whoever is there, if connections are encrypted.
        key: Option<PeerKey>,
    },
    /// A connection that was up has ended.
    ConnectionLost {
        /// Its number.
        connection: usize,
        /// The link it was on; None at the end that listens.
        link: Option<usize>,
        /// Why.
        reason: LossReason,
        /// Legs that only it carried, and that are to be sent again.
        again: usize,
        /// Nothing of a stream has come yet at the end that listens: its peer may be a stranger.
        strange: bool,
    },
    /// A link has no connection and does not give one: it is passed over until it answers.
    LinkDied {
        /// Which.
        link: usize,
        /// Why the last attempt failed; None if the connections fell silent.
        reason: Option<DialError>,
    },
    /// A link that was dead answers again: connections that served others come back to it.
    LinkWorksAgain {
        /// Which.
        link: usize,
        /// The first connection that comes back.
        connection: usize,
        /// How many others do.
        others: usize,
    },
    /// Whoever answers at the end of a link does not want this session.
    LinkRefused {
        /// Which.
        link: usize,
        /// What it said.
        sentence: String,
        /// Whether the session has begun elsewhere, so that the user did not expect this.
        begun: bool,
    },
    /// Large segments do not get through on a link: its connections use smaller ones from now on.
    SmallerSegments {
        /// Which.
        link: usize,
        /// How large they are at most, in bytes.
        size: u16,
    },
    /// Another receiver than the session's answers at the end of a link.
    OtherReceiver {
        /// Which.
        link: usize,
    },
    /// A leg was overtaken and goes out again on another connection.
    Rescued {
        /// The leg.
        sequence: u64,
        /// The connection that was too slow for it.
        connection: usize,
    },
    /// The end that dials has no connection that works.
    Waiting {
        /// The last trouble of each link; empty where there was none yet.
        troubles: Vec<String>,
        /// The time after which this end gives up; None if it waits for ever.
        left: Option<Duration>,
    },
    /// The receiver has no room for this session now: the end that dials waits for its turn.
    ReceiverBusy {
        /// The link that leads to it.
        link: usize,
        /// Why not, as the receiver says it; may be empty.
        sentence: String,
        /// The time after which this end gives up; None if it waits for ever.
        left: Option<Duration>,
    },
    /// The end that listens has no connection.
    SenderAway {
        /// The time after which this end gives up; None if it waits for ever.
        left: Option<Duration>,
    },
    /// The user was told of waiting, and that is over.
    WorksAgain {
        /// Whether anything of a stream had been received before, or one end is there for the other alone.
        begun: bool,
    },
}

impl Event {
    /// What kind of line it is, if strangers can cause it as often as they like.
    pub fn of_strangers(&self) -> Option<&'static str> {
        match self {
            Event::SessionBegins | Event::SessionForgotten => Some("sessions that begin or are forgotten"),
            Event::ConnectionLost { strange: true, .. } => Some("connections before a stream has begun"),
            _ => None,
        }
    }

    /// The verbosity from which on the user is told of it.
    pub fn level(&self) -> u8 {
        match self {
            Event::OtherReceiver { .. } | Event::LinkRefused { begun: true, .. } => 0,
            Event::ReceiverBusy { .. } | Event::SmallerSegments { .. } => 0,
            Event::Waiting { .. } | Event::SenderAway { .. } | Event::WorksAgain { .. } => 0,
            Event::SessionBegins | Event::SessionForgotten => 2,
            Event::ConnectionUp { .. } | Event::ConnectionLost { .. } => 2,
            Event::LinkDied { .. } | Event::LinkRefused { begun: false, .. } => 2,
            Event::LinkWorksAgain { .. } | Event::Rescued { .. } => 3,
        }
    }
}
