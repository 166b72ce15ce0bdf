//! The tools of these tests do what the tests rely on: a relay that would let a byte pass too many, or a check that
//! sees no wrong byte, would make all the others worthless.

use crate::util::relay::{Back, Relay, There};
use crate::util::{DEADLINE, check, connect, echo, eventually, feed, pattern, ping, server, there_and_back};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// What a connection shows that was reset.
fn assert_reset(mut stream: TcpStream) {
    let found = stream.read_to_end(&mut Vec::new()).expect_err("a reset");
    assert_eq!(found.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_wrong_byte_is_found_and_named() {
    for at in [0, 7, 8, 65_535, 65_536, 199_999] {
        let mut bytes = pattern(1000, 200_000);
        check(1000, &bytes);
        bytes[at] ^= 1;
        let found = std::panic::catch_unwind(|| check(1000, &bytes)).expect_err("a wrong byte");
        let said = found.downcast_ref::<String>().unwrap();
        assert!(said.starts_with(&format!("byte {} is ", 1000 + at)), "{said}");
    }
    // a unit in another's place
    let moved = std::panic::catch_unwind(|| check(65_536, &pattern(131_072, 65_536)));
    assert!(moved.is_err());
}

#[test]
fn a_relay_passes_everything_and_ends_in_order() {
    let relay = Relay::to(server(echo));
    there_and_back(connect(relay.port), 20_000_000);
    assert_eq!((relay.passed(There), relay.passed(Back), relay.accepted()), (20_000_000, 20_000_000, 1));
}

#[test]
fn an_order_is_obeyed_before_it_returns() {
    let relay = Relay::to(server(echo));
    let mut stream = connect(relay.port);
    for round in 0..200 {
        ping(&mut stream, round);
        relay.silence(&[There]);
        let passed = relay.passed(There);
        stream.write_all(&[round]).unwrap();
        assert_eq!(relay.passed(There), passed);
        relay.silence(&[]);
        stream.read_exact(&mut [0]).unwrap();
    }
    let mut others: Vec<TcpStream> = (0..5).map(|_| connect(relay.port)).collect();
    others.iter_mut().for_each(|other| ping(other, 1));
    // they are counted at the end of the turn in which they were served
    relay.await_open(6);
    assert_eq!((relay.open(), relay.kill_all(), relay.open()), (6, 6, 0));
    others.into_iter().for_each(assert_reset);
    relay.refuse(true);
    assert_reset(connect(relay.port));
    relay.refuse(false);
    ping(&mut connect(relay.port), 2);
}

#[test]
fn each_direction_is_silent_for_itself() {
    let relay = Relay::to(server(echo));
    let mut stream = connect(relay.port);
    ping(&mut stream, 1);
    relay.silence(&[Back]);
    stream.write_all(&[2]).unwrap();
    assert!(eventually(DEADLINE, || relay.passed(There) == 2));
    assert_eq!(relay.passed(Back), 1);
    relay.silence(&[]);
    stream.read_exact(&mut [0]).unwrap();
}

#[test]
fn a_cut_comes_after_exactly_so_many_bytes() {
    for bytes in [0, 1, 100_000] {
        let relay = Relay::to(server(echo));
        let mut stream = connect(relay.port);
        ping(&mut stream, 1);
        relay.cut_after(There, bytes);
        let _ = feed(&mut stream, 0, 1_000_000);
        assert!(eventually(DEADLINE, || relay.open() == 0));
        assert_eq!(relay.passed(There), bytes + 1);
        // the order was for one connection
        there_and_back(connect(relay.port), 1_000_000);
    }
}

#[test]
fn one_bit_is_corrupted_by_an_order() {
    let relay = Relay::to(server(echo));
    let mut stream = connect(relay.port);
    std::thread::scope(|scope| {
        let order = scope.spawn(|| relay.corrupt(Back));
        let mut flipped = 0;
        while !order.is_finished() || flipped == 0 {
            stream.write_all(&[0x50]).unwrap();
            let mut back = [0];
            stream.read_exact(&mut back).unwrap();
            flipped += (back[0] ^ 0x50).count_ones();
        }
        assert_eq!(flipped, 1);
    });
}

#[test]
fn a_delay_is_as_long_as_ordered_and_loses_nothing() {
    let relay = Relay::to(server(echo));
    let mut stream = connect(relay.port);
    ping(&mut stream, 1);
    relay.delay(Duration::from_millis(50));
    let begun = Instant::now();
    ping(&mut stream, 2);
    assert!(begun.elapsed() >= Duration::from_millis(100), "{:?}", begun.elapsed());
    there_and_back(stream, 10_000_000);
}
