//! Legs through the user's own programs: which ones, how many at a time, and the memory for what they make.

use super::filter::{OutputSize, Run, Unstarted};
use super::pool::{Buffer, Pool};
use crate::plan;
use crate::proto::leg::{Payload, encoded_max};
use mio::{Registry, Token};
use std::sync::Arc;

/// Of `buffer`, what the encoded legs take: as much as the connections may carry.
const SHARE: u64 = 4;

/// Sizes are rounded up by at most this part of them, if they are so large that all of the memory may be in use. The
/// bytes that are over are never written to.
const ROUNDING: u64 = 8;

/// The programs of one end.
pub(crate) struct Filters {
    /// What legs that go out are given to.
    pub(crate) encode: Option<String>,
    /// What legs that come in are given to.
    pub(crate) decode: Option<String>,
    /// For what `encode` makes: room for the longest leg on each connection at once, so that none waits for another.
    pub(crate) pool: Pool,
    /// Has a handle for each program at work, besides this one.
    at_work: Arc<()>,
}

/// A program at work, counted.
pub(crate) struct Counted {
    /// The program.
    pub(crate) run: Run,
    _at_work: Arc<()>,
}

impl Filters {
    /// At an end with this much memory for each stream.
    pub(crate) fn new(programs: &plan::Through, buffer: u64) -> Arc<Self> {
        let plan::Through { encode, decode } = programs.clone();
        let reserve = Self::reserve(buffer);
        let pool = Pool::with_rounding(reserve, reserve / ROUNDING);
        Arc::new(Filters { encode, decode, pool, at_work: Arc::default() })
    }

    /// Memory for all that a program may make of one leg, `most` bytes. None if it is not there yet: connections that
    /// have ended have some still.
    pub(crate) fn room(&self, most: usize) -> Option<Buffer> {
        self.pool.try_take(most)
    }

    /// [`Run::begin`]. None if there is no descriptor, process or memory for it while others are at work: it is to be tried
    /// again.
    ///
    /// # Errors
    /// The program cannot be started; why, for the user.
    pub(crate) fn begin(
        &self,
        command: &str,
        input: (Payload, usize),
        wanted: OutputSize,
        output: (Buffer, usize),
        watched: (&Registry, [Token; 3]),
    ) -> Result<Option<Counted>, String> {
        // before it begins: of two that fail because of each other, neither is alone
        let at_work = self.at_work.clone();
        match Run::begin(command, input, wanted, output, watched) {
            Ok(run) => Ok(Some(Counted { run, _at_work: at_work })),
            Err(Unstarted::Short(_)) if Arc::strong_count(&self.at_work) > 2 => Ok(None),
            Err(Unstarted::Short(why) | Unstarted::Never(why)) => Err(why),
        }
    }

    /// Bytes of this much memory that are not for legs as they are in the stream.
    pub(crate) fn reserve(buffer: u64) -> u64 {
        buffer / SHARE
    }

    /// The most bytes that a leg may be encoded to, where this end has this much memory.
    pub(crate) fn most(&self) -> usize {
        encoded_max(self.pool.capacity() * SHARE, u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::leg::CONNECTIONS_MAX;

    /// With each of these sizes of `buffer`: every connection has room for its longest leg, and the legs of the stream
    /// as they are still have theirs.
    #[test]
    fn there_is_room_on_each_connection_at_once() {
        let sizes = (4 << 20..16 << 20).step_by(4093).chain((16 << 20..300 << 20).step_by((1 << 20) + 77));
        for buffer in sizes.chain([128 << 20, 1 << 30]) {
            let filters = Filters::new(&plan::Through { encode: None, decode: None }, buffer);
            // an end with less memory has the legs be shorter
            for most in [encoded_max(buffer, u64::MAX), encoded_max(buffer, 4 << 20)] {
                let rooms: Vec<_> = (0..CONNECTIONS_MAX).map_while(|_| filters.room(most)).collect();
                assert_eq!(rooms.len(), CONNECTIONS_MAX, "legs of {most} bytes, buffer {buffer}");
                let asked: u64 = rooms.iter().map(|room| room.size() as u64).sum();
                assert!(asked <= Filters::reserve(buffer), "{asked} bytes, buffer {buffer}");
            }
        }
    }
}
