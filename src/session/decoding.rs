//! Decompresses the legs that come in, in the threads of their connections.
//!
//! What always holds: the memory of decoders is counted in the pool of the legs that come in. One decoder there is
//! always, so that no leg waits for memory that only legs before it could free.

use super::pool::{Pool, Reservation};
use crate::proto::leg::CONNECTIONS_MAX;
use crate::stage::compress::{Decoder, Misfit};
use crate::sync::Unpoisoned;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

/// Decoders may take this part of a pool at most.
const SHARE: usize = 32;

/// The decompressing of one stream. Clones are the same.
#[derive(Clone)]
pub(crate) struct Decoding(Arc<Shared>);

struct Shared {
    pool: Pool,
    bench: Mutex<Bench>,
    /// Told when a decoder comes back.
    returned: Condvar,
    raw: AtomicU64,
    encoded: AtomicU64,
}

#[derive(Default)]
struct Bench {
    idle: Vec<(Decoder, Option<Reservation>)>,
    made: usize,
}

impl Decoding {
    /// For legs that live in this pool.
    pub(crate) fn new(pool: Pool) -> Self {
        let (bench, returned) = (Mutex::default(), Condvar::new());
        Decoding(Arc::new(Shared {
            pool,
            bench,
            returned,
            raw: AtomicU64::new(0),
            encoded: AtomicU64::new(0),
        }))
    }

    /// Decompresses a leg into exactly `raw`; waits for other legs to be decompressed, but for nothing else.
    ///
    /// # Errors
    /// What came is no compressed leg of this length.
    pub(crate) fn decode(&self, encoded: &[u8], raw: &mut [u8]) -> Result<(), Misfit> {
        let (mut decoder, reserved) = self.take().ok_or(Misfit)?;
        let decoded = decoder.decode(encoded, raw);
        self.bench().idle.push((decoder, reserved));
        self.0.returned.notify_one();
        decoded?;
        self.0.raw.fetch_add(raw.len() as u64, Ordering::Relaxed);
        self.0.encoded.fetch_add(encoded.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Bytes of the stream that came compressed, and what they came as.
    pub(crate) fn so_far(&self) -> (u64, u64) {
        (self.0.raw.load(Ordering::Relaxed), self.0.encoded.load(Ordering::Relaxed))
    }

    /// A decoder, as soon as one is free; None if the kernel has no memory for the first one.
    fn take(&self) -> Option<(Decoder, Option<Reservation>)> {
        let mut bench = self.bench();
        loop {
            if let Some(idle) = bench.idle.pop() {
                return Some(idle);
            }
            if let Some(made) = self.make(bench.made) {
                bench.made += 1;
                return Some(made);
            }
            if bench.made == 0 {
                return None;
            }
            bench = self.0.returned.wait(bench).unpoisoned();
        }
    }

    /// One more decoder than `made`, if there is memory for it. The first is made whether or not the pool has any.
    fn make(&self, made: usize) -> Option<(Decoder, Option<Reservation>)> {
        let share = self.0.pool.capacity() as usize / SHARE;
        let decoder = Decoder::new()?;
        let size = decoder.footprint();
        let fits = made < CONNECTIONS_MAX && (made + 1) * size <= share;
        let reserved = if fits { self.0.pool.reserve(size) } else { None };
        (made == 0 || reserved.is_some()).then_some((decoder, reserved))
    }

    fn bench(&self) -> MutexGuard<'_, Bench> {
        self.0.bench.lock().unpoisoned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::compress::{Encoder, TABLES};

    #[test]
    fn decoders_are_counted_and_shared() {
        let leg: Vec<u8> = (0..100_000u32).map(|i| (i / 50) as u8).collect();
        let mut space = vec![0; 100_000];
        let size = Encoder::new(TABLES).unwrap().encode(1, &leg, &mut space).unwrap();
        for capacity in [1 << 20, 64 << 20] {
            let pool = Pool::new(capacity);
            let decoding = Decoding::new(pool.clone());
            std::thread::scope(|scope| {
                for _ in 0..CONNECTIONS_MAX {
                    scope.spawn(|| {
                        let mut back = vec![0; leg.len()];
                        (0..50).for_each(|_| decoding.decode(&space[..size], &mut back).unwrap());
                        assert!(back == leg);
                        assert_eq!(decoding.decode(&space[..size - 1], &mut back), Err(Misfit));
                    });
                }
            });
            assert!(pool.in_use() <= capacity / SHARE as u64, "{}", pool.in_use());
            assert_eq!(decoding.so_far(), (16 * 50 * 100_000, 16 * 50 * size as u64));
        }
    }
}
