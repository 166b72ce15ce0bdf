//! What is different where the session's other stream goes over the same connections; see
//! [`sharing`](super::super::sharing).

use super::super::outcome::{Outcome, Status};
use super::super::sharing::Sharing;
use super::super::waiting::linger;
use super::super::wire::{Frame, Verdict};
use super::{Action, Reception, Slot};
use std::time::Instant;

impl Reception {
    /// A borrower is given a connection that is up, with the place that the owner has for it.
    pub fn given(&mut self, now: Instant, connection: usize, link: u8) {
        let Some(session) = &mut self.session else { return };
        session.slots[connection] = Slot { up: true, link, ..Slot::default() };
        if let Some(verdict) = &session.verdict {
            self.actions.push_back(Action::Tell(connection, Frame::Verdict(verdict.clone())));
        }
        self.step(now);
    }

    /// The stream that goes the other way has begun: only this peer can finish the session.
    pub fn other_begun(&mut self) {
        self.other_begun = true;
    }

    /// The other stream was judged too: from now on the last words alone keep the connections.
    pub fn other_settled(&mut self, now: Instant) {
        self.other_settled = true;
        if self.borrows() && self.verdict().is_some() {
            self.linger_until = Some(now + linger(self.settings.patience));
        }
    }

    /// Whether a borrower's last word still has a way to whoever wants it, because the other stream goes on: then it
    /// is not forgotten, however long nothing works.
    pub(super) fn is_kept(&self) -> bool {
        self.borrows() && !self.other_settled && !self.released
    }

    /// The other direction has ended: no connection is kept for it any more.
    pub fn release(&mut self) {
        self.released = true;
        if self.verdict().is_some() && self.linger_until.is_none() {
            self.conclude();
        }
    }

    /// Whether the stream has been judged, and connections are all that is still kept.
    pub fn is_settled(&self) -> bool {
        self.settings.sharing != Sharing::Sole && self.verdict().is_some()
    }

    /// Whether its connections are given to it.
    pub fn borrows(&self) -> bool {
        self.settings.sharing == Sharing::Borrower
    }

    pub(super) fn verdict(&self) -> Option<Verdict> {
        self.session.as_ref().and_then(|session| session.verdict.clone())
    }

    /// The sender has the verdict, or nobody will come for it any more.
    pub(super) fn conclude(&mut self) {
        let Some(verdict) = self.verdict() else { return };
        match self.settings.sharing {
            Sharing::Sole => self.end(Outcome::here(verdict.status, verdict.sentence), None),
            Sharing::Owner if !self.released => {}
            Sharing::Owner | Sharing::Borrower => self.end(Outcome::here(Status::Complete, ""), None),
        }
    }
}
