//! Every line a user reads, and how much of them is wanted.
//!
//! A message begins with `millipede: ` and goes to stderr in one write, so that lines of threads, and of processes
//! sharing a terminal, do not interleave. A thread of its own writes them: whoever says something never waits, and
//! lines that stderr does not take in time are dropped and counted. What came from a peer or from the command line
//! cannot move the cursor or hide anything. Nothing here ever writes to stdout, panics or fails.
//!
//! ```text
//! say, note, peer ─▶ level, limit ─▶ text ─▶ queue ─▶ printer ═▶ stderr      live line: show ─▶ screen ─▶ printer
//! ```

mod level;
mod limit;
pub(crate) mod notices;
mod printer;
mod queue;
mod screen;
pub(crate) mod text;

pub(crate) use level::{LEVEL_MAX, Reader, reader};
pub(crate) use limit::Kind;
pub(crate) use screen::LiveLines;

use std::fmt::Display;
use text::{LINE_MAX, bounded, cleaned, one_line};

static VERBOSITY: level::Verbosity = level::Verbosity::new();

static PRINTER: printer::Printer = printer::Printer::new();

// ---- saying ---------------------------------------------------------------------------------------------

/// Says one line, whatever the verbosity.
pub fn say(line: impl Display) {
    PRINTER.say(one_line(&line.to_string()));
}

/// Says several lines, each with the program's name before it, and nothing between them.
pub fn say_block(lines: &str) {
    PRINTER.say(lines.lines().map(one_line).collect());
}

/// Says a text that has the program's name where it belongs: a report.
pub(crate) fn say_text(text: &str) {
    PRINTER.say(text.lines().map(|line| bounded(&cleaned(line), LINE_MAX) + "\n").collect());
}

/// Says a line at this verbosity and above; below, the line is not even made.
pub(crate) fn note(level: u8, line: impl FnOnce() -> String) {
    if self::level() >= level {
        say(line());
    }
}

/// Says a line that a peer or a stranger has caused, at this verbosity and above. Of each kind a few are said; how
/// many more there were is told later, with the kind's name. One that is not said is not even made.
pub(crate) fn peer(level: u8, kind: Kind, line: impl FnOnce() -> String) {
    if self::level() >= level && PRINTER.may_say(kind) {
        say(line());
    }
}

/// Says a line of what goes well, or of what others do here: where a person or a service's journal reads it, unless
/// `quiet`; elsewhere from verbosity 1 on.
pub fn announce(line: impl FnOnce() -> String) {
    note(watched(1), line);
}

/// Says a line that is worth a person's while though nothing failed, unless `quiet`.
pub(crate) fn remark(line: impl FnOnce() -> String) {
    if !VERBOSITY.is_quiet() {
        say(line());
    }
}

/// Says one line although nothing else works any more, after what waits: at once or not at all.
pub fn say_at_last(line: impl Display) {
    PRINTER.say_at_last(&one_line(&line.to_string()));
}

/// From now on this stands below the lines, or nothing; stderr is a terminal.
pub(crate) fn show(live: Option<LiveLines>) {
    PRINTER.show(live);
}

/// Waits until everything said has been written, but not for a stderr that takes nothing.
pub fn finish() {
    PRINTER.finish(std::io::stderr());
}

// ---- how much is wanted -----------------------------------------------------------------------------------

/// Sets the verbosity, as given on the command line.
pub fn set_level(level: u8) {
    VERBOSITY.set(level);
}

/// Sets whether nothing is wanted but what went wrong, as given on the command line.
pub fn set_quiet(quiet: bool) {
    VERBOSITY.set_quiet(quiet);
}

/// The verbosity now.
pub(crate) fn level() -> u8 {
    VERBOSITY.level()
}

/// One more level of verbosity; after the highest, back to the one given. Says which it is now.
pub(crate) fn raise() {
    say(notices::level_is(VERBOSITY.raise()));
}

/// The verbosity from which on a line is said that a person or a service's journal always gets, unless `quiet`, and
/// others at this level.
pub(crate) fn watched(level: u8) -> u8 {
    if reader() == Reader::Other || VERBOSITY.is_quiet() { level } else { 0 }
}

/// The same where only the journal always gets it: a person at a terminal has asked for nothing of the kind.
pub(crate) fn journaled(level: u8) -> u8 {
    if reader() == Reader::Journal { watched(level) } else { level }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_with_the_name_before_it() {
        assert_eq!(one_line("link 1: gone"), "millipede: link 1: gone\n");
        assert_eq!(one_line("ends in a newline\r\n"), "millipede: ends in a newline\n");
        assert_eq!(one_line(""), "millipede: \n");
        assert!(one_line(&"x".repeat(100_000)).len() < 4096, "a pipe takes it in one piece");
    }

    #[test]
    fn control_characters_cannot_reach_the_terminal() {
        assert_eq!(one_line("a\nb\u{1b}[2Jc\u{7f}\u{9b}d\te"), "millipede: a?b?[2Jc??d?e\n");
        assert_eq!(one_line("grün → 1 MiB"), "millipede: grün → 1 MiB\n");
    }

    #[test]
    fn a_note_above_the_verbosity_is_not_made() {
        // No test raises the process's own verbosity.
        note(1, || unreachable!("made at verbosity 0"));
        peer(1, "a test", || unreachable!("made at verbosity 0"));
    }
}
