//! Holds: of each name, one visitor at a time, and what its file may grow to.

use super::super::claims::{Claim, Claims};
use super::super::name::Name;
use super::super::place;
use super::no::No;
use super::rules::Peer;

/// Names that visitors work on at this moment.
#[derive(Clone, Default)]
pub(super) struct Holds(Claims<Growing>);

struct Growing {
    partial: String,
    /// Bytes that it may grow to, with those that are to stand beside it.
    reserved: u64,
    /// Bytes that are to stand beside it when it is finished, at most.
    beside: u64,
}

/// A name that one visitor works on, until this is dropped.
pub(super) struct Hold(Claim<Growing>);

impl Holds {
    /// # Errors
    /// Somebody has it.
    pub(super) fn take(&self, peer: &Peer, name: &Name) -> Result<Hold, No> {
        let growing = Growing { partial: place::partial(&peer.key, name), reserved: 0, beside: 0 };
        self.0.take(&peer.key, peer.visit, name, growing).map(Hold).map_err(No::Held)
    }

    /// Waits until that visitor has the name no more. False: it keeps it.
    pub(super) fn await_turn(&self, name: &Name, visit: u64, gives_way: impl Fn(u64) -> bool) -> bool {
        self.0.await_turn(name, visit, gives_way)
    }

    /// Whether somebody works on this partial.
    pub(super) fn has_partial(&self, path: &str) -> bool {
        self.0.lock().values().any(|held| held.value.partial == path)
    }

    /// What all files of a key that visitors work on may grow to, in bytes, with what is to stand beside them.
    pub(super) fn reserved(&self, key: &str) -> u64 {
        self.0.lock().values().filter(|held| held.key == key).map(|held| held.value.reserved).sum()
    }
}

impl Hold {
    /// So many bytes are to stand beside the file when it is finished.
    pub(super) fn note_beside(&self, bytes: u64) {
        self.0.with(|growing| growing.beside = bytes);
    }

    /// Bytes that are to stand beside the file.
    pub(super) fn beside(&self) -> u64 {
        self.0.with(|growing| growing.beside).unwrap_or(0)
    }

    /// The file may grow to so many bytes, with those that are to stand beside it.
    pub(super) fn reserve(&self, bytes: u64) {
        self.0.with(|growing| growing.reserved = bytes);
    }

    /// What the file may grow to, in bytes, with those that are to stand beside it.
    pub(super) fn reserved(&self) -> u64 {
        self.0.with(|growing| growing.reserved).unwrap_or(0)
    }
}
