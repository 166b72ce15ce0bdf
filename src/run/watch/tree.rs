//! The watched folder: which of its folders the kernel watches for us, which are looked at now and then, and how files
//! stand.
//!
//! Symbolic links below it are passed over, and so is the archive. Where the kernel watches no more folders, the rest is scanned
//! every few seconds.

use super::look::{is_gone, look_at};
use crate::error::{Failure, reason};
use crate::message;
use crate::store::ripe::{FolderChange, Seen, paths_below};
use crate::sys::file_id::FileId;
use crate::sys::mounts::Mounts;
use crate::sys::notify::{Folder, Happened, Notify};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// How often folders are scanned that the kernel does not watch, and how often it is seen whether another folder has the
/// root's place.
const POLL: Duration = Duration::from_secs(5);

/// Folders in trouble and names that are not UTF-8 are told of as long as there are no more than this.
const TOLD_MAX: usize = 1000;

/// A watched folder and those below it.
pub(super) struct Tree {
    root: PathBuf,
    /// Which folder had the root's place when that was looked at last; none if there was none.
    identity: Option<FileId>,
    notify: Notify,
    /// Relative paths; the root's is empty.
    folders: HashMap<Folder, String>,
    numbers: BTreeMap<String, Folder>,
    /// Folders that the kernel does not watch.
    polled: BTreeSet<String>,
    /// When these are scanned next, and the root's place is looked at.
    next: Instant,
    mounts: Mounts,
    archive: Option<PathBuf>,
    limit_told: bool,
    /// What was told, and is not over as far as is known.
    told: BTreeSet<Trouble>,
}

/// What is told once, until it is over.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    /// Nothing can be heard of what happens.
    Deaf,
    /// A folder, or the rest of it, cannot be read.
    Unread(String),
    /// A file of this folder could not be looked at, or not be moved.
    Unseen(String),
    /// A name is not UTF-8.
    Odd(PathBuf),
}

impl Tree {
    /// Nothing of it is watched yet. `archive`: a folder that is not part of it.
    ///
    /// # Errors
    /// There is no such folder, or it cannot be read.
    pub(super) fn open(root: &Path, archive: Option<&Path>) -> Result<Self, Failure> {
        let failed = |e: io::Error| Failure::input(format!("watch {}: {}", root.display(), reason(&e)));
        fs::read_dir(root).map_err(failed)?;
        let notify = Notify::new().map_err(|e| match Errno::from_io_error(&e) {
            Some(Errno::MFILE) => Failure::input("watch: fs.inotify.max_user_instances is reached"),
            _ => failed(e),
        })?;
        Ok(Tree {
            root: root.to_owned(),
            identity: identity_of(root).ok(),
            notify,
            folders: HashMap::new(),
            numbers: BTreeMap::new(),
            polled: BTreeSet::new(),
            next: Instant::now() + POLL,
            mounts: Mounts::around(root).map_err(failed)?,
            archive: archive.map(Path::to_owned),
            limit_told: false,
            told: BTreeSet::new(),
        })
    }

    /// Readable when something has happened.
    pub(super) fn notify(&self) -> &Notify {
        &self.notify
    }

    /// Which file systems stand here: have [`Tree::remounted`] called when these have changed.
    pub(super) fn mounts(&self) -> &Mounts {
        &self.mounts
    }

    /// Other file systems may stand here. The kernel goes on to watch the folders that these have covered, and tells nothing
    /// of their own.
    pub(super) fn remounted(&mut self) {
        if self.mounts.have_changed() {
            self.leave_all();
        }
    }

    /// When there is something to look at, if nothing happens before.
    pub(super) fn deadline(&self) -> Instant {
        self.next
    }

    /// All that has happened, and what was found where the kernel does not tell.
    pub(super) fn changes(&mut self) -> Vec<FolderChange> {
        let (mut happened, mut changes) = (vec![], vec![]);
        let read = self.notify.read(|event| happened.push(event));
        if let Err(error) = read {
            self.tell_once(Trouble::Deaf, || format!("inotify: {}", reason(&error)));
            changes.push(FolderChange::Overflow);
        }
        for event in happened {
            self.hear(event, &mut changes);
        }
        if self.next <= Instant::now() {
            changes.extend(self.look_at_root());
            for folder in self.polled.clone() {
                changes.extend(self.scan(&folder));
            }
            self.next = Instant::now() + POLL;
        }
        changes
    }

    /// Another folder may have the root's place though the one that is watched was not moved itself: a folder above it was,
    /// or a link on the way leads elsewhere now. Nothing tells of that. Then what was watched is left.
    fn look_at_root(&mut self) -> Option<FolderChange> {
        let now = match identity_of(&self.root) {
            Ok(now) => Some(now),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => None,
            // nobody can say at this moment
            Err(_) => return None,
        };
        if now == self.identity {
            return None;
        }
        if now.is_some() {
            // if they cannot be told at this moment, all of this is tried again
            self.mounts = Mounts::around(&self.root).ok()?;
        }
        self.identity = now;
        self.leave_all();
        Some(FolderChange::Elsewhere)
    }

    /// How a file stands.
    pub(super) fn look(&mut self, path: String) -> FolderChange {
        match look_at(&self.root, &path) {
            Ok(Some((seen, writing))) => FolderChange::Found { path, seen, writing },
            Ok(None) => FolderChange::Gone(path),
            Err(error) => self.unseen(path, &error),
        }
    }

    /// A file could not be looked at, or not be moved. Said once for all in its folder: they are tried again and again.
    pub(super) fn unseen(&mut self, path: String, error: &io::Error) -> FolderChange {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        self.tell_once(Trouble::Unseen(folder.to_owned()), || {
            format!("{path}: {}; what is there is tried again until that is over", reason(error))
        });
        FolderChange::Unseen(path)
    }

    /// Whether a file does not stand so any more, or is gone. One that cannot be looked at has not, as far as is known.
    pub(super) fn has_changed(&self, path: &str, seen: Option<Seen>) -> bool {
        look_at(&self.root, path).is_ok_and(|found| found.map(|(now, _)| now) != seen)
    }

    /// Watches a folder, then finds all that is in it.
    pub(super) fn scan(&mut self, folder: &str) -> Vec<FolderChange> {
        // before it is watched: if another one takes its place in between, that is found out
        let elsewhere = if folder.is_empty() { self.look_at_root() } else { None };
        elsewhere.into_iter().chain(self.scan_here(folder)).collect()
    }

    fn scan_here(&mut self, folder: &str) -> Vec<FolderChange> {
        let path = self.place(folder);
        if self.is_archive(&path) {
            return vec![FolderChange::Scanned(folder.to_owned())];
        }
        self.watch(folder, &path);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if folder.is_empty() => {
                self.poll(folder);
                self.tell_once(Trouble::Unread(String::new()), || {
                    format!("watch {}: {}", path.display(), reason(&error))
                });
                return vec![FolderChange::Scanned(String::new())];
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                self.leave(folder);
                return vec![FolderChange::Gone(folder.to_owned()), FolderChange::Scanned(folder.to_owned())];
            }
            Err(error) => {
                self.unread(folder, &path, &error);
                return vec![FolderChange::Scanned(folder.to_owned())];
            }
        };
        let (mut changes, whole) = self.find(folder, entries);
        if whole {
            self.told.remove(&Trouble::Unread(folder.to_owned()));
            if !changes.iter().any(|change| matches!(change, FolderChange::Unseen(_))) {
                self.told.remove(&Trouble::Unseen(folder.to_owned()));
            }
        }
        changes.push(FolderChange::Scanned(folder.to_owned()));
        changes
    }

    /// All that is in a folder; whether it could be read to its end.
    fn find(&mut self, folder: &str, entries: fs::ReadDir) -> (Vec<FolderChange>, bool) {
        let (mut changes, mut whole) = (vec![], true);
        let mut failed = |tree: &mut Self, path: &str, error| {
            whole = false;
            tree.unread(folder, &tree.place(path), &error);
        };
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    failed(self, folder, error);
                    break;
                }
            };
            let Some(path) = self.below(folder, &entry.file_name()) else { continue };
            match entry.file_type() {
                Ok(kind) if kind.is_file() => changes.push(self.look(path)),
                // those that are scanned now and then find their own
                Ok(kind) if kind.is_dir() && !self.polled.contains(&path) => {
                    changes.push(FolderChange::Folder(path))
                }
                Err(error) if !is_gone(&error) => failed(self, &path, error),
                _ => {}
            }
        }
        (changes, whole)
    }

    fn hear(&mut self, happened: Happened, changes: &mut Vec<FolderChange>) {
        match happened {
            Happened::Complete(folder, name) => {
                let Some(path) = self.path(folder, &name) else { return };
                // one that cannot be looked at now is found out about by whoever looks at it again
                if !matches!(self.file(&path), Ok(None)) {
                    changes.push(FolderChange::Complete(path));
                }
            }
            Happened::Created(folder, name) => {
                let Some(path) = self.path(folder, &name) else { return };
                // a new file is reported when its writer closes it; one that was linked here is never closed
                match self.file(&path) {
                    Ok(Some(file)) if file.nlink() > 1 => changes.push(self.look(path)),
                    // the other name may have been taken from it by now, or it never had one
                    Ok(Some(file)) => changes.push(FolderChange::Named { path, seen: Seen::of(&file) }),
                    Ok(None) => {}
                    Err(error) => changes.push(self.unseen(path, &error)),
                }
            }
            Happened::FolderCame(folder, name) => {
                changes.extend(self.path(folder, &name).map(FolderChange::Folder));
            }
            Happened::Gone(folder, name) => {
                if let Some(path) = self.path(folder, &name) {
                    self.leave(&path);
                    changes.push(FolderChange::Gone(path));
                }
            }
            // of any other one than the root, the folder that it stood in tells more
            Happened::Moved(folder) => {
                if self.folders.get(&folder).is_some_and(String::is_empty) {
                    self.leave_all();
                }
            }
            Happened::Unwatched(folder) => {
                let Some(path) = self.folders.remove(&folder) else { return };
                self.numbers.remove(&path);
                // it has gone and may come again, or its file system has
                self.poll(&path);
            }
            Happened::Overflow => changes.push(FolderChange::Overflow),
        }
    }

    fn watch(&mut self, folder: &str, path: &Path) {
        // the user names the root, by a link or not; below it none is followed
        match self.notify.watch(path, folder.is_empty()) {
            Ok(number) => {
                self.polled.remove(folder);
                if let Some(before) = self.numbers.insert(folder.to_owned(), number)
                    && before != number
                {
                    self.folders.remove(&before);
                    self.notify.forget(before);
                }
                // moved from there, if it had another path
                if let Some(before) = self.folders.insert(number, folder.to_owned())
                    && before != folder
                {
                    self.numbers.remove(&before);
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                // of any other one, the folder that it stood in tells that it has come again
                if folder.is_empty() {
                    self.poll(folder);
                }
            }
            // whoever reads it is told so too, and says it
            Err(error) if Errno::from_io_error(&error) == Some(Errno::ACCESS) => {}
            Err(error) => {
                if !std::mem::replace(&mut self.limit_told, true) {
                    let why = match error.kind() {
                        ErrorKind::StorageFull => "fs.inotify.max_user_watches is reached".to_owned(),
                        _ => reason(&error),
                    };
                    let every = POLL.as_secs();
                    message::say(format!("{why}; the other folders are scanned every {every} s"));
                }
                self.poll(folder);
            }
        }
    }

    /// A folder, or the rest of it, cannot be read: not now, and nobody tells when it can.
    fn unread(&mut self, folder: &str, path: &Path, error: &io::Error) {
        self.poll(folder);
        self.tell_once(Trouble::Unread(folder.to_owned()), || {
            format!("{}: {}", path.display(), reason(error))
        });
    }

    fn poll(&mut self, folder: &str) {
        self.polled.insert(folder.to_owned());
    }

    /// A folder has gone, with all that is below it.
    fn leave(&mut self, folder: &str) {
        let below = paths_below(folder);
        self.polled.retain(|path| path != folder && !below.contains(path));
        let watched: Vec<String> = self.numbers.range(below).map(|(path, _)| path.clone()).collect();
        for path in watched.iter().map(String::as_str).chain([folder]) {
            if let Some(number) = self.numbers.remove(path) {
                self.folders.remove(&number);
                self.notify.forget(number);
            }
        }
    }

    /// The root was moved, or is covered, or its path leads elsewhere: what happens there is of no interest, and another
    /// folder may have its place.
    fn leave_all(&mut self) {
        self.folders.drain().for_each(|(number, _)| self.notify.forget(number));
        self.numbers.clear();
        self.polled.clear();
        self.poll("");
    }

    /// The file at a path; none if there is none.
    fn file(&self, path: &str) -> io::Result<Option<Metadata>> {
        match self.root.join(path).symlink_metadata() {
            Ok(found) => Ok(Some(found).filter(Metadata::is_file)),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Where something below the root is, or the root itself.
    fn place(&self, path: &str) -> PathBuf {
        // joined to nothing, the root would end in a slash
        if path.is_empty() { self.root.clone() } else { self.root.join(path) }
    }

    fn is_archive(&self, path: &Path) -> bool {
        let Some(Ok(archive)) = self.archive.as_deref().map(identity_of) else { return false };
        identity_of(path).is_ok_and(|identity| identity == archive)
    }

    fn path(&mut self, folder: Folder, name: &OsStr) -> Option<String> {
        let folder = self.folders.get(&folder)?.clone();
        self.below(&folder, name)
    }

    fn below(&mut self, folder: &str, name: &OsStr) -> Option<String> {
        match name.to_str() {
            Some(name) if folder.is_empty() => Some(name.to_owned()),
            Some(name) => Some(format!("{folder}/{name}")),
            None => {
                let path = self.root.join(folder).join(name);
                self.tell_once(Trouble::Odd(path.clone()), || {
                    format!("{}: not sent: the name is not UTF-8", path.display())
                });
                None
            }
        }
    }

    fn tell_once(&mut self, trouble: Trouble, line: impl FnOnce() -> String) {
        if self.told.len() < TOLD_MAX && self.told.insert(trouble) {
            message::say(line());
        }
    }
}

/// Which folder it is, by links or not.
pub(super) fn identity_of(folder: &Path) -> io::Result<FileId> {
    let metadata = folder.metadata()?;
    if metadata.is_dir() { Ok(FileId::from(&metadata)) } else { Err(ErrorKind::NotADirectory.into()) }
}
