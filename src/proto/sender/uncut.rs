//! What the input gave and no connection has taken yet. It is cut into legs only when one takes it.
//!
//! A piece is as long as the input read it, and each leg is a slice of one piece: nothing is copied, and short pieces
//! are not joined. The memory of a piece is held until the last of its slices is gone.

use super::super::leg::{Content, Payload};
use std::any::Any;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A piece as the input gave it.
struct Piece {
    payload: Payload,
    /// Bytes of all pieces that are still held.
    held: Arc<AtomicU64>,
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.held.fetch_sub(self.payload.size() as u64, Ordering::Relaxed);
    }
}

/// A part of a piece; never empty.
#[derive(Clone)]
pub(super) struct Slice {
    piece: Arc<Piece>,
    range: Range<usize>,
}

impl Slice {
    /// Its length in bytes.
    pub(super) fn len(&self) -> u64 {
        self.range.len() as u64
    }
}

impl Content for Slice {
    fn size(&self) -> usize {
        self.range.len()
    }

    fn bytes(&self) -> &[u8] {
        self.piece.payload.bytes().get(self.range.clone()).unwrap_or_default()
    }

    fn elsewhere(&self) -> Option<(&dyn Any, Range<usize>)> {
        let (whole, range) = self.piece.payload.elsewhere()?;
        Some((whole, range.start + self.range.start..range.start + self.range.end))
    }

    fn is_indivisible(&self) -> bool {
        self.piece.payload.is_indivisible()
    }
}

/// The end of the stream, as far as the input gave it and no connection took it.
#[derive(Default)]
pub(super) struct Uncut {
    slices: VecDeque<Slice>,
    /// Bytes of the slices.
    bytes: u64,
    held: Arc<AtomicU64>,
}

impl Uncut {
    /// The next piece of the stream; never empty.
    pub(super) fn push(&mut self, payload: Payload) {
        let len = payload.size();
        self.held.fetch_add(len as u64, Ordering::Relaxed);
        self.bytes += len as u64;
        let piece = Arc::new(Piece { payload, held: self.held.clone() });
        self.slices.push_back(Slice { piece, range: 0..len });
    }

    /// What was cut off last, and is to be cut anew.
    pub(super) fn put_back(&mut self, slice: &Slice) {
        self.bytes += slice.len();
        self.slices.push_front(slice.clone());
    }

    /// All that waits: it is not wanted any more.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Payload> + use<> {
        self.bytes = 0;
        std::mem::take(&mut self.slices).into_iter().map(|slice| Arc::new(slice) as Payload)
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.slices.is_empty()
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Memory of all pieces that are not wholly gone, cut or not, in bytes.
    pub(super) fn memory(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// The length of the next leg, if it may have `most` bytes; never 0.
    pub(super) fn next_len(&self, most: usize) -> Option<u64> {
        let len = |first: &Slice| match first.is_indivisible() {
            true => first.len(),
            false => first.len().min(most.max(1) as u64),
        };
        self.slices.front().map(len)
    }

    /// Cuts a leg of at most `most` bytes.
    pub(super) fn cut(&mut self, most: usize) -> Option<Arc<Slice>> {
        let len = self.next_len(most)? as usize;
        let first = self.slices.front_mut()?;
        let cut = Slice { piece: first.piece.clone(), range: first.range.start..first.range.start + len };
        first.range.start += len;
        if first.range.is_empty() {
            self.slices.pop_front();
        }
        self.bytes -= len as u64;
        Some(Arc::new(cut))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legs_are_slices_that_keep_their_piece_until_the_last_is_gone() {
        let mut uncut = Uncut::default();
        uncut.push(Arc::new((0..100).collect::<Vec<u8>>()));
        uncut.push(Arc::new(vec![7; 3]));
        let first = uncut.cut(64).unwrap();
        let second = uncut.cut(64).unwrap();
        assert_eq!((first.bytes()[63], second.len(), uncut.bytes()), (63, 36, 3));
        drop(first);
        assert_eq!(uncut.memory(), 103, "a part of it is still wanted");
        drop(second);
        assert_eq!((uncut.memory(), uncut.next_len(64)), (3, Some(3)), "pieces are not joined");
    }

    #[test]
    fn what_is_not_wanted_goes_with_its_memory() {
        let mut uncut = Uncut::default();
        uncut.push(Arc::new(vec![1; 100]));
        uncut.push(Arc::new(vec![2; 50]));
        let cut = uncut.cut(60).unwrap();
        let rest: Vec<u64> = uncut.take_all().map(|rest| rest.size() as u64).collect();
        assert_eq!((rest, uncut.bytes(), uncut.is_empty()), (vec![40, 50], 0, true));
        assert_eq!(uncut.memory(), 100, "a connection still carries a part of it");
        drop(cut);
        assert_eq!(uncut.memory(), 0);
    }

    #[test]
    fn what_is_put_back_is_cut_anew() {
        let mut uncut = Uncut::default();
        uncut.push(Arc::new((0..100).collect::<Vec<u8>>()));
        let legs = [uncut.cut(60).unwrap(), uncut.cut(60).unwrap()];
        assert!(uncut.is_empty());
        legs.iter().rev().for_each(|leg| uncut.put_back(leg));
        assert_eq!(uncut.bytes(), 100);
        assert_eq!(uncut.cut(16).unwrap().bytes(), (0..16).collect::<Vec<u8>>());
    }
}
