//! The fuzzer's bytes, read as a script: choices, and numbers that are lies now and then. It never ends with an error:
//! what is no longer there is 0.

/// What is left of a script.
pub struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Script(bytes)
    }

    /// The next byte; None at the end.
    pub fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub fn byte(&mut self) -> u8 {
        self.next().unwrap_or(0)
    }

    /// One of so many.
    pub fn below(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count
    }

    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// Whether the next byte is odd.
    pub fn odd(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Up to so many bytes.
    pub fn take(&mut self, most: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// A number, more often the true one than not.
    pub fn number(&mut self, truth: u64) -> u64 {
        match self.byte() {
            1 => 0,
            2 => u64::MAX,
            3 => truth.wrapping_add(1),
            4 => truth.wrapping_sub(1),
            5 => self.byte().into(),
            6 => 1 << self.below(64),
            7 => truth.wrapping_add(self.byte().into()),
            8 => truth.wrapping_sub(self.byte().into()),
            9 => self.take(8).iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
            _ => truth,
        }
    }
}
