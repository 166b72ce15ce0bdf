//! Why a file is not stored, in words.

use super::super::claims::Held;
use super::super::name::{BadName, Name};
use super::super::record::STORED_BUT;
use rustix::io::Errno;
use std::io;
use std::path::PathBuf;

/// Why a file is not stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum No {
    /// The name is another key's, or in another one's way.
    #[error("the name is taken")]
    Taken,
    /// Another visitor sends a file of this name at this moment. Of another key it learns that the name is taken.
    #[error("{}", if .0.own { "another session sends a file of this name now" } else { "the name is taken" })]
    Held(Held),
    /// The name is not in order.
    #[error("the name {0}")]
    Name(#[from] BadName),
    /// It is against the rules.
    #[error("{0}")]
    Refused(String),
    /// The disk is full, or fails.
    #[error("{0}")]
    Disk(String),
    /// The shelf's folder is not where it was. With the path that it had, if that is news.
    #[error("the receiver's folder was moved or removed")]
    Moved(Option<PathBuf>),
    /// What came is not what was sent.
    #[error("the file that came has another sum than the one that was sent")]
    Corrupt,
    /// It is stored, and the receiver ends before the command after it has begun.
    #[error("{STORED_BUT}the receiver ends before 'then' has run")]
    Ends,
    /// The sender does not keep to what it said.
    #[error("the sender {0}")]
    Breach(#[from] FileBreach),
}

/// How what a sender sends of a file contradicts what it said of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FileBreach {
    /// It begins behind the end of what is here.
    #[error("goes on where nothing ends")]
    BeginsBeyond,
    /// More bytes than it said.
    #[error("sends more than it said")]
    More,
    /// An end before all that it said has come.
    #[error("ends before it has sent what it said")]
    Fewer,
    /// An end at another place than it said.
    #[error("ends elsewhere than it said")]
    EndsElsewhere,
}

/// A finished file is in the way of this one.
pub(super) fn another(name: &Name) -> String {
    format!("another file has the name {name}, and files are not replaced here")
}

/// The disk failed, in words.
pub(super) fn disk_failed(error: io::Error) -> No {
    match error.kind() {
        io::ErrorKind::StorageFull => No::Disk("no space left on the disk".into()),
        io::ErrorKind::QuotaExceeded => No::Disk("the disk's quota is used up".into()),
        _ => {
            let text = error.to_string();
            No::Disk(text.split(" (os error").next().unwrap_or_default().to_lowercase())
        }
    }
}

/// Something stands on the way to a name.
pub(super) fn in_the_way(error: io::Error) -> No {
    match error.raw_os_error() {
        Some(e) if e == Errno::LOOP.raw_os_error() => {
            No::Refused("a symbolic link is on the way to this name".into())
        }
        _ if error.kind() == io::ErrorKind::NotADirectory => No::Taken,
        _ if error.kind() == io::ErrorKind::AlreadyExists => No::Taken,
        _ => disk_failed(error),
    }
}
