//! Encrypted connections: everything that goes without keys goes with them, and both ends know whom they have met.

use super::MIB;
use crate::util::pair::{Duplex, Pair, entrance};
use crate::util::relay::{Back, Relay, There};
use crate::util::{
    DEADLINE, Keys, Process, Rx, Signal, assert_complete, carry, connect, echo, eventually, feed, ping,
    server, there_and_back, tx, tx_over,
};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::io::Write;
use std::time::Duration;

/// These words, and the key that both ends have.
fn with<'a>(keys: &Keys, words: &[&'a str]) -> Vec<&'a str> {
    [words, &keys.shared("secret")].concat()
}

fn secret() -> Keys {
    Keys::of(&["secret"])
}

// ---- streams -------------------------------------------------------------------------------------------

#[test]
fn streams_of_any_size_cross_with_any_words() {
    let keys = secret();
    let words: [&[&str]; 5] =
        [&[], &["threads", "1"], &["checksum", "threads", "3"], &["buffer", "4M"], &["charmode"]];
    for (words, bytes) in words.into_iter().zip([0, 1, 40 * MIB, 70_001, 5 * MIB]) {
        let buffer = words.iter().position(|word| *word == "buffer").map_or(&[][..], |at| &words[at..at + 2]);
        let rx = Rx::start(&with(&keys, buffer));
        let tx = tx(rx.port, &with(&keys, words));
        carry(&rx, &tx, bytes);
        assert_eq!((rx.said().lines().count(), tx.said()), (1, String::new()), "{rx}\n{tx}");
    }
}

#[test]
fn each_way_of_a_duplex_session_carries_its_own_stream() {
    let keys = Keys::of(&["here", "there"]);
    let pair = Duplex::start(&keys.words("here", &["there"]), &keys.words("there", &["here"]));
    let (at_l, at_d) = (pair.l.collect(), pair.d.collect());
    pair.l.feed(7_000_000);
    pair.d.feed(20_000_000);
    pair.assert_ended(0, 0);
    assert_eq!((at_l.join(), at_d.join()), (20_000_000, 7_000_000));
}

#[test]
fn two_sessions_in_one_process_carry_a_stream_each_way() {
    let keys = Keys::of(&["a", "b"]);
    let pair = Pair::start(&keys.words("a", &["b"]), &keys.words("b", &["a"]));
    let (at_a, at_b) = (pair.a.collect(), pair.b.collect());
    pair.a.feed(20_000_000);
    pair.b.feed(7_000_000);
    pair.assert_ended(0, 0);
    assert_eq!((at_a.join(), at_b.join()), (7_000_000, 20_000_000));
}

#[test]
fn commands_run_at_both_ends() {
    let keys = secret();
    for (command, code) in [("cat", 0), ("cat; exit 3", 5)] {
        let rx = Rx::start(&with(&keys, &["exec", command]));
        rx.keep();
        let tx = Process::start(&with(
            &keys,
            &["tx", "127.0.0.1", &rx.port.to_string(), "exec", "printf 'what a command says'"],
        ));
        let rx = rx.finish();
        assert_eq!((tx.end().0, rx.code(), rx.text()), (Some(code), code, "what a command says"), "{rx:?}");
    }
}

#[test]
fn a_tunnel_carries_connections() {
    let keys = secret();
    let terminate = Rx::start(&with(&keys, &["duplex", "terminate", "0"]));
    let target = server(echo).to_string();
    let words = with(&keys, &["duplex", "threads", "4", "initiate", "127.0.0.1", &target]);
    let _far = tx(terminate.port, &words);
    let (mut one, other) = (connect(entrance(&terminate)), connect(entrance(&terminate)));
    ping(&mut one, b'1');
    there_and_back(other, 3_000_000);
    ping(&mut one, b'2');
}

#[test]
fn a_link_goes_via_an_address() {
    let keys = secret();
    let rx = Rx::start(&with(&keys, &[]));
    let port = rx.port.to_string();
    let words = ["tx", "127.0.0.1", &port, "via", "127.0.0.1", "tx", "127.0.0.1", &port, "threads", "3"];
    carry(&rx, &Process::start(&with(&keys, &words)), 3 * MIB);
}

#[test]
fn what_is_written_in_pieces_comes_at_once() {
    let keys = secret();
    let rx = Rx::start(&with(&keys, &["charmode"]));
    let tx = tx(rx.port, &with(&keys, &["charmode", "threads", "2"]));
    let (mut input, output) = (tx.stdin(), rx.collect());
    for round in 0..300 {
        feed(&mut input, round * 7, 7).unwrap();
        output.await_bytes((round + 1) * 7);
    }
    drop(input);
    assert_complete(&rx, &tx, output, 2100);
}

// ---- faults --------------------------------------------------------------------------------------------

#[test]
fn connections_that_are_broken_at_every_third_frame_lose_nothing() {
    let keys = secret();
    let rx = Rx::start(&with(&keys, &["chaos", "41"]));
    let tx = tx(rx.port, &with(&keys, &["chaos", "37", "threads", "6", "checksum"]));
    carry(&rx, &tx, 60 * MIB);
}

#[test]
fn connections_that_are_killed_are_dialled_anew() {
    let keys = secret();
    let rx = Rx::start(&with(&keys, &[]));
    let net = Relay::to(rx.port);
    let tx = tx_over(&[net.port], &with(&keys, &["threads", "6"]));
    let (output, bytes) = (rx.collect(), 150 * MIB);
    tx.feed(bytes);
    let mut random = SmallRng::seed_from_u64(1);
    for at in (0..bytes - 20 * MIB).step_by(8 * MIB as usize) {
        output.await_bytes(at);
        if at % (48 * MIB) == 0 {
            net.await_open(1);
            net.kill_all();
        }
        net.kill(random.random_range(0..6));
    }
    assert_complete(&rx, &tx, output, bytes);
    assert!(net.killed() > 10, "{}", net.killed());
}

#[test]
fn a_link_that_falls_silent_is_passed_over() {
    let keys = secret();
    let rx = Rx::start(&with(&keys, &[]));
    let (first, second) = (Relay::to(rx.port), Relay::to(rx.port));
    let tx = tx_over(&[first.port, second.port], &with(&keys, &["threads", "4"]));
    let (output, bytes) = (rx.collect(), 100 * MIB);
    tx.feed(bytes);
    output.await_bytes(30 * MIB);
    first.silence(&[There, Back]);
    assert_complete(&rx, &tx, output, bytes);
    assert!(second.passed(There) > 0);
}

#[test]
fn an_end_that_is_slow_or_away_is_waited_for() {
    let keys = secret();
    let rx = Rx::start(&with(&keys, &["buffer", "4M"]));
    let net = Relay::to(rx.port);
    let tx = tx_over(&[net.port], &with(&keys, &["threads", "3", "buffer", "4M"]));
    tx.feed(20 * MIB);
    // nothing is read, so every buffer on the way fills up
    let full = crate::util::until_still(|| net.passed(There));
    assert!(full < 20 * MIB, "{full}");
    net.silence(&[Back]);
    let output = rx.collect();
    output.await_bytes(MIB);
    net.silence(&[]);
    assert_complete(&rx, &tx, output, 20 * MIB);
}

// ---- what is said of it --------------------------------------------------------------------------------

#[test]
fn the_peers_key_is_named_by_its_name() {
    let keys = Keys::of(&["here", "there"]);
    let rx = Rx::start(&[&keys.words("here", &["there"])[..], &["verbose", "2"]].concat());
    let tx = tx(rx.port, &[&keys.words("there", &["here"])[..], &["verbose", "2", "threads", "2"]].concat());
    let mut input = tx.stdin();
    let output = rx.collect();
    feed(&mut input, 0, MIB).unwrap();
    output.await_bytes(MIB);
    assert!(rx.expect(" is up").ends_with(", key there"), "{rx}");
    assert!(tx.expect(" is up").ends_with(", key here"), "{tx}");
    for (process, name) in [(&*rx, "there"), (&tx, "here")] {
        process.signal(Signal::USR1);
        assert_eq!(process.expect("key of the peer"), format!("  encrypted; key of the peer: {name}"));
    }
    drop(input);
    assert_complete(&rx, &tx, output, MIB);
}

#[test]
fn a_key_without_a_name_is_named_by_its_fingerprint() {
    let keys = Keys::of(&["here", "there"]);
    let nameless: String = keys.line("there").rsplit_once(' ').unwrap().0.to_owned() + "\n";
    keys.write("nameless", &nameless);
    let rx = Rx::start(&["key", keys.path("here"), "peers", keys.path("nameless"), "verbose", "2"]);
    let tx = tx(rx.port, &keys.words("there", &["here"]));
    carry(&rx, &tx, 1000);
    let up = rx.expect(" is up");
    let print = up.rsplit_once(", key ").unwrap().1;
    assert!(print.starts_with("SHA256:") && print.len() == 50, "{up}");
}

/// What nothing crosses costs nothing: no timer of the encryption wakes anybody.
#[cfg(target_os = "linux")]
#[test]
fn connections_that_rest_use_no_processor() {
    let keys = secret();
    let rx = Rx::start(&with(&keys, &["charmode"]));
    let tx = tx(rx.port, &with(&keys, &["charmode", "threads", "8"]));
    let (mut input, output) = (tx.stdin(), rx.collect());
    feed(&mut input, 0, 1000).unwrap();
    output.await_bytes(1000);
    let spent = || [tx.pid(), rx.pid()].map(ticks);
    // what follows the beginning is over when a while has cost nothing
    let rests = || {
        let before = spent();
        assert!(!eventually(Duration::from_secs(2), || rx.has_ended()), "{rx}");
        let after = spent();
        (0..2).all(|end| after[end] - before[end] <= 2)
    };
    assert!(eventually(DEADLINE, rests), "{:?}", spent());
    input.write_all(&crate::util::pattern(1000, 1000)).unwrap();
    drop(input);
    assert_complete(&rx, &tx, output, 2000);
}

/// The processor time of a process, in hundredths of a second.
#[cfg(target_os = "linux")]
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}
