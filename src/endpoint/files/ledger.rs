//! The ledger: what has become of a session's files so far, for whoever asks. Both ends have one.

use crate::store::record::FileVerdict;
use crate::sync::Unpoisoned;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// A file that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnderWay {
    /// What it is called.
    pub(crate) name: String,
    /// So much of it is through, or was there.
    pub(crate) at: u64,
    /// Bytes in all, where that is known.
    pub(crate) size: Option<u64>,
}

/// The files of a session at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Files {
    /// Those that are under way, in the order in which they were begun; of those that are sent at once the last one.
    pub(crate) moving: Vec<UnderWay>,
    /// Files that are stored.
    pub(crate) stored: u64,
    /// Files that were there already.
    pub(crate) already: u64,
    /// Files that were not stored.
    pub(crate) failed: u64,
    /// Bytes that have moved.
    pub(crate) moved: u64,
    /// Bytes that did not have to move, because they were there.
    pub(crate) there: u64,
    /// So many sessions go first, while this one waits for a place.
    pub(crate) ahead: Option<u32>,
}

impl Files {
    /// Files that have their verdict.
    pub(crate) fn judged(&self) -> u64 {
        self.stored + self.already + self.failed
    }
}

/// Keeps account of a session's files.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    files: Files,
    moving: BTreeMap<u32, UnderWay>,
    /// The last one that went at once, while nothing else has.
    passed: Option<UnderWay>,
}

impl Ledger {
    /// Nothing so far.
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A session begins: what was under way in one before is not any more.
    pub(super) fn open(&self) {
        let mut state = self.lock();
        (state.passed, state.files.ahead) = (None, None);
        state.moving.clear();
    }

    /// A file begins; so much of it is there.
    pub(super) fn begin(&self, file: u32, name: &str, size: Option<u64>, there: u64) {
        let mut state = self.lock();
        state.files.there += there;
        state.moving.insert(file, UnderWay { name: name.to_owned(), at: there, size });
        state.passed = None;
    }

    /// So many bytes of it have moved.
    pub(super) fn advance(&self, file: u32, bytes: u64) {
        let mut state = self.lock();
        if let Some(moving) = state.moving.get_mut(&file) {
            moving.at += bytes;
            state.files.moved += bytes;
        }
    }

    /// A file moves at once.
    pub(super) fn pass(&self, name: &str, size: u64) {
        let mut state = self.lock();
        state.files.moved += size;
        state.passed = Some(UnderWay { name: name.to_owned(), at: size, size: Some(size) });
    }

    /// A file is over, and this was said of it; nothing if it comes again. `size` of it was there if it was already.
    pub(super) fn judge(&self, file: u32, verdict: Option<FileVerdict>, size: Option<u64>) {
        let mut state = self.lock();
        state.moving.remove(&file);
        match verdict {
            None => {}
            Some(FileVerdict::Stored) => state.files.stored += 1,
            Some(FileVerdict::Already) => {
                state.files.already += 1;
                state.files.there += size.unwrap_or(0);
            }
            Some(_) => state.files.failed += 1,
        }
    }

    /// A file goes no further.
    pub(super) fn forget(&self, file: u32) {
        self.lock().moving.remove(&file);
    }

    /// One more was not stored, and nobody was told of it.
    pub(crate) fn fail(&self) {
        self.lock().files.failed += 1;
    }

    /// So many go first, or nothing is waited for any more.
    pub(super) fn wait(&self, ahead: Option<u32>) {
        self.lock().files.ahead = ahead;
    }

    /// How it stands.
    pub(crate) fn files(&self) -> Files {
        let state = self.lock();
        let moving = state.moving.values().chain(&state.passed).cloned().collect();
        Files { moving, ..state.files.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unpoisoned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_and_what_was_there_are_two_things() {
        let ledger = Ledger::new();
        ledger.begin(1, "a", Some(100), 40);
        ledger.advance(1, 10);
        ledger.pass("b", 7);
        ledger.advance(9, 1000);
        let moving = |name: &str, at, size| UnderWay { name: name.into(), at, size: Some(size) };
        let files = ledger.files();
        assert_eq!(files.moving, [moving("a", 50, 100), moving("b", 7, 7)]);
        assert_eq!((files.moved, files.there, files.judged()), (17, 40, 0));
        ledger.judge(1, Some(FileVerdict::Stored), Some(100));
        ledger.judge(2, Some(FileVerdict::Already), Some(5));
        ledger.judge(3, Some(FileVerdict::Taken), None);
        ledger.judge(4, None, None);
        let files = ledger.files();
        assert_eq!((files.stored, files.already, files.failed, files.there), (1, 1, 1, 45));
        assert_eq!(files.moving, [moving("b", 7, 7)]);
        ledger.begin(5, "c", None, 0);
        assert_eq!(ledger.files().moving, [UnderWay { name: "c".into(), at: 0, size: None }]);
    }
}
