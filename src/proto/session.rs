//! One session: its streams, one or one each way, and the connections that carry them.
//!
//! Call order: one of the event methods, each with the time; then drain [`Session::poll`], and write what is in the
//! mailboxes of [`Session::take_posted`]; then wait for the next event, [`Session::deadline`] at the latest, when
//! `tick` is the event. The owner (threads behind one lock, or the simulator) carries this out and decides nothing.
//! Connections are known by their number. Events of a connection that was replaced or given up are not to be told.
//!
//! Here are the events and whom they concern. In files of their own: `streams`, how a stream ends and what that means
//! to the other one; `terms`, what the owner gives and gets.

use super::acknowledging::{Acknowledging, Position};
use super::ending::Ending;
use super::hello::{Features, Hello, Refusal, Welcome};
use super::leg::{CONNECTIONS_MAX, Leg, Payload, leg_max};
use super::life::Silence;
use super::links::{DialError, LossReason};
use super::mailbox::{Item, Mailbox};
use super::reception::{self, Loss, Reception};
use super::set::ConnectionSet;
use super::transmission::{self, Given, Transmission};
use super::way::Way;
use super::wire::{Code, Frame, LegHeader};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

mod streams;
mod terms;

pub use terms::{Action, Farewell, Place};

/// What a receiving end says of itself in every welcome.
#[derive(Clone, Debug)]
struct Terms {
    features: Features,
    buffer: u64,
}

/// One session, or the wait for one.
pub struct Session {
    sending: Option<Transmission>,
    receiving: Option<Reception>,
    /// Whether this end dials; otherwise it listens.
    dials: bool,
    /// One stream is of no use without the other.
    inseparable: bool,
    terms: Option<(super::hello::Id, Terms)>,
    acknowledging: Acknowledging,
    mailboxes: [Mailbox; CONNECTIONS_MAX],
    posted: ConnectionSet,
    actions: VecDeque<Action>,
    /// How each stream was judged, by [`Way`].
    outcomes: [Option<Ending>; 2],
    /// Streams whose state is done with, by [`Way`]; those that this session does not have, too.
    over: [bool; 2],
    /// For how long the output has been taking nothing.
    blocked: Duration,
    /// Legs that came although they were there, or came damaged.
    again: u64,
}

impl Session {
    /// The end that dials: it sends a stream and, with `receives`, receives one over the same connections.
    pub fn dialling(
        now: Instant,
        sends: transmission::Settings,
        receives: Option<reception::Settings>,
        inseparable: bool,
    ) -> Self {
        Self::new(now, true, Some(sends), receives, inseparable)
    }

    /// The end that listens: it receives a stream and, with `sends`, sends one over the same connections.
    pub fn listening(
        now: Instant,
        receives: reception::Settings,
        sends: Option<transmission::Settings>,
        inseparable: bool,
    ) -> Self {
        Self::new(now, false, sends, Some(receives), inseparable)
    }

    fn new(
        now: Instant,
        dials: bool,
        sends: Option<transmission::Settings>,
        receives: Option<reception::Settings>,
        inseparable: bool,
    ) -> Self {
        let over = [receives.is_none(), sends.is_none()];
        let terms = receives.as_ref().map(|settings| {
            let reception::Settings { instance, features, buffer, .. } = *settings;
            (instance, Terms { features, buffer })
        });
        Session {
            sending: sends.map(|settings| Transmission::new(now, settings)),
            receiving: receives.map(|settings| Reception::new(now, settings)),
            dials,
            inseparable,
            terms,
            acknowledging: Acknowledging::default(),
            mailboxes: Default::default(),
            posted: ConnectionSet::EMPTY,
            actions: VecDeque::new(),
            outcomes: [None, None],
            over,
            blocked: Duration::ZERO,
            again: 0,
        }
    }

    /// Never sends overtaken legs again: for the simulator, which shows that this would be noticed.
    #[doc(hidden)]
    pub fn forgo_rescue(&mut self) {
        self.sending.iter_mut().for_each(Transmission::forgo_rescue);
    }

    // ---- connections come and go ----------------------------------------------------------------------

    /// Whether this hello would be let in; changes nothing.
    ///
    /// # Errors
    /// The refusal to answer with.
    pub fn screen(&self, hello: &Hello) -> Result<(), Refusal> {
        self.receiving.as_ref().map_or(Ok(()), |receiving| receiving.screen(hello))
    }

    /// A peer has said hello, and what it says was checked by [`super::hello::check`]. The number of its connection,
    /// whose welcome is in the mailbox; an older connection of that number is to be given up without a word.
    ///
    /// # Errors
    /// The refusal to answer with; nothing has changed.
    pub fn hello(&mut self, now: Instant, hello: &Hello) -> Result<usize, Refusal> {
        let Some(receiving) = &mut self.receiving else {
            unreachable!("an end that only sends listens to nobody")
        };
        let begins = receiving.receiver().is_none();
        let admission = receiving.hello(now, hello)?;
        let connection = admission.connection;
        if begins {
            self.acknowledging.forget_told();
        }
        self.mailboxes[connection].clear();
        self.acknowledging.open(now, connection);
        self.mailboxes[connection].welcome(admission.welcome);
        self.posted.insert(connection);
        if let Some(sending) = self.sending.as_mut().filter(|_| !self.over[Way::Out as usize]) {
            let checked = hello.features.contains(Features::CHECKSUM);
            let known = sending.sender().head();
            let given = Given { worker: connection, link: usize::from(hello.link), known, checked };
            sending.given(now, given);
        }
        self.actions.push_back(Action::Met(Way::In, hello.features));
        self.follow(now);
        Ok(connection)
    }

    /// The far end welcomed a connection, this long after it was asked.
    pub fn welcomed(&mut self, now: Instant, connection: usize, welcome: &Welcome, rtt: Duration) {
        // a stream that is done with takes no connection, and leaves it to the other one
        let sending = self.sending.as_mut().filter(|_| !self.over[Way::Out as usize]);
        let up = sending.and_then(|sending| {
            sending.welcomed(now, connection, welcome, rtt);
            sending.links().link_of(connection)
        });
        if let (Some(link), true) = (up, self.dials) {
            self.mailboxes[connection].clear();
            self.welcome_back(now, connection, link as u8, welcome);
        }
        self.actions.push_back(Action::Met(Way::Out, welcome.features));
        self.follow(now);
    }

    /// The far end of a connection that was dialled from here is welcomed, if there is anything to receive.
    fn welcome_back(&mut self, now: Instant, connection: usize, link: u8, theirs: &Welcome) {
        let (Some(receiving), Some((instance, terms))) = (&mut self.receiving, &self.terms) else { return };
        receiving.given(now, connection, link);
        let Position { next, edge, .. } = receiving.position();
        self.mailboxes[connection].welcome(Welcome {
            instance: *instance,
            next,
            edge,
            leg_max: leg_max(terms.buffer, theirs.buffer) as u32,
            features: terms.features,
            buffer: terms.buffer,
        });
        self.posted.insert(connection);
        self.acknowledging.open(now, connection);
        self.actions.push_back(Action::Met(Way::In, theirs.features));
    }

    /// The receiver, or a stranger, refused a connection in words.
    pub fn refused(&mut self, now: Instant, connection: usize, refusal: &Refusal) {
        if let Some(sending) = &mut self.sending {
            sending.refused(now, connection, refusal);
        }
        self.follow(now);
    }

    /// There is no connection.
    pub fn dial_failed(&mut self, now: Instant, connection: usize, why: &DialError) {
        if let Some(sending) = &mut self.sending {
            sending.dial_failed(now, connection, why);
        }
        self.follow(now);
    }

    /// The connection has ended.
    pub fn lost(&mut self, now: Instant, connection: usize, why: &LossReason) {
        self.forget(now, connection, why);
        if let Some(sending) = &mut self.sending {
            sending.lost(now, connection, why);
        }
        self.follow(now);
    }

    /// The connection has nothing to read now, and has shown no life for so long; to be told every second or so for
    /// every connection, as what comes in is no proof that anything gets out.
    pub fn quiet(&mut self, now: Instant, connection: usize, silence: Silence) {
        if let Some(sending) = self.sending.as_mut().filter(|_| !self.over[Way::Out as usize]) {
            sending.quiet(now, connection, silence);
        }
        self.follow(now);
    }

    // ---- what comes in --------------------------------------------------------------------------------

    /// A leg is coming: where its bytes are to go.
    ///
    /// # Errors
    /// The peer may not send it; the connection is to be closed.
    pub fn place(&self, connection: usize, header: &LegHeader) -> Result<Place, LossReason> {
        let breach = |what: String| Err(LossReason::Breach(what));
        let Some(receiving) = &self.receiving else { return breach("sent a leg to the sender".into()) };
        if !self.acknowledging.is_open(connection) {
            return breach("sent a leg before it was welcome".into());
        }
        let Position { next, edge, .. } = receiving.position();
        if self.over[Way::In as usize] || header.sequence < next {
            return Ok(Place::Scratch);
        }
        if header.sequence >= edge.legs || header.offset + u64::from(header.raw) > edge.bytes {
            return breach(format!("sent leg {} beyond the window", header.sequence));
        }
        // sixteen of them at once are to fit beside the window
        if header.raw as usize > receiving.leg_max() {
            return breach(format!("sent a leg of {} bytes, longer than was agreed", header.raw));
        }
        if header.encoded != header.raw {
            return breach("sent a leg in an encoding that was not agreed".into());
        }
        Ok(Place::Keep)
    }

    /// A leg has come whole, and is what was sent if it is checked.
    pub fn leg(&mut self, now: Instant, connection: usize, leg: Leg) {
        self.acknowledging.took(connection);
        if let Some(receiving) = self.receiving.as_mut().filter(|_| !self.over[Way::In as usize])
            && let Err(contradiction) = receiving.leg(now, connection, leg)
        {
            self.give_up(now, connection, LossReason::Breach(contradiction.to_string()));
        }
        self.follow(now);
    }

    /// A leg that is here already has come whole, and was read to nowhere.
    pub fn leg_again(&mut self, now: Instant, connection: usize) {
        self.again += 1;
        self.acknowledging.took(connection);
        self.follow(now);
    }

    /// A leg has come that is not what was sent.
    pub fn leg_damaged(&mut self, now: Instant, connection: usize, sequence: u64) {
        self.again += 1;
        if !self.over[Way::In as usize] {
            self.post(now, connection, Frame::Nack { sequence });
            self.acknowledging.took(connection);
        }
        self.follow(now);
    }

    /// A frame other than a leg has come.
    pub fn frame(&mut self, now: Instant, connection: usize, frame: Frame) {
        match frame {
            Frame::Ack(_) | Frame::Nack { .. } | Frame::Pong { .. } | Frame::Verdict(_) => {
                self.hear_receiver(now, connection, frame);
            }
            Frame::Abort(_) => {
                self.hear_sender(now, connection, frame.clone());
                self.hear_receiver(now, connection, frame);
            }
            Frame::Leg(_) | Frame::Fin(_) | Frame::Ping { .. } | Frame::Bye => {
                self.hear_sender(now, connection, frame);
            }
        }
        self.follow(now);
    }

    /// What a receiver says.
    fn hear_receiver(&mut self, now: Instant, connection: usize, frame: Frame) {
        let abort = matches!(frame, Frame::Abort(_));
        match &mut self.sending {
            Some(sending) if !self.over[Way::Out as usize] => sending.frame(now, connection, frame),
            // this end had the verdict, said bye and was done; the bye was lost
            Some(_) if matches!(frame, Frame::Verdict(_)) => self.post(now, connection, Frame::Bye),
            None if !abort => {
                let why = "sent a receiver's message to the receiver".into();
                self.give_up(now, connection, LossReason::Breach(why));
            }
            Some(_) | None => {}
        }
    }

    /// What a sender says.
    fn hear_sender(&mut self, now: Instant, connection: usize, frame: Frame) {
        let open = self.acknowledging.is_open(connection);
        let breach = match (&mut self.receiving, frame) {
            (Some(_), _) if self.over[Way::In as usize] => None,
            (Some(receiving), Frame::Abort(abort)) => {
                receiving.abort(abort);
                None
            }
            (Some(_), _) if !open => Some("spoke before it was welcome".to_owned()),
            (Some(_), Frame::Ping { token }) => {
                self.post(now, connection, Frame::Pong { token });
                None
            }
            (Some(receiving), Frame::Fin(fin)) => receiving.fin(now, fin).err().map(|e| e.to_string()),
            (Some(receiving), Frame::Bye) => {
                receiving.bye();
                None
            }
            (None, Frame::Abort(_)) => None,
            (Some(_) | None, _) => Some("sent a sender's message to the sender".to_owned()),
        };
        if let Some(breach) = breach {
            self.give_up(now, connection, LossReason::Breach(breach));
        }
    }

    // ---- what goes out --------------------------------------------------------------------------------

    /// The path of this connection drains, and no leg is under way: it can take one.
    pub fn ready(&mut self, now: Instant, connection: usize) {
        if let Some(sending) = self.sending.as_mut().filter(|_| !self.over[Way::Out as usize]) {
            sending.ready(now, connection);
        }
        self.follow(now);
    }

    /// The CRC-32 of a leg, before its first byte leaves.
    pub fn checked(&mut self, now: Instant, sequence: u64, crc: u32) {
        if let Some(sending) = &mut self.sending {
            sending.checked(sequence, crc);
        }
        self.follow(now);
    }

    /// The next piece of the stream; never empty.
    pub fn input(&mut self, now: Instant, payload: Payload) {
        if let Some(sending) = &mut self.sending {
            sending.input(now, payload);
        }
        self.follow(now);
    }

    /// The stream has ended with what was given.
    pub fn input_ended(&mut self, now: Instant) {
        if let Some(sending) = &mut self.sending {
            sending.input_ended(now);
        }
        self.follow(now);
    }

    /// The input cannot be read; why, for the user.
    pub fn input_failed(&mut self, now: Instant, why: &str) {
        // what nobody wants any more may fail
        if let Some(sending) = self.sending.as_mut().filter(|sending| !sending.is_settled()) {
            sending.fail(now, Ending::here(Code::Input, why));
        }
        self.follow(now);
    }

    // ---- the output -----------------------------------------------------------------------------------

    /// For how long the output has been taking nothing; to be told before other events.
    pub fn output_blocked(&mut self, blocked: Duration) {
        self.blocked = blocked;
    }

    /// The output has taken so many more legs and bytes.
    pub fn delivered(&mut self, now: Instant, legs: u64, bytes: u64) {
        if let Some(receiving) = &mut self.receiving {
            self.acknowledging.told().into_iter().for_each(|edge| receiving.note_told(edge));
            receiving.delivered(now, legs, bytes);
        }
        self.follow(now);
    }

    /// The output is closed, and whoever reads it has taken everything. With `crc`, that of the stream if every leg
    /// was checked.
    pub fn output_closed(&mut self, now: Instant, crc: Option<u32>) {
        if let Some(receiving) = &mut self.receiving {
            receiving.output_closed(now, crc);
        }
        self.follow(now);
    }

    /// The output failed; `code` is [`Code::Output`] or, for a stream that does not verify, `Corrupt`.
    pub fn output_failed(&mut self, now: Instant, code: Code, sentence: &str) {
        if let Some(receiving) = &mut self.receiving {
            receiving.output_failed(now, code, sentence);
        }
        self.follow(now);
    }

    // ---- the whole ------------------------------------------------------------------------------------

    /// This end cannot go on; the peer is told why.
    pub fn fail(&mut self, now: Instant, ending: &Ending) {
        if let Some(sending) = &mut self.sending {
            sending.fail(now, ending.clone());
        }
        if let Some(receiving) = &mut self.receiving {
            receiving.fail(ending.clone());
        }
        self.follow(now);
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Instant) {
        if let Some(sending) = &mut self.sending {
            sending.tick(now);
        }
        if let Some(receiving) = &mut self.receiving {
            receiving.tick(now);
        }
        self.follow(now);
    }

    // ---- answers --------------------------------------------------------------------------------------

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Connections in whose mailboxes something was put since this was asked last.
    pub fn take_posted(&mut self) -> ConnectionSet {
        std::mem::take(&mut self.posted)
    }

    /// The next thing to write on this connection, in the order in which it is to be written.
    pub fn take(&mut self, connection: usize) -> Option<Item> {
        self.mailboxes[connection].take()
    }

    /// What waits to be written on this connection.
    pub fn mailbox(&self, connection: usize) -> &Mailbox {
        &self.mailboxes[connection]
    }

    /// When `tick` is due, if nothing happens before; in the past if time has gone on since the last event.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        if self.is_over() {
            return None;
        }
        let sending = self.sending.as_ref().and_then(|sending| sending.deadline(now));
        let receiving = self.receiving.as_ref().and_then(|receiving| receiving.deadline(now));
        let acks = self.acknowledging.deadline().filter(|_| !self.over[Way::In as usize]);
        [sending, receiving, acks].into_iter().flatten().min()
    }

    /// The stream that goes out, if there is one.
    pub fn sending(&self) -> Option<&Transmission> {
        self.sending.as_ref()
    }

    /// The stream that comes in, if there is one.
    pub fn receiving(&self) -> Option<&Reception> {
        self.receiving.as_ref()
    }

    /// Legs that came although they were there, or came damaged, and were not counted as duplicates.
    pub fn again(&self) -> u64 {
        self.again
    }

    /// Bytes that the next leg should have, and whether a connection waits for one that is not there.
    pub fn appetite(&self) -> (usize, bool) {
        self.sending.as_ref().map_or((0, false), |sending| (sending.leg_size(), sending.is_hungry()))
    }

    // ---- carrying out ---------------------------------------------------------------------------------

    /// Everything that follows from an event.
    fn follow(&mut self, now: Instant) {
        loop {
            self.share();
            if let Some(action) = self.sending.as_mut().and_then(Transmission::poll) {
                self.transmit(now, action);
            } else if let Some(action) = self.receiving.as_mut().and_then(Reception::poll) {
                self.receive(now, action);
            } else {
                break;
            }
        }
        if let Some(receiving) = self.receiving.as_ref().filter(|_| !self.over[Way::In as usize]) {
            for (connection, ack) in self.acknowledging.take_due(now, receiving.position(), self.blocked) {
                self.post(now, connection, Frame::Ack(ack));
            }
        }
    }

    fn transmit(&mut self, now: Instant, action: transmission::Action) {
        use transmission::Action as Sends;
        match action {
            Sends::Dial { worker, link, hello, timeout } => {
                self.actions.push_back(Action::Dial { connection: worker, link, hello, timeout });
            }
            Sends::Send(worker, leg) => {
                self.mailboxes[worker].leg(leg);
                self.posted.insert(worker);
            }
            Sends::Tell(worker, frame) => self.post(now, worker, frame),
            Sends::Drop(worker, why) => {
                self.forget(now, worker, &why);
                self.actions.push_back(Action::Drop(worker, why));
            }
            Sends::Leave(worker) => self.actions.push_back(Action::Leave(worker)),
            Sends::Settle(ending) => self.settled(now, Way::Out, ending),
            Sends::Say(level, line) => self.actions.push_back(Action::Say(level, line)),
            Sends::End(ending) => self.ended(now, Way::Out, ending),
        }
    }

    fn receive(&mut self, now: Instant, action: reception::Action) {
        use reception::Action as Receives;
        match action {
            Receives::Deliver(leg) => self.actions.push_back(Action::Deliver(leg)),
            Receives::CloseOutput => self.actions.push_back(Action::CloseOutput),
            Receives::Acknowledge { now: true } => self.acknowledging.tell_all(),
            Receives::Acknowledge { now: false } => self.acknowledging.news(now),
            Receives::Tell(connection, frame) => self.post(now, connection, frame),
            Receives::Drop(connection, why) => self.give_up(now, connection, LossReason::Breach(why)),
            Receives::Settle(ending) => self.settled(now, Way::In, ending),
            Receives::Say(level, line) => self.actions.push_back(Action::Say(level, line)),
            Receives::End(ending) => self.ended(now, Way::In, ending),
        }
    }

    fn post(&mut self, now: Instant, connection: usize, frame: Frame) {
        if self.mailboxes[connection].frame(frame).is_err() {
            let why = "brings damaged legs and takes no complaints".into();
            return self.give_up(now, connection, LossReason::Failed(why));
        }
        self.posted.insert(connection);
    }

    /// This end closes a connection at once.
    fn give_up(&mut self, now: Instant, connection: usize, why: LossReason) {
        self.forget(now, connection, &why);
        if let Some(sending) = &mut self.sending {
            sending.lost(now, connection, &why);
        }
        self.actions.push_back(Action::Drop(connection, why));
    }

    /// Nothing comes on this connection any more, and nothing is written.
    fn forget(&mut self, now: Instant, connection: usize, why: &LossReason) {
        self.mailboxes[connection].clear();
        self.posted.remove(connection);
        self.acknowledging.close(connection);
        let (loss, why) = match why {
            LossReason::Closed => (Loss::Closed, "closed by the sender".to_owned()),
            LossReason::Silent => (Loss::Silent, "silent".to_owned()),
            why => (Loss::Closed, why.to_string()),
        };
        if let Some(receiving) = &mut self.receiving {
            receiving.lost(now, connection, loss, &why);
        }
    }
}
