//! Rewrites or checks one leg; pure, and run in the connections' threads, in parallel.
//!
//! Checksum here, compression in [`compress`]; [`adapt`] finds the level of that. A leg that is encoded has a CRC-32 of
//! what is sent, always, and that is checked before any decoder sees a byte. If legs are checked as well, the CRC-32 of
//! what the stream has follows the encoded bytes.

pub(crate) mod adapt;
pub(crate) mod compress;

use crate::proto::leg::Leg;
use crate::proto::wire::{LegFlags, LegHeader};

/// The header flag of a leg whose bytes are checked.
pub(crate) const CHECKED: u8 = LegFlags::CHECKED;

/// The header flag of a leg that was compressed.
pub(crate) const COMPRESSED: u8 = LegFlags::COMPRESSED;

/// The header flag of a leg that a program of the user's was given first.
pub(crate) const THROUGH: u8 = LegFlags::THROUGH;

/// Bytes of the CRC-32 that follows the encoded bytes of a leg that is checked.
pub(crate) const TRAILER: usize = 4;

/// The CRC-32 (IEEE 802.3) of a leg's bytes.
pub fn checksum(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// The CRC-32 that the payload of a leg was found to have; None if it has none. That of a leg which is not encoded is
/// that of its bytes in the stream.
///
/// # Errors
/// The bytes are not those that were sent.
pub(crate) fn verify(header: &LegHeader, payload: &[u8]) -> Result<Option<u32>, Damaged> {
    if !header.has_crc() {
        return Ok(None);
    }
    let found = checksum(payload);
    if found == header.crc { Ok(Some(found)) } else { Err(Damaged) }
}

/// The header of a leg that is sent as it is; with its CRC-32, if legs are checked.
pub(crate) fn plain(leg: &Leg, crc: Option<u32>) -> LegHeader {
    let len = leg.len() as u32;
    let flags = crc.map_or(0, |_| CHECKED);
    let Leg { sequence, offset, .. } = *leg;
    LegHeader { sequence, offset, raw: len, encoded: len, flags, crc: crc.unwrap_or(0) }
}

/// The header of a leg whose encoded bytes are the first `len` of `space`. The CRC-32 of what it is in the stream, if
/// legs are checked, is put behind these: they are followed by [`TRAILER`] bytes more.
pub(crate) fn encoded(leg: &Leg, encodings: u8, space: &mut [u8], len: usize, crc: Option<u32>) -> LegHeader {
    let whole = len + crc.map_or(0, |_| TRAILER);
    if let Some(crc) = crc {
        space[len..whole].copy_from_slice(&crc.to_be_bytes());
    }
    let flags = encodings | crc.map_or(0, |_| CHECKED);
    LegHeader { encoded: whole as u32, flags, crc: checksum(&space[..whole]), ..plain(leg, None) }
}

/// The encoded bytes in the payload of a leg, and the CRC-32 behind them, if there is one.
pub(crate) fn opened<'a>(header: &LegHeader, payload: &'a [u8]) -> (&'a [u8], Option<u32>) {
    match payload.split_last_chunk::<TRAILER>() {
        Some((encoded, crc)) if header.flags & CHECKED != 0 => (encoded, Some(u32::from_be_bytes(*crc))),
        _ => (payload, None),
    }
}

/// The CRC-32 of a stream, from its legs in order; none as soon as one leg had none.
#[derive(Clone, Debug)]
pub(crate) struct StreamCrc(Option<crc32fast::Hasher>);

impl StreamCrc {
    /// Of the empty stream.
    pub(crate) fn new() -> Self {
        StreamCrc(Some(crc32fast::Hasher::new()))
    }

    /// The next leg of the stream.
    pub(crate) fn append(&mut self, leg: &Leg) {
        let sum = self.0.take().zip(leg.crc);
        self.0 = sum.map(|(mut sum, crc)| {
            sum.combine(&crc32fast::Hasher::new_with_initial_len(crc, leg.len()));
            sum
        });
    }

    /// The next leg of the stream is not checked.
    pub(crate) fn append_unchecked(&mut self) {
        self.0 = None;
    }

    /// Of all legs so far, if every one was checked.
    pub(crate) fn value(&self) -> Option<u32> {
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
pub(crate) struct Damaged;

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
    fn damage_to_an_encoded_leg_is_found_with_and_without_checksum() {
        let leg = Leg::new(7, 100, Arc::new(b"a leg of the stream, which is long".to_vec()));
        for crc in [None, Some(checksum(leg.bytes()))] {
            let mut space = b"encoded bytes....".to_vec();
            let header = encoded(&leg, COMPRESSED, &mut space, 13, crc);
            assert_eq!((header.raw, header.encoded as usize), (34, 13 + crc.map_or(0, |_| 4)));
            let mut payload = space[..header.encoded as usize].to_vec();
            assert_eq!(verify(&header, &payload), Ok(Some(header.crc)));
            assert_eq!(opened(&header, &payload), (&b"encoded bytes"[..], crc));
            for at in 0..payload.len() {
                payload[at] ^= 1;
                assert_eq!(verify(&header, &payload), Err(Damaged));
                payload[at] ^= 1;
            }
        }
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
