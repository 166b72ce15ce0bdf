//! Senders of which no connection is left: what they had, and those that want it.

use super::room::{MIB, Room, bytes};
use crate::util::relay::Relay;
use crate::util::until;
use std::io::Write;
use std::time::{Duration, Instant};

#[test]
fn one_that_was_killed_keeps_nobody_from_its_name() {
    let room = Room::new();
    room.write("mine", &bytes(1, 40 * MIB));
    room.write("theirs", &bytes(2, 2 * MIB));
    room.write("tiny", b"tiny");
    let serve = room.serve(&[]);
    // a large file, and one that comes at once
    for (name, theirs) in [("k4", "theirs"), ("k5", "tiny")] {
        let put = room.put(&serve, "a", &["rate", "8M", "name", name, "put", "mine"]);
        room.await_partial(MIB as u64);
        put.kill();
        let begun = Instant::now();
        let (code, said) = room.put(&serve, "b", &["name", name, "put", theirs]).end();
        assert_eq!((code, said.as_str()), (Some(0), ""), "{}", serve.process);
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
        assert!(room.stored(name) == std::fs::read(room.path("from").join(theirs)).ok());
        // what it had is still its own, and the name is not
        assert!(room.partial().is_some());
        let (code, said) = room.put(&serve, "a", &["name", name, "put", "mine"]).end();
        assert_eq!((code, said.ends_with("refused: the name is taken")), (Some(3), true), "{said}");
    }
}

#[test]
fn a_stream_whose_sender_was_killed_is_sent_again_at_once() {
    let room = Room::new();
    for words in [&["into", room.path("into").to_str().unwrap()][..], &["exec", "cat > got && mv got whole"]]
    {
        let serve = room.serve_as(words);
        let first = room.put(&serve, "a", &["name", "p"]);
        first.stdin().write_all(&bytes(1, 4 * MIB)).unwrap();
        let comes = || room.partial().or_else(|| Some(room.path("got").metadata().ok()?.len()));
        until("some of it", || comes().filter(|size| *size > MIB as u64));
        first.kill();
        for key in ["a", "b"] {
            let again = room.put(&serve, key, &["name", "p"]);
            // what is said tells more than that it is taken no more
            let taken = again.stdin().write_all(&bytes(2, 4 * MIB));
            taken.unwrap_or_else(|error| panic!("{error}: {:?} {}", again.end(), serve.process));
            if key == "a" {
                // and is killed once more, wherever it is
                again.kill();
            } else {
                assert_eq!(again.end(), (Some(0), String::new()), "{}", serve.process);
            }
        }
        let there = room.stored("p").or_else(|| std::fs::read(room.path("whole")).ok());
        assert!(there == Some(bytes(2, 4 * MIB)));
        std::fs::remove_dir_all(room.path("into")).unwrap();
        std::fs::create_dir(room.path("into")).unwrap();
    }
}

#[test]
fn one_that_comes_back_hears_why_it_gave_way() {
    let room = Room::new();
    room.write("mine", &bytes(1, 40 * MIB));
    room.write("theirs", &bytes(2, MIB));
    let serve = room.serve(&[]);
    let relay = Relay::to(serve.port);
    let put = room.put_at(relay.port, "a", &["rate", "8M", "name", "x", "put", "mine"]);
    room.await_partial(MIB as u64);
    // a short one takes nothing from it
    relay.kill_all();
    let (code, said) = room.put(&serve, "b", &["name", "x", "put", "theirs"]).end();
    assert_eq!((code, said.ends_with("refused: the name is taken")), (Some(3), true), "{said}");
    relay.refuse(true);
    relay.kill_all();
    let (code, said) = room.put(&serve, "b", &["name", "x", "put", "theirs"]).end();
    assert_eq!((code, said.as_str()), (Some(0), ""), "{}", serve.process);
    relay.refuse(false);
    let (code, said) = put.end();
    let why = "no connection, and another sends that name";
    assert_eq!((code, said.contains(why)), (Some(1), true), "{said}");
    assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
    assert!(room.stored("x") == Some(bytes(2, MIB)));
}

#[test]
fn one_that_was_killed_loses_its_place_before_long_when_others_wait() {
    let room = Room::new();
    room.write("big", &bytes(1, 40 * MIB));
    room.write("small", b"small");
    let serve = room.serve(&["sessions", "1"]);
    let put = room.put(&serve, "a", &["rate", "8M", "put", "big"]);
    room.await_partial(MIB as u64);
    put.kill();
    let begun = Instant::now();
    let (code, said) = room.put(&serve, "b", &["put", "small"]).end();
    assert_eq!(code, Some(0), "{said}\n{}", serve.process);
    assert!(begun.elapsed() < Duration::from_secs(45), "{:?}", begun.elapsed());
    // what had come is still there
    assert!(room.partial().is_some_and(|size| size > MIB as u64));
    assert_eq!(room.put(&serve, "a", &["put", "big"]).end(), (Some(0), String::new()));
    assert!(room.stored("big") == Some(bytes(1, 40 * MIB)));
}

#[test]
fn the_first_failure_is_told_though_the_session_fails_too() {
    let room = Room::new();
    room.write("big", &bytes(1, 40 * MIB));
    let serve = room.serve(&[]);
    let put = room.put(&serve, "a", &["patience", "1", "rate", "4M", "put", "is-nowhere", "big"]);
    room.await_partial(MIB as u64);
    serve.process.kill();
    let (code, said) = put.end();
    assert_eq!((code, said.contains("is-nowhere: not sent: no such file")), (Some(1), true), "{said}");
    let last = said.lines().last().unwrap_or_default();
    assert!(last.contains("no connection for 1 s"), "{said}");
}
