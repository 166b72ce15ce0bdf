//! Somebody who sends a file, as the real one does.

use super::super::{Arrival, Finished, No, OpenAnswer, Peer, Rules, Shelf, Wanted};
use crate::store::disk::Disk;
use crate::store::meta::Meta;
use crate::store::name::Name;
use crate::store::sum::Sum;
use crate::store::summing::Shared;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Small enough that a small file has several.
pub(super) const STRIDE: u64 = 64;

/// How much is written at once.
pub(super) const CHUNK: usize = 24;

pub(super) fn rules() -> Rules {
    Rules { stride: STRIDE, ..Rules::default() }
}

pub(super) fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

pub(super) fn peer(key: &str) -> Peer {
    Peer { key: key.into(), name: format!("host of {key}"), visit: 0 }
}

/// Bytes that are different wherever they come from another seed or stand elsewhere.
pub(super) fn bytes(seed: u8, size: usize) -> Vec<u8> {
    (0..size)
        .map(|at| (at as u8).wrapping_mul(31).wrapping_add((at >> 8) as u8) ^ seed)
        .map(|b| b | 1)
        .collect()
}

impl<D: Disk> Arrival<D> {
    /// These bytes come next, in a leg of their own.
    pub(super) fn write(&mut self, now: SystemTime, bytes: &[u8]) -> Result<(), No> {
        let leg: Shared = Arc::new(bytes.to_vec());
        self.write_shared(now, &leg, 0..bytes.len())
    }
}

#[derive(Clone, Debug)]
pub(super) struct Put<'a> {
    pub(super) key: &'a str,
    pub(super) name: &'a str,
    pub(super) bytes: &'a [u8],
    /// Whether the size is said.
    pub(super) sized: bool,
    /// It stops after so many bytes, for good.
    pub(super) stops: Option<usize>,
}

impl<'a> Put<'a> {
    pub(super) fn new(key: &'a str, name: &'a str, bytes: &'a [u8]) -> Self {
        Put { key, name, bytes, sized: true, stops: None }
    }

    pub(super) fn wanted(&self) -> Wanted {
        let mut meta = Meta::default();
        meta.tag(&format!("sum={}", Sum::of(self.bytes))).unwrap();
        let size = self.sized.then_some(self.bytes.len() as u64);
        Wanted { name: Name::stored(self.name).unwrap(), size, meta }
    }

    /// How many bytes were sent, and what came of it; none if it stopped.
    pub(super) fn run<D: Disk>(&self, shelf: &Arc<Shelf<D>>) -> Result<(usize, Option<Finished<D>>), No> {
        let mut arrival = match shelf.open(now(), &peer(self.key), self.wanted())? {
            OpenAnswer::Go(arrival) => arrival,
            OpenAnswer::There(there) if there.mark().sum == Sum::of(self.bytes) => {
                return there.same().map(|done| (0, Some(done)));
            }
            OpenAnswer::There(there) => there.differs(now())?,
        };
        let is_ours = |length: u64| self.bytes.get(..length as usize);
        let mut marks = arrival.marks().into_iter().rev();
        let mark = marks.find(|mark| is_ours(mark.length).is_some_and(|bytes| Sum::of(bytes) == mark.sum));
        let from = mark.filter(|_| self.sized).map_or(0, |mark| mark.length as usize);
        arrival.begin(from as u64)?;
        let end = self.stops.unwrap_or(self.bytes.len()).max(from);
        for chunk in self.bytes[from..end].chunks(CHUNK) {
            arrival.write(now(), chunk)?;
        }
        if end < self.bytes.len() {
            return Ok((end - from, None));
        }
        arrival.finish(now(), Sum::of(self.bytes)).map(|done| (end - from, Some(done)))
    }
}
