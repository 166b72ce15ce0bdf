//! A folder that is watched, and the receiver's, which becomes the same.

use crate::store::room::{Room, Serve, bytes};
use crate::util::{Process, Signal, free_port, millipede, skip, until};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Watches `from`.
fn watch(room: &Room, port: u16, words: &[&str]) -> Process {
    Process::spawn(&mut watching(room, port, words))
}

fn watching(room: &Room, port: u16, words: &[&str]) -> Command {
    let mut command = millipede(&["tx", "127.0.0.1", &port.to_string(), "threads", "2"]);
    let [key, peers, from] = ["a", "store", "from"].map(|name| room.path(name));
    command.args(["key".as_ref(), key.as_os_str(), "peers".as_ref(), peers.as_os_str()]);
    command.args(["watch".as_ref(), from.as_os_str()]).args(words).current_dir(room.dir.path());
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Serves on this port.
fn serve_on(room: &Room, port: u16, words: &[&str]) -> Serve {
    let mut command = millipede(&["serve", "127.0.0.1", &port.to_string()]);
    let [key, peers, into] = ["server", "peers", "into"].map(|name| room.path(name));
    command.args(["key".as_ref(), key.as_os_str(), "peers".as_ref(), peers.as_os_str()]);
    command.args(["into".as_ref(), into.as_os_str()]).args(words);
    let process = Process::spawn(command.stdin(Stdio::null()).stdout(Stdio::null()));
    Serve { process, port }
}

/// All files below a folder that are not hidden.
fn tree(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).into_iter().flatten().flatten() {
            let path = entry.path();
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            match entry.file_type() {
                _ if hidden => {}
                Ok(kind) if kind.is_dir() => folders.push(path),
                _ => {
                    let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                    // one that goes while it is looked at is not there
                    found.extend(fs::read(&path).ok().map(|bytes| (name, bytes)));
                }
            }
        }
    }
    found
}

fn until_same(room: &Room, watch: &Process) {
    let (from, into) = (tree(&room.path("from")), room.path("into"));
    until(&format!("the same files: {watch}"), || (tree(&into) == from).then_some(()));
}

/// What a complete file is: its first line says how long it is and of which seed the rest.
fn text(seed: u64, size: usize) -> Vec<u8> {
    [format!("{seed} {size}\n").as_bytes(), &bytes(seed, size)].concat()
}

fn is_complete(found: &[u8]) -> bool {
    let Some(end) = found.iter().position(|byte| *byte == b'\n') else { return false };
    let line = String::from_utf8_lossy(&found[..end]);
    let Some((seed, size)) = line.split_once(' ') else { return false };
    match (seed.parse(), size.parse()) {
        (Ok(seed), Ok(size)) => found == text(seed, size),
        _ => false,
    }
}

/// One of four writers: files of all manners, one after the other.
fn write(room: &Room, writer: u64, count: u64) {
    let from = room.path("from");
    for number in 0..count {
        let seed = writer * 1000 + number;
        let folder = from.join(format!("w{writer}/{}", number / 10));
        fs::create_dir_all(&folder).unwrap();
        let (path, whole) = (folder.join(format!("f{number}")), text(seed, 3000 + number as usize * 1500));
        match writer {
            // slowly, in pieces
            0 => {
                let mut file = fs::File::create(&path).unwrap();
                for piece in whole.chunks(whole.len() / 5 + 1) {
                    file.write_all(piece).unwrap();
                    thread::yield_now();
                }
            }
            // moved in from elsewhere
            1 => {
                let elsewhere = room.path(&format!("moved{number}"));
                fs::write(&elsewhere, whole).unwrap();
                fs::rename(elsewhere, path).unwrap();
            }
            // renamed when it is whole
            2 => {
                let part = path.with_extension("part");
                fs::write(&part, whole).unwrap();
                fs::rename(part, path).unwrap();
            }
            // written again: from outside it is always one or the other
            _ => {
                let part = folder.join(format!(".f{number}"));
                fs::write(&path, whole).unwrap();
                fs::write(&part, text(seed + 500, 2000)).unwrap();
                fs::rename(part, path).unwrap();
            }
        }
    }
}

/// Ends who looks, also where the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn what_four_writers_write_is_at_the_receiver_though_that_was_killed() {
    let room = Room::new();
    room.write("there/before", &text(9000, 100));
    let port = free_port();
    let mut serve = serve_on(&room, port, &["replace"]);
    let watch = watch(&room, port, &[]);
    let (into, over) = (room.path("into"), AtomicBool::new(false));
    thread::scope(|scope| {
        let _over = Over(&over);
        let (room, over, into) = (&room, &over, &into);
        scope.spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let wrong = tree(into).into_iter().find(|(_, found)| !is_complete(found));
                assert_eq!(wrong.map(|(name, _)| name), None, "incomplete");
            }
        });
        let writers: Vec<_> = (0..4).map(|writer| scope.spawn(move || write(room, writer, 50))).collect();
        until("some files", || (tree(into).len() > 40).then_some(()));
        serve.process.kill();
        serve = serve_on(room, port, &["replace"]);
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        until_same(room, &watch);
    });
    assert_eq!(tree(&room.path("from")).len(), 201);
    // one that was sent and is written again, and one in a folder that is new
    room.write("w0/0/f0", &text(1, 5));
    room.write("new/deep/er/x", &text(2, 200_000));
    until_same(&room, &watch);
    // the last verdict may be on its way
    until("a report", || {
        watch.signal(Signal::USR1);
        watch.said().contains("; nothing waits").then_some(())
    });
    watch.signal(Signal::TERM);
    assert_eq!(watch.finish().signal(), Some(Signal::TERM.as_raw()));
}

#[test]
fn stored_files_are_archived_and_others_passed_over_or_refused() {
    let room = Room::new();
    let serve = room.serve(&[]);
    let sent = room.path("sent");
    fs::create_dir(&sent).unwrap();
    room.write("a", b"a");
    room.write("sub/b", &bytes(1, 300_000));
    room.write("c.log", b"c");
    room.write("d.part", b"d");
    room.write(".e", b"e");
    room.write("tmp/f", b"f");
    let words = ["archive", "sent", "ignore", "*.log", "ignore", "tmp/**"];
    let watch = watch(&room, serve.port, &words);
    until("archived", || (tree(&sent).len() == 2).then_some(()));
    room.write("g", b"g");
    until("archived", || (tree(&sent).len() == 3).then_some(()));
    assert_eq!(tree(&sent), tree(&room.path("into")));
    let left = tree(&room.path("from"));
    assert_eq!(left.keys().collect::<Vec<_>>(), ["c.log", "d.part", "tmp/f"]);
    // the same name again: the receiver has another one, and says so once
    room.write("a", b"another");
    watch.expect("a: refused: ");
    room.write("h", b"h");
    until("archived", || sent.join("h").exists().then_some(()));
    assert_eq!(watch.said().matches("a: refused").count(), 1);
    room.write("a", b"a third");
    until("told again", || (watch.said().matches("a: refused").count() == 2).then_some(()));
    // refused twice, it is one file
    until("a report", || {
        watch.signal(Signal::USR1);
        watch.said().contains(" stored, 1 not stored").then_some(())
    });
    assert_eq!(fs::read(room.path("from/a")).unwrap(), b"a third");
    assert_eq!(fs::read(sent.join("a")).unwrap(), b"a");
    // one of a name that is in the archive stays where it is
    fs::write(sent.join("i"), b"older").unwrap();
    room.write("i", b"i");
    watch.expect("i: stored, but not moved to the archive: a file of that name is there");
    assert_eq!(fs::read(sent.join("i")).unwrap(), b"older");
}

#[test]
fn one_that_is_open_is_not_sent_until_it_is_closed() {
    let room = Room::new();
    let serve = room.serve(&[]);
    room.write("open", b"");
    let mut open = fs::File::create(room.path("from/open")).unwrap();
    open.write_all(b"half").unwrap();
    let watch = watch(&room, serve.port, &[]);
    room.write("x", b"x");
    until("sent", || room.stored("x"));
    // another one closes it, and it is not complete for that
    drop(fs::OpenOptions::new().append(true).open(room.path("from/open")).unwrap());
    room.write("y", b"y");
    until("sent", || room.stored("y"));
    assert_eq!(room.stored("open"), None);
    open.write_all(b" and half").unwrap();
    drop(open);
    until_same(&room, &watch);
}

#[cfg(target_os = "linux")]
#[test]
fn one_that_gets_its_name_by_a_link_is_sent_though_it_has_no_other() {
    use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open};
    let room = Room::new();
    let serve = room.serve(&[]);
    room.write("x", b"x");
    let watch = watch(&room, serve.port, &[]);
    until_same(&room, &watch);
    // the other name is gone before it can look
    watch.signal(Signal::STOP);
    let elsewhere = room.path("elsewhere");
    fs::write(&elsewhere, b"linked").unwrap();
    fs::hard_link(&elsewhere, room.path("from/linked")).unwrap();
    fs::remove_file(elsewhere).unwrap();
    watch.signal(Signal::CONT);
    until_same(&room, &watch);
    // and here there is none; its closing is not told, for it had no name when it was opened
    let from = room.path("from");
    let Ok(unnamed) = open(&from, OFlags::TMPFILE | OFlags::WRONLY, Mode::from_raw_mode(0o600)) else {
        return skip("needs a file system with files that have no names");
    };
    let mut unnamed = fs::File::from(unnamed);
    unnamed.write_all(b"unnamed").unwrap();
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&unnamed));
    linkat(CWD, path, CWD, from.join("unnamed"), AtFlags::SYMLINK_FOLLOW).unwrap();
    drop(unnamed);
    until_same(&room, &watch);
}

#[test]
fn a_receiver_that_comes_late_and_a_patience_that_ends_do_not_end_a_watch() {
    let room = Room::new();
    let port = free_port();
    room.write("x", &bytes(1, 100_000));
    let watch = watch(&room, port, &["patience", "1"]);
    watch.expect("it is tried again, for ever");
    let _serve = serve_on(&room, port, &[]);
    until_same(&room, &watch);
    watch.expect("the receiver is there again");
    assert_eq!(watch.said().matches("for ever").count(), 1);
}

/// CPU time of a process so far. In nanoseconds to the kernel: in its ticks of 10 ms a moment may be none or one.
#[cfg(target_os = "linux")]
fn cpu(process: &Process) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{}/task", process.pid())).unwrap().flatten();
    let spent = tasks.filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok());
    let spent: u64 = spent.map(|text| text.split(' ').next().unwrap().parse::<u64>().unwrap()).sum();
    assert_ne!(spent, 0, "no process has come so far without");
    Duration::from_nanos(spent)
}

/// How often the threads of a process have been given a processor.
#[cfg(target_os = "linux")]
fn switches(process: &Process) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{}/task", process.pid())).unwrap();
    let count = |status: String| {
        let lines = status.lines().filter(|line| line.contains("ctxt_switches"));
        lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum::<u64>()
    };
    tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("status")).ok()).map(count).sum()
}

#[cfg(target_os = "linux")]
#[test]
fn an_idle_watch_does_nothing() {
    let room = Room::new();
    let serve = room.serve(&[]);
    room.write("x", b"x");
    let watch = watch(&room, serve.port, &[]);
    until_same(&room, &watch);
    // the session ends a little after that
    crate::util::until_still(|| switches(&watch));
    let (before, woken, since) = (cpu(&watch), switches(&watch), Instant::now());
    thread::sleep(Duration::from_secs(2));
    let (took, woken, time) = (cpu(&watch) - before, switches(&watch) - woken, since.elapsed());
    // the list of peers is looked at once a second; a busy machine may have this test sleep longer
    let is_idle = took < time / 200 && woken <= 5 * (time.as_secs() + 1);
    assert!(is_idle, "{took:?} of {time:?}, woken {woken} times: {watch}");
}

#[cfg(target_os = "linux")]
#[test]
fn what_was_lost_of_events_is_found_by_a_scan() {
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let limit: usize = limit.trim().parse().unwrap();
    if limit > 100_000 {
        return eprintln!("skipped: a queue of {limit} events is too long to be filled");
    }
    let room = Room::new();
    let serve = room.serve(&["replace"]);
    room.write("sub/x", b"x");
    let watch = watch(&room, serve.port, &[]);
    until_same(&room, &watch);
    watch.signal(Signal::STOP);
    // of the same event twice in a row the kernel keeps one
    for _ in 0..=limit / 2 {
        room.write(".a", b"");
        room.write(".b", b"");
    }
    room.write("sub/x", b"changed");
    room.write("sub/y", b"y");
    room.write("new/z", b"z");
    watch.signal(Signal::CONT);
    until_same(&room, &watch);
}

#[cfg(target_os = "linux")]
#[test]
fn folders_that_the_kernel_does_not_watch_are_scanned() {
    let room = Room::new();
    let serve = room.serve(&["replace"]);
    let line = "echo 2 > /proc/sys/user/max_inotify_watches && exec \"$@\"";
    let space = |line: &str| {
        let mut command = std::process::Command::new("unshare");
        command.args(["-Ur", "sh", "-c", line, "sh"]).stdin(Stdio::null()).stdout(Stdio::null());
        command
    };
    if !space(line).arg("true").stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        return eprintln!("skipped: no user namespace whose limit can be set");
    }
    for folder in ["a", "b", "c", "d/e"] {
        room.write(&format!("{folder}/x"), folder.as_bytes());
    }
    let [key, peers, from] = ["a", "store", "from"].map(|name| room.path(name));
    let mut command = space(line);
    command.args([crate::util::MILLIPEDE, "tx", "127.0.0.1", &serve.port.to_string(), "threads", "2", "key"]);
    command.arg(key).arg("peers").arg(peers).arg("watch").arg(from);
    let watch = Process::spawn(&mut command);
    watch.expect("max_user_watches is reached");
    until_same(&room, &watch);
    for folder in ["a", "b", "c", "d/e", "f/g"] {
        room.write(&format!("{folder}/y"), folder.as_bytes());
    }
    until_same(&room, &watch);
    assert_eq!(watch.said().matches("is reached").count(), 1, "{watch}");
}

#[cfg(target_os = "linux")]
#[test]
fn what_is_mounted_at_the_folder_or_below_it_is_watched() {
    let alone = ["--mount", "mount", "-t", "tmpfs", "none", "/mnt"];
    if !Command::new("unshare").args(alone).stderr(Stdio::null()).status().is_ok_and(|done| done.success()) {
        skip("needs unshare and to be root");
        return;
    }
    let room = Room::new();
    let serve = room.serve(&[]);
    room.write("sub/before", b"x");
    let command = watching(&room, serve.port, &[]);
    // mounts of its own, which nobody else sees
    let mut unshared = Command::new("unshare");
    unshared.arg("--mount").arg(command.get_program()).args(command.get_args());
    let watch = Process::spawn(unshared.stdin(Stdio::null()).stdout(Stdio::null()));
    until_same(&room, &watch);
    let from = room.path("from");
    for (mounted, name) in [("sub", "sub/x"), (".", "y"), (".", "z")] {
        let line =
            format!("mount -t tmpfs none {mounted} && cd \"$0\" && mkdir -p sub && echo {name} > {name}");
        let pid = watch.pid().to_string();
        let mut inside = Command::new("nsenter");
        inside.args(["--mount", "--target", &pid, "sh", "-c", &format!("cd \"$0\" && {line}")]).arg(&from);
        assert!(inside.status().unwrap().success());
        until(&format!("{name} is there: {watch}"), || {
            fs::read(room.path("into").join(name))
                .is_ok_and(|found| found.starts_with(name.as_bytes()))
                .then_some(())
        });
    }
}
