//! A standing receiver: many sessions behind one door, their files in one folder, or each stream to a command of its own.

use super::lasting::Lasting;
use super::monitor::{Monitor, Wanted};
use super::places::Places;
use super::sessions::{Sessions, cannot_start, no_signals, no_thread};
use super::visits::{FEATURES, Handler, Maker};
use super::{keys, listen, signals};
use crate::endpoint::exec::Exec;
use crate::endpoint::files::{MetaFile, Names, Then, Workers, environment};
use crate::error::{Failure, reason};
use crate::message;
use crate::plan::{Goal, ServePlan};
use crate::proto::check::Expectations;
use crate::proto::hello::Id;
use crate::proto::leg::CONNECTIONS_MAX;
use crate::session::accept::Door;
use crate::session::lobby::Lobby;
use crate::store::beneath::Beneath;
use crate::store::disk::Disk;
use crate::store::place;
use crate::store::queue::{AWAY, Bounds, STALL};
use crate::store::shelf::{Finished, Rules, Shelf};
use crate::sys::activation;
use crate::sys::limits::allow_descriptors;
use crate::sys::thread::spawn;
use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Sessions that wait, at most, and of one key.
const WAITING: (usize, usize) = (64, 16);
/// Descriptors of a session: of each connection its socket, what wakes its thread and what it waits in; and some files.
const DESCRIPTORS: u64 = 3 * CONNECTIONS_MAX as u64 + 16;
/// The same of one that waits, and has two connections at most.
const OF_WAITING: u64 = 3 * 2 + 8;
/// The same of a command that goes on after its session.
const OF_LASTING: u64 = 4;
/// Threads that open and finish files: as many as make a disk busy with syncing.
const WORKERS: usize = 8;
/// How often partials are looked at that are to be kept no longer.
const SWEEP: Duration = Duration::from_secs(3600);

/// Sessions that have one of so many places or wait for one, at most.
fn most(places: usize) -> usize {
    places + WAITING.0
}

/// Descriptors that all of them need at worst, and as many commands of earlier ones.
fn descriptors(places: usize) -> u64 {
    let [places, waiting, all] = [places, WAITING.0, most(places)].map(|n| n as u64);
    DESCRIPTORS * places + OF_WAITING * waiting + OF_LASTING * all
}

/// Serves until this process is asked to end.
///
/// # Errors
/// It cannot begin; or how it was ended.
pub fn serve(plan: &ServePlan) -> Result<(), Failure> {
    serve_with(plan, STALL, AWAY)
}

/// The same, where a session that makes no progress for the first time, or has no connection for the second one, loses
/// its place to one that waits.
///
/// # Errors
/// It cannot begin; or how it was ended.
pub fn serve_with(plan: &ServePlan, stall: Duration, away: Duration) -> Result<(), Failure> {
    let trust = plan.common.trust.as_ref().map(keys::load).transpose()?;
    let signals = signals::hear().map_err(no_signals)?;
    let (handler, _claim) = handler(plan)?;
    let sessions = Sessions::default();
    let monitor =
        Monitor::start(Vec::new(), Wanted::of_files(plan.common.progress, false)).map_err(no_thread)?;
    signals.watch(sessions.clone(), monitor.clone()).map_err(no_thread)?;
    if let Some(trust) = &trust {
        keys::watch(trust.clone(), sessions.clone()).map_err(no_thread)?;
    }
    let wanted = descriptors(plan.sessions);
    let allowed = allow_descriptors(wanted);
    if allowed < wanted {
        message::say(format!("ulimit -n allows {allowed} open files; with many senders {wanted} are needed"));
    }
    let bounds = Bounds { places: plan.sessions, waiting: WAITING.0, of_one_key: WAITING.1, stall, away };
    let places = Places::new(bounds).map_err(no_thread)?;
    let seen = places.clone();
    monitor.show(Vec::new(), move || seen.board());
    let maker = Maker {
        plan: plan.clone(),
        instance: Id::new(rand::random()),
        trust: trust.clone(),
        handler,
        workers: Workers::new(WORKERS).map_err(no_thread)?,
        places,
        lasting: Lasting::new(most(plan.sessions), WAITING.1),
        sessions: sessions.clone(),
    };
    let expectations = Expectations {
        checkphrase: plan.common.checkphrase,
        features: FEATURES,
        duplex: true,
        through: false,
        compresses: false,
        initiates: false,
    };
    let listener = listener(plan)?;
    let lobby = Lobby::new(most(plan.sessions), Box::new(move |_, key| maker.make(key)));
    let door = Door::new(listener, expectations, trust, Box::new(lobby)).map_err(cannot_start)?;
    spawn("door", move || door.run()).map_err(no_thread)?;
    activation::tell_ready();
    let ending = sessions.await_end();
    activation::tell_stopping();
    monitor.end();
    Failure::unless_complete(ending, "the sender")
}

/// The socket that whoever started this process has handed to it, or else one of its own.
fn listener(plan: &ServePlan) -> Result<TcpListener, Failure> {
    let handed = activation::listeners()
        .map_err(|e| Failure::network(format!("cannot use the socket of LISTEN_FDS: {}", reason(&e))))?;
    let count = handed.len();
    match handed.into_iter().next() {
        None => listen::announced(&plan.listen, plan.common.patience, "serving on port"),
        Some(_) if count > 1 => {
            Err(Failure::usage(format!("LISTEN_FDS has {count} sockets, and serve takes one")))
        }
        Some(listener) => {
            let port = listener.local_addr().map_or(0, |address| address.port());
            message::announce(|| format!("serving on port {port}, whose socket was there"));
            Ok(listener)
        }
    }
}

/// Where what comes goes; a folder is no other process's for as long as the second one lives.
fn handler(plan: &ServePlan) -> Result<(Handler, Option<File>), Failure> {
    match &plan.goal {
        Goal::Exec(command) => Ok((Handler::Commands(command.clone(), Names::default()), None)),
        Goal::Into(into) => {
            let (shelf, claim) = shelf(plan, into)?;
            sweep(shelf.clone()).map_err(no_thread)?;
            let then = plan.then.clone().map(|command| then(command, into)).transpose()?;
            Ok((Handler::Folder(shelf, then), Some(claim)))
        }
    }
}

fn cannot_use(into: &Path, error: &io::Error) -> Failure {
    Failure::output(format!("into {}: {}", into.display(), reason(error)))
}

fn shelf(plan: &ServePlan, into: &Path) -> Result<(Arc<Shelf<Beneath>>, File), Failure> {
    let failed = |e: io::Error| cannot_use(into, &e);
    let disk = Beneath::open(into).map_err(failed)?;
    disk.make_folder(place::ROOM, false).map_err(failed)?;
    let claim = disk.claim(place::LOCK).map_err(failed)?;
    let shown = into.display();
    let claim =
        claim.ok_or_else(|| Failure::output(format!("into {shown}: another process serves this folder")))?;
    let rules = Rules {
        replace: plan.replace,
        sums: plan.sums,
        then: plan.then.is_some(),
        quota: plan.quota,
        keep: Duration::from_secs(plan.keep * 24 * 3600),
        keepfree: plan.keepfree,
        ..Rules::default()
    };
    let shelf = Shelf::new(disk, rules).map_err(|no| Failure::output(format!("into {shown}: {no}")))?;
    Ok((shelf, claim))
}

/// Removes now and then what nobody goes on with.
fn sweep(shelf: Arc<Shelf<Beneath>>) -> io::Result<()> {
    spawn("sweep", move || {
        loop {
            if let Err(no) = shelf.sweep(SystemTime::now()) {
                message::note(0, || format!("cannot look for what is to be removed: {no}"));
            }
            // only time makes a partial old
            std::thread::sleep(SWEEP);
        }
    })
}

/// What runs after each file: whether it has succeeded, and how it ended.
fn then(command: String, into: &Path) -> Result<Then<Beneath>, Failure> {
    let folder = into.canonicalize().map_err(|e| cannot_use(into, &e))?;
    Ok(Arc::new(move |finished: &Finished<Beneath>| {
        let known = &finished.sidecar;
        let meta = match MetaFile::new(&known.meta.encode()) {
            Ok(meta) => meta,
            Err(why) => return (false, why),
        };
        let mut knows = environment(finished.name(), (&known.peer, &known.key), Some(known.size), &meta);
        knows.push(("MILLIPEDE_FILE".into(), folder.join(finished.name().as_str()).into()));
        match Exec::informed(&command, false, knows).run() {
            Ok(()) => (true, "it exited 0".into()),
            Err(sentence) => (false, sentence),
        }
    }))
}
