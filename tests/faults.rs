//! Whatever happens to connections, links and processes: the bytes come out right, or both ends say why not.

mod util;

use millipede::sys::signal::ignored_at_start;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::io::Read;
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};
use util::proxy::Proxy;
use util::{Process, Rx, Signal, assert_complete, check, eventually, feed, free_port, tx, until_still};

const MIB: u64 = 1 << 20;

/// How long the fault itself lasts: no wait for something to happen.
fn lasting(time: Duration) {
    std::thread::sleep(time);
}

/// A sender over these links, in this order, with these words more.
fn tx_over(ports: &[u16], words: &[&str]) -> Process {
    let mut all: Vec<String> = Vec::new();
    for port in ports {
        all.extend(["tx".into(), "127.0.0.1".into(), port.to_string()]);
    }
    all.extend(words.iter().map(|word| word.to_string()));
    Process::start(&all.iter().map(String::as_str).collect::<Vec<_>>())
}

// ---- connections are killed ---------------------------------------------------------------------------

#[test]
fn one_connection_after_the_other_is_killed() {
    let rx = Rx::start(&[]);
    let proxy = Proxy::to(rx.port);
    let tx = tx_over(&[proxy.port], &["threads", "8"]);
    let (output, bytes) = (rx.collect(), 300 * MIB);
    tx.feed(bytes);
    let mut random = SmallRng::seed_from_u64(1);
    for at in (0..bytes - 20 * MIB).step_by(6 * MIB as usize) {
        output.await_bytes(at);
        proxy.kill(random.random_range(0..8));
    }
    assert_complete(&rx, &tx, output, bytes);
    assert!(proxy.killed() > 20, "{}", proxy.killed());
    assert_eq!(tx.said(), "", "what heals at once is not mentioned");
}

#[test]
fn all_connections_are_killed_three_times() {
    let rx = Rx::start(&[]);
    let proxy = Proxy::to(rx.port);
    let tx = tx_over(&[proxy.port], &["threads", "8"]);
    let (output, bytes) = (rx.collect(), 200 * MIB);
    tx.feed(bytes);
    for kill in 1..=3 {
        output.await_bytes(kill * 45 * MIB);
        proxy.await_open(1);
        proxy.kill_all();
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
    let proxy = Proxy::to(rx.port);
    let tx = tx_over(&[proxy.port], &["threads", "3"]);
    let (mut input, output) = (tx.stdin(), rx.collect());
    for piece in 0..10 {
        feed(&mut input, piece * 1000, 1000).unwrap();
        if piece % 3 != 1 {
            output.await_bytes((piece + 1) * 1000);
        }
        proxy.await_open(1);
        proxy.kill_all();
    }
    drop(input);
    proxy.await_open(1);
    proxy.kill_all();
    assert_complete(&rx, &tx, output, 10_000);
}

#[test]
fn connections_are_killed_by_the_kernel() {
    let works = Command::new("ss").args(["-tK", "dst", "127.0.0.1", "dport", "=", "1"]).output();
    // where the kernel lacks it, ss says so and succeeds
    if !works.is_ok_and(|out| out.status.success() && out.stderr.is_empty()) || !ss_kills() {
        return eprintln!("skipped: connections_are_killed_by_the_kernel (no ss -tK here)");
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
fn one_link_falls_silent(data: bool, acks: bool) {
    let rx = Rx::start(&[]);
    let (first, second) = (Proxy::to(rx.port), Proxy::to(rx.port));
    let tx = tx_over(&[first.port, second.port], &["threads", "4"]);
    let (output, bytes) = (rx.collect(), 150 * MIB);
    tx.feed(bytes);
    output.await_bytes(50 * MIB);
    first.hold(data, acks);
    output.await_bytes(bytes);
    // 2.5 s are promised to a machine that does nothing else
    let gap = output.longest_gap();
    assert!(gap < Duration::from_secs(5), "a gap of {gap:?}");
    assert_complete(&rx, &tx, output, bytes);
    assert!(second.passed()[0] > 0);
}

#[test]
fn one_of_two_links_falls_silent_both_ways_or_either_way() {
    std::thread::scope(|scope| {
        for (data, acks) in [(true, true), (true, false), (false, true)] {
            scope.spawn(move || one_link_falls_silent(data, acks));
        }
    });
}

/// All there is falls silent for longer than a connection is believed in, then comes back.
#[test]
fn the_only_link_falls_silent_and_comes_back() {
    let rx = Rx::start(&[]);
    let proxy = Proxy::to(rx.port);
    let tx = tx_over(&[proxy.port], &["threads", "4", "verbose", "2"]);
    let (output, bytes) = (rx.collect(), 100 * MIB);
    tx.feed(bytes);
    output.await_bytes(30 * MIB);
    proxy.hold(true, true);
    tx.expect("silent; passed over until it answers");
    proxy.hold(false, false);
    assert_complete(&rx, &tx, output, bytes);
}

#[test]
fn a_link_that_is_dead_from_the_start_is_passed_over() {
    let silent = Proxy::to(free_port());
    silent.hold(true, true);
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
    let proxy = Proxy::to(rx.port);
    let tx = tx_over(&[proxy.port], &["threads", "4", "verbose", "2"]);
    let (mut input, output) = (tx.stdin(), rx.collect());
    feed(&mut input, 0, MIB).unwrap();
    output.await_bytes(MIB);
    proxy.refuse(true);
    proxy.kill_all();
    tx.expect("passed over until it answers");
    feed(&mut input, MIB, 5 * MIB).unwrap();
    proxy.refuse(false);
    drop(input);
    assert_complete(&rx, &tx, output, 6 * MIB);
}

/// A path that changes bytes is no path: the connection is given up, and nothing it said is believed.
#[test]
fn acknowledgements_are_garbled() {
    let rx = Rx::start(&[]);
    let proxy = Proxy::to(rx.port);
    let tx = tx_over(&[proxy.port], &["threads", "4"]);
    let (mut input, output, rounds) = (tx.stdin(), rx.collect(), 10);
    for round in 0..rounds {
        feed(&mut input, round * 8 * MIB, 8 * MIB).unwrap();
        // as long as the input is open, acknowledgements come
        proxy.garble_acks();
    }
    drop(input);
    assert_complete(&rx, &tx, output, rounds * 8 * MIB);
    assert!(proxy.accepted() > 4, "{}", proxy.accepted());
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
    let links = [(); 3].map(|()| Proxy::to(rx.port));
    let threads = (1 + choose(16)).to_string();
    let tx = tx_over(&links.each_ref().map(|link| link.port), &["threads", &threads, "buffer", "16M"]);
    let (output, bytes) = (rx.collect(), 150 * MIB);
    tx.feed(bytes);
    for _ in 0..40 {
        let link = &links[choose(3) as usize];
        match choose(7) {
            0 => link.kill_all(),
            1 | 2 => link.kill(choose(16) as usize),
            3 => link.hold(choose(2) == 0, choose(2) == 0),
            4 => link.hold(false, false),
            5 => link.refuse(choose(2) == 0),
            _ => {}
        }
        let goal = output.bytes() + choose(5 * MIB);
        eventually(Duration::from_millis(200), || output.bytes() >= goal);
    }
    let healed = &links[choose(3) as usize];
    healed.hold(false, false);
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
    let proxy = Proxy::to(rx.port);
    let tx = tx_over(&[proxy.port], &["threads", "3"]);
    let (mut input, output) = (tx.stdin(), rx.collect());
    feed(&mut input, 0, MIB).unwrap();
    output.await_bytes(MIB);
    proxy.hold(true, false);
    feed(&mut input, MIB, 100).unwrap();
    drop(input);
    let sent = proxy.passed();
    proxy.kill_all();
    assert_eq!(proxy.passed()[0], sent[0]);
    proxy.hold(false, false);
    assert_complete(&rx, &tx, output, MIB + 100);
}

/// A stream that is delivered, with a verdict that the proxy holds.
fn judged(rx: &Rx) -> (Proxy, Process) {
    let proxy = Proxy::to(rx.port);
    let tx = tx_over(&[proxy.port], &["threads", "3"]);
    let (mut input, output) = (tx.stdin(), rx.collect());
    feed(&mut input, 0, MIB).unwrap();
    output.await_bytes(MIB);
    proxy.hold(false, true);
    drop(input);
    // the output is closed just before the verdict
    assert_eq!(output.join(), MIB);
    (proxy, tx)
}

#[test]
fn the_verdict_is_lost_on_the_way() {
    let rx = Rx::start(&[]);
    let (proxy, tx) = judged(&rx);
    proxy.kill_all();
    proxy.hold(false, false);
    assert_eq!((tx.wait().code(), rx.wait().code()), (Some(0), Some(0)), "{tx}\n{rx}");
}

/// The receiver does not know that the sender knows; it waits a while, keeps its word, and takes no other.
#[test]
fn the_bye_is_lost_on_the_way() {
    let rx = Rx::start(&["patience", "3"]);
    let (proxy, tx) = judged(&rx);
    proxy.hold(true, false);
    assert_eq!(tx.wait().code(), Some(0), "{tx}");
    proxy.refuse(true);
    proxy.kill_all();
    let next = util::tx(rx.port, &[]);
    assert_eq!(rx.wait().code(), Some(0), "{rx}");
    let second = Process::start(&["rx", &rx.port.to_string()]);
    util::carry(&second, &next, MIB);
}

/// Every byte arrived, but whether the output took them was never said: the sender does not claim to know.
#[test]
fn the_verdict_never_comes() {
    let rx = Rx::start(&["patience", "1"]);
    let proxy = Proxy::to(rx.port);
    let tx = tx_over(&[proxy.port], &["threads", "3", "patience", "1", "verbose", "5"]);
    let mut input = tx.stdin();
    feed(&mut input, 0, 1000).unwrap();
    drop(input);
    // the pipe has everything, and nobody has read it: the sender is told so much, and there is no verdict yet
    tx.expect("delivered: 1000");
    proxy.refuse(true);
    proxy.kill_all();
    let (code, said) = tx.end();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("is not known"), "{said}");
}

// ---- ends sleep, stop, die ----------------------------------------------------------------------------

/// A sink that does not read is alive: no connection is closed, and nothing is lost.
#[test]
fn the_sink_sleeps() {
    let rx = Rx::start(&["buffer", "4M", "verbose", "2"]);
    let proxy = Proxy::to(rx.port);
    let tx = tx_over(&[proxy.port], &["threads", "4", "buffer", "4M", "verbose", "2"]);
    let bytes = 60 * MIB;
    tx.feed(bytes);
    proxy.await_open(4);
    until_still(|| proxy.passed()[0] / (256 << 10));
    // longer than a silent connection lives
    lasting(Duration::from_secs(5));
    assert_eq!((proxy.open(), proxy.accepted()), (4, 4), "{tx}\n{rx}");
    let output = rx.collect();
    assert_complete(&rx, &tx, output, bytes);
}

#[test]
fn either_end_is_stopped_for_a_while() {
    std::thread::scope(|scope| {
        for receiver in [true, false] {
            scope.spawn(move || stopped(receiver));
        }
    });
}

/// For longer than a silent connection lives; nobody is blamed for it.
fn stopped(receiver: bool) {
    let rx = Rx::start(&[]);
    let tx = tx(rx.port, &["threads", "4"]);
    let (output, bytes) = (rx.collect(), 150 * MIB);
    tx.feed(bytes);
    output.await_bytes(50 * MIB);
    let end = if receiver { &*rx } else { &tx };
    end.signal(Signal::STOP);
    lasting(Duration::from_secs(5));
    end.signal(Signal::CONT);
    assert_complete(&rx, &tx, output, bytes);
}

#[test]
fn the_sender_says_so_when_the_receiver_is_killed() {
    let rx = Rx::start(&[]);
    let tx = tx(rx.port, &[]);
    let output = rx.collect();
    tx.feed(4000 * MIB);
    output.await_bytes(20 * MIB);
    rx.signal(Signal::KILL);
    let killed = Instant::now();
    assert_eq!(tx.wait_for(Duration::from_secs(25)).code(), Some(1), "{tx}");
    assert!(killed.elapsed() < Duration::from_secs(20), "{:?}", killed.elapsed());
    let (_, said) = tx.end();
    assert!(said.lines().last().unwrap().contains("the receiver is gone"), "{said}");
    output.join();
}

#[test]
fn the_receiver_says_so_when_the_sender_is_killed() {
    let rx = Rx::start(&["patience", "4"]);
    let tx = tx(rx.port, &[]);
    let output = rx.collect();
    tx.feed(4000 * MIB);
    output.await_bytes(20 * MIB);
    tx.signal(Signal::KILL);
    assert_eq!(rx.wait_for(Duration::from_secs(10)).code(), Some(1), "{rx}");
    let (_, said) = rx.end();
    assert!(said.contains("no connection from the sender for 4 s"), "{said}");
    output.join();
}

#[test]
fn the_sender_has_no_more_patience_than_it_was_given() {
    let rx = Rx::start(&[]);
    let proxy = Proxy::to(rx.port);
    let tx = tx_over(&[proxy.port], &["patience", "2"]);
    let (mut input, output) = (tx.stdin(), rx.collect());
    feed(&mut input, 0, MIB).unwrap();
    output.await_bytes(MIB);
    proxy.refuse(true);
    proxy.kill_all();
    assert_eq!(tx.wait_for(Duration::from_secs(10)).code(), Some(1), "{tx}");
    let (_, said) = tx.end();
    assert!(said.contains("no connection for 2 s"), "{said}");
}

#[test]
fn nobody_listens_and_patience_ends() {
    let (code, said) = tx(free_port(), &["patience", "1"]).end();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("connection refused"), "{said}");
}

/// The output is a prefix, and the receiver knows at once that it is no more than that.
#[test]
fn the_sender_is_ended_by_a_signal() {
    use std::os::unix::process::ExitStatusExt;
    for (signal, number) in [(Signal::INT, 2), (Signal::TERM, 15), (Signal::HUP, 1)] {
        if ignored_at_start(number) {
            eprintln!("skipped: the_sender_is_ended_by_a_signal, {signal:?} (ignored here from the start)");
            continue;
        }
        let rx = Rx::start(&[]);
        let tx = tx(rx.port, &["threads", "4"]);
        let (mut input, output) = (tx.stdin(), rx.collect());
        feed(&mut input, 0, 5 * MIB).unwrap();
        output.await_bytes(5 * MIB);
        tx.signal(signal);
        assert_eq!(tx.wait_for(Duration::from_secs(8)).signal(), Some(number), "{tx}");
        assert_eq!(rx.wait_for(Duration::from_secs(8)).code(), Some(1), "{rx}");
        assert_eq!(output.join(), 5 * MIB);
    }
}

#[test]
fn the_receiver_is_ended_by_a_signal() {
    use std::os::unix::process::ExitStatusExt;
    let rx = Rx::start(&[]);
    let tx = tx(rx.port, &["threads", "4"]);
    let output = rx.collect();
    tx.feed(4000 * MIB);
    output.await_bytes(20 * MIB);
    rx.signal(Signal::TERM);
    assert_eq!(rx.wait_for(Duration::from_secs(8)).signal(), Some(15), "{rx}");
    assert_eq!(tx.wait_for(Duration::from_secs(8)).code(), Some(1), "{tx}");
    output.join();
}

/// Another receiver at the same port does not have the first part of the stream, and is not given the second.
#[test]
fn a_fresh_receiver_is_not_mistaken_for_the_old_one() {
    let rx = Rx::start(&[]);
    let port = rx.port;
    let first = tx(port, &["threads", "4"]);
    let (mut input, output) = (first.stdin(), rx.collect());
    feed(&mut input, 0, 5 * MIB).unwrap();
    output.await_bytes(5 * MIB);
    rx.signal(Signal::KILL);
    output.join();
    let mut fresh = Process::start(&["rx", &port.to_string()]);
    // until the port of the one that was killed is free
    while fresh.ends_within(Duration::from_millis(300)) {
        fresh = Process::start(&["rx", &port.to_string()]);
    }
    let (code, said) = first.end();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("not that receiver"), "{said}");
    let said = fresh.said();
    assert!(said.lines().count() == 1 && said.contains("refused: not that receiver"), "{said}");
    util::carry(&fresh, &tx(port, &[]), MIB);
}

/// The output that remains of a session that was cut is a prefix, whatever was under way.
#[test]
fn what_came_before_a_cut_is_a_prefix() {
    let rx = Rx::start(&["patience", "1"]);
    let proxy = Proxy::to(rx.port);
    let tx = tx_over(&[proxy.port], &["patience", "1", "threads", "16"]);
    let mut output = rx.stdout();
    tx.feed(4000 * MIB);
    let mut first = vec![0; 20 * MIB as usize];
    output.read_exact(&mut first).unwrap();
    check(0, &first);
    proxy.refuse(true);
    proxy.kill_all();
    let mut rest = Vec::new();
    output.read_to_end(&mut rest).unwrap();
    check(first.len() as u64, &rest);
    assert_eq!((tx.wait().code(), rx.wait().code()), (Some(1), Some(1)), "{tx}\n{rx}");
}
