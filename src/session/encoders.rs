//! The encoders of a stream, which the threads of its connections share.
//!
//! There are as many as there are cores, if there is memory for them. Who wants one waits in a queue; a leg that others
//! pass by would be taken for late, and be sent and compressed twice. For the same reason a connection is not to ask for
//! a leg while the queue is long: it is *parked*, and woken when it is its turn. What always holds: while connections
//! are parked an encoder is in use, so that somebody wakes them.

use super::pool::{Pool, Reservation};
use crate::proto::leg::CONNECTIONS_MAX;
use crate::stage::compress::{Encoder, TABLES, TABLES_MIN};
use crate::sync::Unpoisoned;
use crate::sys::cpu::cores;
use mio::Waker;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

/// Legs that are compressed or wait for that, for each encoder: so many that none runs dry.
const AHEAD: usize = 2;

/// The encoders of one stream.
pub(crate) struct Encoders {
    pool: Pool,
    /// log2 of the largest table of an encoder.
    tables: u32,
    /// Encoders there may be, and bytes of each.
    most: usize,
    footprint: usize,
    bench: Mutex<Bench>,
    /// Told when an encoder comes back, or the queue moves on.
    moved: Condvar,
}

#[derive(Default)]
struct Bench {
    idle: Vec<(Encoder, Reservation)>,
    /// Encoders there are, and how many of them are at work; `used` ≤ `made` ≤ `most`.
    made: usize,
    used: usize,
    /// Whoever waits for an encoder, in order of arrival.
    queue: VecDeque<u64>,
    arrivals: u64,
    /// Connections that wait for their turn to ask for a leg.
    parked: VecDeque<(usize, Arc<Waker>)>,
}

impl Encoders {
    /// Encoders for this level and legs of so many bytes, whose memory is counted in `pool` and has `budget` bytes.
    ///
    /// # Errors
    /// There is no memory for one.
    pub(crate) fn new(level: i32, leg: usize, pool: Pool, budget: u64) -> io::Result<Self> {
        let (tables, footprint) = fitting(level, leg, budget as usize)?;
        let most = (budget as usize / footprint.max(1)).min(cores()).clamp(1, CONNECTIONS_MAX);
        Ok(Encoders { pool, tables, most, footprint, bench: Mutex::default(), moved: Condvar::new() })
    }

    /// How many legs may be compressed at once.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// Does something with an encoder, as soon as one is free. None if there is no memory for one.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut Encoder) -> R) -> Option<R> {
        let (mut encoder, hold) = self.take()?;
        let result = work(&mut encoder);
        let mut bench = self.lock();
        bench.used -= 1;
        bench.idle.push((encoder, hold));
        self.moved.notify_all();
        self.wake(bench);
        Some(result)
    }

    /// Whether a connection may ask for a leg now. If not, it is woken when it may.
    pub(crate) fn admit(&self, connection: usize, waker: &Arc<Waker>) -> bool {
        let mut bench = self.lock();
        if bench.under_way() < self.most * AHEAD {
            return true;
        }
        if bench.parked.iter().all(|(parked, _)| *parked != connection) {
            bench.parked.push_back((connection, waker.clone()));
        }
        false
    }

    /// A connection has ended: whoever was to be woken after it is woken.
    pub(crate) fn leave(&self, connection: usize) {
        let mut bench = self.lock();
        bench.parked.retain(|(parked, _)| *parked != connection);
        self.wake(bench);
    }

    fn take(&self) -> Option<(Encoder, Reservation)> {
        let mut bench = self.lock();
        let number = bench.arrivals;
        bench.arrivals += 1;
        bench.queue.push_back(number);
        while bench.queue.front() != Some(&number) || (bench.idle.is_empty() && bench.made == self.most) {
            bench = self.moved.wait(bench).unpoisoned();
        }
        bench.queue.pop_front();
        let taken = bench.idle.pop().or_else(|| {
            let made = (Encoder::new(self.tables)?, self.pool.reserve(self.footprint)?);
            bench.made += 1;
            Some(made)
        });
        bench.used += usize::from(taken.is_some());
        // there may be another one for the next in the queue
        self.moved.notify_all();
        if taken.is_none() {
            self.wake(bench);
        }
        taken
    }

    /// Wakes as many connections as there is room for, without the lock.
    fn wake(&self, mut bench: MutexGuard<'_, Bench>) {
        let parked = bench.parked.len();
        let room = match bench.under_way() {
            // nobody would wake the rest
            0 => parked,
            busy => (self.most * AHEAD).saturating_sub(busy).min(parked),
        };
        let woken: Vec<_> = bench.parked.drain(..room).collect();
        drop(bench);
        // fails only when the kernel's counter is full, and then the owner is awake
        woken.iter().for_each(|(_, waker)| drop(waker.wake()));
    }

    /// A poisoned lock does not matter: a panic ends the process.
    fn lock(&self) -> MutexGuard<'_, Bench> {
        self.bench.lock().unpoisoned()
    }
}

impl Bench {
    fn under_way(&self) -> usize {
        self.used + self.queue.len()
    }
}

/// The largest tables with which an encoder fits so many bytes, and the bytes that it then has.
fn fitting(level: i32, leg: usize, budget: usize) -> io::Result<(u32, usize)> {
    let (zeros, mut space) = (vec![0; leg], vec![0; leg]);
    let mut tables = TABLES;
    loop {
        let mut encoder = Encoder::new(tables).ok_or(io::ErrorKind::OutOfMemory)?;
        encoder.encode(level, &zeros, &mut space).ok_or(io::ErrorKind::OutOfMemory)?;
        if encoder.footprint() <= budget || tables == TABLES_MIN {
            return Ok((tables, encoder.footprint()));
        }
        tables -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll, Token};
    use std::time::Duration;

    #[test]
    fn they_are_shared_by_as_many_threads_as_there_are() {
        let encoders = Encoders::new(1, 64 << 10, Pool::new(4 << 20), 2 << 20).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..CONNECTIONS_MAX {
                scope.spawn(|| {
                    let mut space = [0; 4096];
                    for _ in 0..50 {
                        let made = encoders.with(|encoder| encoder.encode(1, &[7; 4096], &mut space));
                        assert!(made.flatten().is_some());
                    }
                });
            }
        });
        let bench = encoders.lock();
        assert!(bench.made <= encoders.most && bench.idle.len() == bench.made && bench.under_way() == 0);
        assert!(encoders.pool.in_use() <= 2 << 20);
    }

    #[test]
    fn a_parked_connection_is_woken_also_if_the_one_before_has_ended() {
        let encoders = Encoders::new(1, 64 << 10, Pool::new(4 << 20), 1).unwrap();
        assert_eq!(encoders.most(), 1);
        let seats = std::array::from_fn::<_, 3, _>(|_| {
            let poll = Poll::new().unwrap();
            let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
            (std::cell::RefCell::new(poll), waker)
        });
        let is_woken = |seat: usize| {
            let mut events = Events::with_capacity(1);
            seats[seat].0.borrow_mut().poll(&mut events, Some(Duration::ZERO)).unwrap();
            !events.is_empty()
        };
        encoders.with(|_| {
            assert!(encoders.admit(0, &seats[0].1));
            encoders.lock().queue.push_back(99);
            (0..3).for_each(|connection| assert!(!encoders.admit(connection, &seats[connection].1)));
            encoders.lock().queue.clear();
            encoders.leave(1);
            assert!(is_woken(0) && !is_woken(2), "there is room for one");
        });
        assert!(is_woken(2));
    }
}
