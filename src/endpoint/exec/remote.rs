//! A command that runs for somebody at another host, with the semantics of ssh: its own end is the result of the whole,
//! whatever it has read, and its stderr is passed on.
//!
//! What always holds: when the input ends, so does the command's stdin, and nothing else happens to the command. A
//! command that closes its stdin goes on; what is sent to it goes nowhere, and the sender is told to stop. A command that
//! has ended takes nothing, even if a process that it left behind would. When nobody wants its output any more, writing
//! there fails, as behind any pipe.

use super::command::Exec;
use super::running::Running;
use super::stderr::{Passing, QUIET};
use crate::endpoint::{Sink, SinkError, Source, WokenBy};
use crate::error::{cannot_start_thread, reason};
use crate::proto::outcome::CommandEnd;
use crate::sync::Unpoisoned;
use crate::sys::bell::Bell;
use crate::sys::child::Exit;
use crate::sys::pipe::{Interest, wait};
use crate::sys::thread::spawn;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// A stderr that takes nothing holds the command up for so long, once: its ssh may be dead without a word, or whoever reads
/// it at the near end has stopped.
const HELD_UP: Duration = Duration::from_secs(60);

/// The command, and what its sink and its source share.
#[derive(Debug)]
pub(crate) struct Remote {
    exec: Arc<Exec>,
    /// Rung once its exit is known, and never cleared.
    exited: Bell,
    /// Its stdout, until nobody wants it.
    stdout: Mutex<Option<Arc<File>>>,
    /// Rung when nobody wants its stdout any more, and never cleared.
    unwanted: Bell,
    running: OnceLock<Result<Arc<Running>, String>>,
    /// Bytes of its stderr for which there was nobody any more.
    lost: AtomicU64,
    /// Rung when nothing more of its stderr is expected, or there is nobody to pass it on to.
    told: Bell,
}

impl Remote {
    /// A command that starts when its input or output is wanted first, run by this shell.
    ///
    /// # Errors
    /// The kernel has no descriptors left.
    pub(crate) fn new(shell: OsString, command: OsString) -> io::Result<Arc<Self>> {
        let exited = Bell::new()?;
        Ok(Arc::new(Remote {
            exec: Exec::remote(shell, command, exited.clone()),
            exited,
            stdout: Mutex::new(None),
            unwanted: Bell::new()?,
            running: OnceLock::new(),
            lost: AtomicU64::new(0),
            told: Bell::new()?,
        }))
    }

    fn running(self: &Arc<Self>) -> Result<Arc<Running>, String> {
        let started = self.running.get_or_init(|| {
            let running = self.exec.running()?;
            *self.stdout.lock().unpoisoned() = running.stdout.lock().unpoisoned().take().map(Arc::new);
            if let Some(stderr) = running.stderr.lock().unpoisoned().take() {
                let remote = self.clone();
                let spawned = spawn("stderr", move || remote.pass_on(stderr));
                spawned.map_err(|e| cannot_start_thread(&e))?;
            }
            Ok(running)
        });
        started.clone()
    }

    /// Nobody wants its output any more: its stdout is closed.
    pub(crate) fn unwanted(&self) {
        self.unwanted.ring();
        self.stdout.lock().unpoisoned().take();
    }

    /// Ends the command and its group, unless it has ended by itself.
    pub(crate) fn end(&self) {
        self.exec.end();
    }

    /// Waits until its stderr was passed on, or there is nobody any more to pass it on to. Processes that the command left
    /// behind are not waited for once they have written nothing for [`QUIET`]. Returns at once if the command never started.
    pub(crate) fn await_stderr(&self) {
        if self.running.get().is_some_and(Result::is_ok) {
            // if waiting fails there is nothing to wait for
            let _ = wait(&[Interest::read(&self.told)], None);
        }
    }

    /// Bytes of its stderr for which there was nobody any more.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Its stderr goes to ours for as long as somebody reads that; then it is read all the same, so that the command
    /// goes on.
    fn pass_on(&self, from: File) {
        let (lost, exited, told) = (&self.lost, &self.exited, &self.told);
        let passing = Passing { patience: HELD_UP, lost, exited, quiet: QUIET, told };
        passing.pass_on(from, &io::stderr());
    }
}

/// The stream goes to the command's stdin.
#[derive(Debug)]
pub(crate) struct RemoteSink {
    remote: Arc<Remote>,
    /// Once started; without the pipe when the command has closed its end.
    running: Option<(Arc<Running>, Option<File>)>,
    ended: Option<CommandEnd>,
}

impl RemoteSink {
    /// The stdin of this command.
    pub(crate) fn new(remote: Arc<Remote>) -> Self {
        RemoteSink { remote, running: None, ended: None }
    }

    fn start(&mut self) -> Result<(Arc<Running>, &mut Option<File>), SinkError> {
        if self.running.is_none() {
            let running = self.remote.running().map_err(SinkError::output)?;
            let stdin = running.stdin.lock().unpoisoned().take();
            self.running = Some((running, stdin));
        }
        match &mut self.running {
            Some((running, stdin)) => Ok((running.clone(), stdin)),
            None => unreachable!("it was started just now"),
        }
    }

    /// The command has ended: that is the result.
    fn over(&mut self, running: &Running) -> SinkError {
        self.ended = running.exit().map(|exit| match exit {
            // what a process leaves is 8 bits of it, and a signal's number is less than 128
            Exit::Status(status) => CommandEnd::Exit(status as u8),
            Exit::Signal(signal) => CommandEnd::Signal(signal as u8),
        });
        running.reap();
        SinkError::output(running.sentence())
    }
}

fn cannot_wait(error: &io::Error) -> SinkError {
    SinkError::output(format!("cannot wait for the command: {}", reason(error)))
}

impl Sink for RemoteSink {
    fn write(&mut self, slices: &[IoSlice<'_>]) -> Result<usize, SinkError> {
        let (running, stdin) = self.start()?;
        loop {
            if running.exit().is_some() {
                return Err(self.over(&running));
            }
            let exited = Interest::read(&running.exited);
            let Some(pipe) = stdin else { return Ok(slices.iter().map(|slice| slice.len()).sum()) };
            match (&*pipe).write_vectored(slices) {
                Ok(n) => return Ok(n),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    wait(&[Interest::write(pipe), exited], None).map_err(|e| cannot_wait(&e))?;
                }
                Err(_) => *stdin = None,
            }
        }
    }

    fn watch(&mut self, bell: &Bell) -> Result<(), SinkError> {
        let waits = [Interest::read(bell), Interest::read(&self.remote.exited)];
        let [_, exited] = wait(&waits, None).map_err(|e| cannot_wait(&e))?;
        match exited.any() {
            true => {
                let (running, _) = self.start()?;
                Err(self.over(&running))
            }
            false => Ok(()),
        }
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        let (running, stdin) = self.start()?;
        *stdin = None;
        running.close_stdin();
        running.wait(None);
        self.over(&running);
        Ok(())
    }

    fn has_enough(&self) -> bool {
        matches!(self.running, Some((_, None)))
    }

    fn ended_as(&self) -> Option<(CommandEnd, String)> {
        let lost = match self.remote.lost() {
            0 => String::new(),
            lost => format!("{lost} bytes of the command's stderr are lost: ssh took no more"),
        };
        self.ended.map(|end| (end, lost))
    }
}

/// The stream comes from the command's stdout.
#[derive(Debug)]
pub(crate) struct RemoteSource {
    remote: Arc<Remote>,
}

impl RemoteSource {
    /// The stdout of this command.
    pub(crate) fn new(remote: Arc<Remote>) -> Self {
        RemoteSource { remote }
    }

    /// Its stdout, if anybody wants that.
    fn stdout(&self) -> Result<Option<Arc<File>>, String> {
        self.remote.running()?;
        Ok(self.remote.stdout.lock().unpoisoned().clone())
    }
}

fn unreadable(error: &io::Error) -> String {
    format!("cannot read from the command: {}", reason(error))
}

impl Source for RemoteSource {
    fn read(&mut self, space: &mut [u8]) -> Result<usize, String> {
        loop {
            let Some(stdout) = self.stdout()? else { return Ok(0) };
            match (&*stdout).read(space) {
                Ok(n) => return Ok(n),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    let waits = [Interest::read(&*stdout), Interest::read(&self.remote.unwanted)];
                    wait(&waits, None).map_err(|e| unreadable(&e))?;
                }
                Err(e) => return Err(unreadable(&e)),
            }
        }
    }

    fn wait(&self, bell: Option<&Bell>, timeout: Option<Duration>) -> Result<WokenBy, String> {
        let Some(stdout) = self.stdout()? else { return Ok(WokenBy::Input) };
        let unwanted = Interest::read(&self.remote.unwanted);
        let rings = Interest::read(bell.unwrap_or(&self.remote.unwanted));
        let [input, unwanted, rung] =
            wait(&[Interest::read(&*stdout), unwanted, rings], timeout).map_err(|e| unreadable(&e))?;
        Ok(if input.any() || unwanted.any() {
            WokenBy::Input
        } else if rung.any() {
            WokenBy::Bell
        } else {
            WokenBy::Timeout
        })
    }

    fn finish(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn follows_a_welcome(&self) -> bool {
        true
    }
}
