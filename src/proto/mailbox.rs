//! What is to be written on one connection, and in which order.
//!
//! A mailbox is a state and no queue: a newer acknowledgement or pong takes the place of the one that has not been
//! written yet. So nothing that a peer sends makes it grow beyond [`NACKS_MAX`] complaints and one frame of each
//! other kind. Whoever writes the connection takes one item after another with [`Mailbox::take`].
//!
//! Order: welcome, abort, nacks, pong, ack, enough, ping, leg, fin, verdict, bye; with a bye, ping is the last, so that
//! whoever answers it has the bye. A nack comes before any acknowledgement that
//! counts past the damaged leg. Answers come before a leg, because they would be out of date behind one. After an abort
//! nothing else is of any use.

use super::hello::Welcome;
use super::leg::Leg;
use super::wire::{Abort, Ack, Fin, Frame, Verdict};

/// How many complaints may wait on one connection. A path that damages more legs than this while no complaint can be
/// written is of no use.
pub const NACKS_MAX: usize = 16;

/// One thing to write.
#[derive(Debug)]
pub enum Item {
    /// This end's part of the handshake, before any frame.
    Welcome(Welcome),
    /// A frame other than a leg's.
    Frame(Frame),
    /// A leg.
    Leg(Leg),
}

/// More complaints wait than may: the connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow;

/// What waits to be written on one connection.
#[derive(Debug, Default)]
pub struct Mailbox {
    welcome: Option<Welcome>,
    abort: Option<Abort>,
    /// At most [`NACKS_MAX`], the oldest first.
    nacks: Vec<u64>,
    pong: Option<u64>,
    ack: Option<Ack>,
    enough: bool,
    ping: Option<u64>,
    leg: Option<Leg>,
    fin: Option<Fin>,
    verdict: Option<Verdict>,
    bye: bool,
}

impl Mailbox {
    /// This end's part of the handshake.
    pub fn welcome(&mut self, welcome: Welcome) {
        self.welcome = Some(welcome);
    }

    /// A leg; there must be none in the mailbox.
    pub fn leg(&mut self, leg: Leg) {
        debug_assert!(self.leg.is_none(), "one leg at a time");
        self.leg = Some(leg);
    }

    /// A frame other than a leg's. Gives the leg that waited, if nothing is to follow the frame.
    ///
    /// # Errors
    /// It is a complaint, and too many wait already.
    pub fn frame(&mut self, frame: Frame) -> Result<Option<Leg>, Overflow> {
        match frame {
            Frame::Abort(abort) => {
                let (welcome, leg) = (self.welcome.take(), self.leg.take());
                *self = Mailbox { welcome, abort: Some(abort), ..Mailbox::default() };
                return Ok(leg);
            }
            Frame::Nack { .. } if self.nacks.len() == NACKS_MAX => return Err(Overflow),
            Frame::Nack { sequence } => self.nacks.push(sequence),
            Frame::Pong { token } => self.pong = Some(token),
            Frame::Ack(ack) => self.ack = Some(ack),
            Frame::Enough => self.enough = true,
            Frame::Ping { token } => self.ping = Some(token),
            Frame::Fin(fin) => self.fin = Some(fin),
            Frame::Verdict(verdict) => self.verdict = Some(verdict),
            Frame::Bye => self.bye = true,
            Frame::Leg(_) => debug_assert!(false, "a leg has a way of its own"),
        }
        Ok(None)
    }

    /// The next thing to write.
    pub fn take(&mut self) -> Option<Item> {
        if let Some(welcome) = self.welcome.take() {
            return Some(Item::Welcome(welcome));
        }
        if let Some(frame) = self.before_a_leg() {
            return Some(Item::Frame(frame));
        }
        let leg = self.leg.take().map(Item::Leg);
        leg.or_else(|| self.after_a_leg().map(Item::Frame))
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        let Mailbox { welcome, abort, nacks, pong, ack, enough, ping, leg, fin, verdict, bye } = self;
        let handshake = welcome.is_some() || abort.is_some();
        let answers = !nacks.is_empty() || pong.is_some() || ack.is_some() || *enough;
        let stream = ping.is_some() || leg.is_some() || fin.is_some();
        !(handshake || answers || stream || verdict.is_some() || *bye)
    }

    /// Complaints that wait; at most [`NACKS_MAX`].
    pub fn nacks(&self) -> usize {
        self.nacks.len()
    }

    /// Bytes of the leg that waits; 0 without one.
    pub fn leg_bytes(&self) -> u64 {
        self.leg.as_ref().map_or(0, Leg::len)
    }

    /// Forgets everything: the connection is gone. Gives the leg that waited.
    #[must_use]
    pub fn clear(&mut self) -> Option<Leg> {
        std::mem::take(self).leg
    }

    fn before_a_leg(&mut self) -> Option<Frame> {
        if let Some(abort) = self.abort.take() {
            return Some(Frame::Abort(abort));
        }
        if !self.nacks.is_empty() {
            return Some(Frame::Nack { sequence: self.nacks.remove(0) });
        }
        let pong = self.pong.take().map(|token| Frame::Pong { token });
        let ack = || self.ack.take().map(Frame::Ack);
        if let Some(answer) = pong.or_else(ack) {
            return Some(answer);
        }
        let enough = std::mem::take(&mut self.enough).then_some(Frame::Enough);
        enough.or_else(|| if self.bye { None } else { self.take_ping() })
    }

    fn take_ping(&mut self) -> Option<Frame> {
        self.ping.take().map(|token| Frame::Ping { token })
    }

    fn after_a_leg(&mut self) -> Option<Frame> {
        let fin = self.fin.take().map(Frame::Fin);
        let last = fin.or_else(|| self.verdict.take().map(Frame::Verdict));
        let bye = last.or_else(|| std::mem::take(&mut self.bye).then_some(Frame::Bye));
        bye.or_else(|| self.take_ping())
    }
}

#[cfg(test)]
mod tests {
    use super::super::outcome::Status;
    use super::super::wire::WindowEdge;
    use super::*;
    use std::sync::Arc;

    fn ack(count: u64) -> Frame {
        let edge = WindowEdge { bytes: 0, legs: 0 };
        Frame::Ack(Ack { next: 0, delivered: 0, edge, count, blocked_ms: 0 })
    }

    fn names(mailbox: &mut Mailbox) -> Vec<String> {
        let name = |item| match item {
            Item::Welcome(_) => "welcome".to_owned(),
            Item::Leg(_) => "leg".to_owned(),
            Item::Frame(Frame::Ack(ack)) => format!("ack {}", ack.count),
            Item::Frame(Frame::Nack { sequence }) => format!("nack {sequence}"),
            Item::Frame(Frame::Pong { token }) => format!("pong {token}"),
            Item::Frame(frame) => format!("{frame:?}").split([' ', '(']).next().unwrap().to_lowercase(),
        };
        std::iter::from_fn(|| mailbox.take()).map(name).collect()
    }

    #[test]
    fn the_order_is_that_of_the_list_whatever_came_first() {
        let mut mailbox = Mailbox::default();
        let verdict =
            Verdict { bytes: 0, crc: None, status: Status::Complete, command: None, sentence: String::new() };
        let fin = Fin { legs: 0, bytes: 0, crc: None };
        mailbox.leg(Leg::new(0, 0, Arc::new(vec![1])));
        let later = [Frame::Verdict(verdict), Frame::Fin(fin), Frame::Ping { token: 1 }];
        let sooner = [Frame::Enough, ack(1), Frame::Pong { token: 2 }, Frame::Nack { sequence: 3 }];
        for frame in later.into_iter().chain(sooner) {
            mailbox.frame(frame).unwrap();
        }
        assert_eq!(
            names(&mut mailbox),
            ["nack 3", "pong 2", "ack 1", "enough", "ping", "leg", "fin", "verdict"]
        );
        assert!(mailbox.is_empty());
    }

    #[test]
    fn a_ping_follows_the_bye() {
        let mut mailbox = Mailbox::default();
        for frame in [Frame::Ping { token: 1 }, ack(1), Frame::Bye] {
            mailbox.frame(frame).unwrap();
        }
        assert_eq!(names(&mut mailbox), ["ack 1", "bye", "ping"]);
        assert!(mailbox.is_empty());
    }

    #[test]
    fn of_answers_only_the_latest_is_written() {
        let mut mailbox = Mailbox::default();
        for n in 0..100_000 {
            mailbox.frame(Frame::Pong { token: n }).unwrap();
            mailbox.frame(ack(n)).unwrap();
        }
        assert_eq!(names(&mut mailbox), ["pong 99999", "ack 99999"]);
    }

    #[test]
    fn complaints_are_bounded_and_keep_their_order() {
        let mut mailbox = Mailbox::default();
        for sequence in 0..NACKS_MAX as u64 {
            mailbox.frame(Frame::Nack { sequence }).unwrap();
        }
        assert!(matches!(mailbox.frame(Frame::Nack { sequence: 99 }), Err(Overflow)));
        assert_eq!(names(&mut mailbox)[..2], ["nack 0", "nack 1"]);
    }

    #[test]
    fn nothing_is_written_beside_an_abort() {
        let mut mailbox = Mailbox::default();
        mailbox.leg(Leg::new(0, 0, Arc::new(vec![1])));
        mailbox.frame(ack(1)).unwrap();
        mailbox.frame(Frame::Abort(Abort { status: Status::Input, sentence: String::new() })).unwrap();
        assert_eq!(names(&mut mailbox), ["abort"]);
    }
}
