//! How long a side waits without a connection, and when the user hears of it.

use std::time::{Duration, Instant};

/// How long tx waits for a first connection, unless told otherwise.
pub const PATIENCE_BEFORE: Patience = Patience::For(Duration::from_secs(60));
/// How long a begun session waits with no working connection, unless told otherwise.
pub const PATIENCE_BEGUN: Patience = Patience::For(Duration::from_secs(3600));
/// With keys, what anybody on the way can say for the peer is believed after so long, where it would be believed sooner
/// without: that it refuses, or has closed every connection. Routers, forwards and firewalls that restart do that for a
/// minute or two.
pub const ANYBODYS_WORD: Duration = Duration::from_secs(300);
/// For how long at most the last word is repeated to a peer that asks.
const LINGER: Duration = Duration::from_secs(60);
/// For how long at most a sender of one stream, which knows how that ended, looks for a receiver that may not know that it
/// does: as long as it takes to notice a dead connection and to dial another one.
pub const PARTING: Duration = Duration::from_secs(10);
/// A program of `through` that neither reads nor writes for so long is not waited for. Whoever waits for what it makes waits
/// so much longer.
pub const PROGRAM_STALLS: Duration = Duration::from_secs(30);
/// Trouble shorter than this is not told.
const QUIET: Duration = Duration::from_secs(5);
/// The user is reminded of waiting this often.
const REMIND: Duration = Duration::from_secs(60);

/// How long a session waits with no working connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// It never gives up.
    ForEver,
    /// This long; never zero.
    For(Duration),
}

impl Patience {
    /// When it ends, if it began then.
    pub fn ends(self, began: Instant) -> Option<Instant> {
        match self {
            Patience::ForEver => None,
            Patience::For(time) => Some(began + time),
        }
    }
}

/// How long the last word is repeated to whoever asks, with the patience that the user gave.
pub fn linger(patience: Option<Patience>) -> Duration {
    match patience {
        Some(Patience::For(time)) => time.min(LINGER),
        Some(Patience::ForEver) | None => LINGER,
    }
}

/// Tells the user of waiting: after 5 s, and again every minute. Decides when, not whether: its owner
/// knows if there still is something to wait for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reminder {
    at: Option<Instant>,
    /// Whether the user has been told, and is to hear that it is over.
    told: bool,
}

impl Reminder {
    /// Waiting begins now.
    pub fn starting(now: Instant) -> Self {
        Reminder { at: Some(now + QUIET), told: false }
    }

    /// Waiting begins now, unless it has begun before.
    pub fn start(&mut self, now: Instant) {
        self.at.get_or_insert(now + QUIET);
    }

    /// Waiting begins now, whatever was before.
    pub fn restart(&mut self, now: Instant) {
        self.at = Some(now + QUIET);
    }

    /// There is nothing to wait for at the moment.
    pub fn stop(&mut self) {
        self.at = None;
    }

    /// When the user is to be told next.
    pub fn at(&self) -> Option<Instant> {
        self.at
    }

    /// Whether the user is to be told now. Asking counts: the next time is later.
    pub fn is_due(&mut self, now: Instant) -> bool {
        let due = self.at.is_some_and(|at| at <= now);
        if due {
            self.at = Some(now + REMIND);
        }
        due
    }

    /// The user is told now. Gives how long the waiting goes on, if it `ends`.
    pub fn tell(&mut self, now: Instant, ends: Option<Instant>) -> Option<Duration> {
        self.told = true;
        ends.map(|at| at.saturating_duration_since(now))
    }

    /// Waiting is over. True if the user was told of the waiting, and so is to be told that it is over.
    pub fn over(&mut self) -> bool {
        self.at = None;
        std::mem::take(&mut self.told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_waiting_is_told_and_only_what_was_told_is_taken_back() {
        let start = Instant::now();
        let mut reminder = Reminder::starting(start);
        assert!(!reminder.is_due(start));
        assert!(!reminder.over(), "nobody was told");
        assert!(!reminder.is_due(start + QUIET), "it is over");

        reminder.start(start);
        reminder.start(start + QUIET);
        assert!(reminder.is_due(start + QUIET) && !reminder.is_due(start + QUIET));
        assert_eq!(reminder.tell(start, Some(start + REMIND)), Some(REMIND));
        assert_eq!(reminder.at(), Some(start + QUIET + REMIND));
        assert_eq!(reminder.tell(start, None), None);
        assert!(reminder.over());
        assert_eq!((reminder.over(), reminder.at()), (false, None));
    }
}
