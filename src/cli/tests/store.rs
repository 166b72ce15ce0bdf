//! `serve`, `put` and `name`, and the words that go with them.

use super::super::*;
use super::wrong;
use crate::plan::{Family, Goal, ListenOn, PutPlan, ServePlan};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

fn task(line: &str) -> Task {
    let task = parse(line.split_whitespace().map(OsString::from));
    task.unwrap_or_else(|stop| panic!("{line}: {stop:?}"))
}

fn serve(line: &str) -> ServePlan {
    match task(line) {
        Task::Serve(plan) => *plan,
        other => panic!("{line}: {other:?}"),
    }
}

fn put(line: &str) -> PutPlan {
    match task(line) {
        Task::Put(plan) => *plan,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn a_standing_receiver_has_a_folder_or_a_command() {
    let plan = serve("serve 8834 key k peers p into /incoming");
    assert_eq!((plan.listen.on, plan.listen.port), (ListenOn::All(Family::Any), 8834));
    assert_eq!((plan.goal, plan.then), (Goal::Into(PathBuf::from("/incoming")), None));
    assert_eq!((plan.sessions, plan.keep, plan.keepfree, plan.quota), (4, 7, 0, None));
    assert!(!plan.replace && !plan.sums && plan.require.is_empty());
    let plan = serve(
        "serve ::1 1 insecure into d then true sessions 9 buffer 64M require a,b replace sums quota 2G keep 0 keepfree 1M",
    );
    assert_eq!((plan.then.as_deref(), plan.sessions, plan.keep), (Some("true"), 9, 0));
    assert_eq!((plan.quota, plan.keepfree), (Some(2 << 30), 1 << 20));
    assert_eq!(plan.require, ["a", "b"]);
    assert!(plan.replace && plan.sums && plan.common.trust.is_none());
    assert_eq!(serve("serve 1 key k exec cat").goal, Goal::Exec("cat".into()));
}

#[test]
fn what_is_wrong_with_a_standing_receiver_is_said() {
    for (line, why) in [
        ("serve 1 into d", "serve needs key"),
        ("serve 1 key k insecure into d", "key and insecure exclude each other"),
        ("serve 1 key k", "serve needs into"),
        ("serve 1 key k into d exec cat", "into and exec exclude each other"),
        ("serve 1 key k exec cat then true", "then goes with into"),
        ("serve 1 key k exec cat quota 1G", "quota goes with into"),
        ("rx 1 into d", "into goes with serve"),
        ("serve 1 key k into d rx 2", "rx and serve exclude each other"),
        ("serve 1 key k into d through cat", "serve and through exclude each other"),
        ("serve 1 key k into d threads 3", "threads goes with tx"),
        ("serve 1 key k into d size 3", "serve and size exclude each other"),
        ("serve 1 key k into d require a,,b", "require takes the names of keys"),
        ("serve 1 key k into d sessions 0", "sessions: "),
        ("serve 1 key k into d sessions 9 buffer 32M", "sessions 9 need a buffer of 36M, which is 32M"),
    ] {
        assert!(wrong(line).starts_with(why), "{line}: {}", wrong(line));
    }
}

#[test]
fn put_takes_all_files_that_follow_whatever_they_are_called() {
    let plan = put("tx a 1 tag x=1 meta m tag y=2 put a.raw rx 8834 --key put -x");
    let files = ["a.raw", "rx", "8834", "--key", "put", "-x"].map(PathBuf::from);
    assert_eq!((plan.files, plan.name, plan.meta), (files.to_vec(), None, Some("m".into())));
    assert_eq!(plan.tags, ["x=1", "y=2"]);
    let odd = || OsString::from_vec(b"\xff\xfe".to_vec());
    let args = || "tx a 1 --put=x y".split_whitespace().map(OsString::from).chain([odd(), "z".into()]);
    let Ok(Task::Put(plan)) = parse(args()) else { panic!("{:?}", parse(args())) };
    assert_eq!(plan.files, ["x".into(), "y".into(), PathBuf::from(odd()), "z".into()]);
    let plan = put("tx a 1 tx b 2 name key rate 1M threads 2");
    assert_eq!((plan.name.as_deref(), plan.files.len(), plan.transmit.links.len()), (Some("key"), 0, 2));
    assert_eq!(put("tx a 1 name n put f").files, [PathBuf::from("f")]);
}

#[test]
fn what_is_wrong_with_who_sends_is_said() {
    for (line, why) in [
        ("put f", "put goes with tx"),
        ("tx a 1 put", "put wants FILE..."),
        ("tx a 1 tag x=1", "tag goes with put, name or watch"),
        ("tx a 1 meta m", "meta goes with put, name or watch"),
        ("tx a 1 name n put f g", "name goes with one file"),
        ("tx a 1 leglimit 3 put f", "put and leglimit exclude each other"),
        ("tx a 1 duplex put f", "duplex and put exclude each other"),
        ("tx a 1 prbs 3 name n", "name and prbs exclude each other"),
    ] {
        assert!(wrong(line).starts_with(why), "{line}: {}", wrong(line));
    }
}

#[test]
fn a_watch_has_a_folder_and_what_goes_with_it() {
    let Task::Watch(plan) = task("tx a 1 watch d archive e ignore *.log tag x=1 ignore b/**") else {
        panic!()
    };
    assert_eq!((plan.folder, plan.archive), (PathBuf::from("d"), Some(PathBuf::from("e"))));
    assert_eq!(
        (&plan.ignored[..], &plan.put.tags[..]),
        (&["*.log", "b/**"].map(String::from)[..], &["x=1".into()][..])
    );
    for (line, why) in [
        ("watch d", "watch goes with tx"),
        ("tx a 1 archive e", "archive goes with watch"),
        ("tx a 1 ignore e put f", "ignore goes with watch"),
        ("tx a 1 watch d put f", "watch and put exclude each other"),
        ("tx a 1 watch d name f", "name and watch exclude each other"),
    ] {
        assert!(wrong(line).starts_with(why), "{line}: {}", wrong(line));
    }
}
