//! A command as an end of the stream: rx writes into it, tx reads from it, and its exit status counts.
//!
//! ```text
//!  Waiting ──first byte wanted or there──▶ Running ──exits──▶ Running, exit known ──success──▶ Over
//!     ╰───────────── end ────────────────────╯╰─── end: TERM, grace, KILL, reaped ─────────────▶╯
//! ```
//!
//! It runs in a process group of its own, so that a pipeline ends as a whole. What holds throughout: as long
//! as it has not been told the end of the stream, its stdin is open; if the stream is not completed it is
//! ended first, and its stdin closed afterwards. It is reaped last of all, so that a signal to its group
//! never hits anybody else.

use super::{Sink, SinkError, Source, Waited};
use crate::run::conn::reason;
use crate::sys::child::{Exit, await_exit, die_with_parent, heed_children};
use crate::sys::event::Bell;
use crate::sys::pipe::{Interest, grow, unread, wait};
use crate::sys::signal::kill_group;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use signal_hook::consts::{SIGCONT, SIGKILL, SIGTERM};
use signal_hook::low_level::signal_name;
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

/// What a command asked to end by SIGTERM has for that, before SIGKILL.
const TERM_GRACE: Duration = Duration::from_secs(3);

/// After SIGKILL: for how long its end is waited for; one in the midst of a system call may take longer.
const KILL_GRACE: Duration = Duration::from_secs(1);

/// A command that has taken everything so far and succeeded, or closed its stdin, may have known the
/// stream's length; the end must follow within this.
const END_GRACE: Duration = Duration::from_secs(3);

/// A command whose stdin is closed is about to say why, with its exit status.
const EXIT_GRACE: Duration = Duration::from_secs(1);

/// No event tells that a pipe has been drained, so it is looked at, with pauses from the first to the last.
const DRAIN_PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// Of a long command, so much is shown, in characters.
const SHOWN: usize = 200;

/// The one command of this process, for those who end it without being able to wait.
static CURRENT: Mutex<Weak<Exec>> = Mutex::new(Weak::new());

/// Kills the command of this process, if one runs: nothing is waited for.
pub fn kill() {
    let current = locked(&CURRENT).upgrade();
    if let Some(exec) = current {
        exec.kill();
    }
}

/// The command: its ends are a [`CommandSink`] and a [`CommandSource`], or both for one command.
#[derive(Debug)]
pub struct Exec {
    command: String,
    /// Whether the stream goes to its stdin, and comes from its stdout.
    takes: bool,
    gives: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Waiting,
    Running(Arc<Running>),
    /// It may not start any more.
    Over,
}

/// A command that was started.
#[derive(Debug)]
struct Running {
    /// As shown to the user.
    name: String,
    /// None once reaped. Never locked for longer than a call that does not wait.
    leader: Mutex<Option<Child>>,
    exit: OnceLock<Exit>,
    /// Rung once `exit` is set, and never cleared.
    exited: Bell,
    /// Our ends of its pipes, until the sink and the source take them.
    stdin: Mutex<Option<File>>,
    stdout: Mutex<Option<File>>,
    /// Keeps its stdin open (or its stdout, if only that is ours), whatever the sink does.
    hold: Mutex<Option<OwnedFd>>,
    /// Held by whoever ends it; others wait for that.
    ending: Mutex<()>,
}

impl Exec {
    /// A command that starts when the stream does: with what it shall take and give.
    pub fn new(command: &str, takes: bool, gives: bool) -> Arc<Self> {
        let exec =
            Arc::new(Exec { command: command.into(), takes, gives, state: Mutex::new(State::Waiting) });
        *locked(&CURRENT) = Arc::downgrade(&exec);
        exec
    }

    /// Ends the command, and whatever is left of its group, if the stream was not completed: when this
    /// returns it runs no more and will not start. What has succeeded is left alone.
    pub fn end(&self) {
        let mut state = locked(&self.state);
        let State::Running(running) = &*state else { return *state = State::Over };
        let running = running.clone();
        drop(state);
        running.end();
    }

    fn kill(&self) {
        let mut state = locked(&self.state);
        match &*state {
            State::Running(running) => running.signal(SIGKILL),
            State::Waiting | State::Over => *state = State::Over,
        }
    }

    /// The running command; starts it if it was not. The thread that does lives for as long as the command.
    fn running(&self) -> Result<Arc<Running>, String> {
        let mut state = locked(&self.state);
        match &*state {
            State::Running(running) => Ok(running.clone()),
            State::Over => Err(format!("{} was ended before it began", shown(&self.command))),
            State::Waiting => {
                let running = Arc::new(self.start().map_err(|e| {
                    *state = State::Over;
                    format!("cannot run {}: {}", shown(&self.command), reason(&e))
                })?);
                *state = State::Running(running.clone());
                let waiter = running.clone();
                let spawned = crate::run::spawn("command", move || waiter.await_exit());
                spawned.map_err(|e| format!("cannot start a thread: {e}"))?;
                Ok(running)
            }
        }
    }

    fn start(&self) -> io::Result<Running> {
        let (exited, mut command) = (Bell::new()?, Command::new("sh"));
        command.arg("-c").arg(&self.command).process_group(0);
        command.stdin(match self.takes {
            true => Stdio::piped(),
            // in a group of its own it would be stopped if it read from the terminal
            false if rustix::termios::isatty(io::stdin()) => Stdio::null(),
            false => Stdio::inherit(),
        });
        if self.gives {
            command.stdout(Stdio::piped());
        }
        die_with_parent(&mut command);
        heed_children();
        let mut child = command.spawn()?;
        let stdin = child.stdin.take().map(|pipe| File::from(OwnedFd::from(pipe)));
        let stdout = child.stdout.take().map(|pipe| File::from(OwnedFd::from(pipe)));
        let running = Running {
            name: shown(&self.command),
            leader: Mutex::new(Some(child)),
            exit: OnceLock::new(),
            exited,
            stdin: Mutex::new(None),
            stdout: Mutex::new(None),
            hold: Mutex::new(None),
            ending: Mutex::new(()),
        };
        if let Err(error) = running.keep(stdin, stdout) {
            running.signal(SIGKILL);
            return Err(error);
        }
        Ok(running)
    }
}

impl Drop for Exec {
    fn drop(&mut self) {
        self.end();
    }
}

impl Running {
    /// Our ends of its pipes: large, and never waited for but in a poll.
    fn keep(&self, stdin: Option<File>, stdout: Option<File>) -> io::Result<()> {
        for pipe in stdin.iter().chain(&stdout) {
            grow(pipe);
            fcntl_setfl(pipe, fcntl_getfl(pipe)? | OFlags::NONBLOCK)?;
        }
        let held = stdin.as_ref().or(stdout.as_ref());
        *locked(&self.hold) = held.map(|pipe| pipe.as_fd().try_clone_to_owned()).transpose()?;
        *locked(&self.stdin) = stdin;
        *locked(&self.stdout) = stdout;
        Ok(())
    }

    /// The thread that knows of its end first.
    fn await_exit(&self) {
        let Some(pid) = locked(&self.leader).as_ref().map(Child::id) else { return };
        // it fails only if somebody else has reaped our child, and then nothing good is known
        let exit = await_exit(pid).unwrap_or(Exit::Status(-1));
        let _ = self.exit.set(exit);
        self.exited.ring();
    }

    fn exit(&self) -> Option<Exit> {
        self.exit.get().copied()
    }

    fn has_succeeded(&self) -> bool {
        self.exit() == Some(Exit::Status(0))
    }

    /// Waits for its exit, as long as it takes or until the time is up.
    fn wait(&self, timeout: Option<Duration>) -> Option<Exit> {
        // if polling fails nothing is known, as if the time were up
        let _ = wait(&[Interest::read(&self.exited)], timeout);
        self.exit()
    }

    /// To its whole group, while it is its.
    fn signal(&self, signo: i32) {
        if let Some(leader) = &*locked(&self.leader) {
            // nobody left to hear it is as good
            let _ = kill_group(leader.id(), signo);
        }
    }

    /// What became of it, as a failure.
    fn sentence(&self) -> String {
        match self.exit() {
            Some(Exit::Status(0)) => format!("{} exited 0 without taking the whole stream", self.name),
            Some(Exit::Status(status)) => format!("{} exited {status}", self.name),
            Some(Exit::Signal(signo)) => match signal_name(signo) {
                Some(name) => format!("{} was killed by {name}", self.name),
                None => format!("{} was killed by signal {signo}", self.name),
            },
            None => format!("{} closed its stdin before the end of the stream", self.name),
        }
    }

    /// Waits until it has exited, for what that is worth.
    fn verdict(&self) -> Result<(), String> {
        self.wait(None);
        if !self.has_succeeded() {
            return Err(self.sentence());
        }
        self.reap();
        Ok(())
    }

    fn end(&self) {
        let _turn = locked(&self.ending);
        if locked(&self.leader).is_none() {
            return;
        }
        self.signal(SIGTERM);
        // one that is stopped ends as well
        self.signal(SIGCONT);
        self.await_end(TERM_GRACE);
        self.signal(SIGKILL);
        self.await_end(KILL_GRACE);
        self.reap();
    }

    /// Waits until it has exited and nobody has the other end of its pipe, so that the whole pipeline has
    /// gone; or until the time is up.
    fn await_end(&self, time: Duration) {
        let end = Instant::now() + time;
        let left = || Some(end.saturating_duration_since(Instant::now()));
        self.wait(left());
        if let Some(hold) = &*locked(&self.hold) {
            // if polling fails the time is up
            let _ = wait(&[Interest::end(hold)], left());
        }
    }

    /// Its number is free from now on, and its stdin closed.
    fn reap(&self) {
        if self.exit().is_some()
            && let Some(mut leader) = locked(&self.leader).take()
        {
            // it has exited, so this neither waits nor fails
            let _ = leader.wait();
        }
        locked(&self.hold).take();
    }
}

/// The stream goes to a command's stdin.
#[derive(Debug)]
pub struct CommandSink {
    exec: Arc<Exec>,
    /// Once started; its pipe is there until the end of the stream.
    running: Option<(Arc<Running>, File)>,
    /// Since when it takes no more, although everything was taken so far.
    orphaned: Option<Instant>,
}

impl CommandSink {
    /// The stdin of a command that takes.
    pub fn new(exec: Arc<Exec>) -> Self {
        CommandSink { exec, running: None, orphaned: None }
    }

    fn start(&mut self) -> Result<(Arc<Running>, &File), SinkError> {
        if self.running.is_none() {
            let running = self.exec.running().map_err(SinkError::output)?;
            let stdin = locked(&running.stdin).take();
            let stdin = stdin.ok_or_else(|| SinkError::output("the command's stdin is gone"))?;
            self.running = Some((running, stdin));
        }
        match &self.running {
            Some((running, stdin)) => Ok((running.clone(), stdin)),
            None => unreachable!("it was started just now"),
        }
    }
}

/// It takes no more; why, for which it has a moment.
fn gone(running: &Running) -> SinkError {
    running.wait(Some(EXIT_GRACE));
    SinkError::output(running.sentence())
}

fn failed(running: &Running, error: &io::Error) -> SinkError {
    SinkError::output(format!("cannot write to {}: {}", running.name, reason(error)))
}

/// Waits until it has taken what is in the pipe.
fn drained(running: &Running, stdin: &File) -> Result<(), SinkError> {
    let (mut pause, last) = DRAIN_PAUSES;
    let mut exited = None;
    loop {
        let backlog = || unread(stdin).map_err(|e| failed(running, &e));
        if running.exit().is_some_and(|exit| exit != Exit::Status(0)) {
            return Err(gone(running));
        }
        if backlog()? == 0 {
            return Ok(());
        }
        let [end] = wait(&[Interest::end(stdin)], Some(pause)).map_err(|e| failed(running, &e))?;
        if running.exit().is_some() {
            exited.get_or_insert_with(Instant::now);
        }
        // whom it left behind may take the rest, but not for ever
        let late = exited.is_some_and(|at| at.elapsed() >= END_GRACE);
        if (end.error || late) && backlog()? > 0 {
            return Err(gone(running));
        }
        pause = (pause * 2).min(last);
    }
}

impl Sink for CommandSink {
    fn write(&mut self, slices: &[IoSlice<'_>]) -> Result<usize, SinkError> {
        let orphaned = self.orphaned.is_some();
        let (running, mut stdin) = self.start()?;
        loop {
            if orphaned || running.exit().is_some() {
                return Err(gone(&running));
            }
            match stdin.write_vectored(slices) {
                Ok(0) => return Err(gone(&running)),
                Ok(n) => return Ok(n),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    wait(&[Interest::write(stdin), Interest::read(&running.exited)], None)
                        .map_err(|e| failed(&running, &e))?;
                }
                Err(e) if e.kind() == ErrorKind::BrokenPipe => return Err(gone(&running)),
                Err(e) => return Err(failed(&running, &e)),
            }
        }
    }

    fn watch(&mut self, bell: &Bell) -> Result<(), SinkError> {
        let Some((running, stdin)) = &self.running else {
            let waited = wait(&[Interest::read(bell)], None);
            return waited.map(drop).map_err(|e| SinkError::output(format!("cannot wait: {e}")));
        };
        loop {
            let left = self.orphaned.map(|since| END_GRACE.saturating_sub(since.elapsed()));
            let (bell, exited) = (Interest::read(bell), Interest::read(&running.exited));
            let events = match (left, running.exit()) {
                (None, _) => wait(&[bell, exited, Interest::end(stdin)], None),
                (Some(left), None) => wait(&[bell, exited], Some(left)).map(|[b, e]| [b, e, b]),
                (Some(left), Some(_)) => wait(&[bell], Some(left)).map(|[b]| [b; 3]),
            };
            let [rung, ..] = events.map_err(|e| failed(running, &e))?;
            let lost = unread(stdin).map_err(|e| failed(running, &e))? > 0;
            match running.exit() {
                Some(Exit::Status(0)) if !lost => {}
                Some(_) => return Err(gone(running)),
                None if rung.any() => return Ok(()),
                None if self.orphaned.is_none() && lost => return Err(gone(running)),
                None => {}
            }
            match self.orphaned {
                _ if rung.any() => return Ok(()),
                None => self.orphaned = Some(Instant::now()),
                Some(since) if since.elapsed() >= END_GRACE => return Err(gone(running)),
                Some(_) => {}
            }
        }
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        let (running, stdin) = self.start()?;
        drained(&running, stdin)?;
        self.running = None;
        locked(&running.hold).take();
        running.verdict().map_err(SinkError::output)
    }
}

impl Drop for CommandSink {
    fn drop(&mut self) {
        self.exec.end();
    }
}

/// The stream comes from a command's stdout.
#[derive(Debug)]
pub struct CommandSource {
    exec: Arc<Exec>,
    /// Once started.
    running: Option<(Arc<Running>, File)>,
}

impl CommandSource {
    /// The stdout of a command that gives.
    pub fn new(exec: Arc<Exec>) -> Self {
        CommandSource { exec, running: None }
    }

    fn start(&mut self) -> Result<(Arc<Running>, &File), String> {
        if self.running.is_none() {
            let running = self.exec.running()?;
            let stdout = locked(&running.stdout).take();
            self.running = Some((running, stdout.ok_or("the command's stdout is gone")?));
        }
        match &self.running {
            Some((running, stdout)) => Ok((running.clone(), stdout)),
            None => unreachable!("it was started just now"),
        }
    }
}

fn unreadable(running: &Running, error: &io::Error) -> String {
    format!("cannot read from {}: {}", running.name, reason(error))
}

impl Source for CommandSource {
    fn read(&mut self, space: &mut [u8]) -> Result<usize, String> {
        let (running, mut stdout) = self.start()?;
        loop {
            match stdout.read(space) {
                Ok(n) => return Ok(n),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    let input = Interest::read(stdout);
                    let waited = match running.exit() {
                        None => wait(&[input, Interest::read(&running.exited)], None).map(drop),
                        // whom it left behind still has its stdout
                        Some(Exit::Status(0)) => wait(&[input], None).map(drop),
                        Some(_) => return Err(running.sentence()),
                    };
                    waited.map_err(|e| unreadable(&running, &e))?;
                }
                Err(e) => return Err(unreadable(&running, &e)),
            }
        }
    }

    fn wait(&self, bell: Option<&Bell>, timeout: Option<Duration>) -> Result<Waited, String> {
        let Some((running, stdout)) = &self.running else { return Ok(Waited::Input) };
        let input = Interest::read(stdout);
        let ready = match bell {
            Some(bell) => wait(&[input, Interest::read(bell)], timeout),
            None => wait(&[input], timeout).map(|[input]| [input, Default::default()]),
        };
        let [input, rung] = ready.map_err(|e| unreadable(running, &e))?;
        Ok(if input.any() {
            Waited::Input
        } else if rung.any() {
            Waited::Rung
        } else {
            Waited::Nothing
        })
    }

    fn finish(&mut self) -> Result<(), String> {
        let (running, _) = self.start()?;
        running.verdict()
    }

    fn follows_a_welcome(&self) -> bool {
        true
    }
}

impl Drop for CommandSource {
    fn drop(&mut self) {
        self.exec.end();
    }
}

/// As messages name it.
fn shown(command: &str) -> String {
    let mut text: String = command.chars().take(SHOWN).collect();
    if text.len() < command.len() {
        text.push('…');
    }
    format!("exec \"{text}\"")
}

/// A thread that panicked ends the process, so what it had locked is as good as any.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
