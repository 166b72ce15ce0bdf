//! The documents agree with the program: words, exit statuses, and the files they name.

use millipede::cli::WORDS;
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
fn the_readme_has_every_word_as_the_program_shows_it() {
    let mut listed = table(&read("README.md"), "Words");
    let mut known: Vec<String> = WORDS.iter().map(|word| word.shown()).collect();
    listed.sort();
    known.sort();
    assert_eq!(listed, known);
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
