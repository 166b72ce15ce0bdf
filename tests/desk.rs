//! The desk under every order of its threads that a scheduler can think of: two connections, an input, an output and the
//! clock around a core that only counts. What is posted is never left, and never out of order. Nobody who waits is
//! forgotten. Nothing that takes time is done under the lock, and no thread that holds a writer waits for another one.
//!
//! The desk's own source is compiled here with other locks in place of the standard ones, and with the clock of the
//! model; see `src/sync.rs` and `tests/desk/sync.rs`.
//! A failing schedule is printed, and replays with `shuttle::replay`.

// of the desk's parts this uses some
#![allow(dead_code)]
#![allow(unreachable_pub)]

mod proto {
    pub use millipede::proto::*;
}

#[path = "../src/session"]
mod session {
    pub mod desk;
    pub mod orders;
}

#[path = "desk/sync.rs"]
mod sync;

use proto::event::Event;
use proto::hello::{FarEnd, Features, Hello, Id};
use proto::leg::{Leg, Payload};
use proto::session::Action;
use proto::set::ConnectionSet;
use proto::way::Way;
use session::desk::{Desk, Reach};
use session::orders::{Audience, Core, Delivery, Hunger, News, Order, Standing, Ticket};
use shuttle::rand::{Rng, thread_rng};
use std::cell::Cell;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use sync::{Arc, assert_unlocked};

/// Legs that go through.
const LEGS: u64 = 3;
const CONNECTIONS: usize = 2;
const SCHEDULES: usize = 3000;
/// So late the clock may be: it looks at least this often while there is news.
const GRAIN: Duration = Duration::from_millis(20);
/// So long after the last leg was delivered the session is over, by the clock.
const LINGER: Duration = Duration::from_millis(100);
/// What is due at first, and never comes.
const HOUR: Duration = Duration::from_secs(3600);

/// The bytes of a leg. They may not be given back under the lock.
struct Bytes([u8; 1]);

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        assert_unlocked("payload is dropped");
    }
}

fn payload() -> Payload {
    std::sync::Arc::new(Bytes([7]))
}

/// What is written on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    Leg(u64),
    /// A leg has left on the other connection.
    Word,
}

/// Gives each piece of the input to a connection in turn, and what comes back to the output.
#[derive(Default)]
struct Counting {
    /// Legs that the input has given; those that a connection has brought; those of which that was noted.
    given: u64,
    came: u64,
    noted: u64,
    delivered: u64,
    /// What waits to be written, by connection, each with its number among all that was posted.
    mail: [VecDeque<(u64, Written)>; CONNECTIONS],
    mailed: u64,
    posted: ConnectionSet,
    actions: VecDeque<Action>,
    freed: Vec<Payload>,
    /// News for the audience there have been.
    said: u64,
    /// What follows from the first tick.
    first: Option<Action>,
    met: bool,
    due: Option<Instant>,
}

impl Counting {
    fn meet(&mut self) {
        if !std::mem::replace(&mut self.met, true) {
            let far = FarEnd { features: Features::NONE, buffer: 1 << 20 };
            self.actions.push_back(Action::Met(Way::Out, far));
        }
    }

    /// Something for the audience, with its number.
    fn say(&mut self) {
        self.actions.push_back(Action::Tell(Event::Rescued { sequence: self.said, connection: 0 }));
        self.said += 1;
    }

    fn mail(&mut self, connection: usize, what: Written) {
        self.mail[connection].push_back((self.mailed, what));
        self.mailed += 1;
        self.posted.insert(connection);
    }

    fn input(&mut self) {
        assert!(self.hunger() >= Hunger::Free, "nobody wants a leg");
        self.mail((self.given % CONNECTIONS as u64) as usize, Written::Leg(self.given));
        self.given += 1;
    }

    /// A leg has left: the other connection has a word to say about it.
    fn sent(&mut self, connection: usize) {
        self.mail((connection + 1) % CONNECTIONS, Written::Word);
    }

    /// A leg has come, and a copy of it that is of no use.
    fn came(&mut self, which: u64) {
        self.freed.push(payload());
        self.say();
        // numbered in the order in which they are for the output
        self.actions.push_back(Action::Deliver(Leg::new(self.came, which, payload())));
        self.came += 1;
    }

    fn delivered(&mut self, now: Instant, legs: u64) {
        self.delivered += legs;
        if self.delivered == LEGS {
            self.due = Some(now + LINGER);
        }
    }
}

impl Core for Counting {
    fn enter(&mut self, _: Instant) {}
    fn tick(&mut self, now: Instant) {
        self.actions.extend(self.first.take());
        if let Some(due) = self.due.take_if(|due| *due <= now) {
            assert!(now <= due + GRAIN, "the clock is late by {:?}", now - due);
            self.actions.push_back(Action::Over);
        }
    }
    fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
    fn take_posted(&mut self) -> ConnectionSet {
        std::mem::take(&mut self.posted)
    }
    fn take_freed(&mut self) -> Vec<Payload> {
        std::mem::take(&mut self.freed)
    }
    fn deadline(&self, _: Instant) -> Option<Instant> {
        self.due
    }
    fn hunger(&self) -> Hunger {
        match (self.given, self.given - self.noted) {
            (LEGS, _) => Hunger::Sated,
            (_, 0) => Hunger::Idle,
            (_, 1) => Hunger::Free,
            _ => Hunger::None,
        }
    }
}

/// A bell that threads wait for.
#[derive(Default)]
struct Bell {
    rung: shuttle::sync::Mutex<bool>,
    heard: shuttle::sync::Condvar,
}

impl Bell {
    fn ring(&self) {
        assert_unlocked("a bell");
        *self.rung.lock().unwrap() = true;
        self.heard.notify_all();
    }

    fn wait(&self) {
        let mut rung = self.rung.lock().unwrap();
        while !std::mem::take(&mut *rung) {
            rung = self.heard.wait(rung).unwrap();
        }
    }
}

shuttle::thread_local! {
    /// Whether this thread holds the writer of a connection.
    static WRITES: Cell<bool> = Cell::new(false);
}

/// A connection whose wire is a list.
#[derive(Default)]
struct Wire {
    bell: Bell,
    ticket: shuttle::sync::Mutex<Option<Ticket>>,
    written: shuttle::sync::Mutex<Vec<(u64, Written)>>,
}

impl Wire {
    /// Takes one thing after another and writes it, as the real writer does: with its lock, without the desk's.
    fn flush(&self, desk: &TestDesk) {
        let Some(ticket) = *self.ticket.lock().unwrap() else { return };
        assert!(!WRITES.with(Cell::get), "a thread that holds one writer waits for another");
        let mut written = self.written.lock().unwrap();
        WRITES.with(|writes| writes.set(true));
        while let Some(Some(piece)) = desk.peek_as(ticket, |core| core.mail[ticket.connection].pop_front()) {
            written.push(piece);
            if let (_, Written::Leg(_)) = piece {
                desk.tell_writing(ticket, |core, _| core.sent(ticket.connection));
            }
        }
        WRITES.with(|writes| writes.set(false));
    }
}

impl Reach<Counting> for Wire {
    fn wake(&self) {
        self.bell.ring();
    }

    fn nudge(&self, desk: &TestDesk) {
        assert_unlocked("a connection is written");
        self.flush(desk);
        // the far end, which is the owner here, has something to read
        self.bell.ring();
    }
}

/// What wakes the threads of the input and of the output.
#[derive(Default)]
struct Bells {
    input: Bell,
    output: Bell,
}

/// The bells, and the numbers of what was heard.
#[derive(Clone, Default)]
struct Crew(Arc<Bells>, Arc<shuttle::sync::Mutex<Vec<u64>>>);

impl Audience for Crew {
    fn rouse_output(&self, _: bool) {
        self.0.output.ring();
    }
    fn rouse_input(&self) {
        self.0.input.ring();
    }
    fn hear(&self, news: News) {
        assert_unlocked("a line for the user");
        if let News::Tell(Event::Rescued { sequence, .. }) = news {
            self.1.lock().unwrap().push(sequence);
        }
    }
}

type TestDesk = Desk<Counting, Wire>;

/// The owner of a connection: writes what waits, and reads at the far end what was written there.
fn own(desk: &TestDesk, wire: &Arc<Wire>, ticket: Ticket) {
    let mut read = 0;
    loop {
        wire.flush(desk);
        let news = wire.written.lock().unwrap()[read..].to_vec();
        read += news.len();
        for (_, piece) in news {
            let Written::Leg(which) = piece else { continue };
            assert_eq!(which as usize % CONNECTIONS, ticket.connection, "on the wrong connection");
            // the input is wanted then; in some schedules nothing else follows, and it is only noted
            let notes = thread_rng().gen_bool(0.5);
            desk.tell_as(ticket, |core, _| {
                core.came(which);
                core.noted += u64::from(!notes);
            });
            if notes {
                desk.note_as(ticket, |core| core.noted += 1);
            }
        }
        if desk.standing(ticket).0 == Standing::Finishing {
            wire.flush(desk);
            return desk.closed(ticket.connection, wire, true);
        }
        wire.bell.wait();
    }
}

/// Reads whenever a leg is wanted, until none is any more.
fn input(desk: &TestDesk, bell: &Bell) {
    while desk.has_met() == Some(false) {
        bell.wait();
    }
    while let Some(hunger) = desk.hunger() {
        match hunger {
            Hunger::Idle | Hunger::Free => desk.tell(|core, _| core.input()),
            Hunger::None | Hunger::Sated => bell.wait(),
        }
    }
}

fn output(desk: &TestDesk, bell: &Bell) -> Vec<Leg> {
    let mut taken = Vec::new();
    loop {
        match desk.take_output(2, u64::MAX) {
            Delivery::Legs(legs) => {
                let count = legs.len() as u64;
                taken.extend(legs);
                desk.tell(|core, now| core.delivered(now, count));
            }
            Delivery::Nothing => bell.wait(),
            Delivery::Close | Delivery::Over => return taken,
        }
    }
}

fn play() {
    sync::restart();
    let crew = Crew::default();
    let bells = crew.0.clone();
    let core = Counting { due: Some(sync::now() + HOUR), ..Counting::default() };
    let desk = Arc::new(TestDesk::new(core, Box::new(crew.clone())));
    let wires: Vec<Arc<Wire>> = (0..CONNECTIONS).map(|_| Arc::default()).collect();
    let owners: Vec<_> = (0..CONNECTIONS)
        .map(|connection| {
            let (desk, wire, heard) = (desk.clone(), wires[connection].clone(), crew.1.clone());
            shuttle::thread::spawn(move || {
                let mut said = 0;
                let come = |core: &mut Counting, _| {
                    core.meet();
                    core.say();
                    said = core.said;
                    Ok::<_, ()>(connection)
                };
                let ticket = desk.admit(wire.clone(), come).unwrap();
                assert!(heard.lock().unwrap().len() as u64 >= said, "nobody has heard of it");
                *wire.ticket.lock().unwrap() = Some(ticket);
                own(&desk, &wire, ticket);
            })
        })
        .collect();
    let reader = {
        let (desk, bells) = (desk.clone(), bells.clone());
        shuttle::thread::spawn(move || input(&desk, &bells.input))
    };
    let writer = {
        let (desk, bells) = (desk.clone(), bells.clone());
        shuttle::thread::spawn(move || output(&desk, &bells.output))
    };
    desk.keep_time();
    let taken = writer.join().unwrap();
    reader.join().unwrap();
    owners.into_iter().for_each(|owner| owner.join().unwrap());
    all_came(&crew, &wires, &taken);
}

/// Every leg and every word has come once, and in order.
fn all_came(crew: &Crew, wires: &[Arc<Wire>], taken: &[Leg]) {
    let said = LEGS + CONNECTIONS as u64;
    assert!(crew.1.lock().unwrap().iter().copied().eq(0..said), "each in order: {:?}", crew.1);
    let mut words = 0;
    for wire in wires {
        let written = wire.written.lock().unwrap();
        assert!(written.windows(2).all(|pair| pair[0].0 < pair[1].0), "out of order: {written:?}");
        words += written.iter().filter(|(_, what)| *what == Written::Word).count() as u64;
    }
    assert_eq!(words, LEGS, "each word is written");
    assert!(taken.iter().map(|leg| leg.sequence).eq(0..LEGS), "each in order: {taken:?}");
    let mut which: Vec<u64> = taken.iter().map(|leg| leg.offset).collect();
    which.sort_unstable();
    assert_eq!(which, (0..LEGS).collect::<Vec<_>>(), "each exactly once");
}

/// The session is over as soon as its connection is up. Its last word is written by the thread that is still on its way
/// to the connection.
fn part() {
    sync::restart();
    let desk = Arc::new(TestDesk::new(Counting::default(), Box::new(Crew::default())));
    let wire = Arc::new(Wire::default());
    desk.seat(0, wire.clone());
    let hello = Box::new(Hello::of(Id::new([7; 16]), Features::NONE, 1 << 20));
    let dial = Action::Dial { connection: 0, link: 0, hello, timeout: Duration::ZERO, segment: None };
    desk.peek(|core| core.first = Some(dial));
    // before any thread runs
    desk.begin();
    let (its, line) = (desk.clone(), wire.clone());
    let owner = shuttle::thread::spawn(move || {
        let Some(Order::Dial { ticket, .. }) = its.take_order(0) else { panic!("nothing to dial") };
        let told = its.connected(ticket, |core, _| {
            core.input();
            core.actions.push_back(Action::Over);
        });
        assert!(told.is_some());
        *line.ticket.lock().unwrap() = Some(ticket);
        line.flush(&its);
        its.closed(0, &line, false);
    });
    desk.keep_time();
    desk.see_off(HOUR, HOUR, |open, _| open == 0);
    let last = [(0, Written::Leg(0))];
    assert_eq!(*wire.written.lock().unwrap(), last, "the process would have ended without its last word");
    owner.join().unwrap();
}

/// Connections that are let in and lost at once, beside a thread with other news: whoever lost one goes on when the
/// audience has heard of that.
fn come_and_go() {
    sync::restart();
    let crew = Crew::default();
    let desk = Arc::new(TestDesk::new(Counting::default(), Box::new(crew.clone())));
    desk.begin();
    let guests = (0..CONNECTIONS).map(|connection| {
        let (desk, heard) = (desk.clone(), crew.1.clone());
        shuttle::thread::spawn(move || {
            let ticket = desk.admit(Arc::new(Wire::default()), |_, _| Ok::<_, ()>(connection)).unwrap();
            let mut said = 0;
            desk.lose(ticket, |core, _| {
                core.say();
                said = core.said;
            });
            assert!(heard.lock().unwrap().len() as u64 >= said, "nobody has heard of it");
        })
    });
    let guests: Vec<_> = guests.collect();
    (0..2).for_each(|_| desk.tell(|core, _| core.say()));
    guests.into_iter().for_each(|guest| guest.join().unwrap());
    let said = CONNECTIONS as u64 + 2;
    assert!(crew.1.lock().unwrap().iter().copied().eq(0..said), "each in order: {:?}", crew.1);
}

#[test]
fn whoever_loses_a_connection_goes_on_when_that_was_heard() {
    shuttle::check_random(come_and_go, SCHEDULES);
}

#[test]
fn nobody_leaves_before_the_last_word_of_a_connection_that_has_just_come_up() {
    shuttle::check_random(part, SCHEDULES);
}

#[test]
fn what_is_posted_is_never_left_and_never_out_of_order() {
    shuttle::check_random(play, SCHEDULES);
}

#[test]
fn nor_where_one_thread_is_far_behind() {
    shuttle::check_pct(play, SCHEDULES, 3);
}
