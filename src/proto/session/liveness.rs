//! Whether connections live: when they are pinged, when they are examined, and which of them are dead.
//!
//! A connection is silent only while it owes an answer, to a ping or to a leg. Its silence is judged by what the other
//! connections on its link do meanwhile. If they answer what was sent after the silence began, the link works, and the
//! silent connection is soon taken for dead. If no connection answers, the link may only be slow, and the limit is longer.
//! Then one connection is given up early and dialled anew, since its welcome would show that the others are dead. Only a
//! death that was judged by the longer limit can have been a false one.

use super::super::kernel::Signs;
use super::super::life::{PEER_SILENCE, Silence, limit_beside_others};
use super::super::links::LossReason;
use super::super::way::Way;
use super::super::wire::Frame;
use super::ownership::Whereabouts;
use super::pulse::PING;
use super::{Action, Outbound, Session};
use std::time::{Duration, Instant};

/// After a leg that was not small, the next one is expected for so long: a path that forgets all connections is noticed by
/// the end that receives too, which may be the one that dials.
const GOES_ON: Duration = Duration::from_secs(10);

/// What a look at a connection comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finding {
    Lives,
    /// It is dead beyond doubt, or given up for another.
    GivenUp,
    /// It has been silent since then, for longer than is usual.
    TooLong(Instant),
}

impl Session {
    /// The answer to [`Action::Look`]: the connection has nothing to read now, and shows these signs.
    pub fn examined(&mut self, now: Instant, connection: usize, signs: Signs) {
        let since = now.checked_sub(signs.silence.kernel).unwrap_or(now);
        self.taken(connection, since, signs.taken);
        if signs.swallowed {
            self.stuck(now, connection, since);
        }
        self.quiet(now, connection, signs.silence);
    }

    /// A connection has shown no life for so long.
    pub(super) fn quiet(&mut self, now: Instant, connection: usize, silence: Silence) {
        match self.examine(now, connection, silence) {
            Finding::Lives => {}
            Finding::GivenUp => self.give_up_silent(now, connection, None),
            Finding::TooLong(since) => self.give_up_silent(now, connection, Some(since)),
        }
        self.step(now);
    }

    /// Gives up a connection as silent. `since`: when its silence began, if the death may be a false one.
    fn give_up_silent(&mut self, now: Instant, connection: usize, since: Option<Instant>) {
        let link = self.link_of(connection);
        self.give_up(now, connection, LossReason::Silent);
        link.into_iter().for_each(|link| self.leniency.lost(now, connection, link, since));
    }

    fn examine(&mut self, now: Instant, connection: usize, silence: Silence) -> Finding {
        let owed_since = self.owed_since(connection).filter(|_| !self.is_done(Way::Out));
        let link = self.sending.as_ref().and_then(|sending| sending.link_of(connection));
        let pulse = self.pulses.get(connection).copied();
        let (Some(owed_since), Some(link), Some(pulse)) = (owed_since, link, pulse) else {
            return Finding::Lives;
        };
        // whoever carries it knows better, and there is no other in its place
        if self.lifeline == Some(link) {
            return Finding::Lives;
        }
        // before it owed anything, it was not silent
        let owed_for = now.saturating_duration_since(owed_since);
        let (peer, kernel) = (silence.peer.min(owed_for), silence.kernel.min(owed_for));
        let silence = Silence { peer, kernel, ..silence };
        let asked = pulse.asked().filter(|asked| !self.is_answer_behind(now, connection, *asked, silence));
        let asked_for = asked.map_or(Duration::ZERO, |asked| now.saturating_duration_since(asked));
        let lasts = silence.lasts(asked_for);
        let rtt = self.rtt_for_limits(now, connection, pulse.up(), silence.kernel);
        let soon = self.sending.as_ref().and_then(|sending| sending.drain_time(link));
        // legs that are with the peer's programs are acknowledged late: what comes meanwhile are its answers, one a second
        let through = self.sending.as_ref().is_some_and(|sending| sending.through);
        let least = if through { PING * 3 } else { Duration::ZERO };
        let soon = soon.map(|drain| limit_beside_others(rtt, drain).max(least));
        self.pulses.looked(now, connection, lasts, soon.unwrap_or_default());
        let since = now.checked_sub(lasts).unwrap_or(now);
        match soon.filter(|soon| lasts >= *soon) {
            Some(_) if self.answers[link].prove_dead(now, since, rtt) => Finding::GivenUp,
            Some(soon)
                if !self.answers[link].any_since(since) && self.is_replaced(now, connection, link, soon) =>
            {
                Finding::GivenUp
            }
            _ if silence.is_death(asked_for, rtt, self.leniency.of(link)) => Finding::TooLong(since),
            _ => Finding::Lives,
        }
    }

    /// The round trip by which the silence of a connection is judged that came `up` then, and whose peer's kernel has
    /// taken nothing for so long. That of the handshake may be TCP's back-off. Only what came through since confirms that
    /// it was the path.
    fn rtt_for_limits(&self, now: Instant, connection: usize, up: Instant, kernel: Duration) -> Duration {
        let rtt = self.rtt_of(connection);
        let untried = kernel + Duration::from_millis(100) >= now.saturating_duration_since(up);
        if untried { rtt.min(Duration::from_secs(1)) } else { rtt }
    }

    /// Whether the answer to what was `asked` then may just be behind legs that the peer had to send first: in that case
    /// whatever comes from it is life. Its kernel has taken all that was sent to it; should that have come no further, then
    /// a peer that sends legs notices by itself that it hears nothing.
    fn is_answer_behind(&self, now: Instant, connection: usize, asked: Instant, silence: Silence) -> bool {
        let since = self.acknowledging.brought(connection).map_or(asked, |brought| brought.max(asked));
        let sends = self.is_going(Way::In) && now < since + PEER_SILENCE;
        !silence.waits && sends
    }

    /// Whether a silent connection is given up and dialled anew because every other on its link that owes anything is
    /// silent too. One at a time.
    fn is_replaced(&self, now: Instant, connection: usize, link: usize, limit: Duration) -> bool {
        if !self.ownership.dials() {
            return false;
        }
        let mates = || (0..self.connections()).filter(|mate| self.link_of(*mate) == Some(link));
        let dialled = |other| matches!(self.whereabouts(other), Whereabouts::Down | Whereabouts::Dialling(_));
        let silent = |mate: usize| {
            let seen = self.pulses.get(mate).is_some_and(|pulse| pulse.is_silent(now, limit));
            mate == connection || !self.owes(mate) || seen
        };
        mates().count() > 1 && !(0..self.connections()).any(dialled) && mates().all(silent)
    }

    /// Whether a connection owes an answer to what was sent on it.
    fn owes(&self, connection: usize) -> bool {
        self.owed_since(connection).is_some()
    }

    /// Since when a connection has owed an answer to what was sent on it; None if it owes none.
    fn owed_since(&self, connection: usize) -> Option<Instant> {
        let asked = self.pulses.get(connection)?.asked();
        let leg = self.sending.as_ref().and_then(|sending| sending.sender().oldest_sent(connection));
        asked.into_iter().chain(leg).min()
    }

    fn rtt_of(&self, connection: usize) -> Duration {
        let pace = self.sending.as_ref().and_then(|sending| sending.sender().pace(connection));
        pace.and_then(|pace| pace.rtt()).unwrap_or_default()
    }

    /// Something that was sent on a connection at that time has been answered.
    pub(super) fn note_answer(&mut self, now: Instant, connection: usize, sent: Instant, welcome: bool) {
        let rtt = self.rtt_of(connection);
        if let Some(link) = self.sending.as_ref().and_then(|sending| sending.link_of(connection)) {
            self.answers[link].heard(now, sent, rtt, welcome);
            self.ownership.answered(now, link);
        }
    }

    /// A ping on every connection where one is due.
    pub(super) fn ping(&mut self, now: Instant) {
        // a stream that was judged before its end rests no more: this end waits for the other one's
        let comes = self.came.is_some_and(|at| now < at + GOES_ON);
        let rests = |sending: &Outbound| sending.is_resting() && self.is_going(Way::Out) && !comes;
        let resting = self.sending.as_ref().is_none_or(rests);
        self.busy = if resting { None } else { self.busy.or(Some(now)) };
        let (busy, dials) = (self.busy, self.ownership.dials());
        if self.is_done(Way::Out) {
            return;
        }
        for connection in self.pulses.due_now(now, busy, dials).iter() {
            if let Some(token) = self.pulses.ask(now, connection) {
                self.say(now, connection, Frame::Ping { token });
            }
        }
    }

    /// Asks the owner to look at the connections where that is due.
    pub(super) fn look(&mut self, now: Instant) {
        let wanted = !self.is_done(Way::Out);
        let given = self.sending.as_ref().map(|sending| sending.sender().busy()).unwrap_or_default();
        self.actions.extend(self.pulses.look(now, given, wanted).iter().map(Action::Look));
    }

    /// When a ping or a look is due.
    pub(super) fn watch_deadline(&self) -> Option<Instant> {
        let times = [self.pulses.due(self.busy, self.ownership.dials()), self.pulses.look_at()];
        times.into_iter().flatten().min().filter(|_| !self.is_done(Way::Out))
    }
}
