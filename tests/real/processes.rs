//! Whatever happens to the two processes: the bytes come out right, or the other one says why not.

use super::{MIB, both};
use crate::util::relay::{Relay, There};
use crate::util::{
    Keys, MILLIPEDE, Process, Rx, Signal, assert_complete, carry, check, feed, free_port, has, server, shell,
    side_by_side, skip, tx, tx_over, until_still,
};
use millipede::sys::signal::ignored_at_start;
use std::fs::Permissions;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long the fault itself lasts: no wait for something to happen.
fn lasting(time: Duration) {
    std::thread::sleep(time);
}

// ---- ends sleep, stop, die ----------------------------------------------------------------------------

/// A sink that does not read is alive: no connection is closed, and nothing is lost.
#[test]
fn the_sink_sleeps() {
    let rx = Rx::start(&["buffer", "4M", "verbose", "2"]);
    let relay = Relay::to(rx.port);
    let tx = tx_over(&[relay.port], &["threads", "4", "buffer", "4M", "verbose", "2"]);
    let bytes = 60 * MIB;
    tx.feed(bytes);
    relay.await_open(4);
    until_still(|| relay.passed(There) / (256 << 10));
    // longer than a silent connection lives
    lasting(Duration::from_secs(5));
    assert_eq!((relay.open(), relay.accepted()), (4, 4), "{tx}\n{rx}");
    let output = rx.collect();
    assert_complete(&rx, &tx, output, bytes);
}

#[test]
fn either_end_is_stopped_for_a_while() {
    side_by_side([true, false], stopped);
}

/// For longer than a silent connection lives; nobody is blamed for it.
fn stopped(receiver: bool) {
    let rx = Rx::start(&[]);
    let tx = tx(rx.port, &["threads", "4"]);
    let (output, bytes) = (rx.collect(), 150 * MIB);
    tx.feed(bytes);
    output.await_bytes(50 * MIB);
    let end = if receiver { &*rx } else { &tx };
    end.signal(Signal::STOP);
    lasting(Duration::from_secs(5));
    end.signal(Signal::CONT);
    assert_complete(&rx, &tx, output, bytes);
}

/// A far end that closes nothing is not waited for long by a process that was asked to end; and nothing goes on
/// meanwhile that there were to tell of.
#[test]
fn a_signal_is_obeyed_although_the_far_end_stands_still() {
    side_by_side([true, false], |receiver| {
        let rx = Rx::start(&[]);
        let tx = tx(rx.port, &[]);
        let output = rx.collect();
        let mut input = tx.stdin();
        feed(&mut input, 0, MIB).unwrap();
        output.await_bytes(MIB);
        let (still, told) = if receiver { (&*rx, &tx) } else { (&tx, &*rx) };
        still.signal(Signal::STOP);
        told.signal(Signal::TERM);
        let asked = Instant::now();
        let (status, said) = told.end();
        assert_eq!(status, None, "{said}");
        // the farewell of an ordinary end is 2 s
        assert!(asked.elapsed() < Duration::from_millis(1900), "{:?}", asked.elapsed());
        assert_eq!(said.matches("ended by SIGTERM").count(), 1, "{said}");
        still.signal(Signal::KILL);
        still.signal(Signal::CONT);
    });
}

#[test]
fn the_sender_says_so_when_the_receiver_is_killed() {
    let rx = Rx::start(&[]);
    let tx = tx(rx.port, &[]);
    let output = rx.collect();
    tx.feed(4000 * MIB);
    output.await_bytes(20 * MIB);
    rx.signal(Signal::KILL);
    let killed = Instant::now();
    assert_eq!(tx.wait_for(Duration::from_secs(25)).code(), Some(1), "{tx}");
    assert!(killed.elapsed() < Duration::from_secs(20), "{:?}", killed.elapsed());
    let (_, said) = tx.end();
    assert!(said.lines().last().unwrap().contains("the receiver is gone"), "{said}");
    output.join();
}

#[test]
fn the_receiver_says_so_when_the_sender_is_killed() {
    let rx = Rx::start(&["patience", "4"]);
    let tx = tx(rx.port, &[]);
    let output = rx.collect();
    tx.feed(4000 * MIB);
    output.await_bytes(20 * MIB);
    tx.signal(Signal::KILL);
    assert_eq!(rx.wait_for(Duration::from_secs(10)).code(), Some(1), "{rx}");
    let (_, said) = rx.end();
    assert!(said.contains("no connection from the sender for 4 s"), "{said}");
    output.join();
}

#[test]
fn the_sender_has_no_more_patience_than_it_was_given() {
    let rx = Rx::start(&[]);
    let relay = Relay::to(rx.port);
    let tx = tx_over(&[relay.port], &["patience", "2"]);
    let (mut input, output) = (tx.stdin(), rx.collect());
    feed(&mut input, 0, MIB).unwrap();
    output.await_bytes(MIB);
    relay.refuse(true);
    relay.kill_all();
    assert_eq!(tx.wait_for(Duration::from_secs(10)).code(), Some(1), "{tx}");
    let (_, said) = tx.end();
    assert!(said.contains("no connection for 2 s"), "{said}");
}

#[test]
fn nobody_listens_and_patience_ends() {
    let (code, said) = tx(free_port(), &["patience", "1"]).end();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("connection refused"), "{said}");
}

/// Two senders that have nothing to send yet. With keys the second one waits, and does not take the receiver from the
/// first.
#[test]
fn who_was_there_first_keeps_the_receiver_though_it_has_nothing_to_send_yet() {
    let keys = Keys::of(&["secret"]);
    let words = keys.shared("secret").to_vec();
    let rx = Rx::start(&words);
    let first = tx(rx.port, &[&words[..], &["verbose", "2"]].concat());
    first.expect("connection 0 is up");
    // longer than a hello alone keeps a place
    let (code, said) = tx(rx.port, &[&words[..], &["patience", "4"]].concat()).end();
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("busy with another session, for 4 s"), "{said}");
    carry(&rx, &first, MIB);
    let said = first.said();
    assert!(!said.contains("lost") && !said.contains("busy"), "{said}");
}

/// Without keys anybody can be there first, and say that it lives.
#[test]
fn who_has_proved_no_key_and_sends_nothing_keeps_nobody_out() {
    let rx = Rx::start(&[]);
    let first = tx(rx.port, &["verbose", "2"]);
    first.expect("connection 0 is up");
    carry(&rx, &tx(rx.port, &[]), MIB);
}

/// A forwarded port accepts, and ends or resets the connection when it finds nobody.
#[test]
fn a_port_that_accepts_for_nobody_is_told_from_one_that_refuses() {
    let ends = server(|mut stream| {
        let _ = stream.read(&mut [0; 1024]);
    });
    let resets = Relay::to_nobody();
    for port in [ends, resets.port] {
        let (code, said) = tx(port, &["patience", "1"]).end();
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("accepted, then closed: no receiver behind it?"), "{said}");
    }
}

/// The output is a prefix, and the receiver knows at once that it is no more than that.
#[test]
fn the_sender_is_ended_by_a_signal() {
    for (signal, number) in [(Signal::INT, 2), (Signal::TERM, 15), (Signal::HUP, 1)] {
        if ignored_at_start(number) {
            skip(&format!("{signal:?} is ignored here from the start"));
            continue;
        }
        let rx = Rx::start(&[]);
        let tx = tx(rx.port, &["threads", "4"]);
        let (mut input, output) = (tx.stdin(), rx.collect());
        feed(&mut input, 0, 5 * MIB).unwrap();
        output.await_bytes(5 * MIB);
        tx.signal(signal);
        assert_eq!(tx.wait_for(Duration::from_secs(8)).signal(), Some(number), "{tx}");
        assert_eq!(rx.wait_for(Duration::from_secs(8)).code(), Some(1), "{rx}");
        assert_eq!(output.join(), 5 * MIB);
    }
}

#[test]
fn the_receiver_is_ended_by_a_signal() {
    let rx = Rx::start(&[]);
    let tx = tx(rx.port, &["threads", "4"]);
    let output = rx.collect();
    tx.feed(4000 * MIB);
    output.await_bytes(20 * MIB);
    rx.signal(Signal::TERM);
    assert_eq!(rx.wait_for(Duration::from_secs(8)).signal(), Some(15), "{rx}");
    assert_eq!(tx.wait_for(Duration::from_secs(8)).code(), Some(1), "{tx}");
    output.join();
}

/// Another receiver at the same port does not have the first part of the stream, and is not given the second.
#[test]
fn a_fresh_receiver_is_not_mistaken_for_the_old_one() {
    let rx = Rx::start(&[]);
    let port = rx.port;
    let first = tx(port, &["threads", "4"]);
    let (mut input, output) = (first.stdin(), rx.collect());
    feed(&mut input, 0, 5 * MIB).unwrap();
    output.await_bytes(5 * MIB);
    rx.signal(Signal::KILL);
    output.join();
    let mut fresh = Process::start(&["rx", &port.to_string()]);
    // until the port of the one that was killed is free
    while fresh.ends_within(Duration::from_millis(300)) {
        fresh = Process::start(&["rx", &port.to_string()]);
    }
    let (code, said) = first.end();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("not that receiver"), "{said}");
    let said = fresh.said();
    assert!(said.lines().count() == 1 && said.contains("refused: not that receiver"), "{said}");
    carry(&fresh, &tx(port, &[]), MIB);
}

/// The output that remains of a session that was cut is a prefix, whatever was under way.
#[test]
fn what_came_before_a_cut_is_a_prefix() {
    let rx = Rx::start(&["patience", "1"]);
    let relay = Relay::to(rx.port);
    let tx = tx_over(&[relay.port], &["patience", "1", "threads", "16"]);
    let mut output = rx.stdout();
    tx.feed(4000 * MIB);
    let mut first = vec![0; 20 * MIB as usize];
    output.read_exact(&mut first).unwrap();
    check(0, &first);
    relay.refuse(true);
    relay.kill_all();
    let mut rest = Vec::new();
    output.read_to_end(&mut rest).unwrap();
    check(first.len() as u64, &rest);
    assert_eq!((tx.wait().code(), rx.wait().code()), (Some(1), Some(1)), "{tx}\n{rx}");
}

// ---- what the host does not give ----------------------------------------------------------------------

#[cfg(target_os = "linux")]
#[test]
fn a_host_without_dev_null_carries_streams_as_well() {
    let without = "mount -t tmpfs none /dev && ! test -e /dev/null";
    let possible = Command::new("unshare").args(["-rm", "sh", "-c", without]).status();
    if !possible.is_ok_and(|status| status.success()) {
        return skip("needs user namespaces with mounts: unshare -rm");
    }
    let bare = |line: &str| shell(&format!("exec unshare -rm sh -c '{without} && exec $MP {line}'"));
    let rx = Rx::spawn(bare("rx 0").stdin(Stdio::null()).stdout(Stdio::piped()));
    let tx = Process::spawn(bare(&format!("tx 127.0.0.1 {}", rx.port)).stdin(Stdio::piped()));
    carry(&rx, &tx, 5);
}

/// The program may not have more addresses than this, in KiB; of what it is asked to hold, less fits.
#[cfg(target_os = "linux")]
const FEW_ADDRESSES: &str = "ulimit -v 200000; exec $MP";

#[cfg(target_os = "linux")]
const REFUSED_MEMORY: &str = "out of memory: the kernel gives no more";

#[cfg(target_os = "linux")]
#[test]
fn memory_refused_to_the_receiver_ends_both_in_words() {
    let line = format!("{FEW_ADDRESSES} rx 0 buffer 1G exec 'sleep 1000'");
    let rx = Rx::spawn(shell(&line).stdin(Stdio::null()));
    let tx = tx(rx.port, &["exec", "yes"]);
    // before its input may end
    tx.expect(REFUSED_MEMORY);
    both(&rx.finish(), &tx.finish(), 1, REFUSED_MEMORY);
}

#[cfg(target_os = "linux")]
#[test]
fn memory_refused_to_the_sender_ends_both_in_words() {
    let rx = Rx::start(&["buffer", "1G", "exec", "sleep 1000"]);
    let line = format!("{FEW_ADDRESSES} tx 127.0.0.1 {} buffer 1G exec yes", rx.port);
    let tx = Process::spawn(shell(&line).stdin(Stdio::null()));
    tx.expect(REFUSED_MEMORY);
    both(&rx.finish(), &tx.finish(), 1, REFUSED_MEMORY);
}

/// The threads that run may have met the peer before others cannot be started.
#[test]
fn an_end_that_may_have_too_few_threads_tells_the_other_one() {
    if !rustix::process::geteuid().is_root() || !has("setpriv") || !has("prlimit") {
        return skip("needs root, setpriv and prlimit");
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let program = folder.path().join("millipede");
    std::fs::copy(MILLIPEDE, &program).unwrap();
    // one that has no other process
    let user = (1_000_000 + std::process::id()).to_string();
    let rx = Rx::keeping(&[]);
    let mut limited = Command::new("setpriv");
    limited.args(["--reuid", &user, "--regid", &user, "--clear-groups"]);
    limited.args(["prlimit", "--nproc=10"]).arg(program);
    limited.args(["tx", "127.0.0.1", &rx.port.to_string()]);
    let tx = Process::spawn(limited.stdin(Stdio::piped()).stdout(Stdio::null()));
    tx.feed(30 * MIB);
    both(&rx.finish(), &tx.finish(), 1, "cannot start a thread");
}
