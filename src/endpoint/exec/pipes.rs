//! The two ends of a command: the stream goes to its stdin, or comes from its stdout.
//!
//! Either starts the command when it first needs it, and ends it when it is dropped before its time.

use super::command::Exec;
use super::running::Running;
use crate::endpoint::{DRAIN_PAUSES, END_GRACE, Sink, SinkError, Source, WokenBy, wait_for};
use crate::error::reason;
use crate::sync::Unpoisoned;
use crate::sys::bell::Bell;
use crate::sys::child::Exit;
use crate::sys::pipe::{Interest, unread, wait};
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a command that has closed its stdin has to exit: its exit status says why it took no more.
const EXIT_GRACE: Duration = Duration::from_secs(1);

/// The stream goes to a command's stdin.
#[derive(Debug)]
pub(crate) struct CommandSink {
    exec: Arc<Exec>,
    /// Once started; its pipe is there until the end of the stream.
    running: Option<(Arc<Running>, File)>,
    /// Since when the command takes no more, if it has taken everything so far.
    orphaned: Option<Instant>,
}

impl CommandSink {
    /// The stdin of a command that takes.
    pub(crate) fn new(exec: Arc<Exec>) -> Self {
        CommandSink { exec, running: None, orphaned: None }
    }

    fn start(&mut self) -> Result<(Arc<Running>, &File), SinkError> {
        if self.running.is_none() {
            let running = self.exec.running().map_err(SinkError::output)?;
            let stdin = running.stdin.lock().unpoisoned().take();
            let stdin = stdin.ok_or_else(|| SinkError::output("the command's stdin is gone"))?;
            self.running = Some((running, stdin));
        }
        match &self.running {
            Some((running, stdin)) => Ok((running.clone(), stdin)),
            None => unreachable!("it was started just now"),
        }
    }
}

/// Why the command takes no more. Waits a moment for its exit status, which says more.
fn gone(running: &Running) -> SinkError {
    running.wait(Some(EXIT_GRACE));
    SinkError::output(running.sentence())
}

fn failed(running: &Running, error: &io::Error) -> SinkError {
    SinkError::output(format!("cannot write to {}: {}", running.name, reason(error)))
}

/// Waits until the command has taken what is in the pipe.
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
        // a process that the command left behind may take the rest, but not for ever
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
        if self.exec.gives() {
            running.close_stdin();
        } else {
            running.let_go_of_stdin();
        }
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
pub(crate) struct CommandSource {
    exec: Arc<Exec>,
    /// Once started.
    running: Option<(Arc<Running>, File)>,
}

impl CommandSource {
    /// The stdout of a command that gives.
    pub(crate) fn new(exec: Arc<Exec>) -> Self {
        CommandSource { exec, running: None }
    }

    fn start(&mut self) -> Result<(Arc<Running>, &File), String> {
        if self.running.is_none() {
            let running = self.exec.running()?;
            let stdout = running.stdout.lock().unpoisoned().take();
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
                        // a process that the command left behind still has its stdout
                        Some(Exit::Status(0)) => wait(&[input], None).map(drop),
                        Some(_) => return Err(running.sentence()),
                    };
                    waited.map_err(|e| unreadable(&running, &e))?;
                }
                Err(e) => return Err(unreadable(&running, &e)),
            }
        }
    }

    fn wait(&self, bell: Option<&Bell>, timeout: Option<Duration>) -> Result<WokenBy, String> {
        let Some((running, stdout)) = &self.running else { return Ok(WokenBy::Input) };
        wait_for(stdout, bell, timeout).map_err(|e| unreadable(running, &e))
    }

    fn finish(&mut self) -> Result<(), String> {
        let (running, _) = self.start()?;
        running.verdict()
    }

    fn cut_off(&mut self) -> Result<(), String> {
        let (running, _) = self.start()?;
        self.running = None;
        running.let_go_of_stdout();
        running.verdict_when_cut_off()
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
