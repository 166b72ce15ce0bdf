//! An arrival: a file that comes in, as a partial.

use super::super::disk::{Contents, Disk, Found};
use super::super::place;
use super::super::sidecar::Sidecar;
use super::super::sum::{Mark, Running};
use super::super::summing::{Shared, Summing};
use super::base::Shelf;
use super::hold::Hold;
use super::no::{FileBreach, No, disk_failed};
use super::rules::{Peer, Wanted};
use crate::sys::writeback::Writeback;
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

/// So much of a file goes to the disk at once, before it is synced: enough to be one long write.
const EARLY: u64 = 8 << 20;

/// A file that comes in. Call order: `marks`, `begin` once, `write` as it comes, `finish`; or `whole` alone. If it is
/// dropped before, what has come is kept for another time, unless its size is unknown.
pub(crate) struct Arrival<D: Disk> {
    pub(super) shelf: Arc<Shelf<D>>,
    /// Before `hold`: whoever has the name next makes another one.
    pub(super) partial: Partial<D>,
    pub(super) hold: Hold,
    pub(super) peer: Peer,
    pub(super) wanted: Wanted,
    pub(super) started: SystemTime,
    pub(super) file: D::File,
    /// Of what is in the file, up to its length.
    pub(super) summing: Summing,
    /// How far it may grow before room is asked for again.
    reserved: u64,
    /// So much is durable.
    synced: u64,
    /// So much is on its way to the disk.
    early: u64,
    /// Has it go there, once there is enough of it.
    writeback: Option<Writeback>,
}

/// The place of what has come.
pub(super) struct Partial<D: Disk> {
    shelf: Arc<Shelf<D>>,
    pub(super) path: String,
    /// It stays when this is dropped, because somebody may go on with it, or because it is there no more. Others would
    /// only count as unfinished files of their key.
    pub(super) stays: bool,
}

impl<D: Disk> Drop for Partial<D> {
    fn drop(&mut self) {
        if !self.stays {
            let _ = self.shelf.disk.remove(&self.path);
        }
    }
}

impl<D: Disk> Shelf<D> {
    /// A file that may come in, in the place of one of which this is known, if there is one.
    pub(super) fn arrival(
        self: &Arc<Self>,
        now: SystemTime,
        hold: Hold,
        peer: Peer,
        wanted: Wanted,
        kept: Option<Sidecar>,
    ) -> Result<Arrival<D>, No> {
        let path = place::partial(&peer.key, &wanted.name);
        self.check_partials(&peer.key, &path)?;
        let left = match self.disk.look(&path).map_err(disk_failed)? {
            // its other name is that of the finished file: the process died between giving that and taking this
            Found::File(file) if file.links > 1 => {
                self.disk.remove(&path).map_err(disk_failed)?;
                0
            }
            Found::File(file) => file.size,
            _ => 0,
        };
        hold.note_beside(self.beside(&peer, &wanted, kept));
        let reserved = wanted.size.unwrap_or(left);
        self.reserve(now, &hold, &peer.key, left, [reserved; 2])?;
        let (file, running) = if left > 0 {
            let file = self.disk.open(&path, true).map_err(disk_failed)?;
            let running = Running::of(&file, self.rules.stride).map_err(disk_failed)?;
            (file, running)
        } else {
            self.disk.remove(&path).map_err(disk_failed)?;
            (self.make(&path, true).map_err(disk_failed)?, Running::new(self.rules.stride))
        };
        let shelf = self.clone();
        let summing = Summing::new(running);
        Ok(Arrival {
            partial: Partial { shelf: shelf.clone(), path, stays: left > 0 },
            shelf,
            hold,
            peer,
            wanted,
            started: now,
            file,
            summing,
            reserved,
            synced: 0,
            early: 0,
            writeback: None,
        })
    }
}

impl<D: Disk> Arrival<D> {
    /// What was wanted.
    pub(crate) fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// The beginnings that are here: the sender may go on behind the longest that is also its own file's.
    pub(crate) fn marks(&mut self) -> Vec<Mark> {
        self.summing.settled().marks()
    }

    /// The sender begins there: at 0, or behind one of the marks.
    ///
    /// # Errors
    /// It is none of them, or the disk fails.
    pub(crate) fn begin(&mut self, offset: u64) -> Result<(), No> {
        let length = self.summing.length();
        if !self.summing.back(offset) {
            return Err(FileBreach::BeginsBeyond.into());
        }
        if offset < length {
            self.file.cut(offset).map_err(disk_failed)?;
        }
        self.early = offset;
        self.partial.stays = offset > 0;
        Ok(())
    }

    /// These bytes come next. They are summed up beside that, and kept until then.
    ///
    /// # Errors
    /// There is no room for them, or the disk fails; what came before is kept if its size was said.
    pub(crate) fn write_shared(
        &mut self,
        now: SystemTime,
        whole: &Shared,
        range: Range<usize>,
    ) -> Result<(), No> {
        self.put(now, &(**whole).as_ref()[range.clone()])?;
        self.summing.add_shared(whole, range);
        self.advance(now)
    }

    /// Into the file.
    pub(super) fn put(&mut self, now: SystemTime, bytes: &[u8]) -> Result<(), No> {
        let (offset, stride) = (self.length(), self.shelf.rules.stride);
        let end = offset + bytes.len() as u64;
        if self.wanted.size.is_some_and(|size| end > size) {
            return Err(FileBreach::More.into());
        }
        if end > self.reserved {
            let wanted = [end, end.next_multiple_of(stride)];
            self.reserved = self.shelf.reserve(now, &self.hold, &self.peer.key, offset, wanted)?;
        }
        self.file.write_at(bytes, offset).map_err(disk_failed)
    }

    /// It is longer now: makes it durable where it has passed a mark.
    fn advance(&mut self, now: SystemTime) -> Result<(), No> {
        let (end, stride) = (self.length(), self.shelf.rules.stride);
        // of an unknown size: who sends it again begins anew
        self.partial.stays = end > 0 && self.wanted.size.is_some();
        if end - self.early >= EARLY {
            if self.writeback.is_none() {
                self.writeback = self.file.writeback();
            }
            self.writeback.iter().for_each(|writeback| writeback.wrote(self.early..end));
            self.early = end;
        }
        if end / stride > self.synced / stride {
            // others may have used the room that was there
            self.shelf.reserve(now, &self.hold, &self.peer.key, end, [self.reserved.max(end); 2])?;
            let first = self.synced == 0;
            self.sync()?;
            if first {
                self.shelf.disk.sync_folder(place::folder(&self.partial.path)).map_err(disk_failed)?;
            }
        }
        Ok(())
    }

    /// Makes durable what is here.
    ///
    /// # Errors
    /// The disk fails. What is here cannot be trusted then, and is removed.
    pub(crate) fn sync(&mut self) -> Result<(), No> {
        if let Err(error) = self.file.sync() {
            self.discard();
            return Err(disk_failed(error));
        }
        self.synced = self.summing.length();
        Ok(())
    }

    /// Bytes that are here.
    pub(crate) fn length(&self) -> u64 {
        self.summing.length()
    }

    /// Forgets what is here, as far as the disk lets.
    pub(super) fn discard(&mut self) {
        let _ = self.shelf.disk.remove(&self.partial.path);
        self.partial.stays = true;
    }
}
