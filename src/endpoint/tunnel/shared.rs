//! What the tunnel's threads share: its phase, and how it is told of the far ends.
//!
//! One lock holds the local side; no one who has it waits for anything but the kernel's copy of the bytes. Three
//! threads take it: the poll of the local sockets, the stream's source and its sink.

use super::dial::Resolver;
use super::local::{self, Local, Role};
use super::place::Place;
use super::raw::{self, Raw};
use crate::endpoint::OnNews;
use crate::error::reason;
use crate::proto::hello::Features;
use crate::proto::way::Way;
use crate::sys::event::Bell;
use crate::sys::thread::spawn;
use mio::{Events, Poll};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

/// What a tunnel is made from.
pub struct Config {
    /// Where the local connections come from.
    pub place: Place,
    /// Whether this process receives, and whether it transmits.
    pub directions: [bool; 2],
    /// Ends after the first connection.
    pub oneshot: bool,
    /// Bytes that may wait here for local connections, beyond the first window of each.
    pub budget: u64,
}

/// Shared by whoever has to do with it.
pub struct Tunnel {
    state: Mutex<State>,
    /// Rung when the source may have something to give.
    pub(super) to_source: Bell,
    /// Rung when the sink has more to look at than its commands.
    pub(super) to_sink: Bell,
    source_news: OnceLock<OnNews>,
    sink_news: OnceLock<OnNews>,
    directions: [bool; 2],
    /// Whether it opens connections, and accepts none.
    initiates: bool,
}

pub(super) struct State {
    pub(super) phase: Phase,
    /// What each direction's far end said last: whether it tunnels.
    far: [Option<bool>; 2],
    /// Where the local connections come from, until the phase takes it.
    place: Option<Place>,
    oneshot: bool,
    budget: u64,
}

/// ```text
///                       ┌─▶ Records
///  Unmet ── all met ────┤
///                       └─▶ Raw          Failed: from anywhere
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

impl Tunnel {
    /// A tunnel that has met no far end; it accepts and opens nothing yet.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub fn new(config: Config) -> io::Result<Arc<Self>> {
        let initiates = matches!(config.place, Place::Initiate(..));
        let state = State {
            phase: Phase::Unmet,
            far: [None, None],
            place: Some(config.place),
            oneshot: config.oneshot,
            budget: config.budget,
        };
        Ok(Arc::new(Tunnel {
            state: Mutex::new(state),
            to_source: Bell::new()?,
            to_sink: Bell::new()?,
            source_news: OnceLock::new(),
            sink_news: OnceLock::new(),
            directions: config.directions,
            initiates,
        }))
    }

    /// What to tell the far ends about this end.
    pub fn features(&self) -> Features {
        match (self.has_records(), self.initiates) {
            (false, _) => Features::NONE,
            (true, true) => Features::TUNNEL | Features::INITIATES,
            (true, false) => Features::TUNNEL,
        }
    }

    /// Whether this end can carry any number of connections.
    fn has_records(&self) -> bool {
        self.directions == [true, true]
    }

    /// The far end of one direction was met, with these features.
    pub fn meet(self: &Arc<Self>, way: Way, features: Features) {
        let mut state = self.lock();
        state.far[way as usize] = Some(features.contains(Features::TUNNEL));
        if (0..2).any(|way| self.directions[way] && state.far[way].is_none()) {
            return;
        }
        let records = self.has_records() && state.far == [Some(true); 2];
        let mixed = self.directions == [true, true] && state.far[0] != state.far[1];
        let phase = match (&state.phase, records) {
            (Phase::Failed(_), _) | (Phase::Records(_), true) => return,
            (Phase::Raw(_), false) if !mixed => return,
            (Phase::Unmet, _) if !mixed => self.begin(&mut state, records),
            _ => Err("the far end tunnels in one direction and not in the other".into()),
        };
        state.phase = phase.unwrap_or_else(Phase::Failed);
        drop(state);
        self.tell_both();
    }

    fn begin(self: &Arc<Self>, state: &mut State, records: bool) -> Result<Phase, String> {
        let place = state.place.take().ok_or("the tunnel has begun before")?;
        let cannot = |e: io::Error| format!("cannot start the tunnel: {}", reason(&e));
        if !records {
            let tunnel = self.clone();
            let ready = move |result| tunnel.raw_ready(result);
            raw::start(place, ready).map_err(cannot)?;
            return Ok(Phase::Raw(Raw::default()));
        }
        allow_descriptors();
        let poll = Poll::new().map_err(cannot)?;
        let role = self.role(place).map_err(cannot)?;
        let registry = poll.registry().try_clone().map_err(cannot)?;
        let local = Local::new(registry, role, state.oneshot, state.budget).map_err(cannot)?;
        let tunnel = self.clone();
        spawn("tunnel", move || tunnel.serve(poll)).map_err(cannot)?;
        Ok(Phase::Records(Box::new(local)))
    }

    fn role(self: &Arc<Self>, place: Place) -> io::Result<Role> {
        match place {
            Place::Terminate(listener) => {
                listener.set_nonblocking(true)?;
                Ok(Role::Terminate(mio::net::TcpListener::from_std(listener)))
            }
            Place::Initiate(host, port) => {
                let tunnel = self.clone();
                let answer = move |id, addresses| {
                    tunnel.with(|local| local.resolved(Instant::now(), id, addresses));
                };
                Ok(Role::Initiate(Resolver::start(host, port, answer)?))
            }
        }
    }

    fn raw_ready(&self, result: Result<std::net::TcpStream, String>) {
        let mut state = self.lock();
        if let Phase::Raw(raw) = &mut state.phase {
            match result {
                Ok(stream) => raw.stream = Some(stream),
                Err(why) => state.phase = Phase::Failed(why),
            }
        }
        drop(state);
        self.tell_both();
    }

    /// The thread of the local sockets.
    fn serve(&self, mut poll: Poll) {
        let mut events = Events::with_capacity(256);
        let mut until: Option<Instant> = None;
        loop {
            let timeout = until.map(|at| at.saturating_duration_since(Instant::now()));
            // an interruption is a wake-up like any other
            let _ = poll.poll(&mut events, timeout);
            let now = Instant::now();
            let deadline = self.with(|local| {
                events.iter().for_each(|event| local.event(now, event));
                local.tick(now);
                local.deadline()
            });
            until = deadline.flatten();
        }
    }

    /// Does something with the local side, and tells the stream's ends what has come of it.
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut Local) -> R) -> Option<R> {
        let mut state = self.lock();
        let Phase::Records(local) = &mut state.phase else { return None };
        let result = act(local);
        let (output, drained) = (local.has_output() || local.is_over(), local.is_drained());
        drop(state);
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
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Descriptors that a process may have are often 1024 at first, though it may ask for more.
fn allow_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = (2 * local::CONNECTIONS_MAX) as u64;
    if current.is_some_and(|current| current < wanted) {
        let current = Some(maximum.map_or(wanted, |maximum| maximum.min(wanted)));
        // with fewer, connections wait to be accepted
        let _ = setrlimit(Resource::Nofile, Rlimit { current, maximum });
    }
}
