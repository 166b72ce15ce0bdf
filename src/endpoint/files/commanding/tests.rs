//! One sender at a time, without a session around it.

use super::super::place::MaySend;
use super::*;
use crate::proto::outcome::Status;
use crate::store::record::{DATA_MAX, encode};
use crate::store::sum::Sum;
use crate::sys::pipe::{Interest, wait};
use rustix::fs::{CWD, Mode, OFlags, mkfifoat, open};
use std::fs::File;
use std::io::Write;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

/// A sender with that key; what becomes of whoever has a name that it wants.
fn sink(
    names: &Names,
    key: &str,
    visit: u64,
    gives_way: impl Fn(u64) -> bool + Send + Sync + 'static,
) -> CommandedSink {
    let orders = Orders {
        command: "false".into(),
        require: vec![],
        peer: Peer { key: key.into(), name: key.into(), visit },
        names: names.clone(),
        place: Place::sure(gives_way),
        ledger: Ledger::new(),
        current: Arc::default(),
        holds_up: Arc::default(),
        _alive: crossbeam_channel::bounded(0).0,
    };
    CommandedSink::new(orders, Outbox::new().unwrap())
}

/// More bytes than a pipe holds.
const MUCH: usize = 4 << 20;

/// What a sender says of these streams, each with its number, name and bytes.
fn records(streams: &[(u32, &str, &[u8])]) -> Vec<u8> {
    let mut said = Vec::new();
    for (file, name, bytes) in streams {
        let length = bytes.len() as u64;
        encode(*file, &opens(name), &mut said);
        encode(*file, &Up::From(0), &mut said);
        for piece in bytes.chunks(DATA_MAX) {
            encode(*file, &Up::Data(piece.len() as u32), &mut said);
            said.extend(piece);
        }
        encode(*file, &Up::End(Mark { length, sum: Sum::of(bytes) }), &mut said);
    }
    said
}

fn opens(name: &str) -> Up {
    Up::Open(Open { size: None, name: name.into(), meta: Vec::new() })
}

/// A fifo in this folder.
fn fifo(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
    path
}

/// Waits until a command opens this fifo for writing.
fn await_command(fifo: &Path) {
    let fifo = open(fifo, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).unwrap();
    let [opened] = wait(&[Interest::read(&fifo)], Some(Duration::from_secs(60))).unwrap();
    assert!(opened.any(), "no command has opened it");
}

/// Lets a command go on that reads a line of this fifo, for as long as what is given lives.
fn let_go(fifo: &Path) -> File {
    let mut fifo = File::options().read(true).write(true).open(fifo).unwrap();
    fifo.write_all(b"\n").unwrap();
    fifo
}

#[test]
fn a_name_is_one_streams_at_a_time_unless_its_sender_is_gone() {
    let (names, name) = (Names::default(), Name::commanded("run7").unwrap());
    let claim = |key, visit| sink(&names, key, visit, |_| false).claim(&name);
    let first = Arc::new(Mutex::new(claim("a", 1).ok()));
    assert_eq!(claim("a", 2).err().unwrap().0, FileVerdict::Later);
    assert_eq!(claim("b", 3).err().unwrap().0, FileVerdict::Taken);
    // nobody gives way to oneself
    let oneself = sink(&names, "a", 1, |_| panic!("it was asked")).claim(&name);
    assert_eq!(oneself.err().unwrap().0, FileVerdict::Later);
    let gives_way = move |visit| visit == 1 && first.lock().unwrap().take().is_some();
    assert!(sink(&names, "b", 3, gives_way).claim(&name).is_ok());
}

#[test]
fn a_sender_is_held_up_while_its_command_takes_nothing_or_has_not_ended() {
    let folder = tempfile::tempdir().unwrap();
    let [began, take, took, end] = ["began", "take", "took", "end"].map(|name| fifo(folder.path(), name));
    // it waits before it takes anything, and again when it has taken all
    let command = format!(
        ": > {}; read line < {}; cat > /dev/null; : > {}; read line < {}",
        began.display(),
        take.display(),
        took.display(),
        end.display()
    );
    let mut sink = sink(&Names::default(), "a", 1, |_| false);
    sink.orders.command = command;
    let holds_up = sink.orders.holds_up.clone();
    let bytes = vec![7; MUCH];
    let stream = records(&[(1, "run7", &bytes)]);
    assert!(!holds_up.load(Ordering::Relaxed));
    let held_up = thread::scope(|scope| {
        let writes = scope.spawn(move || sink.write(&[IoSlice::new(&stream)]).unwrap());
        let held_up = [(&began, &take), (&took, &end)].map(|(reached, waits)| {
            await_command(reached);
            (holds_up.load(Ordering::Relaxed), let_go(waits))
        });
        writes.join().unwrap();
        held_up.map(|(held_up, _)| held_up)
    });
    assert_eq!(held_up, [true; 2]);
    assert!(!holds_up.load(Ordering::Relaxed));
}

#[test]
fn no_stream_begins_while_another_one_comes() {
    let small = Open { size: Some(1), name: "b".into(), meta: Vec::new() };
    for second in [Up::From(0), Up::Whole(small, Sum::of(b"x"), b"x".to_vec())] {
        let mut sink = sink(&Names::default(), "a", 1, |_| false);
        let mut said = Vec::new();
        encode(1, &opens("a"), &mut said);
        encode(1, &Up::From(0), &mut said);
        if let Up::From(_) = second {
            encode(2, &opens("b"), &mut said);
        }
        sink.write(&[IoSlice::new(&said)]).unwrap();
        said.clear();
        encode(2, &second, &mut said);
        assert_eq!(sink.write(&[IoSlice::new(&said)]), Err(SinkError::senseless()), "{second:?}");
    }
}

#[test]
fn whoever_sends_out_of_its_turn_hears_whether_it_had_one() {
    for (may_send, says) in [
        (MaySend::Yes, Ok(())),
        (MaySend::NotYet, Err(SinkError::senseless())),
        (MaySend::NoMore, Err(SinkError::displaced())),
    ] {
        let mut sink = sink(&Names::default(), "a", 1, |_| false);
        sink.orders.place.may_send = Box::new(move || may_send);
        let mut said = Vec::new();
        encode(1, &opens("a"), &mut said);
        assert_eq!(sink.write(&[IoSlice::new(&said)]).map(drop), says);
    }
    assert_eq!(SinkError::displaced().status, Status::Incomplete);
}

#[test]
fn a_stream_that_is_refused_does_not_let_the_one_that_comes_be_stopped() {
    let mut sink = sink(&Names::default(), "a", 1, |_| false);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let busy = seen.clone();
    sink.orders.place.set_busy = Box::new(move |is| {
        busy.lock().unwrap().push(is);
        true
    });
    let mut said = Vec::new();
    encode(1, &opens("a"), &mut said);
    encode(1, &Up::From(0), &mut said);
    encode(2, &opens("not a name"), &mut said);
    sink.write(&[IoSlice::new(&said)]).unwrap();
    assert_eq!(*seen.lock().unwrap(), [true]);
    said.clear();
    encode(1, &Up::Stop("why".into()), &mut said);
    sink.write(&[IoSlice::new(&said)]).unwrap();
    assert_eq!(*seen.lock().unwrap(), [true, false]);
}

#[test]
fn a_command_that_takes_nothing_is_ended_when_its_sender_is_given_up_and_no_other_begins() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (fifo(folder.path(), "one"), folder.path().join("other"));
    let (names, bytes) = (Names::default(), vec![7; MUCH]);
    let mut sink = sink(&names, "a", 1, |_| false);
    sink.orders.command = format!(": > {}/$MILLIPEDE_NAME; exec sleep 987", folder.path().display());
    let current = sink.orders.current.clone();
    let stream = records(&[(1, "one", &bytes), (2, "other", &bytes)]);
    let written = thread::scope(|scope| {
        let writes = scope.spawn(move || sink.write(&[IoSlice::new(&stream)]));
        await_command(&one);
        current.give_up();
        writes.join().unwrap()
    });
    assert_eq!((written.is_err(), other.exists()), (true, false), "{written:?}");
    let name = Name::commanded("one").unwrap();
    assert!(names.take("b", 2, &name, ()).is_ok(), "it is free");
}

#[test]
fn a_command_that_has_all_of_its_stream_goes_on_when_its_sender_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let [took, go] = ["took", "go"].map(|name| fifo(folder.path(), name));
    let ended = folder.path().join("ended");
    let mut sink = sink(&Names::default(), "a", 1, |_| false);
    sink.orders.command = format!(
        "cat > /dev/null; : > {}; read line < {}; : > {}",
        took.display(),
        go.display(),
        ended.display()
    );
    let current = sink.orders.current.clone();
    let stream = records(&[(1, "run7", b"x")]);
    let has_all = thread::scope(|scope| {
        let writes = scope.spawn(move || sink.write(&[IoSlice::new(&stream)]).map(drop));
        await_command(&took);
        current.give_up();
        let has_all = current.has_all();
        let _go = let_go(&go);
        writes.join().unwrap().unwrap();
        has_all
    });
    assert_eq!((has_all, ended.exists(), current.has_all()), (true, true, false));
}

#[test]
fn a_command_hears_of_a_sender_without_a_name_by_one_part() {
    let (name, meta) = (Name::commanded("a/b").unwrap(), MetaFile::new("{}").unwrap());
    let peer = |peer| {
        let known = environment(&name, peer, Some(1), &meta);
        known.into_iter().find_map(|(word, value)| (word == "MILLIPEDE_PEER").then_some(value)).unwrap()
    };
    assert_eq!(peer(("SHA256:a/b+c", "SHA256:a/b+c")), "SHA256:a_b-c");
    assert_eq!(peer(("anna", "SHA256:a/b+c")), "anna");
}

#[test]
fn metadata_is_there_for_this_user_alone_and_then_gone() {
    use std::os::unix::fs::PermissionsExt;
    let file = MetaFile::new(r#"{"a":"b"}"#).unwrap();
    let path = file.path().to_owned();
    assert_eq!(fs::read_to_string(&path).unwrap(), r#"{"a":"b"}"#);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    drop(file);
    assert!(!path.exists());
    let why = MetaFile::within(Path::new("/nowhere"), "{}").err();
    assert_eq!(why.as_deref(), Some("cannot write metadata to /nowhere: no such file or directory"));
}
