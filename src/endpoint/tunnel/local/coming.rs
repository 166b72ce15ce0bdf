//! How local connections come: accepted here, or opened where the far end has accepted one.

use super::super::dial::Attempt;
use super::super::handover::Seen;
use super::super::open::{INTEREST, Open};
use super::{EXHAUSTED, FIRST, Local, Role, Socket, Trouble};
use crate::error::reason;
use mio::Token;
use mio::net::TcpStream;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Instant;

impl Local {
    pub(super) fn accept(&mut self, now: Instant) {
        if self.paused.is_some_and(|until| until > now) {
            return;
        }
        self.paused = None;
        while self.accepting && !self.is_full() {
            let Role::Terminate(listener) = &self.role else { return };
            match listener.accept() {
                Ok((stream, _)) => {
                    let id = self.mux.open();
                    self.served += 1;
                    self.admit(now, id, stream);
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => self.accepting = false,
                Err(e) if matches!(e.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
                // no descriptor is left, or the kernel tells of the network: others will come
                Err(e) => {
                    self.troubles.push(Trouble::Accepting(reason(&e)));
                    self.paused = Some(now + EXHAUSTED);
                    return;
                }
            }
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.is_over_for_new() || self.sockets.len() >= self.connections
    }

    /// Whether there will be no new connection.
    fn is_over_for_new(&self) -> bool {
        self.ended || (self.oneshot && self.served > 0)
    }

    pub(super) fn open(&mut self, id: u32) {
        match &self.role {
            Role::Initiate(_) if !self.is_over_for_new() => {
                self.served += 1;
                self.sockets.insert(id, Socket::Waiting);
                self.waiting += 1;
            }
            _ => self.break_off(id),
        }
    }

    /// Has the name resolved if a connection waits for that, and there is a descriptor for it.
    pub(super) fn ask(&mut self) {
        let has_room = self.waiting > 0 && self.sockets.len() - self.waiting < self.descriptors;
        let lacks = self.waiting > 0 && !has_room;
        if !std::mem::replace(&mut self.told_waiting, lacks) && lacks {
            self.troubles.push(Trouble::Waiting);
        }
        if let Role::Initiate(resolver) = &self.role
            && has_room
            && !std::mem::replace(&mut self.asked, true)
        {
            resolver.resolve();
        }
    }

    /// The addresses are known, for all connections that wait and get a descriptor; or they cannot be, for all that wait.
    pub(crate) fn resolved(&mut self, now: Instant, addresses: &Result<Vec<SocketAddr>, String>) {
        self.asked = false;
        let room = match addresses {
            Ok(_) => self.descriptors.saturating_sub(self.sockets.len() - self.waiting),
            Err(_) => usize::MAX,
        };
        let waiting = self.sockets.iter().filter(|(_, socket)| matches!(socket, Socket::Waiting));
        for id in waiting.map(|(id, _)| *id).take(room).collect::<Vec<_>>() {
            match addresses {
                Ok(addresses) => {
                    self.waiting -= 1;
                    self.sockets.insert(id, Socket::Connecting(Attempt::new(addresses.clone())));
                    self.next_attempt(now, id, "it has no address".into());
                }
                Err(why) => self.refuse(id, why.clone()),
            }
        }
        self.settle();
        // there may be a deadline that the poll does not know
        self.wake();
    }

    fn next_attempt(&mut self, now: Instant, id: u32, mut why: String) {
        let Some(Socket::Connecting(attempt)) = self.sockets.get_mut(&id) else { return };
        self.deadlines.remove(&(attempt.until, id));
        loop {
            match attempt.next(now, &self.registry, Token(FIRST + id as usize)) {
                None => return self.refuse(id, why),
                Some(Ok(())) => {
                    self.deadlines.insert((attempt.until, id));
                    return;
                }
                Some(Err(e)) => why = reason(&e),
            }
        }
    }

    /// `seen` may also tell of an end or of a break, which no later event repeats.
    pub(super) fn look_at_attempt(&mut self, now: Instant, id: u32, seen: Seen) {
        let Some(Socket::Connecting(attempt)) = self.sockets.get_mut(&id) else { return };
        match attempt.outcome() {
            None => {}
            Some(Ok(stream)) => {
                self.remove(id);
                self.admit_registered(now, id, stream, seen);
            }
            Some(Err(e)) => self.attempt_failed(now, id, &e),
        }
    }

    pub(super) fn attempt_failed(&mut self, now: Instant, id: u32, error: &io::Error) {
        self.next_attempt(now, id, reason(error));
    }

    fn refuse(&mut self, id: u32, why: String) {
        self.troubles.push(Trouble::Opening(why));
        self.served = self.served.saturating_sub(1);
        self.break_off(id);
    }

    /// The far end has broken it off and has said nothing else of it: it has opened none, or its client has gone. So none was
    /// carried.
    pub(super) fn refused(&mut self, id: u32) {
        let is_carried =
            matches!(self.role, Role::Initiate(_)) && matches!(self.sockets.get(&id), Some(Socket::Open(_)));
        if !is_carried {
            self.served = self.served.saturating_sub(1);
        }
        self.discard(id);
    }

    fn admit(&mut self, now: Instant, id: u32, mut stream: TcpStream) {
        let token = Token(FIRST + id as usize);
        match self.registry.register(&mut stream, token, INTEREST) {
            // the poll will say what is there
            Ok(()) => self.admit_registered(now, id, stream, Seen::nothing(token)),
            Err(e) => {
                self.troubles.push(Trouble::Accepting(reason(&e)));
                self.served -= 1;
                self.break_off(id);
            }
        }
    }

    fn admit_registered(&mut self, now: Instant, id: u32, stream: TcpStream, seen: Seen) {
        if let Role::Initiate(_) = self.role {
            self.mux.opened(id);
        }
        self.sockets.insert(id, Socket::Open(Open::new(stream)));
        self.look_at_open(now, id, seen);
        if let Some(Socket::Open(open)) = self.sockets.get(&id)
            && self.mux.is_shut(id)
        {
            open.shut();
        }
    }
}
