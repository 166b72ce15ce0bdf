//! What is different where the session's other stream goes over the same connections; see
//! [`sharing`](super::super::sharing).

use super::super::links::{DialError, LossReason, WorkerState};
use super::super::outcome::Outcome;
use super::super::sharing::Sharing;
use super::super::waiting::linger;
use super::super::wire::Frame;
use super::{Action, Transmission};
use std::time::{Duration, Instant};

/// Every link refusing for so long means that a peer whose stream is over has left.
const GONE: Duration = Duration::from_secs(1);

/// A connection that the far end dials and the owner here has let in; its welcome is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// The far end's worker.
    pub worker: usize,
    /// The far end's link.
    pub link: usize,
    /// The head, not later than when the far end was answered: no welcome may want less.
    pub known: u64,
    /// Whether the far end wants legs and stream checked by CRC-32.
    pub checked: bool,
}

impl Transmission {
    /// A borrower is given a connection: `welcomed` or `lost` follows. It replaces one of the same worker.
    pub fn given(&mut self, now: Instant, given: Given) {
        let Given { worker, link, known, checked } = given;
        if self.links.link_of(worker).is_some() {
            self.lost(now, worker, &LossReason::Closed);
        }
        self.settings.checked = checked;
        self.lines[worker].known = known;
        self.links.give(worker, link);
    }

    /// The stream that comes the other way has begun: only the peer that sends it can finish this session.
    pub fn other_begun(&mut self) {
        self.other_begun = true;
    }

    /// The other direction has ended: no connection is kept for it any more.
    pub fn release(&mut self, now: Instant) {
        self.released = true;
        if self.settled {
            self.part_until = Some(now + linger(self.settings.patience));
        }
        self.step(now);
    }

    /// Whether the stream has been judged, and connections are all that is still kept.
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// The stream was judged.
    pub(super) fn settle(&mut self, now: Instant, ending: Outcome) {
        match self.settings.sharing {
            Sharing::Sole => return self.end(ending, Some(Frame::Bye)),
            Sharing::Owner | Sharing::Borrower => {}
        }
        for worker in 0..self.lines.len() {
            if self.links.link_of(worker).is_some() {
                self.say_bye(now, worker);
            }
        }
        self.settled = true;
        self.actions.push_back(Action::Settle(ending));
        self.part_until = self.released.then(|| now + linger(self.settings.patience));
        self.step(now);
    }

    // ---- the last word --------------------------------------------------------------------------------

    /// Says bye, and asks whether it has come: an answer to that, or the peer's end in order, is the proof.
    pub(super) fn say_bye(&mut self, now: Instant, worker: usize) {
        self.actions.push_back(Action::Tell(worker, Frame::Bye));
        if !self.borrows() {
            self.lines[worker].bye = Some(self.pings);
            self.lines[worker].ping = None;
            self.ping(now, worker);
        }
    }

    /// A ping was answered.
    pub(super) fn answered(&mut self, worker: usize, token: u64) {
        self.parted |= self.lines[worker].bye.is_some_and(|before| token > before);
    }

    /// A connection has ended. A peer that waits for nothing more closes in order.
    pub(super) fn part(&mut self, worker: usize, why: &LossReason) {
        self.parted |= self.lines[worker].bye.is_some() && *why == LossReason::Closed;
    }

    /// Whether nothing is left to do for anyone. An owner leaves when its last word has come: without that the peer
    /// would wait for a connection that nobody dials any more.
    pub(super) fn may_part(&self, now: Instant) -> bool {
        let over = self.parted || self.part_until().is_some_and(|at| at <= now);
        self.settled && (self.borrows() || (self.released && over))
    }

    /// Until when somebody is looked for who has not heard the last word. One refusal may be a connection that broke
    /// before its welcome; nobody is there when every link refuses and goes on refusing.
    pub(super) fn part_until(&self) -> Option<Instant> {
        let gone = self.links.refused_since().map(|at| at + GONE);
        self.part_until.filter(|_| self.released).map(|at| gone.map_or(at, |gone| gone.min(at)))
    }

    /// Whether its connections are given to it.
    pub fn borrows(&self) -> bool {
        self.settings.sharing == Sharing::Borrower
    }

    /// What a borrower hears of a connection that never was up.
    pub(super) fn not_given(&mut self, now: Instant, worker: usize, why: &LossReason) {
        if self.borrows() && matches!(self.links.state(worker), WorkerState::Dialling(_)) {
            self.links.failed(now, worker, &DialError::Unreachable(why.to_string()));
        }
    }
}
