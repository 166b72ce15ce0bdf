//! What the tunnel's threads share: its phase, and how it is told of the far ends.
//!
//! One lock holds the local side; no one who has it waits for anything but the kernel's copy of the bytes, and no line is
//! written under it. It is taken by the stream's source and its sink, and by whoever has the poll of the local sockets.
//! How the phase follows the far ends that are met is in [`Meeting`].

use super::dial::Resolver;
use super::handover::Handover;
use super::local::{self, Local, Role, Room, Trouble};
use super::meeting::{Meeting, Misfit, Next, Shape, has_records};
use super::origin::Origin;
use super::poller::Poller;
use super::raw::{self, Raw, tell_not_accepted};
use crate::endpoint::OnNews;
use crate::error::reason;
use crate::message;
use crate::proto::hello::{FarEnd, Features};
use crate::proto::way::{Way, Ways};
use crate::sync::Unpoisoned;
use crate::sys::bell::Bell;
use crate::sys::limits::allow_descriptors;
use crate::sys::thread::spawn;
use mio::{Registry, Waker};
use std::io;
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

/// What a tunnel is made from.
pub(crate) struct Config {
    /// Where the local connections come from.
    pub(crate) origin: Origin,
    /// Which streams this process has.
    pub(crate) ways: Ways,
    /// Whether it only listens, and to anybody, so that whoever says hello decides what it is.
    pub(crate) meets_strangers: bool,
    /// Ends after the first connection.
    pub(crate) oneshot: bool,
    /// Bytes that may wait here for local connections, the first window of each included.
    pub(crate) budget: u64,
    /// Descriptors that are not for local connections.
    pub(crate) beside: u64,
}

/// Shared by whoever has to do with it.
pub(crate) struct Tunnel {
    state: Mutex<State>,
    /// Rung when the source may have something to give.
    pub(super) to_source: Bell,
    /// Rung when the sink has more to look at than its commands.
    pub(super) to_sink: Bell,
    pub(super) handover: Handover,
    /// Of the local sockets, once there is one.
    pub(super) poller: OnceLock<Arc<Poller>>,
    source_news: OnceLock<OnNews>,
    sink_news: OnceLock<OnNews>,
    ways: Ways,
    meets_strangers: bool,
    /// Whether it opens connections, and accepts none.
    initiates: bool,
    /// Where to, for the user.
    target: String,
}

pub(super) struct State {
    pub(super) phase: Phase,
    pub(super) meeting: Meeting,
    /// Counts the phases that were undone; what belongs to one with another number is over.
    generation: u64,
    /// How the far ends that were met last do not suit.
    misfit: Option<Misfit>,
    /// Where the local connections come from, unless the phase has it.
    origin: Option<Origin>,
    /// A connection to the target is being opened for [`Phase::Raw`].
    connecting: bool,
    oneshot: bool,
    budget: u64,
    beside: u64,
}

/// ```text
///                       ┌─▶ Records ─┐
///  Unmet ── all met ────┤            ├─ nothing has begun, and others are met ─▶ Raw, Records
///                       └─▶ Raw ─────┘                              Failed: from anywhere
/// ```
pub(super) enum Phase {
    /// The far ends are not known.
    Unmet,
    /// Any number of connections, in records.
    Records(Box<Local>),
    /// One connection, as it is.
    Raw(Raw),
    /// It cannot be; why.
    Failed(String),
}

impl Phase {
    /// What the stream is, if it is anything yet.
    fn shape(&self) -> Option<Shape> {
        match self {
            Self::Records(_) => Some(Shape::Records),
            Self::Raw(_) => Some(Shape::Raw),
            Self::Unmet | Self::Failed(_) => None,
        }
    }
}

/// What becomes of something read from a connection of [`Phase::Raw`].
pub(super) enum Commit {
    /// It is the stream.
    Stream,
    /// It was read for a far end that is gone, and nobody wants it.
    Stale,
    /// An end, before anything has begun: to be believed then.
    Early,
}

impl Tunnel {
    /// A tunnel that has met no far end; it accepts and opens nothing yet.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub(crate) fn new(config: Config) -> io::Result<Arc<Self>> {
        let initiates = matches!(config.origin, Origin::Initiate(..));
        if let Origin::Terminate(listener) = &config.origin {
            listener.set_nonblocking(true)?;
        }
        let target = config.origin.target();
        let state = State {
            phase: Phase::Unmet,
            meeting: Meeting::new(config.ways),
            generation: 0,
            misfit: None,
            origin: Some(config.origin),
            connecting: false,
            oneshot: config.oneshot,
            budget: config.budget,
            beside: config.beside,
        };
        Ok(Arc::new(Tunnel {
            state: Mutex::new(state),
            to_source: Bell::new()?,
            to_sink: Bell::new()?,
            handover: Handover::default(),
            poller: OnceLock::new(),
            source_news: OnceLock::new(),
            sink_news: OnceLock::new(),
            ways: config.ways,
            meets_strangers: config.meets_strangers,
            initiates,
            target,
        }))
    }

    /// What to tell the far ends about this end.
    pub(crate) fn features(&self) -> Features {
        match (self.has_records(), self.initiates) {
            (false, _) => Features::NONE,
            (true, true) => Features::TUNNEL | Features::INITIATES,
            (true, false) => Features::TUNNEL,
        }
    }

    /// Whether this end can carry any number of connections.
    fn has_records(&self) -> bool {
        has_records(self.ways)
    }

    /// The far end of one direction was met.
    pub(crate) fn meet(self: &Arc<Self>, way: Way, far: FarEnd) {
        let mut state = self.lock();
        let shape = state.phase.shape();
        let misfit = match state.meeting.meet(way, far, shape) {
            _ if matches!(state.phase, Phase::Failed(_)) => return,
            Next::Nothing => return,
            Next::Waits(misfit) => Some(misfit),
            Next::Suits => None,
            Next::Become(shape) => {
                self.undo(&mut state);
                state.phase = self.begin(&mut state, shape).unwrap_or_else(Phase::Failed);
                None
            }
        };
        state.measure();
        // one far end says it on each of its connections
        let told = std::mem::replace(&mut state.misfit, misfit) == misfit;
        drop(state);
        if let (false, Some(misfit)) = (told, misfit) {
            let line = || format!("{}; it waits", misfit.sentence());
            message::peer(misfit.level(), "far ends that do not suit the tunnel", line);
        }
        self.tell_both();
    }

    /// The far end of one direction is gone before anything has begun, and is not expected back.
    pub(crate) fn forget(&self, way: Way) {
        let mut state = self.lock();
        if state.meeting.forget(way) && !matches!(state.phase, Phase::Failed(_)) {
            self.undo(&mut state);
        }
        drop(state);
        self.tell_both();
    }

    /// A leg has come: from now on the phase stays.
    ///
    /// # Errors
    /// The far end that has sent it does not suit; why.
    pub(super) fn leg_came(self: &Arc<Self>, state: &mut State) -> Result<(), String> {
        if let Phase::Failed(why) = &state.phase {
            return Err(why.clone());
        }
        if state.meeting.leg(state.phase.shape()).map_err(Misfit::sentence)? {
            self.to_source.ring();
            if let Phase::Raw(raw) = &state.phase {
                raw.trusted.ring();
            }
        }
        self.try_again(state)
    }

    /// What was begun for far ends that are gone is over: where connections come from is free again.
    fn undo(&self, state: &mut State) {
        state.generation += 1;
        match std::mem::replace(&mut state.phase, Phase::Unmet) {
            Phase::Records(local) => state.origin = Some(local.into_origin()),
            Phase::Raw(raw) => raw.give_up(),
            Phase::Unmet | Phase::Failed(_) => {}
        }
    }

    fn begin(self: &Arc<Self>, state: &mut State, shape: Shape) -> Result<Phase, String> {
        let cannot = |e: io::Error| format!("cannot start the tunnel: {}", reason(&e));
        if shape == Shape::Raw {
            return self.begin_raw(state).map(Phase::Raw).map_err(cannot);
        }
        let allowed = allow_descriptors((2 * local::CONNECTIONS_MAX) as u64);
        let room = Room { budget: state.budget, descriptors: allowed.saturating_sub(state.beside) };
        let (registry, waker) = self.poll().map_err(cannot)?;
        let origin = state.origin.take().ok_or("the tunnel has begun before")?;
        let role = self.role(origin).map_err(cannot)?;
        let local = Local::new(registry, waker, role, state.oneshot, room).map_err(cannot)?;
        Ok(Phase::Records(Box::new(local)))
    }

    /// The poll of the local sockets, whose thread stays.
    fn poll(self: &Arc<Self>) -> io::Result<(Registry, Arc<Waker>)> {
        let poller = match self.poller.get() {
            Some(poller) => poller,
            None => {
                let (poller, mut own) = Poller::new(local::WAKER)?;
                let (tunnel, poller) = (self.clone(), Arc::new(poller));
                let served = poller.clone();
                spawn("tunnel", move || {
                    loop {
                        served.wait(&mut own, |events, until| tunnel.heed(events, until));
                    }
                })?;
                self.poller.get_or_init(|| poller)
            }
        };
        // whoever waits there looks for a deadline
        poller.waker().wake()?;
        Ok((poller.registry().try_clone()?, poller.waker().clone()))
    }

    fn role(self: &Arc<Self>, origin: Origin) -> io::Result<Role> {
        match origin {
            Origin::Terminate(listener) => Ok(Role::Terminate(mio::net::TcpListener::from_std(listener))),
            Origin::Initiate(target) => {
                let tunnel = self.clone();
                let answer = move |addresses| {
                    tunnel.with(|local| local.resolved(Instant::now(), &addresses));
                };
                Ok(Role::Initiate(Resolver::start(target, answer)?))
            }
        }
    }

    // ---- the one connection -----------------------------------------------------------------------------

    fn begin_raw(self: &Arc<Self>, state: &mut State) -> io::Result<Raw> {
        let raw = Raw::new()?;
        match &state.origin {
            Some(Origin::Terminate(listener)) => {
                let (tunnel, generation) = (self.clone(), state.generation);
                let accepted = move |result| tunnel.raw_accepted(generation, result);
                // one that carries no records anyway has no other far end to wait for
                let cautious = self.meets_strangers && self.has_records();
                let caution = if cautious { raw::CAUTION } else { Duration::ZERO };
                raw::accept(listener.try_clone()?, &raw, caution, accepted)?;
            }
            Some(Origin::Initiate(..)) => self.connect(state)?,
            None => {}
        }
        Ok(raw)
    }

    /// Opens the one connection, unless that is under way: strangers that come and go cost one thread.
    fn connect(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        if let (false, Some(Origin::Initiate(target))) = (state.connecting, &state.origin) {
            let tunnel = self.clone();
            raw::connect(target.clone(), move |result| tunnel.raw_connected(result))?;
            state.connecting = true;
        }
        Ok(())
    }

    /// Whether there is no stream to receive.
    fn only_sends(&self) -> bool {
        !self.ways.contains(Way::In)
    }

    /// Whether a far end that was met is the one that is meant, though it has sent nothing: what the target does counts then.
    pub(super) fn needs_no_leg(&self) -> bool {
        self.only_sends() || !self.meets_strangers
    }

    /// The target may have been away when a stranger said hello: with the first leg it counts, or at once where none
    /// comes.
    pub(super) fn try_again(self: &Arc<Self>, state: &mut State) -> Result<(), String> {
        let Phase::Raw(raw) = &mut state.phase else { return Ok(()) };
        let Some(why) = raw.failed.take() else { return Ok(()) };
        if std::mem::replace(&mut raw.tried_again, true) {
            return Err(why);
        }
        self.connect(state).map_err(|_| why)
    }

    fn raw_connected(&self, result: Result<TcpStream, String>) {
        let mut state = self.lock();
        state.connecting = false;
        let mut line = None;
        if let Phase::Raw(raw) = &mut state.phase {
            match result {
                Ok(stream) => raw.begin(stream, !self.only_sends()),
                Err(why) => {
                    let why = raw.failed.insert(why);
                    // where a stream goes out, its source fails like this
                    let is_said = self.needs_no_leg() && self.ways.contains(Way::Out);
                    line = (!is_said).then(|| why.clone());
                }
            }
        }
        drop(state);
        line.into_iter().for_each(|line| message::peer(0, "failures of the tunnel's target", || line));
        self.tell_both();
    }

    fn raw_accepted(&self, generation: u64, result: Result<TcpStream, String>) {
        let mut state = self.lock();
        let current = state.generation == generation;
        if let (true, Phase::Raw(raw)) = (current, &mut state.phase) {
            match result {
                Ok(stream) => raw.begin(stream, !self.only_sends()),
                Err(why) => state.phase = Phase::Failed(why),
            }
        }
        drop(state);
        self.tell_both();
    }

    /// Something was read, or the end, from a connection of this generation: what becomes of it.
    pub(super) fn commit(&self, generation: u64, end: bool) -> Commit {
        let mut state = self.lock();
        if state.generation != generation {
            return Commit::Stale;
        }
        // a target that hangs up on a stranger has not ended anything
        if end && !state.meeting.has_begun() && self.initiates && self.has_records() && self.meets_strangers {
            return Commit::Early;
        }
        let first = state.meeting.begin();
        drop(state);
        if first {
            self.to_sink.ring();
        }
        Commit::Stream
    }

    /// Does something with the local side, and tells the stream's ends what has come of it.
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut Local) -> R) -> Option<R> {
        let mut state = self.lock();
        let Phase::Records(local) = &mut state.phase else { return None };
        let result = act(local);
        let (output, drained) = (local.has_output() || local.is_over(), local.is_drained());
        let troubles = local.take_troubles();
        drop(state);
        troubles.into_iter().for_each(|trouble| self.say(trouble));
        if output {
            match self.source_news.get() {
                Some(call) => call(true),
                None => self.to_source.ring(),
            }
        }
        if drained {
            self.to_sink.ring();
        }
        Some(result)
    }

    fn say(&self, trouble: Trouble) {
        match trouble {
            Trouble::Opening(why) => message::peer(0, "connections that the tunnel cannot open", || {
                format!("cannot connect to {}: {why}", self.target)
            }),
            Trouble::Accepting(why) => tell_not_accepted(&why),
            Trouble::Waiting => message::peer(0, "connections that wait for others to end", || {
                format!("connections to {} wait: no more files may be open (ulimit -n)", self.target)
            }),
        }
    }

    /// Has this called when the stream's source may have something to give.
    pub(super) fn on_source_news(&self, call: OnNews) {
        // there is one source
        let _ = self.source_news.set(call);
    }

    /// Has this called when the stream's sink has more to look at than its legs.
    pub(super) fn on_sink_news(&self, call: OnNews) {
        // there is one sink
        let _ = self.sink_news.set(call);
    }

    /// The tunnel is another than before. Whoever is told may not be made to read or write here: it might wait.
    fn tell_both(&self) {
        self.to_source.ring();
        self.to_sink.ring();
        [&self.source_news, &self.sink_news]
            .into_iter()
            .filter_map(OnceLock::get)
            .for_each(|call| call(false));
    }

    /// Nothing panics half-way while it holds the lock without ending the process.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unpoisoned()
    }
}

impl State {
    /// Whether the far ends suit the phase.
    pub(super) fn fits(&self) -> bool {
        self.meeting.suits(self.phase.shape())
    }

    /// Tells the local side how much memory the far ends have.
    fn measure(&mut self) {
        if let (Phase::Records(local), Some(least)) = (&mut self.phase, self.meeting.least_buffer()) {
            local.far_has(least);
        }
    }

    /// The connection that is the stream and the number of the phase it belongs to, once it is there.
    pub(super) fn raw(&self) -> Option<(&Raw, u64)> {
        match &self.phase {
            Phase::Raw(raw) => raw.stream.as_ref().map(|_| (raw, self.generation)),
            _ => None,
        }
    }
}
