//! Places: which sessions of a standing receiver may send at a moment, and what the others are told.

use crate::endpoint::files::Outbox;
use crate::proto::outcome::{Outcome, Status};
use crate::proto::peer_key::PeerKey;
use crate::session::Handle;
use crate::store::queue::{Bounds, Came, Queue, Turn};
use crate::store::record::{Down, encode};
use crate::sys::thread::spawn;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What a session is told that has lost its place.
const STALLED: &str = "nothing came for a minute, and others wait: what has come is kept";

/// The sessions, in their turn.
pub(super) struct Places {
    state: Mutex<State>,
    /// There may be an earlier deadline.
    changed: Condvar,
}

struct State {
    queue: Queue<Option<[u8; 32]>, u64>,
    members: HashMap<u64, Member>,
    last: u64,
}

struct Member {
    out: Arc<Outbox>,
    /// Set as soon as it is known.
    session: Option<Handle>,
}

impl Places {
    /// So many at a time.
    ///
    /// # Errors
    /// The kernel has no threads left.
    pub(super) fn new(bounds: Bounds) -> io::Result<Arc<Self>> {
        let state = State { queue: Queue::new(bounds), members: HashMap::new(), last: 0 };
        let places = Arc::new(Places { state: Mutex::new(state), changed: Condvar::new() });
        let clock = places.clone();
        spawn("places", move || clock.keep_time())?;
        Ok(places)
    }

    /// A session has come, and hears through this outbox when it may begin; its number. None: too many wait.
    pub(super) fn arrive(&self, key: Option<PeerKey>, out: &Arc<Outbox>) -> Option<u64> {
        let mut state = self.lock();
        state.last += 1;
        let number = state.last;
        let came = state.queue.arrive(Instant::now(), &key.map(|key| key.0), number);
        match came {
            Came::Full => return None,
            Came::Go => say(out, &Down::Go(Vec::new())),
            Came::Wait(ahead) => say(out, &Down::Wait(ahead as u32)),
        }
        state.members.insert(number, Member { out: out.clone(), session: None });
        drop(state);
        self.changed.notify_all();
        Some(number)
    }

    /// This is the session of that number.
    pub(super) fn introduce(&self, number: u64, session: Handle) {
        if let Some(member) = self.lock().members.get_mut(&number) {
            member.session = Some(session);
        }
    }

    /// A session may send.
    pub(super) fn has_place(&self, number: u64) -> bool {
        self.lock().queue.has_place(number)
    }

    /// A session has made progress.
    pub(super) fn progress(&self, number: u64) {
        self.lock().queue.progress(Instant::now(), number);
    }

    /// A session is over.
    pub(super) fn leave(&self, number: u64) {
        let mut state = self.lock();
        state.members.remove(&number);
        state.queue.leave(number);
        let stalled = state.turn(Instant::now());
        drop(state);
        stop(stalled);
    }

    fn keep_time(&self) {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let stalled = state.turn(now);
            // where nobody waits there is nothing to do, until somebody comes
            let wait = state.queue.deadline().map_or(Duration::MAX, |at| at.saturating_duration_since(now));
            if stalled.is_empty() {
                let waited = self.changed.wait_timeout(state, wait.min(Duration::from_secs(3600)));
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            } else {
                drop(state);
                stop(stalled);
                state = self.lock();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Tells everybody what follows; those that have lost their place.
    fn turn(&mut self, now: Instant) -> Vec<Handle> {
        let mut stalled = Vec::new();
        while let Some(turn) = self.queue.poll(now) {
            match turn {
                Turn::Go(number) => self.tell(number, &Down::Go(Vec::new())),
                Turn::Wait(number, ahead) => self.tell(number, &Down::Wait(ahead as u32)),
                Turn::Lost(number) => {
                    stalled.extend(self.members.get(&number).and_then(|member| member.session.clone()));
                }
            }
        }
        stalled
    }

    fn tell(&self, number: u64, down: &Down) {
        if let Some(member) = self.members.get(&number) {
            say(&member.out, down);
        }
    }
}

/// Ends these, outside of the lock: that may call back.
fn stop(stalled: Vec<Handle>) {
    let ending = Outcome::here(Status::Incomplete, STALLED);
    stalled.iter().for_each(|session| session.stop(&ending));
}

/// Of the whole session, which has the number 0.
fn say(out: &Outbox, down: &Down) {
    let mut record = Vec::new();
    encode(0, down, &mut record);
    out.put(record);
}
