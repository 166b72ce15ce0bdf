//! A file that could be read when it was summed up, and cannot when it is sent; and what is said while one is summed up.

use super::super::matter::Matters;
use super::*;
use crate::endpoint::{NamedFile, Sink, Source};
use crate::store::record::{DATA_MAX, Down, Item as Came, RecordReader};
use crate::store::sum::Mark;
use std::fs::File;
use std::io::{IoSlice, Read};
use std::sync::Mutex;

/// Its bytes are sevens, but the kernel gives none of them for a part.
struct Failing(Arc<NamedFile>);

impl Read for Failing {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        space.fill(7);
        Ok(space.len())
    }
}

impl Matters for Failing {
    fn in_parts(&self) -> Option<&Arc<NamedFile>> {
        Some(&self.0)
    }

    fn rewind_to(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn has_changed(&self) -> bool {
        false
    }
}

/// What became of each file.
type Fates = Arc<Mutex<Vec<Fate>>>;

/// A file that is open for writing alone, so that it cannot be read. It is asked for already.
fn asked(size: u64) -> Asked {
    let folder = tempfile::tempdir().unwrap();
    let file = File::create(folder.path().join("x")).unwrap();
    let matter = Box::new(Failing(NamedFile::new(file, "x".into(), true)));
    Asked { file: 1, opened: Opened { matter, size: Some(size) }, answer: Some(Down::Go(Vec::new())) }
}

fn sending(out: Arc<Outbox>, size: u64) -> (Sending<impl FnMut(&Name, Fate)>, Fates) {
    let fates = Fates::default();
    let told = fates.clone();
    let mut sending = Sending::new(out, Inbox::new(), move |_: &Name, fate| told.lock().unwrap().push(fate));
    let name = Name::stored("x").unwrap();
    sending.unjudged.insert(1, Sent { name, size: Some(size), again: None, parted: None });
    (sending, fates)
}

fn unread() -> Vec<Fate> {
    let why = reason(&rustix::io::Errno::BADF.into());
    vec![Fate { verdict: FileVerdict::Input, sentence: why }]
}

#[test]
fn where_a_part_cannot_be_read_nothing_more_of_the_file_goes() {
    let out = Outbox::new().unwrap();
    let (mut sending, fates) = sending(out.clone(), 100 << 20);
    let mut source = out.source(true);
    let takes = std::thread::spawn(move || {
        let (mut space, mut taken) = (vec![0; 1 << 20], 0);
        while let Ok(more @ 1..) = source.read(&mut space) {
            taken += more;
        }
        taken
    });
    assert!(sending.carry(asked(100 << 20)).is_ok());
    out.end(Ok(()));
    assert_eq!(*fates.lock().unwrap(), unread());
    // the next part is put when there is room for it, before all of the first one was read
    assert!(takes.join().unwrap() < 3 * DATA_MAX);
}

#[test]
fn that_the_last_part_could_not_be_read_is_told_in_place_of_the_difference() {
    let out = Outbox::new().unwrap();
    let (mut sending, fates) = sending(out.clone(), 1 << 20);
    let mut source = out.source(true);
    assert!(sending.carry(asked(1 << 20)).is_ok());
    assert!(fates.lock().unwrap().is_empty(), "nobody has read it yet");
    out.end(Ok(()));
    let mut space = vec![1; 3 << 20];
    while let Ok(1..) = source.read(&mut space) {}
    assert!(sending.hear(1, Down::Verdict(FileVerdict::Corrupt, "it is not what was sent".into())).is_ok());
    assert_eq!(*fates.lock().unwrap(), unread());
}

#[test]
fn the_receiver_hears_that_a_file_is_still_read_to_be_compared() {
    let sevens = vec![7; 1 << 20];
    let half = Mark { length: 1 << 19, sum: Sum::of(&sevens[..1 << 19]) };
    let all = Mark { length: 1 << 20, sum: Sum::of(&sevens) };
    // it is read in pieces of 256 KiB
    for (answer, after) in [
        (Down::There(all), [Up::Reads, Up::Reads, Up::Reads, Up::Reads, Up::Same].to_vec()),
        (Down::Go(vec![half]), [Up::Reads, Up::Reads, Up::From(1 << 19)].to_vec()),
    ] {
        let out = Outbox::new().unwrap();
        let (mut sending, _) = sending(out.clone(), 1 << 20);
        sending.reads = Duration::ZERO;
        assert!(sending.carry(Asked { answer: Some(answer), ..asked(1 << 20) }).is_ok());
        let (mut space, mut reader, mut said) = (vec![0; 1 << 20], RecordReader::<Up>::default(), Vec::new());
        let taken = out.source(true).read(&mut space).unwrap();
        let mut bytes = &space[..taken];
        while let Some(Came::Record(1, up)) = reader.next(&mut bytes).unwrap() {
            said.push(up);
        }
        assert_eq!(said, after);
    }
}

/// A session may have sent for hours before it comes to a file that another one sends.
#[test]
fn another_session_is_waited_for_from_when_it_was_met_with_each_file() {
    let (mut sending, fates) = sending(Outbox::new().unwrap(), 1);
    let name = Name::stored("x").unwrap();
    let again = |since| Again { meta: Vec::new(), path: "x".into(), wanted: None, since };
    let begun = Instant::now();
    let sent = Sent { name: name.clone(), size: None, again: Some(again(None)), parted: None };
    sending.unjudged.insert(1, sent);
    assert!(sending.hear(1, Down::Verdict(FileVerdict::Later, "another session sends it".into())).is_ok());
    let (met, _) = sending.later.pop().unwrap();
    assert!(met >= begun && fates.lock().unwrap().is_empty());
    // that stays so, however often it is tried
    let since = |now| again(Some(met)).later(&name, now).map(|(since, _)| since);
    assert_eq!(since(met + LATER - Duration::from_millis(1)), Some(met));
    assert_eq!(since(met + LATER), None);
}

/// Stores whatever it is offered, until all has been said.
fn store_all(mut source: impl Source, inbox: &Arc<Inbox>) {
    let (mut sink, mut reader, mut space) = (inbox.sink(), RecordReader::<Up>::default(), vec![0; 1 << 20]);
    let mut say = |file, down: Down| {
        let mut record = Vec::new();
        encode(file, &down, &mut record);
        sink.write(&[IoSlice::new(&record)]).unwrap();
    };
    say(0, Down::Go(Vec::new()));
    while let Ok(taken @ 1..) = source.read(&mut space) {
        let mut bytes = &space[..taken];
        while let Some(came) = reader.next(&mut bytes).unwrap() {
            match came {
                Came::Record(file, Up::Open(_)) => say(file, Down::Go(Vec::new())),
                Came::Record(file, Up::End(_)) => {
                    say(file, Down::Verdict(FileVerdict::Stored, String::new()))
                }
                _ => {}
            }
        }
    }
}

#[test]
fn where_no_descriptors_are_left_a_file_waits_until_another_one_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let items = ["a", "b"].map(|name| {
        let path = folder.path().join(name);
        std::fs::write(&path, vec![7; 1 << 20]).unwrap();
        let name = Name::stored(name).unwrap();
        Item { name, meta: Vec::new(), matter: Matter::File(path, None), ask: false }
    });
    let (out, inbox, fates) = (Outbox::new().unwrap(), Inbox::new(), Fates::default());
    let (source, heard, told) = (out.source(true), inbox.clone(), fates.clone());
    let stores = std::thread::spawn(move || store_all(source, &heard));
    let mut sending = Sending::new(out, inbox, move |_: &Name, fate| told.lock().unwrap().push(fate));
    // one of them may be open, until its verdict
    let (mut opened, judged) = (0, fates.clone());
    sending.open = Box::new(move |matter| {
        if opened > judged.lock().unwrap().len() {
            return Err(Unopened::Short(matter, "too many open files".into()));
        }
        opened += 1;
        open(matter)
    });
    assert_eq!(sending.run(items), Ending::Whole);
    stores.join().unwrap();
    let verdicts: Vec<FileVerdict> = fates.lock().unwrap().iter().map(|fate| fate.verdict).collect();
    assert_eq!(verdicts, [FileVerdict::Stored; 2]);
}

#[test]
fn a_file_that_no_closing_of_others_can_make_room_for_is_not_sent() {
    let (mut sending, fates) = sending(Outbox::new().unwrap(), 0);
    sending.open = Box::new(|matter| Err(Unopened::Short(matter, "too many open files".into())));
    let matter = Matter::File("x".into(), None);
    let item = Item { name: Name::stored("x").unwrap(), meta: Vec::new(), matter, ask: false };
    assert!(matches!(sending.begin(item, None), Ok(None)));
    let fate = Fate { verdict: FileVerdict::Input, sentence: "too many open files".into() };
    assert_eq!(*fates.lock().unwrap(), [fate]);
}
