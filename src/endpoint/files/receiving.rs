//! The receiver's side: what a sender says of files is done, on a shelf, and answered.
//!
//! The thread that writes the stream's bytes takes the records apart and writes data where it belongs. Opening and
//! finishing are jobs for others, so that files wait for the disk side by side. What one sender may have open, and how
//! many jobs, is bounded; beyond that its stream waits. A file that fails is answered, and never ends the session; a
//! record that makes no sense does.

use super::ledger::Ledger;
use super::outbox::Outbox;
use super::place::Place;
use super::workers::Workers;
use crate::endpoint::SinkError;
use crate::message;
use crate::store::disk::Disk;
use crate::store::meta::Meta;
use crate::store::name::{BadName, Name};
use crate::store::record::{Down, FileVerdict, Open, STORED_BUT, Up};
use crate::store::shelf::{Arrival, FileBreach, Finished, No, OpenAnswer, Peer, Shelf, There, Wanted};
use crate::store::sum::{Mark, Sum};
use crate::store::summing::Shared;
use crate::sync::Unpoisoned;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

mod jobs;
#[cfg(test)]
mod tests;

/// Files that a sender may have said of before their verdicts. Each small one may have 192 KiB here.
const FILES_MAX: usize = 32;

/// What is said once of a folder that is not where it was.
const MOVED: &str = "it was moved or removed; nothing is stored until it is back";

/// Runs after a finished file: whether it has succeeded, and how it ended.
pub(crate) type Then<D> = Arc<dyn Fn(&Finished<D>) -> (bool, String) + Send + Sync>;

/// What else is wanted of files, and who hears of them.
pub(crate) struct Hooks<D: Disk> {
    /// Keys that metadata must have.
    pub(crate) require: Vec<String>,
    /// Names are for commands too.
    pub(crate) commanded: bool,
    /// Runs after each finished file, unless it has succeeded before.
    pub(crate) then: Option<Then<D>>,
    /// The place that the session has.
    pub(crate) place: Place,
    /// Account is kept here.
    pub(crate) ledger: Arc<Ledger>,
}

/// One sender's files.
pub(crate) struct Receiving<D: Disk> {
    shelf: Arc<Shelf<D>>,
    peer: Peer,
    pub(super) hooks: Hooks<D>,
    workers: Workers,
    pub(super) out: Arc<Outbox>,
    state: Mutex<State<D>>,
    /// What runs after files runs for one at a time.
    turn: Mutex<()>,
    /// A job is done.
    done: Condvar,
}

struct State<D: Disk> {
    files: HashMap<u32, Phase<D>>,
    /// The number of the file that was opened last.
    last: u32,
    /// Nothing more comes, and whatever a job has not in hand is given up.
    abandoned: bool,
    /// The same, and what has come is durable.
    over: bool,
}

impl<D: Disk> State<D> {
    /// Somebody works on a file.
    fn is_busy(&self) -> bool {
        self.files.values().any(|phase| matches!(phase, Phase::Opening | Phase::Closing))
    }
}

/// ```text
///  Opening ─▶ Offered ─ From ─▶ Coming ─ End ─▶ Closing ─▶ (verdict)
///     ╰─────▶ There ─ Same ─────────────────────▶┘
/// ```
/// Files that are over are not here; what still comes of one is thrown away.
enum Phase<D: Disk> {
    /// A job sees whether it may come.
    Opening,
    /// It may.
    Offered(Box<Arrival<D>>),
    /// One of its name and size is finished.
    There(Box<There<D>>),
    /// It comes.
    Coming(Box<Arrival<D>>),
    /// A job finishes it.
    Closing,
}

/// What a sender says of a file that it has opened. [`Receiving::follow`] has what it may say when.
enum Said<'a> {
    From(u64),
    /// This range of these bytes.
    Data(&'a Shared, Range<usize>),
    End(Mark),
    Same,
    Reads,
    Stop(String),
}

impl<D: Disk + 'static> Receiving<D>
where
    D::File: 'static,
{
    /// No files yet. The answers go to this outbox.
    pub(crate) fn new(
        shelf: Arc<Shelf<D>>,
        peer: Peer,
        hooks: Hooks<D>,
        workers: Workers,
        out: Arc<Outbox>,
    ) -> Arc<Self> {
        let state = Mutex::new(State { files: HashMap::new(), last: 0, abandoned: false, over: false });
        let turn = Mutex::new(());
        Arc::new(Receiving { shelf, peer, hooks, workers, out, state, turn, done: Condvar::new() })
    }

    /// Waits until nothing more comes and nobody works on a file, but no longer than this; then what has come is durable.
    pub(crate) fn await_end(&self, time: Duration) {
        let busy = |state: &mut State<D>| !state.over || state.is_busy();
        let waited = self.done.wait_timeout_while(self.lock(), time, busy);
        drop(waited.unpoisoned());
    }

    /// Waits until nothing is done any more with a file after which a command runs.
    pub(crate) fn await_commands(&self) {
        if self.hooks.then.is_some() {
            let waited = self.done.wait_while(self.lock(), |state| state.is_busy());
            drop(waited.unpoisoned());
        }
    }

    /// Whether this end holds its sender up: it opens a file, sums up what is there of one, writes to one or finishes one, or a
    /// command runs after one. Its sender can do nothing about that, and what it has to say may well be here already.
    pub(crate) fn holds_up(&self) -> bool {
        self.lock().is_busy()
    }

    pub(super) fn hear(self: &Arc<Self>, file: u32, up: Up) -> Result<(), SinkError> {
        match up {
            Up::Open(open) => {
                self.enter(file)?;
                self.job(move |this| this.opened(file, open));
            }
            Up::Whole(open, sum, bytes) => {
                self.enter(file)?;
                self.long_job(move |this| this.whole(file, open, sum, bytes));
            }
            Up::From(offset) => self.with(file, Said::From(offset))?,
            Up::End(mark) => self.with(file, Said::End(mark))?,
            Up::Same => self.with(file, Said::Same)?,
            Up::Reads => {
                self.with(file, Said::Reads)?;
                (self.hooks.place.progress)();
            }
            Up::Stop(why) => self.with(file, Said::Stop(why))?,
            Up::Data(_) => {}
        }
        Ok(())
    }

    /// Bytes of a file: this range of `whole`.
    pub(super) fn data(
        self: &Arc<Self>,
        file: u32,
        whole: &Shared,
        range: Range<usize>,
    ) -> Result<(), SinkError> {
        self.with(file, Said::Data(whole, range))?;
        (self.hooks.place.progress)();
        Ok(())
    }

    /// A new file. Waits while there are too many.
    fn enter(&self, file: u32) -> Result<(), SinkError> {
        let mut state = self.lock();
        if file <= state.last {
            return Err(SinkError::senseless());
        }
        // those that wait for their sender are not waited for: it has to know how many it may have
        let waits = |state: &State<D>| {
            let jobs = state.files.values().filter(|phase| matches!(phase, Phase::Opening | Phase::Closing));
            state.files.len() >= FILES_MAX && jobs.count() > 0
        };
        while waits(&state) {
            state = self.done.wait(state).unpoisoned();
        }
        if state.files.len() >= FILES_MAX {
            return Err(SinkError::senseless());
        }
        state.last = file;
        state.files.insert(file, Phase::Opening);
        Ok(())
    }

    /// Does what the sender says of a file that is not over, outside of the lock. A file of which the sender may not say
    /// this now stays in its phase: [`Receiving::abandon`] keeps what has come.
    fn with(self: &Arc<Self>, file: u32, said: Said<'_>) -> Result<(), SinkError> {
        let mut state = self.lock();
        let Some(place) = state.files.get_mut(&file) else {
            // it was refused while this was on its way
            return if file <= state.last { Ok(()) } else { Err(SinkError::senseless()) };
        };
        if matches!(place, Phase::Opening | Phase::Closing) {
            // a job has it, and puts it into its next phase
            return Err(SinkError::senseless());
        }
        let phase = std::mem::replace(place, Phase::Closing);
        drop(state);
        let (next, result) = match self.follow(file, phase, said) {
            Ok(next) => (next, Ok(())),
            Err(phase) => (Some(phase), Err(SinkError::senseless())),
        };
        let mut state = self.lock();
        match next {
            // the job that closes it may be over already
            Some(Phase::Closing) => {}
            Some(phase) => drop(state.files.insert(file, phase)),
            None => drop(state.files.remove(&file)),
        }
        drop(state);
        if result.is_err() {
            // whoever waits for the end of all work has seen a file that is closing
            self.done.notify_all();
        }
        result
    }

    /// Every move that the sender makes. Ok: the phase that the file is in then, none if the file is over. Err: the
    /// sender may not say this in this phase.
    fn follow(
        self: &Arc<Self>,
        file: u32,
        phase: Phase<D>,
        said: Said<'_>,
    ) -> Result<Option<Phase<D>>, Phase<D>> {
        Ok(match (phase, said) {
            (Phase::Offered(arrival), Said::From(offset)) => self.begin(file, Ok(arrival), offset),
            (Phase::There(there), Said::From(offset)) => {
                self.begin(file, there.differs(SystemTime::now()).map(Box::new), offset)
            }
            (Phase::There(there), Said::Same) => {
                self.close(file, move |this| there.same().and_then(|f| this.after(f)))
            }
            (phase @ (Phase::Offered(_) | Phase::There(_)), Said::Reads) => Some(phase),
            (Phase::Coming(arrival), Said::Data(whole, range)) => self.write(file, arrival, whole, range),
            (Phase::Coming(arrival), Said::End(mark)) => {
                self.close(file, move |this| this.finish(*arrival, mark))
            }
            (Phase::Offered(_) | Phase::There(_) | Phase::Coming(_), Said::Stop(why)) => {
                self.hooks.ledger.judge(file, Some(FileVerdict::Input), None);
                self.out.say(file, &Down::Verdict(FileVerdict::Input, why));
                None
            }
            (phase, _) => return Err(phase),
        })
    }

    fn begin(&self, file: u32, arrival: Result<Box<Arrival<D>>, No>, offset: u64) -> Option<Phase<D>> {
        let begun = arrival.and_then(|mut arrival| arrival.begin(offset).map(|()| arrival));
        match begun {
            Ok(arrival) => {
                let Wanted { name, size, .. } = arrival.wanted();
                self.hooks.ledger.begin(file, name.as_str(), *size, offset);
                Some(Phase::Coming(arrival))
            }
            Err(no) => {
                self.judge(file, Err(no));
                None
            }
        }
    }

    fn write(
        &self,
        file: u32,
        mut arrival: Box<Arrival<D>>,
        whole: &Shared,
        range: Range<usize>,
    ) -> Option<Phase<D>> {
        let length = range.len() as u64;
        match arrival.write_shared(SystemTime::now(), whole, range) {
            Ok(()) => {
                self.hooks.ledger.advance(file, length);
                Some(Phase::Coming(arrival))
            }
            Err(no) => {
                drop(arrival);
                self.judge(file, Err(no));
                None
            }
        }
    }

    /// Nothing more comes: waits for all verdicts; what is not whole is kept for another time.
    pub(super) fn finish_all(&self) {
        let busy = |state: &mut State<D>| state.is_busy();
        let mut state = self.done.wait_while(self.lock(), busy).unpoisoned();
        let left = std::mem::take(&mut state.files);
        // outside of the lock: a disk may take its time to close them, and whoever asks what is done here does not wait for that
        drop(state);
        left.keys().for_each(|file| self.hooks.ledger.forget(*file));
        drop(left);
        self.out.end(Ok(()));
    }

    // ---- jobs ----

    /// A file that came at once.
    fn whole(self: &Arc<Self>, file: u32, open: Open, sum: Sum, bytes: Vec<u8>) {
        let wanted = match self.wanted(open) {
            Ok(wanted) => wanted,
            Err(no) => return self.judge(file, Err(no)),
        };
        self.hooks.ledger.pass(wanted.name.as_str(), bytes.len() as u64);
        self.ask(wanted, move |this, answer| {
            let verdict = answer.and_then(|answer| this.store(answer, sum, &bytes));
            this.judge(file, verdict);
        });
    }

    /// Stores these bytes, if they are not there already.
    fn store(&self, answer: OpenAnswer<D>, sum: Sum, bytes: &[u8]) -> Result<FileVerdict, No> {
        let now = SystemTime::now();
        let arrival = match answer {
            OpenAnswer::There(there) if there.mark().sum == sum => return self.after(there.same()?),
            OpenAnswer::There(there) => there.differs(now)?,
            OpenAnswer::Go(arrival) => arrival,
        };
        self.after(arrival.whole(now, bytes, sum)?)
    }

    fn finish(&self, arrival: Arrival<D>, mark: Mark) -> Result<FileVerdict, No> {
        if arrival.length() != mark.length {
            return Err(FileBreach::EndsElsewhere.into());
        }
        self.after(arrival.finish(SystemTime::now(), mark.sum)?)
    }

    /// A file is there: what is to be done then.
    fn after(&self, mut finished: Finished<D>) -> Result<FileVerdict, No> {
        if let Some(then) = self.hooks.then.as_ref().filter(|_| finished.then_is_due()) {
            self.run(then, &mut finished)?;
        }
        Ok(if finished.already { FileVerdict::Already } else { FileVerdict::Stored })
    }

    /// Runs a command after a file, and notes how it ended. Meanwhile the session is not stopped: its sender waits to hear
    /// that, and would have the command run once more.
    fn run(&self, then: &Then<D>, finished: &mut Finished<D>) -> Result<(), No> {
        let _turn = self.turn.lock().unpoisoned();
        let set_busy = &self.hooks.place.set_busy;
        if !set_busy(true) {
            return Err(No::Ends);
        }
        let (succeeded, outcome) = then(finished);
        let noted = finished.note_then(SystemTime::now(), succeeded, &outcome);
        set_busy(false);
        match succeeded {
            true => noted,
            false => noted.and(Err(No::Disk(format!("{STORED_BUT}'then' failed: {outcome}")))),
        }
    }

    /// What is wanted, checked.
    fn wanted(&self, open: Open) -> Result<Wanted, No> {
        let name = String::from_utf8(open.name).map_err(|_| BadName::NotText)?;
        let name = if self.hooks.commanded { Name::commanded(name)? } else { Name::stored(name)? };
        let meta = Meta::said(&open.meta, &self.hooks.require);
        let meta = meta.map_err(|e| No::Refused(format!("the metadata {e}")))?;
        Ok(Wanted { name, size: open.size, meta })
    }

    // ---- answers ----

    /// A file is over.
    fn judge(&self, file: u32, verdict: Result<FileVerdict, No>) {
        let (verdict, sentence) = match verdict {
            Ok(verdict) => (verdict, String::new()),
            Err(no) => {
                if let No::Moved(Some(folder)) = &no {
                    message::say(format!("into {}: {MOVED}", folder.display()));
                }
                let verdict = match no {
                    No::Held(held) if held.own => FileVerdict::Later,
                    No::Taken | No::Held(_) => FileVerdict::Taken,
                    No::Ends => FileVerdict::Later,
                    No::Name(_) | No::Refused(_) | No::Breach(_) => FileVerdict::Refused,
                    No::Disk(_) | No::Moved(_) => FileVerdict::Output,
                    No::Corrupt => FileVerdict::Corrupt,
                };
                (verdict, no.to_string())
            }
        };
        self.lock().files.remove(&file);
        self.done.notify_all();
        self.hooks.ledger.judge(file, Some(verdict).filter(|verdict| *verdict != FileVerdict::Later), None);
        self.out.say(file, &Down::Verdict(verdict, sentence));
        (self.hooks.place.progress)();
    }

    fn lock(&self) -> MutexGuard<'_, State<D>> {
        self.state.lock().unpoisoned()
    }
}

impl<D: Disk> Receiving<D> {
    /// Nothing more comes, and nobody waits for verdicts: what has come is kept, durably. A file that a job opens is given up
    /// when the job has its answer.
    pub(super) fn abandon(&self) {
        let lock = || self.state.lock().unpoisoned();
        let phases: Vec<_> = {
            let mut state = lock();
            state.abandoned = true;
            let left = |phase: &Phase<D>| !matches!(phase, Phase::Opening | Phase::Closing);
            let left: Vec<u32> = state.files.iter().filter(|(_, p)| left(p)).map(|(file, _)| *file).collect();
            left.iter().for_each(|file| self.hooks.ledger.forget(*file));
            left.into_iter().filter_map(|file| state.files.remove(&file)).collect()
        };
        for phase in phases {
            if let Phase::Coming(mut arrival) = phase {
                // it is durable when this process says that it has ended
                let _ = arrival.sync();
            }
        }
        lock().over = true;
        self.done.notify_all();
    }
}
