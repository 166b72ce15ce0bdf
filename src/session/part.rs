//! Legs whose bytes are a part of a file, and go from there to a socket without being read here.
//!
//! Such a leg takes no memory, but it counts in the pool with its length: what is not confirmed stays within `buffer`,
//! and there is room to read it where its bytes must be seen after all (the far end may want legs checked).

use super::moving::pipe_of;
use super::pool::Reservation;
use crate::endpoint::Part;
use crate::error::reason;
use crate::proto::leg::{Content, Leg};
use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

/// The bytes of a part of a file, in the place of legs.
pub(crate) struct PartContent {
    part: Part,
    _counted: Reservation,
}

impl PartContent {
    /// The bytes of this part, counted in a pool.
    pub(crate) fn new(part: Part, counted: Reservation) -> Self {
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
pub(crate) fn part_of(leg: &Leg) -> Option<Part> {
    let (whole, range) = leg.payload.elsewhere()?;
    let Part { file, at, .. } = &whole.downcast_ref::<PartContent>()?.part;
    Some(Part { file: file.clone(), at: at + range.start as u64, len: range.len() })
}

/// A leg with its bytes in memory, where they must be seen.
///
/// # Errors
/// The bytes cannot be read; why, for the user.
pub(crate) fn in_memory(leg: Leg) -> Result<Leg, String> {
    if let Some(content) = pipe_of(&leg) {
        content.read().map_err(|e| format!("cannot read a pipe: {}", reason(&e)))?;
    }
    let Some(part) = part_of(&leg) else { return Ok(leg) };
    let mut bytes = vec![0; part.len];
    let mut filled = 0;
    while filled < bytes.len() {
        filled += part.behind(filled).read(&mut bytes[filled..])?;
    }
    Ok(Leg { payload: Arc::new(bytes), ..leg })
}
