//! What each part of the library may see, read from its sources: the table below is the design, and no two files
//! import each other, directly or by others.
//!
//! A file imports another one when it names a path into it, outside of its tests. That a file declares a child is no
//! import; that a child names something of its own parent is one. A failure names the file and line.
// nothing of a test program is seen from outside: `pub` is for its own modules
#![allow(unreachable_pub)]

#[path = "layers/circles.rs"]
mod circles;
#[path = "layers/source.rs"]
mod source;

use circles::Graph;
use source::{Named, Source, is_below, sources};
use std::path::PathBuf;

/// The parts of the library that each part sees, besides itself, from the bottom up. `part::*` are the items of its
/// root alone: traits and types, not what its files have.
const SEES: &[(&str, &[&str])] = &[
    ("proto", &[]),
    ("sync", &[]),
    ("sys", &["sync"]),
    ("chaos", &["sync"]),
    ("prbs", &[]),
    ("error", &["proto::outcome"]),
    ("message", &["sys::thread", "sync"]),
    ("trust", &["sys", "sync", "error", "message"]),
    ("store", &["sync", "sys::file_id", "sys::thread", "sys::writeback"]),
    ("wording", &["proto"]),
    ("stage", &["proto::leg", "proto::wire::LegFlags", "proto::wire::LegHeader"]),
    ("plan", &["proto::leg", "proto::waiting", "proto::way", "message"]),
    ("report", &["error", "message", "plan", "proto"]),
    ("ssh", &["plan"]),
    ("cli", &["sys::limits", "error", "message", "plan", "proto::leg"]),
    (
        "channel",
        &[
            "sys",
            "sync",
            "error",
            "trust::*",
            "proto::handshake",
            "proto::hello",
            "proto::links",
            "proto::peer_key",
        ],
    ),
    (
        "endpoint",
        &[
            "store",
            "sys",
            "sync",
            "prbs",
            "error",
            "message",
            "proto::leg",
            "proto::way",
            "proto::hello",
            "proto::outcome",
        ],
    ),
    (
        "session",
        &[
            "sys",
            "sync",
            "chaos",
            "error",
            "message",
            "plan",
            "report",
            "proto",
            "stage",
            "channel",
            "trust::*",
            "endpoint::*",
        ],
    ),
    (
        "run",
        &[
            "sys", "sync", "chaos", "prbs", "error", "message", "plan", "report", "proto", "stage",
            "channel", "trust", "endpoint", "session", "store", "wording", "ssh",
        ],
    ),
    (
        "main",
        &[
            "cli",
            "endpoint::exec",
            "error",
            "message",
            "plan",
            "report",
            "run",
            "sys::out_of_memory",
            "sys::wards",
            "trust::keygen",
        ],
    ),
];

/// Parts that only compute: no clock, socket, thread, file or process.
const PURE: &[&str] = &["proto", "stage"];

/// What they must not name, outside of their tests.
const IMPURE: &[&str] = &[
    "std::time::SystemTime",
    "std::net",
    "std::fs",
    "std::io",
    "std::thread",
    "std::process",
    "std::env",
    "std::os",
    "mio",
    "socket2",
    "crossbeam_channel",
    "signal_hook",
];

/// What only one part may name.
const AT_HOME: &[(&str, &str)] = &[("clap", "cli"), ("libc", "sys"), ("unsafe", "sys")];

#[test]
fn every_part_sees_only_what_the_table_says() {
    let faults: Vec<String> = sources().iter().flat_map(faults).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn every_part_is_in_the_table() {
    for source in sources() {
        let part = &source.part;
        assert!(part == "lib" || SEES.iter().any(|(name, _)| name == part), "{:?}: no rule", source.path);
    }
}

#[test]
fn no_two_files_import_each_other() {
    let sources = sources();
    let found = Graph::of(&sources).circles();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn the_table_has_no_circles() {
    for (index, (part, sees)) in SEES.iter().enumerate() {
        for seen in *sees {
            let seen = seen.split("::").next().unwrap();
            let below = SEES[..index].iter().any(|(name, _)| *name == seen);
            assert!(below, "{part} sees {seen}, which is not below it");
        }
    }
}

/// The checks are only worth something if they fail where they should.
#[test]
fn each_rule_bites_and_names_the_line() {
    for (path, text, fault) in [
        ("proto/a.rs", "\nuse crate::sys::pipe;\n", "src/proto/a.rs:2: proto sees sys::pipe"),
        (
            "proto/a.rs",
            "use crate::{\n    proto::leg,\n    run::{hub, conn},\n};",
            "src/proto/a.rs:3: proto sees run",
        ),
        ("proto/a/tests.rs", "use super::super::super::cli;", "src/proto/a/tests.rs:1: proto sees cli"),
        ("chaos.rs", "mod tests { use super::super::plan::Plan; }", "src/chaos.rs:1: chaos sees plan::Plan"),
        ("stage/a.rs", "use crate::proto::wire;", "src/stage/a.rs:1: stage sees proto::wire"),
        ("run/a.rs", "fn f() {\n crate::cli::parse() }", "src/run/a.rs:2: run sees cli::parse"),
        ("endpoint/a.rs", "use crate::session::S;", "src/endpoint/a.rs:1: endpoint sees session::S"),
        (
            "session/a.rs",
            "use crate::endpoint::file::F;",
            "src/session/a.rs:1: session sees endpoint::file::F",
        ),
        ("session/a.rs", "use crate::run::R;", "src/session/a.rs:1: session sees run::R"),
        ("channel/a.rs", "use crate::proto::wire;", "src/channel/a.rs:1: channel sees proto::wire"),
        ("main.rs", "use millipede::proto;", "src/main.rs:1: main sees proto"),
        ("run/a.rs", "use clap::Parser;", "src/run/a.rs:1: clap outside of cli"),
        ("lib.rs", "fn f() { unsafe { g() } }", "src/lib.rs:1: unsafe outside of sys"),
        ("proto/a.rs", "let now = Instant::now();", "src/proto/a.rs:1: proto reads the clock"),
        ("stage/a.rs", "at.elapsed()", "src/stage/a.rs:1: stage reads the clock"),
        (
            "proto/a.rs",
            "use std::{fmt, time::{Duration, SystemTime}};",
            "src/proto/a.rs:1: proto is not pure",
        ),
        ("proto/a.rs", "std::thread::sleep(x)", "src/proto/a.rs:1: proto is not pure"),
    ] {
        let faults = faults(&file(path, text));
        assert!(faults.iter().any(|found| found.starts_with(fault)), "{path}: {text}: {faults:?}");
    }
}

#[test]
fn a_circle_is_found_and_each_of_its_imports_is_named() {
    let root = ("lib.rs", "mod a; mod b; mod run;");
    for (files, found) in [
        (
            &[("a.rs", "\nuse crate::b::B;"), ("b.rs", "fn f() {\n\n crate::a::f() }")][..],
            "src/a.rs:2 imports src/b.rs:3 imports src/a.rs",
        ),
        (
            &[
                ("a.rs", "use crate::b;"),
                ("b/mod.rs", "mod c; pub use c::C;"),
                ("b/c.rs", "use crate::a::A;"),
            ],
            "src/a.rs:1 imports src/b/mod.rs:1 imports src/b/c.rs:1 imports src/a.rs",
        ),
        // a child and its own parent
        (
            &[("run/mod.rs", "mod c;\npub use self::c::C;"), ("run/c.rs", "use super::Run;")],
            "src/run/mod.rs:2 imports src/run/c.rs:1 imports src/run/mod.rs",
        ),
        (
            &[("run.rs", "mod c; fn f() { c::g() }"), ("run/c.rs", "use super::{Run, f};")],
            "src/run.rs:1 imports src/run/c.rs:1 imports src/run.rs",
        ),
    ] {
        let sources: Vec<Source> = [root].iter().chain(files).map(|(path, text)| file(path, text)).collect();
        assert_eq!(Graph::of(&sources).circles(), [found]);
    }
}

#[test]
fn what_is_no_circle_is_none() {
    for files in [
        &[("a.rs", "use crate::b::B;"), ("b.rs", "mod tests { use crate::a::A; }")][..],
        &[("run/mod.rs", "pub mod c;"), ("run/c.rs", "pub(super) use super::d::D;"), ("run/d.rs", "")],
        &[("run/mod.rs", "mod c; use c::C;"), ("run/c.rs", "pub(super) struct C; // use super::Run")],
        &[("run/mod.rs", "mod c;"), ("run/c.rs", "use super::Run;"), ("run/c/tests.rs", "use super::C;")],
    ] {
        let sources: Vec<Source> = files.iter().map(|(path, text)| file(path, text)).collect();
        assert_eq!(Graph::of(&sources).circles(), [""; 0], "{files:?}");
    }
}

fn file(path: &str, text: &str) -> Source {
    Source::new(PathBuf::from(path), text)
}

#[test]
fn what_is_allowed_is_no_fault() {
    for (path, text) in [
        ("proto/a.rs", "use super::leg; use crate::proto::wire; use self::b::C;"),
        (
            "proto/a.rs",
            "// use crate::run;\n/* crate::cli /* nested */ */ \"crate::sys\"; '\"'; r#\"crate::run\"#;",
        ),
        ("proto/a.rs", "mod tests { use super::*; fn f() { Instant::now(); } }"),
        ("proto/a/tests.rs", "use super::super::wire; let now = Instant::now();"),
        ("stage/a.rs", "use crate::proto::leg::{Leg, Payload};"),
        ("session/a.rs", "use crate::{channel::plain, endpoint::{Source, Sink}};"),
        ("cli/a.rs", "use super::Word; use clap::Parser;"),
        ("run/a.rs", "use crate::{message as say, proto::wire, sys}; let now = Instant::now();"),
        ("proto/a.rs", "fn f<'a>(x: &'a str) -> char { 'x' }"),
    ] {
        assert_eq!(faults(&file(path, text)), [""; 0], "{path}: {text}");
    }
}

// ---- rules --------------------------------------------------------------------------------------------

/// What this file does against the rules, by its own imports.
fn faults(source: &Source) -> Vec<String> {
    let sees = SEES.iter().find(|(part, _)| *part == source.part).map(|(_, sees)| *sees);
    let mut faults = Vec::new();
    let mut fault = |line: usize, what: String| {
        faults.push(format!("src/{}:{line}: {what}", source.path.display()));
    };
    for named in source.names() {
        let Named { line, path, in_tests } = &named;
        let inside = path[0] == "crate";
        if inside && path.len() > 1 && path[1] != source.part {
            let seen = path[1..].join("::");
            let known = sees.is_none_or(|sees| sees.iter().any(|part| allows(part, &seen)));
            if !known {
                fault(*line, format!("{} sees {seen}", source.part));
            }
        }
        if PURE.contains(&&*source.part) && !in_tests {
            let whole = named.to_string();
            if IMPURE.iter().any(|impure| is_below(&whole, impure)) {
                fault(*line, format!("{} is not pure: {whole}", source.part));
            }
            if whole.ends_with("Instant::now")
                || whole == ".elapsed"
                || path.iter().any(|p| p == "SystemTime")
            {
                fault(*line, format!("{} reads the clock: {whole}", source.part));
            }
        }
        for (name, home) in AT_HOME {
            if path[0] == *name && source.part != *home {
                fault(*line, format!("{name} outside of {home}"));
            }
        }
    }
    faults
}

/// Whether an entry of the table lets a path be seen.
fn allows(entry: &str, seen: &str) -> bool {
    match entry.strip_suffix("::*") {
        None => is_below(seen, entry),
        Some(part) => seen
            .strip_prefix(part)
            .and_then(|rest| rest.strip_prefix("::"))
            .is_some_and(|item| item.starts_with(char::is_uppercase)),
    }
}
