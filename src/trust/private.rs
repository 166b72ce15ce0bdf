//! The private half of a key: who this end is.
//!
//! It is never shown, and wiped from memory when it is dropped.

use super::open::{self, Opened};
use super::public::{PublicKey, is_type};
use crate::sys::file_id::FileId;
use aws_lc_rs::rand;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::public::Ed25519PublicKey;
use ssh_key::{Algorithm, LineEnding};
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use zeroize::Zeroizing;

/// No file with a key is larger: one of Ed25519 has about 400 bytes, the largest of RSA 13 KiB.
const FILE_MAX: usize = 64 << 10;

/// The permissions of what systemd's LoadCredential puts into its folder: there the group is nobody else.
const CREDENTIAL: u32 = 0o440;

/// The lines around a key in OpenSSH's format, and the width of those between them that the ssh-key crate reads.
const BEGIN: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
const END: &str = "-----END OPENSSH PRIVATE KEY-----";
const WIDTH: usize = 70;

const DAMAGED: &str = "this private key is damaged or cut short";

/// An Ed25519 key pair, whose halves belong together.
pub struct PrivateKey {
    pair: Ed25519Keypair,
    pkcs8: Zeroizing<Vec<u8>>,
}

impl PrivateKey {
    /// The key in a file, as `ssh-keygen -t ed25519 -N ''` makes it.
    ///
    /// # Errors
    /// A sentence that names the word and the file: there is no such file, others may read it, it has a passphrase, or
    /// it is something else.
    pub(crate) fn load(path: &Path) -> Result<Self, String> {
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY");
        let loaded = load(path, credentials.as_deref());
        loaded.map_err(|wrong| format!("key {}: {wrong}", path.display()))
    }

    /// A new key.
    ///
    /// # Errors
    /// A sentence: the system gave no random numbers.
    pub fn generate() -> Result<Self, String> {
        let failed = || "the system gives no random numbers".to_owned();
        let mut seed = Zeroizing::new([0; 32]);
        rand::fill(&mut *seed).map_err(|_| failed())?;
        let made = Ed25519KeyPair::from_seed_unchecked(&*seed).map_err(|_| failed())?;
        Self::new(&seed, &made).ok_or_else(failed)
    }

    /// The key in the text of a file.
    fn read(text: &[u8]) -> Result<Self, String> {
        let Some(text) = str::from_utf8(text).ok() else { return Err(foreign("")) };
        let text = unfolded(text).ok_or_else(|| foreign(text))?;
        let key = ssh_key::PrivateKey::from_openssh(&*text).map_err(|error| match error {
            // the one kind that the crate knows only by name
            ssh_key::Error::AlgorithmUnknown => another("an ECDSA"),
            _ => DAMAGED.to_owned(),
        })?;
        match key.algorithm() {
            Algorithm::Ed25519 => {}
            Algorithm::Rsa { .. } => return Err(another("an RSA")),
            Algorithm::Dsa => return Err(another("a DSA")),
            other => return Err(another(&format!("a {other}"))),
        }
        if key.is_encrypted() {
            return Err("has a passphrase; in a copy, run ssh-keygen -p -N '' -f COPY".to_owned());
        }
        let pair = key.key_data().ed25519().ok_or(DAMAGED)?;
        let derived = Ed25519KeyPair::from_seed_and_public_key(pair.private.as_ref(), pair.public.as_ref());
        let derived =
            derived.map_err(|_| "the public half in it belongs to another private key".to_owned())?;
        Ok(Self::new(pair.private.as_ref(), &derived).ok_or(DAMAGED)?)
    }

    /// The key with this seed, of which `made` was derived.
    fn new(seed: &[u8; 32], made: &Ed25519KeyPair) -> Option<Self> {
        let public: &[u8; 32] = made.public_key().as_ref().try_into().ok()?;
        let mut bytes = Zeroizing::new([0; 64]);
        bytes[..32].copy_from_slice(seed);
        bytes[32..].copy_from_slice(public);
        let pair = Ed25519Keypair::from_bytes(&bytes).ok()?;
        let pkcs8 = Zeroizing::new(made.to_pkcs8v1().ok()?.as_ref().to_vec());
        Some(Self { pair, pkcs8 })
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        let Ed25519PublicKey(bytes) = self.pair.public;
        PublicKey::new(bytes)
    }

    /// The key as TLS libraries take it: PKCS #8, version 1, in DER.
    pub(crate) fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The text of a file that [`Self::load`] reads, and OpenSSH too. `comment` stands in it as it is.
    ///
    /// # Errors
    /// The comment is too long for the format.
    pub(crate) fn openssh(&self, comment: &str) -> Result<Zeroizing<String>, String> {
        let data = KeypairData::Ed25519(self.pair.clone());
        let key = ssh_key::PrivateKey::new(data, comment).and_then(|key| key.to_openssh(LineEnding::LF));
        key.map_err(|error| error.to_string())
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey(of {})", self.public())
    }
}

fn load(path: &Path, credentials: Option<&OsStr>) -> Result<PrivateKey, String> {
    let opened = open::open(path)?;
    // before the mode is judged: a public key is one whoever may read it
    let key = PrivateKey::read(&opened.read(FILE_MAX)?)?;
    let mode = opened.meta.mode() & 0o777;
    if mode & 0o077 != 0 && !(mode == CREDENTIAL && is_below(&opened, path, credentials)) {
        return Err(format!("others may use it (mode {mode:04o}): chmod 600"));
    }
    Ok(key)
}

/// Whether what was opened is the file of this path and below this folder, whatever links lead there.
fn is_below(opened: &Opened, path: &Path, folder: Option<&OsStr>) -> bool {
    let whole = |path: &Path| path.canonicalize().ok();
    let Some((path, folder)) = whole(path).zip(folder.map(Path::new).and_then(whole)) else { return false };
    let same = |there: std::fs::Metadata| FileId::from(&there) == FileId::from(&opened.meta);
    path.starts_with(folder) && path.symlink_metadata().is_ok_and(same)
}

/// The text of a key in lines as the ssh-key crate wants them: other programs fold them elsewhere. `None`: it is no key
/// in OpenSSH's format.
fn unfolded(text: &str) -> Option<Zeroizing<String>> {
    let (body, _) = text.trim_start().strip_prefix(BEGIN)?.split_once(END)?;
    let mut lines = Zeroizing::new(String::with_capacity(BEGIN.len() + body.len() * 2 + END.len() + 3));
    lines.push_str(BEGIN);
    for (at, c) in body.chars().filter(|c| !c.is_ascii_whitespace()).enumerate() {
        if at % WIDTH == 0 {
            lines.push('\n');
        }
        lines.push(c);
    }
    lines.push('\n');
    lines.push_str(END);
    lines.push('\n');
    Some(lines)
}

fn another(kind: &str) -> String {
    format!("{kind} key, not Ed25519; \"millipede keygen FILE\" makes one")
}

/// What a text is that is no key in OpenSSH's format.
fn foreign(text: &str) -> String {
    let first = text.trim_start().lines().next().unwrap_or_default();
    let pem = first.strip_prefix("-----BEGIN ").and_then(|rest| rest.trim_end().strip_suffix("-----"));
    match pem {
        Some("OPENSSH PRIVATE KEY") => return DAMAGED.to_owned(),
        Some("RSA PRIVATE KEY") => return another("an RSA"),
        Some("EC PRIVATE KEY") => return another("an ECDSA"),
        Some("DSA PRIVATE KEY") => return another("a DSA"),
        _ => {}
    }
    if pem.is_some_and(|kind| kind.ends_with("PRIVATE KEY")) || first.starts_with("PuTTY-User-Key-File") {
        return "not in OpenSSH's format; \"millipede keygen FILE\" makes a key".to_owned();
    }
    let public = pem.is_some_and(|kind| kind.ends_with("PUBLIC KEY"))
        || first.starts_with("---- BEGIN SSH2 PUBLIC KEY")
        || first.split_whitespace().take(2).any(is_type);
    match public {
        true => "this is a public key, and the private one is needed here".to_owned(),
        false => "this is not a private key in OpenSSH's format".to_owned(),
    }
}

#[cfg(test)]
mod tests;
