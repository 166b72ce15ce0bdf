//! What the library sees before `main`, when it is part of another program: this one.
//!
//! Each test starts this program again, as a shell would, to run `again` in it with one question.
// nothing of a test program is seen from outside: `pub` is for its own modules
#![allow(unreachable_pub)]

#[path = "util/signals.rs"]
mod signals;
#[path = "util/skip.rs"]
mod skip;

use millipede::sys::{signal, stdio};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

/// The variable that holds the question, in the process started again.
const QUESTION: &str = "MILLIPEDE_TEST_START";

/// The status for "yes", which the test runner itself never ends with.
const YES: i32 = 42;
const NO: i32 = 43;

const INT: i32 = 2;
const HUP: i32 = 1;
const USR1: i32 = 10;
const PIPE: i32 = 13;

/// Starts this program again by this line of shell, in which `exec "$@"` becomes it.
fn ask(question: &str, shell: &str) -> ExitStatus {
    signals::heed();
    Command::new("sh")
        .args(["-c", shell, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "again", "--nocapture", "--test-threads=1"])
        .env(QUESTION, question)
        .stdin(std::process::Stdio::null())
        .status()
        .unwrap()
}

fn says(question: &str, shell: &str) -> bool {
    match ask(question, shell).code() {
        Some(YES) => true,
        Some(NO) => false,
        other => panic!("{question} by {shell}: {other:?}"),
    }
}

/// Not a test of its own: what the process that was started again does.
#[test]
fn again() {
    let Ok(question) = std::env::var(QUESTION) else { return };
    let yes = match question.as_str() {
        "stdin closed" => stdio::stdin_was_closed(),
        "stdout closed" => stdio::stdout_was_closed(),
        "hup ignored" => signal::ignored_at_start(HUP),
        "pipe ignored" => signal::ignored_at_start(PIPE),
        "usr1 ignored" => signal::ignored_at_start(USR1),
        "usr1 survived" => Command::new("kill").args(["-USR1", &own_id()]).status().unwrap().success(),
        "usr in a child" => {
            Command::new("sh").args(["-c", "kill -USR2 $$"]).status().unwrap().code().is_none()
        }
        "end" => signal::end_by(INT),
        "end by nothing" => signal::end_by(28),
        other => panic!("unknown question {other}"),
    };
    std::process::exit(if yes { YES } else { NO });
}

fn own_id() -> String {
    std::process::id().to_string()
}

#[cfg(target_os = "linux")]
#[test]
fn closed_descriptors_are_known() {
    assert!(says("stdout closed", r#"exec "$@" >&-"#));
    assert!(says("stdin closed", r#"exec "$@" <&-"#));
    assert!(!says("stdin closed", r#"exec "$@" >&-"#));
    assert!(!says("stdout closed", r#"exec "$@" <&-"#));
    assert!(!says("stdout closed", r#"exec "$@" >/dev/null"#));
}

#[cfg(target_os = "linux")]
#[test]
fn ignored_signals_are_known() {
    assert!(says("hup ignored", r#"trap "" HUP; exec "$@""#));
    assert!(!says("hup ignored", r#"exec "$@""#));
    assert!(!says("pipe ignored", r#"exec "$@""#), "that the runtime ignores it does not count");
    assert!(says("pipe ignored", r#"trap "" PIPE; exec "$@""#));
    assert!(says("usr1 ignored", r#"trap "" USR1; exec "$@""#));
    assert!(!says("usr1 ignored", r#"exec "$@""#));
}

#[cfg(target_os = "linux")]
#[test]
fn the_report_signals_never_end_us_but_do_end_a_child() {
    assert!(says("usr1 survived", r#"exec "$@""#));
    assert!(says("usr in a child", r#"exec "$@""#));
}

#[test]
fn ending_by_a_signal_shows_it() {
    assert_eq!(ask("end", r#"exec "$@""#).signal(), Some(INT));
    assert_eq!(ask("end", r#"trap "" INT; exec "$@""#).signal(), Some(INT));
    assert_eq!(ask("end by nothing", r#"exec "$@""#).code(), Some(128 + 28));
}

#[cfg(target_os = "linux")]
#[test]
fn the_first_process_of_a_namespace_ends_with_128_and_the_signal() {
    let possible = Command::new("unshare").args(["-rpf", "true"]).status().is_ok_and(|s| s.success());
    if !possible {
        return skip::skip("needs user and process namespaces: unshare -rpf");
    }
    assert_eq!(ask("end", r#"exec unshare -rpf "$@""#).code(), Some(128 + INT));
}
