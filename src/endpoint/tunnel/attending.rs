//! What the polls say of the local sockets: by whom it is attended to.
//!
//! Usually by the thread that has the poll ([`Poller`](super::poller::Poller)). While another one writes to the local sockets,
//! by that one ([`Handover`](super::handover::Handover)).

use super::handover::Seen;
use super::local::Local;
use super::shared::Tunnel;
use crate::endpoint::Lookout;
use mio::{Events, Registry, Token};
use std::time::Instant;

impl Tunnel {
    /// What the poll of the local sockets says, to the thread that has the poll.
    pub(super) fn heed(&self, events: &Events, until: &mut Option<Instant>) {
        let left = !events.is_empty() && self.handover.leave(events.iter().map(Seen::from));
        if !left {
            *until = self.attend(events.iter().map(Seen::from));
        }
    }

    /// What the poll says of the local sockets. When it is to be attended to, if nothing happens before.
    fn attend(&self, seen: impl Iterator<Item = Seen>) -> Option<Instant> {
        let now = Instant::now();
        let deadline = self.with(|local| {
            seen.for_each(|seen| local.event(now, seen));
            local.tick(now);
            local.deadline()
        });
        deadline.flatten()
    }

    /// [`Tunnel::with`] for the stream's sink, which writes to the local sockets: what the poll says of them meanwhile is
    /// attended to by this thread afterwards.
    pub(super) fn write_with<R>(&self, write: impl FnOnce(&mut Local) -> R) -> Option<R> {
        self.handover.begin();
        let wrote = self.with(write);
        let left = self.handover.end();
        if !left.is_empty() && self.attend(left.into_iter()).is_some() {
            // the poll does not know of this time
            self.with(|local| local.wake());
        }
        wrote
    }
}

impl Lookout for Tunnel {
    fn borrow(&self, registry: &Registry, token: Token) -> Option<u64> {
        // a poll that cannot be borrowed stays with its thread
        self.poller.get()?.borrow(registry, token).ok()
    }

    fn look(&self, loan: u64) -> Option<bool> {
        self.poller.get()?.look(loan, |events, until| self.heed(events, until))
    }

    fn give_back(&self, loan: u64, registry: &Registry) {
        self.poller.get().into_iter().for_each(|poller| poller.give_back(loan, registry));
    }
}
