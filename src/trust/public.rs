//! The public half of a key: who somebody is.

use ssh_key::public::{Ed25519PublicKey, KeyData};
use ssh_key::{Algorithm, HashAlg};
use std::fmt;

/// The only kind of key.
const ED25519: &str = "ssh-ed25519";

/// An Ed25519 public key. Displayed as OpenSSH's fingerprint of it, `SHA256:` and 43 characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// The key of these bytes, as they stand in a certificate or a line; any are taken.
    pub(crate) fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The line of a .pub file, without an end of line. `comment` stands in it as it is.
    pub(crate) fn openssh(&self, comment: &str) -> String {
        ssh_key::PublicKey::new(self.data(), comment).to_string()
    }

    /// The key in a line as a .pub file or authorized_keys has it, and the line's comment.
    ///
    /// # Errors
    /// What is wrong, to be read after "the line". It has nothing of the line but the name of a type of key.
    pub(crate) fn from_line(line: &str) -> Result<(Self, &str), String> {
        let (kind, rest) = cut(line);
        let (base64, comment) = cut(rest);
        match kind {
            ED25519 => Self::decode(base64).map(|key| (key, comment)),
            _ => Err(refused(kind, rest)),
        }
    }

    fn decode(base64: &str) -> Result<Self, String> {
        let damaged = || "is a key that is damaged or cut short".to_owned();
        let key = ssh_key::PublicKey::from_openssh(&format!("{ED25519} {base64}")).map_err(|_| damaged())?;
        key.key_data().ed25519().map(|key| Self(key.0)).ok_or_else(damaged)
    }

    fn data(&self) -> KeyData {
        KeyData::Ed25519(Ed25519PublicKey(self.0))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.data().fingerprint(HashAlg::Sha256).fmt(f)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// The first word of a line, and what follows the blanks after it.
fn cut(line: &str) -> (&str, &str) {
    let line = line.trim();
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    (word, rest.trim_start())
}

/// Why a line that does not begin with the right type is refused.
fn refused(kind: &str, rest: &str) -> String {
    if is_type(kind) {
        return format!("is a key of type {kind}, not {ED25519}");
    }
    // what stands in quotes may have blanks in it
    if rest.split_whitespace().any(is_type) {
        return "has options or a name before the key: remove them".to_owned();
    }
    if kind == "-----BEGIN" && rest.contains("PRIVATE KEY") {
        return "begins a private key; the public one is in FILE.pub".to_owned();
    }
    format!("is not a public key: {ED25519} AAAA... NAME")
}

/// Whether this names a type of key or certificate of OpenSSH's.
pub(super) fn is_type(word: &str) -> bool {
    match word.parse::<Algorithm>() {
        Ok(Algorithm::Other(_)) | Err(_) => word.ends_with("-cert-v01@openssh.com") && word.len() < 64,
        Ok(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `ssh-keygen -t ed25519` made it, and what `ssh-keygen -l` says of it.
    const LINE: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPf0n6Np2JdFZFkW1Mr40jZZLiPRNQEOsOvbQGu89Pbp a key #1 for tests";
    const FINGERPRINT: &str = "SHA256:Ur9M2+aNsRuLhmqg/KHP6SWDtAoz07K3GGPPaS1CZa8";

    #[test]
    fn a_line_and_its_fingerprint_are_those_of_openssh() {
        let (key, comment) = PublicKey::from_line(LINE).unwrap();
        assert_eq!(comment, "a key #1 for tests");
        assert_eq!(key.to_string(), FINGERPRINT);
        assert_eq!(format!("{key:?}"), format!("PublicKey({FINGERPRINT})"));
        assert_eq!(key.openssh(comment), LINE);
        assert_eq!(PublicKey::new(*key.bytes()), key);
    }

    #[test]
    fn blanks_around_the_parts_do_not_matter() {
        let parts: Vec<&str> = LINE.splitn(3, ' ').collect();
        let line = format!(" \t{} \t {}\t{}  \r\n", parts[0], parts[1], parts[2]);
        let (key, comment) = PublicKey::from_line(&line).unwrap();
        assert_eq!((key.to_string().as_str(), comment), (FINGERPRINT, parts[2]));
        let bare = format!("{} {}", parts[0], parts[1]);
        assert_eq!(PublicKey::from_line(&bare).unwrap(), (key, ""));
        assert_eq!(key.openssh(""), bare);
    }

    #[test]
    fn what_is_no_such_key_is_told_what_it_is() {
        let base64 = LINE.split(' ').nth(1).unwrap();
        let options = "has options or a name before the key: remove them";
        let cases = [
            ("ssh-rsa AAAAB3NzaC1yc2E= me".to_owned(), "is a key of type ssh-rsa, not ssh-ed25519"),
            (
                format!("ssh-ed25519-cert-v01@openssh.com {base64}"),
                "is a key of type ssh-ed25519-cert-v01@openssh.com, not ssh-ed25519",
            ),
            (format!("restrict {LINE}"), options),
            (format!("command=\"a b\",no-pty {LINE}"), options),
            (format!("host.example {LINE}"), options),
            (format!("@cert-authority * {LINE}"), options),
            ("restrict ssh-rsa AAAA".to_owned(), options),
            (
                "-----BEGIN OPENSSH PRIVATE KEY-----".to_owned(),
                "begins a private key; the public one is in FILE.pub",
            ),
            (base64.to_owned(), "is not a public key: ssh-ed25519 AAAA... NAME"),
            (String::new(), "is not a public key: ssh-ed25519 AAAA... NAME"),
        ];
        for (line, why) in cases {
            assert_eq!(PublicKey::from_line(&line).unwrap_err(), why, "{line}");
        }
    }

    #[test]
    fn a_damaged_key_is_refused_wherever_it_is_damaged() {
        let base64 = LINE.split(' ').nth(1).unwrap();
        let refused = |base64: &str| PublicKey::from_line(&format!("ssh-ed25519 {base64}")).is_err();
        assert!(!refused(base64));
        for end in 0..base64.len() {
            assert!(refused(&base64[..end]), "{end}");
        }
        assert!(refused(&format!("{base64}AAAA")));
        assert!(refused(&base64.replacen('A', "*", 1)));
        // of another type within
        assert!(refused("AAAAB3NzaC1yc2EAAAADAQABAAAAAQA="));
    }
}
