//! What SIGUSR1 shows, and what the live line shows where there is no terminal. With a terminal: `terminal.rs`.
// nothing of a test program is seen from outside: `pub` is for its own modules
#![allow(unreachable_pub)]

mod util;

use std::io::{Read, Write};
use std::process::Stdio;
use util::{DEADLINE, Process, Rx, Signal, carry, eventually, pattern, tx};

const MIB: usize = 1 << 20;

/// Asks for one report after the other until one has all of these; that one's lines.
fn report(process: &Process, parts: &[&str]) -> Vec<String> {
    let mut asked = 0;
    let mut found = Vec::new();
    let there = eventually(DEADLINE, || {
        let said = process.said();
        let (reports, whole) = reports(&said);
        if asked <= reports.len() {
            asked = reports.len() + 1;
            process.signal(Signal::USR1);
        }
        let whole = &reports[..reports.len() - usize::from(!whole)];
        let fits = |report: &&Vec<String>| parts.iter().all(|part| report.join("\n").contains(part));
        found = whole.iter().rev().find(fits).cloned().unwrap_or_default();
        !found.is_empty()
    });
    assert!(there, "no report has {parts:?}: {process}");
    found
}

/// Every report in what was said, and whether the last one is whole: it ends with its table.
fn reports(said: &str) -> (Vec<Vec<String>>, bool) {
    let mut reports: Vec<Vec<String>> = Vec::new();
    for line in said.lines() {
        if line.starts_with("millipede: tx: ") || line.starts_with("millipede: rx: ") {
            reports.push(vec![line.to_owned()]);
        } else if let (true, Some(report)) = (line.starts_with("  "), reports.last_mut()) {
            report.push(line.to_owned());
        }
    }
    let whole =
        reports.last().is_none_or(|report| report.iter().any(|line| line.contains("connections lost")));
    (reports, whole)
}

#[test]
fn before_the_first_connection_both_ends_say_that_there_is_none() {
    let rx = Rx::start(&[]);
    let lines = report(&rx, &["no sender yet"]);
    assert!(lines.contains(&"  connections lost: 0".to_owned()), "{lines:?}");
    let nobody = util::free_port();
    let alone = tx(nobody, &["threads", "2", "verbose", "2"]);
    alone.expect("passed over");
    let lines = report(&alone, &["no connection yet", &format!("127.0.0.1:{nobody}: connection refused")]);
    assert!(lines[0].starts_with("millipede: tx: no connection yet, after 0:00:"), "{lines:?}");
    let sender = tx(rx.port, &[]);
    carry(&rx, &sender, 1 << 20);
}

#[test]
fn in_the_middle_both_ends_show_every_connection() {
    let rx = Rx::start(&[]);
    let tx = tx(rx.port, &["threads", "4"]);
    let (mut input, mut output) = (tx.stdin(), rx.stdout());
    input.write_all(&pattern(0, MIB)).unwrap();
    let mut first = vec![0; MIB];
    output.read_exact(&mut first).unwrap();
    util::check(0, &first);
    let carries = ["1.00 MiB delivered", "  1  up  "];
    let sender = report(&tx, &[&carries[..], &["held back by: network "]].concat());
    let receiver = report(&rx, &[&carries[..], &["held back by: output "]].concat());
    for lines in [&sender, &receiver] {
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{lines:#?}");
        let rows: Vec<&String> = lines.iter().filter(|line| line.contains("  1  up  ")).collect();
        if cfg!(target_os = "linux") {
            assert!(rows.iter().all(|row| row.contains(" ms ")), "the kernel's figures: {lines:#?}");
        }
    }
    // what it carried is forgotten after a few seconds; until then some may still have a row of their own
    report(&tx, &["  4 connections idle: 0 to 3"]);
    report(&rx, &["  4 connections idle: 0 to 3"]);
    assert!(sender.iter().any(|line| line.ends_with(&format!("  127.0.0.1:{}", rx.port))), "{sender:#?}");
    assert!(receiver.iter().any(|line| line.ends_with("  from 127.0.0.1")), "{receiver:#?}");
    drop((input, output));
    assert_eq!((tx.wait().code(), rx.wait().code()), (Some(0), Some(0)), "{tx}\n{rx}");
}

#[test]
fn an_input_that_keeps_it_waiting_is_named() {
    let rx = Rx::start(&[]);
    let tx = tx(rx.port, &["threads", "2"]);
    let mut input = tx.stdin();
    input.write_all(b"first").unwrap();
    rx.stdout().read_exact(&mut [0; 5]).unwrap();
    // whatever it took to begin, an input that gives nothing more comes to outweigh it
    let mostly = |lines: &[String]| {
        let line = lines.iter().find(|line| line.contains("held back by")).unwrap();
        let share = line.split("input ").nth(1).unwrap().split(' ').next().unwrap();
        share.parse::<u64>().unwrap() > 60
    };
    let outweighs = eventually(DEADLINE, || mostly(&report(&tx, &["5 B delivered"])));
    assert!(outweighs, "{tx}");
}

#[test]
fn reports_disturb_nothing() {
    let rx = Rx::start(&[]);
    let tx = tx(rx.port, &[]);
    let output = rx.collect();
    // before it has begun to run, no program can help being ended by a signal
    let mut input = tx.stdin();
    util::feed(&mut input, 0, 32 << 20).unwrap();
    report(&rx, &["delivered in"]);
    // the stream cannot end before the report
    let feeder = std::thread::spawn(move || util::feed(&mut input, 32 << 20, 32 << 20).unwrap());
    for _ in 0..200 {
        if tx.ends_within(std::time::Duration::ZERO) {
            break;
        }
        tx.signal(Signal::USR1);
        rx.signal(Signal::USR1);
    }
    feeder.join().unwrap();
    util::assert_complete(&rx, &tx, output, 64 << 20);
}

#[test]
fn a_process_with_both_directions_reports_both() {
    let far = Rx::start(&[]);
    // with an input that stays open, so that neither direction ends
    let words = ["rx", "0", "tx", "127.0.0.1", &far.port.to_string(), "threads", "1"];
    let both = Rx::spawn(util::millipede(&words).stdin(Stdio::piped()).stdout(Stdio::piped()));
    report(&both, &["millipede: rx: no sender yet"]);
    report(&both, &["millipede: tx: "]);
}

#[test]
fn the_live_line_on_no_terminal_is_lines() {
    let rx = Rx::start(&["progress"]);
    let tx = tx(rx.port, &["progress", "size", "1M"]);
    carry(&rx, &tx, 1 << 20);
    for (process, side) in [(&tx, "sent"), (&*rx, "received")] {
        let (_, said) = process.end();
        assert!(said.contains(&format!("millipede: {side} 1048576 bytes (1.00 MiB) in ")), "{said}");
        assert!(!said.contains(|c: char| c.is_control() && c != '\n'), "{said:?}");
    }
}

#[test]
fn without_being_asked_it_is_silent_where_no_terminal_is() {
    let rx = Rx::start(&[]);
    let tx = tx(rx.port, &["size", "1M"]);
    carry(&rx, &tx, 1 << 20);
    assert_eq!(tx.end().1, "");
    assert_eq!(rx.end().1, format!("millipede: listening on port {}", rx.port));
}

#[test]
fn a_size_that_was_not_reached_is_told_and_an_empty_stream_too() {
    let rx = Rx::start(&["verbose", "1"]);
    let tx = tx(rx.port, &["size", "2M"]);
    carry(&rx, &tx, 1 << 20);
    assert_eq!(tx.end().1, "millipede: the stream had 1048576 bytes, not the 2097152 expected");
    let rx = Rx::start(&["verbose", "1"]);
    let tx = util::tx(rx.port, &["verbose", "1"]);
    carry(&rx, &tx, 0);
    assert_eq!(tx.end().1, "millipede: sent 0 bytes: the stream was empty");
    assert!(rx.end().1.ends_with("millipede: received 0 bytes: the stream was empty"), "{rx}");
}

#[test]
fn one_that_was_stopped_says_what_is_there() {
    let rx = Rx::start(&[]);
    let tx = tx(rx.port, &[]);
    let (mut input, mut output) = (tx.stdin(), rx.stdout());
    input.write_all(&pattern(0, MIB)).unwrap();
    output.read_exact(&mut vec![0; MIB]).unwrap();
    report(&tx, &["1.00 MiB delivered"]);
    rx.signal(Signal::INT);
    assert_eq!((tx.wait().code(), rx.wait().code()), (Some(1), None), "{tx}\n{rx}");
    let (received, delivered) = (rx.end().1, tx.end().1);
    assert!(
        received.contains("millipede: the output is partial: 1048576 bytes (1.00 MiB) in "),
        "{received}"
    );
    assert!(
        delivered.contains("millipede: the far output has at least 1048576 bytes (1.00 MiB) in "),
        "{delivered}"
    );
}

#[test]
fn the_second_signal_tells_the_new_verbosity() {
    let rx = Rx::start(&[]);
    rx.signal(Signal::USR2);
    rx.expect("millipede: verbosity is now 1");
    let tx = tx(rx.port, &[]);
    carry(&rx, &tx, 1 << 20);
    assert!(rx.end().1.contains("millipede: received 1048576 bytes (1.00 MiB) in "), "{rx}");
}

/// A service's stderr is the journal; here it is a file that the environment calls so.
#[test]
fn a_services_journal_gets_that_it_listens_and_what_came() {
    use std::os::unix::fs::MetadataExt;
    let port = util::free_port();
    let words = ["rx", "127.0.0.1", &port.to_string()];
    for (quiet, lines) in [(false, 2), (true, 0)] {
        let journal = tempfile::NamedTempFile::new().unwrap();
        let is = journal.as_file().metadata().unwrap();
        let mut service = util::millipede(&words);
        service.args(quiet.then_some("quiet")).env("JOURNAL_STREAM", format!("{}:{}", is.dev(), is.ino()));
        service.stdin(Stdio::null()).stdout(Stdio::null()).stderr(journal.reopen().unwrap());
        let mut service = service.spawn().unwrap();
        let tx = tx(port, &["verbose", "1"]);
        tx.feed(5);
        assert_eq!((tx.wait().code(), service.wait().unwrap().code()), (Some(0), Some(0)), "{tx}");
        let said = std::fs::read_to_string(journal.path()).unwrap();
        assert_eq!(said.lines().count(), lines, "{said}");
        assert!(quiet || said.starts_with(&format!("millipede: listening on port {port}\n")), "{said}");
        assert!(quiet || said.contains("\nmillipede: received 5 bytes in "), "{said}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_stderr_that_nobody_reads_stops_nothing() {
    let rx = Rx::start(&[]);
    let (reader, full) = rustix::pipe::pipe().unwrap();
    rustix::pipe::fcntl_setpipe_size(&full, 4096).unwrap();
    let mut words = util::millipede(&["tx", "127.0.0.1", &rx.port.to_string(), "verbose", "20"]);
    let mut tx = words.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(full).spawn().unwrap();
    // its copy of the pipe
    drop(words);
    let output = rx.collect();
    util::feed(&mut tx.stdin.take().unwrap(), 0, 64 << 20).unwrap();
    assert!(eventually(DEADLINE, || tx.try_wait().unwrap().is_some()), "{rx}");
    assert_eq!((tx.wait().unwrap().code(), rx.wait().code()), (Some(0), Some(0)), "{rx}");
    assert_eq!(output.join(), 64 << 20);
    let mut said = String::new();
    std::fs::File::from(reader).read_to_string(&mut said).unwrap();
    assert!(!said.is_empty() && !said.contains("sent 67108864 bytes"), "it took everything: {said}");
}
