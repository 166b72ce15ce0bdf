//! Which file systems stand at a folder, above it and below it, and when others do.
//!
//! Elsewhere than on Linux, and where there is no /proc, that is never heard of.

use super::bell::Bell;
use super::pipe::Interest;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The kernel's table of mounts, as this process sees them; it has an error whenever it has changed.
const TABLE: &str = "/proc/self/mountinfo";

/// The mounts around a folder.
pub(crate) struct Mounts {
    folder: PathBuf,
    table: Option<File>,
    /// Waited for where there is no table; never rung.
    bell: Bell,
    known: Vec<Vec<u8>>,
}

impl Mounts {
    /// As they are now. Links on the way to the folder are followed, once.
    ///
    /// # Errors
    /// No descriptor left.
    pub(crate) fn around(folder: &Path) -> io::Result<Self> {
        let folder = folder.canonicalize().or_else(|_| std::path::absolute(folder))?;
        // opened before it is read: what changes in between is heard of
        let (table, bell) = (File::open(TABLE).ok(), Bell::new()?);
        let mut mounts = Mounts { folder, table, bell, known: vec![] };
        mounts.have_changed();
        Ok(mounts)
    }

    /// Met when any mount has changed; once for each time.
    pub(crate) fn interest(&self) -> Interest<'_> {
        match &self.table {
            Some(table) => Interest::end(table),
            None => Interest::end(&self.bell),
        }
    }

    /// Whether those around the folder are others than the last time.
    pub(crate) fn have_changed(&mut self) -> bool {
        let Ok(table) = fs::read(TABLE) else { return false };
        let lines = table.split(|byte| *byte == b'\n');
        let around = lines.filter(|line| place(line).is_some_and(|place| self.is_around(&place)));
        let now: Vec<Vec<u8>> = around.map(<[u8]>::to_vec).collect();
        std::mem::replace(&mut self.known, now) != self.known
    }

    fn is_around(&self, place: &Path) -> bool {
        self.folder.starts_with(place) || place.starts_with(&self.folder)
    }
}

/// Where the mount of a line stands: its fifth field, in which some bytes are octal.
fn place(line: &[u8]) -> Option<PathBuf> {
    let mut field = line.split(|byte| *byte == b' ').nth(4)?;
    let mut place = vec![];
    while let Some((first, rest)) = field.split_first() {
        let octal = (*first == b'\\').then(|| rest.first_chunk::<3>()).flatten();
        let digits = octal.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                place.push(byte);
                field = &rest[3..];
            }
            None => {
                place.push(*first);
                field = rest;
            }
        }
    }
    Some(OsString::from_vec(place).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_the_kernel_writes_it() {
        let line = br"36 35 98:0 /mnt1 /mnt\0402/a\134b rw,noatime master:1 - ext3 /dev/root rw";
        assert_eq!(place(line), Some(r"/mnt 2/a\b".into()));
        assert_eq!(place(br"36 35 98:0 / /a\9 rw"), Some(r"/a\9".into()));
        assert_eq!(place(b""), None);
    }

    #[test]
    fn those_that_stand_elsewhere_are_of_no_interest() {
        let dir = tempfile::tempdir().unwrap();
        let mut mounts = Mounts::around(dir.path()).unwrap();
        assert!(!mounts.have_changed());
        let folder = mounts.folder.clone();
        for (place, around) in [
            (Path::new("/"), true),
            (&folder, true),
            (&folder.join("sub"), true),
            (Path::new("/proc"), false),
        ] {
            assert_eq!(mounts.is_around(place), around, "{}", place.display());
        }
        let beside = PathBuf::from(format!("{}2", folder.display()));
        assert!(!mounts.is_around(&beside));
        #[cfg(target_os = "linux")]
        assert!(!mounts.known.is_empty(), "a file system stands at /");
    }
}
