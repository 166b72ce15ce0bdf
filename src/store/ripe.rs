//! Which files of a watched folder are complete, and what is still to be sent. Pure: changes and time come in, tasks
//! come out.
//!
//! ```text
//!   closed, moved in    ─▶ look ─▶ ready ─▶ sending ─▶ sent ─▶ (archived)
//!   found, given a name ─▶ quiet? ───┘         │        │
//!         ▲                                    ╰▶ failed╯ again later, or when it has changed
//!         ╰──── folder, overflow
//! ```
//!
//! A file is complete when it is closed after writing or moved in, and nobody has it open for writing as far as that can
//! be told. One that was there before anybody watched is complete when nobody has it open for writing; where that cannot
//! be told, when it has not changed for a while. One that got its name by a link is closed by nobody after that: it is
//! complete when nobody has it open for writing. Where that cannot be told, it looks like one that was just begun, and is
//! left to its closing. What was sent is known by device, inode, size and times, and sent again when one of them is
//! another. What is known of a file that cannot be looked at holds until it can.

mod changes;
#[cfg(test)]
mod named;
#[cfg(test)]
mod pairs;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod unseen;

pub(crate) use changes::{FolderChange, FolderTask, Seen, Sent};

use super::name::Name;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::time::{Duration, Instant};

/// So long a file must not have changed, where nothing better is known of it.
pub(crate) const QUIET: Duration = Duration::from_secs(10);
/// How long after it failed a file is tried again; twice as long each time, up to the second.
pub(crate) const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// Endings of files that programs rename when these are complete.
const UNFINISHED: [&str; 5] = [".part", ".filepart", ".partial", ".tmp", ".crdownload"];

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// It is being looked at. Complete, if that was said; new, if it has got its name and was not closed since; done, if it
    /// still stands as it did then, and whether it is still to be archived in that case. At: it could not be looked at, and
    /// is to be looked at again then.
    Looking { complete: bool, new: bool, done: Option<(Seen, bool)>, at: Option<Instant> },
    /// It stood so at that time, and is to be looked at again, or has been asked for. New: as above.
    Quiet { seen: Seen, since: Instant, asked: bool, new: bool },
    /// To be sent.
    Ready { seen: Seen, failures: u32 },
    /// On its way.
    Sending { seen: Seen, failures: u32, meanwhile: Meanwhile },
    /// It is there, or refused. Owed: it is still to be archived.
    Done { seen: Seen, owed: bool },
    /// To be sent again.
    Failed { seen: Seen, failures: u32, at: Instant },
}

/// What was said of a file since it is on its way. It is looked at when that is over, unless nothing was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meanwhile {
    Nothing,
    /// It stands otherwise, or is gone.
    Changed,
    /// It was closed.
    Complete,
    /// Another one has got its name, and was not closed since.
    New,
}

impl Meanwhile {
    /// It may stand otherwise. What more was said of it stays.
    fn change(&mut self) {
        if *self == Meanwhile::Nothing {
            *self = Meanwhile::Changed;
        }
    }
}

/// The core of a watch.
#[derive(Debug)]
pub(crate) struct Ripe {
    ignored: Vec<glob::Pattern>,
    archives: bool,
    files: BTreeMap<String, State>,
    ready: VecDeque<String>,
    tasks: VecDeque<FolderTask>,
    unnameable: BTreeSet<String>,
    /// Files that were refused or failed when they were last sent, and are not under way.
    unstored: BTreeSet<String>,
    /// Time alone brings about nothing before this; it may be earlier than what it does bring about.
    due: Option<Instant>,
    /// While all is scanned after an overflow: what was found.
    rescan: Option<BTreeSet<String>>,
}

impl Ripe {
    /// Nothing is known; the whole folder is to be scanned. Names that match one of `ignored` are passed over.
    pub(crate) fn new(ignored: Vec<glob::Pattern>, archives: bool) -> Self {
        Ripe {
            ignored,
            archives,
            files: BTreeMap::new(),
            ready: VecDeque::new(),
            tasks: VecDeque::from([FolderTask::Scan(String::new())]),
            unnameable: BTreeSet::new(),
            unstored: BTreeSet::new(),
            due: None,
            rescan: None,
        }
    }

    /// Something has happened.
    pub(crate) fn hear(&mut self, now: Instant, change: FolderChange) {
        match change {
            FolderChange::Complete(path) => self.complete(path),
            FolderChange::Found { path, seen, writing } => self.found(now, path, seen, writing),
            FolderChange::Named { path, seen } => self.named(now, path, seen),
            FolderChange::Folder(path) => {
                if !self.is_ignored(&path) {
                    self.tasks.push_back(FolderTask::Scan(path));
                }
            }
            FolderChange::Gone(path) => self.gone(&path),
            FolderChange::Unseen(path) => self.unseen(now, path),
            FolderChange::Kept(path) => {
                if let Some(State::Done { owed, .. }) = self.files.get_mut(&path) {
                    *owed = false;
                }
            }
            FolderChange::Scanned(path) => self.scanned(&path),
            // What was stored is remembered: the folder may come back, as after an unmount, and not all of it is to be read
            // again then.
            FolderChange::Elsewhere => {
                let unstored = std::mem::take(&mut self.unstored);
                unstored.into_iter().for_each(|path| self.forget(path));
                self.files.values_mut().for_each(State::be_elsewhere);
            }
            FolderChange::Overflow => {
                self.files.values_mut().for_each(State::grow_old);
                if self.rescan.replace(BTreeSet::new()).is_none() {
                    self.tasks.push_back(FolderTask::Scan(String::new()));
                }
            }
        }
    }

    /// What is to be done, until nothing is.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<FolderTask> {
        if self.tasks.is_empty() {
            self.pass(now);
        }
        self.tasks.pop_front()
    }

    /// The next file that is to be sent, if there is one; [`Ripe::sent`] is to be called once for each.
    pub(crate) fn send(&mut self) -> Option<(String, Seen)> {
        while let Some(path) = self.ready.pop_front() {
            if let Some(state) = self.files.get_mut(&path)
                && let State::Ready { seen, failures } = *state
            {
                *state = State::Sending { seen, failures, meanwhile: Meanwhile::Nothing };
                self.unstored.remove(&path);
                return Some((path, seen));
            }
        }
        None
    }

    /// What became of a file. True if the user is to hear of it: for each file the first failure.
    pub(crate) fn sent(&mut self, now: Instant, path: &str, outcome: Sent) -> bool {
        let Some(state) = self.files.get_mut(path) else { return false };
        let State::Sending { seen, failures, meanwhile } = *state else { return false };
        let again = meanwhile != Meanwhile::Nothing;
        if matches!(outcome, Sent::Refused | Sent::Failed) {
            self.unstored.insert(path.to_owned());
        }
        match outcome {
            Sent::Stored => {
                *state = State::Done { seen, owed: self.archives };
                if self.archives && !again {
                    self.tasks.push_back(FolderTask::Archive(path.to_owned(), seen));
                }
            }
            Sent::Refused => *state = State::Done { seen, owed: false },
            Sent::Unknown => {
                *state = State::Ready { seen, failures };
                if !again {
                    self.ready.push_back(path.to_owned());
                }
            }
            Sent::Changed => {}
            Sent::Failed => {
                let pause = AGAIN.0.saturating_mul(1 << failures.min(16)).min(AGAIN.1);
                *state = State::Failed { seen, failures: failures + 1, at: now + pause };
                self.due = earlier(self.due, state.due());
            }
        }
        if again || outcome == Sent::Changed {
            self.look(path.to_owned(), meanwhile == Meanwhile::Complete, meanwhile == Meanwhile::New);
        }
        outcome == Sent::Refused || (outcome == Sent::Failed && failures == 0)
    }

    /// Files here that were refused or have failed when they were last sent, and are not under way: however often that was,
    /// each once.
    pub(crate) fn unstored(&self) -> usize {
        self.unstored.len()
    }

    /// When there may be something to do, if nothing happens before.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.due
    }

    /// Whether a path is passed over: hidden, unfinished by its ending, or by the user's word.
    pub(crate) fn is_ignored(&self, path: &str) -> bool {
        let last = path.rsplit('/').next().unwrap_or(path);
        path.split('/').any(|part| part.starts_with('.'))
            || UNFINISHED.iter().any(|ending| last.ends_with(ending))
            || self
                .ignored
                .iter()
                .any(|glob| glob.matches(if glob.as_str().contains('/') { path } else { last }))
    }

    fn complete(&mut self, path: String) {
        if self.is_ignored(&path) {
            return;
        }
        match self.files.get_mut(&path) {
            Some(State::Sending { meanwhile, .. }) => *meanwhile = Meanwhile::Complete,
            _ => self.look(path, true, false),
        }
    }

    /// It has got this name just now: whole, or begun at this moment.
    fn named(&mut self, now: Instant, path: String, seen: Seen) {
        if self.is_ignored(&path) {
            return;
        }
        match self.files.get_mut(&path) {
            // what was said of the one that is sent says nothing of this one
            Some(State::Sending { meanwhile, .. }) => *meanwhile = Meanwhile::New,
            // whoever makes it may not have it open yet, and then it looks as if nobody wrote to it
            _ if seen.size == 0 => self.wait(now, path, seen, true),
            _ => self.look(path, false, true),
        }
    }

    fn look(&mut self, path: String, complete: bool, new: bool) {
        let (before, done) = match self.files.get(&path) {
            Some(State::Done { seen, owed }) => (false, Some((*seen, *owed))),
            Some(State::Looking { complete, done, .. }) => (*complete, *done),
            _ => (false, None),
        };
        self.files.insert(path.clone(), State::Looking { complete: complete || before, new, done, at: None });
        self.tasks.push_back(FolderTask::Look(path));
    }

    /// It is looked at again when it has had the time to change.
    fn wait(&mut self, now: Instant, path: String, seen: Seen, new: bool) {
        let quiet = State::Quiet { seen, since: now, asked: false, new };
        self.due = earlier(self.due, quiet.due());
        self.files.insert(path, quiet);
    }

    fn found(&mut self, now: Instant, path: String, seen: Seen, writing: Option<bool>) {
        if self.is_ignored(&path) || !self.is_nameable(&path) {
            return;
        }
        if let Some(found) = &mut self.rescan {
            found.insert(path.clone());
        }
        let (complete, new) = match self.files.get_mut(&path) {
            Some(State::Done { seen: known, owed } | State::Looking { done: Some((known, owed)), .. })
                if *known == seen =>
            {
                let owed = *owed;
                return self.unchanged(path, seen, owed, writing);
            }
            Some(State::Failed { seen: known, .. } | State::Ready { seen: known, .. }) if *known == seen => {
                return;
            }
            Some(State::Sending { seen: known, meanwhile, .. }) => {
                if *known != seen {
                    meanwhile.change();
                }
                return;
            }
            Some(State::Quiet { seen: known, since, new: false, .. })
                if *known == seen && writing.is_none() =>
            {
                if now.saturating_duration_since(*since) >= QUIET {
                    self.make_ready(path, seen);
                }
                return;
            }
            Some(State::Looking { complete, new, .. }) => (*complete, *new),
            // where a scan finds it, events of it may be lost
            Some(State::Quiet { asked, new, .. }) => (false, *asked && *new),
            _ => (false, false),
        };
        match writing {
            Some(false) => self.make_ready(path, seen),
            None if complete => self.make_ready(path, seen),
            // half of it may stand so for long; its closing tells more
            None if new => drop(self.files.remove(&path)),
            // whoever writes will close it; and if that is not told, it is looked at again
            Some(true) | None => self.wait(now, path, seen, new),
        }
    }

    /// Whether a receiver could store a file of this name. The user hears once of each that it could not.
    fn is_nameable(&mut self, path: &str) -> bool {
        let Err(why) = Name::stored(path.to_owned()) else { return true };
        if self.unnameable.insert(path.to_owned()) {
            self.tasks.push_back(FolderTask::Unnameable(path.to_owned(), why));
        }
        false
    }

    /// What was known of it holds until it can be looked at again.
    fn unseen(&mut self, now: Instant, path: String) {
        if self.is_ignored(&path) {
            return;
        }
        if let Some(found) = &mut self.rescan {
            found.insert(path.clone());
        }
        let (complete, new, done) = match self.files.get_mut(&path) {
            Some(State::Sending { meanwhile, .. }) => return meanwhile.change(),
            // whoever sends it looks at it
            Some(State::Ready { .. } | State::Failed { .. }) => return,
            Some(State::Looking { complete, new, done, .. }) => (*complete, *new, *done),
            Some(State::Quiet { new, .. }) => (false, *new, None),
            Some(State::Done { seen, owed }) => (false, false, Some((*seen, *owed))),
            None => (false, false, None),
        };
        let looking = State::Looking { complete, new, done, at: Some(now + QUIET) };
        self.due = earlier(self.due, looking.due());
        self.files.insert(path, looking);
    }

    /// It stands as it did when it was stored or refused. One that somebody had open then was not archived.
    fn unchanged(&mut self, path: String, seen: Seen, owed: bool, writing: Option<bool>) {
        self.files.insert(path.clone(), State::Done { seen, owed });
        // whoever writes will close it
        if owed && writing != Some(true) {
            self.tasks.push_back(FolderTask::Archive(path, seen));
        }
    }

    fn make_ready(&mut self, path: String, seen: Seen) {
        let before = self.files.insert(path.clone(), State::Ready { seen, failures: 0 });
        if !matches!(before, Some(State::Ready { .. })) {
            self.ready.push_back(path);
        }
    }

    fn gone(&mut self, path: &str) {
        self.forget(path.to_owned());
        let files: Vec<String> =
            self.files.range(paths_below(path)).map(|(known, _)| known.clone()).collect();
        files.into_iter().for_each(|known| self.forget(known));
        self.unnameable.remove(path);
        let below = paths_below(path);
        self.unnameable.retain(|known| !below.contains(known));
    }

    fn forget(&mut self, path: String) {
        match self.files.get_mut(&path) {
            // it is being sent; the verdict still to come is about the old file
            Some(State::Sending { meanwhile, .. }) => *meanwhile = Meanwhile::Changed,
            _ => drop(self.files.remove(&path)),
        }
        self.unstored.remove(&path);
    }

    fn scanned(&mut self, path: &str) {
        if !path.is_empty() {
            return;
        }
        // what has gone meanwhile is not remembered for ever; folders below are scanned after this one, so only what
        // stands in the folder itself is known to be gone
        if let Some(found) = self.rescan.take() {
            self.files.retain(|known, state| {
                known.contains('/') || found.contains(known) || matches!(state, State::Sending { .. })
            });
            self.unstored.retain(|known| self.files.contains_key(known));
        }
    }

    /// What time alone brings about.
    fn pass(&mut self, now: Instant) {
        // all files are gone through then: not after each of them
        if self.due.is_none_or(|at| at > now) {
            return;
        }
        let due = |state: &State| state.due().is_some_and(|at| at <= now);
        let paths: Vec<String> =
            self.files.iter().filter(|(_, state)| due(state)).map(|(path, _)| path.clone()).collect();
        for path in paths {
            match self.files.get_mut(&path) {
                Some(State::Quiet { asked, .. }) => {
                    *asked = true;
                    self.tasks.push_back(FolderTask::Look(path));
                }
                Some(State::Looking { at, .. }) => {
                    *at = None;
                    self.tasks.push_back(FolderTask::Look(path));
                }
                Some(state) => {
                    if let State::Failed { seen, failures, .. } = *state {
                        *state = State::Ready { seen, failures };
                        self.ready.push_back(path);
                    }
                }
                None => {}
            }
        }
        self.due = self.files.values().filter_map(State::due).min();
    }
}

/// All paths below a folder: what stands in a path instead of the next `/` is less than it or at least `0`.
pub(crate) fn paths_below(folder: &str) -> Range<String> {
    format!("{folder}/")..format!("{folder}0")
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    [one, other].into_iter().flatten().min()
}

impl State {
    /// Its closing may have happened, and not been told.
    fn grow_old(&mut self) {
        match self {
            State::Looking { new, .. } | State::Quiet { new, .. } => *new = false,
            State::Sending { meanwhile: meanwhile @ Meanwhile::New, .. } => *meanwhile = Meanwhile::Changed,
            _ => {}
        }
    }

    /// Its name may be another file's by now, or nobody's: that it was closed, or is new, counts no more.
    fn be_elsewhere(&mut self) {
        match self {
            State::Looking { complete, new, .. } => (*complete, *new) = (false, false),
            State::Quiet { new, .. } => *new = false,
            State::Sending { meanwhile, .. } => *meanwhile = Meanwhile::Changed,
            _ => {}
        }
    }

    fn due(&self) -> Option<Instant> {
        match self {
            State::Quiet { since, asked: false, .. } => Some(*since + QUIET),
            State::Failed { at, .. } => Some(*at),
            State::Looking { at, .. } => *at,
            _ => None,
        }
    }
}
