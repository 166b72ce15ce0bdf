//! The command lines of the ancestor's documentation, as they stand but for the ports.

use super::assert_same;
use super::instruments::{UNIT, prbs, run};
use crate::util::{Ended, Process, Signal, free_port, millipede, pattern};
use millipede::prbs::Prbs;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

/// `line` as a command, with these ports in place of those of the documentation.
fn command(line: &str, ports: &[(&str, u16)]) -> Command {
    let port = |word: &str| ports.iter().find(|(old, _)| *old == word).map(|(_, new)| new.to_string());
    let words: Vec<String> = line.split(' ').map(|word| port(word).unwrap_or(word.to_owned())).collect();
    millipede(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Starts it, with pipes at both ends.
fn start(line: &str, ports: &[(&str, u16)]) -> Process {
    Process::spawn(command(line, ports).stdin(Stdio::piped()).stdout(Stdio::piped()))
}

/// The same, with its output kept.
fn start_keeping(line: &str, ports: &[(&str, u16)]) -> Process {
    let process = start(line, ports);
    process.keep();
    process
}
#[test]
fn line_prbs_with_a_limit_and_verbose() {
    let line = "tx localhost 3434 verbose 3 rx 3434 leglimit 0x800 prbs 0xd00f";
    let process = start(line, &[("3434", free_port())]);
    let (mut stdout, mut offset, mut chunk) = (process.stdout(), 0, vec![0; 1 << 20]);
    loop {
        let n = stdout.read(&mut chunk).unwrap();
        if n == 0 {
            break;
        }
        // the rest is verified by the process itself
        if offset < 64 << 20 {
            assert_eq!(Prbs::new(0xd00f).check(offset, &chunk[..n]), Ok(()));
        }
        offset += n as u64;
    }
    let (code, said) = process.end();
    assert_eq!((code, offset), (Some(0), 0x800 * UNIT as u64), "{said}");
}

#[test]
fn line_delay_and_threads() {
    let line = "tx localhost 12323 threads 3 verbose 3 rx 12323 leglimit 50 prbs 0x5aa5 delayus 50";
    let ended = run(&mut command(line, &[("12323", free_port())]));
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    assert_same(&ended.stdout, &prbs(0x5aa5, 50 * UNIT));
}

#[test]
fn line_charmode_and_prbs() {
    let line = "charmode prbs 0xd00f tx localhost 3434 verbose 3 threads 2 rx 3434 leglimit 4";
    let ended = run(&mut command(line, &[("3434", free_port())]));
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    assert_same(&ended.stdout, &prbs(0xd00f, 4 * UNIT));
}

#[test]
fn line_prbs_without_end() {
    let process = start("prbs 0xd00f tx localhost 3434 rx 3434", &[("3434", free_port())]);
    let (mut stdout, mut bytes) = (process.stdout(), vec![0; 20 << 20]);
    stdout.read_exact(&mut bytes).unwrap();
    assert_eq!(Prbs::new(0xd00f).check(0, &bytes), Ok(()));
    process.signal(Signal::INT);
    drop(stdout);
    assert_eq!(process.wait().signal(), Some(2));
}

/// A receiver and a sender in two processes, as the documentation has them.
fn line_pair(rx: &str, tx: &str, port: &str, input: &[u8]) -> (Ended, Ended) {
    let free = free_port();
    let rx = start_keeping(rx, &[(port, free)]);
    let tx = start_keeping(tx, &[(port, free)]);
    let _ = tx.stdin().write_all(input);
    (rx.finish(), tx.finish())
}

#[test]
fn lines_of_two_processes() {
    let input = pattern(0, 3_000_000);
    for (rx, tx, port) in [
        ("rx 12323 chaos 180002", "tx localhost 12323 threads 16", "12323"),
        ("rx 8834 verbose 5", "tx localhost 8834", "8834"),
        ("rx 8834", "tx localhost 8834 checksum", "8834"),
        ("rx 12334", "tx localhost 12334 chaos 1731", "12334"),
        ("rx 12334 checkphrase wat!", "tx localhost 12334 checkphrase wat!", "12334"),
    ] {
        let (rx, tx) = line_pair(rx, tx, port, &input);
        assert_eq!((rx.code(), tx.code()), (0, 0), "{}{}", rx.stderr, tx.stderr);
        assert_same(&rx.stdout, &input);
    }
}

#[test]
fn line_full_duplex_by_charmode() {
    let (here, there) = (free_port(), free_port());
    let ports = [("7788", here), ("9900", there)];
    let one = start_keeping("rx 7788 tx localhost 9900 charmode", &ports);
    let two = start_keeping("rx 9900 tx localhost 7788 charmode", &ports);
    let (a, b) = (pattern(0, 100_000), pattern(0, 77_777));
    one.stdin().write_all(&a).unwrap();
    two.stdin().write_all(&b).unwrap();
    let (one, two) = (one.finish(), two.finish());
    assert_eq!((one.code(), two.code()), (0, 0), "{}{}", one.stderr, two.stderr);
    assert_same(&one.stdout, &b);
    assert_same(&two.stdout, &a);
}
