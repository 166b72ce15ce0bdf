//! The sessions of this process, and the news of them.

use crate::error::{Failure, reason};
use crate::proto::outcome::Outcome;
use crate::proto::way::Way;
use crate::session::Handle;
use std::io;
use std::sync::Arc;

/// The sessions of this process, for orders.
#[derive(Clone)]
pub struct Sessions(Arc<[Handle]>);

impl Sessions {
    /// These sessions.
    pub fn new(sessions: Vec<Handle>) -> Self {
        Sessions(sessions.into())
    }

    /// Every one.
    pub fn all(&self) -> &[Handle] {
        &self.0
    }

    /// Ends every session, telling the peers.
    pub fn stop(&self, ending: &Outcome) {
        self.all().iter().for_each(|session| session.stop(ending));
    }

    /// From now on, no end waits long for its peer to close.
    pub fn hurry(&self) {
        self.all().iter().for_each(Handle::hurry);
    }
}

/// News of a session.
pub enum News {
    /// One of its streams was judged.
    Settled(Way, Outcome),
    /// It has ended; which of [`Sessions::all`].
    Ended(usize, io::Result<()>),
}

/// A session's thread could not be started.
pub fn no_thread(error: io::Error) -> Failure {
    Failure::network(format!("cannot start a thread: {}", reason(&error)))
}
