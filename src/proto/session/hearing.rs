//! What comes on a connection: legs and frames.

use super::super::breach::Breach;
use super::super::leg::{Leg, SMALL_LEG};
use super::super::links::LossReason;
use super::super::outcome::Outcome;
use super::super::sched::UNRATED_MAX;
use super::super::way::Way;
use super::super::wire::{Abort, Frame, LegHeader};
use super::why::Why;
use super::{Action, Landing, Session};
use std::time::Instant;

impl Session {
    /// A leg is coming. Says where its bytes are to go.
    ///
    /// # Errors
    /// The peer may not send it; the connection is to be closed.
    pub fn landing(&self, connection: usize, header: &LegHeader) -> Result<Landing, LossReason> {
        let landing = match &self.receiving {
            None => Err(Breach::ToTheSender),
            Some(_) if !self.acknowledging.is_open(connection) => Err(Breach::NotWelcome),
            Some(_) if self.is_done(Way::In) => Ok(Landing::Scratch),
            // nothing would take it, and many may wait
            Some(_) if self.ownership.sender_waits() => Err(Breach::NotItsTurn),
            Some(receiving) => receiving.landing(header),
        };
        landing.map_err(LossReason::Breach)
    }

    /// A leg has come whole. If legs are checked, its CRC-32 was right.
    pub fn leg(&mut self, now: Instant, connection: usize, leg: Leg) {
        let (small, answers) = (leg.len() <= SMALL_LEG, self.is_going(Way::Out));
        self.note_coming(now, leg.len());
        let is_done = self.is_done(Way::In);
        let mut alone = false;
        if let Some(receiving) = self.receiving.as_mut().filter(|_| !is_done) {
            let heard = receiving.leg(connection, leg);
            alone =
                small && answers && receiving.receiver().is_some_and(|receiver| receiver.ahead().legs == 0);
            match heard {
                Ok(()) => {
                    self.actions.extend(std::iter::from_fn(|| receiving.next_ready()).map(Action::Deliver));
                    self.acknowledging.news(now);
                    self.works(connection);
                }
                Err(breach) => self.give_up(now, connection, LossReason::Breach(breach)),
            }
        } else {
            self.post.free(leg.payload);
        }
        match alone {
            true => self.acknowledging.took_alone(now, connection),
            false => self.acknowledging.took(now, connection),
        }
        self.step(now);
    }

    /// A leg is coming, and the output could take its bytes as they arrive. Whether it may; from then on it counts as having
    /// begun with it, and `delivered` is not told of it unless it comes by `leg` after all.
    pub fn begin_head(&mut self, connection: usize, header: &LegHeader) -> bool {
        let hears = self.acknowledging.is_open(connection) && !self.is_done(Way::In);
        self.receiving.as_mut().filter(|_| hears).is_some_and(|receiving| receiving.begin_head(header))
    }

    /// The output has taken no byte of the leg that it was to begin with. So nothing has begun: what a peer announces, and
    /// does not send, makes no session.
    pub fn leave_head(&mut self, header: &LegHeader) {
        self.receiving.iter_mut().for_each(|receiving| receiving.leave_head(header));
    }

    /// A leg has come whole of which the output has taken all bytes as they arrived. False if another copy of it was whole
    /// before: the output is given that one, or has it.
    pub fn head_through(&mut self, now: Instant, connection: usize, header: &LegHeader) -> bool {
        self.note_coming(now, header.raw.into());
        let is_done = self.is_done(Way::In);
        let mut through = false;
        if let Some(receiving) = self.receiving.as_mut().filter(|_| !is_done) {
            match receiving.head_through(connection, header) {
                Ok(first) => {
                    through = first;
                    self.actions.extend(std::iter::from_fn(|| receiving.next_ready()).map(Action::Deliver));
                    self.acknowledging.news(now);
                    self.works(connection);
                }
                Err(breach) => self.give_up(now, connection, LossReason::Breach(breach)),
            }
        }
        self.acknowledging.took(now, connection);
        if through {
            self.take_delivered(now, 1, header.raw.into());
        }
        self.step(now);
        through
    }

    /// A leg of so many bytes has come. A small one may be a keystroke, after which nothing follows for long.
    fn note_coming(&mut self, now: Instant, bytes: u64) {
        if bytes > UNRATED_MAX {
            self.came = Some(now);
        }
    }

    /// A leg that was here already has come whole, and its bytes were dropped.
    pub fn leg_again(&mut self, now: Instant, connection: usize) {
        self.again += 1;
        self.acknowledging.took(now, connection);
        self.step(now);
    }

    /// A leg has come damaged: its CRC-32 is wrong.
    pub fn leg_damaged(&mut self, now: Instant, connection: usize, sequence: u64) {
        self.again += 1;
        if !self.is_done(Way::In) {
            self.say(now, connection, Frame::Nack { sequence });
            self.acknowledging.took(now, connection);
        }
        self.step(now);
    }

    /// A frame other than a leg has come, and right behind it a leg, whole.
    pub fn frame_and_leg(&mut self, now: Instant, connection: usize, frame: Frame, leg: Leg) {
        self.hear(now, connection, frame);
        // the connection may have been given up for the frame
        if self.acknowledging.is_open(connection) {
            self.leg(now, connection, leg);
        } else {
            self.post.free(leg.payload);
            self.step(now);
        }
    }

    /// A frame other than a leg has come.
    pub fn frame(&mut self, now: Instant, connection: usize, frame: Frame) {
        self.hear(now, connection, frame);
        self.step(now);
    }

    fn hear(&mut self, now: Instant, connection: usize, frame: Frame) {
        let heard = match frame {
            Frame::Ack(_) | Frame::Nack { .. } | Frame::Pong { .. } | Frame::Verdict(_) | Frame::Enough => {
                self.hear_receiver(now, connection, frame)
            }
            Frame::Leg(_) | Frame::Fin(_) | Frame::Ping { .. } | Frame::Bye => {
                self.hear_sender(now, connection, frame)
            }
            Frame::Abort(abort) => {
                self.aborted(abort);
                Ok(())
            }
        };
        match heard {
            Ok(()) => {
                self.ownership.spoke(now, connection);
                self.stalls.lively = true;
            }
            Err(breach) => self.give_up(now, connection, LossReason::Breach(breach)),
        }
    }

    /// What a receiver says.
    fn hear_receiver(&mut self, now: Instant, connection: usize, frame: Frame) -> Result<(), Breach> {
        let is_done = self.is_done(Way::Out);
        let Some(sending) = &mut self.sending else { return Err(Breach::ToTheReceiver) };
        let is_up = sending.link_of(connection).is_some();
        match frame {
            // this end had the verdict, said bye and was done; the bye was lost
            Frame::Verdict(_) if is_done => self.say(now, connection, Frame::Bye),
            Frame::Verdict(verdict) if is_up => self.hear_verdict(now, connection, verdict),
            Frame::Ack(ack) if is_up && !is_done => {
                let before = sending.received();
                let in_flight = sending.sender().bytes_in_flight(connection);
                let moved = sending.acked(now, connection, &ack)?;
                let left = sending.sender().bytes_in_flight(connection);
                self.stalls.counted[connection] += in_flight.saturating_sub(left);
                self.ownership.moved(now, connection, sending.received() - before);
                if ack.blocked_ms > 0 {
                    self.stalls.excuse(now);
                }
                let answered = sending.sender().answered(connection);
                answered.into_iter().for_each(|sent| self.note_answer(now, connection, sent, false));
                if moved {
                    self.works(connection);
                }
            }
            Frame::Nack { sequence } if is_up && !is_done => {
                let bearable = sending.nacked(connection, sequence)?;
                if !bearable {
                    self.fail_stream(now, Way::Out, Why::Damaged { sequence }.outcome());
                }
            }
            Frame::Pong { token } if is_up && !is_done => self.hear_pong(now, connection, token),
            Frame::Enough if is_up && !is_done => {
                self.actions.extend(sending.cease()?.then_some(Action::Cease));
            }
            // of a connection that carries nothing of the stream, or of a stream that is done with
            Frame::Ack(_) | Frame::Nack { .. } | Frame::Pong { .. } | Frame::Verdict(_) | Frame::Enough => {}
            // not of a receiver: `hear` sends these elsewhere
            Frame::Leg(_) | Frame::Fin(_) | Frame::Ping { .. } | Frame::Bye | Frame::Abort(_) => {}
        }
        Ok(())
    }

    fn hear_pong(&mut self, now: Instant, connection: usize, token: u64) {
        let Some(answer) = self.pulses.answered(now, connection, token) else { return };
        if let Some(sending) = &mut self.sending {
            sending.round_trip(connection, answer.rtt);
        }
        self.note_answer(now, connection, answer.asked, false);
        self.works(connection);
        if answer.heard_bye {
            self.bye_has_arrived();
        }
    }

    /// What a sender says.
    fn hear_sender(&mut self, now: Instant, connection: usize, frame: Frame) -> Result<(), Breach> {
        let is_done = self.is_done(Way::In);
        let Some(receiving) = &mut self.receiving else { return Err(Breach::ToTheSender) };
        if !self.acknowledging.is_open(connection) {
            return Err(Breach::NotWelcome);
        }
        match frame {
            Frame::Ping { token } => self.say(now, connection, Frame::Pong { token }),
            Frame::Fin(fin) if !is_done => {
                receiving.fin(fin)?;
                self.works(connection);
            }
            Frame::Bye => receiving.heard_bye(),
            // of a stream that is done with
            Frame::Fin(_) => {}
            // its payload follows, and all of it comes by `leg`
            Frame::Leg(_) => {}
            // not of a sender: `hear` sends these elsewhere
            Frame::Ack(_) | Frame::Nack { .. } | Frame::Pong { .. } | Frame::Verdict(_) => {}
            Frame::Enough | Frame::Abort(_) => {}
        }
        Ok(())
    }

    /// The kernel of the peer took so many bytes on a connection, the last of them at that time.
    pub(super) fn taken(&mut self, connection: usize, at: Instant, bytes: u64) {
        self.ownership.taken(connection, at, bytes);
        let whole = std::mem::take(&mut self.stalls.counted[connection]);
        if let Some(sending) = &self.sending {
            let under_way = sending.sender().bytes_under_way();
            self.stalls.ways.outgoing.partly(at, bytes.saturating_sub(whole), under_way);
        }
    }

    /// So many bytes more have come on a connection of a leg that is wanted and not whole.
    pub fn coming(&mut self, now: Instant, connection: usize, bytes: u64) {
        let open = self.acknowledging.open_connections();
        if let Some(receiving) = self.receiving.as_ref().filter(|_| open.contains(connection)) {
            // each connection has one at a time
            let under_way = open.len() as u64 * receiving.leg_max() as u64;
            self.stalls.ways.incoming.partly(now, bytes, under_way);
            // no message can come before the leg is whole
            self.ownership.spoke(now, connection);
        }
    }

    /// The peer is heard on a connection that is up, and yet its kernel has taken nothing since then of what was sent to it
    /// again and again: on its way there is something that swallows large segments.
    pub fn stuck(&mut self, now: Instant, connection: usize, since: Instant) {
        if self.ownership.stuck(now, connection, since) {
            self.give_up(now, connection, LossReason::Swallows);
        }
        self.step(now);
    }

    /// The peer gives up, and says why.
    fn aborted(&mut self, abort: Abort) {
        if let Some(receiving) = &mut self.receiving {
            receiving.heard_bye();
        }
        self.end_both(&Outcome::there(abort.status, abort.sentence));
    }

    /// There was progress: a part of a stream got through.
    fn works(&mut self, connection: usize) {
        let begun = self.view().begun;
        self.ownership.works(connection, begun);
    }
}
