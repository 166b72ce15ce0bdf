//! The sessions of this process, and the news of them.

use crate::error::{Failure, reason};
use crate::proto::outcome::Outcome;
use crate::proto::way::Way;
use crate::session::Handle;
use crate::store::queue::AWAY;
use crate::sys::thread::spawn;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a peer has to hear a last word.
const HEARD: Duration = Duration::from_secs(2);
/// How often it is looked whether a peer that is waited for is gone.
const LOOK: Duration = Duration::from_millis(500);

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
    /// In the order in which they came.
    sessions: Vec<Member>,
    last: u64,
    hurries: bool,
    ending: Option<Outcome>,
}

struct Member {
    number: u64,
    session: Handle,
    /// It is not to be stopped in the middle of what it does.
    busy: bool,
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
        self.lock().sessions.iter().map(|member| member.session.clone()).collect()
    }

    /// One more; its number. If all were stopped before, so is this one.
    pub fn add(&self, session: Handle) -> u64 {
        let mut state = self.lock();
        state.last += 1;
        let (number, hurries, ending) = (state.last, state.hurries, state.ending.clone());
        state.sessions.push(Member { number, session: session.clone(), busy: false });
        drop(state);
        if hurries {
            session.hurry();
        }
        if let Some(ending) = ending {
            session.stop(&ending);
        }
        number
    }

    /// All were stopped.
    pub fn are_stopped(&self) -> bool {
        self.lock().ending.is_some()
    }

    /// The one of this number is over.
    pub fn remove(&self, number: u64) {
        self.lock().sessions.retain(|member| member.number != number);
        self.0.changed.notify_all();
    }

    /// Ends every session, telling the peers; those that are busy once they are not any more, or their peers are gone.
    pub fn stop(&self, ending: &Outcome) {
        let mut state = self.lock();
        state.ending.get_or_insert(ending.clone());
        let (busy, idle): (Vec<_>, Vec<_>) = state.sessions.iter().partition(|member| member.busy);
        let idle: Vec<_> = idle.into_iter().map(|member| member.session.clone()).collect();
        let waits = !busy.is_empty();
        drop(state);
        self.0.changed.notify_all();
        idle.iter().for_each(|session| session.stop(ending));
        if waits {
            let (all, ending) = (self.clone(), ending.clone());
            // without a thread the process is asked to end once more
            let _ = spawn("gone", move || all.stop_gone(&ending));
        }
    }

    /// Ends those that are busy as soon as their peers are gone, until none is left: nobody brings the rest of what they
    /// are at.
    fn stop_gone(&self, ending: &Outcome) {
        let mut state = self.lock();
        while !state.sessions.is_empty() {
            let sessions: Vec<_> = state.sessions.iter().map(|member| member.session.clone()).collect();
            drop(state);
            let is_gone = |session: &&Handle| session.alone_for().is_some_and(|alone| alone >= AWAY);
            sessions.iter().filter(is_gone).for_each(|session| session.stop(ending));
            let waited = self.0.changed.wait_timeout(self.lock(), LOOK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// What the session of this number does is not to be stopped in the middle, or may be again. False: all were stopped
    /// before, and so is this one, as soon as its peer has had time to hear what became of what it did.
    pub fn set_busy(&self, number: u64, busy: bool) -> bool {
        let mut state = self.lock();
        let ending = state.ending.clone();
        let member = state.sessions.iter_mut().find(|member| member.number == number);
        let Some(member) = member else { return ending.is_none() };
        member.busy = busy && ending.is_none();
        let session = member.session.clone();
        drop(state);
        let Some(ending) = ending else { return true };
        if !busy {
            let all = self.clone();
            let stop = move || {
                let is_there =
                    |state: &mut State| state.sessions.iter().any(|member| member.number == number);
                // it goes by itself when its peer has heard
                drop(all.0.changed.wait_timeout_while(all.lock(), HEARD, is_there));
                session.stop(&ending);
            };
            // without a thread the process is asked to end once more
            let _ = spawn("last", stop);
        }
        false
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

/// What has come of a session, or of one of its streams.
pub enum Conclusion {
    /// One of its streams was judged.
    Settled(Way, Outcome),
    /// It has ended; which of [`Sessions::all`].
    Ended(usize),
}

/// A session's thread could not be started.
pub fn no_thread(error: io::Error) -> Failure {
    Failure::network(format!("cannot start a thread: {}", reason(&error)))
}

/// A session could not be started, nor what it needs.
pub fn cannot_start(error: io::Error) -> Failure {
    Failure::network(format!("cannot start: {}", reason(&error)))
}

/// Signals are not heard.
pub fn no_signals(error: io::Error) -> Failure {
    Failure::network(format!("cannot hear signals: {}", reason(&error)))
}
