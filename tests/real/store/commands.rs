//! Commands of a standing receiver: one for each stream, one after each file; and what a service manager gives it.

use super::room::{MIB, Room, Serve, bytes};
use crate::util::{Process, Signal, until};
use std::fs::{self, File};
use std::io::Write;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

#[test]
fn each_stream_goes_to_a_command_that_knows_what_it_is() {
    let room = Room::new();
    let command = r#"cat > "$MILLIPEDE_PEER-$MILLIPEDE_NAME" && cp "$MILLIPEDE_META" meta-$MILLIPEDE_NAME &&
        echo "$MILLIPEDE_SIZE" > size-$MILLIPEDE_NAME && ! test -e refuse"#;
    let serve = room.serve_as(&["exec", command, "require", "sample"]);
    room.write("big", &bytes(1, 3 * MIB));
    room.write("small", b"small");
    let words = ["tag", "sample=7", "put", "big", "small"];
    assert_eq!(room.put(&serve, "a", &words).end(), (Some(0), String::new()), "{}", serve.process);
    let made = |name: &str| fs::read(room.path(name)).ok();
    assert!(made("a-big") == Some(bytes(1, 3 * MIB)));
    assert_eq!(made("a-small").unwrap(), b"small");
    assert_eq!(made("meta-big").unwrap(), br#"{"sample":"7"}"#);
    assert_eq!(
        made("size-big").unwrap(),
        (3 * MIB).to_string().as_bytes().iter().chain(b"\n").copied().collect::<Vec<_>>()
    );
    let pipe = room.put(&serve, "b", &["name", "p", "tag", "sample=8"]);
    pipe.stdin().write_all(&bytes(2, MIB)).unwrap();
    assert_eq!(pipe.end(), (Some(0), String::new()));
    assert!(made("b-p") == Some(bytes(2, MIB)));
    assert_eq!(made("size-p").unwrap(), b"\n");
    // a name that a shell would take apart, and metadata that lacks something
    let (code, said) = room.put(&serve, "a", &["tag", "sample=7", "name", "a;b", "put", "small"]).end();
    assert_eq!((code, said.contains("refused: the name")), (Some(3), true), "{said}");
    let (code, said) = room.put(&serve, "a", &["put", "small"]).end();
    assert_eq!((code, said.contains("lacks sample")), (Some(3), true), "{said}");
    // its status is the result
    fs::write(room.path("refuse"), "").unwrap();
    let (code, said) = room.put(&serve, "a", &words).end();
    assert_eq!((code, said.contains("exited 1")), (Some(5), true), "{said}");
}

/// One that takes a stream, and one after a file.
#[test]
fn commands_end_with_a_receiver_that_was_killed() {
    let slow = "sleep 1000; sleep 1000; cat > /dev/null";
    for after in [false, true] {
        let room = Room::new();
        let serve = if after { room.serve(&["then", slow]) } else { room.serve_as(&["exec", slow]) };
        room.write("x", b"x");
        let put = room.put(&serve, "a", &["put", "x"]);
        serve.process.await_command("sleep");
        serve.process.signal(Signal::KILL);
        // this waits for all who have its stderr, the commands among them
        assert_eq!(serve.process.end().0, None);
        put.kill();
    }
}

#[test]
fn a_command_whose_stream_is_interrupted_is_ended_and_its_name_is_free() {
    let room = Room::new();
    let serve = room.serve_as(&["exec", "cat > got && mv got whole"]);
    room.write("big", &bytes(1, 40 * MIB));
    let put = room.put(&serve, "a", &["rate", "5M", "put", "big"]);
    until("some of it", || fs::metadata(room.path("got")).ok().filter(|file| file.len() > 0));
    put.kill();
    let (code, said) = room.put(&serve, "a", &["put", "big"]).end();
    assert_eq!(code, Some(0), "{said}\n{}", serve.process);
    assert!(fs::read(room.path("whole")).ok() == Some(bytes(1, 40 * MIB)));
}

#[test]
fn a_command_that_takes_nothing_is_ended_with_its_sender_and_its_name_is_free() {
    let room = Room::new();
    let command = "test -e go || { echo > began; exec sleep 987; }; cat > got";
    let serve = room.serve_as(&["exec", command]);
    // more than the command's pipe holds
    room.write("big", &bytes(1, 40 * MIB));
    let put = room.put(&serve, "a", &["put", "big"]);
    until("the command", || room.path("began").exists().then_some(()));
    fs::write(room.path("go"), "").unwrap();
    put.signal(Signal::TERM);
    put.wait();
    let (code, said) = room.put(&serve, "a", &["put", "big"]).end();
    assert_eq!(code, Some(0), "{said}\n{}", serve.process);
    assert!(fs::read(room.path("got")).ok() == Some(bytes(1, 40 * MIB)));
}

#[test]
fn a_command_whose_sender_is_gone_is_not_waited_for_when_the_receiver_is_to_end_unless_it_has_all() {
    let room = Room::new();
    let serve = room.serve_as(&["exec", "cat > got-$MILLIPEDE_NAME && until test -e go; do sleep 0.1; done"]);
    let got = |name: &str| fs::metadata(room.path(&format!("got-{name}"))).ok().map(|file| file.len());
    room.write("big", &bytes(1, 40 * MIB));
    room.write("small", b"small");
    let puts =
        [room.put(&serve, "a", &["rate", "5M", "put", "big"]), room.put(&serve, "b", &["put", "small"])];
    until("some of it", || got("big").filter(|size| *size > 0));
    until("all of it", || got("small").filter(|size| *size == 5));
    for put in puts {
        put.kill();
    }
    serve.process.signal(Signal::TERM);
    // the one that lacks something is ended, and the other one goes on
    let command = |name: &str| {
        let name = format!("MILLIPEDE_NAME={name}\0");
        fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path()).any(|process| {
            let known = fs::read(process.join("environ")).unwrap_or_default();
            fs::read_link(process.join("cwd")).is_ok_and(|folder| folder == room.dir.path())
                && String::from_utf8_lossy(&known).contains(&name)
        })
    };
    assert!(command("small"));
    until("its end", || (!command("big")).then_some(()));
    assert!(!serve.process.ends_within(Duration::from_secs(1)), "{}", serve.process);
    assert!(command("small"));
    fs::write(room.path("go"), "").unwrap();
    serve.process.wait();
}

#[test]
fn a_command_that_has_begun_is_waited_for_when_the_receiver_is_to_end() {
    let room = Room::new();
    let serve = room.serve_as(&["exec", "cat > got; until test -e go; do sleep 0.1; done; echo done > done"]);
    room.write("x", b"x");
    let put = room.put(&serve, "a", &["put", "x"]);
    until("the command", || room.path("got").exists().then_some(()));
    serve.process.signal(Signal::TERM);
    // it takes nobody any more, and goes on with whom it has
    assert!(!serve.process.ends_within(Duration::from_millis(500)), "{}", serve.process);
    fs::write(room.path("go"), "").unwrap();
    assert_eq!(put.end(), (Some(0), String::new()), "{}", serve.process);
    assert_eq!(fs::read(room.path("done")).unwrap(), b"done\n");
    serve.process.wait();
}

#[test]
fn what_runs_after_a_file_is_waited_for_when_the_receiver_is_to_end_and_nothing_new_begins() {
    let room = Room::new();
    let then =
        "echo $MILLIPEDE_NAME >> ran; until test -e go; do sleep 0.1; done; echo $MILLIPEDE_NAME >> done";
    let serve = room.serve(&["then", then]);
    for name in ["x", "y"] {
        room.write(name, b"x");
    }
    let put = room.put(&serve, "a", &["verbose", "1", "put", "x", "y"]);
    let first =
        until("the command", || fs::read_to_string(room.path("ran")).ok().filter(|ran| !ran.is_empty()));
    until("the other file", || room.stored("x").and(room.stored("y")));
    serve.process.signal(Signal::TERM);
    assert!(!serve.process.ends_within(Duration::from_millis(500)), "{}", serve.process);
    fs::write(room.path("go"), "").unwrap();
    let (code, said) = put.end();
    let stored = format!("{}: stored", first.trim());
    assert_eq!((code, said.contains(&stored)), (Some(1), true), "{said}");
    serve.process.wait();
    let [ran, done] = ["ran", "done"].map(|name| fs::read_to_string(room.path(name)).unwrap());
    assert_eq!((ran.as_str(), done.as_str()), (first.as_str(), first.as_str()));
    // what has not run runs when the file is sent again
    let serve = room.serve(&["then", then]);
    assert_eq!(room.put(&serve, "a", &["put", "x", "y"]).end(), (Some(0), String::new()));
    let other = if first
        == "x
"
    {
        "y
"
    } else {
        "x
"
    };
    assert_eq!(fs::read_to_string(room.path("done")).unwrap(), first + other);
}

#[test]
fn a_command_after_a_file_whose_sender_was_killed_is_waited_for_too() {
    let room = Room::new();
    let serve = room.serve(&["then", "echo > ran; until test -e go; do sleep 0.1; done; echo > done"]);
    room.write("x", b"x");
    let put = room.put(&serve, "a", &["put", "x"]);
    until("the command", || room.path("ran").exists().then_some(()));
    put.kill();
    serve.process.signal(Signal::TERM);
    assert!(!serve.process.ends_within(Duration::from_millis(500)), "{}", serve.process);
    fs::write(room.path("go"), "").unwrap();
    serve.process.wait();
    assert!(room.path("done").exists());
}

#[test]
fn what_runs_after_a_file_runs_again_until_it_has_succeeded_once() {
    let room = Room::new();
    let then = r#"echo "$MILLIPEDE_NAME $MILLIPEDE_SIZE $MILLIPEDE_PEER" >> ran
        test -s "$MILLIPEDE_FILE" && grep -q sample "$MILLIPEDE_META" && test -e go"#;
    let serve = room.serve(&["then", then]);
    room.write("run7/big", &bytes(1, MIB));
    let words = ["tag", "sample=7", "put", "run7/big"];
    let (code, said) = room.put(&serve, "a", &words).end();
    let line = "millipede: run7/big: stored, but 'then' failed: \"echo \"$MILLIPEDE_NAME $…\" exited 1";
    assert_eq!((code, said.ends_with(line)), (Some(5), true), "{said}");
    assert!(room.stored("run7/big") == Some(bytes(1, MIB)));
    fs::write(room.path("go"), "").unwrap();
    for _ in 0..2 {
        let words = ["verbose", "1", "tag", "sample=7", "put", "run7/big"];
        let (code, said) = room.put(&serve, "a", &words).end();
        assert_eq!((code, said.contains("was there already")), (Some(0), true), "{said}");
    }
    let line = format!("run7/big {MIB} a\n");
    assert_eq!(fs::read_to_string(room.path("ran")).unwrap(), line.repeat(2));
    let known = String::from_utf8(room.stored(".millipede/meta/run7/big.json").unwrap()).unwrap();
    assert!(known.contains(r#""succeeded": true"#), "{known}");
}

#[test]
fn a_service_manager_gives_the_socket_and_hears_when_it_is_ready() {
    let room = Room::new();
    let path = room.path("notify");
    is_started(&room, &UnixDatagram::bind(&path).unwrap(), path.to_str().unwrap());
}

#[test]
#[cfg(target_os = "linux")]
fn a_service_manager_may_hear_at_an_address_that_is_no_path() {
    use std::os::linux::net::SocketAddrExt;
    let room = Room::new();
    let name = room.path("notify").display().to_string();
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    is_started(&room, &UnixDatagram::bind_addr(&address).unwrap(), &format!("@{name}"));
}

/// By a service manager that hears at this address.
#[track_caller]
fn is_started(room: &Room, notified: &UnixDatagram, address: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    notified.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let serve = room.serving(&["exec", "env > env; cat > got"]);
    let mut command = Command::new("sh");
    // the socket is stdin, which only a shell can make descriptor 3
    command.args(["-c", r#"exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" "$@""#]);
    command.arg(serve.get_program()).args(serve.get_args()).current_dir(room.dir.path());
    command.env("NOTIFY_SOCKET", address);
    command.stdin(OwnedFd::from(listener)).stdout(File::create(room.path("out")).unwrap());
    let process = Process::spawn(&mut command);
    let mut said = [0; 100];
    let length = notified.recv(&mut said).unwrap_or_else(|error| panic!("{error}: {process}"));
    assert!(String::from_utf8_lossy(&said[..length]).contains("READY=1"));
    let serve = Serve { process, port };
    room.write("x", b"x");
    assert_eq!(room.put(&serve, "a", &["put", "x"]).end(), (Some(0), String::new()));
    let env = fs::read_to_string(room.path("env")).unwrap();
    assert!(!env.contains("LISTEN_") && !env.contains("NOTIFY_SOCKET"), "{env}");
}
