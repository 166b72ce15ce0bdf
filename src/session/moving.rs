//! Legs that are moved from the input's pipe to a socket without being read here.
//!
//! A piece of the stream stays in a pipe of its own until it is received; each time it is sent, a connection is given
//! the same pages once more. Such a piece is one leg: a pipe cannot be cut. So only legs that are large, on paths that
//! are near, are moved; elsewhere, and where all pipes are in use, they are read as ever. Each pipe counts in the pool
//! with all that it may hold.

use super::choice::{Choice, Fill, Why};
use super::compressing::Compressing;
use super::pool::{Hold, Pool};
use crate::error::reason;
use crate::proto::leg::{Content, Leg, Payload};
use crate::sys::kept::{KeptPipe, SIZE, works};
use crate::sys::limits::descriptors;
use std::any::Any;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Pipes in use at a time, at most: an ordinary user may have 64 MiB in pipes, and 1024 descriptors.
const PIPES_MAX: usize = 24;

/// With fewer descriptors there is no pipe at all: connections need them.
const DESCRIPTORS_LEAST: u64 = 256;

/// A piece of fewer bytes is read when it is cut: it would hold a whole pipe.
const LEAST: usize = 128 << 10;

/// Gives pipes for pieces of the stream.
pub struct Mover {
    choice: Choice,
    /// What may want to see the bytes: then they are read at once.
    compressing: Option<Arc<Compressing>>,
    /// One handle for each pipe in use, and this one.
    in_use: Arc<()>,
    /// How full pipes were that had no place for more.
    fill: Fill,
}

impl Mover {
    /// No pipe in use. Nothing is moved while legs are compressed.
    pub fn new(choice: Choice, compressing: Option<Arc<Compressing>>) -> Self {
        if descriptors() < DESCRIPTORS_LEAST {
            choice.copy(&Why::Other("this process may have too few descriptors for pipes of its own".into()));
        }
        if choice.may_move() && !works() {
            choice.copy(&Why::Kernel);
        }
        Mover { choice, compressing, in_use: Arc::new(()), fill: Fill::default() }
    }

    /// A pipe for a piece, if a piece is wanted there, if there is one, and room for it in the pool.
    pub fn begin(&mut self, pool: &Pool, wanted: bool) -> Option<Moving> {
        let compresses = self.compressing.as_ref().is_some_and(|compressing| compressing.compresses());
        let moving = if wanted && !compresses { self.pipe(pool) } else { None };
        self.choice.note(moving.is_some());
        moving
    }

    fn pipe(&mut self, pool: &Pool) -> Option<Moving> {
        if !self.choice.may_move() || Arc::strong_count(&self.in_use) > PIPES_MAX {
            return None;
        }
        let counted = pool.hold(SIZE)?;
        match KeptPipe::new() {
            Ok(pipe) => Some(Moving { pipe, counted, in_use: self.in_use.clone() }),
            Err(e) => {
                self.choice.copy(&Why::Other(format!("no further pipe of 1 MiB: {}", reason(&e))));
                None
            }
        }
    }

    /// A pipe had no place for more, with so many bytes in it. Small pages fill it: then copying is cheaper.
    pub fn note_full(&mut self, bytes: usize) {
        if self.fill.is_thin(bytes, SIZE) {
            self.choice.copy(&Why::Pieces);
        }
    }
}

/// A piece that is being filled.
pub struct Moving {
    /// What is there of it.
    pub pipe: KeptPipe,
    counted: Hold,
    in_use: Arc<()>,
}

impl Moving {
    /// The piece as it is.
    ///
    /// # Errors
    /// It is small, and could not be read.
    pub fn into_payload(self, pool: &Pool) -> io::Result<Payload> {
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
pub struct PipeContent {
    len: usize,
    pipe: Mutex<Option<(KeptPipe, Arc<()>)>>,
    memory: OnceLock<Vec<u8>>,
    _counted: Hold,
}

impl PipeContent {
    /// Gives it to an empty pipe as well; false if that has not all of it, and it must be read.
    pub fn give_to(&self, work: &mut KeptPipe) -> bool {
        let pipe = self.pipe.lock().unwrap_or_else(PoisonError::into_inner);
        pipe.as_ref().is_some_and(|(pipe, ..)| pipe.give_to(work).is_ok_and(|all| all))
    }

    /// Reads it into memory, where it stays.
    ///
    /// # Errors
    /// The kernel's.
    pub fn read(&self) -> io::Result<()> {
        let mut pipe = self.pipe.lock().unwrap_or_else(PoisonError::into_inner);
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
pub fn pipe_of(leg: &Leg) -> Option<&PipeContent> {
    leg.payload.elsewhere()?.0.downcast_ref()
}
