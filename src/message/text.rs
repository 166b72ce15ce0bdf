//! What may be printed: one line, nothing invisible, nothing that moves the cursor, no longer than wanted.
//!
//! Names, sentences of a peer and words of the command line all pass through here. Letters of every script stay.
//! What a terminal does not show as one visible character becomes `?`; every kind of blank becomes a space.

use std::borrow::Cow;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The most characters of one line of any origin. Four bytes each, it goes to a pipe in one piece.
pub(crate) const LINE_MAX: usize = 1000;

/// Accents that may stand on one letter. Decomposed Vietnamese needs two.
const MARKS_MAX: usize = 2;

/// Characters that show nothing, though their general category says that they are letters, marks or symbols.
const BLANKS: &[(char, char)] = &[
    ('\u{34f}', '\u{34f}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{2800}', '\u{2800}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{e0100}', '\u{e01ef}'),
];

/// The text without characters that are invisible or that show anywhere else than in their place.
pub(crate) fn cleaned(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return text.into();
    }
    let mut marks = MARKS_MAX;
    text.chars().map(|c| visible(c, &mut marks)).collect()
}

/// The character, or what is printed in its place. `marks` counts those since the last letter.
fn visible(c: char, marks: &mut usize) -> char {
    use GeneralCategory as Category;
    if matches!(c, ' '..='~') {
        *marks = 0;
        return c;
    }
    match c.general_category() {
        Category::Control
        | Category::Format
        | Category::LineSeparator
        | Category::ParagraphSeparator
        | Category::Surrogate
        | Category::PrivateUse
        | Category::Unassigned => '?',
        _ if BLANKS.iter().any(|(first, last)| (*first..=*last).contains(&c)) => '?',
        Category::SpaceSeparator => ' ',
        Category::NonspacingMark | Category::EnclosingMark if *marks >= MARKS_MAX => '?',
        Category::NonspacingMark | Category::EnclosingMark => {
            *marks += 1;
            c
        }
        _ => {
            *marks = 0;
            c
        }
    }
}

/// The text, or its beginning with an ellipsis: at most `max` characters.
pub(crate) fn bounded(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        None => text.to_owned(),
        Some(_) => text.chars().take(max - 1).chain(['…']).collect(),
    }
}

/// The line, or its beginning with an ellipsis: at most `columns` of a terminal.
pub(crate) fn clipped(line: &str, columns: usize) -> String {
    if line.width() <= columns {
        return line.to_owned();
    }
    let mut used = 0;
    let fits = |c: &char| {
        used += c.width().unwrap_or(0);
        used < columns
    };
    line.chars().take_while(fits).chain(['…']).collect()
}

/// What every line begins with.
const PREFIX: &str = "millipede: ";

/// The line as it is written: the program's name, nothing invisible, a newline.
pub(crate) fn one_line(line: &str) -> String {
    let line = cleaned(line.trim_end_matches(['\n', '\r']));
    format!("{PREFIX}{}\n", bounded(&line, LINE_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_visible_stays() {
        for text in
            ["", "link 1: gone", "grün → 1 MiB …", "日本語", "e\u{301}", "a\u{302}\u{323}", "हिन्दी", "Ж"]
        {
            assert_eq!(cleaned(text), text);
        }
    }

    #[test]
    fn what_moves_the_cursor_or_hides_does_not() {
        for c in [
            '\0',
            '\n',
            '\r',
            '\t',
            '\u{1b}',
            '\u{7f}',
            '\u{85}',
            '\u{9b}',
            '\u{ad}',
            '\u{61c}',
            '\u{200b}',
            '\u{200d}',
            '\u{200e}',
            '\u{202e}',
            '\u{2028}',
            '\u{2029}',
            '\u{2060}',
            '\u{2066}',
            '\u{feff}',
            '\u{34f}',
            '\u{115f}',
            '\u{3164}',
            '\u{2800}',
            '\u{fe0f}',
            '\u{e000}',
            '\u{fff9}',
            '\u{e0041}',
            '\u{10ffff}',
        ] {
            assert_eq!(cleaned(&format!("a{c}b")), "a?b", "{:x}", c as u32);
        }
    }

    #[test]
    fn every_blank_is_a_space_and_accents_do_not_pile_up() {
        assert_eq!(cleaned("a\u{a0}b\u{2003}c\u{3000}d"), "a b c d");
        assert_eq!(cleaned(&format!("a{}", "\u{301}".repeat(5))), "a\u{301}\u{301}???");
        assert_eq!(cleaned("\u{301}a"), "?a", "an accent on nothing");
    }

    #[test]
    fn a_line_is_clipped_by_columns_not_characters() {
        assert_eq!(clipped("0123456789", 10), "0123456789");
        assert_eq!(clipped("0123456789a", 10), "012345678…");
        assert_eq!(clipped("日本語日本語", 10), "日本語日…");
        assert_eq!(clipped("日本語日本語", 12), "日本語日本語");
    }
}
