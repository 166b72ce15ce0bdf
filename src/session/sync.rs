//! The locks that the desk is made of. In a file of its own so that the desk's model test can put others in their
//! place, which try every order of the threads.

pub(super) use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
