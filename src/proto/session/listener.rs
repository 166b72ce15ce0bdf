//! The end that listens: whose session it serves, which connections it has let in, and when it gives the sender up.
//!
//! A session of which nothing has come is forgotten when its connections are gone; this end then waits for another one.
//! Where no other one can come, its sender is waited for, as that of a session that has begun.
//! Even before, it gives way to another one that comes, once it had a moment to begin: a stranger's hello keeps nobody
//! out, nor do a stranger's messages. Who has proved a key is no stranger: a session of such a peer, which has nothing
//! to send yet, keeps its place while it shows life.
//!
//! Anybody on the path can close a connection. With keys, therefore, closed connections end a session only after
//! minutes.

use super::super::event::Event;
use super::super::hello::{Hello, Id, Refusal, RefusalCode};
use super::super::leg::CONNECTIONS_MAX;
use super::super::links::LossReason;
use super::super::peer_key::{Party, PeerKey};
use super::super::waiting::{ANYBODYS_WORD, PATIENCE_BEGUN, Patience, Reminder};
use super::config::{InboundConfig, Tied};
use super::view::View;
use super::why::Why;
use std::time::{Duration, Instant};

/// A session that has received nothing and has no connection is forgotten after this.
const FORGOTTEN: Duration = Duration::from_secs(5);
/// A session of which nothing has come gives way to another one after this: about a round trip, so that of two that
/// begin at the same time one does.
const GIVES_WAY: Duration = Duration::from_millis(250);
/// The same where its peer has proved a key: its first message comes after a round trip and
/// [`FIRST`](super::pulse::FIRST).
const GIVES_WAY_PROVED: Duration = Duration::from_secs(1);
/// The same after a message of a peer that has proved a key: while it has nothing to send, a sender asks every
/// [`REST`](super::pulse::REST).
const LIVES: Duration = Duration::from_secs(30);
/// All connections closed, not silent, and none came again for so long: the sender is gone.
const SENDER_GONE: Duration = Duration::from_secs(60);

/// A connection that works has brought a message after this time, whatever the sender has to send.
const SPOKEN: Duration = Duration::from_secs(2);

/// Connections of a sender that waits for its turn: one, and one more that takes its place before this end knows that it
/// is dead.
const OF_WAITING: usize = 2;

/// How far the session is that is served, as far as that decides whether a hello is let in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Occupancy {
    /// The session is over.
    pub is_shut: bool,
    /// The stream that comes in was judged.
    pub is_judged: bool,
    /// Something of a stream was received.
    pub has_begun: bool,
}

/// What is known of a connection that was let in.
#[derive(Clone, Copy, Debug, Default)]
struct Admitted {
    /// The link that the sender has it on, while it is up.
    link: Option<usize>,
    /// The highest attempt that was let in.
    attempt: u32,
    /// More than its hello has come on it.
    spoke: bool,
}

/// The end that listens.
pub(super) struct Listener {
    /// The name of this process.
    instance: Id,
    patience: Option<Patience>,
    /// Where it is there for one sender alone.
    tied: Option<Tied>,
    /// No other session can come.
    of_one: bool,
    /// A message has come.
    met: bool,
    /// The session that is served. While there is none, no connection is up.
    session: Option<Party>,
    /// When the session gives way to another one, if nothing has come by then; None once it does.
    protected: Option<Instant>,
    admitted: [Admitted; CONNECTIONS_MAX],
    /// The sender waits for its turn.
    waits: bool,
    /// Since when no connection works, before a session has begun. A hello alone does not show that one does.
    unmet: Option<Instant>,
    /// When somebody was let in last since then.
    visited: Option<Instant>,
    /// Since when the session has no connection.
    alone: Option<Instant>,
    /// Whether the last connection ended in silence, so that the sender may still be trying.
    silent: bool,
    reminder: Reminder,
    /// For the user.
    pub events: Vec<Event>,
}

impl Listener {
    /// Waits for a session.
    pub(super) fn new(now: Instant, config: &InboundConfig) -> Self {
        Listener {
            instance: config.instance,
            patience: config.patience,
            tied: config.tied,
            of_one: config.of_one,
            met: false,
            session: None,
            protected: None,
            admitted: Default::default(),
            waits: config.waits,
            unmet: Some(now),
            visited: None,
            alone: None,
            silent: false,
            reminder: Reminder::default(),
            events: Vec::new(),
        }
    }

    /// Whether this hello belongs to the session served, or may begin one.
    ///
    /// # Errors
    /// The refusal to answer with.
    pub(super) fn screen(
        &self,
        hello: &Hello,
        key: Option<PeerKey>,
        occupancy: Occupancy,
    ) -> Result<(), Refusal> {
        if occupancy.is_shut {
            return refuse(RefusalCode::Finished, "this receiver has finished");
        }
        match self.session {
            Some(session) if session == (hello.session, key) => {}
            Some(_) if occupancy.is_judged => {
                return refuse(RefusalCode::Finished, "this receiver has just finished another session");
            }
            Some(_) if self.gives_way(occupancy) => {}
            Some(_) => return refuse(RefusalCode::Busy, "busy with another session"),
            None => {}
        }
        // A new session may name this process: it got only our first legs, and we have forgotten it since.
        let ours = hello.instance.map(|instance| instance == self.instance);
        let is_new = self.session != Some((hello.session, key));
        let known = if is_new { 0 } else { self.admitted[usize::from(hello.connection)].attempt };
        if hello.attempt <= known {
            return refuse(RefusalCode::Stale, "a newer attempt of this connection is known");
        }
        if ours == Some(false) || (is_new && hello.begun && ours.is_none()) {
            let sentence = "not that receiver: it was restarted, or is another";
            return refuse(RefusalCode::NotThatReceiver, sentence);
        }
        if !is_new && self.waits && self.others(hello.connection.into()) >= OF_WAITING {
            return refuse(RefusalCode::TooMany, "no more connections while the session waits for its turn");
        }
        Ok(())
    }

    /// How many connections are up besides this one.
    fn others(&self, connection: usize) -> usize {
        let admitted = self.admitted.iter().enumerate();
        admitted.filter(|(other, admitted)| *other != connection && admitted.link.is_some()).count()
    }

    /// Whether the sender waits for its turn.
    pub(super) fn sender_waits(&self) -> bool {
        self.waits
    }

    /// The sender waits no longer: all its connections are let in, and its legs.
    pub(super) fn use_all(&mut self) {
        self.waits = false;
    }

    fn gives_way(&self, occupancy: Occupancy) -> bool {
        !occupancy.has_begun && !occupancy.is_judged && self.protected.is_none()
    }

    /// Whether the session that is served is to be forgotten for the sake of this hello, which was screened.
    pub(super) fn yields(&self, hello: &Hello, key: Option<PeerKey>) -> bool {
        self.session.is_some_and(|session| session != (hello.session, key))
    }

    /// Forgets the session, of which nothing has come. No connection is up any more.
    pub(super) fn forget(&mut self) {
        (self.session, self.alone, self.protected, self.admitted) = (None, None, None, Default::default());
        self.reminder.stop();
        self.events.push(Event::SessionForgotten);
    }

    /// Lets a connection in. Whether a session begins with it.
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
        self.screen(hello, key, occupancy)?;
        self.admitted[usize::from(hello.connection)] =
            Admitted { link: Some(hello.link.into()), attempt: hello.attempt, spoke: false };
        self.count_speakers(now);
        self.visited = Some(now);
        self.alone = None;
        let begins = self.session.replace((hello.session, key)).is_none();
        if begins {
            self.protected = Some(now + self.time_to_begin());
            self.events.push(Event::SessionBegins);
        }
        Ok(begins)
    }

    /// The key of whoever began the session that is served.
    pub(super) fn key(&self) -> Option<PeerKey> {
        self.session.and_then(|(_, key)| key)
    }

    /// How long a session of which nothing has come keeps its place without a message.
    fn time_to_begin(&self) -> Duration {
        if self.key().is_some() { GIVES_WAY_PROVED } else { GIVES_WAY }
    }

    /// Since when the session has no connection.
    pub(super) fn alone_since(&self) -> Option<Instant> {
        self.alone
    }

    /// The link of a connection that is up.
    pub(super) fn link_of(&self, connection: usize) -> Option<usize> {
        self.admitted[connection].link
    }

    /// How long to wait with no working connection, if the user says so.
    pub(super) fn patience(&self) -> Option<Patience> {
        self.patience
    }

    /// A message has come on a connection.
    pub(super) fn spoke(&mut self, now: Instant, connection: usize) {
        if self.admitted[connection].link.is_some() {
            self.admitted[connection].spoke = true;
            (self.unmet, self.visited, self.met) = (None, None, true);
            if self.key().is_some() {
                self.protected = Some(now + LIVES);
            }
        }
    }

    /// Whether this end is there for the session that it serves, and for no other.
    pub(super) fn is_bound(&self) -> bool {
        self.tied.is_some() && self.met
    }

    fn count_speakers(&mut self, now: Instant) {
        if !self.admitted.iter().any(|admitted| admitted.spoke && admitted.link.is_some()) {
            self.unmet.get_or_insert(now);
        }
    }

    /// A connection is gone. Whether it was up.
    pub(super) fn lost(&mut self, now: Instant, connection: usize, reason: &LossReason, view: View) -> bool {
        let was_up = self.admitted[connection].link.take().is_some();
        self.count_speakers(now);
        if !was_up || !view.wanted {
            return false;
        }
        self.silent = *reason == LossReason::Silent;
        if self.admitted.iter().all(|admitted| admitted.link.is_none()) {
            self.alone = Some(now);
            // it may be back at once
            let again = now + self.time_to_begin();
            self.protected = self.protected.map(|at| at.min(again));
            if view.begun {
                self.reminder.restart(now);
            }
        }
        let reason = reason.clone();
        let strange = !view.begun;
        self.events.push(Event::ConnectionLost { connection, link: None, reason, again: 0, strange });
        true
    }

    /// The sender is there again.
    pub(super) fn works(&mut self, begun: bool) {
        if self.reminder.over() {
            self.events.push(Event::WorksAgain { begun });
        }
    }

    /// Whether it is time to forget the session, of which nothing has come. Then it is forgotten.
    pub(super) fn forgets(&mut self, now: Instant, view: View) -> bool {
        self.protected = self.protected.filter(|at| *at > now);
        let is_late = self.alone.is_some_and(|alone| alone + FORGOTTEN <= now);
        if view.begun || self.is_for_one() || !is_late {
            return false;
        }
        self.forget();
        true
    }

    /// The reason to end the session now, if there is one.
    pub(super) fn given_up(&self, now: Instant, view: View) -> Option<Why> {
        if !view.begun {
            let is_late = self.alone_ends(view).is_some_and(|at| at <= now);
            if is_late && self.is_for_one() {
                return Some(Why::LeftBeforeItBegan);
            }
            let at = self.unmet_ends(view).filter(|at| *at <= now)?;
            let waited = self.unmet.map_or(0, |unmet| (at - unmet).as_secs());
            return Some(Why::NothingCame { came: self.met || self.visited.is_some(), waited });
        }
        let alone = self.alone?;
        let at = self.alone_ends(view).filter(|at| *at <= now)?;
        Some(match self.is_gone() {
            true => Why::SenderGone,
            false => Why::NoSender { waited: (at - alone).as_secs() },
        })
    }

    /// Whether there is no other session that this end could serve.
    fn is_for_one(&self) -> bool {
        self.tied.is_some() || self.of_one
    }

    /// Whether the kernel of the sender's host has spoken, and the user has not said to wait nevertheless.
    fn is_gone(&self) -> bool {
        (self.patience.is_none() || self.tied.is_some()) && !self.silent
    }

    /// When this end stops waiting for a session to begin: only if the user says so.
    fn unmet_ends(&self, view: View) -> Option<Instant> {
        let unmet = self.unmet.filter(|_| !view.begun && view.wanted)?;
        let tied = self.tied.map(|tied| Patience::For(tied.unmet));
        let at = tied.or(self.patience)?.ends(unmet)?;
        // whoever has just come is heard out; those who come after that do not make it later still
        Some(self.visited.map_or(at, |visited| at.max(visited.min(at) + SPOKEN)))
    }

    /// When this end stops waiting for its sender.
    fn alone_ends(&self, view: View) -> Option<Instant> {
        let alone = self.alone.filter(|_| view.wanted)?;
        let gone = if self.key().is_some() { ANYBODYS_WORD } else { SENDER_GONE };
        if !view.begun {
            // the sender may have begun: then nobody else can take up what it sends
            return Some(alone + if self.of_one { gone } else { FORGOTTEN });
        }
        if self.is_gone() {
            return Some(alone + self.tied.map_or(gone, |tied| tied.gone));
        }
        self.patience.unwrap_or(PATIENCE_BEGUN).ends(alone)
    }

    /// Tells the user that the sender is away, if that is due.
    pub(super) fn remind(&mut self, now: Instant, view: View) {
        if !self.reminder.is_due(now) {
            return;
        }
        if self.alone.is_none() || !view.wanted {
            return self.reminder.stop();
        }
        let left = self.reminder.tell(now, self.alone_ends(view));
        self.events.push(Event::SenderAway { left });
    }

    /// The times at which there may be something to do.
    pub(super) fn deadlines(&self, view: View) -> [Option<Instant>; 5] {
        [self.alone_ends(view), self.reminder.at(), self.unmet_ends(view), self.protected, None]
    }
}

fn refuse<T>(code: RefusalCode, sentence: &str) -> Result<T, Refusal> {
    Err(Refusal { code, sentence: sentence.to_owned() })
}
