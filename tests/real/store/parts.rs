//! Long files that are sent without being read into the sender's legs.

use super::room::{MIB, Room, bytes};
use crate::util::Signal;

#[test]
fn long_files_are_sent_without_a_copy_unless_their_bytes_must_be_seen() {
    let room = Room::new();
    room.write("long", &bytes(1, 9 * MIB + 5));
    room.write("middling", &bytes(2, 300_000));
    room.write("short", b"short");
    let sent = |said: &str| said.contains("the stream is sent from its file without a copy");
    for words in [&[][..], &["checksum"], &["compress"], &["chaos", "7"]] {
        let serve = room.serve_openly();
        let words = [words, &["verbose", "2", "put", "short", "long", "middling"]].concat();
        let (code, said) = room.put_openly(&serve, &words).end();
        assert_eq!(code, Some(0), "{said}\n{}", serve.process);
        assert_eq!(sent(&said), matches!(words[0], "verbose" | "chaos"), "{said}");
        for (name, bytes) in [("long", bytes(1, 9 * MIB + 5)), ("middling", bytes(2, 300_000))] {
            assert!(room.stored(name) == Some(bytes), "{name}");
        }
        serve.process.signal(Signal::TERM);
        serve.process.wait();
        std::fs::remove_dir_all(room.path("into")).unwrap();
        std::fs::create_dir(room.path("into")).unwrap();
    }
    let serve = room.serve(&[]);
    let (code, said) = room.put(&serve, "a", &["verbose", "2", "put", "long"]).end();
    assert_eq!((code, said.contains("copied, as encryption needs")), (Some(0), true), "{said}");
    assert!(room.stored("long") == Some(bytes(1, 9 * MIB + 5)));
}

#[test]
fn a_file_that_shrinks_while_it_is_sent_is_told_and_the_others_are_stored() {
    let room = Room::new();
    room.write("long", &bytes(1, 40 * MIB));
    room.write("short", b"short");
    let serve = room.serve_openly();
    let put = room.put_openly(&serve, &["rate", "20M", "put", "long", "short"]);
    room.await_partial(MIB as u64);
    std::fs::File::options().write(true).open(room.path("from/long")).unwrap().set_len(100).unwrap();
    let (code, said) = put.end();
    assert_eq!(code, Some(4), "{said}\n{}", serve.process);
    assert!(said.contains("long: not sent: it changed while it was sent"), "{said}");
    assert_eq!((room.stored("long"), room.stored("short")), (None, Some(b"short".to_vec())));
}
