//! Legs whose bytes are a part of a file, and go from there to a socket without being read here.
//!
//! Such a leg takes no memory, but it counts in the pool with its length: what is not confirmed stays within `buffer`,
//! and there is room to read it where its bytes must be seen after all (the far end may want legs checked).

use super::moving::pipe_of;
use super::pool::Hold;
use crate::endpoint::Part;
use crate::error::reason;
use crate::proto::leg::{Content, Leg};
use std::any::Any;
use std::io::ErrorKind;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// The bytes of a part of a file, in the place of legs.
pub struct PartContent {
    part: Part,
    _counted: Hold,
}

impl PartContent {
    /// The bytes of this part, counted in a pool.
    pub fn new(part: Part, counted: Hold) -> Self {
        PartContent { part, _counted: counted }
    }
}

impl Content for PartContent {
    fn size(&self) -> usize {
        self.part.len
    }

    fn bytes(&self) -> &[u8] {
        &[]
    }

    fn elsewhere(&self) -> Option<(&dyn Any, Range<usize>)> {
        Some((self, 0..self.part.len))
    }
}

/// The part of a file that a leg consists of, if it does.
pub fn part_of(leg: &Leg) -> Option<Part> {
    let (whole, range) = leg.payload.elsewhere()?;
    let Part { file, at, .. } = &whole.downcast_ref::<PartContent>()?.part;
    Some(Part { file: file.clone(), at: at + range.start as u64, len: range.len() })
}

/// Reads the beginning of a part, as much as there is space for; never nothing.
///
/// # Errors
/// The file cannot be read there, in words for the user.
pub fn read(part: &Part, space: &mut [u8]) -> Result<usize, String> {
    let most = part.len.min(space.len());
    loop {
        let why = match part.file.file.read_at(&mut space[..most], part.at) {
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) => reason(&e),
            Ok(0) => "it became shorter while it was sent".to_owned(),
            Ok(n) => return Ok(n),
        };
        return Err(format!("cannot read {}: {why}", part.file.name));
    }
}

/// A leg with its bytes in memory, where they must be seen.
///
/// # Errors
/// They cannot be read, in words for the user.
pub fn in_memory(leg: Leg) -> Result<Leg, String> {
    if let Some(content) = pipe_of(&leg) {
        content.read().map_err(|e| format!("cannot read a pipe: {}", reason(&e)))?;
    }
    let Some(part) = part_of(&leg) else { return Ok(leg) };
    let mut bytes = vec![0; part.len];
    let mut filled = 0;
    while filled < bytes.len() {
        filled += read(&part.behind(filled), &mut bytes[filled..])?;
    }
    Ok(Leg { payload: Arc::new(bytes), ..leg })
}
