//! Sends files, or a stream with a name, to a standing receiver.

use super::direction::{self, Labels};
use super::monitor::{Monitor, Subject, Wanted};
use super::sessions::{Sessions, cannot_start, no_signals, no_thread};
use super::{boards, descriptors, keys, signals};
use crate::chaos::Hazard;
use crate::endpoint::files::{Ending, Fate, Inbox, Item, Ledger, Matter, Outbox, Pause, Sending, check};
use crate::error::{Failure, Status, reason};
use crate::message;
use crate::message::text::bounded;
use crate::plan::PutPlan;
use crate::proto::hello::Features;
use crate::proto::session::{DiallerConfig, InboundConfig, OutboundConfig};
use crate::proto::way::Way;
use crate::session::{Approach, Hear, Incoming, News, Outgoing, Setup, Start};
use crate::store::meta::{META_MAX, Meta};
use crate::store::name::{BadName, Name};
use crate::store::record::FileVerdict;
use crate::sync::Unpoisoned;
use crate::sys::stdio::stdin_was_closed;
use crate::sys::thread::spawn;
use crate::trust::Trust;
use std::fmt::Display;
use std::io::{self, Read as _};
use std::path::{Component, Path};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Memory for what the receiver says: verdicts are small.
const ANSWERS: u64 = 4 << 20;

/// How long the sending thread may take to see that: it may be reading a pipe that gives nothing.
pub(super) const LAST: Duration = Duration::from_secs(2);

/// What is said where the session was broken off that has sent some of the files.
const AGAIN: &str = "to go on, put again: what the receiver has kept is not sent again";

/// What became of the files so far.
#[derive(Default)]
struct Tally {
    /// What has failed first, if anything has.
    first: Option<Failure>,
    stored: u64,
    already: u64,
    failed: u64,
}

impl Tally {
    /// The last line for a person; where something failed, the failure itself comes after it.
    fn summary(&self) -> String {
        if self.failed > 0 {
            let Tally { stored, already, failed, .. } = self;
            return format!("files: {stored} stored, {already} there already, {failed} not stored");
        }
        match (self.stored, self.already) {
            (1, 0) => "the file is stored".into(),
            (0, 1) => "the file was there already".into(),
            (stored, 0) => format!("{stored} files are stored"),
            (0, already) => format!("{already} files were there already"),
            (stored, already) => format!("files: {stored} stored, {already} there already"),
        }
    }

    /// A file is not stored: tells why, and remembers the first.
    fn fail(&mut self, failure: Failure) {
        self.failed += 1;
        match &self.first {
            // the last line of the process says it
            None => self.first = Some(failure),
            Some(_) => message::say(failure),
        }
    }
}

/// Sends all files; returns when each has its verdict.
///
/// # Errors
/// The session could not be completed, or the first file that is not stored.
pub fn put(plan: &PutPlan) -> Result<(), Failure> {
    let (tally, ledger) = (Arc::<Mutex<Tally>>::default(), Ledger::new());
    let (failed, account) = (tally.clone(), ledger.clone());
    let unnamed = move |failure| {
        account.fail();
        failed.lock().unpoisoned().fail(failure);
    };
    let (items, total) = items(plan, unnamed)?;
    let (outcome, ending) = send(plan, items, total, &tally, &ledger)?;
    let mut tally = tally.lock().unpoisoned();
    let first = tally.first.take();
    if let Err(failure) = outcome {
        // the last line of the process is another
        first.iter().for_each(message::say);
        if failure.status == Status::Incomplete && !plan.files.is_empty() && ledger.files().moved > 0 {
            message::note(0, || AGAIN.into());
        }
        return Err(failure);
    }
    match (first, ending) {
        (Some(failure), _) => {
            if total > 1 {
                message::announce(|| tally.summary());
            }
            Err(failure)
        }
        (None, Ending::Whole) => {
            message::announce(|| tally.summary());
            Ok(())
        }
        (None, Ending::Broken | Ending::Senseless) => {
            Err(Failure::network("the receiver ended before every file had its verdict"))
        }
    }
}

/// Sends these files, of which there are `total`, until the session is over: how that ended, and how the sending of files.
///
/// # Errors
/// It cannot begin.
fn send(
    plan: &PutPlan,
    items: impl Iterator<Item = Item> + Send + 'static,
    total: u64,
    tally: &Arc<Mutex<Tally>>,
    ledger: &Arc<Ledger>,
) -> Result<(Result<(), Failure>, Ending), Failure> {
    let trust = plan.common.trust.as_ref().map(keys::load).transpose()?;
    let signals = signals::hear().map_err(no_signals)?;
    plan.transmit.links.iter().try_for_each(direction::check_via)?;
    let (out, inbox) = (Outbox::new().map_err(cannot_start)?, Inbox::new());
    let session = session(plan, trust.clone(), &out, &inbox, &Arc::default()).map_err(cannot_start)?;
    let handle = session.handle();
    let sessions = Sessions::new(vec![handle.clone()]);
    let subjects = vec![Subject { session: handle.clone(), way: Way::Out, expected: None }];
    let typed = plan.files.is_empty() && rustix::termios::isatty(io::stdin());
    let monitor = Monitor::start(vec![], Wanted::of_files(plan.common.progress, typed)).map_err(no_thread)?;
    let seen = ledger.clone();
    monitor.show(subjects, move || boards::sent(seen.files(), total, None));
    signals.watch(sessions.clone(), monitor.clone()).map_err(no_thread)?;
    if let Some(trust) = trust {
        keys::watch(trust, sessions).map_err(no_thread)?;
    }
    let (told, ended) = (tally.clone(), crossbeam_channel::bounded(1));
    let sending = Sending::new(out, inbox, move |name: &Name, fate| tell(&told, name, fate));
    let mut level = 0;
    let all = handle.clone();
    let sending = sending.pausing(move |pause| wait_for(pause, &mut level)).beginning(move || all.use_all());
    let sending = sending.accounting(ledger.clone()).opening(descriptors::files(plan.transmit.threads));
    let run = move || {
        let _ = ended.0.send(sending.run(items));
    };
    spawn("files", run).map_err(no_thread)?;
    session.run();
    let failed = handle.settled().into_iter().map(|(_, outcome)| outcome);
    let failed = failed.map(|outcome| Failure::unless_complete(outcome, "the receiver"));
    let result = failed.fold(Ok(()), Result::and);
    // the streams are over, and so is whoever waits for them
    let ending = ended.1.recv_timeout(LAST).unwrap_or(Ending::Broken);
    monitor.end();
    Ok((result, ending))
}

/// Tells why nothing is sent; how many go first only once, unless more is wanted.
fn wait_for(pause: Pause<'_>, level: &mut u8) {
    match pause {
        Pause::Place(ahead) => {
            let line = match ahead {
                0 => "waiting for a place at the receiver: this is the next one".into(),
                1 => "waiting for a place at the receiver: one goes first".into(),
                ahead => format!("waiting for a place at the receiver: {ahead} go first"),
            };
            message::note(*level, || line);
            *level = 1;
        }
        Pause::Over => message::note(0, || "there is a place; the transfer begins".into()),
        Pause::Busy(name) => {
            message::note(0, || format!("{name}: another session sends it now; waiting for that to end"));
        }
    }
}

/// Tells what became of a file.
fn tell(tally: &Mutex<Tally>, name: &Name, fate: Fate) {
    let mut tally = tally.lock().unpoisoned();
    let (status, what) = match fate.verdict {
        FileVerdict::Stored => {
            tally.stored += 1;
            return message::note(1, || format!("{name}: stored"));
        }
        FileVerdict::Already => {
            tally.already += 1;
            return message::note(1, || format!("{name}: was there already"));
        }
        FileVerdict::Taken | FileVerdict::Refused => (Status::Refused, "refused"),
        FileVerdict::Input => (Status::Input, "not sent"),
        FileVerdict::Output => (Status::Output, "not stored"),
        FileVerdict::Corrupt => (Status::Corrupt, "not stored"),
        FileVerdict::Later => (Status::Incomplete, "not stored"),
    };
    tally.fail(Failure { status, sentence: format!("{name}: {}", fate.told(what)) });
}

/// What is to be sent, and how many files that is. Of a file whose name is not in order `unnamed` hears when its turn
/// comes.
///
/// # Errors
/// The metadata or the given name is not in order, or there is nothing that could be sent.
fn items<F: FnMut(Failure)>(
    plan: &PutPlan,
    mut unnamed: F,
) -> Result<(impl Iterator<Item = Item> + use<F>, u64), Failure> {
    let meta = meta(plan)?;
    // where not one of the files can be sent, nobody needs to be asked for
    let hopeless = plan.files.iter().map(|file| fault(file, plan.name.is_none()));
    if let Some(faults) = hopeless.collect::<Option<Vec<_>>>()
        && let Some((first, others)) = faults.split_first()
    {
        others.iter().for_each(message::say);
        return Err(first.clone());
    }
    let (single, files) = match &plan.name {
        Some(name) => (Some(single(plan, name, meta.clone())?), vec![]),
        None => (None, plan.files.clone()),
    };
    let total = single.iter().len() + files.len();
    let files = files.into_iter().filter_map(move |file| match name_of(&file) {
        Ok(name) => Some(Item { name, meta: meta.clone(), matter: Matter::File(file, None), ask: false }),
        Err(failure) => {
            unnamed(failure);
            None
        }
    });
    Ok((single.into_iter().chain(files), total as u64))
}

/// So many characters of a name that is refused are shown: it may be refused for its length.
const SHOWN: usize = 30;

/// The one file, or stdin, that is sent by this name.
fn single(plan: &PutPlan, name: &str, meta: Vec<u8>) -> Result<Item, Failure> {
    let matter = match plan.files.first() {
        Some(file) => Matter::File(file.clone(), None),
        // what reads as empty then would be stored as an empty file
        None if stdin_was_closed() => {
            return Err(Failure::input("stdin is closed; there is nothing to send"));
        }
        None => Matter::Pipe(Box::new(io::stdin())),
    };
    let name = Name::stored(name).map_err(|e| {
        let shown = bounded(&name.escape_debug().to_string(), SHOWN);
        Failure::usage(format!("the name {shown} {e}"))
    })?;
    Ok(Item { name, meta, matter, ask: false })
}

/// Why a file certainly cannot be sent. `named`: by the name that it has here.
fn fault(file: &Path, named: bool) -> Option<Failure> {
    let unnamed = if named { name_of(file).err() } else { None };
    let missing = |e: io::Error| Failure::input(format!("{}: {}", file.display(), reason(&e)));
    unnamed.or_else(|| file.symlink_metadata().err().map(missing))
}

/// A file's name as its path says it; of one that is not below this folder, its last part.
///
/// # Errors
/// It is not in order. Where no file is there at all, which may be why, that is what is said.
fn name_of(file: &Path) -> Result<Name, Failure> {
    let relative = file.strip_prefix(".").unwrap_or(file);
    let below = relative.components().all(|part| matches!(part, Component::Normal(_)));
    let name = if below { relative.as_os_str() } else { file.file_name().unwrap_or_default() };
    let name = name.to_str().ok_or(BadName::NotText).and_then(Name::stored);
    name.map_err(|bad| match check(file) {
        Ok(()) => {
            Failure { status: Status::Refused, sentence: format!("{file:?}: not sent: the name {bad}") }
        }
        Err(why) => Failure::input(format!("{file:?}: not sent: {why}")),
    })
}

/// What is said of each file.
///
/// # Errors
/// It cannot be read, or is not in order.
pub(super) fn meta(plan: &PutPlan) -> Result<Vec<u8>, Failure> {
    let wrong = |what: &dyn Display, e| Failure { status: Status::Refused, sentence: format!("{what} {e}") };
    let mut meta = match &plan.meta {
        None => Meta::default(),
        Some(file) => {
            // one byte more shows that it is too long
            let mut json = Vec::new();
            let open = std::fs::File::open(file);
            let read = open.and_then(|file| file.take(META_MAX as u64 + 1).read_to_end(&mut json));
            read.map_err(|e| Failure::input(format!("meta {}: {}", file.display(), reason(&e))))?;
            Meta::parse(&json).map_err(|e| wrong(&format_args!("meta {}", file.display()), e))?
        }
    };
    plan.tags.iter().try_for_each(|tag| meta.tag(tag)).map_err(|e| wrong(&"the metadata", e))?;
    Ok(if meta.is_empty() { Vec::new() } else { meta.encode().into_bytes() })
}

/// A session that carries files. What it tells is told at levels that are higher by `less`.
///
/// # Errors
/// The kernel's.
pub(super) fn session(
    plan: &PutPlan,
    trust: Option<Arc<Trust>>,
    out: &Arc<Outbox>,
    inbox: &Arc<Inbox>,
    less: &Arc<AtomicU8>,
) -> io::Result<Start> {
    let (common, transmit) = (&plan.common, &plan.transmit);
    let checksum = if transmit.checksum { Features::CHECKSUM } else { Features::NONE };
    let features = checksum | direction::compress(&transmit.stream) | Features::DUPLEX | Features::FILES;
    let config = DiallerConfig { waits: true, ..direction::dialler(common, transmit, features) };
    let names = Labels { links: config.links.clone(), trust: trust.clone() };
    let approach = Approach::Dial(transmit.links.clone(), Box::new(config));
    let answers = InboundConfig {
        patience: common.patience,
        ..InboundConfig::new(direction::random_id(), Features::CHECKSUM | features, ANSWERS)
    };
    let sends = Outgoing {
        config: OutboundConfig { buffer: common.buffer },
        stream: transmit.stream.clone(),
        charmode: true,
        source: Box::new(out.source(true)),
        is_asked_to_end: signals::is_asked_to_end,
    };
    let receives = Incoming { sink: Box::new(inbox.sink()), config: answers, is_asked_to_end: || false };
    let hear = hear(names, less.clone());
    Start::new(Setup {
        inseparable: true,
        trust,
        ..Setup::new(approach, Some(sends), Some(receives), Hazard::new(common.chaos), hear)
    })
}

/// Tells the user what a session tells, at levels that are higher by `less`.
fn hear(names: Labels, less: Arc<AtomicU8>) -> Hear {
    Box::new(move |news| {
        if let News::Tell(event) = news {
            message::note(event.level() + less.load(Ordering::Relaxed), || names.word(&event));
        }
    })
}
