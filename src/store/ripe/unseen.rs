//! Files that cannot be looked at, as where there are no descriptors left.

use super::tests::{complete, found, seen, started};
use super::*;

/// Nothing of a file is to be done until it is looked at again, which it is; when that is.
fn until_it_is_looked_at_again(ripe: &mut Ripe, now: Instant) -> Instant {
    ripe.hear(now, FolderChange::Unseen("a".into()));
    assert_eq!((ripe.poll(now), ripe.send(), ripe.deadline()), (None, None, Some(now + QUIET)));
    assert_eq!(ripe.poll(now + QUIET), Some(FolderTask::Look("a".into())));
    now + QUIET
}

#[test]
fn a_complete_one_is_sent_when_it_can_be_looked_at() {
    let (mut ripe, mut now) = started();
    ripe.hear(now, FolderChange::Complete("a".into()));
    assert_eq!(ripe.poll(now), Some(FolderTask::Look("a".into())));
    for _ in 0..3 {
        now = until_it_is_looked_at_again(&mut ripe, now);
    }
    ripe.hear(now, found("a", 1, None));
    assert_eq!(ripe.send(), Some(("a".into(), seen(1))));
}

#[test]
fn one_that_a_scan_cannot_look_at_is_looked_at_and_not_taken_for_complete() {
    let (mut ripe, now) = started();
    let now = until_it_is_looked_at_again(&mut ripe, now);
    ripe.hear(now, found("a", 1, None));
    assert_eq!(ripe.send(), None);
    assert_eq!(ripe.poll(now + QUIET), Some(FolderTask::Look("a".into())));
    ripe.hear(now + QUIET, found("a", 1, None));
    assert_eq!(ripe.send(), Some(("a".into(), seen(1))));
}

#[test]
fn one_that_was_stored_is_not_sent_again_for_that_and_archived_when_it_can_be() {
    let (mut ripe, now) = (Ripe::new(vec![], true), Instant::now());
    ripe.poll(now);
    complete(&mut ripe, now, "a", 1);
    ripe.send().unwrap();
    ripe.sent(now, "a", Sent::Stored);
    let archive = Some(FolderTask::Archive("a".into(), seen(1)));
    assert_eq!(ripe.poll(now), archive);
    let now = until_it_is_looked_at_again(&mut ripe, now);
    ripe.hear(now, found("a", 1, Some(false)));
    assert_eq!((ripe.send(), ripe.poll(now)), (None, archive));
}

#[test]
fn a_rescan_that_cannot_look_at_one_does_not_forget_it() {
    let (mut ripe, now) = started();
    complete(&mut ripe, now, "a", 1);
    ripe.send().unwrap();
    ripe.sent(now, "a", Sent::Stored);
    ripe.hear(now, FolderChange::Overflow);
    assert_eq!(ripe.poll(now), Some(FolderTask::Scan("".into())));
    ripe.hear(now, FolderChange::Unseen("a".into()));
    ripe.hear(now, FolderChange::Scanned("".into()));
    assert_eq!(ripe.poll(now + QUIET), Some(FolderTask::Look("a".into())));
    ripe.hear(now + QUIET, found("a", 1, Some(false)));
    assert_eq!((ripe.send(), ripe.poll(now + QUIET)), (None, None));
}
