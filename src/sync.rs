//! The locks, flags and clock of what has a model test. In a file of its own so that the test can put others in their place,
//! which try every order of the threads.

mod poison;

pub(crate) use poison::Unpoisoned;
pub(crate) use std::sync::atomic::{AtomicBool, Ordering};
pub(crate) use std::sync::{Arc, Condvar, Mutex, MutexGuard};

/// The time.
pub(crate) fn now() -> std::time::Instant {
    std::time::Instant::now()
}
