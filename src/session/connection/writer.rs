//! The writing half of a connection: whoever holds its lock takes what is in the mailbox and writes it.
//!
//! Usually the owner of the connection writes. The thread that posted something small may write it itself, so that it
//! crosses no other thread. The mailbox is asked again only when what was taken from it has left: an acknowledgement
//! taken earlier would be out of date when it is written. Never blocks, and never closes the connection: the owner
//! finds the trouble.

use super::drain::Drain;
use super::unsent::Unsent;
use crate::channel::{Channel, UNSENT_LEAST, failure};
use crate::chaos::{Harm, Hazard};
use crate::message;
use crate::proto::hello::Reply;
use crate::proto::leg::{Leg, SMALL_LEG};
use crate::proto::links::LossReason;
use crate::proto::mailbox::Item;
use crate::proto::welcoming::Welcoming;
use crate::proto::wire::{Frame, LegHeader};
use crate::session::compressing::{Compressing, Wish};
use crate::session::core::SessionCore;
use crate::session::desk::{Desk, Reach};
use crate::session::limits::{FRAMES, LEGS};
use crate::session::orders::Ticket;
use crate::session::part::in_memory;
use crate::session::pump::{Outlet, WriteError, Wrote};
use crate::stage;
use mio::Waker;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// After this many bytes the writer lets the thread read. Otherwise a fast path with small legs would never read
/// acknowledgements, and legs would not grow.
const TURN: u64 = 256 << 10;

/// While at most this many bytes were written since the path last drained, the kernel is not asked again: they are a small
/// part of what the kernel may hold unsent, and every keystroke would cost a question.
const UNASKED: u64 = UNSENT_LEAST as u64 / 4;

/// What was taken from the mailbox.
enum Collected {
    /// With whether more may wait.
    Something(bool),
    Nothing,
    /// A leg that is not to be written by this thread.
    TooLarge,
}

/// The writing half.
pub(crate) struct Writer {
    ticket: Ticket,
    channel: Arc<Channel>,
    outlet: Outlet,
    /// Only to be used again: empty but while something is taken from the mailbox.
    items: Vec<Item>,
    /// The socket takes more, unless it has said otherwise.
    writable: bool,
    /// A leg has left, or the connection is new: the core is to be told when the path drains.
    awaits_drain: bool,
    /// How many bytes had been written when the kernel last said that the path drains.
    drained_at: Option<u64>,
    welcoming: Welcoming,
    /// Legs go out with their CRC-32.
    checked: bool,
    /// Legs go out compressed. With what wakes the connection's owner when it may ask for the next one.
    compressing: Option<(Arc<Compressing>, Arc<Waker>)>,
    /// Legs are given to a program before they go out.
    through: bool,
    /// The leg that waits for that, with its CRC-32.
    to_encode: Option<(Leg, Option<u32>)>,
    /// Whether the fault plan counts frames: not after the session's end.
    hazard: Option<Hazard>,
    /// What the fault plan does to the connection, for its owner to carry out.
    harm: Option<Harm>,
    failed: Option<LossReason>,
    /// Nothing is written any more, as on a path that fell silent.
    mute: bool,
    unsent: Unsent,
    /// Shows the others that a large leg is being written.
    busy: Arc<AtomicBool>,
    /// What the poll says of the socket.
    drain: Arc<Drain>,
}

impl Writer {
    /// For a new connection; with `welcoming` other than done, frames wait for the far end's welcome.
    pub(crate) fn new(
        now: Instant,
        ticket: Ticket,
        channel: Arc<Channel>,
        welcoming: Welcoming,
        checked: bool,
        hazard: Hazard,
        (busy, drain): (Arc<AtomicBool>, Arc<Drain>),
    ) -> Self {
        busy.store(false, Ordering::Relaxed);
        // it is new: the core is to be told when the path drains
        drain.wait(true);
        Writer {
            ticket,
            channel,
            outlet: Outlet::new(),
            items: Vec::new(),
            writable: true,
            awaits_drain: true,
            drained_at: None,
            welcoming,
            checked,
            compressing: None,
            through: false,
            to_encode: None,
            hazard: Some(hazard),
            harm: None,
            failed: None,
            mute: false,
            unsent: Unsent::new(now),
            busy,
            drain,
        }
    }

    /// The writer, for legs that are given to a program first.
    pub(crate) fn through(mut self, through: bool) -> Self {
        self.through = through;
        self
    }

    /// The writer, for legs that go out compressed; with what wakes the connection's owner when it may ask for the next.
    pub(crate) fn compressing(mut self, compressing: Option<(Arc<Compressing>, Arc<Waker>)>) -> Self {
        self.compressing = compressing;
        self
    }

    /// The far end's welcome has come: frames may be written.
    pub(crate) fn welcomed(&mut self, checked: bool) {
        self.welcoming.note_heard();
        self.checked = checked;
    }

    /// The session is over: what is written now is harmed no more.
    pub(crate) fn spare(&mut self) {
        self.hazard = None;
    }

    /// Writes nothing from now on.
    pub(crate) fn fall_silent(&mut self) {
        self.mute = true;
    }

    /// What the fault plan does to the connection now.
    pub(crate) fn take_harm(&mut self) -> Option<Harm> {
        self.harm.take()
    }

    /// Why the connection takes nothing any more, if it failed.
    pub(crate) fn failed(&self) -> Option<&LossReason> {
        self.failed.as_ref()
    }

    /// The leg that is to be given to a program, once. What comes of it goes to [`Writer::send`].
    pub(crate) fn take_unencoded(&mut self) -> Option<(Leg, Option<u32>)> {
        self.to_encode.take()
    }

    /// Writes a leg next; there must be none under way.
    ///
    /// # Errors
    /// Its bytes cannot be had; why, for the user.
    pub(crate) fn send(&mut self, header: LegHeader, leg: Leg) -> Result<(), String> {
        self.busy.store(header.encoded as u64 > SMALL_LEG, Ordering::Relaxed);
        self.outlet.leg(header, leg)?;
        self.awaits_drain = true;
        self.count_frame();
        Ok(())
    }

    /// How many bytes have been written in all.
    pub(crate) fn written(&self) -> u64 {
        self.outlet.bytes()
    }

    /// Whether everything that was taken has left.
    pub(crate) fn is_empty(&self) -> bool {
        self.outlet.is_empty()
    }

    /// The connection it writes.
    pub(crate) fn channel(&self) -> &Arc<Channel> {
        &self.channel
    }

    /// Cuts what waits in its middle, and writes as much of it as the kernel takes.
    pub(crate) fn cut(&mut self) {
        self.outlet.cut();
        self.push();
    }

    /// As much of what was taken as the kernel takes.
    pub(crate) fn push(&mut self) {
        // an error changes nothing: the connection is about to be closed
        let _ = self.outlet.write(&mut &*self.channel);
    }

    /// Writes until nothing waits or the socket is full, or for a [`TURN`]; a leg of more than `most` bytes is left. False
    /// if something is left for the owner to do.
    pub(crate) fn flush<L: Reach<SessionCore>>(&mut self, desk: &Desk<SessionCore, L>, most: u64) -> bool {
        // a leg that a program is to be given is the owner's
        let most = if self.through && most < u64::MAX { 0 } else { most };
        self.writable |= self.drain.hear();
        loop {
            let done = self.write_on(desk, most);
            // the poll may have spoken meanwhile
            if !self.drain.wait(!self.writable || self.awaits_drain) {
                return done;
            }
            self.writable = true;
        }
    }

    /// The same, as long as the socket takes more without a word of the poll.
    fn write_on<L: Reach<SessionCore>>(&mut self, desk: &Desk<SessionCore, L>, most: u64) -> bool {
        let (mut more_waits, until) = (true, self.outlet.bytes() + TURN);
        while self.failed.is_none() && self.harm.is_none() && !self.mute && self.writable {
            if self.outlet.is_empty() && !more_waits {
                return true;
            }
            if self.outlet.is_empty() {
                self.tell_if_drained(desk);
                match self.collect(desk, most) {
                    Collected::Something(more) => more_waits = more,
                    Collected::Nothing => return true,
                    Collected::TooLarge => return false,
                }
            }
            match self.outlet.write(&mut &*self.channel) {
                Ok(Wrote::All) => {
                    self.busy.store(false, Ordering::Relaxed);
                    self.pace();
                    if self.outlet.bytes() >= until {
                        return false;
                    }
                }
                Ok(Wrote::Blocked) => self.writable = false,
                Err(WriteError::Lost(e)) => self.failed = Some(failure(&e)),
                Err(WriteError::Unreadable(why)) => self.breaks_off(desk, why),
            }
        }
        self.failed.is_none() && self.harm.is_none()
    }

    /// Whether the path drains. If not, the poll will say when it does.
    fn path_drains(&mut self) -> bool {
        let written = self.outlet.bytes();
        if self.drained_at.is_none_or(|at| written > at + UNASKED) {
            self.drained_at = self.channel.drains().then_some(written);
        }
        self.drained_at.is_some()
    }

    /// Tells the core that the path drains, if the core waits for that and it does. If not, the poll will say when.
    fn tell_if_drained<L: Reach<SessionCore>>(&mut self, desk: &Desk<SessionCore, L>) {
        let connection = self.ticket.connection;
        if !(self.awaits_drain && self.welcoming.lets_frames_out() && self.path_drains()) {
            return;
        }
        if self.compressing.as_ref().is_none_or(|(all, waker)| all.admit(connection, waker)) {
            self.awaits_drain = false;
            desk.tell_writing(self.ticket, |core, now| core.session.ready(now, connection));
        }
    }

    /// Takes what waits, unless it is a larger leg.
    fn collect<L: Reach<SessionCore>>(&mut self, desk: &Desk<SessionCore, L>, most: u64) -> Collected {
        let (connection, count) = (self.ticket.connection, self.welcoming.most_items());
        if count == 0 {
            return Collected::Nothing;
        }
        let stays_ready = self.stays_ready();
        let mut items = std::mem::take(&mut self.items);
        let taken = desk.note_as(self.ticket, |core| {
            let bytes = core.session.mailbox(connection).leg_bytes();
            if bytes > most {
                return None;
            }
            if bytes > 0 {
                core.sent(connection, bytes);
            }
            items.extend(std::iter::from_fn(|| core.session.take(connection)).take(count));
            let ready = (1..=SMALL_LEG).contains(&bytes)
                && stays_ready
                && core.session.stays_ready(core.now(), connection);
            Some((ready, core.session.mailbox(connection).is_empty()))
        });
        let collected = match taken {
            Some(None) => Collected::TooLarge,
            Some(Some((ready, emptied))) if !items.is_empty() => {
                items.drain(..).for_each(|item| self.put(desk, item));
                self.awaits_drain &= !ready;
                Collected::Something(!emptied || self.awaits_drain)
            }
            // the connection may be over
            Some(Some(_)) | None => Collected::Nothing,
        };
        self.items = items;
        collected
    }

    /// Whether the connection can take the next leg as soon as a small one is written.
    fn stays_ready(&self) -> bool {
        // what the core is told while a leg is made ready may lead to frames for this connection
        let made = self.checked || self.through || self.compressing.is_some();
        let written = self.outlet.bytes();
        self.welcoming.lets_frames_out() && !made && self.drained_at.is_some_and(|at| written <= at + UNASKED)
    }

    fn put<L: Reach<SessionCore>>(&mut self, desk: &Desk<SessionCore, L>, item: Item) {
        let connection = self.ticket.connection;
        match item {
            Item::Welcome(welcome) => {
                self.outlet.raw(&Reply::Welcome(welcome).encode());
                self.welcoming.note_written();
            }
            Item::Frame(frame) => {
                message::note(FRAMES, || format!("connection {connection}: {frame:?} goes out"));
                self.outlet.frame(&frame);
                if !is_last_word(&frame) {
                    self.count_frame();
                }
            }
            Item::Leg(leg) => {
                message::note(LEGS, || format!("connection {connection}: {leg:?} goes out"));
                self.busy.store(leg.len() > SMALL_LEG, Ordering::Relaxed);
                if let Err(why) = self.put_leg(desk, leg) {
                    self.cannot_read(desk, &why);
                }
            }
        }
    }

    /// Makes a leg as it is to be sent, and writes it next; one that a program is to be given waits for that.
    ///
    /// # Errors
    /// Its bytes cannot be had; why, for the user.
    fn put_leg<L: Reach<SessionCore>>(
        &mut self,
        desk: &Desk<SessionCore, L>,
        leg: Leg,
    ) -> Result<(), String> {
        // what a program makes is compressed later
        let compressing = self.compressing.as_ref().filter(|_| !self.through);
        let wish = compressing.map(|(compressing, _)| compressing.wish());
        let seen = self.checked || self.through || wish.is_some_and(Wish::sees_bytes);
        let leg = if seen || !self.channel.sends_files() { in_memory(leg)? } else { leg };
        let crc = self.checked.then(|| leg.crc.unwrap_or_else(|| stage::checksum(leg.bytes())));
        if let Some(crc) = crc {
            let noted =
                desk.tell_writing(self.ticket, |core, now| core.session.note_crc(now, leg.sequence, crc));
            if noted.is_none() {
                // the connection was given up, and the leg goes another way; were it received from here, the checksum of
                // the stream would never be known
                return Ok(());
            }
        }
        if self.through {
            self.to_encode = Some((leg, crc));
            return Ok(());
        }
        let (header, leg) = self.encode(desk, wish, leg, crc);
        self.send(header, leg)
    }

    /// A leg's bytes cannot be had any more, and none of it was written.
    fn cannot_read<L: Reach<SessionCore>>(&self, desk: &Desk<SessionCore, L>, why: &str) {
        desk.tell_writing(self.ticket, |core, now| core.session.leg_failed(now, None, why));
    }

    /// The rest of a leg's bytes cannot be had any more. The connection cannot carry anything but them.
    fn breaks_off<L: Reach<SessionCore>>(&mut self, desk: &Desk<SessionCore, L>, why: String) {
        let broken = Some(self.ticket.connection);
        desk.tell_writing(self.ticket, |core, now| core.session.leg_failed(now, broken, &why));
        self.failed = Some(LossReason::Failed(why));
    }

    /// The leg as it is to be sent.
    fn encode<L: Reach<SessionCore>>(
        &self,
        desk: &Desk<SessionCore, L>,
        wish: Option<Wish>,
        leg: Leg,
        crc: Option<u32>,
    ) -> (LegHeader, Leg) {
        let Some(((compressing, _), wish)) = self.compressing.as_ref().zip(wish) else {
            return (stage::plain(&leg, crc), leg);
        };
        let encoded = compressing.encode(wish, leg, crc);
        compressing.judge(|| desk.peek_as(self.ticket, |core| core.path(self.ticket.connection)));
        encoded
    }

    fn count_frame(&mut self) {
        self.harm = self.harm.or(self.hazard.as_ref().and_then(Hazard::frame));
    }

    /// Fits what the kernel may hold unsent to the rate at which it was written lately.
    fn pace(&mut self) {
        let unsent = self.unsent.written(Instant::now(), self.outlet.bytes());
        unsent.into_iter().for_each(|bytes| self.channel.hold_unsent(bytes));
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some((compressing, _)) = &self.compressing {
            compressing.leave(self.ticket.connection);
        }
    }
}

/// Harm to these changes nothing: the fault plan does not count them.
pub(crate) fn is_last_word(frame: &Frame) -> bool {
    matches!(frame, Frame::Bye | Frame::Abort(_))
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
