//! Strangers at a receiver that takes encrypted connections only: they cost little, and end nothing.

use super::MIB;
use crate::util::stranger::{hello, say};
use crate::util::{
    DEADLINE, Keys, Process, Rx, assert_complete, carry, connect, eventually, feed, has, pattern,
    side_by_side, skip, tx,
};
use millipede::channel::{Channel, Shaking, Transport, prepare};
use millipede::trust::{PrivateKey, Roll, Trust};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Stdio};

/// Memory and descriptors that all strangers together may ever cost: 64 that wait, and 16 that are seen off.
const MEMORY: u64 = 12 * MIB;
const DESCRIPTORS: usize = 64 + 16 + 8;

/// A pair of connected sockets, neither of which blocks.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = connect(listener.local_addr().unwrap().port());
    let (far, _) = listener.accept().unwrap();
    for stream in [&near, &far] {
        prepare(stream).unwrap();
        stream.set_nonblocking(true).unwrap();
    }
    (near, far)
}

/// A sender's side of TLS with a key that nobody knows, and the other end of its wire.
fn nobody() -> (Channel, TcpStream) {
    let key = PrivateKey::generate().unwrap();
    // whoever it meets is not looked at
    let trust = Trust::new(&key, Roll::only(key.public())).unwrap();
    let (near, far) = pair();
    (Channel::dialled(Transport::tcp(near), &trust).unwrap(), far)
}

/// The first flight of a sender.
fn first_flight() -> Vec<u8> {
    let (channel, mut wire) = nobody();
    assert_eq!(channel.shake().unwrap(), Shaking::Reads);
    let mut flight = vec![0; 8192];
    let n = wire.read(&mut flight).unwrap();
    flight.truncate(n);
    flight
}

#[test]
fn a_first_flight_that_is_cut_or_stalls_at_any_byte_keeps_nobody_out() {
    let keys = Keys::of(&["secret"]);
    let rx = Rx::start(&keys.shared("secret"));
    let flight = first_flight();
    let mut stalled = Vec::new();
    for at in 0..=flight.len() {
        let mut stream = connect(rx.port);
        // one that was sent away already cannot
        let _ = stream.write_all(&flight[..at]);
        match at % 9 {
            0 => stalled.push(stream),
            1..5 => drop(stream),
            _ => drop(stream.shutdown(Shutdown::Write)),
        }
    }
    carry(&rx, &tx(rx.port, &keys.shared("secret")), MIB);
    assert_eq!(rx.said().lines().count(), 1, "{rx}");
}

/// Carries bytes between a sender's side and the receiver until so many of the sender's have passed.
fn pass_until(channel: &Channel, wire: &mut TcpStream, rx: &mut TcpStream, most: usize) -> usize {
    let (mut passed, mut idle) = (0, 0);
    rx.set_nonblocking(true).unwrap();
    while passed < most && idle < 2000 {
        let shaken = channel.shake();
        let mut bytes = [0; 4096];
        idle += 1;
        if let Ok(n) = wire.read(&mut bytes[..(most - passed).min(4096)]) {
            if n == 0 || rx.write_all(&bytes[..n]).is_err() {
                break;
            }
            (passed, idle) = (passed + n, 0);
        }
        match rx.read(&mut bytes) {
            Ok(0) => break,
            Ok(n) => (idle, _) = (0, wire.write_all(&bytes[..n]).unwrap()),
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
        if shaken.is_err() {
            break;
        }
    }
    passed
}

/// The second flight has the sender's key and proof, so this goes through all of it.
#[test]
fn a_handshake_that_is_cut_anywhere_is_forgotten() {
    let keys = Keys::of(&["secret"]);
    let rx = Rx::start(&keys.shared("secret"));
    let first = first_flight().len();
    let secret = millipede::trust::load(std::path::Path::new(keys.path("secret")), None).unwrap();
    let trust = Trust::new(&secret.0, secret.1).unwrap();
    for at in (first..first + 500).step_by(3) {
        let (near, mut wire) = pair();
        let channel = Channel::dialled(Transport::tcp(near), &trust).unwrap();
        let mut stream = connect(rx.port);
        pass_until(&channel, &mut wire, &mut stream, at);
    }
    carry(&rx, &tx(rx.port, &keys.shared("secret")), MIB);
    assert_eq!(rx.said().lines().count(), 1, "{rx}");
}

#[test]
fn nonsense_in_the_place_of_a_handshake_is_forgotten() {
    let keys = Keys::of(&["secret"]);
    let rx = Rx::start(&[&keys.shared("secret")[..], &["verbose", "1"]].concat());
    let flight = first_flight();
    // ClientHellos of 16 KiB, by their heads: whole, not whole, and in many small records
    let large = |len: usize, sent: usize| {
        let body = [&[1, 0, (len >> 8) as u8, len as u8][..], &vec![0x5a; sent]].concat();
        let pieces = body
            .chunks(16 << 10)
            .flat_map(|piece| [&[0x16, 3, 1][..], &(piece.len() as u16).to_be_bytes(), piece].concat());
        pieces.collect::<Vec<u8>>()
    };
    let small: Vec<u8> =
        large(16 << 10, 16 << 10)[5..].iter().flat_map(|byte| [0x16, 3, 1, 0, 1, *byte]).collect();
    let mut nonsense =
        vec![large(16 << 10, 16 << 10), large(16 << 10, 8 << 10), large(65_000, 65_000), small];
    nonsense.push([&flight[..], &flight].concat());
    nonsense.push([&flight[..], &[0x17, 3, 3, 0x40, 0][..], &pattern(0, 0x4000)].concat());
    nonsense.push([&flight[..], &[0x14, 3, 3, 0, 1, 1].repeat(5000)].concat());
    nonsense.push([0x15, 3, 3, 0, 2, 1, 90].repeat(5000));
    nonsense.push([0x16, 3, 3, 0, 0].repeat(5000));
    nonsense.push(b"GET / HTTP/1.1\r\n\r\n".to_vec());
    nonsense.push(pattern(8, 100_000));
    nonsense.push([&[0x16][..], &pattern(8, 100_000)].concat());
    nonsense.push(hello(1).encode());
    // what is not whole is waited for
    side_by_side(&nonsense, |bytes| (0..3).for_each(|_| drop(say(rx.port, bytes))));
    carry(&rx, &tx(rx.port, &keys.shared("secret")), MIB);
    let lines = rx.said().lines().count();
    assert!(lines <= 20, "{lines}: {rx}");
}

#[test]
fn clients_of_another_make_are_turned_away() {
    let keys = Keys::of(&["secret"]);
    let rx = Rx::start(&[&keys.shared("secret")[..], &["verbose", "1"]].concat());
    let at = format!("127.0.0.1:{}", rx.port);
    let url = format!("https://{at}/");
    let openssl = ["s_client", "-connect", &at];
    let clients: [(&str, Vec<&str>); 6] = [
        ("openssl", openssl.to_vec()),
        ("openssl", [&openssl[..], &["-tls1_2"]].concat()),
        ("openssl", [&openssl[..], &["-alpn", "h2"]].concat()),
        ("openssl", [&openssl[..], &["-alpn", "millipede"]].concat()),
        ("openssl", [&openssl[..], &["-alpn", "millipede", "-tls1_2"]].concat()),
        ("curl", vec!["-sk", "--max-time", "60", &url]),
    ];
    for (program, words) in clients {
        if !has(program) {
            skip(&format!("needs {program}"));
            continue;
        }
        let mut command = Command::new(program);
        let client = Process::spawn(command.args(&words).stdin(Stdio::piped()).stdout(Stdio::piped()));
        client.keep();
        let client = client.finish();
        assert!(!client.status.success(), "{words:?}: {client:?}");
    }
    carry(&rx, &tx(rx.port, &keys.shared("secret")), MIB);
    let lines = rx.said().lines().count();
    assert!((1..=10).contains(&lines), "{rx}");
}

/// A message of a handshake, in records of at most so many bytes.
fn in_records(message: &[u8], size: usize) -> Vec<u8> {
    let record = |part: &[u8]| [&[0x16, 3, 1][..], &(part.len() as u16).to_be_bytes(), part].concat();
    message.chunks(size).flat_map(record).collect()
}

/// Nothing that is known splits a ClientHello so; but TLS lets it, and who does it is no stranger for that.
#[test]
fn a_first_flight_in_small_records_and_small_segments_gets_in() {
    let keys = Keys::of(&["secret"]);
    let rx = Rx::start(&keys.shared("secret"));
    let secret = millipede::trust::load(std::path::Path::new(keys.path("secret")), None).unwrap();
    let trust = Trust::new(&secret.0, secret.1).unwrap();
    for (record, segment) in
        [(16384, 1), (16384, 100), (1000, 9999), (700, 50), (80, 9999), (60, 1), (1, 500)]
    {
        let (near, mut wire) = pair();
        let channel = Channel::dialled(Transport::tcp(near), &trust).unwrap();
        assert_eq!(channel.shake().unwrap(), Shaking::Reads);
        let mut flight = vec![0; 8192];
        let n = wire.read(&mut flight).unwrap();
        let mut stream = connect(rx.port);
        stream.set_nodelay(true).unwrap();
        for part in in_records(&flight[5..n], record).chunks(segment) {
            stream.write_all(part).unwrap();
        }
        let shaken = eventually(DEADLINE, || {
            pass_until(&channel, &mut wire, &mut stream, 1);
            !matches!(channel.shake(), Ok(Shaking::Reads | Shaking::Writes))
        });
        let key = channel.key();
        assert!(shaken && key.is_some(), "records of {record}, segments of {segment}: {:?}", channel.shake());
    }
    carry(&rx, &tx(rx.port, &keys.shared("secret")), MIB);
}

/// What each stranger does: nothing, a part of a handshake, all that one can without a key, garbage.
fn strangers(port: u16, flight: &[u8], there: &mut Vec<TcpStream>) {
    for number in 0..150 {
        let mut stream = connect(port);
        let _ = match number % 5 {
            0 => Ok(()),
            1 => stream.write_all(&flight[..flight.len() / 2]),
            2 | 3 => stream.write_all(flight),
            _ => stream.write_all(&pattern(8, 5000)),
        };
        there.push(stream);
    }
}

#[test]
fn strangers_beside_a_transfer_cost_little_and_do_not_disturb_it() {
    let keys = Keys::of(&["secret"]);
    let rx = Rx::start(&[&keys.shared("secret")[..], &["buffer", "16M"]].concat());
    let tx = tx(rx.port, &[&keys.shared("secret")[..], &["buffer", "16M", "rate", "100M"]].concat());
    let (mut input, output) = (tx.stdin(), rx.collect());
    feed(&mut input, 0, 60 * MIB).unwrap();
    output.await_bytes(40 * MIB);
    let before = costs(&rx);
    let (flight, mut there) = (first_flight(), Vec::new());
    for piece in 6..12 {
        feed(&mut input, piece * 10 * MIB, 10 * MIB).unwrap();
        strangers(rx.port, &flight, &mut there);
        output.await_bytes((piece - 1) * 10 * MIB);
        let now = costs(&rx);
        assert!(now.0 <= before.0 + MEMORY, "memory: {before:?} became {now:?}");
        assert!(now.1 <= before.1 + DESCRIPTORS, "descriptors: {before:?} became {now:?}");
        // this end's own descriptors are bounded too
        there.drain(..there.len().saturating_sub(300));
    }
    drop(input);
    assert_complete(&rx, &tx, output, 120 * MIB);
    assert_eq!(tx.said(), "");
}

/// Memory and descriptors.
#[cfg(target_os = "linux")]
fn costs(rx: &Rx) -> (u64, usize) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", rx.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("it runs");
    let memory = line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024;
    (memory, std::fs::read_dir(format!("/proc/{}/fd", rx.pid())).unwrap().count())
}

#[cfg(not(target_os = "linux"))]
fn costs(_: &Rx) -> (u64, usize) {
    (0, 0)
}
