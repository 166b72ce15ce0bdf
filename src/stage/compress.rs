//! Compresses a leg with zstd, and decompresses it: one leg is one frame, made and read in a single shot.
//!
//! So no window outlives a leg, and what is decompressed goes straight into memory of exactly the length that the leg's
//! header announced: a frame that says or has another length is [`Misfit`], before or while it is read. Nothing that
//! comes from a peer makes this allocate.

use zstd::zstd_safe::{self, CCtx, CParameter, DCtx};

/// Legs of at least so many bytes are judged by a sample before they are compressed whole.
const SAMPLED: usize = 64 << 10;

/// A sample is so many pieces of so many bytes, from a leg's beginning, middle and end. Compressing it costs less than
/// 1 % of what moving a leg of 2 MiB costs.
const PIECES: usize = 3;
const PIECE: usize = 4096;

/// The level of samples: of the fast ones, the one that sees most.
const SAMPLE_LEVEL: i32 = 1;

/// What does not shrink by a 32nd is better sent as it is: so much is soon lost again to the decompressing.
const WORTH: usize = 32;

/// From this level on the tables of zstd are larger than is of use, see [`TABLES`].
const BOUNDED: i32 = 4;

/// The largest table that is of use: 2^18 positions. With 2^22, level 9 needs 10 MiB for a leg of 2 MiB and makes it
/// 0.8 % smaller.
pub(crate) const TABLES: u32 = 18;

/// The smallest that finds anything.
pub(crate) const TABLES_MIN: u32 = 12;

/// What compresses legs, one after another. Its memory is kept from leg to leg.
pub(crate) struct Encoder {
    context: CCtx<'static>,
    level: Option<i32>,
    /// log2 of the positions that a table has, at most.
    tables: u32,
}

impl Encoder {
    /// With tables of at most 2^`tables` positions. None if there is no memory for it.
    pub(crate) fn new(tables: u32) -> Option<Self> {
        Some(Encoder { context: CCtx::try_create()?, level: None, tables })
    }

    /// Whether a sample of the leg says that compressing it is worth while.
    pub(crate) fn is_worth_while(&mut self, leg: &[u8]) -> bool {
        if leg.len() < SAMPLED {
            return true;
        }
        let mut space = [0; PIECE + PIECE / 4];
        let starts = (0..PIECES).map(|piece| (leg.len() - PIECE) / (PIECES - 1) * piece);
        let sizes = starts.map(|start| self.encode(SAMPLE_LEVEL, &leg[start..start + PIECE], &mut space));
        let size: usize = sizes.map(|size| size.unwrap_or(PIECE)).sum();
        size <= worth(PIECES * PIECE)
    }

    /// Compresses a leg with this level. None if it does not fit `space`.
    pub(crate) fn encode(&mut self, level: i32, leg: &[u8], space: &mut [u8]) -> Option<usize> {
        self.set(level)?;
        self.context.compress2(space, leg).ok()
    }

    fn set(&mut self, level: i32) -> Option<()> {
        if self.level == Some(level) {
            return Some(());
        }
        // 0 leaves the size to the level
        let tables = if level < BOUNDED && self.tables == TABLES { 0 } else { self.tables };
        self.level = None;
        self.context.set_parameter(CParameter::CompressionLevel(level)).ok()?;
        self.context.set_parameter(CParameter::HashLog(tables)).ok()?;
        self.context.set_parameter(CParameter::ChainLog(tables)).ok()?;
        self.level = Some(level);
        Some(())
    }

    /// Bytes of memory that it has by now.
    pub(crate) fn footprint(&self) -> usize {
        self.context.sizeof()
    }
}

/// The most bytes that a leg of so many may come to, for it to be sent compressed.
pub(crate) fn worth(raw: usize) -> usize {
    raw - raw / WORTH - 1
}

/// What decompresses legs, one after another.
pub(crate) struct Decoder(DCtx<'static>);

impl Decoder {
    /// None if there is no memory for it.
    pub(crate) fn new() -> Option<Self> {
        DCtx::try_create().map(Decoder)
    }

    /// Decompresses a leg into exactly `raw`.
    ///
    /// # Errors
    /// It is not one frame of exactly this length.
    pub(crate) fn decode(&mut self, encoded: &[u8], raw: &mut [u8]) -> Result<(), Misfit> {
        if length(encoded) != Some(raw.len() as u64) {
            return Err(Misfit);
        }
        match self.0.decompress(raw, encoded) {
            Ok(n) if n == raw.len() => Ok(()),
            _ => Err(Misfit),
        }
    }

    /// Bytes of memory that it has.
    pub(crate) fn footprint(&self) -> usize {
        self.0.sizeof()
    }
}

/// The length that one frame says to have, if that is what these bytes are and no more follow.
pub(crate) fn length(encoded: &[u8]) -> Option<u64> {
    let one = zstd_safe::find_frame_compressed_size(encoded).is_ok_and(|size| size == encoded.len());
    zstd_safe::get_frame_content_size(encoded).ok().flatten().filter(|_| one)
}

/// Bytes that are no compressed leg, or one of another length than was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Misfit;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::adapt::RUNGS;

    fn text(len: usize) -> Vec<u8> {
        (0..).flat_map(|n: u32| format!("line {} of {n} in all\n", n % 71).into_bytes()).take(len).collect()
    }

    fn noise(len: usize) -> Vec<u8> {
        let mut state = 88_172_645_463_325_252u64;
        let next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        std::iter::repeat_with(next).take(len).collect()
    }

    fn compressed(level: i32, leg: &[u8]) -> Vec<u8> {
        let mut space = vec![0; leg.len() + 1024];
        let size = Encoder::new(TABLES).unwrap().encode(level, leg, &mut space).unwrap();
        space.truncate(size);
        space
    }

    #[test]
    fn what_was_compressed_comes_back_at_every_level_and_length() {
        let mut encoder = Encoder::new(TABLES).unwrap();
        let mut decoder = Decoder::new().unwrap();
        for level in RUNGS.into_iter().flatten().chain([19]) {
            for len in [1, 7, 4096, 100_000, 700_000] {
                let leg = text(len);
                let mut space = vec![0; len + 1024];
                let size = encoder.encode(level, &leg, &mut space).unwrap();
                let mut back = vec![0; len];
                assert_eq!(decoder.decode(&space[..size], &mut back), Ok(()));
                assert!(back == leg, "level {level}, {len} bytes");
            }
        }
        assert!(encoder.footprint() < 5 << 20, "{}", encoder.footprint());
        assert!(decoder.footprint() < 200 << 10, "{}", decoder.footprint());
    }

    #[test]
    fn what_does_not_shrink_is_seen_from_a_sample() {
        let mut encoder = Encoder::new(TABLES).unwrap();
        for len in [SAMPLED, SAMPLED + 1, 1 << 20, 2 << 20] {
            assert!(encoder.is_worth_while(&text(len)));
            assert!(!encoder.is_worth_while(&noise(len)));
            let mut half = noise(len);
            half[len / 3..].fill(0);
            assert!(encoder.is_worth_while(&half));
        }
        let mut space = vec![0; worth(5000)];
        assert_eq!(encoder.encode(3, &noise(5000), &mut space), None, "small ones are tried");
    }

    #[test]
    fn a_leg_of_another_length_is_found_out() {
        let mut decoder = Decoder::new().unwrap();
        let frame = compressed(3, &text(10_000));
        for len in [1, 9_999, 10_001, 20_000] {
            assert_eq!(decoder.decode(&frame, &mut vec![0; len]), Err(Misfit));
        }
        // a bomb is no larger than the memory that it was given
        let bomb = compressed(19, &vec![0; 64 << 20]);
        assert!(bomb.len() < 10_000);
        assert_eq!(decoder.decode(&bomb, &mut vec![0; 2 << 20]), Err(Misfit));
        // the length is said wrongly: as many bytes as fit are written, and no more
        let lies = compressed(1, &text(300));
        assert_eq!(lies[4] & 0xe0, 0x60, "a single segment with a length of two bytes");
        let mut shorter = lies.clone();
        shorter[5] -= 1;
        assert_eq!(decoder.decode(&shorter, &mut vec![0; 299]), Err(Misfit));
        let mut longer = lies;
        longer[5] += 1;
        assert_eq!(decoder.decode(&longer, &mut vec![0; 301]), Err(Misfit));
    }

    #[test]
    fn only_one_whole_frame_is_a_leg() {
        let mut decoder = Decoder::new().unwrap();
        let frame = compressed(3, &text(1000));
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4][..], &frame].concat();
        for bytes in
            [&[][..], &frame[..frame.len() - 1], &[&frame[..], &[0]].concat(), &skippable, &noise(500)]
        {
            assert_eq!(decoder.decode(bytes, &mut [0; 1000]), Err(Misfit));
        }
        let two = [&frame[..], &frame].concat();
        assert_eq!(decoder.decode(&two, &mut [0; 2000]), Err(Misfit));
        assert_eq!(decoder.decode(&frame, &mut [0; 1000]), Ok(()));
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut decoder = Decoder::new().unwrap();
        let frame = compressed(3, &text(3000));
        let mut raw = [0; 3000];
        for at in 0..frame.len() {
            for flip in [1, 0x80, 0xff] {
                let mut changed = frame.clone();
                changed[at] ^= flip;
                let _ = decoder.decode(&changed, &mut raw);
            }
        }
    }
}
