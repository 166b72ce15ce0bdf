//! What a report needs to remember: rates, where the time went, and who asked.
//!
//! Nothing is decided by it. It costs a few additions per burst of events.

use super::Asker;
use crate::proto::leg::{CONNECTIONS_MAX, LINKS_MAX};
use crate::proto::sched::Meter;
use crate::report::{Snapshot, Waited};
use crossbeam_channel::Sender;
use std::time::{Duration, Instant};

/// How far back a rate looks that is shown: long enough not to jump when the output takes bytes in bursts.
const SPAN: Duration = Duration::from_secs(4);

/// What a direction waits for at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cause {
    /// There is no connection yet: this is not counted.
    #[default]
    Nobody,
    /// The network, or whatever cannot be told from it.
    Network,
    /// The input.
    Input,
    /// The output.
    Output,
}

/// The memory of one direction's reports.
pub struct Tally {
    started: Instant,
    met: Option<Instant>,
    delivered: u64,
    total: Meter,
    links: Vec<Meter>,
    connections: Vec<Meter>,
    waited: Waited,
    /// What is waited for, and since when that is accounted.
    cause: (Cause, Instant),
    asker: Option<Sender<Snapshot>>,
}

impl Tally {
    /// Nothing has happened.
    pub fn new(now: Instant) -> Self {
        Tally {
            started: now,
            met: None,
            delivered: 0,
            total: Meter::over(SPAN),
            links: vec![Meter::over(SPAN); LINKS_MAX],
            connections: vec![Meter::over(SPAN); CONNECTIONS_MAX],
            waited: Waited::default(),
            cause: (Cause::default(), now),
            asker: None,
        }
    }

    /// A connection is up.
    pub fn meet(&mut self, now: Instant) {
        self.met.get_or_insert(now);
    }

    /// Whether there has been a connection.
    pub fn has_met(&self) -> bool {
        self.met.is_some()
    }

    /// A leg went over a connection.
    pub fn leg(&mut self, now: Instant, connection: usize, link: Option<usize>, bytes: u64) {
        self.connections[connection].add(now, bytes);
        if let Some(link) = link {
            self.links[link].add(now, bytes);
        }
    }

    /// The output has taken so much in all.
    pub fn delivered(&mut self, now: Instant, bytes: u64) {
        let more = bytes.saturating_sub(self.delivered);
        if more > 0 {
            self.delivered = bytes;
            self.total.add(now, more);
        }
    }

    /// From now on this is waited for.
    pub fn wait_for(&mut self, now: Instant, cause: Cause) {
        let (before, since) = std::mem::replace(&mut self.cause, (cause, now));
        let spent = now.saturating_duration_since(since);
        match before {
            Cause::Nobody => {}
            Cause::Network => self.waited.network += spent,
            Cause::Input => self.waited.input += spent,
            Cause::Output => self.waited.output += spent,
        }
    }

    /// Where the time went, as of now.
    pub fn waited(&mut self, now: Instant) -> Waited {
        self.wait_for(now, self.cause.0);
        self.waited
    }

    /// Since the first connection, or else since the start.
    pub fn elapsed(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.met.unwrap_or(self.started))
    }

    /// Bytes a second that the output takes, of late.
    pub fn rate(&mut self, now: Instant) -> f64 {
        match self.elapsed(now) {
            young if young < SPAN => self.delivered as f64 / young.as_secs_f64().max(0.001),
            _ => self.total.rate(now).unwrap_or_default(),
        }
    }

    /// The same over a link.
    pub fn link_rate(&mut self, now: Instant, link: usize) -> f64 {
        self.links[link].rate(now).unwrap_or_default()
    }

    /// The same over a connection.
    pub fn connection_rate(&mut self, now: Instant, connection: usize) -> f64 {
        self.connections[connection].rate(now).unwrap_or_default()
    }

    /// Answers, and remembers whom to tell about the end.
    pub fn answer(&mut self, asker: Asker, snapshot: Snapshot) {
        // nobody listens any more: it came too late
        let _ = asker.snapshots.send(snapshot);
        self.asker = Some(asker.snapshots);
    }

    /// Tells of the end whoever has asked before.
    pub fn last(&mut self, snapshot: impl FnOnce(&mut Self) -> Snapshot) {
        if let Some(asker) = self.asker.take() {
            let _ = asker.send(snapshot(self));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_accounted_to_what_was_waited_for() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut tally = Tally::new(start);
        tally.wait_for(at(5), Cause::Network);
        tally.wait_for(at(7), Cause::Input);
        tally.wait_for(at(8), Cause::Input);
        tally.wait_for(at(10), Cause::Output);
        let waited = tally.waited(at(11));
        let secs = Duration::from_secs;
        assert_eq!(waited, Waited { network: secs(2), input: secs(3), output: secs(1), ..Waited::default() });
        assert_eq!(tally.waited(at(12)).output, secs(2), "asking goes on counting");
    }

    #[test]
    fn time_begins_with_the_first_connection() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut tally = Tally::new(start);
        assert_eq!(tally.elapsed(at(9)), Duration::from_secs(9));
        tally.meet(at(10));
        tally.meet(at(11));
        assert_eq!(tally.elapsed(at(12)), Duration::from_secs(2));
    }

    #[test]
    fn what_was_delivered_never_shrinks() {
        let now = Instant::now();
        let mut tally = Tally::new(now);
        tally.delivered(now, 100);
        tally.delivered(now, 50);
        tally.delivered(now, 150);
        assert_eq!(tally.rate(now + Duration::from_millis(500)), 300.0);
        assert_eq!(tally.rate(now + SPAN + SPAN), 0.0);
    }
}
