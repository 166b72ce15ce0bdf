//! When a connection is dead, and what time it is for that.
//!
//! Both sides measure the silence of their connections ([`Silence`]) in a time without the gaps in which this
//! process did not run ([`Steady`]), so that nobody is blamed for those. Whoever was wronged is given more time
//! ([`Leniency`]). Nothing here knows legs; what a death means to a link is for [`super::links`] to say.

use super::leg::{CONNECTIONS_MAX, LINKS_MAX};
use std::time::{Duration, Instant};

/// The limit of silence for a connection without queues: three round trips and this.
const SILENCE: Duration = Duration::from_secs(3);
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// A connection whose kernel still makes progress, but whose peer says nothing for so long, is dead too.
pub const PEER_SILENCE: Duration = Duration::from_secs(30);
/// The receiving side only clears away what nobody uses any more.
pub const REAP: Duration = Duration::from_secs(60);
/// As [`REAP`], for a connection that another program keeps alive. That program knows better how long TCP may go on
/// trying, which is about 15 minutes; after 20 minutes the program itself is stuck.
pub const REAP_BORROWED: Duration = Duration::from_secs(1200);

/// This long after a false death, a link has the ordinary limit of silence again.
const FORGIVEN: Duration = Duration::from_secs(300);

/// For how long one connection has shown no life, in either of the two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silence {
    /// Since the last byte from the peer.
    pub peer: Duration,
    /// Since the peer's kernel last took bytes of ours.
    pub kernel: Duration,
    /// Whether the peer's kernel still has to take something of ours.
    pub waits: bool,
}

impl Silence {
    /// For how long there has been no life. Nor is it life that the peer speaks unasked, if its kernel takes
    /// nothing and a ping was `asked` a long time ago: then nothing gets there. That takes twice as
    /// long to believe, as on a crowded slow link a connection's kernel may pause for several seconds.
    pub fn lasts(&self, asked: Duration) -> Duration {
        self.peer.max(asked / 2).min(self.kernel)
    }

    /// Whether the sending side calls the connection dead: no life at all for 3 RTT + 3 s (more on a link
    /// that was wronged before), or no byte from the peer for 30 s whatever its kernel does.
    pub fn is_death(&self, asked: Duration, rtt: Duration, lenience: u32) -> bool {
        let limit = ((rtt * 3 + SILENCE) * lenience).min(SILENCE_MAX.max(rtt * 3 + SILENCE));
        self.lasts(asked) >= limit || self.peer >= PEER_SILENCE.max(limit)
    }
}

/// How long a connection may be silent while others on its link answer, or while all are silent and one of them is to
/// be dialled anew: max(1 s, 4 RTT), and twice the time in which the link should bring all that it was given.
pub fn limit_beside_others(rtt: Duration, drain: Duration) -> Duration {
    AT_LEAST.max(rtt * 4).max(drain * 2)
}

/// No silence is shorter than this: TCP sends a lone packet that is lost again within it, twice.
const AT_LEAST: Duration = Duration::from_secs(1);

/// A link on which no answer comes for so long was silent as a whole: pings alone are a second apart, and a round trip.
const PAUSE: Duration = Duration::from_millis(1500);

/// What the answers on one link prove of the connections that are silent there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answers {
    /// The latest send time among all messages that were answered.
    latest: Option<Instant>,
    /// When an answer came last.
    heard: Option<Instant>,
    /// When answers resumed after a pause. Connections that were silent for the whole pause get a moment to recover.
    back: Option<Instant>,
}

impl Answers {
    /// A message that was sent at `sent` has been answered, on a connection with this round trip. With `welcome`, the
    /// connection is new.
    pub fn heard(&mut self, now: Instant, sent: Instant, rtt: Duration, welcome: bool) {
        let pause = if welcome { AT_LEAST } else { PAUSE }.max(rtt * 4);
        if self.latest.is_some_and(|latest| latest >= sent) {
            return;
        }
        if self.heard.is_none_or(|at| now.saturating_duration_since(at) >= pause) {
            self.back = Some(now);
        }
        (self.latest, self.heard) = (Some(sent), Some(now));
    }

    /// Whether anything that was sent after that has been answered.
    pub fn any_since(&self, since: Instant) -> bool {
        self.latest.is_some_and(|latest| latest > since)
    }

    /// Whether the link has worked since a connection fell silent. Where the link had been silent as a whole, and came
    /// back, the connection has 1 s + 2 RTT for that.
    pub fn prove_dead(&self, now: Instant, since: Instant, rtt: Duration) -> bool {
        let back = self.back.filter(|back| *back > since);
        self.any_since(since) && back.is_none_or(|back| now >= back + AT_LEAST + rtt * 2)
    }
}

/// How much more silence than usual is borne on each link, because a death there was false before.
///
/// A death was false if the next connection of the same number comes up on the same link, and takes long: a path that is
/// only slow keeps that one waiting too, while what forgot a connection welcomes the next one at once. Then the limit
/// doubles, but once for a silence that many connections shared.
#[derive(Clone, Debug, Default)]
pub struct Leniency {
    /// By link: how often the limit was doubled, and when last.
    doubled: [(u32, Option<Instant>); LINKS_MAX],
    /// By connection: the link on which the last one of this number was called dead, and since when it was silent.
    silent: [Option<(usize, Instant)>; CONNECTIONS_MAX],
}

/// A welcome that takes less is prompt.
const PROMPT: Duration = Duration::from_secs(1);

/// The limit is doubled this often at most.
const DOUBLED_MAX: u32 = 5;

impl Leniency {
    /// A connection is up, so long after it was asked for.
    pub fn up(&mut self, now: Instant, connection: usize, link: usize, took: Duration) {
        let silent = self.silent[connection].take().filter(|(on, _)| *on == link && took >= PROMPT);
        let (doubled, at) = &mut self.doubled[link];
        // whatever fell silent before the limit was raised was under the old one
        if silent.is_some_and(|(_, since)| at.is_none_or(|at| since > at)) {
            *doubled = (*doubled + 1).min(DOUBLED_MAX);
            *at = Some(now);
        }
    }

    /// A connection has ended; if it was called dead, it had been silent since then.
    pub fn lost(&mut self, now: Instant, connection: usize, link: usize, silent_since: Option<Instant>) {
        let (doubled, at) = &mut self.doubled[link];
        if at.is_some_and(|at| now.saturating_duration_since(at) > FORGIVEN) {
            (*doubled, *at) = (0, None);
        }
        self.silent[connection] = silent_since.map(|since| (link, since));
    }

    /// The connection was dialled again, and that failed: so its death may have been a true one.
    pub fn failed(&mut self, connection: usize) {
        self.silent[connection] = None;
    }

    /// How many times longer than usual a connection on this link may be silent.
    pub fn of(&self, link: usize) -> u32 {
        1 << self.doubled[link].0
    }
}

/// Time as the deadlines see it: without the gaps in which this process was stopped or suspended.
///
/// Whoever comes more than a second after the time for which the clock was set finds a process that did not run, and
/// its peer may not be blamed for that time. While a death may be judged, the clock is set at most a second ahead.
#[derive(Clone, Copy, Debug, Default)]
pub struct Steady {
    missed: Duration,
}

/// Lateness up to this is a busy machine and counts.
const LATENESS_MAX: Duration = Duration::from_secs(1);

impl Steady {
    /// Nothing missed yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Steady time, given the real one and the steady time for which the clock is set.
    pub fn now(&mut self, real: Instant, armed: Option<Instant>) -> Instant {
        let now = real.checked_sub(self.missed).unwrap_or(real);
        match armed.map(|armed| (armed, now.saturating_duration_since(armed))) {
            Some((armed, late)) if late > LATENESS_MAX => {
                self.missed += late;
                armed
            }
            _ => now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn the_silent_and_the_deaf_are_dead_and_lenience_gives_them_longer() {
        let silent = |peer, kernel| Silence { peer, kernel, waits: true };
        let silence = |s: u64| silent(ms(s * 1000), ms(s * 1000));
        assert!(silence(4).is_death(ms(0), ms(100), 1) && !silence(4).is_death(ms(0), ms(100), 2));
        assert!(silence(60).is_death(ms(0), ms(100), 32));
        assert!(silent(ms(30_000), ms(0)).is_death(ms(0), ms(100), 1));
        let deaf = silent(ms(0), ms(7000));
        assert!(deaf.is_death(ms(7000), ms(100), 1) && !deaf.is_death(ms(6000), ms(100), 1));
        assert!(!silent(ms(29_000), ms(0)).is_death(ms(0), ms(100), 1));
    }

    #[test]
    fn others_that_answer_prove_a_death_and_a_link_that_comes_back_gives_time() {
        let (mut answers, start) = (Answers::default(), Instant::now());
        answers.heard(start, start - ms(20), ms(20), true);
        answers.heard(start + ms(500), start + ms(480), ms(20), false);
        let since = start + ms(100);
        assert!(answers.prove_dead(start + ms(1100), since, ms(20)));
        assert!(!answers.prove_dead(start + ms(1100), start + ms(490), ms(20)), "nothing later was answered");
        answers.heard(start + ms(4000), start + ms(3980), ms(20), false);
        assert!(!answers.prove_dead(start + ms(5039), start + ms(490), ms(20)), "it was the link");
        assert!(answers.prove_dead(start + ms(5040), start + ms(490), ms(20)));
        assert_eq!(limit_beside_others(ms(20), ms(100)), ms(1000));
        assert_eq!(limit_beside_others(ms(300), ms(700)), ms(1400));
    }

    #[test]
    fn stopped_time_does_not_count() {
        let (mut steady, start) = (Steady::new(), Instant::now());
        assert_eq!(
            steady.now(start + ms(700), Some(start + ms(500))),
            start + ms(700),
            "a busy machine is no gap"
        );
        assert_eq!(steady.now(start + ms(61_700), Some(start + ms(1700))), start + ms(1700));
        assert_eq!(steady.now(start + ms(62_000), Some(start + ms(2700))), start + ms(2000));
        assert_eq!(steady.now(start + ms(99_000), None), start + ms(39_000), "nothing was expected");
    }

    #[test]
    fn a_link_that_was_wronged_is_given_more_time() {
        let (mut leniency, start) = (Leniency::default(), Instant::now() + FORGIVEN);
        leniency.lost(start, 0, 2, Some(start));
        leniency.up(start, 0, 2, PROMPT);
        assert_eq!((leniency.of(2), leniency.of(1)), (2, 1));
        leniency.lost(start + ms(6000), 0, 2, Some(start - ms(1)));
        leniency.up(start + ms(6000), 0, 2, PROMPT);
        assert_eq!(leniency.of(2), 2, "silent since before that");
        leniency.lost(start + FORGIVEN * 2, 0, 2, Some(start + FORGIVEN));
        assert_eq!(leniency.of(2), 1, "long ago");
    }

    #[test]
    fn one_silence_of_many_connections_is_one_wrong() {
        let (mut leniency, start) = (Leniency::default(), Instant::now());
        (0..4).for_each(|connection| leniency.lost(start, connection, 0, Some(start)));
        leniency.up(start + ms(50), 0, 0, PROMPT);
        (1..4).for_each(|connection| leniency.up(start + ms(50), connection, 0, PROMPT));
        assert_eq!(leniency.of(0), 2);
    }

    #[test]
    fn only_a_silence_that_ends_on_the_same_link_is_a_wrong() {
        let (mut leniency, start) = (Leniency::default(), Instant::now());
        leniency.lost(start, 0, 0, None);
        leniency.up(start, 0, 0, PROMPT);
        leniency.lost(start, 0, 0, Some(start));
        leniency.up(start, 0, 1, PROMPT);
        leniency.lost(start, 0, 0, Some(start));
        leniency.failed(0);
        leniency.up(start, 0, 0, PROMPT);
        leniency.lost(start, 0, 0, Some(start));
        leniency.up(start, 0, 0, PROMPT - ms(1));
        assert_eq!((leniency.of(0), leniency.of(1)), (1, 1));
    }
}
