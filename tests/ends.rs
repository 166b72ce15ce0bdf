//! What an exit status is worth at both edges: the sink's word, the source's word, commands and signals.

#[path = "util/ends.rs"]
mod util;

use std::fs::{self, File};
use std::io::{Read, Write, pipe};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use util::*;

const HUP: i32 = 1;
const INT: i32 = 2;
const KILL: i32 = 9;
const TERM: i32 = 15;
const USR1: i32 = 10;
const USR2: i32 = 12;

/// More than any pipe holds, and than the kernel's socket buffers on both sides.
const MUCH: usize = 24 << 20;

/// How often what is a race by nature is tried here; it was tried 200 times when it was written.
const TIMES: usize = 10;

fn text(ended: &Ended) -> &str {
    std::str::from_utf8(&ended.stdout).unwrap()
}

fn path(dir: &tempfile::TempDir, name: &str) -> String {
    dir.path().join(name).to_str().unwrap().to_owned()
}

fn has(name: &str) -> bool {
    Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// Both ends, and that both said this.
fn both(rx: &Ended, tx: &Ended, code: i32, said: &str) {
    assert_eq!((rx.code(), tx.code()), (code, code), "{rx:?} {tx:?}");
    assert!(rx.stderr.contains(said), "{rx:?}");
    assert!(tx.stderr.contains(said), "{tx:?}");
}

// ---- commands that take ---------------------------------------------------------------------------------

#[test]
fn a_command_takes_the_stream() {
    let rx = Rx::start(&["exec", "cat; echo done >&2"]);
    let sent = bytes(MUCH);
    let tx = send(rx.port, &[], &sent);
    let rx = rx.end();
    assert_eq!((rx.code(), tx.code()), (0, 0), "{} {}", rx.stderr, tx.stderr);
    assert!(rx.stdout == sent);
    assert!(rx.stderr.ends_with("\ndone\n"), "{}", rx.stderr);
    assert_eq!(tx.stderr, "");
}

#[test]
fn a_command_takes_an_empty_stream() {
    let rx = Rx::start(&["exec", "cat; echo done"]);
    let tx = send(rx.port, &[], b"");
    let rx = rx.end();
    assert_eq!((rx.code(), tx.code(), text(&rx)), (0, 0, "done\n"));
}

#[test]
fn the_verdict_waits_for_the_commands_exit_status() {
    for (command, said) in [
        ("cat >/dev/null; exit 1", r#"exec "cat >/dev/null; exit 1" exited 1"#),
        ("cat >/dev/null; kill -KILL $$", r#"exec "cat >/dev/null; kill -KILL $$" was killed by SIGKILL"#),
        ("no-such-command", r#"exec "no-such-command" exited 127"#),
    ] {
        for len in [10, 100_000] {
            let rx = Rx::start(&["exec", command]);
            let tx = send(rx.port, &[], &bytes(len));
            both(&rx.end(), &tx, 5, said);
        }
    }
}

#[test]
fn a_command_that_stops_taking_is_a_failure_even_if_it_succeeds() {
    for len in [1001, 100_000, MUCH] {
        let rx = Rx::start(&["exec", "head -c 1000"]);
        let tx = send(rx.port, &[], &bytes(len));
        both(&rx.end(), &tx, 5, r#"exec "head -c 1000" exited 0 without taking the whole stream"#);
    }
    let closes = "exec <&-; exec sleep 1000";
    let rx = Rx::start(&["exec", closes]);
    let tx = send(rx.port, &[], &bytes(1000));
    both(&rx.end(), &tx, 5, "closed its stdin before the end of the stream");
}

#[test]
fn a_command_that_takes_exactly_everything_succeeds() {
    let rx = Rx::start(&["exec", "head -c 1000"]);
    let tx = send(rx.port, &[], &bytes(1000));
    assert_eq!((rx.end().code(), tx.code()), (0, 0));
}

#[test]
fn a_command_that_exits_in_a_pause_is_noticed() {
    let rx = Rx::start(&["exec", "head -c 1 >/dev/null; exit 7"]);
    let mut tx = tx(rx.port, &[]);
    let mut stdin = tx.stdin();
    stdin.write_all(b"x").unwrap();
    both(&rx.end(), &tx.end(), 5, "exited 7");
    drop(stdin);
}

#[test]
fn a_pipeline_is_ended_as_a_whole_and_its_stdin_not_closed_before() {
    let dir = tempfile::tempdir().unwrap();
    let committed = path(&dir, "committed");
    // neither is told the end of the stream, so neither commits
    for ignores in ["", "trap '' TERM; "] {
        let rx = Rx::start(&["exec", &format!("{ignores}cat | (cat >/dev/null; touch {committed})")]);
        let mut tx = tx(rx.port, &[]);
        let mut stdin = tx.stdin();
        stdin.write_all(b"x").unwrap();
        rx.process.await_command("cat");
        tx.kill("TERM");
        let tx = tx.end();
        assert_eq!(tx.signal(), Some(TERM), "{tx:?}");
        // this waits for all who have its stderr, the commands among them
        let rx = rx.end();
        assert_eq!(rx.code(), 1, "{rx:?}");
        assert!(rx.stderr.contains("millipede: the sender: ended by SIGTERM"), "{rx:?}");
        assert!(!Path::new(&committed).exists());
    }
}

#[test]
fn the_command_ends_with_a_receiver_that_is_interrupted() {
    for (command, twice) in [("cat | cat", false), ("trap '' TERM; cat | cat", true)] {
        let rx = Rx::start(&["exec", command]);
        let mut tx = tx(rx.port, &[]);
        let mut stdin = tx.stdin();
        stdin.write_all(b"x").unwrap();
        rx.process.await_command("cat");
        rx.process.kill("INT");
        if twice {
            // the command has the grace that it does not use; the second signal does not wait for that
            let tx = tx.end();
            assert_eq!(tx.code(), 1, "{tx:?}");
            assert!(tx.stderr.contains("the receiver: ended by SIGINT"), "{tx:?}");
            rx.process.kill("INT");
        }
        assert_eq!(rx.end().signal(), Some(INT));
    }
}

#[test]
fn a_command_does_not_outlive_a_receiver_that_was_killed() {
    let rx = Rx::start(&["exec", "exec sleep 1000"]);
    let mut tx = tx(rx.port, &[]);
    let mut stdin = tx.stdin();
    stdin.write_all(b"x").unwrap();
    rx.process.await_command("sleep");
    rx.process.kill("KILL");
    assert_eq!(rx.end().signal(), Some(KILL));
    tx.kill("KILL");
    tx.end();
}

#[test]
fn a_command_never_takes_the_death_of_its_receiver_for_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let committed = path(&dir, "committed");
    for command in ["cat >/dev/null && touch $C", "trap '' TERM; cat | (cat >/dev/null; touch $C)"].repeat(3)
    {
        let rx = Rx::start(&["exec", &command.replace("$C", &committed)]);
        let mut tx = tx(rx.port, &[]);
        let mut stdin = tx.stdin();
        stdin.write_all(b"x").unwrap();
        rx.process.await_command("cat");
        rx.process.kill("KILL");
        // this waits for all who have its stderr, the commands among them
        assert_eq!(rx.end().signal(), Some(KILL));
        assert!(!Path::new(&committed).exists(), "{command}");
        tx.kill("KILL");
        tx.end();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_guard_of_a_commands_stdin_ends_with_it() {
    for (command, code) in [("cat", 0), ("cat; exit 3", 5)] {
        let rx = Rx::start(&["exec", command]);
        let mut tx = tx(rx.port, &[]);
        let mut stdin = tx.stdin();
        stdin.write_all(b"x").unwrap();
        let guard = until("the guard", || child_called(rx.process.id(), "stdin-guard"));
        drop(stdin);
        let (tx, rx) = (tx.end(), rx.end());
        assert_eq!((rx.code(), tx.code()), (code, code), "{rx:?} {tx:?}");
        assert!(!Path::new(&format!("/proc/{guard}")).exists(), "{guard}");
    }
}

/// The child of this process that has this name.
fn child_called(parent: u32, name: &str) -> Option<u32> {
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
    let (file, sent) = (path(&dir, "stream"), bytes(MUCH));
    fs::write(&file, &sent).unwrap();
    let rx = Rx::start(&[]);
    let tx = tx(rx.port, &["exec", &format!("cat {file}")]).end();
    let rx = rx.end();
    assert_eq!((rx.code(), tx.code()), (0, 0), "{} {}", rx.stderr, tx.stderr);
    assert!(rx.stdout == sent);
}

#[test]
fn a_command_reads_what_stdin_has() {
    let rx = Rx::start(&[]);
    let tx = send(rx.port, &["exec", "tr a-z A-Z"], b"hello");
    let rx = rx.end();
    assert_eq!((rx.code(), tx.code(), text(&rx)), (0, 0, "HELLO"));
}

#[test]
fn a_command_that_fails_is_an_input_failure_at_both_ends() {
    for (command, said) in [
        ("exit 3", r#"exec "exit 3" exited 3"#),
        ("printf hello; exit 3", "exited 3"),
        ("head -c 10000000 /dev/zero; kill -SEGV $$", "was killed by SIGSEGV"),
        ("sleep 1000 & exit 4", "exited 4"),
    ] {
        let rx = Rx::start(&["exec", "cat >/dev/null; echo committed"]);
        let tx = tx(rx.port, &["exec", command]).end();
        let rx = rx.end();
        both(&rx, &tx, 4, said);
        assert!(rx.stderr.contains("millipede: the sender: exec"), "{rx:?}");
        assert_eq!(text(&rx), "", "{command}");
    }
}

#[test]
fn a_giving_command_ends_with_its_sender() {
    let rx = Rx::start(&["exec", "head -c 10 >/dev/null; exit 9"]);
    let tx = tx(rx.port, &["exec", "yes | cat"]).end();
    both(&rx.end(), &tx, 5, "exited 9");
}

#[test]
fn one_command_takes_and_gives() {
    let last = Rx::start(&[]);
    let port = last.port.to_string();
    let middle = Rx::start(&["tx", "127.0.0.1", &port, "exec", "tr a-z A-Z"]);
    let first = send(middle.port, &[], b"hello");
    assert_eq!((first.code(), middle.end().code()), (0, 0));
    let last = last.end();
    assert_eq!((last.code(), text(&last)), (0, "HELLO"));
}

#[test]
fn one_command_that_takes_and_gives_and_fails_fails_for_both() {
    let last = Rx::start(&[]);
    let port = last.port.to_string();
    let middle = Rx::start(&["tx", "127.0.0.1", &port, "exec", "cat; exit 6"]);
    let first = send(middle.port, &[], b"hello");
    let (middle, last) = (middle.end(), last.end());
    assert_eq!((first.code(), last.code()), (5, 4), "{first:?} {last:?}");
    assert!([4, 5].contains(&middle.code()), "{middle:?}");
}

#[test]
fn a_receiver_started_anew_never_sees_the_rest_of_a_stream() {
    let dir = tempfile::tempdir().unwrap();
    let started = path(&dir, "started");
    let old = Rx::start(&["exec", "cat >/dev/null"]);
    let detour = Detour::to(old.port);
    let mut tx = tx(detour.port, &[]);
    let mut stdin = tx.stdin();
    stdin.write_all(&bytes(MUCH)).unwrap();
    let mut new = Rx::start(&["exec", &format!("echo once >>{started}; cat")]);
    detour.lead_to(new.port);
    old.process.kill("KILL");
    old.end();
    let words = "not that receiver";
    new.process.await_line(words);
    let tx = tx.end();
    assert_eq!(tx.code(), 1, "{tx:?}");
    assert!(tx.stderr.contains(words), "{tx:?}");
    assert!(!Path::new(&started).exists());
    // it goes on waiting for a stream of its own
    let whole = send(new.port, &[], b"whole");
    let new = new.end();
    assert_eq!((whole.code(), new.code(), text(&new)), (0, 0, "whole"), "{new:?}");
    assert_eq!(fs::read_to_string(&started).unwrap(), "once\n");
    assert_eq!(new.stderr.matches(words).count(), 1, "{new:?}");
}

// ---- sinks ----------------------------------------------------------------------------------------------

#[test]
fn a_reader_that_has_gone_is_a_failure_however_small_the_stream() {
    for _ in 0..TIMES {
        let (reader, writer) = pipe().unwrap();
        let rx = Rx::into(OwnedFd::from(writer), &[]);
        drop(reader);
        let tx = send(rx.port, &[], &bytes(20_000));
        both(&rx.end(), &tx, 5, "whoever read stdout has gone");
    }
    for _ in 0..TIMES {
        let mut rx = Rx::shell("{ $MP rx 0; echo rx $? >&2; } | false");
        let tx = send(rx.port, &[], &bytes(20_000));
        assert_eq!(tx.code(), 5, "{tx:?}");
        assert_eq!(rx.process.await_line("rx "), "rx 5\n");
    }
}

#[test]
fn a_reader_that_goes_in_the_middle_is_a_failure() {
    for len in [1001, 100_000, MUCH] {
        let (mut reader, writer) = pipe().unwrap();
        let rx = Rx::into(OwnedFd::from(writer), &[]);
        let head = std::thread::spawn(move || reader.read_exact(&mut [0; 1000]).unwrap());
        let tx = send(rx.port, &[], &bytes(len));
        both(&rx.end(), &tx, 5, "whoever read stdout has gone");
        head.join().unwrap();
    }
}

#[test]
fn a_reader_that_goes_in_a_pause_is_noticed() {
    let (mut pipe_end, writer) = pipe().unwrap();
    let (mut socket_end, socket) = UnixStream::pair().unwrap();
    let ends: [(OwnedFd, Box<dyn FnOnce() + Send>); 2] = [
        (writer.into(), Box::new(move || pipe_end.read_exact(&mut [0; 5]).unwrap())),
        (socket.into(), Box::new(move || socket_end.read_exact(&mut [0; 5]).unwrap())),
    ];
    for (sink, reads_and_goes) in ends {
        let rx = Rx::into(sink, &[]);
        let mut tx = tx(rx.port, &[]);
        let mut stdin = tx.stdin();
        stdin.write_all(b"hello").unwrap();
        reads_and_goes();
        both(&rx.end(), &tx.end(), 5, "whoever read stdout has gone");
        drop(stdin);
    }
}

#[test]
fn a_slow_reader_is_waited_for() {
    let (mut reader, writer) = pipe().unwrap();
    let rx = Rx::into(OwnedFd::from(writer), &[]);
    let mut tx = tx(rx.port, &["verbose", "0"]);
    tx.stdin().write_all(&bytes(20_000)).unwrap();
    // everything is in the pipe, and neither end is satisfied with that
    let mut first = [0; 1];
    reader.read_exact(&mut first).unwrap();
    let (mut rx, mut rest) = (rx, Vec::new());
    assert!(!rx.process.has_ended() && !tx.has_ended());
    reader.read_to_end(&mut rest).unwrap();
    assert_eq!((rest.len(), rx.end().code(), tx.end().code()), (19_999, 0, 0));
}

#[test]
fn a_full_disk_is_a_failure_with_the_reason() {
    for len in [10, MUCH] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let rx = Rx::into(full, &[]);
        let tx = send(rx.port, &[], &bytes(len));
        both(&rx.end(), &tx, 5, "cannot write to stdout: no space left on device");
    }
}

#[test]
fn a_small_file_system_in_a_namespace_is_a_failure_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let mount = format!("mount -t tmpfs -o size=1M none {}", dir.path().display());
    if !Command::new("unshare").args(["-rm", "sh", "-c", &mount]).status().is_ok_and(|s| s.success()) {
        eprintln!(
            "skipped: a_small_file_system_in_a_namespace_is_a_failure_with_the_reason (no unshare -rm here)"
        );
        return;
    }
    let line = format!("{mount} && exec $MP rx 0 > {}", path(&dir, "file"));
    let mut command = Command::new("unshare");
    let rx = Rx::spawn(command.args(["-rm", "sh", "-c", &line]).env("MP", MILLIPEDE));
    let tx = send(rx.port, &[], &bytes(MUCH));
    both(&rx.end(), &tx, 5, "cannot write to stdout: no space left on device");
}

#[test]
fn a_regular_file_has_it_all() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let rx = Rx::into(file.reopen().unwrap(), &[]);
    let sent = bytes(MUCH);
    let tx = send(rx.port, &[], &sent);
    assert_eq!((rx.end().code(), tx.code()), (0, 0));
    assert!(fs::read(file.path()).unwrap() == sent);
}

#[cfg(target_os = "linux")]
#[test]
fn closed_ends_are_failures_at_once() {
    let rx = Process::start(&mut shell("exec $MP rx 0 >&-"), false).end();
    assert_eq!((rx.code(), rx.stderr.contains("stdout is closed")), (5, true), "{rx:?}");
    let tx = Process::start(&mut shell("exec $MP tx 127.0.0.1 9 <&-"), false).end();
    assert_eq!((tx.code(), tx.stderr.contains("stdin is closed")), (4, true), "{tx:?}");
}

#[test]
fn an_unreadable_input_is_a_failure() {
    let tx = Process::start(&mut shell("exec $MP tx 127.0.0.1 9 </"), false).end();
    assert_eq!((tx.code(), tx.stderr.contains("cannot read stdin: is a directory")), (4, true), "{tx:?}");
}

#[test]
fn a_missing_shell_is_named() {
    for way in ["rx", "tx"] {
        let bare = |port: u16| match way {
            "rx" => "PATH=/none; exec $MP rx 0 exec 'zfs recv x'".to_owned(),
            _ => format!("PATH=/none; exec $MP tx 127.0.0.1 {port} exec 'zfs send x'"),
        };
        let (rx, tx, code) = if way == "rx" {
            let rx = Rx::shell(&bare(0));
            let tx = send(rx.port, &[], b"x");
            (rx.end(), tx, 5)
        } else {
            let rx = Rx::start(&[]);
            let tx = Process::start(shell(&bare(rx.port)).stdin(Stdio::null()), false).end();
            (rx.end(), tx, 4)
        };
        both(&rx, &tx, code, "cannot run sh for exec \"zfs ");
        both(&rx, &tx, code, ": no such file or directory");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_host_without_dev_null_carries_streams_as_well() {
    let without = "mount -t tmpfs none /dev && ! test -e /dev/null";
    let possible = Command::new("unshare").args(["-rm", "sh", "-c", without]).status();
    if !possible.is_ok_and(|status| status.success()) {
        eprintln!("skipped: a_host_without_dev_null_carries_streams_as_well (no unshare -rm here)");
        return;
    }
    let bare = |line: &str| format!("exec unshare -rm sh -c '{without} && exec $MP {line}'");
    let rx = Rx::shell(&bare("rx 0"));
    let mut tx = shell(&bare(&format!("tx 127.0.0.1 {}", rx.port)));
    let mut tx = Process::start(tx.stdin(Stdio::piped()), false);
    tx.stdin().write_all(b"hello").unwrap();
    let (tx, rx) = (tx.end(), rx.end());
    assert_eq!((rx.code(), tx.code(), text(&rx)), (0, 0, "hello"), "{rx:?} {tx:?}");
}

/// The program may not have more addresses than this, in KiB; of what it is asked to hold, less fits.
#[cfg(target_os = "linux")]
#[test]
fn refused_memory_ends_both_in_words() {
    let said = "out of memory: the kernel gives no more";
    let rx = Rx::shell("ulimit -v 200000; exec $MP rx 0 buffer 1G exec 'sleep 1000'");
    let mut tx = tx(rx.port, &["exec", "yes"]);
    tx.await_line(said);
    both(&rx.end(), &tx.end(), 1, said);

    let rx = Rx::start(&["buffer", "1G", "exec", "sleep 1000"]);
    let line = format!("ulimit -v 200000; exec $MP tx 127.0.0.1 {} buffer 1G exec yes", rx.port);
    let mut tx = Process::start(shell(&line).stdin(Stdio::null()), false);
    tx.await_line(said);
    both(&rx.end(), &tx.end(), 1, said);
}

#[test]
fn an_output_beyond_the_limit_of_a_files_size_is_an_output_failure() {
    let dir = tempfile::tempdir().unwrap();
    let rx = Rx::shell(&format!("ulimit -f 100; exec $MP rx 0 > {}", path(&dir, "out")));
    let tx = send(rx.port, &[], &bytes(1 << 20));
    both(&rx.end(), &tx, 5, "cannot write to stdout: file too large");
}

#[cfg(target_os = "linux")]
#[test]
fn a_command_ends_by_the_limit_of_a_files_size_as_ever() {
    const XFSZ: u64 = 25;
    let rx = Rx::start(&["exec", "grep ^SigIgn /proc/self/status; cat >/dev/null"]);
    let tx = send(rx.port, &[], b"x");
    let rx = rx.end();
    assert_eq!((rx.code(), tx.code()), (0, 0), "{rx:?} {tx:?}");
    assert_eq!(signals(text(&rx), "SigIgn") & 1 << (XFSZ - 1), 0, "{rx:?}");
}

// ---- signals --------------------------------------------------------------------------------------------

#[test]
fn whoever_is_ended_tells_the_other() {
    for (name, signo) in [("INT", INT), ("TERM", TERM), ("HUP", HUP)] {
        let rx = Rx::start(&[]);
        let mut tx_waits = tx(rx.port, &["verbose", "2"]);
        tx_waits.await_line("is up");
        tx_waits.kill(name);
        assert_eq!(tx_waits.end().signal(), Some(signo));
        let rx = rx.end();
        assert_eq!(rx.code(), 1, "{rx:?}");
        assert!(rx.stderr.contains(&format!("millipede: the sender: ended by SIG{name}\n")), "{rx:?}");

        let rx = Rx::start(&[]);
        let mut tx_waits = tx(rx.port, &["verbose", "2"]);
        tx_waits.await_line("is up");
        rx.process.kill(name);
        assert_eq!(rx.end().signal(), Some(signo));
        let tx = tx_waits.end();
        assert_eq!(tx.code(), 1, "{tx:?}");
        assert!(tx.stderr.contains(&format!("millipede: the receiver: ended by SIG{name}\n")), "{tx:?}");
    }
}

#[test]
fn two_signals_end_it_with_a_stuck_sink_and_data_in_flight() {
    let (_reader, writer) = pipe().unwrap();
    let rx = Rx::into(OwnedFd::from(writer), &[]);
    let mut tx = tx(rx.port, &["exec", "yes", "verbose", "2"]);
    tx.await_line("is up");
    rx.process.kill("INT");
    rx.process.kill("INT");
    assert_eq!(rx.end().signal(), Some(INT));
    tx.kill("INT");
    tx.kill("INT");
    tx.end();
}

#[test]
fn a_producer_killed_with_us_is_no_end_of_the_stream() {
    for together in [true, false].repeat(TIMES) {
        let (mut reader, writer) = pipe().unwrap();
        let rx = Rx::into(OwnedFd::from(writer), &[]);
        let line = format!("yes | $MP tx 127.0.0.1 {}", rx.port);
        let pipeline = Process::start(&mut shell(&line), false);
        // a session that brought nothing yet would only be forgotten
        reader.read_exact(&mut [0]).unwrap();
        let drain = std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
        if together {
            pipeline.kill_group("INT");
        } else {
            let all = members(pipeline.id()).join(" ");
            let _ = shell(&format!("kill -TERM {all}")).stderr(Stdio::null()).status().unwrap();
        }
        let rx = rx.end();
        let _ = drain.join().unwrap();
        assert_eq!(rx.code(), 1, "together: {together}, {rx:?}");
        assert!(rx.stderr.contains("the sender: ended by SIG"), "{rx:?}");
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
    let rx = Rx::start(&[]);
    let mut tx = tx(rx.port, &[]);
    // from its first lines on, which are before any of its own
    until("handlers of the report signals", || {
        let status = fs::read_to_string(format!("/proc/{}/status", tx.id())).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim();
        (u64::from_str_radix(caught, 16).unwrap() & 0xa00 == 0xa00).then_some(())
    });
    let mut stdin = tx.stdin();
    for _ in 0..20 {
        tx.kill("USR1");
        tx.kill("USR2");
        rx.process.kill("USR1");
        rx.process.kill("USR2");
        stdin.write_all(&bytes(100_000)).unwrap();
    }
    drop(stdin);
    let (tx, rx) = (tx.end(), rx.end());
    assert_eq!((rx.code(), tx.code(), rx.stdout.len()), (0, 0, 2_000_000), "{rx:?} {tx:?}");
}

/// Of this status file, a set of signals.
#[cfg(target_os = "linux")]
fn signals(status: &str, name: &str) -> u64 {
    let set = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    u64::from_str_radix(set.trim_start_matches(':').trim(), 16).unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn one_thread_hears_signals_and_commands_begin_without_that() {
    let asking = [HUP, INT, TERM, USR1, USR2].iter().fold(0, |set, signo| set | 1 << (signo - 1));
    let rx = Rx::start(&["exec", "grep ^Sig /proc/self/status; cat >/dev/null"]);
    let mut tx = tx(rx.port, &["verbose", "2"]);
    tx.await_line("is up");
    for process in [&rx.process, &tx] {
        until("one thread that hears signals", || {
            let tasks = fs::read_dir(format!("/proc/{}/task", process.id())).unwrap();
            let statuses =
                tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("status")).ok());
            let hearing = statuses.map(|status| signals(&status, "SigBlk") & asking).collect::<Vec<_>>();
            let others = hearing.iter().filter(|blocked| **blocked == asking).count();
            (hearing.contains(&0) && others + 1 == hearing.len()).then_some(())
        });
    }
    tx.stdin().write_all(b"x").unwrap();
    let (tx, rx) = (tx.end(), rx.end());
    assert_eq!((rx.code(), tx.code()), (0, 0), "{rx:?} {tx:?}");
    let (blocked, ignored) = (signals(text(&rx), "SigBlk"), signals(text(&rx), "SigIgn"));
    assert_eq!((blocked & asking, ignored & asking), (0, 0), "{rx:?}");
}

#[test]
fn sigusr2_raises_the_verbosity() {
    let mut rx = Rx::start(&["verbose", "1"]);
    rx.process.kill("USR2");
    let mut first = tx(rx.port, &["threads", "1", "verbose", "2"]);
    first.await_line("is up");
    // the signal is heard some time later: others come until the receiver tells that it refused one
    until("a line of verbosity 2", || {
        assert_eq!(send(rx.port, &["threads", "1"], b"").code(), 3);
        rx.process.has_said("refused").then_some(())
    });
    rx.process.kill("TERM");
    assert_eq!(rx.end().signal(), Some(TERM));
}

#[test]
fn what_was_ignored_at_the_start_stays_ignored() {
    let rx = Rx::shell("trap '' HUP; exec $MP rx 0");
    rx.process.kill("HUP");
    let tx = send(rx.port, &[], b"hello");
    let rx = rx.end();
    assert_eq!((rx.code(), tx.code(), text(&rx)), (0, 0, "hello"), "{rx:?}");
}

#[test]
fn a_shell_loop_ends_with_it() {
    for name in ["sh", "bash"] {
        if !has(name) {
            eprintln!("skipped: a_shell_loop_ends_with_it for {name} (there is none here)");
            continue;
        }
        let mut shell = Command::new(name);
        shell.args(["-c", "while :; do $MP rx 0; done"]).env("MP", MILLIPEDE);
        let rx = Rx::spawn(&mut shell);
        rx.process.kill_group("INT");
        let rx = rx.end();
        assert_eq!(rx.signal(), Some(INT), "{name}: {rx:?}");
        assert_eq!(rx.stderr.matches("listening").count(), 1, "{name}: {rx:?}");
    }
}

#[test]
fn the_first_process_of_a_namespace_ends_with_128_and_the_signal() {
    if !Command::new("unshare").args(["-rpf", "true"]).status().is_ok_and(|s| s.success()) {
        eprintln!(
            "skipped: the_first_process_of_a_namespace_ends_with_128_and_the_signal (no unshare -rpf here)"
        );
        return;
    }
    for (name, signo) in [("INT", INT), ("TERM", TERM)] {
        let mut command = Command::new("unshare");
        // unshare itself does not hear of it
        let rx = Rx::spawn(command.args(["-rpf", MILLIPEDE, "rx", "0"]));
        let first = until("the first process", || {
            members(rx.process.id()).into_iter().find(|id| *id != rx.process.id().to_string())
        });
        kill(name, &first);
        let rx = rx.end();
        assert_eq!(rx.code(), 128 + signo, "{rx:?}");
    }
}
