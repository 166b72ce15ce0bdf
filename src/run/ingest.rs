//! The sending side's first step: reads the input and cuts it into legs.
//!
//! The only thread that waits for the input. Memory bounds how far it reads ahead. A leg goes when it is
//! full or when the input pauses; in charmode at once, unless others are on their way: then whatever is read
//! within a millisecond of the one before joins one leg, so that a flood of single bytes is not one leg each.

use crate::proto::leg::Payload;
use crate::proto::pacing::{Pacing, Step};
use crate::run::endpoint::{Source, Waited};
use crate::run::pool::{Buffer, Pool};
use crate::run::signals;
use crate::sys::event::Bell;
use crate::sys::pipe::{Interest, wait};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Input that pauses for so long sends what it has.
const PAUSE: Duration = Duration::from_millis(100);

/// In charmode, while legs are on their way: the least time between two. Short enough for nobody to notice;
/// long enough that the fastest typist of single bytes costs no more than a thousand legs a second.
const JOIN: Duration = Duration::from_millis(1);

/// What the input reports.
pub enum Report {
    /// The next leg's bytes; never empty.
    Leg(Payload),
    /// That was all.
    End,
    /// It cannot be read; why, for the user.
    Failed(String),
}

/// How much a leg is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hunger {
    /// No connection waits for one.
    None = 0,
    /// A connection waits, and there is nothing for it.
    Free = 1,
    /// The same, and no leg is on its way anywhere.
    Idle = 2,
}

/// What the hub tells the input, without waiting for it.
#[derive(Clone)]
pub struct Appetite {
    size: Arc<AtomicUsize>,
    /// The hunger in the lowest two bits; above them how many legs of the input the hub knew of when it was
    /// so hungry. One that did not know of the latest leg is no hunger.
    hunger: Arc<AtomicU64>,
    bell: Bell,
    /// Rung once a receiver has welcomed the session, and never cleared.
    met: Bell,
}

impl Appetite {
    /// Legs of `size` bytes are wanted.
    ///
    /// # Errors
    /// The kernel has no descriptors left.
    pub fn new(size: usize) -> std::io::Result<Self> {
        Ok(Appetite {
            size: Arc::new(AtomicUsize::new(size)),
            hunger: Arc::new(AtomicU64::new(0)),
            bell: Bell::new()?,
            met: Bell::new()?,
        })
    }

    /// A receiver has welcomed the session.
    pub fn meet(&self) {
        self.met.ring();
    }

    /// The size of the next legs, in bytes.
    pub fn set_size(&self, size: usize) {
        self.size.store(size, Ordering::Relaxed);
    }

    /// How hungry the connections are once they have had so many legs.
    pub fn set_hunger(&self, legs: u64, hunger: Hunger) {
        let word = legs << 2 | hunger as u64;
        if self.hunger.swap(word, Ordering::AcqRel) != word && hunger != Hunger::None {
            self.bell.ring();
        }
    }

    fn hunger(&self, legs: u64) -> Hunger {
        match self.hunger.load(Ordering::Acquire) {
            word if word >> 2 != legs => Hunger::None,
            word if word & 3 == Hunger::Idle as u64 => Hunger::Idle,
            word if word & 3 == Hunger::Free as u64 => Hunger::Free,
            _ => Hunger::None,
        }
    }
}

/// The thread's state.
pub struct Ingest<F: Fn(Report)> {
    /// Where the stream comes from.
    source: Box<dyn Source>,
    /// Where legs live until they are received.
    pool: Pool,
    /// What the hub wants.
    appetite: Appetite,
    /// How far and how fast it may be read.
    pacing: Pacing,
    /// Whether whatever was read goes as soon as a connection is free.
    charmode: bool,
    /// The hub's ear.
    report: F,
    /// Legs reported so far, and when the last one was.
    sent: u64,
    sent_at: Option<Instant>,
}

impl<F: Fn(Report)> Ingest<F> {
    /// Nothing read yet.
    pub fn new(
        source: Box<dyn Source>,
        pool: Pool,
        appetite: Appetite,
        pacing: Pacing,
        charmode: bool,
        report: F,
    ) -> Self {
        Ingest { source, pool, appetite, pacing, charmode, report, sent: 0, sent_at: None }
    }

    /// Reads until the end of the input, or until the session is over.
    pub fn run(mut self) {
        let report = match self.read_all() {
            Ok(true) => Report::End,
            Ok(false) => return,
            Err(why) => Report::Failed(why),
        };
        (self.report)(report);
    }

    /// True at the end of the input; false if the pool was closed or this process is asked to end.
    fn read_all(&mut self) -> Result<bool, String> {
        if self.source.follows_a_welcome() {
            wait(&[Interest::read(&self.appetite.met)], None).map_err(|e| format!("cannot wait: {e}"))?;
        }
        loop {
            let room = match self.pacing.step(Instant::now()) {
                Step::Read(room) => room,
                Step::Wait(until) => {
                    thread::sleep(until.saturating_duration_since(Instant::now()));
                    continue;
                }
                Step::End => return Ok(true),
            };
            if self.pacing.has_rate() {
                self.await_hunger()?;
            }
            let size = self.appetite.size.load(Ordering::Relaxed).min(room);
            let Some(mut buffer) = self.pool.take(size) else { return Ok(false) };
            let (filled, ended) = self.fill(&mut buffer)?;
            if filled > 0 {
                self.pacing.took(Instant::now(), filled);
                (self.sent, self.sent_at) = (self.sent + 1, Some(Instant::now()));
                let leg = self.pool.shrink(buffer, filled);
                (self.report)(Report::Leg(Arc::new(leg)));
            }
            if ended {
                self.source.finish()?;
                // whoever asks us to end may have ended the producer too, and then this is no end
                return Ok(!signals::is_asked_to_end());
            }
        }
    }

    /// Waits until all that was read has left: what is paced here must not gather in the buffer while the
    /// network is slow or away, or it would all be sent at once when it is back.
    fn await_hunger(&self) -> Result<(), String> {
        loop {
            self.appetite.bell.clear();
            if self.appetite.hunger(self.sent) > Hunger::None {
                return Ok(());
            }
            wait(&[Interest::read(&self.appetite.bell)], None).map_err(|e| format!("cannot wait: {e}"))?;
        }
    }

    /// Reads one leg; how many bytes, and whether the input has ended.
    fn fill(&mut self, buffer: &mut Buffer) -> Result<(usize, bool), String> {
        let mut filled = 0;
        while filled < buffer.size() {
            if filled > 0 && !self.expects_more()? {
                return Ok((filled, false));
            }
            match self.source.read(&mut buffer.space()[filled..])? {
                0 => return Ok((filled, true)),
                n => filled += n,
            }
        }
        Ok((filled, false))
    }

    /// With something read already: whether more should be read before it goes.
    fn expects_more(&self) -> Result<bool, String> {
        if !self.charmode {
            return Ok(self.source.wait(None, Some(PAUSE))? == Waited::Input);
        }
        loop {
            self.appetite.bell.clear();
            let until = match self.appetite.hunger(self.sent) {
                Hunger::Idle => return Ok(false),
                Hunger::Free => Some(JOIN.saturating_sub(self.sent_at.map_or(JOIN, |at| at.elapsed()))),
                Hunger::None => None,
            };
            if until.is_some_and(|time| time.is_zero()) {
                return Ok(false);
            }
            if self.source.wait(Some(&self.appetite.bell), until)? == Waited::Input {
                return Ok(true);
            }
        }
    }
}
