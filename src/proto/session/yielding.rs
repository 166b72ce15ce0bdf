//! A session of which nothing has come gives way to another one, and leaves no trace.

use super::super::hello::Hello;
use super::super::leg::CONNECTIONS_MAX;
use super::super::links::LossReason;
use super::super::peer_key::PeerKey;
use super::stall::Stalls;
use super::{Action, Losses, Session};
use std::time::Instant;

impl Session {
    /// The session that is served is forgotten, if this hello, which was screened, begins another one.
    pub(super) fn give_way(&mut self, now: Instant, hello: &Hello, key: Option<PeerKey>) {
        if !self.ownership.yields(hello, key) {
            return;
        }
        for connection in 0..CONNECTIONS_MAX {
            if self.link_of(connection).is_none() {
                continue;
            }
            self.forget(now, connection, &LossReason::Left);
            // the one of the same number is replaced, and goes without a word
            if connection != usize::from(hello.connection) {
                self.actions.push_back(Action::Drop(connection, LossReason::Left));
            }
        }
        self.ownership.forget();
        self.undo(now);
    }

    /// What a session that was forgotten has decided.
    ///
    /// The stream that goes out keeps its legs: the far end may have got some, and their acks were lost. If it comes
    /// back, it goes on where it is. Another far end starts at the beginning, see [`super::Outbound::attach`], and may have
    /// another key.
    pub(super) fn undo(&mut self, now: Instant) {
        self.receiving.iter_mut().for_each(|receiving| receiving.forget());
        self.sending.iter_mut().for_each(|sending| sending.forget_key());
        self.stalls = Stalls::new(now);
        (self.losses, self.again) = (Losses::default(), 0);
    }
}
