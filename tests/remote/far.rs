//! The far end alone, with a near end that is played here: what it does before the near end could have answered.

use crate::util::{DEADLINE, MILLIPEDE};
use millipede::proto::hello::{Features, Hello, HelloOption, Id, Reply, Welcome};
use millipede::proto::rendezvous::{Answer, Greeting};
use millipede::proto::wire::{self, Frame, WindowEdge};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, ChildStdout, Command, Stdio};

/// Starts it, as a login shell would that runs this line before, and answers its greeting: it is to run this command, with
/// this much memory for legs.
fn started(before: &str, command: &str, buffer: Option<u64>) -> (Child, ChildStdout) {
    let line = format!("{before}\nexec \"$0\" far");
    let mut shell = Command::new("sh");
    shell.args(["-c", &line, MILLIPEDE]);
    let mut far = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut heard, mut from) = (Vec::new(), far.stdout.take().unwrap());
    while Greeting::find(&heard, &mut 0).unwrap().is_none() {
        assert!(more(&mut from, &mut heard), "no greeting");
    }
    let answer = Answer {
        key: *millipede::trust::PrivateKey::generate().unwrap().public().bytes(),
        direct: false,
        buffer,
        patience: None,
        rate: None,
        compress: None,
        verbose: 0,
        congestion: String::new(),
        command: command.into(),
    };
    far.stdin.as_mut().unwrap().write_all(&answer.encode()).unwrap();
    (far, from)
}

/// Reads what comes within the time for it. False if nothing does.
fn more(from: &mut ChildStdout, heard: &mut Vec<u8>) -> bool {
    let time = rustix::time::Timespec { tv_sec: DEADLINE.as_secs() as i64, tv_nsec: 0 };
    let mut fds = [rustix::event::PollFd::from_borrowed_fd(from.as_fd(), rustix::event::PollFlags::IN)];
    assert!(rustix::event::poll(&mut fds, Some(&time)).unwrap() > 0, "nothing in time");
    let mut chunk = [0; 4096];
    let n = from.read(&mut chunk).unwrap();
    heard.extend_from_slice(&chunk[..n]);
    n > 0
}

fn hello(options: Vec<HelloOption>) -> Hello {
    let features = Features::DUPLEX | Features::DECOMPRESSES | Features::ENOUGH;
    Hello { attempt: 1, options, ..Hello::of(Id::new([1; 16]), features, 32 << 20) }
}

fn welcome() -> Welcome {
    let edge = WindowEdge { bytes: 16 << 20, legs: 4096 };
    let (leg_max, features, buffer) = (512 << 10, Features::ENOUGH, 32 << 20);
    Welcome { instance: Id::new([2; 16]), next: 0, edge, leg_max, features, buffer }
}

/// The welcome, which is taken out of what is heard.
fn welcomed(from: &mut ChildStdout, heard: &mut Vec<u8>) -> Welcome {
    loop {
        assert!(more(from, heard), "no welcome");
        match Reply::decode(heard).unwrap() {
            Some((Reply::Welcome(welcome), length)) => {
                heard.drain(..length);
                return welcome;
            }
            Some((reply, _)) => panic!("{reply:?}"),
            None => {}
        }
    }
}

#[test]
fn it_heeds_what_its_own_host_has_unless_the_user_says_how_much_to_take() {
    const KIB: u64 = 256 << 10;
    for (wanted, most) in [(None, KIB << 8), (Some(8 << 20), 8 << 20), (Some(80 << 20), 80 << 20)] {
        let (mut far, mut from) = started(&format!("ulimit -d {KIB}"), "cat", wanted);
        far.stdin.as_mut().unwrap().write_all(&hello(Vec::new()).encode()).unwrap();
        let found = welcomed(&mut from, &mut Vec::new()).buffer;
        // the machine that runs this may have less itself
        assert!(found == most || (wanted.is_none() && found < most), "{wanted:?}: {found}");
        far.kill().unwrap();
        far.wait().unwrap();
    }
}

#[test]
fn the_output_of_a_command_follows_a_welcome_that_the_hello_brought() {
    let (mut far, mut from) = started("", "echo some", Some(32 << 20));
    let said = hello(vec![HelloOption::welcome(&welcome())]);
    far.stdin.as_mut().unwrap().write_all(&said.encode()).unwrap();
    let mut heard = Vec::new();
    welcomed(&mut from, &mut heard);
    // nothing is said to it meanwhile
    loop {
        match wire::decode(&heard).unwrap() {
            Some((Frame::Leg(header), length)) if heard.len() >= length + header.encoded as usize => {
                assert_eq!(&heard[length..length + header.encoded as usize], b"some\n");
                break;
            }
            Some((Frame::Leg(_), _)) | None => assert!(more(&mut from, &mut heard), "no leg"),
            Some((_, length)) => drop(heard.drain(..length)),
        }
    }
    far.kill().unwrap();
    far.wait().unwrap();
}
