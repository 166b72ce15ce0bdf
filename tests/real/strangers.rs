//! Whoever else comes to the receiver's port: it disturbs nothing, costs nothing, and is told in words.

use super::MIB;
use crate::util::stranger::{hello, say};
use crate::util::{
    DEADLINE, MILLIPEDE, Process, Rx, assert_complete, carry, connect, eventually, feed, pattern, tx,
};
use millipede::proto::hello::{HELLO_MAX, Refusal, RefusalCode, Reply, VERSION};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

/// How much more memory strangers may ever cost: what allocators and sockets do, not what anybody sends.
const NOTHING: u64 = 8 * MIB;

/// What each kind of stranger does; the connections that stay open.
fn strangers(port: u16) -> Vec<TcpStream> {
    for _ in 0..50 {
        drop(connect(port));
    }
    let mut there = Vec::new();
    for text in [&b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"[..], b"SSH-2.0-OpenSSH_9.6\r\n", b"\n", b"\xb2mil"]
    {
        let mut stream = connect(port);
        let _ = stream.write_all(text);
        there.push(stream);
    }
    for seed in 0..20u64 {
        let mut stream = connect(port);
        // sent away before the end of it
        let _ = stream.write_all(&pattern(seed << 20 | 8, 100_000));
        there.push(stream);
    }
    there
}

#[test]
fn strangers_before_a_transfer_cost_nothing() {
    let rx = Rx::start(&[]);
    // the first ones pay for what any first connection sets up
    drop(strangers(rx.port));
    let before = peak_memory(&rx);
    let _there: Vec<_> = (0..5).flat_map(|_| strangers(rx.port)).collect();
    assert!(peak_memory(&rx) <= before + NOTHING, "{before} bytes became {}", peak_memory(&rx));
    carry(&rx, &tx(rx.port, &[]), 5 * MIB);
    assert_eq!(rx.said(), format!("millipede: listening on port {}", rx.port));
}

#[test]
fn a_hundred_and_fifty_silent_connections_keep_nobody_out() {
    let rx = Rx::start(&[]);
    let _silent: Vec<_> = (0..150).map(|_| connect(rx.port)).collect();
    let before = peak_memory(&rx);
    let _more: Vec<_> = (0..150).map(|_| connect(rx.port)).collect();
    assert!(peak_memory(&rx) <= before + NOTHING);
    carry(&rx, &tx(rx.port, &[]), 5 * MIB);
}

#[test]
fn strangers_during_a_transfer_do_not_disturb_it() {
    let rx = Rx::start(&[]);
    let tx = tx(rx.port, &[]);
    let (mut input, output) = (tx.stdin(), rx.collect());
    let mut there = Vec::new();
    for piece in 0..5 {
        feed(&mut input, piece * 10 * MIB, 10 * MIB).unwrap();
        there.extend(strangers(rx.port));
        there.extend((0..150).map(|_| connect(rx.port)));
        output.await_bytes((piece + 1) * 10 * MIB);
    }
    drop(input);
    assert_complete(&rx, &tx, output, 50 * MIB);
}

#[test]
fn a_second_sender_is_refused_while_the_first_goes_on() {
    let rx = Rx::start(&[]);
    let first = tx(rx.port, &["threads", "2"]);
    let (mut input, output) = (first.stdin(), rx.collect());
    feed(&mut input, 0, MIB).unwrap();
    output.await_bytes(MIB);
    for _ in 0..3 {
        let second = tx(rx.port, &["patience", "2"]);
        second.feed(1000);
        let (code, said) = second.end();
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains("busy"), "{said}");
        assert_eq!(said.lines().count(), 2, "that it waits, and that it waited for nothing: {said}");
    }
    feed(&mut input, MIB, MIB).unwrap();
    drop(input);
    assert_complete(&rx, &first, output, 2 * MIB);
    assert_eq!(first.said(), "");
}

#[test]
fn a_wrong_checkphrase_is_refused_and_the_right_one_served() {
    let rx = Rx::start(&["checkphrase", "good"]);
    for words in [&["checkphrase", "evil"][..], &[]] {
        let wrong = tx(rx.port, words);
        wrong.feed(1000);
        let (code, said) = wrong.end();
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains("checkphrase"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    carry(&rx, &tx(rx.port, &["checkphrase", "good"]), MIB);

    let rx = Rx::start(&[]);
    let (code, said) = tx(rx.port, &["checkphrase", "word"]).end();
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("checkphrase"), "{said}");
    carry(&rx, &tx(rx.port, &[]), MIB);
}

#[test]
fn another_version_is_refused_in_words() {
    let rx = Rx::start(&[]);
    let mut bytes = hello(1).encode();
    bytes[8] = VERSION + 1;
    let Some(Reply::Refusal(Refusal { code, sentence })) = say(rx.port, &bytes).1 else { panic!() };
    assert_eq!(code, RefusalCode::Version);
    assert!(sentence.contains("install the same release"), "{sentence}");
    carry(&rx, &tx(rx.port, &[]), MIB);
}

#[test]
fn no_garbled_hello_gets_in() {
    let rx = Rx::start(&[]);
    let right = hello(1).encode();
    for at in 0..right.len() {
        let mut bytes = right.clone();
        bytes[at] ^= 0x15;
        let mut stream = connect(rx.port);
        stream.write_all(&bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut heard = Vec::new();
        // reset or closed: nothing was said
        let _ = stream.read_to_end(&mut heard);
        let reply = Reply::decode(&heard);
        assert!(!matches!(reply, Ok(Some((Reply::Welcome(_), _)))), "byte {at}: {reply:?}");
    }
    // longer than any hello, and never one
    let _ = connect(rx.port).write_all(&[&right[..20], &vec![0; HELLO_MAX * 4]].concat());
    carry(&rx, &tx(rx.port, &[]), MIB);
}

/// A session that received nothing and has no connection is forgotten, and its replayed hello is old news.
#[test]
fn a_sender_that_only_says_hello_does_not_keep_the_receiver() {
    let rx = Rx::start(&[]);
    let bytes = hello(7).encode();
    let (first, welcome) = say(rx.port, &bytes);
    assert!(matches!(welcome, Some(Reply::Welcome(_))), "{welcome:?}");
    let Some(Reply::Refusal(again)) = say(rx.port, &bytes).1 else { panic!("replayed") };
    assert_eq!(again.code, RefusalCode::Stale);
    let served = tx(rx.port, &[]);
    drop(served.stdin());
    assert!(served.wait().success(), "the stranger gives way: {rx}");
    drop(first);
    assert_eq!(rx.wait().code(), Some(0));
}

/// The hello of a running session, overheard on one link, is said again on another.
#[test]
fn a_replayed_hello_changes_nothing() {
    let rx = Rx::start(&[]);
    let spy = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let link = |port: u16| ["tx".into(), "127.0.0.1".into(), port.to_string()];
    let links = [link(spy.local_addr().unwrap().port()), link(rx.port)].concat();
    let tx = Process::start(&links.iter().map(String::as_str).collect::<Vec<_>>());
    let mut overheard = vec![0; hello(0).encode().len()];
    spy.accept().unwrap().0.read_exact(&mut overheard).unwrap();
    drop(spy);
    let (mut input, output) = (tx.stdin(), rx.collect());
    let mut replayed = Vec::new();
    for piece in 0..5 {
        feed(&mut input, piece * 10 * MIB, 10 * MIB).unwrap();
        replayed.push(say(rx.port, &overheard));
        output.await_bytes((piece + 1) * 10 * MIB);
    }
    drop(input);
    assert_complete(&rx, &tx, output, 50 * MIB);
}

#[test]
fn a_sender_at_a_stranger_says_so() {
    let stranger = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = stranger.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in stranger.incoming().flatten() {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let (code, said) = tx(port, &["patience", "1"]).end();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("no millipede"), "{said}");
}

/// Descriptors run out under a flood: accepting pauses, and the session goes on.
#[test]
fn few_descriptors_are_enough() {
    let limited = r#"ulimit -n 60; exec "$@""#;
    let mut command = Command::new("sh");
    command.args(["-c", limited, "sh"]).arg(MILLIPEDE).args(["rx", "0"]);
    let rx = Rx::spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()));
    let tx = tx(rx.port, &["threads", "4"]);
    let (mut input, output) = (tx.stdin(), rx.collect());
    feed(&mut input, 0, MIB).unwrap();
    output.await_bytes(MIB);
    let _flood: Vec<_> = (0..150).map(|_| connect(rx.port)).collect();
    feed(&mut input, MIB, 20 * MIB).unwrap();
    drop(input);
    assert_complete(&rx, &tx, output, 21 * MIB);
}

/// With so few that it can listen and let nobody in, it says why: its sender cannot know.
#[test]
fn a_receiver_without_means_for_any_connection_says_so() {
    let told = (8..20).any(|descriptors| {
        let limited = format!(r#"ulimit -n {descriptors}; exec "$@""#);
        let mut command = Command::new("sh");
        command.args(["-c", &limited, "sh"]).arg(MILLIPEDE).args(["rx", "0"]);
        let rx = Process::spawn(command.stdin(Stdio::null()).stdout(Stdio::null()));
        let listens = "millipede: listening on port ";
        let starts = eventually(DEADLINE, || rx.said().contains(listens) || rx.has_ended());
        assert!(starts, "{rx}");
        if rx.has_ended() || tx(rx.port(listens), &["patience", "1"]).end().0 == Some(0) {
            return false;
        }
        rx.said().contains("cannot let it in: too many open files")
    });
    assert!(told);
}

#[cfg(target_os = "linux")]
fn peak_memory(rx: &Rx) -> u64 {
    // whoever came before is met before this one is
    let reply = say(rx.port, b"anything").1;
    assert_eq!(reply, None);
    rx.peak_memory()
}

#[cfg(not(target_os = "linux"))]
fn peak_memory(_: &Rx) -> u64 {
    0
}
