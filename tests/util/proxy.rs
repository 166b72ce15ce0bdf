//! A network in the test's hand: a TCP relay whose connections can be reset, held or refused at any moment.
//!
//! One thread and one poll loop. Holding one way stops reading there, so nothing is lost and letting go
//! resumes it; the kernels at both sides go on acknowledging until their buffers are full, as they do when a
//! middlebox forgets a flow. Connections that come meanwhile are accepted and held too.

use super::Shared;
use rustix::event::{PollFd, PollFlags, poll};
use socket2::SockRef;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

const CHUNK: usize = 128 << 10;

/// A relay on a port of 127.0.0.1.
pub struct Proxy {
    /// Where it listens.
    pub port: u16,
    control: Arc<Shared<Control>>,
    bell: UnixStream,
}

#[derive(Default)]
struct Control {
    hold: [bool; 2],
    refuse: bool,
    /// Reset all connections, or that of this number modulo how many there are.
    kill_all: bool,
    kill: Vec<usize>,
    /// Change the next byte that passes each way.
    garble: [bool; 2],
    over: bool,
    /// Orders given, and of those how many have been in force for everything that passed since.
    ordered: u64,
    obeyed: u64,
    /// What has happened: connections now, killed ever, accepted ever, bytes passed on each way.
    open: usize,
    killed: usize,
    accepted: usize,
    passed: [u64; 2],
}

impl Proxy {
    /// A relay to this port of 127.0.0.1.
    pub fn to(target: u16) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (bell, ear) = UnixStream::pair().unwrap();
        ear.set_nonblocking(true).unwrap();
        let control = Arc::new(Shared::<Control>::default());
        let relay = Relay { listener, target, ear, control: control.clone(), pairs: Vec::new() };
        thread::spawn(move || relay.run());
        Proxy { port, control, bell }
    }

    /// Resets every connection, at both sides; returns when that is done.
    pub fn kill_all(&self) {
        self.order(|control| control.kill_all = true);
        self.control.wait(super::DEADLINE, |control| !control.kill_all);
    }

    /// Resets one connection: this one modulo how many there are.
    pub fn kill(&self, number: usize) {
        self.order(|control| control.kill.push(number));
        self.control.wait(super::DEADLINE, |control| control.kill.is_empty());
    }

    /// From now on nothing passes from the sender to the receiver (`data`), or back (`acks`).
    pub fn hold(&self, data: bool, acks: bool) {
        let order = self.order(|control| control.hold = [data, acks]);
        self.control.wait(super::DEADLINE, |control| control.obeyed >= order);
    }

    /// Changes the next byte that passes from the receiver to the sender, on whichever connection.
    pub fn garble_acks(&self) {
        self.order(|control| control.garble[1] = true);
        self.control.wait(super::DEADLINE, |control| !control.garble[1]);
    }

    /// Whether new connections are reset at once.
    pub fn refuse(&self, refuse: bool) {
        self.order(|control| control.refuse = refuse);
    }

    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.control.lock().open
    }

    /// Connections that were reset by order.
    pub fn killed(&self) -> usize {
        self.control.lock().killed
    }

    /// Connections that were ever made.
    pub fn accepted(&self) -> usize {
        self.control.lock().accepted
    }

    /// Bytes that were passed on, from the sender and back.
    pub fn passed(&self) -> [u64; 2] {
        self.control.lock().passed
    }

    /// Waits until so many connections are open.
    pub fn await_open(&self, count: usize) {
        let open = self.control.wait(super::DEADLINE, |control| control.open >= count);
        assert!(open, "{} of {count} connections", self.open());
    }

    /// Gives an order; its number.
    fn order(&self, change: impl FnOnce(&mut Control)) -> u64 {
        let mut order = 0;
        self.control.change(|control| {
            change(control);
            control.ordered += 1;
            order = control.ordered;
        });
        (&self.bell).write_all(&[0]).unwrap();
        order
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.order(|control| control.over = true);
    }
}

struct Relay {
    listener: TcpListener,
    target: u16,
    ear: UnixStream,
    control: Arc<Shared<Control>>,
    pairs: Vec<Pair>,
}

/// One connection: the sender's side, the receiver's side, and what is under way in each direction.
struct Pair {
    sides: [TcpStream; 2],
    ways: [Way; 2],
}

#[derive(Default)]
struct Way {
    waiting: Vec<u8>,
    ended: bool,
    shut: bool,
}

impl Relay {
    fn run(mut self) {
        loop {
            self.rest();
            if !self.obey() {
                return;
            }
            self.accept();
            let (hold, wanted, ordered) = {
                let control = self.control.lock();
                (control.hold, control.garble, control.ordered)
            };
            let (mut garble, mut passed) = (wanted, [0; 2]);
            self.pairs.retain_mut(|pair| {
                (0..2).all(|way| hold[way] || pair.pass(way, &mut passed[way], &mut garble[way]))
            });
            let open = self.pairs.len();
            self.control.change(|control| {
                (control.open, control.obeyed) = (open, ordered);
                for way in 0..2 {
                    // what was ordered meanwhile is still to be done
                    control.garble[way] &= !wanted[way] || garble[way];
                }
                control.passed.iter_mut().zip(passed).for_each(|(all, new)| *all += new);
            });
        }
    }

    /// Waits until something can be done.
    fn rest(&self) {
        let hold = self.control.lock().hold;
        let mut fds = vec![PollFd::new(&self.ear, PollFlags::IN), PollFd::new(&self.listener, PollFlags::IN)];
        for pair in &self.pairs {
            for (index, side) in pair.sides.iter().enumerate() {
                let mut flags = PollFlags::empty();
                flags.set(PollFlags::IN, !hold[index] && pair.ways[index].wants_input());
                flags.set(PollFlags::OUT, !hold[1 - index] && !pair.ways[1 - index].waiting.is_empty());
                if !flags.is_empty() {
                    fds.push(PollFd::from_borrowed_fd(side.as_fd(), flags));
                }
            }
        }
        // an interruption is a wake-up like any other
        let _ = poll(&mut fds, None);
    }

    /// Carries out what was ordered; false at the end.
    fn obey(&mut self) -> bool {
        let mut rings = [0; 64];
        while (&self.ear).read(&mut rings).is_ok_and(|n| n > 0) {}
        let pairs = &mut self.pairs;
        self.control.change(|control| {
            if std::mem::take(&mut control.kill_all) {
                control.killed += pairs.len();
                pairs.clear();
            }
            for number in control.kill.drain(..) {
                if !pairs.is_empty() {
                    control.killed += 1;
                    pairs.swap_remove(number % pairs.len());
                }
            }
            control.open = pairs.len();
            !control.over
        })
    }

    fn accept(&mut self) {
        while let Ok((near, _)) = self.listener.accept() {
            prepare(&near);
            if self.control.lock().refuse {
                continue;
            }
            if let Ok(far) = TcpStream::connect(("127.0.0.1", self.target)) {
                prepare(&far);
                self.pairs.push(Pair { sides: [near, far], ways: Default::default() });
                self.control.change(|control| control.accepted += 1);
            }
        }
    }
}

/// Without waiting, without delay, and reset when it is dropped.
fn prepare(stream: &TcpStream) {
    stream.set_nonblocking(true).unwrap();
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

impl Way {
    fn wants_input(&self) -> bool {
        !self.ended && self.waiting.len() < CHUNK
    }
}

impl Pair {
    /// Moves what can be moved in one direction; false if the connection is over.
    fn pass(&mut self, index: usize, passed: &mut u64, garble: &mut bool) -> bool {
        let (from, to, way) = (&self.sides[index], &self.sides[1 - index], &mut self.ways[index]);
        let mut chunk = [0; CHUNK];
        if way.wants_input() {
            match (&mut &*from).read(&mut chunk) {
                Ok(0) => way.ended = true,
                Ok(n) => {
                    chunk[n - 1] ^= u8::from(std::mem::take(garble));
                    way.waiting.extend_from_slice(&chunk[..n]);
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return false,
            }
        }
        if !way.waiting.is_empty() {
            match (&mut &*to).write(&way.waiting) {
                Ok(n) => {
                    way.waiting.drain(..n);
                    *passed += n as u64;
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return false,
            }
        }
        if way.ended && way.waiting.is_empty() && !way.shut {
            way.shut = true;
            if to.shutdown(Shutdown::Write).is_err() {
                return false;
            }
        }
        // a connection that ended in order at both sides is closed in order
        !self.ways.iter().all(|way| way.shut)
    }
}
