//! What a watch is told of its folder, and what it has others do.

use super::super::name::BadName;
use crate::sys::file_id::FileId;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// A file as it stands: another one, or a changed one, differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Which one.
    pub(crate) id: FileId,
    /// Bytes.
    pub(crate) size: u64,
    /// When it was last written, in nanoseconds since 1970.
    pub(crate) modified: i64,
    /// When anything of it was last changed, likewise.
    pub(crate) changed: i64,
}

impl Seen {
    /// As the kernel tells it of a file.
    pub(crate) fn of(file: &Metadata) -> Self {
        let time = |seconds: i64, nanos: i64| seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
        Seen {
            id: file.into(),
            size: file.size(),
            modified: time(file.mtime(), file.mtime_nsec()),
            changed: time(file.ctime(), file.ctime_nsec()),
        }
    }
}

/// What has happened. Paths are relative to the watched folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FolderChange {
    /// A file was closed after writing, or moved in: it is complete as far as that goes.
    Complete(String),
    /// A file is there. `writing`: somebody has it open for that; none if it cannot be told.
    Found {
        /// Where.
        path: String,
        /// How it stands.
        seen: Seen,
        /// Whether somebody writes to it.
        writing: Option<bool>,
    },
    /// A file has got this name: by a link, or because somebody makes it at this moment, who will close it.
    Named {
        /// Where.
        path: String,
        /// How it stands.
        seen: Seen,
    },
    /// A folder is there.
    Folder(String),
    /// A file or a folder is no longer there.
    Gone(String),
    /// How a file stands, or whether it does, cannot be told at this moment.
    Unseen(String),
    /// A file is not moved to the archive, and stays for good: the user knows why.
    Kept(String),
    /// A scan of this folder, as was ordered, is over.
    Scanned(String),
    /// Events were lost.
    Overflow,
    /// Another folder has the place of the one that was watched, or none has: what is there is told anew.
    Elsewhere,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FolderTask {
    /// See how this file stands, and tell: found, gone, or unseen.
    Look(String),
    /// Watch this folder, then tell of all that is in it, and that it was scanned.
    Scan(String),
    /// Move this file to the archive, if it stands so and nobody writes to it, replacing nothing; and tell: gone where it
    /// was moved; found, gone or unseen where it does not stand so or that cannot be told; kept where it cannot be moved.
    Archive(String, Seen),
    /// Tell the user that this file cannot be sent by its name.
    Unnameable(String, BadName),
}

/// What became of a file that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It is at the receiver.
    Stored,
    /// It is not.
    Failed,
    /// It is not the file any more that was to be sent.
    Changed,
    /// It is not wanted as it is.
    Refused,
    /// Nobody can say; it is nothing that has to do with this file.
    Unknown,
}
