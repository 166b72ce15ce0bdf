//! Both sides in one process, over two pipes that cut where they like.

use super::outbox::OutboxSource;
use super::*;
use crate::endpoint::{Sink, Source};
use crate::store::beneath::Beneath;
use crate::store::name::Name;
use crate::store::record::{Down, FileVerdict, HEADER, encode};
use crate::store::shelf::{Peer, Rules, Shelf};
use std::collections::BTreeMap;
use std::fs;
use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use tempfile::TempDir;

struct Pair {
    from: TempDir,
    to: TempDir,
    shelf: Arc<Shelf<Beneath>>,
    workers: Workers,
}

/// Carries a stream from one to the other, until its end or until so many bytes have gone.
fn carry(mut source: OutboxSource, mut sink: impl Sink, cut: Option<u64>, mut look: impl FnMut()) {
    let (mut space, mut gone) = (vec![0; 100_000], 0);
    loop {
        source.wait(None, None).unwrap();
        look();
        let Ok(taken @ 1..) = source.read(&mut space) else { break };
        gone += taken as u64;
        if cut.is_some_and(|cut| gone > cut) {
            return;
        }
        let (a, b) = space[..taken].split_at(taken / 3);
        if sink.write(&[IoSlice::new(a), IoSlice::new(b)]).is_err() {
            return;
        }
    }
    let _ = sink.finish();
}

impl Pair {
    fn new(rules: Rules) -> Self {
        let to = TempDir::new().unwrap();
        let shelf = Shelf::new(Beneath::open(to.path()).unwrap(), rules).unwrap();
        Pair { from: TempDir::new().unwrap(), to, shelf, workers: Workers::new(4).unwrap() }
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.from.path().join(name), bytes).unwrap();
    }

    fn item(&self, name: &str) -> Item {
        let matter = Matter::File(self.from.path().join(name), None);
        Item { name: Name::stored(name).unwrap(), meta: Vec::new(), matter, ask: false }
    }

    /// What became of these, how it ended, and how many bytes went.
    fn send(&self, items: Vec<Item>, require: &[&str], cut: Option<u64>) -> (BTreeMap<String, Fate>, Ending) {
        self.send_watched(items, require, cut, usize::MAX, |_| {})
    }

    /// The same, with so many files open at once; `look` sees what waits before any of it is taken.
    fn send_watched(
        &self,
        items: Vec<Item>,
        require: &[&str],
        cut: Option<u64>,
        most: usize,
        mut look: impl FnMut(&Outbox) + Send + 'static,
    ) -> (BTreeMap<String, Fate>, Ending) {
        let (up, down, inbox) = (Outbox::new().unwrap(), Outbox::new().unwrap(), Inbox::new());
        let hooks = Hooks {
            require: require.iter().map(|key| (*key).to_owned()).collect(),
            commanded: false,
            then: None,
            place: Place::sure(|_| false),
            ledger: Ledger::new(),
        };
        let peer = Peer { key: "a".into(), name: "a".into(), visit: 1 };
        let receiving = Receiving::new(self.shelf.clone(), peer, hooks, self.workers.clone(), down.clone());
        let mut place = Vec::new();
        encode(0, &Down::Go(vec![]), &mut place);
        down.put(place);
        let (source, sink) = (up.source(true), receiving.sink());
        let seen = up.clone();
        let ups = thread::spawn(move || carry(source, sink, cut, || look(&seen)));
        let (source, sink) = (down.source(false), inbox.sink());
        let downs = thread::spawn(move || carry(source, sink, None, || {}));
        let fates = Mutex::new(BTreeMap::new());
        let tell = |name: &Name, fate: Fate| drop(fates.lock().unwrap().insert(name.to_string(), fate));
        // a stream that is cut ends the other one too, as in a session
        let watched = thread::spawn(move || {
            ups.join().unwrap();
            down.end(Ok(()));
            downs.join().unwrap();
        });
        let ending = Sending::new(up, inbox, tell).opening(most).run(items);
        watched.join().unwrap();
        (fates.into_inner().unwrap(), ending)
    }

    fn stored(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.to.path().join(name)).ok()
    }

    fn partials(&self) -> Vec<PathBuf> {
        let folders = fs::read_dir(self.to.path().join(".millipede/partial")).into_iter().flatten();
        let files = folders.flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap());
        files.map(|file| file.unwrap().path()).collect()
    }
}

fn bytes(seed: u32, size: usize) -> Vec<u8> {
    let mut x = seed.wrapping_mul(2_654_435_761) | 1;
    let step = |_| {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        x as u8
    };
    (0..size).map(step).collect()
}

fn rules() -> Rules {
    Rules { stride: 1 << 20, ..Rules::default() }
}

#[test]
fn small_files_that_may_be_there_are_asked_for_and_not_sent_again() {
    let pair = Pair::new(rules());
    let names: Vec<String> = (0..100).map(|number| format!("f{number}")).collect();
    let items = |ask| names.iter().map(|name| Item { ask, ..pair.item(name) }).collect();
    names.iter().enumerate().for_each(|(number, name)| pair.write(name, &bytes(number as u32, 60_000)));
    // none is there
    let (fates, ending) = pair.send(items(true), &[], None);
    assert_eq!((fates.len(), ending), (100, Ending::Whole));
    assert!(fates.values().all(|fate| fate.verdict == FileVerdict::Stored));
    assert!(names.iter().all(|name| pair.stored(name) == fs::read(pair.from.path().join(name)).ok()));
    // all but one are, and there is no way for more bytes than that one has
    pair.write("f50", &bytes(1000, 50_000));
    let (fates, ending) = pair.send(items(true), &[], Some(100_000));
    assert_eq!((fates.len(), ending), (100, Ending::Whole));
    let others = fates.iter().filter(|(_, fate)| fate.verdict != FileVerdict::Already);
    assert_eq!(others.map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["f50"]);
    assert_ne!(pair.send(items(false), &[], Some(100_000)).1, Ending::Whole);
}

#[test]
fn files_of_all_sizes_arrive_whole_each_with_a_verdict_of_its_own() {
    let pair = Pair::new(Rules { sums: true, ..rules() });
    let sizes = [0, 1, 10_000, 65_536, 65_537, 300_000, 3_000_000];
    let mut items = vec![];
    for (number, size) in sizes.into_iter().chain([9_999; 200]).enumerate() {
        let name = format!("f{number}");
        pair.write(&name, &bytes(number as u32, size));
        items.push(pair.item(&name));
    }
    items.push(pair.item("missing"));
    fs::create_dir(pair.from.path().join("folder")).unwrap();
    items.push(pair.item("folder"));
    let count = items.len();
    let (fates, ending) = pair.send(items, &[], None);
    assert_eq!((fates.len(), ending), (count, Ending::Whole));
    for (name, fate) in fates {
        let not_sent = match &*name {
            "missing" => Some("no such file or directory"),
            "folder" => Some("it is a folder: name its files, or watch it"),
            _ => None,
        };
        if let Some(why) = not_sent {
            assert_eq!((fate.verdict, &*fate.sentence), (FileVerdict::Input, why));
            continue;
        }
        assert_eq!(fate.verdict, FileVerdict::Stored, "{name}: {}", fate.sentence);
        assert_eq!(pair.stored(&name), fs::read(pair.from.path().join(&name)).ok(), "{name}");
    }
    assert!(pair.partials().is_empty());
    // once more: all is there
    let again = (0..sizes.len()).map(|number| pair.item(&format!("f{number}"))).collect();
    let (fates, _) = pair.send(again, &[], None);
    assert!(fates.values().all(|fate| fate.verdict == FileVerdict::Already), "{fates:?}");
}

#[test]
fn one_that_was_cut_off_goes_on_where_it_was() {
    let pair = Pair::new(rules());
    pair.write("x", &bytes(1, 5_000_000));
    let (fates, ending) = pair.send(vec![pair.item("x")], &[], Some(4_000_000));
    assert_eq!((fates.len(), ending), (0, Ending::Broken));
    assert_eq!((pair.stored("x"), pair.partials().len()), (None, 1));
    // 1.1 MB are left; more would break it off again
    let (fates, ending) = pair.send(vec![pair.item("x")], &[], Some(1_200_000));
    assert_eq!((fates["x"].verdict, ending), (FileVerdict::Stored, Ending::Whole));
    assert_eq!(pair.stored("x"), Some(bytes(1, 5_000_000)));
}

#[test]
fn one_that_is_another_by_now_begins_anew_behind_what_is_the_same() {
    let pair = Pair::new(rules());
    pair.write("x", &bytes(1, 5_000_000));
    pair.send(vec![pair.item("x")], &[], Some(4_000_000));
    let mut changed = bytes(1, 5_000_000);
    changed[3_500_000] ^= 1;
    pair.write("x", &changed);
    // it goes on at 3 MiB
    let (fates, _) = pair.send(vec![pair.item("x")], &[], Some(2_000_000));
    assert_eq!(fates["x"].verdict, FileVerdict::Stored);
    assert_eq!(pair.stored("x"), Some(changed));
}

#[test]
fn what_is_refused_is_told_and_the_others_are_stored() {
    let pair = Pair::new(rules());
    for name in ["a", "b", "c", "big"] {
        pair.write(name, &bytes(7, if name == "big" { 2_000_000 } else { 100 }));
    }
    let with = |name, meta: &str| Item { meta: meta.as_bytes().to_vec(), ..pair.item(name) };
    let items = vec![
        with("a", r#"{"sample":"x","operator":"y"}"#),
        with("b", "{}"),
        with("c", "[1]"),
        with("big", r#"{"sample":"x"}"#),
    ];
    let (fates, ending) = pair.send(items, &["sample", "operator"], None);
    assert_eq!(ending, Ending::Whole);
    assert_eq!(fates["a"].verdict, FileVerdict::Stored);
    assert_eq!(fates["b"].sentence, "the metadata lacks sample, operator");
    assert_eq!(fates["c"].sentence, "the metadata is not a JSON object");
    assert_eq!(
        (fates["big"].verdict, &*fates["big"].sentence),
        (FileVerdict::Refused, "the metadata lacks operator")
    );
    assert_eq!((pair.stored("b"), pair.stored("c"), pair.stored("big")), (None, None, None));
}

#[test]
fn one_that_is_other_than_what_is_there_is_refused_or_takes_its_place() {
    for replace in [false, true] {
        let pair = Pair::new(Rules { replace, ..rules() });
        for size in [100, 2_000_000] {
            pair.write("x", &bytes(1, size));
            pair.send(vec![pair.item("x")], &[], None);
            pair.write("x", &bytes(2, size));
            let (fates, _) = pair.send(vec![pair.item("x")], &[], None);
            let expected = if replace { FileVerdict::Stored } else { FileVerdict::Refused };
            assert_eq!(fates["x"].verdict, expected, "{}", fates["x"].sentence);
            assert_eq!(pair.stored("x"), Some(bytes(1 + u32::from(replace), size)));
            fs::remove_file(pair.to.path().join("x")).unwrap();
        }
    }
}

#[test]
fn a_pipe_has_a_name_and_no_size() {
    let pair = Pair::new(rules());
    let pipe = || Item {
        matter: Matter::Pipe(Box::new(std::io::Cursor::new(bytes(3, 2_500_000)))),
        ..pair.item("p")
    };
    for verdict in [FileVerdict::Stored, FileVerdict::Already] {
        let (fates, ending) = pair.send(vec![pipe()], &[], None);
        assert_eq!((fates["p"].verdict, ending), (verdict, Ending::Whole));
    }
    assert_eq!(pair.stored("p"), Some(bytes(3, 2_500_000)));
}

#[test]
fn one_that_shrinks_or_grows_while_it_is_sent_is_told_and_not_stored() {
    struct Changing {
        path: PathBuf,
        inner: fs::File,
        left: usize,
    }
    // a file that is sent before this one changes it when it is read to its end
    impl std::io::Read for Changing {
        fn read(&mut self, space: &mut [u8]) -> std::io::Result<usize> {
            self.left = self.left.saturating_sub(1);
            if self.left == 0 {
                fs::write(&self.path, b"short").unwrap();
            }
            self.inner.read(space)
        }
    }
    let pair = Pair::new(rules());
    pair.write("first", &bytes(1, 1_000_000));
    pair.write("x", &bytes(2, 2_000_000));
    let path = pair.from.path().join("x");
    let inner = fs::File::open(pair.from.path().join("first")).unwrap();
    let first =
        Item { matter: Matter::Pipe(Box::new(Changing { path, inner, left: 3 })), ..pair.item("first") };
    let (fates, ending) = pair.send(vec![first, pair.item("x")], &[], None);
    assert_eq!(ending, Ending::Whole);
    assert_eq!(fates["first"].verdict, FileVerdict::Stored);
    assert_eq!(
        (fates["x"].verdict, &*fates["x"].sentence),
        (FileVerdict::Input, "it changed while it was sent")
    );
    assert_eq!(pair.stored("x"), None);
}

/// A part is read by whoever sends it, which may be long after it was summed up.
#[test]
fn one_that_changes_after_it_was_summed_up_is_told_and_not_stored() {
    let changes: [fn(&fs::File); 2] = [
        |file| std::os::unix::fs::FileExt::write_all_at(file, b"other", 1_500_000).unwrap(),
        |file| file.set_len(1_000_000).unwrap(),
    ];
    for change in changes {
        let pair = Pair::new(rules());
        pair.write("x", &bytes(1, 2_000_000));
        pair.write("y", &bytes(2, 100));
        let file = fs::File::options().write(true).open(pair.from.path().join("x")).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        let mut file = Some(file);
        let look = move |out: &Outbox| {
            if out.waiting() >= 2_000_000 {
                // what waits is all of it; its sum comes next
                let Some(file) = file.take() else { return };
                while out.waiting() < 2_000_000 + HEADER + 8 + 32 {
                    thread::yield_now();
                }
                change(&file);
            }
        };
        let (fates, ending) =
            pair.send_watched(vec![pair.item("x"), pair.item("y")], &[], None, usize::MAX, look);
        assert_eq!(ending, Ending::Whole);
        let told = (fates["x"].verdict, &*fates["x"].sentence);
        assert_eq!(told, (FileVerdict::Input, "it changed while it was sent"));
        assert_eq!((pair.stored("x"), pair.partials().len()), (None, 0));
        assert_eq!(fates["y"].verdict, FileVerdict::Stored);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn no_more_files_are_open_at_once_than_there_are_descriptors_for() {
    for most in [1, 3] {
        let pair = Pair::new(rules());
        let names: Vec<String> = (0..12).map(|number| format!("f{number}")).collect();
        // some are open until their verdicts, others until they were read
        let size = |number: usize| if number.is_multiple_of(3) { 100_000 } else { 1_200_000 };
        let write = |(number, name): (usize, &String)| pair.write(name, &bytes(number as u32, size(number)));
        names.iter().enumerate().for_each(write);
        let from = pair.from.path().to_owned();
        let open = move || {
            let links = fs::read_dir("/proc/self/fd").unwrap().flatten();
            links.filter(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.starts_with(&from))).count()
        };
        let seen = Arc::new(Mutex::new(0));
        let most_seen = seen.clone();
        let look = move |_: &Outbox| {
            let mut seen = most_seen.lock().unwrap();
            *seen = open().max(*seen);
        };
        let items = names.iter().map(|name| pair.item(name)).collect();
        let (fates, ending) = pair.send_watched(items, &[], None, most, look);
        assert_eq!((fates.len(), ending), (12, Ending::Whole));
        assert!(fates.values().all(|fate| fate.verdict == FileVerdict::Stored), "{fates:?}");
        let seen = *seen.lock().unwrap();
        assert!((1..=most).contains(&seen), "{seen} of {most}");
    }
}
