//! How a sending session ends: with the receiver's verdict, or given up; and what is said while it waits.
//!
//! Nothing is given up while a connection is up, nor by a borrower of connections ever. Without one the reasons are,
//! in this order: every link refused for good (before anything was received, one is enough if no other is still hoped
//! for); no name has an address; all refuse for a while in mid-session, so that the receiver is gone; patience is over.

use super::super::event::Event;
use super::super::links::REFUSED_MAX;
use super::super::outcome::{Outcome, Status};
use super::super::waiting::{PATIENCE_BEFORE, PATIENCE_BEGUN};
use super::super::wire::{Fin, Frame, Verdict};
use super::{Action, Transmission};
use std::time::Instant;

impl Transmission {
    /// The stream's end to every connection that has not heard of it.
    pub(super) fn tell_fin(&mut self) {
        let Some(fin) = self.fin() else { return };
        for worker in 0..self.lines.len() {
            if self.links.link_of(worker).is_some() && !self.lines[worker].fin_told {
                self.lines[worker].fin_told = true;
                self.actions.push_back(Action::Tell(worker, Frame::Fin(fin)));
            }
        }
    }

    fn fin(&self) -> Option<Fin> {
        self.sender.fin(self.settings.checked)
    }

    /// The receiver's last word. It ends the session, and must fit what was sent.
    pub(super) fn judged(&mut self, now: Instant, verdict: Verdict) {
        let ending = match (verdict.status, self.fin()) {
            (Status::Complete, Some(fin)) if fin.bytes == verdict.bytes && fin.crc == verdict.crc => {
                Outcome::there(Status::Complete, "")
            }
            (Status::Complete, Some(fin)) => {
                let why = format!("the receiver confirms {} bytes of {}", verdict.bytes, fin.bytes);
                Outcome::here(Status::Corrupt, why)
            }
            (Status::Complete, None) => {
                Outcome::here(Status::Incomplete, "the receiver confirms a stream that has not ended")
            }
            (code, _) => Outcome::there(code, verdict.sentence),
        };
        self.settle(now, ending);
    }

    pub(super) fn end(&mut self, ending: Outcome, last_word: Option<Frame>) {
        if self.ending.is_some() {
            return;
        }
        for worker in 0..self.lines.len() {
            if let (Some(frame), Some(_)) = (&last_word, self.links.link_of(worker)) {
                self.actions.push_back(Action::Tell(worker, frame.clone()));
            }
        }
        self.ending = Some(ending.clone());
        self.actions.push_back(Action::End(ending));
    }

    // ---- giving up ------------------------------------------------------------------------------------

    /// The reason to end now, if there is one.
    pub(super) fn given_up(&self, now: Instant) -> Option<Outcome> {
        let begun = self.begun();
        if self.links.connections() > 0 || self.borrows() {
            return None;
        }
        if let Some((link, _, sentence)) = self.links.all_bad() {
            return Some(self.unwanted(link, sentence));
        }
        if let Some((link, _, sentence)) = self.links.first_bad()
            && !begun
            && !self.links.hopeful()
        {
            return Some(self.unwanted(link, sentence));
        }
        if !begun && self.links.all_unresolved() {
            return Some(Outcome::here(Status::Incomplete, self.troubles()));
        }
        if self.refused_until().is_some_and(|at| at <= now) {
            let why = format!("the receiver is gone: {}", self.troubles());
            return Some(self.with_doubt(why));
        }
        let over = self.patience_ends().is_some_and(|at| at <= now);
        let waited = self.alone.map_or(0, |at| now.saturating_duration_since(at).as_secs());
        over.then(|| self.with_doubt(format!("no connection for {waited} s: {}", self.troubles())))
    }

    fn unwanted(&self, link: usize, sentence: &str) -> Outcome {
        // once it has begun, being refused is only how the receiver's loss shows
        let status = if self.begun() { Status::Incomplete } else { Status::Refused };
        self.ended_without(Outcome::here(
            status,
            format!("{}: refused: {sentence}", self.settings.links[link]),
        ))
    }

    /// If only the verdict is missing, the truth is that nobody here knows.
    fn with_doubt(&self, why: String) -> Outcome {
        self.ended_without(Outcome::here(Status::Incomplete, why))
    }

    fn ended_without(&self, mut ending: Outcome) -> Outcome {
        if self.awaits_verdict() && self.begun() && !self.settled {
            ending.status = Status::Incomplete;
            ending.sentence += "; every byte arrived there, but whether the output took them is not known";
        }
        ending
    }

    /// What is wrong with each link, in order.
    fn troubles(&self) -> String {
        let each = self.settings.links.iter().enumerate().map(|(index, name)| {
            let trouble = self.links.trouble(index);
            format!("{name}: {}", if trouble.is_empty() { "no answer yet" } else { trouble })
        });
        each.collect::<Vec<_>>().join("; ")
    }

    /// When refusals on every link are believed. Before patience is over only if the user gave none, and the
    /// session has begun.
    pub(super) fn refused_until(&self) -> Option<Instant> {
        let early = self.begun() && self.settings.patience.is_none() && !self.borrows();
        self.links.refused_since().filter(|_| early).map(|at| at + REFUSED_MAX)
    }

    pub(super) fn patience_ends(&self) -> Option<Instant> {
        let default = if self.begun() { PATIENCE_BEGUN } else { PATIENCE_BEFORE };
        let patience = self.settings.patience.unwrap_or(default);
        let waits = self.links.connections() == 0 && !self.borrows();
        patience.ends(self.alone.filter(|_| waits)?)
    }

    /// Tells the user that nothing works, if that is due.
    pub(super) fn remind(&mut self, now: Instant) {
        if !self.reminder.is_due(now) || self.links.connections() > 0 {
            return;
        }
        let ends = self.patience_ends().into_iter().chain(self.refused_until()).min();
        let left = self.reminder.tell(now, ends);
        let troubles = (0..self.settings.links.len()).map(|link| self.links.trouble(link).to_owned());
        let troubles = troubles.collect();
        self.actions.push_back(Action::Say(Event::Waiting { troubles, left }));
    }
}
