//! Opens folders below another one, and nothing outside of it: no symbolic link is followed on the way.
//!
//! The kernel's openat2 does this in one call. Where there is no openat2 (an old kernel, a sandbox), each part of the path
//! is opened with `O_NOFOLLOW`, which does the same.

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, openat, openat2, statat};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// openat2 says EAGAIN when something on the way was renamed at that moment.
const TRIES: usize = 16;

/// A folder, for reading what is in it.
pub(super) const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The folder at a path below another one, for looking up what is in it. The user names that other one; on the way from
/// there no symbolic link is followed.
///
/// # Errors
/// The kernel's.
pub(crate) fn folder_below(root: &Path, path: &str) -> io::Result<OwnedFd> {
    let flags = FOLDER.union(OFlags::PATH);
    let root = openat(CWD, root, flags.difference(OFlags::NOFOLLOW), Mode::empty())?;
    if path.is_empty() {
        return Ok(root);
    }
    match at_once(root.as_fd(), path, flags) {
        // where there is no such call, a sandbox forbids it, or the path is too long for one
        Err(e)
            if matches!(
                Errno::from_io_error(&e),
                Some(Errno::NOSYS | Errno::PERM | Errno::INVAL | Errno::NAMETOOLONG)
            ) =>
        {
            by_parts(root, path, flags)
        }
        opened => opened,
    }
}

/// Part by part, from that folder on.
pub(super) fn by_parts(mut at: OwnedFd, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
    for part in path.split('/').filter(|part| !part.is_empty()) {
        at = openat(&at, part, flags, Mode::empty()).map_err(|e| link_on_the_way(&at, part, e))?;
    }
    Ok(at)
}

/// In one call.
pub(super) fn at_once(root: BorrowedFd<'_>, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
    // a link at the end is an error too, and the same one
    let flags = flags.difference(OFlags::NOFOLLOW);
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let mut tries = 0..TRIES;
    loop {
        match openat2(root, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) if tries.next().is_some() => {}
            opened => return Ok(opened?),
        }
    }
}

/// What openat2 would have said: a link is told from a file.
fn link_on_the_way(folder: &OwnedFd, part: &str, error: Errno) -> Errno {
    let is_link = || {
        let found = statat(folder, part, AtFlags::SYMLINK_NOFOLLOW);
        found.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
    };
    if error == Errno::NOTDIR && is_link() { Errno::LOOP } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    #[test]
    fn a_folder_below_is_none_that_a_link_leads_to() {
        let dir = TempDir::new().unwrap();
        fs::create_dir_all(dir.path().join("root/a/b")).unwrap();
        fs::create_dir_all(dir.path().join("else/b")).unwrap();
        let root = dir.path().join("root");
        symlink("../else", root.join("link")).unwrap();
        symlink("root", dir.path().join("named")).unwrap();
        for root in [&root, &dir.path().join("named")] {
            for path in ["", "a", "a/b"] {
                assert!(folder_below(root, path).is_ok(), "{path}");
            }
            for path in ["link", "link/b", "a/none", "../else", "a/b/../../../else"] {
                assert!(folder_below(root, path).is_err(), "{path}");
            }
            let flags = FOLDER.union(OFlags::PATH);
            let parts = |path| by_parts(folder_below(root, "").unwrap(), path, flags).is_ok();
            assert!(parts("a/b") && !parts("link") && !parts("link/b"));
        }
    }
}
