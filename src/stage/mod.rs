//! Rewrites or checks one leg; pure, and run in the connections' threads, in parallel.
//!
//! Checksum now; compression and encryption have their place here, and their fields in the leg's header.

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

/// A leg whose bytes are not those that were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

#[cfg(test)]
mod tests {
    use super::*;

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
}
