//! What a person sees of files, made from the account of a session.

use crate::endpoint::files::{Files, UnderWay};
use crate::report::{Board, FileUnderWay, Sent};

/// At a sender that has so many files by now; `folder`: what it watches.
pub(super) fn sent(files: Files, total: u64, folder: Option<String>) -> Board {
    Board::Sent(Sent {
        folder,
        judged: judged(&files),
        total,
        moved: files.moved,
        there: files.there,
        ahead: files.ahead,
        // those before it have only their verdicts to come
        file: files.moving.into_iter().next_back().map(under_way),
    })
}

/// Files that are stored, were there already, and were not stored.
pub(super) fn judged(files: &Files) -> [u64; 3] {
    [files.stored, files.already, files.failed]
}

/// A file that is under way.
pub(super) fn under_way(UnderWay { name, at, size }: UnderWay) -> FileUnderWay {
    FileUnderWay { name, at, size }
}
