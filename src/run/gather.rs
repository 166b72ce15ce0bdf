//! How the directions of a process end, as one result.
//!
//! Each direction ends by itself; the process by the first that failed. What fails while the other goes on
//! is told at once, what ends both is told once. Directions that share their connections do not end by themselves:
//! a stream may be settled while its direction still keeps them, one that ends releases the other, and one that fails
//! in any way but by a verdict stops it.

use super::ends::Ends;
use super::hub::Order;
use super::{Directions, no_thread};
use crate::error::Failure;
use crate::message;
use crate::proto::outcome::{Outcome, Status};
use crate::proto::way::Way;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::io;
use std::time::Duration;

/// Directions that end for one reason do so within this time.
const TOGETHER: Duration = Duration::from_secs(1);

/// What is heard of a direction.
pub enum News {
    /// Its stream was judged; it goes on for the sake of the other.
    Settled(Outcome),
    /// It has ended.
    Ended(io::Result<Outcome>),
}

/// The first failure, once every direction has ended.
///
/// # Errors
/// That failure.
pub fn gather(news: &Receiver<(Way, News)>, directions: &Directions, ends: &Ends) -> Result<(), Failure> {
    let mut gathered = Gathered { directions, ends, settled: [false; 2], first: None, untold: false };
    loop {
        match news.recv_timeout(if gathered.untold { TOGETHER } else { Duration::MAX }) {
            Ok((way, news)) => gathered.hear(way, news),
            Err(RecvTimeoutError::Disconnected) => return gathered.first.map_or(Ok(()), Err),
            Err(RecvTimeoutError::Timeout) => gathered.tell(),
        }
    }
}

struct Gathered<'a> {
    directions: &'a Directions,
    ends: &'a Ends,
    /// Directions whose stream was judged: how they end says nothing more about it.
    settled: [bool; 2],
    first: Option<Failure>,
    /// The other direction may go on after the first failure, and the user has not been told.
    untold: bool,
}

impl Gathered<'_> {
    fn hear(&mut self, way: Way, news: News) {
        match news {
            News::Settled(ending) => {
                self.settled[way as usize] = true;
                self.directions.tell_other(way, Order::OtherSettled);
                if let Err(failure) = self.judge(way, ending) {
                    self.fail(failure, self.ends.need_both());
                }
            }
            News::Ended(ending) => {
                let ended = ending.map_err(no_thread).and_then(|ending| self.judge(way, ending));
                match ended {
                    Ok(()) if self.directions.shared => self.directions.release(way),
                    Ok(()) => {}
                    // the connections are gone: that is the other direction's failure, if it needs them still
                    Err(failure) if self.settled[way as usize] => self.stop(&failure),
                    Err(failure) => self.fail(failure, self.directions.shared || self.ends.need_both()),
                }
            }
        }
    }

    fn fail(&mut self, failure: Failure, both: bool) {
        self.ends.abandon();
        if both {
            self.stop(&failure);
        }
        match &self.first {
            None => (self.first, self.untold) = (Some(failure), !(both && self.directions.shared)),
            Some(told) if told.sentence == failure.sentence => {}
            Some(_) => message::say(failure.sentence),
        }
    }

    fn stop(&self, failure: &Failure) {
        self.directions.stop(&Outcome::here(Status::Incomplete, failure.sentence.clone()));
    }

    fn tell(&mut self) {
        self.first.iter().for_each(|e| message::say(format_args!("{e}; the other direction goes on")));
        self.untold = false;
    }

    fn judge(&self, way: Way, ending: Outcome) -> Result<(), Failure> {
        let peer = match way {
            // what the peer says ends both, and is told once
            _ if self.directions.shared => "the peer",
            Way::In => "the sender",
            Way::Out => "the receiver",
        };
        Failure::unless_complete(ending, peer)
    }
}
