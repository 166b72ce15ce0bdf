//! Locks after a panic of whoever held them.

use std::sync::LockResult;

/// What a lock gave, whoever panicked under it: a panic ends the process, so nobody is left to mind.
pub(crate) trait Unpoisoned {
    /// What the lock or the wait gives.
    type Held;

    /// That, poisoned or not.
    fn unpoisoned(self) -> Self::Held;
}

impl<T> Unpoisoned for LockResult<T> {
    type Held = T;

    fn unpoisoned(self) -> T {
        self.unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
