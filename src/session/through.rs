//! Legs through the user's own programs: which ones, and the memory for what they make.

use super::pool::Pool;
use crate::plan;
use crate::proto::leg::encoded_max;
use std::sync::Arc;

/// Of `buffer`, what the encoded legs take: as much as the connections may carry.
const SHARE: u64 = 4;

/// The programs of one end.
pub struct Through {
    /// What legs that go out are given to.
    pub encode: Option<String>,
    /// What legs that come in are given to.
    pub decode: Option<String>,
    /// For what `encode` makes.
    pub pool: Pool,
}

impl Through {
    /// At an end with this much memory for each stream.
    pub fn new(programs: &plan::Through, buffer: u64) -> Arc<Self> {
        let plan::Through { encode, decode } = programs.clone();
        Arc::new(Through { encode, decode, pool: Pool::new(Self::reserve(buffer)) })
    }

    /// Bytes of this much memory that are not for legs as they are in the stream.
    pub fn reserve(buffer: u64) -> u64 {
        buffer / SHARE
    }

    /// The most bytes that a leg may be encoded to, where this end has this much memory.
    pub fn most(&self) -> usize {
        encoded_max(self.pool.capacity() * SHARE, u64::MAX)
    }
}
