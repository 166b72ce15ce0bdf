//! A folder of the kernel's, and nothing outside of it.
//!
//! Every path is opened from the folder's descriptor, as `below` does it, and never plainly. Whether there is an openat2 is
//! found out once.

use super::below::{FOLDER, at_once, by_parts};
use super::disk::{Contents, Disk, Found, Standing};
use crate::sys::file_id::FileId;
use crate::sys::writeback::Writeback;
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags, RenameFlags, Stat, flock, fstat, fstatvfs,
    fsync, ftruncate, linkat, mkdirat, openat, renameat, renameat_with, stat, statat, unlinkat,
};
use rustix::io::Errno;
use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Kernels take no path of 4096 bytes in one call.
const AT_ONCE: usize = 4000;

/// A folder.
pub(crate) struct Beneath {
    root: OwnedFd,
    /// Where it was opened, and which folder it is.
    path: PathBuf,
    identity: FileId,
    /// openat2 is to be had.
    whole: bool,
    /// Renaming without replacing is to be had; false once the kernel or the file system said no.
    exclusive: AtomicBool,
}

impl Beneath {
    /// The folder that this path leads to, which the user names: symbolic links on the way there are the user's own.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let root = openat(CWD, path, FOLDER.difference(OFlags::NOFOLLOW), Mode::empty())?;
        let whole = at_once(root.as_fd(), ".", FOLDER).is_ok();
        let (path, identity) = (std::path::absolute(path)?, FileId::from(&fstat(&root)?));
        Ok(Beneath { root, path, identity, whole, exclusive: AtomicBool::new(true) })
    }

    /// Takes the folder for this process alone, for as long as what is returned lives. None: another one has it.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn claim(&self, path: &str) -> io::Result<Option<File>> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let (folder, last) = self.parent(path)?;
        let file = openat(folder.as_fd(), last, flags, Mode::from_raw_mode(0o600))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file.into())),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// The folder that the path stands in, and its last part.
    fn parent<'a>(&self, path: &'a str) -> io::Result<(Handle<'_>, &'a str)> {
        match path.rsplit_once('/') {
            None => Ok((Handle::Root(self.root.as_fd()), path)),
            Some((folder, last)) => Ok((Handle::Below(self.folder(folder)?), last)),
        }
    }

    /// Opens a folder for reading.
    fn folder(&self, path: &str) -> io::Result<OwnedFd> {
        if self.whole && path.len() < AT_ONCE {
            let path = if path.is_empty() { "." } else { path };
            return at_once(self.root.as_fd(), path, FOLDER);
        }
        by_parts(openat(&self.root, ".", FOLDER, Mode::empty())?, path, FOLDER)
    }

    /// A link and then one name less, where the kernel can't rename without replacing, or has `forbidden` it. A crash
    /// between the two leaves both names for one file.
    fn rename_by_linking(
        &self,
        from: (BorrowedFd<'_>, &str),
        to: (BorrowedFd<'_>, &str),
        forbidden: bool,
    ) -> io::Result<()> {
        linkat(from.0, from.1, to.0, to.1, AtFlags::empty()).map_err(|error| not_linked(error, forbidden))?;
        Ok(unlinkat(from.0, from.1, AtFlags::empty())?)
    }
}

enum Handle<'a> {
    Root(BorrowedFd<'a>),
    Below(OwnedFd),
}

impl AsFd for Handle<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Handle::Root(root) => *root,
            Handle::Below(folder) => folder.as_fd(),
        }
    }
}

/// Why a link was not made, which was the last way to give a name and replace nothing. Where renaming was forbidden as well,
/// as in a folder that may not be changed, that is what the kernel says of both.
fn not_linked(error: Errno, forbidden: bool) -> io::Error {
    match error {
        Errno::PERM if forbidden => error.into(),
        Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS => io::Error::other(
            "the file system can neither link nor rename without replacing, or may not be changed",
        ),
        error => error.into(),
    }
}

impl Disk for Beneath {
    type File = File;

    fn moved(&self) -> Option<&Path> {
        let moved = match stat(&self.path) {
            Ok(stat) => FileId::from(&stat) != self.identity,
            // what cannot be asked is where it was
            Err(e) => matches!(e, Errno::NOENT | Errno::NOTDIR | Errno::LOOP),
        };
        moved.then_some(&self.path)
    }

    fn look(&self, path: &str) -> io::Result<Found> {
        let found = self.parent(path).and_then(|(folder, last)| {
            let last: Cow<'_, str> = if last.is_empty() { ".".into() } else { last.into() };
            Ok(statat(folder.as_fd(), &*last, AtFlags::SYMLINK_NOFOLLOW)?)
        });
        match found {
            Ok(stat) => Ok(match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => Found::File(standing(&stat)),
                FileType::Directory => Found::Folder,
                _ => Found::Other,
            }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
            Err(e) => Err(e),
        }
    }

    fn open(&self, path: &str, write: bool) -> io::Result<File> {
        let (folder, last) = self.parent(path)?;
        let access = if write { OFlags::RDWR } else { OFlags::RDONLY };
        // without waiting for whoever is at the other end of a pipe that stands there
        let flags = access | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = openat(folder.as_fd(), last, flags, Mode::empty())?;
        match FileType::from_raw_mode(fstat(&file)?.st_mode) {
            FileType::RegularFile => Ok(file.into()),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file")),
        }
    }

    fn create(&self, path: &str) -> io::Result<File> {
        let (folder, last) = self.parent(path)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // as any program makes its files: the umask is the user's word on who may read them
        Ok(openat(folder.as_fd(), last, flags, Mode::from_raw_mode(0o666))?.into())
    }

    fn make_folder(&self, path: &str, private: bool) -> io::Result<()> {
        let (folder, last) = self.parent(path)?;
        let mode = Mode::from_raw_mode(if private { 0o700 } else { 0o777 });
        match mkdirat(folder.as_fd(), last, mode) {
            // it must be a folder, and no link to one
            Err(Errno::EXIST) => self.folder(path).map(drop),
            made => Ok(made?),
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let ((from_folder, from), (to_folder, to)) = (self.parent(from)?, self.parent(to)?);
        let (from, to) = ((from_folder.as_fd(), from), (to_folder.as_fd(), to));
        if self.exclusive.load(Ordering::Relaxed) {
            match renameat_with(from.0, from.1, to.0, to.1, RenameFlags::NOREPLACE) {
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                    self.exclusive.store(false, Ordering::Relaxed);
                }
                // a sandbox does not allow the call, or the folder may not be changed: then a link is forbidden too
                Err(Errno::PERM) => return self.rename_by_linking(from, to, true),
                renamed => return Ok(renamed?),
            }
        }
        self.rename_by_linking(from, to, false)
    }

    fn replace(&self, from: &str, to: &str) -> io::Result<()> {
        let ((from_folder, from), (to_folder, to)) = (self.parent(from)?, self.parent(to)?);
        Ok(renameat(from_folder.as_fd(), from, to_folder.as_fd(), to)?)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let removed = self
            .parent(path)
            .and_then(|(folder, last)| Ok(unlinkat(folder.as_fd(), last, AtFlags::empty())?));
        match removed {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn sync_folder(&self, path: &str) -> io::Result<()> {
        Ok(fsync(self.folder(path)?)?)
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let folder = match self.folder(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            folder => folder?,
        };
        let mut names = Vec::new();
        for entry in Dir::new(folder)? {
            let entry = entry?;
            // ours are all UTF-8
            if let Ok(name) = entry.file_name().to_str()
                && name != "."
                && name != ".."
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    fn free(&self) -> io::Result<u64> {
        let stat = fstatvfs(&self.root)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

impl Contents for File {
    fn read_at(&self, space: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match FileExt::read_at(self, space, offset) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        Ok(ftruncate(&*self, length)?)
    }

    fn sync(&mut self) -> io::Result<()> {
        // with its times, by which a file is known again
        self.sync_all()
    }

    fn standing(&self) -> io::Result<Standing> {
        Ok(standing(&fstat(self)?))
    }

    fn writeback(&self) -> Option<Writeback> {
        Writeback::new(self).ok()
    }
}

fn standing(stat: &Stat) -> Standing {
    Standing {
        size: u64::try_from(stat.st_size).unwrap_or(0),
        inode: stat.st_ino,
        links: u64::from(stat.st_nlink as u32),
        modified: stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(stat.st_mtime_nsec as i64),
    }
}

#[cfg(test)]
mod tests {
    use super::super::disk::read_whole;
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    /// Without the newer calls of the kernel, as where a sandbox forbids them.
    fn open_the_other_way(path: &Path) -> io::Result<Beneath> {
        Ok(Beneath { whole: false, exclusive: AtomicBool::new(false), ..Beneath::open(path)? })
    }

    /// Both ways of opening and renaming, in a folder of their own, with another folder beside it.
    fn each(test: impl Fn(&Path, &Beneath)) {
        for open in [Beneath::open, open_the_other_way] {
            let outside = TempDir::new().unwrap();
            let path = outside.path().join("dir");
            fs::create_dir(&path).unwrap();
            fs::write(outside.path().join("secret"), "secret").unwrap();
            test(&path, &open(&path).unwrap());
            assert_eq!(fs::read(outside.path().join("secret")).unwrap(), b"secret");
            assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 2);
        }
    }

    fn filled(disk: &Beneath, path: &str, bytes: &[u8]) {
        let mut file = disk.create(path).unwrap();
        file.write_at(bytes, 0).unwrap();
        file.sync().unwrap();
    }

    #[test]
    fn a_folder_is_moved_when_its_path_leads_elsewhere() {
        let outside = TempDir::new().unwrap();
        let [path, away, link] = ["dir", "away", "link"].map(|name| outside.path().join(name));
        fs::create_dir(&path).unwrap();
        symlink(&path, &link).unwrap();
        let disks = [&path, &link].map(|path| Beneath::open(path).unwrap());
        let moved = || disks.each_ref().map(|disk| disk.moved().is_some());
        assert_eq!(moved(), [false; 2]);
        fs::rename(&path, &away).unwrap();
        assert_eq!(moved(), [true; 2]);
        fs::create_dir(&path).unwrap();
        assert_eq!(moved(), [true; 2], "another one of that name");
        fs::remove_dir(&path).unwrap();
        fs::rename(&away, &path).unwrap();
        assert_eq!(moved(), [false; 2]);
        fs::remove_dir(&path).unwrap();
        assert_eq!(moved(), [true; 2]);
    }

    #[test]
    fn a_file_system_without_any_way_to_give_a_name_is_told_so() {
        let told = not_linked(Errno::PERM, false);
        assert!(told.to_string().contains("neither link nor rename"), "{told}");
        assert_eq!(not_linked(Errno::PERM, true).kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(not_linked(Errno::EXIST, false).kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(not_linked(Errno::NOSPC, true).kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn openat2_is_used_where_it_is_to_be_had() {
        let dir = TempDir::new().unwrap();
        let here = at_once(openat(CWD, dir.path(), FOLDER, Mode::empty()).unwrap().as_fd(), ".", FOLDER);
        assert_eq!(Beneath::open(dir.path()).unwrap().whole, here.is_ok());
    }

    #[test]
    fn nothing_leads_out_of_the_folder() {
        each(|path, disk| {
            symlink("..", path.join("up")).unwrap();
            symlink("../secret", path.join("file")).unwrap();
            symlink("/nowhere", path.join("dangling")).unwrap();
            for way in ["up/secret", "up/new", "up/a/b"] {
                let error = disk.look(way).unwrap_err();
                assert_eq!(error.raw_os_error(), Some(Errno::LOOP.raw_os_error()), "{way}");
                assert!(disk.open(way, true).is_err() && disk.create(way).is_err(), "{way}");
                assert!(disk.make_folder(way, false).is_err() && disk.remove(way).is_err(), "{way}");
            }
            for link in ["up", "file", "dangling"] {
                assert_eq!(disk.look(link).unwrap(), Found::Other);
                assert!(disk.open(link, false).is_err(), "{link}");
                assert_eq!(disk.create(link).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
                assert!(disk.make_folder(link, false).is_err(), "{link}");
                filled(disk, "new", b"new");
                assert_eq!(disk.rename("new", link).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
                assert!(disk.rename("new", "up/new").is_err() && disk.replace("new", "up/new").is_err());
                disk.remove("new").unwrap();
            }
            assert!(disk.sync_folder("up").is_err() && disk.list("up").is_err());
        });
    }

    #[test]
    fn what_stands_there_is_told_and_only_files_are_opened() {
        each(|path, disk| {
            disk.make_folder("a", false).unwrap();
            disk.make_folder("a", false).unwrap();
            filled(disk, "a/file", b"12345");
            rustix::fs::mkfifoat(CWD, path.join("fifo"), Mode::from_raw_mode(0o600)).unwrap();
            assert!(matches!(disk.look("a/file").unwrap(), Found::File(Standing { size: 5, links: 1, .. })));
            assert_eq!(disk.look("a").unwrap(), Found::Folder);
            assert_eq!(disk.look("fifo").unwrap(), Found::Other);
            assert_eq!(disk.look("b/c/d").unwrap(), Found::Nothing);
            assert_eq!(disk.look("a/file/x").unwrap_err().kind(), io::ErrorKind::NotADirectory);
            // neither waits for a writer
            assert!(disk.open("fifo", false).is_err() && disk.open("a", false).is_err());
            assert_eq!(disk.make_folder("a/file", false).unwrap_err().kind(), io::ErrorKind::NotADirectory);
            let mut names = disk.list("").unwrap();
            names.sort();
            assert_eq!(names, ["a", "fifo"]);
            assert_eq!(disk.list("b").unwrap(), [""; 0]);
            assert!(disk.free().unwrap() > 0);
        });
    }

    #[test]
    fn a_rename_replaces_nothing_and_a_replacement_does() {
        each(|_, disk| {
            disk.make_folder("sub", false).unwrap();
            filled(disk, "old", b"old");
            filled(disk, "sub/new", b"new");
            for taken in ["old", "sub"] {
                let error = disk.rename("sub/new", taken).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "{taken}");
            }
            disk.rename("sub/new", "new").unwrap();
            assert_eq!(disk.look("sub/new").unwrap(), Found::Nothing);
            disk.replace("new", "old").unwrap();
            assert_eq!(read_whole(&disk.open("old", false).unwrap(), 3).unwrap(), b"new");
            assert!(read_whole(&disk.open("old", false).unwrap(), 2).is_err());
            disk.sync_folder("sub").unwrap();
            disk.sync_folder("").unwrap();
            disk.remove("old").unwrap();
            disk.remove("old").unwrap();
            assert!(disk.replace("sub", "x/y").is_err());
        });
    }

    #[test]
    fn the_longest_names_are_no_trouble() {
        each(|_, disk| {
            let part = "x".repeat(255);
            let mut path = String::new();
            for _ in 0..15 {
                path += &part;
                disk.make_folder(&path, true).unwrap();
                path += "/";
            }
            path += &part[..200];
            disk.make_folder(&path, true).unwrap();
            disk.sync_folder(&path).unwrap();
            let file = format!("{path}/{}", &part[..4095 - path.len()]);
            assert_eq!(file.len(), 4096);
            filled(disk, &file, b"deep");
        });
    }

    #[test]
    fn one_process_has_the_folder() {
        each(|path, disk| {
            let claim = disk.claim("lock").unwrap().unwrap();
            assert!(Beneath::open(path).unwrap().claim("lock").unwrap().is_none());
            drop(claim);
            assert!(Beneath::open(path).unwrap().claim("lock").unwrap().is_some());
        });
    }
}
