//! Claims: of each name, one visitor at a time.
//!
//! A visitor is a key, and a number that no other one has at that moment. Nobody is ever put out here: whoever wants a
//! name hears who has it, and may wait until that one lets go of it.

use super::name::Name;
use crate::sync::Unpoisoned;
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// Whoever wants a name waits so long before anything else: the end of one that is gone may be behind all that it sent.
const SEEN: Duration = Duration::from_millis(500);
/// How long one that gives way has to let go of it: until what has come is on the disk, or its command has ended.
const LETS_GO: Duration = Duration::from_secs(10);

/// Names that visitors have at this moment, each with a value.
pub(crate) struct Claims<V>(Arc<Shared<V>>);

struct Shared<V> {
    held: Mutex<HashMap<Name, Entry<V>>>,
    /// A name is free.
    freed: Condvar,
}

/// A name that somebody has.
pub(super) struct Entry<V> {
    /// Whose it is.
    pub(super) key: String,
    visit: u64,
    /// What goes with it.
    pub(super) value: V,
}

/// A name that one visitor has, until this is dropped.
pub(crate) struct Claim<V> {
    claims: Claims<V>,
    name: Name,
}

/// Somebody has the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// Which visitor.
    pub(crate) by: u64,
    /// Its key is that of whoever asked.
    pub(crate) own: bool,
}

impl<V> Claims<V> {
    /// # Errors
    /// Somebody has it.
    pub(crate) fn take(&self, key: &str, visit: u64, name: &Name, value: V) -> Result<Claim<V>, Held> {
        let mut held = self.lock();
        if let Some(entry) = held.get(name) {
            return Err(Held { by: entry.visit, own: entry.key == key });
        }
        held.insert(name.clone(), Entry { key: key.to_owned(), visit, value });
        Ok(Claim { claims: self.clone(), name: name.clone() })
    }

    /// Waits until that visitor has the name no more, which it lets go of if it `gives_way`. False: it keeps it.
    pub(crate) fn await_turn(&self, name: &Name, visit: u64, gives_way: impl Fn(u64) -> bool) -> bool {
        self.await_free(name, visit, SEEN) || (gives_way(visit) && self.await_free(name, visit, LETS_GO))
    }

    /// Waits until that visitor has the name no more, but no longer than this; whether that is so.
    fn await_free(&self, name: &Name, visit: u64, time: Duration) -> bool {
        let has = |held: &mut HashMap<Name, Entry<V>>| held.get(name).is_some_and(|e| e.visit == visit);
        let waited = self.0.freed.wait_timeout_while(self.lock(), time, has);
        !waited.unpoisoned().1.timed_out()
    }

    /// All of them.
    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<Name, Entry<V>>> {
        self.0.held.lock().unpoisoned()
    }
}

impl<V> Claim<V> {
    /// Does something with its value.
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut V) -> R) -> Option<R> {
        self.claims.lock().get_mut(&self.name).map(|entry| act(&mut entry.value))
    }
}

impl<V> Drop for Claim<V> {
    fn drop(&mut self) {
        self.claims.lock().remove(&self.name);
        self.claims.0.freed.notify_all();
    }
}

impl<V> Clone for Claims<V> {
    fn clone(&self) -> Self {
        Claims(self.0.clone())
    }
}

impl<V> Default for Claims<V> {
    fn default() -> Self {
        Claims(Arc::new(Shared { held: Mutex::default(), freed: Condvar::new() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    const SOON: Duration = Duration::from_millis(20);
    const EVER: Duration = Duration::from_secs(60);

    #[test]
    fn a_name_is_one_visitors_at_a_time_and_the_others_hear_whose() {
        let (claims, name) = (Claims::default(), Name::commanded("run7").unwrap());
        let claim = claims.take("a", 1, &name, ()).ok().unwrap();
        assert_eq!(claims.take("a", 2, &name, ()).err(), Some(Held { by: 1, own: true }));
        assert_eq!(claims.take("b", 3, &name, ()).err(), Some(Held { by: 1, own: false }));
        drop(claim);
        assert!(claims.take("b", 3, &name, ()).is_ok());
    }

    #[test]
    fn a_name_is_waited_for_where_whoever_has_it_gives_way() {
        let (claims, name) = (Claims::default(), Name::commanded("run7").unwrap());
        let claim = Mutex::new(claims.take("a", 1, &name, ()).ok());
        assert!(!claims.await_turn(&name, 1, |_| false));
        let gives_way = |visit| {
            let _ = claim.lock().unwrap().take();
            visit == 1
        };
        assert!(claims.await_turn(&name, 1, gives_way));
        assert!(claims.await_turn(&name, 1, |_| panic!("it does not have it")));
    }

    #[test]
    fn of_two_that_wait_for_a_name_one_has_it_then_and_the_other_hears_so() {
        let (claims, name) = (Claims::default(), Name::commanded("run7").unwrap());
        let claim = claims.take("a", 1, &name, ()).ok().unwrap();
        assert!(!claims.await_free(&name, 1, SOON));
        assert!(claims.await_free(&name, 2, SOON), "that one does not have it");
        let waits = |visit| {
            let (claims, name) = (claims.clone(), name.clone());
            thread::spawn(move || (claims.await_free(&name, 1, EVER), claims.take("b", visit, &name, ())))
        };
        let both = [2, 3].map(waits);
        drop(claim);
        // the first one's claim is still there when the second one has asked
        let both = both.map(|one| one.join().unwrap());
        assert!(both.iter().all(|(free, _)| *free));
        let mut takes: Vec<_> =
            both.into_iter().map(|(_, take)| take.map(|claim| claim.name.clone())).collect();
        takes.sort_by_key(Result::is_err);
        assert_eq!(takes[0].as_ref().ok(), Some(&name));
        assert!(takes[1].as_ref().is_err_and(|held| held.own), "{takes:?}");
    }
}
