//! Legs that are moved from the input's pipe to a socket without being read here.
//!
//! A piece of the stream stays in a pipe of its own until it is received; each time it is sent, a connection is given
//! the same pages once more. Such a piece is one leg: a pipe cannot be cut. So only legs that are large, on paths that
//! are near, are moved; elsewhere, and where all pipes are in use, they are read as ever. Each pipe counts in the pool
//! with all that it may hold.

use super::choice::{Choice, Fill, Why};
use super::compressing::Compressing;
use super::pool::{Pool, Reservation};
use crate::error::reason;
use crate::proto::leg::{Content, Leg, Payload};
use crate::sync::Unpoisoned;
use crate::sys::kept::{KeptPipe, SIZE, works};
use crate::sys::limits::descriptors;
use std::any::Any;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock};

/// Pipes in use at a time, at most: an ordinary user may have 64 MiB in pipes, and 1024 descriptors.
const PIPES_MAX: usize = 24;

/// With fewer descriptors there is no pipe at all: connections need them.
const DESCRIPTORS_LEAST: u64 = 256;

/// A piece of fewer bytes is read when it is cut: it would hold a whole pipe.
const LEAST: usize = 128 << 10;

/// Gives pipes for pieces of the stream.
pub(crate) struct Mover {
    choice: Choice,
    /// The compressing of the stream, if any: where that wants to see the bytes, they are read at once.
    compressing: Option<Arc<Compressing>>,
    /// Has a handle for each pipe in use, besides this one.
    in_use: Arc<()>,
    /// How full pipes were that had no place for more.
    fill: Fill,
}

impl Mover {
    /// No pipe in use. Nothing is moved while legs are compressed.
    pub(crate) fn new(choice: Choice, compressing: Option<Arc<Compressing>>) -> Self {
        if descriptors() < DESCRIPTORS_LEAST {
            choice.copy(&Why::Other("this process may have too few descriptors for pipes of its own".into()));
        }
        if choice.may_move() && !works() {
            choice.copy(&Why::Kernel);
        }
        Mover { choice, compressing, in_use: Arc::new(()), fill: Fill::default() }
    }

    /// A pipe for a piece of at most so many bytes, if a piece is wanted there, if there is a pipe, and room for it in the
    /// pool; and how many bytes it is for.
    pub(crate) fn begin(&mut self, pool: &Pool, wanted: Option<usize>) -> Option<(Moving, usize)> {
        let compresses = self.compressing.as_ref().is_some_and(|compressing| compressing.compresses());
        let moving = wanted.filter(|_| !compresses).and_then(|len| self.pipe(pool, len));
        self.choice.note(moving.is_some());
        moving.zip(wanted).map(|(moving, wanted)| (moving, wanted.min(SIZE)))
    }

    fn pipe(&mut self, pool: &Pool, len: usize) -> Option<Moving> {
        if !self.choice.may_move() || Arc::strong_count(&self.in_use) > PIPES_MAX {
            return None;
        }
        // no larger than the piece, since all that it may hold counts
        let size = len.clamp(LEAST, SIZE).next_power_of_two();
        let counted = pool.reserve(size)?;
        match KeptPipe::new(size) {
            Ok(pipe) => Some(Moving { pipe, counted, in_use: self.in_use.clone() }),
            Err(e) => {
                self.choice.copy(&Why::Other(format!("no further pipe: {}", reason(&e))));
                None
            }
        }
    }

    /// A pipe had no place for more. Small pages fill it: then copying is cheaper.
    pub(crate) fn note_full(&mut self, pipe: &KeptPipe) {
        if self.fill.is_thin(pipe.len(), pipe.size()) {
            self.choice.copy(&Why::Pieces);
        }
    }
}

/// A piece that is being filled.
pub(crate) struct Moving {
    /// What is there of it.
    pub(crate) pipe: KeptPipe,
    counted: Reservation,
    in_use: Arc<()>,
}

impl Moving {
    /// The piece as it is.
    ///
    /// # Errors
    /// It is small, and could not be read.
    pub(crate) fn into_payload(self, pool: &Pool) -> io::Result<Payload> {
        let Moving { mut pipe, counted, in_use } = self;
        let len = pipe.len();
        if let Some(mut buffer) = (len < LEAST).then(|| pool.try_take(len)).flatten() {
            pipe.read_all(buffer.space())?;
            buffer.set_len(len);
            return Ok(Arc::new(buffer));
        }
        let pipe = Mutex::new(Some((pipe, in_use)));
        Ok(Arc::new(PipeContent { len, pipe, memory: OnceLock::new(), _counted: counted }))
    }
}

/// A piece of the stream in a pipe; in memory once it has been read.
pub(crate) struct PipeContent {
    len: usize,
    pipe: Mutex<Option<(KeptPipe, Arc<()>)>>,
    memory: OnceLock<Vec<u8>>,
    _counted: Reservation,
}

impl PipeContent {
    /// Gives it to an empty pipe as well; false if that has not all of it, and it must be read.
    pub(crate) fn give_to(&self, work: &mut KeptPipe) -> bool {
        let pipe = self.pipe.lock().unpoisoned();
        pipe.as_ref().is_some_and(|(pipe, ..)| pipe.give_to(work).is_ok_and(|all| all))
    }

    /// Reads it into memory, where it stays.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn read(&self) -> io::Result<()> {
        let mut pipe = self.pipe.lock().unpoisoned();
        if let Some((kept, ..)) = &mut *pipe {
            let mut bytes = vec![0; self.len];
            kept.read_all(&mut bytes)?;
            self.memory.get_or_init(|| bytes);
            *pipe = None;
        }
        Ok(())
    }
}

impl Content for PipeContent {
    fn size(&self) -> usize {
        self.len
    }

    fn bytes(&self) -> &[u8] {
        self.memory.get().map_or(&[], Vec::as_slice)
    }

    fn elsewhere(&self) -> Option<(&dyn Any, Range<usize>)> {
        self.memory.get().is_none().then_some((self as &dyn Any, 0..self.len))
    }

    fn is_indivisible(&self) -> bool {
        true
    }
}

/// The pipe that a leg is in, if it is in one.
pub(crate) fn pipe_of(leg: &Leg) -> Option<&PipeContent> {
    leg.payload.elsewhere()?.0.downcast_ref()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::report::Passage;

    #[test]
    fn a_pipe_takes_little_more_of_the_memory_than_its_piece() {
        let (pool, mut mover) = (Pool::new(8 << 20), Mover::new(Choice::new(Passage::Moved), None));
        if !mover.choice.may_move() {
            return;
        }
        let begun: Vec<_> = std::iter::from_fn(|| mover.begin(&pool, Some(256 << 10))).collect();
        assert!(begun.iter().all(|(moving, size)| (moving.pipe.size(), *size) == (256 << 10, 256 << 10)));
        assert_eq!((begun.len(), pool.in_use()), (PIPES_MAX, (PIPES_MAX * (256 << 10)) as u64));
        drop(begun);
        for (wanted, pipe, piece) in [(2 << 20, SIZE, SIZE), (300_000, 512 << 10, 300_000), (1, LEAST, 1)] {
            let (moving, size) = mover.begin(&pool, Some(wanted)).unwrap();
            assert_eq!((moving.pipe.size(), size, pool.in_use()), (pipe, piece, pipe as u64));
        }
    }
}
