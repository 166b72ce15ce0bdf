//! The sending side's first step: reads the input and cuts it into legs.
//!
//! The only thread that waits for the input. Memory bounds how far it reads ahead. A leg goes when it is
//! full or when the input pauses; in charmode when a connection waits for it.

use crate::proto::leg::Payload;
use crate::run::endpoint::{Source, Waited};
use crate::run::pool::{Buffer, Pool};
use crate::run::signals;
use crate::sys::event::Bell;
use crate::sys::pipe::{Interest, wait};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Input that pauses for so long sends what it has.
const PAUSE: Duration = Duration::from_millis(100);

/// What the input reports.
pub enum Report {
    /// The next leg's bytes; never empty.
    Leg(Payload),
    /// That was all.
    End,
    /// It cannot be read; why, for the user.
    Failed(String),
}

/// What the hub tells the input, without waiting for it.
#[derive(Clone)]
pub struct Appetite {
    size: Arc<AtomicUsize>,
    hungry: Arc<AtomicBool>,
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
            hungry: Arc::new(AtomicBool::new(false)),
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

    /// A connection waits, and there is nothing for it.
    pub fn set_hungry(&self) {
        if !self.hungry.swap(true, Ordering::AcqRel) {
            self.bell.ring();
        }
    }

    fn is_hungry(&self) -> bool {
        self.hungry.load(Ordering::Acquire)
    }

    /// Whoever was hungry has been fed.
    fn feed(&self) {
        self.bell.clear();
        self.hungry.store(false, Ordering::Release);
    }
}

/// The thread's state.
pub struct Ingest<F: Fn(Report)> {
    /// Where the stream comes from.
    pub source: Box<dyn Source>,
    /// Where legs live until they are received.
    pub pool: Pool,
    /// What the hub wants.
    pub appetite: Appetite,
    /// Whether whatever was read goes as soon as a connection is free.
    pub charmode: bool,
    /// The hub's ear.
    pub report: F,
}

impl<F: Fn(Report)> Ingest<F> {
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
            let size = self.appetite.size.load(Ordering::Relaxed);
            let Some(mut buffer) = self.pool.take(size) else { return Ok(false) };
            let (filled, ended) = self.fill(&mut buffer)?;
            if filled > 0 {
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
        // what is read while no connection is free joins this leg
        while !self.appetite.is_hungry() {
            self.appetite.bell.clear();
            if !self.appetite.is_hungry()
                && self.source.wait(Some(&self.appetite.bell), None)? == Waited::Input
            {
                return Ok(true);
            }
        }
        self.appetite.feed();
        Ok(false)
    }
}
