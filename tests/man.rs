//! The manual, the help and the parser have the same words; the manual is well formed, and quotes what is said. Its
//! section WORDS is made here, from the table in `src/cli/words.rs`; after a change of that:
//! `UPDATE=1 cargo test --test man`.
// nothing of a test program is seen from outside: `pub` is for its own modules
#![allow(unreachable_pub)]

#[path = "util/made.rs"]
mod made;
#[path = "util/mdoc.rs"]
mod mdoc;

#[path = "util/skip.rs"]
mod skip;

use millipede::cli::{Side, WORDS};
use millipede::error::Status;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn manual() -> String {
    fs::read_to_string(root().join("man/millipede.1")).unwrap()
}

/// The heads of the items in a section.
fn items(manual: &str, section: &str) -> Vec<String> {
    let text = manual.split("\n.Sh ").find(|text| text.starts_with(section)).expect(section);
    text.lines().filter_map(|line| line.strip_prefix(".It ")).map(str::to_owned).collect()
}

/// A word and its operands without macros, as the help shows them.
fn plain(item: &str) -> String {
    let (mut text, mut open) = (String::new(), false);
    for part in item.split_whitespace() {
        match part {
            "Cm" | "Ar" => {}
            "Oo" | "Op" => {
                text.push_str(" [");
                open = part == "Op";
            }
            "Oc" => text.push(']'),
            part => {
                let glued = text.is_empty() || text.ends_with('[');
                text.push_str(if glued { "" } else { " " });
                text.push_str(part);
            }
        }
    }
    text + if open { "]" } else { "" }
}

#[test]
fn the_section_of_words_is_made_from_the_table() {
    let marks = ["words: made from src/cli/words.rs", "words end"];
    made::compare_section("man/millipede.1", marks, &mdoc::words());
}

#[test]
fn manual_help_and_parser_have_the_same_words_in_the_same_form() {
    let mut in_manual: Vec<String> = items(&manual(), "WORDS\n").iter().map(|item| plain(item)).collect();
    let mut known: Vec<String> = WORDS.iter().map(|word| word.shown()).collect();
    in_manual.sort();
    known.sort();
    assert_eq!(in_manual, known);
    let help = Command::new(env!("CARGO_BIN_EXE_millipede")).arg("help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for word in WORDS {
        // those of serve, put and ssh are named where these are explained
        let special = matches!(word.side, Side::Serve | Side::Named | Side::Watch | Side::Ssh);
        assert!(special || help.contains(&word.shown()), "{}", word.name);
        let explained =
            Command::new(env!("CARGO_BIN_EXE_millipede")).args(["help", word.name]).output().unwrap();
        assert!(explained.stdout.starts_with(word.shown().as_bytes()), "{}", word.name);
    }
}

#[test]
fn the_manual_names_every_spelling_and_every_status() {
    let manual = manual();
    for alias in WORDS.iter().flat_map(|word| word.aliases) {
        assert!(manual.contains(&format!(".Cm {alias} .")), "{alias}");
    }
    let known: Vec<String> = Status::ALL.iter().map(|status| status.code().to_string()).collect();
    assert_eq!(items(&manual, "EXIT STATUS\n"), known);
}

/// What is said, as far as it does not depend on names and numbers.
fn fragments(message: &str) -> Vec<String> {
    let text = message.trim_matches('"');
    let mut fragments = vec![String::new()];
    for word in text.split(' ') {
        let stands_for_more = word.contains("...")
            || word.bytes().all(|letter| letter.is_ascii_digit())
            || ["LINK", "HOST", "NAME", "FILE", "SIGTERM", "stdout", "stdin", "reason", "N", "X", "Y"]
                .contains(&word.trim_matches(|c: char| !c.is_alphanumeric()));
        if stands_for_more {
            fragments.push(String::new());
        } else {
            let last = fragments.last_mut().unwrap();
            last.push_str(if last.is_empty() { "" } else { " " });
            last.push_str(word);
            if word.ends_with([':', ';', ',']) {
                // what follows may come from elsewhere
                fragments.push(String::new());
            }
        }
    }
    fragments.retain(|fragment| fragment.len() >= 8);
    fragments
}

/// What the kernel says is not ours to hold.
const KERNELS: [&str; 5] = [
    "the sender:",
    "the receiver:",
    "address already in use",
    "no space left on device",
    "connection refused",
];

#[test]
fn every_message_of_the_manual_is_said_somewhere() {
    let said = sources(&root().join("src"));
    for item in items(&manual(), "DIAGNOSTICS\n") {
        for fragment in fragments(&item) {
            let ours = KERNELS.iter().fold(fragment, |text, kernels| text.replace(kernels, ""));
            let ours = ours.trim_matches([' ', ':', ';', '(', ')', ',']);
            assert!(said.contains(ours), "nobody says {ours:?}");
        }
    }
}

/// All sources in one, strings that go over several lines in one line.
fn sources(folder: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all += &sources(&path);
        } else {
            let text = fs::read_to_string(&path).unwrap();
            let mut pieces = text.split("\\\n");
            all += pieces.next().unwrap();
            pieces.for_each(|piece| all += piece.trim_start());
        }
    }
    all
}

#[test]
fn the_manual_is_well_formed() {
    let Ok(lint) = Command::new("mandoc").args(["-Tlint"]).arg(root().join("man/millipede.1")).output()
    else {
        return skip::skip("needs mandoc");
    };
    let said = String::from_utf8_lossy(&lint.stdout).into_owned();
    // what else is installed; and without a name of our own, groff would put BSD in the footer
    let known = ["referenced manual not found", "operating system explicitly specified"];
    let faults: Vec<&str> =
        said.lines().filter(|line| !known.iter().any(|known| line.contains(known))).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn the_manual_names_its_version() {
    let os = format!(".Os \"millipede {}\"\n", env!("CARGO_PKG_VERSION"));
    assert!(manual().contains(&os), "it is not {os:?}");
}

/// As people read it: on a terminal of 80 columns, by either of the two programs that show manuals.
#[test]
fn the_manual_fits_a_terminal() {
    let page = root().join("man/millipede.1");
    for (program, args) in
        [("mandoc", &["-Tutf8", "-O", "width=78"][..]), ("groff", &["-mandoc", "-Tutf8", "-rLL=78n", "-P-c"])]
    {
        let Ok(shown) = Command::new(program).args(args).arg(&page).output() else {
            skip::skip(&format!("needs {program}"));
            continue;
        };
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        // bold and underlined letters are struck twice
        let lines: Vec<String> = shown.lines().map(struck_once).collect();
        assert!(lines.len() > 100, "{program} shows {lines:#?}");
        let long: Vec<&String> = lines.iter().filter(|line| line.chars().count() > 78).collect();
        assert!(long.is_empty(), "{program}: {long:#?}");
        for line in [lines.first(), lines.iter().rfind(|line| !line.is_empty())] {
            assert!(!line.unwrap().contains("BSD"), "{program}: {line:?}");
        }
    }
}

fn struck_once(line: &str) -> String {
    let mut shown = String::new();
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\u{8}' => drop(shown.pop()),
            '\u{1b}' => drop(letters.by_ref().find(char::is_ascii_alphabetic)),
            letter => shown.push(letter),
        }
    }
    shown
}
