//! The receiver's core: puts legs in order, once each, within the window it has given.
//!
//! Knows neither connections nor sockets: a leg is the same leg whichever connection brings it, and the
//! first copy wins. No leg is given to the output before every leg below it, and no leg that was acknowledged is
//! ever dropped. Throughout: held bytes ≤ window, whatever the peer sends, because the ranges of held legs
//! are disjoint and lie between what is delivered and the edge.
//!
//! The output may take the head while it arrives, once it has taken everything before it. From then on every copy of that
//! leg has the same length, and nothing may be announced that contradicts it: the output cannot give bytes back.

use super::breach::Breach;
use super::leg::{LEG_MAX, Leg, Payload, WINDOW_LEGS};
use super::wire::{Fin, WindowEdge};
use std::collections::{BTreeMap, VecDeque};

/// What became of a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegFate {
    /// The leg, and perhaps some after it, can be given to the output.
    InOrder,
    /// The leg is kept until those before it have come.
    Ahead,
    /// The leg was here already.
    Duplicate,
}

/// Legs that are held out of order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ahead {
    /// How many.
    pub legs: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The reordering and the window of one stream.
#[derive(Debug)]
pub struct Receiver {
    window: u64,
    /// The leg wanted next, and where it begins.
    next: u64,
    next_offset: u64,
    /// The length of the head, if the output has begun with it.
    begun: Option<u64>,
    /// Legs beyond `next`, by sequence; their ranges are disjoint.
    ahead: BTreeMap<u64, Leg>,
    ahead_bytes: u64,
    /// In order, not yet handed to the output.
    ready: VecDeque<Leg>,
    /// Taken by the output; ≤ `next`, ≤ `next_offset`.
    delivered_legs: u64,
    delivered_bytes: u64,
    /// Only ever grows; ≤ delivered + window.
    edge: WindowEdge,
    /// The furthest edge that the sender was told of; ≤ `edge`.
    told: WindowEdge,
    fin: Option<Fin>,
    duplicates: u64,
    /// Legs that were not taken.
    untaken: Vec<Leg>,
}

impl Receiver {
    /// A receiver that lets the sender go `window` bytes beyond what is delivered.
    pub fn new(window: u64) -> Self {
        Receiver {
            window,
            next: 0,
            next_offset: 0,
            begun: None,
            ahead: BTreeMap::new(),
            ahead_bytes: 0,
            ready: VecDeque::new(),
            delivered_legs: 0,
            delivered_bytes: 0,
            edge: WindowEdge { bytes: window, legs: WINDOW_LEGS },
            told: WindowEdge { bytes: window, legs: WINDOW_LEGS },
            fin: None,
            duplicates: 0,
            untaken: Vec::new(),
        }
    }

    /// Whether this leg is here, or was.
    pub fn has(&self, sequence: u64) -> bool {
        sequence < self.next || self.ahead.contains_key(&sequence)
    }

    /// A leg has come whole.
    ///
    /// # Errors
    /// The leg was not taken.
    pub fn leg(&mut self, leg: Leg) -> Result<LegFate, Breach> {
        if self.has(leg.sequence) {
            self.duplicates += 1;
            self.untaken.push(leg);
            return Ok(LegFate::Duplicate);
        }
        if let Err(breach) = self.admits(leg.sequence, leg.offset, leg.len()) {
            self.untaken.push(leg);
            return Err(breach);
        }
        if leg.sequence > self.next {
            self.ahead_bytes += leg.len();
            self.ahead.insert(leg.sequence, leg);
            return Ok(LegFate::Ahead);
        }
        self.append(leg);
        self.follow();
        Ok(LegFate::InOrder)
    }

    /// The output may take the bytes of this leg as they arrive: it is the head, the output has taken everything before it,
    /// and the leg would be taken if it came now. From now on the output counts as having begun with it. Asked again, it is
    /// said again.
    pub fn begin_head(&mut self, sequence: u64, offset: u64, len: u64) -> bool {
        let takes = sequence == self.next
            && self.delivered_legs == self.next
            && self.admits(sequence, offset, len).is_ok();
        if takes {
            self.begun = Some(len);
        }
        takes
    }

    /// The output has taken none of the leg that it was to begin with, if that is still the head: it has not begun.
    pub fn leave_head(&mut self, sequence: u64) {
        self.begun.take_if(|_| sequence == self.next);
    }

    /// Whether the output has begun with the head.
    pub fn has_begun_head(&self) -> bool {
        self.begun.is_some()
    }

    /// The head has come whole, and the output has taken all of it meanwhile. Otherwise like [`Receiver::leg`]; what it gives
    /// for a leg that the output did not begin with is a breach.
    ///
    /// # Errors
    /// The leg was not taken.
    pub fn head_through(&mut self, sequence: u64, offset: u64, len: u64) -> Result<LegFate, Breach> {
        if self.has(sequence) {
            self.duplicates += 1;
            return Ok(LegFate::Duplicate);
        }
        self.admits(sequence, offset, len)?;
        if sequence != self.next || self.begun != Some(len) {
            return Err(Breach::Misfit(sequence));
        }
        self.pass(len);
        self.follow();
        Ok(LegFate::InOrder)
    }

    /// Whether a leg with this place in the stream would be taken if it came now.
    ///
    /// # Errors
    /// What is wrong with it.
    fn admits(&self, sequence: u64, offset: u64, len: u64) -> Result<(), Breach> {
        let end = offset.saturating_add(len);
        if sequence >= self.edge.legs || end > self.edge.bytes {
            return Err(Breach::BeyondWindow(sequence));
        }
        let behind = (sequence + 1, end);
        if self.fin.is_some_and(|fin| !is_fillable(behind, (fin.legs, fin.bytes))) {
            return Err(Breach::PastEnd(sequence));
        }
        let before = self.ahead.range(..sequence).next_back().map(|(s, leg)| (s + 1, leg.range().end));
        let head = sequence == self.next;
        let before = before.unwrap_or(if head { (self.next, self.next_offset) } else { self.reached() });
        let after = self.ahead.range(sequence..).next().map(|(s, leg)| (*s, leg.offset));
        let fits_after = after.is_none_or(|after| is_fillable(behind, after));
        let fits_begun = !head || self.begun.is_none_or(|begun| begun == len);
        if is_fillable(before, (sequence, offset)) && fits_after && fits_begun {
            Ok(())
        } else {
            Err(Breach::Misfit(sequence))
        }
    }

    /// Payload of legs that were not taken since this was asked last: the owner drops it where that delays nobody.
    pub fn take_freed(&mut self) -> impl Iterator<Item = Payload> {
        self.untaken.drain(..).map(|leg| leg.payload)
    }

    /// All payload that is here: nobody wants the stream any more.
    pub fn into_freed(self) -> impl Iterator<Item = Payload> {
        let legs = self.ahead.into_values().chain(self.ready).chain(self.untaken);
        legs.map(|leg| leg.payload)
    }

    /// The next leg for the output, in order.
    pub fn next_ready(&mut self) -> Option<Leg> {
        self.ready.pop_front()
    }

    /// An acknowledgement has told the sender of this edge. No acknowledgement can have told more than the window.
    pub fn note_told(&mut self, edge: WindowEdge) {
        self.told.bytes = self.told.bytes.max(edge.bytes.min(self.edge.bytes));
        self.told.legs = self.told.legs.max(edge.legs.min(self.edge.legs));
    }

    /// The output has taken so many more legs and bytes. True if the sender must be told of the new edge at once,
    /// because it may be waiting at the edge that it knows. The sender then counts as told.
    pub fn delivered(&mut self, legs: u64, bytes: u64) -> bool {
        self.delivered_legs += legs;
        self.delivered_bytes += bytes;
        debug_assert!(self.delivered_bytes <= self.next_offset && self.delivered_legs <= self.next);
        self.edge = WindowEdge {
            bytes: self.delivered_bytes.saturating_add(self.window),
            legs: self.delivered_legs.saturating_add(WINDOW_LEGS),
        };
        let tell = self.may_wait() && self.is_worth_telling();
        if tell {
            self.told = self.edge;
        }
        tell
    }

    /// The stream's end is announced.
    ///
    /// # Errors
    /// It contradicts what was received or announced before.
    pub fn fin(&mut self, fin: Fin) -> Result<(), Breach> {
        if self.fin.is_some_and(|known| known != fin) {
            return Err(Breach::OtherEnd);
        }
        let last = self.ahead.last_key_value().map(|(s, leg)| (s + 1, leg.range().end));
        let last = last.unwrap_or_else(|| self.reached());
        if !is_fillable(last, (fin.legs, fin.bytes)) {
            return Err(Breach::PastEnd(last.0));
        }
        self.fin = Some(fin);
        Ok(())
    }

    /// The end that was announced.
    pub fn announced(&self) -> Option<Fin> {
        self.fin
    }

    /// The end that was announced, once every leg before it has been delivered.
    pub fn complete(&self) -> Option<Fin> {
        self.fin.filter(|fin| self.delivered_legs == fin.legs && self.delivered_bytes == fin.bytes)
    }

    /// The end that was announced, once every leg before it has been received.
    pub fn whole(&self) -> Option<Fin> {
        self.fin.filter(|fin| self.next == fin.legs && self.next_offset == fin.bytes)
    }

    /// The leg wanted next.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Bytes received in order.
    pub fn received_bytes(&self) -> u64 {
        self.next_offset
    }

    /// Bytes that the output has taken.
    pub fn delivered_bytes(&self) -> u64 {
        self.delivered_bytes
    }

    /// The end of the window, in bytes of the stream and in legs.
    pub fn edge(&self) -> WindowEdge {
        self.edge
    }

    /// What is held out of order.
    pub fn ahead(&self) -> Ahead {
        Ahead { legs: self.ahead.len() as u64, bytes: self.ahead_bytes }
    }

    /// Bytes received and not yet delivered, in order or not.
    pub fn held_bytes(&self) -> u64 {
        self.next_offset - self.delivered_bytes + self.ahead_bytes
    }

    /// Legs that came although they were here already.
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// What is known to come in order: legs and bytes, with the head if the output has begun with it.
    fn reached(&self) -> (u64, u64) {
        let head = self.begun.map_or((0, 0), |len| (1, len));
        (self.next + head.0, self.next_offset + head.1)
    }

    fn append(&mut self, leg: Leg) {
        self.pass(leg.len());
        self.ready.push_back(leg);
    }

    /// The head has come.
    fn pass(&mut self, len: u64) {
        self.next += 1;
        self.next_offset += len;
        self.begun = None;
    }

    /// Legs that have waited for the one that came.
    fn follow(&mut self) {
        while let Some(leg) = self.ahead.remove(&self.next) {
            self.ahead_bytes -= leg.len();
            self.append(leg);
        }
    }

    /// Whether the sender has used all but an eighth of the window that it knows of.
    fn may_wait(&self) -> bool {
        let bytes_left = self.told.bytes.saturating_sub(self.next_offset + self.ahead_bytes);
        let legs_left = self.told.legs.saturating_sub(self.next + self.ahead.len() as u64);
        bytes_left < self.window / 8 || legs_left < WINDOW_LEGS / 8
    }

    /// Whether the edge is at least an eighth of the window beyond the edge that the sender knows. That is worth a
    /// message on every connection.
    fn is_worth_telling(&self) -> bool {
        let (bytes, legs) = (self.edge.bytes - self.told.bytes, self.edge.legs - self.told.legs);
        bytes >= self.window / 8 || legs >= WINDOW_LEGS / 8
    }
}

/// Whether legs can fill the stream from one place to the other, each given as legs and bytes before it: no leg is empty
/// or longer than [`LEG_MAX`]. A stream with a gap that cannot be filled would never end.
fn is_fillable(from: (u64, u64), to: (u64, u64)) -> bool {
    let (Some(legs), Some(bytes)) = (to.0.checked_sub(from.0), to.1.checked_sub(from.1)) else {
        return false;
    };
    (legs..=legs.saturating_mul(LEG_MAX as u64)).contains(&bytes)
}

#[cfg(test)]
mod tests;
