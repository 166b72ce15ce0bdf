//! How much each key may have here, and how much of the disk stays free.
//!
//! What is known of a file counts with it: who sends it chooses how much that is. Not counted are folders, what a file
//! system takes besides the bytes, and sums.

use super::super::disk::{Disk, Found, read_whole};
use super::super::name::Name;
use super::super::place;
use super::super::sidecar::{Identity, SIDECAR_MAX, Sidecar, time};
use super::super::sum::Sum;
use super::base::{Accounts, Shelf};
use super::hold::Hold;
use super::no::{No, disk_failed};
use super::rules::{Peer, Wanted};
use crate::sync::Unpoisoned;
use std::collections::HashMap;
use std::io;
use std::sync::MutexGuard;
use std::time::{Duration, SystemTime};

/// All that is finished is counted again at most so often, since that reads what is known of every file.
const COUNT_AGAIN: Duration = Duration::from_secs(60);

impl<D: Disk> Shelf<D> {
    /// Lets a file, of which `here` bytes are on the disk, grow to `most` bytes. Where there is less room, but enough for
    /// `least`, it gets that and half of the rest, so that others find room too. To how many bytes it may grow. What is to
    /// stand beside it has room as well then.
    ///
    /// # Errors
    /// The quota or the disk has no room for `least`; then nothing has changed.
    pub(super) fn reserve(
        &self,
        now: SystemTime,
        hold: &Hold,
        key: &str,
        here: u64,
        [least, most]: [u64; 2],
    ) -> Result<u64, No> {
        let beside = hold.beside();
        let [least, most] = [least, most].map(|bytes| bytes.saturating_add(beside));
        let free = self.disk.free().map_err(disk_failed)?.saturating_sub(self.rules.keepfree);
        let on_disk = here.saturating_add(free);
        if on_disk < least {
            return Err(No::Disk("no space left on the disk for this file".into()));
        }
        let granted = |room: u64| if room < most { least + (room - least) / 2 } else { most };
        let Some(quota) = self.rules.quota else {
            let granted = granted(on_disk);
            hold.reserve(granted);
            return Ok(granted - beside);
        };
        // those that come at once are all counted in here, so that no two get the same room
        let mut accounts = self.lock_accounts();
        for again in [false, true] {
            self.count(&mut accounts, now, again)?;
            let finished = accounts.finished.get(key).copied().unwrap_or(0);
            let others = self.holds.reserved(key) - hold.reserved();
            let taken = [self.left(key)?, others].into_iter().fold(finished, u64::saturating_add);
            if let Some(room) = quota.checked_sub(taken).filter(|room| *room >= least) {
                let granted = granted(room.min(on_disk));
                hold.reserve(granted);
                return Ok(granted - beside);
            }
        }
        Err(No::Refused(format!("your quota of {quota} bytes has no room for this file")))
    }

    /// The most bytes that stand beside a file when it is finished: what is known of it, and of one that it replaces.
    pub(super) fn beside(&self, peer: &Peer, wanted: &Wanted, replaced: Option<Sidecar>) -> u64 {
        // no time and no number is longer than these
        let at = time(SystemTime::UNIX_EPOCH);
        let known = Sidecar {
            name: wanted.name.to_string(),
            size: u64::MAX,
            sha256: Sum([0; 32]).to_string(),
            peer: peer.name.clone(),
            key: peer.key.clone(),
            started: at.clone(),
            finished: at,
            meta: wanted.meta.clone(),
            file: Identity { inode: u64::MAX, modified: i64::MIN },
            then: None,
            replaced: None,
        };
        let known = match replaced {
            Some(old) => known.replacing(old),
            None => known,
        };
        known.encode().len() as u64
    }

    /// Bytes of what is known of a file.
    pub(super) fn known_bytes(&self, name: &Name) -> u64 {
        match self.disk.look(&place::sidecar(name)) {
            Ok(Found::File(known)) => known.size,
            _ => 0,
        }
    }

    /// Checks that a key may have one partial more.
    ///
    /// # Errors
    /// It may not.
    pub(super) fn check_partials(&self, key: &str, path: &str) -> Result<(), No> {
        let folder = place::partials(key);
        let there = self.disk.list(&folder).map_err(disk_failed)?;
        let ours = path.rsplit('/').next().unwrap_or(path);
        if there.len() >= self.rules.partials && !there.iter().any(|name| name == ours) {
            return Err(No::Refused(format!("{} of your files are unfinished here already", there.len())));
        }
        Ok(())
    }

    /// Bytes of a key's partials that nobody works on.
    fn left(&self, key: &str) -> Result<u64, No> {
        let folder = place::partials(key);
        let mut left = 0u64;
        for name in self.disk.list(&folder).map_err(disk_failed)? {
            let path = format!("{folder}/{name}");
            if let Ok(Found::File(file)) = self.disk.look(&path)
                && !self.holds.has_partial(&path)
            {
                left = left.saturating_add(file.size);
            }
        }
        Ok(left)
    }

    /// Counts what is finished, if it was not counted, or `again`, if that is a while ago.
    fn count(&self, accounts: &mut Accounts, now: SystemTime, again: bool) -> Result<(), No> {
        if let Some(counted) = accounts.counted {
            let recent = now.duration_since(counted).is_ok_and(|since| since < COUNT_AGAIN);
            if !again || recent {
                return Ok(());
            }
        }
        accounts.finished.clear();
        for folder in [place::META, place::LONG] {
            self.count_below(folder, &mut accounts.finished).map_err(disk_failed)?;
        }
        accounts.counted = Some(now);
        Ok(())
    }

    fn count_below(&self, top: &str, finished: &mut HashMap<String, u64>) -> io::Result<()> {
        let mut folders = vec![top.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in self.disk.list(&folder)? {
                let path = format!("{folder}/{entry}");
                match self.disk.look(&path)? {
                    Found::Folder => folders.push(path),
                    Found::File(known) => {
                        if let Some((key, size)) = self.finished_by(&path) {
                            let all = finished.entry(key).or_default();
                            *all = all.saturating_add(size).saturating_add(known.size);
                        }
                    }
                    Found::Nothing | Found::Other => {}
                }
            }
        }
        Ok(())
    }

    /// Whose file this tells of, and its size, if it is there.
    fn finished_by(&self, path: &str) -> Option<(String, u64)> {
        let file = self.disk.open(path, false).ok()?;
        let sidecar = Sidecar::parse(&read_whole(&file, SIDECAR_MAX).ok()?)?;
        let name = Name::stored(sidecar.name).ok()?;
        match self.disk.look(name.as_str()) {
            Ok(Found::File(file)) => Some((sidecar.key, file.size)),
            _ => None,
        }
    }

    pub(super) fn lock_accounts(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().unpoisoned()
    }
}

impl Accounts {
    /// So many bytes are finished, in the place of so many others.
    pub(super) fn note_finished(&mut self, key: &str, bytes: u64, instead_of: u64) {
        if self.counted.is_some() {
            let finished = self.finished.entry(key.to_owned()).or_default();
            *finished = finished.saturating_add(bytes).saturating_sub(instead_of);
        }
    }
}
