//! Files that are sent by who may have few open.

use super::room::{MIB, Room, Serve, bytes};
use crate::util::{MILLIPEDE, Process, until};
use std::process::{Command, Stdio};

const FILES: u64 = 40;

/// Files that are each open until their verdicts.
fn write(room: &Room) -> Vec<String> {
    let names: Vec<String> = (0..FILES).map(|number| format!("f{number}")).collect();
    (0..).zip(&names).for_each(|(seed, name)| room.write(name, &bytes(seed, MIB + 1000)));
    names
}

/// Sends with all connections that there may be.
fn send(room: &Room, serve: &Serve, descriptors: &str, words: &[&str]) -> Process {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {descriptors} && exec \"$@\""), "sh", MILLIPEDE]);
    command.args(["tx", "127.0.0.1", &serve.port.to_string()]).args(words).current_dir(room.path("from"));
    Process::spawn(command.stdin(Stdio::null()).stdout(Stdio::null()))
}

fn is_stored(room: &Room, name: &str) -> bool {
    room.stored(name).is_some_and(|found| Some(found) == std::fs::read(room.path("from").join(name)).ok())
}

#[test]
fn all_of_many_large_files_are_stored() {
    for descriptors in ["30", "64"] {
        let room = Room::new();
        let serve = room.serve_openly();
        let names = write(&room);
        let words: Vec<&str> = ["put"].into_iter().chain(names.iter().map(String::as_str)).collect();
        let (code, said) = send(&room, &serve, descriptors, &words).end();
        assert_eq!(code, Some(0), "{descriptors}: {said}\n{}", serve.process);
        assert!(names.iter().all(|name| is_stored(&room, name)));
    }
}

#[test]
fn all_of_a_folder_are_stored_that_is_filled_while_it_is_watched() {
    let room = Room::new();
    let serve = room.serve_openly();
    room.write("first", b"first");
    let watch = send(&room, &serve, "64", &["watch", "."]);
    until("the first one", || is_stored(&room, "first").then_some(()));
    let names = write(&room);
    until(&format!("all of them: {watch}"), || names.iter().all(|name| is_stored(&room, name)).then_some(()));
}
