//! Many connections in one stream: who may send how much, and what has ended.
//!
//! Pure: bytes of the stream and of the connections go in and out through arguments. Call order: one method,
//! then drain [`Mux::poll`]. What arrives never has to wait for a connection to take it: the far end sends no
//! more than it was given credit for, and so much is kept here. What the far end is to be told is state of each
//! connection and no queue, so that one that takes no answers fills no memory; one that asks for more answers than its
//! connections can be worth gets none.
//!
//! A connection is shut down for writing here when the far end has ended its direction and all that came was taken. It
//! is closed when both have ended ([`Ends`]), and gone with a reset from anywhere.

mod ends;
mod owed;

use super::record::{DATA_MAX, HEADER, Record, TunnelBreach};
use ends::{End, Ends};
use owed::Owed;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;

/// What a connection may send at first: as much as a request or a terminal needs, and little enough that a
/// thousand idle connections cost little.
pub(crate) const WINDOW_FIRST: u32 = 64 << 10;

/// What a connection may send at most without credit, once it has shown that it is used: 400 Mbit/s at a
/// round trip of 80 ms.
const WINDOW_MAX: u32 = 4 << 20;

/// Connections of which the far end has to be told something, at most: several times those that there can be. One that
/// keeps to the rules cannot cause so many: it opens no connection beyond what it may have without having taken what it is
/// told about others.
const OWED_MAX: usize = 4096;

/// Less space than this for a record of data is not worth a call; it is made beside and copied.
const SPACE_MIN: usize = HEADER + 1024;

/// What the owner of the local sockets shall do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketAction {
    /// The far end has a new connection: open its half here.
    Opened(u32),
    /// The far end has given credit: more can be sent.
    Credit(u32),
    /// Everything was written and nothing more comes: shut down writing.
    Shut(u32),
    /// Both directions have ended in order: close it.
    Closed(u32),
    /// The far end has broken it off: close it at once.
    Reset(u32),
    /// The same, and it has said nothing else of this connection: it may not have opened its half.
    Refused(u32),
}

#[derive(Debug)]
struct Stream {
    /// Bytes that may still be sent.
    credit: u64,
    /// Always `granted` + `waiting` + `taken`: what the far end may have under way and here together.
    window: u32,
    /// Bytes that the far end may still send.
    granted: u32,
    /// Bytes the connection took since credit was last given; at most half of `window`.
    taken: u32,
    /// Bytes it has not taken yet.
    waiting: VecDeque<u8>,
    ends: Ends,
    /// The far end has said something of it.
    heard: bool,
}

impl Stream {
    fn new() -> Self {
        Stream {
            credit: WINDOW_FIRST.into(),
            window: WINDOW_FIRST,
            granted: WINDOW_FIRST,
            taken: 0,
            waiting: VecDeque::new(),
            ends: Ends::Neither,
            heard: false,
        }
    }
}

/// A record that has begun to arrive.
#[derive(Debug)]
enum Arriving {
    /// So many bytes of its header are here.
    Header([u8; HEADER], usize),
    /// So many bytes of data are missing.
    Data(u32, usize),
}

/// One end of the tunnel.
#[derive(Debug)]
pub struct Mux {
    streams: BTreeMap<u32, Stream>,
    last_id: u32,
    /// Whether the far end may open connections.
    accepts: bool,
    /// Connections that the far end may have here at a time.
    connections: usize,
    /// Windows grow as long as the sum of all is at most this.
    budget: u64,
    /// By how much windows have grown.
    windows: u64,
    /// What is to be told, by connection; at most a few more than [`OWED_MAX`].
    owed: BTreeMap<u32, Owed>,
    /// Whose turn it is to be told of.
    turn: u32,
    /// Connections that the far end does not know yet. It is told of them after all else: so it knows of the end of those
    /// whose place they have, and has room for them.
    unopened: BTreeSet<u32>,
    /// The record that is being sent; of data only what found no space.
    out: VecDeque<u8>,
    arriving: Arriving,
    events: VecDeque<SocketAction>,
}

impl Mux {
    /// An end that lets windows grow while their sum is within `budget` bytes; `accepts`: whether the far end may
    /// open connections here, at most so many at a time.
    pub fn new(accepts: bool, connections: usize, budget: u64) -> Self {
        Mux {
            streams: BTreeMap::new(),
            last_id: 0,
            accepts,
            connections,
            budget,
            windows: 0,
            owed: BTreeMap::new(),
            turn: 0,
            unopened: BTreeSet::new(),
            out: VecDeque::new(),
            arriving: Arriving::Header([0; HEADER], 0),
            events: VecDeque::new(),
        }
    }

    // ---- from here to the far end -----------------------------------------------------------------------

    /// A connection was accepted here: its number.
    pub fn open(&mut self) -> u32 {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            if !self.streams.contains_key(&self.last_id) && !self.owed.contains_key(&self.last_id) {
                break;
            }
        }
        self.insert(self.last_id);
        self.unopened.insert(self.last_id);
        self.last_id
    }

    /// Whether bytes of this connection may be sent now.
    pub(crate) fn may_send(&self, id: u32) -> bool {
        self.streams.get(&id).is_some_and(|stream| stream.credit > 0 && !stream.ends.has(End::Here))
    }

    /// Whether records wait that [`Mux::records`] would give.
    pub fn has_records(&self) -> bool {
        !self.out.is_empty() || !self.owed.is_empty() || !self.unopened.is_empty()
    }

    /// Moves waiting records into `space`; how many bytes. They may be cut anywhere.
    pub fn records(&mut self, space: &mut [u8]) -> usize {
        let mut filled = 0;
        while filled < space.len() {
            if self.out.is_empty() {
                let Some(record) = self.next_owed() else { break };
                self.out.extend(record.encode());
            }
            // reading from a VecDeque never fails, and gives up to a half at a time
            filled += io::Read::read(&mut self.out, &mut space[filled..]).unwrap_or(0);
        }
        filled
    }

    /// What is to be told next: each connection in its turn, and new ones at last.
    fn next_owed(&mut self) -> Option<Record> {
        loop {
            let next = self.owed.range(self.turn..).next().or_else(|| self.owed.iter().next());
            let Some((id, _)) = next else { return self.unopened.pop_first().map(Record::Open) };
            let id = *id;
            let (record, more) = self.owed.get_mut(&id)?.take(id);
            if !more {
                self.owed.remove(&id);
                self.turn = id.wrapping_add(1);
            }
            if record.is_some() {
                return record;
            }
        }
    }

    /// Lets `read` fill a record of this connection's data in place; how many bytes of `space` are used. The end of
    /// the data is the end of this direction. Nothing is done while records wait, or without credit.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn send(
        &mut self,
        id: u32,
        space: &mut [u8],
        mut read: impl FnMut(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if self.has_records() {
            return Ok(0);
        }
        if !self.may_send(id) {
            return Ok(0);
        }
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(0) };
        let credit = usize::try_from(stream.credit).unwrap_or(usize::MAX);
        let mut aside = [0; SPACE_MIN];
        let small = space.len() < SPACE_MIN;
        let place = if small { &mut aside[..] } else { &mut *space };
        let room = (place.len() - HEADER).min(DATA_MAX).min(credit);
        let length = read(&mut place[HEADER..HEADER + room])?;
        if length == 0 {
            self.finish(id);
            return Ok(self.records(space));
        }
        stream.credit -= length as u64;
        place[..HEADER].copy_from_slice(&Record::Data(id, length as u32).encode());
        if small {
            self.out.extend(&aside[..HEADER + length]);
            return Ok(self.records(space));
        }
        Ok(HEADER + length)
    }

    /// Whether this connection sends nothing more, or is not known any more.
    pub(crate) fn has_finished(&self, id: u32) -> bool {
        self.streams.get(&id).is_none_or(|stream| stream.ends.has(End::Here))
    }

    /// This connection sends nothing more.
    pub fn finish(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.ends.finish(End::Here) {
            self.owed.entry(id).or_default().finish = true;
            self.close_if_over(id);
        }
    }

    /// The connection broke, or could not be opened.
    pub fn reset(&mut self, id: u32) {
        if self.remove(id) {
            // of one that the far end has not been told of it need not hear
            if !self.unopened.remove(&id) {
                let owed = self.owed.entry(id).or_default();
                (owed.finish, owed.reset) = (false, true);
            }
        }
    }

    // ---- from the far end to here -----------------------------------------------------------------------

    /// A connection that the far end has accepted is open here too, which a credit of one byte tells: one of which that end
    /// hears nothing but a reset was not opened.
    pub(crate) fn opened(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        (stream.window, stream.granted) = (stream.window + 1, stream.granted + 1);
        self.windows += 1;
        self.owed.entry(id).or_default().credit += 1;
    }

    /// Bytes of the stream have come. Data is offered to `write` first, if nothing of its connection waits; what
    /// that does not take is kept.
    ///
    /// # Errors
    /// The far end broke the rules; the tunnel cannot go on.
    pub fn receive(
        &mut self,
        mut bytes: &[u8],
        write: &mut impl FnMut(u32, &[u8]) -> usize,
    ) -> Result<(), TunnelBreach> {
        while !bytes.is_empty() {
            match &mut self.arriving {
                Arriving::Header(header, have) => {
                    let part = bytes.len().min(HEADER - *have);
                    header[*have..*have + part].copy_from_slice(&bytes[..part]);
                    *have += part;
                    bytes = &bytes[part..];
                    if *have == HEADER {
                        let record = Record::decode(header)?;
                        self.arriving = Arriving::Header([0; HEADER], 0);
                        self.obey(record)?;
                    }
                }
                Arriving::Data(id, missing) => {
                    let (id, part) = (*id, bytes.len().min(*missing));
                    *missing -= part;
                    if *missing == 0 {
                        self.arriving = Arriving::Header([0; HEADER], 0);
                    }
                    let (data, rest) = bytes.split_at(part);
                    self.keep(id, data, write);
                    bytes = rest;
                }
            }
        }
        Ok(())
    }

    /// Offers `write` what waits for this connection, until it takes no more.
    ///
    /// # Errors
    /// Those of `write`; `WouldBlock` is none.
    pub fn drain(&mut self, id: u32, mut write: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<()> {
        let mut taken = 0;
        let mut result = Ok(());
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        if stream.waiting.is_empty() {
            return Ok(());
        }
        while !stream.waiting.is_empty() {
            match write(stream.waiting.as_slices().0) {
                Ok(n) => taken += stream.waiting.drain(..n).count(),
                Err(e) => {
                    result = if e.kind() == io::ErrorKind::WouldBlock { Ok(()) } else { Err(e) };
                    break;
                }
            }
        }
        // what it has grown to while the connection took nothing is for others again
        if stream.waiting.is_empty() && stream.waiting.capacity() > WINDOW_FIRST as usize {
            stream.waiting = VecDeque::new();
        }
        self.took(id, taken);
        result
    }

    /// Whether the far end sends nothing more on this connection, and all it sent was taken.
    pub(crate) fn is_shut(&self, id: u32) -> bool {
        self.streams.get(&id).is_some_and(|stream| stream.ends.has(End::There) && stream.waiting.is_empty())
    }

    // ---- answers ----------------------------------------------------------------------------------------

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<SocketAction> {
        self.events.pop_front()
    }

    /// Connections that have not ended.
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// Whether no connection is left.
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// The stream from the far end is over, and so is the tunnel. Connections that the far end finished are kept until
    /// what came for them is taken; nothing is sent on them any more. All others are broken off.
    pub fn stream_ended(&mut self) {
        let is_kept = |stream: &Stream| stream.ends.has(End::There) && !stream.waiting.is_empty();
        let mut broken = Vec::new();
        for (id, stream) in &mut self.streams {
            stream.ends.finish(End::Here);
            broken.extend((!is_kept(stream)).then_some(*id));
        }
        for id in broken {
            self.remove(id);
            self.events.push_back(SocketAction::Reset(id));
        }
    }

    // ---- rules ------------------------------------------------------------------------------------------

    fn obey(&mut self, record: Record) -> Result<(), TunnelBreach> {
        match record {
            Record::Open(_) if !self.accepts => return Err(TunnelBreach::BothAccept),
            Record::Open(id) if self.streams.contains_key(&id) => return Err(TunnelBreach::OpenedTwice),
            // it does not keep to the rules: whoever takes no answers gets none
            Record::Open(_) if self.owed.len() >= OWED_MAX => {}
            Record::Open(id) if self.streams.len() >= self.connections => {
                self.owed.insert(id, Owed { reset: true, ..Owed::default() });
            }
            Record::Open(id) => {
                self.insert(id);
                self.events.push_back(SocketAction::Opened(id));
            }
            Record::Data(id, length) => return self.expect(id, length),
            Record::Credit(id, more) => {
                let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
                stream.heard = true;
                stream.credit = stream.credit.saturating_add(more.into());
                self.events.push_back(SocketAction::Credit(id));
            }
            Record::Finish(id) => {
                let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
                if !stream.ends.finish(End::There) {
                    return Err(TunnelBreach::EndedTwice);
                }
                stream.heard = true;
                self.shut_if_drained(id);
            }
            Record::Reset(id) => {
                // nothing that this end had to say about it is of interest any more
                self.owed.remove(&id);
                let heard = self.streams.get(&id).is_some_and(|stream| stream.heard);
                if self.remove(id) {
                    let refused = SocketAction::Refused(id);
                    self.events.push_back(if heard { SocketAction::Reset(id) } else { refused });
                }
            }
        }
        Ok(())
    }

    /// So much data of this connection comes next.
    fn expect(&mut self, id: u32, length: u32) -> Result<(), TunnelBreach> {
        self.arriving = Arriving::Data(id, length as usize);
        // one that was broken off here is not known any more, and its data is passed over
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        if stream.ends.has(End::There) {
            return Err(TunnelBreach::DataAfterEnd);
        }
        stream.heard = true;
        stream.granted = stream.granted.checked_sub(length).ok_or(TunnelBreach::BeyondCredit)?;
        Ok(())
    }

    fn keep(&mut self, id: u32, data: &[u8], write: &mut impl FnMut(u32, &[u8]) -> usize) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let taken = if stream.waiting.is_empty() { write(id, data) } else { 0 };
        stream.waiting.extend(&data[taken..]);
        self.took(id, taken);
    }

    /// The connection has taken so many bytes: gives credit for them when that is worth a record.
    fn took(&mut self, id: u32, taken: usize) {
        let first = self.streams.len() as u64 * u64::from(WINDOW_FIRST);
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.taken += taken as u32;
        if stream.ends.has(End::There) {
            return self.shut_if_drained(id);
        }
        if stream.taken < stream.window / 2 {
            return;
        }
        let mut more = std::mem::take(&mut stream.taken);
        let held = self.windows + first;
        if stream.window < WINDOW_MAX && held + u64::from(stream.window) <= self.budget {
            self.windows += u64::from(stream.window);
            more += stream.window;
            stream.window *= 2;
        }
        stream.granted += more;
        self.owed.entry(id).or_default().credit += more;
    }

    fn shut_if_drained(&mut self, id: u32) {
        if self.is_shut(id) {
            self.events.push_back(SocketAction::Shut(id));
            self.close_if_over(id);
        }
    }

    fn close_if_over(&mut self, id: u32) {
        let over = |stream: &Stream| stream.ends == Ends::Both && stream.waiting.is_empty();
        if self.streams.get(&id).is_some_and(over) {
            self.remove(id);
            self.events.push_back(SocketAction::Closed(id));
        }
    }

    fn insert(&mut self, id: u32) {
        self.streams.insert(id, Stream::new());
    }

    fn remove(&mut self, id: u32) -> bool {
        let Some(stream) = self.streams.remove(&id) else { return false };
        self.windows -= u64::from(stream.window - WINDOW_FIRST);
        true
    }
}

#[cfg(test)]
mod tests;
