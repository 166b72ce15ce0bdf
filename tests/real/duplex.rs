//! Both directions over the same connections: the two streams, breaks, ends and failures.

use crate::util::pair::Duplex;
use crate::util::relay::{Back, Relay, There};
use crate::util::{Collector, DEADLINE, Process, Rx, Signal, eventually, feed, free_port};
use crate::util::{millipede, side_by_side, tx};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

// ---- two streams ---------------------------------------------------------------------------------------

#[test]
fn each_way_carries_its_own_stream() {
    for words in [&[][..], &["threads", "1"], &["checksum", "threads", "3"], &["buffer", "4M"]] {
        let pair = Duplex::start(&[], words);
        let (at_l, at_d) = (pair.l.collect(), pair.d.collect());
        pair.l.feed(7_000_000);
        pair.d.feed(20_000_000);
        pair.assert_ended(0, 0);
        assert_eq!((at_l.join(), at_d.join()), (20_000_000, 7_000_000), "{words:?}");
        assert_eq!((pair.l.said().lines().count(), pair.d.said()), (1, String::new()), "{}", pair.l);
    }
}

#[test]
fn empty_streams_end_too() {
    for (to_l, to_d) in [(0, 0), (1, 0), (0, 1_000_000)] {
        let pair = Duplex::start(&[], &[]);
        let (at_l, at_d) = (pair.l.collect(), pair.d.collect());
        pair.d.feed(to_l);
        pair.l.feed(to_d);
        pair.assert_ended(0, 0);
        assert_eq!((at_l.join(), at_d.join()), (to_l, to_d));
    }
}

/// As inetd starts a service, or socat with EXEC.
#[test]
fn an_end_on_one_socket_passes_the_end_of_the_stream_on() {
    let (near, mut service) = UnixStream::pair().unwrap();
    service.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut command = millipede(&["rx", "0", "duplex"]);
    command.stdin(OwnedFd::from(near.try_clone().unwrap())).stdout(OwnedFd::from(near));
    let rx = Rx::spawn(&mut command);
    // it has both descriptors of this process
    drop(command);
    let tx = tx(rx.port, &["duplex"]);
    tx.keep();
    tx.stdin().write_all(b"the request").unwrap();
    let mut request = String::new();
    service.read_to_string(&mut request).unwrap();
    assert_eq!(request, "the request");
    service.write_all(b"the answer").unwrap();
    drop(service);
    let tx = tx.finish();
    assert_eq!((tx.code(), tx.text(), rx.wait().code()), (0, "the answer", Some(0)), "{tx:?} {rx}");
}

#[test]
fn a_conversation_goes_back_and_forth() {
    let pair = Duplex::start(&["charmode"], &["charmode", "threads", "2"]);
    let (mut to_l, mut to_d) = (pair.d.stdin(), pair.l.stdin());
    let (at_l, at_d) = (pair.l.collect(), pair.d.collect());
    for round in 0..50 {
        feed(&mut to_l, round * 10, 10).unwrap();
        at_l.await_bytes((round + 1) * 10);
        feed(&mut to_d, round * 20, 20).unwrap();
        at_d.await_bytes((round + 1) * 20);
    }
    drop((to_l, to_d));
    pair.assert_ended(0, 0);
}

#[test]
fn either_may_start_first_and_the_words_of_a_stream_stand_with_rx_too() {
    let net = Relay::to(free_port());
    let refused = tx(net.port, &["duplex", "threads", "1", "prbs", "7", "leglimit", "1", "verbose", "2"]);
    refused.expect("passed over");
    let pair = Duplex::start(
        &["prbs", "3", "leglimit", "2", "rate", "100M", "verbose", "1"],
        &["prbs", "3", "leglimit", "1", "checksum", "verbose", "1"],
    );
    // verified by who receives
    let read_all = |process: &Process| {
        let mut out = process.stdout();
        std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()).unwrap())
    };
    let (at_l, at_d) = (read_all(&pair.l), read_all(&pair.d));
    pair.assert_ended(0, 0);
    assert_eq!((at_l.join().unwrap(), at_d.join().unwrap()), (2 << 20, 4 << 20));
    for process in [&pair.d, &*pair.l] {
        let said = process.said();
        assert!(said.contains("sent ") && said.contains("received "), "{said}");
    }
}

#[test]
fn both_ends_report_both_streams_whatever_has_ended() {
    let pair = Duplex::start(&["charmode"], &["charmode", "threads", "2"]);
    let (at_l, at_d) = (pair.l.collect(), pair.d.collect());
    let mut input = pair.l.stdin();
    feed(&mut input, 0, 500).unwrap();
    at_d.await_bytes(500);
    pair.d.feed(0);
    assert_eq!(at_l.join(), 0);
    for (process, link) in
        [(&pair.d, format!("127.0.0.1:{}", pair.net.port)), (&*pair.l, "from 127.0.0.1".into())]
    {
        process.signal(Signal::USR1);
        process.expect("millipede: rx: ");
        process.expect("millipede: tx: ");
        process.expect(&link);
    }
    drop(input);
    pair.assert_ended(0, 0);
}

// ---- ends and breaks -----------------------------------------------------------------------------------

#[test]
fn the_end_of_either_stream_leaves_the_other_even_when_every_connection_dies_afterwards() {
    for l_ends in [true, false] {
        let pair = Duplex::start(&["charmode"], &["charmode", "threads", "3"]);
        let (at_l, at_d) = (pair.l.collect(), pair.d.collect());
        let (ends, goes_on) = if l_ends { (&*pair.l, &pair.d) } else { (&pair.d, &*pair.l) };
        let (mut input, (ended, going)) = (goes_on.stdin(), if l_ends { (at_d, at_l) } else { (at_l, at_d) });
        ends.feed(100_000);
        assert_eq!(ended.join(), 100_000);
        for round in 0..5 {
            feed(&mut input, round * 1000, 1000).unwrap();
            going.await_bytes((round + 1) * 1000);
            pair.net.await_open(1);
            pair.net.kill_all();
        }
        feed(&mut input, 5000, 3_000_000).unwrap();
        assert!([&pair.d, &*pair.l].iter().all(|process| !process.has_ended()));
        drop(input);
        assert_eq!(going.join(), 3_005_000);
        pair.assert_ended(0, 0);
    }
}

#[test]
fn connections_may_die_at_any_time() {
    let pair = Duplex::start(&["verbose", "3"], &["threads", "5", "verbose", "3"]);
    let (at_l, at_d) = (pair.l.collect(), pair.d.collect());
    let bytes = [60_000_000, 40_000_000];
    pair.d.feed(bytes[0]);
    pair.l.feed(bytes[1]);
    let mut number = 0usize;
    for part in 1..20 {
        let wanted = bytes[0] * part / 20;
        let ended = || [&pair.d, &*pair.l].iter().any(|process| process.has_ended());
        eventually(DEADLINE, || at_l.bytes() >= wanted || ended());
        assert!(at_l.bytes() >= wanted, "{} of {wanted} bytes: {}\n{}", at_l.bytes(), pair.l, pair.d);
        number = number.wrapping_mul(31).wrapping_add(7);
        if part % 6 == 0 { _ = pair.net.kill_all() } else { pair.net.kill(number) }
    }
    pair.assert_ended(0, 0);
    assert_eq!((at_l.join(), at_d.join()), (bytes[0], bytes[1]));
    assert!(pair.net.killed() >= 10, "{} were killed", pair.net.killed());
}

#[test]
fn a_network_that_falls_silent_is_outlived_by_both_streams() {
    let pair = Duplex::start(&["charmode"], &["charmode", "threads", "2"]);
    let (at_l, at_d) = (pair.l.collect(), pair.d.collect());
    let (mut to_l, mut to_d) = (pair.d.stdin(), pair.l.stdin());
    feed(&mut to_l, 0, 1000).unwrap();
    feed(&mut to_d, 0, 1000).unwrap();
    at_l.await_bytes(1000);
    at_d.await_bytes(1000);
    pair.net.silence(&[There, Back]);
    feed(&mut to_l, 1000, 1000).unwrap();
    feed(&mut to_d, 1000, 1000).unwrap();
    pair.d.expect("giving up in");
    pair.l.expect("no connection from the sender");
    pair.net.silence(&[]);
    at_l.await_bytes(2000);
    at_d.await_bytes(2000);
    pair.d.expect("the transfer goes on");
    pair.l.expect("the transfer goes on");
    drop((to_l, to_d));
    pair.assert_ended(0, 0);
}

#[test]
fn a_process_that_was_stopped_goes_on() {
    side_by_side([true, false], |at_d| {
        let words = ["rate", "10M", "verbose", "2"];
        let pair = Duplex::start(&words, &[&words[..], &["threads", "2"]].concat());
        let (at_l, at_d_out) = (pair.l.collect(), pair.d.collect());
        pair.d.feed(30_000_000);
        pair.l.feed(30_000_000);
        at_l.await_bytes(1_000_000);
        let (stopped, other) = sides(&pair, at_d);
        stopped.signal(Signal::STOP);
        other.expect("lost (silent)");
        stopped.signal(Signal::CONT);
        pair.assert_ended(0, 0);
        assert_eq!((at_l.join(), at_d_out.join()), (30_000_000, 30_000_000));
    });
}

#[test]
fn chaos_at_both_ends_changes_nothing() {
    let pair = Duplex::start(&["chaos", "90"], &["chaos", "70", "threads", "4", "checksum"]);
    let (at_l, at_d) = (pair.l.collect(), pair.d.collect());
    pair.d.feed(10_000_000);
    pair.l.feed(10_000_000);
    pair.assert_ended(0, 0);
    assert_eq!((at_l.join(), at_d.join()), (10_000_000, 10_000_000));
}

#[test]
fn a_slow_output_holds_up_its_own_stream_alone() {
    let pair = Duplex::start(&["buffer", "4M"], &["buffer", "4M", "threads", "2"]);
    let at_l = pair.l.collect();
    let out = pair.d.stdout();
    let mut input = pair.l.stdin();
    let stuck = std::thread::spawn(move || feed(&mut input, 0, 30_000_000));
    pair.d.feed(30_000_000);
    assert_eq!(at_l.join(), 30_000_000);
    assert!(!stuck.is_finished());
    let at_d = Collector::of(out);
    stuck.join().unwrap().unwrap();
    assert_eq!(at_d.join(), 30_000_000);
    pair.assert_ended(0, 0);
}

// ---- failures ------------------------------------------------------------------------------------------

#[test]
fn an_output_that_fails_ends_its_own_stream() {
    side_by_side([true, false], |at_d| {
        let pair = Duplex::start(&[], &["threads", "2"]);
        let (fails, goes_on) = sides(&pair, at_d);
        drop(fails.stdout());
        let output = goes_on.collect();
        let mut input = fails.stdin();
        goes_on.feed(1_000_000);
        fails.expect("; the other direction goes on");
        goes_on.expect("; the other direction goes on");
        pair.net.kill_all();
        feed(&mut input, 0, 3_000_000).unwrap();
        drop(input);
        pair.assert_ended(5, 5);
        assert_eq!(output.join(), 3_000_000);
    });
}

#[test]
fn data_that_does_not_verify_has_its_own_status() {
    let pair =
        Duplex::start(&["prbs", "1", "leglimit", "1"], &["prbs", "2", "leglimit", "1", "threads", "2"]);
    let (mut at_l, mut at_d) = (pair.l.stdout(), pair.d.stdout());
    std::thread::spawn(move || std::io::copy(&mut at_l, &mut std::io::sink()));
    std::thread::spawn(move || std::io::copy(&mut at_d, &mut std::io::sink()));
    pair.assert_ended(6, 6);
}

#[test]
fn a_signal_ends_both_ends_and_both_streams() {
    for at_d in [true, false] {
        let pair = Duplex::start(&[], &["threads", "2"]);
        let (_at_l, at_d_out) = (pair.l.collect(), pair.d.collect());
        let _inputs = pair.d.stdin();
        let mut input = pair.l.stdin();
        feed(&mut input, 0, 100_000).unwrap();
        at_d_out.await_bytes(100_000);
        let (told, other) = sides(&pair, at_d);
        told.signal(Signal::TERM);
        let (status, said) = other.end();
        assert_eq!(status, Some(1), "{other}");
        assert_eq!(said.matches("the peer: ended by SIGTERM").count(), 1, "{said}");
        assert_eq!(told.end().0, None, "{told}");
    }
}

#[test]
fn an_end_that_is_killed_is_missed() {
    side_by_side([true, false], |at_d| {
        let pair = Duplex::start(&["patience", "2"], &["threads", "2", "patience", "2"]);
        let (_at_l, at_d_out) = (pair.l.collect(), pair.d.collect());
        let _input = pair.d.stdin();
        let mut input = pair.l.stdin();
        // one stream has begun, and it is not the one whose direction owns the connections
        feed(&mut input, 0, 100_000).unwrap();
        at_d_out.await_bytes(100_000);
        assert_missed(&pair, at_d);
    });
}

#[test]
fn an_end_that_is_killed_when_one_stream_is_over_is_missed() {
    side_by_side([true, false], |at_d| {
        let pair = Duplex::start(&["patience", "2"], &["threads", "2", "patience", "2"]);
        let (at_l, _at_d_out) = (pair.l.collect(), pair.d.collect());
        let _input = pair.l.stdin();
        pair.d.feed(1000);
        assert_eq!(at_l.join(), 1000);
        assert_missed(&pair, at_d);
    });
}

/// One end is killed; the other one says, once, that nobody comes any more. What the killed end had received counts
/// only if word of that got away before: else the far end has seen nothing of a stream, and says that. Where its verdict
/// did not get away, that all has arrived is said as well.
#[track_caller]
fn assert_missed(pair: &Duplex, at_d: bool) {
    let (killed, other) = sides(pair, at_d);
    killed.signal(Signal::KILL);
    let (status, said) = other.end();
    assert_eq!(status, Some(1), "{other}");
    let ends = ["no connection", "a sender came, but nothing of a stream"];
    let tells = |line: &&str| !line.contains("all has arrived") && ends.iter().any(|end| line.contains(end));
    assert_eq!(said.lines().filter(tells).count(), 1, "{said}");
}

/// One end, the one that dials or the one that listens, and the other.
fn sides(pair: &Duplex, at_d: bool) -> (&Process, &Process) {
    if at_d { (&pair.d, &pair.l) } else { (&pair.l, &pair.d) }
}

#[test]
fn a_command_at_one_end_talks_to_the_other() {
    for at_l in [true, false] {
        let exec: &[&str] = &["exec", "tr a-z A-Z"];
        let pair = if at_l { Duplex::start(exec, &[]) } else { Duplex::start(&[], exec) };
        let other = if at_l { &pair.d } else { &*pair.l };
        let (mut input, mut output) = (other.stdin(), other.stdout());
        input.write_all(b"hello there\n").unwrap();
        drop(input);
        let mut back = String::new();
        output.read_to_string(&mut back).unwrap();
        assert_eq!(back, "HELLO THERE\n");
        pair.assert_ended(0, 0);
    }
}

#[test]
fn a_command_that_fails_fails_both_streams() {
    let pair = Duplex::start(&["exec", "cat; exit 7"], &["threads", "2"]);
    let at_d = pair.d.collect();
    pair.d.feed(1000);
    let (l, _) = pair.l.end();
    let (d, said) = pair.d.end();
    // it is the one stream's output and the other one's input: either may be heard of first
    assert!(matches!((l, d), (Some(4 | 5), Some(4 | 5))), "{}\n{}", pair.l, pair.d);
    assert!(said.contains("exited 7"), "{said}");
    at_d.join();
}
