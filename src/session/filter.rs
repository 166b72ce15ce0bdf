//! One run of a user's program on one leg: bytes into its stdin, bytes out of its stdout, and its exit status.
//!
//! ```text
//!  begin ─▶ advance ─▶ … ─▶ its stdout ends, it exits ─▶ done, or failed
//!              ▲  ╰─ nothing moves for PROGRAM_STALLS, or more comes than there is room for ─▶ failed
//!     its pipes, or the time
//! ```
//!
//! Never waits: the thread that owns the connection polls its pipes beside the socket, and calls [`Run::advance`] when
//! one of them has news. A run has all its memory from the start: one that held some and waited for more would wait for
//! the others, and these for it. What always holds: the program is in a process group of its own, which is killed when
//! the run is dropped, and ended when this process dies. It has its three pipes and no other descriptor, and the signals that this
//! process began with.

use super::pool::Buffer;
use super::program;
use crate::error::reason;
use crate::message;
use crate::proto::leg::Payload;
use crate::proto::waiting::PROGRAM_STALLS;
use crate::sys::child::{Exit, exit_so_far, heed_children, reap};
use crate::sys::pipe::unread;
use crate::sys::signal::kill_group;
use crate::sys::thread::spawn;
use crate::sys::wards::Ward;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use signal_hook::consts::SIGKILL;
use signal_hook::low_level::signal_name;
use std::fs::File;
use std::io::{self, ErrorKind, PipeReader, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// A program that works is looked at after this, at the latest.
const LOOK: Duration = Duration::from_secs(1);

/// Pauses between two looks for what tells nothing: from the first, doubling to the second.
const LOOKS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// Reads of its stderr in one turn: a program that never stops talking holds up nothing else.
const READS: usize = 64;

/// This many bytes of a line that a program says on stderr are passed on.
const LINE: usize = 200;

/// How much of a long command is shown, in characters.
const SHOWN: usize = 60;

/// What a run shall come to, of the bytes that there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutputSize {
    /// So many or fewer, but at least one; and all that it was given is to be taken.
    AtMost,
    /// Exactly so many.
    Exactly,
}

/// How far a run is.
pub(crate) enum Step {
    /// The run goes on. It is to be looked at then, if its pipes have no news before.
    Working(Instant),
    /// The program has made this.
    Done(Buffer),
    /// The run has failed; why, for the user.
    Failed(String),
}

/// Why a program was not started; in words for the user.
#[derive(Debug)]
pub(crate) enum Unstarted {
    /// There are as many descriptors, processes or as much memory in use as there may be, for now.
    Short(String),
    /// It cannot be.
    Never(String),
}

impl Unstarted {
    fn new(command: &str, error: &io::Error) -> Self {
        let why = format!("cannot run {}: {}", shown(command), reason(error));
        match Errno::from_io_error(error) {
            Some(Errno::MFILE | Errno::NFILE | Errno::AGAIN | Errno::NOMEM) => Unstarted::Short(why),
            _ => Unstarted::Never(why),
        }
    }
}

/// For how long a program has neither taken nor given anything, in the time in which this process ran: who stops this
/// process may have stopped the program too.
struct Idle {
    time: Duration,
    looked: Instant,
}

impl Idle {
    fn since(now: Instant) -> Self {
        Idle { time: Duration::ZERO, looked: now }
    }

    /// Looked at again; whether it has stalled. It is looked at each [`LOOK`], so what is longer is a gap.
    fn look(&mut self, now: Instant) -> bool {
        self.time += now.saturating_duration_since(self.looked).min(LOOK * 2);
        self.looked = now;
        self.time >= PROGRAM_STALLS
    }
}

/// A program at work.
pub(crate) struct Run {
    /// Its number. It is reaped when this is dropped.
    id: u32,
    /// Its group ends with this process; there until `id` may be reaped.
    ward: Option<Ward>,
    name: String,
    stdin: Option<File>,
    stdout: Option<File>,
    stderr: Option<File>,
    /// The end of the first pipe that it reads, to see what it has left there.
    left: PipeReader,
    /// What it is given: the first `len` bytes, of which it has taken `written`.
    input: Payload,
    len: usize,
    written: usize,
    wanted: OutputSize,
    /// What it has made: `filled` bytes. None once it is done.
    output: Option<Buffer>,
    /// Always ≤ `room`.
    filled: usize,
    /// The bytes that it may make; always ≤ the size of `output`.
    room: usize,
    idle: Idle,
    pause: Duration,
    /// The line of its stderr that is under way, and the last one that was whole.
    saying: String,
    said: String,
}

impl Run {
    /// Starts `command` on the first `len` bytes of `input`. What it makes goes into `output`, of which the last `spare`
    /// bytes are no room for it; its pipes are watched by `registry` under these tokens, one each.
    ///
    /// # Errors
    /// It cannot be started, or not now.
    pub(crate) fn begin(
        command: &str,
        (input, len): (Payload, usize),
        wanted: OutputSize,
        (output, spare): (Buffer, usize),
        (registry, tokens): (&Registry, [Token; 3]),
    ) -> Result<Run, Unstarted> {
        let name = shown(command);
        let cannot = |e: io::Error| Unstarted::new(command, &e);
        let (left, stdin) = io::pipe().map_err(cannot)?;
        let (stdout, its_stdout) = io::pipe().map_err(cannot)?;
        let (stderr, its_stderr) = io::pipe().map_err(cannot)?;
        let its_stdin = left.try_clone().map_err(cannot)?;
        let ward = Ward::claim().map_err(cannot)?;
        let its_pipes = [its_stdin.into(), its_stdout.into(), its_stderr.into()];
        let id = start(command, its_pipes, &ward).map_err(cannot)?;
        let [stdin, stdout, stderr] =
            [stdin.into(), stdout.into(), stderr.into()].map(|pipe: OwnedFd| Some(File::from(pipe)));
        let (filled, room) = (0, output.size().saturating_sub(spare));
        let run = Run {
            id,
            ward: Some(ward),
            name,
            stdin,
            stdout,
            stderr,
            left,
            input,
            len,
            written: 0,
            wanted,
            output: Some(output),
            filled,
            room,
            idle: Idle::since(Instant::now()),
            pause: LOOKS.0,
            saying: String::new(),
            said: String::new(),
        };
        run.watch(registry, tokens).map_err(cannot)?;
        Ok(run)
    }

    fn watch(&self, registry: &Registry, tokens: [Token; 3]) -> io::Result<()> {
        let pipes = [&self.stdin, &self.stdout, &self.stderr];
        let interests = [Interest::WRITABLE, Interest::READABLE, Interest::READABLE];
        for ((pipe, interest), token) in pipes.into_iter().zip(interests).zip(tokens) {
            let Some(pipe) = pipe else { continue };
            fcntl_setfl(pipe, fcntl_getfl(pipe)? | OFlags::NONBLOCK)?;
            registry.register(&mut SourceFd(&pipe.as_raw_fd()), token, interest)?;
        }
        Ok(())
    }

    /// As far as it goes without waiting.
    pub(crate) fn advance(&mut self) -> Step {
        let before = (self.written, self.filled);
        self.give();
        let taken = self.take();
        let says_more = self.listen();
        if let Err(why) = taken {
            return Step::Failed(why);
        }
        let now = Instant::now();
        if before != (self.written, self.filled) {
            (self.idle, self.pause) = (Idle::since(now), LOOKS.0);
        }
        if self.stdout.is_none()
            && let Some(exit) = exit_so_far(self.id)
        {
            self.listen();
            self.end_line();
            return self.judge(exit);
        }
        if self.idle.look(now) {
            return Step::Failed(self.failed(&format!("did nothing for {} s", PROGRAM_STALLS.as_secs())));
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(LOOKS.1);
        let soon = says_more || self.stdout.is_none();
        Step::Working(now + if soon { pause } else { LOOK })
    }

    /// Into its stdin.
    fn give(&mut self) {
        while let Some(stdin) = &mut self.stdin {
            let rest = &self.input.bytes()[self.written..self.len];
            if rest.is_empty() {
                self.stdin = None;
                return;
            }
            match stdin.write(rest) {
                Ok(n) => self.written += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                // it takes no more, and what that means is seen when it has exited
                Err(_) => self.stdin = None,
            }
        }
    }

    /// Out of its stdout.
    fn take(&mut self) -> Result<(), String> {
        loop {
            let (Some(stdout), Some(output)) = (&mut self.stdout, &mut self.output) else { return Ok(()) };
            let (end, mut more) = (self.room, [0]);
            let space = if self.filled < end { &mut output.space()[self.filled..end] } else { &mut more[..] };
            match stdout.read(space) {
                Ok(0) => self.stdout = None,
                Ok(_) if self.filled == end => return Err(self.failed(&self.too_much())),
                Ok(n) => self.filled += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(self.failed(&format!("cannot be read: {}", reason(&e)))),
            }
        }
    }

    fn too_much(&self) -> String {
        match self.wanted {
            OutputSize::AtMost => format!("made more than {} bytes of a leg of {}", self.room, self.len),
            OutputSize::Exactly => format!("made more than the {} bytes that the leg has", self.room),
        }
    }

    /// What it says on stderr is passed on, line by line. Whether it may have said more.
    fn listen(&mut self) -> bool {
        let mut chunk = [0; 1024];
        for _ in 0..READS {
            let Some(stderr) = &mut self.stderr else { break };
            match stderr.read(&mut chunk) {
                Ok(0) => self.stderr = None,
                Ok(n) => self.hear(&chunk[..n]),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return false,
                Err(_) => self.stderr = None,
            }
        }
        if self.stderr.is_none() {
            self.end_line();
        }
        self.stderr.is_some()
    }

    /// What it said last need not end as a line does.
    fn end_line(&mut self) {
        if !self.saying.is_empty() {
            self.hear(b"\n");
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        for char in String::from_utf8_lossy(bytes).chars() {
            if char != '\n' {
                if self.saying.len() < LINE {
                    self.saying.push(char);
                }
                continue;
            }
            self.said = std::mem::take(&mut self.saying);
            if !self.said.trim().is_empty() {
                message::peer(0, "lines of through", || format!("{}: {}", self.name, self.said));
            }
        }
    }

    /// Bytes that it has read. What cannot be asked it has left.
    fn taken(&self) -> usize {
        self.written.saturating_sub(unread(&self.left).unwrap_or(usize::MAX))
    }

    /// It has exited, and all that it made is here.
    fn judge(&mut self, exit: Exit) -> Step {
        let why = match (exit, self.wanted) {
            (Exit::Status(0), OutputSize::AtMost) if self.taken() < self.len => {
                format!("took {} of the {} bytes of a leg", self.taken(), self.len)
            }
            (Exit::Status(0), OutputSize::AtMost) if self.filled == 0 => {
                format!("made nothing of a leg of {} bytes", self.len)
            }
            (Exit::Status(0), OutputSize::Exactly) if self.filled != self.room => {
                format!("made {} bytes where the leg has {}", self.filled, self.room)
            }
            (Exit::Status(0), _) => {
                return match self.output.take() {
                    Some(mut output) => {
                        output.set_len(self.filled);
                        Step::Done(output)
                    }
                    None => Step::Failed(self.failed("was asked twice")),
                };
            }
            (Exit::Status(status), _) => format!("exited {status}"),
            (Exit::Signal(signo), _) => {
                let name = signal_name(signo).map_or_else(|| format!("signal {signo}"), str::to_owned);
                format!("was killed by {name}")
            }
        };
        Step::Failed(self.failed(&why))
    }

    fn failed(&self, why: &str) -> String {
        let said = self.said.trim();
        let said = if said.is_empty() { String::new() } else { format!(": {said}") };
        format!("{} {why}{said}", self.name)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // its number and its group's are nobody else's before it is reaped
        let _ = kill_group(self.id, SIGKILL);
        self.ward = None;
        (self.stdin, self.stdout, self.stderr) = (None, None, None);
        if exit_so_far(self.id).is_some() {
            let _ = reap(self.id);
        } else {
            reap_later(self.id);
        }
    }
}

/// Leaves the waiting for the end of a killed child to a thread: inside a system call that may take long.
fn reap_later(id: u32) {
    // without a thread it stays a zombie until this process ends, which harms nobody
    let _ = spawn("reaper", move || drop(reap(id)));
}

fn start(command: &str, stdio: [OwnedFd; 3], ward: &Ward) -> io::Result<u32> {
    heed_children();
    program::command(command)?.start(stdio, ward)
}

/// As messages name it.
fn shown(command: &str) -> String {
    let mut text: String = command.chars().take(SHOWN).collect();
    if text.len() < command.len() {
        text.push('…');
    }
    format!("through \"{text}\"")
}

#[cfg(test)]
mod tests;
