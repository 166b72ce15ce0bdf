//! What `help` shows, made from the table of words.
//!
//! One screen: at most 24 lines of 80 columns, however many words there come to be: those that are not common are
//! only named, and those that go with `serve`, `put` or `ssh` alone are named where these are explained.

use super::entry::{Side, Word};
use super::words::WORDS;

/// The right margin.
const COLUMNS: usize = 79;

/// Where the explanations begin: beyond the longest common word with its operands.
const INDENT: usize = 28;

/// One screen: the two commands most people need, then the words.
pub(super) fn screen() -> String {
    let common: String = WORDS
        .iter()
        .filter(|word| word.common)
        .map(|word| format!("  {:width$}{}\n", word.shown(), word.short, width = INDENT - 2))
        .collect();
    let others: Vec<_> =
        WORDS.iter().filter(|word| !word.common && !is_special(word)).map(Word::shown).collect();
    format!(
        "millipede: a pipe between two hosts over many TCP connections; loses no byte\n\n\
         \x20 millipede ssh HOST COMMAND       ssh, with the data on connections of its own\n\
         \x20 millipede rx 8834 > FILE         first, on the host that receives\n\
         \x20 millipede tx HOST 8834 < FILE    then, on the host that sends\n\n\
         {common}{}\n\
         Words go in any order. \"help WORD\" explains one; serve, put, ssh have more.\n",
        // a word and what follows it stay on one line
        wrapped(&format!("Also: {}.", others.join(", ").replace(", ", ",\n").replace(' ', JOINT)), "  ")
            .replace(JOINT, " ")
    )
}

/// Whether a word is of use only to those who know `serve`, `put` or `ssh`.
fn is_special(word: &Word) -> bool {
    matches!(word.side, Side::Serve | Side::Named | Side::Watch | Side::Ssh)
}

/// A space where a line is not broken, while lines are made.
const JOINT: &str = "\u{1}";

/// One word explained, and where there is more.
pub(super) fn explain(word: &Word) -> String {
    let side = match word.side {
        Side::Tx => "  (with tx)",
        Side::Stream => "  (with tx, or with rx and duplex)",
        Side::Both => "  (with rx or tx)",
        Side::Serve => "  (with serve)",
        Side::Named => "  (with put, name or watch)",
        Side::Watch => "  (with watch)",
        Side::Ssh if word.name != "ssh" => "  (with ssh)",
        Side::Ssh | Side::Free => "",
    };
    let mut text = word.long.replace('`', "");
    for spelling in word.spellings() {
        text += &format!(" Also spelt {spelling}.");
    }
    let beside = |side: &[Side]| {
        let excludes = |one: &Word, other: &Word| one.excludes.contains(&other.name);
        let fits =
            |other: &&Word| other.name != word.name && !excludes(word, other) && !excludes(other, word);
        let words = WORDS.iter().filter(|word| side.contains(&word.side)).filter(fits);
        words.map(|word| word.name).collect::<Vec<_>>().join(", ")
    };
    let with_ssh = || WORDS.iter().filter(|word| word.with_ssh).map(|word| format!(", {}", word.name));
    let others = match word.name {
        "ssh" => beside(&[Side::Ssh]) + &with_ssh().collect::<String>(),
        "watch" => beside(&[Side::Watch, Side::Named]) + ", and those of tx that send a stream",
        "put" | "name" => beside(&[Side::Named]) + ", and those of tx that send a stream",
        "tx" => beside(&[Side::Tx, Side::Stream, Side::Both]),
        "serve" => beside(&[Side::Serve, Side::Both]),
        "rx" => beside(&[Side::Both]),
        _ => String::new(),
    };
    if !others.is_empty() {
        text += &format!("\n\nWords for it: {others}.");
    }
    text += "\n\n\"millipede help\" shows all words on one screen, \"man millipede\" explains them all.";
    let paragraphs: Vec<String> = text.split("\n\n").map(|paragraph| wrapped(paragraph, "  ")).collect();
    format!("{}{side}\n{}", word.shown(), paragraphs.join("\n"))
}

/// For the command without a word.
pub(super) fn alone() -> &'static str {
    "usage: millipede rx PORT > FILE         on the host that receives\n\
     \x20      millipede tx HOST PORT < FILE    on the host that sends\n\
     \"millipede help\" shows the other words"
}

/// The text in lines that fit, each indented.
fn wrapped(text: &str, indent: &str) -> String {
    let mut lines = String::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && indent.len() + line.len() + 1 + word.len() > COLUMNS {
            lines.push_str(&format!("{indent}{line}\n"));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines + indent + &line + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::word;

    #[test]
    fn the_screen_fits_and_names_every_word() {
        let screen = screen();
        assert!(screen.lines().count() <= 24, "{} lines:\n{screen}", screen.lines().count());
        for line in screen.lines() {
            assert!(line.chars().count() <= 80, "too long: {line}");
        }
        let [serve, put, watch, ssh] =
            ["serve", "put", "watch", "ssh"].map(|name| explain(word(name).unwrap()));
        for word in WORDS {
            let (place, shown) = match word.side {
                Side::Serve => (serve.clone(), word.name.to_owned()),
                Side::Named => (put.clone(), word.name.to_owned()),
                Side::Watch => (watch.clone(), word.name.to_owned()),
                Side::Ssh => (ssh.clone(), word.name.to_owned()),
                _ => (screen.clone(), word.shown()),
            };
            assert!(place.contains(&shown), "{} is missing:\n{place}", word.name);
        }
    }

    #[test]
    fn every_word_that_may_stand_before_ssh_is_named_with_it() {
        let explained = explain(word("ssh").unwrap());
        let (_, listed) = explained.split_once("Words for it:").unwrap();
        let listed: Vec<&str> = listed.split([' ', '\n', ',', '.']).collect();
        for word in WORDS.iter().filter(|word| word.with_ssh) {
            assert!(listed.contains(&word.name), "{} is missing:\n{explained}", word.name);
        }
    }

    #[test]
    fn every_common_word_stays_left_of_the_explanations() {
        for word in WORDS.iter().filter(|word| word.common) {
            assert!(word.shown().len() < INDENT - 2, "{}", word.shown());
        }
    }

    #[test]
    fn a_word_is_explained_with_its_side_and_spellings() {
        let checksum = explain(word("checksums").unwrap());
        assert!(checksum.starts_with("checksum  (with tx)\n  Sends a CRC-32"), "{checksum}");
        assert!(!checksum.contains('`'), "{checksum}");
        assert!(checksum.contains("Also spelt checksums."), "{checksum}");
        for word in WORDS {
            let explained = explain(word);
            assert!(explained.lines().all(|line| line.len() <= COLUMNS), "{}", word.name);
            assert!(explained.contains("\"millipede help\" shows all words"), "{explained}");
        }
    }

    #[test]
    fn wrapping_keeps_every_word() {
        let text = "word ".repeat(100);
        let lines = wrapped(&text, "  ");
        assert_eq!(lines.split_whitespace().count(), 100);
        assert!(lines.lines().all(|line| line.len() <= COLUMNS && line.starts_with("  word")));
    }
}
