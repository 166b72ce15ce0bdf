//! One receiving process: which session it serves, its connections, its output and its last word.
//!
//! Call order: one of the event methods, each with the time; then drain [`Reception::poll`]; then wait for
//! the next event, [`Reception::deadline`] at the latest, when `tick` is the event. Legs travel through
//! [`super::receiver`]; this module knows sessions and connections, and never looks into a leg.
//!
//! ```text
//!             hello                 first leg               all delivered, output closed
//!  Waiting ──────────▶ Bound ──────────────────▶ Begun ────────────────────────────────▶ Judged ──bye──▶ Over
//!     ▲                  │ no connection for 5 s   │ abort, output failed, sender gone      │ linger
//!     └──────────────────┘                         └───────────────▶ Over ◀─────────────────┘
//! ```

use super::acknowledging::Position;
use super::event::Event;
use super::hello::{Hello, Id, Refusal, RefusalCode, Welcome};
use super::leg::{CONNECTIONS_MAX, Leg, leg_max, window};
use super::links::LossReason;
use super::outcome::{Outcome, Status};
use super::receiver::{Arrival, Contradiction, Receiver};
use super::sharing::Sharing;
use super::waiting::{PATIENCE_BEGUN, Reminder, linger};
use super::wire::{Abort, Edge, Fin, Frame, Verdict};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

mod shared;
mod terms;

pub use terms::{Action, Admission, Loss, Settings, SlotStats};

/// A session that has received nothing and has no connection is forgotten after this.
const FORGOTTEN: Duration = Duration::from_secs(5);
/// All connections closed, not silent, and none came again for so long: the sender is gone.
const SENDER_GONE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    up: bool,
    attempt: u32,
    link: u8,
    legs: u64,
    bytes: u64,
}

#[derive(Debug)]
struct Session {
    /// None for a borrower, to whom nobody says hello.
    id: Option<Id>,
    receiver: Receiver,
    slots: [Slot; CONNECTIONS_MAX],
    leg_max: usize,
    peer_buffer: u64,
    /// Since when it has no connection.
    alone: Option<Instant>,
    /// Whether the last connections ended in silence, so that the sender may still be trying.
    silent: bool,
    closing: bool,
    verdict: Option<Verdict>,
}

impl Session {
    fn has_begun(&self) -> bool {
        self.receiver.next() > 0 || self.receiver.ahead().0 > 0 || self.closing || self.verdict.is_some()
    }

    fn connections(&self) -> impl Iterator<Item = usize> {
        self.slots.iter().enumerate().filter(|(_, slot)| slot.up).map(|(index, _)| index)
    }
}

/// The receiving side's whole state.
pub struct Reception {
    settings: Settings,
    session: Option<Session>,
    /// When the user is told (again) that the session has no connection.
    reminder: Reminder,
    linger_until: Option<Instant>,
    ending: Option<Outcome>,
    /// The sender has said its last word: it waits for nothing from here.
    dismissed: bool,
    /// Of the session's other stream, where there is one: it has begun; it was judged; its direction has ended.
    other_begun: bool,
    other_settled: bool,
    released: bool,
    actions: VecDeque<Action>,
    connections_lost: u64,
    started: Instant,
    /// Until when all that was due has been done.
    stepped: Instant,
}

impl Reception {
    /// Waits for a session from now on.
    pub fn new(now: Instant, settings: Settings) -> Self {
        Reception {
            session: (settings.sharing == Sharing::Borrower).then(|| new_session(&settings, None)),
            settings,
            reminder: Reminder::default(),
            linger_until: None,
            ending: None,
            dismissed: false,
            other_begun: false,
            other_settled: false,
            released: false,
            actions: VecDeque::new(),
            connections_lost: 0,
            started: now,
            stepped: now,
        }
    }

    // ---- events ---------------------------------------------------------------------------------------

    /// A peer has said hello, and what it says was checked by [`super::hello::check`].
    ///
    /// # Errors
    /// The refusal to answer with; nothing has changed.
    pub fn hello(&mut self, now: Instant, hello: &Hello) -> Result<Admission, Refusal> {
        self.screen(hello)?;
        let connection = hello.connection as usize;
        let known = self.session.as_ref().map_or(0, |session| session.slots[connection].attempt);
        if hello.attempt <= known {
            return Err(refusal(RefusalCode::Stale, "a newer attempt of this connection is known"));
        }
        let session = match &mut self.session {
            Some(session) => session,
            none => {
                self.actions.push_back(Action::Say(Event::SessionBegins));
                none.insert(new_session(&self.settings, Some(hello)))
            }
        };
        let slot = &mut session.slots[connection];
        let replaces = slot.up;
        *slot = Slot { up: true, attempt: hello.attempt, link: hello.link, legs: 0, bytes: 0 };
        session.alone = None;
        let welcome = Welcome {
            instance: self.settings.instance,
            next: session.receiver.next(),
            edge: session.receiver.edge(),
            leg_max: session.leg_max as u32,
            features: self.settings.features,
            buffer: self.settings.buffer,
        };
        if let Some(verdict) = &session.verdict {
            self.actions.push_back(Action::Tell(connection, Frame::Verdict(verdict.clone())));
        }
        if self.settings.sharing == Sharing::Owner {
            // no leg may come that would say so
            self.proceed();
        }
        self.step(now);
        Ok(Admission { connection, replaces, welcome })
    }

    /// A leg has come whole on this connection.
    ///
    /// # Errors
    /// The connection broke the rules, and is to be dropped.
    pub fn leg(&mut self, now: Instant, connection: usize, leg: Leg) -> Result<(), Contradiction> {
        let Some(session) = &mut self.session else { return Ok(()) };
        session.slots[connection].legs += 1;
        session.slots[connection].bytes += leg.len();
        if session.receiver.leg(leg)? == Arrival::InOrder {
            while let Some(leg) = session.receiver.next_ready() {
                self.actions.push_back(Action::Deliver(leg));
            }
        }
        self.proceed();
        self.actions.push_back(Action::Acknowledge { now: false });
        self.step(now);
        Ok(())
    }

    /// The sender announced the end of the stream.
    ///
    /// # Errors
    /// The connection broke the rules, and is to be dropped.
    pub fn fin(&mut self, now: Instant, fin: Fin) -> Result<(), Contradiction> {
        let Some(session) = &mut self.session else { return Ok(()) };
        session.receiver.fin(fin)?;
        self.proceed();
        self.step(now);
        Ok(())
    }

    /// The sender has the verdict.
    pub fn bye(&mut self) {
        self.dismissed = true;
        if self.verdict().is_some() {
            self.linger_until = None;
            self.conclude();
        }
    }

    /// The sender gives up, and says why.
    pub fn abort(&mut self, abort: Abort) {
        self.dismissed = true;
        match self.verdict() {
            // the stream was judged before: that is this side's truth; of a second stream it is not
            Some(verdict) if self.settings.sharing == Sharing::Sole => {
                self.end(Outcome::here(verdict.status, verdict.sentence), None)
            }
            _ => self.end(Outcome::there(abort.status, abort.sentence), None),
        }
    }

    /// A connection has ended.
    pub fn lost(&mut self, now: Instant, connection: usize, loss: Loss, why: &str) {
        let Some(session) = &mut self.session else { return };
        if self.ending.is_some() || !std::mem::take(&mut session.slots[connection].up) {
            return;
        }
        if session.verdict.is_some() && self.settings.sharing != Sharing::Owner {
            return;
        }
        self.connections_lost += 1;
        session.silent = loss == Loss::Silent;
        if self.settings.sharing == Sharing::Borrower {
            return self.step(now);
        }
        if session.connections().next().is_none() {
            session.alone = Some(now);
            self.reminder.restart(now);
        }
        let reason = match loss {
            Loss::Silent => LossReason::Silent,
            Loss::Closed => LossReason::Failed(why.to_owned()),
        };
        self.actions.push_back(Action::Say(Event::ConnectionLost {
            connection,
            link: None,
            reason,
            again: 0,
        }));
        self.step(now);
    }

    /// The furthest edge of the window that any acknowledgement has told the sender of.
    pub fn note_told(&mut self, edge: Edge) {
        if let Some(session) = &mut self.session {
            session.receiver.note_told(edge);
        }
    }

    /// The output has taken so many more legs and bytes. Whether the sender must hear of that at once depends on
    /// what it was [`told`](Self::note_told) before.
    pub fn delivered(&mut self, now: Instant, legs: u64, bytes: u64) {
        let Some(session) = &mut self.session else { return };
        self.actions.push_back(Action::Acknowledge { now: session.receiver.delivered(legs, bytes) });
        self.step(now);
    }

    /// The output is closed, and whoever reads it has taken everything. With `crc`, that of the stream if
    /// every leg was checked.
    pub fn output_closed(&mut self, now: Instant, crc: Option<u32>) {
        let Some(fin) = self.session.as_ref().and_then(|session| session.receiver.complete()) else { return };
        let (status, sentence) = match (fin.crc, crc) {
            (Some(announced), Some(found)) if announced != found => (
                Status::Corrupt,
                format!("the stream's checksum is {found:08x} where {announced:08x} was sent"),
            ),
            (Some(_), None) => (
                Status::Corrupt,
                "the stream was sent with a checksum, but not every leg of it came with one".into(),
            ),
            _ => (Status::Complete, String::new()),
        };
        self.judge(now, Verdict { bytes: fin.bytes, crc: crc.and(fin.crc), status, sentence });
    }

    /// The output failed; `status` is [`Status::Output`] or, for a stream that does not verify, `Corrupt`.
    pub fn output_failed(&mut self, now: Instant, status: Status, sentence: &str) {
        let bytes = self.session.as_ref().map_or(0, |session| session.receiver.delivered_bytes());
        if self.session.is_none() {
            return self.end(Outcome::here(status, sentence), None);
        }
        self.judge(now, Verdict { bytes, crc: None, status, sentence: sentence.to_owned() });
    }

    /// This side cannot go on; the peer is told why.
    pub fn fail(&mut self, ending: Outcome) {
        let abort = Frame::Abort(Abort { status: ending.status, sentence: ending.sentence.clone() });
        self.end(ending, Some(abort));
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Instant) {
        self.step(now);
    }

    // ---- answers --------------------------------------------------------------------------------------

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When `tick` is due, if nothing happens before; in the past if time has gone on since the last event.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        if self.ending.is_some() {
            return None;
        }
        let now = self.stepped.min(now);
        let alone = self.alone_ends().map(|(at, _)| at);
        [alone, self.reminder.at(), self.linger_until].into_iter().flatten().filter(|at| *at > now).min()
    }

    /// What an acknowledgement says now.
    pub fn position(&self) -> Position {
        self.session.as_ref().map_or(Position::NOWHERE, |session| {
            let receiver = &session.receiver;
            let (next, delivered, edge) = (receiver.next(), receiver.delivered_bytes(), receiver.edge());
            Position { next, delivered, edge }
        })
    }

    /// Whether any of the stream has come.
    pub fn has_begun(&self) -> bool {
        self.session.as_ref().is_some_and(|s| s.has_begun() || s.receiver.announced().is_some())
    }

    /// The legs of the session, if there is one.
    pub fn receiver(&self) -> Option<&Receiver> {
        self.session.as_ref().map(|session| &session.receiver)
    }

    /// The largest leg agreed with this session's sender.
    pub fn leg_max(&self) -> usize {
        self.session.as_ref().map_or(0, |session| session.leg_max)
    }

    /// The sender's buffer, in bytes.
    pub fn peer_buffer(&self) -> u64 {
        self.session.as_ref().map_or(0, |session| session.peer_buffer)
    }

    /// Counters of each connection.
    pub fn slots(&self) -> [SlotStats; CONNECTIONS_MAX] {
        let slots = self.session.as_ref().map(|session| session.slots).unwrap_or_default();
        slots.map(|slot| SlotStats { up: slot.up, link: slot.link, legs: slot.legs, bytes: slot.bytes })
    }

    /// Connections that ended before the session did.
    pub fn connections_lost(&self) -> u64 {
        self.connections_lost
    }

    /// Whether the sender has said its last word, and waits for nothing more from here.
    pub fn is_dismissed(&self) -> bool {
        self.dismissed
    }

    /// When this side started.
    pub fn started(&self) -> Instant {
        self.started
    }

    // ---- rules ----------------------------------------------------------------------------------------

    /// Whether this hello belongs to the session served, or may begin one.
    pub fn screen(&self, hello: &Hello) -> Result<(), Refusal> {
        let foreign = |code, sentence| Err(refusal(code, sentence));
        if self.ending.is_some() {
            return foreign(RefusalCode::Finished, "this receiver has finished");
        }
        match &self.session {
            Some(session) if session.id == Some(hello.session) => {}
            Some(session) if session.verdict.is_some() => {
                return foreign(RefusalCode::Finished, "this receiver has just finished another session");
            }
            Some(_) => return foreign(RefusalCode::Busy, "the receiver is busy with another session"),
            None => {}
        }
        let ours = hello.instance.map(|instance| instance == self.settings.instance);
        // one that names this process has nothing from here but the other stream's first legs, if this side has
        // forgotten it: else it would have been kept
        if ours == Some(false) || (self.session.is_none() && hello.begun && ours.is_none()) {
            let sentence =
                "not that receiver: the one that has the first part of this stream is another process";
            return foreign(RefusalCode::NotThatReceiver, sentence);
        }
        Ok(())
    }

    /// When this side gives up waiting for its sender, and what it says then.
    fn alone_ends(&self) -> Option<(Instant, String)> {
        let session = self.session.as_ref()?;
        let alone = session.alone?;
        if session.verdict.is_some() && self.settings.sharing != Sharing::Owner {
            return None;
        }
        if !session.has_begun() && !self.other_begun {
            return Some((alone + FORGOTTEN, String::new()));
        }
        let patience = self.settings.patience.unwrap_or(PATIENCE_BEGUN);
        let gone = self.settings.patience.is_none() && !session.silent;
        let at = patience.ends(alone);
        if gone {
            let why = "the sender is gone: all connections closed, and none came back";
            let early = alone + SENDER_GONE;
            return Some((at.map_or(early, |at| at.min(early)), why.into()));
        }
        at.map(|at| (at, format!("no connection from the sender for {} s", (at - alone).as_secs())))
    }

    /// Everything that follows from the state and the time.
    fn step(&mut self, now: Instant) {
        self.stepped = now;
        if self.ending.is_some() {
            return;
        }
        if self.linger_until.is_some_and(|at| at <= now) {
            self.linger_until = None;
            if !self.is_kept() {
                // nobody said bye: what was delivered stays delivered, so the verdict is this side's status
                return self.conclude();
            }
        }
        if let Some((_, why)) = self.alone_ends().filter(|(at, _)| *at <= now) {
            if why.is_empty() {
                self.session = None;
                self.reminder.stop();
                self.actions.push_back(Action::Say(Event::SessionForgotten));
            } else {
                return self.end(Outcome::here(Status::Incomplete, why), None);
            }
        }
        self.close_output();
        self.remind(now);
    }

    fn proceed(&mut self) {
        if self.reminder.over() {
            let begun = self.other_begun || self.has_begun();
            self.actions.push_back(Action::Say(Event::WorksAgain { begun }));
        }
    }

    fn close_output(&mut self) {
        let Some(session) = &mut self.session else { return };
        if session.receiver.complete().is_some() && !session.closing {
            session.closing = true;
            self.actions.push_back(Action::CloseOutput);
        }
    }

    fn judge(&mut self, now: Instant, verdict: Verdict) {
        let Some(session) = &mut self.session else { return };
        if self.ending.is_some() || session.verdict.is_some() {
            return;
        }
        for connection in session.connections() {
            self.actions.push_back(Action::Tell(connection, Frame::Verdict(verdict.clone())));
        }
        let ending = Outcome::here(verdict.status, verdict.sentence.clone());
        session.verdict = Some(verdict);
        if self.settings.sharing != Sharing::Sole {
            self.actions.push_back(Action::Settle(ending));
        }
        self.linger_until = Some(now + linger(self.settings.patience));
        self.step(now);
    }

    fn remind(&mut self, now: Instant) {
        if !self.reminder.is_due(now) {
            return;
        }
        let keeps = self.settings.sharing == Sharing::Owner && !self.released;
        let waits = |session: &Session| session.alone.is_some() && (session.verdict.is_none() || keeps);
        if !self.session.as_ref().is_some_and(waits) {
            return self.reminder.stop();
        }
        let ends = self.alone_ends().map(|(at, _)| at);
        let left = self.reminder.tell(now, ends);
        self.actions.push_back(Action::Say(Event::SenderAway { left }));
    }

    fn end(&mut self, ending: Outcome, last_word: Option<Frame>) {
        if self.ending.is_some() {
            return;
        }
        if let (Some(frame), Some(session)) = (&last_word, &self.session) {
            for connection in session.connections() {
                self.actions.push_back(Action::Tell(connection, frame.clone()));
            }
        }
        self.ending = Some(ending.clone());
        self.actions.push_back(Action::End(ending));
    }
}

/// The session that a hello begins, or the one that a borrower serves from the start, whoever its peer will be: then
/// its own buffer decides the window, and the sizes are agreed with each connection.
fn new_session(settings: &Settings, hello: Option<&Hello>) -> Session {
    let peer_buffer = hello.map_or(u64::MAX, |hello| hello.buffer);
    let leg_max = leg_max(settings.buffer, peer_buffer);
    Session {
        id: hello.map(|hello| hello.session),
        receiver: Receiver::new(window(settings.buffer, leg_max)),
        slots: [Slot::default(); CONNECTIONS_MAX],
        leg_max,
        peer_buffer,
        alone: None,
        silent: false,
        closing: false,
        verdict: None,
    }
}

fn refusal(code: RefusalCode, sentence: &str) -> Refusal {
    Refusal { code, sentence: sentence.to_owned() }
}

#[cfg(test)]
mod tests;
