//! What a person is shown of files, at who sends and at who receives.

use super::room::{MIB, Room, bytes};
use crate::util::{Process, Signal, until};

/// What a process says to who asks, once these words are in it. Each line fits.
fn report(process: &Process, words: &str) -> String {
    until(words, || {
        process.signal(Signal::USR1);
        let said = process.said();
        assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
        said.contains(words).then_some(said)
    })
}

#[test]
fn who_is_in_who_waits_and_how_far_the_files_are() {
    let room = Room::new();
    room.write("there", &bytes(2, 300_000));
    room.write("big", &bytes(1, 40 * MIB));
    let serve = room.serve(&["sessions", "1"]);
    assert_eq!(room.put(&serve, "a", &["put", "there"]).end().0, Some(0));
    let first = room.put(&serve, "a", &["rate", "2M", "put", "there", "big"]);
    room.await_partial(0);
    let second = room.put(&serve, "b", &["put", "big"]);
    let said = report(&serve.process, "  b: waits, it is the next one");
    assert!(said.contains("millipede: 1 of 1 places taken, 1 waiting; "), "{said}");
    // the sum of the first file may be found when the next one has begun
    let said = report(&serve.process, " %; 1 before");
    assert!(said.contains("  a: big: ") && said.contains(" of 40.0 MiB, "), "{said}");
    let said = report(&first, "millipede: file 2 of 2: 0 stored, 1 there already");
    assert!(said.contains("  now big: "), "{said}");
    assert!(said.contains(" of files sent; 293 KiB were there already"), "{said}");
    report(&second, "  waits for a place at the receiver: it is the next one");
    for put in [second, first] {
        put.signal(Signal::TERM);
        put.wait();
    }
    report(&serve.process, "millipede: 0 of 1 places taken; ");
}

#[test]
fn without_a_terminal_progress_is_a_line_now_and_then() {
    let room = Room::new();
    room.write("big", &bytes(1, 40 * MIB));
    let serve = room.serve(&["progress"]);
    let put = room.put(&serve, "a", &["progress", "rate", "2M", "put", "big"]);
    put.expect("millipede: file 1 of 1  big  ");
    serve.process.expect("millipede: 1 of 4 places taken; ");
    put.signal(Signal::TERM);
    put.wait();
}
