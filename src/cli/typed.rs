//! Words as typed: which words were given, with which operands.
//!
//! 1 [`options`] rewrites the command line as options. It knows the two things that clap cannot: that words may
//!   stand without dashes, so that an operand may look like a word (`tx rx 99` sends to a host called rx), and that
//!   some words take two operands, of which one may be left out or joined to the other (`[ADDRESS] PORT`).
//! 2 clap parses these: it reads and checks every single operand by the table, finds repetitions, what is missing
//!   and what excludes each other, and answers `version`.

use clap::builder::ValueParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::any::Any;

use super::entry::{Operands, Word};
use super::stop::Stop;
use super::words::{TIME_MAX, WORDS, split, word};
use super::{help, value, wrong};

/// The words given; the operands of words that take two are still as typed.
pub(super) struct Typed(ArgMatches);

impl Typed {
    /// Whether the word was given.
    pub(super) fn given(&self, name: &str) -> bool {
        self.0.value_source(name) == Some(ValueSource::CommandLine)
    }

    /// The operand of a word that takes one, of the type that the table's kind of operand has; `None`: not given.
    pub(super) fn one<T: Any + Clone + Send + Sync + 'static>(&self, name: &str) -> Option<T> {
        self.0.get_one::<T>(name).cloned()
    }

    /// The operands of a word that takes two and does not repeat.
    pub(super) fn operands(&self, name: &str) -> Option<Vec<&str>> {
        self.0.get_many::<String>(name).map(|operands| operands.map(String::as_str).collect())
    }

    /// Every operand of a word that repeats and takes one, or all that follow.
    pub(super) fn every<T: Any + Clone + Send + Sync + 'static>(&self, name: &str) -> Vec<T> {
        self.0.get_many::<T>(name).into_iter().flatten().cloned().collect()
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

/// Reads the command line, given without the program's own name; and how many of its arguments are words and operands,
/// before a word that takes all the rest.
pub(super) fn parse(args: &[String]) -> Result<(Typed, usize), Stop> {
    let (options, ours) = options(args)?;
    let typed = command().try_get_matches_from(options).map(Typed);
    typed.map(|typed| (typed, ours)).map_err(|error| wrong::told_by_clap(&error))
}

/// The same command line with every word as an option; what asks for help ends it here.
fn options(args: &[String]) -> Result<(Vec<String>, usize), Stop> {
    let mut options = vec!["millipede".to_owned()];
    let sends = args.iter().any(|typed| matches!(split(typed).0, "tx" | "duplex"));
    let (mut rest, mut before) = (args, None);
    while let Some((first, after)) = rest.split_first() {
        let (name, attached) = split(first);
        let Some(word) = word(name) else { return Err(wrong::unknown(args, rest, before).into()) };
        let next: Vec<&str> = attached.into_iter().chain(after.iter().map(String::as_str)).collect();
        let programs = if sends { 2 } else { 1 };
        let (count, operands) = operands(word.operands, &next, attached.is_some(), programs);
        if word.name == "help" {
            return Err(explain(operands.first().copied()));
        }
        if lacks(word, &operands, programs) {
            let asks = next.get(count).is_some_and(|next| next.starts_with('-') && split(next).0 == "help");
            return Err(if asks { Stop::Print(help::explain(word)) } else { wrong::wants(word).into() });
        }
        push(&mut options, word, &operands);
        if matches!(word.operands, Operands::Rest | Operands::Files(_)) {
            return Ok((options, args.len() - after.len()));
        }
        rest = &after[count - usize::from(attached.is_some())..];
        before = Some(word);
    }
    Ok((options, args.len()))
}

/// How many of the next arguments are operands of a word, and the operands that they are. The first one certainly
/// is if it stood behind a `=`. A word in dashes ends the operands of the one before, and so does a bare word where
/// no text can stand; a host may be called like a word.
fn operands<'a>(kind: Operands, next: &[&'a str], attached: bool, programs: usize) -> (usize, Vec<&'a str>) {
    let dashed = |typed: &str| typed.starts_with('-') && word(split(typed).0).is_some();
    let text = |at: usize| next.get(at).copied().filter(|typed| (attached && at == 0) || !dashed(typed));
    let plain = |at: usize| text(at).filter(|typed| (attached && at == 0) || word(typed).is_none());
    let found: Vec<&str> = match kind {
        // clap says that it takes none
        Operands::None | Operands::Rest => next.iter().take(usize::from(attached)).copied().collect(),
        Operands::Phrase(_) | Operands::Command(_) | Operands::Path(_) | Operands::Word(_) => {
            next.iter().take(1).copied().collect()
        }
        Operands::Programs(..) => next.iter().take(programs).copied().collect(),
        // a file may be called like a word: key, or peers
        Operands::Algorithm(_)
        | Operands::Interface(_)
        | Operands::File(_)
        | Operands::Text(_)
        | Operands::Host(_) => text(0).into_iter().collect(),
        Operands::Files(_) => next.to_vec(),
        Operands::Perhaps(..) => {
            plain(0).filter(|typed| attached || value::is_number(typed)).into_iter().collect()
        }
        Operands::Number(..) | Operands::Size(..) | Operands::Time(_) | Operands::Ports(_) => {
            plain(0).into_iter().collect()
        }
        Operands::HostPort => match text(0) {
            Some(host) if value::joined(host).is_some() => vec![host],
            host => host.into_iter().chain(host.and_then(|_| plain(1))).collect(),
        },
        Operands::AddressPort => match plain(0) {
            Some(one) if value::joined(one).is_some() || value::is_number(one) => vec![one],
            address => address.into_iter().chain(address.and_then(|_| plain(1))).collect(),
        },
    };
    let count = found.len();
    match (kind, &found[..]) {
        (Operands::HostPort | Operands::AddressPort, [one]) => {
            (count, value::joined(one).map_or(vec![*one], |(host, port)| vec![host, port]))
        }
        _ => (count, found),
    }
}

/// Whether an operand is missing. Where one may be left out, clap or the plan sees what the other is.
fn lacks(word: &Word, operands: &[&str], programs: usize) -> bool {
    match word.operands {
        Operands::None | Operands::Rest | Operands::Word(_) | Operands::Perhaps(..) => false,
        Operands::HostPort => operands.len() < 2,
        Operands::Programs(..) => operands.len() < programs,
        _ => operands.is_empty(),
    }
}

/// Appends an option in a form in which clap takes its operands whatever they look like.
fn push(options: &mut Vec<String>, word: &Word, operands: &[&str]) {
    match operands {
        [one] => options.push(format!("--{}={one}", word.name)),
        each if matches!(word.operands, Operands::Files(_)) => {
            options.extend(each.iter().map(|one| format!("--{}={one}", word.name)));
        }
        several => {
            options.push(format!("--{}", word.name));
            options.extend(several.iter().map(|&operand| operand.to_owned()));
        }
    }
}

/// The words as clap knows them. Help is answered before clap sees it.
fn command() -> Command {
    Command::new("millipede")
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args(WORDS.iter().map(arg))
}

fn arg(word: &'static Word) -> Arg {
    let arg = Arg::new(word.name)
        .long(word.name)
        .aliases(word.aliases.iter().copied())
        .conflicts_with_all(word.excludes.iter().copied())
        .action(if word.repeats { ArgAction::Append } else { ArgAction::Set });
    let parser = match word.operands {
        Operands::None if word.name == "version" => return arg.action(ArgAction::Version),
        Operands::None | Operands::Rest => return arg.action(ArgAction::SetTrue),
        // there are always as many as there can be, or one that is attached
        Operands::HostPort => return arg.num_args(2).allow_hyphen_values(true),
        Operands::AddressPort | Operands::Programs(..) => {
            return arg.num_args(1..=2).allow_hyphen_values(true);
        }
        Operands::Number(_, least, most) => {
            ValueParser::new(move |text: &str| value::number(text, least..=most))
        }
        Operands::Perhaps(_, least, most) => {
            let parser = ValueParser::new(move |text: &str| value::number(text, least..=most));
            return arg.num_args(0..=1).value_parser(parser);
        }
        Operands::Size(_, unit, least, most) => {
            ValueParser::new(move |text: &str| value::size(text, unit, least..=most))
        }
        Operands::Time(_) => ValueParser::new(|text: &str| value::seconds(text, TIME_MAX)),
        Operands::Phrase(_) => ValueParser::new(value::checkphrase),
        Operands::Algorithm(_) => ValueParser::new(value::congestion),
        Operands::Command(_) => ValueParser::new(value::command),
        Operands::Interface(_) => ValueParser::new(value::interface),
        Operands::File(_) | Operands::Files(_) => ValueParser::new(value::file),
        Operands::Text(_) => ValueParser::string(),
        Operands::Path(_) => ValueParser::new(value::path),
        Operands::Ports(_) => ValueParser::new(value::ports),
        // which addresses count is known later
        Operands::Host(_) => return arg.num_args(1).allow_hyphen_values(true),
        Operands::Word(_) => return arg.num_args(0..=1),
    };
    arg.value_parser(parser)
}

/// Explains one word, or everything.
fn explain(name: Option<&str>) -> Stop {
    let Some(typed) = name else { return Stop::Print(help::screen()) };
    match word(split(typed).0) {
        Some(word) => Stop::Print(help::explain(word)),
        None => wrong::no_such_word(typed).into(),
    }
}
