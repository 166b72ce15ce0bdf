//! The desk's lock, bell and clock, as the model has them: a lock that knows who holds it, a bell that may not be rung
//! under it, and a clock that goes on only while somebody waits for it.

#[path = "../../src/sync/poison.rs"]
mod poison;

pub(crate) use poison::Unpoisoned;
pub use shuttle::sync::Arc;
use shuttle::thread::ThreadId;
use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::sync::LockResult;
use std::time::{Duration, Instant};

/// Waits that are longer end by a bell only: one that is not rung leaves a thread that waits for ever.
const SHORT: Duration = Duration::from_secs(60);

// all threads of a schedule run on one thread of the system
std::thread_local! {
    /// Who holds the desk's lock.
    static HOLDER: Cell<Option<ThreadId>> = const { Cell::new(None) };
    static CLOCK: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// To be called first in every schedule.
pub fn restart() {
    HOLDER.set(None);
    CLOCK.set(Some(Instant::now()));
}

/// The time of the model.
pub fn now() -> Instant {
    CLOCK.get().unwrap()
}

/// Something is done now that has no place under the lock.
pub fn assert_unlocked(what: &str) {
    let held = HOLDER.get().is_some_and(|holder| holder == shuttle::thread::current().id());
    // a second panic would hide the first
    assert!(!held || std::thread::panicking(), "{what} under the lock");
}

/// The lock of the desk.
pub struct Mutex<T>(shuttle::sync::Mutex<T>);

/// Holds it.
pub struct MutexGuard<'a, T> {
    lock: &'a Mutex<T>,
    /// Always there, but while it is given back.
    held: Option<shuttle::sync::MutexGuard<'a, T>>,
}

impl<T> Mutex<T> {
    pub fn new(value: T) -> Self {
        Mutex(shuttle::sync::Mutex::new(value))
    }

    // as the standard one has it
    #[allow(clippy::unnecessary_wraps)]
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        assert_unlocked("the desk's lock");
        Ok(self.hold(self.0.lock().unwrap()))
    }

    fn hold<'a>(&'a self, held: shuttle::sync::MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        HOLDER.set(Some(shuttle::thread::current().id()));
        MutexGuard { lock: self, held: Some(held) }
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        HOLDER.set(None);
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.held.as_ref().unwrap()
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.held.as_mut().unwrap()
    }
}

/// The bell of the clock.
pub struct Condvar(shuttle::sync::Condvar);

impl Condvar {
    pub fn new() -> Self {
        Condvar(shuttle::sync::Condvar::new())
    }

    pub fn notify_all(&self) {
        assert_unlocked("the clock's bell");
        self.0.notify_all();
    }

    /// Waits for the bell if the time is long, and otherwise for the end of it.
    // as the standard one has it
    #[allow(clippy::unnecessary_wraps)]
    pub fn wait_timeout<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        time: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, ())> {
        let (lock, held) = (guard.lock, guard.held.take().unwrap());
        drop(guard);
        if time >= SHORT {
            return Ok((lock.hold(self.0.wait(held).unwrap()), ()));
        }
        drop(held);
        shuttle::thread::yield_now();
        CLOCK.set(Some(now() + time));
        Ok((lock.lock().unpoisoned(), ()))
    }
}
