//! The desk under every order of its threads that a scheduler can think of: two connections, an input and an output
//! around a core that only counts. What is posted is never left, and never out of order.
//!
//! The desk's own source is compiled here with other locks in place of the standard ones; see `src/sync.rs`.
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

mod sync {
    pub use shuttle::sync::{Arc, Condvar, Mutex, MutexGuard};
    pub use std::sync::PoisonError;
}

use proto::hello::{Features, Hello, Id};
use proto::leg::{Leg, Payload};
use proto::session::Action;
use proto::set::ConnectionSet;
use session::desk::{Desk, Reach};
use session::orders::{Audience, Core, Delivery, Hunger, News, Order, Standing, Ticket};
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use sync::{Arc, Condvar, Mutex};

/// Legs that go through.
const LEGS: u64 = 3;
const CONNECTIONS: usize = 2;
const SCHEDULES: usize = 3000;

/// Gives each piece of the input to a connection in turn, and what comes back to the output.
#[derive(Default)]
struct Counting {
    given: u64,
    /// Pieces that wait to be written, by connection.
    mail: [VecDeque<u64>; CONNECTIONS],
    posted: ConnectionSet,
    actions: VecDeque<Action>,
    /// What follows from the first tick.
    first: Option<Action>,
    delivered: u64,
}

impl Counting {
    fn input(&mut self) {
        let connection = (self.given % CONNECTIONS as u64) as usize;
        self.mail[connection].push_back(self.given);
        self.posted.insert(connection);
        self.given += 1;
    }

    fn came(&mut self, sequence: u64) {
        self.actions.push_back(Action::Deliver(Leg::new(sequence, sequence, std::sync::Arc::new([7u8]))));
    }

    fn delivered(&mut self, legs: u64) {
        self.delivered += legs;
        if self.delivered == LEGS {
            self.actions.push_back(Action::Over);
        }
    }
}

impl Core for Counting {
    fn enter(&mut self, _: Instant) {}
    fn tick(&mut self, _: Instant) {
        self.actions.extend(self.first.take());
    }
    fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
    fn take_posted(&mut self) -> ConnectionSet {
        std::mem::take(&mut self.posted)
    }
    fn take_freed(&mut self) -> Vec<Payload> {
        Vec::new()
    }
    fn deadline(&self, _: Instant) -> Option<Instant> {
        None
    }
    fn hunger(&self) -> Hunger {
        Hunger::None
    }
}

/// A bell that threads wait for.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    heard: Condvar,
}

impl Bell {
    fn ring(&self) {
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

/// A connection whose wire is a list.
struct Wire {
    bell: Bell,
    ticket: Mutex<Option<Ticket>>,
    written: Mutex<Vec<u64>>,
}

impl Wire {
    /// Takes one thing after another and writes it, as the real writer does: with its lock, without the desk's.
    fn flush(&self, desk: &Desk<Counting, Wire>) {
        let Some(ticket) = *self.ticket.lock().unwrap() else { return };
        let mut written = self.written.lock().unwrap();
        while let Some(Some(piece)) = desk.peek_as(ticket, |core| core.mail[ticket.place].pop_front()) {
            written.push(piece);
        }
    }
}

impl Reach<Counting> for Wire {
    fn wake(&self) {
        self.bell.ring();
    }

    fn nudge(&self, desk: &Desk<Counting, Wire>) {
        self.flush(desk);
        // the far end, which is the owner here, has something to read
        self.bell.ring();
    }
}

struct Crew(Arc<Bell>);

impl Audience for Crew {
    fn rouse_output(&self, _: bool) {
        self.0.ring();
    }
    fn rouse_input(&self) {}
    fn hear(&self, _: News) {}
}

type TestDesk = Arc<Desk<Counting, Wire>>;

/// The owner of a connection: writes what waits, and reads at the far end what was written there.
fn own(desk: &TestDesk, wire: &Arc<Wire>, ticket: Ticket) {
    let mut read = 0;
    loop {
        wire.flush(desk);
        let news: Vec<u64> = wire.written.lock().unwrap()[read..].to_vec();
        read += news.len();
        assert!(news.iter().all(|piece| *piece as usize % CONNECTIONS == ticket.place), "{news:?}");
        for piece in news {
            desk.tell_as(ticket, |core, _| core.came(piece));
        }
        if desk.standing(ticket).0 == Standing::Finishing {
            return desk.closed(ticket.place, wire, true);
        }
        wire.bell.wait();
    }
}

fn output(desk: &TestDesk, bell: &Bell) -> Vec<u64> {
    let mut taken = Vec::new();
    loop {
        match desk.take_output(2, u64::MAX) {
            Delivery::Legs(legs) => {
                taken.extend(legs.iter().map(|leg| leg.sequence));
                desk.tell(|core, _| core.delivered(legs.len() as u64));
            }
            Delivery::Nothing => bell.wait(),
            Delivery::Close | Delivery::Over => return taken,
        }
    }
}

fn play() {
    let bell = Arc::new(Bell::default());
    let desk: TestDesk = Arc::new(Desk::new(Counting::default(), Box::new(Crew(bell.clone()))));
    let wires: Vec<Arc<Wire>> = (0..CONNECTIONS)
        .map(|_| {
            Arc::new(Wire { bell: Bell::default(), ticket: Mutex::new(None), written: Mutex::default() })
        })
        .collect();
    let owners: Vec<_> = (0..CONNECTIONS)
        .map(|place| {
            let (desk, wire) = (desk.clone(), wires[place].clone());
            shuttle::thread::spawn(move || {
                let ticket = desk.admit(wire.clone(), |_, _| Ok::<_, ()>(place)).unwrap();
                *wire.ticket.lock().unwrap() = Some(ticket);
                own(&desk, &wire, ticket);
            })
        })
        .collect();
    let reader = {
        let desk = desk.clone();
        shuttle::thread::spawn(move || (0..LEGS).for_each(|_| desk.tell(|core, _| core.input())))
    };
    let writer = {
        let (desk, bell) = (desk.clone(), bell.clone());
        shuttle::thread::spawn(move || output(&desk, &bell))
    };
    desk.keep_time();
    let mut taken = writer.join().unwrap();
    reader.join().unwrap();
    owners.into_iter().for_each(|owner| owner.join().unwrap());
    for wire in &wires {
        let written = wire.written.lock().unwrap();
        assert!(written.windows(2).all(|pair| pair[0] < pair[1]), "out of order: {written:?}");
    }
    taken.sort_unstable();
    assert_eq!(taken, (0..LEGS).collect::<Vec<_>>(), "each exactly once");
}

/// The session is over as soon as its connection is up. Its last word is written by the thread that is still on its way
/// to the connection.
fn part() {
    let desk: TestDesk = Arc::new(Desk::new(Counting::default(), Box::new(Crew(Arc::default()))));
    let wire = Arc::new(Wire { bell: Bell::default(), ticket: Mutex::new(None), written: Mutex::default() });
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
    let hour = Duration::from_secs(3600);
    desk.see_off(hour, hour, |open, _| open == 0);
    assert_eq!(*wire.written.lock().unwrap(), [0], "the process would have ended without its last word");
    owner.join().unwrap();
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
