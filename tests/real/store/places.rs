//! Whose turn it is at a standing receiver, what happens to those that were killed, and how it ends.

use super::room::{MIB, Room, bytes};
use crate::util::{Process, Signal, until};
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// With fewer descriptors files fail one by one, hours later.
#[test]
fn a_low_limit_of_open_files_is_told_at_the_start() {
    let room = Room::new();
    let serving = room.serving(&["sessions", "4", "into", "into"]);
    let mut limited = Command::new("sh");
    limited
        .args(["-c", r#"ulimit -n 256; exec "$@""#, "sh"])
        .arg(serving.get_program())
        .args(serving.get_args());
    limited.stdin(Stdio::null()).stdout(Stdio::null()).current_dir(room.dir.path());
    let serve = Process::spawn(&mut limited);
    serve.expect("millipede: ulimit -n allows 256 open files; with many senders 1424 are needed");
    serve.expect("serving on port");
}

#[test]
fn nothing_is_stored_in_a_folder_that_is_not_where_it_was() {
    let room = Room::new();
    let serve = room.serve_openly();
    let [into, away] = ["into", "away"].map(|name| room.path(name));
    let put = |name: &str| {
        room.write(name, name.as_bytes());
        room.put_openly(&serve, &["put", name]).end()
    };
    assert_eq!(put("before").0, Some(0));
    fs::rename(&into, &away).unwrap();
    for name in ["moved", "replaced"] {
        let (code, said) = put(name);
        let line = format!("millipede: {name}: not stored: the receiver's folder was moved or removed");
        assert_eq!((code, said), (Some(5), line));
        let _ = fs::create_dir(&into);
    }
    assert_eq!((room.stored("replaced"), away.join("moved").exists()), (None, false));
    fs::remove_dir(&into).unwrap();
    fs::rename(&away, &into).unwrap();
    assert_eq!(put("back").0, Some(0));
    assert_eq!(room.stored("back"), Some(b"back".to_vec()));
    fs::remove_dir_all(&into).unwrap();
    assert_eq!(put("removed").0, Some(5));
    // once each time
    let line = format!("millipede: into {}: it was moved or removed; nothing is stored", into.display());
    let times = || serve.process.said().matches(&line).count();
    until("both lines", || (times() >= 2).then_some(()));
    assert_eq!(times(), 2, "{}", serve.process);
}

#[test]
fn who_was_killed_and_comes_again_takes_over_before_long() {
    let room = Room::new();
    room.write("big", &bytes(1, 40 * MIB));
    let serve = room.serve(&["sessions", "1"]);
    for _ in 0..2 {
        let before = room.partial().unwrap_or(0);
        let put = room.put(&serve, "a", &["rate", "8M", "put", "big"]);
        room.await_partial(before + MIB as u64);
        put.kill();
    }
    let begun = Instant::now();
    // it may have had to wait for its place, and then says so
    let (code, said) = room.put(&serve, "a", &["put", "big"]).end();
    assert_eq!(code, Some(0), "{said}\n{}", serve.process);
    assert!(begun.elapsed() < Duration::from_secs(45), "{:?}", begun.elapsed());
    assert!(room.stored("big") == Some(bytes(1, 40 * MIB)));
}

#[test]
fn of_two_with_one_name_one_wins_and_the_other_is_told() {
    let room = Room::new();
    room.write("big", &bytes(1, 40 * MIB));
    let serve = room.serve(&[]);
    let first = room.put(&serve, "a", &["rate", "3M", "put", "big"]);
    room.await_partial(0);
    let (code, said) = room.put(&serve, "b", &["put", "big"]).end();
    assert_eq!((code, said.contains("big: refused: the name is taken")), (Some(3), true), "{said}");
    let same = room.put(&serve, "a", &["verbose", "1", "put", "big"]);
    same.expect("big: another session sends it now");
    assert_eq!(first.end(), (Some(0), String::new()));
    let (code, said) = same.end();
    assert_eq!((code, said.contains("big: was there already")), (Some(0), true), "{said}");
    assert!(room.stored("big") == Some(bytes(1, 40 * MIB)));
}

#[test]
fn whoever_waits_for_a_place_says_so_and_gets_it() {
    let room = Room::new();
    room.write("big", &bytes(1, 40 * MIB));
    room.write("small", b"small");
    let serve = room.serve(&["sessions", "1"]);
    let first = room.put(&serve, "a", &["rate", "2M", "put", "big"]);
    room.await_partial(0);
    let second = room.put(&serve, "b", &["put", "small"]);
    second.expect("waiting for a place at the receiver: this is the next one");
    first.signal(Signal::TERM);
    first.wait();
    let (code, said) = second.end();
    assert_eq!((code, said.contains("there is a place")), (Some(0), true), "{said}");
}

/// Connections that this process has, which sends.
fn connections(process: &Process) -> usize {
    let open = fs::read_dir(format!("/proc/{}/fd", process.pid())).into_iter().flatten().flatten();
    let links = open.filter_map(|entry| fs::read_link(entry.path()).ok());
    // the signals come on a pair of sockets
    let inodes = links
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.trim_end_matches(']').to_owned()));
    let known = fs::read_to_string(format!("/proc/{}/net/tcp", process.pid())).unwrap_or_default();
    let is_tcp = |inode: &String| known.lines().any(|line| line.split_whitespace().nth(9) == Some(inode));
    inodes.filter(is_tcp).count()
}

#[test]
fn whoever_waits_has_one_connection_and_all_of_them_when_there_is_a_place() {
    let room = Room::new();
    room.write("first", &bytes(1, 40 * MIB));
    room.write("second", &bytes(2, 40 * MIB));
    let serve = room.serve(&["sessions", "1"]);
    let has = |process, count| until(&format!("{count}"), || (connections(process) == count).then_some(()));
    let first = room.put(&serve, "a", &["rate", "2M", "put", "first"]);
    has(&first, 4);
    let second = room.put(&serve, "b", &["rate", "2M", "put", "second"]);
    second.expect("waiting for a place at the receiver: this is the next one");
    // it has waited for five seconds before it said so
    assert_eq!(connections(&second), 1);
    first.signal(Signal::TERM);
    first.wait();
    has(&second, 4);
    second.signal(Signal::TERM);
    second.wait();
}

#[test]
fn what_a_session_had_is_given_back_when_it_ends() {
    let room = Room::new();
    room.write("small", b"small");
    room.write("big", &bytes(1, 40 * MIB));
    let serve = room.serve(&[]);
    let descriptors = || fs::read_dir(format!("/proc/{}/fd", serve.process.pid())).unwrap().count();
    let before = descriptors();
    for _ in 0..3 {
        assert_eq!(room.put(&serve, "a", &["put", "small"]).end(), (Some(0), String::new()));
    }
    for signal in [Signal::TERM, Signal::KILL] {
        let come = room.partial().unwrap_or(0);
        let put = room.put(&serve, "a", &["rate", "8M", "put", "big"]);
        room.await_partial(come + MIB as u64);
        put.signal(signal);
        put.wait();
    }
    // the session of the one that was killed ends when the same file is sent again
    let (code, said) = room.put(&serve, "a", &["put", "big"]).end();
    assert_eq!(code, Some(0), "{said}\n{}", serve.process);
    // and not when somebody comes
    until("as before", || (descriptors() <= before).then_some(()));
}

#[test]
fn a_receiver_that_is_asked_to_end_stops_where_it_can_go_on() {
    let room = Room::new();
    room.write("big", &bytes(1, 40 * MIB));
    let serve = room.serve(&[]);
    let put = room.put(&serve, "a", &["rate", "8M", "put", "big"]);
    room.await_partial(MIB as u64);
    serve.process.signal(Signal::TERM);
    assert!(serve.process.ends_within(Duration::from_secs(15)), "{}", serve.process);
    let (code, said) = put.end();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("the receiver: ended by SIGTERM"), "{said}");
    let kept = room.partial().unwrap();
    assert!(kept > MIB as u64 && room.stored("big").is_none());
    let serve = room.serve(&[]);
    assert_eq!(room.put(&serve, "a", &["put", "big"]).end(), (Some(0), String::new()));
    assert!(room.stored("big") == Some(bytes(1, 40 * MIB)));
}
