//! The stream that goes out: its legs, the connections that can carry them, and what the receiver says of them.
//!
//! Which leg suits a connection is for [`Sender`] to say, and which connection takes the next one for `assign`. Nothing
//! here knows who dials, or when the peer is given up.

use super::super::breach::Breach;
use super::super::hello::{Id, Welcome};
use super::super::leg::{CONNECTIONS_MAX, LEG_FIRST, Payload, encoded_max, leg_max, through_max};
use super::super::peer_key::PeerKey;
use super::super::sched::{LegSize, Meter, UNRATED_MAX};
use super::super::sender::Sender;
use super::super::set::ConnectionSet;
use super::super::wire::{Ack, Fin};
use super::carriers::Carriers;
use super::circulation::Circulation;
use super::sole::Sole;
use std::time::{Duration, Instant};

/// What one connection was given since it came up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// Bytes of the stream.
    pub bytes: u64,
    /// Legs.
    pub legs: u64,
    /// The leg it was given last.
    pub leg: Option<u64>,
    /// When that was.
    pub at: Option<Instant>,
}

/// Why a connection that was welcomed cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It leads to another receiver than the others.
    OtherReceiver,
    /// The receiver wants a leg that this end holds no more: the receiver has lost what it had confirmed.
    LegGone(u64),
    /// The peer broke the rules.
    Breach(Breach),
}

/// The stream that goes out.
pub struct Outbound {
    pub(super) sender: Sender,
    pub(super) carriers: Carriers,
    pub(super) given: [Given; CONNECTIONS_MAX],
    /// The receiving process, once it is known.
    instance: Option<Id>,
    /// The key of the first receiver that welcomed a connection, if connections are encrypted. It stays the same until the
    /// session is forgotten, even where another receiver may take the stream.
    key: Option<Option<PeerKey>>,
    /// What the input reads into a piece while connections have nothing to carry: it follows the rate of the whole stream.
    pub(super) piece_size: LegSize,
    /// What legs are cut to: it follows the rate of the connections while they carry something.
    pub(super) leg_size: LegSize,
    /// The most bytes that one connection has brought since it came up: of those that are up, and of the one that broke
    /// last with legs on the way.
    pub(super) carried_most: u64,
    /// Connections that broke with legs on the way since a welcome last showed what had come of such.
    pub(super) broken: u64,
    /// What the receiver has received.
    meter: Meter,
    /// What its output has taken.
    pub(super) taken: Meter,
    /// Legs that were never sent wait for the receiver's output, though there are connections for them.
    pub(super) held_back: bool,
    /// Fresh legs wait for the connections that carry; until when at most.
    pub(super) waits_until: Option<Instant>,
    pub(super) circulation: Circulation,
    /// Whether one connection carries what is new.
    pub(super) sole: Sole,
    /// When the receiver's output was last heard to have taken something.
    pub(super) taken_at: Option<Instant>,
    /// Every path is near.
    pub(super) near: bool,
    /// Legs and stream are checked by CRC-32.
    pub(super) checked: bool,
    /// Legs go through the user's programs.
    pub(super) through: bool,
    /// This end's memory for legs.
    buffer: u64,
    /// The most bytes that a leg may be encoded to.
    encoded_max: usize,
    /// No leg is longer than that before it is encoded either.
    short: bool,
    /// The stream goes to a command whose end is the result.
    pub(super) to_command: bool,
    /// The far end's output took no more, and that has ended the stream.
    ceased: bool,
    /// For how long the receiver's output had been blocked when the receiver said so last.
    blocked_at_peer: Duration,
    /// Bytes acknowledged so far, in whatever order.
    received: u64,
}

impl Outbound {
    /// A stream of which nothing is known yet, with this much memory for legs, checked or not, and going through the
    /// user's programs or not.
    pub fn new(buffer: u64, checked: bool, through: bool) -> Self {
        let mut leg_size = if through { LegSize::through() } else { LegSize::new() };
        // not more than the receiver will agree to, whoever it is
        let encoded_max = encoded_max(buffer, u64::MAX);
        leg_size.agree(if through { through_max(encoded_max) } else { leg_max(buffer, u64::MAX) });
        Outbound {
            sender: Sender::new(CONNECTIONS_MAX, buffer),
            carriers: Carriers::new(),
            given: [Given::default(); CONNECTIONS_MAX],
            instance: None,
            key: None,
            piece_size: leg_size.clone(),
            leg_size,
            carried_most: 0,
            broken: 0,
            meter: Meter::default(),
            taken: Meter::default(),
            held_back: false,
            waits_until: None,
            circulation: Circulation::new(buffer),
            sole: Sole::new(),
            taken_at: None,
            near: false,
            checked,
            through,
            buffer,
            encoded_max,
            short: false,
            to_command: false,
            ceased: false,
            blocked_at_peer: Duration::ZERO,
            received: 0,
        }
    }

    /// This link carries legs only while no other is up.
    pub(super) fn set_lifeline(&mut self, link: usize) {
        self.carriers.set_lifeline(link);
    }

    /// See [`Session::keep_legs_short`](super::Session::keep_legs_short).
    pub(super) fn keep_legs_short(&mut self) {
        self.short = true;
        self.agree(self.encoded_max);
    }

    /// The receiver takes legs of so many bytes.
    fn agree(&mut self, most: usize) {
        let most = match self.through {
            true => through_max(self.encoded_max),
            false if self.short => self.encoded_max.min(most),
            false => most,
        };
        self.piece_size.agree(most);
        self.leg_size.agree(most);
    }

    /// See [`Session::forgo_rescue`](super::Session::forgo_rescue).
    pub(super) fn forgo_rescue(&mut self) {
        self.sender.forgo_rescue();
    }

    // ---- connections ----------------------------------------------------------------------------------

    /// A connection is up. `known` is the head as it was when the hello was sent: no welcome may want a leg before it.
    ///
    /// Gives how many bytes more the welcome shows to be received.
    ///
    /// # Errors
    /// It cannot be used, and nothing has changed.
    pub fn attach(
        &mut self,
        connection: usize,
        link: usize,
        known: u64,
        welcome: &Welcome,
        key: Option<PeerKey>,
        begun: bool,
    ) -> Result<u64, Unusable> {
        // every receiver has memory for more, and each leg costs both ends its bookkeeping
        if (welcome.leg_max as usize) < LEG_FIRST {
            return Err(Unusable::Breach(Breach::LegsTooSmall(welcome.leg_max)));
        }
        let is_other = |instance: Id| instance != welcome.instance;
        if !begun && self.attached().is_empty() && self.instance.is_some_and(is_other) {
            // nothing was received and no connection is left: any receiver will do, with a window of its own
            self.instance = None;
            self.sender.start_again();
        }
        if self.key.is_some_and(|known| known != key) || self.instance.is_some_and(is_other) {
            return Err(Unusable::OtherReceiver);
        }
        let received = match self.sender.attach(connection, known, welcome.next, welcome.edge) {
            Ok(Some(received)) => received,
            Ok(None) => return Err(Unusable::LegGone(welcome.next)),
            Err(breach) => return Err(Unusable::Breach(breach)),
        };
        (self.key, self.instance) = (Some(key), Some(welcome.instance));
        let (ours, theirs, most) = (self.buffer, welcome.buffer, welcome.leg_max as usize);
        self.encoded_max = self.encoded_max.min(encoded_max(ours, theirs)).min(most);
        self.agree(leg_max(ours, theirs).min(most));
        if self.through {
            self.sender.through(self.encoded_max);
        }
        self.carriers.attach(connection, link);
        self.given[connection] = Given::default();
        self.measure_paths();
        Ok(received)
    }

    /// The session is forgotten: whoever comes next may have another key.
    pub(super) fn forget_key(&mut self) {
        self.key = None;
    }

    /// A welcome has shown that so many bytes more are received.
    pub(super) fn learnt(&mut self, now: Instant, received: u64) {
        self.count_received(now, received);
        self.note_learnt(received);
        if let Some(rate) = self.meter.rate(now).filter(|_| received > 0) {
            // connections that die before they bring an acknowledgement have no pace; legs would stay small for ever
            self.leg_size.follow(now, rate, self.attached().len());
        }
    }

    /// So many bytes more are known to be received.
    fn count_received(&mut self, now: Instant, bytes: u64) {
        self.received += bytes;
        if bytes > 0 {
            self.meter.add(now, bytes);
            if let Some(rate) = self.meter.rate(now) {
                self.piece_size.follow(now, rate, self.sender.busy().len());
            }
        }
    }

    /// See [`Session::take_freed`](super::Session::take_freed).
    pub(super) fn take_freed(&mut self) -> Vec<Payload> {
        self.sender.take_freed()
    }

    /// A connection is gone. How many legs it takes with it, to be sent again.
    pub fn detach(&mut self, connection: usize) -> usize {
        self.carriers.detach(connection);
        self.note_gone(connection);
        let again = self.sender.detach(connection);
        self.measure_paths();
        again
    }

    /// A connection is called back: it gets nothing new.
    pub fn recall(&mut self, connection: usize) {
        self.carriers.recall(connection);
    }

    /// Connections that were called back and have nothing on the way any more.
    pub fn take_idle(&mut self) -> ConnectionSet {
        let idle = (self.carriers.recalled() & self.carriers.ready()) - self.sender.busy();
        idle.iter().for_each(|connection| self.carriers.note_unready(connection));
        idle
    }

    /// The path of a connection drains: it can take a leg.
    pub fn ready(&mut self, connection: usize) {
        self.carriers.note_ready(connection);
    }

    /// [`Outbound::ready`] for a connection that is not called back, if no leg waits for one; whether it was noted.
    pub(super) fn stays_ready(&mut self, now: Instant, connection: usize) -> bool {
        let stays = (self.carriers.up() - self.carriers.recalled()).contains(connection)
            && self.sender.is_drained()
            && !self.sender.has_something(now);
        if stays {
            self.ready(connection);
        }
        stays
    }

    /// The link of a connection that is up.
    pub fn link_of(&self, connection: usize) -> Option<usize> {
        self.carriers.link_of(connection)
    }

    /// Connections that are up.
    pub fn attached(&self) -> ConnectionSet {
        self.carriers.up()
    }

    // ---- the input ------------------------------------------------------------------------------------

    /// The far end wants legs and stream checked, or does not.
    pub fn set_checked(&mut self, checked: bool) {
        self.checked = checked;
    }

    /// The next piece of the stream; never empty.
    pub fn push(&mut self, payload: Payload) {
        self.sender.push(payload);
    }

    /// The stream has ended with what was given.
    pub fn end(&mut self) {
        self.sender.end();
    }

    /// The far end's output takes no more. Whether that ends the stream here, with what connections have taken.
    ///
    /// # Errors
    /// This end did not say that its stream may stop.
    pub fn cease(&mut self) -> Result<bool, Breach> {
        if !self.to_command {
            return Err(Breach::Enough);
        }
        let goes_on = !self.sender.has_ended();
        if goes_on {
            self.sender.end_here();
            self.ceased = true;
        }
        Ok(goes_on)
    }

    /// Whether the far end's output has ended the stream.
    pub fn has_ceased(&self) -> bool {
        self.ceased
    }

    /// Marks an overtaken leg for sending again. Gives the leg and the connection that was too slow for it.
    pub fn rescue(&mut self, now: Instant) -> Option<(u64, usize)> {
        self.sender.rescue(now)
    }

    /// The CRC-32 of a leg, before its first byte leaves.
    pub fn note_crc(&mut self, sequence: u64, crc: u32) {
        self.sender.note_crc(sequence, crc);
    }

    /// A program has made so many bytes of the leg that a connection was given last.
    pub fn encoded(&mut self, connection: usize, bytes: u64) {
        self.sender.encoded(connection, bytes);
    }

    /// The stream's end, once it is known, and the connections on which it is to be told now.
    pub fn take_fin(&mut self) -> Option<(Fin, ConnectionSet)> {
        let fin = self.fin()?;
        Some((fin, self.carriers.take_untold()))
    }

    pub(super) fn fin(&self) -> Option<Fin> {
        self.sender.fin(self.checked)
    }

    // ---- what the receiver says -----------------------------------------------------------------------

    /// An acknowledgement. Whether anything moved.
    ///
    /// # Errors
    /// The acknowledgement cannot be true.
    pub fn acked(&mut self, now: Instant, connection: usize, ack: &Ack) -> Result<bool, Breach> {
        let before = self.sender.progress().delivered;
        let acked = self.sender.ack(now, connection, ack)?;
        let after = self.sender.progress().delivered;
        if after > before {
            self.taken.add(now, after - before);
            self.taken_at = Some(now);
        }
        self.note_carried(connection);
        self.circulation.note_backlog(now, self.sender.backlog().bytes);
        self.blocked_at_peer = Duration::from_millis(ack.blocked_ms.into());
        self.count_received(now, acked.bytes);
        if let Some(rate) = self.rate_carrying(connection).filter(|_| acked.bytes > 0) {
            self.leg_size.follow(now, rate, 1);
        }
        Ok(acked.moved)
    }

    /// The rate of a connection while it carries something, in bytes per second: of those that do, and of this one, the
    /// mean. A time in which none did, because they had to be found dead, says nothing about what they will carry.
    fn rate_carrying(&self, connection: usize) -> Option<f64> {
        let carry = self.attached() & (self.sender.busy() | ConnectionSet::of(connection));
        let rates = carry.iter().filter_map(|one| self.sender.pace(one)?.rate());
        let (sum, count) = rates.fold((0.0, 0), |(sum, count), rate| (sum + rate, count + 1));
        (count > 0).then(|| sum / f64::from(count))
    }

    /// A complaint about a damaged leg. False if that leg has now failed too often.
    ///
    /// # Errors
    /// The connection does not carry it.
    pub fn nacked(&mut self, connection: usize, sequence: u64) -> Result<bool, Breach> {
        self.sender.nack(connection, sequence)
    }

    /// A round trip was measured.
    pub fn round_trip(&mut self, connection: usize, rtt: Duration) {
        self.sender.round_trip(connection, rtt);
        self.measure_paths();
    }

    // ---- answers --------------------------------------------------------------------------------------

    /// The legs.
    pub fn sender(&self) -> &Sender {
        &self.sender
    }

    /// The receiving process, once it is known.
    pub fn instance(&self) -> Option<Id> {
        self.instance
    }

    /// The receiver's key, once it is known.
    pub fn key(&self) -> Option<PeerKey> {
        self.key.flatten()
    }

    /// Bytes acknowledged so far, in whatever order.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// What a connection was given.
    pub fn given(&self, connection: usize) -> Given {
        self.given[connection]
    }

    /// The most bytes that a leg may be encoded to.
    pub fn encoded_max(&self) -> usize {
        self.encoded_max
    }

    /// Whether legs and stream are checked by CRC-32.
    pub fn is_checked(&self) -> bool {
        self.checked
    }

    /// The time in which a link should bring what its connections were given; None while nothing is known of their pace.
    pub fn drain_time(&self, link: usize) -> Option<Duration> {
        let mates = || self.carriers.on(link).iter();
        let bytes: u64 = mates().map(|mate| self.sender.bytes_in_flight(mate)).sum();
        if bytes <= UNRATED_MAX {
            return Some(Duration::ZERO);
        }
        let rate: f64 = mates().filter_map(|mate| self.sender.pace(mate)?.rate()).sum();
        (rate > 0.0).then(|| Duration::from_secs_f64((bytes as f64 / rate).min(3600.0)))
    }

    /// Whether as much of the input waits for connections as should.
    pub fn has_enough_input(&self) -> bool {
        self.circulation.is_full()
    }

    /// When, after `now`, time alone may give a connection something to carry.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        self.sender.deadline(now).into_iter().chain(self.waits_until.filter(|at| *at > now)).min()
    }

    /// Whether nothing of the stream is on its way, and it has not ended.
    pub fn is_resting(&self) -> bool {
        self.sender.is_empty() && !self.sender.has_ended()
    }

    /// Whether a connection waits for input that is not there.
    pub fn is_hungry(&self) -> bool {
        self.sender.is_drained() && !(self.carriers.ready() - self.carriers.spared()).is_empty()
    }

    /// Whether all has been received, so that only the verdict is missing.
    pub fn awaits_verdict(&self) -> bool {
        self.sender.all_received()
    }

    /// Whether the receiver's output is all that the next leg waits for.
    pub fn waits_for_output(&self) -> bool {
        self.held_back || self.sender.is_shut()
    }

    /// How long the receiver's output has been blocked, as it said last.
    pub fn blocked_at_peer(&self) -> Duration {
        self.blocked_at_peer
    }
}
