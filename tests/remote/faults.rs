//! What dies, and what closed ports are to a command at another host.

use crate::server::{Server, children_of, output};
use crate::util::{DEADLINE, Process, Signal, check, eventually, feed, has, pattern, skip, until};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What is promised for whatever dies.
const SOON: Duration = Duration::from_secs(20);

/// Those of these processes whose command line has this in it.
fn named(pids: Vec<u32>, part: &str) -> Vec<u32> {
    let is_it = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).replace('\0', " ").contains(part)
    };
    pids.into_iter().filter(is_it).collect()
}

/// The ssh that a near end has started.
fn ssh_of(near: &Process) -> Vec<u32> {
    named(children_of(near.pid()), "ssh -T")
}

fn kill(pid: u32, signal: Signal) {
    let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
    // it may have ended by itself
    let _ = rustix::process::kill_process(pid, signal);
}

/// The far end's port, once a direct connection is up; the near end says so at `verbose 2`.
fn direct_port(near: &Process) -> u16 {
    let line = near.expect(": connection 0 is up");
    let address = line.split(": connection").next().unwrap().rsplit(' ').next().unwrap().to_owned();
    address.rsplit(':').next().unwrap().parse().unwrap()
}

/// Kills the TCP connections that lead to this port; how many the kernel says it killed.
fn kill_connections(port: u16) -> usize {
    let killed = Command::new("ss")
        .args(["-KHtn", "state", "established", "dst", "127.0.0.1", "dport", "=", &format!(":{port}")])
        .output()
        .unwrap();
    killed.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count()
}

/// Whether connections can be killed here.
#[track_caller]
fn can_kill() -> bool {
    let can = has("ss") && rustix::process::geteuid().is_root();
    if !can {
        skip("needs root and ss");
    }
    can
}

#[test]
fn a_near_end_that_is_killed_leaves_nothing() {
    let Some(server) = Server::start() else { return };
    let near = server.run(&["verbose", "2"], "trap '' HUP; sleep 1000; sleep 1000");
    direct_port(&near);
    assert!(eventually(DEADLINE, || named(server.left_behind(), "sleep 1000").len() >= 2));
    near.signal(Signal::KILL);
    assert_eq!(near.finish().signal(), Some(9));
    let began = Instant::now();
    assert!(eventually(DEADLINE, || server.left_behind().is_empty()), "{:?}", server.left_behind());
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

#[test]
fn a_far_end_that_is_killed_is_told_and_takes_its_command_along() {
    let Some(server) = Server::start() else { return };
    let near = server.run(&["verbose", "2"], "sleep 1000");
    direct_port(&near);
    assert!(eventually(DEADLINE, || !named(server.left_behind(), "sleep 1000").is_empty()));
    let began = Instant::now();
    named(server.left_behind(), " far").into_iter().for_each(|far| kill(far, Signal::KILL));
    let (code, said) = near.end();
    assert_eq!(code, Some(255), "{said}");
    assert!(began.elapsed() < SOON, "{:?}: {said}", began.elapsed());
    assert!(eventually(SOON, || server.left_behind().is_empty()), "{:?}", server.left_behind());
}

#[test]
fn an_interrupt_reaches_the_command_and_gives_the_prompt_back() {
    let Some(server) = Server::start() else { return };
    let mark = server.path("mark");
    let command =
        format!("trap 'echo ended > {mark}; exit' TERM HUP; echo ready; while :; do sleep 0.1; done");
    let mut line = server.millipede(&[]);
    let near =
        Process::spawn(line.arg(&command).process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()));
    let output = near.stdout();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(output));
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    let began = Instant::now();
    near.signal_group(Signal::INT);
    let ended = near.finish();
    assert_eq!(ended.signal(), Some(2));
    assert!(!ended.stderr.contains("millipede:"), "ssh says nothing of it either: {ended:?}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(eventually(DEADLINE, || std::fs::read(&mark).is_ok_and(|mark| mark == b"ended\n")));
    assert!(eventually(SOON, || server.left_behind().is_empty()), "{:?}", server.left_behind());
}

/// Feeds a command that gives back what it gets, and does something after each part; all must be right.
fn survives(server: &Server, words: &[&str], parts: u64, mut then: impl FnMut(u64, &Process)) -> String {
    const PART: u64 = 6_000_000;
    let near = server.run(&[&["verbose", "2"], words].concat(), "cat; exit 7");
    let output = near.collect();
    let mut stdin = near.stdin();
    for part in 0..parts {
        feed(&mut stdin, part * PART, PART).unwrap();
        output.await_bytes(part * PART + 1);
        then(part, &near);
    }
    drop(stdin);
    let (code, said) = near.end();
    assert_eq!((code, output.join()), (Some(7), parts * PART), "{said}");
    said
}

#[test]
fn the_end_of_ssh_in_mid_transfer_is_the_end_of_one_link() {
    let Some(server) = Server::start() else { return };
    survives(&server, &[], 6, |part, near| {
        direct_port(near);
        if part == 2 {
            ssh_of(near).into_iter().for_each(|ssh| kill(ssh, Signal::KILL));
        }
    });
    assert!(eventually(SOON, || server.left_behind().is_empty()), "{:?}", server.left_behind());
}

#[test]
fn the_death_of_the_connection_of_ssh_is_survived() {
    let Some(server) = Server::start() else { return };
    if !can_kill() {
        return;
    }
    let mut killed = 0;
    survives(&server, &[], 6, |part, near| {
        direct_port(near);
        if part == 2 {
            killed = kill_connections(server.port);
        }
    });
    assert!(killed > 0, "there was one to kill");
}

#[test]
fn the_death_of_every_direct_connection_is_survived_six_times() {
    let Some(server) = Server::start() else { return };
    if !can_kill() {
        return;
    }
    let mut killed = 0;
    survives(&server, &[], 8, |part, near| {
        let port = direct_port(near);
        if (1..7).contains(&part) {
            killed +=
                usize::from(until("nothing to kill", || Some(kill_connections(port)).filter(|n| *n > 0)) > 0);
        }
    });
    assert_eq!(killed, 6);
}

#[test]
fn an_ssh_that_ends_before_the_session_begins_is_what_is_told() {
    let Some(server) = Server::start() else { return };
    for (end, line) in [
        ("exit 9", "ssh ended with status 9 before the session began"),
        ("kill -9 $$", "ssh was killed by signal 9 before the session began"),
    ] {
        // the far end says its greeting, and hears no answer
        let script =
            format!("#!/bin/sh\ncase $1 in -G) exec ssh \"$@\" ;; esac\nssh \"$@\" < /dev/null\n{end}\n");
        let path = server.path("dying-ssh");
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let found = output(server.millipede(&[]).env("MILLIPEDE_SSH", &path).arg("true"), b"");
        let said = String::from_utf8_lossy(&found.stderr).into_owned();
        assert_eq!((found.status.code(), &*said), (Some(255), &*format!("millipede: {line}\n")));
    }
}

#[test]
fn a_closed_port_only_costs_speed_and_is_told_once() {
    for verdict in ["drop", "reject with tcp reset", "reject"] {
        let Some(server) = Server::behind(verdict) else { return };
        for (bytes, lines) in [(100_000, 0), (20_000_000, 1)] {
            let found = output(server.millipede(&[]).arg("cat; exit 3"), &pattern(0, bytes));
            let said = String::from_utf8_lossy(&found.stderr).into_owned();
            assert_eq!(found.status.code(), Some(3), "{verdict}: {said}");
            check(0, &found.stdout);
            assert_eq!(found.stdout.len(), bytes, "{verdict}");
            let told = said.lines().filter(|line| line.ends_with("the data goes through ssh instead"));
            // a short command is not worth a line, unless the machine is too busy for it to be short
            let counts = if lines == 0 { 0..=1 } else { 1..=1 };
            let count = told.count();
            assert!(counts.contains(&count) && said.lines().count() == count, "{verdict}: {said}");
        }
    }
}

#[test]
fn another_address_may_lead_there_and_one_that_does_not_does_no_harm() {
    let Some(server) = Server::start() else { return };
    for words in [&["over", "127.0.0.2"][..], &["over", "127.0.0.2", "over", "localhost"]] {
        let said = survives(&server, words, 2, |_, near| _ = direct_port(near));
        assert!(said.contains("127.0.0.2:"), "{said}");
    }
    let near = server.run(&["over", "nobody.invalid"], "cat; exit 3");
    let output = near.collect();
    near.feed(20_000_000);
    let (code, said) = near.end();
    assert_eq!((code, output.join()), (Some(3), 20_000_000), "{said}");
    assert!(said.contains("nobody.invalid:") && said.contains("cannot resolve the name"), "{said}");
}

#[test]
fn the_far_end_listens_on_the_ports_that_it_may() {
    let Some(server) = Server::start() else { return };
    let port = crate::util::free_port();
    let words = ["ports", &port.to_string()];
    let said = survives(&server, &words, 1, |_, near| assert_eq!(direct_port(near), port));
    assert!(said.contains(&format!("127.0.0.1:{port}")), "{said}");
    // where all are taken, all goes through ssh
    let taken = std::net::TcpListener::bind(("0.0.0.0", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let said = survives(&server, &["ports", &port], 1, |_, _| {});
    let told = format!("cannot listen on port {port} there; the data goes through ssh instead");
    assert_eq!(said.matches(&told).count(), 1, "{said}");
}

#[test]
fn a_command_outlives_the_death_of_ssh_though_nothing_was_sent() {
    let Some(server) = Server::start() else { return };
    let near = server.run(&["verbose", "2"], "read line; echo \"$line\"; exit 5");
    direct_port(&near);
    // the first message shows the far end who it is there for
    let mut stdin = near.stdin();
    let ssh = ssh_of(&near);
    assert_eq!(ssh.len(), 1, "{ssh:?}");
    near.expect("connection 0");
    kill(ssh[0], Signal::KILL);
    assert!(eventually(DEADLINE, || ssh_of(&near).is_empty()));
    stdin.write_all(b"still here\n").unwrap();
    near.keep();
    let ended = near.finish();
    assert_eq!((ended.code(), ended.text()), (5, "still here\n"), "{ended:?}");
}

#[test]
fn the_last_of_stderr_that_a_stopped_ssh_keeps_is_told() {
    let Some(server) = Server::start() else { return };
    let near = server.run(&["verbose", "2"], "read line; echo lost >&2; echo $line; exit 3");
    let (mut stdin, mut stdout) = (near.stdin(), near.stdout());
    direct_port(&near);
    ssh_of(&near).into_iter().for_each(|ssh| kill(ssh, Signal::STOP));
    stdin.write_all(b"whole\n").unwrap();
    let mut text = String::new();
    stdout.read_to_string(&mut text).unwrap();
    let (code, said) = near.end();
    assert_eq!((&text[..], code), ("whole\n", Some(3)), "{said}");
    assert!(
        said.contains("the last of the command's stderr may be lost") && !said.contains("\nlost"),
        "{said}"
    );
    assert!(eventually(DEADLINE, || server.left_behind().is_empty()), "{:?}", server.left_behind());
}

#[test]
fn who_holds_stderr_open_in_the_background_is_not_waited_for() {
    let Some(server) = Server::start() else { return };
    let near = server.run(&[], "sleep 1000 >/dev/null & echo heard >&2; exit 3");
    let (code, said) = near.end();
    assert_eq!((code, &said[..]), (Some(3), "heard"));
    named(server.left_behind(), "sleep 1000").into_iter().for_each(|job| kill(job, Signal::KILL));
    assert!(eventually(DEADLINE, || server.left_behind().is_empty()), "{:?}", server.left_behind());
}
