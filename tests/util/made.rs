//! Files, and sections of files, that are made from the table of words and kept beside what people write.
//!
//! A test makes the text again and compares; with `UPDATE=1` in the environment it writes what is new.

use std::fs;
use std::path::PathBuf;

/// A file of the repository.
pub fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The file holds what was made; with `UPDATE` it is written first.
pub fn compare(name: &str, made: &str) {
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path(name), made).unwrap();
    }
    let kept = fs::read_to_string(path(name)).unwrap_or_default();
    assert!(
        kept == made,
        "{name} is older than the table of words in src/cli/words.rs; this makes it anew:\n\
         UPDATE=1 cargo test --test completion --test documents --test man"
    );
}

/// Between the lines that have these marks, the file holds what was made.
// a test program whose files are made as a whole, as the completions are, has no use for it
#[allow(dead_code)]
pub fn compare_section(name: &str, marks: [&str; 2], made: &str) {
    let text = fs::read_to_string(path(name)).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let line = |mark: &str| {
        let found = lines.iter().position(|line| line.contains(mark));
        found.unwrap_or_else(|| panic!("{name} has no line with {mark:?}"))
    };
    let (first, last) = (line(marks[0]), line(marks[1]));
    let whole = format!("{}\n{made}{}\n", lines[..=first].join("\n"), lines[last..].join("\n"));
    compare(name, &whole);
}
