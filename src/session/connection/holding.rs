//! A leg that is to be moved to the sink, and has to wait: the sink takes nothing now, or others write to it.
//!
//! The owner of the connection waits for the sink in its poll, beside everything else, and not for long.

use super::shared::Shared;
use crate::channel::Channel;
use crate::proto::sched::NEAR;
use crate::session::taking::{Held, Taking};
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The token of the sink's pipe.
const SINK: Token = Token(8);

/// How long a leg waits for the sink. Then the rest of the leg is read into memory, since to the peer a socket that is not
/// read looks dead. Most readers of a pipe come back sooner.
const HOLD: Duration = Duration::from_millis(20);

/// What a leg that comes waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    /// The sink takes nothing.
    Sink,
    /// Another thread gives the sink what comes before the leg, and wakes this one afterwards.
    Turn,
}

/// Whether a leg waits for the sink, or for its turn with it, and until when.
pub(super) struct Holding {
    /// The path is near. Bytes are moved on such paths only. On a longer path, a connection that waits for the sink would be
    /// read late, so that its sender hears late; and a copy is fast enough for what a longer path carries.
    near: bool,
    /// Until when a leg waits, if one does. With the sink's pipe if the leg waits for [`For::Sink`].
    waits: Option<(Option<Held>, Instant)>,
}

impl Holding {
    /// Nothing waits on this connection.
    pub(super) fn on(channel: &Channel) -> Self {
        Holding { near: channel.info().is_some_and(|info| info.rtt <= NEAR), waits: None }
    }

    /// Where the connection's bytes may be moved to, if they may be.
    pub(super) fn sink(&self, shared: &Shared) -> Option<Arc<dyn Taking>> {
        shared.sink().filter(|_| self.near)
    }

    /// When the sink is not waited for any more.
    pub(super) fn until(&self) -> Option<Instant> {
        self.waits.as_ref().map(|(_, until)| *until)
    }

    /// Whether the sink may be waited for, or waited for any longer.
    pub(super) fn is_patient(&self, now: Instant) -> bool {
        self.until().is_none_or(|until| now < until)
    }

    /// What follows from a turn of reading. `held`: what the leg has to wait for, if the turn ended for that. `moved`: the
    /// sink had taken something before, in the same turn.
    pub(super) fn follow(
        &mut self,
        registry: &Registry,
        now: Instant,
        held: Option<For>,
        moved: bool,
        sink: Option<Arc<dyn Taking>>,
    ) {
        if held.is_none() || moved {
            self.end(registry);
        }
        match held {
            Some(For::Sink) => self.begin(registry, now, sink),
            Some(For::Turn) if self.waits.is_none() => self.waits = Some((None, now + HOLD)),
            Some(For::Turn) | None => {}
        }
    }

    /// The sink took nothing: if that is new, it is waited for from now on.
    fn begin(&mut self, registry: &Registry, now: Instant, sink: Option<Arc<dyn Taking>>) {
        if let Some((Some(_), _)) = self.waits {
            return;
        }
        let Some(held) = sink.and_then(|sink| sink.hold()) else { return };
        let pipe = held.pipe.as_raw_fd();
        let registered = registry.register(&mut SourceFd(&pipe), SINK, Interest::WRITABLE);
        // a sink that cannot be polled is not waited for
        self.waits = Some((Some(held), if registered.is_ok() { now + HOLD } else { now }));
    }

    /// The sink took something, or is not waited for any more.
    pub(super) fn end(&mut self, registry: &Registry) {
        if let Some((Some(held), _)) = self.waits.take() {
            // fails only where it was not registered
            let _ = registry.deregister(&mut SourceFd(&held.pipe.as_raw_fd()));
        }
    }
}
