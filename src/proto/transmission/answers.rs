//! What the receiver answers on one connection, and what that says about it.

use super::super::event::Event;
use super::super::outcome::{Outcome, Status};
use super::super::sender::Breach;
use super::super::wire::{Ack, Frame};
use super::{Action, PING, Transmission};
use std::time::{Duration, Instant};

impl Transmission {
    pub(super) fn acked(&mut self, now: Instant, worker: usize, ack: &Ack) -> Result<(), Breach> {
        let (.., before) = self.sender.bytes();
        let progress = self.sender.ack(now, worker, ack)?;
        let (.., after) = self.sender.bytes();
        if after > before {
            self.taken.add(now, after - before);
        }
        self.blocked_at_peer = Duration::from_millis(ack.blocked_ms.into());
        if progress.moved {
            self.progress(now, worker);
        }
        if progress.bytes > 0 {
            self.meter.add(now, progress.bytes);
            if let Some(rate) = self.meter.rate(now) {
                self.leg_size.follow(now, rate, self.sender.busy());
            }
        }
        Ok(())
    }

    pub(super) fn nacked(&mut self, now: Instant, worker: usize, sequence: u64) -> Result<(), Breach> {
        if !self.sender.nack(worker, sequence)? {
            let why = format!("leg {sequence} arrived damaged again and again; the path corrupts data");
            self.fail(now, Outcome::here(Status::Corrupt, why));
        }
        Ok(())
    }

    pub(super) fn ponged(&mut self, now: Instant, worker: usize, token: u64) -> Result<(), Breach> {
        if let Some((_, sent)) = self.lines[worker].ping.take_if(|(expected, _)| *expected == token) {
            self.sender.round_trip(worker, now.saturating_duration_since(sent));
            self.progress(now, worker);
            self.answered(worker, token);
        }
        Ok(())
    }

    /// The connection works: in both directions, up to the receiver's core.
    pub(super) fn progress(&mut self, _now: Instant, worker: usize) {
        self.lines[worker].progressed = true;
        self.alone = None;
        if self.reminder.over() {
            let begun = self.begun();
            self.actions.push_back(Action::Say(Event::WorksAgain { begun }));
        }
    }

    pub(super) fn ping(&mut self, now: Instant, worker: usize) {
        let line = &mut self.lines[worker];
        line.ping_at = Some(now + PING);
        if line.ping.is_none() {
            self.pings += 1;
            line.ping = Some((self.pings, now));
            self.actions.push_back(Action::Tell(worker, Frame::Ping { token: self.pings }));
        }
    }
}
