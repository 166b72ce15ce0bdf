//! Sends the files of a folder to a standing receiver as they are completed, for ever.
//!
//! ```text
//!  inotify ─▶ Tree ─▶ Ripe ─▶ Work ─▶ Round: a session, while there is something to send
//!                      ▲                 │
//!                      ╰──── fates ◀─────╯
//! ```
//!
//! One thread has the tree and decides; where nothing happens, it only looks every few seconds whether the path of the
//! folder still leads to the one that is watched, which nobody tells. A session is there only while there are files to be
//! sent, so that an idle watch takes no place at the receiver. Nothing is kept on the disk: after a start all files are
//! offered again, and the receiver says which it has. Files here are never written to, and never moved but into the
//! archive.

mod archive;
mod look;
mod round;
mod tree;
mod work;

use super::monitor::{Monitor, Wanted};
use super::sessions::{Sessions, cannot_start, no_signals, no_thread};
use super::{direction, keys, put, signals};
use crate::endpoint::files::Fate;
use crate::error::{Failure, reason};
use crate::message;
use crate::plan::WatchPlan;
use crate::proto::outcome::Outcome;
use crate::store::record::FileVerdict;
use crate::store::ripe::{FolderTask, Ripe, Sent};
use crate::sync::Unpoisoned;
use crate::sys::activation;
use crate::sys::bell::Bell;
use crate::sys::pipe::{Interest, wait};
use crate::sys::thread::spawn;
use archive::Archive;
use round::Rounds;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tree::Tree;
use work::{Told, Work};

/// How long after a session that failed the next one begins: from the first to the second, twice as long each time.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Watches until this process is to end.
///
/// # Errors
/// What is wrong with the words or the folder, or how it was ended.
pub fn watch(plan: &WatchPlan) -> Result<(), Failure> {
    let ignored: Result<_, _> = plan.ignored.iter().map(|glob| glob::Pattern::new(glob)).collect();
    let ignored = ignored.map_err(|e| Failure::usage(format!("ignore: {e}")))?;
    let meta = put::meta(&plan.put)?;
    let trust = plan.put.common.trust.as_ref().map(keys::load).transpose()?;
    let signals = signals::hear().map_err(no_signals)?;
    plan.put.transmit.links.iter().try_for_each(direction::check_via)?;
    let archive = plan.archive.as_ref().map(|to| Archive::open(&plan.folder, to)).transpose()?;
    let tree = Tree::open(&plan.folder, archive.as_ref().map(Archive::path))?;
    let (sessions, bell) = (Sessions::default(), Bell::new().map_err(cannot_start)?);
    let monitor =
        Monitor::start(vec![], Wanted::of_files(plan.put.common.progress, false)).map_err(no_thread)?;
    signals.watch(sessions.clone(), monitor.clone()).map_err(no_thread)?;
    if let Some(trust) = trust.clone() {
        keys::watch(trust, sessions.clone()).map_err(no_thread)?;
    }
    let ended = Arc::new(Mutex::new(None));
    let (ending, all, rung) = (ended.clone(), sessions.clone(), bell.clone());
    let await_end = move || {
        let outcome = all.await_end();
        *ending.lock().unpoisoned() = Some(outcome);
        rung.ring();
    };
    spawn("end", await_end).map_err(no_thread)?;
    let work = Work::new(bell.clone());
    let rounds = Rounds::new(&plan.put, &plan.folder, meta, trust, work.clone(), sessions, monitor.clone());
    let mut watch = Watch {
        ripe: Ripe::new(ignored, archive.is_some()),
        tree,
        archive,
        work,
        rounds,
        under_way: false,
        failing: false,
        next: Instant::now(),
        pause: AGAIN.0,
    };
    message::announce(|| format!("watching {}", plan.folder.display()));
    activation::tell_ready();
    let ending = watch.run(&bell, &ended)?;
    activation::tell_stopping();
    monitor.end();
    Failure::unless_complete(ending, "the receiver")
}

struct Watch {
    ripe: Ripe,
    tree: Tree,
    archive: Option<Archive>,
    work: Arc<Work>,
    rounds: Rounds,
    /// A session is there.
    under_way: bool,
    /// The last session failed, and the user knows.
    failing: bool,
    /// Not before this time another session begins.
    next: Instant,
    pause: Duration,
}

impl Watch {
    /// Goes on until all is ended; how it was.
    fn run(&mut self, bell: &Bell, ended: &Mutex<Option<Outcome>>) -> Result<Outcome, Failure> {
        loop {
            bell.clear();
            if let Some(outcome) = ended.lock().unpoisoned().take() {
                return Ok(outcome);
            }
            self.work.told().into_iter().for_each(|told| self.hear(told));
            self.work.note_unstored(self.ripe.unstored());
            let changes = self.tree.changes();
            let now = Instant::now();
            changes.into_iter().for_each(|change| self.ripe.hear(now, change));
            self.obey();
            while let Some((path, seen)) = self.ripe.send() {
                self.work.add(path, seen);
            }
            let now = Instant::now();
            let has_work = !self.under_way && self.work.is_waiting();
            if has_work && self.next <= now && !signals::is_asked_to_end() {
                self.rounds.begin();
                self.under_way = true;
            }
            let next = (has_work && !self.under_way).then_some(self.next);
            let due = next.into_iter().chain(self.ripe.deadline());
            let at = due.fold(self.tree.deadline(), Instant::min);
            let left = at.saturating_duration_since(Instant::now());
            let interests =
                [Interest::read(self.tree.notify()), Interest::read(bell), self.tree.mounts().interest()];
            let waited = wait(&interests, Some(left));
            let [_, _, mounts] =
                waited.map_err(|e| Failure::network(format!("cannot wait: {}", reason(&e))))?;
            if mounts.any() {
                self.tree.remounted();
            }
        }
    }

    /// Does what the core orders.
    fn obey(&mut self) {
        while let Some(task) = self.ripe.poll(Instant::now()) {
            let changes = match task {
                FolderTask::Look(path) => vec![self.tree.look(path)],
                FolderTask::Scan(folder) => self.tree.scan(&folder),
                FolderTask::Unnameable(path, why) => {
                    message::say(format!("{path}: not sent: the name {why}"));
                    vec![]
                }
                FolderTask::Archive(path, seen) => {
                    let archive = self.archive.as_mut();
                    archive
                        .map(|archive| archive::put_away(archive, &mut self.tree, path, &seen))
                        .into_iter()
                        .collect()
                }
            };
            let now = Instant::now();
            changes.into_iter().for_each(|change| self.ripe.hear(now, change));
        }
    }

    /// Hears from a session.
    fn hear(&mut self, told: Told) {
        let now = Instant::now();
        match told {
            Told::Fate(path, fate) => {
                if self.failing {
                    message::say("the receiver is there again");
                }
                (self.failing, self.pause) = (false, AGAIN.0);
                self.rounds.quiet(false);
                self.judge(now, &path, &fate);
            }
            Told::Changed(path) => {
                self.ripe.sent(now, &path, Sent::Changed);
            }
            Told::Over(result, unjudged) => {
                for path in unjudged {
                    self.ripe.sent(now, &path, Sent::Unknown);
                }
                self.under_way = false;
                if let Err(failure) = result {
                    self.next = now + self.pause;
                    self.pause = (self.pause * 2).min(AGAIN.1);
                    if !signals::is_asked_to_end() {
                        let level = u8::from(self.failing);
                        message::note(level, || format!("{failure}; it is tried again, for ever"));
                        self.failing = true;
                        self.rounds.quiet(true);
                    }
                }
            }
        }
    }

    fn judge(&mut self, now: Instant, path: &str, fate: &Fate) {
        let (sent, what) = match fate.verdict {
            FileVerdict::Stored => (Sent::Stored, "stored"),
            FileVerdict::Already => (Sent::Stored, "was there already"),
            FileVerdict::Taken | FileVerdict::Refused => (Sent::Refused, "refused"),
            FileVerdict::Input if self.tree.has_changed(path, self.work.taken_as(path)) => {
                (Sent::Changed, "")
            }
            FileVerdict::Input => (Sent::Failed, "not sent"),
            FileVerdict::Output | FileVerdict::Corrupt | FileVerdict::Later => (Sent::Failed, "not stored"),
        };
        let is_news = self.ripe.sent(now, path, sent);
        match sent {
            Sent::Stored => message::note(1, || format!("{path}: {what}")),
            Sent::Failed | Sent::Refused => {
                message::note(u8::from(!is_news), || format!("{path}: {}", fate.told(what)));
            }
            Sent::Changed | Sent::Unknown => {}
        }
    }
}
