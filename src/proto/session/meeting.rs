//! How a connection comes up: a peer's hello and its answer, and what becomes of an attempt of this end.

use super::super::hello::{FarEnd, Features, Hello, Refusal, Welcome};
use super::super::links::{DialError, LossReason};
use super::super::peer_key::PeerKey;
use super::super::way::Way;
use super::super::wire::Frame;
use super::action::Action;
use super::listener::Occupancy;
use super::why::Why;
use super::{Session, Unusable};
use std::time::{Duration, Instant};

impl Session {
    /// Whether this hello, of a peer with this key, would be let in; changes nothing.
    ///
    /// # Errors
    /// The refusal to answer with.
    pub fn screen(&self, hello: &Hello, key: Option<PeerKey>) -> Result<(), Refusal> {
        self.ownership.screen(hello, key, self.occupancy())
    }

    fn occupancy(&self) -> Occupancy {
        let (is_judged, has_begun) = (!self.is_going(Way::In), self.view().begun);
        Occupancy { is_shut: self.is_over(), is_judged, has_begun }
    }

    /// A peer with this key has said hello, and what it says was checked by `proto::check`. Gives the number of its
    /// connection, whose welcome is in the mailbox. An older connection of that number is to be given up without a word.
    ///
    /// # Errors
    /// The refusal to answer with; nothing has changed.
    pub fn hello(&mut self, now: Instant, hello: &Hello, key: Option<PeerKey>) -> Result<usize, Refusal> {
        self.screen(hello, key)?;
        self.give_way(now, hello, key);
        let (occupancy, connection) = (self.occupancy(), usize::from(hello.connection));
        if self.ownership.admit(now, hello, key, occupancy)? {
            self.receiving.iter_mut().for_each(|receiving| receiving.begin(hello.buffer));
            self.acknowledging.forget_told();
            if let Some(sending) = &mut self.sending {
                sending.set_checked(hello.features.contains(Features::CHECKSUM));
            }
        }
        if self.sending.as_ref().is_some_and(|sending| sending.link_of(connection).is_some()) {
            self.detach(now, connection, &LossReason::Closed);
        }
        if let Some(sending) = &mut self.sending {
            self.known[connection] = sending.sender().head();
            // the session may be one without legs, so the hello itself shows that the peer is there
            let begun = self.view().begun;
            self.ownership.works(connection, begun);
        }
        // that another session is forgotten is to be heard before this one is met
        self.tell_events();
        self.welcome(now, connection, hello.buffer, hello.features);
        self.step(now);
        Ok(connection)
    }

    /// Welcomes the far end of a connection, which has this much memory and makes use of these features.
    fn welcome(&mut self, now: Instant, connection: usize, buffer: u64, features: Features) {
        self.post.clear(connection);
        let Some(receiving) = &mut self.receiving else { return };
        receiving.open(connection, features);
        self.post.welcome(connection, receiving.welcome(buffer));
        self.acknowledging.open(now, connection);
        let enough = receiving.tells_enough().then_some(Frame::Enough);
        if let Some(word) = receiving.verdict().cloned().map(Frame::Verdict).or(enough) {
            self.say(now, connection, word);
        }
        self.actions.push_back(Action::Met(Way::In, FarEnd { features, buffer }));
    }

    /// The hello of a connection welcomed this end's stream, as that stood when the hello was made. Other connections may
    /// have brought legs since, of which it knows nothing.
    pub fn welcomed_ahead(
        &mut self,
        now: Instant,
        connection: usize,
        welcome: &Welcome,
        key: Option<PeerKey>,
        rtt: Duration,
    ) {
        self.known[connection] = 0;
        self.welcomed(now, connection, welcome, key, rtt);
    }

    /// The far end, which has this key, welcomed a connection, this long after it was asked. A welcome that is known from
    /// its hello comes twice.
    pub fn welcomed(
        &mut self,
        now: Instant,
        connection: usize,
        welcome: &Welcome,
        key: Option<PeerKey>,
        rtt: Duration,
    ) {
        // if the outgoing stream is done with, the connection is left to the incoming one
        let link = self.ownership.awaits_welcome(connection).filter(|_| !self.is_done(Way::Out));
        // of a stream that was judged the receiver may have thrown away what it had confirmed
        let known = if self.is_going(Way::Out) { self.known[connection] } else { 0 };
        let view = self.view();
        let Some((sending, link)) = self.sending.as_mut().zip(link) else { return };
        if sending.link_of(connection).is_some() {
            // it was said ahead; now it shows how far away whoever said it is
            sending.round_trip(connection, rtt);
            return;
        }
        match sending.attach(connection, link, known, welcome, key, view.begun) {
            Ok(received) => {
                sending.learnt(now, received);
                sending.round_trip(connection, rtt);
                self.leniency.up(now, connection, link, rtt);
                self.pulses.up(now, connection);
                self.note_answer(now, connection, now.checked_sub(rtt).unwrap_or(now), true);
                self.dialled(now, connection, link, welcome, rtt);
                let far = FarEnd { features: welcome.features, buffer: welcome.buffer };
                self.actions.push_back(Action::Met(Way::Out, far));
                self.stalls.lively = true;
            }
            Err(why) => self.unusable(now, connection, why),
        }
        self.step(now);
    }

    /// An attempt of this end succeeded. The far end is welcomed in turn if there is a stream to receive.
    fn dialled(&mut self, now: Instant, connection: usize, link: usize, welcome: &Welcome, rtt: Duration) {
        let key = self.peer_key();
        let Some(recalled) = self.ownership.up(connection, link, key, rtt) else { return };
        if let Some(sending) = &mut self.sending {
            recalled.into_iter().for_each(|connection| sending.recall(connection));
        }
        self.welcome(now, connection, welcome.buffer, welcome.features);
    }

    fn unusable(&mut self, now: Instant, connection: usize, why: Unusable) {
        let reason = match &why {
            Unusable::Breach(breach) => LossReason::Breach(breach.clone()),
            Unusable::OtherReceiver | Unusable::LegGone(_) => LossReason::Left,
        };
        let begun = self.view().begun;
        match &why {
            Unusable::OtherReceiver => self.ownership.met_another(now, connection, begun),
            Unusable::Breach(_) | Unusable::LegGone(_) => {
                let why = DialError::Unreachable(reason.to_string());
                self.ownership.failed(now, connection, &why);
            }
        }
        self.give_up(now, connection, reason);
        if let Unusable::LegGone(sequence) = why {
            // at once: no other connection would do better, and this one is not up
            self.break_stream(now, Way::Out, Why::Forgotten { sequence }.outcome());
        }
    }

    /// The receiver, or a stranger, refused a connection in words.
    pub fn refused(&mut self, now: Instant, connection: usize, refusal: &Refusal) {
        let begun = self.view().begun;
        self.ownership.refused(now, connection, refusal, begun);
        self.leniency.failed(connection);
        self.step(now);
    }

    /// There is no connection.
    pub fn dial_failed(&mut self, now: Instant, connection: usize, why: &DialError) {
        self.ownership.failed(now, connection, why);
        self.leniency.failed(connection);
        self.step(now);
    }
}
