//! Whose the connections of a session are: the end that dials makes them, the end that listens lets them in.
//!
//! What both kinds of end can be asked alike is asked here. Streams know neither kind: they are given a connection when
//! it is up, and told when it is gone.

use super::super::event::Event;
use super::super::links::{LossReason, State};
use super::super::outcome::Outcome;
use super::super::waiting::Patience;
use super::dialler::Dialler;
use super::listener::Listener;
use super::view::View;
use std::time::Instant;

/// The end's side of the connections.
pub enum Ownership {
    /// It dials.
    Dialler(Box<Dialler>),
    /// It listens.
    Listener(Box<Listener>),
}

/// Where a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// There is none.
    Down,
    /// It is being dialled on this link.
    Dialling(usize),
    /// It is up on this link.
    Up(usize),
    /// It is up on this link, and finishes what it holds.
    Leaving(usize),
}

impl Ownership {
    /// Where a connection is.
    pub fn whereabouts(&self, connection: usize) -> Whereabouts {
        match self {
            Ownership::Dialler(dialler) => match dialler.state(connection) {
                Some(State::Dialling(link)) => Whereabouts::Dialling(link),
                Some(State::Up(link)) => Whereabouts::Up(link),
                Some(State::Leaving(link)) => Whereabouts::Leaving(link),
                Some(State::Resting(_)) | None => Whereabouts::Down,
            },
            Ownership::Listener(listener) => {
                listener.link_of(connection).map_or(Whereabouts::Down, Whereabouts::Up)
            }
        }
    }

    /// The link of a connection that is up.
    pub fn link_of(&self, connection: usize) -> Option<usize> {
        match self.whereabouts(connection) {
            Whereabouts::Up(link) | Whereabouts::Leaving(link) => Some(link),
            Whereabouts::Down | Whereabouts::Dialling(_) => None,
        }
    }

    /// The link of a connection to which a welcome of the far end may come now.
    pub fn awaits_welcome(&self, connection: usize) -> Option<usize> {
        match (self, self.whereabouts(connection)) {
            (Ownership::Dialler(_), Whereabouts::Dialling(link)) => Some(link),
            (Ownership::Listener(_), Whereabouts::Up(link)) => Some(link),
            _ => None,
        }
    }

    /// The stream waits no longer for its turn.
    pub fn use_all(&mut self) {
        match self {
            Ownership::Dialler(dialler) => dialler.use_all(),
            Ownership::Listener(listener) => listener.use_all(),
        }
    }

    /// A connection is gone, and `again` legs with it. Whether it was one that was up.
    pub fn lost(
        &mut self,
        now: Instant,
        connection: usize,
        why: &LossReason,
        again: usize,
        view: View,
    ) -> bool {
        match self {
            Ownership::Dialler(dialler) => dialler.lost(now, connection, why, again),
            Ownership::Listener(listener) => listener.lost(now, connection, why, view),
        }
    }

    /// How long to wait with no working connection, if the user says so.
    pub fn patience(&self) -> Option<Patience> {
        match self {
            Ownership::Dialler(dialler) => dialler.patience(),
            Ownership::Listener(listener) => listener.patience(),
        }
    }

    /// Whether this end is there for the session that it serves, and for no other.
    pub fn is_bound(&self) -> bool {
        matches!(self, Ownership::Listener(listener) if listener.is_bound())
    }

    /// A message has come on a connection.
    pub fn spoke(&mut self, now: Instant, connection: usize) {
        if let Ownership::Listener(listener) = self {
            listener.spoke(now, connection);
        }
    }

    /// Something got there and back: waiting is over.
    pub fn works(&mut self, connection: usize, begun: bool) {
        match self {
            Ownership::Dialler(dialler) => dialler.works(connection, begun),
            Ownership::Listener(listener) => listener.works(begun),
        }
    }

    /// The reason to end the session now, if there is one.
    pub fn given_up(&self, now: Instant, view: View) -> Option<Outcome> {
        match self {
            Ownership::Dialler(dialler) => dialler.given_up(now, view),
            Ownership::Listener(listener) => listener.given_up(now, view),
        }
    }

    /// Tells the user that nothing works, if that is due.
    pub fn remind(&mut self, now: Instant, view: View) {
        match self {
            Ownership::Dialler(dialler) => dialler.remind(now, view),
            Ownership::Listener(listener) => listener.remind(now, view),
        }
    }

    /// What the user is to be told.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(match self {
            Ownership::Dialler(dialler) => &mut dialler.events,
            Ownership::Listener(listener) => &mut listener.events,
        })
    }

    /// The times at which there may be something to do, if nothing happens before.
    pub fn deadlines(&self, now: Instant, view: View) -> impl Iterator<Item = Instant> {
        let times = match self {
            Ownership::Dialler(dialler) => dialler.deadlines(now, view),
            Ownership::Listener(listener) => listener.deadlines(view),
        };
        times.into_iter().flatten()
    }
}
