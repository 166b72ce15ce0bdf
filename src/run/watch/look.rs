//! How a file stands, and whether somebody writes to it.
//!
//! That a file is gone is told from that it cannot be looked at, as where there are no descriptors left: what is gone is
//! forgotten, anything else is not.

use crate::store::below::folder_below;
use crate::store::ripe::Seen;
use crate::sys::notify::is_written;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

/// How a file stands, and whether somebody writes to it; none where that cannot be told.
pub(super) type Standing = (Seen, Option<bool>);

/// How a file at a path below a folder stands; none if there is none, or something else, or a symbolic link on the way.
///
/// # Errors
/// Nobody can say at this moment.
pub(super) fn look_at(root: &Path, path: &str) -> io::Result<Option<Standing>> {
    let (folder, last) = path.rsplit_once('/').unwrap_or(("", path));
    match folder_below(root, folder) {
        Ok(folder) => look_in(folder.as_fd(), last),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The same of a file in this folder.
///
/// # Errors
/// As with [`look_at`].
pub(super) fn look_in(folder: BorrowedFd<'_>, name: &str) -> io::Result<Option<Standing>> {
    match open_and_look(folder, name) {
        Err(error) if is_gone(&error) => Ok(None),
        standing => standing,
    }
}

/// The same; that it is gone is an error too.
fn open_and_look(folder: BorrowedFd<'_>, name: &str) -> io::Result<Option<Standing>> {
    let open = |access| {
        let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        openat(folder, name, flags, Mode::empty()).map(File::from)
    };
    // first without opening it in earnest: it may be a pipe or a device
    let Some(seen) = seen_of(&open(OFlags::PATH)?)? else { return Ok(None) };
    let file = match open(OFlags::RDONLY) {
        // who sends it will say so
        Err(Errno::ACCESS | Errno::PERM) => return Ok(Some((seen, None))),
        file => file?,
    };
    // whether it is written to first: who ends writing after that is seen by the times
    let writing = is_written(&file);
    Ok(seen_of(&file)?.map(|seen| (seen, writing)))
}

/// How an open file stands; none if it is something else.
fn seen_of(file: &File) -> io::Result<Option<Seen>> {
    Ok(Some(file.metadata()?).filter(Metadata::is_file).map(|found| Seen::of(&found)))
}

/// Whether this says that no file is there.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP))
}
