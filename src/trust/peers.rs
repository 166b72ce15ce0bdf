//! Who is let in: the list in a file, with a name for each.
//!
//! A line is that of a .pub file or of authorized_keys without options. Lines are taken apart here and only the key
//! in them by the ssh-key crate, which would end a comment at its first `#`. A list is taken as a whole or not at
//! all: a line that is not understood must not leave somebody out, and options that would restrict a key must not
//! be passed over.

use super::open::Opened;
use super::public::PublicKey;
use crate::message::text::cleaned;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

/// No list is larger: it has room for 10,000 keys.
const FILE_MAX: usize = 1 << 20;

/// Keys that are let in. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peers(HashMap<PublicKey, Arc<str>>);

impl Peers {
    /// This key alone.
    pub(crate) fn only(key: PublicKey) -> Self {
        Self([(key, key.to_string().into())].into())
    }

    /// The list in a file that is open.
    pub(super) fn of(opened: &Opened) -> Result<Self, String> {
        let mode = opened.meta.mode() & 0o777;
        if mode & 0o002 != 0 {
            return Err(format!("anybody may write to it (mode {mode:04o}): chmod o-w"));
        }
        Self::parse(&opened.read(FILE_MAX)?)
    }

    /// The list in a text.
    fn parse(text: &[u8]) -> Result<Self, String> {
        let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
        let mut peers: HashMap<PublicKey, (Arc<str>, usize)> = HashMap::new();
        for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
            let line = String::from_utf8_lossy(line);
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (key, comment) =
                PublicKey::from_line(line).map_err(|wrong| format!("line {number} {wrong}"))?;
            let name = named(&key, comment);
            match peers.entry(key) {
                Entry::Vacant(place) => drop(place.insert((name, number))),
                Entry::Occupied(known) if known.get().0 == name => {}
                Entry::Occupied(known) => {
                    let first = known.get().1;
                    return Err(format!("lines {first} and {number} give the same key different names"));
                }
            }
        }
        if peers.is_empty() {
            return Err("there is no key in it, so nobody would be let in".to_owned());
        }
        let mut bearers: HashMap<Arc<str>, usize> = HashMap::new();
        peers.values().for_each(|(name, _)| *bearers.entry(name.clone()).or_default() += 1);
        let named = peers.into_iter().map(|(key, (name, _))| match bearers.get(&name) {
            Some(1) => (key, name),
            _ => (key, key.to_string().into()),
        });
        Ok(Self(named.collect()))
    }

    /// The name of a key that is let in: the comment of its line, fit to be shown, if no other key has that; else its
    /// fingerprint. So nobody has another one's name.
    pub(crate) fn name(&self, key: &PublicKey) -> Option<&Arc<str>> {
        self.0.get(key)
    }

    /// Whether a key is let in.
    pub(crate) fn is_allowed(&self, key: &PublicKey) -> bool {
        self.0.contains_key(key)
    }

    /// The keys, in no order, with their names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&PublicKey, &Arc<str>)> {
        self.0.iter()
    }
}

/// A sentence on the list in this file.
pub(super) fn told(path: &Path, wrong: &str) -> String {
    format!("peers {}: {wrong}", path.display())
}

fn named(key: &PublicKey, comment: &str) -> Arc<str> {
    match comment {
        "" => key.to_string().into(),
        name => cleaned(name).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> PublicKey {
        PublicKey::new([n; 32])
    }

    fn parse(text: &str) -> Result<Peers, String> {
        Peers::parse(text.as_bytes())
    }

    #[test]
    fn every_line_with_a_key_lets_it_in_under_its_name() {
        let text = format!(
            "\u{feff}# who may send\n{}\r\n\n  \t\n  # {}\n{}\n{}",
            key(1).openssh("anna@host"),
            key(9).openssh("nobody"),
            key(2).openssh(""),
            key(3).openssh("the backup  host #2 \u{e4}"),
        );
        let peers = parse(&text).unwrap();
        let name = |n| peers.name(&key(n)).map(|name| name.to_string());
        assert_eq!(name(1).as_deref(), Some("anna@host"));
        assert_eq!(name(2), Some(key(2).to_string()));
        assert_eq!(name(3).as_deref(), Some("the backup  host #2 \u{e4}"));
        assert_eq!(name(9), None);
        assert!(peers.is_allowed(&key(1)) && !peers.is_allowed(&key(9)));
        assert_eq!(peers.iter().count(), 3);
    }

    #[test]
    fn a_name_that_several_keys_have_is_nobodys() {
        let text = [key(1).openssh("root@nas"), key(2).openssh("root@nas"), key(3).openssh("anna")];
        // who calls itself by another one's fingerprint does not get that either
        let peers = parse(
            &[&text[..], &[key(4).openssh(&key(5).to_string()), key(5).openssh("")]].concat().join("\n"),
        );
        let peers = peers.unwrap();
        let name = |n| peers.name(&key(n)).unwrap().to_string();
        for n in [1, 2, 4, 5] {
            assert_eq!(name(n), key(n).to_string());
        }
        assert_eq!(name(3), "anna");
    }

    #[test]
    fn a_name_shows_nothing_invisible() {
        let mut text = key(1).openssh("a\u{1b}[31mb\u{202e}c").into_bytes();
        text.extend(b"\xff\xfe\n");
        let peers = Peers::parse(&text).unwrap();
        assert_eq!(&**peers.name(&key(1)).unwrap(), "a?[31mb?c\u{fffd}\u{fffd}");
    }

    #[test]
    fn one_bad_line_refuses_the_list_and_is_named() {
        let good = key(1).openssh("one");
        for (line, why) in [
            ("junk", "line 2 is not a public key: ssh-ed25519 AAAA... NAME"),
            ("ssh-rsa AAAA me", "line 2 is a key of type ssh-rsa, not ssh-ed25519"),
            ("ssh-ed25519 AAAA me", "line 2 is a key that is damaged or cut short"),
            (&format!("restrict {good}"), "line 2 has options or a name before the key: remove them"),
        ] {
            assert_eq!(parse(&format!("{good}\n{line}\n")).unwrap_err(), why);
        }
    }

    #[test]
    fn a_list_without_keys_is_refused() {
        for text in ["", "\n\n", "# ssh-ed25519\n"] {
            assert_eq!(parse(text).unwrap_err(), "there is no key in it, so nobody would be let in");
        }
    }

    #[test]
    fn a_key_has_one_name() {
        let (one, same, other) = (key(1).openssh("one"), key(1).openssh("one"), key(1).openssh("two"));
        assert_eq!(parse(&format!("{one}\n{same}")), parse(&one));
        let wrong = parse(&format!("{one}\n\n{other}")).unwrap_err();
        assert_eq!(wrong, "lines 1 and 3 give the same key different names");
    }

    #[test]
    fn alone_a_key_has_its_fingerprint_as_its_name() {
        let peers = Peers::only(key(5));
        assert_eq!(&**peers.name(&key(5)).unwrap(), key(5).to_string());
        assert!(!peers.is_allowed(&key(6)));
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named() {
        use crate::trust::Roll;
        use std::fs::{self, Permissions};
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peers");
        let refused = || Roll::load(&path).unwrap_err();
        let named = |wrong: &str| format!("peers {}: {wrong}", path.display());
        assert_eq!(refused(), named("no such file or directory"));
        fs::write(&path, key(1).openssh("one")).unwrap();
        assert!(Roll::load(&path).is_ok());
        fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        assert_eq!(refused(), named("anybody may write to it (mode 0666): chmod o-w"));
        fs::set_permissions(&path, Permissions::from_mode(0o664)).unwrap();
        fs::write(&path, vec![b'#'; FILE_MAX + 1]).unwrap();
        assert_eq!(refused(), named("this is larger than 1024 KiB"));
    }
}
