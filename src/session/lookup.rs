//! The addresses of a name: asked for by a thread of its own, and remembered.
//!
//! A resolver without a server that answers takes half a minute to say so. Whoever knows an address from before never
//! waits for it: the question is asked beside the dialling, and its answer is for the next attempt. Never more than
//! one thread asks for a name at a time. Tries nothing again by itself.

use super::resolve::NotResolved;
use crate::error::cannot_start_thread;
use crate::sync::Unpoisoned;
use crate::sys::thread::spawn;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// What the resolver says about the name.
pub(crate) type Resolution = Result<Vec<SocketAddr>, NotResolved>;

/// One name's addresses, for all threads that dial it.
pub(crate) struct Lookup {
    shared: Arc<Shared>,
}

struct Shared {
    ask: Box<dyn Fn() -> Resolution + Send + Sync>,
    known: Mutex<Known>,
    answered: Condvar,
}

#[derive(Default)]
struct Known {
    /// As resolved last. A name that cannot be resolved any more keeps them.
    addresses: Vec<SocketAddr>,
    /// Why the last question that failed did.
    failure: Option<NotResolved>,
    /// A thread asks now.
    asking: bool,
    /// How many answers there have been.
    answers: u64,
}

impl Lookup {
    /// Nothing is asked yet. `ask` may take as long as it likes.
    pub(crate) fn new(ask: impl Fn() -> Resolution + Send + Sync + 'static) -> Self {
        let shared = Shared { ask: Box::new(ask), known: Mutex::default(), answered: Condvar::new() };
        Lookup { shared: Arc::new(shared) }
    }

    /// The addresses, at once where some are known; the resolver is asked again all the same. Otherwise waits for its
    /// answer, for `patience` at most.
    ///
    /// # Errors
    /// Nothing is known, and the resolver said so, or has not answered yet.
    pub(crate) fn addresses(&self, patience: Duration) -> Resolution {
        let shared = &self.shared;
        let mut known = shared.lock();
        let before = known.answers;
        if !known.asking {
            let asked = self.ask();
            known.asking = asked.is_ok();
            if let (Err(why), true) = (asked, known.addresses.is_empty()) {
                return Err(NotResolved::Unanswered(why));
            }
        }
        let waits = |known: &mut Known| known.addresses.is_empty() && known.answers == before;
        let waited = shared.answered.wait_timeout_while(known, patience, waits);
        let known = waited.unpoisoned().0;
        match (known.addresses.is_empty(), &known.failure) {
            (false, _) => Ok(known.addresses.clone()),
            (true, Some(failure)) if known.answers > before => Err(failure.clone()),
            (true, _) => Err(NotResolved::Unanswered("no answer from the resolver".into())),
        }
    }

    /// Starts the thread that asks once.
    fn ask(&self) -> Result<(), String> {
        let shared = self.shared.clone();
        let started = spawn("resolver", move || {
            let answer = (shared.ask)();
            shared.lock().take(answer);
            shared.answered.notify_all();
        });
        started.map_err(|error| cannot_start_thread(&error))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unpoisoned()
    }
}

impl Known {
    fn take(&mut self, answer: Resolution) {
        match answer {
            Ok(addresses) => self.addresses = addresses,
            Err(failure) => self.failure = Some(failure),
        }
        self.asking = false;
        self.answers += 1;
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};

    /// Far beyond what a loaded machine needs.
    const LONG: Duration = Duration::from_secs(60);

    /// A resolver that answers each question when the test says what; those beyond the last never.
    pub(in crate::session) fn told() -> (Sender<Resolution>, Lookup) {
        let (sender, answers) = channel();
        let answers = Mutex::new(answers);
        let ask = move || {
            let told = answers.lock().unwrap().recv();
            told.unwrap_or_else(|_| {
                loop {
                    std::thread::park();
                }
            })
        };
        (sender, Lookup::new(ask))
    }

    fn at(port: u16) -> Vec<SocketAddr> {
        vec![SocketAddr::from(([127, 0, 0, 1], port))]
    }

    fn unknown() -> NotResolved {
        NotResolved::Unknown("name or service not known".into())
    }

    fn not_yet() -> NotResolved {
        NotResolved::Unanswered("temporary failure in name resolution".into())
    }

    #[test]
    fn the_first_answer_is_waited_for_and_failures_are_told_as_they_are() {
        let (resolver, lookup) = told();
        for answer in [Err(not_yet()), Err(unknown()), Err(not_yet()), Ok(at(1))] {
            resolver.send(answer.clone()).unwrap();
            assert_eq!(lookup.addresses(LONG), answer);
        }
    }

    #[test]
    fn a_resolver_that_says_nothing_is_not_waited_for_longer_than_said() {
        let (resolver, lookup) = told();
        let silent = NotResolved::Unanswered("no answer from the resolver".into());
        for _ in 0..2 {
            assert_eq!(lookup.addresses(Duration::from_millis(1)), Err(silent.clone()));
        }
        // both have asked one question
        resolver.send(Ok(at(1))).unwrap();
        assert_eq!(lookup.addresses(LONG), Ok(at(1)));
    }

    #[test]
    fn who_knows_an_address_does_not_wait_and_the_next_gets_the_new_ones() {
        let (resolver, lookup) = told();
        resolver.send(Ok(at(1))).unwrap();
        assert_eq!(lookup.addresses(LONG), Ok(at(1)));
        for _ in 0..3 {
            assert_eq!(lookup.addresses(LONG), Ok(at(1)), "the question is open");
        }
        resolver.send(Ok(at(2))).unwrap();
        while lookup.addresses(LONG) != Ok(at(2)) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_name_that_is_unknown_later_keeps_its_addresses() {
        let (resolver, lookup) = told();
        for answer in [Ok(at(1)), Err(unknown()), Err(not_yet())] {
            resolver.send(answer).unwrap();
        }
        drop(resolver);
        let mut answers = 0;
        while answers < 3 {
            assert_eq!(lookup.addresses(LONG), Ok(at(1)));
            answers = lookup.shared.lock().answers;
            std::thread::yield_now();
        }
    }
}
