//! The pings of one connection: a round trip for the sender, life for the receiver, and the proof that a bye got there.

use std::time::{Duration, Instant};

/// A connection is pinged this often, once the ping before was answered.
pub const PING: Duration = Duration::from_secs(1);

/// The pings of one connection that is up.
#[derive(Clone, Copy, Debug)]
pub struct Pulse {
    /// The ping that was not answered yet, and when it went out.
    asked: Option<(u64, Instant)>,
    due: Instant,
    /// Pings from this one on went out after a bye.
    bye: Option<u64>,
}

/// What an answer to a ping shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// How long it took.
    pub rtt: Duration,
    /// Whether the peer has heard the bye.
    pub heard_bye: bool,
}

impl Pulse {
    /// The connection is up, and its round trip is known.
    pub fn new(now: Instant) -> Self {
        Pulse { asked: None, due: now + PING, bye: None }
    }

    /// When a ping is due.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// A ping is due. Whether this one goes out: the one before may not have been answered.
    pub fn ask(&mut self, now: Instant, token: u64) -> bool {
        self.due = now + PING;
        let asks = self.asked.is_none();
        self.asked.get_or_insert((token, now));
        asks
    }

    /// A bye goes out, followed by this ping. Whatever was asked before proves nothing.
    pub fn say_bye(&mut self, now: Instant, token: u64) {
        (self.asked, self.due, self.bye) = (Some((token, now)), now + PING, Some(token));
    }

    /// The peer has answered a ping. None if it is not the one that was asked.
    pub fn answered(&mut self, now: Instant, token: u64) -> Option<Answer> {
        let (_, asked) = self.asked.take_if(|(expected, _)| *expected == token)?;
        let heard_bye = self.bye.is_some_and(|first| token >= first);
        Some(Answer { rtt: now.saturating_duration_since(asked), heard_bye })
    }

    /// For how long an answer has been missing.
    pub fn unanswered(&self, now: Instant) -> Duration {
        self.asked.map(|(_, asked)| now.saturating_duration_since(asked)).unwrap_or_default()
    }

    /// Whether a bye was said on the connection.
    pub fn has_said_bye(&self) -> bool {
        self.bye.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_ping_at_a_time_and_only_its_answer_counts() {
        let start = Instant::now();
        let mut pulse = Pulse::new(start);
        assert_eq!(pulse.due(), start + PING);
        assert!(pulse.ask(start, 1) && !pulse.ask(start + PING, 2));
        assert_eq!((pulse.due(), pulse.unanswered(start + PING)), (start + PING * 2, PING));
        assert_eq!(pulse.answered(start + PING, 2), None);
        assert_eq!(pulse.answered(start + PING, 1), Some(Answer { rtt: PING, heard_bye: false }));
        assert_eq!(pulse.unanswered(start + PING), Duration::ZERO);
    }

    #[test]
    fn a_bye_was_heard_when_a_later_ping_is_answered() {
        let start = Instant::now();
        let mut pulse = Pulse::new(start);
        pulse.ask(start, 1);
        pulse.say_bye(start, 2);
        assert_eq!(pulse.answered(start, 1), None, "that was asked before");
        assert!(pulse.answered(start, 2).is_some_and(|answer| answer.heard_bye));
        assert!(pulse.ask(start, 3) && pulse.answered(start, 3).is_some_and(|answer| answer.heard_bye));
    }
}
