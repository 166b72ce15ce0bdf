//! Reads a source: the words of a file, and every path that it names, resolved as the compiler does.
//!
//! From `crate`, `super` and `self` through groups and inline modules. Comments and literals do not count. Macros that
//! build paths would escape this; there are none.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// One file, below `src`.
pub struct Source {
    pub path: PathBuf,
    /// The part it belongs to: its folder's name, or its own.
    pub part: String,
    tokens: Vec<Token>,
}

/// A path that a file names, from the crate's root where it begins there.
pub struct Named {
    pub line: usize,
    pub path: Vec<String>,
    /// Whether a module called `tests` says it.
    pub in_tests: bool,
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path.join("::"))
    }
}

impl Source {
    pub fn new(path: PathBuf, text: &str) -> Self {
        let first = path.iter().next().and_then(|name| name.to_str()).unwrap_or_default();
        let part = first.trim_end_matches(".rs").to_owned();
        Source { part, tokens: tokens(text), path }
    }

    /// The module that the file is, from the crate's root.
    pub fn module(&self) -> Vec<String> {
        let file = self.path.with_extension("");
        let mut module: Vec<String> =
            file.iter().filter_map(|name| name.to_str()).map(str::to_owned).collect();
        if matches!(module.last().map(|last| &**last), Some("mod" | "lib" | "main")) {
            module.pop();
        }
        module
    }

    /// Every path in the file. Single words are paths too; method calls have a dot before them.
    pub fn names(&self) -> Vec<Named> {
        let (mut names, mut module) = (Vec::new(), self.module());
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

pub fn is_below(path: &str, part: &str) -> bool {
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

struct Token {
    line: usize,
    text: String,
}

/// Every source of the library and the program.
pub fn sources() -> Vec<Source> {
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
    found.sort_by(|one, other| one.path.cmp(&other.path));
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
