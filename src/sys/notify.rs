//! What happens in folders: inotify; and whether somebody writes to a file: a lease.
//!
//! Elsewhere than on Linux there is neither, and whoever asks has to look again and again.
#![allow(unsafe_code)]

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

/// A watched folder, by the kernel's number.
pub(crate) type Folder = i32;

/// What has happened in a watched folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Happened {
    /// A file was closed after writing, or moved in.
    Complete(Folder, OsString),
    /// Something that is no folder got this name: a new file, or a link to one.
    Created(Folder, OsString),
    /// A folder was made, or moved in.
    FolderCame(Folder, OsString),
    /// A file, or a folder, was removed or moved away.
    Gone(Folder, OsString),
    /// The folder itself was moved, or has another name.
    Moved(Folder),
    /// The folder is not watched any more.
    Unwatched(Folder),
    /// Events were lost.
    Overflow,
}

#[cfg(target_os = "linux")]
mod linux {
    use super::{Folder, Happened};
    use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init, remove_watch};
    use rustix::io::Errno;
    use std::ffi::OsString;
    use std::fs::File;
    use std::io;
    use std::mem::MaybeUninit;
    use std::os::fd::{AsRawFd, OwnedFd};
    use std::os::unix::ffi::OsStringExt;
    use std::path::Path;

    /// libc does not have it; the same number on all architectures with an entry in asm-generic, which Rust's are.
    const F_SETSIG: libc::c_int = 10;

    pub(super) fn new() -> io::Result<OwnedFd> {
        Ok(init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?)
    }

    pub(super) fn watch(fd: &OwnedFd, folder: &Path, follow: bool) -> io::Result<Folder> {
        let wanted = WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVE
            | WatchFlags::MOVE_SELF
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::ONLYDIR
            | WatchFlags::EXCL_UNLINK;
        let links = if follow { WatchFlags::empty() } else { WatchFlags::DONT_FOLLOW };
        Ok(add_watch(fd, folder, wanted | links)?)
    }

    pub(super) fn forget(fd: &OwnedFd, folder: Folder) {
        // gone already, if it fails
        let _ = remove_watch(fd, folder);
    }

    pub(super) fn read(fd: &OwnedFd, hear: &mut dyn FnMut(Happened)) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); 1 << 16];
        let mut reader = Reader::new(fd, &mut space);
        loop {
            let event = match reader.next() {
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => continue,
                event => event?,
            };
            let (flags, folder) = (event.events(), event.wd());
            let name =
                || OsString::from_vec(event.file_name().map_or(vec![], |name| name.to_bytes().to_vec()));
            let came = ReadFlags::CREATE | ReadFlags::MOVED_TO;
            let went = ReadFlags::DELETE | ReadFlags::MOVED_FROM;
            if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                hear(Happened::Overflow);
            } else if flags.intersects(ReadFlags::IGNORED | ReadFlags::UNMOUNT) {
                hear(Happened::Unwatched(folder));
            } else if flags.contains(ReadFlags::MOVE_SELF) {
                hear(Happened::Moved(folder));
            } else if flags.intersects(went) {
                hear(Happened::Gone(folder, name()));
            } else if flags.contains(ReadFlags::ISDIR) && flags.intersects(came) {
                hear(Happened::FolderCame(folder, name()));
            } else if flags.intersects(ReadFlags::CLOSE_WRITE | ReadFlags::MOVED_TO) {
                hear(Happened::Complete(folder, name()));
            } else if flags.contains(ReadFlags::CREATE) {
                hear(Happened::Created(folder, name()));
            }
        }
    }

    pub(super) fn is_written(file: &File) -> Option<bool> {
        let fd = file.as_raw_fd();
        // whoever opens it for writing meanwhile has the kernel tell us, by a signal that nobody hears by default
        // SAFETY: `fd` is open, and these calls have no pointers.
        unsafe {
            if libc::fcntl(fd, F_SETSIG, libc::SIGURG) != 0 {
                return None;
            }
            if libc::fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK) == 0 {
                libc::fcntl(fd, libc::F_SETLEASE, libc::F_UNLCK);
                return Some(false);
            }
        }
        (io::Error::last_os_error().raw_os_error() == Some(libc::EAGAIN)).then_some(true)
    }
}

/// Hears what happens in folders.
pub(crate) struct Notify {
    #[cfg(target_os = "linux")]
    fd: std::os::fd::OwnedFd,
    #[cfg(not(target_os = "linux"))]
    bell: super::bell::Bell,
}

#[cfg(target_os = "linux")]
impl Notify {
    /// Hears nothing yet.
    ///
    /// # Errors
    /// No descriptor left, or this user has too many of these.
    pub(crate) fn new() -> io::Result<Self> {
        linux::new().map(|fd| Notify { fd })
    }

    /// Hears of this folder, not of those below it, from now on; one that was watched has the number that it had. `follow`:
    /// where the path is a symbolic link, the folder that it leads to is meant.
    ///
    /// # Errors
    /// `StorageFull`: the kernel's limit of watched folders is reached. `NotADirectory`: it is none, or it is a link that is
    /// not followed. Else the folder's.
    pub(crate) fn watch(&self, folder: &Path, follow: bool) -> io::Result<Folder> {
        linux::watch(&self.fd, folder, follow)
    }

    /// Hears no more of it, except [`Happened::Unwatched`].
    pub(crate) fn forget(&self, folder: Folder) {
        linux::forget(&self.fd, folder);
    }

    /// Tells all that has happened; does not wait.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn read(&self, mut hear: impl FnMut(Happened)) -> io::Result<()> {
        linux::read(&self.fd, &mut hear)
    }
}

#[cfg(not(target_os = "linux"))]
impl Notify {
    /// Never hears anything here.
    ///
    /// # Errors
    /// No descriptor left.
    pub(crate) fn new() -> io::Result<Self> {
        super::bell::Bell::new().map(|bell| Notify { bell })
    }

    /// Cannot be done here.
    ///
    /// # Errors
    /// Always `StorageFull`, as where no more folders can be watched.
    pub(crate) fn watch(&self, _: &Path, _: bool) -> io::Result<Folder> {
        Err(io::ErrorKind::StorageFull.into())
    }

    /// There is none.
    pub(crate) fn forget(&self, _: Folder) {}

    /// Nothing has happened.
    ///
    /// # Errors
    /// None.
    pub(crate) fn read(&self, _: impl FnMut(Happened)) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Notify {
    /// Readable when something has happened.
    fn as_fd(&self) -> BorrowedFd<'_> {
        #[cfg(target_os = "linux")]
        return self.fd.as_fd();
        #[cfg(not(target_os = "linux"))]
        return self.bell.as_fd();
    }
}

/// Whether somebody has a file open for writing; none if that cannot be told: it is another user's, or the file system
/// has no leases. `file` was opened for reading.
pub(crate) fn is_written(file: &File) -> Option<bool> {
    #[cfg(target_os = "linux")]
    return linux::is_written(file);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = file;
        None
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_happens_in_a_folder_is_heard() {
        let dir = tempfile::tempdir().unwrap();
        let notify = Notify::new().unwrap();
        let folder = notify.watch(dir.path(), false).unwrap();
        let heard = || {
            let mut heard = vec![];
            notify.read(|event| heard.push(event)).unwrap();
            heard
        };
        assert_eq!(heard(), []);
        fs::write(dir.path().join("a"), b"x").unwrap();
        assert_eq!(heard(), [Happened::Created(folder, "a".into()), Happened::Complete(folder, "a".into())]);
        fs::rename(dir.path().join("a"), dir.path().join("b")).unwrap();
        assert_eq!(heard(), [Happened::Gone(folder, "a".into()), Happened::Complete(folder, "b".into())]);
        fs::create_dir(dir.path().join("c")).unwrap();
        fs::remove_dir(dir.path().join("c")).unwrap();
        assert_eq!(heard(), [Happened::FolderCame(folder, "c".into()), Happened::Gone(folder, "c".into())]);
        let away = dir.path().with_extension("away");
        fs::rename(dir.path(), &away).unwrap();
        assert_eq!(heard(), [Happened::Moved(folder)]);
        fs::rename(&away, dir.path()).unwrap();
        assert_eq!(heard(), [Happened::Moved(folder)]);
        notify.forget(folder);
        assert_eq!(heard(), [Happened::Unwatched(folder)]);
    }

    #[test]
    fn a_link_leads_to_a_folder_where_it_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let [folder, link] = ["folder", "link"].map(|name| dir.path().join(name));
        fs::create_dir(&folder).unwrap();
        std::os::unix::fs::symlink("folder", &link).unwrap();
        let notify = Notify::new().unwrap();
        assert_eq!(notify.watch(&link, false).unwrap_err().kind(), io::ErrorKind::NotADirectory);
        assert_eq!(notify.watch(&link, true).unwrap(), notify.watch(&folder, false).unwrap());
    }

    #[test]
    fn a_writer_is_seen_where_there_are_leases() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let writer = File::create(&path).unwrap();
        let reader = File::open(&path).unwrap();
        let written = is_written(&reader);
        drop(writer);
        // a process that another test forks may have the writer for a moment
        while is_written(&reader) == Some(true) {
            std::thread::yield_now();
        }
        assert!(matches!((written, is_written(&reader)), (Some(true), Some(false)) | (None, None)));
    }
}
