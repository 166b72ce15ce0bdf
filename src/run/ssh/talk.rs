//! What is said through ssh before the session: read and written within bounds of size and time.

use super::carrier::{Carrier, LOGGED_IN};
use crate::channel::Channel;
use crate::message;
use crate::proto::hello::VERSION;
use crate::proto::rendezvous::{Answer, Greeting, Wrong};
use crate::sys::child::Exit;
use crate::sys::pipe::{Interest, wait};
use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

/// How the user is told whose key a connection has: both ends made theirs for this session.
pub(super) const ONE_TIME: &str = "of this session alone";

/// How long a login may take in all: servers give up after two minutes, each address of a host may take one to answer.
const LOGIN: Duration = Duration::from_secs(300);
/// The user is told after this time that nothing has come: ssh itself says nothing about a program that waits.
const PATIENT: Duration = Duration::from_secs(20);
/// Once something was printed, the login is over: what is left is a login shell's own work, and homes may be far.
const AFTER_NOISE: Duration = Duration::from_secs(60);
/// The same where ssh has said that the login is over: a login shell that takes so long is rarer than a command that waits
/// for its input in its place.
const AFTER_LOGIN: Duration = Duration::from_secs(30);
/// How long ssh may take to end once its stdout has.
const CLOSING: Duration = Duration::from_secs(10);
/// How long the near end may take to answer.
pub(crate) const ANSWER: Duration = Duration::from_secs(60);
/// How much of what came instead of a greeting is shown, in characters.
const SHOWN: usize = 60;

/// Why there was no greeting.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoGreeting {
    /// ssh itself failed, and has said why.
    Ssh,
    /// Something else; for the user.
    Other(String),
}

/// Waits for the greeting of `host`, where `program` was to be started, or the millipede in its PATH.
///
/// # Errors
/// There is none.
pub(crate) fn await_greeting(
    channel: &Channel,
    carrier: &Carrier,
    host: &str,
    program: Option<&str>,
) -> Result<Greeting, NoGreeting> {
    let began = Instant::now();
    let (mut heard, mut searched, mut logged_in) = (Vec::new(), 0, false);
    let (mut until, mut untold) = (began + LOGIN, Some(began + PATIENT));
    loop {
        match Greeting::find(&heard, &mut searched) {
            Ok(Some((greeting, _))) => return Ok(greeting),
            Ok(None) => {}
            Err(wrong) => return Err(NoGreeting::Other(unfit(host, wrong, &heard))),
        }
        let now = Instant::now();
        if now >= until {
            return Err(NoGreeting::Other(too_late(host, now - began, logged_in, &heard)));
        }
        if untold.is_some_and(|at| now >= at) {
            untold = None;
            // what has printed something is past all passwords
            let cause = if heard.is_empty() { "a password to type" } else { "a slow login" };
            message::say(format_args!("no greeting from {host} yet: {cause}, or a forced command?"));
        }
        let mut chunk = [0; 4096];
        match (&mut &*channel).read(&mut chunk) {
            Ok(0) => return Err(no_greeting(host, program, carrier.await_exit(CLOSING), &heard)),
            Ok(n) => {
                heard.extend_from_slice(&chunk[..n]);
                if take(&mut heard, LOGGED_IN) {
                    // what is left to wait for is short: one line at its end is enough
                    (logged_in, untold, searched) = (true, None, 0);
                }
                until = until.min(now + if logged_in { AFTER_LOGIN } else { AFTER_NOISE });
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                let left = untold.map_or(until, |at| at.min(until)).saturating_duration_since(now);
                // if waiting fails, so does the next reading
                let _ = wait(&[Interest::read(&channel.readable())], Some(left));
            }
            Err(e) => return Err(NoGreeting::Other(format!("cannot read from ssh: {e}"))),
        }
    }
}

/// Takes a line out of what was heard; whether it was there.
fn take(heard: &mut Vec<u8>, line: &[u8]) -> bool {
    let at = heard.windows(line.len()).position(|bytes| bytes == line);
    at.inspect(|at| drop(heard.drain(*at..at + line.len()))).is_some()
}

/// There was time enough for a greeting.
fn too_late(host: &str, time: Duration, logged_in: bool, heard: &[u8]) -> String {
    match heard {
        [] if logged_in => format!("no millipede answers at {host}: a forced command? It said nothing"),
        [] => format!("nothing from {host} in {} s: no password, or a forced command?", time.as_secs()),
        _ => unfit(host, Wrong::Foreign, heard),
    }
}

/// Something came that is not the greeting of a far end that this end can work with.
fn unfit(host: &str, wrong: Wrong, heard: &[u8]) -> String {
    match wrong {
        Wrong::Version(theirs) => {
            format!("millipede at {host} speaks version {theirs}, not {VERSION}: install the same release")
        }
        Wrong::Foreign | Wrong::Malformed => {
            format!("no millipede answers at {host}: a forced command?{}", said(heard))
        }
    }
}

/// ssh has ended before any greeting.
fn no_greeting(host: &str, program: Option<&str>, exit: Option<Exit>, heard: &[u8]) -> NoGreeting {
    NoGreeting::Other(match exit {
        // what ssh itself fails with; a shell never does
        Some(Exit::Status(255)) => return NoGreeting::Ssh,
        Some(Exit::Status(127)) => match program {
            Some(program) => format!("no {program} at {host}"),
            None => format!("no millipede in the PATH at {host}: install it, or say program PATH"),
        },
        Some(Exit::Status(126)) => format!("{host} cannot run its millipede: is it for another machine?"),
        Some(Exit::Status(status)) => {
            format!(
                "no start at {host} (status {status}): a forced command, or another release?{}",
                said(heard)
            )
        }
        Some(Exit::Signal(signal)) => format!("ssh was killed by signal {signal}"),
        None => "ssh has closed its output, and goes on".to_owned(),
    })
}

/// The last line of what came; a whole one, if there is one.
fn said(heard: &[u8]) -> String {
    let whole = heard.iter().rposition(|byte| *byte == b'\n').map_or(heard.len(), |end| end);
    let whole = if heard[..whole].trim_ascii().is_empty() { heard } else { &heard[..whole] };
    let text = String::from_utf8_lossy(whole);
    match text.lines().map(str::trim).rfind(|line| !line.is_empty()) {
        // what nobody could read says little, however much there is of it
        Some(line) if line.chars().all(|c| c.is_control() || c == char::REPLACEMENT_CHARACTER) => {
            " It said nothing legible".to_owned()
        }
        Some(line) => format!(" It said: {}", line.chars().take(SHOWN).collect::<String>()),
        None => String::new(),
    }
}

/// Says something, within this time.
///
/// # Errors
/// The kernel's; the peer may be gone.
pub(crate) fn say(mut channel: &Channel, mut unsaid: &[u8], time: Duration) -> io::Result<()> {
    let until = Instant::now() + time;
    while !unsaid.is_empty() {
        match channel.write(unsaid) {
            Ok(n) => unsaid = &unsaid[n..],
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(ErrorKind::TimedOut.into());
                }
                wait(&[Interest::write(&channel.writable())], Some(left))?;
            }
            Err(e) => return Err(e),
        }
    }
    channel.flush()
}

/// Waits for the near end's answer, and gives also what came behind it. None if there will be none.
pub(crate) fn await_answer(channel: &Channel) -> Option<(Answer, Vec<u8>)> {
    let (mut heard, until) = (Vec::new(), Instant::now() + ANSWER);
    loop {
        if let Some((answer, length)) = Answer::decode(&heard).ok()? {
            return Some((answer, heard.split_off(length)));
        }
        let mut chunk = [0; 4096];
        match (&mut &*channel).read(&mut chunk) {
            Ok(0) => return None,
            Ok(n) => heard.extend_from_slice(&chunk[..n]),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return None;
                }
                wait(&[Interest::read(&channel.readable())], Some(left)).ok()?;
            }
            Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ssh_says_of_the_login_is_no_part_of_what_the_host_says() {
        let mut heard = b"banner\nmillipede: logged in\nhello\n".to_vec();
        assert!(take(&mut heard, LOGGED_IN) && heard == b"banner\nhello\n");
        assert!(!take(&mut heard, LOGGED_IN) && heard == b"banner\nhello\n");
    }

    #[test]
    fn the_likely_reason_is_one_line_that_says_what_to_do() {
        let other = |exit, heard: &[u8]| match no_greeting("backup", None, exit, heard) {
            NoGreeting::Other(line) => line,
            NoGreeting::Ssh => "ssh's own".to_owned(),
        };
        assert_eq!(other(Some(Exit::Status(255)), b"noise"), "ssh's own");
        assert!(other(Some(Exit::Status(127)), b"").contains("install it, or say program PATH"));
        let named = no_greeting("backup", Some("/opt/millipede"), Some(Exit::Status(127)), b"");
        assert_eq!(named, NoGreeting::Other("no /opt/millipede at backup".into()));
        let restricted = other(Some(Exit::Status(1)), b"hello\nThis account is restricted.\n\n");
        assert!(restricted.ends_with("It said: This account is restricted."), "{restricted}");
        let later = unfit("backup", Wrong::Version(9), b"");
        assert!(later.contains("speaks version 9") && later.contains("same release"), "{later}");
        let endless = unfit("backup", Wrong::Foreign, b"y\nthat is it\nthat");
        assert!(endless.ends_with("It said: that is it"), "{endless}");
        assert!(unfit("backup", Wrong::Foreign, b"\nno end of line").ends_with("It said: no end of line"));
        let binary = unfit("backup", Wrong::Foreign, &[[0, 0xff]; 30_000].concat());
        assert!(binary.ends_with("a forced command? It said nothing legible"), "{binary}");
        let silent = too_late("backup", LOGIN, false, b"");
        assert!(silent.contains("300 s") && silent.contains("password") && silent.contains("forced"));
        assert!(too_late("backup", LOGIN, false, b"a banner\n").ends_with("It said: a banner"));
        let waits = too_late("backup", AFTER_LOGIN, true, b"");
        assert!(waits.contains("forced command") && !waits.contains("password"), "{waits}");
        // behind "millipede: ", without what the far host adds
        let others = [126, 127, 1].map(|status| other(Some(Exit::Status(status)), b""));
        for line in [&later, &silent, &unfit("backup", Wrong::Foreign, b"")].into_iter().chain(&others) {
            assert!(line.len() <= 80 - 11, "{} columns: {line}", line.len() + 11);
        }
        let long = unfit("backup", Wrong::Foreign, &[b'x'; 5000]);
        assert!(long.contains("forced command") && long.len() < 200, "{long}");
    }
}
