//! A sender that stands still, or seems to, and those that wait meanwhile.

use super::room::{MIB, Room, Serve, bytes};
use crate::util::relay::Relay;
use crate::util::{Signal, eventually, until};
use millipede::plan::Task;
use std::env;
use std::fs;
use std::process::Command;
use std::time::Duration;

/// In the process that serves here: its words, with a line for each, and after how many seconds a session that stands still
/// loses its place, and one without a connection.
const WORDS: &str = "MILLIPEDE_TEST_SERVE";
const STALL: &str = "MILLIPEDE_TEST_STALL";
const AWAY: &str = "MILLIPEDE_TEST_AWAY";
/// It takes no minute until a session has stood still for too long, but as long as a busy machine may have others wait.
const SOON: u64 = 5;
/// No test lasts so long.
const NEVER: u64 = 3600;
/// What a sender says that has waited for 5 s.
const WAITS: &str = "waiting for a place at the receiver: this is the next one";

/// Not a test of its own: what the process does that serves in the place of the program.
#[test]
fn serves() {
    let Ok(words) = env::var(WORDS) else { return };
    let Ok(Task::Serve(plan)) = millipede::cli::parse(words.lines().map(Into::into)) else {
        panic!("{words}")
    };
    let [stall, away] =
        [STALL, AWAY].map(|name| Duration::from_secs(env::var(name).unwrap().parse().unwrap()));
    let ended = millipede::run::serve::serve_with(&plan, stall, away);
    millipede::message::finish();
    std::process::exit(ended.map_or_else(|failure| failure.status.code().into(), |()| 0));
}

/// The program as it is, but for how long a session may stand still, and be without a connection: so many seconds.
fn serve(room: &Room, words: &[&str], [stall, away]: [u64; 2]) -> Serve {
    let words: Vec<String> =
        room.serving(words).get_args().map(|word| word.to_str().unwrap().to_owned()).collect();
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "store::stalled::serves", "--nocapture", "--test-threads=1"]);
    command.env(WORDS, words.join("\n")).current_dir(room.dir.path());
    Serve::spawn(command.env(STALL, stall.to_string()).env(AWAY, away.to_string()))
}

#[test]
fn one_that_stands_still_loses_its_place_and_hears_why_and_nobody_else_is_touched() {
    let room = Room::new();
    room.write("big", &bytes(1, 40 * MIB));
    room.write("other", &bytes(2, 40 * MIB));
    room.write("small", b"small");
    let into = room.path("into");
    let serve = serve(&room, &["into", into.to_str().unwrap(), "sessions", "2"], [SOON, NEVER]);
    let stalled = room.put(&serve, "a", &["rate", "4M", "put", "big"]);
    room.await_partial(MIB as u64);
    // it says nothing and takes nothing from here on
    stalled.signal(Signal::STOP);
    let other = room.put(&serve, "b", &["rate", "2M", "put", "other"]);
    // both places are taken before the third one comes
    let under_way = || room.partials().into_iter().filter(|size| *size > 0).count();
    until("the other one", || (under_way() == 2).then_some(()));
    let third = room.put(&serve, "b", &["put", "small"]);
    let (code, said) = third.end();
    assert_eq!(code, Some(0), "{said}\n{}", serve.process);
    assert_eq!(room.stored("small"), Some(b"small".to_vec()));
    assert!(room.stored("other").is_none(), "it was to be under way: {}", serve.process);
    stalled.signal(Signal::CONT);
    let (code, said) = stalled.end();
    assert_eq!((code, said.contains("nothing came for 5 s, and others wait")), (Some(1), true), "{said}");
    assert!(said.contains("to go on, put again: what the receiver has kept is not sent again"), "{said}");
    assert!(said.lines().count() == 2 && said.lines().all(|line| line.chars().count() <= 80), "{said}");
    assert_eq!(room.put(&serve, "a", &["put", "big"]).end(), (Some(0), String::new()));
    assert!(room.stored("big") == Some(bytes(1, 40 * MIB)));
    assert_eq!(other.end(), (Some(0), String::new()));
    assert!(room.stored("other") == Some(bytes(2, 40 * MIB)));
    serve.process.signal(Signal::TERM);
    serve.process.wait();
}

/// One has sent all that it has, and this end is not done with it for longer than a session may stand still.
#[test]
fn a_command_that_takes_its_time_takes_no_place_from_its_sender() {
    let until_go = "until test -e go; do sleep 0.1; done";
    let into = |room: &Room| room.path("into").to_str().unwrap().to_owned();
    for how in ["takes nothing", "does not end", "then"] {
        let room = Room::new();
        room.write("big", &bytes(1, 20 * MIB));
        room.write("small", b"small");
        let (folder, then) = (into(&room), format!(": > began; {until_go}"));
        let exec = match how {
            "takes nothing" => format!(": > began; {until_go}; cat > got-$MILLIPEDE_NAME"),
            _ => format!("cat > got-$MILLIPEDE_NAME; : > began; {until_go}"),
        };
        let words = match how {
            "then" => ["into", &folder, "then", &then].to_vec(),
            _ => ["exec", &exec].to_vec(),
        };
        let serve = serve(&room, &[&words[..], &["sessions", "1"]].concat(), [SOON, NEVER]);
        let first = room.put(&serve, "a", &["put", "big"]);
        until("the command", || room.path("began").exists().then_some(()));
        let second = room.put(&serve, "b", &["put", "small"]);
        second.expect(WAITS);
        let has_a_place = || second.has_ended() || second.said().contains("there is a place");
        assert!(!eventually(Duration::from_secs(SOON), has_a_place), "{how}: {second}");
        fs::write(room.path("go"), "").unwrap();
        assert_eq!(first.end(), (Some(0), String::new()), "{how}: {}", serve.process);
        let (code, said) = second.end();
        assert_eq!((code, said.contains("there is a place")), (Some(0), true), "{how}: {said}");
        let there = room.stored("big").or_else(|| fs::read(room.path("got-big")).ok());
        assert!(there == Some(bytes(1, 20 * MIB)), "{how}");
    }
}

/// Two senders may share a key: that the second one comes says nothing of the first one.
#[test]
fn who_is_away_for_a_while_keeps_its_place_when_another_one_of_its_key_waits() {
    let room = Room::new();
    let serve = serve(&room, &["exec", "cat > got-$MILLIPEDE_NAME", "sessions", "1"], [NEVER, NEVER]);
    room.write("big", &bytes(1, 40 * MIB));
    room.write("small", b"small");
    let relay = Relay::to(serve.port);
    let first = room.put_at(relay.port, "a", &["rate", "8M", "put", "big"]);
    let came = || fs::metadata(room.path("got-big")).ok();
    until("some of it", || came().filter(|file| file.len() > MIB as u64));
    relay.refuse(true);
    relay.kill_all();
    let second = room.put(&serve, "a", &["put", "small"]);
    second.expect(WAITS);
    relay.refuse(false);
    let (code, said) = first.end();
    assert_eq!(code, Some(0), "{said}\n{}", serve.process);
    let (code, said) = second.end();
    assert_eq!(code, Some(0), "{said}\n{}", serve.process);
    assert!(fs::read(room.path("got-big")).unwrap() == bytes(1, 40 * MIB));
}
