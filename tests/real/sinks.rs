//! What the receiver's output is worth: readers that go, disks that are full, ends that are closed.

use super::{assert_same, both};
use crate::util::{MILLIPEDE, Process, Rx, pattern, send, shell, side_by_side, skip, tx};
use std::fs::{self, File};
use std::io::{Read, Write, pipe};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{Command, Stdio};

/// More than any pipe holds, and than the kernel's socket buffers on both sides.
const MUCH: usize = 24 << 20;

/// How often what is a race by nature is tried here; it was tried 200 times when it was written.
const TIMES: usize = 10;

// ---- sinks ----------------------------------------------------------------------------------------------

#[test]
fn a_reader_that_has_gone_is_a_failure_however_small_the_stream() {
    for _ in 0..TIMES {
        let (reader, writer) = pipe().unwrap();
        let rx = Rx::into(OwnedFd::from(writer), &[]);
        drop(reader);
        let tx = send(rx.port, &[], &pattern(0, 20_000));
        both(&rx.finish(), &tx, 5, "whoever read stdout has gone");
    }
    for _ in 0..TIMES {
        let rx = Rx::spawn(shell("{ $MP rx 0; echo rx $? >&2; } | false").stdin(Stdio::null()));
        let tx = send(rx.port, &[], &pattern(0, 20_000));
        assert_eq!(tx.code(), 5, "{tx:?}");
        rx.expect("rx 5");
    }
}

#[test]
fn a_reader_that_goes_in_the_middle_is_a_failure() {
    for len in [1001, 100_000, MUCH] {
        let (mut reader, writer) = pipe().unwrap();
        let rx = Rx::into(OwnedFd::from(writer), &[]);
        let head = std::thread::spawn(move || reader.read_exact(&mut [0; 1000]).unwrap());
        let tx = send(rx.port, &[], &pattern(0, len));
        both(&rx.finish(), &tx, 5, "whoever read stdout has gone");
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
    side_by_side(ends, |(sink, reads_and_goes)| {
        let rx = Rx::into(sink, &[]);
        let tx = tx(rx.port, &[]);
        let mut stdin = tx.stdin();
        stdin.write_all(b"hello").unwrap();
        reads_and_goes();
        both(&rx.finish(), &tx.finish(), 5, "whoever read stdout has gone");
        drop(stdin);
    });
}

#[test]
fn a_slow_reader_is_waited_for() {
    let (mut reader, writer) = pipe().unwrap();
    let rx = Rx::into(OwnedFd::from(writer), &[]);
    let tx = tx(rx.port, &["verbose", "0"]);
    tx.stdin().write_all(&pattern(0, 20_000)).unwrap();
    // everything is in the pipe, and neither end is satisfied with that
    let mut first = [0; 1];
    reader.read_exact(&mut first).unwrap();
    let mut rest = Vec::new();
    assert!(!rx.has_ended() && !tx.has_ended());
    reader.read_to_end(&mut rest).unwrap();
    assert_eq!((rest.len(), rx.finish().code(), tx.finish().code()), (19_999, 0, 0));
}

#[test]
fn a_full_disk_is_a_failure_with_the_reason() {
    for len in [10, MUCH] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let rx = Rx::into(full, &[]);
        let tx = send(rx.port, &[], &pattern(0, len));
        both(&rx.finish(), &tx, 5, "cannot write to stdout: no space left on device");
    }
}

#[test]
fn a_small_file_system_in_a_namespace_is_a_failure_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let mount = format!("mount -t tmpfs -o size=1M none {}", dir.path().display());
    if !Command::new("unshare").args(["-rm", "sh", "-c", &mount]).status().is_ok_and(|s| s.success()) {
        return skip("needs user namespaces with mounts: unshare -rm");
    }
    let line = format!("{mount} && exec $MP rx 0 > {}", dir.path().join("file").display());
    let mut command = Command::new("unshare");
    let rx = Rx::spawn(command.args(["-rm", "sh", "-c", &line]).env("MP", MILLIPEDE));
    let tx = send(rx.port, &[], &pattern(0, MUCH));
    both(&rx.finish(), &tx, 5, "cannot write to stdout: no space left on device");
}

#[test]
fn a_regular_file_has_it_all() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let rx = Rx::into(file.reopen().unwrap(), &[]);
    let sent = pattern(0, MUCH);
    let tx = send(rx.port, &[], &sent);
    assert_eq!((rx.finish().code(), tx.code()), (0, 0));
    assert_same(&fs::read(file.path()).unwrap(), &sent);
}

#[cfg(target_os = "linux")]
#[test]
fn closed_ends_are_failures_at_once() {
    let rx = Process::spawn(&mut shell("exec $MP rx 0 >&-")).finish();
    assert_eq!((rx.code(), rx.stderr.contains("stdout is closed")), (5, true), "{rx:?}");
    let tx = Process::spawn(&mut shell("exec $MP tx 127.0.0.1 9 <&-")).finish();
    assert_eq!((tx.code(), tx.stderr.contains("stdin is closed")), (4, true), "{tx:?}");
}

#[test]
fn an_input_of_datagrams_is_refused_before_any_of_it_is_lost() {
    let (input, writer) = UnixDatagram::pair().unwrap();
    writer.send(b"hello").unwrap();
    let mut line = shell("exec $MP tx 127.0.0.1 9");
    let tx = Process::spawn(line.stdin(OwnedFd::from(input))).finish();
    assert_eq!((tx.code(), tx.stderr.contains("stdin is a socket of datagrams")), (4, true), "{tx:?}");
}

#[test]
fn an_unreadable_input_is_a_failure() {
    let tx = Process::spawn(&mut shell("exec $MP tx 127.0.0.1 9 </")).finish();
    assert_eq!((tx.code(), tx.stderr.contains("cannot read stdin: is a directory")), (4, true), "{tx:?}");
}

#[test]
fn what_is_said_of_a_partial_output_is_what_the_output_has() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let line = format!("exec $MP rx 0 > {}", out.display());
    let rx = Rx::spawn(shell(&line).stdin(Stdio::null()));
    let line = format!("exec $MP tx 127.0.0.1 {} exec 'head -c 100000000 /dev/zero; exit 3'", rx.port);
    let tx = Process::spawn(&mut shell(&line)).finish();
    let rx = rx.finish();
    assert_eq!((tx.code(), rx.code()), (4, 4), "{tx:?} {rx:?}");
    let bytes = |said: &str, of: &str| -> Option<u64> {
        let (_, rest) = said.split_once(of)?;
        rest.split(' ').next()?.parse().ok()
    };
    let has = fs::metadata(&out).unwrap().len();
    let least = bytes(&tx.stderr, "the far output has at least ").unwrap_or(0);
    assert!(least <= has, "{least} {has}");
    // a disk that takes more than a second for what there is would make it say less
    let (exact, least) =
        (bytes(&rx.stderr, "the output is partial: "), bytes(&rx.stderr, "the output has at least "));
    assert!(exact == Some(has) || least.is_some_and(|least| least <= has), "{has}: {}", rx.stderr);
}

#[test]
fn an_output_beyond_the_limit_of_a_files_size_is_an_output_failure() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let line = format!("ulimit -f 3; exec $MP rx 0 > {}", out.display());
    let rx = Rx::spawn(shell(&line).stdin(Stdio::null()));
    let tx = send(rx.port, &[], &pattern(0, 1 << 20));
    let rx = rx.finish();
    both(&rx, &tx, 5, "cannot write to stdout: file too large");
    // less than a leg, and yet something
    let told = format!("the output is partial: {} bytes", fs::metadata(&out).unwrap().len());
    assert!(rx.stderr.contains(&told), "{told}: {}", rx.stderr);
}
