//! The sending side's first step: reads the input and cuts it into legs.
//!
//! The only thread that waits for the input. Memory bounds how far it reads ahead. A leg goes when it is
//! full or when the input pauses; in charmode at once, unless others are on their way: then whatever is read
//! within a millisecond of the one before joins one leg, so that a flood of single bytes is not one leg each.

use super::connection::SessionDesk;
use super::meters::{InputWait, InputWaits};
use super::orders::Hunger;
use super::pool::{Buffer, Pool};
use crate::endpoint::{Source, Waited};
use crate::proto::pacing::{Pacing, Step};
use crate::sys::event::Bell;
use crate::sys::pipe::{Interest, wait};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Input that pauses for so long sends what it has.
const PAUSE: Duration = Duration::from_millis(100);

/// In charmode, while legs are on their way: the least time between two. Short enough for nobody to notice;
/// long enough that the fastest typist of single bytes costs no more than a thousand legs a second.
const JOIN: Duration = Duration::from_millis(1);

/// How a reading ends.
enum End {
    /// The input has ended.
    Whole,
    /// Nobody wants any more, or this process is asked to end.
    Unwanted,
    /// It cannot be read; why, for the user.
    Failed(String),
}

impl From<String> for End {
    fn from(why: String) -> Self {
        End::Failed(why)
    }
}

/// The thread's state.
pub struct Ingest {
    /// The session.
    pub desk: Arc<SessionDesk>,
    /// Where the stream comes from.
    pub source: Box<dyn Source>,
    /// Where legs live until they are received.
    pub pool: Pool,
    /// Rung when what was asked at the desk is the case.
    pub bell: Bell,
    /// How far and how fast it may be read.
    pub pacing: Pacing,
    /// Whether whatever was read goes as soon as a connection is free.
    pub charmode: bool,
    /// What it waits for, for whoever wants to know where the time goes.
    pub waits: InputWaits,
    /// Whether this process was asked to end: whoever does that may have ended the producer too, and then the end of
    /// the input is no end of the stream.
    pub is_asked_to_end: fn() -> bool,
}

impl Ingest {
    /// Reads until the end of the input, or until the session is over.
    pub fn run(mut self) {
        match self.read_all() {
            End::Whole => self.desk.tell(|core, now| core.session.input_ended(now)),
            End::Unwanted => {}
            End::Failed(why) => self.desk.tell(|core, now| core.session.input_failed(now, &why)),
        }
    }

    fn read_all(&mut self) -> End {
        let mut sent_at = None;
        let begun = if self.source.follows_a_welcome() { self.await_welcome() } else { Ok(()) };
        let mut step = begun;
        loop {
            match step {
                Ok(()) => step = self.read_leg(&mut sent_at),
                Err(End::Whole) => break,
                Err(end) => return end,
            }
        }
        match self.source.finish() {
            Ok(()) if (self.is_asked_to_end)() => End::Unwanted,
            Ok(()) => End::Whole,
            Err(why) => End::Failed(why),
        }
    }

    /// Reads and cuts one leg; an end comes as an error.
    fn read_leg(&mut self, sent_at: &mut Option<Instant>) -> Result<(), End> {
        let room = match self.pacing.step(Instant::now()) {
            Step::Read(room) => room,
            Step::Wait(until) => {
                self.waits.set(InputWait::Pace);
                thread::sleep(until.saturating_duration_since(Instant::now()));
                return Ok(());
            }
            Step::End => return Err(End::Whole),
        };
        if self.pacing.has_rate() {
            self.await_hunger()?;
        }
        let (size, read_ahead) = self.desk.peek(|core| core.appetite());
        self.pool.widen(read_ahead);
        self.waits.set(InputWait::Memory);
        let mut buffer = self.pool.take(size.min(room)).ok_or(End::Unwanted)?;
        self.waits.set(InputWait::Source);
        let (filled, ended) = self.fill(&mut buffer, *sent_at)?;
        if filled > 0 {
            let now = Instant::now();
            self.pacing.took(now, filled);
            *sent_at = Some(now);
            let leg = Arc::new(self.pool.shrink(buffer, filled));
            self.desk.tell(|core, now| core.session.input(now, leg));
        }
        if ended { Err(End::Whole) } else { Ok(()) }
    }

    fn await_welcome(&self) -> Result<(), End> {
        loop {
            self.bell.clear();
            if self.desk.has_met().ok_or(End::Unwanted)? {
                return Ok(());
            }
            self.await_bell()?;
        }
    }

    /// Waits until all that was read has left: what is paced here must not gather in the buffer while the
    /// network is slow or away, or it would all be sent at once when it is back.
    fn await_hunger(&self) -> Result<(), End> {
        loop {
            self.bell.clear();
            if self.desk.hunger().ok_or(End::Unwanted)? > Hunger::None {
                return Ok(());
            }
            self.await_bell()?;
        }
    }

    fn await_bell(&self) -> Result<(), String> {
        wait(&[Interest::read(&self.bell)], None).map(drop).map_err(|e| format!("cannot wait: {e}"))
    }

    /// Reads one leg; how many bytes, and whether the input has ended.
    fn fill(&mut self, buffer: &mut Buffer, sent_at: Option<Instant>) -> Result<(usize, bool), End> {
        let mut filled = 0;
        while filled < buffer.size() {
            if filled > 0 && !self.expects_more(sent_at)? {
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
    fn expects_more(&self, sent_at: Option<Instant>) -> Result<bool, End> {
        if !self.charmode {
            return Ok(self.source.wait(None, Some(PAUSE))? == Waited::Input);
        }
        loop {
            self.bell.clear();
            let until = match self.desk.hunger().ok_or(End::Unwanted)? {
                Hunger::Idle => return Ok(false),
                Hunger::Free => Some(JOIN.saturating_sub(sent_at.map_or(JOIN, |at| at.elapsed()))),
                Hunger::None => None,
            };
            if until.is_some_and(|time| time.is_zero()) {
                return Ok(false);
            }
            if self.source.wait(Some(&self.bell), until)? == Waited::Input {
                return Ok(true);
            }
        }
    }
}
