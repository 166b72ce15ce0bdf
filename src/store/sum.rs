//! Sums: SHA-256 of a file, and of its beginnings, by which it is found out how much of it is there already.

use super::disk::Contents;
use aws_lc_rs::digest::{Context, SHA256, digest};
use std::collections::VecDeque;
use std::fmt;
use std::io;

/// Beginnings that are remembered besides the whole. A partial is synced whenever it has grown past another mark, so
/// after a crash the last mark but one is durable; one more is for a sync that was under way.
const MARKS: usize = 3;
/// How much of a file is read at once.
const READ: usize = 256 << 10;

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sum(pub(crate) [u8; 32]);

impl Sum {
    /// That of these bytes.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Sum::from(digest(&SHA256, bytes))
    }

    /// From 64 hexadecimal digits.
    pub(crate) fn parse(hex: &str) -> Option<Self> {
        let mut sum = [0; 32];
        if hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        for (index, byte) in sum.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).ok()?;
        }
        Some(Sum(sum))
    }
}

impl From<aws_lc_rs::digest::Digest> for Sum {
    fn from(digest: aws_lc_rs::digest::Digest) -> Self {
        let mut sum = [0; 32];
        sum.copy_from_slice(digest.as_ref());
        Sum(sum)
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The beginning of a file: so many bytes have this sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Bytes.
    pub(crate) length: u64,
    /// Theirs.
    pub(crate) sum: Sum,
}

/// The sum of a file that grows, with that of its last few marks: its lengths at multiples of the stride.
#[derive(Clone)]
pub(crate) struct Running {
    sum: Context,
    length: u64,
    stride: u64,
    /// Ascending, below `length` or at it; at most [`MARKS`].
    marks: VecDeque<(u64, Context)>,
}

impl Running {
    /// Of nothing, with marks at multiples of `stride` bytes.
    pub(crate) fn new(stride: u64) -> Self {
        Running { sum: Context::new(&SHA256), length: 0, stride: stride.max(1), marks: VecDeque::new() }
    }

    /// Of all of this file.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn of(file: &impl Contents, stride: u64) -> io::Result<Self> {
        let mut running = Running::new(stride);
        let mut space = vec![0; READ];
        loop {
            match file.read_at(&mut space, running.length)? {
                0 => return Ok(running),
                more => running.add(&space[..more]),
            }
        }
    }

    /// These bytes come next.
    pub(crate) fn add(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let up_to_mark = self.stride - self.length % self.stride;
            let here = bytes.len().min(usize::try_from(up_to_mark).unwrap_or(usize::MAX));
            self.sum.update(&bytes[..here]);
            self.length += here as u64;
            bytes = &bytes[here..];
            if self.length.is_multiple_of(self.stride) {
                self.marks.push_back((self.length, self.sum.clone()));
                if self.marks.len() > MARKS {
                    self.marks.pop_front();
                }
            }
        }
    }

    /// Bytes so far.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// The sum of all of them.
    pub(crate) fn sum(&self) -> Sum {
        self.sum.clone().finish().into()
    }

    /// The last few marks and the whole, ascending, without those of nothing.
    pub(crate) fn marks(&self) -> Vec<Mark> {
        let before = self.marks.iter().filter(|(length, _)| *length < self.length);
        let mark = |length, sum: Context| Mark { length, sum: sum.finish().into() };
        let mut marks: Vec<Mark> = before.map(|(length, sum)| mark(*length, sum.clone())).collect();
        if self.length > 0 {
            marks.push(mark(self.length, self.sum.clone()));
        }
        marks
    }

    /// Goes back to one of the marks, or to nothing. False: there is no such mark.
    pub(crate) fn back(&mut self, length: u64) -> bool {
        if length == 0 {
            *self = Running::new(self.stride);
        } else if length != self.length {
            let Some((_, sum)) = self.marks.iter().find(|(mark, _)| *mark == length) else { return false };
            (self.sum, self.length) = (sum.clone(), length);
            self.marks.retain(|(mark, _)| *mark <= length);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_known_sum() {
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Sum::of(b"abc").to_string(), hex);
        assert_eq!(Sum::parse(hex), Some(Sum::of(b"abc")));
        for bad in ["", "ba78", &"g".repeat(64), &"é".repeat(32), &(hex.to_owned() + "0")] {
            assert_eq!(Sum::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_mark_has_the_sum_of_its_beginning(
            cuts in proptest::collection::vec(0usize..40, 0..12), back in 0usize..5, more in 0usize..40
        ) {
            let whole: Vec<u8> = (0..600u32).map(|n| (n * 7 % 251) as u8).collect();
            let mut running = Running::new(16);
            let mut length = 0;
            for cut in cuts {
                running.add(&whole[length..length + cut]);
                length += cut;
            }
            let marks = running.marks();
            prop_assert_eq!(marks.last().map_or(0, |mark| mark.length), length as u64);
            prop_assert!(marks.len() <= MARKS + 1 && marks.is_sorted_by_key(|mark| mark.length));
            for mark in &marks {
                prop_assert_eq!(mark.sum, Sum::of(&whole[..mark.length as usize]));
            }
            // whatever is not a multiple of the stride, or long ago, is no mark
            prop_assert!(!running.back(length as u64 + 1));
            let to = marks.get(back).map_or(0, |mark| mark.length) as usize;
            prop_assert!(running.back(to as u64));
            running.add(&whole[to..to + more]);
            prop_assert_eq!(running.sum(), Sum::of(&whole[..to + more]));
            for mark in running.marks() {
                prop_assert_eq!(mark.sum, Sum::of(&whole[..mark.length as usize]));
            }
        }
    }
}
