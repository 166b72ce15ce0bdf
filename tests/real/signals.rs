//! Signals to either end, to both, and to whoever started them.

use super::signal_set;
use crate::util::pair::entrance;
use crate::util::relay::Relay;
use crate::util::{
    MILLIPEDE, Process, Rx, Signal, connect, feed, has, millipede, pattern, send, shell, skip, tx, until,
};
use rustix::process::{Pid, kill_process};
use std::fs;
use std::io::{Read, Write, pipe};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

const HUP: i32 = 1;
const INT: i32 = 2;
const TERM: i32 = 15;
const USR1: i32 = 10;
const USR2: i32 = 12;

/// How often what is a race by nature is tried here; it was tried 200 times when it was written.
const TIMES: usize = 10;

// ---- signals --------------------------------------------------------------------------------------------

#[test]
fn whoever_is_ended_tells_the_other() {
    for (name, signal, signo) in
        [("INT", Signal::INT, INT), ("TERM", Signal::TERM, TERM), ("HUP", Signal::HUP, HUP)]
    {
        let rx = Rx::keeping(&[]);
        let tx_waits = tx(rx.port, &["verbose", "2"]);
        tx_waits.expect("is up");
        tx_waits.signal(signal);
        assert_eq!(tx_waits.finish().signal(), Some(signo));
        let rx = rx.finish();
        assert_eq!(rx.code(), 1, "{rx:?}");
        assert!(rx.stderr.contains(&format!("millipede: the sender: ended by SIG{name}\n")), "{rx:?}");

        let rx = Rx::keeping(&[]);
        let tx_waits = tx(rx.port, &["verbose", "2"]);
        tx_waits.expect("is up");
        rx.signal(signal);
        assert_eq!(rx.finish().signal(), Some(signo));
        let tx = tx_waits.finish();
        assert_eq!(tx.code(), 1, "{tx:?}");
        assert!(tx.stderr.contains(&format!("millipede: the receiver: ended by SIG{name}\n")), "{tx:?}");
    }
}

/// An attempt is under way, and whoever accepted it says nothing.
#[test]
fn who_is_still_dialling_ends_soon() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let tx = tx(silent.local_addr().unwrap().port(), &[]);
    drop(silent.accept().unwrap());
    let _second = silent.accept().unwrap();
    tx.signal(Signal::TERM);
    assert!(tx.ends_within(Duration::from_millis(900)), "{tx}");
    assert_eq!(tx.finish().signal(), Some(TERM));
}

/// The one connection of a tunnel that is one is over; the stream the other way is not.
#[test]
fn a_tunnel_that_waits_for_its_other_half_ends_by_the_signal() {
    let near = Process::start(&["rx", "0", "duplex", "terminate", "0"]);
    let far = tx(near.port("millipede: listening on port "), &["duplex", "charmode"]);
    let mut input = far.stdin();
    input.write_all(b"hi").unwrap();
    let mut client = connect(entrance(&near));
    client.read_exact(&mut [0; 2]).unwrap();
    drop(client);
    near.signal(Signal::TERM);
    assert_eq!(near.finish().signal(), Some(TERM));
    assert_eq!(far.finish().code(), 1);
}

#[test]
fn two_signals_end_it_with_a_stuck_sink_and_data_in_flight() {
    let (_reader, writer) = pipe().unwrap();
    let rx = Rx::into(OwnedFd::from(writer), &[]);
    let tx = tx(rx.port, &["exec", "yes", "verbose", "2"]);
    tx.expect("is up");
    rx.signal(Signal::INT);
    rx.signal(Signal::INT);
    assert_eq!(rx.finish().signal(), Some(INT));
    tx.signal(Signal::INT);
    tx.signal(Signal::INT);
    tx.finish();
}

#[test]
fn a_producer_killed_with_us_is_no_end_of_the_stream() {
    for together in [true, false].repeat(TIMES) {
        let (mut reader, writer) = pipe().unwrap();
        let rx = Rx::into(OwnedFd::from(writer), &[]);
        let line = format!("yes | $MP tx 127.0.0.1 {}", rx.port);
        let pipeline = Process::spawn(&mut shell(&line));
        // a session that brought nothing yet would only be forgotten
        reader.read_exact(&mut [0]).unwrap();
        let drain = std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
        if together {
            pipeline.signal_group(Signal::INT);
        } else {
            let all = members(pipeline.pid()).join(" ");
            let _ = shell(&format!("kill -TERM {all}")).stderr(Stdio::null()).status().unwrap();
        }
        let rx = rx.finish();
        let _ = drain.join().unwrap();
        assert_eq!(rx.code(), 1, "together: {together}, {rx:?}");
        assert!(rx.stderr.contains("the sender: ended by SIG"), "{rx:?}");
    }
}

/// By a signal to all of the pipeline at once, as ^C is.
#[test]
fn a_reader_killed_with_us_is_no_failure_of_the_output() {
    for _ in 0..TIMES {
        let pipeline = Process::spawn(shell("$MP rx 127.0.0.1 0 | cat").stdout(Stdio::piped()));
        let tx = tx(pipeline.port("millipede: listening on port "), &["prbs", "1"]);
        let mut reader = pipeline.stdout();
        reader.read_exact(&mut [0]).unwrap();
        let drain = std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
        pipeline.signal_group(Signal::INT);
        let tx = tx.finish();
        let _ = drain.join().unwrap();
        assert_eq!(tx.code(), 1, "{tx:?}");
        assert!(tx.stderr.contains("the receiver: ended by SIG"), "{tx:?}");
    }
}

/// Every process of this group, the producers first.
fn members(group: u32) -> Vec<String> {
    let mut members = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().map_while(Result::ok) {
        let name = entry.file_name().into_string().unwrap();
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        // pid (name) state ppid pgrp
        let Some((id, rest)) = stat.rsplit_once(')') else { continue };
        if rest.split_whitespace().nth(2) == Some(&group.to_string()) {
            members.push((!id.ends_with("(yes"), name));
        }
    }
    members.sort();
    members.into_iter().map(|(_, id)| id).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn the_report_signals_never_end_it() {
    let rx = Rx::keeping(&[]);
    let tx = tx(rx.port, &[]);
    // from its first lines on, which are before any of its own
    until("handlers of the report signals", || {
        let status = fs::read_to_string(format!("/proc/{}/status", tx.pid())).unwrap();
        (signal_set(&status, "SigCgt") & 0xa00 == 0xa00).then_some(())
    });
    let mut stdin = tx.stdin();
    for _ in 0..20 {
        tx.signal(Signal::USR1);
        tx.signal(Signal::USR2);
        rx.signal(Signal::USR1);
        rx.signal(Signal::USR2);
        stdin.write_all(&pattern(0, 100_000)).unwrap();
    }
    drop(stdin);
    let (tx, rx) = (tx.finish(), rx.finish());
    assert_eq!((rx.code(), tx.code(), rx.stdout.len()), (0, 0, 2_000_000), "{rx:?} {tx:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn one_thread_hears_signals_and_commands_begin_without_that() {
    let asking = [HUP, INT, TERM, USR1, USR2].iter().fold(0, |set, signo| set | 1 << (signo - 1));
    let rx = Rx::keeping(&["exec", "grep ^Sig /proc/self/status; cat >/dev/null"]);
    let tx = tx(rx.port, &["verbose", "2"]);
    tx.expect("is up");
    for process in [&*rx, &tx] {
        until("one thread that hears signals", || {
            let tasks = fs::read_dir(format!("/proc/{}/task", process.pid())).unwrap();
            let statuses =
                tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("status")).ok());
            let blocked = statuses.map(|status| signal_set(&status, "SigBlk") & asking).collect::<Vec<_>>();
            let others = blocked.iter().filter(|set| **set == asking).count();
            (blocked.contains(&0) && others + 1 == blocked.len()).then_some(())
        });
    }
    tx.stdin().write_all(b"x").unwrap();
    let (tx, rx) = (tx.finish(), rx.finish());
    assert_eq!((rx.code(), tx.code()), (0, 0), "{rx:?} {tx:?}");
    let [blocked, ignored] = ["SigBlk", "SigIgn"].map(|name| signal_set(rx.text(), name));
    assert_eq!((blocked & asking, ignored & asking), (0, 0), "{rx:?}");
}

#[test]
fn sigusr2_raises_the_verbosity() {
    let rx = Rx::start(&["verbose", "1"]);
    let output = rx.collect();
    rx.signal(Signal::USR2);
    let first = tx(rx.port, &["threads", "1"]);
    let mut input = first.stdin();
    feed(&mut input, 0, 1000).unwrap();
    output.await_bytes(1000);
    // the signal is heard some time later: others come until the receiver tells that it refused one
    until("a line of verbosity 2", || {
        assert_eq!(send(rx.port, &["threads", "1", "patience", "1"], b"").code(), 3);
        rx.said().contains("refused").then_some(())
    });
    rx.signal(Signal::TERM);
    assert_eq!(rx.finish().signal(), Some(TERM));
}

#[test]
fn what_was_ignored_at_the_start_stays_ignored() {
    let rx = Rx::spawn(shell("trap '' HUP; exec $MP rx 0").stdin(Stdio::null()).stdout(Stdio::piped()));
    rx.keep();
    rx.signal(Signal::HUP);
    let tx = send(rx.port, &[], b"hello");
    let rx = rx.finish();
    assert_eq!((rx.code(), tx.code(), rx.text()), (0, 0, "hello"), "{rx:?}");
}

#[test]
fn what_was_blocked_at_the_start_ends_nothing() {
    if !Command::new("env").args(["--block-signal=INT", "true"]).status().is_ok_and(|s| s.success()) {
        return skip("needs an env that blocks signals");
    }
    let rx = Rx::keeping(&[]);
    let line = format!("exec env --block-signal=INT $MP tx 127.0.0.1 {} verbose 2", rx.port);
    let tx = Process::spawn(shell(&line).stdin(Stdio::piped()));
    tx.expect("is up");
    tx.signal(Signal::INT);
    tx.stdin().write_all(b"hello").unwrap();
    let (tx, rx) = (tx.finish(), rx.finish());
    assert_eq!((rx.code(), tx.code(), rx.text()), (0, 0, "hello"), "{rx:?} {tx:?}");
}

#[test]
fn a_shell_loop_ends_with_it() {
    for name in ["sh", "bash"] {
        if !has(name) {
            skip(&format!("needs {name}"));
            continue;
        }
        let mut shell = Command::new(name);
        shell.args(["-c", "while :; do $MP rx 0; done"]).env("MP", MILLIPEDE).process_group(0);
        let rx = Rx::spawn(&mut shell);
        rx.signal_group(Signal::INT);
        let rx = rx.finish();
        assert_eq!(rx.signal(), Some(INT), "{name}: {rx:?}");
        assert_eq!(rx.stderr.matches("listening").count(), 1, "{name}: {rx:?}");
    }
}

#[test]
fn the_first_process_of_a_namespace_ends_with_128_and_the_signal() {
    if !Command::new("unshare").args(["-rpf", "true"]).status().is_ok_and(|s| s.success()) {
        return skip("needs user and process namespaces: unshare -rpf");
    }
    for (signal, signo) in [(Signal::INT, INT), (Signal::TERM, TERM)] {
        let mut command = Command::new("unshare");
        // unshare itself does not hear of it
        let rx = Rx::spawn(command.args(["-rpf", MILLIPEDE, "rx", "0"]).process_group(0));
        let first = until("the first process", || {
            members(rx.pid()).into_iter().find(|id| *id != rx.pid().to_string())
        });
        kill_process(Pid::from_raw(first.parse().unwrap()).unwrap(), signal).unwrap();
        let rx = rx.finish();
        assert_eq!(rx.code(), 128 + signo, "{rx:?}");
    }
}

// ---- an end before anybody has answered -----------------------------------------------------------------

/// A path with 40 ms each way, so that every input has failed before the welcome.
fn far(rx: &Rx) -> Relay {
    let relay = Relay::to(rx.port);
    relay.delay(Duration::from_millis(40));
    relay
}

#[test]
fn an_input_that_fails_before_the_welcome_ends_both() {
    for (input, words) in [(true, &[][..]), (false, &["exec", "exit 3"])] {
        let rx = Rx::keeping(&[]);
        let relay = far(&rx);
        let mut command = millipede(&["tx", "127.0.0.1", &relay.port.to_string()]);
        command.args(words);
        if input {
            command.stdin(fs::File::open("/").unwrap());
        }
        let tx = Process::spawn(&mut command).finish();
        let rx = rx.finish();
        assert_eq!((tx.code(), rx.code()), (4, 4), "{tx:?} {rx:?}");
        assert!(rx.stderr.contains("millipede: the sender: "), "{rx:?}");
    }
}

#[test]
fn a_signal_before_the_welcome_ends_both() {
    let rx = Rx::keeping(&[]);
    let relay = far(&rx);
    relay.delay(Duration::from_millis(60));
    let tx = tx(relay.port, &[]);
    until("a connection is under way", || (relay.accepted() > 0).then_some(()));
    tx.signal(Signal::TERM);
    assert_eq!(tx.finish().signal(), Some(TERM));
    let rx = rx.finish();
    assert_eq!(rx.code(), 1, "{rx:?}");
    assert!(rx.stderr.contains("the sender: ended by SIGTERM"), "{rx:?}");
}

#[test]
fn a_receiver_with_patience_ends_where_nobody_comes() {
    let rx = Rx::keeping(&["patience", "1"]).finish();
    assert_eq!(rx.code(), 1, "{rx:?}");
    assert!(rx.stderr.contains("no sender came for 1 s"), "{rx:?}");
}
