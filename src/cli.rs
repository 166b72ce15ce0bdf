//! The command line: words as typed become a checked [`Task`].
//!
//! `ssh` takes all that follows it, as it is; so does `far`, which is not in the table: nobody but `ssh` says it. The
//! files of `put` are what follows it too, and need not be text either.
//!
//! The bare words, in any order, are the documented form; each is accepted as a long option too. The steps, each a
//! file: `words` is the table of words, `entry` what is in it, `typed` turns bare words into options and lets clap
//! parse these, `value` reads one operand, `checked` makes the plan, `wrong` says what is wrong, `help` explains.
//! Nothing here prints, exits or resolves a name; it looks at files only to explain a wrong word, and at the memory
//! there is.

mod checked;
mod entry;
mod help;
mod stop;
mod typed;
mod value;
mod words;
mod wrong;

pub use entry::{Operands, Side, Word};
pub use stop::Stop;
pub use words::{WORDS, word};

use std::ffi::OsString;

use crate::plan::Task;

/// What the command line asks for, given without the program's own name.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Task, Stop> {
    let args: Vec<OsString> = args.into_iter().collect();
    match args.split_first() {
        None => return Err(Stop::Usage(help::alone().to_owned())),
        Some((first, rest)) if first == "far" => return Ok(Task::Far(checked::far(rest)?)),
        Some(_) => {}
    }
    let shown: Vec<String> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let typed = typed::parse(&shown);
    // what is not text is the first thing to be said, and what follows `ssh` or `put` need not be
    let ours = typed.as_ref().map_or(args.len(), |(_, ours)| *ours);
    args[..ours].iter().try_for_each(readable)?;
    let (typed, _) = typed?;
    Ok(checked::task(&typed, &args[ours..])?)
}

/// Every argument is text: a name, a number, or a command that is shown in messages.
fn readable(arg: &OsString) -> Result<(), String> {
    arg.to_str().map(drop).ok_or_else(|| format!("{arg:?} is not valid UTF-8"))
}

#[cfg(test)]
mod tests;
