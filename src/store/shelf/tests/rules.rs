//! Names, keys and what else holds for whoever sends, in a folder of the kernel's.

use super::super::{No, OpenAnswer, Rules, Shelf};
use super::client::{CHUNK, Put, bytes, now, peer, rules};
use super::frail::Frail;
use crate::store::beneath::Beneath;
use crate::store::claims::Held;
use crate::store::name::{BadName, Name};
use crate::store::place;
use crate::store::record::STORED_BUT;
use crate::store::sum::Sum;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

pub(super) struct Room {
    pub(super) dir: TempDir,
    pub(super) shelf: Arc<Shelf<Beneath>>,
}

impl Room {
    pub(super) fn new(rules: Rules) -> Self {
        let dir = TempDir::new().unwrap();
        let shelf = Shelf::new(Beneath::open(dir.path()).unwrap(), rules).unwrap();
        Room { dir, shelf }
    }

    pub(super) fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn put(&self, key: &str, name: &str, bytes: &[u8]) -> Result<usize, No> {
        Put::new(key, name, bytes).run(&self.shelf).map(|(sent, _)| sent)
    }

    pub(super) fn open(&self, put: &Put<'_>) -> Result<OpenAnswer<Beneath>, No> {
        self.shelf.open(now(), &peer(put.key), put.wanted())
    }
}

pub(super) fn refused(result: Result<usize, No>, word: &str) {
    match result {
        Err(No::Refused(why)) => assert!(why.contains(word), "{why}"),
        other => panic!("{other:?} instead of {word}"),
    }
}

#[test]
fn a_file_stands_under_its_name_with_what_is_known_of_it_and_nothing_else() {
    let room = Room::new(Rules { sums: true, ..rules() });
    let sent = bytes(1, 1000);
    assert_eq!(room.put("a", "run 7/größe.raw", &sent), Ok(1000));
    assert_eq!(fs::read(room.path("run 7/größe.raw")).unwrap(), sent);
    let line = fs::read_to_string(room.path("run 7/größe.raw.sha256")).unwrap();
    assert_eq!(line, format!("{}  größe.raw\n", Sum::of(&sent)));
    let json = fs::read_to_string(room.path(".millipede/meta/run 7/größe.raw.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["peer"], &json["size"]), (&"host of a".into(), &1000.into()));
    assert_eq!(json["meta"]["sum"], Sum::of(&sent).to_string());
    assert_eq!(room.put("a", "run 7/größe.raw", &sent), Ok(0));
    for left in ["partial", "tmp"] {
        let folder = room.path(".millipede").join(left);
        assert_eq!(files_below(&folder), 0, "{left}");
    }
}

pub(super) fn files_below(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { files_below(&path) } else { 1 }).sum()
}

#[test]
fn what_nobody_can_go_on_with_is_not_left_behind_by_a_full_disk() {
    let disk = Frail::new(false);
    let shelf = Shelf::new(disk.clone(), Rules { partials: 2, ..rules() }).unwrap();
    let partials = || disk.files().keys().filter(|path| path.starts_with(place::PARTIAL)).count();
    let (sent, whole) = (bytes(1, 40), |name: &str| {
        match shelf.open(now(), &peer("a"), Put::new("a", name, &bytes(1, 40)).wanted())? {
            OpenAnswer::Go(arrival) => arrival.whole(now(), &bytes(1, 40), Sum::of(&bytes(1, 40))).map(drop),
            OpenAnswer::There(_) => panic!("{name} is there"),
        }
    });
    // the first write is the file's, the second one that of what is known of it
    for (number, writes) in [0, 1, 0, 1].into_iter().enumerate() {
        disk.fill(Some(writes));
        let full = Err(No::Disk("no space left on the disk".into()));
        assert_eq!(whole(&format!("at once {number}")), full);
        let put = Put::new("a", &format!("begun {number}"), &sent).run(&shelf).map(|(sent, _)| sent);
        assert!(matches!(put, Err(No::Disk(_))), "{put:?}");
        assert_eq!(partials(), 0);
    }
    // offered, and then its sender was gone
    drop(shelf.open(now(), &peer("a"), Put::new("a", "offered", &sent).wanted()));
    assert_eq!(partials(), 0);
    disk.fill(None);
    assert_eq!(whole("at once 3"), Ok(()));
    // what has come of others stays
    disk.fill(Some(1));
    let put = Put::new("a", "begun", &sent).run(&shelf).map(|(sent, _)| sent);
    assert!(matches!(put, Err(No::Disk(_))), "{put:?}");
    assert_eq!(partials(), 1);
    disk.fill(None);
    assert_eq!(Put::new("a", "begun", &sent).run(&shelf).map(|(sent, _)| sent), Ok(sent.len() - CHUNK));
    assert_eq!(partials(), 0);
}

#[test]
fn another_key_learns_that_a_name_is_taken_and_nothing_else() {
    let room = Room::new(Rules { replace: true, ..rules() });
    let sent = bytes(1, 300);
    room.put("a", "x", &sent).unwrap();
    // the very same, another one, of another size, of none, below it
    for (name, bytes) in [("x", &sent[..]), ("x", &bytes(2, 300)), ("x", &sent[..9]), ("x/y", &sent)] {
        assert_eq!(room.put("b", name, bytes), Err(No::Taken));
    }
    let unsized_ = Put { sized: false, ..Put::new("b", "x", &sent) };
    assert!(matches!(unsized_.run(&room.shelf), Err(No::Taken)));
    room.put("a", "y/z", &sent).unwrap();
    assert_eq!(room.put("b", "y", &sent), Err(No::Taken));
    assert_eq!(room.put("a", "y", &sent), Err(No::Taken));
    assert_eq!(fs::read(room.path("x")).unwrap(), sent);
    // a file that nobody sent is nobody's
    fs::write(room.path("own"), &sent).unwrap();
    assert_eq!(room.put("a", "own", &sent), Err(No::Taken));
    assert_eq!(files_below(&room.path(".millipede/partial")), 0);
}

#[test]
fn partials_are_each_keys_own_and_do_not_keep_others_from_the_name() {
    let room = Room::new(rules());
    let sent = bytes(1, 300);
    let stops = |key| Put { stops: Some(200), ..Put::new(key, "x", &sent) };
    assert_eq!(stops("a").run(&room.shelf).unwrap().0, 200);
    // it neither learns of the other's, nor goes on with it
    let Ok(OpenAnswer::Go(mut arrival)) = room.open(&Put::new("b", "x", &sent)) else { panic!() };
    assert_eq!(arrival.marks(), []);
    drop(arrival);
    assert_eq!(room.put("b", "x", &sent), Ok(300));
    assert_eq!(room.put("a", "x", &sent), Err(No::Taken));
}

#[test]
fn of_two_at_once_one_wins_and_the_other_is_told() {
    let room = Room::new(rules());
    let sent = bytes(1, 300);
    let Ok(OpenAnswer::Go(first)) = room.open(&Put::new("a", "x", &sent)) else { panic!() };
    let held = |own| No::Held(Held { by: 0, own });
    assert_eq!(room.put("a", "x", &sent), Err(held(true)));
    assert_eq!(room.put("b", "x", &sent), Err(held(false)));
    // of another key it learns no more than of a finished file
    assert_eq!(held(false).to_string(), No::Taken.to_string());
    drop(first);
    assert_eq!(room.put("b", "x", &sent), Ok(300));
}

#[test]
fn nothing_finished_is_replaced_unless_that_is_wanted() {
    let (old, new) = (bytes(1, 300), bytes(2, 300));
    let room = Room::new(rules());
    room.put("a", "x", &old).unwrap();
    refused(room.put("a", "x", &new), "not replaced");
    refused(room.put("a", "x", &new[..9]), "not replaced");
    // of an unknown size it is known at its end
    let unsized_ = |bytes| Put { sized: false, ..Put::new("a", "x", bytes) };
    assert!(matches!(unsized_(&new).run(&room.shelf), Err(No::Refused(_))));
    assert!(unsized_(&old).run(&room.shelf).unwrap().1.unwrap().already);
    assert_eq!(fs::read(room.path("x")).unwrap(), old);
    assert_eq!(files_below(&room.path(".millipede/partial")), 0);

    let room = Room::new(Rules { replace: true, ..rules() });
    for bytes in [&old, &new, &new[..9].to_vec(), &old] {
        room.put("a", "x", bytes).unwrap();
        assert_eq!(fs::read(room.path("x")).unwrap(), *bytes);
    }
}

#[test]
fn what_stands_in_the_way_is_told_and_not_followed() {
    let room = Room::new(rules());
    let outside = TempDir::new().unwrap();
    symlink(outside.path(), room.path("link")).unwrap();
    symlink("/nowhere", room.path("dangling")).unwrap();
    fs::create_dir(room.path("folder")).unwrap();
    refused(room.put("a", "link/x", b"x"), "symbolic link");
    refused(room.put("a", "link", b"x"), "no file");
    refused(room.put("a", "dangling", b"x"), "no file");
    assert_eq!(room.put("a", "folder", b"x"), Err(No::Taken));
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    // one that is planted while the file comes in
    let Ok(OpenAnswer::Go(mut arrival)) = room.open(&Put::new("a", "sub/x", b"x")) else { panic!() };
    arrival.begin(0).unwrap();
    arrival.write(now(), b"x").unwrap();
    symlink(outside.path(), room.path("sub")).unwrap();
    assert!(arrival.finish(now(), Sum::of(b"x")).is_err());
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn where_sums_are_kept_no_name_is_one_of_theirs() {
    let room = Room::new(rules());
    room.put("b", "x.sha256", b"mine").unwrap();
    let room = Room {
        shelf: Shelf::new(Beneath::open(room.dir.path()).unwrap(), Rules { sums: true, ..rules() }).unwrap(),
        ..room
    };
    assert_eq!(room.put("a", "y.sha256", b"x"), Err(No::Name(BadName::Sum(".sha256"))));
    refused(room.put("a", "x", b"x"), "has the place of its sum");
    assert_eq!(fs::read(room.path("x.sha256")).unwrap(), b"mine");
    let long = "x".repeat(249);
    assert_eq!(room.put("a", &long, b"x"), Err(No::Name(BadName::LongPart(248))));
    assert_eq!(room.put("a", &long[1..], b"x"), Ok(1));
    // one that was left of a file that somebody took away is ours to write again
    room.put("a", "z", b"x").unwrap();
    fs::remove_file(room.path("z")).unwrap();
    assert_eq!(room.put("a", "z", b"y"), Ok(1));
    assert!(fs::read_to_string(room.path("z.sha256")).unwrap().starts_with(&Sum::of(b"y").to_string()));
}

#[test]
fn nothing_is_kept_of_an_unknown_size_that_has_not_come_whole() {
    let room = Room::new(rules());
    let sent = bytes(1, 300);
    let partials = || files_below(&room.path(".millipede/partial"));
    let stops = Put { stops: Some(100), ..Put::new("a", "x", &sent) };
    Put { sized: false, ..stops.clone() }.run(&room.shelf).unwrap();
    assert_eq!(partials(), 0);
    stops.run(&room.shelf).unwrap();
    assert_eq!(partials(), 1);
    Put { sized: false, ..stops }.run(&room.shelf).unwrap();
    assert_eq!(partials(), 0);
}

#[test]
fn partials_are_bounded_and_not_kept_for_ever() {
    let room = Room::new(Rules { partials: 2, ..rules() });
    let sent = bytes(1, 300);
    for name in ["x", "y"] {
        Put { stops: Some(100), ..Put::new("a", name, &sent) }.run(&room.shelf).unwrap();
    }
    refused(room.put("a", "z", &sent), "unfinished");
    assert_eq!(room.put("b", "z", &sent), Ok(300));
    let Ok(OpenAnswer::Go(held)) = room.open(&Put::new("a", "x", &sent)) else { panic!() };
    let week = std::time::SystemTime::now() + Duration::from_secs(7 * 24 * 3600 + 60);
    room.shelf.sweep(std::time::SystemTime::now()).unwrap();
    assert_eq!(files_below(&room.path(".millipede/partial")), 2);
    room.shelf.sweep(week).unwrap();
    assert_eq!(files_below(&room.path(".millipede/partial")), 1);
    assert!(room.path(&place::partial("a", &Name::stored("x").unwrap())).exists());
    drop(held);
}

#[test]
fn whoever_lies_is_told_so_and_leaves_nothing_behind_that_others_see() {
    let room = Room::new(rules());
    let sent = bytes(1, 300);
    let open = || match room.open(&Put::new("a", "x", &sent)) {
        Ok(OpenAnswer::Go(arrival)) => arrival,
        _ => panic!(),
    };
    let mut more = open();
    more.begin(0).unwrap();
    assert!(matches!(more.write(now(), &bytes(1, 301)), Err(No::Breach(_))));
    drop(more);
    let mut less = open();
    less.begin(0).unwrap();
    less.write(now(), &sent[..299]).unwrap();
    assert!(matches!(less.finish(now(), Sum::of(&sent[..299])), Err(No::Breach(_))));
    assert!(matches!(open().begin(150), Err(No::Breach(_))));
    let mut other = open();
    other.begin(0).unwrap();
    other.write(now(), &sent).unwrap();
    assert!(matches!(other.finish(now(), Sum::of(b"other")), Err(No::Corrupt)));
    assert!(!room.path("x").exists());
    assert_eq!(room.put("a", "x", &sent), Ok(300));
}

#[test]
fn a_command_that_failed_is_due_again_and_one_that_succeeded_is_not() {
    let room = Room::new(Rules { then: true, ..rules() });
    let sent = bytes(1, 300);
    let put = || Put::new("a", "x", &sent).run(&room.shelf).unwrap().1.unwrap();
    let mut finished = put();
    assert!(finished.then_is_due() && !finished.already);
    finished.note_then(now(), false, "exit status 1").unwrap();
    drop(finished);
    let mut again = put();
    assert!(again.then_is_due() && again.already);
    again.note_then(now(), true, "exit status 0").unwrap();
    drop(again);
    assert!(!put().then_is_due());
}

#[test]
fn files_that_were_copied_here_from_another_disk_are_known_by_their_sums() {
    let room = Room::new(rules());
    let sent = bytes(1, 300);
    room.put("a", "x", &sent).unwrap();
    for change in [false, true] {
        fs::remove_file(room.path("x")).unwrap();
        let copy = if change { bytes(2, 300) } else { sent.clone() };
        fs::write(room.path("x"), copy).unwrap();
        assert_eq!(room.put("b", "x", &sent), Err(No::Taken));
        assert_eq!(room.put("a", "x", &sent), if change { Err(No::Taken) } else { Ok(0) });
    }
}

#[test]
fn a_folder_that_somebody_takes_away_is_made_again() {
    let room = Room::new(rules());
    room.put("a", "sub/x", b"x").unwrap();
    fs::remove_dir_all(room.path("sub")).unwrap();
    fs::remove_dir_all(room.path(".millipede")).unwrap();
    assert_eq!(room.put("a", "sub/x", b"x"), Ok(1));
}

#[test]
fn what_cannot_be_read_at_this_moment_makes_no_name_taken() {
    let (disk, name) = (Frail::new(false), Name::stored("x").unwrap());
    let shelf = Shelf::new(disk.clone(), Rules { sums: true, replace: true, ..rules() }).unwrap();
    let (old, new) = (bytes(1, 1000), bytes(2, 1000));
    let (old, new) = (Put::new("a", "x", &old), Put::new("a", "x", &new));
    old.run(&shelf).unwrap();
    for path in [place::sidecar(&name), place::sum(&name)] {
        disk.bar(Some(&path));
        let no = new.run(&shelf).err();
        assert!(matches!(&no, Some(No::Disk(why)) if why == "too many open files"), "{path}: {no:?}");
        disk.bar(None);
    }
    // all of one has come, and is kept
    let Ok(OpenAnswer::There(there)) = shelf.open(now(), &peer("a"), new.wanted()) else {
        panic!("not there")
    };
    let mut arrival = there.differs(now()).unwrap();
    arrival.begin(0).unwrap();
    arrival.write(now(), new.bytes).unwrap();
    disk.bar(Some(&place::sidecar(&name)));
    assert!(matches!(arrival.finish(now(), Sum::of(new.bytes)).err(), Some(No::Disk(_))));
    disk.bar(None);
    let (sent, stored) = new.run(&shelf).unwrap();
    assert!(sent < 1000 && stored.is_some(), "{sent}");
}

/// Puts a file on a disk that fails in the middle, and says whether the file has its name then, and what the sender hears.
fn put_on_failing(fail: impl Fn(&Frail)) -> (Frail, bool, Option<No>) {
    let disk = Frail::new(false);
    let shelf = Shelf::new(disk.clone(), Rules { sums: true, then: true, ..rules() }).unwrap();
    fail(&disk);
    let no = Put::new("a", "x", &bytes(1, 100)).run(&shelf).err();
    let there = disk.files().contains_key("x");
    (disk, there, no)
}

/// Whether a sender hears that its file is there.
fn says_stored(no: &No) -> bool {
    matches!(no, No::Disk(why) if why.starts_with(STORED_BUT))
}

#[test]
fn where_the_disk_fails_the_sender_hears_whether_its_file_is_there() {
    let mut unlike = [0, 0];
    for step in 0.. {
        let (_, there, no) = put_on_failing(|disk| disk.crash_at(step));
        let Some(no) = no else { break };
        assert_eq!(says_stored(&no), there, "at change {step}: {no}");
        unlike[usize::from(there)] += 1;
    }
    assert!(unlike[0] > 0 && unlike[1] > 1, "{unlike:?}");
}

#[test]
fn a_file_whose_sum_has_no_room_is_stored_and_its_command_runs_when_it_is_put_again() {
    let mut stored = 0;
    for writes in 0.. {
        let (disk, there, no) = put_on_failing(|disk| disk.fill(Some(writes)));
        let Some(no) = no else { break };
        assert_eq!(says_stored(&no), there, "after {writes} writes: {no}");
        if !there {
            continue;
        }
        stored += 1;
        assert_eq!(no.to_string(), "stored, but its sum is not beside it: no space left on the disk");
        disk.fill(None);
        let shelf = Shelf::new(disk.clone(), Rules { sums: true, then: true, ..rules() }).unwrap();
        let bytes = bytes(1, 100);
        let (sent, finished) = Put::new("a", "x", &bytes).run(&shelf).unwrap();
        let mut finished = finished.unwrap();
        assert!(sent == 0 && finished.already && finished.then_is_due());
        assert!(disk.files().contains_key(&place::sum(finished.name())));
        disk.fill(Some(0));
        let no = finished.note_then(now(), true, "it exited 0").unwrap_err();
        assert!(says_stored(&no), "{no}");
    }
    assert!(stored > 0);
}
