//! What one connection is asked and owes: pings, which are a round trip for the sender, life for the receiver, and the
//! proof that a bye got there; and when its owner is to look for signs of life.

use std::time::{Duration, Instant};

/// While something is under way a connection is pinged this often, once the ping before was answered.
pub(super) const PING: Duration = Duration::from_secs(1);

/// Where nothing is under way, the end that dials asks this often: often enough for what forgets flows that rest, and
/// twice in the time after which the far end clears away what nobody uses. Sixteen connections cost 13 MB a day.
pub(super) const REST: Duration = Duration::from_secs(25);

/// The first ping comes so soon: a receiver counts a sender from its first word, gives way to another one before that, and
/// the user's patience with one that only says hello may be a second. A stream that begins at once needs none.
pub(super) const FIRST: Duration = Duration::from_millis(100);

/// How often a connection that owes something is looked at, at least: a process that did not run for longer than this
/// is noticed before anybody is blamed for it.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// How often at most.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The pings of one connection that is up, and what was seen of its life.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pulse {
    up: Instant,
    /// The ping that was not answered yet, and when it went out.
    asked: Option<(u64, Instant)>,
    /// When the latest ping was due.
    last: Instant,
    /// Pings from this one on went out after a bye.
    bye: Option<u64>,
    /// When its owner is to look; None while it owes nothing.
    look_at: Option<Instant>,
    /// When that was done last, and how long it had been silent then.
    looked: Option<(Instant, Duration)>,
}

/// What an answer to a ping shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answered {
    /// When it was asked.
    pub asked: Instant,
    /// How long it took.
    pub rtt: Duration,
    /// Whether the peer has heard the bye.
    pub heard_bye: bool,
}

impl Pulse {
    /// The connection is up, and its round trip is known.
    pub(super) fn new(now: Instant) -> Self {
        Pulse { up: now, asked: None, last: now, bye: None, look_at: None, looked: None }
    }

    /// When it came up.
    pub(super) fn up(&self) -> Instant {
        self.up
    }

    /// When the latest ping was due.
    pub(super) fn last(&self) -> Instant {
        self.last
    }

    /// When a ping is due, if the session has been `busy` since then or else rests; None: not before it is busy.
    pub(super) fn due(&self, busy: Option<Instant>, dials: bool) -> Option<Instant> {
        let pause = if self.last == self.up { FIRST } else { REST };
        let resting = dials.then(|| self.last + pause);
        busy.map(|since| self.last.max(since) + PING).or(resting)
    }

    /// A ping is due. Whether this one goes out: the one before may not have been answered.
    pub(super) fn ask(&mut self, now: Instant, token: u64) -> bool {
        self.last = now;
        let asks = self.asked.is_none();
        self.asked.get_or_insert((token, now));
        asks
    }

    /// A bye goes out, followed by this ping. Whatever was asked before proves nothing.
    pub(super) fn say_bye(&mut self, now: Instant, token: u64) {
        (self.asked, self.last, self.bye) = (Some((token, now)), now, Some(token));
    }

    /// The peer has answered a ping. None if it is not the one that was asked.
    pub(super) fn answered(&mut self, now: Instant, token: u64) -> Option<Answered> {
        let (_, asked) = self.asked.take_if(|(expected, _)| *expected == token)?;
        let heard_bye = self.bye.is_some_and(|first| token >= first);
        Some(Answered { asked, rtt: now.saturating_duration_since(asked), heard_bye })
    }

    /// Since when an answer has been missing.
    pub(super) fn asked(&self) -> Option<Instant> {
        self.asked.map(|(_, asked)| asked)
    }

    /// Whether a bye was said on the connection.
    pub(super) fn has_said_bye(&self) -> bool {
        self.bye.is_some()
    }

    // ---- looking for life -----------------------------------------------------------------------------

    /// Whether its owner is to look now. One that owes nothing is not looked at.
    pub(super) fn is_looked_at(&mut self, now: Instant, owes: bool) -> bool {
        if !owes {
            (self.look_at, self.looked) = (None, None);
            return false;
        }
        let due = *self.look_at.get_or_insert(now + LOOK) <= now;
        if due {
            self.look_at = Some(now + LOOK);
        }
        due
    }

    /// Its owner has looked: it has been silent for so long, and could be dead after `limit`.
    pub(super) fn looked(&mut self, now: Instant, silent: Duration, limit: Duration) {
        self.looked = Some((now, silent));
        self.look_at = Some(now + limit.saturating_sub(silent).clamp(LOOK_AGAIN, LOOK));
    }

    /// When its owner is to look next.
    pub(super) fn look_at(&self) -> Option<Instant> {
        self.look_at
    }

    /// Whether it was seen to be silent for this long just now.
    pub(super) fn is_silent(&self, now: Instant, limit: Duration) -> bool {
        self.looked.is_some_and(|(at, silent)| at + 2 * LOOK_AGAIN >= now && silent >= limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_ping_at_a_time_and_only_its_answer_counts() {
        let start = Instant::now();
        let mut pulse = Pulse::new(start);
        assert_eq!(pulse.due(Some(start), true), Some(start + PING));
        assert!(pulse.ask(start, 1) && !pulse.ask(start + PING, 2));
        assert_eq!((pulse.due(Some(start), true), pulse.asked()), (Some(start + PING * 2), Some(start)));
        assert_eq!(pulse.answered(start + PING, 2), None);
        let answer = Answered { asked: start, rtt: PING, heard_bye: false };
        assert_eq!(pulse.answered(start + PING, 1), Some(answer));
        assert_eq!(pulse.asked(), None);
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

    #[test]
    fn where_nothing_is_under_way_the_end_that_dials_asks_now_and_then() {
        let start = Instant::now();
        let mut pulse = Pulse::new(start);
        assert_eq!((pulse.due(None, true), pulse.due(None, false)), (Some(start + FIRST), None));
        assert!(pulse.ask(start + FIRST, 1));
        assert_eq!(pulse.due(None, true), Some(start + FIRST + REST));
        let busy = start + REST / 2;
        assert_eq!(pulse.due(Some(busy), false), Some(busy + PING), "a keystroke alone asks nobody");
    }

    #[test]
    fn who_owes_something_is_looked_at_and_more_often_where_a_death_is_near() {
        let (start, limit) = (Instant::now(), LOOK);
        let mut pulse = Pulse::new(start);
        assert!(!pulse.is_looked_at(start, false) && pulse.look_at().is_none());
        assert!(!pulse.is_looked_at(start, true) && pulse.is_looked_at(start + LOOK, true));
        pulse.looked(start + LOOK, LOOK / 2, limit);
        assert_eq!(pulse.look_at(), Some(start + LOOK * 3 / 2));
        pulse.looked(start + LOOK * 2, LOOK, limit);
        assert!(pulse.is_silent(start + LOOK * 2, limit) && !pulse.is_silent(start + LOOK * 3, limit));
    }
}
