//! Bytes that are moved to the output without a copy: the same bytes as with a copy, whatever becomes of connections and
//! of whoever reads. Nearly all other tests have a pipe as output too; here is what only these bytes can meet.

use super::MIB;
use crate::util::relay::{Relay, There};
use crate::util::{
    Process, Rx, assert_complete, check, feed, pattern, send, tx, tx_over, until, until_still,
};
use millipede::proto::sched::NEAR;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::fs::{self, File};
use std::io::{Read, pipe};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

const MOVED: &str = "the stream is moved to its output without a copy";

/// A stream is carried from a sender that says what it does, and its receiver says that it was moved. A machine that is
/// busy enough answers so late that the sender is not near: then, and only then, it is carried again.
#[track_caller]
fn is_moved(carried: impl Fn() -> (Rx, Process)) {
    for _ in 0..20 {
        let (rx, tx) = carried();
        match rx.said().matches(MOVED).count() {
            0 if !was_near(&tx) => {}
            told => return assert_eq!(told, 1, "{rx}{tx}"),
        }
    }
    panic!("this machine is too busy");
}

/// Whether no connection took longer to come up than a path that is near.
fn was_near(tx: &Process) -> bool {
    let said = tx.said();
    let trips = said.split("round trip ").skip(1).map(|rest| rest.split(' ').next().unwrap().parse::<f64>());
    trips.map(Result::unwrap).all(|ms| ms <= NEAR.as_millis() as f64)
}

#[test]
fn a_pipe_is_given_the_bytes_as_they_come() {
    is_moved(|| {
        let rx = Rx::start(&["verbose", "2"]);
        let tx = tx(rx.port, &["threads", "2", "verbose", "2"]);
        let output = rx.collect();
        tx.feed(100 * MIB);
        assert_complete(&rx, &tx, output, 100 * MIB);
        (rx, tx)
    });
}

#[test]
fn what_is_looked_at_is_read() {
    for words in [&["checksum"][..], &["prbs", "7", "leglimit", "20"]] {
        let receives =
            if words[0] == "prbs" { &["verbose", "2", "prbs", "7"][..] } else { &["verbose", "2"] };
        let rx = Rx::keeping(receives);
        let tx = send(rx.port, words, &pattern(0, 40 << 20));
        assert_eq!((rx.finish().code(), tx.code()), (0, 0), "{words:?}");
        assert!(!rx.said().contains(MOVED), "{words:?}: {rx}");
    }
}

#[test]
fn other_outputs_get_the_same_bytes() {
    let len = 40 << 20;
    let sent = pattern(0, len);
    let dir = tempfile::tempdir().unwrap();
    let (file, appended) = (dir.path().join("file"), dir.path().join("appended"));
    fs::write(&appended, b"before").unwrap();
    let (mut near, far) = UnixStream::pair().unwrap();
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        near.read_to_end(&mut bytes).map(|_| bytes)
    });
    let outputs = [
        OwnedFd::from(File::create(&file).unwrap()),
        File::options().append(true).open(&appended).unwrap().into(),
        File::options().write(true).open("/dev/null").unwrap().into(),
        far.into(),
    ];
    for output in outputs {
        let rx = Rx::into(output, &["verbose", "2"]);
        let tx = send(rx.port, &[], &sent);
        assert_eq!((rx.finish().code(), tx.code()), (0, 0), "{rx}");
        assert!(!rx.said().contains(MOVED), "{rx}");
    }
    check(0, &fs::read(&file).unwrap());
    check(0, &fs::read(&appended).unwrap()[6..]);
    let read = reader.join().unwrap().unwrap();
    check(0, &read);
    assert_eq!((fs::metadata(&file).unwrap().len(), read.len()), (len as u64, len));
    assert_eq!(fs::metadata(&appended).unwrap().len(), len as u64 + 6);
}

/// Far longer than it is waited for, until everything between here and the reader is full.
#[test]
fn a_reader_stalls_within_a_leg() {
    let (mut reader, writer) = pipe().unwrap();
    let rx = Rx::into(OwnedFd::from(writer), &["buffer", "8M", "verbose", "2"]);
    let tx = tx(rx.port, &["buffer", "8M", "threads", "3"]);
    let (written, bytes) = (Arc::new(AtomicU64::new(0)), 150 * MIB);
    let (mut stdin, counter) = (tx.stdin(), written.clone());
    let writer = thread::spawn(move || {
        for at in (0..bytes).step_by(64 << 10) {
            feed(&mut stdin, at, 64 << 10).unwrap();
            counter.store(at, Ordering::Relaxed);
        }
    });
    let mut at = 0;
    for stall in 0..4 {
        // what stood still is taken first, then what comes while it comes
        let mut some = vec![0; (20 << 20) + 777 * stall];
        reader.read_exact(&mut some).unwrap();
        check(at, &some);
        at += some.len() as u64;
        until_still(|| written.load(Ordering::Relaxed));
    }
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    check(at, &rest);
    writer.join().unwrap();
    assert_eq!((at + rest.len() as u64, rx.finish().code(), tx.finish().code()), (bytes, 0, 0), "{rx}");
    assert!(rx.said().contains(MOVED), "{rx}");
}

#[test]
fn connections_are_cut_within_legs() {
    is_moved(|| {
        let rx = Rx::start(&["verbose", "2"]);
        let relay = Relay::to(rx.port);
        let tx = tx_over(&[relay.port], &["threads", "2", "rate", "200M", "verbose", "2"]);
        let (output, bytes, mut random) = (rx.collect(), 400 * MIB, SmallRng::seed_from_u64(7));
        tx.feed(bytes);
        while output.bytes() < bytes - 10 * MIB {
            let before = relay.accepted();
            relay.cut_after(There, random.random_range(1..4 * MIB));
            until("a cut", || (relay.accepted() > before || output.bytes() == bytes).then_some(()));
        }
        assert_complete(&rx, &tx, output, bytes);
        assert!(relay.accepted() > 10, "{}", relay.accepted());
        (rx, tx)
    });
}

#[test]
fn both_ends_break_connections_at_every_few_legs() {
    is_moved(|| {
        let rx = Rx::start(&["chaos", "17", "verbose", "2"]);
        let tx = tx(rx.port, &["chaos", "23", "threads", "4", "verbose", "2"]);
        let output = rx.collect();
        tx.feed(200 * MIB);
        assert_complete(&rx, &tx, output, 200 * MIB);
        (rx, tx)
    });
}
