//! Where the bytes of a file come from that is to be sent, and how it is found out that they are others by now.

use crate::endpoint::{NamedFile, PARTED_LEAST};
use crate::error::reason;
use crate::store::ripe::Seen;
use crate::sys::limits::is_short;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is said of a file that is not what it was.
pub(super) const CHANGED: &str = "it changed while it was sent";

/// Where its bytes come from.
pub(crate) enum Matter {
    /// A file here. With how it has to stand, and then no symbolic link leads to it.
    File(PathBuf, Option<Seen>),
    /// Something that is read once, to its end.
    Pipe(Box<dyn Read + Send>),
}

/// A file as it was when it was opened.
pub(super) struct Opened {
    pub(super) matter: Box<dyn Matters>,
    pub(super) size: Option<u64>,
}

/// Why it is not opened.
pub(super) enum Unopened {
    /// There are no descriptors left, or no memory, as is said: it may be opened when others are closed.
    Short(Matter, String),
    /// For this reason.
    Not(String),
}

pub(super) trait Matters: Read + Send {
    /// The file, if parts of it can be sent in place of its bytes.
    fn in_parts(&self) -> Option<&Arc<NamedFile>> {
        None
    }

    fn rewind_to(&mut self, offset: u64) -> io::Result<()>;
    fn has_changed(&self) -> bool;

    /// Why what went may be other than what was summed up, if it may be.
    fn fault(&self) -> Option<String> {
        let unread = self.in_parts().and_then(|file| file.unread.get().cloned());
        unread.or_else(|| self.has_changed().then(|| CHANGED.into()))
    }
}

struct Regular {
    file: Arc<NamedFile>,
    was: Seen,
}

impl Read for Regular {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        (&self.file.file).read(space)
    }
}

impl Matters for Regular {
    fn in_parts(&self) -> Option<&Arc<NamedFile>> {
        Some(&self.file).filter(|_| self.was.size >= PARTED_LEAST)
    }

    fn rewind_to(&mut self, offset: u64) -> io::Result<()> {
        (&self.file.file).seek(SeekFrom::Start(offset)).map(drop)
    }

    fn has_changed(&self) -> bool {
        self.file.file.metadata().map_or(true, |now| Seen::of(&now) != self.was)
    }
}

struct Pipe(Box<dyn Read + Send>);

impl Read for Pipe {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        self.0.read(space)
    }
}

impl Matters for Pipe {
    fn rewind_to(&mut self, offset: u64) -> io::Result<()> {
        if offset == 0 { Ok(()) } else { Err(ErrorKind::NotSeekable.into()) }
    }

    fn has_changed(&self) -> bool {
        false
    }
}

/// Whether a file is there.
///
/// # Errors
/// What is there in its place.
pub(crate) fn check(path: &Path) -> Result<(), String> {
    let stands = path.metadata().map_err(|e| reason(&e))?;
    if stands.is_dir() {
        return Err("it is a folder: name its files, or watch it".into());
    }
    if stands.is_file() { Ok(()) } else { Err("it is no file".into()) }
}

/// Opens it. What it is now is what it has to be until it was sent.
pub(super) fn open(matter: Matter) -> Result<Opened, Unopened> {
    let (path, wanted) = match matter {
        Matter::Pipe(pipe) => return Ok(Opened { matter: Box::new(Pipe(pipe)), size: None }),
        Matter::File(path, wanted) => (path, wanted),
    };
    let file = match wanted {
        Some(_) => open_itself(&path),
        // before it is opened: a pipe that stands there would be waited for
        None => check(&path).map(|()| File::open(&path)).map_err(Unopened::Not)?,
    };
    let file = match file {
        Ok(file) => file,
        Err(error) if is_short(&error) => {
            return Err(Unopened::Short(Matter::File(path, wanted), reason(&error)));
        }
        Err(error) => return Err(Unopened::Not(reason(&error))),
    };
    let metadata = file.metadata().map_err(|e| Unopened::Not(reason(&e)))?;
    if wanted.is_some_and(|wanted| Seen::of(&metadata) != wanted) {
        return Err(Unopened::Not(CHANGED.into()));
    }
    let (was, size) = (Seen::of(&metadata), Some(metadata.len()));
    let file = NamedFile::new(file, path.display().to_string(), true);
    Ok(Opened { matter: Box::new(Regular { file, was }), size })
}

/// Opens what stands there, and nothing that it leads to; waits for nobody.
fn open_itself(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

/// All of a small file.
pub(super) fn whole(opened: &mut Opened, size: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(size + 1);
    let read = (&mut opened.matter).take(size as u64 + 1).read_to_end(&mut bytes);
    match read {
        Ok(read) if read == size && !opened.matter.has_changed() => Ok(bytes),
        Ok(_) => Err(CHANGED.into()),
        Err(e) => Err(reason(&e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_file_that_was_found_is_sent_only_as_it_stood_then() {
        let dir = tempfile::tempdir().unwrap();
        let [path, other] = ["file", "other"].map(|name| dir.path().join(name));
        fs::write(&path, "whole").unwrap();
        fs::write(&other, "other").unwrap();
        let found = Seen::of(&path.metadata().unwrap());
        let opened = |path: &Path, found| match open(Matter::File(path.to_owned(), found)) {
            Ok(opened) => Ok(opened.size),
            Err(Unopened::Short(_, why) | Unopened::Not(why)) => Err(why),
        };
        assert_eq!(opened(&path, Some(found)), Ok(Some(5)));
        // somebody writes it anew, and is not done
        fs::write(&path, "ha").unwrap();
        assert_eq!(opened(&path, Some(found)), Err(CHANGED.into()));
        assert_eq!(opened(&path, None), Ok(Some(2)));
        // a link to the very file, and one elsewhere
        fs::remove_file(&path).unwrap();
        symlink(&other, &path).unwrap();
        let found = Seen::of(&other.metadata().unwrap());
        assert!(opened(&path, Some(found)).is_err());
        assert_eq!((opened(&other, Some(found)), opened(&path, None)), (Ok(Some(5)), Ok(Some(5))));
    }
}
