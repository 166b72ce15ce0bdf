//! Names of streams and of peers: what may stand in a path beneath a folder, or in a command's environment.
//!
//! A name that is accepted here leads to a place beneath the folder and nowhere else: no part of it is empty, a step
//! upward or hidden. What is not accepted is refused in words; nothing is ever repaired, because two names must never
//! become one.

use std::fmt;

/// The most bytes of one part, as in most file systems.
pub(crate) const PART_MAX: usize = 255;
/// The most bytes of a whole name.
pub const NAME_MAX: usize = 4096;

/// A name that is in order: parts of 1 to [`PART_MAX`] bytes with `/` between them, at most [`NAME_MAX`] bytes in all,
/// no part beginning with `.` or `-`, no control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// Why a name is refused, as what follows "the name".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// No bytes.
    #[error("is empty")]
    Empty,
    /// More than [`NAME_MAX`] bytes.
    #[error("has more than {NAME_MAX} bytes")]
    Long,
    /// A part with more than so many bytes.
    #[error("has a part of more than {0} bytes")]
    LongPart(usize),
    /// `/` first.
    #[error("begins with /: it must be relative")]
    Absolute,
    /// `/` last, or twice in a row.
    #[error("has an empty part")]
    EmptyPart,
    /// `..` or a hidden file.
    #[error("has a part that begins with a dot")]
    Dot,
    /// What a command could take for an option.
    #[error("has a part that begins with -")]
    Dash,
    /// A newline, an escape or the like.
    #[error("has a control character in it")]
    Control,
    /// Not UTF-8.
    #[error("is not UTF-8")]
    NotText,
    /// A character that a shell might mean something by.
    #[error("has characters other than letters, digits and . _ @ + = , : / -")]
    Shell,
    /// `/` in the name of a peer.
    #[error("has a / in it")]
    Parts,
    /// The name that the sum of another file would have.
    #[error("ends in {0}, as the files do that hold sums")]
    Sum(&'static str),
}

impl Name {
    /// A name to store a file by: any UTF-8 within the rules.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn stored(text: impl Into<String>) -> Result<Self, BadName> {
        let text = text.into();
        match text.as_bytes() {
            [] => return Err(BadName::Empty),
            long if long.len() > NAME_MAX => return Err(BadName::Long),
            [b'/', ..] => return Err(BadName::Absolute),
            _ => {}
        }
        text.split('/').try_for_each(check_part)?;
        if text.chars().any(char::is_control) {
            return Err(BadName::Control);
        }
        Ok(Name(text))
    }

    /// A name that a command is given too (`exec`, `then`): only `[A-Za-z0-9._@+=,:/-]` besides.
    ///
    /// # Errors
    /// Why it is refused.
    pub(crate) fn commanded(text: impl Into<String>) -> Result<Self, BadName> {
        let name = Name::stored(text)?;
        if name.0.bytes().all(is_harmless) { Ok(name) } else { Err(BadName::Shell) }
    }

    /// The name of a peer: as for commands, and of one part.
    ///
    /// # Errors
    /// Why it is refused.
    pub(crate) fn of_peer(text: impl Into<String>) -> Result<Self, BadName> {
        let name = Name::commanded(text)?;
        if name.0.contains('/') { Err(BadName::Parts) } else { Ok(name) }
    }

    /// The whole.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part behind the last `/`.
    pub(crate) fn last(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// All before the last `/`, without it; empty if there is none.
    pub(crate) fn folder(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(folder, _)| folder)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who sends, as a command is told: the name of a peer, or the fingerprint of its key where it has none. Of one part, and
/// nothing in it means anything to a file system or a shell: the base64 of a fingerprint is written with `-` and `_` here
/// (RFC 4648, section 5), so that no two become one.
pub(crate) fn peer_for_commands(name: &str, key: &str) -> String {
    if name == key { key.replace('/', "_").replace('+', "-") } else { name.to_owned() }
}

fn check_part(part: &str) -> Result<(), BadName> {
    match part.as_bytes() {
        [] => Err(BadName::EmptyPart),
        [b'.', ..] => Err(BadName::Dot),
        [b'-', ..] => Err(BadName::Dash),
        long if long.len() > PART_MAX => Err(BadName::LongPart(PART_MAX)),
        _ => Ok(()),
    }
}

fn is_harmless(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._@+=,:/-".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::{Component, Path};

    #[test]
    fn a_command_hears_of_a_peer_by_a_name_of_one_part() {
        let key = "SHA256:ab/cd+ef/gh";
        assert_eq!(peer_for_commands(key, key), "SHA256:ab_cd-ef_gh");
        assert!(Name::of_peer(peer_for_commands(key, key)).is_ok());
        // a name has no /, and may have +
        assert_eq!(peer_for_commands("anna+work@host", key), "anna+work@host");
    }

    #[test]
    fn what_leads_elsewhere_is_refused_in_words() {
        let (part, whole) = ("x".repeat(256), "x/".repeat(2048) + "x");
        for (text, why) in [
            ("", BadName::Empty),
            ("/etc/passwd", BadName::Absolute),
            ("..", BadName::Dot),
            ("a/../b", BadName::Dot),
            ("a/./b", BadName::Dot),
            (".bashrc", BadName::Dot),
            (".millipede/meta/x.json", BadName::Dot),
            ("a/.b", BadName::Dot),
            ("-rf", BadName::Dash),
            ("a/-rf", BadName::Dash),
            ("a//b", BadName::EmptyPart),
            ("a/", BadName::EmptyPart),
            ("a\nb", BadName::Control),
            ("a\0b", BadName::Control),
            ("a\u{9b}31mb", BadName::Control),
            (&part, BadName::LongPart(PART_MAX)),
            (&whole, BadName::Long),
        ] {
            assert_eq!(Name::stored(text), Err(why), "{text:?}");
            assert!(!why.to_string().is_empty());
        }
    }

    #[test]
    fn what_is_at_the_bounds_is_accepted() {
        let (part, whole) = ("x".repeat(255), "x/".repeat(2047) + "xy");
        for text in ["a", "run 7/größe.raw", "a..b", "a-b/c.d", "~", "$(reboot)", &part, &whole] {
            assert_eq!(Name::stored(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn commands_and_peers_are_given_less() {
        assert!(Name::commanded("tank/host-1@2026.01:05,a+b=c_d").is_ok());
        for text in ["a b", "$(reboot)", "a;b", "größe", "a'b", "a\"b", "a\\b", "a*b", "~root", "a|b", "a&b"]
        {
            assert_eq!(Name::commanded(text), Err(BadName::Shell), "{text:?}");
        }
        assert_eq!(Name::of_peer("root@host").unwrap().as_str(), "root@host");
        assert_eq!(Name::of_peer("a/b"), Err(BadName::Parts));
    }

    #[test]
    fn parts_are_told_apart() {
        let name = Name::stored("a/b/c").unwrap();
        assert_eq!((name.folder(), name.last()), ("a/b", "c"));
        let name = Name::stored("c").unwrap();
        assert_eq!((name.folder(), name.last()), ("", "c"));
    }

    proptest! {
        #[test]
        fn an_accepted_name_is_a_path_downward_and_the_only_one_to_its_place(text in "[a-c./\\-\n\u{e9} ]{0,12}") {
            if let Ok(name) = Name::stored(text.clone()) {
                let parts: Vec<_> = Path::new(name.as_str()).components().collect();
                prop_assert!(parts.iter().all(|part| matches!(part, Component::Normal(_))));
                let again: Vec<_> = parts.iter().map(|part| part.as_os_str().to_str().unwrap()).collect();
                prop_assert_eq!(again.join("/"), text);
                prop_assert!(!again.iter().any(|part| part.starts_with(['.', '-'])));
            }
        }

        #[test]
        fn no_text_at_all_makes_it_panic(text in any::<String>()) {
            let stored = Name::stored(text.clone());
            let commanded = Name::commanded(text.clone());
            prop_assert!(stored.is_ok() || commanded.is_err());
            if let Ok(name) = Name::of_peer(text) {
                prop_assert!(name.as_str().bytes().all(|b| b.is_ascii_graphic() && b != b'/'));
            }
        }
    }
}
