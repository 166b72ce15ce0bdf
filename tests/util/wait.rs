//! Waiting for what must happen. Every wait ends: with the event, or with a deadline that only a test that fails
//! reaches.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

/// For everything that must happen, where no other time is promised.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// How often a condition that nothing announces is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Whether this came true within the time; for what nothing announces.
pub fn eventually(time: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + time;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(LOOK);
    }
}

/// Asks again and again until there is an answer; panics with `what` was asked if none comes.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let mut answer = None;
    eventually(DEADLINE, || {
        answer = ask();
        answer.is_some()
    });
    answer.unwrap_or_else(|| panic!("{what}: not within {DEADLINE:?}"))
}

/// Plays each of these cases in a thread of its own, so that they wait beside each other; panics if one does.
pub fn side_by_side<T: Send>(cases: impl IntoIterator<Item = T>, play: impl Fn(T) + Sync) {
    thread::scope(|scope| {
        for case in cases {
            scope.spawn(|| play(case));
        }
    });
}

/// Waits until a number that grows has stood still for a while: whoever makes it grow is blocked.
pub fn until_still(mut number: impl FnMut() -> u64) -> u64 {
    const STILL: Duration = Duration::from_millis(300);
    let (mut last, mut since) = (number(), Instant::now());
    let still = eventually(DEADLINE, || {
        let now = number();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        since.elapsed() >= STILL
    });
    assert!(still, "it does not stop growing: {last}");
    last
}

/// A value that one thread changes and another waits for.
#[derive(Default)]
pub struct Shared<T> {
    value: Mutex<T>,
    changed: Condvar,
}

impl<T> Shared<T> {
    /// Changes it, and wakes who waits.
    pub fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let result = change(&mut lock(&self.value));
        self.changed.notify_all();
        result
    }

    /// Looks at it.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        lock(&self.value)
    }

    /// Waits until it fulfils this, for so long at most; whether it does. It is asked again every second at least.
    pub fn wait(&self, time: Duration, condition: impl Fn(&T) -> bool) -> bool {
        let deadline = Instant::now() + time;
        let mut value = self.lock();
        while !condition(&value) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.changed.wait_timeout(value, left.min(Duration::from_secs(1)));
            value = waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
        true
    }
}

/// Locks also what a thread that panicked has left: the test that fails still shows what it knows.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
