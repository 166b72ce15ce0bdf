//! The standing receiver and who sends to it: files, streams with names, many senders, and all of them killed.

use crate::util::{Process, Signal, millipede, until};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::TempDir;

/// Two keys, each in the other's list, and two folders.
struct Room {
    dir: TempDir,
}

impl Room {
    fn new() -> Self {
        let room = Room { dir: tempfile::tempdir().unwrap() };
        for name in ["server", "a", "b"] {
            let made = millipede(&["keygen", room.path(name).to_str().unwrap()]).output().unwrap();
            assert!(made.status.success(), "{made:?}");
        }
        let public = |name: &str| fs::read_to_string(room.path(name).with_extension("pub")).unwrap();
        let named = |name: &str| {
            let line = public(name);
            let mut words = line.split_whitespace();
            format!("{} {} {name}\n", words.next().unwrap(), words.next().unwrap())
        };
        fs::write(room.path("peers"), named("a") + &named("b")).unwrap();
        fs::write(room.path("store"), named("server")).unwrap();
        for folder in ["into", "from"] {
            fs::create_dir(room.path(folder)).unwrap();
        }
        room
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path("from").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn stored(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.path("into").join(name)).ok()
    }

    fn serve(&self, words: &[&str]) -> Serve {
        let [key, peers, into] = ["server", "peers", "into"].map(|name| self.path(name));
        let mut command = millipede(&["serve", "127.0.0.1", "0"]);
        command.args(["key".as_ref(), key.as_os_str(), "peers".as_ref(), peers.as_os_str()]);
        command.args(["into".as_ref(), into.as_os_str()]).args(words);
        let process = Process::spawn(command.stdin(Stdio::null()).stdout(Stdio::null()));
        let port = process.port("millipede: serving on port ");
        Serve { process, port }
    }

    /// Sends with the key of this name, from the folder of what is to be sent.
    fn put(&self, serve: &Serve, key: &str, words: &[&str]) -> Process {
        let mut command = millipede(&["tx", "127.0.0.1", &serve.port.to_string(), "threads", "4"]);
        let (key, store) = (self.path(key), self.path("store"));
        command.args(["key".as_ref(), key.as_os_str(), "peers".as_ref(), store.as_os_str()]).args(words);
        let command = command.current_dir(self.path("from"));
        Process::spawn(command.stdin(Stdio::piped()).stdout(Stdio::null()))
    }
}

struct Serve {
    process: Process,
    port: u16,
}

fn bytes(seed: u64, size: usize) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let step = |_| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x as u8
    };
    (0..size).map(step).collect()
}

fn partial(into: &Path) -> Option<u64> {
    let keys = fs::read_dir(into.join(".millipede/partial")).ok()?;
    let mut files = keys.flatten().filter_map(|key| fs::read_dir(key.path()).ok()).flatten().flatten();
    files.next().and_then(|file| Some(file.metadata().ok()?.len()))
}

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
    until("some of it", || partial(&room.path("into")).filter(|size| *size > 5_000_000));
    put.signal(Signal::KILL);
    serve.process.signal(Signal::KILL);
    put.wait();
    serve.process.wait();
    let before = partial(&room.path("into")).unwrap();
    assert!(room.stored("big").is_none() && before > 5_000_000);
    let serve = room.serve(&[]);
    let (code, said) = room.put(&serve, "a", &["verbose", "1", "put", "big"]).end();
    assert_eq!(code, Some(0), "{said}\n{}", serve.process);
    assert!(room.stored("big") == Some(bytes(1, 60_000_000)));
    assert_eq!(partial(&room.path("into")), None);
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
