//! The poll of the local sockets, which a connection's thread may borrow.
//!
//! The poll has a thread of its own. A connection's thread that writes to the local sockets may borrow the poll, and waits for
//! local sockets and for its connection at once then: a question and its answer go through the same two sockets, one thread
//! carries both, and no second one is woken. The own thread keeps the deadlines meanwhile.
//!
//! The borrower has the poll in its own poll, which tells when there is something to look at.

use super::handover::LEFT_MAX;
use super::loan::Loans;
use crate::sync::Unpoisoned;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The poll that can be lent and the waker, in the poll in which the own thread waits.
const POLL: Token = Token(0);
const CALL: Token = Token(1);

/// The poll could not be registered again: the own thread looks so often.
const UNHEARD: Duration = Duration::from_millis(50);

/// While the poll is lent, the own thread looks so often all the same: a borrower may be held up, by memory that it waits
/// for or by a leg that is long to decode.
const LENT: Duration = Duration::from_millis(250);

/// A poll that may be borrowed from its thread.
pub(crate) struct Poller {
    /// Held by whoever looks and does what the poll says, and never while anybody waits in a poll.
    poll: Mutex<(Poll, Events)>,
    /// The poll's, for the polls in which threads wait for it.
    descriptor: RawFd,
    registry: Registry,
    waker: Arc<Waker>,
    loans: Loans,
    /// Wakes the own thread, whoever has the poll.
    call: Waker,
}

/// Where the poll's own thread waits.
pub(crate) struct Own {
    poll: Poll,
    events: Events,
    /// Whether it hears the poll.
    hears: bool,
}

impl Poller {
    /// A poll of nothing but its waker, with this token; and where its own thread waits.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub(crate) fn new(waker: Token) -> io::Result<(Self, Own)> {
        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let waker = Arc::new(Waker::new(&registry, waker)?);
        let own = Own { poll: Poll::new()?, events: Events::with_capacity(2), hears: false };
        let call = Waker::new(own.poll.registry(), CALL)?;
        let descriptor = poll.as_raw_fd();
        let poll = Mutex::new((poll, Events::with_capacity(LEFT_MAX)));
        Ok((Poller { poll, descriptor, registry, waker, loans: Loans::default(), call }, own))
    }

    /// Where sockets are registered.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Wakes whoever has the poll.
    pub(crate) fn waker(&self) -> &Arc<Waker> {
        &self.waker
    }

    /// One turn of the poll's own thread: `heed` is given what the poll says, and sets when to be called if nothing happens
    /// before.
    pub(crate) fn wait(&self, own: &mut Own, mut heed: impl FnMut(&Events, &mut Option<Instant>)) {
        let (lent, until) = self.loans.own_turn();
        if own.hears == lent {
            let (registry, mut poll) = (own.poll.registry(), SourceFd(&self.descriptor));
            own.hears = !lent && registry.register(&mut poll, POLL, Interest::READABLE).is_ok();
            if lent {
                // fails only where it was not registered
                let _ = registry.deregister(&mut poll);
            }
        }
        let left = until.map(|at| at.saturating_duration_since(Instant::now()));
        let unheard = (!own.hears).then_some(if lent { LENT } else { UNHEARD });
        // an interruption is a wake-up like any other
        let _ = own.poll.poll(&mut own.events, left.into_iter().chain(unheard).min());
        while self.look_now(None, &mut heed) == Some(true) {}
    }

    /// Borrows it from whoever has it: from now on, this registry's poll tells under this token when to [look](Self::look).
    /// The loan's number; the borrower is to look at once.
    ///
    /// # Errors
    /// The kernel's; nothing was borrowed.
    pub(crate) fn borrow(&self, registry: &Registry, token: Token) -> io::Result<u64> {
        registry.register(&mut SourceFd(&self.descriptor), token, Interest::READABLE)?;
        Ok(self.loans.begin())
    }

    /// For a borrower: has `heed` do what [`Poller::wait`] would, without waiting. Whether there may be more to look at; None
    /// if another thread has borrowed the poll since.
    pub(crate) fn look(&self, loan: u64, heed: impl FnMut(&Events, &mut Option<Instant>)) -> Option<bool> {
        self.look_now(Some(loan), heed)
    }

    /// Ends a loan, if no later one has ended it.
    pub(crate) fn give_back(&self, loan: u64, registry: &Registry) {
        // fails only where it was not registered
        let _ = registry.deregister(&mut SourceFd(&self.descriptor));
        if self.loans.end(loan) {
            self.call_own();
        } else {
            // Before Linux 7.1 a look finds nothing, whatever there is, at the moment in which another poll asks the same. Whoever
            // has the poll may have looked when this borrower's did, and this one does not look any more.
            self.wake();
        }
    }

    /// Wakes whoever has the poll.
    pub(crate) fn wake(&self) {
        // fails only when the kernel's counter is full, and then it is awake
        let _ = self.waker.wake();
    }

    /// Has `heed` do what the poll says, for this loan or for the own thread. Whether there may be more; None if the loan is
    /// over.
    fn look_now(
        &self,
        loan: Option<u64>,
        mut heed: impl FnMut(&Events, &mut Option<Instant>),
    ) -> Option<bool> {
        let mut held = self.poll.lock().unpoisoned();
        // asked while nobody else looks: if the loan ends only now, the own thread looks afterwards, and sees the new deadline
        if loan.is_some_and(|loan| !self.loans.is_current(loan)) {
            return None;
        }
        let (poll, events) = &mut *held;
        while poll.poll(events, Some(Duration::ZERO)).is_err_and(|e| e.kind() == ErrorKind::Interrupted) {}
        let mut until = self.loans.until();
        heed(events, &mut until);
        if self.loans.set_until(until) {
            self.call_own();
        }
        Some(events.iter().count() >= LEFT_MAX)
    }

    fn call_own(&self) {
        // as for `wake`
        let _ = self.call.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    const WAKER: Token = Token(1);

    /// A poller whose own thread tells of each call of `heed` that has events.
    fn served() -> (Arc<Poller>, Receiver<usize>) {
        let (poller, mut place) = Poller::new(WAKER).unwrap();
        let poller = Arc::new(poller);
        let (tell, told): (Sender<usize>, _) = channel();
        let own = poller.clone();
        std::thread::spawn(move || {
            let mut open = true;
            while open {
                own.wait(&mut place, |events, _| {
                    let count = events.iter().count();
                    open = count == 0 || tell.send(count).is_ok();
                });
            }
        });
        (poller, told)
    }

    fn borrower() -> (Poll, Events) {
        (Poll::new().unwrap(), Events::with_capacity(4))
    }

    fn events_of_a_look(poller: &Poller, loan: u64) -> Option<usize> {
        let mut seen = 0;
        let more = poller.look(loan, |events, _| seen = events.iter().count())?;
        assert!(!more);
        Some(seen)
    }

    #[test]
    fn a_borrower_hears_what_its_thread_would_have_heard_and_the_thread_has_the_poll_back() {
        let (poller, told) = served();
        poller.waker().wake().unwrap();
        assert_eq!(told.recv(), Ok(1), "nobody has borrowed it");
        let (mut poll, mut events) = borrower();
        let loan = poller.borrow(poll.registry(), POLL).unwrap();
        assert_eq!(events_of_a_look(&poller, loan), Some(0));
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        // the own thread is on its way out of the poll, and may be the one that hears it
        poller.waker().wake().unwrap();
        poll.poll(&mut events, Some(Duration::from_secs(1))).unwrap();
        assert!(events.iter().all(|event| event.token() == POLL));
        if events_of_a_look(&poller, loan) == Some(0) {
            assert_eq!(told.recv(), Ok(1));
        }
        poller.give_back(loan, poll.registry());
        assert_eq!(poller.look(loan, |_, _| panic!("the loan has ended")), None);
        poller.waker().wake().unwrap();
        assert_eq!(told.recv(), Ok(1));
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        assert!(events.is_empty(), "it is not told any more");
    }

    #[test]
    fn what_waits_when_a_loan_begins_or_ends_is_not_lost() {
        let (poller, mut own) = Poller::new(WAKER).unwrap();
        let (mut poll, mut events) = borrower();
        poller.waker().wake().unwrap();
        let first = poller.borrow(poll.registry(), POLL).unwrap();
        poll.poll(&mut events, None).unwrap();
        assert!(events.iter().any(|event| event.token() == POLL), "told of what was there before");
        let (other, _) = borrower();
        let second = poller.borrow(other.registry(), POLL).unwrap();
        assert_eq!(events_of_a_look(&poller, first), None, "another has it");
        assert_eq!(events_of_a_look(&poller, second), Some(1));
        poller.give_back(first, poll.registry());
        let again = "an end of the first ends not the second, which looks again";
        assert_eq!(events_of_a_look(&poller, second), Some(1), "{again}");
        poller.waker().wake().unwrap();
        poller.give_back(second, other.registry());
        poller.wait(&mut own, |events, _| assert_eq!(events.iter().count(), 1));
    }

    #[test]
    fn the_own_thread_keeps_deadlines_while_the_poll_is_lent() {
        let (poller, mut own) = Poller::new(WAKER).unwrap();
        let (poll, _) = borrower();
        let loan = poller.borrow(poll.registry(), POLL).unwrap();
        let soon = Instant::now() + Duration::from_millis(5);
        poller.look(loan, |_, until| *until = Some(soon)).unwrap();
        // it is woken for the loan, and for the time
        while Instant::now() < soon {
            poller.wait(&mut own, |_, until| assert_eq!(*until, Some(soon)));
        }
    }
}
