//! Two processes that carry a stream each way, through relays that a test can break: as two sessions, as one
//! `duplex` session, and as a tunnel.

use super::process::{Process, Rx, millipede, tx};
use super::relay::Relay;
use super::tcp::connect;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

const LISTENING: &str = "millipede: listening on port ";
const TUNNEL: &str = "millipede: tunnel on port ";

/// Two processes, each of which receives from and transmits to the other in a session of its own.
pub struct Pair {
    pub a: Process,
    pub b: Process,
    pub relays: [Relay; 2],
}

impl Pair {
    pub fn start(words_a: &[&str], words_b: &[&str]) -> Pair {
        let relays = [Relay::to_nobody(), Relay::to_nobody()];
        let start = |to: &Relay, words: &[&str]| {
            Process::start(&[&["rx", "0", "tx", "127.0.0.1", &to.port.to_string()], words].concat())
        };
        let (a, b) = (start(&relays[1], words_a), start(&relays[0], words_b));
        relays[0].lead_to(a.port(LISTENING));
        relays[1].lead_to(b.port(LISTENING));
        Pair { a, b, relays }
    }

    /// A tunnel that leads to this port.
    pub fn tunnel(target: u16, words: &[&str]) -> Tunnel {
        let target = target.to_string();
        let near = [&["charmode", "terminate", "0"], words].concat();
        let pair = Pair::start(&near, &[&["charmode", "initiate", "127.0.0.1", &target], words].concat());
        Tunnel { entrance: entrance(&pair.a), pair }
    }

    /// Resets every connection; how many there were.
    pub fn kill(&self) -> usize {
        self.relays.iter().map(Relay::kill_all).sum()
    }

    /// Both have ended with these statuses.
    #[track_caller]
    pub fn assert_ended(&self, a: i32, b: i32) {
        assert_eq!(self.a.end().0, Some(a), "{}\n{}", self.a, self.b);
        assert_eq!(self.b.end().0, Some(b), "{}\n{}", self.b, self.a);
    }
}

/// A tunnel between two processes.
pub struct Tunnel {
    pub pair: Pair,
    pub entrance: u16,
}

impl Tunnel {
    pub fn connect(&self) -> TcpStream {
        connect(self.entrance)
    }
}

/// The port at which a process that terminates a tunnel listens.
#[track_caller]
pub fn entrance(process: &Process) -> u16 {
    process.port(TUNNEL)
}

/// The two ends of one session with a stream each way: one listens, the other dials it through a relay.
pub struct Duplex {
    pub l: Rx,
    pub d: Process,
    pub net: Relay,
}

impl Duplex {
    pub fn start(words_l: &[&str], words_d: &[&str]) -> Duplex {
        let words = [&["rx", "0", "duplex"], words_l].concat();
        let l = Rx::spawn(millipede(&words).stdin(Stdio::piped()).stdout(Stdio::piped()));
        let net = Relay::to(l.port);
        let d = tx(net.port, &[&["duplex"], words_d].concat());
        Duplex { l, d, net }
    }

    /// Sends this to the end that listens and that to the one that dials, both at once. What came to each of them.
    pub fn exchange(&self, to_l: &[u8], to_d: &[u8]) -> [Vec<u8>; 2] {
        let (mut into_d, mut into_l) = (self.d.stdin(), self.l.stdin());
        let outs: [Box<dyn Read + Send>; 2] = [Box::new(self.l.stdout()), Box::new(self.d.stdout())];
        std::thread::scope(|scope| {
            scope.spawn(|| into_d.write_all(to_l).map(|()| drop(into_d)));
            scope.spawn(|| into_l.write_all(to_d).map(|()| drop(into_l)));
            let readers = outs.map(|mut out| {
                scope.spawn(move || {
                    let mut got = Vec::new();
                    out.read_to_end(&mut got).map(|_| got)
                })
            });
            readers.map(|reader| reader.join().unwrap().unwrap())
        })
    }

    /// Both have ended with these statuses.
    #[track_caller]
    pub fn assert_ended(&self, l: i32, d: i32) {
        assert_eq!(self.l.end().0, Some(l), "{}\n{}", self.l, self.d);
        assert_eq!(self.d.end().0, Some(d), "{}\n{}", self.d, self.l);
    }
}
