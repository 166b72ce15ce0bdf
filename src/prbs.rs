//! Position-determined data: every byte follows from a seed and its offset in the stream.
//!
//! Any slice can be made or checked on its own, anywhere, without what came before it, so that a failure
//! names the first wrong byte. Counter-based and the same on every machine; pure.
//!
//! The stream is a sequence of 64-bit little-endian words. Word `i` is output `i + 1` of splitmix64
//! (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014) started from a key made
//! of the seed. Its output is a bijection of its counter, so no word repeats within 2^64: data that is
//! lost, repeated or moved by any number of bytes cannot pass as right.

use std::fmt;

/// The odd constant nearest 2^64 divided by the golden ratio: the step of splitmix64's counter.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// Bytes of a word.
const WORD: usize = size_of::<u64>();

/// The pseudorandom stream of one seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prbs {
    key: u64,
}

/// Where checked data first departs from the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mismatch {
    /// The offset of the first wrong byte, in bytes from the start of the stream.
    pub(crate) offset: u64,
    /// What belongs there.
    pub(crate) expected: u8,
    /// What was there.
    pub(crate) found: u8,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {} is {:#04x}, not {:#04x}", self.offset, self.found, self.expected)
    }
}

impl Prbs {
    /// The stream of `seed`; every seed, 0 too, gives a different one.
    pub fn new(seed: u16) -> Self {
        Prbs { key: mix(u64::from(seed)) }
    }

    /// Writes the bytes of the stream from `offset` (in bytes) on over the whole of `out`.
    pub fn fill(&self, offset: u64, out: &mut [u8]) {
        let index = offset / WORD as u64;
        let skip = (offset % WORD as u64) as usize;
        let lead = if skip == 0 { 0 } else { (WORD - skip).min(out.len()) };
        let (head, body) = out.split_at_mut(lead);
        let mut state = self.state(index);
        if lead > 0 {
            head.copy_from_slice(&mix(state).to_le_bytes()[skip..skip + lead]);
            state = state.wrapping_add(STEP);
        }
        let (words, tail) = body.as_chunks_mut::<WORD>();
        for word in words {
            *word = mix(state).to_le_bytes();
            state = state.wrapping_add(STEP);
        }
        tail.copy_from_slice(&mix(state).to_le_bytes()[..tail.len()]);
    }

    /// Compares `data` with the stream from `offset` (in bytes) on; the error is the first wrong byte.
    pub fn check(&self, offset: u64, data: &[u8]) -> Result<(), Mismatch> {
        let lead = (offset.wrapping_neg() % WORD as u64).min(data.len() as u64) as usize;
        let (head, body) = data.split_at(lead);
        self.check_part(offset, head)?;
        let (words, tail) = body.as_chunks::<WORD>();
        let at = offset + lead as u64;
        let mut state = self.state(at / WORD as u64);
        let wrong = words.iter().position(|word| {
            let right = mix(state);
            state = state.wrapping_add(STEP);
            right != u64::from_le_bytes(*word)
        });
        let rest = wrong.unwrap_or(words.len()) * WORD;
        self.check_part(at + rest as u64, wrong.map_or(tail, |i| &words[i]))
    }

    /// The same for at most one word.
    fn check_part(&self, offset: u64, part: &[u8]) -> Result<(), Mismatch> {
        let mut right = [0; WORD];
        self.fill(offset, &mut right[..part.len()]);
        match right.iter().zip(part).position(|(a, b)| a != b) {
            None => Ok(()),
            Some(i) => Err(Mismatch { offset: offset + i as u64, expected: right[i], found: part[i] }),
        }
    }

    /// The state of which word `index` is made.
    fn state(&self, index: u64) -> u64 {
        self.key.wrapping_add(index.wrapping_mul(STEP))
    }
}

/// One output of splitmix64 from this state. The multipliers are David Stafford's "mix 13" for the 64-bit
/// finalizer of MurmurHash3, where each bit of the input flips each bit of the output half of the time.
#[inline(always)]
fn mix(state: u64) -> u64 {
    let z = state.wrapping_add(STEP);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn splitmix64_gives_its_published_outputs() {
        // The reference program's first outputs from state 0.
        assert_eq!(mix(0), 0xE220_A839_7B1D_CDAF);
        assert_eq!(mix(STEP), 0x6E78_9E6A_A1B9_65F4);
        assert_eq!(mix(STEP.wrapping_mul(2)), 0x06C4_5D18_8009_454F);
    }

    #[test]
    fn the_stream_is_pinned() {
        let mut bytes = [0; 20];
        Prbs::new(0).fill(0, &mut bytes);
        assert_eq!(bytes, GOLDEN_0, "{bytes:#04x?}");
        Prbs::new(0xBEEF).fill((1 << 40) + 3, &mut bytes);
        assert_eq!(bytes, GOLDEN_BEEF, "{bytes:#04x?}");
    }

    #[test]
    fn the_first_wrong_byte_is_named() {
        let prbs = Prbs::new(7);
        let mut data = vec![0; 5000];
        prbs.fill(1001, &mut data);
        assert_eq!(prbs.check(1001, &data), Ok(()));
        for at in [0, 1, 6, 7, 8, 600, 4998, 4999] {
            let mut bad = data.clone();
            bad[at] ^= 0x10;
            bad[4999] ^= 0x01;
            let found = bad[at];
            let wrong = Mismatch { offset: 1001 + at as u64, expected: data[at], found };
            assert_eq!(prbs.check(1001, &bad), Err(wrong));
        }
        assert_eq!(wrong_text(), "byte 9 is 0x01, not 0xff");
    }

    fn wrong_text() -> String {
        Mismatch { offset: 9, expected: 0xff, found: 1 }.to_string()
    }

    #[test]
    fn moved_data_does_not_pass() {
        let prbs = Prbs::new(1);
        let mut data = vec![0; 64];
        prbs.fill(0, &mut data);
        for shift in (1..4096).chain([2 << 20, 1 << 33]) {
            assert!(prbs.check(shift, &data).is_err(), "shifted by {shift}");
        }
        assert!(Prbs::new(2).check(0, &data).is_err());
    }

    proptest! {
        #[test]
        fn any_slice_is_the_same_as_that_part_of_the_whole(
            seed: u16, base in 0u64..1 << 60, from in 0usize..600, len in 0usize..600,
        ) {
            let prbs = Prbs::new(seed);
            let mut whole = vec![0; 1200];
            prbs.fill(base, &mut whole);
            let mut slice = vec![0; len];
            prbs.fill(base + from as u64, &mut slice);
            prop_assert_eq!(&slice, &whole[from..from + len]);
            prop_assert_eq!(prbs.check(base + from as u64, &slice), Ok(()));
        }
    }

    /// Made by an independent program from the description at the top of this file.
    const GOLDEN_0: [u8; 20] = [
        0x6f, 0x7e, 0x19, 0x4d, 0x2f, 0xdd, 0x06, 0xa7, 0x5e, 0x4f, 0x41, 0xf4, 0x05, 0xa3, 0x82, 0xb3, 0x17,
        0xf7, 0xab, 0xfb,
    ];
    const GOLDEN_BEEF: [u8; 20] = [
        0xf7, 0x1e, 0x1d, 0xbd, 0x55, 0x21, 0x54, 0xe3, 0xc6, 0xec, 0x59, 0x7b, 0x15, 0xbc, 0x0a, 0xad, 0xca,
        0x66, 0x7a, 0x05,
    ];
}
