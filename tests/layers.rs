//! What each part of the library may see, read from its sources: the table below is the design.
//!
//! Paths are resolved as the compiler does, from `crate`, `super` and `self` through groups and inline modules;
//! comments and strings do not count. A failure names the file and line. Macros that build paths would escape
//! this; there are none.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// The parts of the library that each part sees, besides itself. From the bottom up.
const SEES: &[(&str, &[&str])] = &[
    ("proto", &[]),
    ("sys", &[]),
    ("chaos", &[]),
    ("prbs", &[]),
    ("error", &["proto::outcome"]),
    ("message", &[]),
    ("wording", &["proto"]),
    ("stage", &["proto::leg"]),
    ("plan", &["proto::leg", "proto::waiting", "message"]),
    ("report", &["error", "message", "plan", "proto"]),
    ("cli", &["error", "message", "plan", "proto::leg"]),
    (
        "endpoint",
        &[
            "proto::hello::Features",
            "proto::leg",
            "proto::way",
            "proto::outcome::Status",
            "sys",
            "prbs",
            "error",
            "message",
        ],
    ),
    (
        "run",
        &[
            "proto", "sys", "chaos", "prbs", "error", "message", "stage", "plan", "report", "endpoint",
            "wording",
        ],
    ),
    ("main", &["cli", "endpoint::exec", "error", "message", "plan", "report", "run"]),
];

/// Where the sources see more than the table says, for now: file and path. Each is a question to whoever owns the
/// file: change it, or the table. One that is no longer needed fails the test, so this list only shrinks.
const DEVIATIONS: &[(&str, &str)] = &[
    ("main.rs", "sys::signal::end_by"),
    ("stage/mod.rs", "proto::wire::LegFlags"),
    ("stage/mod.rs", "proto::wire::LegHeader"),
];

/// Parts in which no two files import each other.
const ACYCLIC: &[&str] = &["endpoint"];

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
    let mut known = DEVIATIONS.to_vec();
    let mut faults: Vec<String> = sources().iter().flat_map(|source| source.faults()).collect();
    faults.retain(|fault| {
        let same = |(file, path): &(&str, &str)| {
            fault.starts_with(&format!("src/{file}:")) && fault.ends_with(&format!(" sees {path}"))
        };
        let deviates = DEVIATIONS.iter().any(same);
        known.retain(|deviation| !same(deviation));
        !deviates
    });
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
    assert!(known.is_empty(), "no longer seen, so no longer to be listed: {known:?}");
}

#[test]
fn every_part_is_in_the_table() {
    for source in sources() {
        let part = &source.part;
        assert!(part == "lib" || SEES.iter().any(|(name, _)| name == part), "{:?}: no rule", source.path);
    }
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

#[test]
fn no_two_files_of_a_part_import_each_other() {
    let circles = mutual_imports(&sources());
    assert!(circles.is_empty(), "\n{}", circles.join("\n"));
}

/// The checks are only worth something if they fail where they should.
#[test]
fn files_that_import_each_other_are_found() {
    let source = |path: &str, text: &str| Source::new(PathBuf::from(path), text);
    let back = source("endpoint/b/c.rs", "use super::d::D;");
    let apart = source("endpoint/b/d.rs", "mod tests { use super::super::c::C; } use crate::endpoint::E;");
    let root = source("endpoint/mod.rs", "pub mod b;");
    let files = [root, source("endpoint/b/mod.rs", "pub mod c; pub use c::C;"), back, apart];
    assert_eq!(mutual_imports(&files), [""; 0]);
    let [root, parent, back, _] = files;
    let to = source("endpoint/b/d.rs", "use crate::endpoint::{E, b::c};");
    let found = mutual_imports(&[root, parent, back, to]);
    assert_eq!(found, ["src/endpoint/b/c.rs and src/endpoint/b/d.rs import each other"]);
    let parent = source("endpoint/b.rs", "mod c; pub use c::C; pub struct B;");
    let found = mutual_imports(&[parent, source("endpoint/b/c.rs", "use super::B;")]);
    assert_eq!(found, ["src/endpoint/b.rs and src/endpoint/b/c.rs import each other"]);
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
        let faults = Source::new(PathBuf::from(path), text).faults();
        assert!(faults.iter().any(|found| found.starts_with(fault)), "{path}: {text}: {faults:?}");
    }
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
        ("cli/a.rs", "use super::Word; use clap::Parser;"),
        ("run/a.rs", "use crate::{message as say, proto::wire, sys}; let now = Instant::now();"),
        ("proto/a.rs", "fn f<'a>(x: &'a str) -> char { 'x' }"),
    ] {
        assert_eq!(Source::new(PathBuf::from(path), text).faults(), [""; 0], "{path}: {text}");
    }
}

/// Of the parts in [`ACYCLIC`]: every two files of which each names something of the other, outside of tests.
fn mutual_imports(sources: &[Source]) -> Vec<String> {
    let files: Vec<&Source> = sources.iter().filter(|source| ACYCLIC.contains(&&*source.part)).collect();
    let modules: Vec<String> = files.iter().map(|file| file.module().join("::")).collect();
    let imports = |of: usize| -> BTreeSet<usize> {
        let outside_of_tests = files[of].names().into_iter().filter(|named| !named.in_tests);
        let named = outside_of_tests.filter_map(|Named { path, .. }| {
            let seen = match &*path[0] {
                "crate" => path[1..].join("::"),
                // a child, as a parent names it; a single word declares it
                _ if path.len() > 1 => format!("{}::{}", modules[of], path.join("::")),
                _ => return None,
            };
            let known = (0..files.len()).filter(|&file| is_below(&seen, &modules[file]));
            known.max_by_key(|&file| modules[file].len())
        });
        named.filter(|&file| file != of).collect()
    };
    let imported: Vec<BTreeSet<usize>> = (0..files.len()).map(imports).collect();
    let mut found: Vec<String> = Vec::new();
    for (one, other) in (0..files.len()).flat_map(|one| (0..one).map(move |other| (one, other))) {
        if imported[one].contains(&other) && imported[other].contains(&one) {
            let mut names = [one, other].map(|file| format!("src/{}", files[file].path.display()));
            names.sort();
            found.push(format!("{} import each other", names.join(" and ")));
        }
    }
    found
}

// ---- rules --------------------------------------------------------------------------------------------

/// One file, below `src`.
struct Source {
    path: PathBuf,
    /// The part it belongs to: its folder's name, or its own.
    part: String,
    tokens: Vec<Token>,
}

/// A path that a file names, from the crate's root where it begins there.
struct Named {
    line: usize,
    path: Vec<String>,
    /// Whether a module called `tests` says it.
    in_tests: bool,
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path.join("::"))
    }
}

impl Source {
    fn new(path: PathBuf, text: &str) -> Self {
        let first = path.iter().next().and_then(|name| name.to_str()).unwrap_or_default();
        let part = first.trim_end_matches(".rs").to_owned();
        Source { part, tokens: tokens(text), path }
    }

    fn faults(&self) -> Vec<String> {
        let sees = SEES.iter().find(|(part, _)| *part == self.part).map(|(_, sees)| *sees);
        let mut faults = Vec::new();
        let mut fault = |line: usize, what: String| {
            faults.push(format!("src/{}:{line}: {what}", self.path.display()));
        };
        for named in self.names() {
            let Named { line, path, in_tests } = &named;
            let inside = path[0] == "crate";
            if inside && path.len() > 1 && path[1] != self.part {
                let seen = path[1..].join("::");
                let known = sees.is_none_or(|sees| sees.iter().any(|part| is_below(&seen, part)));
                if !known {
                    fault(*line, format!("{} sees {seen}", self.part));
                }
            }
            if PURE.contains(&&*self.part) && !in_tests {
                let whole = named.to_string();
                if IMPURE.iter().any(|impure| is_below(&whole, impure)) {
                    fault(*line, format!("{} is not pure: {whole}", self.part));
                }
                if whole.ends_with("Instant::now")
                    || whole == ".elapsed"
                    || path.iter().any(|p| p == "SystemTime")
                {
                    fault(*line, format!("{} reads the clock: {whole}", self.part));
                }
            }
            for (name, home) in AT_HOME {
                if path[0] == *name && self.part != *home {
                    fault(*line, format!("{name} outside of {home}"));
                }
            }
        }
        faults
    }

    /// The module that the file is, from the crate's root.
    fn module(&self) -> Vec<String> {
        let file = self.path.with_extension("");
        let mut module: Vec<String> =
            file.iter().filter_map(|name| name.to_str()).map(str::to_owned).collect();
        if matches!(module.last().map(|last| &**last), Some("mod" | "lib" | "main")) {
            module.pop();
        }
        module
    }

    /// Every path in the file. Single words are paths too; method calls have a dot before them.
    fn names(&self) -> Vec<Named> {
        let mut names = Vec::new();
        let mut module = self.module();
        // the depth of braces at which each inline module ends
        let (mut inline, mut depth, mut at) = (Vec::new(), 0, 0);
        while let Some(token) = self.tokens.get(at) {
            match &*token.text {
                "{" => depth += 1,
                "}" => {
                    depth -= 1;
                    if inline.last() == Some(&depth) {
                        inline.pop();
                        module.pop();
                    }
                }
                "mod" if self.text(at + 2) == "{" => {
                    module.push(self.text(at + 1).to_owned());
                    inline.push(depth);
                    (depth, at) = (depth + 1, at + 2);
                }
                // `pub(super)` imports nothing
                "pub" if self.text(at + 1) == "(" => at += 3,
                "." if self.is_word(at + 1) => {
                    let path = vec![format!(".{}", self.text(at + 1))];
                    names.push(Named { line: token.line, path, in_tests: is_tests(&module) });
                    at += 1;
                }
                _ if self.is_word(at) => {
                    let mut paths = Vec::new();
                    at = self.path_at(at, &[], &mut paths);
                    for (line, path) in paths {
                        let path = resolved(path, &module);
                        names.push(Named { line, path, in_tests: is_tests(&module) });
                    }
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
        names
    }

    /// Reads the path, or the group of paths, that begins at a token; where it ends.
    fn path_at(&self, mut at: usize, prefix: &[String], paths: &mut Vec<(usize, Vec<String>)>) -> usize {
        let mut path = prefix.to_vec();
        let line = self.tokens[at].line;
        loop {
            if self.text(at) == "{" && !path.is_empty() {
                at += 1;
                while at < self.tokens.len() && self.text(at) != "}" {
                    at = if self.text(at) == "," { at + 1 } else { self.path_at(at, &path, paths) };
                }
                return at + 1;
            }
            path.push(self.text(at).to_owned());
            at += 1;
            let goes_on =
                self.text(at) == "::" && (self.is_word(at + 1) || ["{", "*"].contains(&self.text(at + 1)));
            if !goes_on {
                paths.push((line, path));
                return if self.text(at) == "as" { at + 2 } else { at };
            }
            at += 1;
        }
    }

    fn text(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| &token.text)
    }

    fn is_word(&self, at: usize) -> bool {
        self.text(at).starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

fn is_tests(module: &[String]) -> bool {
    module.iter().any(|name| name == "tests")
}

fn is_below(path: &str, part: &str) -> bool {
    path.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The path from the crate's root, for one that is relative to a module or names the library from outside.
fn resolved(path: Vec<String>, module: &[String]) -> Vec<String> {
    let supers = path.iter().take_while(|word| *word == "super").count();
    let base = match &*path[0] {
        "millipede" => return ["crate".to_owned()].into_iter().chain(path.into_iter().skip(1)).collect(),
        "super" => &module[..module.len().saturating_sub(supers)],
        "self" => module,
        _ => return path,
    };
    let rest = path.iter().skip(supers.max(1));
    ["crate".to_owned()].into_iter().chain(base.iter().chain(rest).cloned()).collect()
}

// ---- reading ------------------------------------------------------------------------------------------

struct Token {
    line: usize,
    text: String,
}

/// Every source of the library and the program.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut found, mut folders) = (Vec::new(), vec![root.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push(Source::new(path.strip_prefix(&root).unwrap().to_owned(), &text));
            }
        }
    }
    assert!(found.len() > 10, "the sources are not where they were");
    found
}

/// Words, `::` and single signs; neither comments nor literals.
fn tokens(text: &str) -> Vec<Token> {
    let (mut found, mut rest, mut line) = (Vec::new(), text, 1);
    while let Some(c) = rest.chars().next() {
        let length = match c {
            _ if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            _ if rest.starts_with("/*") => comment(rest),
            '"' => string(rest),
            '\'' => quote(rest),
            _ if raw_string(rest).is_some() => raw_string(rest).unwrap_or(1),
            _ if c.is_alphanumeric() || c == '_' => {
                let length = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
                found.push(Token { line, text: rest[..length].to_owned() });
                length
            }
            _ if rest.starts_with("::") => {
                found.push(Token { line, text: "::".to_owned() });
                2
            }
            _ => {
                if !c.is_whitespace() {
                    found.push(Token { line, text: c.to_string() });
                }
                c.len_utf8()
            }
        };
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    found
}

/// The length of a comment in `/*`, with those inside it.
fn comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let here = &text.as_bytes()[at..];
        let (change, step) = match () {
            () if here.starts_with(b"/*") => (1, 2),
            () if here.starts_with(b"*/") => (-1, 2),
            () => (0, 1),
        };
        (depth, at) = (depth + change, at + step);
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// The length of a string in quotes.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of a string like `r#".."#`, if one begins here.
fn raw_string(text: &str) -> Option<usize> {
    let start = ["r", "br"].into_iter().find(|start| text.starts_with(start))?.len();
    let hashes = text[start..].len() - text[start..].trim_start_matches('#').len();
    let body = text[start + hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(text.len() - body.len() + body.find(&end)? + end.len())
}

/// The length of a character in quotes, or 1 for the tick of a lifetime.
fn quote(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((at, _))) => text[at + 1..].find('\'').map_or(1, |end| at + 1 + end + 1),
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}
