//! The sessions of this process, and the news of them.

use crate::error::{Failure, reason};
use crate::proto::outcome::Outcome;
use crate::proto::way::Way;
use crate::session::Handle;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The sessions of this process, for orders. Some may come and go.
#[derive(Clone, Default)]
pub struct Sessions(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// One has gone, or all were stopped.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// In the order in which they came, each with its number.
    sessions: Vec<(u64, Handle)>,
    last: u64,
    hurries: bool,
    ending: Option<Outcome>,
}

impl Sessions {
    /// These sessions.
    pub fn new(sessions: Vec<Handle>) -> Self {
        let all = Sessions::default();
        for session in sessions {
            all.add(session);
        }
        all
    }

    /// Every one.
    pub fn all(&self) -> Vec<Handle> {
        self.lock().sessions.iter().map(|(_, session)| session.clone()).collect()
    }

    /// One more; its number. If all were stopped before, so is this one.
    pub fn add(&self, session: Handle) -> u64 {
        let mut state = self.lock();
        state.last += 1;
        let (number, hurries, ending) = (state.last, state.hurries, state.ending.clone());
        state.sessions.push((number, session.clone()));
        drop(state);
        if hurries {
            session.hurry();
        }
        if let Some(ending) = ending {
            session.stop(&ending);
        }
        number
    }

    /// The one of this number is over.
    pub fn remove(&self, number: u64) {
        self.lock().sessions.retain(|(other, _)| *other != number);
        self.0.changed.notify_all();
    }

    /// Ends every session, telling the peers.
    pub fn stop(&self, ending: &Outcome) {
        self.lock().ending.get_or_insert(ending.clone());
        self.0.changed.notify_all();
        self.all().iter().for_each(|session| session.stop(ending));
    }

    /// From now on, no end waits long for its peer to close.
    pub fn hurry(&self) {
        self.lock().hurries = true;
        self.all().iter().for_each(Handle::hurry);
    }

    /// Waits until all were stopped and have gone; how they were stopped.
    pub fn await_end(&self) -> Outcome {
        let mut state = self.lock();
        loop {
            if let Some(ending) = state.ending.clone().filter(|_| state.sessions.is_empty()) {
                return ending;
            }
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
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
