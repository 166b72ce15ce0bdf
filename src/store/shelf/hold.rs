//! Holds: of each name, one session at a time.

use super::super::name::Name;
use super::super::place;
use super::no::No;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Names that sessions work on at this moment.
#[derive(Clone, Default)]
pub(super) struct Holds(Arc<Mutex<HashMap<Name, Held>>>);

struct Held {
    key: String,
    partial: String,
    /// Bytes that it may grow to.
    reserved: u64,
}

/// A name that one session works on, until this is dropped.
pub(super) struct Hold {
    holds: Holds,
    name: Name,
}

impl Holds {
    /// # Errors
    /// Somebody has it.
    pub(super) fn take(&self, key: &str, name: &Name) -> Result<Hold, No> {
        let mut held = self.lock();
        match held.get(name) {
            Some(held) if held.key == key => return Err(No::Busy),
            Some(_) => return Err(No::Taken),
            None => {}
        }
        let (key, partial) = (key.to_owned(), place::partial(key, name));
        held.insert(name.clone(), Held { key, partial, reserved: 0 });
        Ok(Hold { holds: self.clone(), name: name.clone() })
    }

    /// Whether somebody works on this partial.
    pub(super) fn has_partial(&self, path: &str) -> bool {
        self.lock().values().any(|held| held.partial == path)
    }

    /// What all files of a key that sessions work on may grow to, in bytes.
    pub(super) fn reserved(&self, key: &str) -> u64 {
        self.lock().values().filter(|held| held.key == key).map(|held| held.reserved).sum()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hold {
    /// The file may grow to so many bytes; to how many before.
    pub(super) fn reserve(&self, bytes: u64) -> u64 {
        let mut held = self.holds.lock();
        held.get_mut(&self.name).map_or(0, |held| std::mem::replace(&mut held.reserved, bytes))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.holds.lock().remove(&self.name);
    }
}
