//! Completion for shells, made from the table of words and tried by typing into each shell. After a change of the
//! table: `UPDATE=1 cargo test --test completion`.
// nothing of a test program is seen from outside: `pub` is for its own modules
#![allow(unreachable_pub)]
#![cfg(target_os = "linux")]
// a shell must have its terminal for itself before it is executed
#![allow(unsafe_code)]

#[path = "util/completions.rs"]
mod completions;
#[path = "util/made.rs"]
mod made;
#[path = "util/skip.rs"]
mod skip;
#[path = "util/typing.rs"]
mod typing;

use made::path;
use millipede::cli::WORDS;
use std::process::Command;
use typing::Shell;

const FILES: [&str; 3] =
    ["completions/millipede.bash", "completions/_millipede", "completions/millipede.fish"];

#[test]
fn the_files_are_made_from_the_words() {
    let made = [completions::bash(), completions::zsh(), completions::fish()];
    for (name, made) in FILES.into_iter().zip(&made) {
        made::compare(name, made);
    }
}

#[test]
fn a_description_cannot_end_its_quotes() {
    for word in WORDS {
        assert!(!word.short.contains(['\'', ':', '\\']), "{}: {}", word.name, word.short);
    }
}

/// Whether a shell is here; says that a test is skipped if not.
#[track_caller]
fn here(shell: &str) -> bool {
    let found = Command::new(shell).args(["-c", "true"]).output().is_ok();
    if !found {
        skip::skip(&format!("needs {shell}"));
    }
    found
}

#[test]
fn each_shell_reads_its_file() {
    for (shell, name) in ["bash", "zsh", "fish"].into_iter().zip(FILES) {
        if here(shell) {
            let read = Command::new(shell).arg("-n").arg(path(name)).output().unwrap();
            assert!(read.status.success() && read.stderr.is_empty(), "{name}: {read:?}");
        }
    }
}

/// What is typed, with a tab at its end, and the command line that the shell then runs: the arguments that millipede
/// has, and what it reads from stdin.
const TYPED: &[(&str, &str)] = &[
    ("tx host 8834 thre\t8", "tx host 8834 threads 8|"),
    ("tx host 8834 --pat\t8", "tx host 8834 --patience 8|"),
    ("tx host:8834 chec\tp\twat!", "tx host:8834 checkphrase wat!|"),
    ("tx '[::1]:8834' thre\t8", "tx [::1]:8834 threads 8|"),
    ("tx ::1 8834 thre\t8", "tx ::1 8834 threads 8|"),
    ("rx 8834 thre\t8", "rx 8834 threads 8|"),
    ("rx 8834 checkphrase pat\t", "rx 8834 checkphrase pat|"),
    ("rx 127.0.0.1 pat\t", "rx 127.0.0.1 pat|"),
    ("tx rx 99 leg\t4", "tx rx 99 leglimit 4|"),
    ("help leg\t", "help leglimit|"),
    ("tx host 8834 < inpu\t", "tx host 8834|the input"),
    ("tx host 8834 <inpu\t", "tx host 8834|the input"),
    ("tx host 8834 < inpu\tthre\t8", "tx host 8834 threads 8|the input"),
    ("tx host 8834 inpu\t", "tx host 8834 inpu|"),
    ("rx 8834 > outp\t; cat output-*", "rx 8834|"),
    ("rx 8834 >> outp\tbuf\t8; cat output-*", "rx 8834 buffer 8|"),
    ("rx 8834 > all 2> outp\t; cat all", "rx 8834|"),
    ("rx 8834 | takes-it-\t", "taken: rx 8834|"),
    ("rx 8834 exec takes-it-\t", "rx 8834 exec takes-it-all|"),
    ("rx 8834 exec 'takes-it-\t", "rx 8834 exec takes-it-all|"),
    ("rx 8834 exec 'cat inpu\t' leg\t4", "rx 8834 exec cat inpu leglimit 4|"),
    ("tx host 8834 via lo\t", "tx host 8834 via lo|"),
    ("tx host 8834 --via=lo\t", "tx host 8834 --via=lo|"),
    ("rx 8834 key inpu\tleg\t4", "rx 8834 key input-file leglimit 4|"),
    ("rx 8834 key inpu\t peers outp\tleg\t4", "rx 8834 key input-file peers output-file leglimit 4|"),
    ("rx 8834 --key=inpu\tleg\t4", "rx 8834 --key=input-file leglimit 4|"),
    ("keygen inpu\t", "keygen input-file|"),
    ("--threads=8 leg\t4", "--threads=8 leglimit 4|"),
];

fn types_into(shell: &str) {
    if !here(shell) {
        return;
    }
    let mut shell = Shell::start(shell);
    for (typed, expected) in TYPED {
        let run = shell.run(&format!("millipede {typed}"));
        assert_eq!(run, *expected, "{typed:?} in {}", shell.name());
    }
}

#[test]
fn typed_into_bash() {
    types_into("bash");
}

#[test]
fn typed_into_zsh() {
    types_into("zsh");
}

#[test]
fn typed_into_fish() {
    types_into("fish");
}
