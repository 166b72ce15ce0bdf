//! A connection's place in its session: how its owner is woken, and where something small is written.

use super::drain::Drain;
use super::writer::Writer;
use crate::channel::Channel;
use crate::proto::leg::SMALL_LEG;
use crate::report::Kernel;
use crate::session::core::SessionCore;
use crate::session::desk::{Desk, Reach};
use crate::sync::Unpoisoned;
use mio::{Poll, Token, Waker};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// The token of a thread's waker; its one connection has another.
pub(super) const WAKER: Token = Token(1);

/// The one lock of a session as it really is.
pub(crate) type SessionDesk = Desk<SessionCore, Seat>;

/// One connection's place in the session: how its owner is woken, and where something small is written.
pub(crate) struct Seat {
    waker: Arc<Waker>,
    /// There is one while the owner has a connection.
    writer: Mutex<Option<Writer>>,
    /// Whether the writer is at a large leg, which takes a while.
    busy: Arc<AtomicBool>,
    /// What the poll says of the connection's socket.
    drain: Arc<Drain>,
}

impl Seat {
    /// A seat without a connection, and the poll of the thread that will own it.
    ///
    /// # Errors
    /// The kernel has no descriptors left.
    pub(crate) fn new() -> io::Result<(Arc<Self>, Poll)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        Ok((
            Arc::new(Seat { waker, writer: Mutex::new(None), busy: Arc::default(), drain: Arc::default() }),
            poll,
        ))
    }

    /// What the kernel knows about the connection, for a report; None where there is none.
    pub(crate) fn kernel(&self) -> Option<Kernel> {
        let channel = self.lock().as_ref().map(|writer| writer.channel().clone())?;
        kernel(&channel)
    }

    /// Shows the others that the writer is at a large leg.
    pub(crate) fn busy(&self) -> Arc<AtomicBool> {
        self.busy.clone()
    }

    /// What the poll says of the connection's socket.
    pub(super) fn drain(&self) -> &Arc<Drain> {
        &self.drain
    }

    /// Wakes the thread that owns it.
    pub(crate) fn waker(&self) -> &Arc<Waker> {
        &self.waker
    }

    /// Waits for whoever writes now, which is never long.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Option<Writer>> {
        self.writer.lock().unpoisoned()
    }
}

fn kernel(channel: &Channel) -> Option<Kernel> {
    let info = channel.info()?;
    Some(Kernel {
        rtt: info.rtt,
        window: info.congestion_window,
        retransmits: info.retransmits,
        control: channel.congestion(),
    })
}

impl Reach<SessionCore> for Seat {
    fn wake(&self) {
        // fails only when the kernel's counter is full, and then the owner is awake
        let _ = self.waker.wake();
    }

    fn nudge(&self, desk: &SessionDesk) {
        if self.busy.load(Ordering::Relaxed) {
            return self.wake();
        }
        // without a connection nothing is lost: its owner looks into the mailbox when it has one
        if self.lock().as_mut().is_some_and(|writer| !writer.flush(desk, SMALL_LEG)) {
            self.wake();
        }
    }
}
