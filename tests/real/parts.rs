//! An input that is not read: parts of a file, or the pages of a pipe, go to the connections without a copy, and
//! everything else is as ever.

use super::MIB;
use crate::util::pair::Duplex;
use crate::util::relay::Relay;
use crate::util::{
    Collector, DEADLINE, Process, Rx, assert_complete, check, eventually, feed, has, millipede, pattern,
    skip, tx, until_still,
};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::process::{Command, Stdio};

/// A file of so many bytes of the pattern, to be read from its start.
fn file(bytes: u64) -> File {
    let mut file = tempfile::tempfile().unwrap();
    feed(&mut file, 0, bytes).unwrap();
    file.rewind().unwrap();
    file
}

/// tx with this input.
fn tx_of(input: File, port: u16, words: &[&str]) -> Process {
    let port = port.to_string();
    let words = [&["tx", "127.0.0.1", &port], words].concat();
    Process::spawn(millipede(&words).stdin(input).stdout(Stdio::null()))
}

const MOVED: &str = "the stream is moved from its pipe without a copy";

const SENT: &str = "the stream is sent from its file without a copy";

#[test]
fn files_are_sent_without_a_copy_unless_their_bytes_must_be_seen() {
    for words in [&[][..], &["checksum"], &["compress"], &["charmode"]] {
        let rx = Rx::start(&[]);
        let tx = tx_of(file(9 * MIB + 5), rx.port, &[words, &["verbose", "2"]].concat());
        assert_complete(&rx, &tx, rx.collect(), 9 * MIB + 5);
        let said = tx.said();
        match words.first() {
            None => assert!(said.contains(SENT), "{said}"),
            Some(word) => assert!(said.contains(&format!("copied, as {word} needs")), "{said}"),
        }
    }
}

#[test]
fn connections_are_killed_while_a_file_is_sent() {
    let rx = Rx::start(&[]);
    let relay = Relay::to(rx.port);
    let bytes = 200 * MIB + 1;
    let tx = tx_of(file(bytes), relay.port, &["threads", "8"]);
    let (output, mut random) = (rx.collect(), SmallRng::seed_from_u64(1));
    for at in (0..bytes - 20 * MIB).step_by(6 * MIB as usize) {
        output.await_bytes(at);
        relay.kill(random.random_range(0..8));
    }
    assert_complete(&rx, &tx, output, bytes);
    assert!(relay.killed() > 10, "{}", relay.killed());
}

#[test]
fn chaos_harms_no_byte_of_a_file() {
    let rx = Rx::start(&[]);
    let tx = tx_of(file(100 * MIB), rx.port, &["chaos", "30", "threads", "5"]);
    assert_complete(&rx, &tx, rx.collect(), 100 * MIB);
}

/// What was read before is not sent again, and whoever reads afterwards begins where the stream ended.
#[test]
fn a_file_is_sent_from_where_it_stands_and_stands_at_its_end_afterwards() {
    let (bytes, from) = (20 * MIB, 3 * MIB + 17);
    let mut input = file(bytes);
    input.seek(SeekFrom::Start(from)).unwrap();
    let rx = Rx::start(&[]);
    let tx = tx_of(input.try_clone().unwrap(), rx.port, &[]);
    let mut came = Vec::new();
    rx.stdout().read_to_end(&mut came).unwrap();
    assert_eq!((tx.end().0, rx.end().0), (Some(0), Some(0)), "{tx}\n{rx}");
    check(from, &came);
    assert_eq!((came.len() as u64, input.stream_position().unwrap()), (bytes - from, bytes));
}

/// Where every connection has a leg under way, none is left to tell the receiver on.
#[test]
fn a_file_that_becomes_shorter_is_a_failed_input_and_no_byte_is_made_up() {
    for threads in ["1", "3", "16"] {
        let input = file(64 * MIB);
        let rx = Rx::start(&["buffer", "4M"]);
        let tx = tx_of(input.try_clone().unwrap(), rx.port, &["buffer", "4M", "threads", threads]);
        let mut position = input.try_clone().unwrap();
        // nobody reads the output
        let mut at = || position.stream_position().unwrap();
        assert!(eventually(DEADLINE, || at() >= 4 * MIB));
        until_still(at);
        // Of what is in memory around the new end, the rest becomes zeros, also where it is under way. At 0 there is no rest.
        input.set_len(0).unwrap();
        let mut came = Vec::new();
        rx.stdout().read_to_end(&mut came).unwrap();
        check(0, &came);
        assert_eq!((tx.end().0, rx.end().0), (Some(4), Some(4)), "{tx}\n{rx}");
        for said in [tx.said(), rx.said()] {
            assert!(said.contains("cannot read stdin: it became shorter while it was sent"), "{said}");
        }
    }
}

/// The far end's wish is known only when the first parts are cut.
#[test]
fn who_wants_a_file_checked_gets_it_checked() {
    let bytes = 30 * MIB as usize;
    let words = ["rx", "0", "duplex"];
    let listens = Rx::spawn(millipede(&words).stdin(file(bytes as u64)).stdout(Stdio::piped()));
    let words = ["tx", "127.0.0.1", &listens.port.to_string(), "duplex", "checksum"];
    let dials = Process::spawn(millipede(&words).stdin(Stdio::null()).stdout(Stdio::piped()));
    let came = Collector::of(dials.stdout());
    assert_eq!(came.join(), bytes as u64);
    assert_eq!((dials.end().0, listens.end().0), (Some(0), Some(0)), "{dials}\n{listens}");
}

/// On loopback, where paths are near. What is killed is sent from the same pages again; `compress` looks at some of them.
#[test]
fn connections_are_killed_while_the_pages_of_a_pipe_are_moved() {
    for words in [&[][..], &["compress"]] {
        let rx = Rx::start(&[]);
        let relay = Relay::to(rx.port);
        let bytes = 200 * MIB + 1;
        let tx = tx(relay.port, &[&["threads", "8", "verbose", "2"], words].concat());
        tx.feed(bytes);
        let (output, mut random) = (rx.collect(), SmallRng::seed_from_u64(1));
        for at in (0..bytes - 20 * MIB).step_by(6 * MIB as usize) {
            output.await_bytes(at);
            relay.kill(random.random_range(0..8));
        }
        assert_complete(&rx, &tx, output, bytes);
        assert!(tx.said().contains(MOVED), "{words:?}: {tx}");
    }
}

#[test]
fn what_is_compressed_in_any_case_is_not_moved() {
    let rx = Rx::start(&[]);
    let tx = tx(rx.port, &["compress", "1", "verbose", "2"]);
    tx.feed(9 * MIB);
    assert_complete(&rx, &tx, rx.collect(), 9 * MIB);
    assert!(tx.said().contains("copied, as compress needs"), "{tx}");
}

/// Each write takes a page of the pipe, however short it is.
#[test]
fn short_writes_fill_no_pipe_for_long_and_arrive() {
    let rx = Rx::start(&[]);
    let tx = tx(rx.port, &[]);
    let (mut input, output, bytes) = (tx.stdin(), rx.collect(), 30 * MIB);
    let all = pattern(0, bytes as usize);
    for (number, piece) in all.chunks(3001).enumerate() {
        input.write_all(piece).unwrap();
        if number % 1000 == 0 {
            output.await_bytes(number as u64 * 3001);
        }
    }
    drop(input);
    assert_complete(&rx, &tx, output, bytes);
}

/// With few descriptors, or few pages for pipes, what comes is read as ever.
#[test]
fn where_no_pipe_can_be_had_the_stream_is_copied() {
    if !has("prlimit") {
        return skip("needs prlimit");
    }
    let rx = Rx::start(&[]);
    let program = millipede(&[]).get_program().to_owned();
    let mut limited = Command::new("prlimit");
    limited.arg("--nofile=120").arg(program).args(["tx", "127.0.0.1", &rx.port.to_string(), "verbose", "2"]);
    let tx = Process::spawn(limited.stdin(Stdio::piped()).stdout(Stdio::null()));
    tx.feed(30 * MIB);
    assert_complete(&rx, &tx, rx.collect(), 30 * MIB);
    assert!(tx.said().contains("too few descriptors for pipes"), "{tx}");
}

/// The far end's wish is known only when some pieces are in pipes.
#[test]
fn who_wants_a_pipe_checked_gets_it_checked() {
    let pair = Duplex::start(&[], &["checksum"]);
    let (to_l, to_d) = (pattern(0, 20 * MIB as usize), pattern(7, 30 * MIB as usize));
    let [came_l, came_d] = pair.exchange(&to_l, &to_d);
    assert!(came_l == to_l && came_d == to_d);
    pair.assert_ended(0, 0);
}
