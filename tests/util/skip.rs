//! Tests that cannot run here are seen by whoever runs them: one line each on the real stderr, past the harness of
//! the tests, which keeps what a test that passes prints. The lines are kept in a file too, for `.ci/run`.

// each test program uses a part of it
#![allow(dead_code)]

use std::fs::File;
use std::io::Write;
use std::panic::Location;
use std::process::{Command, Stdio};

/// Where the lines are kept: below cargo's target folder, and only ever added to.
const KEPT: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/skipped");

/// Says that this test, or a part of it, is skipped, and why: `skip("needs sshd")`. The caller returns.
#[track_caller]
pub fn skip(why: &str) {
    let here = Location::caller();
    // the harness gives each test a thread of its name, unless there is one thread for all
    let test = std::thread::current().name().filter(|name| *name != "main").map(str::to_owned);
    let test = test.unwrap_or_else(|| format!("{}:{}", here.file(), here.line()));
    let line = format!("skipped: {test}: {why}\n");
    // whoever cannot be told on stderr is not there
    let _ = rustix::io::write(rustix::stdio::stderr(), line.as_bytes());
    let kept = File::options().create(true).append(true).open(KEPT);
    kept.and_then(|mut kept| kept.write_all(line.as_bytes())).unwrap();
}

/// Whether there is a program of this name here.
pub fn has(program: &str) -> bool {
    let quiet = [Stdio::null(), Stdio::null(), Stdio::null()];
    let [stdin, stdout, stderr] = quiet;
    Command::new(program).arg("--version").stdin(stdin).stdout(stdout).stderr(stderr).status().is_ok()
}
