//! How streams end, and what that means to each other and to the session.
//!
//! A stream is judged by its verdict, good or bad. The other stream over the same connections goes on.
//!
//! A stream that was judged is over once the peer has its last word, or does not want it. The last word on an incoming
//! stream is the verdict. The last word on an outgoing stream is the bye, at the end that dials: a peer without the bye
//! would wait for a connection that nobody dials any more.
//!
//! Everything else that ends a stream (an abort, a signal, an input that failed, a peer that is gone) ends the session.
//!
//! Where all of a stream was received and only the verdict is missing, the end that sends dials again. What happens then:
//!
//! ```text
//!  a connection is welcomed, and the verdict is said again    that counts (`meeting`)
//!  a connection is welcomed, and no verdict comes             Why::NoVerdict after `patience` (`progress`)
//!  every link refuses for good                                Why::Refused at once (`dialler`, as all that follows)
//!  every link refuses to connect, or no link is left where
//!    the lifeline has ended                                   Why::ReceiverGone after 15 s, with keys 5 minutes
//!  no link answers, or each refuses for now                   Why::NoConnection after `patience`
//! ```
//!
//! If the user has set `patience`, links that refuse to connect count as ones that do not answer. Of the last three the
//! stream that goes out is judged as Why::InDoubt, with status 1.

use super::super::outcome::{Outcome, Status};
use super::super::set::ConnectionSet;
use super::super::waiting::{PARTING, linger};
use super::super::way::Way;
use super::super::wire::{Abort, Frame, Verdict};
use super::course::{Course, Move};
use super::last_word::LastWord;
use super::why::Why;
use super::{Action, Farewell, Inbound, Session};
use std::time::{Duration, Instant};

impl Session {
    /// How a stream was judged, if it was.
    pub fn outcome(&self, way: Way) -> Option<&Outcome> {
        self.courses[way].as_ref().and_then(Course::outcome)
    }

    /// Whether every stream is done with.
    pub fn is_over(&self) -> bool {
        self.courses.iter().flatten().all(|course| matches!(course, Course::Over(_)))
    }

    /// Whether this end has spoken its verdict. From then on, to close a connection in order says that bye was heard.
    pub fn has_spoken(&self) -> bool {
        self.receiving.as_ref().is_some_and(|receiving| receiving.verdict().is_some())
    }

    /// Whom to wait for when the session is over.
    pub fn farewell(&self) -> Farewell {
        let (sent, received) = (self.outcome(Way::Out), self.outcome(Way::In));
        let is_well = |outcome: &Outcome| outcome.by_peer || outcome.is_complete();
        let heard = self.receiving.as_ref().is_some_and(|receiving| receiving.last_word == LastWord::Heard);
        match (sent, received) {
            (None, Some(received)) if heard || received.by_peer => Farewell::Nobody,
            (Some(_), None) if self.dialler_has_parted() => Farewell::Nobody,
            (Some(sent), None) if sent.by_peer => Farewell::First,
            (Some(sent), Some(received)) if is_well(sent) && is_well(received) => Farewell::First,
            _ => Farewell::All,
        }
    }

    /// Whether there is such a stream and it was not judged.
    pub(super) fn is_going(&self, way: Way) -> bool {
        self.courses[way] == Some(Course::Going)
    }

    /// Whether there is no such stream, or nothing left to do for it.
    pub(super) fn is_done(&self, way: Way) -> bool {
        matches!(self.courses[way], None | Some(Course::Over(_)))
    }

    /// Makes a move of a stream's life, if it is legal. The owner hears of its outcome, once.
    fn advance(&mut self, way: Way, step: Move) {
        let Some(course) = &mut self.courses[way] else { return };
        let Some(next) = course.next(step) else { return };
        let was_going = std::mem::replace(course, next) == Course::Going;
        if let Some(outcome) = self.outcome(way).filter(|_| was_going).cloned() {
            self.actions.push_back(Action::Settled(way, outcome));
        }
    }

    // ---- verdicts -------------------------------------------------------------------------------------

    /// The verdict of this end on the stream that comes in.
    pub(super) fn speak_verdict(&mut self, now: Instant, verdict: Verdict) {
        let Some(receiving) = self.receiving.as_mut().filter(|receiving| receiving.verdict().is_none())
        else {
            return;
        };
        let outcome = receiving.judge(now, verdict.clone());
        // what they decode is not wanted any more, and what answers the verdict may be behind it
        self.actions.extend(receiving.decoding().iter().map(Action::Look));
        for connection in self.carrying().iter() {
            self.say(now, connection, Frame::Verdict(verdict.clone()));
        }
        self.judge(now, Way::In, outcome);
    }

    /// The verdict of the peer on the outgoing stream. A peer that repeats it has not heard the bye.
    pub(super) fn hear_verdict(&mut self, now: Instant, connection: usize, verdict: Verdict) {
        let Some(sending) = &self.sending else { return };
        if !self.is_going(Way::Out) {
            return self.say_bye(now, connection);
        }
        let (outcome, connections) = (sending.judge(verdict), sending.attached());
        connections.iter().for_each(|connection| self.say_bye(now, connection));
        let (last, time) = (self.is_done(Way::In), self.parting_time());
        self.ownership.said_bye(now, last.then_some(time));
        // if the peer has not heard the other stream's verdict, the time for that begins anew
        self.receiving.iter_mut().for_each(|receiving| receiving.keep_word(now));
        self.judge(now, Way::Out, outcome);
    }

    fn judge(&mut self, now: Instant, way: Way, outcome: Outcome) {
        let breaks = self.inseparable && self.is_shared() && !outcome.is_complete();
        self.advance(way, Move::Judge(outcome.clone()));
        if breaks {
            self.fail_stream(now, way, outcome);
        }
    }

    fn is_shared(&self) -> bool {
        self.courses.iter().all(Option::is_some)
    }

    // ---- last words -----------------------------------------------------------------------------------

    /// Says bye. A ping follows at the end that dials: the pong proves that the peer has heard the bye, and so does a
    /// connection that it closes in order.
    fn say_bye(&mut self, now: Instant, connection: usize) {
        self.say(now, connection, Frame::Bye);
        let dials = self.ownership.dials();
        if let Some(token) = dials.then(|| self.pulses.say_bye(now, connection)).flatten() {
            self.say(now, connection, Frame::Ping { token });
        }
    }

    /// How long this end keeps dialling to deliver the bye. Where no stream comes back, this end knows all that it will ever
    /// know, and whoever started it waits.
    fn parting_time(&self) -> Duration {
        let linger = linger(self.ownership.patience());
        if self.receiving.is_some() { linger } else { linger.min(PARTING) }
    }

    /// Whether this end dials, and has told its last word to whoever was there to hear it.
    fn dialler_has_parted(&self) -> bool {
        self.ownership.dials() && self.ownership.has_parted(self.stepped)
    }

    /// The peer has heard bye.
    pub(super) fn bye_has_arrived(&mut self) {
        self.ownership.bye_has_arrived();
    }

    /// Streams that were judged and whose last words are done with are over.
    pub(super) fn finish_streams(&mut self, now: Instant) {
        if !self.courses.iter().flatten().any(|course| matches!(course, Course::Judged(_))) {
            return;
        }
        let out_goes = self.is_going(Way::Out);
        if let Some(receiving) = &self.receiving {
            // while the other stream goes on, a new connection may bring a peer that has not heard the last word
            let word = receiving.last_word;
            if word == LastWord::Heard || (word.has_lapsed(now) && !out_goes) {
                self.advance(Way::In, Move::Finish);
            }
        }
        let (in_done, time) = (self.is_done(Way::In), self.parting_time());
        if in_done && self.ownership.is_parting() {
            self.ownership.said_bye(now, Some(time));
        }
        if (in_done || !self.ownership.dials()) && self.ownership.has_parted(now) {
            self.advance(Way::Out, Move::Finish);
        }
    }

    // ---- failures -------------------------------------------------------------------------------------

    /// A stream fails in another way than by a verdict, or is no use without the other: the session ends, and the peer
    /// is told why, if need be a little later.
    pub(super) fn fail_stream(&mut self, now: Instant, way: Way, outcome: Outcome) {
        if !self.defers(now, Some(way), &outcome) {
            self.break_stream(now, way, outcome);
        }
    }

    /// As [`Session::fail_stream`], at once.
    pub(super) fn break_stream(&mut self, now: Instant, way: Way, outcome: Outcome) {
        self.abort(now, &outcome);
        self.advance(way, Move::Fail(outcome.clone()));
        self.end_both(&Outcome::here(Status::Incomplete, outcome.sentence));
    }

    /// The session ends, and the peer is told why.
    pub(super) fn stop(&mut self, now: Instant, outcome: &Outcome) {
        self.abort(now, outcome);
        self.end_both(outcome);
    }

    /// As [`Session::stop`], where the peer does not answer any more. With `in_doubt`, only the verdict on the stream that
    /// goes out is missing: nobody here knows how that one went. It says nothing about the other stream.
    pub(super) fn stop_alone(&mut self, now: Instant, outcome: &Outcome, in_doubt: bool) {
        self.abort(now, outcome);
        if in_doubt {
            let why = Why::InDoubt { why: outcome.sentence.clone() };
            self.advance(Way::Out, Move::Fail(why.outcome()));
        }
        self.end_both(outcome);
    }

    /// Every stream that was not judged ends with this outcome.
    pub(super) fn end_both(&mut self, outcome: &Outcome) {
        for way in [Way::Out, Way::In] {
            self.advance(way, Move::Fail(outcome.clone()));
        }
    }

    fn abort(&mut self, now: Instant, outcome: &Outcome) {
        if self.is_over() {
            return;
        }
        // an abort takes the place of a verdict that was not written yet, and so says the same
        let spoken = self.receiving.as_ref().filter(|_| !self.is_shared()).and_then(Inbound::verdict);
        let failed = spoken.filter(|verdict| verdict.status != Status::Complete);
        let (status, sentence) =
            failed.map_or((outcome.status, &outcome.sentence), |verdict| (verdict.status, &verdict.sentence));
        let abort = Abort { status, sentence: sentence.clone() };
        for connection in self.carrying().iter() {
            self.say(now, connection, Frame::Abort(abort.clone()));
        }
    }

    /// Connections that carry a stream, either way.
    pub(super) fn carrying(&self) -> ConnectionSet {
        let sending = self.sending.as_ref().map(|sending| sending.attached()).unwrap_or_default();
        sending | self.acknowledging.open_connections()
    }
}
