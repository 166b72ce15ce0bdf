//! Says what is wrong with the command line, and what was probably meant.
//!
//! Every sentence is one line that names the word. A guess is made only where it is likely to be right: a word that
//! is one or two letters away, a file, or a command without quotes.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::error::Error as _;
use std::path::Path;

use super::entry::{Operands, Word};
use super::stop::Stop;
use super::words::{WORDS, split, word};

/// What clap found, in our words.
pub(super) fn told_by_clap(error: &clap::Error) -> Stop {
    let named = |kind| context(error, kind).and_then(|option| word(split(name(&option)).0));
    let Some(wrong) = named(ContextKind::InvalidArg) else {
        return match error.kind() {
            ErrorKind::DisplayVersion => Stop::Print(error.to_string()),
            _ => error.to_string().lines().next().unwrap_or_default().to_owned().into(),
        };
    };
    match (error.kind(), named(ContextKind::PriorArg), error.source()) {
        (ErrorKind::ArgumentConflict, Some(prior), _) if prior.name != wrong.name => exclusive(prior, wrong),
        (ErrorKind::ArgumentConflict, ..) => format!("{} is given twice", wrong.name),
        (ErrorKind::ValueValidation, _, Some(why)) => format!("{}: {why}", wrong.name),
        _ => wants(wrong),
    }
    .into()
}

/// Two words that exclude each other, in the order of the table.
pub(super) fn exclusive(one: &Word, other: &Word) -> String {
    let place = |word: &Word| WORDS.iter().position(|known| known.name == word.name);
    let (first, second) = if place(one) < place(other) { (one, other) } else { (other, one) };
    let why = if first.is_source && second.is_source { ": each is the stream's source" } else { "" };
    format!("{} and {} exclude each other{why}", first.name, second.name)
}

/// What must follow a word.
pub(super) fn wants(word: &Word) -> String {
    match word.operands {
        Operands::None => format!("{} stands alone, without a value", word.name),
        operands => format!("{} wants {}: {}", word.name, operands.shown(), word.short),
    }
}

/// The first of `rest`, the end of all `args`, is no word; it stands behind `before` and its operands.
pub(super) fn unknown(args: &[String], rest: &[String], before: Option<&Word>) -> String {
    let typed = &rest[0];
    if before.is_some_and(|word| matches!(word.operands, Operands::Programs(..))) {
        return format!(
            "unknown word {typed:?}; through takes ENCODE and DECODE with tx or duplex, and DECODE alone with rx: \
             quote each, as in through \"gzip -1\" \"gzip -d\""
        );
    }
    if let Some(word) = before.filter(|word| matches!(word.operands, Operands::Command(_))) {
        return unquoted(word.name, &args[..args.len() - rest.len()], rest);
    }
    let file = !typed.starts_with('-') && !typed.contains('=');
    if file && typed.contains(['/', '.']) {
        return redirected(args, typed);
    }
    match meant(typed) {
        None if file && !typed.is_empty() && Path::new(typed).exists() => redirected(args, typed),
        _ => no_such_word(typed),
    }
}

/// There is no such word; perhaps another was meant.
pub(super) fn no_such_word(typed: &str) -> String {
    match meant(typed) {
        Some(meant) => format!("unknown word {typed:?}; did you mean {meant:?}?"),
        None => format!("unknown word {typed:?}; \"millipede help\" shows the words"),
    }
}

/// The command of the word `name`, which the shell has taken apart; `before` ends with its first piece.
fn unquoted(name: &str, before: &[String], rest: &[String]) -> String {
    let typed = before.last().map_or("", String::as_str);
    let first = typed.strip_prefix(&format!("--{name}=")).unwrap_or(typed);
    let others = rest.iter().map(String::as_str).take_while(|typed| word(split(typed).0).is_none());
    let pieces: Option<Vec<String>> = [first].into_iter().chain(others).map(quoted).collect();
    let command = pieces.map_or_else(|| "COMMAND ...".to_owned(), |pieces| pieces.join(" "));
    format!("{name} takes the command as one argument: quote it, as in {name} \"{command}\"")
}

/// A piece of a command, as it stands between double quotes; `None` if that would be hard to read.
fn quoted(piece: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "%+,-./:=@_^~".contains(c);
    match piece {
        "" => None,
        _ if piece.chars().all(plain) => Some(piece.to_owned()),
        _ if piece.contains(['\'', '"', '\\', '$', '`', '!']) => None,
        _ => Some(format!("'{piece}'")),
    }
}

/// A file where a word should be.
fn redirected(args: &[String], file: &str) -> String {
    let given = |name: &str| args.iter().any(|typed| split(typed).0 == name);
    let hint = match (given("rx"), given("tx")) {
        (true, false) => format!("to write the stream to a file, redirect stdout: > {file}"),
        (false, true) => format!("to send a file, redirect stdin: < {file}"),
        _ => "files are redirected with < and >".to_owned(),
    };
    format!("unknown word {file:?}; {hint}")
}

/// The word that was meant, and what belongs to it, if that is likely.
fn meant(typed: &str) -> Option<String> {
    let (name, value) = match name(typed).split_once('=') {
        Some((name, value)) => (name, format!(" {value}")),
        None => (name(typed), String::new()),
    };
    let known = word(name).map(|word| word.name);
    let closest = || {
        let spellings =
            WORDS.iter().flat_map(|word| [word.name].into_iter().chain(word.aliases.iter().copied()));
        let near = spellings.map(|word| (strsim::osa_distance(name, word), word));
        // one slip in a short word makes another word: of two letters nothing is guessed
        near.filter(|(distance, word)| *distance <= (word.len().min(name.len()) / 3).min(2)).min()
    };
    let meant = known.or_else(|| closest().map(|(_, word)| word))?;
    Some(format!("{meant}{value}"))
}

/// An option without its dashes, and without the operands that clap shows behind it.
fn name(option: &str) -> &str {
    option.trim_start_matches('-').split(' ').next().unwrap_or_default()
}

fn context(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => texts.first().cloned(),
        _ => None,
    }
}
