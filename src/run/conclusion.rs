//! What the main thread hears of its sessions, and what their streams came to.

use super::sessions::no_thread;
use crate::error::Failure;
use crate::proto::outcome::Outcome;
use crate::proto::way::Way;
use crate::session::Start;
use crate::sys::thread::spawn;
use crossbeam_channel::Sender;

/// What has come of a session, or of one of its streams. Of each session there are five of these at most.
pub enum Conclusion {
    /// One of its streams was judged; told once or twice.
    Settled(Way, Outcome),
    /// It has ended, and how each of its streams was judged has been told.
    Ended,
}

/// Runs a session in a thread of its own, and tells of its end.
///
/// # Errors
/// There is no thread for it.
pub fn run(start: Start, news: Sender<Conclusion>) -> Result<(), Failure> {
    let session = start.handle();
    let run = move || {
        start.run();
        // the thread that is to tell of it may be slower
        for (way, outcome) in session.settled() {
            drop(news.send(Conclusion::Settled(way, outcome)));
        }
        drop(news.send(Conclusion::Ended));
    };
    spawn("session", run).map_err(no_thread)
}

/// How streams were judged, as far as that is known.
#[derive(Clone, Debug, Default)]
pub struct Outcomes {
    /// The stream that comes in.
    pub incoming: Option<Outcome>,
    /// The stream that goes out.
    pub outgoing: Option<Outcome>,
}

impl Outcomes {
    /// Takes note of what was told. Gives it back where it is news.
    pub fn note(&mut self, way: Way, outcome: Outcome) -> Option<&Outcome> {
        let place = match way {
            Way::In => &mut self.incoming,
            Way::Out => &mut self.outgoing,
        };
        match place {
            Some(_) => None,
            None => Some(place.insert(outcome)),
        }
    }

    /// Whether it is known how this stream was judged.
    pub fn knows(&self, way: Way) -> bool {
        match way {
            Way::In => self.incoming.is_some(),
            Way::Out => self.outgoing.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::outcome::Status;

    #[test]
    fn what_is_told_twice_is_news_once() {
        let mut outcomes = Outcomes::default();
        for way in Way::BOTH {
            let told = Outcome::here(Status::Incomplete, "so");
            assert!(!outcomes.knows(way));
            assert_eq!(outcomes.note(way, told.clone()), Some(&told));
            assert_eq!(outcomes.note(way, told), None);
            assert!(outcomes.knows(way));
        }
    }
}
