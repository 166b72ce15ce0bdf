//! The bytes that TLS works on: where plaintext goes, and queues of bytes.

use std::io::IoSliceMut;

/// The longest record on the wire: RFC 8446, section 5.2.
pub(super) const RECORD: usize = 5 + (16 << 10) + 256;
/// The most plaintext in one.
pub(super) const FRAGMENT: usize = 16 << 10;
/// Where plaintext goes.
pub(super) struct Space<'a, 'b> {
    spaces: &'a mut [IoSliceMut<'b>],
    pub(super) filled: usize,
    len: usize,
}

impl<'a, 'b> Space<'a, 'b> {
    pub(super) fn of(spaces: &'a mut [IoSliceMut<'b>]) -> Self {
        let len = spaces.iter().map(|space| space.len()).sum();
        Space { spaces, filled: 0, len }
    }

    pub(super) fn none() -> Self {
        Space { spaces: &mut [], filled: 0, len: 0 }
    }

    /// Whether another record is to be opened: there is room for a whole one, or nothing has been read yet.
    pub(super) fn has_room(&self) -> bool {
        self.len > 0 && (self.filled == 0 || self.len - self.filled >= FRAGMENT)
    }

    /// Takes what fits; how much that was.
    pub(super) fn put(&mut self, bytes: &[u8]) -> usize {
        let (mut at, mut taken) = (self.filled, 0);
        for space in self.spaces.iter_mut() {
            if at >= space.len() {
                at -= space.len();
                continue;
            }
            let n = (space.len() - at).min(bytes.len() - taken);
            space[at..at + n].copy_from_slice(&bytes[taken..taken + n]);
            taken += n;
            at = 0;
        }
        self.filled += taken;
        taken
    }
}

/// A queue of bytes in one piece of memory, which is kept.
pub(super) struct Bytes {
    memory: Vec<u8>,
    start: usize,
    end: usize,
}

impl Bytes {
    pub(super) fn new(size: usize) -> Self {
        Bytes { memory: vec![0; size], start: 0, end: 0 }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.end]
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.end]
    }

    pub(super) fn consume(&mut self, n: usize) {
        self.start += n;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Moves what there is to the front, if that makes room at the end for which there is none.
    pub(super) fn compact(&mut self) {
        if self.start > 0 && self.memory.len() - self.end < RECORD {
            self.memory.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
    }

    pub(super) fn room(&mut self) -> &mut [u8] {
        &mut self.memory[self.end..]
    }

    /// So many bytes were put into the room.
    pub(super) fn fill(&mut self, n: usize) {
        self.end += n;
    }

    /// Makes more room, up to `limit` in all.
    pub(super) fn grow(&mut self, limit: usize) {
        let size = (self.memory.len() * 4).min(limit).max(self.memory.len());
        self.memory.resize(size, 0);
    }

    /// The memory that it has.
    #[cfg(test)]
    pub(super) fn room_in_all(&self) -> usize {
        self.memory.len()
    }

    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.append(bytes.len(), |space| {
            space[..bytes.len()].copy_from_slice(bytes);
            Ok(bytes.len())
        });
    }

    /// Appends what `put` puts into the space that it is given, at least `hint` bytes, and how much that is; it may ask
    /// for more space.
    pub(super) fn append(&mut self, hint: usize, mut put: impl FnMut(&mut [u8]) -> Result<usize, usize>) {
        let mut size = hint;
        loop {
            if self.memory.len() - self.end < size {
                self.memory.resize(self.end + size, 0);
            }
            match put(&mut self.memory[self.end..]) {
                Ok(n) => return self.end += n,
                Err(more) => size = more,
            }
        }
    }
}
