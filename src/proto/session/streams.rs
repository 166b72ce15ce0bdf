//! How a stream ends, and what that means to the other one and to the session.
//!
//! Two streams over the same connections do not end by themselves. A stream that was judged may still keep its
//! connections for the other; one that is done with releases the other; one that fails in any way but by a verdict
//! ends both, because the connections are gone or the peer is.

use super::super::outcome::{Outcome, Status};
use super::super::way::Way;
use super::{Action, Farewell, Session};
use std::time::Instant;

impl Session {
    /// How a stream was judged, if it was.
    pub fn outcome(&self, way: Way) -> Option<&Outcome> {
        self.outcomes[way as usize].as_ref()
    }

    /// Whether every stream is done with.
    pub fn is_over(&self) -> bool {
        self.over == [true; 2]
    }

    /// Whom to wait for when it is over.
    pub fn farewell(&self) -> Farewell {
        let told_by_peer = |ending: &Outcome| ending.by_peer;
        let complete = |ending: &Outcome| ending.by_peer || ending.status == Status::Complete;
        match (&self.sending, &self.receiving) {
            (None, Some(receiving)) if receiving.is_dismissed() => Farewell::Nobody,
            (Some(_), None) if self.outcome(Way::Out).is_some_and(told_by_peer) => Farewell::First,
            (Some(_), Some(_)) if self.outcomes.iter().flatten().all(complete) => Farewell::First,
            _ => Farewell::All,
        }
    }

    fn is_shared(&self) -> bool {
        self.sending.is_some() && self.receiving.is_some()
    }

    /// What one stream has seen counts for the other: only this peer can finish the session.
    pub(super) fn share(&mut self) {
        let (Some(sending), Some(receiving)) = (&mut self.sending, &mut self.receiving) else { return };
        match self.dials {
            true if receiving.has_begun() => sending.other_begun(),
            false if sending.begun() => receiving.other_begun(),
            _ => {}
        }
    }

    /// The stream was judged; its connections may still be wanted.
    pub(super) fn settled(&mut self, now: Instant, way: Way, ending: Outcome) {
        self.outcomes[way as usize] = Some(ending.clone());
        self.actions.push_back(Action::Settled(way, ending.clone()));
        if way == Way::Out
            && let Some(receiving) = &mut self.receiving
        {
            receiving.other_settled(now);
        }
        if self.inseparable && ending.status != Status::Complete {
            self.stop_both(now, &ending);
        }
    }

    /// Nothing is left to do for this stream.
    pub(super) fn ended(&mut self, now: Instant, way: Way, ending: Outcome) {
        self.over[way as usize] = true;
        if self.outcomes[way as usize].is_none() {
            self.outcomes[way as usize] = Some(ending.clone());
            self.actions.push_back(Action::Settled(way, ending.clone()));
        }
        if self.is_shared() {
            match ending.status {
                Status::Complete => self.release(now, way.other()),
                _ => self.stop_both(now, &ending),
            }
        }
        if self.is_over() {
            self.actions.push_back(Action::Over);
        }
    }

    /// The other stream keeps no connection for this one any more.
    fn release(&mut self, now: Instant, way: Way) {
        match way {
            Way::In => self.receiving.iter_mut().for_each(|receiving| receiving.release()),
            Way::Out => self.sending.iter_mut().for_each(|sending| sending.release(now)),
        }
    }

    fn stop_both(&mut self, now: Instant, because: &Outcome) {
        let ending = Outcome::here(Status::Incomplete, because.sentence.clone());
        if let Some(sending) = &mut self.sending {
            sending.fail(now, ending.clone());
        }
        if let Some(receiving) = &mut self.receiving {
            receiving.fail(ending);
        }
    }
}
