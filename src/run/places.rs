//! Places: which sessions of a standing receiver may send at a moment, and what the others are told.

use super::boards;
use crate::endpoint::files::{Ledger, MaySend, Outbox};
use crate::proto::life::Steady;
use crate::proto::outcome::{Outcome, Status};
use crate::proto::peer_key::PeerKey;
use crate::proto::way::Way;
use crate::report::{Board, Served, ServedSession};
use crate::session::Handle;
use crate::store::queue::{Bounds, Came, Lost, Queue, Turn};
use crate::store::record::Down;
use crate::sync::Unpoisoned;
use crate::sys::thread::spawn;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What is said of the whole session, and of no file, has this number.
const SESSION: u32 = 0;

/// A session that has had no connection for so long gives way to whoever wants a name that it has: of its key, that is
/// its sender come again. One that has the same key and may want something else is no sign of that, since many senders may
/// share a key; a session gives way to that one after [`Bounds::away`].
const GONE: Duration = Duration::from_secs(1);
/// How often all are looked at while anybody is there. So a gap is noticed in which this process did not run, also where
/// nobody waits before it and somebody does after it.
const TICK: Duration = Duration::from_secs(1);
/// So long the clock waits where nobody is there.
const NEVER: Duration = Duration::from_secs(3600);
/// How often it is looked meanwhile whether it has come again.
const LOOK: Duration = Duration::from_millis(50);
/// What it is told, if it should come back.
const GAVE_WAY: &str = "no connection, and another sends that name";

/// Says whether this end holds the sender of a session up: it is at work on what came, or its disk or command takes no
/// more. A sender that waits for this end has not stalled, however long that takes; and whatever this end is at, the
/// sender cannot make last by saying nothing.
pub(super) type HoldsUp = Arc<dyn Fn() -> bool + Send + Sync>;

/// Whoever comes.
#[derive(Clone)]
pub(super) struct Visitor {
    /// What it is called.
    pub(super) name: String,
    /// Through which it hears when it may begin.
    pub(super) out: Arc<Outbox>,
    /// What becomes of its files.
    pub(super) ledger: Arc<Ledger>,
}

/// The sessions, in their turn.
pub(super) struct Places {
    state: Mutex<State>,
    /// There may be an earlier deadline.
    changed: Condvar,
    /// What a session is told that has lost its place or its turn: it stalled, or was away.
    lost: [String; 2],
}

struct State {
    queue: Queue<Option<[u8; 32]>, u64>,
    members: HashMap<u64, Member>,
    last: u64,
    /// The time of the queue: no session is blamed for a gap in which this process did not run.
    steady: Steady,
    /// The time that the clock's thread waits for; none while nobody is there.
    armed: Option<Instant>,
}

struct Member {
    visitor: Visitor,
    /// Set as soon as it is known, and so is what follows.
    session: Option<Handle>,
    holds_up: Option<HoldsUp>,
}

impl Places {
    /// So many at a time.
    ///
    /// # Errors
    /// The kernel has no threads left.
    pub(super) fn new(bounds: Bounds) -> io::Result<Arc<Self>> {
        let places = Self::without_clock(bounds);
        let clock = places.clone();
        spawn("places", move || clock.keep_time())?;
        Ok(places)
    }

    fn without_clock(bounds: Bounds) -> Arc<Self> {
        let lost = [("nothing came", bounds.stall), ("no connection", bounds.away)]
            .map(|(what, time)| format!("{what} for {} s, and others wait", time.as_secs()));
        let state = State {
            queue: Queue::new(bounds),
            members: HashMap::new(),
            last: 0,
            steady: Steady::new(),
            armed: None,
        };
        Arc::new(Places { state: Mutex::new(state), changed: Condvar::new(), lost })
    }

    /// A session has come; its number. None: too many wait.
    pub(super) fn arrive(&self, key: Option<PeerKey>, visitor: &Visitor) -> Option<u64> {
        self.arrive_at(Instant::now(), key, visitor)
    }

    fn arrive_at(&self, real: Instant, key: Option<PeerKey>, visitor: &Visitor) -> Option<u64> {
        // one that is gone may have to give way
        self.look(real);
        let mut state = self.lock();
        let now = state.now(real);
        state.last += 1;
        let number = state.last;
        match state.queue.arrive(now, &key.map(|key| key.0), number) {
            Came::Full => return None,
            Came::Go => visitor.out.say(SESSION, &Down::Go(Vec::new())),
            Came::Wait(ahead) => visitor.out.say(SESSION, &Down::Wait(ahead as u32)),
        }
        state.members.insert(number, Member { visitor: visitor.clone(), session: None, holds_up: None });
        drop(state);
        self.changed.notify_all();
        Some(number)
    }

    /// This is the session of that number.
    pub(super) fn introduce(&self, number: u64, session: Handle, holds_up: HoldsUp) {
        let mut state = self.lock();
        if let Some(member) = state.members.get_mut(&number) {
            (member.session, member.holds_up) = (Some(session.clone()), Some(holds_up));
        }
        if state.queue.has_place(number) {
            drop(state);
            session.use_all();
        }
    }

    /// Ends the session of that number, which has a name that another one wants, if it is gone; waits until that is
    /// certain. False: it is there.
    pub(super) fn gives_way(&self, number: u64) -> bool {
        // one that is over may still be at its files
        while let Some(session) = self.session(number) {
            let Some(alone) = session.alone_for() else { return false };
            if alone >= GONE {
                stop(&session, GAVE_WAY);
                break;
            }
            // only time shows that nobody comes back
            sleep((GONE - alone).min(LOOK));
        }
        true
    }

    fn session(&self, number: u64) -> Option<Handle> {
        self.lock().members.get(&number).and_then(|member| member.session.clone())
    }

    /// Whether a session may send.
    pub(super) fn may_send(&self, number: u64) -> MaySend {
        let state = self.lock();
        match (state.queue.has_place(number), state.queue.ahead(number)) {
            (true, _) => MaySend::Yes,
            (false, Some(_)) => MaySend::NotYet,
            (false, None) => MaySend::NoMore,
        }
    }

    /// A session has made progress.
    pub(super) fn progress(&self, number: u64) {
        let mut state = self.lock();
        let now = state.now(Instant::now());
        state.queue.progress(now, number);
    }

    /// A session is over.
    pub(super) fn leave(&self, number: u64) {
        let mut state = self.lock();
        state.members.remove(&number);
        state.queue.leave(number);
        drop(state);
        self.turn(Instant::now());
    }

    /// What a person sees of them.
    pub(super) fn board(&self) -> Board {
        let state = self.lock();
        let places = (state.queue.places(), state.queue.running());
        let member = |(number, member): (&u64, &Member)| {
            (*number, state.queue.ahead(*number), member.visitor.clone(), member.session.clone())
        };
        let mut members: Vec<_> = state.members.iter().map(member).collect();
        drop(state);
        members.sort_by_key(|(number, ..)| *number);
        let sessions = members.into_iter().map(|(_, ahead, visitor, session)| {
            let snapshot = session.and_then(|session| session.snapshot(Way::In, false));
            let files = visitor.ledger.files();
            ServedSession {
                peer: visitor.name,
                ahead,
                rate: snapshot.map_or(0.0, |snapshot| snapshot.rate),
                judged: boards::judged(&files),
                files: files.moving.into_iter().map(boards::under_way).collect(),
            }
        });
        Board::Served(Served { places, sessions: sessions.collect() })
    }

    fn keep_time(&self) {
        loop {
            self.turn(Instant::now());
            let mut state = self.lock();
            let wait = state.arm(Instant::now());
            drop(self.changed.wait_timeout(state, wait).unpoisoned());
        }
    }

    /// Does what follows by now. Nobody loses anything for what was last seen when nobody waited: all are looked at first.
    fn turn(&self, real: Instant) {
        self.look(real);
        let turned = self.lock().turn(real);
        turned.follow(&self.lost);
    }

    /// Sees which have no connection, and when bytes of each came last. That one is held up by this end counts as progress.
    fn look(&self, real: Instant) {
        let state = self.lock();
        let members = state.members.iter();
        let members = members.map(|(number, m)| (*number, m.session.clone(), m.holds_up.clone()));
        let members: Vec<_> = members.collect();
        drop(state);
        // outside of the lock: each has its own
        let seen = members.into_iter().map(|(number, session, holds_up)| {
            let alone = session.as_ref().and_then(Handle::alone_for);
            let still = match holds_up.is_some_and(|holds_up| holds_up()) {
                true => Some(Duration::ZERO),
                false => session.as_ref().map(Handle::still_for),
            };
            (number, alone, still)
        });
        let seen: Vec<_> = seen.collect();
        let mut state = self.lock();
        let now = state.now(real);
        for (number, alone, still) in seen {
            state.queue.seen(now, number, alone);
            still.into_iter().for_each(|still| state.queue.stood_still(now, number, still));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unpoisoned()
    }
}

impl State {
    /// The time of the queue, given the real one.
    fn now(&mut self, real: Instant) -> Instant {
        self.steady.now(real, self.armed)
    }

    /// Sets the clock; how long its thread waits, if nothing happens before. Where nobody is there it waits until somebody
    /// comes.
    fn arm(&mut self, real: Instant) -> Duration {
        let now = self.now(real);
        let is_anybody_there = self.queue.running() + self.queue.waiting() > 0;
        let look = is_anybody_there.then_some(now + TICK);
        // what has fallen due before now is no gap
        let due = self.queue.deadline().map(|at| at.max(now));
        self.armed = look.into_iter().chain(due).min();
        self.armed.map_or(NEVER, |at| at.saturating_duration_since(now))
    }

    /// Tells those that wait what follows; what is to be done with the others.
    fn turn(&mut self, real: Instant) -> Turned {
        let now = self.now(real);
        let mut turned = Turned::default();
        while let Some(turn) = self.queue.poll(now) {
            let session = |number| self.members.get(&number).and_then(|member| member.session.clone());
            match turn {
                Turn::Go(number) => {
                    let out = self.members.get(&number).map(|member| member.visitor.out.clone());
                    turned.going.extend(out.map(|out| (session(number), out)));
                }
                Turn::Wait(number, ahead) => self.tell_place(number, ahead),
                Turn::Lost(number, why) => turned.lost.extend(session(number).map(|session| (session, why))),
            }
        }
        turned
    }

    /// How many are ahead of one that waits, which may not read what it is told.
    fn tell_place(&self, number: u64, ahead: usize) {
        if let Some(member) = self.members.get(&number) {
            member.visitor.out.say_if_few_wait(SESSION, &Down::Wait(ahead as u32));
        }
    }
}

/// What follows from time, or from one that has left.
#[derive(Default)]
struct Turned {
    /// They have got a place, and are to hear of it. One that is not known yet is told what else there is to know when it
    /// is introduced.
    going: Vec<(Option<Handle>, Arc<Outbox>)>,
    /// They have lost their place or their turn, and why.
    lost: Vec<(Handle, Lost)>,
}

impl Turned {
    /// Outside of the lock: a session may call back.
    fn follow(self, [stalled, away]: &[String; 2]) {
        // first: a sender that sends meanwhile is refused that, and is to hear the reason
        for (session, why) in self.lost {
            let why = match why {
                Lost::Stalled => stalled,
                Lost::Away => away,
            };
            stop(&session, why);
        }
        for (session, out) in self.going {
            // its other connections are let in before it hears that they are
            session.iter().for_each(Handle::use_all);
            out.say(SESSION, &Down::Go(Vec::new()));
        }
    }
}

/// Ends a session, outside of the lock: that may call back.
fn stop(session: &Handle, why: &str) {
    session.stop(&Outcome::here(Status::Incomplete, why));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Start;

    const HOUR: Duration = Duration::from_secs(3600);

    fn places(places: usize) -> (Arc<Places>, impl FnMut() -> u64) {
        let bounds = Bounds { places, waiting: 8, of_one_key: 8, stall: HOUR, away: HOUR };
        let places = Places::without_clock(bounds);
        let out = Outbox::new().unwrap();
        let visitor = Visitor { name: "a".into(), out, ledger: Ledger::new() };
        let comes = places.clone();
        (places, move || comes.arrive(None, &visitor).unwrap())
    }

    impl Places {
        fn has_place(&self, number: u64) -> bool {
            self.may_send(number) == MaySend::Yes
        }

        /// Nothing whole has come of that one for two hours.
        fn silence(&self, number: u64) {
            self.lock().queue.progress(Instant::now() - 2 * HOUR, number);
        }

        fn hold_up(&self, number: u64) {
            self.lock().members.get_mut(&number).unwrap().holds_up = Some(Arc::new(|| true));
        }
    }

    #[test]
    fn one_that_is_held_up_here_keeps_its_place_and_one_that_says_nothing_does_not() {
        let (places, mut comes) = places(1);
        let (first, second) = (comes(), comes());
        places.silence(first);
        places.turn(Instant::now());
        assert_eq!([first, second].map(|number| places.has_place(number)), [false, true]);
        places.hold_up(second);
        let third = comes();
        places.silence(second);
        places.turn(Instant::now());
        assert_eq!([second, third].map(|number| places.has_place(number)), [true, false]);
    }

    #[test]
    fn one_of_which_bytes_come_keeps_its_place_though_nothing_whole_does() {
        let (places, mut comes) = places(1);
        let (first, _second) = (comes(), comes());
        // the bytes of its stream came just now, as far as that one knows
        places.introduce(first, Start::to_nowhere().handle(), Arc::new(|| false));
        places.silence(first);
        places.turn(Instant::now());
        assert!(places.has_place(first));
    }

    #[test]
    fn one_that_has_lost_its_place_is_told_from_one_that_waits() {
        let (places, mut comes) = places(1);
        let all = [(); 3].map(|()| comes());
        let may_send = || all.map(|number| places.may_send(number));
        assert_eq!(may_send(), [MaySend::Yes, MaySend::NotYet, MaySend::NotYet]);
        places.silence(all[0]);
        places.turn(Instant::now());
        assert_eq!(may_send(), [MaySend::NoMore, MaySend::Yes, MaySend::NotYet]);
    }

    #[test]
    fn whoever_leaves_takes_no_place_from_one_that_was_held_up_while_nobody_waited() {
        let (places, mut comes) = places(2);
        let [held_up, leaves] = [(); 2].map(|()| comes());
        places.hold_up(held_up);
        let [third, fourth] = [(); 2].map(|()| comes());
        places.silence(held_up);
        places.leave(leaves);
        assert_eq!([held_up, third, fourth].map(|number| places.has_place(number)), [true, true, false]);
    }

    #[test]
    fn time_in_which_this_process_did_not_run_takes_no_place_though_nobody_waited_then() {
        let (places, mut comes) = places(1);
        let first = comes();
        let mut real = Instant::now();
        places.lock().arm(real);
        real += 2 * HOUR;
        let out = Outbox::new().unwrap();
        let visitor = Visitor { name: "b".into(), out, ledger: Ledger::new() };
        let second = places.arrive_at(real, None, &visitor).unwrap();
        places.turn(real);
        assert_eq!([first, second].map(|number| places.has_place(number)), [true, false]);
        places.leave(first);
        places.leave(second);
        assert_eq!(places.lock().arm(real), NEVER, "nobody is there");
    }

    #[test]
    fn time_in_which_this_process_did_not_run_takes_no_place() {
        let (places, mut comes) = places(1);
        let both = [(); 2].map(|()| comes());
        let has_place = || both.map(|number| places.has_place(number));
        let mut real = Instant::now();
        places.lock().arm(real);
        real += 2 * HOUR;
        places.turn(real);
        assert_eq!(has_place(), [true, false]);
        // an hour that passes as it should is another matter
        for _ in 0..3600 {
            places.lock().arm(real);
            real += TICK;
            places.turn(real);
        }
        assert_eq!(has_place(), [false, true]);
    }
}
