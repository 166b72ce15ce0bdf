//! What becomes of the list when its file changes.

use super::*;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use tempfile::TempDir;

fn key(n: u8) -> PublicKey {
    PublicKey::new([n; 32])
}

/// The lines of these keys, named by their numbers.
fn lines(keys: &[u8]) -> String {
    keys.iter().map(|n| key(*n).openssh(&n.to_string()) + "\n").collect()
}

struct Listed {
    folder: TempDir,
    path: PathBuf,
    roll: Roll,
}

impl Listed {
    fn new(keys: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peers");
        fs::write(&path, lines(keys)).unwrap();
        let roll = Roll::load(&path).unwrap();
        Self { folder, path, roll }
    }

    /// Puts another file in the place of the list.
    fn replace(&self, text: &str) {
        let new = self.folder.path().join("new");
        fs::write(&new, text).unwrap();
        fs::rename(&new, &self.path).unwrap();
    }

    /// The second look after a change, when the file is as it was at the first.
    fn settled(&self) -> Change {
        assert_eq!(self.roll.refresh(), Change::None, "before it has settled");
        self.roll.refresh()
    }

    fn allowed(&self) -> Vec<u8> {
        (0..10).filter(|n| self.roll.allows(&key(*n)).is_some()).collect()
    }

    fn broken(&self, wrong: &str) -> Change {
        Change::Broken(format!("peers {}: {wrong}; the list stays as it was", self.path.display()))
    }
}

#[test]
fn a_list_that_stays_is_not_read_again() {
    let listed = Listed::new(&[1, 2]);
    for _ in 0..3 {
        assert_eq!(listed.roll.refresh(), Change::None);
    }
    assert_eq!(listed.allowed(), [1, 2]);
    assert_eq!(listed.roll.allows(&key(2)).as_deref(), Some("2"));
}

#[test]
fn a_new_list_is_taken_once_and_says_who_is_gone() {
    let listed = Listed::new(&[1, 2, 3]);
    listed.replace(&lines(&[2, 4]));
    let Change::Read(mut gone) = listed.settled() else { panic!("not read") };
    gone.sort();
    assert_eq!(gone, [(key(1), "1".into()), (key(3), "3".into())]);
    assert_eq!(listed.allowed(), [2, 4]);
    assert_eq!(listed.roll.refresh(), Change::None);
    // written to in its place
    fs::write(&listed.path, lines(&[2, 4, 5])).unwrap();
    assert_eq!(listed.settled(), Change::Read(vec![]));
    assert_eq!(listed.allowed(), [2, 4, 5]);
}

#[test]
fn a_list_that_is_being_written_is_not_taken() {
    let listed = Listed::new(&[1, 2, 3]);
    // cut at the end of a line, it looks whole
    for written in [&[1][..], &[1, 2], &[1, 2, 3], &[1, 2, 3, 4]] {
        fs::write(&listed.path, lines(written)).unwrap();
        assert_eq!(listed.roll.refresh(), Change::None);
        assert_eq!(listed.allowed(), [1, 2, 3]);
    }
    assert_eq!(listed.roll.refresh(), Change::Read(vec![]));
    assert_eq!(listed.allowed(), [1, 2, 3, 4]);
}

#[test]
fn a_broken_list_keeps_the_old_one_and_is_told_once() {
    let listed = Listed::new(&[1]);
    listed.replace(&(lines(&[1, 2]) + "restrict ssh-ed25519 AAAA\n"));
    let wrong = "line 3 has options or a name before the key: remove them";
    assert_eq!(listed.settled(), listed.broken(wrong));
    assert_eq!(listed.roll.refresh(), Change::None);
    assert_eq!(listed.allowed(), [1]);
    listed.replace("");
    let empty = "there is no key in it, so nobody would be let in";
    assert_eq!(listed.settled(), listed.broken(empty));
    assert_eq!(listed.allowed(), [1]);
    listed.replace(&lines(&[2]));
    assert_eq!(listed.settled(), Change::Read(vec![(key(1), "1".into())]));
    assert_eq!(listed.allowed(), [2]);
}

#[test]
fn a_list_that_could_not_be_read_for_a_moment_is_read_then_and_that_is_told_once() {
    let listed = Listed::new(&[1, 2]);
    listed.replace(&lines(&[2]));
    assert_eq!(listed.roll.refresh(), Change::None, "before it has settled");
    let watch = listed.roll.watch.as_ref().unwrap();
    let wrong = || Err("too many open files".to_owned());
    assert_eq!(watch.look_with(|_| wrong()).unwrap().unwrap_err(), "too many open files");
    assert!(watch.look_with(|_| wrong()).is_none());
    assert_eq!(listed.allowed(), [1, 2]);
    assert_eq!(listed.roll.refresh(), Change::Read(vec![(key(1), "1".into())]));
    assert_eq!(listed.allowed(), [2]);
}

#[test]
fn a_list_that_is_gone_or_no_file_keeps_the_old_one() {
    let listed = Listed::new(&[1]);
    fs::remove_file(&listed.path).unwrap();
    assert_eq!(listed.settled(), listed.broken("no such file or directory"));
    assert_eq!(listed.roll.refresh(), Change::None);
    fs::create_dir(&listed.path).unwrap();
    assert_eq!(listed.settled(), listed.broken("this is a directory"));
    assert_eq!(listed.roll.refresh(), Change::None);
    fs::remove_dir(&listed.path).unwrap();
    listed.replace(&lines(&[1]));
    assert_eq!(listed.settled(), Change::Read(vec![]));
    assert_eq!(listed.allowed(), [1]);
}

#[test]
fn permissions_count_when_it_is_read_anew_too() {
    let listed = Listed::new(&[1]);
    fs::set_permissions(&listed.path, Permissions::from_mode(0o646)).unwrap();
    let wrong = "anybody may write to it (mode 0646): chmod o-w";
    assert_eq!(listed.settled(), listed.broken(wrong));
    assert_eq!(listed.allowed(), [1]);
}

#[test]
fn a_key_alone_is_never_looked_for() {
    let roll = Roll::only(key(1));
    assert_eq!(roll.refresh(), Change::None);
    assert!(roll.allows(&key(1)).is_some() && roll.allows(&key(2)).is_none());
}
