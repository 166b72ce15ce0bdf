//! The command line: words as typed become a checked [`Task`].
//!
//! The bare words, in any order, are the documented form; each is accepted as a long option too. The steps, each a
//! file: `words` is the table of words, `typed` turns bare words into options and lets clap parse these, `value`
//! reads one operand, `checked` makes the plan, `wrong` says what is wrong, `help` explains. Nothing here prints,
//! exits or resolves a name; it looks at files only to explain a wrong word, and at the memory there is.

mod checked;
mod help;
mod typed;
mod value;
mod words;
mod wrong;

pub use words::{Operands, Side, WORDS, Word, word};

use std::ffi::OsString;

use crate::plan::Task;

/// Why there is nothing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The user asked for this text: print it to stdout and end well.
    Print(String),
    /// The command line is wrong: say these lines, which do not have the program's name yet, and exit 2.
    Usage(String),
}

/// A bare sentence is a usage error.
impl From<String> for Stop {
    fn from(sentence: String) -> Self {
        Self::Usage(sentence)
    }
}

/// What the command line asks for, given without the program's own name.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Task, Stop> {
    let args = args.into_iter().map(readable).collect::<Result<Vec<_>, _>>()?;
    if args.is_empty() {
        return Err(Stop::Usage(help::alone().to_owned()));
    }
    let typed = typed::parse(&args)?;
    Ok(checked::task(&typed)?)
}

/// Every argument is text: a name, a number, or a command that is shown in messages.
fn readable(arg: OsString) -> Result<String, String> {
    arg.into_string().map_err(|arg| format!("{arg:?} is not valid UTF-8"))
}

#[cfg(test)]
mod tests;
