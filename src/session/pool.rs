//! The memory of one direction: buffers for legs, within a budget that is never exceeded.
//!
//! A buffer is taken for a leg, shared while the leg is sent or ordered, and returns to the pool by itself when its
//! last handle is dropped. Returned buffers are kept, by size. The latest to return is the first to be used again,
//! because its pages are the warmest. Buffers in use and kept buffers together never exceed the capacity: the pool
//! first gives kept buffers back to the kernel, beginning with the size that was not asked for the longest. Sizes that
//! are not asked for any more are given back too. Where sizes that were rounded up may use more than the capacity, what
//! was asked for still does not exceed it. If the
//! kernel refuses memory within the capacity, the pool closes: the process is ending then ([`crate::sys::out_of_memory`]).

use crate::sync::Unpoisoned;
use crate::sys::memory::{Memory, SMALL_MAX};
use crate::sys::out_of_memory;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// The step of small sizes, in bytes: a cache line, so that two legs never share one.
const SMALL_STEP: usize = 64;

/// The step of large sizes is at least this, in bytes: the kernel maps no less.
const PAGE: usize = 4096;

/// A size that was not asked for in so many requests is no size of this stream's legs any more.
const MEMORY: u64 = 64;

/// Sizes in each doubling: so at most an eighth of a large buffer is waste, apart from the rounding to pages.
const STEPS: usize = 8;

/// A handle on the memory of one direction. Clones are the same pool.
#[derive(Clone)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    /// In bytes; only grows.
    capacity: AtomicU64,
    /// Bytes beyond the capacity that `try_take` may use, for sizes that were rounded up.
    rounding: u64,
    state: Mutex<State>,
    /// Told whenever memory comes back, and on closing.
    returned: Condvar,
}

#[derive(Default)]
struct State {
    /// Bytes out in buffers; `in_use + kept` ≤ capacity, and what is over for rounding.
    in_use: u64,
    /// Bytes that the buffers which are out were asked for; ≤ capacity.
    asked: u64,
    /// Bytes on the lists.
    kept: u64,
    /// What came back, by size.
    lists: BTreeMap<usize, FreeList>,
    /// Counts requests: the clock of the lists.
    requests: u64,
    closed: bool,
    /// Threads that wait for memory. Without any, a returned buffer saves the call that would wake them.
    waiting: usize,
}

/// Kept buffers of one size.
#[derive(Default)]
struct FreeList {
    /// The last is the warmest.
    buffers: Vec<Memory>,
    /// The latest request for this size, by the pool's count.
    asked: u64,
}

impl Pool {
    /// A pool of at most `capacity` bytes, of which none are allocated yet.
    pub(crate) fn new(capacity: u64) -> Pool {
        Self::with_rounding(capacity, 0)
    }

    /// A pool of at most `capacity` bytes as they were asked for; sizes that had to be rounded up may use
    /// `rounding` bytes more, where it is not waited for without end.
    pub(crate) fn with_rounding(capacity: u64, rounding: u64) -> Pool {
        let (capacity, state) = (AtomicU64::new(capacity), Mutex::new(State::default()));
        Pool { shared: Arc::new(Shared { capacity, rounding, state, returned: Condvar::new() }) }
    }

    /// A buffer of `size` bytes; waits until there is room for it. None once the pool is closed, also because the
    /// kernel refused memory.
    ///
    /// # Panics
    ///
    /// If `size` is more than the capacity, for which the wait would have no end.
    pub(crate) fn take(&self, size: usize) -> Option<Buffer> {
        let class = self.class(size) as u64;
        assert!(class <= self.capacity(), "{size} bytes from a pool of {}", self.capacity());
        self.obtain(size, 0, None)
    }

    /// A buffer of `size` bytes, if there is room for it now and the pool is not closed.
    pub(crate) fn try_take(&self, size: usize) -> Option<Buffer> {
        self.take_within(size, Duration::ZERO)
    }

    /// As [`Pool::try_take`], but waits for room, for `time` at most.
    pub(crate) fn take_within(&self, size: usize, time: Duration) -> Option<Buffer> {
        self.obtain(size, self.shared.rounding, Some(time))
    }

    /// A buffer of `size` bytes, which may use `rounding` bytes more than the capacity. Waits so long at most, or for ever.
    fn obtain(&self, size: usize, rounding: u64, time: Option<Duration>) -> Option<Buffer> {
        let class = self.class(size);
        let memory =
            self.once_there_is_room(time, |state| state.obtain(size, class, self.capacity(), rounding));
        Some(self.buffer(memory?, size))
    }

    /// Waits until there is something to obtain, so long at most or for ever. None once the pool is closed.
    fn once_there_is_room<R>(
        &self,
        time: Option<Duration>,
        mut obtain: impl FnMut(&mut State) -> Option<R>,
    ) -> Option<R> {
        let (mut state, mut until) = (self.shared.lock(), None);
        while !state.closed {
            if let Some(obtained) = obtain(&mut state) {
                return Some(obtained);
            }
            if state.closed {
                self.shared.returned.notify_all();
                return None;
            }
            // mostly there is room, and nobody need know the time
            let left = time.map(|time| match until {
                None if time.is_zero() => time,
                None => {
                    until = Some(Instant::now() + time);
                    time
                }
                Some(at) => at.saturating_duration_since(Instant::now()),
            });
            if left == Some(Duration::ZERO) {
                return None;
            }
            state.waiting += 1;
            state = match left {
                None => self.shared.returned.wait(state).unpoisoned(),
                Some(left) => self.shared.returned.wait_timeout(state, left).unpoisoned().0,
            };
            state.waiting -= 1;
        }
        None
    }

    /// The same buffer with its first `len` bytes filled; moved into a smaller one where that frees at least
    /// half of its memory, so that the small legs of a slow producer do not hold a large buffer each. It
    /// stays where it is when the pool has no room for both during the move.
    ///
    /// # Panics
    ///
    /// If `len` is more than the buffer's size.
    pub(crate) fn shrink(&self, mut buffer: Buffer, len: usize) -> Buffer {
        buffer.set_len(len);
        if self.class(len) > buffer.footprint() / 2 {
            return buffer;
        }
        let Some(mut small) = self.try_take(len) else { return buffer };
        small.space().copy_from_slice(&buffer);
        small.set_len(len);
        small
    }

    /// Counts memory that is used elsewhere as in use here, if there is room for it now.
    pub(crate) fn reserve(&self, size: usize) -> Option<Reservation> {
        self.reserve_within(size, Some(Duration::ZERO))
    }

    /// As [`Pool::reserve`], but waits for room. None once the pool is closed.
    pub(crate) fn reserve_when_there_is_room(&self, size: usize) -> Option<Reservation> {
        self.reserve_within(size, None)
    }

    fn reserve_within(&self, size: usize, time: Option<Duration>) -> Option<Reservation> {
        let size = size as u64;
        self.once_there_is_room(time, |state| {
            let left = self.capacity().checked_sub(state.in_use + size)?;
            state.make_room(left);
            state.in_use += size;
            Some(Reservation { size, home: Arc::clone(&self.shared) })
        })
    }

    /// Ends all waiting, now and later: from now on nothing is given out, and what comes back is freed.
    pub(crate) fn close(&self) {
        self.shared.lock().close();
        self.shared.returned.notify_all();
    }

    /// Bytes held by buffers that are out, rounded up as they are.
    pub(crate) fn in_use(&self) -> u64 {
        self.shared.lock().in_use
    }

    /// Bytes allocated, in use or kept for use; never more than the capacity, and what is over for rounding.
    #[cfg(test)]
    fn allocated(&self) -> u64 {
        let state = self.shared.lock();
        state.in_use + state.kept
    }

    /// The budget in bytes.
    pub(crate) fn capacity(&self) -> u64 {
        self.shared.capacity.load(Ordering::Relaxed)
    }

    /// Raises the budget to `capacity` bytes, if it was less.
    pub(crate) fn widen(&self, capacity: u64) {
        if capacity > self.capacity() {
            let _state = self.shared.lock();
            self.shared.capacity.fetch_max(capacity, Ordering::Relaxed);
            self.shared.returned.notify_all();
        }
    }

    /// The size that a request is rounded up to, as long as the budget allows it.
    fn class(&self, size: usize) -> usize {
        let rounded = class(size);
        match usize::try_from(self.capacity()) {
            Ok(capacity) if rounded > capacity => size,
            _ => rounded,
        }
    }

    fn buffer(&self, memory: Memory, size: usize) -> Buffer {
        Buffer { memory: Some(memory), size, filled: 0, home: Arc::clone(&self.shared) }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pool with {} of {} bytes in use", self.in_use(), self.capacity())
    }
}

impl Shared {
    /// A poisoned lock does not matter: nothing panics between two changes that belong together.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unpoisoned()
    }
}

impl State {
    fn close(&mut self) {
        self.closed = true;
        self.lists.clear();
        self.kept = 0;
    }

    /// Memory of exactly the size `class`, kept or new, for `asked` bytes. None if the budget has no room for these, if it
    /// and `over` bytes have none for `class`, or if the kernel has none, which closes the pool.
    fn obtain(&mut self, asked: usize, class: usize, capacity: u64, over: u64) -> Option<Memory> {
        self.requests += 1;
        let asked = self.asked + asked as u64;
        if asked > capacity {
            return None;
        }
        if self.requests.is_multiple_of(MEMORY) {
            self.forget_old_sizes();
        }
        let list = self.lists.entry(class).or_default();
        list.asked = self.requests;
        let size = class as u64;
        let memory = match list.buffers.pop() {
            Some(kept) => {
                self.kept -= size;
                kept
            }
            None if self.in_use + size > capacity + over => return None,
            None => {
                self.make_room(capacity.saturating_sub(self.in_use + size));
                let memory = Memory::new(class);
                if memory.is_none() {
                    out_of_memory::tell();
                    self.close();
                }
                memory?
            }
        };
        self.in_use += size;
        self.asked = asked;
        Some(memory)
    }

    /// Gives kept buffers back until at most `bytes` are kept, the sizes longest not asked for first.
    fn make_room(&mut self, bytes: u64) {
        while self.kept > bytes {
            let lists = self.lists.iter().filter(|(_, list)| !list.buffers.is_empty());
            let Some(class) = lists.min_by_key(|(_, list)| list.asked).map(|(&class, _)| class) else {
                return;
            };
            let list = self.lists.get_mut(&class).expect("found just now");
            while self.kept > bytes && list.buffers.pop().is_some() {
                self.kept -= class as u64;
            }
            if list.buffers.is_empty() {
                self.lists.remove(&class);
            }
        }
    }

    /// What legs had while they were small, or large, is not kept for ever.
    fn forget_old_sizes(&mut self) {
        let since = self.requests - MEMORY;
        self.lists.retain(|_, list| list.asked >= since);
        let kept = |(class, list): (&usize, &FreeList)| (class * list.buffers.len()) as u64;
        self.kept = self.lists.iter().map(kept).sum();
    }

    fn give_back(&mut self, asked: usize, memory: Memory) {
        let class = memory.len();
        self.in_use -= class as u64;
        self.asked -= asked as u64;
        if !self.closed {
            self.kept += class as u64;
            self.lists.entry(class).or_default().buffers.push(memory);
        }
    }
}

/// Memory for one leg; goes back to its pool when dropped. As a slice it is its filled part.
pub(crate) struct Buffer {
    /// At least `size` bytes; None only while it is dropped.
    memory: Option<Memory>,
    /// As asked for.
    size: usize,
    /// Always ≤ `size`.
    filled: usize,
    home: Arc<Shared>,
}

impl Buffer {
    /// All of it, filled or not: exactly as many bytes as were asked for, with leftovers of earlier use.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        let size = self.size;
        &mut self.memory.as_mut().expect("there until dropped")[..size]
    }

    /// Declares the first `len` bytes filled.
    ///
    /// # Panics
    ///
    /// If `len` is more than the buffer's size.
    pub(crate) fn set_len(&mut self, len: usize) {
        assert!(len <= self.size, "{len} bytes filled of {}", self.size);
        self.filled = len;
    }

    /// How many bytes were asked for.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// What it takes of the pool's budget, in bytes: its size rounded up.
    pub(crate) fn footprint(&self) -> usize {
        self.memory().len()
    }

    fn memory(&self) -> &Memory {
        self.memory.as_ref().expect("there until dropped")
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.memory()[..self.filled]
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_ref()
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "buffer with {} of {} bytes filled", self.filled, self.size)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            let mut state = self.home.lock();
            state.give_back(self.size, memory);
            let waiting = state.waiting > 0;
            drop(state);
            if waiting {
                self.home.returned.notify_all();
            }
        }
    }
}

/// Memory used elsewhere that counts as in use in a pool, until it is dropped.
pub(crate) struct Reservation {
    size: u64,
    home: Arc<Shared>,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut state = self.home.lock();
        state.in_use -= self.size;
        let waiting = state.waiting > 0;
        drop(state);
        if waiting {
            self.home.returned.notify_all();
        }
    }
}

/// The size a request is rounded up to, so that what comes back fits the next request of about that size.
fn class(size: usize) -> usize {
    if size <= SMALL_MAX {
        return size.max(1).next_multiple_of(SMALL_STEP);
    }
    let doubling = 1 << size.ilog2();
    size.next_multiple_of((doubling / STEPS).max(PAGE))
}

#[cfg(test)]
mod tests;
