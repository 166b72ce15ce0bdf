//! Commands at either end: `exec`, and what its exit status is worth.

use super::{assert_same, both, signal_set};
use crate::util::relay::Relay;
use crate::util::{Process, Rx, Signal, pattern, send, shell, tx, until};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{ChildStdin, Stdio};

const KILL: i32 = 9;
const INT: i32 = 2;
const TERM: i32 = 15;

/// More than any pipe holds, and than the kernel's socket buffers on both sides.
const MUCH: usize = 24 << 20;

fn path(dir: &tempfile::TempDir, name: &str) -> String {
    dir.path().join(name).to_str().unwrap().to_owned()
}

/// A sender that has sent one byte, and whose input goes on.
fn begun(port: u16) -> (Process, ChildStdin) {
    let tx = tx(port, &[]);
    let mut stdin = tx.stdin();
    stdin.write_all(b"x").unwrap();
    (tx, stdin)
}

// ---- commands that take ---------------------------------------------------------------------------------

#[test]
fn a_command_takes_the_stream() {
    let rx = Rx::keeping(&["exec", "cat; echo done >&2"]);
    let sent = pattern(0, MUCH);
    let tx = send(rx.port, &[], &sent);
    let rx = rx.finish();
    assert_eq!((rx.code(), tx.code()), (0, 0), "{} {}", rx.stderr, tx.stderr);
    assert_same(&rx.stdout, &sent);
    assert!(rx.stderr.ends_with("\ndone\n"), "{}", rx.stderr);
    assert_eq!(tx.stderr, "");
}

#[test]
fn a_command_takes_an_empty_stream() {
    let rx = Rx::keeping(&["exec", "cat; echo done"]);
    let tx = send(rx.port, &[], b"");
    let rx = rx.finish();
    assert_eq!((rx.code(), tx.code(), rx.text()), (0, 0, "done\n"));
}

#[test]
fn the_verdict_waits_for_the_commands_exit_status() {
    for (command, said) in [
        ("cat >/dev/null; exit 1", r#"exec "cat >/dev/null; exit 1" exited 1"#),
        ("cat >/dev/null; kill -KILL $$", r#"exec "cat >/dev/null; kill -KILL $$" was killed by SIGKILL"#),
        ("no-such-command", r#"exec "no-such-command" exited 127"#),
    ] {
        for len in [10, 100_000] {
            let rx = Rx::keeping(&["exec", command]);
            let tx = send(rx.port, &[], &pattern(0, len));
            both(&rx.finish(), &tx, 5, said);
        }
    }
}

#[test]
fn a_command_that_stops_taking_is_a_failure_even_if_it_succeeds() {
    for len in [1001, 100_000, MUCH] {
        let rx = Rx::keeping(&["exec", "head -c 1000"]);
        let tx = send(rx.port, &[], &pattern(0, len));
        both(&rx.finish(), &tx, 5, r#"exec "head -c 1000" exited 0 without taking the whole stream"#);
    }
    let closes = "exec <&-; exec sleep 1000";
    let rx = Rx::keeping(&["exec", closes]);
    let tx = send(rx.port, &[], &pattern(0, 1000));
    both(&rx.finish(), &tx, 5, "closed its stdin before the end of the stream");
}

#[test]
fn a_command_that_takes_exactly_everything_succeeds() {
    let rx = Rx::keeping(&["exec", "head -c 1000"]);
    let tx = send(rx.port, &[], &pattern(0, 1000));
    assert_eq!((rx.finish().code(), tx.code()), (0, 0));
}

#[test]
fn a_command_that_exits_in_a_pause_is_noticed() {
    let rx = Rx::keeping(&["exec", "head -c 1 >/dev/null; exit 7"]);
    let (tx, stdin) = begun(rx.port);
    both(&rx.finish(), &tx.finish(), 5, "exited 7");
    drop(stdin);
}

#[test]
fn a_pipeline_is_ended_as_a_whole_and_its_stdin_not_closed_before() {
    let dir = tempfile::tempdir().unwrap();
    let committed = path(&dir, "committed");
    // neither is told the end of the stream, so neither commits
    for ignores in ["", "trap '' TERM; "] {
        let rx = Rx::keeping(&["exec", &format!("{ignores}cat | (cat >/dev/null; touch {committed})")]);
        let (tx, _stdin) = begun(rx.port);
        rx.await_command("cat");
        tx.signal(Signal::TERM);
        let tx = tx.finish();
        assert_eq!(tx.signal(), Some(TERM), "{tx:?}");
        // this waits for all who have its stderr, the commands among them
        let rx = rx.finish();
        assert_eq!(rx.code(), 1, "{rx:?}");
        assert!(rx.stderr.contains("millipede: the sender: ended by SIGTERM"), "{rx:?}");
        assert!(!Path::new(&committed).exists());
    }
}

#[test]
fn the_command_ends_with_a_receiver_that_is_interrupted() {
    for (command, twice) in [("cat | cat", false), ("trap '' TERM; cat | cat", true)] {
        let rx = Rx::keeping(&["exec", command]);
        let (tx, _stdin) = begun(rx.port);
        rx.await_command("cat");
        rx.signal(Signal::INT);
        if twice {
            // the command has the grace that it does not use; the second signal does not wait for that
            let tx = tx.finish();
            assert_eq!(tx.code(), 1, "{tx:?}");
            assert!(tx.stderr.contains("the receiver: ended by SIGINT"), "{tx:?}");
            rx.signal(Signal::INT);
        }
        assert_eq!(rx.finish().signal(), Some(INT));
    }
}

#[test]
fn a_command_does_not_outlive_a_receiver_that_was_killed() {
    let rx = Rx::keeping(&["exec", "exec sleep 1000"]);
    let (tx, _stdin) = begun(rx.port);
    rx.await_command("sleep");
    rx.signal(Signal::KILL);
    assert_eq!(rx.finish().signal(), Some(KILL));
    tx.signal(Signal::KILL);
    tx.finish();
}

#[test]
fn a_command_never_takes_the_death_of_its_receiver_for_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let committed = path(&dir, "committed");
    for command in ["cat >/dev/null && touch $C", "trap '' TERM; cat | (cat >/dev/null; touch $C)"].repeat(3)
    {
        let rx = Rx::keeping(&["exec", &command.replace("$C", &committed)]);
        let (_tx, _stdin) = begun(rx.port);
        rx.await_command("cat");
        rx.signal(Signal::KILL);
        // this waits for all who have its stderr, the commands among them
        assert_eq!(rx.finish().signal(), Some(KILL));
        assert!(!Path::new(&committed).exists(), "{command}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_guard_of_a_commands_stdin_ends_with_it() {
    for (command, code) in [("cat", 0), ("cat; exit 3", 5)] {
        let rx = Rx::keeping(&["exec", command]);
        let (tx, stdin) = begun(rx.port);
        let guard = until("the guard", || child_called(rx.pid(), "stdin-guard"));
        drop(stdin);
        let (tx, rx) = (tx.finish(), rx.finish());
        assert_eq!((rx.code(), tx.code()), (code, code), "{rx:?} {tx:?}");
        assert!(!Path::new(&format!("/proc/{guard}")).exists(), "{guard}");
    }
}

/// It may have seen off a program that still ran at the end.
#[cfg(target_os = "linux")]
#[test]
fn the_guard_of_other_programs_ends_with_the_process_that_has_it() {
    for (at_rx, at_tx) in [(&[][..], &["exec", "cat"][..]), (&["through", "cat"], &["through", "cat", "cat"])]
    {
        let rx = Rx::keeping(at_rx);
        let tx = tx(rx.port, at_tx);
        let mut stdin = tx.stdin();
        stdin.write_all(b"x").unwrap();
        let guard = until("the guard", || child_called(tx.pid(), "command-guard"));
        drop(stdin);
        let (tx, rx) = (tx.finish(), rx.finish());
        assert_eq!((rx.code(), tx.code(), rx.text()), (0, 0, "x"), "{rx:?} {tx:?}");
        until("the guard is gone", || (!Path::new(&format!("/proc/{guard}")).exists()).then_some(()));
    }
}

/// The child of this process that has this name.
#[cfg(target_os = "linux")]
pub(crate) fn child_called(parent: u32, name: &str) -> Option<u32> {
    let stats = fs::read_dir("/proc").unwrap().map_while(Result::ok);
    let mut stats = stats.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    stats.find_map(|stat| {
        // pid (name) state ppid
        let (id, rest) = stat.split_once(" (")?;
        let (called, rest) = rest.rsplit_once(") ")?;
        let is_it = called == name && rest.split_whitespace().nth(1) == Some(&parent.to_string());
        is_it.then(|| id.parse().ok()).flatten()
    })
}

// ---- commands that give ---------------------------------------------------------------------------------

#[test]
fn a_command_gives_the_stream() {
    let dir = tempfile::tempdir().unwrap();
    let (file, sent) = (path(&dir, "stream"), pattern(0, MUCH));
    fs::write(&file, &sent).unwrap();
    let rx = Rx::keeping(&[]);
    let tx = tx(rx.port, &["exec", &format!("cat {file}")]).finish();
    let rx = rx.finish();
    assert_eq!((rx.code(), tx.code()), (0, 0), "{} {}", rx.stderr, tx.stderr);
    assert_same(&rx.stdout, &sent);
}

#[test]
fn a_command_reads_what_stdin_has() {
    let rx = Rx::keeping(&[]);
    let tx = send(rx.port, &["exec", "tr a-z A-Z"], b"hello");
    let rx = rx.finish();
    assert_eq!((rx.code(), tx.code(), rx.text()), (0, 0, "HELLO"));
}

#[test]
fn a_command_that_fails_is_an_input_failure_at_both_ends() {
    for (command, said) in [
        ("exit 3", r#"exec "exit 3" exited 3"#),
        ("printf hello; exit 3", "exited 3"),
        ("head -c 10000000 /dev/zero; kill -SEGV $$", "was killed by SIGSEGV"),
        ("sleep 1000 & exit 4", "exited 4"),
    ] {
        let rx = Rx::keeping(&["exec", "cat >/dev/null; echo committed"]);
        let tx = tx(rx.port, &["exec", command]).finish();
        let rx = rx.finish();
        both(&rx, &tx, 4, said);
        assert!(rx.stderr.contains("millipede: the sender: exec"), "{rx:?}");
        assert_eq!(rx.text(), "", "{command}");
    }
}

#[test]
fn a_command_that_has_more_to_give_than_the_limit_ends_as_with_head() {
    for (command, code) in [
        ("yes", 0),
        ("yes | cat", 0),
        ("yes; exit 0", 0),
        ("head -c 2M /dev/zero", 0),
        ("yes; exit 3", 4),
        ("head -c 2M /dev/zero; exit 3", 4),
    ] {
        let rx = Rx::keeping(&["exec", "wc -c"]);
        let tx = tx(rx.port, &["leglimit", "1", "exec", command]).finish();
        let rx = rx.finish();
        match code {
            0 => {
                assert_eq!((rx.code(), tx.code(), rx.text()), (0, 0, "2097152\n"), "{command}: {rx:?} {tx:?}")
            }
            _ => both(&rx, &tx, code, "exited 3"),
        }
    }
}

#[test]
fn a_command_that_is_killed_by_the_limit_has_not_taken_the_other_stream() {
    let rx = Rx::keeping(&["duplex", "leglimit", "1", "exec", "cat"]);
    let tx = tx(rx.port, &["duplex"]);
    tx.keep();
    let _ = tx.stdin().write_all(&pattern(0, MUCH));
    let (tx, rx) = (tx.finish(), rx.finish());
    assert_eq!((rx.code(), tx.code()), (5, 5), "{rx:?} {tx:?}");
    assert!(tx.stdout.len() <= 2 << 20 && pattern(0, 2 << 20).starts_with(&tx.stdout));
}

#[test]
fn a_giving_command_ends_with_its_sender() {
    let rx = Rx::keeping(&["exec", "head -c 10 >/dev/null; exit 9"]);
    let tx = tx(rx.port, &["exec", "yes | cat"]).finish();
    both(&rx.finish(), &tx, 5, "exited 9");
}

#[test]
fn a_giving_command_ends_with_a_sender_that_was_killed() {
    for command in [
        "sleep 1000; sleep 1000",
        "(while :; do sleep 0.01; echo x; done) | cat",
        "trap '' TERM; sleep 1000; sleep 1000",
        "sleep 1000 & kill -STOP $$; sleep 1000",
    ] {
        let rx = Rx::keeping(&[]);
        let tx = tx(rx.port, &["exec", command]);
        tx.await_command("sleep");
        tx.signal(Signal::KILL);
        // this waits for all who have its stderr, the commands among them
        assert_eq!(tx.finish().signal(), Some(KILL), "{command}");
    }
}

#[test]
fn a_command_that_has_taken_its_stream_and_gives_another_ends_with_a_process_that_was_killed() {
    let rx = Rx::keeping(&["duplex", "exec", "cat >/dev/null; trap '' TERM; sleep 1000; sleep 1000"]);
    let tx = tx(rx.port, &["duplex"]);
    tx.feed(5);
    rx.await_command("sleep");
    rx.signal(Signal::KILL);
    // this waits for all who have its stderr, the commands among them
    assert_eq!(rx.finish().signal(), Some(KILL));
    tx.signal(Signal::KILL);
    tx.finish();
}

#[test]
fn one_command_takes_and_gives() {
    let last = Rx::keeping(&[]);
    let port = last.port.to_string();
    let middle = Rx::keeping(&["tx", "127.0.0.1", &port, "exec", "tr a-z A-Z"]);
    let first = send(middle.port, &[], b"hello");
    assert_eq!((first.code(), middle.finish().code()), (0, 0));
    let last = last.finish();
    assert_eq!((last.code(), last.text()), (0, "HELLO"));
}

#[test]
fn one_command_that_takes_and_gives_and_fails_fails_for_both() {
    let last = Rx::keeping(&[]);
    let port = last.port.to_string();
    let middle = Rx::keeping(&["tx", "127.0.0.1", &port, "exec", "cat; exit 6"]);
    let first = send(middle.port, &[], b"hello");
    let (middle, last) = (middle.finish(), last.finish());
    assert_eq!((first.code(), middle.code(), last.code()), (5, 4, 4), "{first:?} {middle:?} {last:?}");
}

#[test]
fn one_command_of_a_duplex_session_that_fails_has_one_status_at_both_ends() {
    for command in ["cat; exit 6", "cat >/dev/null; exit 6", "exit 6"] {
        let rx = Rx::keeping(&["duplex", "exec", command]);
        let tx = tx(rx.port, &["duplex"]);
        tx.feed(100_000);
        let (tx, rx) = (tx.finish(), rx.finish());
        assert_eq!((tx.code(), rx.code()), (4, 4), "{command}: {tx:?} {rx:?}");
    }
}

#[test]
fn a_receiver_started_anew_never_sees_the_rest_of_a_stream() {
    let dir = tempfile::tempdir().unwrap();
    let started = path(&dir, "started");
    let old = Rx::keeping(&["exec", "cat >/dev/null"]);
    let relay = Relay::to(old.port);
    let tx = tx(relay.port, &[]);
    let mut stdin = tx.stdin();
    stdin.write_all(&pattern(0, MUCH)).unwrap();
    let new = Rx::keeping(&["exec", &format!("echo once >>{started}; cat")]);
    relay.lead_to(new.port);
    old.signal(Signal::KILL);
    old.finish();
    let words = "not that receiver";
    new.expect(words);
    let tx = tx.finish();
    assert_eq!(tx.code(), 1, "{tx:?}");
    assert!(tx.stderr.contains(words), "{tx:?}");
    assert!(!Path::new(&started).exists());
    // it goes on waiting for a stream of its own
    let whole = send(new.port, &[], b"whole");
    let new = new.finish();
    assert_eq!((whole.code(), new.code(), new.text()), (0, 0, "whole"), "{new:?}");
    assert_eq!(fs::read_to_string(&started).unwrap(), "once\n");
    assert_eq!(new.stderr.matches(words).count(), 1, "{new:?}");
}

// ---- whatever the command -------------------------------------------------------------------------------

const NO_SHELL: [&str; 2] = ["cannot run sh for exec \"zfs ", ": no such file or directory"];

#[test]
fn a_shell_that_rx_misses_is_named_at_both_ends() {
    let mut line = shell("PATH=/none; exec $MP rx 0 exec 'zfs recv x'");
    let rx = Rx::spawn(line.stdin(Stdio::null()).stdout(Stdio::null()));
    let tx = send(rx.port, &[], b"x");
    let rx = rx.finish();
    NO_SHELL.iter().for_each(|words| both(&rx, &tx, 5, words));
}

#[test]
fn a_shell_that_tx_misses_is_named_at_both_ends() {
    let rx = Rx::keeping(&[]);
    let line = format!("PATH=/none; exec $MP tx 127.0.0.1 {} exec 'zfs send x'", rx.port);
    let tx = Process::spawn(shell(&line).stdin(Stdio::null())).finish();
    let rx = rx.finish();
    NO_SHELL.iter().for_each(|words| both(&rx, &tx, 4, words));
}

#[cfg(target_os = "linux")]
#[test]
fn a_command_ends_by_the_limit_of_a_files_size_as_ever() {
    const XFSZ: u64 = 25;
    let rx = Rx::keeping(&["exec", "grep ^SigIgn /proc/self/status; cat >/dev/null"]);
    let tx = send(rx.port, &[], b"x");
    let rx = rx.finish();
    assert_eq!((rx.code(), tx.code()), (0, 0), "{rx:?} {tx:?}");
    assert_eq!(signal_set(rx.text(), "SigIgn") & 1 << (XFSZ - 1), 0, "{rx:?}");
}
