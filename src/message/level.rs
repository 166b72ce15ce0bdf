//! How much is wanted: the verbosity, `quiet`, and who reads stderr.

use std::env;
use std::fmt::Display;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// The highest verbosity.
pub(crate) const LEVEL_MAX: u8 = 20;

/// The level given and the level now. `given` ≤ `now` ≤ [`LEVEL_MAX`].
pub(crate) struct Verbosity {
    given: AtomicU8,
    now: AtomicU8,
    quiet: AtomicBool,
}

impl Verbosity {
    /// Level 0, not quiet.
    pub(crate) const fn new() -> Self {
        Self { given: AtomicU8::new(0), now: AtomicU8::new(0), quiet: AtomicBool::new(false) }
    }

    /// As given on the command line.
    pub(crate) fn set(&self, level: u8) {
        let level = level.min(LEVEL_MAX);
        self.given.store(level, Ordering::Relaxed);
        self.now.store(level, Ordering::Relaxed);
    }

    /// As given on the command line.
    pub(crate) fn set_quiet(&self, quiet: bool) {
        self.quiet.store(quiet, Ordering::Relaxed);
    }

    /// The level now.
    pub(crate) fn level(&self) -> u8 {
        self.now.load(Ordering::Relaxed)
    }

    /// Whether `quiet` holds: from verbosity 1 on it does not.
    pub(crate) fn is_quiet(&self) -> bool {
        self.level() == 0 && self.quiet.load(Ordering::Relaxed)
    }

    /// One level more; after the highest, back to the one given. The level then.
    pub(crate) fn raise(&self) -> u8 {
        let given = self.given.load(Ordering::Relaxed);
        let next = |now| if now < LEVEL_MAX { now + 1 } else { given };
        let raised = self.now.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| Some(next(now)));
        // the closure never declines
        raised.map_or(given, next)
    }
}

/// Who reads stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// A person, now.
    Terminal,
    /// The journal of a service: a person, later.
    Journal,
    /// A file, a pipe, another program.
    Other,
}

/// Who reads stderr, as it was when this was first asked.
pub(crate) fn reader() -> Reader {
    static READER: OnceLock<Reader> = OnceLock::new();
    *READER.get_or_init(|| match rustix::fs::fstat(io::stderr()) {
        _ if rustix::termios::isatty(io::stderr()) => Reader::Terminal,
        Ok(file) if is_journal(file.st_dev, file.st_ino, env::var("JOURNAL_STREAM").ok()) => Reader::Journal,
        _ => Reader::Other,
    })
}

/// Whether `$JOURNAL_STREAM` names the file with these numbers. A child whose stderr was redirected inherits the
/// variable, not the stream.
fn is_journal(device: impl Display, inode: impl Display, variable: Option<String>) -> bool {
    variable.is_some_and(|stream| stream == format!("{device}:{inode}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raising_goes_up_to_the_highest_and_back_to_the_level_given() {
        let verbosity = Verbosity::new();
        assert_eq!(verbosity.level(), 0);
        verbosity.set(18);
        let seen: Vec<(u8, u8)> = (0..4).map(|_| (verbosity.raise(), verbosity.level())).collect();
        assert_eq!(seen, [(19, 19), (20, 20), (18, 18), (19, 19)]);
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
    fn quiet_ends_where_more_is_asked_for() {
        let verbosity = Verbosity::new();
        assert!(!verbosity.is_quiet());
        verbosity.set_quiet(true);
        assert!(verbosity.is_quiet());
        verbosity.raise();
        assert!(!verbosity.is_quiet());
    }

    #[test]
    fn the_journal_is_known_by_its_numbers() {
        let named = |variable: &str| is_journal(9, 1234, Some(variable.to_owned()));
        assert!(named("9:1234") && !is_journal(9, 1234, None));
        for other in ["", "9", "9:", ":1234", "9:1235", "8:1234", "9:1234:5", "x:y"] {
            assert!(!named(other), "{other}");
        }
    }
}
