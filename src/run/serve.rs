//! A standing receiver: many sessions behind one door, their files in one folder.

use super::places::Places;
use super::sessions::{Sessions, no_thread};
use super::{listen, monitor, peers, signals};
use crate::chaos::Hazard;
use crate::endpoint::files::{Hooks, Outbox, Receiving, Workers};
use crate::error::{Failure, reason};
use crate::message;
use crate::plan::{BUFFER_MIN, ServePlan, StreamPlan};
use crate::proto::check::Expectations;
use crate::proto::event::Event;
use crate::proto::hello::{Features, Id, Refusal, RefusalCode};
use crate::proto::outcome::{Outcome, Status};
use crate::proto::peer_key::PeerKey;
use crate::proto::session::{InboundConfig, OutboundConfig};
use crate::session::accept::Door;
use crate::session::lobby::{Lobby, Made};
use crate::session::{Approach, Handle, Hear, Incoming, Outgoing, Setup, Start, orders};
use crate::store::beneath::Beneath;
use crate::store::disk::Disk;
use crate::store::name::Name;
use crate::store::place;
use crate::store::queue::Bounds;
use crate::store::shelf::{Peer, Rules, Shelf};
use crate::sys::thread::spawn;
use crate::trust::{PublicKey, Trust};
use crate::wording::word;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

/// Sessions that wait, at most, and of one key.
const WAITING: (usize, usize) = (64, 16);
/// Threads that open and finish files: as many as make a disk busy with syncing.
const WORKERS: usize = 8;
/// How often partials are looked at that are to be kept no longer.
const SWEEP: Duration = Duration::from_secs(3600);
/// Memory for what is said to a sender: verdicts are small.
const ANSWERS: u64 = 4 << 20;

/// What all sessions are made from.
struct Maker {
    plan: ServePlan,
    instance: Id,
    trust: Option<Arc<Trust>>,
    shelf: Arc<Shelf<Beneath>>,
    workers: Workers,
    places: Arc<Places>,
    sessions: Sessions,
}

/// Serves until this process is asked to end.
///
/// # Errors
/// It cannot begin; or how it was ended.
pub fn serve(plan: &ServePlan) -> Result<(), Failure> {
    let trust = plan.common.trust.as_ref().map(peers::load).transpose()?;
    let signals =
        signals::hear().map_err(|e| Failure::network(format!("cannot hear signals: {}", reason(&e))))?;
    let (shelf, _claim) = shelf(plan)?;
    let sessions = Sessions::default();
    let monitor = monitor::Monitor::start(Vec::new(), monitor::Wanted::nothing()).map_err(no_thread)?;
    signals.watch(sessions.clone(), monitor.clone()).map_err(no_thread)?;
    if let Some(trust) = &trust {
        peers::watch(trust.clone(), sessions.clone()).map_err(no_thread)?;
    }
    let bounds = Bounds { places: plan.sessions, waiting: WAITING.0, of_one_key: WAITING.1 };
    let maker = Maker {
        plan: plan.clone(),
        instance: Id::new(rand::random()),
        trust: trust.clone(),
        shelf: shelf.clone(),
        workers: Workers::new(WORKERS).map_err(no_thread)?,
        places: Places::new(bounds).map_err(no_thread)?,
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
    let listener = listen::announced(&plan.listen, plan.common.patience, "serving")?;
    let mut lobby = Lobby::new(plan.sessions + WAITING.0, Box::new(move |_, key| maker.make(key)));
    let admit = Box::new(move |guest| lobby.admit(guest));
    let door = Door::new(listener, expectations, trust, admit).map_err(cannot_start)?;
    spawn("door", move || door.run()).map_err(no_thread)?;
    spawn("sweep", move || sweep(&shelf)).map_err(no_thread)?;
    let ending = sessions.await_end();
    monitor.end();
    Failure::unless_complete(ending, "the sender")
}

/// Removes what is kept no longer, for ever.
fn sweep(shelf: &Shelf<Beneath>) {
    loop {
        if let Err(no) = shelf.sweep(SystemTime::now()) {
            message::note(0, || format!("cannot look for what is to be removed: {no}"));
        }
        std::thread::sleep(SWEEP);
    }
}

/// What a sender of files may make use of; files it must.
const FEATURES: Features =
    Features(Features::CHECKSUM.0 | Features::COMPRESS.0 | Features::DUPLEX.0 | Features::FILES.0);

/// The folder, which no other process serves for as long as the second one lives.
fn shelf(plan: &ServePlan) -> Result<(Arc<Shelf<Beneath>>, std::fs::File), Failure> {
    let shown = plan.into.display();
    let failed = |e: io::Error| Failure::output(format!("into {shown}: {}", reason(&e)));
    let disk = Beneath::open(&plan.into).map_err(failed)?;
    disk.make_folder(place::ROOM, false).map_err(failed)?;
    let claim = disk.claim(place::LOCK).map_err(failed)?;
    let claim =
        claim.ok_or_else(|| Failure::output(format!("into {shown}: another process serves this folder")))?;
    let rules = Rules {
        replace: plan.replace,
        sums: plan.sums,
        quota: plan.quota,
        keep: Duration::from_secs(plan.keep * 24 * 3600),
        keepfree: plan.keepfree,
        ..Rules::default()
    };
    let shelf = Shelf::new(disk, rules).map_err(|no| Failure::output(format!("into {shown}: {no}")))?;
    Ok((shelf, claim))
}

impl Maker {
    /// A session for a sender with this key.
    fn make(&self, key: Option<PeerKey>) -> Result<Made, Refusal> {
        let refuse = |code, sentence: String| Refusal { code, sentence };
        let failed =
            |e: io::Error| refuse(RefusalCode::Busy, format!("no means for a session: {}", reason(&e)));
        let out = Outbox::new().map_err(failed)?;
        let busy = || refuse(RefusalCode::Busy, "too many wait for this receiver already".into());
        let number = self.places.arrive(key, &out).ok_or_else(busy)?;
        match self.start(key, number, out) {
            Ok(start) => {
                let handle = start.handle();
                self.places.introduce(number, handle.clone());
                let id = self.sessions.add(handle);
                let (places, sessions) = (self.places.clone(), self.sessions.clone());
                let over = Box::new(move || {
                    places.leave(number);
                    sessions.remove(id);
                });
                Ok(Made { start, over })
            }
            Err(error) => {
                self.places.leave(number);
                Err(failed(error))
            }
        }
    }

    fn start(&self, key: Option<PeerKey>, number: u64, out: Arc<Outbox>) -> io::Result<Start> {
        let peer = self.peer(key);
        message::note(1, || format!("{} has come", peer.name));
        let source = Box::new(out.source());
        let (hooks, workers) = (self.hooks(number), self.workers.clone());
        let receiving = Receiving::new(self.shelf.clone(), peer, hooks, workers, out);
        let common = &self.plan.common;
        let receives = Incoming {
            sink: Box::new(receiving.sink()),
            config: InboundConfig {
                instance: self.instance,
                // all under one buffer; those that wait send nothing
                buffer: (common.buffer / self.plan.sessions as u64).max(BUFFER_MIN),
                patience: common.patience,
                features: FEATURES,
                tied: None,
            },
        };
        let sends = Outgoing {
            config: OutboundConfig { buffer: ANSWERS },
            stream: StreamPlan::default(),
            charmode: true,
            source,
            is_asked_to_end: || false,
        };
        let itself = Arc::new(OnceLock::new());
        let start = Start::new(Setup {
            approach: Approach::Visit,
            lifeline: None,
            sends: Some(sends),
            receives: Some(receives),
            inseparable: true,
            through: None,
            hazard: Hazard::new(common.chaos),
            trust: self.trust.clone(),
            hear: hear(itself.clone()),
        })?;
        // whoever is told of a session that never began ends it
        let _ = itself.set(start.handle());
        Ok(start)
    }

    fn hooks(&self, number: u64) -> Hooks<Beneath> {
        let (asked, moved) = (self.places.clone(), self.places.clone());
        Hooks {
            require: self.plan.require.clone(),
            commanded: false,
            then: None,
            has_place: Box::new(move || asked.has_place(number)),
            progress: Box::new(move || moved.progress(number)),
        }
    }

    /// Who has this key. A name that cannot stand in a path is none.
    fn peer(&self, key: Option<PeerKey>) -> Peer {
        let Some(PeerKey(bytes)) = key else {
            return Peer { key: "nobody".into(), name: "somebody".into() };
        };
        let key = PublicKey::new(bytes);
        let name = self.trust.as_ref().and_then(|trust| trust.roll().allows(&key));
        let name = name.and_then(|name| Name::of_peer(&*name).ok()).map(|name| name.to_string());
        let key = key.to_string();
        Peer { name: name.unwrap_or_else(|| key.clone()), key }
    }
}

/// Tells the user what a session tells, and ends one whose sender has gone before it began.
fn hear(session: Arc<OnceLock<Handle>>) -> Hear {
    Box::new(move |news| match news {
        orders::News::Tell(event) => {
            if matches!(event, Event::SessionForgotten) {
                let session = session.get().cloned();
                // not from within: this is called by who tells the session something
                let stop = move || {
                    let ending = Outcome::here(Status::Incomplete, "the sender has gone");
                    session.iter().for_each(|session| session.stop(&ending));
                };
                let _ = spawn("forget", stop);
            }
            message::note(event.level().max(1), || {
                word(&event, &|_: usize| String::new(), &|_| String::new())
            });
        }
        orders::News::Settled(_, ending) => {
            if !ending.sentence.is_empty() {
                message::note(1, || ending.sentence.clone());
            }
        }
        orders::News::Met(..) => {}
    })
}

fn cannot_start(error: io::Error) -> Failure {
    Failure::network(format!("cannot start: {}", reason(&error)))
}
