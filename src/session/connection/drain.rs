//! What the poll says of a connection's socket, from its owner to whoever writes.
//!
//! The poll tells the owner with every byte that comes that the socket takes more, too. Mostly nobody waits for that, and
//! the owner need not wait for the writer's lock to find out.
//!
//! What always holds: if the writer waits, and the poll speaks after the socket took no more, then the owner is told that
//! the writer waits, or the writer that the poll has spoken. Each says its own first, and asks for the other's then.
//! `tests/readiness.rs` tries this in every order of the threads.

use crate::sync::{AtomicBool, Ordering};

/// What the poll and the writer tell each other of one socket.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    /// The poll has said that the socket takes more, and the writer has not heard it.
    said: AtomicBool,
    /// The writer waits for that.
    awaited: AtomicBool,
}

impl Drain {
    /// For the owner: the poll says that the socket takes more. Whether the writer waits for that.
    pub(crate) fn say(&self) -> bool {
        self.said.store(true, Ordering::SeqCst);
        self.awaited.load(Ordering::SeqCst)
    }

    /// For whoever has the writer: whether the poll has said so since this was asked last.
    pub(crate) fn hear(&self) -> bool {
        self.said.swap(false, Ordering::SeqCst)
    }

    /// For whoever has the writer: it `waits` for the poll from now on, or it does not. Whether the poll has spoken already.
    pub(crate) fn wait(&self, waits: bool) -> bool {
        self.awaited.store(waits, Ordering::SeqCst);
        waits && self.hear()
    }
}
