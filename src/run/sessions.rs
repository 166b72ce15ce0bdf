//! The sessions of this process.

use crate::error::{Failure, cannot_start_thread, reason};
use crate::proto::outcome::Outcome;
use crate::session::Handle;
use crate::store::queue::AWAY;
use crate::sync::Unpoisoned;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How long a peer has to hear what became of what its session did.
const HEARD: Duration = Duration::from_secs(2);
/// How often it is looked whether one of those that are left may be stopped.
const LOOK: Duration = Duration::from_millis(500);

/// The sessions of this process, for orders. Some may come and go.
#[derive(Clone, Default)]
pub(crate) struct Sessions(Arc<Shared>);

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
    work: Work,
    stopped: bool,
}

/// What a session is at.
#[derive(Clone, Copy)]
enum Work {
    /// Nothing that must not be stopped.
    None,
    /// It is not to be stopped in the middle of what it does.
    Busy,
    /// That was done then. Its peer may not have heard yet what became of it: if it never hears, it has that done again.
    Done(Instant),
}

impl State {
    /// Those that are to be stopped by now, once each.
    fn due(&mut self, now: Instant) -> Vec<Handle> {
        let may_stop = |member: &&mut Member| match member.work {
            Work::None => true,
            Work::Busy => false,
            Work::Done(at) => at + HEARD <= now,
        };
        let due = self.sessions.iter_mut().filter(|member| !member.stopped).filter(may_stop);
        let stop = |member: &mut Member| {
            member.stopped = true;
            member.session.clone()
        };
        due.map(stop).collect()
    }

    /// Those that are busy.
    fn busy(&self) -> Vec<Handle> {
        let busy = self.sessions.iter().filter(|member| matches!(member.work, Work::Busy));
        busy.map(|member| member.session.clone()).collect()
    }
}

impl Sessions {
    /// These sessions.
    pub(crate) fn new(sessions: Vec<Handle>) -> Self {
        let all = Sessions::default();
        for session in sessions {
            all.add(session);
        }
        all
    }

    /// Every one.
    pub(crate) fn all(&self) -> Vec<Handle> {
        self.lock().sessions.iter().map(|member| member.session.clone()).collect()
    }

    /// One more; its number. If all were stopped before, so is this one.
    pub(crate) fn add(&self, session: Handle) -> u64 {
        let mut state = self.lock();
        state.last += 1;
        let (number, hurries, ending) = (state.last, state.hurries, state.ending.clone());
        let stopped = ending.is_some();
        state.sessions.push(Member { number, session: session.clone(), work: Work::None, stopped });
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
    pub(crate) fn are_stopped(&self) -> bool {
        self.lock().ending.is_some()
    }

    /// The one of this number is over.
    pub(crate) fn remove(&self, number: u64) {
        self.lock().sessions.retain(|member| member.number != number);
        self.0.changed.notify_all();
    }

    /// Ends every session, telling the peers. Those that are busy, or were a moment ago, are left to whoever is in
    /// [`Sessions::await_end`].
    pub(crate) fn stop(&self, ending: &Outcome) {
        let mut state = self.lock();
        state.ending.get_or_insert(ending.clone());
        let due = state.due(Instant::now());
        drop(state);
        self.0.changed.notify_all();
        due.iter().for_each(|session| session.stop(ending));
    }

    /// What the session of this number does is not to be stopped in the middle, or may be again. False: all were stopped
    /// before, and nothing begins any more.
    pub(crate) fn set_busy(&self, number: u64, busy: bool) -> bool {
        let mut state = self.lock();
        let goes_on = state.ending.is_none();
        if let Some(member) = state.sessions.iter_mut().find(|member| member.number == number) {
            member.work = match (busy, member.work) {
                (true, _) if goes_on => Work::Busy,
                (false, Work::Busy) => Work::Done(Instant::now()),
                (_, work) => work,
            };
        }
        goes_on
    }

    /// From now on, no end waits long for its peer to close.
    pub(crate) fn hurry(&self) {
        self.lock().hurries = true;
        self.all().iter().for_each(Handle::hurry);
    }

    /// Waits until all were stopped and have gone; how they were stopped. Meanwhile stops those that were busy then, once
    /// their peers have had time to hear what became of what they did, or are gone.
    pub(crate) fn await_end(&self) -> Outcome {
        let goes_on = |state: &mut State| state.ending.is_none();
        let mut state = self.0.changed.wait_while(self.lock(), goes_on).unpoisoned();
        loop {
            let ending = state.ending.clone();
            if let Some(ending) = ending.clone().filter(|_| state.sessions.is_empty()) {
                return ending;
            }
            let (due, busy) = (state.due(Instant::now()), state.busy());
            drop(state);
            // nobody brings the rest of what a session is at whose peer is gone
            let is_gone = |session: &Handle| session.alone_for().is_some_and(|alone| alone >= AWAY);
            let due = due.into_iter().chain(busy.into_iter().filter(is_gone));
            due.for_each(|session| ending.iter().for_each(|ending| session.stop(ending)));
            let is_left = |state: &mut State| !state.sessions.is_empty();
            let waited = self.0.changed.wait_timeout_while(self.lock(), LOOK, is_left);
            state = waited.unpoisoned().0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unpoisoned()
    }
}

/// A session's thread could not be started.
pub(crate) fn no_thread(error: io::Error) -> Failure {
    Failure::network(cannot_start_thread(&error))
}

/// A session could not be started, nor what it needs.
pub(crate) fn cannot_start(error: io::Error) -> Failure {
    Failure::network(format!("cannot start: {}", reason(&error)))
}

/// Signals are not heard.
pub(crate) fn no_signals(error: io::Error) -> Failure {
    Failure::network(format!("cannot hear signals: {}", reason(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::outcome::Status;
    use crate::session::Start;

    fn ended() -> Outcome {
        Outcome::here(Status::Incomplete, "ended by SIGTERM")
    }

    #[test]
    fn one_that_was_busy_has_time_to_hear_how_that_went_whenever_all_are_stopped() {
        for stopped_meanwhile in [false, true] {
            let (all, start) = (Sessions::default(), Start::to_nowhere());
            let number = all.add(start.handle());
            // as `stop` does, but for the time
            let stop = || _ = all.lock().ending.insert(ended());
            let due = |at| all.lock().due(at).len();
            assert!(all.set_busy(number, true));
            if stopped_meanwhile {
                stop();
                assert!(!all.set_busy(number, true), "nothing begins any more");
                assert_eq!((due(Instant::now() + 2 * HEARD), all.lock().busy().len()), (0, 1));
            }
            all.set_busy(number, false);
            let Work::Done(at) = all.lock().sessions[0].work else { panic!("it is done") };
            // that it is not busy may be said once more, and makes it no later
            all.set_busy(number, false);
            if !stopped_meanwhile {
                stop();
            }
            assert_eq!(due(at + HEARD - Duration::from_millis(1)), 0);
            assert_eq!([due(at + HEARD), due(at + HEARD)], [1, 0]);
        }
    }

    #[test]
    fn one_that_was_never_busy_is_stopped_at_once() {
        let (all, start) = (Sessions::default(), Start::to_nowhere());
        let number = all.add(start.handle());
        all.set_busy(number, false);
        all.stop(&ended());
        assert!(all.lock().sessions[0].stopped);
        assert!(!all.set_busy(number, true));
        all.set_busy(number, false);
        assert!(matches!(all.lock().sessions[0].work, Work::None));
    }
}
