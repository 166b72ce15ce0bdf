//! The documents agree with the program: words, exit statuses, and the files they name. README's table of words is
//! made here, from the table in `src/cli/words.rs`; after a change of that: `UPDATE=1 cargo test --test documents`.
// nothing of a test program is seen from outside: `pub` is for its own modules
#![allow(unreachable_pub)]

#[path = "util/made.rs"]
mod made;

use millipede::cli::{Side, WORDS, Word};
use millipede::error::Status;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: impl AsRef<Path>) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

/// The first cells of the table below this heading.
fn table(text: &str, heading: &str) -> Vec<String> {
    let section = text.split("\n## ").find(|section| section.starts_with(heading)).expect(heading);
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.filter_map(|row| row.split('|').nth(1))
        .map(|cell| cell.trim().trim_matches('`').to_owned())
        .collect()
}

#[test]
fn the_readme_has_the_table_of_words() {
    let marks = ["<!-- words: made from src/cli/words.rs", "<!-- words end"];
    made::compare_section("README.md", marks, &words());
    let known: Vec<String> = WORDS.iter().map(Word::shown).collect();
    assert_eq!(table(&read("README.md"), "Words"), known);
}

/// The table of words: what to type, where it may stand, and the first paragraph of what it does.
fn words() -> String {
    let row = |word: &str, side: &str, meaning: &str| format!("| {word:42} | {side:10} | {meaning} |\n");
    let side = |side| match side {
        Side::Tx => "tx",
        Side::Stream => "tx, duplex",
        Side::Both => "both",
        Side::Serve => "serve",
        Side::Named => "put, name, watch",
        Side::Watch => "watch",
        Side::Ssh => "ssh",
        Side::Free => "",
    };
    let rows = WORDS.iter().map(|word| {
        let spellings: String =
            word.spellings().iter().map(|spelling| format!(" Also spelt `{spelling}`.")).collect();
        let meaning = word.long.split("\n\n").next().unwrap_or_default();
        row(&format!("`{}`", word.shown()), side(word.side), &format!("{meaning}{spellings}"))
    });
    let head = row("word", "side", "meaning") + &row(&"-".repeat(42), &"-".repeat(10), "-------");
    format!("\n{head}{}\n", rows.collect::<String>())
}

#[test]
fn the_readme_has_every_exit_status() {
    let known: Vec<String> = Status::ALL.iter().map(|status| status.code().to_string()).collect();
    assert_eq!(table(&read("README.md"), "Exit status"), known);
}

#[test]
fn the_files_that_documents_link_to_exist() {
    for document in ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"] {
        let text = read(document);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let heading =
                |anchor: &str| text.lines().any(|line| line.starts_with('#') && slug(line) == anchor);
            let there = match target.strip_prefix('#') {
                Some(anchor) => heading(anchor),
                None => target.starts_with("http") || root().join(target).exists(),
            };
            assert!(there, "{document}: {target}");
        }
    }
}

/// A heading as links name it: lower case, with hyphens for spaces.
fn slug(heading: &str) -> String {
    heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-")
}

#[test]
fn the_checks_run_the_test_command_of_the_readme() {
    let readme = read("README.md");
    let command = readme.lines().find_map(|line| line.strip_prefix("    cargo test")).map(str::trim);
    assert_eq!(command, Some(""), "the README has one command for all tests");
    assert!(read(".ci/run").lines().any(|line| line.starts_with("cargo test --locked #")));
}
