use super::*;
use crate::store::name::BadName;
use crate::sys::file_id::FileId;
use proptest::prelude::*;

pub(super) fn seen(version: u64) -> Seen {
    Seen {
        id: FileId { device: 1, inode: 2 },
        size: version,
        modified: version as i64,
        changed: version as i64,
    }
}

pub(super) fn found(path: &str, version: u64, writing: Option<bool>) -> FolderChange {
    FolderChange::Found { path: path.into(), seen: seen(version), writing }
}

pub(super) fn started() -> (Ripe, Instant) {
    let (mut ripe, now) = (Ripe::new(vec![], false), Instant::now());
    assert_eq!(ripe.poll(now), Some(FolderTask::Scan("".into())));
    (ripe, now)
}

pub(super) fn complete(ripe: &mut Ripe, now: Instant, path: &str, version: u64) {
    ripe.hear(now, FolderChange::Complete(path.into()));
    assert_eq!(ripe.poll(now), Some(FolderTask::Look(path.into())));
    ripe.hear(now, found(path, version, None));
}

#[test]
fn what_was_closed_is_sent_once_and_again_when_it_has_changed() {
    let (mut ripe, now) = started();
    complete(&mut ripe, now, "a", 1);
    assert_eq!(ripe.send(), Some(("a".into(), seen(1))));
    assert_eq!(ripe.send(), None);
    assert!(!ripe.sent(now, "a", Sent::Stored));
    // opened for writing and closed, or found by a scan: it is the same
    complete(&mut ripe, now, "a", 1);
    assert_eq!(ripe.send(), None);
    ripe.hear(now, found("a", 1, Some(false)));
    assert_eq!(ripe.send(), None);
    complete(&mut ripe, now, "a", 2);
    assert_eq!(ripe.send(), Some(("a".into(), seen(2))));
}

#[test]
fn a_file_counts_as_not_stored_once_and_until_it_is_stored_or_gone() {
    let (mut ripe, mut now) = started();
    let paths = ["failed", "refused", "changed"];
    paths.iter().for_each(|path| complete(&mut ripe, now, path, 1));
    let again = |ripe: &mut Ripe, now: &mut Instant| {
        *now += AGAIN.1;
        assert_eq!(ripe.poll(*now), None);
        std::iter::from_fn(|| ripe.send()).count()
    };
    assert_eq!(again(&mut ripe, &mut now), 3);
    for _ in 0..3 {
        ripe.sent(now, "failed", Sent::Failed);
        ripe.sent(now, "refused", Sent::Refused);
        assert_eq!(ripe.unstored(), 2);
        assert_eq!(again(&mut ripe, &mut now), 1);
        assert_eq!(ripe.unstored(), 1, "the other one is under way");
    }
    ripe.sent(now, "changed", Sent::Changed);
    ripe.sent(now, "failed", Sent::Unknown);
    assert_eq!(ripe.unstored(), 1);
    assert_eq!(ripe.send().map(|(path, _)| path).as_deref(), Some("failed"));
    ripe.sent(now, "failed", Sent::Stored);
    assert_eq!(ripe.unstored(), 1);
    ripe.hear(now, FolderChange::Gone("refused".into()));
    assert_eq!(ripe.unstored(), 0);
}

#[test]
fn hidden_and_unfinished_names_are_passed_over_and_those_that_the_user_says() {
    let ignored = ["*.log", "old/*"].map(|glob| glob::Pattern::new(glob).unwrap());
    let ripe = Ripe::new(ignored.into(), false);
    for path in
        [".a", "x/.a", ".git/x", "a.part", "b/a.filepart", "a.partial", "a.tmp", "a.crdownload", "a.log"]
    {
        assert!(ripe.is_ignored(path), "{path}");
    }
    for path in ["x/y.log", "old/x"] {
        assert!(ripe.is_ignored(path), "{path}");
    }
    for path in ["a", "x/a.raw", "part", "a.part.raw", "older/x", "log"] {
        assert!(!ripe.is_ignored(path), "{path}");
    }
    let (mut ripe, now) = started();
    for event in [
        FolderChange::Complete("a.part".into()),
        found(".a", 1, Some(false)),
        FolderChange::Folder(".git".into()),
    ] {
        ripe.hear(now, event);
        assert_eq!((ripe.poll(now), ripe.send()), (None, None));
    }
}

#[test]
fn one_that_was_there_before_is_sent_when_nobody_writes_to_it() {
    let (mut ripe, now) = started();
    ripe.hear(now, found("closed", 1, Some(false)));
    ripe.hear(now, found("open", 1, Some(true)));
    ripe.hear(now, found("unknown", 1, None));
    assert_eq!(ripe.send(), Some(("closed".into(), seen(1))));
    assert_eq!(ripe.send(), None);
    assert_eq!(ripe.deadline(), Some(now + QUIET));
    let later = now + QUIET;
    let tasks: Vec<FolderTask> = std::iter::from_fn(|| ripe.poll(later)).collect();
    assert_eq!(tasks, [FolderTask::Look("open".into()), FolderTask::Look("unknown".into())]);
    ripe.hear(later, found("open", 1, Some(true)));
    ripe.hear(later, found("unknown", 1, None));
    assert_eq!(ripe.send(), Some(("unknown".into(), seen(1))));
    assert_eq!(ripe.send(), None);
    // as one that grows meanwhile
    ripe.hear(later, found("slow", 1, None));
    ripe.hear(later + QUIET, found("slow", 2, None));
    assert_eq!(ripe.send(), None);
    ripe.hear(later + 2 * QUIET, found("slow", 2, None));
    assert_eq!(ripe.send(), Some(("slow".into(), seen(2))));
}

/// A watch with an archive, and a file of it that is under way.
fn archiving() -> (Ripe, Instant) {
    let (mut ripe, now) = (Ripe::new(vec![], true), Instant::now());
    ripe.poll(now);
    complete(&mut ripe, now, "a", 1);
    ripe.send().unwrap();
    (ripe, now)
}

#[test]
fn one_that_was_opened_and_closed_unchanged_while_it_was_sent_is_archived() {
    for writing in [None, Some(false)] {
        let (mut ripe, now) = archiving();
        ripe.hear(now, FolderChange::Complete("a".into()));
        ripe.sent(now, "a", Sent::Stored);
        assert_eq!(ripe.poll(now), Some(FolderTask::Look("a".into())));
        ripe.hear(now, found("a", 1, writing));
        assert_eq!(ripe.poll(now), Some(FolderTask::Archive("a".into(), seen(1))));
        assert_eq!((ripe.send(), ripe.poll(now)), (None, None));
    }
}

#[test]
fn one_that_was_open_when_the_verdict_came_is_archived_when_it_is_closed_unchanged() {
    // its closing is told, or a scan finds it closed as after an overflow
    for is_told in [true, false] {
        let (mut ripe, now) = archiving();
        ripe.sent(now, "a", Sent::Stored);
        assert_eq!(ripe.poll(now), Some(FolderTask::Archive("a".into(), seen(1))));
        // that is not done
        ripe.hear(now, found("a", 1, Some(true)));
        assert_eq!(ripe.poll(now), None);
        if is_told {
            ripe.hear(now, FolderChange::Complete("a".into()));
            assert_eq!(ripe.poll(now), Some(FolderTask::Look("a".into())));
        }
        ripe.hear(now, found("a", 1, Some(false)));
        assert_eq!(ripe.poll(now), Some(FolderTask::Archive("a".into(), seen(1))));
        assert_eq!((ripe.send(), ripe.poll(now)), (None, None));
    }
}

#[test]
fn one_that_was_refused_or_cannot_be_moved_is_not_archived_by_a_look() {
    for verdict in [Sent::Refused, Sent::Stored] {
        let (mut ripe, now) = archiving();
        ripe.sent(now, "a", verdict);
        if verdict == Sent::Stored {
            assert_eq!(ripe.poll(now), Some(FolderTask::Archive("a".into(), seen(1))));
            ripe.hear(now, FolderChange::Kept("a".into()));
        }
        complete(&mut ripe, now, "a", 1);
        ripe.hear(now, found("a", 1, Some(false)));
        assert_eq!((ripe.send(), ripe.poll(now)), (None, None));
    }
}

#[test]
fn one_that_changes_while_it_is_sent_is_sent_again_and_not_archived() {
    let (mut ripe, now) = (Ripe::new(vec![], true), Instant::now());
    ripe.poll(now);
    complete(&mut ripe, now, "a", 1);
    ripe.send().unwrap();
    ripe.hear(now, FolderChange::Complete("a".into()));
    assert_eq!(ripe.poll(now), None);
    ripe.sent(now, "a", Sent::Stored);
    assert_eq!(ripe.poll(now), Some(FolderTask::Look("a".into())));
    ripe.hear(now, found("a", 2, None));
    assert_eq!(ripe.send(), Some(("a".into(), seen(2))));
    ripe.sent(now, "a", Sent::Changed);
    assert_eq!(ripe.poll(now), Some(FolderTask::Look("a".into())));
    ripe.hear(now, found("a", 3, Some(false)));
    ripe.send().unwrap();
    ripe.sent(now, "a", Sent::Stored);
    assert_eq!(ripe.poll(now), Some(FolderTask::Archive("a".into(), seen(3))));
    ripe.hear(now, FolderChange::Gone("a".into()));
    assert_eq!(ripe.files.len(), 0);
}

#[test]
fn one_that_fails_is_tried_again_for_ever_and_told_of_once() {
    let (mut ripe, mut now) = started();
    complete(&mut ripe, now, "a", 1);
    let mut pauses = vec![];
    for round in 0..40 {
        assert_eq!(ripe.send(), Some(("a".into(), seen(1))), "{round}");
        assert_eq!(ripe.sent(now, "a", Sent::Failed), round == 0);
        let at = ripe.deadline().unwrap();
        pauses.push((at - now).as_secs());
        assert_eq!((ripe.poll(now), ripe.send()), (None, None));
        now = at;
        assert_eq!(ripe.poll(now), None);
    }
    assert_eq!(pauses[..10], [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
    assert_eq!(pauses[39], 300);
}

#[test]
fn a_name_that_cannot_be_sent_is_told_once() {
    let (mut ripe, now) = started();
    for _ in 0..2 {
        ripe.hear(now, found("a/-b", 1, Some(false)));
    }
    assert_eq!(ripe.poll(now), Some(FolderTask::Unnameable("a/-b".into(), BadName::Dash)));
    assert_eq!((ripe.poll(now), ripe.send()), (None, None));
}

#[test]
fn an_overflow_scans_all_once_and_what_has_gone_is_forgotten() {
    let (mut ripe, now) = started();
    for path in ["a", "b"] {
        ripe.hear(now, found(path, 1, Some(false)));
        ripe.send();
        ripe.sent(now, path, Sent::Stored);
    }
    ripe.hear(now, FolderChange::Overflow);
    ripe.hear(now, FolderChange::Overflow);
    assert_eq!(ripe.poll(now), Some(FolderTask::Scan("".into())));
    assert_eq!(ripe.poll(now), None);
    ripe.hear(now, found("a", 1, Some(false)));
    ripe.hear(now, found("c", 1, Some(false)));
    ripe.hear(now, FolderChange::Scanned("".into()));
    assert_eq!(ripe.send(), Some(("c".into(), seen(1))));
    assert_eq!(ripe.send(), None);
    assert_eq!(ripe.files.keys().collect::<Vec<_>>(), ["a", "c"]);
}

/// A folder with writers, and events that may be lost.
#[derive(Clone, Debug)]
enum Act {
    /// A writer opens, and writes.
    Write(usize),
    /// It closes.
    Close(usize),
    /// A file that is whole gets this name.
    Link(usize),
    /// Nothing can be looked at from now on, or all again.
    Blind(bool),
    Remove(usize),
    /// The queue is full: what has not been heard is lost.
    Overflow,
    /// The watch does some of its work.
    Work,
    /// What is on its way arrives, or does not.
    Arrive(bool),
    Pass(u64),
}

#[derive(Default)]
struct Folder {
    /// By file: its version, and whether it is open; where it is.
    files: BTreeMap<String, (u64, bool)>,
    versions: u64,
    events: VecDeque<FolderChange>,
    sending: VecDeque<(String, Seen)>,
    receiver: BTreeMap<String, u64>,
    blind: bool,
}

impl Folder {
    /// It is told that a file has got this name.
    fn name(&mut self, path: &str) {
        self.events.push_back(FolderChange::Named { path: path.into(), seen: seen(self.versions) });
    }

    /// Everything is closed, told and sent, as long as that takes.
    fn settle(&mut self, ripe: &mut Ripe, mut now: Instant, told: bool) {
        self.blind = false;
        for (name, (_, open)) in &mut self.files {
            if std::mem::take(open) {
                self.events.push_back(FolderChange::Complete(name.clone()));
            }
        }
        for round in 0.. {
            self.work(ripe, now, told);
            while !self.sending.is_empty() {
                self.arrive(ripe, now, true);
            }
            match ripe.deadline() {
                Some(at) => now = now.max(at),
                None if ripe.tasks.is_empty() && ripe.ready.is_empty() => break,
                None => {}
            }
            assert!(round < 100, "never quiet: {ripe:?}");
        }
    }

    fn work(&mut self, ripe: &mut Ripe, now: Instant, told: bool) {
        while let Some(event) = self.events.pop_front() {
            ripe.hear(now, event);
        }
        let see =
            |(path, (version, open)): (&String, &(u64, bool))| found(path, *version, told.then_some(*open));
        while let Some(order) = ripe.poll(now) {
            match order {
                FolderTask::Look(path) if self.blind => ripe.hear(now, FolderChange::Unseen(path)),
                FolderTask::Look(path) => match self.files.get_key_value(&path) {
                    Some(file) => ripe.hear(now, see(file)),
                    None => ripe.hear(now, FolderChange::Gone(path)),
                },
                FolderTask::Scan(folder) => {
                    let unseen = |path: &String| FolderChange::Unseen(path.clone());
                    let told = self.files.iter();
                    let told = told.map(|file| if self.blind { unseen(file.0) } else { see(file) });
                    told.for_each(|change| ripe.hear(now, change));
                    ripe.hear(now, FolderChange::Scanned(folder));
                }
                FolderTask::Archive(..) | FolderTask::Unnameable(..) => unreachable!(),
            }
        }
        while let Some((path, seen)) = ripe.send() {
            if told && let Some((version, open)) = self.files.get(&path) {
                assert!(!open || *version != seen.size, "{path} is sent while somebody writes to it");
            }
            self.sending.push_back((path, seen));
        }
    }

    fn arrive(&mut self, ripe: &mut Ripe, now: Instant, works: bool) {
        let Some((path, seen)) = self.sending.pop_front() else { return };
        let is_same = self.files.get(&path).is_some_and(|(version, _)| *version == seen.size);
        let outcome = match (works, is_same) {
            (true, true) => {
                self.receiver.insert(path.clone(), seen.size);
                Sent::Stored
            }
            (true, false) => Sent::Changed,
            (false, _) => Sent::Failed,
        };
        ripe.sent(now, &path, outcome);
    }
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0usize..4).prop_map(Act::Write),
        4 => (0usize..4).prop_map(Act::Close),
        1 => (0usize..4).prop_map(Act::Remove),
        1 => (0usize..4).prop_map(Act::Link),
        1 => any::<bool>().prop_map(Act::Blind),
        1 => Just(Act::Overflow),
        3 => Just(Act::Work),
        3 => any::<bool>().prop_map(Act::Arrive),
        2 => (0u64..15).prop_map(Act::Pass),
    ]
}

proptest! {
    /// Whatever is written, removed, lost of events and lost on the way: in the end the receiver has the last version of
    /// every file, and nothing is left to do.
    #[test]
    fn in_the_end_all_that_is_closed_is_there(acts in proptest::collection::vec(act(), 0..60), told in any::<bool>()) {
        let names = ["a", "b", "c/d", "e.part"];
        let (mut ripe, mut now, mut folder) = (Ripe::new(vec![], false), Instant::now(), Folder::default());
        for act in acts {
            match act {
                Act::Write(file) => {
                    folder.versions += 1;
                    if folder.files.insert(names[file].into(), (folder.versions, true)).is_none() {
                        folder.name(names[file]);
                    }
                }
                // where a writer cannot be seen, such a file waits for the next start
                Act::Link(file) => if told && !folder.files.contains_key(names[file]) {
                    folder.versions += 1;
                    folder.files.insert(names[file].into(), (folder.versions, false));
                    folder.name(names[file]);
                },
                Act::Blind(blind) => folder.blind = blind,
                Act::Close(file) => if let Some((_, open)) = folder.files.get_mut(names[file]) && *open {
                    *open = false;
                    folder.events.push_back(FolderChange::Complete(names[file].into()));
                },
                Act::Remove(file) => if folder.files.remove(names[file]).is_some() {
                    folder.events.push_back(FolderChange::Gone(names[file].into()));
                },
                Act::Overflow => folder.events = VecDeque::from([FolderChange::Overflow]),
                Act::Work => folder.work(&mut ripe, now, told),
                Act::Arrive(works) => folder.arrive(&mut ripe, now, works),
                Act::Pass(seconds) => now += Duration::from_secs(seconds),
            }
        }
        folder.settle(&mut ripe, now, told);
        for (name, (version, _)) in folder.files {
            let expected = Some(&version).filter(|_| name != "e.part");
            prop_assert_eq!(folder.receiver.get(&name), expected, "{}: {:?}", name, ripe);
        }
    }
}

#[test]
fn one_that_is_refused_is_told_of_and_sent_again_when_it_has_changed() {
    let (mut ripe, now) = started();
    complete(&mut ripe, now, "a", 1);
    ripe.send().unwrap();
    assert!(ripe.sent(now, "a", Sent::Refused));
    assert_eq!((ripe.deadline(), ripe.poll(now), ripe.send()), (None, None, None));
    complete(&mut ripe, now, "a", 1);
    assert_eq!(ripe.send(), None);
    complete(&mut ripe, now, "a", 2);
    assert_eq!(ripe.send(), Some(("a".into(), seen(2))));
    // nobody says what became of it: it is sent again at once, and nothing is told
    assert!(!ripe.sent(now, "a", Sent::Unknown));
    assert_eq!(ripe.send(), Some(("a".into(), seen(2))));
}

#[test]
fn one_that_goes_while_it_is_sent_and_another_in_its_place_are_kept_apart() {
    let (mut ripe, now) = started();
    complete(&mut ripe, now, "a", 1);
    ripe.send().unwrap();
    ripe.hear(now, FolderChange::Gone("a".into()));
    ripe.hear(now, FolderChange::Complete("a".into()));
    assert_eq!((ripe.poll(now), ripe.send()), (None, None));
    ripe.sent(now, "a", Sent::Stored);
    assert_eq!(ripe.poll(now), Some(FolderTask::Look("a".into())));
    ripe.hear(now, found("a", 2, None));
    assert_eq!(ripe.send(), Some(("a".into(), seen(2))));
    ripe.hear(now, FolderChange::Gone("a".into()));
    ripe.sent(now, "a", Sent::Unknown);
    assert_eq!(ripe.poll(now), Some(FolderTask::Look("a".into())));
    ripe.hear(now, FolderChange::Gone("a".into()));
    assert_eq!(ripe.files.len(), 0);
}

#[test]
fn what_happens_to_one_file_costs_no_look_at_all_others() {
    // it would take half an hour otherwise
    let (mut ripe, now) = started();
    let path = |n: u32| format!("d{}/f{n}", n % 100);
    for n in 0..100_000 {
        ripe.hear(now, found(&path(n), 1, Some(false)));
    }
    while let Some((path, _)) = ripe.send() {
        ripe.sent(now, &path, Sent::Stored);
        assert_eq!((ripe.poll(now), ripe.deadline()), (None, None));
    }
    for n in 0..50_000 {
        ripe.hear(now, FolderChange::Gone(path(n)));
    }
    assert_eq!(ripe.files.len(), 50_000);
    ripe.hear(now, FolderChange::Gone("d7".into()));
    assert_eq!(ripe.files.len(), 49_500);
    assert!(!ripe.files.contains_key("d7/f50007") && ripe.files.contains_key("d70/f50070"));
}

#[test]
fn time_brings_about_what_it_is_due_to_whatever_was_due_before() {
    let (mut ripe, now) = started();
    ripe.hear(now, found("gone", 1, None));
    let later = now + QUIET / 2;
    ripe.hear(later, found("stays", 1, None));
    ripe.hear(later, FolderChange::Gone("gone".into()));
    // at the latest then; somebody who looks too early finds nothing to do, and looks again when it is time
    let mut at = ripe.deadline().unwrap();
    assert!(at <= later + QUIET);
    while ripe.poll(at).is_none() {
        let next = ripe.deadline().unwrap();
        assert!(next > at);
        at = next;
    }
    assert_eq!(at, later + QUIET);
}
