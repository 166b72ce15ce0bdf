//! How much of the outgoing stream is under way at a time: as little as keeps everybody busy.
//!
//! Memory that comes round again soon is still in the processor's caches; memory that lies for long is not, and each of
//! its pages was once asked for and zeroed. On a loopback of two cores, eight legs of 1 MiB cost a sixth less than 128.
//! So two amounts are bounded on paths that are near. Each bound doubles when a larger one would have kept a connection or
//! the output busy. On longer paths, memory and window are the only bounds:
//!
//! - The **stock**: what the input has read and no connection has taken. It is for a producer that pauses. It was too
//!   small if a connection found nothing to carry for [`PAUSE`], after the input had had to stop at the bound.
//! - The **round**: what was sent and the receiver's output has not taken. It may be [`SLACK`] times as much while the
//!   head is missing and later legs are there, which is the network's doing. It was too small if the output had next to
//!   nothing for [`PAUSE`], after the sender had had to stop at the bound.
//!
//! Neither is bounded while the stream stands still, because no path works or the output takes nothing: a producer that
//! cannot wait shall not have to, as long as there is memory at either end.

use std::time::{Duration, Instant};

/// The stock at first.
const STOCK: u64 = 4 << 20;

/// At most this part of the sender's memory is stock at first.
const STOCK_PART: u64 = 4;

/// The round at first.
const ROUND: u64 = 12 << 20;

/// This many rounds may be under way while the head is missing: 300 ms at a gigabit a second, longer than TCP takes to
/// send a lost segment again.
const SLACK: u64 = 3;

/// On paths that are near, one more connection carries fresh legs for each such part of the stock that waits. The stock
/// does not fill while those that carry keep up; when it is full, all carry.
const SHARES: u64 = 16;

/// But not for less than this: where memory is small, so are the legs, and waking a thread for each costs as much as
/// carrying it. With a share of 256 or 512 KiB, `buffer 8M` took nearly a third less CPU on a loopback of two cores, with
/// 64 KiB a tenth less.
const SHARE: u64 = 256 << 10;

/// A producer, or a thread of this process, that comes later than this was late; before, it had just to be woken.
const PAUSE: Duration = Duration::from_millis(10);

/// The bounds, and what is known of whether they are too narrow.
#[derive(Clone, Debug)]
pub(super) struct Circulation {
    /// All of the sender's memory, which neither exceeds.
    memory: u64,
    stock: u64,
    round: u64,
    /// The input is to wait: from when the stock is full until half of it has gone, so that one waking is worth while.
    full: bool,
    /// The input had to wait since a connection last found nothing.
    was_full: bool,
    /// The sender had to wait since the round last was too small.
    was_held: bool,
    /// Since when a connection has found nothing.
    hungry: Option<Instant>,
    /// Since when the output has had next to nothing.
    dry: Option<Instant>,
}

impl Circulation {
    /// For a sender with this much memory.
    pub(super) fn new(memory: u64) -> Self {
        let stock = STOCK.min(memory / STOCK_PART);
        let round = ROUND.min(memory);
        Circulation {
            memory,
            stock,
            round,
            full: false,
            was_full: false,
            was_held: false,
            hungry: None,
            dry: None,
        }
    }

    /// `waiting` bytes wait for a connection now. `hungry`: a connection waits for the input. `bounded`: the path is near,
    /// and the stream does not stand still.
    pub(super) fn note_stock(&mut self, now: Instant, waiting: u64, hungry: bool, bounded: bool) {
        self.full = bounded && waiting >= if self.full { self.stock / 2 } else { self.stock };
        self.was_full |= self.full;
        match (hungry, self.hungry) {
            (true, None) => self.hungry = Some(now),
            (false, Some(since)) => {
                self.hungry = None;
                let late = now.saturating_duration_since(since) >= PAUSE;
                if std::mem::take(&mut self.was_full) && late {
                    self.stock = (self.stock * 2).min(self.memory);
                }
            }
            _ => {}
        }
    }

    /// Whether the input is to wait.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// Bytes that may wait for each connection that carries something.
    pub(super) fn share(&self) -> u64 {
        (self.stock / SHARES).max(SHARE)
    }

    /// How many bytes that the output has not taken may be under way. `overtaken`: the head is missing, and later legs are
    /// there.
    pub(super) fn round(&self, overtaken: bool) -> u64 {
        if overtaken { self.round.saturating_mul(SLACK) } else { self.round }
    }

    /// Fresh legs had to wait because a whole round is under way.
    pub(super) fn note_held(&mut self) {
        self.was_held = true;
    }

    /// The receiver says that `backlog` bytes wait for its output.
    pub(super) fn note_backlog(&mut self, now: Instant, backlog: u64) {
        if !self.was_held || backlog > self.round / 8 {
            self.dry = None;
            return;
        }
        let since = *self.dry.get_or_insert(now);
        if now.saturating_duration_since(since) >= PAUSE {
            (self.was_held, self.dry) = (false, None);
            self.round = (self.round * 2).min(self.memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn a_full_stock_stops_the_input_until_half_of_it_has_gone() {
        let (mut circulation, now) = (Circulation::new(128 << 20), Instant::now());
        let mut full = |waiting| {
            circulation.note_stock(now, waiting, false, true);
            circulation.is_full()
        };
        let seen = [STOCK - 1, STOCK, STOCK / 2, STOCK / 2 - 1, STOCK - 1, STOCK].map(&mut full);
        assert_eq!(seen, [false, true, true, false, false, true]);
        let mut small = Circulation::new(4 << 20);
        small.note_stock(now, 1 << 20, false, true);
        assert!(small.is_full());
        small.note_stock(now, 1 << 20, false, false);
        assert!(!small.is_full(), "it stands still");
    }

    #[test]
    fn a_producer_that_pauses_gets_a_larger_stock() {
        let (mut circulation, start) = (Circulation::new(20 << 20), Instant::now());
        let mut cycle = |at: u64, pause: u64| {
            circulation.note_stock(start + ms(at), 20 << 20, false, true);
            circulation.note_stock(start + ms(at), 0, true, true);
            circulation.note_stock(start + ms(at + pause), 1, false, true);
            circulation.stock
        };
        assert_eq!(cycle(0, 9), STOCK, "that is how long threads take to be woken");
        assert_eq!((cycle(100, 10), cycle(200, 50), cycle(300, 50)), (2 * STOCK, 4 * STOCK, 5 * STOCK));
        let mut circulation = Circulation::new(20 << 20);
        for n in 0..9 {
            circulation.note_stock(start + ms(20 * n), 0, true, true);
            circulation.note_stock(start + ms(20 * n + 10), STOCK - 1, false, true);
        }
        assert_eq!(circulation.stock, STOCK, "the input was never stopped");
    }

    #[test]
    fn an_output_that_ran_dry_gets_a_larger_round() {
        let (mut circulation, start) = (Circulation::new(128 << 20), Instant::now());
        circulation.note_backlog(start, 0);
        circulation.note_backlog(start + ms(50), 0);
        assert_eq!(circulation.round(false), ROUND, "the sender never had to wait");
        circulation.note_held();
        for (at, backlog) in [(60, 0), (69, 0), (70, ROUND / 2), (71, 0), (80, 0)] {
            circulation.note_backlog(start + ms(at), backlog);
            assert_eq!(circulation.round(false), ROUND, "the output had something within {PAUSE:?}: {at}");
        }
        circulation.note_backlog(start + ms(81), ROUND / 8);
        assert_eq!((circulation.round(false), circulation.round(true)), (2 * ROUND, 2 * ROUND * SLACK));
    }
}
