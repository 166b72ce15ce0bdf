//! `ssh` and `far`: what they take, and the words that go with them.

use super::super::*;
use super::{address, name, wrong};
use crate::plan::{Compress, Family, FarPlan, Patience, Ports, SshPlan};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

/// What a line without quoted words asks for.
fn task(line: &str) -> Task {
    let task = parse(line.split_whitespace().map(OsString::from));
    task.unwrap_or_else(|stop| panic!("{line}: {stop:?}"))
}

/// The plan of a line that runs a command at another host.
fn ssh(line: &str) -> SshPlan {
    match task(line) {
        Task::Ssh(plan) => *plan,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn ssh_takes_all_that_follows_as_it_is() {
    for line in ["backup true", "-p 22 backup rx 8834 threads 99", "help", "--version", "", "ssh ssh"] {
        let words: Vec<_> = line.split_whitespace().map(OsString::from).collect();
        assert_eq!(ssh(&format!("ssh {line}")).line, words, "{line}");
    }
    let bytes = OsString::from_vec(vec![0xff]);
    let Ok(Task::Ssh(plan)) = parse([OsString::from("ssh"), "backup".into(), bytes.clone()]) else {
        panic!()
    };
    assert_eq!(plan.line, ["backup".into(), bytes.clone()]);
    assert!(matches!(parse([bytes, "ssh".into(), "backup".into()]), Err(Stop::Usage(_))));
}

#[test]
fn words_before_ssh_are_for_its_connections() {
    let plan = ssh("threads 4 rate 10M congestion bbr buffer 64M patience 90 verbose 2 ports 5000-5099 \
                    program ~/bin/millipede over 192.0.2.7 over backup.lan ssh backup true");
    assert_eq!((plan.threads, plan.buffer, plan.verbose), (4, Some(64 << 20), 2));
    assert_eq!((plan.stream.rate, plan.stream.congestion), (Some(10 << 20), Some("bbr".into())));
    assert_eq!(plan.patience, Some(Patience::For(Duration::from_secs(90))));
    assert_eq!(plan.ports, Some(Ports { first: 5000, last: 5099 }));
    assert_eq!(
        (plan.program, plan.over),
        (Some("~/bin/millipede".into()), vec![address("192.0.2.7"), name("backup.lan")])
    );
    let plan = ssh("ipv6 compress 3 ssh backup true");
    assert_eq!((plan.family, plan.stream.compress), (Family::V6, Some(Compress::Level(3))));
    let plan = ssh("ipv4 ports 5000 ssh backup true");
    assert_eq!(plan.buffer, None, "each end heeds its own host");
    assert_eq!((plan.family, plan.ports), (Family::V4, Some(Ports { first: 5000, last: 5000 })));
    assert_eq!((plan.threads, plan.program, plan.over, plan.ports.is_some()), (16, None, vec![], true));
}

#[test]
fn words_that_do_not_go_with_ssh_and_those_that_need_it_are_named() {
    for line in
        ["tx a 1 ssh b true", "duplex ssh b true", "checkphrase abcd ssh b true", "exec cat ssh b true"]
    {
        let word = line.split(' ').next().unwrap();
        assert!(wrong(line).starts_with(&format!("{word} does not go with ssh")), "{}", wrong(line));
    }
    for word in ["over b", "ports 5-6", "program millipede"] {
        let name = word.split(' ').next().unwrap();
        assert_eq!(wrong(&format!("tx a 1 {word}")), format!("{name} goes with ssh, and there is none"));
    }
    for (line, sentence) in [
        ("ports 6-5 ssh b true", "ports: \"6-5\" is no range of ports, such as 5000-5099"),
        ("ports 0-5 ssh b true", "ports: \"0-5\" is no range of ports, such as 5000-5099"),
        ("program -x ssh b true", "program: \"-x\" looks like an option"),
    ] {
        assert_eq!(wrong(line), sentence);
    }
    assert!(wrong(&format!("{} ssh b true", "over b ".repeat(16))).starts_with("over is given 16 times"));
}

#[test]
fn far_is_for_the_near_end_alone() {
    assert_eq!(task("far"), Task::Far(FarPlan { ports: None }));
    assert_eq!(task("far ports 5-6"), Task::Far(FarPlan { ports: Some(Ports { first: 5, last: 6 }) }));
    assert!(wrong("far away").starts_with("far is said by"));
    assert!(WORDS.iter().all(|word| word.name != "far"));
}
