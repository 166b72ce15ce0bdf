//! Summing: a long file's sum is made by a thread of its own, beside whoever reads or writes its bytes.
//!
//! The thread is given handles on the bytes and copies none. What waits for it is bounded; beyond that who gives waits.
//! Short files are summed up where they are: a thread is dearer than that.

use super::sum::Running;
use crate::sys::thread::spawn;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::ops::Range;
use std::sync::Arc;

/// From here on it has a thread: bytes that were added.
const LONG: u64 = 2 << 20;
/// Pieces that wait for the thread: enough to keep it busy. One is a part of a leg, or all of it; either keeps the whole leg,
/// which the receiver's window does not count any more.
pub(crate) const WAITING_MAX: usize = 4;

/// A handle on bytes.
pub(crate) type Shared = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// The sum of a file that grows.
pub(crate) struct Summing {
    length: u64,
    /// Since it was all here.
    added: u64,
    /// All of it, unless a thread has it.
    running: Running,
    thread: Option<Summer>,
}

/// A thread takes pieces, and gives the whole back when no more come.
struct Summer {
    pieces: Sender<(Shared, Range<usize>)>,
    result: Receiver<Running>,
}

impl Summing {
    /// Goes on behind what is summed up already.
    pub(crate) fn new(running: Running) -> Self {
        Summing { length: running.length(), added: 0, running, thread: None }
    }

    /// Bytes so far.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// These bytes come next.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.settled().add(bytes);
        self.length += bytes.len() as u64;
    }

    /// The same of these, which are kept until they are summed up.
    ///
    /// # Panics
    /// There are no such bytes.
    pub(crate) fn add_shared(&mut self, whole: &Shared, range: Range<usize>) {
        let more = range.len() as u64;
        if self.added >= LONG && self.thread.is_none() {
            self.part();
        }
        match &self.thread {
            None => self.running.add(&(**whole).as_ref()[range]),
            // it ends after this does
            Some(summer) => drop(summer.pieces.send((whole.clone(), range))),
        }
        (self.added, self.length) = (self.added + more, self.length + more);
    }

    /// Goes back to one of the marks, or to nothing. False: there is no such mark.
    pub(crate) fn back(&mut self, length: u64) -> bool {
        let back = self.settled().back(length);
        if back {
            self.length = length;
        }
        back
    }

    /// All of it, as soon as it is summed up.
    pub(crate) fn settled(&mut self) -> &mut Running {
        if let Some(Summer { pieces, result }) = self.thread.take() {
            drop(pieces);
            self.added = 0;
            // it always comes: a thread that panics ends the process
            self.running = result.recv().unwrap_or_else(|_| Running::new(u64::MAX));
        }
        &mut self.running
    }

    /// Gives it to a thread, if there is one to be had.
    fn part(&mut self) {
        let mut running = self.running.clone();
        let (pieces, work) = bounded::<(Shared, Range<usize>)>(WAITING_MAX);
        let (done, result) = bounded(1);
        let thread = spawn("sum", move || {
            for (whole, range) in work {
                running.add(&(*whole).as_ref()[range]);
            }
            // who does not want it any more has gone
            let _ = done.send(running);
        });
        match thread {
            Ok(()) => self.thread = Some(Summer { pieces, result }),
            // it is tried again after as much
            Err(_) => self.added = 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sum::Sum;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_the_same_sum_whoever_makes_it(
            pieces in proptest::collection::vec((0usize..400_000, any::<bool>(), 0usize..8), 1..40)
        ) {
            let bytes: Vec<u8> = (0..400_000u32).map(|n| (n * 7 % 251) as u8).collect();
            let whole: Shared = Arc::new(bytes.clone());
            let mut summing = Summing::new(Running::new(64 << 10));
            let mut model = Running::new(64 << 10);
            for (end, shared, ask) in pieces {
                let range = end / 3..end;
                model.add(&bytes[range.clone()]);
                if shared {
                    summing.add_shared(&whole, range);
                } else {
                    summing.add(&bytes[range]);
                }
                prop_assert_eq!(summing.length(), model.length());
                if ask == 0 {
                    prop_assert_eq!(summing.settled().marks(), model.marks());
                }
            }
            prop_assert_eq!(summing.settled().sum(), model.sum());
            prop_assert!(summing.back(0));
            prop_assert_eq!((summing.length(), summing.settled().sum()), (0, Sum::of(b"")));
        }
    }

    #[test]
    fn a_long_one_has_a_thread_that_ends_with_it() {
        let whole: Shared = Arc::new(vec![7; 256 << 10]);
        let mut summing = Summing::new(Running::new(1 << 20));
        for _ in 0..40 {
            summing.add_shared(&whole, 0..256 << 10);
        }
        assert!(summing.thread.is_some());
        assert_eq!(summing.settled().sum(), Sum::of(&vec![7; 10 << 20]));
        assert_eq!(Arc::strong_count(&whole), 1);
    }
}
