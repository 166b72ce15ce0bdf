//! What a store does with a file system, and no more: so that a test can put another one in its place, which loses at a
//! crash whatever was not synced.
//!
//! Paths are relative to the store's folder, parts with `/` between them; "" is the folder itself. They are made from
//! names that were checked ([`super::name`]) and from constants. No implementation ever follows a symbolic link.

use crate::sys::writeback::Writeback;
use std::io;
use std::path::Path;

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing.
    Nothing,
    /// A file.
    File(Standing),
    /// A folder.
    Folder,
    /// A symbolic link, a device or the like.
    Other,
}

/// A file, as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Bytes.
    pub(crate) size: u64,
    /// Which file it is on its disk; the same under another name.
    pub(crate) inode: u64,
    /// How many names it has.
    pub(crate) links: u64,
    /// When its bytes were last changed: nanoseconds since 1970, as far as they go.
    pub(crate) modified: i64,
}

/// The operations. What is not synced may be lost when the machine loses its power; renames are all or nothing.
pub(crate) trait Disk: Send + Sync {
    /// An open file.
    type File: Contents;

    /// The path of the store's folder, if that leads elsewhere by now, or nowhere: who looks there would not find what is
    /// stored here.
    fn moved(&self) -> Option<&Path> {
        None
    }

    /// What stands there. Nothing, also where a folder on the way is missing.
    ///
    /// # Errors
    /// The kernel's: also for a file or a symbolic link on the way.
    fn look(&self, path: &str) -> io::Result<Found>;

    /// Opens a file that is there, for reading only or for writing as well.
    ///
    /// # Errors
    /// The kernel's; also if it is no file.
    fn open(&self, path: &str, write: bool) -> io::Result<Self::File>;

    /// Makes a file where none is, for reading and writing.
    ///
    /// # Errors
    /// The kernel's: `AlreadyExists` if anything is there.
    fn create(&self, path: &str) -> io::Result<Self::File>;

    /// Makes a folder; fine if there is one. `private`: for this user alone.
    ///
    /// # Errors
    /// The kernel's; `NotADirectory` if something else is there.
    fn make_folder(&self, path: &str, private: bool) -> io::Result<()>;

    /// Gives a file another name that is not taken.
    ///
    /// # Errors
    /// The kernel's: `AlreadyExists` if anything is there.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Gives a file another name, from one moment to the next in place of the file that has it, if there is one.
    ///
    /// # Errors
    /// The kernel's.
    fn replace(&self, from: &str, to: &str) -> io::Result<()>;

    /// Takes a file's name away; fine if there is none.
    ///
    /// # Errors
    /// The kernel's.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Returns when the names in this folder are as durable as the disk is.
    ///
    /// # Errors
    /// The kernel's.
    fn sync_folder(&self, path: &str) -> io::Result<()>;

    /// The names in a folder, in no order; none if there is no such folder.
    ///
    /// # Errors
    /// The kernel's.
    fn list(&self, path: &str) -> io::Result<Vec<String>>;

    /// Bytes that are free for us.
    ///
    /// # Errors
    /// The kernel's.
    fn free(&self) -> io::Result<u64>;
}

/// An open file's bytes.
pub(crate) trait Contents: Send {
    /// Reads from there; 0 at its end.
    ///
    /// # Errors
    /// The kernel's.
    fn read_at(&self, space: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of them there.
    ///
    /// # Errors
    /// The kernel's; some may have been written then.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Cuts it to this length.
    ///
    /// # Errors
    /// The kernel's.
    fn cut(&mut self, length: u64) -> io::Result<()>;

    /// Returns when its bytes and length are as durable as the disk is.
    ///
    /// # Errors
    /// The kernel's. What was written since the last time may be lost then, whatever a later call says.
    fn sync(&mut self) -> io::Result<()>;

    /// How it stands.
    ///
    /// # Errors
    /// The kernel's.
    fn standing(&self) -> io::Result<Standing>;

    /// What has written bytes go to the disk beside whoever writes them, so that a sync has less to wait for; none where
    /// there is no such means.
    fn writeback(&self) -> Option<Writeback> {
        None
    }
}

/// Reads a whole file, if it has at most so many bytes.
///
/// # Errors
/// The kernel's; `FileTooLarge`.
pub(crate) fn read_whole(file: &impl Contents, at_most: usize) -> io::Result<Vec<u8>> {
    let mut whole = vec![0; at_most + 1];
    let mut length = 0;
    while length <= at_most {
        match file.read_at(&mut whole[length..], length as u64)? {
            0 => {
                whole.truncate(length);
                return Ok(whole);
            }
            more => length += more,
        }
    }
    Err(io::ErrorKind::FileTooLarge.into())
}
