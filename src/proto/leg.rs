//! The leg: a piece of the stream, the unit that is sent, received, ordered and sent again.
//!
//! Holds the sizes that both cores and the buffers are planned with. A leg's payload is a handle: it is
//! shared between the core that holds the leg and the connection that writes it, and never copied. Its bytes need not
//! be in memory: the core knows its length and no more.

use std::any::Any;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// The largest leg, in bytes of the stream; a contract with the user and the wire.
pub const LEG_MAX: usize = 2 << 20;

/// The smallest size legs are cut to while input is plentiful, and the first: about the initial congestion
/// window of TCP (10 segments of 1460 bytes, RFC 6928), so that the first leg of each of 16 connections
/// crosses in one round trip, and 16 of them do not hold up the head on a slow link.
pub const LEG_FIRST: usize = 16 << 10;

/// A leg of up to so many bytes is small: to carry it to another thread costs more than to write or to take it here.
/// To copy more takes longer than a wake-up.
pub const SMALL_LEG: u64 = 16 << 10;

/// The bytes that a leg has at most on paths that are near. Longer ones leave the second-level cache between the read and
/// the write of them.
pub const LEG_NEAR: usize = 1 << 20;

/// The most connections of one session.
pub const CONNECTIONS_MAX: usize = 16;

/// The most links of one session.
pub const LINKS_MAX: usize = 16;

/// How many legs beyond those delivered the sender may send: bounds the bookkeeping when legs are tiny.
pub const WINDOW_LEGS: u64 = 4096;

/// What a leg, or a piece of the stream that is to be cut into legs, consists of.
pub trait Content: Send + Sync {
    /// Its length in bytes.
    fn size(&self) -> usize;

    /// Its bytes; none where they are not in memory.
    fn bytes(&self) -> &[u8];

    /// What its bytes are to be had from, where they are not in memory, and which bytes of that they are. Whoever made
    /// it knows what it is.
    fn elsewhere(&self) -> Option<(&dyn Any, Range<usize>)> {
        None
    }

    /// Whether it can be sent as one leg only.
    fn is_indivisible(&self) -> bool {
        false
    }
}

impl<T: AsRef<[u8]> + Send + Sync> Content for T {
    fn size(&self) -> usize {
        self.as_ref().len()
    }

    fn bytes(&self) -> &[u8] {
        self.as_ref()
    }
}

/// A handle on the bytes of a leg.
pub type Payload = Arc<dyn Content>;

/// A piece of the stream, of 1 to [`LEG_MAX`] bytes.
#[derive(Clone)]
pub struct Leg {
    /// Its number, from 0, without gaps.
    pub sequence: u64,
    /// Where it begins in the stream, in bytes.
    pub offset: u64,
    /// Its bytes.
    pub payload: Payload,
    /// CRC-32 of its bytes, where legs are checked.
    pub crc: Option<u32>,
    /// The connection that brought it, for messages; None at the sender.
    pub origin: Option<Arc<str>>,
}

impl Leg {
    /// A leg of which no more is known.
    pub fn new(sequence: u64, offset: u64, payload: Payload) -> Self {
        Leg { sequence, offset, payload, crc: None, origin: None }
    }

    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        self.payload.size() as u64
    }

    /// Whether it has no bytes; such a leg is never sent.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its bytes; none where they are not in memory.
    pub fn bytes(&self) -> &[u8] {
        self.payload.bytes()
    }

    /// The bytes of the stream it covers.
    pub fn range(&self) -> Range<u64> {
        self.offset..self.offset + self.len()
    }
}

impl fmt::Debug for Leg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "leg {} at {:?}", self.sequence, self.range())
    }
}

/// The largest leg that two ends with these buffers exchange: a 32nd of the smaller one, at most [`LEG_MAX`]. So even 16
/// connections in mid-leg hold no more than half of either, and a quarter of the default. Where memory is small, legs of a
/// 64th cost more to hand from thread to thread than to carry.
pub fn leg_max(ours: u64, theirs: u64) -> usize {
    ((ours.min(theirs) / 32) as usize).clamp(LEG_FIRST, LEG_MAX)
}

/// The most bytes of a leg that is encoded, before and after that: a 64th of the smaller buffer, as there is memory for
/// each such leg twice.
pub fn encoded_max(ours: u64, theirs: u64) -> usize {
    ((ours.min(theirs) / 64) as usize).clamp(LEG_FIRST, LEG_MAX)
}

/// The most bytes of the stream in a leg that goes through the user's programs, where legs have at most `leg_max`: small
/// enough that a program that makes it several times as long still makes a leg, large enough that starting a program for
/// each is a small part of what it takes.
pub fn through_max(leg_max: usize) -> usize {
    (leg_max / 8).max(LEG_FIRST)
}

/// This many legs that wait for a program are taken from one connection, however short they are. 16 connections carry a
/// hundred megabytes a second of the largest ones so where a round trip takes 0.1 s; and while programs are slow, a stream
/// is not cut into many short legs before it is known that longer ones suit them.
const TO_DECODE: usize = 4;

/// Whether a receiver takes no further leg from a connection that has brought so many, `encoded` to so many bytes in all,
/// which its programs have still to decode. `most`: the most bytes that one leg is encoded to. There is memory for twice as
/// many; two legs are always taken, one to be decoded and one to wait for that. A sender that keeps to this never has a word
/// of its own behind a leg that is not read.
pub fn is_enough_to_decode(legs: usize, encoded: u64, most: usize) -> bool {
    legs >= TO_DECODE || (legs >= 2 && encoded >= most as u64)
}

/// How far beyond what is delivered a receiver with this buffer lets its sender go, in bytes: the buffer
/// less what [`CONNECTIONS_MAX`] connections hold in mid-leg, and less an eighth for rounding sizes up.
pub fn window(buffer: u64, leg_max: usize) -> u64 {
    let held = buffer.saturating_sub((CONNECTIONS_MAX * leg_max) as u64);
    (held / 9 * 8).max(leg_max as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_end_decides_the_largest_leg() {
        assert_eq!(leg_max(128 << 20, 128 << 20), LEG_MAX);
        assert_eq!(leg_max(128 << 20, 32 << 20), 1 << 20);
        assert_eq!(leg_max(4 << 20, 1 << 40), 128 << 10);
        assert_eq!((encoded_max(128 << 20, 32 << 20), encoded_max(1 << 40, 1 << 40)), (512 << 10, LEG_MAX));
    }

    #[test]
    fn what_waits_for_programs_is_bounded_in_legs_and_in_bytes_but_for_two() {
        for (legs, encoded, enough) in
            [(1, 9000, false), (2, 999, false), (2, 1000, true), (3, 999, false), (4, 0, true)]
        {
            assert_eq!(is_enough_to_decode(legs, encoded, 1000), enough, "{legs}, {encoded}");
        }
    }

    #[test]
    fn window_and_legs_in_flight_fit_the_buffer() {
        assert_eq!((through_max(LEG_MAX), through_max(64 << 10)), (256 << 10, LEG_FIRST));
        for buffer in [4 << 20, 32 << 20, 128 << 20, 1 << 30] {
            let leg = leg_max(buffer, u64::MAX);
            assert!(window(buffer, leg) + (CONNECTIONS_MAX * leg) as u64 <= buffer);
            assert!(window(buffer, leg) >= 2 * leg as u64);
            let twice = 2 * encoded_max(buffer, u64::MAX);
            assert!(window(buffer, twice) + (CONNECTIONS_MAX * twice) as u64 <= buffer);
        }
    }
}
