//! Whatever happens to connections and links: the bytes come out right, or both ends say why not.

use super::MIB;
use crate::util;
use crate::util::relay::{Back, Relay, There, Way};
use crate::util::{
    Process, Rx, assert_complete, carry, eventually, feed, free_port, side_by_side, skip, tx, tx_over,
};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::io::Read;
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

// ---- connections are killed ---------------------------------------------------------------------------

#[test]
fn one_connection_after_the_other_is_killed() {
    let rx = Rx::start(&[]);
    let relay = Relay::to(rx.port);
    let tx = tx_over(&[relay.port], &["threads", "8"]);
    let (output, bytes) = (rx.collect(), 300 * MIB);
    tx.feed(bytes);
    let mut random = SmallRng::seed_from_u64(1);
    for at in (0..bytes - 20 * MIB).step_by(6 * MIB as usize) {
        output.await_bytes(at);
        relay.kill(random.random_range(0..8));
    }
    assert_complete(&rx, &tx, output, bytes);
    assert!(relay.killed() > 20, "{}", relay.killed());
    assert_eq!(tx.said(), "", "what heals at once is not mentioned");
}

#[test]
fn all_connections_are_killed_three_times() {
    let rx = Rx::start(&[]);
    let relay = Relay::to(rx.port);
    let tx = tx_over(&[relay.port], &["threads", "8"]);
    let (output, bytes) = (rx.collect(), 200 * MIB);
    tx.feed(bytes);
    for kill in 1..=3 {
        output.await_bytes(kill * 45 * MIB);
        relay.await_open(1);
        relay.kill_all();
    }
    output.await_bytes(bytes);
    let gap = output.longest_gap();
    assert!(gap < Duration::from_secs(5), "a gap of {gap:?}");
    assert_complete(&rx, &tx, output, bytes);
    assert_eq!(tx.said(), "");
}

/// Also while nothing is under way, and while only the verdict is.
#[test]
fn connections_are_killed_while_the_stream_pauses() {
    let rx = Rx::start(&[]);
    let relay = Relay::to(rx.port);
    let tx = tx_over(&[relay.port], &["threads", "3"]);
    let (mut input, output) = (tx.stdin(), rx.collect());
    for piece in 0..10 {
        feed(&mut input, piece * 1000, 1000).unwrap();
        if piece % 3 != 1 {
            output.await_bytes((piece + 1) * 1000);
        }
        relay.await_open(1);
        relay.kill_all();
    }
    drop(input);
    relay.await_open(1);
    relay.kill_all();
    assert_complete(&rx, &tx, output, 10_000);
}

#[test]
fn connections_are_killed_by_the_kernel() {
    let works = Command::new("ss").args(["-tK", "dst", "127.0.0.1", "dport", "=", "1"]).output();
    // where the kernel lacks it, ss says so and succeeds
    if !works.is_ok_and(|out| out.status.success() && out.stderr.is_empty()) || !ss_kills() {
        return skip("needs root, and ss -tK with a kernel that obeys it");
    }
    let rx = Rx::start(&[]);
    let tx = tx(rx.port, &["threads", "8"]);
    let (output, bytes) = (rx.collect(), 200 * MIB);
    tx.feed(bytes);
    for kill in 1..=3 {
        output.await_bytes(kill * 45 * MIB);
        kill_sockets(rx.port);
    }
    assert_complete(&rx, &tx, output, bytes);
}

fn kill_sockets(port: u16) {
    let filter = format!("( sport = :{port} or dport = :{port} )");
    let status = Command::new("ss").args(["-tK", "state", "established", &filter]).output().unwrap();
    assert!(status.status.success());
}

/// Tried on a connection of our own: some kernels accept the order and do nothing.
fn ss_kills() -> bool {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    let _accepted = listener.accept().unwrap();
    kill_sockets(port);
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    stream.read(&mut [0]).is_err_and(|e| e.kind() != std::io::ErrorKind::WouldBlock)
}

// ---- links go silent, refuse, come back ---------------------------------------------------------------

/// Of two links the first goes silent in mid-transfer; the other carries the rest.
fn one_link_falls_silent(silent: &[Way]) {
    let rx = Rx::start(&[]);
    let (first, second) = (Relay::to(rx.port), Relay::to(rx.port));
    let tx = tx_over(&[first.port, second.port], &["threads", "4"]);
    let (output, bytes) = (rx.collect(), 150 * MIB);
    tx.feed(bytes);
    output.await_bytes(50 * MIB);
    first.silence(silent);
    output.await_bytes(bytes);
    // 2.5 s are promised to a machine that does nothing else
    let gap = output.longest_gap();
    assert!(gap < Duration::from_secs(5), "a gap of {gap:?}");
    assert_complete(&rx, &tx, output, bytes);
    assert!(second.passed(There) > 0);
}

#[test]
fn one_of_two_links_falls_silent_both_ways_or_either_way() {
    side_by_side([&[There, Back][..], &[There], &[Back]], one_link_falls_silent);
}

/// All there is falls silent for longer than a connection is believed in, then comes back.
#[test]
fn the_only_link_falls_silent_and_comes_back() {
    let rx = Rx::start(&[]);
    let relay = Relay::to(rx.port);
    let tx = tx_over(&[relay.port], &["threads", "4", "verbose", "2"]);
    let (output, bytes) = (rx.collect(), 100 * MIB);
    tx.feed(bytes);
    output.await_bytes(30 * MIB);
    relay.silence(&[There, Back]);
    tx.expect("silent; passed over until it answers");
    relay.silence(&[]);
    assert_complete(&rx, &tx, output, bytes);
}

#[test]
fn a_link_that_is_dead_from_the_start_is_passed_over() {
    // connects, and says nothing ever: nobody accepts behind it
    let nobody = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let silent = Relay::to(nobody.local_addr().unwrap().port());
    silent.silence(&[There, Back]);
    for dead in [silent.port, free_port()] {
        let rx = Rx::start(&[]);
        let tx = tx_over(&[dead, rx.port], &["threads", "4"]);
        let output = rx.collect();
        tx.feed(20 * MIB);
        assert_complete(&rx, &tx, output, 20 * MIB);
        assert_eq!(tx.said(), "");
    }
}

#[test]
fn a_link_that_is_refused_for_a_while_is_used_again() {
    let rx = Rx::start(&[]);
    let relay = Relay::to(rx.port);
    let tx = tx_over(&[relay.port], &["threads", "4", "verbose", "2"]);
    let (mut input, output) = (tx.stdin(), rx.collect());
    feed(&mut input, 0, MIB).unwrap();
    output.await_bytes(MIB);
    relay.refuse(true);
    relay.kill_all();
    tx.expect("passed over until it answers");
    feed(&mut input, MIB, 5 * MIB).unwrap();
    relay.refuse(false);
    drop(input);
    assert_complete(&rx, &tx, output, 6 * MIB);
}

/// A path that changes bytes is no path: the connection is given up, and nothing it said is believed.
#[test]
fn acknowledgements_are_garbled() {
    let rx = Rx::start(&[]);
    let relay = Relay::to(rx.port);
    let tx = tx_over(&[relay.port], &["threads", "4"]);
    let (mut input, output, rounds) = (tx.stdin(), rx.collect(), 10);
    for round in 0..rounds {
        feed(&mut input, round * 8 * MIB, 8 * MIB).unwrap();
        // as long as the input is open, acknowledgements come
        relay.corrupt(Back);
    }
    drop(input);
    assert_complete(&rx, &tx, output, rounds * 8 * MIB);
    assert!(relay.accepted() > 4, "{}", relay.accepted());
}

/// Everything at once, in an order that the seed decides, on three links; then one link is healed.
#[test]
fn storms_pass() {
    let seeds = std::env::var("STORMS").ok().and_then(|n| n.parse().ok()).unwrap_or(2);
    (1..=seeds).for_each(storm);
}

fn storm(seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut choose = |from: u64| random.random_range(0..from);
    let rx = Rx::start(&["buffer", "16M"]);
    let links = [(); 3].map(|()| Relay::to(rx.port));
    let threads = (1 + choose(16)).to_string();
    let tx = tx_over(&links.each_ref().map(|link| link.port), &["threads", &threads, "buffer", "16M"]);
    let (output, bytes) = (rx.collect(), 150 * MIB);
    tx.feed(bytes);
    for _ in 0..40 {
        let link = &links[choose(3) as usize];
        match choose(7) {
            0 => _ = link.kill_all(),
            1 | 2 => link.kill(choose(16) as usize),
            3 => link.silence([&[There, Back][..], &[There], &[Back], &[]][choose(4) as usize]),
            4 => link.silence(&[]),
            5 => link.refuse(choose(2) == 0),
            _ => {}
        }
        let goal = output.bytes() + choose(5 * MIB);
        eventually(Duration::from_millis(200), || output.bytes() >= goal);
    }
    let healed = &links[choose(3) as usize];
    healed.silence(&[]);
    healed.refuse(false);
    let (before, healing) = (output.bytes(), Instant::now());
    assert_complete(&rx, &tx, output, bytes);
    let (threads, time) = (&threads, healing.elapsed());
    println!("storm {seed}, {threads} threads: {before} bytes, then healed, then {time:?}");
}

// ---- the last words are lost --------------------------------------------------------------------------

#[test]
fn the_end_of_the_stream_is_lost_on_the_way() {
    let rx = Rx::start(&[]);
    let relay = Relay::to(rx.port);
    let tx = tx_over(&[relay.port], &["threads", "3"]);
    let (mut input, output) = (tx.stdin(), rx.collect());
    feed(&mut input, 0, MIB).unwrap();
    output.await_bytes(MIB);
    relay.silence(&[There]);
    feed(&mut input, MIB, 100).unwrap();
    drop(input);
    let sent = relay.passed(There);
    relay.kill_all();
    assert_eq!(relay.passed(There), sent);
    relay.silence(&[]);
    assert_complete(&rx, &tx, output, MIB + 100);
}

/// A stream that is delivered, with a verdict that the relay holds.
fn judged(rx: &Rx) -> (Relay, Process) {
    let relay = Relay::to(rx.port);
    let tx = tx_over(&[relay.port], &["threads", "3"]);
    let (mut input, output) = (tx.stdin(), rx.collect());
    feed(&mut input, 0, MIB).unwrap();
    output.await_bytes(MIB);
    relay.silence(&[Back]);
    drop(input);
    // the output is closed just before the verdict
    assert_eq!(output.join(), MIB);
    (relay, tx)
}

#[test]
fn the_verdict_is_lost_on_the_way() {
    let rx = Rx::start(&[]);
    let (relay, tx) = judged(&rx);
    relay.kill_all();
    relay.silence(&[]);
    assert_eq!((tx.wait().code(), rx.wait().code()), (Some(0), Some(0)), "{tx}\n{rx}");
}

/// The receiver does not know that the sender knows; it waits a while, keeps its word, and takes no other.
#[test]
fn the_bye_is_lost_on_the_way() {
    let rx = Rx::start(&["patience", "3"]);
    let (relay, tx) = judged(&rx);
    relay.silence(&[There]);
    assert_eq!(tx.wait().code(), Some(0), "{tx}");
    relay.refuse(true);
    relay.kill_all();
    let next = util::tx(rx.port, &[]);
    assert_eq!(rx.wait().code(), Some(0), "{rx}");
    let second = Process::start(&["rx", &rx.port.to_string()]);
    carry(&second, &next, MIB);
}

/// Every byte arrived, but whether the output took them was never said: the sender does not claim to know.
#[test]
fn the_verdict_never_comes() {
    let rx = Rx::start(&["patience", "1"]);
    let relay = Relay::to(rx.port);
    let tx = tx_over(&[relay.port], &["threads", "3", "patience", "1", "verbose", "5"]);
    let mut input = tx.stdin();
    feed(&mut input, 0, 1000).unwrap();
    drop(input);
    // the pipe has everything, and nobody has read it: the sender is told so much, and there is no verdict yet
    tx.expect("delivered: 1000");
    tx.expect("Fin(");
    relay.refuse(true);
    relay.kill_all();
    let (code, said) = tx.end();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("all has arrived, but no verdict: "), "{said}");
}
