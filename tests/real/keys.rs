//! Keys and lists of peers as files: how they are made, what is refused before anything else happens, and the three
//! ways to hand them out.

use super::MIB;
use crate::util::{Process, Rx, carry, feed, has, millipede, skip, tx};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// A folder to keep keys in; the programs run there, so that the files have short names.
struct Keys(TempDir);

impl Keys {
    /// With two keys in it, `a` and `b`.
    fn new() -> Keys {
        let keys = Keys(tempfile::tempdir().unwrap());
        for name in ["a", "b"] {
            let made = keys.run(&["keygen", name]);
            assert!(made.status.success(), "{made:?}");
        }
        keys
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A word and the whole path of a file.
    fn word(&self, word: &str, name: &str) -> String {
        format!("--{word}={}", self.path(name).display())
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>, mode: u32) {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }

    /// Puts another file in the place of this one, whole.
    fn replace(&self, name: &str, text: &str) {
        self.write("new", text, 0o600);
        fs::rename(self.path("new"), self.path(name)).unwrap();
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = millipede(words);
        command.current_dir(self.0.path()).stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// What is said of a file that cannot be used: in one line, with status 2, before anything was done.
    #[track_caller]
    fn refused(&self, words: &[&str]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let [rx, tx] = [&["rx", "0"][..], &["tx", "127.0.0.1", &port]].map(|side| {
            let ended = self.run(&[side, words, &["exec", "touch ran"]].concat());
            let said = String::from_utf8(ended.stderr).unwrap();
            assert_eq!(ended.status.code(), Some(2), "{words:?}: {said}");
            assert_eq!((said.lines().count(), ended.stdout.len()), (1, 0), "{words:?}: {said}");
            assert!(!self.path("ran").exists(), "{words:?}: the command ran");
            said
        });
        assert_eq!(rx, tx, "{words:?}");
        assert!(listener.accept().is_err(), "{words:?}: tx dialled");
        let said = rx.strip_prefix("millipede: ").expect(&rx).trim_end().to_owned();
        let names = words.last().map_or(0, |name| name.len());
        assert!(rx.trim_end().chars().count() - names < 80, "{words:?}: too long, the name aside: {rx}");
        said
    }

    fn keygen(&self, args: &[&str]) {
        let made = Command::new("ssh-keygen").args(args).current_dir(self.0.path()).output().unwrap();
        assert!(made.status.success(), "{args:?}: {made:?}");
    }
}

// ---- what is refused --------------------------------------------------------------------------------------

#[test]
fn a_key_that_cannot_be_used_is_refused_before_anything_else_happens() {
    let keys = Keys::new();
    fs::create_dir(keys.path("folder")).unwrap();
    mknodat(CWD, keys.path("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    keys.write("open", keys.read("a"), 0o644);
    keys.write("garbage", vec![b'x'; 65 << 10], 0o600);
    keys.write("text", "no key", 0o600);
    keys.write("empty", "", 0o600);
    keys.write("cut", &keys.read("a")[..200], 0o600);
    keys.write("public", keys.read("a.pub"), 0o600);
    keys.write("rsa", "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n", 0o600);
    for (name, wrong) in [
        ("nowhere", "no such file or directory"),
        ("folder", "this is a directory"),
        ("fifo", "this is not a regular file"),
        ("/dev/null", "this is not a regular file"),
        ("open", "others may use it (mode 0644): chmod 600"),
        ("garbage", "this is larger than 64 KiB"),
        ("text", "this is not a private key in OpenSSH's format"),
        ("empty", "this is not a private key in OpenSSH's format"),
        ("cut", "this private key is damaged or cut short"),
        ("public", "this is a public key, and the private one is needed here"),
        ("rsa", "an RSA key, not Ed25519; \"millipede keygen FILE\" makes one"),
    ] {
        assert_eq!(keys.refused(&["key", name]), format!("key {name}: {wrong}"));
    }
}

#[test]
fn peers_that_cannot_be_used_are_refused_before_anything_else_happens() {
    let keys = Keys::new();
    let (a, b) = (keys.read("a.pub"), keys.read("b.pub"));
    fs::create_dir(keys.path("folder")).unwrap();
    keys.write("empty", "# nobody\n\n", 0o600);
    keys.write("options", format!("{a}no-pty {b}"), 0o600);
    keys.write("rsa", format!("{a}\nssh-rsa AAAAB3NzaC1yc2E= me\n"), 0o600);
    keys.write("private", keys.read("a"), 0o600);
    keys.write("names", format!("{a}{} other\n", a.trim_end()), 0o600);
    keys.write("open", &a, 0o666);
    keys.write("large", "\n".repeat((1 << 20) + 1), 0o600);
    for (name, wrong) in [
        ("nowhere", "no such file or directory"),
        ("folder", "this is a directory"),
        ("empty", "there is no key in it, so nobody would be let in"),
        ("options", "line 2 has options or a name before the key: remove them"),
        ("rsa", "line 3 is a key of type ssh-rsa, not ssh-ed25519"),
        ("private", "line 1 begins a private key; the public one is in FILE.pub"),
        ("names", "lines 1 and 2 give the same key different names"),
        ("open", "anybody may write to it (mode 0666): chmod o-w"),
        ("large", "this is larger than 1024 KiB"),
    ] {
        assert_eq!(keys.refused(&["key", "a", "peers", name]), format!("peers {name}: {wrong}"));
    }
}

#[test]
fn keys_that_ssh_keygen_makes_are_told_apart() {
    if !has("ssh-keygen") {
        return skip("needs ssh-keygen");
    }
    let keys = Keys::new();
    let mut kinds = vec![];
    for (kind, wrong) in [
        ("rsa", "an RSA key, not Ed25519; \"millipede keygen FILE\" makes one"),
        ("ecdsa", "an ECDSA key, not Ed25519; \"millipede keygen FILE\" makes one"),
    ] {
        keys.keygen(&["-q", "-t", kind, "-N", "", "-f", kind]);
        keys.keygen(&["-q", "-t", kind, "-N", "secret", "-f", &format!("{kind}-locked")]);
        keys.keygen(&["-q", "-t", kind, "-m", "PEM", "-N", "", "-f", &format!("{kind}-pem")]);
        kinds.extend([kind.to_owned(), format!("{kind}-locked"), format!("{kind}-pem")].map(|k| (k, wrong)));
    }
    let locked = "has a passphrase; in a copy, run ssh-keygen -p -N '' -f COPY";
    keys.keygen(&["-q", "-t", "ed25519", "-N", "secret", "-f", "locked"]);
    kinds.push(("locked".to_owned(), locked));
    for (name, wrong) in kinds {
        assert_eq!(keys.refused(&["key", &name]), format!("key {name}: {wrong}"));
    }
    // what the last one says to do, done
    keys.keygen(&["-q", "-p", "-P", "secret", "-N", "", "-f", "locked"]);
    let key = keys.word("key", "locked");
    carry_with(&[&key], &[&key]);
}

// ---- how a key is made ------------------------------------------------------------------------------------

#[test]
fn a_key_is_made_once_and_never_overwritten() {
    let keys = Keys(tempfile::tempdir().unwrap());
    let made = keys.run(&["keygen", "key"]);
    assert_eq!((made.status.code(), made.stderr.len()), (Some(0), 0), "{made:?}");
    let (private, public) = (keys.read("key"), keys.read("key.pub"));
    assert_eq!(
        String::from_utf8(made.stdout).unwrap(),
        public,
        "what is shown belongs into the peers' lists"
    );
    let mode = |name: &str| fs::metadata(keys.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("key"), 0o600);
    for (existing, other) in [("key", "key.pub"), ("key.pub", "key")] {
        let kept = keys.read(other);
        fs::remove_file(keys.path(other)).unwrap();
        let again = keys.run(&["keygen", "key"]);
        let said = format!("millipede: keygen {existing}: it exists, and is left as it is\n");
        assert_eq!((again.status.code(), again.stdout.len()), (Some(2), 0));
        assert_eq!(String::from_utf8(again.stderr).unwrap(), said);
        assert!(!keys.path(other).exists());
        keys.write(other, kept, 0o600);
    }
    assert_eq!((keys.read("key"), keys.read("key.pub")), (private, public));
}

#[test]
fn a_key_that_cannot_be_written_is_an_output_failure() {
    let keys = Keys(tempfile::tempdir().unwrap());
    let failed = keys.run(&["keygen", "no/key"]);
    assert_eq!(failed.status.code(), Some(5));
    let said = String::from_utf8(failed.stderr).unwrap();
    assert_eq!(said, "millipede: keygen no/key: no such file or directory\n");
    // a limit that a file meets in the middle of being written
    let line = format!("ulimit -f 0; exec {} keygen key", env!("CARGO_BIN_EXE_millipede"));
    let failed = Command::new("sh").args(["-c", &line]).current_dir(keys.0.path()).output().unwrap();
    assert_eq!(failed.status.code(), Some(5), "{failed:?}");
    assert_eq!(fs::read_dir(keys.0.path()).unwrap().count(), 0, "nothing half made stays");
}

#[test]
fn ssh_keygen_takes_the_keys_that_are_made() {
    if !has("ssh-keygen") {
        return skip("needs ssh-keygen");
    }
    let keys = Keys::new();
    let ssh = |args: &[&str]| {
        let shown = Command::new("ssh-keygen").args(args).current_dir(keys.0.path()).output().unwrap();
        assert!(shown.status.success(), "{args:?}: {shown:?}");
        String::from_utf8(shown.stdout).unwrap()
    };
    // ssh-keygen -y shows the comment, too
    assert_eq!(ssh(&["-y", "-f", "a"]), keys.read("a.pub"));
    assert_eq!(ssh(&["-lf", "a"]), ssh(&["-lf", "a.pub"]));
}

// ---- how keys are handed out ------------------------------------------------------------------------------

/// Carries a stream between two ends that have these words.
#[track_caller]
fn carry_with(rx_words: &[&str], tx_words: &[&str]) {
    let rx = Rx::start(rx_words);
    carry(&rx, &tx(rx.port, tx_words), 3 * MIB);
}

#[test]
fn one_key_at_both_ends_is_a_shared_secret() {
    let keys = Keys::new();
    let key = keys.word("key", "a");
    carry_with(&[&key], &[&key]);
}

#[test]
fn each_end_has_a_key_and_lists_the_others() {
    let keys = Keys::new();
    let (a, b) = (keys.word("key", "a"), keys.word("key", "b"));
    carry_with(&[&a, &keys.word("peers", "b.pub")], &[&b, &keys.word("peers", "a.pub")]);
}

#[test]
fn a_receiver_lists_the_keys_of_many() {
    let keys = Keys::new();
    let receiver = keys.run(&["keygen", "rx"]);
    assert!(receiver.status.success());
    keys.write("peers", keys.read("a.pub") + "# another\n" + &keys.read("b.pub"), 0o644);
    let here = [keys.word("key", "rx"), keys.word("peers", "peers")];
    let peers = keys.word("peers", "rx.pub");
    for name in ["a", "b"] {
        carry_with(&[&here[0], &here[1]], &[&keys.word("key", name), &peers]);
    }
}

#[test]
fn a_credential_of_systemd_is_taken_as_systemd_makes_it() {
    let keys = Keys::new();
    keys.write("a", keys.read("a"), 0o440);
    let said = keys.refused(&["key", "a"]);
    assert_eq!(said, "key a: others may use it (mode 0440): chmod 600");
    let key = keys.word("key", "a");
    let rx = Rx::spawn(
        millipede(&["rx", "0", &key])
            .env("CREDENTIALS_DIRECTORY", keys.0.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped()),
    );
    keys.write("copy", keys.read("a"), 0o600);
    carry(&rx, &tx(rx.port, &[&keys.word("key", "copy")]), MIB);
}

// ---- while it runs ----------------------------------------------------------------------------------------

#[test]
fn a_list_that_changes_is_read_again_and_one_that_breaks_is_not() {
    let keys = Keys::new();
    let (a, b) = (keys.read("a.pub"), keys.read("b.pub"));
    keys.write("peers", &b, 0o600);
    let (key, peers) = (keys.word("key", "a"), keys.word("peers", "peers"));
    let rx = Rx::start(&[&key, &peers, "verbose", "1"]);
    let named = |wrong: &str| format!("{}: {wrong}", keys.path("peers").display());
    keys.replace("peers", &format!("{a}junk\n"));
    let wrong = "line 2 is not a public key: ssh-ed25519 AAAA... NAME; the list stays as it was";
    rx.expect(&named(wrong));
    fs::remove_file(keys.path("peers")).unwrap();
    rx.expect(&named("no such file or directory; the list stays as it was"));
    // the old list holds meanwhile
    let tx = tx(rx.port, &[&keys.word("key", "b"), &keys.word("peers", "a.pub")]);
    carry(&rx, &tx, MIB);
    assert_eq!(rx.said().matches("the list stays").count(), 2, "each is said once: {rx}");
}

#[test]
fn a_new_list_counts_from_then_on() {
    let keys = Keys::new();
    keys.write("peers", keys.read("a.pub"), 0o600);
    let rx = Rx::start(&[&keys.word("key", "a"), &keys.word("peers", "peers"), "verbose", "1"]);
    keys.replace("peers", &keys.read("b.pub"));
    rx.expect("peers: read again, 1 no longer let in");
    let tx = tx(rx.port, &[&keys.word("key", "b"), &keys.word("peers", "a.pub")]);
    carry(&rx, &tx, MIB);
}

#[test]
fn a_session_ends_when_its_key_is_taken_out_of_the_list() {
    let keys = Keys::new();
    keys.write("peers", keys.read("b.pub"), 0o600);
    let rx = Rx::start(&[&keys.word("key", "a"), &keys.word("peers", "peers")]);
    let (key, peers) = (keys.word("key", "b"), keys.word("peers", "a.pub"));
    let tx = tx(rx.port, &[&key, &peers]);
    let (output, mut input) = (rx.collect(), tx.stdin());
    feed(&mut input, 0, MIB).unwrap();
    output.await_bytes(MIB);
    keys.replace("peers", &keys.read("a.pub"));
    // its input goes on, and its connections work
    for (end, by) in [(&*rx, ""), (&tx, "the receiver: ")] {
        let (code, said) = end.end();
        assert_eq!(code, Some(3), "{end}");
        assert!(said.contains(&format!("{by}the key of ")), "{end}");
    }
    drop(input);
}

/// No key of any file is shown by anything that is said.
#[test]
fn nothing_of_a_private_key_is_ever_said() {
    let keys = Keys::new();
    let secret: Vec<String> = keys.read("a").lines().skip(1).map(str::to_owned).collect();
    keys.write("open", keys.read("a"), 0o644);
    keys.write("cut", &keys.read("a")[..300], 0o600);
    for words in [&["key", "open"][..], &["key", "cut"], &["key", "b", "peers", "a"]] {
        let said = keys.refused(words);
        assert!(!secret.iter().any(|line| said.contains(line.as_str())), "{said}");
    }
    let key = keys.word("key", "a");
    let words = [&key, "verbose", "20"];
    let rx = Rx::start(&words);
    let tx: Process = tx(rx.port, &words);
    carry(&rx, &tx, MIB);
    for said in [rx.said(), tx.said()] {
        assert!(!secret.iter().any(|line| said.contains(line.as_str())));
    }
    assert!(Path::new(&keys.path("a")).exists());
}
