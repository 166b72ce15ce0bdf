//! A worker's sending role: legs go out, what the receiver answers comes in.

use crate::proto::hello::{Refusal, Welcome};
use crate::proto::leg::Leg;
use crate::proto::life::Silence;
use crate::proto::links::{DialError, LossReason};
use crate::proto::wire::{Frame, LegHeader};
use crate::run::conn::Connection;
use crate::stage;
use std::time::{Duration, Instant};

/// What a sending hub hears.
pub enum Report {
    /// The receiver welcomed the connection, this long after it was asked.
    Welcomed(Welcome, Duration),
    /// The receiver refused it in words.
    Refused(Refusal),
    /// There is no connection.
    DialFailed(DialError),
    /// The leg has left and the path drains.
    Ready,
    /// The CRC-32 of a leg that is about to leave.
    Checked(u64, u32),
    /// A frame came.
    Frame(Frame),
    /// Nothing is to be read now, and there has been no life for so long.
    Quiet(Silence),
    /// The connection is gone.
    Lost(LossReason),
    /// After `Finish`: nothing is left to do. Whether the last words got there: the peer has closed in order, or the
    /// connection lives on with them in it.
    Closed(bool),
}

/// How often a connection's signs of life are reported, and how often while there are none.
const QUIET_AFTER: Duration = Duration::from_secs(1);
const QUIET_AGAIN: Duration = Duration::from_millis(500);

/// The state of the role.
pub struct Sending {
    /// The worker's number; workers begin with different addresses of a name.
    pub index: usize,
    /// The hub's ear; false if nobody listens there any more.
    report: Box<dyn Fn(Report) -> bool + Send>,
    checked: bool,
    /// A leg has left, or the connection is new: report when the path drains.
    draining: bool,
    quiet_at: Instant,
    over: bool,
}

impl Sending {
    /// A role whose hub hears of things by `report`; legs are `checked` by CRC-32.
    pub fn new(index: usize, checked: bool, report: impl Fn(Report) -> bool + Send + 'static) -> Self {
        Sending {
            index,
            report: Box::new(report),
            checked,
            draining: false,
            quiet_at: Instant::now(),
            over: false,
        }
    }

    /// Tells the hub. Once nobody hears it, the session's stream from here is over.
    pub fn say(&mut self, report: Report) {
        self.over |= !(self.report)(report);
    }

    /// Whether the stream from here is over: whatever still comes for it is discarded.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// The hub wants nothing more.
    pub fn end(&mut self) {
        self.over = true;
    }

    /// A new connection.
    pub fn begin(&mut self, now: Instant) {
        self.draining = true;
        self.quiet_at = now + QUIET_AFTER;
    }

    /// Gives the connection a leg.
    pub fn send(&mut self, connection: &mut Connection, leg: Leg) {
        let crc = self.checked.then(|| leg.crc.unwrap_or_else(|| stage::checksum(leg.bytes())));
        if let Some(crc) = crc {
            self.say(Report::Checked(leg.sequence, crc));
        }
        connection.outlet.leg(header(&leg, crc), leg);
        self.draining = true;
    }

    /// The path drains, and no leg is under way.
    pub fn drained(&mut self) {
        if std::mem::take(&mut self.draining) {
            self.say(Report::Ready);
        }
    }

    /// Whether the hub waits for the path to drain.
    pub fn awaits_drain(&self) -> bool {
        self.draining
    }

    /// Silence is judged only right after a read that found nothing, as now; and asked about even while the
    /// peer speaks, because that does not prove that anything gets there.
    pub fn look_for_life(&mut self, now: Instant, connection: &mut Connection) {
        if self.quiet_at <= now {
            let silence = connection.silence(now);
            self.quiet_at = now + if silence.peer < QUIET_AFTER { QUIET_AFTER } else { QUIET_AGAIN };
            self.say(Report::Quiet(silence));
        }
    }

    /// When the role wants to be woken.
    pub fn wakes_at(&self) -> Option<Instant> {
        (!self.over).then_some(self.quiet_at)
    }
}

fn header(leg: &Leg, crc: Option<u32>) -> LegHeader {
    let len = leg.len() as u32;
    let flags = crc.map_or(0, |_| stage::CHECKED);
    LegHeader {
        sequence: leg.sequence,
        offset: leg.offset,
        raw: len,
        encoded: len,
        flags,
        crc: crc.unwrap_or(0),
    }
}
