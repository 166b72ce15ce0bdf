//! What polls say of sockets, on its way from thread to thread, under every order of the threads that a scheduler can think
//! of: none of it is lost, so that nobody waits for ever, and what may be left to a thread is bounded.
//!
//! The sources of `Drain`, `Handover` and `Loans` are compiled here with other locks and flags in place of the standard ones; see
//! `src/sync.rs`. A failing schedule is printed, and replays with `shuttle::replay`.

// what is pub for the library is reached from here alone
#![allow(unreachable_pub)]

#[path = "../src/sync/poison.rs"]
mod poison;

mod sync {
    pub(crate) use super::poison::Unpoisoned;
    pub use shuttle::sync::atomic::{AtomicBool, Ordering};
    pub use shuttle::sync::{Arc, Condvar, Mutex, MutexGuard};
}

#[path = "../src/session/connection"]
mod connection {
    pub mod drain;
}

#[path = "../src/endpoint/tunnel"]
mod tunnel {
    pub mod handover;
    pub mod loan;
}

use connection::drain::Drain;
use mio::Token;
use std::collections::VecDeque;
use sync::{Arc, AtomicBool, Condvar, Mutex, Ordering};
use tunnel::handover::{Handover, LEFT_MAX, Seen};
use tunnel::loan::Loans;

const SCHEDULES: usize = 5000;

/// What wakes a thread, with what it has to look at.
struct Bell<T> {
    rung: Mutex<VecDeque<T>>,
    heard: Condvar,
}

impl<T> Default for Bell<T> {
    fn default() -> Self {
        Bell { rung: Mutex::new(VecDeque::new()), heard: Condvar::new() }
    }
}

impl<T> Bell<T> {
    fn ring(&self, what: T) {
        self.rung.lock().unwrap().push_back(what);
        self.heard.notify_all();
    }

    fn wait(&self) -> VecDeque<T> {
        let mut rung = self.rung.lock().unwrap();
        while rung.is_empty() {
            rung = self.heard.wait(rung).unwrap();
        }
        std::mem::take(&mut *rung)
    }
}

// ---- a connection's socket, its owner, and whoever writes ---------------------------------------------------

/// Pieces that are written in all, by as many threads as there are posts.
const POSTS: [usize; 2] = [2, 1];

/// What wakes the owner of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Called {
    /// The poll says that the socket takes more.
    Drains,
    /// All was taken.
    Done,
}

/// Takes one piece at a time, and speaks when it takes more after it has refused one, as an edge-triggered poll does.
#[derive(Default)]
struct Socket {
    full: bool,
    refused: bool,
    taken: usize,
}

/// The writing half of a connection.
#[derive(Default)]
struct Writer {
    writable: bool,
}

#[derive(Default)]
struct Connection {
    drain: Drain,
    socket: Mutex<Socket>,
    filled: Condvar,
    mailbox: Mutex<usize>,
    writer: Mutex<Writer>,
    owner: Bell<Called>,
}

impl Connection {
    /// Whether the socket takes a piece.
    fn write(&self) -> bool {
        let mut socket = self.socket.lock().unwrap();
        socket.refused |= socket.full;
        let takes = !std::mem::replace(&mut socket.full, true);
        self.filled.notify_all();
        takes
    }

    /// As the real writer does: until nothing waits, or the socket is full and the poll has not spoken meanwhile.
    fn flush(&self) {
        let mut writer = self.writer.lock().unwrap();
        writer.writable |= self.drain.hear();
        loop {
            self.write_on(&mut writer);
            if !self.drain.wait(!writer.writable) {
                return;
            }
            writer.writable = true;
        }
    }

    fn write_on(&self, writer: &mut Writer) {
        while writer.writable && *self.mailbox.lock().unwrap() > 0 {
            if self.write() {
                *self.mailbox.lock().unwrap() -= 1;
            } else {
                writer.writable = false;
            }
        }
    }

    /// The far end takes what the socket holds.
    fn empty(&self) {
        let all = POSTS.iter().sum();
        let mut socket = self.socket.lock().unwrap();
        while socket.taken < all {
            while !socket.full {
                socket = self.filled.wait(socket).unwrap();
            }
            (socket.full, socket.taken) = (false, socket.taken + 1);
            if std::mem::take(&mut socket.refused) {
                self.owner.ring(Called::Drains);
            }
        }
        self.owner.ring(Called::Done);
    }

    /// The owner of the connection: it waits for nothing but the poll.
    fn own(&self) {
        loop {
            let called = self.owner.wait();
            if called.contains(&Called::Done) {
                return;
            }
            if self.drain.say() {
                self.flush();
            }
        }
    }
}

fn write() {
    let connection = Arc::new(Connection::default());
    connection.writer.lock().unwrap().writable = true;
    let run = |act: fn(&Connection)| {
        let connection = connection.clone();
        shuttle::thread::spawn(move || act(&connection))
    };
    let mut threads = vec![run(Connection::own), run(Connection::empty)];
    for pieces in POSTS {
        let connection = connection.clone();
        threads.push(shuttle::thread::spawn(move || {
            for _ in 0..pieces {
                *connection.mailbox.lock().unwrap() += 1;
                connection.flush();
            }
        }));
    }
    // who waits for a word that was lost waits for ever, which the scheduler notices
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(*connection.mailbox.lock().unwrap(), 0, "left for the owner, who was not told");
}

#[test]
fn no_word_of_the_poll_is_lost_on_its_way_to_the_writer() {
    shuttle::check_random(write, SCHEDULES);
    shuttle::check_pct(write, SCHEDULES, 3);
}

#[test]
fn of_two_at_once_one_knows_of_the_other() {
    let play = || {
        let drain = Arc::new(Drain::default());
        let its = drain.clone();
        let owner = shuttle::thread::spawn(move || its.say());
        let writer = drain.wait(true);
        assert!(owner.join().unwrap() || writer);
    };
    shuttle::check_dfs(play, None);
}

#[test]
fn whoever_comes_second_knows_of_the_first() {
    let play = || {
        let drain = Drain::default();
        assert!(!drain.wait(true) && drain.say() && drain.hear(), "the writer waited before");
        assert!(!drain.wait(false) && !drain.say(), "nobody waits");
        assert!(drain.wait(true) && !drain.wait(true), "the poll had spoken before, once");
    };
    shuttle::check_dfs(play, None);
}

// ---- local sockets, the thread that polls, and one that writes ------------------------------------------------

/// Events of local sockets.
const EVENTS: usize = 3;

fn seen(token: usize) -> Seen {
    Seen { readable: true, ..Seen::nothing(Token(token)) }
}

fn tokens(left: &[Seen]) -> Vec<usize> {
    left.iter().map(|seen| seen.token.0).collect()
}

#[derive(Default)]
struct Local {
    handover: Handover,
    /// The lock of the local side: what was attended to.
    attended: Mutex<Vec<usize>>,
    poll: Bell<Seen>,
}

impl Local {
    fn attend(&self, seen: &[Seen]) {
        self.attended.lock().unwrap().extend(tokens(seen));
    }

    /// The thread that polls.
    fn serve(&self) {
        let mut polled = 0;
        while polled < EVENTS {
            let events: Vec<Seen> = self.poll.wait().into();
            polled += events.len();
            if !self.handover.leave(events.iter().copied()) {
                self.attend(&events);
            }
        }
    }

    /// The stream's sink.
    fn write(&self) {
        for _ in 0..2 {
            self.handover.begin();
            drop(self.attended.lock().unwrap());
            let left = self.handover.end();
            if !left.is_empty() {
                self.attend(&left);
            }
        }
    }
}

fn hand_over() {
    let local = Arc::new(Local::default());
    let run = |act: fn(&Local)| {
        let local = local.clone();
        shuttle::thread::spawn(move || act(&local))
    };
    let threads = [
        run(Local::serve),
        run(Local::write),
        run(|local| (0..EVENTS).for_each(|token| local.poll.ring(seen(token)))),
    ];
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let mut attended = local.attended.lock().unwrap().clone();
    attended.sort_unstable();
    assert_eq!(attended, (0..EVENTS).collect::<Vec<_>>(), "each exactly once");
    assert_eq!(local.handover.end(), [], "left to nobody");
}

#[test]
fn what_the_poll_says_is_attended_to_once_by_whoever_it_may_be() {
    shuttle::check_random(hand_over, SCHEDULES);
    shuttle::check_pct(hand_over, SCHEDULES, 3);
}

#[test]
fn what_is_left_while_somebody_writes_is_taken_once() {
    let play = || {
        let handover = Handover::default();
        assert!(!handover.leave([seen(1)].into_iter()), "nobody would take it");
        handover.begin();
        assert!(handover.leave([seen(2)].into_iter()) && handover.leave([seen(3)].into_iter()));
        assert_eq!(tokens(&handover.end()), [2, 3]);
        assert!(!handover.leave([seen(4)].into_iter()));
        handover.begin();
        assert_eq!(handover.end(), []);
    };
    shuttle::check_dfs(play, None);
}

#[test]
fn no_more_is_left_than_one_look_of_the_poll_brings() {
    let play = || {
        let handover = Handover::default();
        handover.begin();
        assert!(handover.leave((1..LEFT_MAX).map(seen)));
        assert!(!handover.leave([seen(0), seen(1)].into_iter()), "there is room for one");
        assert!(handover.leave([seen(0)].into_iter()), "nothing of the two was left");
        assert!(!handover.leave([seen(0)].into_iter()));
        assert_eq!(handover.end().len(), LEFT_MAX);
    };
    shuttle::check_dfs(play, None);
}

// ---- the poll of the local sockets, its own thread, and those that borrow it -------------------------------------

/// How often threads borrow the poll.
const LOANS: [usize; 2] = [2, 1];

/// Whose poll: the own thread's, behind those of the borrowers.
const OWN: usize = LOANS.len();

/// A poll, and what the polls in which it is registered have to say of it.
#[derive(Default)]
struct Ready {
    events: usize,
    /// By thread; None where it is not registered.
    told: [Option<bool>; OWN + 1],
    /// By thread: its poll is just finding out whether the lent poll has anything. Some kernels tell whoever looks at that
    /// moment that there is nothing.
    asks: [bool; OWN + 1],
    attended: usize,
    /// The own thread was woken.
    called: bool,
    /// No further events come.
    last: bool,
}

#[derive(Default)]
struct Lent {
    loans: Loans,
    ready: Mutex<Ready>,
    news: Condvar,
    /// Borrowers keep the poll until somebody borrows it from them, or all is attended to.
    patient: bool,
    over: AtomicBool,
}

impl Lent {
    fn change(&self, change: impl FnOnce(&mut Ready)) {
        change(&mut self.ready.lock().unwrap());
        self.news.notify_all();
    }

    fn register(&self, thread: usize, hears: bool) {
        self.change(|ready| ready.told[thread] = hears.then_some(ready.events > 0));
    }

    /// Waits in a poll, which says nothing of events that somebody has looked at before.
    fn wait(&self, thread: usize) {
        let mut ready = self.ready.lock().unwrap();
        loop {
            let told = ready.told[thread].as_mut().is_some_and(std::mem::take) && ready.events > 0;
            let called = thread == OWN && std::mem::take(&mut ready.called);
            let enough = if self.patient { ready.attended == EVENTS } else { ready.last };
            if told || called || (thread != OWN && enough) {
                ready.asks[thread] = told;
                break;
            }
            ready = self.news.wait(ready).unwrap();
        }
        drop(ready);
        self.change(|ready| ready.asks[thread] = false);
    }

    fn look(&self) {
        self.change(|ready| {
            if !ready.asks.contains(&true) {
                ready.attended += std::mem::take(&mut ready.events);
            }
        });
    }

    /// Wakes whoever has the poll.
    fn wake(&self) {
        self.change(|ready| ready.told.iter_mut().flatten().for_each(|told| *told = true));
    }

    fn call(&self) {
        self.change(|ready| ready.called = true);
    }

    /// The poll's own thread.
    fn serve(&self) {
        let mut hears = false;
        while !self.over.load(Ordering::SeqCst) {
            let (lent, _) = self.loans.own_turn();
            if hears == lent {
                hears = !lent;
                self.register(OWN, hears);
            }
            self.wait(OWN);
            self.look();
        }
    }

    /// A connection's thread.
    fn borrow(&self, own: usize) {
        for _ in 0..LOANS[own] {
            self.register(own, true);
            let loan = self.loans.begin();
            self.look();
            loop {
                self.wait(own);
                let is_current = self.loans.is_current(loan);
                if is_current {
                    self.look();
                }
                if !is_current || !self.patient || self.ready.lock().unwrap().attended == EVENTS {
                    break;
                }
            }
            self.register(own, false);
            match self.loans.end(loan) {
                true => self.call(),
                false => self.wake(),
            }
        }
    }

    fn happen(&self) {
        for event in 1..=EVENTS {
            self.change(|ready| {
                ready.events += 1;
                ready.last = event == EVENTS;
                ready.told.iter_mut().flatten().for_each(|told| *told = true);
            });
        }
    }
}

fn lend(patient: bool) {
    let lent = Arc::new(Lent { patient, ..Lent::default() });
    let run = |act: fn(&Lent)| {
        let lent = lent.clone();
        shuttle::thread::spawn(move || act(&lent))
    };
    let own = run(Lent::serve);
    let others = [run(|lent| lent.borrow(0)), run(|lent| lent.borrow(1)), run(Lent::happen)];
    others.into_iter().for_each(|thread| thread.join().unwrap());
    // whatever the borrowers have not attended to is the own thread's now
    let mut ready = lent.ready.lock().unwrap();
    while ready.attended < EVENTS {
        ready = lent.news.wait(ready).unwrap();
    }
    drop(ready);
    lent.over.store(true, Ordering::SeqCst);
    lent.call();
    own.join().unwrap();
}

#[test]
fn a_poll_that_is_lent_is_heard_by_whoever_has_it() {
    for patient in [false, true] {
        shuttle::check_random(move || lend(patient), SCHEDULES);
        shuttle::check_pct(move || lend(patient), SCHEDULES, 3);
    }
}

#[test]
fn the_last_that_borrows_the_poll_has_it_until_it_gives_it_back() {
    let play = || {
        let loans = Loans::default();
        let until = Some(std::time::Instant::now());
        assert!(!loans.set_until(until) && loans.until() == until, "the own thread sets it itself");
        let first = loans.begin();
        assert!(loans.is_current(first) && loans.own_turn() == (true, until));
        let second = loans.begin();
        assert!(loans.is_current(second) && !loans.is_current(first));
        assert!(!loans.end(first) && loans.is_current(second), "an earlier loan does not end a later one");
        assert!(!loans.set_until(until) && loans.set_until(None), "only another time is news");
        assert!(loans.end(second) && loans.own_turn() == (false, None));
        assert!(!loans.end(second));
    };
    shuttle::check_dfs(play, None);
}
