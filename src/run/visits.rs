//! The sessions of a standing receiver: what each is made from, and what follows when it is over.

use super::lasting::Lasting;
use super::places::{HoldsUp, Places, Visitor};
use super::sessions::Sessions;
use crate::chaos::Hazard;
use crate::endpoint::Sink;
use crate::endpoint::files::{
    CommandedSink, Current, Hooks, Ledger, Names, Orders, Outbox, Place, Receiving, Then, Workers,
};
use crate::error::reason;
use crate::message;
use crate::plan::ServePlan;
use crate::proto::hello::{Features, Id, Refusal, RefusalCode};
use crate::proto::peer_key::PeerKey;
use crate::proto::session::{InboundConfig, OutboundConfig};
use crate::session::lobby::{Made, Rest};
use crate::session::{Approach, Hear, Incoming, News, Outgoing, Setup, Start};
use crate::store::beneath::Beneath;
use crate::store::name::Name;
use crate::store::shelf::{Peer, Shelf};
use crate::trust::{PublicKey, Trust};
use crate::wording::word;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Memory for what is said to a sender: verdicts are small.
const ANSWERS: u64 = 4 << 20;
/// How long a session that is over keeps its place for its disk or its command, at most.
const LAST: Duration = Duration::from_secs(20);

/// What a sender of files may make use of; files it must.
pub(super) const FEATURES: Features =
    Features(Features::CHECKSUM.0 | Features::COMPRESS.0 | Features::DUPLEX.0 | Features::FILES.0);

/// What is done with what comes.
pub(super) enum Handler {
    /// Files into a folder, with what runs after each.
    Folder(Arc<Shelf<Beneath>>, Option<Then<Beneath>>),
    /// Streams to this command, each with a name.
    Commands(String, Names),
}

/// What all sessions are made from.
pub(super) struct Maker {
    pub(super) plan: ServePlan,
    pub(super) instance: Id,
    pub(super) trust: Option<Arc<Trust>>,
    pub(super) handler: Handler,
    pub(super) workers: Workers,
    pub(super) places: Arc<Places>,
    pub(super) lasting: Arc<Lasting>,
    pub(super) sessions: Sessions,
}

/// Where the stream of a session goes, and what is to be known of that.
struct Goal {
    sink: Box<dyn Sink>,
    holds_up: HoldsUp,
    afterwards: Afterwards,
}

/// How long something goes on for a session that is over.
struct Afterwards {
    /// Waits for the session's own work, while the place is kept. Gives whether a command still goes on after that.
    finish: Box<dyn FnOnce() -> bool + Send>,
    /// Waits until the commands are over that run after its files. These may take as long as they like, and keep nobody
    /// else waiting; but this process does not end before them.
    await_commands: Box<dyn FnOnce() + Send>,
}

impl Maker {
    /// A session for a sender with this key.
    pub(super) fn make(&self, key: Option<PeerKey>) -> Result<Made, Refusal> {
        let refuse = |code, sentence: String| Refusal { code, sentence };
        let failed =
            |e: io::Error| refuse(RefusalCode::Busy, format!("no means for a session: {}", reason(&e)));
        if self.sessions.are_stopped() {
            // it tries again, and may find the process that comes after this one
            return Err(refuse(RefusalCode::Busy, "the receiver ends".into()));
        }
        if !self.lasting.allows(key) {
            let sentence = "too many commands still run for senders that have left";
            return Err(refuse(RefusalCode::Busy, sentence.into()));
        }
        let out = Outbox::new().map_err(failed)?;
        let busy = || refuse(RefusalCode::Busy, "too many wait for this receiver already".into());
        let (fingerprint, name) = self.name(key);
        let visitor = Visitor { name: name.clone(), out: out.clone(), ledger: Ledger::new() };
        let number = self.places.arrive(key, &visitor).ok_or_else(busy)?;
        let peer = Peer { key: fingerprint, name, visit: number };
        message::peer(1, "senders that come", || format!("{} has come", peer.name));
        let among = Arc::new(OnceLock::new());
        let Goal { sink, holds_up, afterwards } = self.goal(peer, &visitor, self.place(number, &among));
        match self.start(sink, &out) {
            Ok(start) => {
                let handle = start.handle();
                self.places.introduce(number, handle.clone(), holds_up);
                let id = *among.get_or_init(|| self.sessions.add(handle));
                let (places, lasting) = (self.places.clone(), self.lasting.clone());
                let sessions = self.sessions.clone();
                let over = Box::new(move || {
                    let lasts = (afterwards.finish)().then(|| lasting.begin(key));
                    places.leave(number);
                    Box::new(move || {
                        (afterwards.await_commands)();
                        drop(lasts);
                        sessions.remove(id);
                    }) as Rest
                });
                Ok(Made { start, over })
            }
            Err(error) => {
                self.places.leave(number);
                Err(failed(error))
            }
        }
    }

    /// Where the stream of a session goes.
    fn goal(&self, peer: Peer, visitor: &Visitor, place: Place) -> Goal {
        match &self.handler {
            Handler::Folder(shelf, then) => self.to_folder(shelf.clone(), then.clone(), peer, visitor, place),
            Handler::Commands(command, names) => {
                self.to_commands(command.clone(), names.clone(), peer, visitor, place)
            }
        }
    }

    fn to_folder(
        &self,
        shelf: Arc<Shelf<Beneath>>,
        then: Option<Then<Beneath>>,
        peer: Peer,
        visitor: &Visitor,
        place: Place,
    ) -> Goal {
        let commanded = then.is_some();
        let hooks = Hooks {
            require: self.plan.require.clone(),
            commanded,
            then,
            place,
            ledger: visitor.ledger.clone(),
        };
        let receiving = Receiving::new(shelf, peer, hooks, self.workers.clone(), visitor.out.clone());
        let sink = Box::new(receiving.sink());
        let (finishing, working) = (receiving.clone(), receiving.clone());
        let afterwards = Afterwards {
            finish: Box::new(move || {
                finishing.await_end(LAST);
                commanded && finishing.holds_up()
            }),
            await_commands: Box::new(move || receiving.await_commands()),
        };
        Goal { sink, holds_up: Arc::new(move || working.holds_up()), afterwards }
    }

    fn to_commands(
        &self,
        command: String,
        names: Names,
        peer: Peer,
        visitor: &Visitor,
        place: Place,
    ) -> Goal {
        let (alive, ended) = crossbeam_channel::bounded::<()>(0);
        let (current, works) = (Arc::<Current>::default(), Arc::<AtomicBool>::default());
        let ([finishing, waited_for], over) = ([(); 2].map(|()| current.clone()), ended.clone());
        let orders = Orders {
            command,
            require: self.plan.require.clone(),
            peer,
            names,
            place,
            ledger: visitor.ledger.clone(),
            current,
            holds_up: works.clone(),
            _alive: alive,
        };
        let afterwards = Afterwards {
            finish: Box::new(move || {
                // nobody brings what the command lacks, which may never take what is there
                finishing.give_up();
                let lasts = finishing.has_all();
                if !lasts {
                    let _ = ended.recv_timeout(LAST);
                }
                lasts
            }),
            await_commands: Box::new(move || {
                // one that has all of its stream is not to be ended by the end of this process
                if waited_for.has_all() {
                    let _ = over.recv();
                }
            }),
        };
        let sink = Box::new(CommandedSink::new(orders, visitor.out.clone()));
        Goal { sink, holds_up: Arc::new(move || works.load(Ordering::Relaxed)), afterwards }
    }

    /// The place of the session of this number, for its sink. `among`: its number among all sessions, once it has one.
    fn place(&self, number: u64, among: &Arc<OnceLock<u64>>) -> Place {
        let [asked, moved, ousts] = [(); 3].map(|()| self.places.clone());
        let (sessions, among) = (self.sessions.clone(), among.clone());
        Place {
            may_send: Box::new(move || asked.may_send(number)),
            progress: Box::new(move || moved.progress(number)),
            gives_way: Box::new(move |other| ousts.gives_way(other)),
            set_busy: Box::new(move |busy| among.get().is_none_or(|all| sessions.set_busy(*all, busy))),
        }
    }

    fn start(&self, sink: Box<dyn Sink>, out: &Arc<Outbox>) -> io::Result<Start> {
        let common = &self.plan.common;
        // all under one buffer; nothing is taken from those that wait
        let buffer = common.buffer / self.plan.sessions as u64;
        let receives = Incoming {
            sink,
            config: InboundConfig {
                patience: common.patience,
                waits: true,
                ..InboundConfig::new(self.instance, FEATURES, buffer)
            },
            is_asked_to_end: || false,
        };
        let sends = Outgoing {
            config: OutboundConfig { buffer: ANSWERS },
            stream: Default::default(),
            charmode: true,
            source: Box::new(out.source(false)),
            is_asked_to_end: || false,
        };
        let (hazard, hear) = (Hazard::new(common.chaos), hear());
        Start::new(Setup {
            inseparable: true,
            trust: self.trust.clone(),
            ..Setup::new(Approach::Visit, Some(sends), Some(receives), hazard, hear)
        })
    }

    /// The fingerprint of a key, and the name of whoever has it. A name that cannot stand in a path is none, nor is one
    /// that looks like a fingerprint: it could be another key's, as commands are told of that.
    fn name(&self, key: Option<PeerKey>) -> (String, String) {
        let Some(PeerKey(bytes)) = key else { return ("nobody".into(), "somebody".into()) };
        let key = PublicKey::new(bytes);
        let name = self.trust.as_ref().and_then(|trust| trust.roll().allows(&key));
        let name = name.and_then(|name| Name::of_peer(&*name).ok()).map(|name| name.to_string());
        let name = name.filter(|name| !name.starts_with("SHA256:"));
        let key = key.to_string();
        (key.clone(), name.unwrap_or(key))
    }
}

/// Tells the user what a session tells, and why it ended where something went wrong: once, though both of its streams end
/// for that reason. A sender can cause any of this, and come again and again.
fn hear() -> Hear {
    let told = AtomicBool::new(false);
    Box::new(move |news| match news {
        News::Tell(event) => {
            let kind = event.of_strangers().unwrap_or("connections of senders");
            message::peer(event.level().max(1), kind, || {
                word(&event, &|_: usize| String::new(), &|_| String::new())
            });
        }
        News::Settled(_, ending) => {
            if !ending.sentence.is_empty() && !told.swap(true, Ordering::Relaxed) {
                message::peer(1, "sessions that were not completed", || ending.sentence);
            }
        }
        News::Met(..) => {}
    })
}
