//! A network in the test's hand: a TCP relay on loopback whose connections can be delayed, cut, silenced, damaged,
//! refused and reset at any moment.
//!
//! One thread and one poll loop. An order is obeyed before the call that gives it returns: what passes from then
//! on passes by the new rules. Silence in one direction stops the reading there, so nothing is lost and ending it
//! resumes; the kernels at both sides go on acknowledging until their buffers are full, as they do when a middlebox
//! forgets a flow. Connections that come meanwhile are accepted and silent too. A connection that is cut, killed or
//! broken is reset at both sides; one that ends in order is closed in order.

mod damage;
mod pair;

pub use damage::Harm;

use super::wait::{DEADLINE, Shared};
use damage::Damage;
use pair::Pair;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::SockRef;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// A direction through the relay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way {
    /// From who dials to who listens: a sender's legs.
    There,
    /// From who listens to who dials: acknowledgements.
    Back,
}

pub use Way::{Back, There};

/// A relay on a port of 127.0.0.1. It ends when it is dropped.
pub struct Relay {
    /// Where it listens.
    pub port: u16,
    state: Arc<Shared<State>>,
    bell: UnixStream,
}

/// What the test and the relay's thread share. Pairs are by [`Way`].
#[derive(Default)]
struct State {
    rules: Rules,
    /// Connections to reset: each by its number modulo how many there are.
    kill: Vec<usize>,
    kill_all: bool,
    over: bool,
    /// Orders given, and of those how many have been in force for everything that passed since.
    ordered: u64,
    obeyed: u64,
    counts: Counts,
}

/// What holds until the next order.
#[derive(Clone, Copy, Default)]
struct Rules {
    /// Where to; new connections are reset while there is nothing.
    target: Option<u16>,
    refuse: bool,
    silent: [bool; 2],
    delay: Duration,
    /// Flip a bit of what passes next; cleared when done.
    corrupt: [bool; 2],
    /// Bytes that may still pass, on all connections together; then the one that brings more is reset, and this is
    /// cleared.
    cut: [Option<u64>; 2],
}

/// What has happened.
#[derive(Clone, Copy, Default)]
struct Counts {
    open: usize,
    accepted: usize,
    killed: usize,
    passed: [u64; 2],
}

impl Relay {
    /// A relay to this port of 127.0.0.1.
    pub fn to(target: u16) -> Relay {
        Relay::begin(Some(target), None)
    }

    /// A relay that resets who comes, until it is told where it leads.
    pub fn to_nobody() -> Relay {
        Relay::begin(None, None)
    }

    /// A relay to a receiver that does harm to legs on their way: `decide` is asked with the leg's sequence, and how
    /// often that leg has passed here before.
    pub fn damaging(target: u16, decide: impl Fn(u64, usize) -> Harm + Send + 'static) -> Relay {
        Relay::begin(Some(target), Some(Damage::new(decide)))
    }

    fn begin(target: Option<u16>, damage: Option<Damage>) -> Relay {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (bell, ear) = UnixStream::pair().unwrap();
        ear.set_nonblocking(true).unwrap();
        let state = Arc::new(Shared::<State>::default());
        state.change(|state| state.rules.target = target);
        let worker = Worker { listener, ear, state: state.clone(), damage, pairs: Vec::new() };
        thread::spawn(move || worker.run());
        Relay { port, state, bell }
    }

    // ---- orders ---------------------------------------------------------------------------------------

    /// Leads new connections to this port from now on.
    pub fn lead_to(&self, port: u16) {
        self.order(|state| state.rules.target = Some(port));
    }

    /// Resets every connection, at both sides; how many there were.
    pub fn kill_all(&self) -> usize {
        let before = self.killed();
        self.order(|state| state.kill_all = true);
        self.killed() - before
    }

    /// Resets one connection: this one modulo how many there are.
    pub fn kill(&self, number: usize) {
        self.order(|state| state.kill.push(number));
    }

    /// From now on nothing passes in these directions; it does in the others. `silence(&[])` ends it.
    pub fn silence(&self, ways: &[Way]) {
        self.order(|state| state.rules.silent = [ways.contains(&There), ways.contains(&Back)]);
    }

    /// Whether new connections are reset at once.
    pub fn refuse(&self, refuse: bool) {
        self.order(|state| state.rules.refuse = refuse);
    }

    /// What comes from now on is held for so long before it passes, in each direction, in order.
    pub fn delay(&self, delay: Duration) {
        self.order(|state| state.rules.delay = delay);
    }

    /// Lets so many more bytes pass in this direction, then resets the connection that brings the next one.
    pub fn cut_after(&self, way: Way, bytes: u64) {
        self.order(|state| state.rules.cut[way as usize] = Some(bytes));
    }

    /// Flips a bit of what passes next in this direction, on whichever connection; returns when that has happened.
    pub fn corrupt(&self, way: Way) {
        self.order(|state| state.rules.corrupt[way as usize] = true);
        let done = self.state.wait(DEADLINE, |state| !state.rules.corrupt[way as usize]);
        assert!(done, "nothing passes {way:?}");
    }

    /// Gives an order, and waits until it is obeyed.
    fn order(&self, change: impl FnOnce(&mut State)) {
        let order = self.give(change);
        assert!(self.state.wait(DEADLINE, |state| state.obeyed >= order), "the relay is stuck");
    }

    /// Gives an order; its number.
    fn give(&self, change: impl FnOnce(&mut State)) -> u64 {
        let order = self.state.change(|state| {
            change(state);
            state.ordered += 1;
            state.ordered
        });
        (&self.bell).write_all(&[0]).unwrap();
        order
    }

    // ---- what has happened ----------------------------------------------------------------------------

    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.state.lock().counts.open
    }

    /// Connections that were reset by order.
    pub fn killed(&self) -> usize {
        self.state.lock().counts.killed
    }

    /// Connections that were ever made.
    pub fn accepted(&self) -> usize {
        self.state.lock().counts.accepted
    }

    /// Bytes that have passed in this direction.
    pub fn passed(&self, way: Way) -> u64 {
        self.state.lock().counts.passed[way as usize]
    }

    /// Waits until so many connections are open.
    pub fn await_open(&self, count: usize) {
        let open = self.state.wait(DEADLINE, |state| state.counts.open >= count);
        assert!(open, "{} of {count} connections", self.open());
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.give(|state| state.over = true);
    }
}

/// The relay's thread.
struct Worker {
    listener: TcpListener,
    ear: UnixStream,
    state: Arc<Shared<State>>,
    damage: Option<Damage>,
    pairs: Vec<Pair>,
}

impl Worker {
    fn run(mut self) {
        loop {
            self.rest();
            let Some((mut rules, ordered)) = self.obey() else { return };
            let accepted = self.accept(&rules);
            let (given, now, mut passed) = (rules, Instant::now(), [0; 2]);
            let damage = &mut self.damage;
            self.pairs.retain_mut(|pair| {
                [There, Back].into_iter().all(|way| pair.pass(way, now, &mut rules, damage, &mut passed))
            });
            let open = self.pairs.len();
            self.state.change(|state| {
                state.obeyed = ordered;
                state.counts.open = open;
                state.counts.accepted += accepted;
                for way in [There as usize, Back as usize] {
                    state.counts.passed[way] += passed[way];
                    // what was ordered meanwhile is still to be done
                    state.rules.corrupt[way] &= !given.corrupt[way] || rules.corrupt[way];
                    if state.rules.cut[way] == given.cut[way] {
                        state.rules.cut[way] = rules.cut[way];
                    }
                }
            });
        }
    }

    /// Waits until something can be done.
    fn rest(&self) {
        let rules = self.state.lock().rules;
        let mut fds = vec![PollFd::new(&self.ear, PollFlags::IN), PollFd::new(&self.listener, PollFlags::IN)];
        for pair in &self.pairs {
            for (side, flags) in pair.awaits(&rules) {
                if !flags.is_empty() {
                    fds.push(PollFd::from_borrowed_fd(side.as_fd(), flags));
                }
            }
        }
        let due = self.pairs.iter().filter_map(|pair| pair.due(&rules)).min();
        let left = due.map(|due| due.saturating_duration_since(Instant::now()));
        let left =
            left.map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() });
        // an interruption is a wake-up like any other
        let _ = poll(&mut fds, left.as_ref());
    }

    /// Carries out what was ordered; the rules from now on, and the number of the last order. Nothing at the end.
    fn obey(&mut self) -> Option<(Rules, u64)> {
        let mut rings = [0; 64];
        while (&self.ear).read(&mut rings).is_ok_and(|n| n > 0) {}
        let pairs = &mut self.pairs;
        self.state.change(|state| {
            if std::mem::take(&mut state.kill_all) {
                state.counts.killed += pairs.len();
                pairs.clear();
            }
            for number in state.kill.drain(..) {
                if !pairs.is_empty() {
                    state.counts.killed += 1;
                    pairs.swap_remove(number % pairs.len());
                }
            }
            (!state.over).then_some((state.rules, state.ordered))
        })
    }

    /// Takes those who have come; how many.
    fn accept(&mut self, rules: &Rules) -> usize {
        let mut accepted = 0;
        while let Ok((near, _)) = self.listener.accept() {
            prepare(&near);
            let Some(target) = rules.target.filter(|_| !rules.refuse) else { continue };
            if let Ok(far) = TcpStream::connect(("127.0.0.1", target)) {
                prepare(&far);
                self.pairs.push(Pair::new(near, far, self.damage.is_some()));
                accepted += 1;
            }
        }
        accepted
    }
}

/// Without waiting, without delay, and reset when it is dropped.
fn prepare(stream: &TcpStream) {
    stream.set_nonblocking(true).unwrap();
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
