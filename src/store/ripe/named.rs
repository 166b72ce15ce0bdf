//! Files that got their names while the folder was watched: by links, or because somebody makes them.

use super::tests::{complete, found, seen, started};
use super::*;

fn named(ripe: &mut Ripe, now: Instant, version: u64) {
    ripe.hear(now, FolderChange::Named { path: "a".into(), seen: seen(version) });
}

fn look() -> Option<FolderTask> {
    Some(FolderTask::Look("a".into()))
}

#[test]
fn one_that_got_its_name_by_a_link_is_sent_when_nobody_writes_to_it() {
    let (mut ripe, now) = started();
    named(&mut ripe, now, 1);
    assert_eq!(ripe.poll(now), look());
    ripe.hear(now, found("a", 1, Some(false)));
    assert_eq!(ripe.send(), Some(("a".into(), seen(1))));
    // it was linked by a program that still has it open, whose closing is not told of this name
    let (mut ripe, mut now) = started();
    named(&mut ripe, now, 1);
    for version in 1..4 {
        assert_eq!(ripe.poll(now), look());
        ripe.hear(now, found("a", version, Some(true)));
        assert_eq!((ripe.poll(now), ripe.send()), (None, None));
        now += QUIET;
    }
    assert_eq!(ripe.poll(now), look());
    ripe.hear(now, found("a", 4, Some(false)));
    assert_eq!(ripe.send(), Some(("a".into(), seen(4))));
}

#[test]
fn an_empty_one_is_not_asked_for_before_its_maker_has_it_open() {
    let (mut ripe, now) = started();
    named(&mut ripe, now, 0);
    assert_eq!((ripe.poll(now), ripe.send(), ripe.deadline()), (None, None, Some(now + QUIET)));
    assert_eq!(ripe.poll(now + QUIET), look());
    ripe.hear(now + QUIET, found("a", 0, Some(false)));
    assert_eq!(ripe.send(), Some(("a".into(), seen(0))));
}

#[test]
fn half_of_one_is_not_sent_though_it_stands_still_where_a_writer_cannot_be_seen() {
    for version in [0, 1] {
        let (mut ripe, mut now) = started();
        named(&mut ripe, now, version);
        for _ in 0..3 {
            while ripe.poll(now).is_some() {
                ripe.hear(now, found("a", version, None));
            }
            assert_eq!(ripe.send(), None);
            now += QUIET;
        }
        assert_eq!(ripe.deadline(), None);
        complete(&mut ripe, now, "a", 2);
        assert_eq!(ripe.send(), Some(("a".into(), seen(2))));
    }
}

#[test]
fn one_whose_closing_was_lost_is_sent_when_it_has_stood_still() {
    for version in [0, 1] {
        let (mut ripe, now) = started();
        named(&mut ripe, now, version);
        ripe.hear(now, FolderChange::Overflow);
        let mut at = now;
        while let Some(task) = ripe.poll(at) {
            ripe.hear(at, found("a", version, None));
            if let FolderTask::Scan(folder) = task {
                ripe.hear(at, FolderChange::Scanned(folder));
            }
            at = ripe.deadline().unwrap_or(at);
        }
        assert!(at >= now + QUIET);
        assert_eq!(ripe.send(), Some(("a".into(), seen(version))));
    }
}

#[test]
fn a_new_one_in_the_place_of_one_that_is_sent_is_not_complete_for_that() {
    // that the old one went may have been lost
    [false, true].into_iter().for_each(takes_its_place);
}

fn takes_its_place(told: bool) {
    let (mut ripe, now) = started();
    complete(&mut ripe, now, "a", 1);
    ripe.send().unwrap();
    // what was said of the old one says nothing of the new one
    ripe.hear(now, FolderChange::Complete("a".into()));
    if told {
        ripe.hear(now, FolderChange::Gone("a".into()));
    }
    named(&mut ripe, now, 2);
    ripe.sent(now, "a", Sent::Changed);
    assert_eq!(ripe.poll(now), look());
    ripe.hear(now, found("a", 2, None));
    assert_eq!((ripe.poll(now), ripe.send()), (None, None));
    // nor when it has stood still: its closing tells more
    assert_eq!((ripe.poll(now + QUIET), ripe.deadline()), (None, None));
    complete(&mut ripe, now, "a", 3);
    assert_eq!(ripe.send(), Some(("a".into(), seen(3))));
}

#[test]
fn of_another_folder_nothing_counts_as_not_stored_that_it_does_not_have() {
    let (mut ripe, now) = started();
    for path in ["refused", "under way"] {
        complete(&mut ripe, now, path, 1);
        assert!(ripe.send().is_some());
    }
    ripe.sent(now, "refused", Sent::Refused);
    assert_eq!(ripe.unstored(), 1);
    ripe.hear(now, FolderChange::Elsewhere);
    assert_eq!(ripe.unstored(), 0);
    ripe.sent(now, "under way", Sent::Refused);
    assert_eq!(ripe.poll(now), Some(FolderTask::Look("under way".into())));
    ripe.hear(now, FolderChange::Gone("under way".into()));
    assert_eq!((ripe.unstored(), ripe.files.len()), (0, 0));
}

#[test]
fn what_was_said_of_a_file_is_not_said_of_the_one_that_has_its_name_in_another_folder() {
    for is_under_way in [true, false] {
        let (mut ripe, now) = started();
        if is_under_way {
            complete(&mut ripe, now, "a", 1);
            assert!(ripe.send().is_some());
        }
        ripe.hear(now, FolderChange::Complete("a".into()));
        ripe.hear(now, FolderChange::Elsewhere);
        ripe.sent(now, "a", Sent::Stored);
        while ripe.poll(now).is_some() {}
        ripe.hear(now, FolderChange::Found { path: "a".into(), seen: seen(2), writing: None });
        assert_eq!(ripe.send(), None, "half of it may be there");
        assert_eq!(ripe.poll(now + QUIET), Some(FolderTask::Look("a".into())));
        ripe.hear(now + QUIET, FolderChange::Found { path: "a".into(), seen: seen(2), writing: None });
        assert_eq!(ripe.send(), Some(("a".into(), seen(2))));
    }
}
