//! What the poll says of a connection's socket, from its owner to whoever writes.
//!
//! The poll tells the owner with every byte that comes that the socket takes more, too. Mostly nobody waits for that, and
//! the owner need not wait for the writer's lock to find out.
//!
//! What always holds: if the writer waits, and the poll speaks after the socket took no more, then the owner is told that
//! the writer waits, or the writer that the poll has spoken. Each says its own first, and asks for the other's then.

use std::sync::atomic::{AtomicBool, Ordering};

/// One socket's.
#[derive(Debug, Default)]
pub struct Drain {
    /// The poll has said that the socket takes more, and the writer has not heard it.
    said: AtomicBool,
    /// The writer waits for that.
    awaited: AtomicBool,
}

impl Drain {
    /// For the owner: the poll says that the socket takes more. Whether the writer waits for that.
    pub(super) fn say(&self) -> bool {
        self.said.store(true, Ordering::SeqCst);
        self.awaited.load(Ordering::SeqCst)
    }

    /// For whoever has the writer: whether the poll has said so since this was asked last.
    pub(super) fn hear(&self) -> bool {
        self.said.swap(false, Ordering::SeqCst)
    }

    /// For whoever has the writer: it `waits` for the poll from now on, or it does not. Whether the poll has spoken already.
    pub(super) fn wait(&self, waits: bool) -> bool {
        self.awaited.store(waits, Ordering::SeqCst);
        waits && self.hear()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_comes_second_knows_of_the_first() {
        let drain = Drain::default();
        assert!(!drain.wait(true) && drain.say() && drain.hear(), "the writer waited before");
        assert!(!drain.wait(false) && !drain.say(), "nobody waits");
        assert!(drain.wait(true) && !drain.wait(true), "the poll had spoken before, once");
    }

    #[test]
    fn of_two_at_once_one_knows_of_the_other() {
        for _ in 0..1000 {
            let drain = Drain::default();
            let (writer, owner) = std::thread::scope(|scope| {
                let owner = scope.spawn(|| drain.say());
                (drain.wait(true), owner.join().is_ok_and(|waits| waits))
            });
            assert!(writer || owner);
        }
    }
}
