//! The process is killed, or the power goes, at every moment there is: afterwards every file is whole and right or not
//! there, what is known of it is true, and who sends it again completes it.

use super::super::{Rules, Shelf};
use super::client::{CHUNK, Put, STRIDE, bytes, rules};
use super::frail::Frail;
use crate::store::name::Name;
use crate::store::place;
use crate::store::sum::Sum;
use std::sync::Arc;

/// What has happened, what happens when the power goes, and what is in order afterwards.
struct Case<'a> {
    rules: Rules,
    linking: bool,
    before: Vec<Put<'a>>,
    put: Put<'a>,
}

impl Case<'_> {
    fn shelf(&self, disk: &Frail) -> Arc<Shelf<Frail>> {
        Shelf::new(disk.clone(), self.rules.clone()).unwrap()
    }

    fn prepared(&self) -> Frail {
        let disk = Frail::new(self.linking);
        for put in &self.before {
            put.run(&self.shelf(&disk)).unwrap();
        }
        disk
    }

    /// Every file is one that somebody sent, and what is said of it is true.
    fn check(&self, disk: &Frail, what: &str) {
        let sent: Vec<&Put<'_>> = self.before.iter().chain([&self.put]).collect();
        let files = disk.files();
        for (path, found) in files.iter().filter(|(path, _)| !path.starts_with(place::ROOM)) {
            if let Some(of) = path.strip_suffix(place::SUM_ENDING) {
                let Some(file) = files.get(of) else { panic!("{what}: {path} without its file") };
                let line = String::from_utf8(found.clone()).unwrap();
                assert!(line.starts_with(&Sum::of(file).to_string()), "{what}: {path}");
                continue;
            }
            let put = sent.iter().find(|put| put.name == path && put.bytes == *found);
            let put =
                put.unwrap_or_else(|| panic!("{what}: {path} has {} bytes that nobody sent", found.len()));
            let name = Name::stored(path.clone()).unwrap();
            let kept = self.shelf(disk).kept(put.key, &name);
            let kept = kept.unwrap_or_else(|no| panic!("{what}: {no}")).unwrap();
            assert_eq!(kept.sum(), Some(Sum::of(found)), "{what}");
            assert_eq!(kept.meta, put.wanted().meta, "{what}");
        }
    }

    /// How much of what is to be sent is in the partial.
    fn left(&self, disk: &Frail) -> usize {
        let partial = place::partial(self.put.key, &Name::stored(self.put.name).unwrap());
        let left = disk.files().remove(&partial).unwrap_or_default();
        left.iter().zip(self.put.bytes).take_while(|(a, b)| a == b).count()
    }

    /// Sent again, it is complete, and stays so; no more is sent than has to be.
    fn complete(&self, disk: &Frail, what: &str) {
        let name = Name::stored(self.put.name).unwrap();
        let files = disk.files();
        let done = files.get(self.put.name).is_some_and(|file| file == self.put.bytes);
        let again = Put { stops: None, ..self.put.clone() };
        let (sent, finished) = again.run(&self.shelf(disk)).unwrap_or_else(|no| panic!("{what}: {no}"));
        assert!(finished.is_some(), "{what}");
        // a pipe is sent from its beginning
        let good = if self.put.sized { self.left(disk) } else { 0 };
        let most = if done && self.put.sized { 0 } else { self.put.bytes.len() - good + STRIDE as usize };
        assert!(sent <= most, "{what}: {sent} sent, {good} were there");
        for (what, disk) in [("killed", disk.copy()), ("lost", disk.after_the_worst())] {
            let files = disk.files();
            assert_eq!(files.get(self.put.name).map(Vec::as_slice), Some(self.put.bytes), "{what}");
            assert_eq!(files.contains_key(&place::sum(&name)), self.rules.sums, "{what}");
            self.check(&disk, what);
        }
    }

    /// At every change that is made: what there may be then, each with what it is called. All of it, or the best and
    /// the worst.
    fn crashes(&self, disk: &Frail, all: bool, mut at_each: impl FnMut(&Frail, &str)) -> usize {
        for step in 0.. {
            let disk = disk.copy();
            disk.crash_at(step);
            let shelf = Shelf::new(disk.clone(), self.rules.clone());
            let ran = shelf.and_then(|shelf| self.put.run(&shelf).map(drop));
            let over = !disk.has_crashed();
            assert_eq!(ran.is_ok(), over, "step {step}: {ran:?}");
            at_each(&disk.copy(), &format!("killed at {step}"));
            if self.put.bytes.len() > self.left(&disk) {
                let lost = self.left(&disk).saturating_sub(self.left(&disk.after_the_worst()));
                assert!(lost < STRIDE as usize + CHUNK, "{lost} bytes are lost at {step}");
            }
            if all {
                for (what, left) in disk.after_power_loss() {
                    at_each(&left, &format!("power lost at {step}: {what}"));
                }
            } else {
                at_each(&disk.after_the_worst(), &format!("all lost at {step}"));
            }
            if over {
                return step;
            }
        }
        unreachable!()
    }

    fn play(&self) {
        let mut worlds = 0;
        let steps = self.crashes(&self.prepared(), true, |disk, what| {
            worlds += 1;
            self.check(disk, what);
            self.complete(&disk.copy(), what);
        });
        assert!(steps > 12 && worlds > 3 * steps, "{steps} steps, {worlds} outcomes");
    }

    /// The second time too.
    fn play_twice(&self) {
        self.crashes(&self.prepared(), true, |disk, first| {
            self.crashes(disk, false, |disk, second| {
                let what = format!("{first}, then {second}");
                self.check(disk, &what);
                self.complete(disk, &what);
            });
        });
    }
}

/// All cases, by all ways of renaming, with sums and without.
fn each(mut test: impl FnMut(Case<'_>)) {
    let (old, new, other) = (bytes(0, 150), bytes(0x40, 200), bytes(0x20, 170));
    let stopped = |bytes, stops| Put { stops: Some(stops), ..Put::new("a", "run/x", bytes) };
    for (linking, sums) in [(false, false), (false, true), (true, false), (true, true)] {
        let case = |before, replace| Case {
            rules: Rules { replace, sums, ..rules() },
            linking,
            before,
            put: Put::new("a", "run/x", &new),
        };
        // received, continued, begun anew, in place of another, and of one while a partial was left of it
        test(case(vec![], false));
        test(case(vec![stopped(&new, 100)], false));
        test(case(vec![stopped(&other, 140)], false));
        test(case(vec![Put::new("a", "run/x", &old)], true));
        test(case(vec![Put::new("a", "run/x", &old), stopped(&new, 130), stopped(&other, 150)], true));
        // of a size that is not known
        test(Case { put: Put { sized: false, ..Put::new("a", "y", &new) }, ..case(vec![], false) });
    }
}

#[test]
fn whatever_the_moment_all_is_whole_and_right_or_absent_and_a_repeated_put_completes_it() {
    each(|case| case.play());
}

#[test]
fn so_it_is_when_it_happens_twice() {
    let mut count = 0;
    each(|mut case| {
        // every other case, and short files: the number of outcomes is the square of the other test's
        count += 1;
        if count % 2 == 1 && case.before.len() < 2 {
            case.put.bytes = &case.put.bytes[..70];
            case.before.retain(|put| put.stops.is_none());
            case.play_twice();
        }
    });
}

#[test]
fn the_outcome_of_a_command_is_remembered_or_the_command_runs_again() {
    let sent = bytes(0, 100);
    let put = Put::new("a", "x", &sent);
    let rules = Rules { then: true, ..rules() };
    for step in 0.. {
        let disk = Frail::new(false);
        let shelf = Shelf::new(disk.clone(), rules.clone()).unwrap();
        let mut finished = put.run(&shelf).unwrap().1.unwrap();
        assert!(finished.then_is_due());
        disk.crash_at(step);
        let noted = finished.note_then(super::client::now(), true, "ok");
        let over = !disk.has_crashed();
        assert_eq!(noted.is_ok(), over);
        for (_, left) in disk.after_power_loss() {
            let shelf = Shelf::new(left, rules.clone()).unwrap();
            let (sent, finished) = put.run(&shelf).unwrap();
            assert_eq!(sent, 0);
            assert!(!over || !finished.unwrap().then_is_due());
        }
        if over {
            return;
        }
    }
}
