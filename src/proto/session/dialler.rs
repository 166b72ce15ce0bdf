//! The end that dials: its links and attempts, and when it gives the receiver up.
//!
//! Nothing is given up while a connection is up. Without one the reasons are, in this order: every link refused for
//! good (before anything was received, one is enough if no other is still hoped for); no name has an address; all refuse for
//! a while in mid-session, or the lifeline has ended and no other link leads to the receiver, so that it is gone; patience
//! is over.
//!
//! With keys, only what was said after the proof of a key is the receiver's. All else is a fault of its link: whoever
//! refuses, closes, or answers without the receiver's key may stand on the way. It is tried again, and believed when
//! patience is over; in mid-session, where patience is long, after some minutes on every link.

use super::super::event::Event;
use super::super::hello::{Hello, Id, Refusal, RefusalCode};
use super::super::leg::CONNECTIONS_MAX;
use super::super::links::{DialError, DialState, Links, LossReason, REFUSED_MAX};
use super::super::peer_key::PeerKey;
use super::super::segment::Segments;
use super::super::set::ConnectionSet;
use super::super::waiting::{ANYBODYS_WORD, PATIENCE_BEFORE, PATIENCE_BEGUN, Patience, Reminder};
use super::action::Action;
use super::config::DiallerConfig;
use super::last_word::{LastWord, Move};
use super::view::View;
use super::why::Why;
use std::time::{Duration, Instant};

/// Every link refusing for so long means that a peer that waits for nothing but a bye has left.
const GONE: Duration = Duration::from_secs(1);

/// The end that dials.
pub(super) struct Dialler {
    /// What every hello says, but for what is particular to an attempt.
    hello: Hello,
    names: Vec<String>,
    patience: Option<Patience>,
    links: Links,
    /// By link.
    segments: Vec<Segments>,
    /// By connection: the segments that it was dialled with.
    dialled_with: [Option<u16>; CONNECTIONS_MAX],
    /// By connection: how often it was dialled.
    attempts: [u32; CONNECTIONS_MAX],
    /// Connections that have achieved something.
    progressed: ConnectionSet,
    /// A connection has been up.
    has_met: bool,
    /// For how long every link refuses in mid-session before that is believed.
    refused_max: Duration,
    /// Since when no connection achieves anything: set when the last one goes, cleared by progress.
    alone: Option<Instant>,
    reminder: Reminder,
    /// The link whose receiver is busy with another session, and what it says: this end waits for its turn.
    busy: Option<(usize, String)>,
    /// The bye to the receiver. Nobody else dials for a peer that has not heard it.
    bye: LastWord,
    /// For the user.
    pub events: Vec<Event>,
}

impl Dialler {
    /// It begins to dial when it is asked first.
    pub(super) fn new(now: Instant, config: DiallerConfig) -> Self {
        let DiallerConfig { hello, links: names, connections, patience, seed, lifeline, waits, .. } = config;
        let mut links = Links::new(now, names.len(), connections, seed);
        links.suffice_with_one(waits);
        Dialler {
            hello,
            patience,
            links: if lifeline { links.with_lifeline(now) } else { links },
            segments: vec![Segments::default(); names.len()],
            dialled_with: [None; CONNECTIONS_MAX],
            names,
            attempts: [0; CONNECTIONS_MAX],
            progressed: ConnectionSet::EMPTY,
            has_met: false,
            refused_max: REFUSED_MAX,
            alone: Some(now),
            reminder: Reminder::starting(now),
            busy: None,
            bye: LastWord::default(),
            events: Vec::new(),
        }
    }

    /// The session waits no longer: all connections are wanted.
    pub(super) fn use_all(&mut self) {
        self.links.suffice_with_one(false);
    }

    /// No connection waits for the first one.
    #[cfg(test)]
    pub(super) fn forgo_headstart(&mut self) {
        self.links.forgo_headstart();
    }

    /// One connection carries all that is new, or does not.
    pub(super) fn note_whether_one_carries(&mut self, one_carries: bool) {
        self.links.note_whether_one_carries(one_carries);
    }

    /// Attempts for all connections that may be dialled now. `instance` names the receiver, once it is known.
    pub(super) fn dial(&mut self, now: Instant, instance: Option<Id>, begun: bool) -> Vec<Action> {
        let mut dials = Vec::new();
        if !self.links.any_rested(now) {
            return dials;
        }
        for connection in 0..self.links.len() {
            let Some((link, timeout)) = self.links.place(now, connection, begun) else { continue };
            self.attempts[connection] += 1;
            let hello = Hello {
                link: link as u8,
                connection: connection as u8,
                attempt: self.attempts[connection],
                ..self.hello.clone()
            };
            let hello = self.renewed(hello, instance, begun);
            let segment = self.segments[link].next(now);
            self.dialled_with[connection] = segment;
            dials.push(Action::Dial { connection, link, hello: Box::new(hello), timeout, segment });
        }
        dials
    }

    /// This hello, with what it says of the session as that stands now.
    pub(super) fn renewed(&self, hello: Hello, instance: Option<Id>, begun: bool) -> Hello {
        Hello { instance: instance.filter(|_| begun || self.links.up_count() > 0), begun, ..hello }
    }

    // ---- attempts -------------------------------------------------------------------------------------

    /// An attempt succeeded: whoever is there has this key. Connections that are called back to their homes.
    pub(super) fn up(
        &mut self,
        connection: usize,
        link: usize,
        key: Option<PeerKey>,
        rtt: Duration,
    ) -> Vec<usize> {
        self.progressed.remove(connection);
        self.has_met = true;
        // with a lifeline, ssh itself reports that the far program or host is gone
        if key.is_some() && !self.has_lifeline() {
            self.refused_max = ANYBODYS_WORD;
        }
        let smaller = self.segments[link].welcomed(self.dialled_with[connection]);
        self.events.extend(smaller.map(|size| Event::SmallerSegments { link, size }));
        let recalled = self.links.up(connection);
        let mut back = recalled.iter().copied().filter(|other| *other != connection);
        if let Some(connection) = back.next() {
            self.events.push(Event::LinkWorksAgain { link, connection, others: back.count() });
        }
        self.events.push(Event::ConnectionUp { connection, link, rtt, key });
        recalled
    }

    /// An attempt failed.
    pub(super) fn failed(&mut self, now: Instant, connection: usize, why: &DialError) {
        let Some(DialState::Dialling(link)) = self.state(connection) else { return };
        if self.links.failed(now, connection, why) {
            self.events.push(Event::LinkDied { link, reason: Some(why.clone()) });
        }
        let (segments, dialled) = (&mut self.segments[link], self.dialled_with[connection]);
        match why {
            DialError::Swallowed => segments.unanswered(now, dialled),
            DialError::TimedOut => segments.unconnected(dialled),
            _ => {}
        }
    }

    /// Whoever answered refused the connection in words.
    pub(super) fn refused(&mut self, now: Instant, connection: usize, refusal: &Refusal, begun: bool) {
        if matches!(refusal.code, RefusalCode::Finished | RefusalCode::NotThatReceiver)
            && self.bye.until().is_some()
        {
            self.bye.advance(Move::Hear);
        }
        match refusal.code {
            RefusalCode::Busy if !begun => self.wait_for_turn(now, connection, refusal),
            RefusalCode::TooMany if self.links.one_suffices() => self.links.put_off(now, connection),
            // an attempt that a newer one replaced, a hello damaged on its way: try again
            RefusalCode::Stale | RefusalCode::TooMany | RefusalCode::Malformed => {
                self.refused_for_now(now, connection, refusal);
            }
            // a session that has just ended
            RefusalCode::Finished if !begun => self.refused_for_now(now, connection, refusal),
            RefusalCode::NotThatReceiver if !begun && self.has_led(connection) => {
                self.refused_for_now(now, connection, refusal);
            }
            _ => {
                // where this ends the session, that is told in the same words; and a receiver that has finished says how
                // on the connections that it has
                let finished = refusal.code == RefusalCode::Finished;
                let untold = match self.links.up_count() {
                    0 => self.names.len() == 1,
                    _ => finished,
                };
                let event = |link, sentence| Event::LinkRefused { link, sentence, begun };
                let event = |link, sentence| (!(begun && untold)).then(|| event(link, sentence));
                self.condemn(now, connection, refusal.sentence.clone(), event);
            }
        }
    }

    /// Whoever answered refused the connection in words that need not hold for the next attempt.
    fn refused_for_now(&mut self, now: Instant, connection: usize, refusal: &Refusal) {
        self.failed(now, connection, &DialError::RefusedInWords(refusal.sentence.clone()));
    }

    /// The receiver is with another session: its end is waited for. The user hears of it once.
    fn wait_for_turn(&mut self, now: Instant, connection: usize, refusal: &Refusal) {
        let Some(DialState::Dialling(link)) = self.state(connection) else { return };
        self.refused_for_now(now, connection, refusal);
        if self.busy.replace((link, refusal.sentence.clone())).is_none() {
            let ends = self.alone.and_then(|at| self.patience.unwrap_or(PATIENCE_BEFORE).ends(at));
            let left = self.reminder.tell(now, ends);
            self.reminder.stop();
            self.events.push(Event::ReceiverBusy { link, sentence: refusal.sentence.clone(), left });
        }
    }

    /// Another receiver than the session's answered.
    pub(super) fn met_another(&mut self, now: Instant, connection: usize, begun: bool) {
        let why = DialError::OtherReceiver;
        // where no connection is up, any receiver would do: that it will not do is for its key
        if !begun && self.has_led(connection) && self.links.up_count() > 0 {
            return self.failed(now, connection, &why);
        }
        let event = |link, _| Some(Event::OtherReceiver { link });
        self.condemn(now, connection, why.to_string(), event);
    }

    /// Whether the link of an attempt has led to the session's receiver. If another one answers there before anything was
    /// received, that one may have taken the first one's place, whose connections are not found dead yet. When they are,
    /// it may have the stream.
    fn has_led(&self, connection: usize) -> bool {
        matches!(self.state(connection), Some(DialState::Dialling(link)) if self.links.is_proven(link))
    }

    /// The link of an attempt is not used again. The user hears of it once.
    fn condemn(
        &mut self,
        now: Instant,
        connection: usize,
        sentence: String,
        event: impl FnOnce(usize, String) -> Option<Event>,
    ) {
        let Some(DialState::Dialling(link)) = self.state(connection) else { return };
        if !self.links.is_bad(link) {
            self.events.extend(event(link, sentence.clone()));
        }
        self.links.condemn(now, connection, &sentence);
    }

    // ---- connections ----------------------------------------------------------------------------------

    /// A connection is gone, and `again` legs with it. Whether it was up and went unasked.
    pub(super) fn lost(
        &mut self,
        now: Instant,
        connection: usize,
        reason: &LossReason,
        again: usize,
    ) -> bool {
        let Some(link) = self.links.link_of(connection) else { return false };
        if let (LossReason::Silent, Some(at)) =
            (reason, self.links.dialled_at(connection).filter(|_| again > 0))
        {
            self.segments[link].hung(now, at, self.dialled_with[connection]);
        }
        let died = self.links.lost(now, connection, reason, self.progressed.contains(connection));
        let unasked = *reason != LossReason::Left;
        if unasked {
            let (link, reason) = (Some(link), reason.clone());
            self.events.push(Event::ConnectionLost { connection, link, reason, again, strange: false });
        }
        if died {
            self.events.push(Event::LinkDied { link, reason: None });
        }
        if self.links.up_count() == 0 && self.alone.is_none() {
            self.alone = Some(now);
            self.reminder.start(now);
        }
        unasked
    }

    /// The connection works: in both directions, up to the receiver's core.
    pub(super) fn works(&mut self, connection: usize, begun: bool) {
        self.progressed.insert(connection);
        (self.alone, self.busy) = (None, None);
        if self.reminder.over() {
            self.events.push(Event::WorksAgain { begun });
        }
    }

    /// The peer is heard on a connection, and its kernel has taken nothing since then of what was sent again and again.
    /// Whether the connection is to be given up for one with smaller segments.
    pub(super) fn stuck(&mut self, now: Instant, connection: usize, since: Instant) -> bool {
        let Some(link) = self.links.link_of(connection) else { return false };
        let (segments, dialled) = (&mut self.segments[link], self.dialled_with[connection]);
        segments.stuck(now, since, dialled);
        segments.is_too_large(dialled)
    }

    /// So many bytes of a stream have arrived over a connection.
    pub(super) fn moved(&mut self, now: Instant, connection: usize, bytes: u64) {
        if let Some(link) = self.links.link_of(connection) {
            self.segments[link].moved(now, self.dialled_with[connection], bytes);
        }
    }

    /// The kernel of the peer took so many bytes on a connection, the last of them at that time.
    pub(super) fn taken(&mut self, connection: usize, at: Instant, bytes: u64) {
        if let Some(link) = self.links.link_of(connection) {
            self.segments[link].taken(at, bytes);
        }
    }

    /// Where a connection is; None for one that this session does not have.
    pub(super) fn state(&self, connection: usize) -> Option<DialState> {
        (connection < self.links.len()).then(|| self.links.state(connection))
    }

    /// An answer has come on a link.
    pub(super) fn answered(&mut self, now: Instant, link: usize) {
        self.links.answered(now, link);
    }

    /// Whether whoever was met was started for this session, as the far end of a lifeline is.
    pub(super) fn is_bound(&self) -> bool {
        self.has_met && self.has_lifeline()
    }

    fn has_lifeline(&self) -> bool {
        self.names.len().checked_sub(1).is_some_and(|last| self.links.is_lifeline(last))
    }

    /// How many connections there may be.
    pub(super) fn connections(&self) -> usize {
        self.links.len()
    }

    /// Whether an attempt is under way, or one on another link is about to be.
    pub(super) fn is_dialling(&self) -> bool {
        self.links.is_dialling()
    }

    /// How long to wait with no working connection, if the user says so.
    pub(super) fn patience(&self) -> Option<Patience> {
        self.patience
    }

    /// What is wrong with a link; empty if nothing is.
    pub(super) fn trouble(&self, link: usize) -> &str {
        self.links.trouble(link)
    }

    // ---- the bye --------------------------------------------------------------------------------------

    /// The stream that goes out was judged, and bye was said. `last`: no other stream is left, and this end waits for so long
    /// at most until the peer has heard it.
    pub(super) fn said_bye(&mut self, now: Instant, last: Option<Duration>) {
        self.bye.advance(Move::Say(last.map(|time| now + time)));
    }

    /// The peer has heard the bye.
    pub(super) fn bye_has_arrived(&mut self) {
        self.bye.advance(Move::Hear);
    }

    /// Whether the bye is on its way, and is all that keeps the session once the other stream is over.
    pub(super) fn is_parting(&self) -> bool {
        matches!(self.bye, LastWord::Said(None))
    }

    /// Whether the bye has come to the peer, or nobody is there to hear it.
    pub(super) fn has_parted(&self, now: Instant) -> bool {
        self.bye == LastWord::Heard || self.bye_until().is_some_and(|at| at <= now)
    }

    /// When this end stops waiting for the receiver to confirm the bye. One refused connection proves nothing; if every
    /// link keeps refusing, the receiver is gone.
    fn bye_until(&self) -> Option<Instant> {
        // a refusal from before the last connection came up does not count
        let gone = self.links.refused_since().map(|at| self.alone.map_or(at, |alone| at.max(alone)) + GONE);
        self.bye.until().map(|at| gone.map_or(at, |gone| gone.min(at)))
    }

    // ---- giving up ------------------------------------------------------------------------------------

    /// The reason to end the session now, if there is one.
    pub(super) fn given_up(&self, now: Instant, view: View) -> Option<Why> {
        if self.links.up_count() > 0 {
            return None;
        }
        if let Some((link, sentence)) = self.unwanted(view.received) {
            if self.links.is_lifeline(link) {
                return Some(Why::NoWay { troubles: self.troubles() });
            }
            let (link, sentence) = (self.names[link].clone(), sentence.to_owned());
            return Some(Why::Refused { link, sentence, begun: view.begun });
        }
        if !view.begun && self.links.all_unresolved() {
            return Some(Why::NoWay { troubles: self.troubles() });
        }
        let is_past = |at: Instant| at <= now;
        if self.gone_at(view).is_some_and(is_past) {
            return Some(Why::ReceiverGone { troubles: self.troubles() });
        }
        let waited = self.alone.map_or(0, |at| now.saturating_duration_since(at).as_secs());
        let is_still = |(link, sentence): &&(usize, String)| self.links.trouble(*link) == sentence;
        if let Some((link, sentence)) = self.busy.as_ref().filter(|_| !view.begun).filter(is_still)
            && self.patience_ends(view).is_some_and(is_past)
        {
            let (link, sentence) = (self.names[*link].clone(), sentence.clone());
            return Some(Why::Busy { link, sentence, waited });
        }
        let unproven = !view.begun && self.links.any_unproven();
        let over = self.patience_ends(view).is_some_and(is_past);
        over.then(|| Why::NoConnection { waited, troubles: self.troubles(), unproven })
    }

    /// The first link that was refused for good, with what was said there, if that ends the session.
    fn unwanted(&self, received: bool) -> Option<(usize, &str)> {
        let all = self.links.all_bad();
        // where a receiver has been met, one link that leads elsewhere decides nothing, and a lifeline only where no other
        // link leads to the receiver
        let decides = |link| !self.has_met || (self.links.is_lifeline(link) && self.links.is_severed());
        let one = || {
            let bad = self.links.first_bad().filter(|_| !received && !self.links.hopeful());
            bad.filter(|(link, _)| decides(*link))
        };
        all.or_else(one)
    }

    /// What is wrong with each link, in order.
    fn troubles(&self) -> String {
        let each = self.names.iter().enumerate().map(|(link, name)| {
            let trouble = self.links.trouble(link);
            format!("{name}: {}", if trouble.is_empty() { "no answer yet" } else { trouble })
        });
        each.collect::<Vec<_>>().join("; ")
    }

    /// When the receiver is believed to be gone. Where every link refuses: before patience is over only if the user gave
    /// none, and the session has begun. Where the lifeline has ended and no other link leads to the receiver: that one waits
    /// for nobody, whatever the user's patience.
    fn gone_at(&self, view: View) -> Option<Instant> {
        let early = view.begun && self.patience.is_none();
        let refused = self.links.refused_since().filter(|_| early);
        let severed = self.alone.filter(|_| self.links.is_severed());
        refused.into_iter().chain(severed).min().map(|at| at + self.refused_max)
    }

    fn patience_ends(&self, view: View) -> Option<Instant> {
        let default = if view.begun { PATIENCE_BEGUN } else { PATIENCE_BEFORE };
        let alone = self.alone.filter(|_| self.links.up_count() == 0)?;
        self.patience.unwrap_or(default).ends(alone)
    }

    /// Tells the user that nothing works, if that is due.
    pub(super) fn remind(&mut self, now: Instant, view: View) {
        // all is well then, and soon over
        let parts = self.bye.until().is_some();
        if !self.reminder.is_due(now) || self.links.up_count() > 0 || parts {
            return;
        }
        let ends = self.patience_ends(view).into_iter().chain(self.gone_at(view)).min();
        let left = self.reminder.tell(now, ends);
        let troubles = (0..self.names.len()).map(|link| self.links.trouble(link).to_owned());
        self.events.push(Event::Waiting { troubles: troubles.collect(), left });
    }

    /// The times at which there may be something to do.
    pub(super) fn deadlines(&self, now: Instant, view: View) -> [Option<Instant>; 5] {
        let waiting = [self.reminder.at(), self.gone_at(view), self.patience_ends(view)];
        let [reminder, refused, patience] = waiting;
        [self.links.deadline(now), reminder, refused, patience, self.bye_until()]
    }
}
