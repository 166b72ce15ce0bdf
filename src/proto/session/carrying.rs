//! What the input and the output tell, and what follows from every event.

use super::super::event::Event;
use super::super::hello::{Hello, HelloOption};
use super::super::leg::{Payload, SMALL_LEG};
use super::super::links::LossReason;
use super::super::outcome::{CommandEnd, Outcome, Status};
use super::super::receiver::Receiver;
use super::super::way::Way;
use super::super::wire::Frame;
use super::{Action, Inbound, Outbound, Session};
use std::time::{Duration, Instant};

impl Session {
    /// The stream that had to wait for its turn waits no longer: all connections are wanted.
    pub fn use_all(&mut self, now: Instant) {
        self.ownership.use_all();
        self.step(now);
    }

    // ---- the input ------------------------------------------------------------------------------------

    /// The path of this connection drains, and no leg is under way: it can take one.
    pub fn ready(&mut self, now: Instant, connection: usize) {
        if let Some(sending) = &mut self.sending {
            sending.ready(connection);
        }
        self.step(now);
    }

    /// [`Session::ready`] for a connection whose leg is small and about to be written, if nothing follows from it. False,
    /// and nothing is noted, where something does.
    pub fn stays_ready(&mut self, now: Instant, connection: usize) -> bool {
        self.sending.as_mut().is_some_and(|sending| sending.stays_ready(now, connection))
    }

    /// The CRC-32 of a leg, before its first byte leaves.
    pub fn note_crc(&mut self, now: Instant, sequence: u64, crc: u32) {
        if let Some(sending) = &mut self.sending {
            sending.note_crc(sequence, crc);
        }
        self.step(now);
    }

    /// The next piece of the stream; never empty.
    pub fn input(&mut self, now: Instant, payload: Payload) {
        let wanted = self.is_going(Way::Out);
        // what was read before the far end's output had enough comes a little later
        let goes_on = |sending: &&mut Outbound| wanted && !sending.sender().has_ended();
        match self.sending.as_mut().filter(goes_on) {
            Some(sending) => sending.push(payload),
            None => self.post.free(payload),
        }
        self.step(now);
    }

    /// The stream has ended with what was given.
    pub fn input_ended(&mut self, now: Instant) {
        if let Some(sending) = &mut self.sending {
            sending.end();
        }
        self.step(now);
    }

    /// The input cannot be read; why, for the user.
    pub fn input_failed(&mut self, now: Instant, why: &str) {
        // what nobody wants any more may fail
        if !self.sending.as_ref().is_some_and(Outbound::has_ceased) {
            self.fail_input(now, why);
        }
        self.step(now);
    }

    /// A leg cannot be sent, as what it consists of cannot be had; why, for the user.
    ///
    /// `broken`: the connection on which some of it was written. Nothing else can follow there, and others with legs under
    /// way may be about to find the same. All these are closed, so that the peer is told on one that has none, or on the
    /// next that comes up.
    pub fn leg_failed(&mut self, now: Instant, broken: Option<usize>, why: &str) {
        if let (Some(broken), Some(sending), true) = (broken, &self.sending, self.is_going(Way::Out)) {
            let carries = |other: &usize| *other == broken || !sending.sender().is_idle(*other);
            let carrying: Vec<_> = sending.attached().iter().filter(carries).collect();
            carrying.into_iter().for_each(|connection| self.give_up(now, connection, LossReason::Left));
        }
        self.fail_input(now, why);
        self.step(now);
    }

    fn fail_input(&mut self, now: Instant, why: &str) {
        if self.is_going(Way::Out) && self.unsaid.is_none() {
            self.fail_stream(now, Way::Out, Outcome::here(Status::Input, why));
        }
    }

    /// A program has made so many bytes of the leg that this connection was given last. Nothing follows from that before
    /// the connection is ready for another one.
    pub fn encoded(&mut self, connection: usize, bytes: u64) {
        if let Some(sending) = &mut self.sending {
            sending.encoded(connection, bytes);
        }
    }

    /// Legs that have come on this connection are being decoded, or none are any more.
    pub fn decodes(&mut self, now: Instant, connection: usize, decodes: bool) {
        if let Some(receiving) = &mut self.receiving {
            receiving.decodes(connection, decodes);
        }
        self.step(now);
    }

    // ---- the output -----------------------------------------------------------------------------------

    /// For how long the output has been taking nothing; to be told before other events.
    pub fn output_blocked(&mut self, blocked: Duration) {
        self.blocked = blocked;
    }

    /// [`Session::delivered`] for an output that has taken little: notes it, and leaves what follows to the next event,
    /// which is likely to come soon. True if something follows at once: then `tick` is to be called.
    pub fn delivered_little(&mut self, now: Instant, legs: u64, bytes: u64) -> bool {
        self.take_delivered(now, legs, bytes);
        let announced = self.receiving.as_ref().and_then(Inbound::receiver).and_then(Receiver::announced);
        // where a stream goes out too, the far end is told with the answer
        let waits = self.is_going(Way::In) && self.is_going(Way::Out) && announced.is_none();
        !waits || self.acknowledging.is_due()
    }

    /// The output has taken so many more legs and bytes.
    pub fn delivered(&mut self, now: Instant, legs: u64, bytes: u64) {
        self.take_delivered(now, legs, bytes);
        self.step(now);
    }

    pub(super) fn take_delivered(&mut self, now: Instant, legs: u64, bytes: u64) {
        if let Some(receiving) = &mut self.receiving {
            match receiving.delivered(legs, bytes, self.acknowledging.told()) {
                true => self.acknowledging.tell(now),
                false => self.acknowledging.progress(now, receiving.position().delivered),
            }
        }
    }

    /// The output is closed, and whoever reads it has taken everything. With `crc`, that of the stream if every leg
    /// was checked.
    pub fn output_closed(&mut self, now: Instant, crc: Option<u32>) {
        let verdict = self.receiving.as_ref().and_then(|receiving| receiving.verdict_when_closed(crc));
        if let Some(verdict) = verdict {
            self.speak_verdict(now, verdict);
        }
        self.step(now);
    }

    /// The output failed; `status` is [`Status::Output`], `Corrupt` for a stream that does not verify, or `Incomplete` where
    /// nothing is wrong with the output.
    pub fn output_failed(&mut self, now: Instant, status: Status, sentence: &str) {
        let verdict =
            self.receiving.as_ref().and_then(|receiving| receiving.verdict_when_failed(status, sentence));
        match verdict {
            Some(verdict) => self.speak_verdict(now, verdict),
            None if self.is_going(Way::In) => self.fail_stream(now, Way::In, Outcome::here(status, sentence)),
            None => {}
        }
        self.step(now);
    }

    /// The output takes no more, which is no failure: what comes goes nowhere from now on. The sender is told, if it
    /// offered to stop.
    pub fn output_has_enough(&mut self, now: Instant) {
        let Some(receiving) = &mut self.receiving else { return };
        receiving.note_enough();
        if receiving.tells_enough() {
            let connections = self.acknowledging.open_connections();
            connections.iter().for_each(|connection| self.say(now, connection, Frame::Enough));
        }
        self.step(now);
    }

    /// The command that takes the stream has ended, and that is the result, whether or not it took all of the stream.
    /// With `crc`, that of the stream if every leg was checked. `sentence`: for the user; may be empty.
    pub fn command_ended(&mut self, now: Instant, crc: Option<u32>, end: CommandEnd, sentence: &str) {
        let verdict =
            self.receiving.as_ref().and_then(|receiving| receiving.verdict_of_command(crc, end, sentence));
        if let Some(verdict) = verdict {
            self.speak_verdict(now, verdict);
        }
        self.step(now);
    }

    // ---- what follows ---------------------------------------------------------------------------------

    /// Everything that follows from an event, in an order that never gives a leg to a doomed connection.
    pub(super) fn step(&mut self, now: Instant) {
        self.stepped = now;
        self.say_unsaid(now);
        self.finish_streams(now);
        if !self.is_over() {
            self.give_up_peer(now);
        }
        if !self.is_over() {
            self.dial(now);
            self.send(now);
            self.ping(now);
            self.look(now);
            let view = self.view();
            self.ownership.remind(now, view);
            if self.receiving.as_mut().is_some_and(|receiving| receiving.closes_output()) {
                self.actions.push_back(Action::CloseOutput);
            }
            self.acknowledge(now);
            self.watch_progress(now);
        }
        self.tell_events();
        if !self.told_over {
            self.told_over = self.is_over();
            self.actions.extend(self.told_over.then_some(Action::Over));
        }
    }

    /// What happened to connections, for the user; nothing more when the session is over.
    pub(super) fn tell_events(&mut self) {
        let events = self.ownership.take_events();
        if !self.told_over {
            self.actions.extend(events.into_iter().map(Action::Tell));
        }
    }

    /// Gives the peer up, or at least its session, if that is due.
    fn give_up_peer(&mut self, now: Instant) {
        let view = self.view();
        if self.ownership.forgets(now, view) {
            self.undo(now);
        }
        if let Some(why) = self.ownership.given_up(now, view)
            && !self.end_unsaid(now)
        {
            self.stop_alone(now, &why.outcome(), view.received && view.in_doubt);
        }
    }

    /// Connections that were called back leave, and others are dialled.
    fn dial(&mut self, now: Instant) {
        let begun = self.view().begun;
        let dials = self.ownership.dials();
        let Some(sending) = self.sending.as_mut().filter(|_| dials) else { return };
        self.actions.extend(sending.take_idle().iter().map(Action::Leave));
        let head = sending.sender().head();
        self.ownership.note_whether_one_carries(sending.one_carries());
        for mut dial in self.ownership.dial(now, sending.instance(), begun) {
            if let Action::Dial { connection, link, hello, .. } = &mut dial {
                self.known[*connection] = head;
                // whoever is there was started for this session, and is to lose no time
                if let Some(receiving) = self.receiving.as_ref().filter(|_| self.lifeline == Some(*link)) {
                    let welcome = receiving.welcome(hello.buffer);
                    hello.options = vec![HelloOption::welcome(&welcome)];
                }
            }
            self.actions.push_back(dial);
        }
    }

    /// A hello that was given with an order to dial, as it would be given now: whoever got the order may have waited.
    pub fn renewed(&self, hello: Hello) -> Hello {
        let instance = self.sending.as_ref().and_then(Outbound::instance);
        self.ownership.renewed(hello, instance, self.view().begun)
    }

    /// Legs, and the end of the stream, to the connections.
    fn send(&mut self, now: Instant) {
        let going = self.is_going(Way::Out);
        let Some(sending) = self.sending.as_mut().filter(|_| going) else { return };
        if let Some((sequence, connection)) = sending.rescue(now) {
            self.actions.push_back(Action::Tell(Event::Rescued { sequence, connection }));
        }
        sending.assign(now, self.acknowledging.riding(), |connection, leg| {
            if leg.len() <= SMALL_LEG {
                self.acknowledging.ride(connection);
            }
            self.post.leg(connection, leg);
        });
        if let Some((fin, connections)) = sending.take_fin() {
            connections.iter().for_each(|connection| self.say(now, connection, Frame::Fin(fin)));
        }
    }

    fn acknowledge(&mut self, now: Instant) {
        let Some(receiving) = self.receiving.as_ref().filter(|_| !self.is_done(Way::In)) else { return };
        let holds = receiving.receiver().is_some_and(|receiver| receiver.held_bytes() > 0);
        // the sender waits for an output that closes as for one that takes no leg
        let holds = holds || receiving.is_closing() || !receiving.decoding().is_empty();
        self.acknowledging.note_held(now, holds);
        for (connection, ack) in self.acknowledging.take_due(now, receiving.position(), self.blocked) {
            self.say(now, connection, Frame::Ack(ack));
        }
    }

    /// A frame for the peer, on this connection. If too many complaints wait there already, the connection is given up.
    pub(super) fn say(&mut self, now: Instant, connection: usize, frame: Frame) {
        if self.post.frame(connection, frame).is_err() {
            self.give_up(now, connection, LossReason::TakesNoComplaints);
        }
    }
}
