//! Files whose names are not in order, among others.

use super::room::Room;
use crate::util::{Process, free_port, millipede};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

/// Names that are refused, as they are shown, and why.
const BAD: [(&[u8], &str, &str); 5] = [
    (b"./-dash", r"./-dash", "has a part that begins with -"),
    (b"./\xff\xfe", r"./\xFF\xFE", "is not UTF-8"),
    (b"./new\nline", r"./new\nline", "has a control character in it"),
    (b"./t\tab", r"./t\tab", "has a control character in it"),
    (b"./d\x7fel", r"./d\u{7f}el", "has a control character in it"),
];

fn put(room: &Room, port: u16, files: &[OsString]) -> (Option<i32>, String) {
    let mut command = millipede(&["tx", "127.0.0.1", &port.to_string(), "patience", "2", "put"]);
    let command = command.args(files).current_dir(room.path("from"));
    Process::spawn(command.stdin(Stdio::null()).stdout(Stdio::null())).end()
}

#[test]
fn a_bad_name_is_said_and_the_other_files_are_stored() {
    let room = Room::new();
    let named = |name: &[u8]| OsStr::from_bytes(name).to_owned();
    for (name, ..) in BAD {
        std::fs::write(room.path("from").join(OsStr::from_bytes(name)), b"bad").unwrap();
    }
    room.write("sub/inner", b"inner");
    for name in ["first", "last"] {
        room.write(name, name.as_bytes());
    }
    let bad = BAD.map(|(name, ..)| named(name));
    let folders = [named(b"sub/"), named(b".")];
    let files = [&[named(b"first")][..], &bad, &folders, &[named(b"last")]].concat();
    let serve = room.serve_openly();
    let (code, said) = put(&room, serve.port, &files);
    assert_eq!(code, Some(3), "{said}\n{}", serve.process);
    for (_, shown, why) in BAD {
        let line = format!("millipede: \"{shown}\": not sent: the name {why}");
        assert!(said.lines().any(|said| said == line), "{line}\n{said}");
    }
    for folder in ["sub/", "."] {
        let line = format!("millipede: {folder:?}: not sent: it is a folder: name its files, or watch it");
        assert!(said.lines().any(|said| said == line), "{line}\n{said}");
    }
    assert_eq!(said.lines().count(), BAD.len() + folders.len(), "{said}");
    for name in ["first", "last"] {
        assert_eq!(room.stored(name), Some(name.into()), "{said}");
    }
    // the first one has the status
    let (code, said) = put(&room, serve.port, &[&folders[..], &bad[..1], &[named(b"last")]].concat());
    assert_eq!(code, Some(4), "{said}");
    // where none can be sent, that is all, whether there is a receiver or not
    let (code, said) = put(&room, free_port(), &[&bad[..], &[named(b"missing")]].concat());
    assert_eq!((code, said.lines().count()), (Some(3), BAD.len() + 1), "{said}");
    // by another name it is sent
    let words = ["tx", "127.0.0.1", &serve.port.to_string(), "name", "good", "put"].map(OsString::from);
    let sent = millipede(&[]).args(words).arg(&bad[1]).current_dir(room.path("from")).output().unwrap();
    assert_eq!((sent.status.code(), room.stored("good")), (Some(0), Some(b"bad".into())), "{sent:?}");
}
