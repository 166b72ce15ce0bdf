//! What the main thread hears of its sessions, and what their streams came to.

use super::sessions::no_thread;
use crate::error::Failure;
use crate::proto::outcome::Outcome;
use crate::proto::way::{PerWay, Way};
use crate::session::Start;
use crate::sys::thread::spawn;
use crossbeam_channel::{Receiver, Sender};

/// So many conclusions come of a session at most: of each stream twice, and its end.
const EACH: usize = 5;

/// What has come of a session, or of one of its streams.
pub(crate) enum Conclusion {
    /// One of its streams was judged; told once or twice.
    Settled(Way, Outcome),
    /// It has ended, and how each of its streams was judged has been told.
    Ended,
}

/// The conclusions of so many sessions. Whoever tells one never waits.
pub(crate) fn channel(sessions: usize) -> (Sender<Conclusion>, Receiver<Conclusion>) {
    crossbeam_channel::bounded(EACH * sessions)
}

/// Runs a session in a thread of its own, and tells of its end.
///
/// # Errors
/// There is no thread for it.
pub(crate) fn run(start: Start, news: Sender<Conclusion>) -> Result<(), Failure> {
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
pub(crate) type Outcomes = PerWay<Option<Outcome>>;

/// Takes note of what was told. Gives it back where it is news.
pub(crate) fn note(outcomes: &mut Outcomes, way: Way, outcome: Outcome) -> Option<&Outcome> {
    let known = &mut outcomes[way];
    if known.is_some() { None } else { Some(known.insert(outcome)) }
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
            assert_eq!(note(&mut outcomes, way, told.clone()), Some(&told));
            assert_eq!(note(&mut outcomes, way, Outcome::there(Status::Complete, "")), None);
            assert_eq!(outcomes[way].as_ref(), Some(&told));
        }
    }
}
