//! The instrument words, with real processes: prbs, leglimit, delayus, rate, checksum, charmode, chaos, verbose.

mod util;

use millipede::prbs::Prbs;
use millipede::proto::hello::Hello;
use millipede::proto::wire::{Frame, decode};
use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::ops::Deref;
use std::os::unix::process::ExitStatusExt;
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use util::{Process, Signal, free_port, millipede};

const UNIT: usize = 2 << 20;

/// How a process ended.
struct Ended {
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: String,
}

impl Ended {
    fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("{:?}: {}", self.status, self.stderr))
    }
}

/// A process whose output is kept; [`util::Collector`] is for output that is known by its position.
struct Run<P: Deref<Target = Process>> {
    process: P,
    output: JoinHandle<Vec<u8>>,
}

impl<P: Deref<Target = Process>> Run<P> {
    fn of(process: P) -> Self {
        let mut stdout = process.stdout();
        let output = thread::spawn(move || {
            let mut bytes = Vec::new();
            stdout.read_to_end(&mut bytes).unwrap();
            bytes
        });
        Run { process, output }
    }

    fn stdin(&self) -> ChildStdin {
        self.process.stdin()
    }

    fn end(self) -> Ended {
        let status = self.process.wait_for(Duration::from_secs(180));
        let (_, stderr) = self.process.end();
        Ended { status, stdout: self.output.join().unwrap(), stderr }
    }
}

/// A receiver on a free port.
struct Rx {
    run: Run<util::Rx>,
    port: u16,
}

impl Rx {
    fn start(args: &[&str]) -> Rx {
        let rx = util::Rx::start(args);
        Rx { port: rx.port, run: Run::of(rx) }
    }

    fn end(self) -> Ended {
        self.run.end()
    }
}

/// A sender to this port.
fn tx(port: u16, args: &[&str]) -> Run<Box<Process>> {
    Run::of(Box::new(util::tx(port, args)))
}

/// Sends these bytes to this port; how that ended.
fn send(port: u16, args: &[&str], bytes: &[u8]) -> Ended {
    let process = tx(port, args);
    // one that fails early does not take everything
    let _ = process.stdin().write_all(bytes);
    process.end()
}

/// A command as it is, without input.
fn run_command(command: &mut Command) -> Ended {
    Run::of(Box::new(Process::spawn(command.stdin(Stdio::null()).stdout(Stdio::piped())))).end()
}

/// Bytes in which no part is like another.
fn bytes(len: usize) -> Vec<u8> {
    prbs(0x1234, len)
}

fn prbs(seed: u16, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Prbs::new(seed).fill(0, &mut bytes);
    bytes
}

/// `line` as words, with these ports in place of those of the documentation.
fn words(line: &str, ports: &[(&str, u16)]) -> Vec<String> {
    let port = |word: &str| ports.iter().find(|(old, _)| *old == word).map(|(_, new)| new.to_string());
    line.split(' ').map(|word| port(word).unwrap_or(word.to_owned())).collect()
}

/// Runs one process with these words and no input.
fn run(words: &[String]) -> Ended {
    run_command(&mut command(words))
}

fn command(words: &[String]) -> Command {
    millipede(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Starts one process with these words, whose output the test reads itself.
fn start(words: &[String]) -> Process {
    Process::spawn(command(words).stdin(Stdio::null()).stdout(Stdio::piped()))
}

#[track_caller]
fn assert_same(found: &[u8], right: &[u8]) {
    let differs = found.iter().zip(right).position(|(a, b)| a != b);
    assert_eq!((found.len(), differs), (right.len(), None));
}

/// The number before these words.
#[track_caller]
fn count(text: &str, what: &str) -> u64 {
    let before = text.split(what).next().filter(|b| b.len() < text.len());
    let before = before.unwrap_or_else(|| panic!("no {what:?} in {text}"));
    before.split_whitespace().last().unwrap().parse().unwrap()
}

// ---- the ancestor's command lines, as they stand but for the ports ------------------------------------------

#[test]
fn line_prbs_with_a_limit_and_verbose() {
    let line =
        words("tx localhost 3434 verbose 3 rx 3434 leglimit 0x800 prbs 0xd00f", &[("3434", free_port())]);
    let process = start(&line);
    let (mut stdout, mut offset, mut chunk) = (process.stdout(), 0, vec![0; 1 << 20]);
    loop {
        let n = stdout.read(&mut chunk).unwrap();
        if n == 0 {
            break;
        }
        // the rest is verified by the process itself
        if offset < 64 << 20 {
            assert_eq!(Prbs::new(0xd00f).check(offset, &chunk[..n]), Ok(()));
        }
        offset += n as u64;
    }
    let (code, said) = process.end();
    assert_eq!((code, offset), (Some(0), 0x800 * UNIT as u64), "{said}");
}

#[test]
fn line_delay_and_threads() {
    let line = "tx localhost 12323 threads 3 verbose 3 rx 12323 leglimit 50 prbs 0x5aa5 delayus 50";
    let ended = run(&words(line, &[("12323", free_port())]));
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    assert_same(&ended.stdout, &prbs(0x5aa5, 50 * UNIT));
}

#[test]
fn line_charmode_and_prbs() {
    let line = "charmode prbs 0xd00f tx localhost 3434 verbose 3 threads 2 rx 3434 leglimit 4";
    let ended = run(&words(line, &[("3434", free_port())]));
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    assert_same(&ended.stdout, &prbs(0xd00f, 4 * UNIT));
}

#[test]
fn line_prbs_without_end() {
    let process = start(&words("prbs 0xd00f tx localhost 3434 rx 3434", &[("3434", free_port())]));
    let (mut stdout, mut bytes) = (process.stdout(), vec![0; 20 << 20]);
    stdout.read_exact(&mut bytes).unwrap();
    assert_eq!(Prbs::new(0xd00f).check(0, &bytes), Ok(()));
    process.signal(Signal::INT);
    drop(stdout);
    assert_eq!(process.wait().signal(), Some(2));
}

/// A receiver and a sender in two processes, as the documentation has them.
fn line_pair(rx: &str, tx: &str, port: &str, input: &[u8]) -> (Ended, Ended) {
    let free = free_port();
    let rx = start_collecting(&words(rx, &[(port, free)]), Stdio::null());
    let tx = start_collecting(&words(tx, &[(port, free)]), Stdio::piped());
    let _ = tx.stdin().write_all(input);
    (rx.end(), tx.end())
}

fn start_collecting(words: &[String], stdin: Stdio) -> Run<Box<Process>> {
    Run::of(Box::new(Process::spawn(command(words).stdin(stdin).stdout(Stdio::piped()))))
}

#[test]
fn lines_of_two_processes() {
    let input = bytes(3_000_000);
    for (rx, tx, port) in [
        ("rx 12323 chaos 180002", "tx localhost 12323 threads 16", "12323"),
        ("rx 8834 verbose 5", "tx localhost 8834", "8834"),
        ("rx 8834", "tx localhost 8834 checksum", "8834"),
        ("rx 12334", "tx localhost 12334 chaos 1731", "12334"),
        ("rx 12334 checkphrase wat!", "tx localhost 12334 checkphrase wat!", "12334"),
    ] {
        let (rx, tx) = line_pair(rx, tx, port, &input);
        assert_eq!((rx.code(), tx.code()), (0, 0), "{}{}", rx.stderr, tx.stderr);
        assert_same(&rx.stdout, &input);
    }
}

#[test]
fn line_full_duplex_by_charmode() {
    let (here, there) = (free_port(), free_port());
    let ports = [("7788", here), ("9900", there)];
    let one = start_collecting(&words("rx 7788 tx localhost 9900 charmode", &ports), Stdio::piped());
    let two = start_collecting(&words("rx 9900 tx localhost 7788 charmode", &ports), Stdio::piped());
    let (a, b) = (bytes(100_000), bytes(77_777));
    one.stdin().write_all(&a).unwrap();
    two.stdin().write_all(&b).unwrap();
    let (one, two) = (one.end(), two.end());
    assert_eq!((one.code(), two.code()), (0, 0), "{}{}", one.stderr, two.stderr);
    assert_same(&one.stdout, &b);
    assert_same(&two.stdout, &a);
}

// ---- prbs ---------------------------------------------------------------------------------------------------

#[test]
fn prbs_alone_writes_the_stream() {
    let mut shell = Command::new("sh");
    shell.args(["-c", "$MP prbs 48879 | head -c 3000001"]).env("MP", env!("CARGO_BIN_EXE_millipede"));
    let ended = run_command(&mut shell);
    assert_same(&ended.stdout, &prbs(0xbeef, 3_000_001));
    // nobody takes it any more: that is its ordinary end
    let process = start(&["prbs".into(), "1".into()]);
    drop(process.stdout());
    assert_eq!(process.wait().code(), Some(5));
}

#[test]
fn prbs_alone_does_not_write_to_a_terminal() {
    let mut possible = Command::new("script");
    possible.args(["-qec", "true", "/dev/null"]).stdin(Stdio::null());
    if !possible.stdout(Stdio::null()).status().is_ok_and(|s| s.success()) {
        eprintln!("skipped: prbs_alone_does_not_write_to_a_terminal (no script here)");
        return;
    }
    let script = |line: &str| {
        let mut command = Command::new("script");
        command.args(["-qec", line, "/dev/null"]).env("MP", env!("CARGO_BIN_EXE_millipede"));
        run_command(&mut command)
    };
    let alone = script("$MP prbs 1");
    assert_eq!(alone.code(), 2);
    assert!(alone.stdout.len() < 200, "{} bytes", alone.stdout.len());
    // with rx on a terminal it is verified, and not shown
    let port = free_port();
    let verified = script(&format!("$MP prbs 1 rx {port} tx localhost {port} leglimit 1 verbose 1"));
    let seen = String::from_utf8_lossy(&verified.stdout);
    assert_eq!(verified.code(), 0, "{seen}");
    assert!(seen.contains("received 2097152 bytes") && seen.len() < 1000, "{seen}");
}

#[test]
fn prbs_at_one_end_alone() {
    let rx = Rx::start(&[]);
    let sent = tx(rx.port, &["prbs", "77", "leglimit", "3"]).end();
    let got = rx.end();
    assert_eq!((got.code(), sent.code()), (0, 0));
    assert_same(&got.stdout, &prbs(77, 3 * UNIT));

    let rx = Rx::start(&["prbs", "77"]);
    let sent = send(rx.port, &[], &prbs(77, 1_234_567));
    let got = rx.end();
    assert_eq!((got.code(), sent.code()), (0, 0));
    assert_same(&got.stdout, &prbs(77, 1_234_567));
}

#[test]
fn a_mismatch_is_named_and_ends_both() {
    let mut wrong = prbs(3, 1_000_000);
    wrong[777_777] ^= 4;
    let rx = Rx::start(&["prbs", "3"]);
    let sent = send(rx.port, &[], &wrong);
    let got = rx.end();
    assert_eq!((got.code(), sent.code()), (6, 6), "{}{}", got.stderr, sent.stderr);
    for said in [&got.stderr, &sent.stderr] {
        assert!(said.contains("byte 777777 is 0x"), "{said}");
        assert!(said.contains("it came in leg ") && said.contains("by connection "), "{said}");
        assert!(said.contains("127.0.0.1:"), "{said}");
    }
    assert!(got.stdout.len() <= 777_777, "nothing wrong is passed on");
    assert_same(&got.stdout, &wrong[..got.stdout.len()]);
}

// ---- pacing -------------------------------------------------------------------------------------------------

#[test]
fn leglimit_ends_an_input_that_goes_on() {
    let rx = Rx::start(&[]);
    let process = tx(rx.port, &["leglimit", "2"]);
    let (mut stdin, input) = (process.stdin(), bytes(3 * UNIT));
    let held = input.clone();
    let writer = thread::spawn(move || {
        // it takes no more than it sends and what the pipe holds
        let _ = stdin.write_all(&held);
        stdin
    });
    let got = rx.end();
    let sent = process.end();
    assert_eq!((got.code(), sent.code()), (0, 0), "{}{}", got.stderr, sent.stderr);
    assert_same(&got.stdout, &input[..2 * UNIT]);
    drop(writer.join().unwrap());

    let rx = Rx::start(&[]);
    let sent = send(rx.port, &["leglimit", "2"], &input[..1000]);
    assert_eq!((rx.end().stdout.len(), sent.code()), (1000, 0), "an input that ends earlier ends earlier");
    let rx = Rx::start(&[]);
    let sent = send(rx.port, &["leglimit", "0"], &input[..1000]);
    assert_eq!((rx.end().stdout.len(), sent.code()), (0, 0), "none is none");
}

#[test]
fn delay_is_paid_once_per_unit_whatever_the_threads() {
    for threads in ["1", "16"] {
        let (rx, begun) = (Rx::start(&[]), Instant::now());
        let args = ["prbs", "1", "leglimit", "4", "delayus", "150000", "threads", threads];
        assert_eq!(tx(rx.port, &args).end().code(), 0);
        let took = begun.elapsed();
        assert_same(&rx.end().stdout, &prbs(1, 4 * UNIT));
        assert!(took >= Duration::from_millis(600), "{took:?} with {threads}");
    }
}

#[test]
fn a_rate_is_never_exceeded() {
    let (rx, begun) = (Rx::start(&[]), Instant::now());
    let sent = tx(rx.port, &["prbs", "1", "leglimit", "2", "rate", "2M", "checksum"]).end();
    let took = begun.elapsed();
    assert_eq!(sent.code(), 0);
    assert_same(&rx.end().stdout, &prbs(1, 2 * UNIT));
    // all but the first slice waits; that it is not slower either is the business of proto's tests
    assert!(took >= Duration::from_millis(1900), "{took:?}");
}

// ---- checksum -----------------------------------------------------------------------------------------------

/// What is done to a frame with this header on its way to the receiver.
#[derive(Clone, Copy, PartialEq)]
enum Harm {
    None,
    Payload,
    Header,
}

/// A way to the receiver on which bits flip, where `decide` says: by the leg's sequence, and how often that
/// leg has passed here before.
fn flipping_proxy(target: u16, decide: impl Fn(u64, usize) -> Harm + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let passed: Arc<Mutex<Vec<u64>>> = Arc::default();
    let decide = Arc::new(move |sequence| {
        let mut passed = passed.lock().unwrap();
        let before = passed.iter().filter(|s| **s == sequence).count();
        passed.push(sequence);
        decide(sequence, before)
    });
    thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let Ok(far) = TcpStream::connect(("127.0.0.1", target)) else { return };
            let (mut back, mut to) = (far.try_clone().unwrap(), near.try_clone().unwrap());
            thread::spawn(move || {
                let _ = std::io::copy(&mut back, &mut to);
                let _ = to.shutdown(Shutdown::Both);
            });
            let decide = decide.clone();
            thread::spawn(move || {
                let _ = pass(&near, &far, &*decide);
                let _ = far.shutdown(Shutdown::Both);
                let _ = near.shutdown(Shutdown::Both);
            });
        }
    });
    port
}

/// Passes one connection's frames on, one by one.
fn pass(mut near: &TcpStream, mut far: &TcpStream, decide: &dyn Fn(u64) -> Harm) -> std::io::Result<()> {
    let (mut held, mut greeted) = (Vec::new(), false);
    loop {
        let mut chunk = [0; 65536];
        let n = near.read(&mut chunk)?;
        if n == 0 {
            return Ok(());
        }
        held.extend_from_slice(&chunk[..n]);
        if !greeted {
            let Some((_, len)) = Hello::decode(&held).expect("a hello") else { continue };
            far.write_all(&held[..len])?;
            held.drain(..len);
            greeted = true;
        }
        while let Some((frame, len)) = decode(&held).expect("a frame") {
            let (payload, sequence) = match frame {
                Frame::Leg(leg) => (leg.encoded as usize, Some(leg.sequence)),
                _ => (0, None),
            };
            if held.len() < len + payload {
                break;
            }
            match sequence.map_or(Harm::None, decide) {
                Harm::None => {}
                Harm::Payload => held[len + payload / 2] ^= 0x20,
                Harm::Header => held[len / 2] ^= 0x01,
            }
            far.write_all(&held[..len + payload])?;
            held.drain(..len + payload);
        }
    }
}

#[test]
fn a_damaged_leg_is_sent_again() {
    let input = bytes(3_000_000);
    let rx = Rx::start(&["verbose", "1"]);
    let damaged: Arc<Mutex<HashSet<u64>>> = Arc::default();
    let seen = damaged.clone();
    let proxy = flipping_proxy(rx.port, move |sequence, before| {
        if sequence % 3 == 1 && before == 0 {
            seen.lock().unwrap().insert(sequence);
            return Harm::Payload;
        }
        Harm::None
    });
    let sent = send(proxy, &["checksum", "verbose", "1"], &input);
    let got = rx.end();
    assert_eq!((got.code(), sent.code()), (0, 0), "{}{}", got.stderr, sent.stderr);
    assert_same(&got.stdout, &input);
    let damaged = damaged.lock().unwrap().len() as u64;
    let again = count(&sent.stderr, " leg");
    assert!(damaged > 3 && again >= damaged, "{damaged} damaged: {}", sent.stderr);
}

#[test]
fn without_checksum_damage_passes_and_prbs_names_the_connection() {
    let rx = Rx::start(&[]);
    let proxy = flipping_proxy(rx.port, |sequence, _| if sequence == 2 { Harm::Payload } else { Harm::None });
    let input = bytes(300_000);
    assert_eq!(send(proxy, &[], &input).code(), 0);
    assert_ne!(rx.end().stdout, input, "this is what checksum is for");

    let rx = Rx::start(&["prbs", "9"]);
    let proxy = flipping_proxy(rx.port, |sequence, _| if sequence == 2 { Harm::Payload } else { Harm::None });
    let sent = tx(proxy, &["prbs", "9", "leglimit", "4"]).end();
    let got = rx.end();
    assert_eq!((got.code(), sent.code()), (6, 6), "{}{}", got.stderr, sent.stderr);
    assert!(got.stderr.contains("in leg 2 by connection "), "{}", got.stderr);
}

#[test]
fn a_damaged_header_closes_the_connection_and_the_stream_is_right() {
    for checksum in [&["checksum"][..], &[]] {
        let input = bytes(2_000_000);
        let rx = Rx::start(&[]);
        let proxy =
            flipping_proxy(
                rx.port,
                |sequence, before| {
                    if sequence % 7 == 3 && before == 0 { Harm::Header } else { Harm::None }
                },
            );
        let sent = send(proxy, checksum, &input);
        let got = rx.end();
        assert_eq!((got.code(), sent.code()), (0, 0), "{}{}", got.stderr, sent.stderr);
        assert_same(&got.stdout, &input);
    }
}

#[test]
fn a_leg_that_always_fails_ends_both() {
    let rx = Rx::start(&[]);
    let proxy = flipping_proxy(rx.port, |sequence, _| if sequence == 2 { Harm::Payload } else { Harm::None });
    let sent = send(proxy, &["checksum"], &bytes(1_000_000));
    let got = rx.end();
    assert_eq!((got.code(), sent.code()), (6, 6), "{}{}", got.stderr, sent.stderr);
    assert!(sent.stderr.contains("leg 2 arrived damaged"), "{}", sent.stderr);
    assert!(got.stderr.contains("leg 2 arrived damaged"), "{}", got.stderr);
}

#[test]
fn a_link_that_damages_every_leg_is_got_round() {
    let input = bytes(500_000);
    let rx = Rx::start(&[]);
    let bad = flipping_proxy(rx.port, |_, _| Harm::Payload).to_string();
    let good = rx.port.to_string();
    let links = ["tx", "127.0.0.1", &bad, "tx", "127.0.0.1", &good];
    let line = [&links[..], &["threads", "2", "checksum", "verbose", "2"]].concat();
    let process =
        start_collecting(&line.iter().map(|word| word.to_string()).collect::<Vec<_>>(), Stdio::piped());
    // a leg that fails four times before the good link is there would end both
    for connection in 0..2 {
        process.process.expect(&format!("connection {connection} is up"));
    }
    process.stdin().write_all(&input).unwrap();
    let sent = process.end();
    let got = rx.end();
    assert_eq!((got.code(), sent.code()), (0, 0), "{}{}", got.stderr, sent.stderr);
    assert_same(&got.stdout, &input);
}

// ---- charmode -----------------------------------------------------------------------------------------------

#[test]
fn in_charmode_each_small_write_is_there_before_the_next() {
    for threads in ["1", "16"] {
        let rx = util::Rx::start(&["charmode"]);
        let process = util::tx(rx.port, &["charmode", "threads", threads]);
        let (mut stdin, mut stdout) = (process.stdin(), rx.stdout());
        for i in 0..20u8 {
            stdin.write_all(&[i; 3]).unwrap();
            let mut there = [0; 100];
            // the next is not written yet: whatever arrives is this one alone
            assert_eq!(stdout.read(&mut there).unwrap(), 3);
            assert_eq!(there[..3], [i; 3]);
        }
        drop(stdin);
        assert_eq!(stdout.read(&mut [0]).unwrap(), 0);
        assert_eq!((process.end().0, rx.end().0), (Some(0), Some(0)));
    }
}

#[test]
fn in_charmode_a_flood_of_single_bytes_is_joined() {
    const WRITES: usize = 50_000;
    let rx = Rx::start(&[]);
    let process = tx(rx.port, &["charmode", "verbose", "4"]);
    let mut stdin = process.stdin();
    let input = bytes(WRITES);
    for byte in &input {
        stdin.write_all(&[*byte]).unwrap();
    }
    drop(stdin);
    let (sent, got) = (process.end(), rx.end());
    assert_eq!((got.code(), sent.code()), (0, 0));
    assert_same(&got.stdout, &input);
    let legs = sent.stderr.lines().filter(|line| line.contains(": leg ")).count();
    assert!(legs > 0 && legs < WRITES / 5, "{legs} legs for {WRITES} writes");
}

// ---- chaos --------------------------------------------------------------------------------------------------

#[test]
fn chaos_at_either_or_both_ends_loses_nothing() {
    for (here, there) in [(Some("60"), None), (None, Some("60")), (Some("97"), Some("83"))] {
        let chaos = |n: Option<&'static str>| n.map_or(vec![], |n| vec!["chaos", n]);
        let rx = Rx::start(&[&["prbs", "6", "verbose", "1"][..], &chaos(here)].concat());
        let args = [&["prbs", "6", "leglimit", "16", "verbose", "1"][..], &chaos(there)].concat();
        let (sent, got) = (tx(rx.port, &args).end(), rx.end());
        assert_eq!((got.code(), sent.code()), (0, 0), "{}{}", got.stderr, sent.stderr);
        assert_same(&got.stdout, &prbs(6, 16 * UNIT));
        assert!(count(&sent.stderr, " break") > 0, "{}", sent.stderr);
    }
}

#[test]
fn chaos_takes_its_turns_and_says_so() {
    let rx = Rx::start(&[]);
    let args = ["prbs", "6", "leglimit", "16", "verbose", "2", "chaos", "25"];
    let (sent, got) = (tx(rx.port, &args).end(), rx.end());
    assert_eq!((got.code(), sent.code()), (0, 0), "{}{}", got.stderr, sent.stderr);
    let link = format!("127.0.0.1:{}: connection ", rx_port(&got.stderr));
    for turn in ["closed", "reset", "cut"] {
        let told = format!("lost ({turn} by chaos)");
        let line = sent.stderr.lines().find(|line| line.contains(&told));
        assert!(line.is_some_and(|line| line.contains(&link)), "{turn}: {}", sent.stderr);
    }
}

/// The port that a receiver said it listens on.
fn rx_port(stderr: &str) -> &str {
    stderr.split("listening on port ").nth(1).unwrap().lines().next().unwrap()
}

#[test]
fn chaos_below_two_is_a_usage_error() {
    assert_eq!(run(&words("rx 0 chaos 1", &[])).code(), 2);
}

// ---- verbose ------------------------------------------------------------------------------------------------

#[test]
fn each_verbosity_says_its_own_and_nothing_to_stdout() {
    let input = bytes(300_000);
    let at = |level: &str| {
        let rx = Rx::start(&["verbose", level]);
        let sent = send(rx.port, &["verbose", level, "threads", "1"], &input);
        let got = rx.end();
        assert_eq!((got.code(), sent.code()), (0, 0), "{}{}", got.stderr, sent.stderr);
        assert_same(&got.stdout, &input);
        let lines = |said: &str| said.lines().filter(|l| !l.contains("listening on port")).count();
        for line in got.stderr.lines().chain(sent.stderr.lines()) {
            assert!(line.starts_with("millipede: ") && line.matches("millipede: ").count() == 1, "{line}");
        }
        (lines(&got.stderr), lines(&sent.stderr), got.stderr, sent.stderr)
    };
    let (rx, tx, ..) = at("0");
    assert_eq!((rx, tx), (0, 0), "silent when all goes well");
    let (rx, tx, got, sent) = at("1");
    assert_eq!((rx, tx), (1, 1), "{got}{sent}");
    assert!(sent.contains("millipede: sent 300000 bytes (293 KiB) in "), "{sent}");
    assert!(got.contains("millipede: received 300000 bytes (293 KiB) in "), "{got}");
    let (.., got, sent) = at("2");
    assert!(got.contains("connection 0 from ") && sent.contains(": connection 0 is up"), "{got}{sent}");
    assert!(!sent.contains(": leg "), "{sent}");
    let (.., got, sent) = at("5");
    assert!(got.contains("leg 0 at 0..") && sent.contains("leg 0 at 0.."), "{got}{sent}");
    assert!(sent.contains("Ack(") && sent.contains("Bye"), "{sent}");
}
