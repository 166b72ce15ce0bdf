//! The connections of a session: a [`Seat`] for each, which everybody knows, and the thread that owns it.
//!
//! ```text
//!  wait ─▶ how do I stand? ─▶ write what waits ─▶ read a turn ─▶ signs of life ─▶ write ─▶ wait
//! ```
//!
//! The owner reads, and decides nothing: what comes is told at the desk, what is to be written is taken from there. It
//! notices that its connection is not wanted any more by how that stands ([`Standing`]), and closes it. Edge-triggered:
//! what is readable or writable is remembered until the socket said otherwise.

mod intake;
mod owner;
mod writer;

pub use owner::{Accepted, Dialling};

use super::desk::Line;
use super::{SessionCore, SessionDesk};
use crate::channel::Channel;
use crate::chaos::Hazard;
use crate::proto::session::Session;
use crate::report::Kernel;
use crate::session::pool::Pool;
use mio::{Poll, Token, Waker};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use writer::Writer;

/// The token of a thread's one connection.
const SOCKET: Token = Token(0);
/// The token of a thread's waker.
const WAKER: Token = Token(1);

/// A leg of at most so many bytes is written by whoever posted it, without waking the owner of the connection. To copy
/// more takes longer than a wake-up.
const SMALL: u64 = 16 << 10;

/// What the connections of a session share.
#[derive(Clone)]
pub struct Shared {
    /// The session.
    pub desk: Arc<SessionDesk>,
    /// Where the legs live that come in.
    pub pool: Pool,
    /// What is done to connections on purpose.
    pub hazard: Hazard,
    /// Legs go out on them.
    pub sends: bool,
    /// Legs come in on them.
    pub receives: bool,
}

/// One connection's place in the session: how its owner is woken, and where something small is written.
pub struct Seat {
    waker: Waker,
    /// There is one while the owner has a connection.
    writer: Mutex<Option<Writer>>,
}

impl Seat {
    /// A seat without a connection, and the poll of the thread that will own it.
    ///
    /// # Errors
    /// The kernel has no descriptors left.
    pub fn new() -> io::Result<(Arc<Self>, Poll)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        Ok((Arc::new(Seat { waker, writer: Mutex::new(None) }), poll))
    }

    /// What the kernel knows about the connection, for a report; None where there is none.
    pub fn kernel(&self) -> Option<Kernel> {
        let channel = self.lock().as_ref().map(|writer| writer.channel().clone())?;
        kernel(&channel)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Writer>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
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

impl Line<SessionCore> for Seat {
    fn wake(&self) {
        // fails only when the kernel's counter is full, and then the owner is awake
        let _ = self.waker.wake();
    }

    fn nudge(&self, desk: &SessionDesk) {
        let mut writer = match self.writer.try_lock() {
            Ok(writer) => writer,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // whoever writes now may have looked into the mailbox already
            Err(TryLockError::WouldBlock) => return self.wake(),
        };
        // where there is no connection yet, its owner looks when there is
        if writer.as_mut().is_some_and(|writer| !writer.flush(desk, SMALL)) {
            self.wake();
        }
    }
}

/// Whether the far end of this session wants legs checked, as the core knows it.
fn is_checked(session: &Session) -> bool {
    session.sending().is_some_and(|sending| sending.is_checked())
}
