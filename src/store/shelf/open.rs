//! The answer to who wants to store a file.

use super::super::disk::Disk;
use super::super::name::Name;
use super::arrival::Arrival;
use super::base::Shelf;
use super::finish::There;
use super::no::{No, another};
use super::rules::{Peer, Wanted};
use std::sync::Arc;
use std::time::SystemTime;

/// The answer to who wants to store a file, see [`Shelf::open`].
pub(crate) enum OpenAnswer<D: Disk> {
    /// It may.
    Go(Arrival<D>),
    /// A file of the same key, name and size is finished.
    There(There<D>),
}

impl<D: Disk> Shelf<D> {
    /// Somebody wants to store a file.
    ///
    /// # Errors
    /// Why it may not.
    pub(crate) fn open(
        self: &Arc<Self>,
        now: SystemTime,
        peer: &Peer,
        wanted: Wanted,
    ) -> Result<OpenAnswer<D>, No> {
        self.check_folder()?;
        let hold = self.holds.take(peer, &wanted.name)?;
        self.check_sum_place(&wanted.name)?;
        let Some(kept) = self.kept(&peer.key, &wanted.name)? else {
            return self.arrival(now, hold, peer.clone(), wanted, None).map(OpenAnswer::Go);
        };
        match wanted.size {
            Some(size) if size == kept.size => {
                Ok(OpenAnswer::There(There::new(self.clone(), hold, peer.clone(), wanted, kept)))
            }
            // of an unknown size: only its end tells whether it is the same
            None => self.arrival(now, hold, peer.clone(), wanted, Some(kept)).map(OpenAnswer::Go),
            Some(_) if self.rules.replace => {
                self.arrival(now, hold, peer.clone(), wanted, Some(kept)).map(OpenAnswer::Go)
            }
            Some(_) => Err(No::Refused(another(&wanted.name))),
        }
    }

    /// Waits until the visitor of that number has the name no more, which it lets go of if it `gives_way`. False: it
    /// keeps it.
    pub(crate) fn await_turn(&self, name: &Name, visit: u64, gives_way: impl Fn(u64) -> bool) -> bool {
        self.holds.await_turn(name, visit, gives_way)
    }
}
