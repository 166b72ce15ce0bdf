//! The cores of both ends with two streams over the same connections, in one process: connections break between any
//! two steps as the seed says, then no more, and both streams must be whole and both ends over.
//!
//! A failing test prints its seed: `SEED=4711 cargo test --test pairs`.

use millipede::proto::acknowledging::Position;
use millipede::proto::hello::{Direction, Features, Hello, Id, Welcome};
use millipede::proto::leg::Leg;
use millipede::proto::links::{DialError, LossReason};
use millipede::proto::outcome::{Outcome, Status};
use millipede::proto::reception::{self, Loss, Reception};
use millipede::proto::sharing::Sharing;
use millipede::proto::transmission::{self, Given, Transmission};
use millipede::proto::wire::{Ack, Frame};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

const WORKERS: usize = 4;
const BUFFER: u64 = 4 << 20;
/// Nothing breaks any more: so long until both ends are over. A dial may still have to time out, a bye be missed.
const HEALED: Duration = Duration::from_secs(100);

/// The ends: the one that dials, and the one that listens.
const D: usize = 0;
const L: usize = 1;

enum Message {
    Leg(Leg),
    Frame(Frame),
}

/// A connection: what is on its way from each end, and how many legs each end has taken.
#[derive(Default)]
struct Wire {
    queues: [VecDeque<Message>; 2],
    counts: [u64; 2],
}

struct End {
    tx: Transmission,
    rx: Reception,
    instance: Id,
    /// Legs that are still to be read, and whether the end of the input has been told.
    input: u64,
    told_end: bool,
    /// Legs that were delivered, in order.
    output: Vec<u8>,
    settled: [Option<Outcome>; 2],
    ended: [Option<Outcome>; 2],
}

struct World {
    now: Instant,
    rng: SmallRng,
    ends: [End; 2],
    /// By worker.
    wires: Vec<Option<Wire>>,
    /// Whether things break.
    harm: bool,
    totals: [u64; 2],
}

/// The one byte that a leg is made of.
fn byte(end: usize, sequence: u64) -> u8 {
    (sequence * 7 + end as u64 * 101) as u8
}

fn hello() -> Hello {
    Hello {
        session: Id::new([5; 16]),
        instance: None,
        direction: Direction::Duplex,
        begun: false,
        checkphrase: None,
        link: 0,
        connection: 0,
        attempt: 0,
        features: Features::DUPLEX,
        buffer: BUFFER,
        options: Vec::new(),
    }
}

fn end(now: Instant, which: usize, legs: u64) -> End {
    let dials = which == D;
    let settings = transmission::Settings {
        hello: hello(),
        links: if dials { vec!["one".into(), "two".into()] } else { Vec::new() },
        workers: if dials { WORKERS } else { 16 },
        patience: None,
        checked: false,
        seed: 1,
        sharing: if dials { Sharing::Owner } else { Sharing::Borrower },
    };
    let instance = Id::new([which as u8 + 1; 16]);
    let receives = reception::Settings {
        instance,
        buffer: BUFFER,
        patience: None,
        features: Features::DUPLEX,
        sharing: if dials { Sharing::Borrower } else { Sharing::Owner },
    };
    End {
        tx: Transmission::new(now, settings),
        rx: Reception::new(now, receives),
        instance,
        input: legs,
        told_end: false,
        output: Vec::new(),
        settled: [None, None],
        ended: [None, None],
    }
}

impl World {
    fn new(seed: u64) -> World {
        let mut rng = SmallRng::seed_from_u64(seed);
        let totals = [rng.random_range(0..40), rng.random_range(0..40)];
        let now = Instant::now();
        World {
            now,
            ends: [end(now, D, totals[D]), end(now, L, totals[L])],
            rng,
            wires: (0..WORKERS).map(|_| None).collect(),
            harm: true,
            totals,
        }
    }

    fn chance(&mut self, one_in: u32) -> bool {
        self.rng.random_range(0..one_in) == 0
    }

    fn is_over(&self, end: usize) -> bool {
        self.ends[end].ended.iter().all(Option::is_some)
    }

    /// One thing happens, and what follows from it.
    fn step(&mut self) {
        self.now += Duration::from_millis(self.rng.random_range(0..30));
        for end in [D, L] {
            let (now, one) = (self.now, &mut self.ends[end]);
            if one.ended[0].is_none() {
                one.tx.tick(now);
            }
            if one.ended[1].is_none() {
                one.rx.tick(now);
            }
            self.follow(end);
        }
        match self.rng.random_range(0..10) {
            0 | 1 => self.read(),
            2 if self.harm && self.chance(6) => {
                let worker = self.rng.random_range(0..WORKERS);
                self.break_wire(worker, LossReason::Failed("reset".into()));
            }
            _ => self.carry(),
        }
    }

    /// An input gives a leg, or ends.
    fn read(&mut self) {
        let (end, now) = (self.rng.random_range(0..2), self.now);
        let total = self.totals[end];
        let one = &mut self.ends[end];
        if one.input > 0 {
            one.tx.input(now, Arc::new(vec![byte(end, total - one.input)]));
            one.input -= 1;
        } else if !std::mem::replace(&mut one.told_end, true) {
            one.tx.input_ended(now);
        }
        self.follow(end);
    }

    /// One message arrives.
    fn carry(&mut self) {
        let (worker, from) = (self.rng.random_range(0..WORKERS), self.rng.random_range(0..2));
        let Some(message) = self.wires[worker].as_mut().and_then(|wire| wire.queues[from].pop_front()) else {
            return;
        };
        let (to, now) = (1 - from, self.now);
        match message {
            Message::Leg(leg) => {
                if let Some(wire) = &mut self.wires[worker] {
                    wire.counts[to] += 1;
                }
                if self.ends[to].ended[1].is_none() {
                    self.ends[to].rx.leg(now, worker, leg).unwrap();
                    self.follow(to);
                    self.acknowledge(to, worker);
                }
            }
            Message::Frame(frame) => self.frame(worker, to, frame),
        }
        self.follow(to);
    }

    fn frame(&mut self, worker: usize, to: usize, frame: Frame) {
        let (now, one) = (self.now, &mut self.ends[to]);
        let [sends, receives] = [0, 1].map(|role| one.ended[role].is_none());
        match frame {
            Frame::Ping { token } if receives => self.send(to, worker, Frame::Pong { token }),
            Frame::Fin(fin) if receives => one.rx.fin(now, fin).unwrap(),
            Frame::Bye if receives => one.rx.bye(),
            Frame::Verdict(_) if !sends => self.send(to, worker, Frame::Bye),
            Frame::Ack(_) | Frame::Nack { .. } | Frame::Pong { .. } | Frame::Verdict(_) if sends => {
                one.tx.frame(now, worker, frame);
            }
            Frame::Abort(abort) => panic!("nothing fails here, but {to} hears {abort:?}"),
            _ => {}
        }
    }

    fn send(&mut self, from: usize, worker: usize, frame: Frame) {
        if let Some(wire) = &mut self.wires[worker] {
            wire.queues[from].push_back(Message::Frame(frame));
        }
    }

    fn acknowledge(&mut self, end: usize, worker: usize) {
        let Some(wire) = &self.wires[worker] else { return };
        let Position { next, delivered, edge } = self.ends[end].rx.position();
        let ack = Ack { next, delivered, edge, count: wire.counts[end], blocked_ms: 0 };
        self.send(end, worker, Frame::Ack(ack));
    }

    /// Both ends learn that a connection is gone; what was on its way is. The one that listens may hear of it only by
    /// what comes in its place.
    fn break_wire(&mut self, worker: usize, why: LossReason) {
        if self.wires[worker].take().is_none() {
            return;
        }
        let late = self.harm && self.chance(2);
        self.lose(worker, [true, !late], &why);
        if late && self.wires[worker].is_none() {
            self.lose(worker, [false, true], &why);
        }
    }

    fn lose(&mut self, worker: usize, which: [bool; 2], why: &LossReason) {
        for end in [D, L] {
            let (now, one) = (self.now, &mut self.ends[end]);
            if which[end] && one.ended[0].is_none() {
                one.tx.lost(now, worker, why);
            }
            if which[end] && one.ended[1].is_none() {
                one.rx.lost(now, worker, Loss::Closed, "gone");
            }
        }
        // not before: whoever dials again does it now
        self.follow(D);
        self.follow(L);
    }

    // ---- what the cores want --------------------------------------------------------------------------

    fn follow(&mut self, end: usize) {
        loop {
            if let Some(action) = self.ends[end].tx.poll() {
                self.transmit(end, action);
            } else if let Some(action) = self.ends[end].rx.poll() {
                self.receive(end, action);
            } else {
                return;
            }
        }
    }

    fn transmit(&mut self, end: usize, action: transmission::Action) {
        use transmission::Action;
        match action {
            Action::Dial { worker, hello, .. } => self.dial(worker, &hello),
            Action::Send(worker, leg) => {
                if let Some(wire) = &mut self.wires[worker] {
                    wire.queues[end].push_back(Message::Leg(leg));
                    self.ends[end].tx.ready(self.now, worker);
                }
            }
            Action::Tell(worker, frame) => self.send(end, worker, frame),
            Action::Drop(worker, why) => self.break_wire(worker, why),
            Action::Leave(worker) => self.break_wire(worker, LossReason::Left),
            Action::Settle(ending) => self.ends[end].settled[0] = Some(ending),
            Action::Say(..) => {}
            Action::End(ending) => {
                let one = &mut self.ends[end];
                one.ended[0] = Some(ending);
                one.rx.release();
                self.leave(end);
            }
        }
    }

    fn receive(&mut self, end: usize, action: reception::Action) {
        use reception::Action;
        let now = self.now;
        match action {
            Action::Deliver(leg) => {
                self.ends[end].output.extend(leg.bytes());
                self.ends[end].rx.delivered(now, 1, leg.len());
            }
            Action::CloseOutput => self.ends[end].rx.output_closed(now, None),
            Action::Acknowledge { .. } => (0..WORKERS).for_each(|worker| self.acknowledge(end, worker)),
            Action::Tell(worker, frame) => self.send(end, worker, frame),
            Action::Drop(worker, why) => self.break_wire(worker, LossReason::Breach(why)),
            Action::Settle(ending) => self.ends[end].settled[1] = Some(ending),
            Action::Say(..) => {}
            Action::End(ending) => {
                let one = &mut self.ends[end];
                one.ended[1] = Some(ending);
                one.tx.release(now);
                self.leave(end);
            }
        }
    }

    /// An end whose directions are both over closes its connections in order, when all has been written.
    fn leave(&mut self, end: usize) {
        if !self.is_over(end) {
            return;
        }
        for worker in 0..WORKERS {
            let Some(mut wire) = self.wires[worker].take() else { continue };
            for message in std::mem::take(&mut wire.queues[end]) {
                if let Message::Frame(frame) = message {
                    self.frame(worker, 1 - end, frame);
                }
            }
            self.lose(worker, [end == L, end == D], &LossReason::Closed);
        }
    }

    fn dial(&mut self, worker: usize, hello: &Hello) {
        let now = self.now;
        if self.is_over(L) {
            return self.ends[D].tx.dial_failed(now, worker, &DialError::Refused);
        }
        if self.harm && self.chance(4) {
            return self.ends[D].tx.dial_failed(now, worker, &DialError::TimedOut);
        }
        let admission = match self.ends[L].rx.hello(now, hello) {
            Ok(admission) => admission,
            Err(refusal) => return self.ends[D].tx.refused(now, worker, &refusal),
        };
        // a direction that has ended hears nothing
        let hears = [self.ends[D].ended[1].is_none(), self.ends[L].ended[0].is_none()];
        let known = self.ends[L].tx.sender().head();
        if hears[L] {
            let given = Given { worker, link: hello.link.into(), known, checked: false };
            self.ends[L].tx.given(now, given);
        }
        self.wires[worker] = Some(Wire::default());
        if self.harm && self.chance(6) {
            // the listener's welcome is lost
            self.wires[worker] = None;
            self.ends[D].tx.dial_failed(now, worker, &DialError::Refused);
            return self.lose(worker, [false, true], &LossReason::Closed);
        }
        let round_trip = Duration::from_millis(5);
        self.ends[D].tx.welcomed(now, worker, &admission.welcome, round_trip);
        assert!(self.ends[D].tx.links().link_of(worker).is_some(), "there is one receiver only");
        if hears[D] {
            self.ends[D].rx.given(now, worker, hello.link);
        }
        if self.harm && self.chance(6) {
            // the other one is
            return self.break_wire(worker, LossReason::Failed("reset".into()));
        }
        let Position { next, edge, .. } = self.ends[D].rx.position();
        let welcome = Welcome { instance: self.ends[D].instance, next, edge, ..admission.welcome };
        if hears[L] {
            self.ends[L].tx.welcomed(now, worker, &welcome, round_trip);
            self.ends[L].tx.ready(now, worker);
        }
        self.ends[D].tx.ready(now, worker);
    }
}

fn play(seed: u64) {
    let mut world = World::new(seed);
    let steps = world.rng.random_range(0..1500);
    for _ in 0..steps {
        world.step();
    }
    world.harm = false;
    let healed = world.now;
    while !(world.is_over(D) && world.is_over(L)) {
        let state = || world.ends.each_ref().map(|end| (&end.settled, &end.ended));
        assert!(world.now - healed < HEALED, "seed {seed}: it does not end: {:?}", state());
        world.step();
    }
    for end in [D, L] {
        let expected: Vec<u8> = (0..world.totals[1 - end]).map(|n| byte(1 - end, n)).collect();
        assert_eq!(world.ends[end].output, expected, "seed {seed}");
        for settled in &world.ends[end].settled {
            assert_eq!(settled.as_ref().map(|e| e.status), Some(Status::Complete), "seed {seed}");
        }
    }
}

#[test]
fn both_streams_are_whole_and_both_ends_are_over_whatever_breaks() {
    let seeds = match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..3000).collect(),
    };
    for seed in seeds {
        let played = std::panic::catch_unwind(|| play(seed));
        assert!(played.is_ok(), "SEED={seed}");
    }
}
