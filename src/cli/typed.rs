//! Words as typed: which words were given, with which operands.
//!
//! 1 [`canonical`] rewrites bare words and their operands as options; it alone knows where a word may stand, so that
//!   an operand may look like a word (`tx rx 99` sends to a host called rx).
//! 2 clap parses these: it finds repetitions, and knows which word was meant by a misspelt one.
//!
//! What the operands say is not looked at here, except to tell `[ADDRESS] PORT` from `PORT`.

use clap::builder::ValueRange;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::{Operands, Stop, WORDS, Word, help, value, word};

/// The words given; operands still as typed.
pub(super) struct Typed(ArgMatches);

impl Typed {
    /// Whether the word was given.
    pub(super) fn given(&self, name: &str) -> bool {
        self.0.value_source(name) == Some(ValueSource::CommandLine)
    }

    /// The operands of a word that does not repeat.
    pub(super) fn operands(&self, name: &str) -> Option<Vec<&str>> {
        self.0.get_many::<String>(name).map(|operands| operands.map(String::as_str).collect())
    }

    /// The operands of each time the word was given, and where: a later one has a higher place.
    pub(super) fn each(&self, name: &str) -> Vec<(usize, Vec<&str>)> {
        let Some(times) = self.0.get_occurrences::<String>(name) else { return Vec::new() };
        let mut places = self.0.indices_of(name).into_iter().flatten();
        times
            .map(|operands| {
                let operands: Vec<&str> = operands.map(String::as_str).collect();
                (places.by_ref().take(operands.len()).last().unwrap_or_default(), operands)
            })
            .collect()
    }
}

/// Reads the command line, given without the program's own name.
pub(super) fn parse(args: &[String]) -> Result<Typed, Stop> {
    let options = canonical(args)?;
    command().try_get_matches_from(options).map(Typed).map_err(|error| sentence(&error).into())
}

/// The same command line with every word as an option that has all its operands; what asks for help ends it here.
fn canonical(args: &[String]) -> Result<Vec<String>, Stop> {
    let mut options = vec!["millipede".to_owned()];
    let mut rest = args;
    while let Some((first, after)) = rest.split_first() {
        let (name, inline) = split(first);
        let word = word(name).ok_or_else(|| unknown(first))?;
        let next: Vec<&str> = inline.into_iter().chain(after.iter().map(String::as_str)).take(2).collect();
        let count = count(word.operands, &next, inline.is_some()).ok_or_else(|| too_few(word, &next))?;
        let operands = &next[..count];
        match word.name {
            "help" => return Err(explain(operands.first().copied())),
            "version" => return Err(Stop::Print(help::version())),
            name => push(&mut options, name, operands),
        }
        rest = &after[count - usize::from(inline.is_some())..];
    }
    Ok(options)
}

/// A word as typed, without its dashes, and the operand behind its `=`.
fn split(typed: &str) -> (&str, Option<&str>) {
    match (typed, typed.strip_prefix("--")) {
        ("-h", _) => ("help", None),
        ("-V", _) => ("version", None),
        (_, Some(long)) => long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value))),
        (bare, None) => (bare, None),
    }
}

/// How many of the next two arguments are operands of a word; `None`: too few. The first one certainly is if it
/// stood behind a `=`. A word in dashes ends the operands of the one before, and so does a bare one where a number
/// must stand; a host may be called like a word.
fn count(operands: Operands, next: &[&str], inline: bool) -> Option<usize> {
    let is_option = |typed: &str| typed.starts_with('-') && word(split(typed).0).is_some();
    let operand = |at: usize| next.get(at).is_some_and(|typed| (inline && at == 0) || !is_option(typed));
    let number = |at: usize| operand(at) && word(next[at]).is_none();
    match operands {
        Operands::None => Some(usize::from(inline)), // clap says that it takes none
        Operands::Text(_) => (!next.is_empty()).then_some(1),
        Operands::Host(_) => operand(0).then_some(1),
        Operands::Number(_) => number(0).then_some(1),
        Operands::Maybe(_) => Some(next.len().min(1)),
        Operands::HostPort => (operand(0) && number(1)).then_some(2),
        Operands::AddressPort if !number(0) => None,
        Operands::AddressPort if value::address(next[0]).is_ok() => number(1).then_some(2),
        Operands::AddressPort => Some(1 + usize::from(number(1) && is_name_before_port(next))),
    }
}

/// Whether a host name stands where only an address may: it is then said to be wrong, not the port after it.
fn is_name_before_port(next: &[&str]) -> bool {
    !value::is_number(next[0]) && value::is_number(next[1])
}

/// Appends an option in a form in which clap takes its operands whatever they look like.
fn push(options: &mut Vec<String>, name: &str, operands: &[&str]) {
    match operands {
        [one] => options.push(format!("--{name}={one}")),
        several => {
            options.push(format!("--{name}"));
            options.extend(several.iter().map(|&operand| operand.to_owned()));
        }
    }
}

/// The words as clap knows them. Help and version are answered before clap sees them.
fn command() -> Command {
    Command::new("millipede").disable_help_flag(true).disable_version_flag(true).args(WORDS.iter().map(
        |word| {
            let arg = Arg::new(word.name).long(word.name).aliases(word.aliases.iter().copied());
            let count: ValueRange = match word.operands {
                Operands::None => return arg.action(ArgAction::SetTrue),
                Operands::Number(_) | Operands::Host(_) | Operands::Text(_) => 1.into(),
                Operands::Maybe(_) => (0..=1).into(),
                Operands::HostPort => 2.into(),
                Operands::AddressPort => (1..=2).into(),
            };
            let action = if word.repeats { ArgAction::Append } else { ArgAction::Set };
            arg.action(action).num_args(count).allow_hyphen_values(true)
        },
    ))
}

/// What clap found wrong, in our words.
fn sentence(error: &clap::Error) -> String {
    let option = context(error, ContextKind::InvalidArg).unwrap_or_default();
    let name = option.trim_start_matches('-').split([' ', '=']).next().and_then(word);
    match (error.kind(), name) {
        (ErrorKind::ArgumentConflict, Some(word)) => format!("{} is given twice", word.name),
        (_, Some(word)) => wants(word),
        (_, None) => error.to_string().lines().next().unwrap_or_default().to_owned(),
    }
}

fn wants(word: &Word) -> String {
    match word.operands {
        Operands::None => format!("{} stands alone, without a value", word.name),
        operands => format!("{} wants {}: {}", word.name, operands.shown(), word.short),
    }
}

/// Says what a word wants, at length if help is what follows it.
fn too_few(word: &Word, next: &[&str]) -> Stop {
    match next.iter().any(|typed| typed.starts_with('-') && split(typed).0 == "help") {
        true => Stop::Print(help::explain(word)),
        false => wants(word).into(),
    }
}

/// Explains one word, or everything.
fn explain(name: Option<&str>) -> Stop {
    let Some(typed) = name else { return Stop::Print(help::screen()) };
    word(split(typed).0).map_or_else(|| unknown(typed).into(), |word| Stop::Print(help::explain(word)))
}

fn unknown(typed: &str) -> String {
    let name = typed.trim_start_matches('-');
    let meant = match name.split_once('=') {
        Some((name, value)) => meant(name).map(|name| format!("{name} {value}")),
        None => meant(name),
    };
    match meant {
        Some(meant) => format!("unknown word {typed:?}; did you mean {meant:?}?"),
        None => format!("unknown word {typed:?}; \"millipede help\" shows the words"),
    }
}

/// The word that a misspelt one is likely to be, as clap judges it.
fn meant(name: &str) -> Option<String> {
    if let Some(word) = word(name) {
        return Some(word.name.to_owned());
    }
    let error = command().try_get_matches_from(["millipede", &format!("--{name}")]).err()?;
    context(&error, ContextKind::SuggestedArg).map(|option| option.trim_start_matches('-').to_owned())
}

fn context(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => texts.first().cloned(),
        _ => None,
    }
}
