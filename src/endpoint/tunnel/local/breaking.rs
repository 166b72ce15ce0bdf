//! How a local connection breaks: what its peer has sent before is passed on, and then the break.
//!
//! Reading finds the break behind the data. It cannot where the far end takes nothing of that data, so there is a time
//! after which the rest is given up: no connection stays half dead for ever.

use super::super::handover::Seen;
use super::{Local, Socket};
use crate::sys::socket::reset_on_close;
use std::time::{Duration, Instant};

/// What had come on a connection before it broke is given up when the far end has taken nothing of it for so long.
pub(super) const LAST: Duration = Duration::from_secs(60);

impl Local {
    /// What the poll says of an open connection.
    pub(super) fn look_at_open(&mut self, now: Instant, id: u32, seen: Seen) {
        let Some(Socket::Open(open)) = self.sockets.get_mut(&id) else { return };
        open.ended |= seen.ended;
        open.readable |= seen.readable || open.ended;
        open.fresh |= seen.readable;
        open.writable |= seen.writable;
        open.urgent |= seen.urgent;
        if seen.error {
            return self.may_have_broken(now, id);
        }
        self.queue(id);
        self.flush(id);
    }

    /// A write to it has failed.
    pub(super) fn broke(&mut self, id: u32) {
        self.may_have_broken(Instant::now(), id);
    }

    /// Does not flush: reading is to find out first, and a write would be told of the break in its place.
    fn may_have_broken(&mut self, now: Instant, id: u32) {
        let Some(Socket::Open(open)) = self.sockets.get_mut(&id) else { return };
        (open.readable, open.fresh) = (true, true);
        if self.mux.has_finished(id) {
            return self.give_up(id);
        }
        self.give_time(now, id);
        self.queue(id);
    }

    /// Something was read of it, or the end.
    pub(super) fn was_read(&mut self, id: u32) {
        let Some(Socket::Open(open)) = self.sockets.get(&id) else { return };
        match open.until {
            None => {}
            Some(_) if self.mux.has_finished(id) => self.give_up(id),
            Some(_) => self.give_time(Instant::now(), id),
        }
    }

    fn give_time(&mut self, now: Instant, id: u32) {
        let Some(Socket::Open(open)) = self.sockets.get_mut(&id) else { return };
        let before = open.until.replace(now + LAST);
        if let Some(until) = before {
            self.deadlines.remove(&(until, id));
        }
        // the deadline before may be the same one
        self.deadlines.insert((now + LAST, id));
        if before.is_none() {
            // the poll does not know of a deadline
            self.wake();
        }
    }

    /// There is nothing to read, and no end.
    pub(super) fn was_empty(&mut self, id: u32) {
        let Some(Socket::Open(open)) = self.sockets.get_mut(&id) else { return };
        open.readable = false;
        if open.until.is_some() {
            self.give_up(id);
        }
    }

    /// Nothing is left to read of it, or nothing can be passed on: breaks it off if it is broken.
    pub(super) fn give_up(&mut self, id: u32) {
        let Some(Socket::Open(open)) = self.sockets.get_mut(&id) else { return };
        if let Some(until) = open.until.take() {
            self.deadlines.remove(&(until, id));
        }
        if open.is_broken() {
            return self.break_off(id);
        }
        self.flush(id);
    }

    /// The connection broke here: tells the far end.
    pub(super) fn break_off(&mut self, id: u32) {
        self.mux.reset(id);
        self.discard(id);
    }

    pub(super) fn discard(&mut self, id: u32) {
        if let Some(Socket::Open(open)) = self.remove(id) {
            // if it fails the peer sees an end in place of a break
            let _ = reset_on_close(&open.stream);
        }
    }
}
