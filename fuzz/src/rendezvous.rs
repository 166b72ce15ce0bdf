//! What comes through ssh before a session, and what ssh is asked and says.

use super::script::Script;
use millipede::proto::hello::VERSION;
use millipede::proto::rendezvous::{ANSWER_MAGIC, Answer, COMMAND_MAX, GREETING_MAGIC, Greeting, NOISE_MAX};
use millipede::ssh::{Reading, Resolved, read};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// Bytes of a login shell and a far end, bytes of a near end, a command line of ssh, and what ssh prints.
pub fn rendezvous(data: &[u8]) {
    let mut script = Script::new(data);
    match script.byte() % 4 {
        0 => greeting(&message(&mut script, GREETING_MAGIC)),
        1 => answer(&message(&mut script, ANSWER_MAGIC)),
        2 => line(script.rest()),
        _ => drop(Resolved::parse(&String::from_utf8_lossy(script.rest()))),
    }
}

/// Bytes as they are, or a body in a sound envelope behind noise.
fn message(script: &mut Script, magic: [u8; 8]) -> Vec<u8> {
    if script.odd() {
        return script.rest().to_vec();
    }
    let noise = script.below(32);
    let (noise, body) = (script.take(noise).to_vec(), script.rest());
    let mut sound = [&magic[..], &[VERSION], &(body.len() as u32).to_be_bytes(), body].concat();
    sound.extend(crc32fast::hash(&sound).to_be_bytes());
    [noise, sound].concat()
}

fn greeting(bytes: &[u8]) {
    match Greeting::find(bytes, &mut 0) {
        Ok(Some((greeting, end))) => assert!(bytes[..end].ends_with(&greeting.encode())),
        Ok(None) => assert!(bytes.len() <= NOISE_MAX),
        Err(_) => {}
    }
}

fn answer(bytes: &[u8]) {
    if let Ok(Some((answer, length))) = Answer::decode(bytes) {
        assert!(answer.command.len() <= COMMAND_MAX);
        assert_eq!(answer.encode(), bytes[..length], "it stands on the wire in one way");
    }
}

/// Arguments, parted by zeros.
fn line(bytes: &[u8]) {
    let args: Vec<OsString> =
        bytes.split(|byte| *byte == 0).map(|arg| OsStr::from_bytes(arg).to_owned()).collect();
    if let Reading::Command(line) = read(&args) {
        assert!(!line.command.is_empty() && !line.host.is_empty());
        assert!(line.options.len() < args.len());
    }
}
