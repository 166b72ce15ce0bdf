//! What a session does about a peer that brings nothing forward; see [`Stalls`](super::stall::Stalls).

use super::super::waiting::{PATIENCE_BEFORE, PATIENCE_BEGUN, PROGRAM_STALLS, Patience};
use super::super::way::{PerWay, Way};
use super::Session;
use super::stall::Mark;
use super::why::Why;
use std::time::{Duration, Instant};

impl Session {
    /// Takes note of how far the streams are. After a sign of life, ends the session if that was owed for too long.
    pub(super) fn watch_progress(&mut self, now: Instant) {
        let came = self.mark_in();
        let went = self.mark_out();
        for (way, (mark, owed)) in [(Way::In, came), (Way::Out, went)] {
            self.stalls.ways[way].note(now, mark, owed);
        }
        if !std::mem::take(&mut self.stalls.lively) || self.is_over() {
            return;
        }
        let default = if self.view().begun { PATIENCE_BEGUN } else { PATIENCE_BEFORE };
        let patience = self.ownership.patience().unwrap_or(default);
        let lasts = PerWay::from_fn(|way| self.stalls.ways[way].lives(now));
        let Patience::For(patience) = patience else { return };
        for way in Way::BOTH {
            // programs of either end may take their time for a leg, and whoever runs one ends it when it stalls
            let programs = if self.goes_through(way) { PROGRAM_STALLS } else { Duration::ZERO };
            let patience = patience + programs;
            if lasts[way] >= patience {
                let waited = patience.as_secs();
                let why = match way {
                    Way::In => Why::SenderStalls { waited },
                    Way::Out if self.view().in_doubt => Why::NoVerdict { waited },
                    Way::Out => Why::ReceiverStalls { waited },
                };
                self.stop(now, &why.outcome());
            }
        }
    }

    /// Whether the legs of this stream go through the user's programs.
    fn goes_through(&self, way: Way) -> bool {
        match way {
            Way::In => self.receiving.as_ref().is_some_and(|receiving| receiving.goes_through()),
            Way::Out => self.sending.as_ref().is_some_and(|sending| sending.through),
        }
    }

    /// How far the stream is that goes out. Its receiver owes progress while there is anything that it has not received,
    /// and its verdict at the end.
    fn mark_out(&self) -> (Mark, bool) {
        let Some(sending) = self.sending.as_ref().filter(|_| self.is_going(Way::Out)) else {
            return Default::default();
        };
        let sender = sending.sender();
        let progress = sender.progress();
        let missing = progress.delivered + sender.backlog().bytes < progress.pushed;
        let mark = [progress.sent, progress.delivered, sender.head(), sending.received()];
        (mark, missing || sender.has_ended())
    }

    /// How far the stream is that comes in, and whether its sender owes legs: those missing before legs that are here, or
    /// before the stream's end.
    fn mark_in(&self) -> (Mark, bool) {
        let receiver = self.receiving.as_ref().filter(|_| self.is_going(Way::In));
        let Some(receiver) = receiver.and_then(|receiving| receiving.receiver()) else {
            return Default::default();
        };
        let mark = [receiver.next(), receiver.ahead().legs, receiver.delivered_bytes(), 0];
        let missing = receiver.announced().is_some_and(|fin| receiver.next() < fin.legs);
        (mark, (missing || receiver.ahead().legs > 0) && self.blocked.is_zero())
    }
}
