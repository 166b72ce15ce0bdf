//! What waits to be written on each connection, and what nobody needs any more.

use super::super::hello::Welcome;
use super::super::leg::{CONNECTIONS_MAX, Leg, Payload};
use super::super::mailbox::{Item, Mailbox, Overflow};
use super::super::set::ConnectionSet;
use super::super::wire::Frame;

/// The mailboxes of a session's connections.
#[derive(Default)]
pub(super) struct Post {
    mailboxes: [Mailbox; CONNECTIONS_MAX],
    /// Connections in whose mailboxes something was put since they were asked for last.
    posted: ConnectionSet,
    /// What came, was read or waited, and is of no use any more.
    freed: Vec<Payload>,
}

impl Post {
    /// This end's part of the handshake.
    pub(super) fn welcome(&mut self, connection: usize, welcome: Welcome) {
        self.mailboxes[connection].welcome(welcome);
        self.posted.insert(connection);
    }

    /// A leg; there must be none in the mailbox.
    pub(super) fn leg(&mut self, connection: usize, leg: Leg) {
        self.mailboxes[connection].leg(leg);
        self.posted.insert(connection);
    }

    /// A frame other than a leg's.
    ///
    /// # Errors
    /// It is a complaint, and too many wait already.
    pub(super) fn frame(&mut self, connection: usize, frame: Frame) -> Result<(), Overflow> {
        let unwanted = self.mailboxes[connection].frame(frame)?;
        self.freed.extend(unwanted.map(|leg| leg.payload));
        self.posted.insert(connection);
        Ok(())
    }

    /// What waits on a connection is not written any more.
    pub(super) fn clear(&mut self, connection: usize) {
        self.freed.extend(self.mailboxes[connection].clear().map(|leg| leg.payload));
        self.posted.remove(connection);
    }

    /// The next thing to write on a connection.
    pub(super) fn take(&mut self, connection: usize) -> Option<Item> {
        self.mailboxes[connection].take()
    }

    /// What waits on a connection.
    pub(super) fn mailbox(&self, connection: usize) -> &Mailbox {
        &self.mailboxes[connection]
    }

    /// The connections in whose mailboxes something was put since this was asked last.
    pub(super) fn take_posted(&mut self) -> ConnectionSet {
        std::mem::take(&mut self.posted)
    }

    /// Payload that nobody needs any more.
    pub(super) fn free(&mut self, payload: Payload) {
        self.freed.push(payload);
    }

    /// Moves all of that there since this was asked last.
    pub(super) fn take_freed(&mut self, to: &mut Vec<Payload>) {
        to.append(&mut self.freed);
    }
}
