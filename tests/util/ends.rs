//! Real processes on loopback for tests of how they end: in process groups, in pipelines of a shell, with
//! whatever they leave behind.
//!
//! Nothing here sleeps for a fixed time or knows a port. Whatever is waited for is waited for until
//! [`DEADLINE`], which only a test that fails reaches.
#![allow(dead_code)] // each test binary uses its own part

#[path = "signals.rs"]
mod signals;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longer than any of these tests takes on the busiest machine.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// The program.
pub const MILLIPEDE: &str = env!("CARGO_BIN_EXE_millipede");

/// A process that is ended with the test, whatever becomes of it.
pub struct Process {
    child: Child,
    said: Receiver<String>,
    stderr: String,
    collector: Option<JoinHandle<Vec<u8>>>,
    done: bool,
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    /// What it wrote to stdout, unless that was somewhere else.
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Ended {
    /// The exit status; panics if it was ended by a signal.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("{self:?}"))
    }

    /// The signal that ended it, if one did.
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }
}

impl Process {
    /// Starts a command in a process group of its own; collects its stderr, and its stdout if `collect`.
    pub fn start(command: &mut Command, collect: bool) -> Process {
        signals::heed();
        command.stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().unwrap();
        let (sender, said) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.split(b'\n').map_while(Result::ok) {
                let _ = sender.send(String::from_utf8_lossy(&line).into_owned() + "\n");
            }
        });
        let collector = child.stdout.take_if(|_| collect).map(|mut stdout| {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                let _ = stdout.read_to_end(&mut bytes);
                bytes
            })
        });
        Process { child, said, stderr: String::new(), collector, done: false }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().unwrap()
    }

    pub fn stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().unwrap()
    }

    /// Waits until it says a line with this in it.
    pub fn await_line(&mut self, part: &str) -> String {
        let end = Instant::now() + DEADLINE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(line) = self.said.recv_timeout(left) else {
                panic!("{part:?} was never said, only:\n{}", self.stderr)
            };
            self.stderr += &line;
            if line.contains(part) {
                return line;
            }
        }
    }

    /// A line it has said with this in it, if there is one already.
    pub fn has_said(&mut self, part: &str) -> bool {
        self.stderr.extend(self.said.try_iter());
        self.stderr.contains(part)
    }

    /// Waits until a command of this name runs below it.
    pub fn await_command(&self, name: &str) {
        until(name, || descends(&self.id().to_string(), name).then_some(()));
    }

    /// Sends it a signal, by name.
    pub fn kill(&self, signal: &str) {
        kill(signal, &self.id().to_string());
    }

    /// Sends its group a signal, by name.
    pub fn kill_group(&self, signal: &str) {
        kill(signal, &format!("-{}", self.id()));
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ended {
        drop(self.child.stdin.take());
        let status = await_exit(&mut self.child);
        self.done = true;
        let stdout = self.collector.take().map(|c| c.join().unwrap()).unwrap_or_default();
        // ends when everybody who has its stderr is gone
        while let Ok(line) = self.said.recv_timeout(DEADLINE) {
            self.stderr += &line;
        }
        Ended { status, stdout, stderr: std::mem::take(&mut self.stderr) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.done {
            // its leader was not waited for, so the group is still its own
            let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", self.id())]).status();
            let _ = self.child.wait();
        }
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

/// Waits for the end of a child, which must come.
pub fn await_exit(child: &mut Child) -> ExitStatus {
    until("the end of a process", || child.try_wait().unwrap())
}

/// Asks again and again until there is an answer.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "{what}: not within {DEADLINE:?}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// Sends a signal by name to a process, or to a group if it begins with "-".
pub fn kill(signal: &str, id: &str) {
    assert!(Command::new("kill").args([&format!("-{signal}"), "--", id]).status().unwrap().success());
}

/// A receiver that listens.
pub struct Rx {
    pub process: Process,
    pub port: u16,
}

impl Rx {
    /// Starts `rx 0` with further words; its stdout is collected.
    pub fn start(args: &[&str]) -> Rx {
        Rx::spawn(Command::new(MILLIPEDE).args(["rx", "0"]).args(args).stdin(Stdio::null()))
    }

    /// Starts `rx 0` with further words and this stdout.
    pub fn into(stdout: impl Into<Stdio>, args: &[&str]) -> Rx {
        let mut command = Command::new(MILLIPEDE);
        command.args(["rx", "0"]).args(args).stdin(Stdio::null()).stdout(stdout);
        Rx::listening(Process::start(&mut command, false))
    }

    /// Starts this line of shell, in which `$MP` is the program, and which has one `rx 0` in it.
    pub fn shell(line: &str) -> Rx {
        Rx::spawn(shell(line).stdin(Stdio::null()))
    }

    /// Starts this command, and collects its stdout.
    pub fn spawn(command: &mut Command) -> Rx {
        Rx::listening(Process::start(command.stdout(Stdio::piped()), true))
    }

    fn listening(mut process: Process) -> Rx {
        let line = process.await_line("listening on port");
        let port = line.strip_prefix("millipede: listening on port ").unwrap().trim_end().parse().unwrap();
        Rx { process, port }
    }

    /// Waits for its end.
    pub fn end(self) -> Ended {
        self.process.end()
    }
}

/// A command of shell, in which `$MP` is the program.
pub fn shell(line: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", line]).env("MP", MILLIPEDE);
    command
}

/// Starts `tx` to this port on loopback with further words; its stdin is a pipe.
pub fn tx(port: u16, args: &[&str]) -> Process {
    let mut command = Command::new(MILLIPEDE);
    command.args(["tx", "127.0.0.1", &port.to_string()]).args(args).stdin(Stdio::piped());
    Process::start(command.stdout(Stdio::null()), false)
}

/// Sends these bytes to this port, with further words; how that ended.
pub fn send(port: u16, args: &[&str], bytes: &[u8]) -> Ended {
    let mut process = tx(port, args);
    // one that fails early does not take everything
    let _ = process.stdin().write_all(bytes);
    process.end()
}

/// Bytes that differ at every place one could mistake for another.
pub fn bytes(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(state ^ state >> 29).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// A way to a receiver that can be led to another one.
pub struct Detour {
    pub port: u16,
    target: std::sync::Arc<std::sync::atomic::AtomicU16>,
}

impl Detour {
    /// Leads new connections to this port; ends with the test's process.
    pub fn to(port: u16) -> Detour {
        use std::net::{Shutdown, TcpListener, TcpStream};
        use std::sync::atomic::{AtomicU16, Ordering};
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = std::sync::Arc::new(AtomicU16::new(port));
        let detour = Detour { port: listener.local_addr().unwrap().port(), target: target.clone() };
        let copy = |mut from: TcpStream, mut to: TcpStream| {
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Both);
                let _ = from.shutdown(Shutdown::Both);
            });
        };
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(("127.0.0.1", target.load(Ordering::SeqCst))) else {
                    continue;
                };
                copy(near.try_clone().unwrap(), far.try_clone().unwrap());
                copy(far, near);
            }
        });
        detour
    }

    /// Leads new connections elsewhere.
    pub fn lead_to(&self, port: u16) {
        self.target.store(port, std::sync::atomic::Ordering::SeqCst);
    }
}
