//! What a standing receiver has to bear: strangers, full disks, names that lead elsewhere, files that change.

use super::room::{MIB, Room, Serve, bytes};
use crate::util::stranger::{hello, say};
use crate::util::{Process, Signal, millipede, shell, skip};
use millipede::proto::hello::{Direction, Features, Hello, Reply};
use millipede::proto::outcome::Status;
use millipede::proto::wire::{Abort, Frame};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

#[test]
fn strangers_touch_nobody() {
    let room = Room::new();
    room.write("big", &bytes(1, 20 * MIB));
    let serve = room.serve(&[]);
    let strangers: Vec<TcpStream> = (0..40)
        .map(|number| {
            let mut stranger = TcpStream::connect(("127.0.0.1", serve.port)).unwrap();
            // some say nothing, others what makes no sense
            if number % 2 == 0 {
                let _ = stranger.write_all(&bytes(number, 3000));
            }
            stranger
        })
        .collect();
    assert_eq!(room.put(&serve, "a", &["put", "big"]).end(), (Some(0), String::new()));
    drop(strangers);
    assert!(room.stored("big") == Some(bytes(1, 20 * MIB)));
}

#[test]
fn however_many_come_and_give_up_the_lines_are_few() {
    let room = Room::new();
    let mut command = millipede(&["serve", "127.0.0.1", "0", "insecure", "verbose", "1", "into"]);
    let serve = Serve::spawn(command.arg(room.path("into")).stdin(Stdio::null()).stdout(Stdio::null()));
    let begun = Instant::now();
    for number in 0..12 {
        let features = Features(Features::DUPLEX.0 | Features::FILES.0);
        let hello = Hello { direction: Direction::Duplex, features, ..hello(number) };
        let (mut stream, reply) = say(serve.port, &hello.encode());
        // its stream is welcome too
        let mut words = match reply {
            Some(reply @ Reply::Welcome(_)) => reply.encode(),
            reply => panic!("{reply:?}"),
        };
        let sentence = format!("had enough at {number}.");
        Frame::Abort(Abort { status: Status::Input, sentence }).encode(&mut words);
        stream.write_all(&words).unwrap();
        // until it is heard
        let _ = io::copy(&mut stream, &mut io::sink());
    }
    serve.process.signal(Signal::TERM);
    serve.process.wait();
    let said = serve.process.said();
    // and of each kind one more a minute
    let most = 5 + begun.elapsed().as_secs() as usize / 60;
    for line in ["somebody has come", "had enough at "] {
        let times = said.matches(line).count();
        assert!((1..=most).contains(&times), "{line}: {times}\n{said}");
    }
    assert_eq!(said.matches("had enough at 0.").count(), 1, "{said}");
}

#[test]
fn without_a_key_everybody_is_let_in_only_if_that_is_said() {
    let room = Room::new();
    let into = room.path("into");
    let words = |last: &[&str]| {
        let mut command = millipede(&["serve", "127.0.0.1", "0", "into", into.to_str().unwrap()]);
        command.args(last).stdin(Stdio::null()).stdout(Stdio::null());
        Process::spawn(&mut command)
    };
    let (code, said) = words(&[]).end();
    assert_eq!((code, said.contains("serve needs key")), (Some(2), true), "{said}");
    let serve = words(&["insecure"]);
    let port = serve.port("millipede: serving on port ");
    room.write("x", b"x");
    let mut put = millipede(&["tx", "127.0.0.1", &port.to_string(), "put", "x"]);
    let put = put.current_dir(room.path("from")).stdin(Stdio::null()).stdout(Stdio::null());
    assert_eq!(Process::spawn(put).end(), (Some(0), String::new()));
    assert_eq!(room.stored("x").unwrap(), b"x");
}

#[test]
fn a_stream_without_a_name_is_told_what_to_say() {
    let room = Room::new();
    let told = |tx: Process| {
        drop(tx.stdin());
        let (code, said) = tx.end();
        let why = "refused: the receiver is a serve: say name or put";
        assert_eq!((code, said.contains(why)), (Some(3), true), "{said}");
    };
    told(room.put(&room.serve(&[]), "a", &[]));
    told(room.put(&room.serve_as(&["exec", "cat"]), "a", &["duplex"]));
    let mut open = millipede(&["serve", "127.0.0.1", "0", "insecure", "exec", "cat"]);
    let open = Process::spawn(open.stdin(Stdio::null()).stdout(Stdio::null()));
    let port = open.port("millipede: serving on port ").to_string();
    let mut tx = millipede(&["tx", "127.0.0.1", &port]);
    told(Process::spawn(tx.stdin(Stdio::piped()).stdout(Stdio::null())));
}

#[test]
fn a_stream_whose_stdin_is_closed_is_not_stored_as_an_empty_file() {
    let (code, said) = Process::spawn(&mut shell("exec $MP tx 127.0.0.1 9 name x <&-")).end();
    assert!(code == Some(4) && said.contains("stdin is closed; there is nothing to send"), "{said}");
}

#[test]
fn metadata_that_is_not_in_order_is_refused_before_any_data() {
    let room = Room::new();
    let serve = room.serve(&["require", "sample,operator"]);
    room.write("x", &bytes(1, MIB));
    let many = format!(r#"{{"a":"{}"}}"#, "x".repeat(70_000));
    for (meta, why) in
        [("{", "JSON"), ("[1]", "object"), (&*many, "64 KiB"), ("{}", "lacks sample, operator")]
    {
        fs::write(room.path("from/meta"), meta).unwrap();
        let (code, said) = room.put(&serve, "a", &["meta", "meta", "put", "x"]).end();
        assert_eq!((code, said.contains(why)), (Some(3), true), "{meta:.10}: {said}");
    }
    fs::write(room.path("from/meta"), r#"{"sample":1,"operator":"x"}"#).unwrap();
    let words = ["meta", "meta", "tag", "sample=2", "put", "x"];
    assert_eq!(room.put(&serve, "a", &words).end(), (Some(0), String::new()));
    let known = String::from_utf8(room.stored(".millipede/meta/x.json").unwrap()).unwrap();
    assert!(known.contains(r#""sample": "2""#), "{known}");
}

#[test]
fn names_lead_nowhere_else() {
    let room = Room::new();
    let outside = room.path("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, room.path("into/link")).unwrap();
    fs::create_dir(room.path("into/folder")).unwrap();
    fs::write(room.path("into/y.sha256"), "not ours").unwrap();
    room.write("x", b"x");
    let serve = room.serve(&["sums"]);
    let long = "n".repeat(300);
    for name in ["../x", "/x", "", ".x", "-x", "a/../x", "a//x", "a\nx", &long] {
        let (code, said) = room.put(&serve, "a", &["name", name, "put", "x"]).end();
        assert_eq!((code, said.contains("the name")), (Some(2), true), "{name}: {said}");
    }
    for name in ["link/x", "link", "folder", "z.sha256", "y"] {
        let (code, said) = room.put(&serve, "a", &["name", name, "put", "x"]).end();
        assert_eq!((code, said.contains(": refused: ")), (Some(3), true), "{name}: {said}");
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    assert_eq!(room.stored("y.sha256").unwrap(), b"not ours");
    assert_eq!(room.put(&serve, "a", &["name", "folder/ä x", "put", "x"]).end(), (Some(0), String::new()));
    assert_eq!(room.stored("folder/ä x").unwrap(), b"x");
}

/// What somebody does to a file.
type Change = fn(&Path);

#[test]
fn a_file_that_changes_while_it_is_sent_is_told_and_not_stored() {
    let room = Room::new();
    let changes: [(&str, Change); 3] = [
        ("grows", |path| OpenOptions::new().append(true).open(path).unwrap().write_all(b"more").unwrap()),
        ("shrinks", |path| OpenOptions::new().write(true).open(path).unwrap().set_len(5).unwrap()),
        ("is-another", |path| fs::write(path, bytes(9, 20 * MIB)).unwrap()),
    ];
    let serve = room.serve(&[]);
    for (name, change) in changes {
        room.write(name, &bytes(1, 20 * MIB));
        let put = room.put(&serve, "a", &["rate", "4M", "put", name]);
        room.await_partial(MIB as u64);
        change(&room.path("from").join(name));
        let (code, said) = put.end();
        assert_eq!((code, said.contains("changed while it was sent")), (Some(4), true), "{name}: {said}");
        assert!(room.stored(name).is_none());
        // what it is now
        assert_eq!(room.put(&serve, "a", &["put", name]).end(), (Some(0), String::new()), "{name}");
        assert!(room.stored(name) == fs::read(room.path("from").join(name)).ok());
    }
    let (code, said) = room.put(&serve, "a", &["put", "is-nowhere"]).end();
    assert_eq!((code, said.contains("is-nowhere: no such file")), (Some(4), true), "{said}");
}

#[test]
fn keepfree_and_quota_are_kept_to_before_any_data() {
    let room = Room::new();
    room.write("x", &bytes(1, MIB));
    let serve = room.serve(&["keepfree", "1000000T"]);
    let (code, said) = room.put(&serve, "a", &["put", "x"]).end();
    assert_eq!((code, said.contains("no space left on the disk")), (Some(5), true), "{said}");
    serve.process.signal(Signal::TERM);
    serve.process.wait();
    let serve = room.serve(&["quota", "1500K"]);
    assert_eq!(room.put(&serve, "a", &["put", "x"]).end(), (Some(0), String::new()));
    let (code, said) = room.put(&serve, "a", &["name", "y", "put", "x"]).end();
    assert_eq!((code, said.contains("your quota of 1536000 bytes")), (Some(3), true), "{said}");
    // another key has its own
    assert_eq!(room.put(&serve, "b", &["name", "y", "put", "x"]).end(), (Some(0), String::new()));
}

/// A small file system of its own, until this is dropped.
struct Small(PathBuf);

impl Small {
    fn mount(path: PathBuf, options: &str) -> Option<Small> {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&path).output();
        mounted.is_ok_and(|mounted| mounted.status.success()).then(|| Small(path))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l".as_ref(), self.0.as_os_str()]).status();
    }
}

#[test]
fn a_full_disk_is_told_and_when_there_is_room_it_goes_on() {
    let room = Room::new();
    let Some(small) = Small::mount(room.path("into"), "size=10m") else { return skip("needs to mount") };
    // what is read once has no size that could be looked at before
    let content = bytes(1, 20 * MIB);
    let serve = room.serve(&[]);
    let put = room.put(&serve, "a", &["name", "p"]);
    let mut stdin = put.stdin();
    let _ = stdin.write_all(&content);
    drop(stdin);
    let (code, said) = put.end();
    assert_eq!((code, said.contains("no space left on the disk")), (Some(5), true), "{said}");
    assert!(room.stored("p").is_none());
    // nobody else is touched, as far as there is room
    room.write("big", &content);
    let (code, said) = room.put(&serve, "b", &["put", "big"]).end();
    assert_eq!((code, said.contains("no space left on the disk")), (Some(5), true), "{said}");
    let more = Command::new("mount").args(["-o", "remount,size=100m"]).arg(&small.0).status();
    assert!(more.unwrap().success());
    assert_eq!(room.put(&serve, "b", &["put", "big"]).end(), (Some(0), String::new()));
    assert!(room.stored("big") == Some(content));
    serve.process.kill();
}
