//! `terminate` and `initiate`: TCP connections in place of stdin and stdout.
//!
//! ```text
//!  local sockets ─▶ Local, Mux ─▶ TunnelSource ─▶ ingest … egress ─▶ TunnelSink ─▶ Local, Mux ─▶ local sockets
//! ```
//!
//! Where both ends tunnel in both directions, the stream holds records ([`record`]) of any number of connections,
//! and the tunnel stays. Otherwise one connection's bytes are the stream, as they are. Which of the two it is shows
//! when the far ends of all directions have been met ([`Tunnel::meet`]); nothing is accepted or opened before.
//!
//! One lock holds the local side; no one who has it waits for anything but the kernel's copy of the bytes. Three
//! threads take it: the poll of the local sockets, the stream's source and its sink.

pub mod dial;
pub mod ends;
pub mod local;
pub mod mux;
pub mod raw;
pub mod record;

use crate::plan::EdgePlan;
use crate::proto::hello::Features;
use crate::run::spawn;
use crate::sys::event::Bell;
use dial::Resolver;
use local::{Local, Role};
use mio::{Events, Poll};
use raw::Raw;
use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What a tunnel is made from.
pub struct Settings {
    /// Where the connections are; not stdio and not a command.
    pub edge: EdgePlan,
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
    to_source: Bell,
    /// Rung when the sink has more to look at than its commands.
    to_sink: Bell,
    directions: [bool; 2],
    /// Whether it opens connections, and accepts none.
    initiates: bool,
}

struct State {
    phase: Phase,
    /// What each direction's far end said last: whether it tunnels.
    far: [Option<bool>; 2],
    /// What the edge is made of, until it is used.
    edge: Option<Edge>,
    oneshot: bool,
    budget: u64,
}

enum Edge {
    Terminate(TcpListener),
    Initiate(String, u16),
}

/// ```text
///                       ┌─▶ Records
///  Unmet ── all met ────┤
///                       └─▶ Raw          Failed: from anywhere
/// ```
enum Phase {
    /// The far ends are not known.
    Unmet,
    /// Any number of connections, in records.
    Records(Box<Local>),
    /// One connection, as it is.
    Raw(Raw),
    /// It cannot be; why.
    Failed(String),
}

/// The directions of a process, as [`Tunnel::meet`] is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// This process receives.
    In = 0,
    /// This process transmits.
    Out = 1,
}

impl Tunnel {
    /// Listens, if that is what it does; accepts and opens nothing. The port it listens on, if any.
    ///
    /// # Errors
    /// The port is taken, or there are no descriptors left.
    pub fn new(settings: Settings) -> io::Result<(Arc<Self>, Option<u16>)> {
        let (edge, port) = match settings.edge {
            EdgePlan::Terminate(plan) => {
                let listener = crate::run::listen::open(&plan).map_err(|e| io::Error::other(e.sentence))?;
                let port = listener.local_addr()?.port();
                (Edge::Terminate(listener), Some(port))
            }
            EdgePlan::Initiate { host, port } => (Edge::Initiate(host.to_string(), port), None),
            EdgePlan::Stdio | EdgePlan::Exec { .. } => return Err(io::ErrorKind::InvalidInput.into()),
        };
        let initiates = matches!(edge, Edge::Initiate(..));
        let state = State {
            phase: Phase::Unmet,
            far: [None, None],
            edge: Some(edge),
            oneshot: settings.oneshot,
            budget: settings.budget,
        };
        let tunnel = Tunnel {
            state: Mutex::new(state),
            to_source: Bell::new()?,
            to_sink: Bell::new()?,
            directions: settings.directions,
            initiates,
        };
        Ok((Arc::new(tunnel), port))
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
        self.to_source.ring();
        self.to_sink.ring();
    }

    fn begin(self: &Arc<Self>, state: &mut State, records: bool) -> Result<Phase, String> {
        let edge = state.edge.take().ok_or("the tunnel has begun before")?;
        let cannot = |e: io::Error| format!("cannot start the tunnel: {}", crate::run::conn::reason(&e));
        if !records {
            let tunnel = self.clone();
            let ready = move |result| tunnel.raw_ready(result);
            raw::start(edge, ready).map_err(cannot)?;
            return Ok(Phase::Raw(Raw::default()));
        }
        allow_descriptors();
        let poll = Poll::new().map_err(cannot)?;
        let role = self.role(edge).map_err(cannot)?;
        let registry = poll.registry().try_clone().map_err(cannot)?;
        let local = Local::new(registry, role, state.oneshot, state.budget).map_err(cannot)?;
        let tunnel = self.clone();
        spawn("tunnel", move || tunnel.serve(poll)).map_err(cannot)?;
        Ok(Phase::Records(Box::new(local)))
    }

    fn role(self: &Arc<Self>, edge: Edge) -> io::Result<Role> {
        match edge {
            Edge::Terminate(listener) => {
                listener.set_nonblocking(true)?;
                Ok(Role::Terminate(mio::net::TcpListener::from_std(listener)))
            }
            Edge::Initiate(host, port) => {
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
        self.to_source.ring();
        self.to_sink.ring();
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
    fn with<R>(&self, act: impl FnOnce(&mut Local) -> R) -> Option<R> {
        let mut state = self.lock();
        let Phase::Records(local) = &mut state.phase else { return None };
        let result = act(local);
        let (output, drained) = (local.has_output() || local.is_over(), local.is_drained());
        drop(state);
        if output {
            self.to_source.ring();
        }
        if drained {
            self.to_sink.ring();
        }
        Some(result)
    }

    /// Nothing panics half-way while it holds the lock without ending the process.
    fn lock(&self) -> MutexGuard<'_, State> {
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
