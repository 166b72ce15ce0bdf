//! How much each key may have, and what stays free.

use super::super::{No, OpenAnswer, Rules, Shelf, Wanted};
use super::client::{Put, STRIDE, bytes, now, peer, rules};
use super::frail::Frail;
use super::rules::{Room, files_below, refused};
use crate::store::beneath::Beneath;
use crate::store::disk::Disk;
use crate::store::meta::{META_MAX, Meta};
use crate::store::name::Name;
use crate::store::sum::Sum;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

/// The most bytes that stand beside a file that is put so.
fn beside<D: Disk>(shelf: &Shelf<D>, put: &Put<'_>) -> u64 {
    shelf.beside(&peer(put.key), &put.wanted(), None)
}

/// The same of any file with a name and a key of one byte each.
fn beside_any() -> u64 {
    beside(&Room::new(rules()).shelf, &Put::new("a", "x", b""))
}

/// Bytes of what is known of files.
fn known(room: &Room) -> u64 {
    fn below(folder: &Path) -> u64 {
        let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
        entries.map(|path| if path.is_dir() { below(&path) } else { path.metadata().unwrap().len() }).sum()
    }
    ["meta", "long"].map(|name| below(&room.path(".millipede").join(name))).iter().sum()
}

/// The shelf of another process in the same folder.
fn another(room: &Room, rules: Rules) -> Room {
    let dir = tempfile::TempDir::new().unwrap();
    Room { shelf: Shelf::new(Beneath::open(room.dir.path()).unwrap(), rules).unwrap(), dir }
}

#[test]
fn a_quota_holds_for_all_that_a_key_has_here() {
    let (beside, part) = (beside_any(), 6000);
    let sent = bytes(1, 6 * part);
    let room = Room::new(Rules { quota: Some(10 * part as u64), stride: 1 << 16, ..rules() });
    assert!(beside * 4 < part as u64);
    room.put("a", "x", &sent).unwrap();
    refused(room.put("a", "y", &sent), "quota");
    assert_eq!(room.put("b", "y", &sent), Ok(6 * part));
    // what is left of another one counts, and so does what is promised at this moment
    let stops = Put { stops: Some(2 * part), ..Put::new("a", "z", &sent[..3 * part]) };
    stops.run(&room.shelf).unwrap();
    refused(room.put("a", "w", &sent[..2 * part]), "quota");
    let held = room.open(&Put::new("a", "v", &sent[..part]));
    assert!(held.is_ok());
    refused(room.put("a", "w", &sent[..part]), "quota");
    drop(held);
    room.put("a", "w", &sent[..part]).unwrap();
    // of an unknown size: when it has grown too large
    let unsized_ = Put { sized: false, ..Put::new("b", "z", &sent) };
    assert!(matches!(unsized_.run(&room.shelf), Err(No::Refused(_))));
    // room that somebody made is found after a while
    fs::remove_file(room.path("x")).unwrap();
    let later = now() + Duration::from_secs(61);
    assert!(room.shelf.open(later, &peer("a"), Put::new("a", "u", &sent).wanted()).is_ok());
}

/// Puts an empty file with as much metadata as there may be.
fn put_empty<D: Disk>(shelf: &Arc<Shelf<D>>, name: &str) -> Result<(), No> {
    let meta = Meta::parse(format!("{{\"a\":\"{}\"}}", "x".repeat(META_MAX - 8)).as_bytes()).unwrap();
    let wanted = Wanted { name: Name::stored(name).unwrap(), size: Some(0), meta };
    match shelf.open(now(), &peer("a"), wanted)? {
        OpenAnswer::Go(arrival) => arrival.whole(now(), b"", Sum::of(b"")).map(drop),
        OpenAnswer::There(_) => panic!("{name} is there"),
    }
}

#[test]
fn what_is_known_of_files_counts_with_them() {
    let quota = 10 * META_MAX as u64;
    let room = Room::new(Rules { quota: Some(quota), ..rules() });
    let stored = (0..20).filter(|number| put_empty(&room.shelf, &number.to_string()).is_ok()).count();
    assert_eq!(stored, 9);
    assert!(known(&room) <= quota, "{}", known(&room));
    // others count it as well
    let other = another(&room, Rules { quota: Some(quota), ..rules() });
    assert!(matches!(put_empty(&other.shelf, "x"), Err(No::Refused(_))));
    // and one that takes another one's place counts once
    let used = |room: &Room| room.shelf.lock_accounts().finished.get("a").copied();
    let room = Room::new(Rules { quota: Some(quota), replace: true, ..rules() });
    for seed in 0..3 {
        room.put("a", "x", &bytes(seed, 100)).unwrap();
        assert_eq!(used(&room), Some(100 + known(&room)));
    }
}

#[test]
fn of_an_unknown_size_it_may_have_all_the_room_that_there_is() {
    // less than is asked for at once while there is enough
    let room = Room::new(rules());
    let sent = bytes(1, STRIDE as usize + 31);
    room.put("a", "x", &sent[..29]).unwrap();
    let quota = 29 + known(&room) + beside_any() + STRIDE + 30;
    let other = another(&room, Rules { quota: Some(quota), ..rules() });
    let unsized_ = |name, size: u64| Put { sized: false, ..Put::new("a", name, &sent[..size as usize]) };
    let partials = || files_below(&room.path(".millipede/partial"));
    assert!(matches!(unsized_("y", STRIDE + 31).run(&other.shelf), Err(No::Refused(_))));
    assert_eq!(partials(), 0);
    unsized_("y", STRIDE + 30).run(&other.shelf).unwrap();
    refused(other.put("a", "z", b"z"), "quota");
}

#[test]
fn streams_of_unknown_size_share_what_little_room_there_is() {
    let room = Room::new(Rules { quota: Some(STRIDE - 1 + 2 * beside_any()), ..rules() });
    let mut arrivals = ["x", "y"].map(|name| {
        let wanted = Put { sized: false, ..Put::new("a", name, b"") }.wanted();
        let Ok(OpenAnswer::Go(mut arrival)) = room.shelf.open(now(), &peer("a"), wanted) else {
            panic!("{name}")
        };
        arrival.begin(0).unwrap();
        arrival
    });
    // in turns, up to the last byte
    for at in 0..STRIDE - 1 {
        assert!(arrivals[(at % 2) as usize].write(now(), b"z").is_ok(), "{at} of {STRIDE}");
    }
    for arrival in &mut arrivals {
        assert!(matches!(arrival.write(now(), b"z"), Err(No::Refused(_))));
    }
}

#[test]
fn another_process_counts_the_same() {
    let room = Room::new(rules());
    room.put("a", "x.json/y", &bytes(1, 600)).unwrap();
    room.put("a", "z", &bytes(1, 300)).unwrap();
    let quota = 900 + known(&room) + 100 + beside_any();
    let other = another(&room, Rules { quota: Some(quota), ..rules() });
    assert!(other.put("a", "w", &bytes(1, 101)).is_err());
    assert!(other.put("a", "w", &bytes(1, 100)).is_ok());
}

#[test]
fn a_file_that_is_finished_while_others_are_counted_is_counted_once() {
    let (disk, sent) = (Frail::new(false), bytes(1, 4000));
    let shelf = Shelf::new(disk.clone(), Rules { quota: Some(14_000), ..rules() }).unwrap();
    Put::new("a", "x", &sent).run(&shelf).unwrap();
    // when the next one has its name, somebody wants too much, and all is counted again
    let later = now() + Duration::from_secs(61);
    let ((counted, counts), greedy) = (channel(), shelf.clone());
    disk.when_named(move || {
        let (greedy, (tell, told), counted) = (greedy.clone(), channel(), counted.clone());
        let counting = thread::spawn(move || {
            let wanted = Put::new("a", "w", &bytes(1, 13_000)).wanted();
            let refused = greedy.open(later, &peer("a"), wanted).is_err();
            let _ = tell.send(());
            refused
        });
        // it has to wait until that one is noted, which is after this
        let _ = told.recv_timeout(Duration::from_millis(500));
        counted.send(counting).unwrap();
    });
    Put::new("a", "y", &sent).run(&shelf).unwrap();
    assert!(counts.recv().unwrap().join().unwrap());
    let all = |put: &Put<'_>| put.bytes.len() as u64 + beside(&shelf, put);
    assert!(3 * all(&Put::new("a", "z", &sent)) < 14_000);
    assert!(shelf.open(later, &peer("a"), Put::new("a", "z", &sent).wanted()).is_ok());
}

#[test]
fn the_disk_keeps_its_room() {
    let room = Room::new(Rules { keepfree: u64::MAX / 2, ..rules() });
    for bytes in [&b"x"[..], b""] {
        assert!(matches!(room.put("a", "x", bytes), Err(No::Disk(why)) if why.contains("no space left")));
    }
}
