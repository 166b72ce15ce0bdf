//! The sending side's first step: reads the input in pieces, which the core cuts into legs when connections take them.
//!
//! One thread waits for the input. Memory bounds how far it reads ahead. A piece goes when it is full, when it is enough
//! for a connection that has nothing, or when the input pauses. In charmode it goes at once, unless others are on their
//! way: then whatever is read within a millisecond of the one before joins one leg, so that a flood of single bytes is
//! not one leg each.
//!
//! A source that never waits (a tunnel's) is read by the thread that has news of it, as long as there is nothing to
//! wait for: so a byte crosses no other thread. Reading needs the lease; a thread that does not get it wakes the
//! ingest thread.

use super::connection::SessionDesk;
use super::moving::{Mover, Moving};
use super::orders::{Core, Hunger};
use super::part::PartContent;
use super::pool::{Buffer, Pool};
use super::waits::{InputWait, InputWaits};
use crate::endpoint::{Nothing, Source, WokenBy};
use crate::proto::leg::Payload;
use crate::proto::links::HEADSTART;
use crate::proto::pacing::{Pacing, Step};
use crate::proto::session::Outbound;
use crate::sync::Unpoisoned;
use crate::sys::bell::Bell;
use crate::sys::pipe::{Interest, wait};
use rustix::param::page_size;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

/// When the input has paused for so long, the leg goes with what was read.
const PAUSE: Duration = Duration::from_millis(100);

/// In charmode, while legs are on their way: the least time between two. Short enough for nobody to notice;
/// long enough that the fastest typist of single bytes costs no more than a thousand legs a second.
const JOIN: Duration = Duration::from_millis(1);

/// How a reading ends.
enum End {
    /// The input has ended.
    Whole,
    /// The stream has all that it may have; the input may go on.
    Limit,
    /// The session is over or has enough, or this process was asked to end.
    Unwanted,
    /// The input cannot be read; why, for the user.
    Failed(String),
}

impl From<String> for End {
    fn from(why: String) -> Self {
        End::Failed(why)
    }
}

/// What ingest is made from.
pub(crate) struct Ingest {
    /// The session.
    pub(crate) desk: Arc<SessionDesk>,
    /// Where the stream comes from.
    pub(crate) source: Box<dyn Source>,
    /// Where legs live until they are received.
    pub(crate) pool: Pool,
    /// Rung when the desk has what ingest waits for, or the source has news.
    pub(crate) bell: Bell,
    /// How far and how fast it may be read.
    pub(crate) pacing: Pacing,
    /// Whether parts of files go without being read here.
    pub(crate) parts: bool,
    /// Gives pipes for pieces that go without being read here, if any do.
    pub(crate) mover: Option<Mover>,
    /// Whether whatever was read goes as soon as a connection is free.
    pub(crate) charmode: bool,
    /// What ingest waits for at the moment, for reports.
    pub(crate) waits: InputWaits,
    /// Whether this process was asked to end. The same signal may have ended the producer, and then the end of the
    /// input is not the end of the stream.
    pub(crate) is_asked_to_end: fn() -> bool,
}

/// The leg that is being cut.
struct Cutting {
    vessel: Vessel,
    /// Bytes that it is to have, at most.
    size: usize,
    filled: usize,
}

/// What a leg is read, or moved, into.
enum Vessel {
    Memory(Buffer),
    Pipe(Moving),
}

/// How a turn of reading ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// The source has nothing now, and will tell when it has.
    Idle,
    /// Ingest must wait for something.
    Waits,
}

/// What is behind the lease.
struct Reading {
    parts: Ingest,
    cutting: Option<Cutting>,
    /// When the latest leg was cut.
    cut_at: Option<Instant>,
    /// How the reading has ended, if another thread than ingest found that out.
    end: Option<End>,
}

/// The input of a session.
pub(crate) struct Input {
    lease: Mutex<Reading>,
    bell: Bell,
}

impl Input {
    /// Nothing read yet.
    pub(crate) fn new(parts: Ingest) -> Arc<Self> {
        let bell = parts.bell.clone();
        let reading = Reading { parts, cutting: None, cut_at: None, end: None };
        let input = Arc::new(Input { lease: Mutex::new(reading), bell });
        let weak = Arc::downgrade(&input);
        input.lock().parts.source.on_news(Box::new(move |here| {
            if let Some(input) = weak.upgrade() {
                if here { input.read_here() } else { input.wake() }
            }
        }));
        input
    }

    /// The thread's work: reads until the end of the input, or until the session is over.
    pub(crate) fn run(&self) {
        let end = self.read_all();
        let desk = self.lock().parts.desk.clone();
        match end {
            End::Whole | End::Limit => desk.tell(|core, now| core.session.input_ended(now)),
            // whoever writes the input is to notice
            End::Unwanted if desk.has_ceased() => self.lock().parts.source = Box::new(Nothing),
            End::Unwanted => {}
            End::Failed(why) => desk.tell(|core, now| core.session.input_failed(now, &why)),
        }
    }

    /// Wakes the ingest thread: there may be what it waits for.
    pub(crate) fn wake(&self) {
        self.bell.ring();
    }

    /// Reads a source that never waits and has news, or wakes the ingest thread.
    fn read_here(&self) {
        let mut reading = match self.lease.try_lock() {
            Ok(reading) => reading,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return self.bell.ring(),
        };
        match reading.turn(false) {
            Ok(Turn::Idle) => {}
            Ok(Turn::Waits) => self.bell.ring(),
            Err(end) => {
                reading.end = Some(end);
                self.bell.ring();
            }
        }
    }

    /// Waits until a receiver was met, at most for [`HEADSTART`]: the threads that dial need the processors, and the
    /// process's memory map. What is read later on a path that is near need be neither copied nor given fresh memory, whose
    /// large pages alone may take the kernel 5 ms.
    fn let_the_first_connection_begin(&self) -> Result<(), End> {
        let (desk, until) = (self.lock().parts.desk.clone(), Instant::now() + HEADSTART);
        loop {
            self.bell.clear();
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || desk.has_met() != Some(false) {
                return Ok(());
            }
            wait(&[Interest::read(&self.bell)], Some(left)).map_err(|e| format!("cannot wait: {e}"))?;
        }
    }

    fn read_all(&self) -> End {
        if let Err(end) = self.let_the_first_connection_begin() {
            return end;
        }
        let end = loop {
            self.bell.clear();
            let turn = self.lock().turn(true);
            match turn {
                Ok(_) => {
                    if let Err(e) = wait(&[Interest::read(&self.bell)], None) {
                        return End::Failed(format!("cannot wait: {e}"));
                    }
                }
                Err(end @ (End::Whole | End::Limit)) => break end,
                Err(end) => return end,
            }
        };
        let parts = &mut self.lock().parts;
        let finished = match end {
            End::Limit => parts.source.cut_off(),
            _ => parts.source.finish(),
        };
        match finished {
            Ok(()) if (parts.is_asked_to_end)() => End::Unwanted,
            Ok(()) => End::Whole,
            Err(why) => End::Failed(why),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Reading> {
        self.lease.lock().unpoisoned()
    }
}

impl Reading {
    /// Reads and cuts legs until the source has nothing, or until there is something to wait for. With `waits` this
    /// call waits for it.
    fn turn(&mut self, waits: bool) -> Result<Turn, End> {
        if let Some(end) = self.end.take() {
            return Err(end);
        }
        // the bell also rings when the session ends; a source that never has anything would not get as far as asking
        if !self.parts.desk.wants_input() {
            return Err(End::Unwanted);
        }
        if self.parts.source.follows_a_welcome() && !self.parts.desk.has_met().ok_or(End::Unwanted)? {
            return Ok(Turn::Waits);
        }
        loop {
            if self.parts.is_at_part() && self.cutting.as_ref().is_some_and(|cutting| cutting.filled == 0) {
                self.cutting = None;
            }
            if self.parts.parts && self.cutting.is_none() {
                let Some(room) = self.parts.room(waits)? else { return Ok(Turn::Waits) };
                match self.parts.part(room, waits)? {
                    Parted::Part(part) => {
                        self.hand_in(Arc::new(part));
                        continue;
                    }
                    Parted::Waits => return Ok(Turn::Waits),
                    Parted::Nothing => {}
                }
            }
            let cutting = match self.cutting.take() {
                Some(cutting) => cutting,
                None => match self.parts.begin(waits)? {
                    Some((vessel, size)) => Cutting { vessel, size, filled: 0 },
                    None => return Ok(Turn::Waits),
                },
            };
            let cutting = self.cutting.insert(cutting);
            match self.parts.fill(cutting, self.cut_at, waits)? {
                Filled::Whole => self.cut()?,
                Filled::Ended => {
                    self.cut()?;
                    return Err(End::Whole);
                }
                Filled::Nothing => return Ok(Turn::Idle),
                Filled::Waits => return Ok(Turn::Waits),
            }
        }
    }

    /// Makes a leg of what was read, and hands it in at the desk.
    fn cut(&mut self) -> Result<(), End> {
        let Some(Cutting { vessel, filled, .. }) = self.cutting.take().filter(|cutting| cutting.filled > 0)
        else {
            return Ok(());
        };
        let pool = &self.parts.pool;
        let leg: Payload = match vessel {
            Vessel::Memory(buffer) => Arc::new(pool.shrink(buffer, filled)),
            Vessel::Pipe(moving) => {
                moving.into_payload(pool).map_err(|e| format!("cannot read a pipe: {e}"))?
            }
        };
        self.hand_in(leg);
        Ok(())
    }

    fn hand_in(&mut self, leg: Payload) {
        let now = Instant::now();
        self.parts.pacing.took(now, leg.size());
        self.cut_at = Some(now);
        self.parts.desk.tell(|core, now| core.session.input(now, leg));
    }
}

/// What comes of asking for a part of a file.
enum Parted {
    Part(PartContent),
    /// There is none: the source is to be read.
    Nothing,
    /// Ingest must wait for memory.
    Waits,
}

/// How far a leg has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filled {
    /// The leg can go.
    Whole,
    /// The leg is the last one.
    Ended,
    /// The source has nothing now, and the leg is empty.
    Nothing,
    /// Ingest must wait until it is known whether the leg can go.
    Waits,
}

impl Ingest {
    /// A place for the next leg, and how many bytes that shall have, as soon as it may be read.
    fn begin(&mut self, waits: bool) -> Result<Option<(Vessel, usize)>, End> {
        let Some(size) = self.room(waits)? else { return Ok(None) };
        if let Some(mover) = self.mover.as_mut().filter(|_| waits) {
            let whole = self.desk.peek(|core| core.session.sending().and_then(Outbound::whole_leg));
            if let Some((moving, size)) = mover.begin(&self.pool, whole.map(|whole| whole.min(size))) {
                self.waits.set(InputWait::Source);
                return Ok(Some((Vessel::Pipe(moving), size)));
            }
        }
        let memory = |buffer| Some((Vessel::Memory(buffer), size));
        if let Some(buffer) = self.pool.try_take(size) {
            self.waits.set(InputWait::Source);
            return Ok(memory(buffer));
        }
        if !waits {
            return Ok(None);
        }
        self.waits.set(InputWait::Memory);
        let buffer = self.pool.take(size).ok_or(End::Unwanted)?;
        self.waits.set(InputWait::Source);
        Ok(memory(buffer))
    }

    /// Whether what comes next is a part that need not be read here.
    fn is_at_part(&self) -> bool {
        self.parts && self.source.is_at_part()
    }

    /// The next part of a file, of at most so many bytes.
    fn part(&mut self, most: usize, waits: bool) -> Result<Parted, End> {
        let counted = match self.pool.reserve(most) {
            Some(counted) => counted,
            None if !waits => return Ok(Parted::Waits),
            None => {
                self.waits.set(InputWait::Memory);
                self.pool.reserve_when_there_is_room(most).ok_or(End::Unwanted)?
            }
        };
        self.waits.set(InputWait::Source);
        let part = self.source.part(most);
        Ok(part.map_or(Parted::Nothing, |part| Parted::Part(PartContent::new(part, counted))))
    }

    /// Bytes of the next leg, as soon as it may be read.
    fn room(&mut self, waits: bool) -> Result<Option<usize>, End> {
        let room = loop {
            match self.pacing.step(Instant::now()) {
                Step::Read(room) => break room,
                Step::Wait(_) if !waits => return Ok(None),
                Step::Wait(until) => {
                    self.waits.set(InputWait::Pace);
                    thread::sleep(until.saturating_duration_since(Instant::now()));
                }
                Step::End => return Err(End::Limit),
            }
        };
        let Some(size) = self.appetite(waits)? else { return Ok(None) };
        Ok(Some(size.min(room)))
    }

    /// Bytes that should be read next, as soon as any should. With `waits` this call waits for that.
    fn appetite(&self, waits: bool) -> Result<Option<usize>, End> {
        let has_rate = self.pacing.has_rate();
        let (hunger, size, ceased) =
            self.desk.peek(|core| (core.hunger(), core.piece_size(), core.has_ended()));
        if ceased {
            return Err(End::Unwanted);
        }
        if !has_rate && hunger > Hunger::Sated {
            return Ok(Some(size));
        }
        if !waits {
            return Ok(None);
        }
        if has_rate {
            // what was read must not gather in the buffer while the network is slow or away: it would all be sent at once
            // when the network is back
            self.await_hunger(Hunger::None)?;
        } else {
            self.waits.set(InputWait::Memory);
            self.await_hunger(Hunger::Sated)?;
        }
        Ok(Some(self.desk.peek(|core| core.piece_size())))
    }

    /// Waits until a leg is wanted more than this.
    fn await_hunger(&self, beyond: Hunger) -> Result<(), End> {
        loop {
            self.bell.clear();
            if self.desk.hunger().ok_or(End::Unwanted)? > beyond {
                return Ok(());
            }
            wait(&[Interest::read(&self.bell)], None).map_err(|e| format!("cannot wait: {e}"))?;
        }
    }

    /// Reads into a leg until it can go.
    fn fill(&mut self, cutting: &mut Cutting, cut_at: Option<Instant>, waits: bool) -> Result<Filled, End> {
        while cutting.filled < cutting.size {
            if cutting.filled > 0 {
                if self.is_at_part() || self.may_cut_a_packet(cutting) {
                    return Ok(Filled::Whole);
                }
                match self.expects_more(cutting.filled, cut_at, waits)? {
                    Some(true) => {}
                    Some(false) => return Ok(Filled::Whole),
                    None => return Ok(Filled::Waits),
                }
            }
            let pulled = match &mut cutting.vessel {
                Vessel::Memory(buffer) => self.source.pull(&mut buffer.space()[cutting.filled..])?,
                Vessel::Pipe(moving) => {
                    match self.source.move_into(&mut moving.pipe, cutting.size - cutting.filled)? {
                        None if self.has_no_place(moving)? => return Ok(Filled::Whole),
                        None => continue,
                        pulled => pulled,
                    }
                }
            };
            match pulled {
                Some(0) => return Ok(Filled::Ended),
                Some(n) => cutting.filled += n,
                None if cutting.filled == 0 => return Ok(Filled::Nothing),
                None => {}
            }
        }
        Ok(Filled::Whole)
    }

    /// Whether the source may be a pipe of packets (pipe2 with O_DIRECT) whose next packet has no place in the leg. Its reading
    /// end cannot be told from another's. A packet has at most a page; a read with less space loses the rest of it. Where a
    /// leg begins with less space (`rate` below 160 KB/s, the end of `leglimit`), that may happen.
    fn may_cut_a_packet(&self, cutting: &Cutting) -> bool {
        let left = cutting.size - cutting.filled;
        matches!(cutting.vessel, Vessel::Memory(_)) && left < page_size() && self.source.has_pipe()
    }

    /// The source gave nothing to a pipe: whether the pipe has no place for what there is. If there is nothing, this call
    /// waits until there is, as reading would; with something in the pipe, [`Ingest::expects_more`] does.
    fn has_no_place(&mut self, moving: &Moving) -> Result<bool, End> {
        let holds = moving.pipe.len();
        let time = (holds > 0).then_some(Duration::ZERO);
        let waits_here = self.source.wait(None, time)? == WokenBy::Input && holds > 0;
        if let Some(mover) = self.mover.as_mut().filter(|_| waits_here) {
            mover.note_full(&moving.pipe);
        }
        Ok(waits_here)
    }

    /// With so much read already: whether more should be read before it goes. None: that is to be waited for.
    fn expects_more(&self, filled: usize, cut_at: Option<Instant>, waits: bool) -> Result<Option<bool>, End> {
        if !self.charmode {
            if self.desk.peek(|core| core.piece_size()) <= filled {
                return Ok(Some(false));
            }
            if !waits {
                return Ok(None);
            }
            return Ok(Some(self.source.wait(None, Some(PAUSE))? == WokenBy::Input));
        }
        loop {
            if waits {
                self.bell.clear();
            }
            let until = match self.desk.hunger().ok_or(End::Unwanted)? {
                Hunger::Idle => return Ok(Some(false)),
                Hunger::Free => Some(JOIN.saturating_sub(cut_at.map_or(JOIN, |at| at.elapsed()))),
                Hunger::None | Hunger::Sated => None,
            };
            if until.is_some_and(|time| time.is_zero()) {
                return Ok(Some(false));
            }
            if !waits {
                return Ok(None);
            }
            if self.source.wait(Some(&self.bell), until)? == WokenBy::Input {
                return Ok(Some(true));
            }
        }
    }
}
