//! One link: how far its life is, the moves that are legal there, and what is counted beside it.
//!
//! Decides nothing about connections. What always holds: no failure counts against a link that has a connection up.

use super::reason::{DialError, LossReason};
use std::time::{Duration, Instant};

/// A link of the end that dials.
pub(super) struct Link {
    /// The connection that stays with this link and probes it; none if there are more links than connections.
    pub(super) keeper: Option<usize>,
    /// The link is dialled by its keeper alone, and once.
    pub(super) lifeline: bool,
    state: LinkState,
    up: usize,
    dialling: usize,
    /// When the last of its connections was lost; none while one is up, or if none has been.
    down_since: Option<Instant>,
    /// What the attempt that failed last has shown, until one succeeds. That may be beside a connection that is up.
    shown: Option<Shown>,
    /// What went wrong last.
    last: String,
}

/// What a failed attempt may show of a link, whatever its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    /// Its name has no address.
    Unresolved,
    /// Whoever answers has not proved its key.
    Unproven,
}

impl Link {
    pub(super) fn new(keeper: Option<usize>) -> Self {
        Link {
            keeper,
            lifeline: false,
            state: LinkState::Untried,
            up: 0,
            dialling: 0,
            down_since: None,
            shown: None,
            last: String::new(),
        }
    }

    // ---- what happens to it ---------------------------------------------------------------------------

    /// A connection is dialled on it.
    pub(super) fn dial(&mut self) {
        self.dialling += 1;
        self.advance(LinkMove::Dial);
    }

    /// An attempt succeeded.
    pub(super) fn welcome(&mut self) {
        self.dialling -= 1;
        self.up += 1;
        (self.down_since, self.shown) = (None, None);
        self.advance(LinkMove::Welcome);
    }

    /// An attempt is over, and has said nothing of the link.
    pub(super) fn put_off(&mut self) {
        self.dialling -= 1;
    }

    /// An attempt failed. `pause` is how long a link is left alone that has failed so many times in a row. True if the
    /// link has died of it.
    pub(super) fn fail(
        &mut self,
        now: Instant,
        why: &DialError,
        pause: impl FnOnce(u32) -> Duration,
    ) -> bool {
        self.dialling -= 1;
        self.last = why.to_string();
        self.shown = match why {
            DialError::Unresolved(_) => Some(Shown::Unresolved),
            DialError::Unproven(_) => Some(Shown::Unproven),
            _ => None,
        };
        // where others are up, only this connection has trouble; a lifeline has one attempt, and ends with it
        if self.up > 0 || self.lifeline {
            return false;
        }
        let died = !self.state.has_failed();
        let probe_at = self.state.failures_to_pause(now).map(|failures| now + pause(failures));
        self.advance(LinkMove::Fail { at: now, why, probe_at });
        died
    }

    /// An attempt was answered by a refusal for good.
    pub(super) fn condemn(&mut self, sentence: &str) {
        self.dialling -= 1;
        sentence.clone_into(&mut self.last);
        self.advance(LinkMove::Condemn(sentence));
    }

    /// A connection is gone that was up. True if the link has died of it.
    pub(super) fn lose(&mut self, now: Instant, why: &LossReason) -> bool {
        self.up -= 1;
        self.down_since = (self.up == 0).then_some(now);
        match why {
            LossReason::Left => return false,
            LossReason::Closed if self.lifeline => "ended".clone_into(&mut self.last),
            why => self.last = why.to_string(),
        }
        let died = *why == LossReason::Silent && self.up == 0 && !self.lifeline;
        if died {
            self.advance(LinkMove::Silence(now));
        }
        died
    }

    /// It was a lifeline, and is gone for what went wrong last.
    pub(super) fn end(&mut self) {
        let last = self.last.clone();
        self.advance(LinkMove::Condemn(&last));
    }

    fn advance(&mut self, step: LinkMove) {
        match self.state.next(step) {
            Some(next) => self.state = next,
            // whoever has lost count of a link must not end a transfer in the field
            None => debug_assert!(false, "{step:?} is no move of a link that is {:?}", self.state),
        }
    }

    // ---- what is asked of it --------------------------------------------------------------------------

    pub(super) fn state(&self) -> &LinkState {
        &self.state
    }

    pub(super) fn up(&self) -> usize {
        self.up
    }

    pub(super) fn dialling(&self) -> usize {
        self.dialling
    }

    /// Whether its keeper has still to dial the link for the first time.
    pub(super) fn is_to_be_tried(&self) -> bool {
        self.state == LinkState::Untried && self.keeper.is_some()
    }

    /// Whether it is dead and may be probed now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.dialling == 0 && self.state.probe_at().is_some_and(|at| at <= now)
    }

    /// Whether a connection of it has been up.
    pub(super) fn is_proven(&self) -> bool {
        self.up > 0 || self.down_since.is_some()
    }

    /// When the last of its connections was lost; none while one is up, or if none has been.
    pub(super) fn down_since(&self) -> Option<Instant> {
        self.down_since
    }

    /// Whether its name has no address.
    pub(super) fn is_unresolved(&self) -> bool {
        self.shown == Some(Shown::Unresolved)
    }

    /// Whether whoever answered last has not proved its key.
    pub(super) fn is_unproven(&self) -> bool {
        self.shown == Some(Shown::Unproven)
    }

    /// Why it is bad, or what went wrong last; empty if nothing has.
    pub(super) fn trouble(&self) -> &str {
        self.state.sentence().unwrap_or(&self.last)
    }
}

/// How far the life of a link is.
///
/// ```text
///           Dial           Fail, Silence
///  Untried ──────▶ Usable ───────────────▶ Dead
///                    │ ▲      Welcome        │
///                    │ ╰─────────────────────┤
///                    │ Condemn               │ Condemn
///                    ╰──────────▶ Bad ◀──────╯
///  Dial, Welcome: Usable stays Usable
///  Dial, Fail: Dead stays Dead; Fail may make its pause longer
///  Welcome, Fail, Silence, Condemn: Bad stays Bad; Condemn gives it a new sentence
/// ```
///
/// A link that turns out bad may have connections up and attempts under way. What becomes of these is kept in `dead`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LinkState {
    /// Nobody has dialled it. It is as usable as one that works.
    Untried,
    /// It was dialled, and has not failed since it last had a connection up.
    Usable,
    /// It is probed with pauses.
    Dead(Probing),
    /// Never to be dialled again.
    Bad {
        /// Why.
        sentence: String,
        /// How it would be probed if it were not bad; none if it has not failed since it last had a connection up. The
        /// user is told once of each death, of a bad link too.
        dead: Option<Probing>,
    },
}

/// How a dead link is probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Probing {
    /// Attempts that failed in a row, one counted per pause. That the link fell silent counts as one.
    failures: u32,
    /// How many of these had no answer in time.
    timeouts: u32,
    /// When the pause is over.
    probe_at: Instant,
    /// Since when all attempts were refused, with no other answer.
    refused: Option<Instant>,
}

/// What happens to a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkMove<'a> {
    /// A connection is dialled on it.
    Dial,
    /// An attempt succeeded.
    Welcome,
    /// An attempt failed while no connection was up.
    Fail {
        /// When it failed.
        at: Instant,
        /// Why it failed.
        why: &'a DialError,
        /// When the next pause is over; None while the last one goes on, see [`LinkState::failures_to_pause`].
        probe_at: Option<Instant>,
    },
    /// Its last connection was lost for its silence, at that time.
    Silence(Instant),
    /// It is not to be dialled again, and why.
    Condemn(&'a str),
}

impl LinkState {
    /// The state after a move; None if the move is not legal.
    pub(super) fn next(&self, step: LinkMove) -> Option<LinkState> {
        use LinkState::{Bad, Dead, Untried, Usable};
        match (self, step) {
            (Untried | Usable, LinkMove::Dial) => Some(Usable),
            (Dead(probing), LinkMove::Dial) => Some(Dead(*probing)),
            (Usable | Dead(_), LinkMove::Welcome) => Some(Usable),
            (Usable | Dead(_), LinkMove::Fail { at, why, probe_at }) => {
                Probing::after_failure(self.probing(), at, why, probe_at).map(Dead)
            }
            (Usable, LinkMove::Silence(at)) => Some(Dead(Probing::after_silence(at))),
            (Usable | Dead(_) | Bad { .. }, LinkMove::Condemn(sentence)) => {
                Some(Bad { sentence: sentence.to_owned(), dead: self.probing().copied() })
            }
            (Bad { sentence, .. }, LinkMove::Welcome) => Some(Bad { sentence: sentence.clone(), dead: None }),
            (Bad { sentence, dead }, LinkMove::Fail { at, why, probe_at }) => {
                let dead = Some(Probing::after_failure(dead.as_ref(), at, why, probe_at)?);
                Some(Bad { sentence: sentence.clone(), dead })
            }
            (Bad { sentence, dead: None }, LinkMove::Silence(at)) => {
                Some(Bad { sentence: sentence.clone(), dead: Some(Probing::after_silence(at)) })
            }
            _ => None,
        }
    }

    /// How a dead link is probed, or a bad one would be.
    fn probing(&self) -> Option<&Probing> {
        match self {
            LinkState::Dead(probing) | LinkState::Bad { dead: Some(probing), .. } => Some(probing),
            LinkState::Untried | LinkState::Usable | LinkState::Bad { dead: None, .. } => None,
        }
    }

    /// Whether it has failed since it last had a connection up, be it bad or not.
    fn has_failed(&self) -> bool {
        self.probing().is_some()
    }

    /// How many failures in a row the next pause is for, if an attempt fails now; None while a pause goes on.
    fn failures_to_pause(&self, now: Instant) -> Option<u32> {
        self.probing().map_or(Some(1), |probing| (probing.probe_at <= now).then_some(probing.failures + 1))
    }

    /// How it is probed, if it is dead. A bad link is not.
    fn dead(&self) -> Option<&Probing> {
        self.probing().filter(|_| !self.is_bad())
    }

    /// Whether connections may go there, as many as like to.
    pub(super) fn is_usable(&self) -> bool {
        matches!(self, LinkState::Untried | LinkState::Usable)
    }

    /// Whether it is never to be dialled again.
    pub(super) fn is_bad(&self) -> bool {
        self.sentence().is_some()
    }

    /// Why it is never to be dialled again, if so.
    pub(super) fn sentence(&self) -> Option<&str> {
        match self {
            LinkState::Bad { sentence, .. } => Some(sentence),
            LinkState::Untried | LinkState::Usable | LinkState::Dead(_) => None,
        }
    }

    /// When its pause is over, if it is dead.
    pub(super) fn probe_at(&self) -> Option<Instant> {
        self.dead().map(|probing| probing.probe_at)
    }

    /// Since when all attempts were refused, if it is dead and they were.
    pub(super) fn refused_since(&self) -> Option<Instant> {
        self.dead()?.refused
    }

    /// How many of the failures that count had no answer in time, if it is dead.
    pub(super) fn timeouts(&self) -> u32 {
        self.dead().map_or(0, |probing| probing.timeouts)
    }
}

impl Probing {
    /// After one more attempt that failed. None if there is no pause to go on.
    fn after_failure(
        before: Option<&Probing>,
        at: Instant,
        why: &DialError,
        probe_at: Option<Instant>,
    ) -> Option<Probing> {
        let refused = why.is_refusal().then(|| before.and_then(|probing| probing.refused).unwrap_or(at));
        let Some(probe_at) = probe_at else { return before.map(|probing| Probing { refused, ..*probing }) };
        let (failures, timeouts) = before.map_or((0, 0), |probing| (probing.failures, probing.timeouts));
        let timeouts = timeouts + u32::from(why.is_silence());
        Some(Probing { failures: failures + 1, timeouts, probe_at, refused })
    }

    /// After the last connection was lost for its silence: the link is probed at once.
    fn after_silence(at: Instant) -> Probing {
        Probing { failures: 1, timeouts: 0, probe_at: at, refused: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probing(failures: u32, timeouts: u32, probe_at: Instant, refused: Option<Instant>) -> Probing {
        Probing { failures, timeouts, probe_at, refused }
    }

    fn bad(sentence: &str, dead: Option<Probing>) -> Option<LinkState> {
        Some(LinkState::Bad { sentence: sentence.to_owned(), dead })
    }

    #[test]
    fn every_pair_of_state_and_move_is_legal_or_not() {
        use LinkState::{Dead, Untried, Usable};
        let start = Instant::now();
        let (at, next) = (start + Duration::from_secs(1), Some(start + Duration::from_secs(2)));
        let before = probing(2, 1, at, Some(start));
        let states =
            [Some(Untried), Some(Usable), Some(Dead(before)), bad("a", None), bad("a", Some(before))];
        let moves = [
            LinkMove::Dial,
            LinkMove::Welcome,
            LinkMove::Fail { at, why: &DialError::Refused, probe_at: next },
            LinkMove::Fail { at, why: &DialError::TimedOut, probe_at: None },
            LinkMove::Silence(at),
            LinkMove::Condemn("b"),
        ];
        let table =
            states.clone().map(|state| moves.map(|step| state.as_ref().and_then(|one| one.next(step))));
        let first = probing(1, 0, at + Duration::from_secs(1), Some(at));
        let third = probing(3, 1, at + Duration::from_secs(1), Some(start));
        let (in_pause, silent) = (probing(2, 1, at, None), probing(1, 0, at, None));
        let usable = || Some(Usable);
        let dead = |probing| Some(Dead(probing));
        assert_eq!(
            table,
            [
                [usable(), None, None, None, None, None],
                [usable(), usable(), dead(first), None, dead(silent), bad("b", None)],
                [dead(before), usable(), dead(third), dead(in_pause), None, bad("b", Some(before))],
                [None, bad("a", None), bad("a", Some(first)), None, bad("a", Some(silent)), bad("b", None)],
                [
                    None,
                    bad("a", None),
                    bad("a", Some(third)),
                    bad("a", Some(in_pause)),
                    None,
                    bad("b", Some(before))
                ],
            ]
        );
    }

    #[test]
    fn failures_within_a_pause_count_once_and_a_bad_link_is_not_probed() {
        let start = Instant::now();
        let later = start + Duration::from_secs(1);
        assert_eq!(LinkState::Untried.failures_to_pause(start), Some(1));
        let dead = LinkState::Dead(probing(2, 1, later, Some(start)));
        assert_eq!((dead.failures_to_pause(start), dead.failures_to_pause(later)), (None, Some(3)));
        assert_eq!((dead.probe_at(), dead.refused_since(), dead.timeouts()), (Some(later), Some(start), 1));
        let Some(bad) = dead.next(LinkMove::Condemn("b")) else {
            unreachable!("a dead link may turn out bad")
        };
        assert_eq!((bad.probe_at(), bad.refused_since(), bad.timeouts()), (None, None, 0));
        assert!(bad.has_failed() && bad.is_bad() && !bad.is_usable());
    }
}
