//! What tests with real processes share: start them, feed them, look at what comes out, wait with a deadline.
//!
//! ```ignore
//! let rx = Rx::start(&["buffer", "4M"]);           // on a free port of its own choice
//! let tx = tx(rx.port, &["threads", "3"]);         // to 127.0.0.1
//! tx.feed(5_000_000);                              // position-determined bytes, then the end of the input
//! let output = rx.collect();                       // checks each byte by its position
//! assert_eq!(tx.wait().code(), Some(0));
//! assert_eq!(rx.wait().code(), Some(0));
//! assert_eq!(output.join(), 5_000_000);
//! ```
//!
//! Nothing sleeps to let something happen: all waiting is for an event, with a deadline far beyond what a
//! loaded machine needs, after which the test fails and shows what the process said. A process that is
//! dropped is killed.

// each test program uses a part of it
#![allow(dead_code)]

use millipede::prbs::Prbs;
use rustix::process::{Pid, kill_process};
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::ops::Deref;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub use rustix::process::Signal;

pub mod proxy;
mod signals;

/// For everything that must happen, where no other time is promised.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// How often a condition that nothing announces is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// The program under test, with these words.
pub fn millipede(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millipede"));
    command.args(args);
    command
}

/// A running millipede. Its input and output are pipes unless it was spawned otherwise.
pub struct Process {
    child: Mutex<Child>,
    pid: Pid,
    stdin: Mutex<Option<ChildStdin>>,
    stdout: Mutex<Option<ChildStdout>>,
    said: Arc<Shared<Said>>,
    name: String,
}

#[derive(Default)]
struct Said {
    lines: Vec<String>,
    ended: bool,
}

impl Process {
    /// With these words, and pipes at both ends.
    pub fn start(args: &[&str]) -> Process {
        Process::spawn(millipede(args).stdin(Stdio::piped()).stdout(Stdio::piped()))
    }

    /// From a command whose stdin and stdout are set up.
    pub fn spawn(command: &mut Command) -> Process {
        signals::heed();
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let said = Arc::new(Shared::<Said>::default());
        let (stderr, hearer) = (child.stderr.take().unwrap(), said.clone());
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                hearer.change(|said| said.lines.push(line));
            }
            hearer.change(|said| said.ended = true);
        });
        let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
        Process {
            pid: Pid::from_child(&child),
            stdin: Mutex::new(child.stdin.take()),
            stdout: Mutex::new(child.stdout.take()),
            child: Mutex::new(child),
            said,
            name: format!("millipede {}", args.join(" ")),
        }
    }

    /// Writes the first `bytes` of the pattern to it, in the background, then ends its input.
    pub fn feed(&self, bytes: u64) {
        let mut stdin = self.stdin();
        // a process that ends early closes its input: the test looks at its status
        thread::spawn(move || drop(feed(&mut stdin, 0, bytes)));
    }

    /// Its input, for the test to write to and to drop.
    pub fn stdin(&self) -> ChildStdin {
        lock(&self.stdin).take().expect("the input is taken once")
    }

    /// Its output, for the test to read.
    pub fn stdout(&self) -> ChildStdout {
        lock(&self.stdout).take().expect("the output is taken once")
    }

    /// Reads its output in the background, checking that it is the pattern from the first byte on.
    pub fn collect(&self) -> Collector {
        Collector::of(self.stdout())
    }

    /// Its exit status, within [`DEADLINE`].
    pub fn wait(&self) -> ExitStatus {
        self.wait_for(DEADLINE)
    }

    /// Its exit status, within this time.
    pub fn wait_for(&self, time: Duration) -> ExitStatus {
        let mut status = None;
        let ended = eventually(time, || {
            status = lock(&self.child).try_wait().unwrap();
            status.is_some()
        });
        assert!(ended, "still there after {time:?}: {self}");
        status.unwrap()
    }

    /// Its exit status by its number, and all it said.
    pub fn end(&self) -> (Option<i32>, String) {
        let code = self.wait().code();
        // a grandchild may hold stderr open; what this process said is there soon
        self.said.wait(Duration::from_secs(5), |said| said.ended);
        (code, self.said())
    }

    /// Whether it ends within this time.
    pub fn ends_within(&self, time: Duration) -> bool {
        eventually(time, || lock(&self.child).try_wait().unwrap().is_some())
    }

    /// Waits for a line on stderr that has `part` in it; the whole line.
    pub fn expect(&self, part: &str) -> String {
        self.expect_within(DEADLINE, part)
    }

    /// The same, within this time.
    pub fn expect_within(&self, time: Duration, part: &str) -> String {
        let find = |said: &Said| said.lines.iter().find(|line| line.contains(part)).cloned();
        self.said.wait(time, |said| said.ended || find(said).is_some());
        find(&self.said.lock()).unwrap_or_else(|| panic!("did not say {part:?}: {self}"))
    }

    /// Everything it has said so far.
    pub fn said(&self) -> String {
        self.said.lock().lines.join("\n")
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        // one that has ended is not reaped before the test looks at its status
        kill_process(self.pid, signal).unwrap();
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get() as u32
    }

    /// The most memory it has ever had resident, in bytes; for a process that still runs.
    #[cfg(target_os = "linux")]
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("it runs");
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let mut child = lock(&self.child);
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = lock(&self.child).try_wait();
        write!(f, "{} ({status:?}) said:\n{}", self.name, self.said())
    }
}

/// A receiver that listens.
pub struct Rx {
    process: Process,
    /// On this port.
    pub port: u16,
}

impl Rx {
    /// On a free port, all addresses.
    pub fn start(args: &[&str]) -> Rx {
        Rx::spawn(millipede(&["rx", "0"]).args(args).stdin(Stdio::null()).stdout(Stdio::piped()))
    }

    /// With these words in place of `rx 0`; they must contain the port 0.
    pub fn start_as(args: &[&str]) -> Rx {
        Rx::spawn(millipede(args).stdin(Stdio::null()).stdout(Stdio::piped()))
    }

    /// From a command that is set up.
    pub fn spawn(command: &mut Command) -> Rx {
        let process = Process::spawn(command);
        let line = process.expect("listening on port ");
        let port = line.strip_prefix("millipede: listening on port ").and_then(|port| port.parse().ok());
        Rx { process, port: port.unwrap_or_else(|| panic!("{line:?}")) }
    }
}

impl Deref for Rx {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl fmt::Display for Rx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.process.fmt(f)
    }
}

/// A sender to this port of 127.0.0.1, with these words more.
pub fn tx(port: u16, args: &[&str]) -> Process {
    Process::start(&[&["tx", "127.0.0.1", &port.to_string()], args].concat())
}

/// A port that nobody listened on a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    listener.local_addr().unwrap().port()
}

/// Carries `bytes` of the pattern from one to the other: both exit 0, and what comes out is right.
pub fn carry(rx: &Process, tx: &Process, bytes: u64) {
    let output = rx.collect();
    tx.feed(bytes);
    assert_complete(rx, tx, output, bytes);
}

/// Both exit 0, and what came out are these many right bytes.
pub fn assert_complete(rx: &Process, tx: &Process, output: Collector, bytes: u64) {
    assert_eq!(tx.wait().code(), Some(0), "{tx}\n{rx}");
    assert_eq!(rx.wait().code(), Some(0), "{rx}\n{tx}");
    assert_eq!(output.join(), bytes);
}

// ---- position-determined data -------------------------------------------------------------------------

/// The pattern's unit: pseudorandom bytes that begin with the unit's own number.
const UNIT: usize = 64 << 10;

/// Unit `index` of the pattern. Made and compared at memcpy's speed even without optimisation.
fn unit(index: u64) -> Vec<u8> {
    static BODY: OnceLock<Vec<u8>> = OnceLock::new();
    let mut bytes = BODY
        .get_or_init(|| {
            let mut body = vec![0; UNIT];
            Prbs::new(0x6d6c).fill(0, &mut body);
            body
        })
        .clone();
    bytes[..8].copy_from_slice(&index.to_be_bytes());
    bytes
}

/// The pattern's bytes from `offset` on.
pub fn pattern(offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + UNIT);
    let skip = (offset % UNIT as u64) as usize;
    for index in offset / UNIT as u64.. {
        bytes.extend_from_slice(&unit(index)[if bytes.is_empty() { skip } else { 0 }..]);
        if bytes.len() >= len {
            bytes.truncate(len);
            return bytes;
        }
    }
    unreachable!("offsets do not end")
}

/// Writes `bytes` of the pattern from `offset` on.
pub fn feed(sink: &mut impl Write, offset: u64, bytes: u64) -> io::Result<()> {
    let (mut at, end) = (offset, offset + bytes);
    while at < end {
        let piece = pattern(at, (end - at).min(16 * UNIT as u64) as usize);
        sink.write_all(&piece)?;
        at += piece.len() as u64;
    }
    Ok(())
}

/// Panics unless these are the pattern's bytes from `offset` on; names the first wrong one.
pub fn check(offset: u64, bytes: &[u8]) {
    let right = pattern(offset, bytes.len());
    if right != bytes {
        let at = right.iter().zip(bytes).position(|(a, b)| a != b).unwrap();
        panic!("byte {} is {:#04x}, not {:#04x}", offset + at as u64, bytes[at], right[at]);
    }
}

/// Reads an output to its end in the background, and checks it against the pattern.
pub struct Collector {
    thread: JoinHandle<u64>,
    came: Arc<Shared<Came>>,
}

#[derive(Default)]
struct Came {
    bytes: u64,
    last: Option<Instant>,
    longest_gap: Duration,
}

impl Collector {
    /// Of this output.
    pub fn of(mut output: impl Read + Send + 'static) -> Collector {
        let came = Arc::new(Shared::<Came>::default());
        let counter = came.clone();
        let thread = thread::spawn(move || {
            let (mut at, mut chunk) = (0, vec![0; 16 * UNIT]);
            loop {
                let n = output.read(&mut chunk).unwrap();
                if n == 0 {
                    return at;
                }
                check(at, &chunk[..n]);
                at += n as u64;
                counter.change(|came| {
                    let now = Instant::now();
                    let gap = came.last.map_or(Duration::ZERO, |last| now - last);
                    *came = Came { bytes: at, last: Some(now), longest_gap: came.longest_gap.max(gap) };
                });
            }
        });
        Collector { thread, came }
    }

    /// Waits until so many bytes have come.
    pub fn await_bytes(&self, bytes: u64) {
        self.came.wait(DEADLINE, |came| came.bytes >= bytes || self.thread.is_finished());
        let came = self.bytes();
        assert!(came >= bytes, "{came} of {bytes} bytes have come");
    }

    /// Bytes that have come so far.
    pub fn bytes(&self) -> u64 {
        self.came.lock().bytes
    }

    /// The longest time between two pieces that came.
    pub fn longest_gap(&self) -> Duration {
        self.came.lock().longest_gap
    }

    /// Waits for the end of the output; how many bytes came. Panics if one was wrong.
    pub fn join(self) -> u64 {
        let ended = eventually(DEADLINE, || self.thread.is_finished());
        assert!(ended, "the output has not ended after {} bytes", self.bytes());
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

// ---- waiting ------------------------------------------------------------------------------------------

/// Whether this came true within the time; for what nothing announces.
pub fn eventually(time: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + time;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(LOOK);
    }
}

/// Waits until a number that grows has stood still for a while: whoever makes it grow is blocked.
pub fn until_still(mut number: impl FnMut() -> u64) -> u64 {
    const STILL: Duration = Duration::from_millis(300);
    let (mut last, mut since) = (number(), Instant::now());
    let still = eventually(DEADLINE, || {
        let now = number();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        since.elapsed() >= STILL
    });
    assert!(still, "it does not stop growing: {last}");
    last
}

/// A value that one thread changes and another waits for.
#[derive(Default)]
pub struct Shared<T> {
    value: Mutex<T>,
    changed: Condvar,
}

impl<T> Shared<T> {
    /// Changes it, and wakes who waits.
    pub fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let result = change(&mut lock(&self.value));
        self.changed.notify_all();
        result
    }

    /// Looks at it.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        lock(&self.value)
    }

    /// Waits until it fulfils this, for so long at most. It is asked again every second at least.
    pub fn wait(&self, time: Duration, condition: impl Fn(&T) -> bool) -> bool {
        let deadline = Instant::now() + time;
        let mut value = self.lock();
        while !condition(&value) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.changed.wait_timeout(value, left.min(Duration::from_secs(1)));
            value = waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
        true
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
