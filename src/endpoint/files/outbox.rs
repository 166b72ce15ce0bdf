//! The outbox: records that wait for the stream to take them.

use crate::endpoint::{OnNews, Source, Waited};
use crate::store::summing::WAITING_MAX;
use crate::sys::event::Bell;
use crate::sys::pipe::{Interest, wait};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Bytes that may wait before who fills it waits too: enough to sum up pieces while others are taken.
const FULL: usize = 3 << 20;
/// So much is worth a leg of its own, where more is certain to come: small legs cost more.
const WORTHY: usize = 1 << 20;
/// Pieces that were taken and are kept for others: new memory is dear, for the kernel clears it. So many as may wait here
/// and to be summed up.
const SPARE_MAX: usize = FULL / (256 << 10) + WAITING_MAX;

/// Bytes on their way into a stream.
pub struct Outbox {
    state: Mutex<State>,
    /// There is room, or nobody takes any more.
    room: Condvar,
    /// Rung when there is something to take.
    bell: Bell,
    news: OnceLock<OnNews>,
}

#[derive(Default)]
struct State {
    pieces: VecDeque<Arc<Vec<u8>>>,
    /// Taken of the first piece; less than it has.
    taken: usize,
    bytes: usize,
    /// Pieces that were taken. Some are still summed up.
    spare: Vec<Arc<Vec<u8>>>,
    /// No more come: that was all, or why not.
    end: Option<Result<(), String>>,
    /// Nobody takes any more.
    closed: bool,
}

impl Outbox {
    /// With nothing in it.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub fn new() -> io::Result<Arc<Self>> {
        Ok(Arc::new(Outbox {
            state: Mutex::default(),
            room: Condvar::new(),
            bell: Bell::new()?,
            news: OnceLock::new(),
        }))
    }

    /// Puts bytes in, whether there is room or not. For what is small and bounded otherwise.
    pub fn put(&self, piece: impl Into<Arc<Vec<u8>>>) {
        let (piece, mut state) = (piece.into(), self.lock());
        if !piece.is_empty() && !state.closed {
            state.bytes += piece.len();
            state.pieces.push_back(piece);
            drop(state);
            self.tell();
        }
    }

    /// Waits for room, and puts bytes in. False: nobody takes any more.
    pub fn put_when_room(&self, piece: impl Into<Arc<Vec<u8>>>) -> bool {
        let open = self.await_room();
        self.put(piece);
        open
    }

    /// The same for a piece after which others come at once: nobody is told of it before there is enough for a leg.
    pub fn put_one_of_many(&self, piece: impl Into<Arc<Vec<u8>>>) -> bool {
        if !self.await_room() {
            return false;
        }
        let (piece, mut state) = (piece.into(), self.lock());
        state.bytes += piece.len();
        state.pieces.push_back(piece);
        let tells = state.bytes >= WORTHY;
        drop(state);
        if tells {
            self.tell();
        }
        true
    }

    /// Memory for a piece of this size, with anything in it.
    pub fn space(&self, size: usize) -> Vec<u8> {
        let mut state = self.lock();
        let free = state.spare.iter().rposition(|piece| Arc::strong_count(piece) == 1);
        let spare = free.and_then(|index| Arc::into_inner(state.spare.swap_remove(index)));
        drop(state);
        let mut space = spare.unwrap_or_default();
        space.resize(size, 0);
        space
    }

    /// Waits until what is here is no more than enough. False: nobody takes any more.
    pub fn await_room(&self) -> bool {
        let mut state = self.lock();
        while state.bytes >= FULL && !state.closed {
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        !state.closed
    }

    /// The stream ends behind what is here: in order, or with the reason why it cannot go on.
    pub fn end(&self, how: Result<(), String>) {
        self.lock().end.get_or_insert(how);
        self.tell();
    }

    /// The one source of this outbox. When it is dropped, nobody waits for room any more.
    pub fn source(self: &Arc<Self>) -> OutboxSource {
        OutboxSource(self.clone())
    }

    fn take(&self, space: &mut [u8]) -> Result<Option<usize>, String> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let mut filled = 0;
        while let Some(piece) = state.pieces.front().filter(|_| filled < space.len()) {
            let rest = &piece[state.taken..];
            let here = rest.len().min(space.len() - filled);
            space[filled..filled + here].copy_from_slice(&rest[..here]);
            (filled, state.taken) = (filled + here, state.taken + here);
            if state.taken == piece.len() {
                state.taken = 0;
                let piece = state.pieces.pop_front();
                state.spare.extend(piece.filter(|piece| piece.len() > WORTHY / 8));
                state.spare.truncate(SPARE_MAX);
            }
        }
        state.bytes -= filled;
        if filled > 0 {
            drop(guard);
            self.room.notify_all();
            return Ok(Some(filled));
        }
        state.end.clone().map(|end| end.map(|()| 0)).transpose()
    }

    fn has_news(&self) -> bool {
        let state = self.lock();
        state.bytes > 0 || state.end.is_some()
    }

    fn tell(&self) {
        self.bell.ring();
        if let Some(call) = self.news.get() {
            call(false);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The stream comes from an outbox.
pub struct OutboxSource(Arc<Outbox>);

impl Drop for OutboxSource {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.room.notify_all();
    }
}

impl Source for OutboxSource {
    fn read(&mut self, space: &mut [u8]) -> Result<usize, String> {
        loop {
            self.0.bell.clear();
            if let Some(taken) = self.0.take(space)? {
                return Ok(taken);
            }
            wait(&[Interest::read(&self.0.bell)], None).map_err(|e| format!("cannot wait: {e}"))?;
        }
    }

    fn pull(&mut self, space: &mut [u8]) -> Result<Option<usize>, String> {
        self.0.take(space)
    }

    fn on_news(&mut self, call: OnNews) {
        let _ = self.0.news.set(call);
    }

    fn wait(&self, bell: Option<&Bell>, timeout: Option<Duration>) -> Result<Waited, String> {
        let deadline = timeout.map(|time| Instant::now() + time);
        loop {
            self.0.bell.clear();
            if self.0.has_news() {
                return Ok(Waited::Input);
            }
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            let news = Interest::read(&self.0.bell);
            let ready = match bell {
                Some(bell) => wait(&[news, Interest::read(bell)], left),
                None => wait(&[news], left).map(|[news]| [news, Default::default()]),
            };
            let [news, rung] = ready.map_err(|e| format!("cannot wait: {e}"))?;
            if rung.any() {
                return Ok(Waited::Rung);
            }
            if !news.any() && left.is_some_and(|left| left.is_zero()) {
                return Ok(Waited::Nothing);
            }
        }
    }

    fn finish(&mut self) -> Result<(), String> {
        Ok(())
    }
}
