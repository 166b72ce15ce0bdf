//! Lines that wait to be written. The queue is bounded; the oldest lines give way.
//!
//! Pure. Dropped lines are counted, and a line before the next one tells how many they are. The newest line is always
//! kept: it may say why the process ends.

use super::notices;
use super::text::one_line;
use std::collections::VecDeque;

/// The most that waits, in bytes: lines of a busy minute at the highest verbosity.
const BYTES_MAX: usize = 512 << 10;

/// The most that waits, in entries.
const ENTRIES_MAX: usize = 4096;

/// What goes out at once: a pipe takes it in one piece, not mixed with the lines of other processes.
pub(crate) const PIECE_MAX: usize = 4096;

/// The lines. `bytes` is the sum of theirs, at most [`BYTES_MAX`] unless there is only one.
pub(crate) struct Queue {
    entries: VecDeque<String>,
    bytes: usize,
    /// Lines dropped and not told of yet.
    dropped: usize,
}

impl Queue {
    /// Nothing waits.
    pub(crate) const fn new() -> Self {
        Queue { entries: VecDeque::new(), bytes: 0, dropped: 0 }
    }

    /// Adds one line or several, each ending in a newline, that stay together.
    pub(crate) fn push(&mut self, entry: String) {
        self.bytes += entry.len();
        self.entries.push_back(entry);
        while self.entries.len() > 1 && (self.bytes > BYTES_MAX || self.entries.len() > ENTRIES_MAX) {
            let oldest = self.pop().unwrap_or_default();
            self.dropped += oldest.lines().count();
        }
    }

    /// Takes what goes out next: as many whole entries as one piece holds, or one that is larger.
    pub(crate) fn take(&mut self) -> Option<String> {
        let mut piece = match std::mem::take(&mut self.dropped) {
            0 => self.pop()?,
            dropped => one_line(&notices::dropped(dropped)),
        };
        while let Some(next) = self.entries.front()
            && piece.len() + next.len() <= PIECE_MAX
        {
            piece += &self.pop().unwrap_or_default();
        }
        Some(piece)
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn pop(&mut self) -> Option<String> {
        self.entries.pop_front().inspect(|entry| self.bytes -= entry.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained(queue: &mut Queue) -> String {
        std::iter::from_fn(|| queue.take()).collect()
    }

    #[test]
    fn what_was_said_is_written_in_order() {
        let mut queue = Queue::new();
        assert!(queue.is_empty() && queue.take().is_none());
        let lines: Vec<String> = (0..1000).map(|n| format!("line {n}\n")).collect();
        lines.iter().for_each(|line| queue.push(line.clone()));
        let pieces: Vec<String> = std::iter::from_fn(|| queue.take()).collect();
        assert!(pieces.iter().all(|piece| piece.len() <= PIECE_MAX && piece.ends_with('\n')));
        assert_eq!(pieces.len(), lines.concat().len().div_ceil(PIECE_MAX), "as few as hold them");
        assert_eq!(pieces.concat(), lines.concat());
    }

    #[test]
    fn too_many_push_out_the_oldest_and_that_is_told_first() {
        let mut queue = Queue::new();
        (0..ENTRIES_MAX + 12).for_each(|n| queue.push(format!("line {n}\n")));
        let written = drained(&mut queue);
        assert!(written.starts_with("millipede: … 12 lines dropped\nline 12\nline 13\n"), "{written:.80}");
        assert!(written.ends_with(&format!("line {}\n", ENTRIES_MAX + 11)));
        queue.push("later\n".into());
        assert_eq!(drained(&mut queue), "later\n", "told once");
    }

    #[test]
    fn too_much_does_too_and_what_is_too_large_alone_is_kept() {
        let mut queue = Queue::new();
        queue.push("a\nb\n".into());
        queue.push("x".repeat(BYTES_MAX) + "\n");
        assert_eq!(queue.take().unwrap(), "millipede: … 2 lines dropped\n");
        assert_eq!(queue.take().unwrap().len(), BYTES_MAX + 1);
        assert!(queue.is_empty() && queue.bytes == 0);
    }
}
