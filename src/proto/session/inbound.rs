//! The stream that comes in: its order and window, its output, and the verdict on it.
//!
//! Legs travel through [`Receiver`]. Nothing here knows who dials, or when the peer is given up.

use super::super::acknowledging::Position;
use super::super::breach::Breach;
use super::super::hello::{Features, Welcome};
use super::super::leg::{CONNECTIONS_MAX, Leg, Payload, encoded_max, leg_max, through_max, window};
use super::super::outcome::{CommandEnd, Outcome, Status};
use super::super::receiver::{LegFate, Receiver};
use super::super::set::ConnectionSet;
use super::super::waiting::linger;
use super::super::wire::{Fin, LegFlags, LegHeader, Verdict, WindowEdge};
use super::action::Landing;
use super::config::InboundConfig;
use super::last_word::{LastWord, Move};
use super::why::Why;
use std::time::Instant;

/// What is known of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    /// It takes legs.
    Open,
    /// Everything was given to it, and it was told to close.
    Closing,
}

/// What one connection has brought, copies included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Brought {
    /// Legs.
    pub legs: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The stream that comes in.
pub struct Inbound {
    config: InboundConfig,
    /// None until its sender is known.
    receiver: Option<Receiver>,
    /// The largest leg that its sender may send.
    leg_max: usize,
    /// What the sender makes use of.
    agreed: Features,
    /// Connections on which legs have come that are being decoded.
    decoding: ConnectionSet,
    /// There have been such legs: something of the stream has come, though nothing was made of it yet.
    was_decoding: bool,
    output: Output,
    /// The output takes no more, and what comes is thrown away.
    has_enough: bool,
    /// Set when the stream is judged, and never changed.
    verdict: Option<Verdict>,
    /// The verdict, as far as the peer is concerned.
    pub(super) last_word: LastWord,
    brought: [Brought; CONNECTIONS_MAX],
    /// Of a stream that was forgotten.
    freed: Vec<Payload>,
}

impl Inbound {
    /// A stream whose sender is still to come.
    pub fn new(config: InboundConfig) -> Self {
        Inbound {
            config,
            receiver: None,
            leg_max: 0,
            agreed: Features::NONE,
            decoding: ConnectionSet::EMPTY,
            was_decoding: false,
            output: Output::Open,
            has_enough: false,
            verdict: None,
            last_word: LastWord::default(),
            brought: Default::default(),
            freed: Vec::new(),
        }
    }

    /// The sender is known. `peer_buffer`: its memory for legs, in bytes; the most there is while that is not known.
    pub fn begin(&mut self, peer_buffer: u64) {
        let buffer = self.config.buffer;
        self.leg_max = self.longest(peer_buffer);
        // a connection then holds one leg that is decoded beside the one that comes
        let each = if self.goes_through() { 2 } else { 1 };
        self.receiver = Some(Receiver::new(window(buffer, each * self.leg_max)));
    }

    /// The sender went away before anything came. Another may begin.
    pub fn forget(&mut self) {
        self.freed.extend(self.receiver.take().into_iter().flat_map(Receiver::into_freed));
        self.was_decoding = false;
    }

    /// See [`Session::take_freed`](super::Session::take_freed).
    pub(super) fn take_freed(&mut self) -> Vec<Payload> {
        let mut freed = std::mem::take(&mut self.freed);
        freed.extend(self.receiver.iter_mut().flat_map(Receiver::take_freed));
        freed
    }

    /// A connection brings legs from now on. Its far end makes use of these features.
    pub fn open(&mut self, connection: usize, features: Features) {
        self.agreed = features;
        self.decoding.remove(connection);
        self.brought[connection] = Brought::default();
    }

    /// What to say to a sender with this much memory for legs.
    pub fn welcome(&self, peer_buffer: u64) -> Welcome {
        let InboundConfig { instance, buffer, features, .. } = self.config;
        let Position { next, edge, .. } = self.position();
        Welcome { instance, next, edge, leg_max: self.longest(peer_buffer) as u32, features, buffer }
    }

    /// The largest leg from a sender with this much memory.
    fn longest(&self, peer_buffer: u64) -> usize {
        let longest = if self.goes_through() { encoded_max } else { leg_max };
        longest(self.config.buffer, peer_buffer)
    }

    // ---- what comes -----------------------------------------------------------------------------------

    /// Where the bytes of a leg are to go.
    ///
    /// # Errors
    /// It may not be sent.
    pub fn landing(&self, header: &LegHeader) -> Result<Landing, Breach> {
        let Position { edge, .. } = self.position();
        // those of a stream that was judged are kept too: what is counted here is gone at the sender
        if self.receiver.as_ref().is_some_and(|receiver| receiver.has(header.sequence)) {
            return Ok(Landing::Scratch);
        }
        if header.sequence >= edge.legs || header.offset + u64::from(header.raw) > edge.bytes {
            return Err(Breach::BeyondWindow(header.sequence));
        }
        // sixteen of them at once are to fit beside the window
        if header.raw as usize > self.leg_max {
            return Err(Breach::TooLong(header.raw));
        }
        if !self.is_agreed(header) {
            return Err(Breach::Encoding);
        }
        Ok(Landing::Keep)
    }

    /// Whether the leg is encoded in a way that was agreed, and has a length that it then can have.
    fn is_agreed(&self, header: &LegHeader) -> bool {
        match header.flags & LegFlags::ENCODED {
            0 => header.encoded == header.raw && !self.goes_through(),
            // what does not shrink is not compressed
            LegFlags::COMPRESSED if self.goes_through() => false,
            LegFlags::COMPRESSED => self.agreed.contains(Features::COMPRESS) && header.encoded <= header.raw,
            // as long as a program makes it
            _ => {
                let compressed = header.flags & LegFlags::COMPRESSED != 0;
                self.goes_through()
                    && (!compressed || self.agreed.contains(Features::COMPRESS))
                    && header.encoded as usize <= self.leg_max
                    && header.raw as usize <= through_max(self.leg_max)
            }
        }
    }

    /// Whether legs come from a program of the sender's, for one of this end's.
    pub(super) fn goes_through(&self) -> bool {
        self.config.features.contains(Features::THROUGH)
    }

    /// Whether a connection has brought legs that are being decoded.
    pub fn decodes(&mut self, connection: usize, decodes: bool) {
        if decodes {
            self.decoding.insert(connection);
            self.was_decoding = true;
        } else {
            self.decoding.remove(connection);
        }
    }

    /// Connections that have brought legs that are being decoded.
    pub fn decoding(&self) -> ConnectionSet {
        self.decoding
    }

    /// A leg has come whole. Others may be given to the output now: see [`Inbound::next_ready`].
    ///
    /// # Errors
    /// It was not to be sent.
    pub fn leg(&mut self, connection: usize, leg: Leg) -> Result<(), Breach> {
        let Some(receiver) = &mut self.receiver else {
            self.freed.push(leg.payload);
            return Ok(());
        };
        let brought = &mut self.brought[connection];
        *brought = Brought { legs: brought.legs + 1, bytes: brought.bytes + leg.len() };
        receiver.leg(leg).map(drop)
    }

    /// The next leg for the output, in order.
    pub fn next_ready(&mut self) -> Option<Leg> {
        self.receiver.as_mut()?.next_ready()
    }

    /// Whether the output may take the bytes of a leg as they arrive. From then on it counts as having begun with it.
    pub fn begin_head(&mut self, header: &LegHeader) -> bool {
        let wanted = self.landing(header) == Ok(Landing::Keep) && !header.has_crc();
        let LegHeader { sequence, offset, raw, .. } = *header;
        let receiver = self.receiver.as_mut().filter(|_| wanted);
        receiver.is_some_and(|receiver| receiver.begin_head(sequence, offset, raw.into()))
    }

    /// See [`Receiver::leave_head`].
    pub fn leave_head(&mut self, header: &LegHeader) {
        self.receiver.iter_mut().for_each(|receiver| receiver.leave_head(header.sequence));
    }

    /// A leg has come whole, and the output has taken all of it meanwhile; false if it was here already. Others may be given
    /// to the output now: see [`Inbound::next_ready`].
    ///
    /// # Errors
    /// It was not to be sent.
    pub fn head_through(&mut self, connection: usize, header: &LegHeader) -> Result<bool, Breach> {
        let Some(receiver) = &mut self.receiver else { return Ok(false) };
        let LegHeader { sequence, offset, raw, .. } = *header;
        let brought = &mut self.brought[connection];
        *brought = Brought { legs: brought.legs + 1, bytes: brought.bytes + u64::from(raw) };
        Ok(receiver.head_through(sequence, offset, raw.into())? == LegFate::InOrder)
    }

    /// The stream's end was announced.
    ///
    /// # Errors
    /// It contradicts what is known.
    pub fn fin(&mut self, fin: Fin) -> Result<(), Breach> {
        self.receiver.as_mut().map_or(Ok(()), |receiver| receiver.fin(fin))
    }

    // ---- the output -----------------------------------------------------------------------------------

    /// The output has taken so many more legs and bytes, and acknowledgements have told the sender of this edge.
    /// Whether the sender must hear of it at once.
    pub fn delivered(&mut self, legs: u64, bytes: u64, told: Option<WindowEdge>) -> bool {
        let Some(receiver) = &mut self.receiver else { return false };
        told.into_iter().for_each(|edge| receiver.note_told(edge));
        receiver.delivered(legs, bytes)
    }

    /// The output takes no more, which is no failure.
    pub fn note_enough(&mut self) {
        self.has_enough = true;
    }

    /// Whether the sender is to be told, on every connection, that the output takes no more.
    pub fn tells_enough(&self) -> bool {
        self.has_enough && self.verdict.is_none() && self.agreed.contains(Features::ENOUGH)
    }

    /// Whether everything was delivered, so that the output is to close. True once.
    pub fn closes_output(&mut self) -> bool {
        let complete = self.receiver.as_ref().is_some_and(|receiver| receiver.complete().is_some());
        complete && std::mem::replace(&mut self.output, Output::Closing) == Output::Open
    }

    /// Whether everything was delivered, and the output has not said yet that all of it was taken.
    pub fn is_closing(&self) -> bool {
        self.output == Output::Closing && self.verdict.is_none()
    }

    /// The verdict when the output is closed and whoever reads it has taken everything. With `crc`, that of the stream
    /// if every leg was checked. None if the stream is not complete.
    pub fn verdict_when_closed(&self, crc: Option<u32>) -> Option<Verdict> {
        let fin = self.receiver.as_ref()?.complete()?;
        let wrong = match (fin.crc, crc) {
            (Some(announced), Some(found)) if announced != found => {
                Some(Why::ChecksumDiffers { found, announced })
            }
            (Some(_), None) => Some(Why::PartlyChecked),
            _ => None,
        };
        let status = wrong.as_ref().map_or(Status::Complete, Why::status);
        let sentence = wrong.map_or(String::new(), |why| why.to_string());
        Some(Verdict { bytes: fin.bytes, crc: crc.and(fin.crc), status, command: None, sentence })
    }

    /// The verdict when the output failed. None if there is nobody to tell it to.
    pub fn verdict_when_failed(&self, status: Status, sentence: &str) -> Option<Verdict> {
        let bytes = self.receiver.as_ref()?.delivered_bytes();
        Some(Verdict { bytes, crc: None, status, command: None, sentence: sentence.to_owned() })
    }

    /// The verdict when the command that takes the stream has ended, whether or not it took all of it. If it did, and
    /// every leg was checked, `crc` is that of the stream. None if there is nobody to tell it to.
    pub fn verdict_of_command(&self, crc: Option<u32>, end: CommandEnd, sentence: &str) -> Option<Verdict> {
        let bytes = self.receiver.as_ref()?.delivered_bytes();
        let closed = self.verdict_when_closed(crc).filter(|_| crc.is_some());
        let corrupt = closed.filter(|verdict| verdict.status == Status::Corrupt);
        let (status, command) = (Status::Complete, Some(end));
        Some(corrupt.unwrap_or(Verdict { bytes, crc: None, status, command, sentence: sentence.into() }))
    }

    /// Speaks the verdict, and keeps it for a sender that has not heard it. Gives the outcome that it means.
    pub fn judge(&mut self, now: Instant, verdict: Verdict) -> Outcome {
        let outcome = Outcome::here(verdict.status, verdict.sentence.clone()).of_command(verdict.command);
        self.verdict = Some(verdict);
        self.keep_word(now);
        outcome
    }

    /// If the verdict was not heard, the time for which it is kept begins anew.
    pub fn keep_word(&mut self, now: Instant) {
        if self.verdict.is_some() {
            self.last_word.advance(Move::Say(Some(now + linger(self.config.patience))));
        }
    }

    /// The sender shows that it has the verdict, or wants none.
    pub fn heard_bye(&mut self) {
        self.last_word.advance(Move::Hear);
    }

    // ---- answers --------------------------------------------------------------------------------------

    /// What an acknowledgement says now.
    pub fn position(&self) -> Position {
        self.receiver.as_ref().map_or(Position::NOWHERE, |receiver| {
            let (next, delivered, edge) = (receiver.next(), receiver.delivered_bytes(), receiver.edge());
            Position { next, delivered, edge }
        })
    }

    /// Whether any of the stream has come.
    pub fn has_begun(&self) -> bool {
        let came = |receiver: &Receiver| {
            receiver.next() > 0 || receiver.ahead().legs > 0 || receiver.has_begun_head()
        };
        self.receiver.as_ref().is_some_and(came)
            || self.was_decoding
            || self.output == Output::Closing
            || self.verdict.is_some()
    }

    /// Whether anything of the stream is known, be it only its end: then only this sender can send it.
    pub fn is_bound(&self) -> bool {
        self.has_begun() || self.receiver.as_ref().is_some_and(|receiver| receiver.announced().is_some())
    }

    /// The most bytes that one leg may have.
    pub fn leg_max(&self) -> usize {
        self.leg_max
    }

    /// The verdict, once it was spoken.
    pub fn verdict(&self) -> Option<&Verdict> {
        self.verdict.as_ref()
    }

    /// Order and window, once the sender is known.
    pub fn receiver(&self) -> Option<&Receiver> {
        self.receiver.as_ref()
    }

    /// What a connection has brought.
    pub fn brought(&self, connection: usize) -> Brought {
        self.brought[connection]
    }
}
