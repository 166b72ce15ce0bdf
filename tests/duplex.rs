//! Both directions over the same connections: between real processes.

#[path = "util/pair.rs"]
mod pair;
#[path = "util/relay.rs"]
mod relay;
mod util;

use millipede::proto::hello::{Direction, Features, Hello, Id, Reply, Welcome};
use millipede::proto::wire::{Edge, Frame, decode};
use pair::{connect, echo, ping, port, server, there_and_back};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};
use util::proxy::Proxy;
use util::{DEADLINE, Process, Rx, Signal, eventually, feed, millipede, tx};

/// Two ends: one listens, the other dials it through a proxy.
struct Pair {
    l: Rx,
    d: Process,
    net: Proxy,
}

impl Pair {
    fn start(words_l: &[&str], words_d: &[&str]) -> Pair {
        let args = [&["rx", "0", "duplex"], words_l].concat();
        let l = Rx::spawn(millipede(&args).stdin(Stdio::piped()).stdout(Stdio::piped()));
        let net = Proxy::to(l.port);
        let d = tx(net.port, &[&["duplex"], words_d].concat());
        Pair { l, d, net }
    }

    fn assert_ended(&self, l: i32, d: i32) {
        assert_eq!(self.l.end().0, Some(l), "{}\n{}", self.l, self.d);
        assert_eq!(self.d.end().0, Some(d), "{}\n{}", self.d, self.l);
    }
}

// ---- two streams ---------------------------------------------------------------------------------------

#[test]
fn each_way_carries_its_own_stream() {
    for words in [&[][..], &["threads", "1"], &["checksum", "threads", "3"], &["buffer", "4M"]] {
        let pair = Pair::start(&[], words);
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
        let pair = Pair::start(&[], &[]);
        let (at_l, at_d) = (pair.l.collect(), pair.d.collect());
        pair.d.feed(to_l);
        pair.l.feed(to_d);
        pair.assert_ended(0, 0);
        assert_eq!((at_l.join(), at_d.join()), (to_l, to_d));
    }
}

#[test]
fn a_conversation_goes_back_and_forth() {
    let pair = Pair::start(&["charmode"], &["charmode", "threads", "2"]);
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
    let net = Proxy::to(util::free_port());
    let refused = tx(net.port, &["duplex", "threads", "1", "prbs", "7", "leglimit", "1", "verbose", "2"]);
    refused.expect("passed over");
    let pair = Pair::start(
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
    let pair = Pair::start(&["charmode"], &["charmode", "threads", "2"]);
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
        let pair = Pair::start(&["charmode"], &["charmode", "threads", "3"]);
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
        assert!([&pair.d, &*pair.l].iter().all(|process| !process.ends_within(Duration::ZERO)));
        drop(input);
        assert_eq!(going.join(), 3_005_000);
        pair.assert_ended(0, 0);
    }
}

#[test]
fn connections_may_die_at_any_time() {
    let pair = Pair::start(&["verbose", "3"], &["threads", "5", "verbose", "3"]);
    let (at_l, at_d) = (pair.l.collect(), pair.d.collect());
    let bytes = [60_000_000, 40_000_000];
    pair.d.feed(bytes[0]);
    pair.l.feed(bytes[1]);
    let mut number = 0usize;
    for part in 1..20 {
        let wanted = bytes[0] * part / 20;
        let ended = || [&pair.d, &*pair.l].iter().any(|process| process.ends_within(Duration::ZERO));
        eventually(DEADLINE, || at_l.bytes() >= wanted || ended());
        assert!(at_l.bytes() >= wanted, "{} of {wanted} bytes: {}\n{}", at_l.bytes(), pair.l, pair.d);
        number = number.wrapping_mul(31).wrapping_add(7);
        if part % 6 == 0 { pair.net.kill_all() } else { pair.net.kill(number) }
    }
    pair.assert_ended(0, 0);
    assert_eq!((at_l.join(), at_d.join()), (bytes[0], bytes[1]));
    assert!(pair.net.killed() >= 10, "{} were killed", pair.net.killed());
}

#[test]
fn a_network_that_falls_silent_is_outlived_by_both_streams() {
    let pair = Pair::start(&["charmode"], &["charmode", "threads", "2"]);
    let (at_l, at_d) = (pair.l.collect(), pair.d.collect());
    let (mut to_l, mut to_d) = (pair.d.stdin(), pair.l.stdin());
    feed(&mut to_l, 0, 1000).unwrap();
    feed(&mut to_d, 0, 1000).unwrap();
    at_l.await_bytes(1000);
    at_d.await_bytes(1000);
    pair.net.hold(true, true);
    feed(&mut to_l, 1000, 1000).unwrap();
    feed(&mut to_d, 1000, 1000).unwrap();
    pair.d.expect("no connection works");
    pair.l.expect("no connection from the sender");
    pair.net.hold(false, false);
    at_l.await_bytes(2000);
    at_d.await_bytes(2000);
    pair.d.expect("the transfer goes on");
    pair.l.expect("the transfer goes on");
    drop((to_l, to_d));
    pair.assert_ended(0, 0);
}

#[test]
fn a_process_that_was_stopped_goes_on() {
    for at_d in [true, false] {
        let words = ["rate", "10M", "verbose", "2"];
        let pair = Pair::start(&words, &[&words[..], &["threads", "2"]].concat());
        let (at_l, at_d_out) = (pair.l.collect(), pair.d.collect());
        pair.d.feed(30_000_000);
        pair.l.feed(30_000_000);
        at_l.await_bytes(1_000_000);
        let (stopped, other) = if at_d { (&pair.d, &*pair.l) } else { (&*pair.l, &pair.d) };
        stopped.signal(Signal::STOP);
        other.expect("lost (silent)");
        stopped.signal(Signal::CONT);
        pair.assert_ended(0, 0);
        assert_eq!((at_l.join(), at_d_out.join()), (30_000_000, 30_000_000));
    }
}

#[test]
fn chaos_at_both_ends_changes_nothing() {
    let pair = Pair::start(&["chaos", "90"], &["chaos", "70", "threads", "4", "checksum"]);
    let (at_l, at_d) = (pair.l.collect(), pair.d.collect());
    pair.d.feed(10_000_000);
    pair.l.feed(10_000_000);
    pair.assert_ended(0, 0);
    assert_eq!((at_l.join(), at_d.join()), (10_000_000, 10_000_000));
}

#[test]
fn a_slow_output_holds_up_its_own_stream_alone() {
    let pair = Pair::start(&["buffer", "4M"], &["buffer", "4M", "threads", "2"]);
    let at_l = pair.l.collect();
    let out = pair.d.stdout();
    let mut input = pair.l.stdin();
    let stuck = std::thread::spawn(move || feed(&mut input, 0, 30_000_000));
    pair.d.feed(30_000_000);
    assert_eq!(at_l.join(), 30_000_000);
    assert!(!stuck.is_finished());
    let at_d = util::Collector::of(out);
    stuck.join().unwrap().unwrap();
    assert_eq!(at_d.join(), 30_000_000);
    pair.assert_ended(0, 0);
}

// ---- failures ------------------------------------------------------------------------------------------

#[test]
fn an_output_that_fails_ends_its_own_stream() {
    for at_d in [true, false] {
        let pair = Pair::start(&[], &["threads", "2"]);
        let (fails, goes_on) = if at_d { (&pair.d, &*pair.l) } else { (&*pair.l, &pair.d) };
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
    }
}

#[test]
fn data_that_does_not_verify_has_its_own_status() {
    let pair = Pair::start(&["prbs", "1", "leglimit", "1"], &["prbs", "2", "leglimit", "1", "threads", "2"]);
    let (mut at_l, mut at_d) = (pair.l.stdout(), pair.d.stdout());
    std::thread::spawn(move || std::io::copy(&mut at_l, &mut std::io::sink()));
    std::thread::spawn(move || std::io::copy(&mut at_d, &mut std::io::sink()));
    pair.assert_ended(6, 6);
}

#[test]
fn a_signal_ends_both_ends_and_both_streams() {
    for at_d in [true, false] {
        let pair = Pair::start(&[], &["threads", "2"]);
        let (_at_l, at_d_out) = (pair.l.collect(), pair.d.collect());
        let _inputs = pair.d.stdin();
        let mut input = pair.l.stdin();
        feed(&mut input, 0, 100_000).unwrap();
        at_d_out.await_bytes(100_000);
        let (told, other) = if at_d { (&pair.d, &*pair.l) } else { (&*pair.l, &pair.d) };
        told.signal(Signal::TERM);
        let (status, said) = other.end();
        assert_eq!(status, Some(1), "{other}");
        assert_eq!(said.matches("the peer: ended by SIGTERM").count(), 1, "{said}");
        assert_eq!(told.end().0, None, "{told}");
    }
}

#[test]
fn an_end_that_is_killed_is_missed() {
    for at_d in [true, false] {
        let pair = Pair::start(&["patience", "2"], &["threads", "2", "patience", "2"]);
        let (_at_l, at_d_out) = (pair.l.collect(), pair.d.collect());
        let _input = pair.d.stdin();
        let mut input = pair.l.stdin();
        // one stream has begun, and it is not the one whose direction owns the connections
        feed(&mut input, 0, 100_000).unwrap();
        at_d_out.await_bytes(100_000);
        let (killed, other) = if at_d { (&pair.d, &*pair.l) } else { (&*pair.l, &pair.d) };
        killed.signal(Signal::KILL);
        let (status, said) = other.end();
        assert_eq!(status, Some(1), "{other}");
        assert_eq!(said.matches("no connection").count(), 1, "{said}");
    }
}

#[test]
fn an_end_that_is_killed_when_one_stream_is_over_is_missed() {
    for at_d in [true, false] {
        let pair = Pair::start(&["patience", "2"], &["threads", "2", "patience", "2"]);
        let (at_l, _at_d_out) = (pair.l.collect(), pair.d.collect());
        let _input = pair.l.stdin();
        pair.d.feed(1000);
        assert_eq!(at_l.join(), 1000);
        let (killed, other) = if at_d { (&pair.d, &*pair.l) } else { (&*pair.l, &pair.d) };
        killed.signal(Signal::KILL);
        let (status, said) = other.end();
        assert_eq!(status, Some(1), "{other}");
        assert_eq!(said.matches("no connection").count(), 1, "{said}");
    }
}

#[test]
fn a_command_at_one_end_talks_to_the_other() {
    for at_l in [true, false] {
        let exec: &[&str] = &["exec", "tr a-z A-Z"];
        let pair = if at_l { Pair::start(exec, &[]) } else { Pair::start(&[], exec) };
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
    let pair = Pair::start(&["exec", "cat; exit 7"], &["threads", "2"]);
    let at_d = pair.d.collect();
    pair.d.feed(1000);
    let (l, _) = pair.l.end();
    let (d, said) = pair.d.end();
    // it is the one stream's output and the other one's input: either may be heard of first
    assert!(matches!((l, d), (Some(4 | 5), Some(4 | 5))), "{}\n{}", pair.l, pair.d);
    assert!(said.contains("exited 7"), "{said}");
    at_d.join();
}

// ---- who may come --------------------------------------------------------------------------------------

#[test]
fn duplex_at_one_end_only_is_refused_and_the_receiver_goes_on_waiting() {
    let l = Rx::start(&["duplex"]);
    let d = tx(l.port, &[]);
    let (status, said) = d.end();
    assert_eq!(status, Some(3), "{said}");
    assert!(said.contains("the receiver says duplex and the sender does not"), "{said}");
    assert!(!l.ends_within(Duration::ZERO));
    let d = tx(l.port, &["duplex"]);
    let at_l = l.collect();
    d.feed(5000);
    assert_eq!((d.end().0, l.end().0, at_l.join()), (Some(0), Some(0), 5000));

    let l = Rx::start(&[]);
    let d = tx(l.port, &["duplex"]);
    let (status, said) = d.end();
    assert_eq!(status, Some(3), "{said}");
    assert!(said.contains("the sender says duplex and the receiver does not"), "{said}");
    util::carry(&l, &tx(l.port, &[]), 5000);
}

#[test]
fn another_session_is_refused_while_either_stream_goes_on() {
    let pair = Pair::start(&["charmode"], &["charmode", "threads", "2"]);
    let (_at_l, at_d) = (pair.l.collect(), pair.d.collect());
    let mut input = pair.l.stdin();
    pair.d.feed(0);
    feed(&mut input, 0, 1000).unwrap();
    at_d.await_bytes(1000);
    let (status, said) = tx(pair.l.port, &["duplex", "patience", "1"]).end();
    assert!(matches!(status, Some(1 | 3)), "{said}");
    feed(&mut input, 1000, 1000).unwrap();
    drop(input);
    assert_eq!(at_d.join(), 2000);
    pair.assert_ended(0, 0);
}

/// A hello as a dialling side says it.
fn hello() -> Hello {
    Hello {
        session: Id::new([9; 16]),
        instance: None,
        direction: Direction::Duplex,
        begun: false,
        checkphrase: None,
        link: 0,
        connection: 0,
        attempt: 1,
        features: Features::DUPLEX,
        buffer: 8 << 20,
        options: Vec::new(),
    }
}

/// Says hello, and is welcomed.
fn say_hello(port: u16, attempt: u32) -> TcpStream {
    let mut stream = connect(port);
    stream.write_all(&Hello { attempt, ..hello() }.encode()).unwrap();
    let mut answer = [0; 76];
    stream.read_exact(&mut answer).unwrap();
    assert!(matches!(Reply::decode(&answer), Ok(Some((Reply::Welcome(_), 76)))));
    stream
}

#[test]
fn the_side_that_dials_says_welcome_before_anything_else() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let d =
        tx(listener.local_addr().unwrap().port(), &["duplex", "threads", "1", "buffer", "8M", "checksum"]);
    d.feed(10);
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut bytes = [0; 78];
    stream.read_exact(&mut bytes).unwrap();
    let (said, _) = Hello::decode(&bytes).unwrap().expect("a whole hello");
    assert_eq!(said.direction, Direction::Duplex);
    assert!(said.features.contains(Features::DUPLEX | Features::CHECKSUM));
    let welcome = Welcome {
        instance: Id::new([3; 16]),
        next: 0,
        edge: Edge { bytes: 1 << 20, legs: 100 },
        leg_max: 64 << 10,
        features: Features::DUPLEX,
        buffer: 4 << 20,
    };
    stream.write_all(&Reply::Welcome(welcome).encode()).unwrap();
    let mut bytes = [0; 76];
    stream.read_exact(&mut bytes).unwrap();
    let Ok(Some((Reply::Welcome(its), 76))) = Reply::decode(&bytes) else { panic!("no welcome: {bytes:?}") };
    assert_eq!((its.next, its.leg_max, its.buffer), (0, 64 << 10, 8 << 20), "the smaller buffer decides");
    assert!(
        its.edge.bytes > 1 << 20
            && its.features.contains(Features::DUPLEX)
            && its.instance != Id::new([3; 16])
    );
    let mut bytes = Vec::new();
    let frame = loop {
        if let Some((frame, _)) = decode(&bytes).expect("frames follow") {
            break frame;
        }
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
    };
    assert!(matches!(frame, Frame::Leg(_) | Frame::Ping { .. } | Frame::Ack(_)), "{frame:?}");
}

#[test]
fn a_peer_that_does_not_say_welcome_in_its_turn_is_dropped() {
    let l = Rx::start(&["duplex"]);
    // it says nothing: after a while it hears the end, and nothing before that
    let mut silent = say_hello(l.port, 1);
    let mut rest = Vec::new();
    let _ = silent.read_to_end(&mut rest);
    assert_eq!(rest, [], "nothing is said to who is not known");
    // it says something else
    let mut wrong = say_hello(l.port, 2);
    wrong.write_all(&[0x13; 200]).unwrap();
    let _ = wrong.read_to_end(&mut rest);
    assert_eq!(rest, []);
    drop((silent, wrong));
    // the session that never began is forgotten, and the receiver serves another
    let at_l = l.collect();
    let served = eventually(DEADLINE, || {
        let d = tx(l.port, &["duplex", "threads", "1"]);
        let _ = feed(&mut d.stdin(), 0, 5000);
        d.end().0 == Some(0)
    });
    assert!(served, "{l}");
    assert_eq!((l.end().0, at_l.join()), (Some(0), 5000));
}

/// Otherwise a peer would have a thread here, for seconds, with every attempt it makes.
#[test]
fn a_connection_that_was_replaced_is_not_waited_for() {
    let l = Rx::start(&["duplex"]);
    let began = Instant::now();
    let mut last = say_hello(l.port, 1);
    for attempt in 2..=21 {
        let next = say_hello(l.port, attempt);
        let _ = last.read_to_end(&mut Vec::new());
        last = next;
    }
    // twenty that are waited for would take 100 s
    assert!(began.elapsed() < Duration::from_secs(25), "{l}");
}

// ---- tunnels -------------------------------------------------------------------------------------------

#[test]
fn a_tunnel_goes_either_way_and_outlives_its_connections() {
    for l_terminates in [true, false] {
        let target = server(echo).to_string();
        let (near, far) = (["terminate", "0"].to_vec(), ["initiate", "127.0.0.1", &target].to_vec());
        let pair = if l_terminates { Pair::start(&near, &far) } else { Pair::start(&far, &near) };
        let entrance = if l_terminates { &*pair.l } else { &pair.d };
        let entrance = port(entrance, "millipede: tunnel on port ");
        let mut open = connect(entrance);
        ping(&mut open, b'a');
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| there_and_back(connect(entrance), 3_000_000));
            }
            for _ in 0..3 {
                pair.net.await_open(1);
                pair.net.kill_all();
            }
        });
        ping(&mut open, b'b');
        pair.d.signal(Signal::TERM);
        assert_eq!(pair.l.end().0, Some(1), "{}", pair.l);
    }
}

#[test]
fn two_that_initiate_say_so() {
    let words = ["initiate", "127.0.0.1", &util::free_port().to_string()];
    let pair = Pair::start(&words, &words);
    let (status, said) = pair.d.end();
    assert_eq!(status, Some(3), "{said}");
    assert!(said.contains("both ends initiate"), "{said}");
    assert!(!pair.l.ends_within(Duration::ZERO), "it waits for one that terminates");
}

#[test]
fn a_tunnel_for_one_connection_ends_with_it() {
    let target = server(echo).to_string();
    let pair =
        Pair::start(&["initiate", "127.0.0.1", &target], &["terminate", "0", "oneshot", "threads", "2"]);
    let entrance = port(&pair.d, "millipede: tunnel on port ");
    there_and_back(connect(entrance), 1_000_000);
    pair.assert_ended(0, 0);
}
