//! How a file that has come whole gets its name, and what is done about one that has it already.

use super::super::disk::{Contents, Disk, Found, read_whole};
use super::super::name::Name;
use super::super::place;
use super::super::record::STORED_BUT;
use super::super::sidecar::{Identity, Sidecar, Then, time};
use super::super::sum::{Mark, Sum};
use super::arrival::Arrival;
use super::base::Shelf;
use super::hold::Hold;
use super::known::sum_line;
use super::no::{FileBreach, No, another, disk_failed, in_the_way};
use super::rules::{Peer, Wanted};
use std::sync::Arc;
use std::time::SystemTime;

/// What is missing where a file has its name, and the folder cannot be synced.
const NOT_DURABLE: &str = "a crash of the receiver may lose it";

/// A file that is whole, right, durable and under its name.
pub(crate) struct Finished<D: Disk> {
    shelf: Arc<Shelf<D>>,
    name: Name,
    /// Nobody replaces it meanwhile.
    _hold: Hold,
    /// What is known of it.
    pub(crate) sidecar: Sidecar,
    /// It was there before.
    pub(crate) already: bool,
}

/// A finished file of the key that wants to store one of the same name and size.
pub(crate) struct There<D: Disk> {
    shelf: Arc<Shelf<D>>,
    hold: Hold,
    peer: Peer,
    wanted: Wanted,
    kept: Sidecar,
}

impl<D: Disk> There<D> {
    pub(super) fn new(shelf: Arc<Shelf<D>>, hold: Hold, peer: Peer, wanted: Wanted, kept: Sidecar) -> Self {
        There { shelf, hold, peer, wanted, kept }
    }

    /// The file that is here.
    pub(crate) fn mark(&self) -> Mark {
        // a sum that somebody has broken is nobody's
        Mark { length: self.kept.size, sum: self.kept.sum().unwrap_or(Sum([0; 32])) }
    }

    /// The sender's file has the same sum.
    ///
    /// # Errors
    /// The disk fails.
    pub(crate) fn same(self) -> Result<Finished<D>, No> {
        let There { shelf, hold, peer, wanted, kept } = self;
        let _ = shelf.disk.remove(&place::partial(&peer.key, &wanted.name));
        shelf.already(hold, wanted.name, kept)
    }

    /// The sender's file is another one.
    ///
    /// # Errors
    /// Nothing is replaced here, or there is no room.
    pub(crate) fn differs(self, now: SystemTime) -> Result<Arrival<D>, No> {
        let There { shelf, hold, peer, wanted, kept } = self;
        if !shelf.rules.replace {
            return Err(No::Refused(another(&wanted.name)));
        }
        shelf.arrival(now, hold, peer, wanted, Some(kept))
    }
}

impl<D: Disk> Arrival<D> {
    /// All of it comes at once, and `theirs` is the sum of what was sent. Where it is not stored, nothing of it stays:
    /// nobody would go on with that.
    ///
    /// # Errors
    /// As with `begin`, `write` and `finish`.
    pub(crate) fn whole(mut self, now: SystemTime, bytes: &[u8], theirs: Sum) -> Result<Finished<D>, No> {
        self.begin(0)?;
        self.put(now, bytes)?;
        self.summing.add(bytes);
        self.finish(now, theirs)
    }

    /// All has come. `theirs`: the sum of what was sent.
    ///
    /// # Errors
    /// It is not all, or not what was sent; the name is not free; the disk fails. Where that is after the file has its
    /// name, it says so.
    pub(crate) fn finish(mut self, now: SystemTime, theirs: Sum) -> Result<Finished<D>, No> {
        if self.wanted.size.is_some_and(|size| size != self.length()) {
            return Err(FileBreach::Fewer.into());
        }
        self.shelf.check_folder()?;
        let sum = self.summing.settled().sum();
        if sum != theirs {
            self.discard();
            return Err(No::Corrupt);
        }
        self.sync()?;
        let kept = self.shelf.kept(&self.peer.key, &self.wanted.name);
        match kept {
            Ok(Some(kept)) if kept.sum() == Some(sum) && kept.size == self.length() => {
                self.discard();
                self.shelf.already(self.hold, self.wanted.name, kept)
            }
            Ok(Some(_)) if !self.shelf.rules.replace => {
                self.discard();
                Err(No::Refused(another(&self.wanted.name)))
            }
            Ok(kept) => self.place(now, sum, kept),
            Err(no) => {
                // nothing else can become of it
                if no == No::Taken {
                    self.discard();
                }
                Err(no)
            }
        }
    }

    /// Gives it its name, in place of one that is known so.
    fn place(mut self, now: SystemTime, sum: Sum, kept: Option<Sidecar>) -> Result<Finished<D>, No> {
        let sidecar = self.sidecar(now, sum)?;
        let (shelf, name, replaces) = (self.shelf.clone(), self.wanted.name.clone(), kept.is_some());
        let instead_of = kept.as_ref().map_or(0, |kept| kept.size + shelf.known_bytes(&name));
        let known = match kept {
            Some(kept) => sidecar.clone().replacing(kept).encode(),
            None => sidecar.encode(),
        };
        // before the name, so that no file is seen without it
        shelf.write(&place::sidecar(&name), &known)?;
        if shelf.rules.sums {
            // before the name, so that no file is seen with another one's sum
            shelf.remove_sum(&name)?;
        }
        let size = self.length() + known.len() as u64;
        let placed = shelf.within(name.as_str(), false, || {
            // nobody counts before all of this is done
            let mut accounts = shelf.lock_accounts();
            match replaces {
                true => shelf.disk.replace(&self.partial.path, name.as_str())?,
                false => shelf.disk.rename(&self.partial.path, name.as_str())?,
            }
            accounts.note_finished(&self.peer.key, size, instead_of);
            self.hold.reserve(0);
            Ok(())
        });
        if let Err(error) = placed {
            let no = in_the_way(error);
            if no == No::Taken {
                self.discard();
            }
            return Err(no);
        }
        self.partial.stays = true;
        shelf.settled(&name, &sidecar)?;
        Ok(Finished { shelf, name, _hold: self.hold, sidecar, already: false })
    }

    /// What is known of it.
    fn sidecar(&self, now: SystemTime, sum: Sum) -> Result<Sidecar, No> {
        let standing = self.file.standing().map_err(disk_failed)?;
        Ok(Sidecar {
            name: self.wanted.name.to_string(),
            size: self.length(),
            sha256: sum.to_string(),
            peer: self.peer.name.clone(),
            key: self.peer.key.clone(),
            started: time(self.started),
            finished: time(now),
            meta: self.wanted.meta.clone(),
            file: Identity::of(&standing),
            then: None,
            replaced: None,
        })
    }
}

impl<D: Disk> Finished<D> {
    /// Whether the command that runs after each file is still to succeed.
    pub(crate) fn then_is_due(&self) -> bool {
        self.shelf.rules.then && !self.sidecar.then.as_ref().is_some_and(|then| then.succeeded)
    }

    /// The command has ended so.
    ///
    /// # Errors
    /// The disk fails; the file is stored all the same.
    pub(crate) fn note_then(&mut self, now: SystemTime, succeeded: bool, outcome: &str) -> Result<(), No> {
        self.sidecar.then = Some(Then { succeeded, outcome: outcome.to_owned(), at: time(now) });
        let (known, before) = (self.sidecar.encode(), self.shelf.known_bytes(&self.name));
        let written = self.shelf.write(&place::sidecar(&self.name), &known);
        if written.is_ok() {
            let mut accounts = self.shelf.lock_accounts();
            accounts.note_finished(&self.sidecar.key, known.len() as u64, before);
        }
        written.map_err(stored_but("how 'then' ended cannot be noted"))
    }

    /// Its path beneath the folder.
    pub(crate) fn name(&self) -> &Name {
        &self.name
    }
}

impl<D: Disk> Shelf<D> {
    /// A file that is there already. Whoever put it there may have died before it was durable.
    fn already(self: Arc<Self>, hold: Hold, name: Name, kept: Sidecar) -> Result<Finished<D>, No> {
        let folder = self.settle(place::folder(name.as_str()), false).map_err(in_the_way);
        folder.map_err(stored_but(NOT_DURABLE))?;
        self.settled(&name, &kept)?;
        Ok(Finished { shelf: self, name, _hold: hold, sidecar: kept, already: true })
    }

    /// Makes a name durable, and puts the sum beside it.
    ///
    /// # Errors
    /// The disk fails; the file has its name all the same.
    fn settled(&self, name: &Name, sidecar: &Sidecar) -> Result<(), No> {
        let synced = self.disk.sync_folder(place::folder(name.as_str())).map_err(disk_failed);
        synced.map_err(stored_but(NOT_DURABLE))?;
        if !self.rules.sums {
            return Ok(());
        }
        let (path, line) = (place::sum(name), sum_line(name, &sidecar.sha256));
        let there = self.disk.open(&path, false).and_then(|file| read_whole(&file, line.len()));
        // in the same folder, which is durable now
        if there.is_ok_and(|there| there == line.as_bytes()) {
            Ok(())
        } else {
            self.write(&path, line.as_bytes()).map_err(stored_but("its sum is not beside it"))
        }
    }

    /// Takes away the sum of a file that is to be replaced, durably.
    fn remove_sum(&self, name: &Name) -> Result<(), No> {
        let path = place::sum(name);
        if self.disk.look(&path).map_err(in_the_way)? == Found::Nothing {
            return Ok(());
        }
        self.disk.remove(&path).map_err(disk_failed)?;
        self.disk.sync_folder(place::folder(&path)).map_err(disk_failed)
    }
}

/// The disk failed after a file had its name: whoever sent it hears that it is there, and what is missing.
fn stored_but(missing: &'static str) -> impl Fn(No) -> No {
    move |no| match no {
        No::Disk(why) => No::Disk(format!("{STORED_BUT}{missing}: {why}")),
        no => no,
    }
}
