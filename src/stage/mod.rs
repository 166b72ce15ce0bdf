//! Rewrites or checks one leg; pure, and run in the connections' threads, in parallel.
//!
//! Checksum now; [`adapt`] finds the level of the compression that has its place here, as encryption has.

pub mod adapt;

use crate::proto::leg::Leg;
use crate::proto::wire::{LegFlags, LegHeader};

/// The header flag of a leg whose bytes are checked.
pub const CHECKED: u8 = LegFlags::CHECKED;

/// The CRC-32 (IEEE 802.3) of a leg's bytes.
pub fn checksum(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// The CRC-32 that a checked leg was found to have; None if it is not checked.
///
/// # Errors
/// The bytes are not those that were sent.
pub fn verify(header: &LegHeader, bytes: &[u8]) -> Result<Option<u32>, Damaged> {
    if header.flags & CHECKED == 0 {
        return Ok(None);
    }
    let found = checksum(bytes);
    if found == header.crc { Ok(Some(found)) } else { Err(Damaged) }
}

/// The CRC-32 of a stream, from its legs in order; none as soon as one leg had none.
#[derive(Clone, Debug)]
pub struct StreamCrc(Option<crc32fast::Hasher>);

impl StreamCrc {
    /// Of the empty stream.
    pub fn new() -> Self {
        StreamCrc(Some(crc32fast::Hasher::new()))
    }

    /// The next leg of the stream.
    pub fn append(&mut self, leg: &Leg) {
        let sum = self.0.take().zip(leg.crc);
        self.0 = sum.map(|(mut sum, crc)| {
            sum.combine(&crc32fast::Hasher::new_with_initial_len(crc, leg.len()));
            sum
        });
    }

    /// Of all legs so far, if every one was checked.
    pub fn value(&self) -> Option<u32> {
        self.0.clone().map(crc32fast::Hasher::finalize)
    }
}

impl Default for StreamCrc {
    fn default() -> Self {
        Self::new()
    }
}

/// A leg whose bytes are not those that were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn damage_is_found_where_legs_are_checked() {
        let bytes = b"a leg of the stream";
        let mut header = LegHeader { sequence: 0, offset: 0, raw: 19, encoded: 19, flags: 0, crc: 0 };
        assert_eq!(verify(&header, bytes), Ok(None));
        header.flags = CHECKED;
        assert_eq!(verify(&header, bytes), Err(Damaged));
        header.crc = checksum(bytes);
        assert_eq!(verify(&header, bytes), Ok(Some(header.crc)));
    }

    #[test]
    fn the_legs_of_a_stream_add_up_unless_one_is_not_checked() {
        let leg = |bytes: &[u8], checked: bool| Leg {
            crc: checked.then(|| checksum(bytes)),
            ..Leg::new(0, 0, Arc::new(bytes.to_vec()))
        };
        let mut sum = StreamCrc::new();
        assert_eq!(sum.value(), Some(0));
        sum.append(&leg(b"12345", true));
        sum.append(&leg(b"6789", true));
        assert_eq!(sum.value(), Some(0xcbf4_3926), "the check value of CRC-32");
        sum.append(&leg(b"x", false));
        sum.append(&leg(b"y", true));
        assert_eq!(sum.value(), None);
    }
}
