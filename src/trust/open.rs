//! Files that trust rests on: opened without waiting, judged by what was opened, read up to a bound.
//!
//! What is looked at is always the opened descriptor, never the name again, so a file that is replaced meanwhile
//! cannot pass as the one that was looked at.

use crate::error::reason;
use crate::sys::file_id::FileId;
use rustix::fs::OFlags;
use std::fs::{File, Metadata, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use zeroize::Zeroizing;

/// A regular file, open for reading.
pub(super) struct Opened {
    file: File,
    /// What the kernel says of it.
    pub(super) meta: Metadata,
}

/// Which state of which file it was. Two that are equal had the same contents: whoever writes to a file changes the
/// time of its inode's last change, and cannot set that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    file: FileId,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// The state that this is of.
    pub(super) fn of(meta: &Metadata) -> Self {
        Self {
            file: meta.into(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

/// Opens a regular file; anything else is refused, and a FIFO without a writer is not waited for.
///
/// # Errors
/// What is wrong with it.
pub(super) fn open(path: &Path) -> Result<Opened, String> {
    // a terminal must not become this process's own by being opened
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits();
    let opened = OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(path);
    let read = |file: File| file.metadata().map(|meta| Opened { file, meta });
    let opened = opened.and_then(read).map_err(|e| reason(&e))?;
    match opened.meta.file_type() {
        kind if kind.is_file() => Ok(opened),
        kind if kind.is_dir() => Err("this is a directory".to_owned()),
        _ => Err("this is not a regular file".to_owned()),
    }
}

impl Opened {
    /// Everything in the file, if that is at most this many bytes.
    ///
    /// # Errors
    /// The kernel's, or there is more.
    pub(super) fn read(&self, most: usize) -> Result<Zeroizing<Vec<u8>>, String> {
        // never grown while it is read: what a growing Vec leaves behind is not wiped
        let mut bytes = Zeroizing::new(vec![0; most + 1]);
        let mut filled = 0;
        while filled < bytes.len() {
            match (&self.file).read(&mut bytes[filled..]) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(reason(&e)),
            }
        }
        if filled > most {
            return Err(format!("this is larger than {} KiB", most >> 10));
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// The state of the file, if that is now what it was when the file was opened.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        let now = self.file.metadata().ok()?;
        let stamp = Stamp::of(&self.meta);
        (Stamp::of(&now) == stamp).then_some(stamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use std::fs;

    #[test]
    fn only_regular_files_are_opened_and_none_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "text").unwrap();
        mknodat(CWD, at("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        for (name, found) in [
            ("file", Ok(())),
            ("link", Ok(())),
            ("fifo", Err("this is not a regular file")),
            (".", Err("this is a directory")),
            ("nowhere", Err("no such file or directory")),
        ] {
            let opened = open(&at(name)).map(|_| ());
            assert_eq!(opened, found.map_err(str::to_owned), "{name}");
        }
    }

    #[test]
    fn a_file_is_read_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, vec![7; 2048]).unwrap();
        assert_eq!(open(&path).unwrap().read(2048).unwrap().len(), 2048);
        assert_eq!(open(&path).unwrap().read(2047).unwrap_err(), "this is larger than 1 KiB");
    }

    #[test]
    fn a_file_that_is_written_to_while_it_is_open_has_no_stamp() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "one").unwrap();
        let opened = open(&path).unwrap();
        assert!(opened.stamp().is_some());
        fs::write(&path, "three").unwrap();
        assert!(opened.stamp().is_none());
    }
}
