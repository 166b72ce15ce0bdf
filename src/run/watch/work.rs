//! What a watch and its session have between them: files that wait, files that are under way, and what became of them.

use crate::endpoint::files::Fate;
use crate::error::Failure;
use crate::run::sessions::no_thread;
use crate::store::record::FileVerdict;
use crate::store::ripe::Seen;
use crate::sync::Unpoisoned;
use crate::sys::bell::Bell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

/// What a session tells.
pub(super) enum Told {
    /// What became of a file.
    Fate(String, Fate),
    /// A file is not the one any more that was to be sent.
    Changed(String),
    /// The session is over, and so many files have no verdict.
    Over(Result<(), Failure>, Vec<String>),
}

/// The files of a watch that are to be sent.
pub(super) struct Work {
    state: Mutex<State>,
    /// Rung when something was told.
    bell: Bell,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(String, Seen)>,
    /// Taken by the session, and without a verdict.
    flying: BTreeMap<String, Seen>,
    /// Of the files that were judged and not heard of yet: how they were taken.
    judged: BTreeMap<String, Seen>,
    told: Vec<Told>,
    /// Files that are not at the receiver, as far as the watch has heard.
    unstored: u64,
    /// Which session it is; what another one does is of no interest any more.
    round: u64,
}

impl Work {
    pub(super) fn new(bell: Bell) -> Arc<Self> {
        Arc::new(Work { state: Mutex::default(), bell })
    }

    // ---- the watch's side -----------------------------------------------------------------------------

    /// One more is to be sent.
    pub(super) fn add(&self, path: String, seen: Seen) {
        self.lock().waiting.push_back((path, seen));
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.lock().waiting.is_empty()
    }

    /// All that was told since.
    pub(super) fn told(&self) -> Vec<Told> {
        std::mem::take(&mut self.lock().told)
    }

    /// How a file stood that was judged; once.
    pub(super) fn taken_as(&self, path: &str) -> Option<Seen> {
        self.lock().judged.remove(path)
    }

    /// So many files were refused or have failed, and are here yet.
    pub(super) fn note_unstored(&self, files: usize) {
        self.lock().unstored = files as u64;
    }

    /// What was noted last.
    pub(super) fn unstored(&self) -> u64 {
        self.lock().unstored
    }

    /// Files that are under way or wait.
    pub(super) fn left(&self) -> u64 {
        let state = self.lock();
        (state.waiting.len() + state.flying.len()) as u64
    }

    // ---- the session's side ---------------------------------------------------------------------------

    /// A session begins: `start` starts it, given its number. One that cannot be started is over at once, as one that
    /// failed.
    pub(super) fn begin(&self, start: impl FnOnce(u64) -> io::Result<()>) {
        let mut state = self.lock();
        state.round += 1;
        let round = state.round;
        drop(state);
        if let Err(error) = start(round) {
            self.end(Err(no_thread(error)));
        }
    }

    /// The next file for it, if there is one.
    pub(super) fn take(&self, round: u64) -> Option<(String, Seen)> {
        let mut state = self.lock();
        if state.round != round {
            return None;
        }
        let (path, seen) = state.waiting.pop_front()?;
        state.flying.insert(path.clone(), seen);
        Some((path, seen))
    }

    /// What became of a file that it took; none: it is another file by now.
    pub(super) fn judge(&self, round: u64, path: &str, fate: Option<Fate>) {
        let mut state = self.lock();
        if state.round != round {
            return;
        }
        let Some(seen) = state.flying.remove(path) else { return };
        let told = match fate {
            None => Told::Changed(path.to_owned()),
            Some(fate) => {
                if fate.verdict == FileVerdict::Input {
                    state.judged.insert(path.to_owned(), seen);
                }
                Told::Fate(path.to_owned(), fate)
            }
        };
        state.told.push(told);
        drop(state);
        self.bell.ring();
    }

    /// It is over.
    pub(super) fn end(&self, result: Result<(), Failure>) {
        let mut state = self.lock();
        state.round += 1;
        let unjudged = std::mem::take(&mut state.flying).into_keys().collect();
        state.told.push(Told::Over(result, unjudged));
        drop(state);
        self.bell.ring();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unpoisoned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_cannot_be_started_is_over_as_one_that_failed() {
        let work = Work::new(Bell::new().unwrap());
        work.begin(|_| Err(io::ErrorKind::WouldBlock.into()));
        let told = work.told();
        let [Told::Over(Err(failure), unjudged)] = &told[..] else { panic!("{} were told", told.len()) };
        assert!(failure.sentence.starts_with("cannot start a thread"), "{failure}");
        assert!(unjudged.is_empty() && work.told().is_empty());
    }
}
