//! How the streams of a process end, as one result.
//!
//! The first stream that failed decides, unless its command was the input of the other stream too. A failure that leaves
//! the other stream going on is told at once; one that ends both is told once. Two streams of one session end each other
//! within the session. Two sessions are independent, unless their ends need both.

use super::conclusion::{Conclusion, Outcomes, note};
use super::ends::Ends;
use super::sessions::Sessions;
use crate::error::Failure;
use crate::message;
use crate::proto::outcome::{Outcome, Status};
use crate::proto::way::Way;
use crate::session::Handle;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// Streams that end for the same reason end within this time of each other.
const TOGETHER: Duration = Duration::from_secs(1);

/// The failure that decides, once every session has ended. `shared`: there is one session with two streams.
///
/// # Errors
/// That failure.
pub(crate) fn gather(
    news: &Receiver<Conclusion>,
    sessions: &Sessions,
    ends: &Ends,
    shared: bool,
) -> Result<(), Failure> {
    let mut gathered = Gathered {
        sessions,
        ends,
        shared,
        running: sessions.all().len(),
        outcomes: Outcomes::default(),
        first: None,
        untold: false,
    };
    while gathered.running > 0 {
        match news.recv_timeout(if gathered.untold { TOGETHER } else { Duration::MAX }) {
            Ok(Conclusion::Settled(way, ending)) => gathered.settled(way, ending),
            Ok(Conclusion::Ended) => gathered.running -= 1,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => gathered.tell(),
        }
    }
    gathered.first.map_or(Ok(()), |(failure, _)| Err(failure))
}

struct Gathered<'a> {
    sessions: &'a Sessions,
    ends: &'a Ends,
    shared: bool,
    /// Sessions that have not ended.
    running: usize,
    outcomes: Outcomes,
    /// The failure that decides, and the bare reason.
    first: Option<(Failure, String)>,
    /// Another stream may go on after the first failure, and the user has not been told.
    untold: bool,
}

impl Gathered<'_> {
    fn settled(&mut self, way: Way, ending: Outcome) {
        let Some(ending) = note(&mut self.outcomes, way, ending).cloned() else { return };
        let why = ending.sentence.clone();
        if let Err(failure) = self.judge(way, ending) {
            self.fail(failure, why);
        }
    }

    fn fail(&mut self, failure: Failure, why: String) {
        self.ends.abandon();
        if self.ends.need_both() {
            self.sessions.stop(&Outcome::here(Status::Incomplete, failure.sentence.clone()));
        }
        match &mut self.first {
            None => (self.first, self.untold) = (Some((failure, why)), true),
            // One command that failed was the output of one stream and the input of the other, and each end hears of these
            // in an order of its own. The input decides at both: it ends both streams.
            Some((first, told)) if *told == why && failure.status == Status::Input => *first = failure,
            Some((_, told)) if *told == why => {}
            Some(_) => message::say(failure.sentence),
        }
    }

    /// Says what has failed, if another stream does go on, and not just the farewell.
    fn tell(&mut self) {
        let sessions = self.sessions.all();
        let mut ways = sessions.iter().flat_map(Handle::ways);
        let goes_on = ways.any(|way| self.outcomes[way].is_none());
        if let Some((failure, _)) = self.first.as_ref().filter(|_| goes_on) {
            message::say(format_args!("{failure}; the other direction goes on"));
        }
        self.untold = false;
    }

    fn judge(&self, way: Way, ending: Outcome) -> Result<(), Failure> {
        let peer = match way {
            // what the peer says ends both, and is told once
            _ if self.shared => "the peer",
            Way::In => "the sender",
            Way::Out => "the receiver",
        };
        Failure::unless_complete(ending, peer)
    }
}
