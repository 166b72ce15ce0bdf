//! The bytes of both streams: each is known by its position, so that any slice can be checked anywhere.

use millipede::proto::leg::LEG_MAX;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// A prime, so that no displacement by whole legs goes unnoticed.
const PERIOD: u64 = 1_000_003;

/// The second stream is the first from here on.
const APART: u64 = 400_009;

/// The `len` bytes of a stream from `offset` on; at most a leg. A stream has the number of the end that sends it.
pub fn bytes(stream: usize, offset: u64, len: usize) -> &'static [u8] {
    static TABLE: OnceLock<Vec<u8>> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        let mut rng = SmallRng::seed_from_u64(0);
        let mut period: Vec<u8> = (0..PERIOD).map(|_| rng.random()).collect();
        period.extend_from_within(..);
        period.extend_from_within(..);
        period
    });
    debug_assert!(len <= LEG_MAX);
    &table[((offset + APART * stream as u64) % PERIOD) as usize..][..len]
}

/// The first byte of `found` that is not the stream's at `offset`, as its position in the stream.
pub fn first_wrong(stream: usize, offset: u64, found: &[u8]) -> Option<u64> {
    let right = bytes(stream, offset, found.len());
    if right == found {
        return None;
    }
    right.iter().zip(found).position(|(a, b)| a != b).map(|at| offset + at as u64)
}

/// A piece of the stream in the sender's memory, which knows how much of it is in use.
pub struct Piece {
    stream: usize,
    offset: u64,
    len: usize,
    memory: Arc<AtomicU64>,
}

impl Piece {
    /// Takes `len` bytes of `memory` until it is dropped.
    pub fn new(stream: usize, offset: u64, len: usize, memory: &Arc<AtomicU64>) -> Self {
        memory.fetch_add(len as u64, Ordering::Relaxed);
        Piece { stream, offset, len, memory: memory.clone() }
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        bytes(self.stream, self.offset, self.len)
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.memory.fetch_sub(self.len as u64, Ordering::Relaxed);
    }
}
