//! The command line as a shell sees it: exit status, and what goes to stdout and to stderr.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

/// What the program answered: exit status, stdout, stderr.
fn millipede<S: AsRef<OsStr>>(args: &[S]) -> (Option<i32>, String, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_millipede")).args(args).stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The lines of a usage error.
fn usage_error(line: &str) -> Vec<String> {
    let (status, stdout, stderr) = millipede(&line.split_whitespace().collect::<Vec<_>>());
    assert_eq!(status, Some(2), "{line}: {stderr}");
    assert_eq!(stdout, "", "{line}");
    assert!(stderr.ends_with('\n'), "{line}: {stderr}");
    stderr
        .lines()
        .map(|said| said.strip_prefix("millipede: ").unwrap_or_else(|| panic!("{line}: {said}")).to_owned())
        .collect()
}

#[test]
fn a_usage_error_is_one_line_that_names_the_word() {
    for (line, word) in [
        ("rx", "rx"),
        ("rx 99999", "rx"),
        ("rx localhost/24 8834", "rx"),
        ("rx fe80::1 8834", "fe80::1%eth0"),
        ("tx localhost", "tx"),
        ("tx localhost 0", "tx"),
        ("rx 8834 threads 8", "threads"),
        ("tx localhost 8834 threads 17", "threads"),
        ("rx 8834 rx 8835", "rx"),
        ("rx 8834 checkphrase long!", "checkphrase"),
        ("rx 8834 buffer 1M", "buffer"),
        ("rx 8834 chaos 1", "chaos"),
        ("rx 8834 exec cat terminate 22", "terminate"),
        ("rx 8834 8835", "\"8835\""),
        ("help xyzzy", "\"xyzzy\""),
        ("verbose 3", "rx or tx"),
    ] {
        let lines = usage_error(line);
        assert_eq!(lines.len(), 1, "{line}: {lines:?}");
        assert!(lines[0].contains(word), "{line}: {lines:?}");
    }
}

#[test]
fn a_typo_gets_a_suggestion() {
    let suggestion = "unknown word \"thread\"; did you mean \"threads\"?";
    assert_eq!(usage_error("tx localhost 8834 thread 8"), [suggestion]);
}

#[test]
fn a_file_or_a_command_in_the_place_of_a_word_is_answered_with_the_right_form() {
    assert_eq!(
        usage_error("rx 8834 exec zfs receive x"),
        ["exec takes the command as one argument: quote it, as in exec \"zfs receive x\""]
    );
    assert_eq!(
        usage_error("tx localhost 8834 disk.img"),
        ["unknown word \"disk.img\"; to send a file, redirect stdin: < disk.img"]
    );
}

#[test]
fn alone_it_says_how_it_is_used() {
    let lines = usage_error("");
    assert!(lines[0].starts_with("usage: millipede rx PORT"), "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.contains("usage:")).count(), 1, "{lines:?}");
    assert!(lines.len() <= 4, "{lines:?}");
}

#[test]
fn help_is_one_screen_on_stdout() {
    for word in ["help", "--help", "-h"] {
        let (status, stdout, stderr) = millipede(&[word]);
        assert_eq!((status, stderr.as_str()), (Some(0), ""), "{word}");
        assert!(stdout.lines().count() <= 24, "{stdout}");
        assert!(stdout.lines().all(|line| line.chars().count() <= 80), "{stdout}");
        let before_the_words = stdout.split("rx [ADDRESS] PORT").next().unwrap();
        assert!(before_the_words.contains("millipede rx 8834"), "{stdout}");
        assert!(before_the_words.contains("millipede tx HOST 8834"), "{stdout}");
    }
}

#[test]
fn help_explains_one_word_and_version_says_it() {
    let (status, stdout, _) = millipede(&["help", "patience"]);
    assert_eq!(status, Some(0));
    assert!(stdout.starts_with("patience SECONDS  (with rx or tx)\n"), "{stdout}");
    let (status, stdout, _) = millipede(&["tx", "--help"]);
    assert_eq!(status, Some(0));
    assert!(stdout.starts_with("tx HOST PORT\n"), "{stdout}");
    for more in ["via, ipv4", "threads", "\"millipede help\" shows all words"] {
        assert!(stdout.contains(more), "{more}: {stdout}");
    }
    let (status, stdout, _) = millipede(&["--version"]);
    assert_eq!((status, stdout), (Some(0), format!("millipede {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn help_that_cannot_be_written_is_an_output_failure() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_millipede")).arg("help").stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(5));
    assert!(output.stderr.starts_with(b"millipede: cannot write to stdout: "));
}

#[test]
fn a_full_stderr_changes_nothing() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_millipede")).arg("xyzzy").stderr(full).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn control_characters_in_an_argument_do_not_reach_the_terminal() {
    let (status, _, stderr) = millipede(&["\u{1b}[2J\nmillipede: all is well"]);
    assert_eq!(status, Some(2));
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(!stderr.contains('\u{1b}'), "{stderr}");
}

#[test]
fn what_is_not_of_this_host_is_an_error_at_once() {
    for (line, said) in [
        (
            "tx 127.0.0.1 1 via wlan99",
            "127.0.0.1:1 via wlan99: neither an address nor a network interface of this host",
        ),
        ("tx 127.0.0.1 1 via 192.0.2.1", "127.0.0.1:1 via 192.0.2.1: not an address of this host"),
        ("rx 192.0.2.1 8834", "cannot listen on 192.0.2.1 port 8834: not an address of this host"),
    ] {
        let (status, _, stderr) = millipede(&line.split_whitespace().collect::<Vec<_>>());
        assert_eq!((status, stderr), (Some(1), format!("millipede: {said}\n")), "{line}");
    }
}

#[test]
fn a_tunnel_on_a_taken_port_names_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (status, _, stderr) = millipede(&["rx", "0", "terminate", &port]);
    assert_eq!(status, Some(1), "{stderr}");
    let said = format!("cannot listen on 127.0.0.1 port {port}: address already in use\n");
    assert!(stderr.ends_with(&said), "{stderr}");
}

/// Starts a receiver with these words, which ask for a free port, and sends it one stream with these, in which `PORT`
/// is that port; what came out.
fn carried(receiver: &str, sender: &str) -> Vec<u8> {
    let mut rx = Command::new(env!("CARGO_BIN_EXE_millipede"))
        .args(receiver.split_whitespace())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(rx.stderr.take().unwrap()).lines().map_while(Result::ok);
    let port =
        said.filter_map(|line| line.strip_prefix("millipede: listening on port ").map(str::to_owned)).next();
    let port = port.unwrap_or_else(|| panic!("{receiver}: no port was said"));
    let mut tx = Command::new(env!("CARGO_BIN_EXE_millipede"))
        .args(sender.replace("PORT", &port).split_whitespace())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    tx.stdin.take().unwrap().write_all(b"the stream").unwrap();
    // the sender ends when what came out has been read
    let mut stdout = rx.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut stream = Vec::new();
        stdout.read_to_end(&mut stream).map(|_| stream)
    });
    let status = tx.wait().unwrap();
    if !status.success() {
        let _ = rx.kill();
    }
    let statuses = [status, rx.wait().unwrap()];
    assert!(statuses.iter().all(std::process::ExitStatus::success), "{receiver}; {sender}: {statuses:?}");
    reader.join().unwrap().unwrap()
}

#[test]
fn a_stream_goes_to_every_form_of_an_address() {
    for (receiver, sender) in [
        ("rx 0 -4", "tx 127.0.0.1:PORT"),
        ("rx ::ffff:127.0.0.1 0", "tx ::ffff:127.0.0.1 PORT"),
        ("rx 127.0.0.1:0", "tx 127.0.0.1 PORT ipv4"),
    ] {
        assert_eq!(carried(receiver, sender), b"the stream", "{receiver}; {sender}");
    }
    let v4 = |at: std::net::SocketAddr| at.is_ipv4();
    if std::net::ToSocketAddrs::to_socket_addrs("localhost:1").is_ok_and(|mut found| found.any(v4)) {
        assert_eq!(carried("rx localhost 0 -4", "tx localhost:PORT -4"), b"the stream");
    } else {
        eprintln!("skipped: a_stream_goes_to_every_form_of_an_address, by name (localhost is not IPv4 here)");
    }
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        assert_eq!(carried("rx [::1]:0", "tx [::1]:PORT"), b"the stream");
        assert_eq!(carried("rx 0 -6", "tx ::1 PORT -6"), b"the stream");
        assert_eq!(carried("rx ::1%lo 0", "tx ::1%lo PORT"), b"the stream");
    } else {
        eprintln!("skipped: a_stream_goes_to_every_form_of_an_address, over IPv6 (no IPv6 here)");
    }
}
