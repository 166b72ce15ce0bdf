//! Two processes that reach each other through relays, and what is at the ends of a tunnel between them.
//!
//! No port is fixed, and carriers can be broken whenever a test likes.

// each test program uses a part of it
#![allow(dead_code)]

use crate::relay::Relay;
use crate::util::{DEADLINE, Process, check, feed};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

/// Two processes, each of which receives from and transmits to the other.
pub struct Pair {
    pub a: Process,
    pub b: Process,
    pub relays: [Relay; 2],
}

impl Pair {
    pub fn start(words_a: &[&str], words_b: &[&str]) -> Pair {
        let relays = [Relay::start(), Relay::start()];
        let start = |to: &Relay, words: &[&str]| {
            Process::start(&[&["rx", "0", "tx", "127.0.0.1", &to.port.to_string()], words].concat())
        };
        let (a, b) = (start(&relays[1], words_a), start(&relays[0], words_b));
        relays[0].lead_to(port(&a, "millipede: listening on port "));
        relays[1].lead_to(port(&b, "millipede: listening on port "));
        Pair { a, b, relays }
    }

    /// A tunnel that leads to this port.
    pub fn tunnel(target: u16, words: &[&str]) -> Tunnel {
        let target = target.to_string();
        let near = [&["charmode", "terminate", "0"], words].concat();
        let pair = Pair::start(&near, &[&["charmode", "initiate", "127.0.0.1", &target], words].concat());
        Tunnel { entrance: port(&pair.a, "millipede: tunnel on port "), pair }
    }

    pub fn kill(&self) -> usize {
        self.relays.iter().map(Relay::kill).sum()
    }

    /// Both have ended with these statuses.
    pub fn assert_ended(&self, a: i32, b: i32) {
        assert_eq!(self.a.end().0, Some(a), "{}\n{}", self.a, self.b);
        assert_eq!(self.b.end().0, Some(b), "{}\n{}", self.b, self.a);
    }
}

pub struct Tunnel {
    pub pair: Pair,
    pub entrance: u16,
}

impl Tunnel {
    pub fn connect(&self) -> TcpStream {
        connect(self.entrance)
    }
}

pub fn port(process: &Process, before: &str) -> u16 {
    process.expect(before).strip_prefix(before).unwrap().parse().unwrap()
}

pub fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    // a test that would hang fails in place of it
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// A server on a free port: `serve` is given each connection, in a thread of its own.
pub fn server(serve: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> u16 {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    port
}

/// Answers with what it is sent, up to the end.
pub fn echo(mut stream: TcpStream) {
    let mut chunk = [0; 65536];
    while let Ok(n) = stream.read(&mut chunk)
        && n > 0
        && stream.write_all(&chunk[..n]).is_ok()
    {}
    let _ = stream.shutdown(Shutdown::Write);
}

/// One byte there and back.
pub fn ping(stream: &mut TcpStream, byte: u8) {
    stream.write_all(&[byte]).unwrap();
    let mut back = [0];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(back, [byte]);
}

/// Writes the pattern in the background, ends, and checks that all of it comes back.
pub fn there_and_back(mut stream: TcpStream, bytes: u64) {
    let mut writer = stream.try_clone().unwrap();
    let feeder = thread::spawn(move || {
        feed(&mut writer, 0, bytes).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut back = Vec::new();
    stream.read_to_end(&mut back).unwrap();
    assert_eq!(back.len() as u64, bytes);
    check(0, &back);
    feeder.join().unwrap();
}
