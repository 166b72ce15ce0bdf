//! Both directions over the same connections: who may come, what a peer may say, and tunnels.

use crate::util::pair::{Duplex, entrance};
use crate::util::{
    DEADLINE, Rx, Signal, carry, connect, echo, eventually, feed, free_port, ping, server, there_and_back, tx,
};
use millipede::proto::hello::{Direction, Features, Hello, Id, Reply, Welcome};
use millipede::proto::wire::{Frame, WindowEdge, decode};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

// ---- who may come --------------------------------------------------------------------------------------

#[test]
fn duplex_at_one_end_only_is_refused_and_the_receiver_goes_on_waiting() {
    let l = Rx::start(&["duplex"]);
    let d = tx(l.port, &[]);
    let (status, said) = d.end();
    assert_eq!(status, Some(3), "{said}");
    assert!(said.contains("only the receiver says duplex; both must"), "{said}");
    assert!(!l.has_ended());
    let d = tx(l.port, &["duplex"]);
    let at_l = l.collect();
    d.feed(5000);
    assert_eq!((d.end().0, l.end().0, at_l.join()), (Some(0), Some(0), 5000));

    let l = Rx::start(&[]);
    let d = tx(l.port, &["duplex"]);
    let (status, said) = d.end();
    assert_eq!(status, Some(3), "{said}");
    assert!(said.contains("only the sender says duplex; both must"), "{said}");
    carry(&l, &tx(l.port, &[]), 5000);
}

#[test]
fn another_session_is_refused_while_either_stream_goes_on() {
    let pair = Duplex::start(&["charmode"], &["charmode", "threads", "2"]);
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
    Hello { attempt: 1, ..Hello::of(Id::new([9; 16]), Features::DUPLEX, 8 << 20) }
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
        edge: WindowEdge { bytes: 1 << 20, legs: 100 },
        leg_max: 64 << 10,
        features: Features::DUPLEX,
        buffer: 4 << 20,
    };
    stream.write_all(&Reply::Welcome(welcome).encode()).unwrap();
    let mut bytes = [0; 76];
    stream.read_exact(&mut bytes).unwrap();
    let Ok(Some((Reply::Welcome(its), 76))) = Reply::decode(&bytes) else { panic!("no welcome: {bytes:?}") };
    assert_eq!((its.next, its.leg_max, its.buffer), (0, 128 << 10, 8 << 20), "the smaller buffer decides");
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
    assert_eq!(rest, [0; 0], "nothing is said to who is not known");
    // it says something else
    let mut wrong = say_hello(l.port, 2);
    wrong.write_all(&[0x13; 200]).unwrap();
    let _ = wrong.read_to_end(&mut rest);
    assert_eq!(rest, [0; 0]);
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
        let pair = if l_terminates { Duplex::start(&near, &far) } else { Duplex::start(&far, &near) };
        let entrance = entrance(if l_terminates { &pair.l } else { &pair.d });
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
    let words = ["initiate", "127.0.0.1", &free_port().to_string()];
    let pair = Duplex::start(&words, &words);
    let (status, said) = pair.d.end();
    assert_eq!(status, Some(3), "{said}");
    assert!(said.contains("both initiate"), "{said}");
    assert!(!pair.l.has_ended(), "it waits for one that terminates");
}

#[test]
fn a_tunnel_for_one_connection_ends_with_it() {
    let target = server(echo).to_string();
    let pair =
        Duplex::start(&["initiate", "127.0.0.1", &target], &["terminate", "0", "oneshot", "threads", "2"]);
    let entrance = entrance(&pair.d);
    there_and_back(connect(entrance), 1_000_000);
    pair.assert_ended(0, 0);
}
