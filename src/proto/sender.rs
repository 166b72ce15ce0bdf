//! The sender's core: which legs exist, where each one is, and which goes next.
//!
//! A leg is held from the moment the input gave it until the receiver has it ("received"). What happens to connections
//! in between only changes which connection carries the leg. An acknowledgement counts the legs that its connection
//! has brought. The count is mapped to the send order of that connection, never to sequence numbers.
//! `sender/confirming.rs` follows what the receiver says of legs; `sender/rescue.rs` says which leg gets a further copy, and
//! on which connection; `sender/figures.rs` says how far the stream is and what each connection carries. Nothing here
//! knows links, addresses, time-outs of connections or how the input is read.
//!
//! ```text
//!   push        take            ack (count, or next wanted)
//!  ──────▶ uncut ──────▶ sent ───────────────────────────────▶ received, dropped
//!                         │ ▲
//!      connection lost,   ▼ │ take
//!      overtaken, nack   again
//! ```

use super::breach::Breach;
use super::leg::{LEG_MAX, Leg, Payload, is_enough_to_decode};
use super::sched::{LATE_UNMEASURED, Pace};
use super::set::ConnectionSet;
use super::wire::{Fin, WindowEdge};
use held::{Flight, Held};
use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};
use uncut::Uncut;

mod confirming;
mod figures;
mod held;
mod rescue;
mod terms;
mod uncut;

pub(crate) use terms::{Acked, Backlog, Progress, SenderStats};

/// A leg that arrived damaged this often ends the transfer: the fault is not the network's chance.
pub(crate) const FAILURES_MAX: u8 = 4;

/// One connection as the sender sees it; indexed by connection.
#[derive(Default)]
struct Connection {
    /// The legs given to the connection that the receiver has not counted yet, in send order.
    flights: VecDeque<Flight>,
    bytes_in_flight: u64,
    /// Legs counted by the receiver on this connection; `counted + flights.len()` were sent.
    counted: u64,
    /// When that leg was given to it which was given latest of those that it has brought.
    answered: Option<Instant>,
    /// Its leg was overtaken: no new legs until it answers.
    suspect: bool,
    pace: Pace,
}

impl Connection {
    /// Whether the receiver would not read another leg before it has decoded some: nor what this end says behind it. `most`:
    /// see [`Sender::through`].
    fn is_full(&self, most: Option<usize>) -> bool {
        let encoded = || self.flights.iter().map(|flight| flight.encoded).sum();
        most.is_some_and(|most| is_enough_to_decode(self.flights.len(), encoded(), most))
    }

    /// The receiver has counted so many more legs, of those that are still in `flights`; at least one. How many bytes
    /// these have.
    fn note_counted(&mut self, now: Instant, legs: usize) -> u64 {
        let counted = || self.flights.iter().take(legs);
        let bytes: u64 = counted().map(|flight| flight.len).sum();
        let (Some(first), Some(last)) = (counted().next(), counted().next_back()) else { return 0 };
        self.pace.confirmed(now, first.sent, bytes, last.need);
        self.answered = Some(last.sent);
        self.counted += legs as u64;
        self.bytes_in_flight -= bytes;
        self.suspect = false;
        bytes
    }
}

/// The sender's legs, window and connections. Call order: `attach` per connection, then `take` whenever it
/// can carry a leg and `ack` as they come; `detach` when it is gone. `push` and `end` at any time.
pub struct Sender {
    /// Bytes that may be held.
    memory: u64,
    /// What no connection has taken yet.
    uncut: Uncut,
    /// Bytes that a leg is cut to, at most.
    leg_size: usize,
    /// Where legs go through the user's programs: the most bytes that one is encoded to.
    through: Option<usize>,
    /// Bytes that may be sent and not taken by the receiver's output, besides what the window admits.
    within: u64,
    /// Legs from `first` on, all given to a connection at least once; the front one is never received.
    held: VecDeque<Held>,
    first: u64,
    /// Stream bytes pushed so far.
    pushed: u64,
    /// Bytes the receiver's output has taken; ≤ `pushed`.
    delivered: u64,
    ended: bool,
    /// Sent before, to be sent again; all ≥ `first`.
    again: BTreeSet<u64>,
    /// Sent and not received, by when the latest copy is late; exactly the legs whose `late` is set.
    lates: BTreeSet<(Instant, u64)>,
    connections: Vec<Option<Connection>>,
    /// Connections that have something on the way.
    busy: ConnectionSet,
    /// Connections that are asked to take nothing: no leg waits for them.
    set_apart: ConnectionSet,
    edge: WindowEdge,
    /// When the latest-sent of the received legs was sent. Legs sent before that, and not received, are overtaken.
    newest_received: Option<Instant>,
    /// CRC-32 of the stream up to leg `crc_next`, where legs are checked.
    stream_crc: crc32fast::Hasher,
    crc_next: u64,
    stats: SenderStats,
    /// Bytes that connections have brought, copies and damaged legs too.
    brought: u64,
    freed: Vec<Payload>,
    /// Only ever false in the simulator's proof that rescue is needed.
    rescues: bool,
}

impl Sender {
    /// A sender with places for `connections` connections and nothing to send yet, whose owner stops pushing
    /// when it holds `memory` bytes.
    pub fn new(connections: usize, memory: u64) -> Self {
        Sender {
            memory,
            uncut: Uncut::default(),
            leg_size: LEG_MAX,
            through: None,
            within: u64::MAX,
            held: VecDeque::new(),
            first: 0,
            pushed: 0,
            delivered: 0,
            ended: false,
            again: BTreeSet::new(),
            lates: BTreeSet::new(),
            connections: (0..connections).map(|_| None).collect(),
            busy: ConnectionSet::EMPTY,
            set_apart: ConnectionSet::EMPTY,
            edge: WindowEdge { bytes: 0, legs: 0 },
            newest_received: None,
            stream_crc: crc32fast::Hasher::new(),
            crc_next: 0,
            stats: SenderStats::default(),
            brought: 0,
            freed: Vec::new(),
            rescues: true,
        }
    }

    /// See [`super::session::Session::forgo_rescue`].
    pub(super) fn forgo_rescue(&mut self) {
        self.rescues = false;
    }

    /// The next piece of the stream; must not be empty, nor follow `end`.
    pub fn push(&mut self, payload: Payload) {
        let len = payload.size() as u64;
        debug_assert!(len > 0 && !self.ended);
        self.uncut.push(payload);
        self.pushed += len;
    }

    /// Legs that were never sent have at most so many bytes, which is never 0.
    pub fn cut_to(&mut self, bytes: usize) {
        self.leg_size = bytes;
    }

    /// Legs that were never sent wait, as for a shut window, while so many bytes are sent and not taken by the receiver's
    /// output.
    pub fn keep_within(&mut self, bytes: u64) {
        self.within = bytes;
    }

    /// Legs go through the user's programs, and are encoded to at most so many bytes.
    pub fn through(&mut self, most: usize) {
        self.through = Some(most);
    }

    /// A program has made so many bytes of the leg that this connection was given last.
    pub fn encoded(&mut self, connection: usize, bytes: u64) {
        let carrier = self.connections[connection].as_mut();
        if let Some(last) = carrier.and_then(|carrier| carrier.flights.back_mut()) {
            last.encoded = bytes;
        }
    }

    /// The stream ends with what was pushed.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// The stream ends with what connections have taken: the rest is not wanted.
    pub fn end_here(&mut self) {
        self.pushed -= self.uncut.bytes();
        self.freed.extend(self.uncut.take_all());
        self.ended = true;
    }

    /// A connection is up, and the receiver's welcome said which leg it wants next and where the window ends. `known`
    /// is the head as it was when the hello was sent. The welcome may be older than what other connections brought
    /// since, but it never wants a leg before `known`. None if it does: such a leg is held nowhere any more. Otherwise how
    /// many bytes are known from it to be received.
    ///
    /// # Errors
    /// A breach attaches nothing.
    pub fn attach(
        &mut self,
        connection: usize,
        known: u64,
        next: u64,
        edge: WindowEdge,
    ) -> Result<Option<u64>, Breach> {
        if next > self.fresh() {
            return Err(Breach::BeyondSent);
        }
        if next < known {
            return Ok(None);
        }
        self.connections[connection] = Some(Connection::default());
        self.busy.remove(connection);
        let received = self.receive_below(next);
        self.widen(edge);
        Ok(Some(received))
    }

    /// Nothing was received, and no connection is left: another receiver may take the whole stream, in a window of its
    /// own.
    pub fn start_again(&mut self) {
        debug_assert!(!self.has_received() && self.connections.iter().all(Option::is_none));
        (self.delivered, self.edge) = (0, WindowEdge { bytes: 0, legs: 0 });
        self.again.clear();
        self.lates.clear();
        (self.stream_crc, self.crc_next) = (crc32fast::Hasher::new(), self.first);
        while let Some(held) = self.held.pop_back() {
            held.payload.iter().for_each(|payload| self.uncut.put_back(payload));
        }
    }

    /// The connection is gone. Legs that no other connection carries are to be sent again; how many these are.
    pub fn detach(&mut self, connection: usize) -> usize {
        let Some(carrier) = self.connections[connection].take() else { return 0 };
        self.busy.remove(connection);
        let mut lost = 0;
        for flight in carrier.flights.iter().filter(|f| !f.damaged) {
            let Some(held) = self.get_mut(flight.sequence) else { continue };
            held.carriers.remove(connection);
            if held.payload.is_some() && held.carriers.is_empty() {
                self.again.insert(flight.sequence);
                lost += 1;
            }
        }
        lost
    }

    /// These connections are asked to take nothing until this is told anew: no leg waits for them, however quick they are.
    pub fn set_apart(&mut self, connections: ConnectionSet) {
        self.set_apart = connections;
    }

    /// The next leg for this connection, if there is one it should carry. It counts as sent from now on.
    /// `mates` are the connections on its link, itself included.
    pub fn take(&mut self, now: Instant, connection: usize, mates: ConnectionSet) -> Option<Leg> {
        if !self.is_willing(connection) {
            return None;
        }
        let sequence = self
            .next_again(now, connection, mates)
            .or_else(|| self.cut())
            .or_else(|| self.next_straggler(now, connection, mates))?;
        Some(self.send(now, connection, sequence))
    }

    /// [`Sender::take`], but only for a leg that is to be sent again. For connections that get no fresh legs.
    pub fn take_again(&mut self, now: Instant, connection: usize, mates: ConnectionSet) -> Option<Leg> {
        let sequence = self.next_again(now, connection, mates).filter(|_| self.is_willing(connection))?;
        Some(self.send(now, connection, sequence))
    }

    /// A round trip measured on this connection.
    pub fn round_trip(&mut self, connection: usize, sample: Duration) {
        if let Some(carrier) = self.connections[connection].as_mut() {
            carrier.pace.round_trip(sample);
        }
    }

    /// Where legs are checked: the CRC-32 of a leg that is about to leave. So it is known before the leg can be
    /// received and dropped, and the stream's CRC-32 has every leg.
    pub fn note_crc(&mut self, sequence: u64, crc: u32) {
        if let Some(held) = self.get_mut(sequence) {
            held.crc = Some(crc);
        }
        while let Some((crc, len)) = self.get(self.crc_next).and_then(|h| Some((h.crc?, h.len))) {
            self.stream_crc.combine(&crc32fast::Hasher::new_with_initial_len(crc, len));
            self.crc_next += 1;
        }
    }

    /// The announcement of the end: legs, bytes and CRC-32 of the whole stream. There is one once the stream has ended
    /// and every leg has gone out at least once.
    pub fn fin(&self, checked: bool) -> Option<Fin> {
        let legs = self.fresh();
        let known = self.ended && self.is_drained() && (!checked || self.crc_next == legs);
        known.then(|| Fin {
            legs,
            bytes: self.pushed,
            crc: checked.then(|| self.stream_crc.clone().finalize()),
        })
    }

    /// What was received since this was asked last: the owner drops it where that delays nobody.
    pub fn take_freed(&mut self) -> Vec<Payload> {
        std::mem::take(&mut self.freed)
    }

    // ---- moving ---------------------------------------------------------------------------------------

    /// Whether the connection is up and may be given legs.
    fn is_willing(&self, connection: usize) -> bool {
        let carrier = self.connections[connection].as_ref();
        carrier.is_some_and(|carrier| !carrier.suspect && !carrier.is_full(self.through))
    }

    fn send(&mut self, now: Instant, connection: usize, sequence: u64) -> Leg {
        self.again.remove(&sequence);
        let index = (sequence - self.first) as usize;
        let held = &mut self.held[index];
        let carrier = self.connections[connection].get_or_insert_default();
        carrier.bytes_in_flight += held.len;
        let (need, patience) = carrier.pace.expect(carrier.bytes_in_flight);
        held.patience = patience;
        self.busy.insert(connection);
        carrier.flights.push_back(Flight {
            sequence,
            len: held.len,
            sent: now,
            need,
            encoded: 0,
            damaged: false,
        });
        if held.copies > 0 {
            self.stats.legs_again += 1;
            self.stats.bytes_again += held.len;
        }
        // A further copy on a connection of unknown pace is a trial. The leg counts as expected within LATE_UNMEASURED,
        // so that it gets no second trial meanwhile.
        let trial = (held.copies > 0).then_some(LATE_UNMEASURED);
        held.copies += 1;
        let before = held.expected.filter(|at| *at > now && !held.carriers.is_empty());
        held.carriers.insert(connection);
        (held.sent, held.brought) = (Some(now), self.brought);
        held.expected = before.into_iter().chain(need.or(trial).map(|need| now + need)).min();
        if let Some(was_late) = held.late.replace(now + held.patience) {
            self.lates.remove(&(was_late, sequence));
        }
        self.lates.insert((now + held.patience, sequence));
        let payload = held.payload.clone().unwrap_or_else(|| unreachable!("only unreceived legs are sent"));
        Leg { crc: held.crc, ..Leg::new(sequence, held.offset, payload) }
    }

    /// The number that the next leg to be cut will have.
    fn fresh(&self) -> u64 {
        self.first + self.held.len() as u64
    }

    /// Whether a leg can be cut that the window admits.
    fn has_fresh(&self) -> bool {
        let edge = self.edge.bytes.min(self.delivered.saturating_add(self.within));
        let len = self.uncut.next_len(self.leg_size);
        len.is_some_and(|len| self.fresh() < self.edge.legs && self.sent_bytes() + len <= edge)
    }

    /// Cuts the next leg, if the window admits it. Its number; it is to be sent.
    fn cut(&mut self) -> Option<u64> {
        if !self.has_fresh() {
            return None;
        }
        let (sequence, offset) = (self.fresh(), self.sent_bytes());
        let payload = self.uncut.cut(self.leg_size)?;
        self.held.push_back(Held::new(offset, payload));
        Some(sequence)
    }

    fn sent_bytes(&self) -> u64 {
        self.pushed - self.uncut.bytes()
    }

    fn get(&self, sequence: u64) -> Option<&Held> {
        self.held.get(sequence.checked_sub(self.first)? as usize)
    }

    fn get_mut(&mut self, sequence: u64) -> Option<&mut Held> {
        self.held.get_mut(sequence.checked_sub(self.first)? as usize)
    }
}

#[cfg(test)]
mod tests;
