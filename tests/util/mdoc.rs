//! The manual's section WORDS, in the language of manuals (mdoc), made from the table of words.
//!
//! Prose of the table becomes lines of at most 78 columns, a new one for each sentence. What is typed, in backticks
//! there, and the names of operands become macros, each on a line of its own with the punctuation behind it.

use millipede::cli::{Operands, Side, WORDS, Word, word};

const COLUMNS: usize = 78;

/// The whole list.
pub fn words() -> String {
    let items: String = WORDS.iter().map(item).collect();
    format!(".Bl -tag -width Ds\n{items}.El\n")
}

fn item(word: &Word) -> String {
    let operands = match word.operands {
        Operands::None => String::new(),
        Operands::Programs(encode, decode) => format!(" Oo Ar {encode} Oc Ar {decode}"),
        Operands::HostPort => " Ar HOST PORT".to_owned(),
        Operands::AddressPort => " Oo Ar ADDRESS Oc Ar PORT".to_owned(),
        Operands::Word(name) | Operands::Perhaps(name, ..) => format!(" Op Ar {name}"),
        other => format!(" Ar {}", other.shown()),
    };
    let mut text = match word.side {
        Side::Tx => "Goes with `tx`. ",
        Side::Stream => "Goes with `tx` or `duplex`. ",
        Side::Serve => "Goes with `serve`. ",
        Side::Named => "Goes with `put`, `name` or `watch`. ",
        Side::Watch => "Goes with `watch`. ",
        Side::Ssh if word.name != "ssh" => "Goes with `ssh`. ",
        Side::Both | Side::Ssh | Side::Free => "",
    }
    .to_owned();
    text += word.long;
    for spelling in word.spellings() {
        text += &format!(" Also spelt `{spelling}`.");
    }
    let shown: Vec<String> = WORDS.iter().map(|word| word.operands.shown()).collect();
    let names: Vec<&str> = shown.iter().flat_map(|shown| shown.split([' ', '[', ']'])).collect();
    let paragraphs: Vec<String> = text.split("\n\n").map(|text| paragraph(text, &names)).collect();
    format!(".It Cm {}{operands}\n{}", word.name, paragraphs.join(".Pp\n"))
}

/// Lines of a paragraph.
fn paragraph(text: &str, operands: &[&str]) -> String {
    let mut lines = Lines::default();
    for (at, piece) in text.split('`').enumerate() {
        if at % 2 == 1 {
            lines.macro_line(&typed(piece));
            continue;
        }
        let mut words = piece.split(' ').filter(|word| !word.is_empty()).peekable();
        if at > 0 && !piece.starts_with(' ') {
            words.next().into_iter().for_each(|behind| lines.punctuation(behind));
        }
        for word in words {
            let name = word.trim_end_matches(['.', ',', ';', ':', ')']);
            if !name.is_empty() && operands.contains(&name) {
                lines.macro_line(&format!("Ar {name}"));
                lines.punctuation(&word[name.len()..]);
            } else {
                lines.word(word);
            }
        }
    }
    lines.done.join("\n") + "\n"
}

/// The macro for what is typed.
fn typed(piece: &str) -> String {
    let first = piece.split([' ', '=']).next().unwrap_or_default();
    match piece.strip_prefix("sh -c ") {
        Some(operand) => format!("Ic sh -c Ar {operand}"),
        None if piece.starts_with('-') => format!("Fl {}", &piece[1..]),
        None if word(first).is_some() => format!("Cm {}", piece.replace('"', "\\(dq")),
        None if piece.chars().all(|c| c.is_ascii_uppercase() || "[]:".contains(c)) => format!("Ar {piece}"),
        None => format!("Li {piece}"),
    }
}

#[derive(Default)]
struct Lines {
    done: Vec<String>,
    /// Whether the last line is prose that may grow.
    open: bool,
    /// An opening bracket that belongs to the macro behind it.
    bracket: bool,
}

impl Lines {
    fn word(&mut self, word: &str) {
        if word == "(" {
            self.bracket = true;
            return;
        }
        let fits = self.done.last().is_some_and(|line| line.len() + 1 + word.len() <= COLUMNS);
        match self.done.last_mut() {
            Some(line) if self.open && fits => {
                line.push(' ');
                line.push_str(word);
            }
            _ => self.done.push(word.to_owned()),
        }
        self.open = !word.ends_with('.');
    }

    fn macro_line(&mut self, line: &str) {
        self.open = false;
        let (name, operands) = line.split_once(' ').unwrap_or((line, ""));
        let bracket = if std::mem::take(&mut self.bracket) { "( " } else { "" };
        self.done.push(format!(".{name} {bracket}{operands}"));
    }

    /// Puts punctuation behind the macro, each character an operand of its own.
    fn punctuation(&mut self, text: &str) {
        if let Some(line) = self.done.last_mut() {
            text.chars().for_each(|c| {
                line.push(' ');
                line.push(c);
            });
        }
    }
}
