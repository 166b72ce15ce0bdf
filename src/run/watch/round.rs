//! The sessions of a watch: one at a time, each until nothing waits any more.

use super::look::look_at;
use super::work::Work;
use crate::endpoint::files::{Ending, Fate, Files, Inbox, Item, Ledger, Matter, Outbox, Sending};
use crate::error::{Failure, reason};
use crate::plan::PutPlan;
use crate::proto::way::Way;
use crate::run::monitor::{Monitor, Subject};
use crate::run::sessions::{Sessions, cannot_start, no_thread};
use crate::run::{boards, descriptors, put};
use crate::session::Handle;
use crate::store::name::Name;
use crate::store::record::FileVerdict;
use crate::sys::thread::spawn;
use crate::trust::Trust;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// What each of them is made of.
#[derive(Clone)]
pub(super) struct Rounds {
    plan: Arc<PutPlan>,
    folder: PathBuf,
    meta: Vec<u8>,
    trust: Option<Arc<Trust>>,
    work: Arc<Work>,
    sessions: Sessions,
    monitor: Monitor,
    ledger: Arc<Ledger>,
    /// When this watch began, in nanoseconds since 1970: what stood then may have been sent by one before.
    since: i64,
    /// How much less than usual is said.
    less: Arc<AtomicU8>,
}

impl Rounds {
    pub(super) fn new(
        plan: &PutPlan,
        folder: &Path,
        meta: Vec<u8>,
        trust: Option<Arc<Trust>>,
        work: Arc<Work>,
        sessions: Sessions,
        monitor: Monitor,
    ) -> Self {
        let (plan, folder) = (Arc::new(plan.clone()), folder.to_owned());
        let (ledger, less) = (Ledger::new(), Arc::default());
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let since = i64::try_from(since.as_nanos()).unwrap_or(i64::MAX);
        let rounds = Rounds { plan, folder, meta, trust, work, sessions, monitor, ledger, since, less };
        rounds.show(vec![]);
        rounds
    }

    /// Says less of what it says again and again, or not.
    pub(super) fn quiet(&self, quiet: bool) {
        self.less.store(quiet.into(), Ordering::Relaxed);
    }

    /// Begins one. Its end is told, also that of one for which the kernel has no thread left.
    pub(super) fn begin(&self) {
        let this = self.clone();
        self.work.begin(|round| spawn("round", move || this.work.end(this.run(round))));
    }

    fn run(&self, round: u64) -> Result<(), Failure> {
        let (out, inbox) = (Outbox::new().map_err(cannot_start)?, Inbox::new());
        let session = put::session(&self.plan, self.trust.clone(), &out, &inbox, &self.less);
        let session = session.map_err(cannot_start)?;
        let handle = session.handle();
        let number = self.sessions.add(handle.clone());
        self.show(vec![Subject { session: handle.clone(), way: Way::Out, expected: None }]);
        let sends = self.send(round, handle.clone(), out, inbox).inspect(|_| session.run());
        self.show(vec![]);
        self.sessions.remove(number);
        let ended = sends.map_err(no_thread)?;
        let mut outcomes = handle.settled().into_iter().map(|(_, outcome)| outcome);
        outcomes.try_for_each(|outcome| Failure::unless_complete(outcome, "the receiver"))?;
        // the streams are over, and so is whoever waits for them
        match ended.recv_timeout(put::LAST) {
            Ok(Ending::Whole) => Ok(()),
            _ => Err(Failure::network("the receiver ended before every file had its verdict")),
        }
    }

    /// Starts the thread that sends.
    fn send(
        &self,
        round: u64,
        session: Handle,
        out: Arc<Outbox>,
        inbox: Arc<Inbox>,
    ) -> io::Result<crossbeam_channel::Receiver<Ending>> {
        let work = self.work.clone();
        let tell = move |name: &Name, fate| work.judge(round, name.as_str(), Some(fate));
        let sending = Sending::new(out, inbox, tell).beginning(move || session.use_all());
        let most = descriptors::files(self.plan.transmit.threads);
        let sending = sending.accounting(self.ledger.clone()).opening(most);
        let (this, ended) = (self.clone(), crossbeam_channel::bounded(1));
        spawn("files", move || {
            let _ = ended.0.send(sending.run(std::iter::from_fn(|| this.next(round))));
        })?;
        Ok(ended.1)
    }

    /// The next file that is still what it was when it was found complete.
    fn next(&self, round: u64) -> Option<Item> {
        loop {
            let (path, seen) = self.work.take(round)?;
            let file = self.folder.join(&path);
            let is_same = match look_at(&self.folder, &path) {
                Ok(found) => found.is_some_and(|(now, writing)| now == seen && writing != Some(true)),
                Err(error) => {
                    let fate = Fate { verdict: FileVerdict::Input, sentence: reason(&error) };
                    self.work.judge(round, &path, Some(fate));
                    continue;
                }
            };
            match Name::stored(path.clone()) {
                Ok(name) if is_same => {
                    let (meta, matter) = (self.meta.clone(), Matter::File(file, Some(seen)));
                    return Some(Item { name, meta, matter, ask: seen.changed < self.since });
                }
                _ => self.work.judge(round, &path, None),
            }
        }
    }

    fn show(&self, subjects: Vec<Subject>) {
        let (work, ledger) = (self.work.clone(), self.ledger.clone());
        let folder = self.folder.display().to_string();
        self.monitor.show(subjects, move || {
            // the ledger counts each time that a file was not stored, and this one may be tried for ever
            let files = Files { failed: work.unstored(), ..ledger.files() };
            let total = files.judged() + work.left();
            boards::sent(files, total, Some(folder.clone()))
        });
    }
}
