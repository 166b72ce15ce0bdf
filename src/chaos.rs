//! The fault plan: which frame breaks its connection, and how. Pure, and the same each run.
//!
//! Frames are counted over the session, across all its connections, so that a harm strikes the connection
//! that is in use, and every run is harmed at the same frames, in the same ways. The last words of
//! a session (bye, abort) are not counted: harm to them changes nothing but how long the other end lingers.

use crate::sync::Unpoisoned;
use std::fmt;
use std::sync::{Arc, Mutex};

/// What is done to the connection that sends or receives a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Harm {
    /// Closed in order (FIN), with no farewell of the protocol.
    Close,
    /// Reset (RST): what is still in the kernel's buffers is lost.
    Reset,
    /// Broken in the middle of a leg, of which the peer has got a part.
    Cut,
    /// Left open, but nothing more is sent or read.
    Silence,
}

impl fmt::Display for Harm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Harm::Close => "closed by chaos",
            Harm::Reset => "reset by chaos",
            Harm::Cut => "cut by chaos",
            Harm::Silence => "silenced by chaos",
        })
    }
}

/// The harms take turns in this order: from the mildest to the one that takes longest to notice.
const TURNS: [Harm; 4] = [Harm::Close, Harm::Reset, Harm::Cut, Harm::Silence];

/// Counts frames and says which of them does harm.
#[derive(Debug, Clone)]
pub(crate) struct Chaos {
    every: u64,
    /// Frames until the next harm, always 1 to `every`.
    left: u64,
    /// How many harms have been done.
    done: usize,
}

impl Chaos {
    /// A plan that does harm at every `n`th frame. 0 is taken as 1; below 2 no session gets anywhere.
    pub(crate) fn new(n: u64) -> Self {
        let every = n.max(1);
        Chaos { every, left: every, done: 0 }
    }

    /// Counts one frame; what shall happen to its connection, if anything.
    pub(crate) fn frame(&mut self) -> Option<Harm> {
        self.left -= 1;
        if self.left > 0 {
            return None;
        }
        self.left = self.every;
        let harm = TURNS[self.done % TURNS.len()];
        self.done += 1;
        Some(harm)
    }
}

/// One plan for all connections of a process; by default there is none, and nothing is harmed. Clones are the
/// same plan.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hazard(Option<Arc<Mutex<Chaos>>>);

impl Hazard {
    /// Harm at every `n`th frame, if `n` is given.
    pub(crate) fn new(n: Option<u64>) -> Self {
        Hazard(n.map(|n| Arc::new(Mutex::new(Chaos::new(n)))))
    }

    /// Counts one frame, sent or received on any connection; what shall happen to its connection.
    pub(crate) fn frame(&self) -> Option<Harm> {
        self.0.as_ref()?.lock().unpoisoned().frame()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_third_frame_in_turn() {
        let mut chaos = Chaos::new(3);
        let first: Vec<_> = (0..15).map(|_| chaos.frame()).collect();
        let harmed: Vec<_> = first.iter().enumerate().filter_map(|(i, h)| h.map(|h| (i + 1, h))).collect();
        assert_eq!(
            harmed,
            [(3, Harm::Close), (6, Harm::Reset), (9, Harm::Cut), (12, Harm::Silence), (15, Harm::Close)]
        );
    }

    #[test]
    fn the_same_each_run() {
        let run = || {
            let mut chaos = Chaos::new(7);
            (0..1000).map(|_| chaos.frame()).collect::<Vec<_>>()
        };
        assert_eq!(run(), run());
        assert_eq!(run().iter().flatten().count(), 1000 / 7);
    }

    #[test]
    fn connections_share_one_plan() {
        let (one, other) = (Hazard::default(), Hazard::new(Some(2)));
        assert_eq!((one.frame(), one.frame()), (None, None));
        let same = other.clone();
        assert_eq!((other.frame(), same.frame(), same.frame()), (None, Some(Harm::Close), None));
    }

    #[test]
    fn the_smallest_plans_do_not_panic() {
        assert_eq!(Chaos::new(0).frame(), Some(Harm::Close));
        assert_eq!(Chaos::new(1).frame(), Some(Harm::Close));
        assert_eq!(Chaos::new(u64::MAX).frame(), None);
    }
}
