//! Whose the connections of a session are: the end that dials makes them, the end that listens lets them in.
//!
//! What both kinds of end can be asked alike is asked here. Streams know neither kind: they are given a connection when
//! it is up, and told when it is gone.

use super::super::event::Event;
use super::super::hello::{Hello, Id, Refusal};
use super::super::leg::CONNECTIONS_MAX;
use super::super::links::{DialError, DialState, LossReason};
use super::super::peer_key::PeerKey;
use super::super::waiting::Patience;
use super::action::Action;
use super::dialler::Dialler;
use super::listener::{Listener, Occupancy};
use super::view::View;
use super::why::Why;
use std::time::{Duration, Instant};

/// The end's side of the connections.
pub(super) enum Ownership {
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
    pub(super) fn whereabouts(&self, connection: usize) -> Whereabouts {
        match self {
            Ownership::Dialler(dialler) => match dialler.state(connection) {
                Some(DialState::Dialling(link)) => Whereabouts::Dialling(link),
                Some(DialState::Up(link)) => Whereabouts::Up(link),
                Some(DialState::Leaving(link)) => Whereabouts::Leaving(link),
                Some(DialState::Resting(_)) | None => Whereabouts::Down,
            },
            Ownership::Listener(listener) => {
                listener.link_of(connection).map_or(Whereabouts::Down, Whereabouts::Up)
            }
        }
    }

    /// The link of a connection that is up.
    pub(super) fn link_of(&self, connection: usize) -> Option<usize> {
        match self.whereabouts(connection) {
            Whereabouts::Up(link) | Whereabouts::Leaving(link) => Some(link),
            Whereabouts::Down | Whereabouts::Dialling(_) => None,
        }
    }

    /// The link of a connection to which a welcome of the far end may come now.
    pub(super) fn awaits_welcome(&self, connection: usize) -> Option<usize> {
        match (self, self.whereabouts(connection)) {
            (Ownership::Dialler(_), Whereabouts::Dialling(link)) => Some(link),
            (Ownership::Listener(_), Whereabouts::Up(link)) => Some(link),
            _ => None,
        }
    }

    /// Whether this end dials.
    pub(super) fn dials(&self) -> bool {
        self.dialler().is_some()
    }

    /// How many connections there may be.
    pub(super) fn connections(&self) -> usize {
        self.dialler().map_or(CONNECTIONS_MAX, Dialler::connections)
    }

    /// The last thing that went wrong on a link that is dialled from here; empty if nothing has.
    pub(super) fn trouble(&self, link: usize) -> &str {
        self.dialler().map_or("", |dialler| dialler.trouble(link))
    }

    /// Since when no connection is up, at an end that listens; None before the first one was.
    pub(super) fn alone_since(&self) -> Option<Instant> {
        self.listener().and_then(Listener::alone_since)
    }

    /// The key of the peer, once it is known. `answered`: the key of whoever has answered this end's hellos.
    pub(super) fn key(&self, answered: Option<PeerKey>) -> Option<PeerKey> {
        self.listener().map_or(answered, Listener::key)
    }

    /// Whether it is worth while to wait for a connection, to tell of a stream that failed, or of an order to end.
    pub(super) fn hopes(&self, failed: bool, view: View) -> bool {
        match self {
            Ownership::Dialler(dialler) => failed || dialler.is_dialling(),
            // whoever has begun a stream dials again
            Ownership::Listener(_) => failed && view.begun,
        }
    }

    // ---- what only an end that dials makes something of -------------------------------------------------

    /// What is to be dialled now.
    pub(super) fn dial(&mut self, now: Instant, instance: Option<Id>, begun: bool) -> Vec<Action> {
        self.dialler_mut().map(|dialler| dialler.dial(now, instance, begun)).unwrap_or_default()
    }

    /// This hello, with what it says of the session as that stands now.
    pub(super) fn renewed(&self, hello: Hello, instance: Option<Id>, begun: bool) -> Hello {
        match self {
            Ownership::Dialler(dialler) => dialler.renewed(hello, instance, begun),
            Ownership::Listener(_) => hello,
        }
    }

    /// One connection carries all that is new, or does not.
    pub(super) fn note_whether_one_carries(&mut self, one_carries: bool) {
        if let Some(dialler) = self.dialler_mut() {
            dialler.note_whether_one_carries(one_carries);
        }
    }

    /// An attempt succeeded: whoever is there has this key. Connections that are called back to their homes; None where
    /// nothing is dialled.
    pub(super) fn up(
        &mut self,
        connection: usize,
        link: usize,
        key: Option<PeerKey>,
        rtt: Duration,
    ) -> Option<Vec<usize>> {
        self.dialler_mut().map(|dialler| dialler.up(connection, link, key, rtt))
    }

    /// An attempt led to another receiver.
    pub(super) fn met_another(&mut self, now: Instant, connection: usize, begun: bool) {
        if let Some(dialler) = self.dialler_mut() {
            dialler.met_another(now, connection, begun);
        }
    }

    /// An attempt failed.
    pub(super) fn failed(&mut self, now: Instant, connection: usize, why: &DialError) {
        if let Some(dialler) = self.dialler_mut() {
            dialler.failed(now, connection, why);
        }
    }

    /// Whoever answered refused the connection in words.
    pub(super) fn refused(&mut self, now: Instant, connection: usize, refusal: &Refusal, begun: bool) {
        if let Some(dialler) = self.dialler_mut() {
            dialler.refused(now, connection, refusal, begun);
        }
    }

    /// So many bytes of a stream have arrived over a connection.
    pub(super) fn moved(&mut self, now: Instant, connection: usize, bytes: u64) {
        if let Some(dialler) = self.dialler_mut() {
            dialler.moved(now, connection, bytes);
        }
    }

    /// The kernel of the peer took so many bytes on a connection, the last of them at that time.
    pub(super) fn taken(&mut self, connection: usize, at: Instant, bytes: u64) {
        if let Some(dialler) = self.dialler_mut() {
            dialler.taken(connection, at, bytes);
        }
    }

    /// An answer has come on a link that this end dials.
    pub(super) fn answered(&mut self, now: Instant, link: usize) {
        if let Some(dialler) = self.dialler_mut() {
            dialler.answered(now, link);
        }
    }

    /// See [`Dialler::stuck`].
    pub(super) fn stuck(&mut self, now: Instant, connection: usize, since: Instant) -> bool {
        self.dialler_mut().is_some_and(|dialler| dialler.stuck(now, connection, since))
    }

    /// See [`Dialler::said_bye`].
    pub(super) fn said_bye(&mut self, now: Instant, last: Option<Duration>) {
        if let Some(dialler) = self.dialler_mut() {
            dialler.said_bye(now, last);
        }
    }

    /// The peer has heard the bye.
    pub(super) fn bye_has_arrived(&mut self) {
        if let Some(dialler) = self.dialler_mut() {
            dialler.bye_has_arrived();
        }
    }

    /// See [`Dialler::is_parting`].
    pub(super) fn is_parting(&self) -> bool {
        self.dialler().is_some_and(Dialler::is_parting)
    }

    /// Whether nothing is left to do for the peer to hear the bye. An end that listens never has anything to do for that:
    /// a peer that has not heard it dials.
    pub(super) fn has_parted(&self, now: Instant) -> bool {
        self.dialler().is_none_or(|dialler| dialler.has_parted(now))
    }

    // ---- what only an end that listens makes something of -----------------------------------------------

    /// Whether this hello, of a peer with this key, would be let in.
    ///
    /// # Errors
    /// The refusal to answer with.
    pub(super) fn screen(
        &self,
        hello: &Hello,
        key: Option<PeerKey>,
        occupancy: Occupancy,
    ) -> Result<(), Refusal> {
        self.listener().map_or(Ok(()), |listener| listener.screen(hello, key, occupancy))
    }

    /// Lets a connection in; only an end that listens is asked. Whether a session begins with it.
    ///
    /// # Errors
    /// The refusal to answer with; nothing has changed.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        hello: &Hello,
        key: Option<PeerKey>,
        occupancy: Occupancy,
    ) -> Result<bool, Refusal> {
        match self {
            Ownership::Listener(listener) => listener.admit(now, hello, key, occupancy),
            Ownership::Dialler(_) => unreachable!("an end that dials listens to nobody"),
        }
    }

    /// See [`Listener::yields`].
    pub(super) fn yields(&self, hello: &Hello, key: Option<PeerKey>) -> bool {
        self.listener().is_some_and(|listener| listener.yields(hello, key))
    }

    /// See [`Listener::forget`].
    pub(super) fn forget(&mut self) {
        if let Some(listener) = self.listener_mut() {
            listener.forget();
        }
    }

    /// See [`Listener::forgets`].
    pub(super) fn forgets(&mut self, now: Instant, view: View) -> bool {
        self.listener_mut().is_some_and(|listener| listener.forgets(now, view))
    }

    /// Whether one end has met the other, and is there for that one alone.
    pub(super) fn is_bound(&self) -> bool {
        match self {
            Ownership::Dialler(dialler) => dialler.is_bound(),
            Ownership::Listener(listener) => listener.is_bound(),
        }
    }

    /// A message has come on a connection.
    pub(super) fn spoke(&mut self, now: Instant, connection: usize) {
        if let Some(listener) = self.listener_mut() {
            listener.spoke(now, connection);
        }
    }

    // ---- what each makes something of in its own way ----------------------------------------------------

    /// Whether the sender of the stream that comes waits for its turn, as far as this end decides that.
    pub(super) fn sender_waits(&self) -> bool {
        match self {
            Ownership::Dialler(_) => false,
            Ownership::Listener(listener) => listener.sender_waits(),
        }
    }

    /// The stream waits no longer for its turn.
    pub(super) fn use_all(&mut self) {
        match self {
            Ownership::Dialler(dialler) => dialler.use_all(),
            Ownership::Listener(listener) => listener.use_all(),
        }
    }

    /// A connection is gone, and `again` legs with it. Whether it was one that was up.
    pub(super) fn lost(
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
    pub(super) fn patience(&self) -> Option<Patience> {
        match self {
            Ownership::Dialler(dialler) => dialler.patience(),
            Ownership::Listener(listener) => listener.patience(),
        }
    }

    /// Something got there and back: waiting is over.
    pub(super) fn works(&mut self, connection: usize, begun: bool) {
        match self {
            Ownership::Dialler(dialler) => dialler.works(connection, begun),
            Ownership::Listener(listener) => listener.works(begun),
        }
    }

    /// The reason to end the session now, if there is one.
    pub(super) fn given_up(&self, now: Instant, view: View) -> Option<Why> {
        match self {
            Ownership::Dialler(dialler) => dialler.given_up(now, view),
            Ownership::Listener(listener) => listener.given_up(now, view),
        }
    }

    /// Tells the user that nothing works, if that is due.
    pub(super) fn remind(&mut self, now: Instant, view: View) {
        match self {
            Ownership::Dialler(dialler) => dialler.remind(now, view),
            Ownership::Listener(listener) => listener.remind(now, view),
        }
    }

    /// What the user is to be told.
    pub(super) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(match self {
            Ownership::Dialler(dialler) => &mut dialler.events,
            Ownership::Listener(listener) => &mut listener.events,
        })
    }

    /// The times at which there may be something to do, if nothing happens before.
    pub(super) fn deadlines(&self, now: Instant, view: View) -> impl Iterator<Item = Instant> {
        let times = match self {
            Ownership::Dialler(dialler) => dialler.deadlines(now, view),
            Ownership::Listener(listener) => listener.deadlines(view),
        };
        times.into_iter().flatten()
    }

    fn dialler(&self) -> Option<&Dialler> {
        match self {
            Ownership::Dialler(dialler) => Some(dialler),
            Ownership::Listener(_) => None,
        }
    }

    fn dialler_mut(&mut self) -> Option<&mut Dialler> {
        match self {
            Ownership::Dialler(dialler) => Some(dialler),
            Ownership::Listener(_) => None,
        }
    }

    fn listener(&self) -> Option<&Listener> {
        match self {
            Ownership::Listener(listener) => Some(listener),
            Ownership::Dialler(_) => None,
        }
    }

    fn listener_mut(&mut self) -> Option<&mut Listener> {
        match self {
            Ownership::Listener(listener) => Some(listener),
            Ownership::Dialler(_) => None,
        }
    }
}
