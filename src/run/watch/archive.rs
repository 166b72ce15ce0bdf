//! Where files go that are stored: moved in one step, if they are still what was sent, and never over another one.

use super::look::{Standing, is_gone, look_in};
use super::tree::{Tree, identity_of};
use crate::error::{Failure, reason};
use crate::message;
use crate::store::below::folder_below;
use crate::store::ripe::{FolderChange, Seen};
use crate::sys::file_id::FileId;
use crate::sys::limits::is_short;
use rustix::fs::{AtFlags, RenameFlags, linkat, renameat, renameat_with, statat, unlinkat};
use rustix::io::Errno;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// The archive of a folder.
pub(super) struct Archive {
    folder: PathBuf,
    to: PathBuf,
    /// The kernel can rename without replacing, as far as is known.
    exclusive: bool,
}

/// What became of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Moved {
    /// It is in the archive.
    Away,
    /// It stays, because it is another one by now.
    Changed,
    /// It stays, for this reason.
    Not(String),
}

impl Archive {
    /// Of the files of `folder`, at `to`.
    ///
    /// # Errors
    /// There is none, or files cannot be moved there in one step.
    pub(super) fn open(folder: &Path, to: &Path) -> Result<Self, Failure> {
        let of = |path: &Path, word: &str| {
            let identity = identity_of(path);
            identity.map_err(|e| Failure::output(format!("{word} {}: {}", path.display(), reason(&e))))
        };
        let (here, there) = (of(folder, "watch")?, of(to, "archive")?);
        if here == there {
            return Err(Failure::usage("archive is the folder that is watched"));
        }
        if here.device != there.device {
            let shown = to.display();
            return Err(Failure::usage(format!("archive {shown} is not on the file system that is watched")));
        }
        Ok(Archive { folder: folder.to_owned(), to: to.to_owned(), exclusive: true })
    }

    /// Its folder, which may be another one by that name from time to time.
    pub(super) fn path(&self) -> &Path {
        &self.to
    }

    /// Moves a file there that stood so when it was sent.
    ///
    /// # Errors
    /// It stays for now: it cannot be looked at or moved at this moment.
    pub(super) fn take(&mut self, path: &str, seen: &Seen) -> io::Result<Moved> {
        let (folder, last) = path.rsplit_once('/').unwrap_or(("", path));
        let here = match folder_below(&self.folder, folder) {
            Ok(here) => here,
            Err(error) if is_gone(&error) => return Ok(Moved::Changed),
            Err(error) => return Err(error),
        };
        // whoever has it open for writing closes it, and then it is looked at again
        let stands = |found: Standing| found.0 == *seen && found.1 != Some(true);
        if !look_in(here.as_fd(), last)?.is_some_and(stands) {
            return Ok(Moved::Changed);
        }
        let made = fs::create_dir_all(self.to.join(folder)).and_then(|()| folder_below(&self.to, folder));
        let there = match made {
            Ok(there) => there,
            Err(error) => return not_moved(error),
        };
        let (from, to) = ((here.as_fd(), last), (there.as_fd(), last));
        if let Err(error) = self.rename(from, to) {
            return match error.kind() {
                io::ErrorKind::AlreadyExists => Ok(Moved::Not("a file of that name is there".into())),
                io::ErrorKind::NotFound => Ok(Moved::Changed),
                _ => not_moved(error),
            };
        }
        // moving it changes one time of it; the others tell whether it changed between looking and moving
        let same = |now: &Seen| Seen { changed: seen.changed, ..*now } == *seen;
        let found = look_in(to.0, to.1);
        match found {
            Ok(Some((now, writing))) if same(&now) && writing != Some(true) => Ok(Moved::Away),
            found => match self.rename(to, from) {
                Ok(()) => found.map(|_| Moved::Changed),
                Err(error) => Ok(Moved::Not(format!(
                    "it may have changed on the way, and is there now: {}",
                    reason(&error)
                ))),
            },
        }
    }

    fn rename(&mut self, from: Spot<'_>, to: Spot<'_>) -> io::Result<()> {
        if self.exclusive {
            match renameat_with(from.0, from.1, to.0, to.1, RenameFlags::NOREPLACE) {
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => self.exclusive = false,
                // a sandbox's way of saying that it does not allow the call, or the file system's of its own no
                Err(Errno::PERM) => {}
                renamed => return Ok(renamed?),
            }
        }
        linkat(from.0, from.1, to.0, to.1, AtFlags::empty())?;
        take_name(from, to)
    }
}

/// Moves a file of the tree to the archive if it stands so. Gives what there is to tell of it.
pub(super) fn put_away(archive: &mut Archive, tree: &mut Tree, path: String, seen: &Seen) -> FolderChange {
    // Whoever had the file open may have closed it between the attempt to move it and the look: then the second attempt
    // succeeds. A file that looks unchanged after both stays.
    let mut kept = "it counts as changed, though it looks the same".to_owned();
    for _ in 0..2 {
        match archive.take(&path, seen) {
            // where the kernel does not watch, nobody else tells
            Ok(Moved::Away) => return FolderChange::Gone(path),
            Err(error) => return tree.unseen(path, &error),
            Ok(Moved::Changed) => {
                let found = tree.look(path.clone());
                let stands = matches!(&found, FolderChange::Found { seen: now, writing, .. }
                    if now == seen && *writing != Some(true));
                if !stands {
                    return found;
                }
            }
            Ok(Moved::Not(why)) => {
                kept = why;
                break;
            }
        }
    }
    message::say(format!("{path}: stored, but not moved to the archive: {kept}"));
    FolderChange::Kept(path)
}

/// It could not be moved: for good, unless it is for want of what there may be the next time.
fn not_moved(error: io::Error) -> io::Result<Moved> {
    if is_short(&error) { Err(error) } else { Ok(Moved::Not(reason(&error))) }
}

/// A name in a folder.
type Spot<'a> = (BorrowedFd<'a>, &'a str);

/// Takes the name `from` away from the file that has the name `to` as well. It may be another file's by now, which is to
/// keep it: only a name that nobody else knows is surely that of the file that it was looked at as.
///
/// # Errors
/// `NotFound`: it is another file's, and still is. Else the kernel's.
fn take_name(from: Spot<'_>, to: Spot<'_>) -> io::Result<()> {
    let aside = format!(".millipede-{:032x}", rand::random::<u128>());
    let aside = (to.0, aside.as_str());
    renameat(from.0, from.1, aside.0, aside.1)?;
    let remove = || unlinkat(aside.0, aside.1, AtFlags::empty());
    let identity =
        |spot: Spot<'_>| statat(spot.0, spot.1, AtFlags::SYMLINK_NOFOLLOW).map(|found| FileId::from(&found));
    if identity(aside)? == identity(to)? {
        return Ok(remove()?);
    }
    match linkat(aside.0, aside.1, from.0, from.1, AtFlags::empty()) {
        // a third one has the name, and would have taken it from this one
        Ok(()) | Err(Errno::EXIST) => remove()?,
        Err(error) => return Err(error.into()),
    }
    Err(io::ErrorKind::NotFound.into())
}

#[cfg(test)]
mod tests {
    use super::super::look::look_at;
    use super::*;

    #[test]
    fn whoever_moves_a_file_to_the_archive_tells_that_it_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let [folder, to] = ["folder", "to"].map(|name| dir.path().join(name));
        [&folder, &to].into_iter().for_each(|made| fs::create_dir(made).unwrap());
        fs::write(folder.join("a"), "a").unwrap();
        // not scanned yet: the kernel does not tell it anything
        let mut tree = Tree::open(&folder, Some(&to)).unwrap();
        let mut archive = Archive::open(&folder, &to).unwrap();
        let (seen, _) = look_at(&folder, "a").unwrap().unwrap();
        assert_eq!(put_away(&mut archive, &mut tree, "a".into(), &seen), FolderChange::Gone("a".into()));
        assert_eq!(fs::read(to.join("a")).unwrap(), b"a");
    }

    #[test]
    fn a_file_is_moved_if_it_is_the_one_that_was_sent_and_never_over_another() {
        for exclusive in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            let (from, to) = (dir.path().join("from"), dir.path().join("to"));
            fs::create_dir_all(from.join("sub")).unwrap();
            fs::create_dir(&to).unwrap();
            let mut archive = Archive { exclusive, ..Archive::open(&from, &to).unwrap() };
            let write = |name: &str, text: &str| {
                fs::write(from.join(name), text).unwrap();
                // a program that another test starts at this moment has the file open for writing, for a moment
                std::iter::repeat_with(|| look_at(&from, name).unwrap().unwrap())
                    .find_map(|(seen, writing)| (writing != Some(true)).then_some(seen))
                    .unwrap()
            };
            let seen = write("sub/a", "1");
            assert_eq!(archive.take("sub/a", &seen).unwrap(), Moved::Away);
            assert!(!from.join("sub/a").exists());
            assert_eq!(fs::read(to.join("sub/a")).unwrap(), b"1");
            // another one in its place
            let seen = write("sub/a", "2");
            assert!(
                matches!(archive.take("sub/a", &seen).unwrap(), Moved::Not(why) if why.contains("is there"))
            );
            assert_eq!(fs::read(to.join("sub/a")).unwrap(), b"1");
            assert_eq!(fs::read(from.join("sub/a")).unwrap(), b"2");
            // changed since
            let seen = write("b", "1");
            write("b", "23");
            assert_eq!(archive.take("b", &seen).unwrap(), Moved::Changed);
            assert!(from.join("b").exists() && !to.join("b").exists());
            fs::remove_file(from.join("b")).unwrap();
            assert_eq!(archive.take("b", &seen).unwrap(), Moved::Changed);
        }
    }

    #[test]
    fn where_a_name_is_not_moved_in_one_step_a_file_that_came_meanwhile_keeps_it() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir(&from).unwrap();
        fs::create_dir(&to).unwrap();
        let (here, there) = (folder_below(&from, "").unwrap(), folder_below(&to, "").unwrap());
        let take_name = || take_name((here.as_fd(), "a"), (there.as_fd(), "a"));
        fs::write(from.join("a"), "sent").unwrap();
        fs::hard_link(from.join("a"), to.join("a")).unwrap();
        fs::write(from.join("new"), "not sent").unwrap();
        fs::rename(from.join("new"), from.join("a")).unwrap();
        assert_eq!(take_name().map_err(|error| error.kind()), Err(io::ErrorKind::NotFound));
        assert_eq!(fs::read(from.join("a")).unwrap(), b"not sent");
        assert_eq!(fs::read(to.join("a")).unwrap(), b"sent");
        assert_eq!(fs::read_dir(&to).unwrap().count(), 1);
        fs::remove_file(to.join("a")).unwrap();
        fs::hard_link(from.join("a"), to.join("a")).unwrap();
        take_name().unwrap();
        assert!(!from.join("a").exists());
        assert_eq!(fs::read_dir(&to).unwrap().count(), 1);
    }

    #[test]
    fn one_that_cannot_be_looked_at_has_not_changed() {
        let dir = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| dir.path().join(name));
        for folder in [&from, &to] {
            fs::create_dir(folder).unwrap();
        }
        fs::write(from.join("a"), "a").unwrap();
        let seen = look_at(&from, "a").unwrap().unwrap().0;
        let mut archive = Archive::open(&from, &to).unwrap();
        // no kernel takes such a name, which it says as it says that it has no descriptors left
        let long = "x".repeat(256);
        for path in [long.clone(), format!("{long}/a")] {
            assert!(archive.take(&path, &seen).is_err());
        }
        assert!(not_moved(Errno::MFILE.into()).is_err());
        assert!(matches!(not_moved(Errno::ROFS.into()), Ok(Moved::Not(_))));
    }

    #[test]
    fn nothing_is_moved_that_a_link_leads_to() {
        let dir = tempfile::tempdir().unwrap();
        let [from, to, other] = ["from", "to", "other"].map(|name| dir.path().join(name));
        for folder in [&from, &to, &other] {
            fs::create_dir(folder).unwrap();
        }
        fs::write(other.join("a"), "another's").unwrap();
        let seen = look_at(&other, "a").unwrap().unwrap().0;
        let mut archive = Archive::open(&from, &to).unwrap();
        std::os::unix::fs::symlink("../other", from.join("sub")).unwrap();
        assert_eq!(archive.take("sub/a", &seen).unwrap(), Moved::Changed);
        assert!(other.join("a").exists());
    }
}
