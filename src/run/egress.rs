//! The receiving side's last step: writes legs in order to the sink, and says when they are taken.
//!
//! The only thread that may wait for the sink. Watches it while idle, so that a reader that goes away is
//! noticed without anything to write. After the last leg it closes the sink and reports that only when what
//! was written has been taken: read from the pipe, or on the disk.

use crate::proto::leg::Leg;
use crate::run::endpoint::{Sink, SinkError};
use crate::sys::event::Bell;
use crossbeam_channel::{Receiver, Sender};
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Legs that go out in one call, at most.
const BATCH: usize = 64;

/// What the hub wants.
pub enum Command {
    /// Write a leg; it is the next one.
    Write(Leg),
    /// That was all: close the sink.
    Close,
}

/// What the output reports.
#[derive(Debug)]
pub enum Report {
    /// So many legs and bytes were taken.
    Delivered(u64, u64),
    /// The sink is closed, and everything was taken.
    Closed,
    /// The sink takes no more.
    Failed(SinkError),
}

/// For how long the output has been blocked: shared with those who tell the sender.
#[derive(Debug)]
pub struct Blocked {
    origin: Instant,
    /// Nanoseconds after `origin` at which the current write began; 0: none is under way.
    since: AtomicU64,
    /// Nanoseconds of all writes that have ended.
    total: AtomicU64,
}

impl Default for Blocked {
    fn default() -> Self {
        Blocked { origin: Instant::now(), since: AtomicU64::new(0), total: AtomicU64::new(0) }
    }
}

impl Blocked {
    /// How long the current write has waited, as of `now`; zero if none is under way.
    pub fn for_how_long(&self, now: Instant) -> Duration {
        match self.since.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => now.saturating_duration_since(self.origin).saturating_sub(Duration::from_nanos(since)),
        }
    }

    /// Time spent in writes, in all.
    pub fn total(&self, now: Instant) -> Duration {
        Duration::from_nanos(self.total.load(Ordering::Relaxed)) + self.for_how_long(now)
    }

    fn begin(&self) {
        let since = self.origin.elapsed().as_nanos() as u64;
        self.since.store(since.max(1), Ordering::Relaxed);
    }

    fn end(&self) {
        let since = self.since.swap(0, Ordering::Relaxed);
        let spent = (self.origin.elapsed().as_nanos() as u64).saturating_sub(since);
        self.total.fetch_add(spent, Ordering::Relaxed);
    }
}

/// The hub's handle on the output.
pub struct Handle {
    commands: Sender<Command>,
    bell: Bell,
    asleep: Arc<AtomicBool>,
}

impl Handle {
    /// Gives the output something to do, and wakes it if it sleeps.
    pub fn command(&self, command: Command) {
        // fails only when the thread has reported failure and ended
        let _ = self.commands.send(command);
        if self.asleep.swap(false, Ordering::SeqCst) {
            self.bell.ring();
        }
    }
}

/// The thread's state.
pub struct Egress<F: Fn(Report)> {
    sink: Box<dyn Sink>,
    commands: Receiver<Command>,
    bell: Bell,
    asleep: Arc<AtomicBool>,
    blocked: Arc<Blocked>,
    report: F,
}

impl<F: Fn(Report)> Egress<F> {
    /// An output to `sink`, and the handle on it.
    ///
    /// # Errors
    /// The kernel has no descriptors left.
    pub fn new(sink: Box<dyn Sink>, blocked: Arc<Blocked>, report: F) -> std::io::Result<(Self, Handle)> {
        let (sender, commands) = crossbeam_channel::unbounded();
        let (bell, asleep) = (Bell::new()?, Arc::new(AtomicBool::new(false)));
        let handle = Handle { commands: sender, bell: bell.clone(), asleep: asleep.clone() };
        Ok((Egress { sink, commands, bell, asleep, blocked, report }, handle))
    }

    /// Works until the stream is delivered, the sink fails or the hub is gone.
    pub fn run(mut self) {
        match self.deliver() {
            Ok(true) => match self.sink.finish() {
                Ok(()) => (self.report)(Report::Closed),
                Err(error) => (self.report)(Report::Failed(error)),
            },
            Ok(false) => {}
            Err(error) => (self.report)(Report::Failed(error)),
        }
    }

    /// True at the end of the stream; false if the hub is gone.
    fn deliver(&mut self) -> Result<bool, SinkError> {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let (mut closing, mut verified) = (false, Ok(()));
            while batch.len() < BATCH && verified.is_ok() {
                match self.commands.try_recv() {
                    Ok(Command::Write(leg)) => {
                        verified = self.sink.verify(&leg);
                        batch.extend(verified.is_ok().then_some(leg));
                    }
                    Ok(Command::Close) => {
                        closing = true;
                        break;
                    }
                    Err(crossbeam_channel::TryRecvError::Empty) => break,
                    Err(crossbeam_channel::TryRecvError::Disconnected) => return Ok(false),
                }
            }
            self.write(&mut batch)?;
            verified?;
            if closing {
                return Ok(true);
            }
            self.rest()?;
        }
    }

    /// Writes all of the batch, reporting legs as they are taken.
    fn write(&mut self, batch: &mut Vec<Leg>) -> Result<(), SinkError> {
        // bytes of the first leg that were taken
        let mut into = 0;
        let mut done = 0;
        while done < batch.len() {
            let slices: Vec<IoSlice<'_>> = batch[done..]
                .iter()
                .enumerate()
                .map(|(i, leg)| IoSlice::new(if i == 0 { &leg.bytes()[into..] } else { leg.bytes() }))
                .collect();
            self.blocked.begin();
            let wrote = self.sink.write(&slices);
            self.blocked.end();
            into += wrote?;
            let (mut legs, mut bytes) = (0, 0);
            while done < batch.len() && into >= batch[done].bytes().len() {
                let len = batch[done].bytes().len();
                (into, legs, bytes, done) = (into - len, legs + 1, bytes + len as u64, done + 1);
            }
            if done == batch.len() {
                // the memory first: the sender may send more as soon as it hears of it
                batch.clear();
            }
            if legs > 0 {
                (self.report)(Report::Delivered(legs, bytes));
            }
            if batch.is_empty() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Waits for the next command, with an eye on the sink.
    fn rest(&mut self) -> Result<(), SinkError> {
        self.asleep.store(true, Ordering::SeqCst);
        if !self.commands.is_empty() {
            self.asleep.store(false, Ordering::SeqCst);
            return Ok(());
        }
        let watched = self.sink.watch(&self.bell);
        self.asleep.store(false, Ordering::SeqCst);
        self.bell.clear();
        watched
    }
}
