//! What a connection and the output say to each other about bytes that are moved from the socket to the sink.

use super::orders::Ticket;
use super::waits::Blocked;
use crate::proto::wire::LegHeader;
use mio::Waker;
use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

/// A sink that takes bytes from sockets.
pub(crate) trait Taking: Send + Sync {
    /// Whether a connection may try to move bytes into the sink.
    fn may_pass(&self) -> bool;

    /// Moves bytes of a leg from the socket of the connection that brings it into the sink, without waiting, behind the `at`
    /// bytes that were moved so. It is the caller's care that nothing of the leg was read from the socket.
    /// If that is not possible before the output is done with what comes before, `waker` is woken then.
    fn pass(
        &self,
        by: Ticket,
        header: &LegHeader,
        at: usize,
        socket: BorrowedFd<'_>,
        waker: &Arc<Waker>,
    ) -> Pass;

    /// A connection has found that the sink takes nothing now. What it is to wait for; None if the sink is closed.
    fn hold(&self) -> Option<Held>;
}

/// What became of an attempt to move bytes from a connection's socket into the sink.
#[derive(Debug)]
pub(crate) enum Pass {
    /// This many bytes were moved. If they were the last of the leg, the core knows that the leg is delivered.
    Moved(usize),
    /// Either nothing has come, or the sink takes nothing now.
    Nothing,
    /// The peer has finished sending.
    End,
    /// Something is wrong with the connection.
    Failed(io::Error),
    /// The output is at something that comes before. The waker is woken when it is done.
    Busy,
    /// The leg is to be read into memory from here on.
    Not,
    /// The connection is not wanted any more.
    Over,
}

/// A connection waits for the sink.
pub(crate) struct Held {
    /// The sink's pipe.
    pub(crate) pipe: Arc<File>,
    blocked: Arc<Blocked>,
}

impl Held {
    /// Counts as time in which the sink takes nothing, until it is dropped.
    pub(super) fn new(pipe: Arc<File>, blocked: Arc<Blocked>) -> Self {
        blocked.begin();
        Held { pipe, blocked }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.blocked.end();
    }
}
