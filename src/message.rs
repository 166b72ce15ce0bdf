//! Every line a user reads, and how much of them is wanted.
//!
//! A message begins with `millipede: ` and goes to stderr in one write, so that lines of threads, and of processes
//! sharing a terminal, do not interleave. What came from a peer or from the command line cannot move the cursor:
//! control characters become `?`. Nothing here ever writes to stdout, panics or fails: stderr may be closed or
//! full, and the transfer goes on.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write as _};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{PoisonError, RwLock};

/// What every line begins with.
const PREFIX: &str = "millipede: ";

/// The highest verbosity.
pub const LEVEL_MAX: u8 = 20;

static VERBOSITY: Verbosity = Verbosity::new();

/// Says one line, whatever the verbosity.
pub fn say(line: impl Display) {
    write(one_line(&line.to_string()).as_bytes());
}

/// Says several lines, each with the program's name before it, and nothing between them.
pub fn say_block(lines: &str) {
    write(lines.lines().map(one_line).collect::<String>().as_bytes());
}

/// Says a text that has the program's name where it belongs: a report.
pub fn say_text(text: &str) {
    write(text.lines().map(|line| cleaned(line) + "\n").collect::<String>().as_bytes());
}

/// Says one line although nothing else works any more, and passes by whatever keeps the terminal in order.
pub fn say_at_last(line: impl Display) {
    write_now(one_line(&line.to_string()).as_bytes());
}

/// Says a line at this verbosity and above; below, the line is not even made.
pub fn note(level: u8, line: impl FnOnce() -> String) {
    if self::level() >= level {
        say(line());
    }
}

/// Sets the verbosity, as given on the command line.
pub fn set_level(level: u8) {
    VERBOSITY.set(level);
}

/// The verbosity now.
pub fn level() -> u8 {
    VERBOSITY.level()
}

/// One more level of verbosity; after the highest, back to the one given. Safe in a signal handler.
pub fn raise() {
    VERBOSITY.raise();
}

/// The level given and the level now. `given` ≤ `now` ≤ [`LEVEL_MAX`].
struct Verbosity {
    given: AtomicU8,
    now: AtomicU8,
}

impl Verbosity {
    const fn new() -> Self {
        Self { given: AtomicU8::new(0), now: AtomicU8::new(0) }
    }

    fn set(&self, level: u8) {
        let level = level.min(LEVEL_MAX);
        self.given.store(level, Ordering::Relaxed);
        self.now.store(level, Ordering::Relaxed);
    }

    fn level(&self) -> u8 {
        self.now.load(Ordering::Relaxed)
    }

    fn raise(&self) {
        let given = self.given.load(Ordering::Relaxed);
        let next = |now| Some(if now < LEVEL_MAX { now + 1 } else { given });
        // The closure never declines, so the update cannot fail.
        let _ = self.now.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
    }
}

/// The line as it is written: the program's name, no control characters, a newline.
fn one_line(line: &str) -> String {
    format!("{PREFIX}{}\n", cleaned(line.trim_end_matches(['\n', '\r'])))
}

fn cleaned(line: &str) -> String {
    line.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// What is done with a write by whoever draws on the same terminal.
pub type Around = Box<dyn Fn(&dyn Fn()) + Send + Sync>;

static AROUND: RwLock<Option<Around>> = RwLock::new(None);

/// From now on every write is left to this, or to nobody.
pub fn write_around(around: Option<Around>) {
    *AROUND.write().unwrap_or_else(PoisonError::into_inner) = around;
}

fn write(bytes: &[u8]) {
    match &*AROUND.read().unwrap_or_else(PoisonError::into_inner) {
        Some(around) => around(&|| write_now(bytes)),
        None => write_now(bytes),
    }
}

/// One write to stderr, which std does not buffer. A rest that does not fit is dropped rather than written later
/// between other lines; only an interrupted call, which wrote nothing, is made again.
fn write_now(bytes: &[u8]) {
    let mut stderr = io::stderr().lock();
    while let Err(error) = stderr.write(bytes)
        && error.kind() == ErrorKind::Interrupted
    {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_with_the_name_before_it() {
        assert_eq!(one_line("link 1: gone"), "millipede: link 1: gone\n");
        assert_eq!(one_line("ends in a newline\r\n"), "millipede: ends in a newline\n");
        assert_eq!(one_line(""), "millipede: \n");
    }

    #[test]
    fn control_characters_cannot_reach_the_terminal() {
        assert_eq!(one_line("a\nb\u{1b}[2Jc\u{7f}\u{9b}d\te"), "millipede: a?b?[2Jc??d?e\n");
        assert_eq!(one_line("grün → 1 MiB"), "millipede: grün → 1 MiB\n");
    }

    #[test]
    fn raising_goes_up_to_the_highest_and_back_to_the_level_given() {
        let verbosity = Verbosity::new();
        assert_eq!(verbosity.level(), 0);
        verbosity.set(18);
        let seen: Vec<u8> = (0..4).map(|_| (verbosity.raise(), verbosity.level()).1).collect();
        assert_eq!(seen, [19, 20, 18, 19]);
    }

    #[test]
    fn a_level_given_beyond_the_highest_is_the_highest() {
        let verbosity = Verbosity::new();
        verbosity.set(255);
        assert_eq!(verbosity.level(), LEVEL_MAX);
        verbosity.raise();
        assert_eq!(verbosity.level(), LEVEL_MAX);
    }

    #[test]
    fn a_note_above_the_verbosity_is_not_made() {
        // No test raises the process's own verbosity.
        note(1, || unreachable!("made at verbosity 0"));
    }
}
