//! The pulses of all connections that are up, and which connections need attention.
//!
//! After every event the session asks whether a connection is to be pinged or examined. So that this costs little, what all
//! pulses say together is kept here, and only the connections that owe an answer are gone through.

use super::super::leg::CONNECTIONS_MAX;
use super::super::set::ConnectionSet;
use super::pulse::{Answered, PING, Pulse};
use std::time::{Duration, Instant};

/// When pings are due first.
#[derive(Clone, Copy, Debug)]
struct First {
    /// When the latest ping of each connection was due; of these times the earliest.
    last: Instant,
    /// When the end that dials next sends a ping while the streams rest.
    resting: Instant,
}

/// The pulses of a session.
#[derive(Debug, Default)]
pub(super) struct Pulses {
    each: [Option<Pulse>; CONNECTIONS_MAX],
    /// The connections that have a pulse.
    up: ConnectionSet,
    /// Connections that were asked and have not answered.
    asked: ConnectionSet,
    /// Connections that are to be looked at, now or later. A connection that was looked at and still owes something is
    /// among them.
    watched: ConnectionSet,
    /// None while no connection is up.
    first: Option<First>,
    /// The last token that was given out, whether or not its ping went out.
    token: u64,
}

impl Pulses {
    /// A connection is up.
    pub(super) fn up(&mut self, now: Instant, connection: usize) {
        self.gone(connection);
        self.each[connection] = Some(Pulse::new(now));
        self.up.insert(connection);
        self.find_first();
    }

    /// A connection is gone.
    pub(super) fn gone(&mut self, connection: usize) {
        self.each[connection] = None;
        for set in [&mut self.up, &mut self.asked, &mut self.watched] {
            set.remove(connection);
        }
        self.find_first();
    }

    /// The pulse of a connection that is up.
    pub(super) fn get(&self, connection: usize) -> Option<&Pulse> {
        self.each[connection].as_ref()
    }

    /// Whether nobody is up.
    pub(super) fn is_empty(&self) -> bool {
        self.up.is_empty()
    }

    // ---- pings ----------------------------------------------------------------------------------------

    /// When the first ping is due; see [`Pulse::due`].
    pub(super) fn due(&self, busy: Option<Instant>, dials: bool) -> Option<Instant> {
        let First { last, resting } = self.first?;
        busy.map(|since| last.max(since) + PING).or(dials.then_some(resting))
    }

    /// Where one is due now.
    pub(super) fn due_now(&self, now: Instant, busy: Option<Instant>, dials: bool) -> ConnectionSet {
        if self.due(busy, dials).is_none_or(|at| at > now) {
            return ConnectionSet::EMPTY;
        }
        let due = |pulse: &Pulse| pulse.due(busy, dials).is_some_and(|at| at <= now);
        self.up.iter().filter(|connection| self.get(*connection).is_some_and(due)).collect()
    }

    /// See [`Pulse::ask`]. The token of the ping, if one goes out.
    pub(super) fn ask(&mut self, now: Instant, connection: usize) -> Option<u64> {
        let token = self.next_token();
        let asks = self.each[connection].as_mut()?.ask(now, token);
        self.asked.insert(connection);
        self.find_first();
        asks.then_some(token)
    }

    /// See [`Pulse::say_bye`]. The token of the ping, if the connection is up.
    pub(super) fn say_bye(&mut self, now: Instant, connection: usize) -> Option<u64> {
        let token = self.next_token();
        self.each[connection].as_mut()?.say_bye(now, token);
        self.asked.insert(connection);
        self.find_first();
        Some(token)
    }

    fn next_token(&mut self) -> u64 {
        self.token += 1;
        self.token
    }

    /// See [`Pulse::answered`].
    pub(super) fn answered(&mut self, now: Instant, connection: usize, token: u64) -> Option<Answered> {
        let answer = self.each[connection].as_mut()?.answered(now, token)?;
        self.asked.remove(connection);
        Some(answer)
    }

    fn find_first(&mut self) {
        let pulses = || self.each.iter().flatten();
        let resting = pulses().filter_map(|pulse| pulse.due(None, true)).min();
        let last = pulses().map(Pulse::last).min();
        self.first = last.zip(resting).map(|(last, resting)| First { last, resting });
    }

    // ---- looking for life -----------------------------------------------------------------------------

    /// The connections whose owners are to look now. A connection owes an answer if it was asked, where pings are `wanted`,
    /// or if it was given legs.
    pub(super) fn look(&mut self, now: Instant, given: ConnectionSet, wanted: bool) -> ConnectionSet {
        let owe = if wanted { (self.asked | given) & self.up } else { ConnectionSet::EMPTY };
        let mut look = ConnectionSet::EMPTY;
        for connection in (self.watched | owe).iter() {
            let owes = owe.contains(connection);
            let pulse = self.each[connection].as_mut();
            if pulse.is_some_and(|pulse| pulse.is_looked_at(now, owes)) {
                look.insert(connection);
            }
        }
        self.watched = owe;
        look
    }

    /// See [`Pulse::looked`].
    pub(super) fn looked(&mut self, now: Instant, connection: usize, silent: Duration, limit: Duration) {
        if let Some(pulse) = &mut self.each[connection] {
            pulse.looked(now, silent, limit);
            self.watched.insert(connection);
        }
    }

    /// When an owner is to look next.
    pub(super) fn look_at(&self) -> Option<Instant> {
        self.watched.iter().filter_map(|connection| self.get(connection)?.look_at()).min()
    }
}

#[cfg(test)]
mod tests {
    use super::super::pulse::{FIRST, LOOK, REST};
    use super::*;

    fn set(connections: &[usize]) -> ConnectionSet {
        connections.iter().copied().collect()
    }

    #[test]
    fn what_is_due_first_is_what_the_pulses_say() {
        let (mut pulses, start) = (Pulses::default(), Instant::now());
        assert_eq!((pulses.due(Some(start), true), pulses.is_empty()), (None, true));
        pulses.up(start, 3);
        pulses.up(start + FIRST / 2, 1);
        assert_eq!((pulses.due(None, true), pulses.due(None, false)), (Some(start + FIRST), None));
        assert_eq!(pulses.due_now(start + FIRST, None, true), set(&[3]));
        assert_eq!(pulses.ask(start + FIRST, 3), Some(1));
        assert_eq!(pulses.due(None, true), Some(start + FIRST / 2 + FIRST));
        pulses.gone(1);
        assert_eq!(pulses.due(None, true), Some(start + FIRST + REST));
        let busy = Some(start + REST / 2);
        assert_eq!(pulses.due(busy, false), Some(start + REST / 2 + PING));
        assert_eq!(pulses.due_now(start + REST / 2 + PING, busy, false), set(&[3]));
        assert!(pulses.due_now(start + REST / 2, busy, false).is_empty());
    }

    #[test]
    fn those_are_looked_at_that_owe_something() {
        let (mut pulses, start) = (Pulses::default(), Instant::now());
        for connection in [0, 5, 9] {
            pulses.up(start, connection);
        }
        assert_eq!((pulses.ask(start, 5), pulses.ask(start, 2)), (Some(1), None));
        assert!(pulses.look(start, set(&[9]), true).is_empty());
        assert_eq!(pulses.look_at(), Some(start + LOOK));
        assert_eq!(pulses.look(start + LOOK, set(&[9, 11]), true), set(&[5, 9]), "the others are not up");
        pulses.answered(start + LOOK, 5, 1);
        assert_eq!(pulses.look(start + LOOK * 2, set(&[9]), true), set(&[9]));
        assert!(pulses.look(start + LOOK * 2, set(&[9]), false).is_empty());
        assert_eq!(pulses.look_at(), None, "nobody owes anything");
        assert!(pulses.look(start + LOOK * 2, set(&[9]), true).is_empty(), "the time begins anew");
    }
}
