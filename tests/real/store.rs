//! The standing receiver and who sends to it: files, streams with names, many senders, and all of them killed.

mod commands;
mod few;
mod gone;
mod hostile;
mod named;
mod parts;
mod places;
mod reports;
pub mod room;
mod stalled;

use crate::util::{Process, Signal, millipede};
use room::{Room, bytes};
use std::fs;
use std::process::Stdio;

#[test]
fn files_and_streams_are_stored_with_their_sums_and_what_is_said_of_them() {
    let room = Room::new();
    let serve = room.serve(&["require", "sample", "sums"]);
    room.write("run7/a.raw", &bytes(1, 3_000_000));
    room.write("run7/b.raw", &bytes(2, 10_000));
    fs::write(room.path("from/run7.json"), r#"{"sample":"BAR","operator":"x"}"#).unwrap();
    let files = ["meta", "run7.json", "tag", "sample=FOO", "put", "run7/a.raw", "run7/b.raw"];
    let (code, said) = room.put(&serve, "a", &files).end();
    assert_eq!(code, Some(0), "{said}\n{}", serve.process);
    for name in ["run7/a.raw", "run7/b.raw"] {
        assert!(room.stored(name) == fs::read(room.path("from").join(name)).ok(), "{name}");
        assert!(room.stored(&format!("{name}.sha256")).is_some());
        let json = room.stored(&format!(".millipede/meta/{name}.json")).unwrap();
        let json = String::from_utf8(json).unwrap();
        for said in [r#""sample": "FOO""#, r#""operator": "x""#, r#""peer": "a""#] {
            assert!(json.contains(said), "{json}");
        }
    }
    let pipe = room.put(&serve, "a", &["name", "p", "tag", "sample=x"]);
    std::io::Write::write_all(&mut pipe.stdin(), &bytes(3, 500_000)).unwrap();
    assert_eq!(pipe.end(), (Some(0), String::new()));
    assert!(room.stored("p") == Some(bytes(3, 500_000)));
    // refused before any data, naming the key
    let (code, said) = room.put(&serve, "a", &["put", "run7/b.raw"]).end();
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("run7/b.raw: refused: the metadata lacks sample"), "{said}");
    // another key learns that it is taken
    let (code, said) = room.put(&serve, "b", &["tag", "sample=x", "put", "run7/b.raw"]).end();
    assert_eq!((code, said.contains("the name is taken")), (Some(3), true), "{said}");
    serve.process.signal(Signal::TERM);
    serve.process.wait();
}

#[test]
fn what_was_interrupted_by_killing_both_goes_on_where_it_was() {
    let room = Room::new();
    room.write("big", &bytes(1, 60_000_000));
    let serve = room.serve(&[]);
    let put = room.put(&serve, "a", &["rate", "20M", "put", "big"]);
    room.await_partial(5_000_000);
    put.signal(Signal::KILL);
    serve.process.signal(Signal::KILL);
    put.wait();
    serve.process.wait();
    let before = room.partial().unwrap();
    assert!(room.stored("big").is_none() && before > 5_000_000);
    let serve = room.serve(&[]);
    let (code, said) = room.put(&serve, "a", &["verbose", "1", "put", "big"]).end();
    assert_eq!(code, Some(0), "{said}\n{}", serve.process);
    assert!(room.stored("big") == Some(bytes(1, 60_000_000)));
    assert_eq!(room.partial(), None);
    // again: it is there
    let (code, said) = room.put(&serve, "a", &["verbose", "1", "put", "big"]).end();
    assert_eq!((code, said.contains("was there already")), (Some(0), true), "{said}");
}

#[test]
fn of_many_at_once_all_get_their_turn() {
    let room = Room::new();
    let serve = room.serve(&["sessions", "2"]);
    for number in 0..10 {
        room.write(&format!("f{number}"), &bytes(number, 2_000_000));
    }
    let puts: Vec<Process> = (0..10)
        .map(|number| {
            room.put(&serve, if number % 2 == 0 { "a" } else { "b" }, &["put", &format!("f{number}")])
        })
        .collect();
    for (number, put) in puts.iter().enumerate() {
        let (code, said) = put.end();
        assert_eq!(code, Some(0), "{number}: {said}\n{}", serve.process);
        assert!(room.stored(&format!("f{number}")) == Some(bytes(number as u64, 2_000_000)));
    }
}

#[test]
fn a_second_process_is_not_let_into_the_folder_and_strangers_into_neither() {
    let room = Room::new();
    let serve = room.serve(&[]);
    let words = ["serve", "127.0.0.1", "0", "insecure", "into"];
    let second =
        Process::spawn(millipede(&words).arg(room.path("into")).stdin(Stdio::null()).stdout(Stdio::null()));
    let (code, said) = second.end();
    assert_eq!((code, said.contains("another process serves this folder")), (Some(5), true), "{said}");
    room.write("x", b"x");
    let stranger = room.put(&serve, "server", &["patience", "1", "put", "x"]);
    assert_eq!(stranger.end().0, Some(3));
    assert!(room.stored("x").is_none());
}
