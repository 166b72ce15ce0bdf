//! One session: its streams, one or one each way, and the connections that carry them.
//!
//! Call order: one of the event methods, each with the time; then drain [`Session::poll`], and write what is in the
//! mailboxes of [`Session::take_posted`]; then wait for the next event, [`Session::deadline`] at the latest, when
//! `tick` is the event. The owner (threads behind one lock, or the simulator) carries this out and decides nothing.
//! Connections are known by their number. Events of a connection that was replaced or given up are not to be told.
//!
//! ```text
//!            ┌── ownership: dialler or listener  whose the connections are, when the peer is given up
//!  Session ──┼── outbound, assign              the stream that goes out
//!            └── inbound                       the stream that comes in
//! ```
//!
//! Here are connections that end, and the answers. Events and what follows from them are in files of their own:
//!
//! - connections: `meeting`, how one comes up; `hearing`, what comes on it; `liveness` and `pulses`, whether it lives.
//! - streams: `carrying`, what the input and the output tell, and what follows from every event; `progress` and `stall`,
//!   whether anything is brought forward; `endings`, `course`, `judging` and `last_word`, how a stream ends;
//!   `why`, the reasons; `failing` and `unsaid`, how an end is told where there is no connection; `yielding`, a session
//!   that gives way.
//! - the stream that goes out: `carriers`, `sole` and `assign`, which connection gets a leg; `sizes` and `circulation`,
//!   how long legs are and how many are under way.
//! - `config`, what a session is made from; `post`, what it writes; `action`, what its owner is to do; `view`, what its
//!   parts know of each other.

use super::acknowledging::Acknowledging;
use super::hello::Features;
use super::leg::{CONNECTIONS_MAX, LINKS_MAX, Payload};
use super::life::{Answers, Leniency};
use super::links::LossReason;
use super::mailbox::{Item, Mailbox};
use super::peer_key::PeerKey;
use super::set::ConnectionSet;
use super::way::{PerWay, Way};
use course::Course;
use dialler::Dialler;
use listener::Listener;
use ownership::Ownership;
use post::Post;
use pulse::{Pulse, REST};
use pulses::Pulses;
use stall::Stalls;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use unsaid::Unsaid;
use view::View;

mod action;
mod assign;
mod carriers;
mod carrying;
mod circulation;
mod config;
mod course;
mod dialler;
mod endings;
mod failing;
mod hearing;
mod inbound;
mod judging;
mod last_word;
mod listener;
mod liveness;
mod meeting;
mod outbound;
mod ownership;
mod post;
mod progress;
mod pulse;
mod pulses;
mod sizes;
mod sole;
mod stall;
mod unsaid;
mod view;
mod why;
mod yielding;

pub use action::{Action, Appetite, Farewell, Landing, Loss, Losses};
pub use config::{DiallerConfig, InboundConfig, OutboundConfig, Tied};
pub use inbound::{Brought, Inbound};
pub use outbound::{Given, Outbound, Unusable};
pub use ownership::Whereabouts;

/// One session, or the wait for one.
pub struct Session {
    ownership: Ownership,
    /// The stream that goes out.
    sending: Option<Outbound>,
    /// The stream that comes in.
    receiving: Option<Inbound>,
    /// By [`Way`]; None for a stream that the session does not have.
    courses: PerWay<Option<Course>>,
    /// One stream is of no use without the other: if one fails, the session ends.
    inseparable: bool,
    acknowledging: Acknowledging,
    post: Post,
    actions: VecDeque<Action>,
    /// [`Action::Over`] is among the actions, or was: nothing may follow it.
    told_over: bool,
    /// Of connections that are up, where a stream goes out.
    pulses: Pulses,
    /// By link.
    answers: [Answers; LINKS_MAX],
    /// When a leg came last that was not small.
    came: Option<Instant>,
    /// Since when something has been under way, either way; None while the streams rest.
    busy: Option<Instant>,
    leniency: Leniency,
    /// By connection: the head when the hello was sent. No welcome may want a leg before it.
    known: [u64; CONNECTIONS_MAX],
    losses: Losses,
    /// For how long the output has been taking nothing.
    blocked: Duration,
    /// Legs that came although they were there, or came damaged.
    again: u64,
    stalls: Stalls,
    /// How it ends, while there is nobody to tell.
    unsaid: Option<Unsaid>,
    /// Until when all that was due has been done.
    stepped: Instant,
    /// The link that is a lifeline, if one is.
    lifeline: Option<usize>,
}

impl Session {
    /// The end that dials: it sends a stream and, with `receives`, receives one over the same connections.
    pub fn dialling(
        now: Instant,
        dials: DiallerConfig,
        receives: Option<InboundConfig>,
        inseparable: bool,
    ) -> Self {
        let through = dials.hello.features.contains(Features::THROUGH);
        let mut sending = Outbound::new(dials.hello.buffer, dials.checks(), through);
        sending.to_command = dials.sends_to_command();
        let lifeline = dials.links.len().checked_sub(1).filter(|_| dials.lifeline);
        let receiving = receives.map(|config| {
            let mut inbound = Inbound::new(config);
            // the sender is whoever answers, and its memory is not known before that
            inbound.begin(u64::MAX);
            inbound
        });
        let ownership = Ownership::Dialler(Box::new(Dialler::new(now, dials)));
        let mut session = Self::new(now, ownership, Some(sending), receiving, inseparable);
        lifeline.into_iter().for_each(|link| session.set_lifeline(link));
        session
    }

    /// The end that listens: it receives a stream and, with `sends`, sends one over the same connections.
    pub fn listening(
        now: Instant,
        receives: InboundConfig,
        sends: Option<OutboundConfig>,
        inseparable: bool,
    ) -> Self {
        let ownership = Ownership::Listener(Box::new(Listener::new(now, &receives)));
        let through = receives.features.contains(Features::THROUGH);
        let sending = sends.map(|config| Outbound::new(config.buffer, false, through));
        Self::new(now, ownership, sending, Some(Inbound::new(receives)), inseparable)
    }

    fn new(
        now: Instant,
        ownership: Ownership,
        sending: Option<Outbound>,
        receiving: Option<Inbound>,
        inseparable: bool,
    ) -> Self {
        let courses = PerWay {
            incoming: receiving.is_some().then_some(Course::Going),
            outgoing: sending.is_some().then_some(Course::Going),
        };
        Session {
            ownership,
            sending,
            receiving,
            courses,
            inseparable,
            acknowledging: Acknowledging::default(),
            post: Post::default(),
            actions: VecDeque::new(),
            told_over: false,
            pulses: Pulses::default(),
            answers: Default::default(),
            came: None,
            busy: Some(now),
            leniency: Leniency::default(),
            known: [0; CONNECTIONS_MAX],
            losses: Losses::default(),
            blocked: Duration::ZERO,
            again: 0,
            stalls: Stalls::new(now),
            unsaid: None,
            stepped: now,
            lifeline: None,
        }
    }

    /// This link is a lifeline: legs take it only while no other is up, and it is not for this end to find it dead.
    pub fn set_lifeline(&mut self, link: usize) {
        self.lifeline = Some(link);
        self.sending.iter_mut().for_each(|sending| sending.set_lifeline(link));
    }

    // ---- connections end -------------------------------------------------------------------------------

    /// The connection has ended.
    pub fn lost(&mut self, now: Instant, connection: usize, why: &LossReason) {
        self.forget(now, connection, why);
        self.step(now);
    }

    /// This end closes a connection at once.
    fn give_up(&mut self, now: Instant, connection: usize, why: LossReason) {
        self.forget(now, connection, &why);
        self.actions.push_back(Action::Drop(connection, why));
    }

    /// Forgets a connection: nothing comes on it any more, and nothing is written.
    fn forget(&mut self, now: Instant, connection: usize, why: &LossReason) {
        self.post.clear(connection);
        self.acknowledging.close(connection);
        if let Some(receiving) = &mut self.receiving {
            receiving.decodes(connection, false);
        }
        let said_bye = self.pulses.get(connection).is_some_and(Pulse::has_said_bye);
        // a peer that has heard the bye closes in order
        if said_bye && *why == LossReason::Closed {
            self.bye_has_arrived();
        }
        // when bye was said and nothing else goes on, it is no loss that a connection ends
        let why = if said_bye && self.is_done(Way::In) { &LossReason::Left } else { why };
        let link = self.ownership.link_of(connection);
        let again = self.detach(now, connection, why);
        let view = self.view();
        if !self.is_over() && self.ownership.lost(now, connection, why, again, view) {
            let last = link.map(|link| Loss { connection, link, why: why.clone() });
            self.losses = Losses { count: self.losses.count + 1, last };
        }
    }

    /// Takes the connection from the outgoing stream. Gives how many legs are to be sent again.
    fn detach(&mut self, now: Instant, connection: usize, why: &LossReason) -> usize {
        self.pulses.gone(connection);
        self.stalls.counted[connection] = 0;
        let Some(sending) = &mut self.sending else { return 0 };
        let silent = (*why == LossReason::Silent).then_some(now);
        match sending.link_of(connection) {
            Some(_) if *why == LossReason::Left => {}
            Some(link) => self.leniency.lost(now, connection, link, silent),
            None => self.leniency.failed(connection),
        }
        sending.detach(connection)
    }

    // ---- the whole ------------------------------------------------------------------------------------

    /// Time has passed.
    pub fn tick(&mut self, now: Instant) {
        self.step(now);
    }

    // ---- answers --------------------------------------------------------------------------------------

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Connections in whose mailboxes something was put since this was asked last.
    pub fn take_posted(&mut self) -> ConnectionSet {
        self.post.take_posted()
    }

    /// The next thing to write on this connection, in the order in which it is to be written.
    pub fn take(&mut self, connection: usize) -> Option<Item> {
        self.post.take(connection)
    }

    /// What waits to be written on this connection.
    pub fn mailbox(&self, connection: usize) -> &Mailbox {
        self.post.mailbox(connection)
    }

    /// Payload that nobody needs any more since this was asked last, to be dropped where that delays nobody. Nothing else
    /// here drops payload.
    pub fn take_freed(&mut self) -> Vec<Payload> {
        let mut freed = self.sending.as_mut().map(Outbound::take_freed).unwrap_or_default();
        self.post.take_freed(&mut freed);
        freed.extend(self.receiving.iter_mut().flat_map(Inbound::take_freed));
        freed
    }

    /// When `tick` is due, if nothing happens before: so soon that the owner notices when its process does not run, long
    /// before a connection is cleared away for silence; in the past if time has gone on since the last event.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        if self.is_over() {
            return None;
        }
        let now = self.stepped.min(now);
        let legs = self.sending.as_ref().filter(|_| self.is_going(Way::Out));
        let legs = legs.and_then(|sending| sending.deadline(now));
        let word = self.receiving.as_ref().and_then(|receiving| receiving.last_word.until());
        let acks = self.acknowledging.deadline().filter(|_| !self.is_done(Way::In));
        let watch = self.watch_deadline();
        let others = self.ownership.deadlines(now, self.view());
        let open = !self.acknowledging.open_connections().is_empty() || !self.pulses.is_empty();
        let latest = open.then(|| self.stepped + REST);
        let times = [legs, word, watch, latest, self.unsaid_until()]
            .into_iter()
            .flatten()
            .chain(others)
            .filter(|at| *at > now);
        times.chain(acks).min()
    }

    /// The stream that goes out, if there is one.
    pub fn sending(&self) -> Option<&Outbound> {
        self.sending.as_ref()
    }

    /// The stream that comes in, if there is one.
    pub fn receiving(&self) -> Option<&Inbound> {
        self.receiving.as_ref()
    }

    /// Where a connection is.
    pub fn whereabouts(&self, connection: usize) -> Whereabouts {
        self.ownership.whereabouts(connection)
    }

    /// The link of a connection that is up.
    pub fn link_of(&self, connection: usize) -> Option<usize> {
        self.ownership.link_of(connection)
    }

    /// Never sends overtaken legs again: for the simulator, which shows that this would be noticed.
    #[doc(hidden)]
    pub fn forgo_rescue(&mut self) {
        self.sending.iter_mut().for_each(Outbound::forgo_rescue);
    }

    /// No leg is longer than [`encoded_max`](super::leg::encoded_max): each is encoded, which takes memory by its
    /// length.
    pub fn keep_legs_short(&mut self) {
        self.sending.iter_mut().for_each(Outbound::keep_legs_short);
    }

    /// The key of the peer, once it is known, if connections are encrypted.
    pub fn peer_key(&self) -> Option<PeerKey> {
        self.ownership.key(self.sending.as_ref().and_then(Outbound::key))
    }

    /// How many times longer than usual a connection on this link may be silent. For tests.
    #[doc(hidden)]
    pub fn lenience(&self, link: usize) -> u32 {
        self.leniency.of(link)
    }

    /// How many connections are up on a link.
    pub fn connections_on(&self, link: usize) -> usize {
        (0..self.connections()).filter(|connection| self.link_of(*connection) == Some(link)).count()
    }

    /// How many connections there may be.
    pub fn connections(&self) -> usize {
        self.ownership.connections()
    }

    /// The last thing that went wrong on a link that is dialled from here; empty if nothing has.
    pub fn trouble(&self, link: usize) -> &str {
        self.ownership.trouble(link)
    }

    /// Since when no connection is up, at an end that listens; None before the first one was.
    pub fn alone_since(&self) -> Option<Instant> {
        self.ownership.alone_since()
    }

    /// When something of the stream that comes in got through last, or else when it was to begin: a leg, or bytes of one.
    pub fn moved_in(&self) -> Instant {
        self.stalls.ways.incoming.moved()
    }

    /// Connections that were up and ended before the session did.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    /// Whether only this peer can finish the session: anything of a stream was received at either end, as far as is known
    /// here, or one end is there for the other alone.
    pub fn has_begun(&self) -> bool {
        self.view().begun
    }

    /// Whether anything of a stream is known to have been received at either end; also of a session that is over.
    pub fn has_received(&self) -> bool {
        // At an end that listens, the length of a stream without legs does not count: its sender says it again. At one that
        // dials it does: no other sender can go on with that stream.
        let counts = if self.ownership.dials() { Inbound::is_bound } else { Inbound::has_begun };
        let received = self.receiving.as_ref().is_some_and(counts)
            || self.sending.as_ref().is_some_and(|sending| sending.sender().has_received());
        received && self.has_met()
    }

    /// Whether there may be a peer that knows of this session. An end that dials may have judged a stream before: whoever
    /// answers first hears of that.
    fn has_met(&self) -> bool {
        !self.ownership.dials() || self.sending.as_ref().is_some_and(|sending| sending.instance().is_some())
    }

    /// Legs that came although they were there, or came damaged, and were not counted as duplicates.
    pub fn again(&self) -> u64 {
        self.again
    }

    /// What the input should read into the next piece; nothing where no stream goes out.
    pub fn appetite(&self) -> Appetite {
        self.sending.as_ref().map(Outbound::appetite).unwrap_or_default()
    }

    /// Whether as much of the input waits for connections as should; it is to be read when less does.
    pub fn has_enough_input(&self) -> bool {
        self.sending.as_ref().is_some_and(Outbound::has_enough_input)
    }

    /// What the streams say about the session.
    fn view(&self) -> View {
        let sending = self.sending.as_ref();
        let received =
            self.has_received() || (sending.is_some() && !self.is_going(Way::Out) && self.has_met());
        View {
            begun: received || self.ownership.is_bound(),
            received,
            wanted: Way::BOTH.into_iter().any(|way| self.is_going(way)),
            in_doubt: self.is_going(Way::Out) && sending.is_some_and(Outbound::awaits_verdict),
        }
    }
}

#[cfg(test)]
mod tests;
