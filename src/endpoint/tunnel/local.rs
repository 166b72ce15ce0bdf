//! The local side of the tunnel: TCP connections accepted or opened here, and the [`Mux`] that they belong to.
//!
//! Whoever holds it (the poll's thread, the stream's source or its sink) does what can be done without waiting,
//! so that a byte never waits for a third thread. Edge-triggered: what is readable or writable is remembered
//! until the socket said otherwise. Data goes from a socket straight into the stream's memory, and from there
//! straight into a socket while that takes it.

use super::dial::{Attempt, Resolver};
use super::handover::Seen;
use super::mux::{Mux, SocketAction, WINDOW_FIRST};
use super::open::Open;
use super::origin::Origin;
use super::record::TunnelBreach;
use crate::sys::pipe::unread;
use mio::net::TcpListener;
use mio::{Interest, Registry, Token, Waker};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

mod breaking;
mod coming;
#[cfg(test)]
mod tests;

/// The listening socket. Connections have their numbers, which begin with 1, after these two.
pub(crate) const LISTENER: Token = Token(0);
/// The poll's waker.
pub(crate) const WAKER: Token = Token(1);
const FIRST: usize = 2;

/// Connections at a time; more wait to be accepted.
pub(crate) const CONNECTIONS_MAX: usize = 1024;

/// What may wait here for connections even where the user wants less, in bytes: the first windows of 256.
const BUDGET_MIN: u64 = 16 << 20;

/// Connections that the end which opens them has room for beyond those that the far end may have at a time: 4 MiB of first
/// windows. What the far end has done with may still be here: its last bytes wait for a peer that is slow to take them.
const SPARE: usize = 64;

/// Bytes of the stream after which is done what follows from them.
const CHUNK: usize = 64 << 10;

/// How long accepting pauses when the process or the system has no descriptors left.
pub(super) const EXHAUSTED: Duration = Duration::from_millis(250);

/// What this end does for a new connection.
pub(crate) enum Role {
    /// Accepts them, and has the far end open them.
    Terminate(TcpListener),
    /// Opens them, when the far end has accepted one.
    Initiate(Resolver),
}

/// A connection that could not be had; why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It could not be opened.
    Opening(String),
    /// It could not be accepted.
    Accepting(String),
    /// It waits for a descriptor.
    Waiting,
}

/// What local connections may take.
#[derive(Clone, Copy)]
pub(crate) struct Room {
    /// Bytes that may wait here for all of them together, besides the first windows of [`SPARE`].
    pub(crate) budget: u64,
    /// One for each; one may be there in any case.
    pub(crate) descriptors: u64,
}

impl Room {
    /// Connections that there are descriptors for.
    fn descriptors(self) -> usize {
        usize::try_from(self.descriptors).unwrap_or(usize::MAX).max(1)
    }
}

/// Connections that an end with so much memory has room for.
fn connections(budget: u64) -> usize {
    let windows = budget.max(BUDGET_MIN) / u64::from(WINDOW_FIRST);
    usize::try_from(windows).map_or(CONNECTIONS_MAX, |windows| windows.min(CONNECTIONS_MAX))
}

enum Socket {
    /// It waits for the addresses, or for a descriptor.
    Waiting,
    /// No address has answered yet.
    Connecting(Attempt),
    Open(Open),
}

/// The local side.
pub(crate) struct Local {
    mux: Mux,
    registry: Registry,
    waker: Arc<Waker>,
    role: Role,
    /// Connections that there are descriptors for.
    descriptors: usize,
    /// Connections that this end has room for.
    own: usize,
    /// Connections at a time: both ends have room for them.
    connections: usize,
    sockets: BTreeMap<u32, Socket>,
    /// How many of them wait.
    waiting: usize,
    /// A name is being resolved, for all that wait for it.
    asked: bool,
    /// The user knows that connections wait for descriptors.
    told_waiting: bool,
    /// When attempts are given up, and connections that broke.
    deadlines: BTreeSet<(Instant, u32)>,
    /// For the user.
    troubles: Vec<Trouble>,
    /// Connections that may have data to send, in turn; exactly those that are `queued`.
    turn: VecDeque<u32>,
    /// More may wait to be accepted.
    accepting: bool,
    /// No descriptors were left: accept again then.
    paused: Option<Instant>,
    oneshot: bool,
    /// Connections there have been, without those that were refused.
    served: u64,
    /// No more connections, and the stream ends.
    ended: bool,
}

impl Local {
    /// Nothing is accepted yet. `waker` wakes the poll of the registry.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn new(
        registry: Registry,
        waker: Arc<Waker>,
        mut role: Role,
        oneshot: bool,
        room: Room,
    ) -> io::Result<Self> {
        if let Role::Terminate(listener) = &mut role {
            registry.register(listener, LISTENER, Interest::READABLE)?;
        }
        let accepting = matches!(role, Role::Terminate(_));
        let (connections, descriptors) = (connections(room.budget), room.descriptors());
        let own = connections.min(descriptors);
        Ok(Local {
            waker,
            mux: Mux::new(
                matches!(role, Role::Initiate(_)),
                connections + SPARE,
                room.budget.max(BUDGET_MIN),
            ),
            registry,
            role,
            descriptors,
            own,
            connections: own,
            sockets: BTreeMap::new(),
            waiting: 0,
            asked: false,
            told_waiting: false,
            deadlines: BTreeSet::new(),
            troubles: Vec::new(),
            turn: VecDeque::new(),
            accepting,
            paused: None,
            oneshot,
            served: 0,
            ended: false,
        })
    }

    /// How much memory the far end has: of connections that it has no room for none are accepted.
    pub(crate) fn far_has(&mut self, budget: u64) {
        self.connections = self.own.min(connections(budget));
        // more may be accepted than before
        self.settle();
    }

    /// Gives up all that was begun: where connections come from.
    pub(crate) fn into_origin(mut self) -> Origin {
        self.sockets.keys().copied().collect::<Vec<_>>().into_iter().for_each(|id| self.discard(id));
        match self.role {
            Role::Terminate(mut listener) => {
                // fails only where it is not registered
                let _ = self.registry.deregister(&mut listener);
                Origin::Terminate(listener.into())
            }
            Role::Initiate(resolver) => resolver.into_origin(),
        }
    }

    // ---- the poll ---------------------------------------------------------------------------------------

    /// What the poll says.
    pub(crate) fn event(&mut self, now: Instant, seen: Seen) {
        match seen.token {
            WAKER => {}
            LISTENER => self.accepting = true,
            Token(token) => {
                let id = (token - FIRST) as u32;
                match self.sockets.get(&id) {
                    Some(Socket::Open(_)) => self.look_at_open(now, id, seen),
                    Some(Socket::Connecting(_)) => self.look_at_attempt(now, id, seen),
                    Some(Socket::Waiting) | None => {}
                }
            }
        }
    }

    /// After the events: accepts, and gives up what took too long.
    pub(crate) fn tick(&mut self, now: Instant) {
        while let Some((until, id)) = self.deadlines.first().copied().filter(|(until, _)| *until <= now) {
            self.deadlines.remove(&(until, id));
            match self.sockets.get(&id) {
                Some(Socket::Open(_)) => self.give_up(id),
                _ => self.attempt_failed(now, id, &ErrorKind::TimedOut.into()),
            }
        }
        self.accept(now);
        self.settle();
    }

    /// When `tick` is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(until, _)| *until).into_iter().chain(self.paused).min()
    }

    /// What connections could not be had since this was asked last, for the user.
    pub(crate) fn take_troubles(&mut self) -> Vec<Trouble> {
        std::mem::take(&mut self.troubles)
    }

    // ---- the stream -------------------------------------------------------------------------------------

    /// Whether [`Local::pull`] has something to give: looked at, not believed, where the poll did not just say so.
    pub(crate) fn has_output(&mut self) -> bool {
        if self.mux.has_records() {
            return true;
        }
        while let Some(id) = self.turn.front() {
            if let Some(Socket::Open(open)) = self.sockets.get_mut(id) {
                let has_input = || {
                    open.is_ending() || open.fresh || open.urgent || unread(&open.stream).is_ok_and(|n| n > 0)
                };
                if self.mux.may_send(*id) && has_input() {
                    return true;
                }
                open.readable &= !self.mux.may_send(*id);
                open.queued = false;
            }
            self.turn.pop_front();
        }
        false
    }

    /// Whether the tunnel has ended, and all was given.
    pub(crate) fn is_over(&self) -> bool {
        self.ended && !self.mux.has_records()
    }

    /// Fills `space` with what is to be sent, without waiting; how much that was.
    pub(crate) fn pull(&mut self, space: &mut [u8]) -> usize {
        loop {
            let records = self.mux.records(space);
            if records > 0 {
                return records;
            }
            let Some(id) = self.turn.pop_front() else { return 0 };
            let Some(Socket::Open(open)) = self.sockets.get_mut(&id) else { continue };
            (open.queued, open.fresh) = (false, false);
            let mut short = false;
            let sent = self.mux.send(id, space, |room| {
                let n = open.read(room)?;
                short = n < room.len();
                Ok(n)
            });
            match sent {
                Ok(sent) => {
                    // a short read emptied the socket; an end behind it is announced, or will be
                    open.readable &= !short || open.urgent || (open.is_ending() && self.mux.may_send(id));
                    self.queue(id);
                    self.was_read(id);
                    self.settle();
                    if sent > 0 {
                        return sent;
                    }
                }
                Err(e) => {
                    match e.kind() {
                        ErrorKind::WouldBlock => self.was_empty(id),
                        _ => self.break_off(id),
                    }
                    self.settle();
                }
            }
        }
    }

    /// Takes bytes of the stream.
    ///
    /// # Errors
    /// The far end broke the rules.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), TunnelBreach> {
        bytes.chunks(CHUNK).try_for_each(|chunk| self.push_chunk(chunk))
    }

    fn push_chunk(&mut self, bytes: &[u8]) -> Result<(), TunnelBreach> {
        let mut broken = Vec::new();
        let sockets = &mut self.sockets;
        let result = self.mux.receive(bytes, &mut |id, data| {
            let Some(Socket::Open(open)) = sockets.get_mut(&id) else { return 0 };
            open.write(data).unwrap_or_else(|_| {
                broken.push(id);
                0
            })
        });
        broken.into_iter().for_each(|id| self.broke(id));
        self.settle();
        result
    }

    /// The stream from the far end is over.
    pub(crate) fn stream_ended(&mut self) {
        self.ended = true;
        self.mux.stream_ended();
        self.settle();
    }

    /// Whether the tunnel has ended, and everything that came was taken.
    pub(crate) fn is_drained(&self) -> bool {
        self.ended && self.mux.is_empty()
    }

    // ---- connections ------------------------------------------------------------------------------------

    fn obey(&mut self, event: SocketAction) {
        match event {
            SocketAction::Opened(id) => self.open(id),
            SocketAction::Credit(id) => self.queue(id),
            SocketAction::Shut(id) => {
                if let Some(Socket::Open(open)) = self.sockets.get(&id) {
                    open.shut();
                }
            }
            SocketAction::Closed(id) => drop(self.remove(id)),
            SocketAction::Refused(id) => self.refused(id),
            SocketAction::Reset(id) => self.discard(id),
        }
    }

    /// What has followed from what was done here.
    fn settle(&mut self) {
        while let Some(event) = self.mux.poll() {
            self.obey(event);
        }
        if self.accepting && self.paused.is_none() && !self.is_full() {
            self.wake();
        }
        if self.oneshot && self.served > 0 && self.mux.is_empty() {
            self.ended = true;
        }
        self.ask();
    }

    /// Wakes the poll.
    pub(crate) fn wake(&self) {
        // fails only where the poll is gone, and then the process ends
        let _ = self.waker.wake();
    }

    /// Writes what waits for the connection.
    fn flush(&mut self, id: u32) {
        let Some(Socket::Open(open)) = self.sockets.get_mut(&id) else { return };
        let written = self.mux.drain(id, |bytes| match open.write(bytes)? {
            0 => Err(ErrorKind::WouldBlock.into()),
            n => Ok(n),
        });
        if written.is_err() {
            self.broke(id);
        }
    }

    /// Gives it a place in the turn, if it may have something to send.
    fn queue(&mut self, id: u32) {
        if let Some(Socket::Open(open)) = self.sockets.get_mut(&id)
            && open.readable
            && !open.queued
            && self.mux.may_send(id)
        {
            open.queued = true;
            self.turn.push_back(id);
        }
    }

    /// Nothing here knows of it any more.
    fn remove(&mut self, id: u32) -> Option<Socket> {
        let socket = self.sockets.remove(&id)?;
        match &socket {
            Socket::Connecting(attempt) => drop(self.deadlines.remove(&(attempt.until, id))),
            Socket::Open(open) => {
                if let Some(until) = open.until {
                    self.deadlines.remove(&(until, id));
                }
                if open.queued {
                    self.turn.retain(|queued| *queued != id);
                }
            }
            Socket::Waiting => self.waiting -= 1,
        }
        Some(socket)
    }
}
