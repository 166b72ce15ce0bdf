//! The instrument words: prbs, leglimit, delayus, rate, charmode, chaos, verbose. What checksum does is in
//! `checksum.rs`, whole command lines are in `lines.rs`.

use super::assert_same;
use crate::util::{MILLIPEDE, Process, Rx, free_port, millipede, pattern, send, shell, skip, tx};
use millipede::prbs::Prbs;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

pub const UNIT: usize = 2 << 20;

/// The first bytes of the pseudorandom stream with this seed.
pub fn prbs(seed: u16, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Prbs::new(seed).fill(0, &mut bytes);
    bytes
}

/// Runs a command without input; how that ended, with its output.
pub fn run(command: &mut Command) -> crate::util::Ended {
    let process = Process::spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()));
    process.keep();
    process.finish()
}

/// The number before these words.
#[track_caller]
pub fn count(text: &str, what: &str) -> u64 {
    let before = text.split(what).next().filter(|b| b.len() < text.len());
    let before = before.unwrap_or_else(|| panic!("no {what:?} in {text}"));
    before.split_whitespace().last().unwrap().parse().unwrap()
}

// ---- prbs ---------------------------------------------------------------------------------------------------

#[test]
fn prbs_alone_writes_the_stream() {
    let ended = run(&mut shell("$MP prbs 48879 | head -c 3000001"));
    assert_same(&ended.stdout, &prbs(0xbeef, 3_000_001));
    // nobody takes it any more: that is its ordinary end
    let process = Process::start(&["prbs", "1"]);
    drop(process.stdout());
    assert_eq!(process.wait().code(), Some(5));
}

#[test]
fn prbs_alone_does_not_write_to_a_terminal() {
    let mut possible = Command::new("script");
    possible.args(["-qec", "true", "/dev/null"]).stdin(Stdio::null());
    if !possible.stdout(Stdio::null()).status().is_ok_and(|s| s.success()) {
        return skip("needs script, with -e");
    }
    let script = |line: &str| {
        let mut command = Command::new("script");
        command.args(["-qec", line, "/dev/null"]).env("MP", MILLIPEDE);
        run(&mut command)
    };
    let alone = script("$MP prbs 1");
    assert_eq!(alone.code(), 2);
    assert!(alone.stdout.len() < 200, "{} bytes", alone.stdout.len());
    // with rx on a terminal it is verified, and not shown
    let port = free_port();
    let verified = script(&format!("$MP prbs 1 rx {port} tx localhost {port} leglimit 1 verbose 1"));
    let seen = String::from_utf8_lossy(&verified.stdout);
    assert_eq!(verified.code(), 0, "{seen}");
    assert!(seen.contains("received 2097152 bytes") && seen.len() < 1000, "{seen}");
}

#[test]
fn prbs_at_one_end_alone() {
    let rx = Rx::keeping(&[]);
    let sent = tx(rx.port, &["prbs", "77", "leglimit", "3"]).finish();
    let got = rx.finish();
    assert_eq!((got.code(), sent.code()), (0, 0));
    assert_same(&got.stdout, &prbs(77, 3 * UNIT));

    let rx = Rx::keeping(&["prbs", "77"]);
    let sent = send(rx.port, &[], &prbs(77, 1_234_567));
    let got = rx.finish();
    assert_eq!((got.code(), sent.code()), (0, 0));
    assert_same(&got.stdout, &prbs(77, 1_234_567));
}

#[test]
fn a_mismatch_is_named_and_ends_both() {
    let mut wrong = prbs(3, 1_000_000);
    wrong[777_777] ^= 4;
    let rx = Rx::keeping(&["prbs", "3"]);
    let sent = send(rx.port, &[], &wrong);
    let got = rx.finish();
    assert_eq!((got.code(), sent.code()), (6, 6), "{}{}", got.stderr, sent.stderr);
    for said in [&got.stderr, &sent.stderr] {
        assert!(said.contains("byte 777777 is 0x"), "{said}");
        assert!(said.contains("it came in leg ") && said.contains("by connection "), "{said}");
        assert!(said.contains("127.0.0.1:"), "{said}");
    }
    assert!(got.stdout.len() <= 777_777, "nothing wrong is passed on");
    assert_same(&got.stdout, &wrong[..got.stdout.len()]);
}

// ---- pacing -------------------------------------------------------------------------------------------------

#[test]
fn leglimit_ends_an_input_that_goes_on() {
    let rx = Rx::keeping(&[]);
    let process = tx(rx.port, &["leglimit", "2"]);
    let (mut stdin, input) = (process.stdin(), pattern(0, 3 * UNIT));
    let held = input.clone();
    let writer = thread::spawn(move || {
        // it takes no more than it sends and what the pipe holds
        let _ = stdin.write_all(&held);
        stdin
    });
    let got = rx.finish();
    let sent = process.finish();
    assert_eq!((got.code(), sent.code()), (0, 0), "{}{}", got.stderr, sent.stderr);
    assert_same(&got.stdout, &input[..2 * UNIT]);
    drop(writer.join().unwrap());

    let rx = Rx::keeping(&[]);
    let sent = send(rx.port, &["leglimit", "2"], &input[..1000]);
    assert_eq!((rx.finish().stdout.len(), sent.code()), (1000, 0), "an input that ends earlier ends earlier");
    let rx = Rx::keeping(&[]);
    let sent = send(rx.port, &["leglimit", "0"], &input[..1000]);
    assert_eq!((rx.finish().stdout.len(), sent.code()), (0, 0), "none is none");
}

#[test]
fn delay_is_paid_once_per_unit_whatever_the_threads() {
    for threads in ["1", "16"] {
        let (rx, begun) = (Rx::keeping(&[]), Instant::now());
        let args = ["prbs", "1", "leglimit", "4", "delayus", "150000", "threads", threads];
        assert_eq!(tx(rx.port, &args).finish().code(), 0);
        let took = begun.elapsed();
        assert_same(&rx.finish().stdout, &prbs(1, 4 * UNIT));
        assert!(took >= Duration::from_millis(600), "{took:?} with {threads}");
    }
}

#[test]
fn a_rate_is_never_exceeded() {
    let (rx, begun) = (Rx::keeping(&[]), Instant::now());
    let sent = tx(rx.port, &["prbs", "1", "leglimit", "2", "rate", "2M", "checksum"]).finish();
    let took = begun.elapsed();
    assert_eq!(sent.code(), 0);
    assert_same(&rx.finish().stdout, &prbs(1, 2 * UNIT));
    // all but the first slice waits; that it is not slower either is the business of proto's tests
    assert!(took >= Duration::from_millis(1900), "{took:?}");
}

// ---- charmode -----------------------------------------------------------------------------------------------

#[test]
fn in_charmode_each_small_write_is_there_before_the_next() {
    for threads in ["1", "16"] {
        let rx = Rx::start(&["charmode"]);
        let process = tx(rx.port, &["charmode", "threads", threads]);
        let (mut stdin, mut stdout) = (process.stdin(), rx.stdout());
        for i in 0..20u8 {
            stdin.write_all(&[i; 3]).unwrap();
            let mut there = [0; 100];
            // the next is not written yet: whatever arrives is this one alone
            assert_eq!(stdout.read(&mut there).unwrap(), 3);
            assert_eq!(there[..3], [i; 3]);
        }
        drop(stdin);
        assert_eq!(stdout.read(&mut [0]).unwrap(), 0);
        assert_eq!((process.finish().code(), rx.finish().code()), (0, 0));
    }
}

#[test]
fn in_charmode_a_flood_of_single_bytes_is_joined() {
    const WRITES: usize = 50_000;
    let rx = Rx::keeping(&[]);
    let process = tx(rx.port, &["charmode", "verbose", "4"]);
    let mut stdin = process.stdin();
    let input = pattern(0, WRITES);
    for byte in &input {
        stdin.write_all(&[*byte]).unwrap();
    }
    drop(stdin);
    let (sent, got) = (process.finish(), rx.finish());
    assert_eq!((got.code(), sent.code()), (0, 0));
    assert_same(&got.stdout, &input);
    let legs = sent.stderr.lines().filter(|line| line.contains(": leg ")).count();
    assert!(legs > 0 && legs < WRITES / 5, "{legs} legs for {WRITES} writes");
}

// ---- chaos --------------------------------------------------------------------------------------------------

#[test]
fn chaos_at_either_or_both_ends_loses_nothing() {
    for (here, there) in [(Some("60"), None), (None, Some("60")), (Some("97"), Some("83"))] {
        let chaos = |n: Option<&'static str>| n.map_or(vec![], |n| vec!["chaos", n]);
        let rx = Rx::keeping(&[&["prbs", "6", "verbose", "1"][..], &chaos(here)].concat());
        let args = [&["prbs", "6", "leglimit", "16", "verbose", "1"][..], &chaos(there)].concat();
        let (sent, got) = (tx(rx.port, &args).finish(), rx.finish());
        assert_eq!((got.code(), sent.code()), (0, 0), "{}{}", got.stderr, sent.stderr);
        assert_same(&got.stdout, &prbs(6, 16 * UNIT));
        assert!(count(&sent.stderr, " break") > 0, "{}", sent.stderr);
    }
}

#[test]
fn chaos_takes_its_turns_and_says_so() {
    let rx = Rx::keeping(&[]);
    let args = ["prbs", "6", "leglimit", "16", "verbose", "2", "chaos", "25"];
    let (sent, got) = (tx(rx.port, &args).finish(), rx.finish());
    assert_eq!((got.code(), sent.code()), (0, 0), "{}{}", got.stderr, sent.stderr);
    let link = format!("127.0.0.1:{}: connection ", rx_port(&got.stderr));
    for turn in ["closed", "reset", "cut"] {
        let told = format!("lost ({turn} by chaos)");
        let line = sent.stderr.lines().find(|line| line.contains(&told));
        assert!(line.is_some_and(|line| line.contains(&link)), "{turn}: {}", sent.stderr);
    }
}

/// The port that a receiver said it listens on.
fn rx_port(stderr: &str) -> &str {
    stderr.split("listening on port ").nth(1).unwrap().lines().next().unwrap()
}

#[test]
fn chaos_below_two_is_a_usage_error() {
    assert_eq!(run(&mut millipede(&["rx", "0", "chaos", "1"])).code(), 2);
}

// ---- verbose ------------------------------------------------------------------------------------------------

#[test]
fn each_verbosity_says_its_own_and_nothing_to_stdout() {
    let input = pattern(0, 300_000);
    let at = |level: &str| {
        let rx = Rx::keeping(&["verbose", level]);
        let sent = send(rx.port, &["verbose", level, "threads", "1"], &input);
        let got = rx.finish();
        assert_eq!((got.code(), sent.code()), (0, 0), "{}{}", got.stderr, sent.stderr);
        assert_same(&got.stdout, &input);
        let lines = |said: &str| said.lines().filter(|l| !l.contains("listening on port")).count();
        for line in got.stderr.lines().chain(sent.stderr.lines()) {
            assert!(line.starts_with("millipede: ") && line.matches("millipede: ").count() == 1, "{line}");
        }
        (lines(&got.stderr), lines(&sent.stderr), got.stderr, sent.stderr)
    };
    let (rx, tx, ..) = at("0");
    assert_eq!((rx, tx), (0, 0), "silent when all goes well");
    let (rx, tx, got, sent) = at("1");
    assert_eq!((rx, tx), (1, 1), "{got}{sent}");
    assert!(sent.contains("millipede: sent 300000 bytes (293 KiB) in "), "{sent}");
    assert!(got.contains("millipede: received 300000 bytes (293 KiB) in "), "{got}");
    let (.., got, sent) = at("2");
    assert!(got.contains("connection 0 from ") && sent.contains(": connection 0 is up"), "{got}{sent}");
    assert!(!sent.contains(": leg "), "{sent}");
    let (.., got, sent) = at("5");
    assert!(got.contains("leg 0 at 0..") && sent.contains("leg 0 at 0.."), "{got}{sent}");
    assert!(sent.contains("Ack(") && sent.contains("Bye"), "{sent}");
}
