//! What a shelf is made of, and how small files and folders are made durable on it.

use super::super::disk::{Contents, Disk, Found};
use super::super::place;
use super::hold::Holds;
use super::no::{No, disk_failed};
use super::rules::Rules;
use crate::sync::Unpoisoned;
use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

/// Folders that are known to be durable. More are forgotten, and synced again when they are next used.
const SETTLED_MAX: usize = 4096;

/// A folder of files that others send.
pub(crate) struct Shelf<D: Disk> {
    pub(super) disk: D,
    pub(super) rules: Rules,
    pub(super) holds: Holds,
    pub(super) accounts: Mutex<Accounts>,
    /// Folders that are durable.
    settled: Mutex<HashSet<String>>,
    next_tmp: AtomicU64,
    /// Its folder is not where it was, as far as is known.
    moved: AtomicBool,
}

impl<D: Disk> Shelf<D> {
    /// The shelf on this disk, which no other process uses.
    ///
    /// # Errors
    /// The disk fails.
    pub(crate) fn new(disk: D, rules: Rules) -> Result<Arc<Self>, No> {
        let shelf = Shelf {
            disk,
            rules,
            holds: Holds::default(),
            accounts: Mutex::default(),
            settled: Mutex::default(),
            next_tmp: AtomicU64::new(0),
            moved: AtomicBool::new(false),
        };
        for left in shelf.disk.list(place::TMP).map_err(disk_failed)? {
            shelf.disk.remove(&format!("{}/{left}", place::TMP)).map_err(disk_failed)?;
        }
        Ok(Arc::new(shelf))
    }

    /// Its folder is where it was: what is stored here is found there.
    ///
    /// # Errors
    /// It is not.
    pub(super) fn check_folder(&self) -> Result<(), No> {
        let path = self.disk.moved();
        let was = self.moved.swap(path.is_some(), Ordering::Relaxed);
        path.map_or(Ok(()), |path| Err(No::Moved((!was).then(|| path.to_owned()))))
    }

    /// Removes what nobody has gone on with for as long as partials are kept.
    ///
    /// # Errors
    /// The disk fails.
    pub(crate) fn sweep(&self, now: SystemTime) -> Result<(), No> {
        let since =
            now.checked_sub(self.rules.keep).and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
        let since = since.map_or(i64::MIN, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX));
        for key in self.disk.list(place::PARTIAL).map_err(disk_failed)? {
            let folder = format!("{}/{key}", place::PARTIAL);
            for name in self.disk.list(&folder).map_err(disk_failed)? {
                let path = format!("{folder}/{name}");
                let old = matches!(self.disk.look(&path), Ok(Found::File(file)) if file.modified < since);
                if old && !self.holds.has_partial(&path) {
                    self.disk.remove(&path).map_err(disk_failed)?;
                }
            }
        }
        Ok(())
    }

    /// Writes a small file, from one moment to the next in place of what was there, and durably.
    pub(super) fn write(&self, path: &str, bytes: &[u8]) -> Result<(), No> {
        let number = self.next_tmp.fetch_add(1, Ordering::Relaxed);
        let tmp = format!("{}/{number}", place::TMP);
        let written = self.make(&tmp, true).and_then(|mut file| {
            file.write_at(bytes, 0)?;
            file.sync()?;
            self.within(path, false, || self.disk.replace(&tmp, path))?;
            self.disk.sync_folder(place::folder(path))
        });
        written.map_err(|e| {
            let _ = self.disk.remove(&tmp);
            disk_failed(e)
        })
    }

    /// Makes a file, and the folders that it stands in.
    pub(super) fn make(&self, path: &str, private: bool) -> io::Result<D::File> {
        self.within(path, private, || self.disk.create(path))
    }

    /// Does something that needs the folders that a path stands in, which are durable then.
    pub(super) fn within<T>(
        &self,
        path: &str,
        private: bool,
        mut act: impl FnMut() -> io::Result<T>,
    ) -> io::Result<T> {
        self.settle(place::folder(path), private)?;
        match act() {
            // somebody has removed a folder that was there
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.lock_settled().clear();
                self.settle(place::folder(path), private)?;
                act()
            }
            done => done,
        }
    }

    /// Makes a folder, and those that it stands in. The last one may be `private`.
    pub(super) fn settle(&self, folder: &str, private: bool) -> io::Result<()> {
        if folder.is_empty() || self.lock_settled().contains(folder) {
            return Ok(());
        }
        let above = place::folder(folder);
        self.settle(above, private && above != place::ROOM)?;
        self.disk.make_folder(folder, private)?;
        // also one that was there: who made it may have died before this
        self.disk.sync_folder(above)?;
        let mut settled = self.lock_settled();
        if settled.len() >= SETTLED_MAX {
            settled.clear();
        }
        settled.insert(folder.to_owned());
        Ok(())
    }

    fn lock_settled(&self) -> MutexGuard<'_, HashSet<String>> {
        self.settled.lock().unpoisoned()
    }
}

/// What is finished.
#[derive(Default)]
pub(super) struct Accounts {
    /// Bytes, by key: of files, and of what is known of them.
    pub(super) finished: HashMap<String, u64>,
    /// When they were counted, if they were.
    pub(super) counted: Option<SystemTime>,
}
