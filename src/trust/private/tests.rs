//! What is taken as a private key, and what is said of everything else.

use super::*;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use tempfile::TempDir;

/// As `ssh-keygen -t ed25519 -N ''` made it, and its fingerprint.
const KEY: &str = "-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW
QyNTUxOQAAACD39J+jadiXRWRZFtTK+NI2WS4j0TUBDrDr20BrvPT26QAAAJgqwmzxKsJs
8QAAAAtzc2gtZWQyNTUxOQAAACD39J+jadiXRWRZFtTK+NI2WS4j0TUBDrDr20BrvPT26Q
AAAEB9TYAys74EthZI7jtwsfYFMV95Px93VYy8ucggN6YRlff0n6Np2JdFZFkW1Mr40jZZ
LiPRNQEOsOvbQGu89PbpAAAAEmEga2V5ICMxIGZvciB0ZXN0cwECAw==
-----END OPENSSH PRIVATE KEY-----
";
const FINGERPRINT: &str = "SHA256:Ur9M2+aNsRuLhmqg/KHP6SWDtAoz07K3GGPPaS1CZa8";

/// With `-N secret`.
const LOCKED: &str = "-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABA+L1uUSx
3jAE8w4bxz9ViYAAAAEAAAAAEAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIID1gLKVrI0cg4O8
OSIIaguf4fHFR/L0Gzy6v2e4vqNbAAAAkNvAG+124ecHGc5uwPi6Rd6QcIKdFiHgMfmXuz
uFET4ClHGpxLjX/8PpGo1vzfxLrUNhYRuCkDe6i45Jw/HFPg53KVpFoCBqPnHCUDLUvZLF
7oz7otPsepmswCUQnfD2tRYBW/2NjwpUXk68tdoN1UsZNNgmMg7lDxmPhJPMQXIOX4d9Zf
QBF5D8Ks2PWPdj6g==
-----END OPENSSH PRIVATE KEY-----
";

/// With `-t ecdsa`.
const ECDSA: &str = "-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAaAAAABNlY2RzYS
1zaGEyLW5pc3RwMjU2AAAACG5pc3RwMjU2AAAAQQQn5hE2m87/HydxuuwuLiHf6NnaidGN
LffakR1MlGMWrSNyJh2iKMZAkd7AK3Hdf2guroDY/qBCtD6Lg7DOF0sPAAAAoBMjqykTI6
spAAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBCfmETabzv8fJ3G6
7C4uId/o2dqJ0Y0t99qRHUyUYxatI3ImHaIoxkCR3sArcd1/aC6ugNj+oEK0PouDsM4XSw
8AAAAhANZrQeBMBWDLo9qBlJ0IFbMWHsmPJRjeFOvzrRjoL9cRAAAAAWUBAgMEBQY=
-----END OPENSSH PRIVATE KEY-----
";

fn refused(text: &str) -> String {
    PrivateKey::read(text.as_bytes()).unwrap_err()
}

/// The lines between the first and the last.
fn body(key: &str) -> String {
    let lines: Vec<&str> = key.lines().collect();
    lines[1..lines.len() - 1].concat()
}

#[test]
fn a_key_of_openssh_is_read_and_written_as_it_was() {
    let key = PrivateKey::read(KEY.as_bytes()).unwrap();
    assert_eq!(key.public().to_string(), FINGERPRINT);
    let again = PrivateKey::read(key.openssh("another").unwrap().as_bytes()).unwrap();
    assert_eq!((again.public(), again.pkcs8()), (key.public(), key.pkcs8()));
    assert_eq!(format!("{key:?}"), format!("PrivateKey(of {FINGERPRINT})"));
}

#[test]
fn the_form_for_tls_is_of_the_same_key() {
    let key = PrivateKey::read(KEY.as_bytes()).unwrap();
    let made = Ed25519KeyPair::from_pkcs8(key.pkcs8()).unwrap();
    assert_eq!(made.public_key().as_ref(), key.public().bytes());
}

#[test]
fn how_its_lines_are_folded_does_not_matter() {
    let folded = |width: usize, end: &str| {
        let body = body(KEY).into_bytes();
        let lines: Vec<&str> = body.chunks(width).map(|line| str::from_utf8(line).unwrap()).collect();
        format!("\n{BEGIN}{end}{}{end}{END}", lines.join(end))
    };
    for text in [folded(64, "\n"), folded(76, "\r\n"), folded(1000, "\n"), folded(69, " \n")] {
        let key = PrivateKey::read(text.as_bytes()).unwrap();
        assert_eq!(key.public().to_string(), FINGERPRINT);
    }
}

#[test]
fn every_new_key_is_another_one() {
    let (one, other) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
    assert_ne!(one.public(), other.public());
    assert_eq!(PrivateKey::read(one.openssh("").unwrap().as_bytes()).unwrap().public(), one.public());
}

#[test]
fn a_passphrase_is_refused_with_what_to_do() {
    let wrong = "has a passphrase; in a copy, run ssh-keygen -p -N '' -f COPY";
    assert_eq!(refused(LOCKED), wrong);
}

#[test]
fn other_kinds_of_keys_are_named() {
    let told = |kind: &str| format!("{kind} key, not Ed25519; \"millipede keygen FILE\" makes one");
    let pem = |kind: &str| format!("-----BEGIN {kind}-----\nAAAA\n-----END {kind}-----\n");
    assert_eq!(refused(ECDSA), told("an ECDSA"));
    assert_eq!(refused(&pem("RSA PRIVATE KEY")), told("an RSA"));
    assert_eq!(refused(&pem("EC PRIVATE KEY")), told("an ECDSA"));
    assert_eq!(refused(&pem("DSA PRIVATE KEY")), told("a DSA"));
    let format = "not in OpenSSH's format; \"millipede keygen FILE\" makes a key";
    assert_eq!(refused(&pem("PRIVATE KEY")), format);
    assert_eq!(refused(&pem("ENCRYPTED PRIVATE KEY")), format);
    assert_eq!(refused("PuTTY-User-Key-File-3: ssh-ed25519\n"), format);
}

#[test]
fn a_public_key_is_told_from_garbage() {
    let public = "this is a public key, and the private one is needed here";
    let line = PrivateKey::read(KEY.as_bytes()).unwrap().public().openssh("me");
    for text in [
        &*line,
        &format!("no-pty {line}"),
        "ssh-rsa AAAA",
        "-----BEGIN PUBLIC KEY-----",
        "---- BEGIN SSH2 PUBLIC KEY ----",
    ] {
        assert_eq!(refused(text), public, "{text}");
    }
    for text in ["", "\n\n", "text", "\u{0}\u{1}"] {
        assert_eq!(refused(text), "this is not a private key in OpenSSH's format", "{text}");
    }
    let bytes = PrivateKey::read(b"\xff\xfe\x00").unwrap_err();
    assert_eq!(bytes, "this is not a private key in OpenSSH's format");
}

#[test]
fn a_damaged_key_is_refused_wherever_it_is_damaged() {
    for end in BEGIN.len()..KEY.len() - END.len() - 2 {
        assert_eq!(refused(&KEY[..end]), DAMAGED, "{end}");
        assert_eq!(refused(&format!("{}\n{END}\n", &KEY[..end])), DAMAGED, "{end}");
    }
    // each character of the base64 text changed: nothing is known of the comment, and some lengths have no use
    let text = body(KEY);
    let refused = |at: &usize| {
        let other = if text.as_bytes()[*at] == b'A' { "B" } else { "A" };
        let changed = format!("{BEGIN}\n{}{other}{}\n{END}\n", &text[..*at], &text[at + 1..]);
        let read = PrivateKey::read(changed.as_bytes());
        read.map(|key| assert_eq!(key.public().to_string(), FINGERPRINT, "{at}")).is_err()
    };
    assert!((0..text.len()).filter(refused).count() > text.len() * 3 / 4);
}

#[test]
fn halves_that_do_not_belong_together_are_refused() {
    let (one, other) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
    let pair = Ed25519Keypair { public: other.pair.public, private: one.pair.private.clone() };
    let text = ssh_key::PrivateKey::new(KeypairData::Ed25519(pair), "").unwrap();
    let text = text.to_openssh(LineEnding::LF).unwrap();
    assert_eq!(refused(&text), "the public half in it belongs to another private key");
}

// ---- the file -------------------------------------------------------------------------------------------

fn in_file(text: &[u8], mode: u32) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    (folder, path)
}

#[test]
fn a_file_that_others_may_use_is_refused() {
    for mode in [0o600, 0o400, 0o700] {
        let (_folder, path) = in_file(KEY.as_bytes(), mode);
        assert!(load(&path, None).is_ok(), "{mode:o}");
    }
    for mode in [0o640, 0o644, 0o440, 0o604, 0o620, 0o602, 0o610] {
        let (_folder, path) = in_file(KEY.as_bytes(), mode);
        let wrong = format!("others may use it (mode {mode:04o}): chmod 600");
        assert_eq!(load(&path, None).unwrap_err(), wrong);
    }
}

#[test]
fn a_credential_of_systemd_may_be_its_groups() {
    let (folder, path) = in_file(KEY.as_bytes(), 0o440);
    let elsewhere = tempfile::tempdir().unwrap();
    let link = elsewhere.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let within = |folder: &TempDir, path: &Path| load(path, Some(folder.path().as_os_str())).is_ok();
    assert!(within(&folder, &path));
    assert!(within(&folder, &link), "what counts is where the file is");
    assert!(!within(&elsewhere, &path) && !within(&elsewhere, &link));
    assert!(load(&path, Some(OsStr::new("/nowhere"))).is_err());
    let dotted = folder.path().join("../key");
    assert!(load(&dotted, Some(folder.path().as_os_str())).is_err());
    fs::set_permissions(&path, Permissions::from_mode(0o444)).unwrap();
    assert!(!within(&folder, &path));
}

#[test]
fn what_is_no_file_is_refused_in_words_that_name_the_path() {
    let (folder, path) = in_file(&vec![b'x'; FILE_MAX + 1], 0o600);
    let told = |path: &Path, wrong: &str| format!("key {}: {wrong}", path.display());
    let load = |path: &Path| PrivateKey::load(path).unwrap_err();
    assert_eq!(load(&path), told(&path, "this is larger than 64 KiB"));
    assert_eq!(load(folder.path()), told(folder.path(), "this is a directory"));
    let nowhere = folder.path().join("nowhere");
    assert_eq!(load(&nowhere), told(&nowhere, "no such file or directory"));
    let fifo = folder.path().join("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    assert_eq!(load(&fifo), told(&fifo, "this is not a regular file"));
    assert_eq!(load(Path::new("/dev/null")), told(Path::new("/dev/null"), "this is not a regular file"));
}
