//! The program as real processes: started, fed, listened to, signalled, waited for, and killed when dropped.

use super::data::{Collector, feed};
use super::signals;
use super::wait::{DEADLINE, Shared, eventually, lock, until};
use rustix::process::{Pid, getpgid, kill_process, kill_process_group};
use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::ops::Deref;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub use rustix::process::Signal;

/// The program under test.
pub const MILLIPEDE: &str = env!("CARGO_BIN_EXE_millipede");

/// The program under test, with these words.
pub fn millipede(args: &[&str]) -> Command {
    let mut command = Command::new(MILLIPEDE);
    command.args(args);
    command
}

/// A line of shell, in which `$MP` is the program. In a process group of its own, so that all of it ends together.
pub fn shell(line: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", line]).env("MP", MILLIPEDE).process_group(0);
    command
}

/// A running process. Its input and output are pipes unless it was spawned otherwise.
pub struct Process {
    child: Mutex<Child>,
    pid: Pid,
    /// Whether it leads a process group, which is then killed with it.
    leads: bool,
    stdin: Mutex<Option<ChildStdin>>,
    stdout: Mutex<Option<ChildStdout>>,
    kept: Mutex<Option<JoinHandle<Vec<u8>>>>,
    said: Arc<Shared<Said>>,
    name: String,
}

#[derive(Default)]
struct Said {
    lines: Vec<String>,
    /// Whether everybody who had its stderr is gone.
    ended: bool,
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    /// What it wrote to stdout, if that was kept.
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Ended {
    /// The exit status; panics if it was ended by a signal.
    #[track_caller]
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("{self:?}"))
    }

    /// The signal that ended it, if one did.
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// Its stdout, where that is text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }
}

impl Process {
    /// The program with these words, and pipes at both ends.
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
            for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                hearer.change(|said| said.lines.push(line));
            }
            hearer.change(|said| said.ended = true);
        });
        let words = [command.get_program()].into_iter().chain(command.get_args());
        let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
        let pid = Pid::from_child(&child);
        Process {
            pid,
            leads: getpgid(Some(pid)).is_ok_and(|group| group == pid),
            stdin: Mutex::new(child.stdin.take()),
            stdout: Mutex::new(child.stdout.take()),
            kept: Mutex::new(None),
            child: Mutex::new(child),
            said,
            name: words.join(" "),
        }
    }

    // ---- input and output -----------------------------------------------------------------------------

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

    /// Reads its output in the background and keeps it for [`Process::finish`]: for what is not the pattern.
    pub fn keep(&self) {
        let mut stdout = self.stdout();
        let reader = thread::spawn(move || {
            let mut bytes = Vec::new();
            stdout.read_to_end(&mut bytes).unwrap();
            bytes
        });
        *lock(&self.kept) = Some(reader);
    }

    // ---- what it says ---------------------------------------------------------------------------------

    /// Waits for a line on stderr that has `part` in it; the whole line.
    #[track_caller]
    pub fn expect(&self, part: &str) -> String {
        let find = |said: &Said| said.lines.iter().find(|line| line.contains(part)).cloned();
        self.said.wait(DEADLINE, |said| said.ended || find(said).is_some());
        let found = find(&self.said.lock());
        found.unwrap_or_else(|| panic!("did not say {part:?}: {self}"))
    }

    /// Waits until it says on which port it does something: the number behind these words.
    #[track_caller]
    pub fn port(&self, words: &str) -> u16 {
        let line = self.expect(words);
        let number = line.strip_prefix(words).and_then(|number| number.parse().ok());
        number.unwrap_or_else(|| panic!("{line:?}"))
    }

    /// Everything it has said so far.
    pub fn said(&self) -> String {
        self.said.lock().lines.join("\n")
    }

    // ---- its end --------------------------------------------------------------------------------------

    /// Its exit status, within [`DEADLINE`].
    #[track_caller]
    pub fn wait(&self) -> ExitStatus {
        self.wait_for(DEADLINE)
    }

    /// Its exit status, within this time.
    #[track_caller]
    pub fn wait_for(&self, time: Duration) -> ExitStatus {
        assert!(self.ends_within(time), "still there after {time:?}: {self}");
        lock(&self.child).wait().unwrap()
    }

    /// Its exit status by its number, and all it said, when everybody who had its stderr is gone too.
    #[track_caller]
    pub fn end(&self) -> (Option<i32>, String) {
        let code = self.wait().code();
        let alone = self.said.wait(DEADLINE, |said| said.ended);
        assert!(alone, "something that it started has not ended: {self}");
        (code, self.said())
    }

    /// The same with all that it wrote, if that was kept. An input that nobody has taken ends.
    #[track_caller]
    pub fn finish(&self) -> Ended {
        drop(lock(&self.stdin).take());
        let stderr = self.end().1.lines().flat_map(|line| [line, "\n"]).collect();
        let kept = lock(&self.kept).take();
        let stdout = kept.map(|reader| reader.join().unwrap()).unwrap_or_default();
        Ended { status: self.wait(), stdout, stderr }
    }

    /// Whether it ends within this time.
    pub fn ends_within(&self, time: Duration) -> bool {
        eventually(time, || lock(&self.child).try_wait().unwrap().is_some())
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.ends_within(Duration::ZERO)
    }

    // ---- as a process ---------------------------------------------------------------------------------

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        // one that has ended is not reaped before the test looks at its status
        kill_process(self.pid, signal).unwrap();
    }

    /// Kills it; it has ended when this returns.
    #[track_caller]
    pub fn kill(&self) {
        self.signal(Signal::KILL);
        self.wait();
    }

    /// Sends a signal to the group that it leads.
    pub fn signal_group(&self, signal: Signal) {
        kill_process_group(self.pid, signal).unwrap();
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get() as u32
    }

    /// Waits until a command of this name runs below it.
    pub fn await_command(&self, name: &str) {
        until(name, || descends(&self.pid().to_string(), name).then_some(()));
    }

    /// The most memory it has ever had resident, in bytes; for a process that still runs.
    #[cfg(target_os = "linux")]
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("it runs");
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }
}

/// Whether a command of this name is among the children of this process, and their children.
fn descends(id: &str, name: &str) -> bool {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{id}/task")) else { return false };
    tasks.map_while(Result::ok).any(|task| {
        let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        children.split_whitespace().any(|child| {
            let called = std::fs::read_to_string(format!("/proc/{child}/comm")).unwrap_or_default();
            called.trim_end() == name || descends(child, name)
        })
    })
}

impl Drop for Process {
    fn drop(&mut self) {
        let mut child = lock(&self.child);
        if child.try_wait().is_ok_and(|status| status.is_none()) {
            if self.leads {
                // its leader was not waited for, so the group is still its own
                let _ = kill_process_group(self.pid, Signal::KILL);
            }
            let _ = child.kill();
            let _ = child.wait();
        }
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
        Rx::start_as(&[&["rx", "0"], args].concat())
    }

    /// With these words in place of `rx 0`; they must contain the port 0.
    pub fn start_as(args: &[&str]) -> Rx {
        Rx::spawn(millipede(args).stdin(Stdio::null()).stdout(Stdio::piped()))
    }

    /// On a free port, with this as its stdout.
    pub fn into(stdout: impl Into<Stdio>, args: &[&str]) -> Rx {
        Rx::spawn(millipede(&["rx", "0"]).args(args).stdin(Stdio::null()).stdout(stdout))
    }

    /// From a command that is set up.
    pub fn spawn(command: &mut Command) -> Rx {
        let process = Process::spawn(command);
        let port = process.port("millipede: listening on port ");
        Rx { process, port }
    }

    /// With its output kept for [`Process::finish`].
    pub fn keeping(args: &[&str]) -> Rx {
        let rx = Rx::start(args);
        rx.keep();
        rx
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
    tx_over(&[port], args)
}

/// A sender over these links, in this order, with these words more.
pub fn tx_over(ports: &[u16], words: &[&str]) -> Process {
    let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
    let links = ports.iter().flat_map(|port| ["tx", "127.0.0.1", port]);
    Process::start(&links.chain(words.iter().copied()).collect::<Vec<_>>())
}

/// Sends these bytes to this port, with these words more; how that ended.
pub fn send(port: u16, args: &[&str], bytes: &[u8]) -> Ended {
    let tx = tx(port, args);
    // one that fails early does not take everything
    let _ = tx.stdin().write_all(bytes);
    tx.finish()
}

/// Carries `bytes` of the pattern from one to the other: both exit 0, and what comes out is right.
#[track_caller]
pub fn carry(rx: &Process, tx: &Process, bytes: u64) {
    let output = rx.collect();
    tx.feed(bytes);
    assert_complete(rx, tx, output, bytes);
}

/// Both exit 0, and what came out are these many right bytes.
#[track_caller]
pub fn assert_complete(rx: &Process, tx: &Process, output: Collector, bytes: u64) {
    assert_eq!(tx.wait().code(), Some(0), "{tx}\n{rx}");
    assert_eq!(rx.wait().code(), Some(0), "{rx}\n{tx}");
    assert_eq!(output.join(), bytes);
}
