//! What a report needs to remember: rates, and where the time went. The level of compression follows the time that the
//! network took. Costs a few additions per event.

use crate::proto::leg::{CONNECTIONS_MAX, LINKS_MAX};
use crate::proto::sched::Meter;
use crate::report::Waited;
use std::time::{Duration, Instant};

/// A rate that is shown is measured over so long: long enough not to jump when the output takes bytes in bursts.
const SPAN: Duration = Duration::from_secs(4);

/// What a direction waits for at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Cause {
    /// There is no connection yet: this is not counted.
    #[default]
    Nobody,
    /// The network, or whatever cannot be told from it.
    Network,
    /// The input.
    Input,
    /// The output.
    Output,
    /// The user's own `rate` or `delayus`.
    Pacing,
}

/// The memory of one stream's reports.
pub(crate) struct Meters {
    started: Instant,
    met: Option<Instant>,
    delivered: u64,
    total: Meter,
    links: Vec<Meter>,
    connections: Vec<Meter>,
    waited: Waited,
    /// What the stream waits for, and from when on that is still to be accounted.
    cause: (Cause, Instant),
}

impl Meters {
    /// Nothing has happened.
    pub(crate) fn new(now: Instant) -> Self {
        Meters {
            started: now,
            met: None,
            delivered: 0,
            total: Meter::over(SPAN),
            links: vec![Meter::over(SPAN); LINKS_MAX],
            connections: vec![Meter::over(SPAN); CONNECTIONS_MAX],
            waited: Waited::default(),
            cause: (Cause::default(), now),
        }
    }

    /// A connection is up.
    pub(crate) fn meet(&mut self, now: Instant) {
        self.met.get_or_insert(now);
    }

    /// Whether there has been a connection.
    pub(crate) fn has_met(&self) -> bool {
        self.met.is_some()
    }

    /// A leg went over a connection.
    pub(crate) fn leg(&mut self, now: Instant, connection: usize, link: Option<usize>, bytes: u64) {
        self.connections[connection].add(now, bytes);
        if let Some(link) = link {
            self.links[link].add(now, bytes);
        }
    }

    /// The output has taken so much in all.
    pub(crate) fn delivered(&mut self, now: Instant, bytes: u64) {
        let more = bytes.saturating_sub(self.delivered);
        if more > 0 {
            self.delivered = bytes;
            self.total.add(now, more);
        }
    }

    /// The stream waits for this from now on.
    pub(crate) fn wait_for(&mut self, now: Instant, cause: Cause) {
        if cause != self.cause.0 {
            self.account(now);
            self.cause.0 = cause;
        }
    }

    /// Adds the time since this was done last to what the stream waits for.
    fn account(&mut self, now: Instant) {
        let (before, since) = self.cause;
        self.cause.1 = now;
        let spent = now.saturating_duration_since(since);
        match before {
            Cause::Nobody => {}
            Cause::Network => self.waited.network += spent,
            Cause::Input => self.waited.input += spent,
            Cause::Output => self.waited.output += spent,
            Cause::Pacing => self.waited.pacing += spent,
        }
    }

    /// Where the time went, as of now.
    pub(crate) fn waited(&mut self, now: Instant) -> Waited {
        self.account(now);
        self.waited
    }

    /// The time since the first connection; without one, since the start.
    pub(crate) fn elapsed(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.met.unwrap_or(self.started))
    }

    /// Bytes a second that the output takes, of late.
    pub(crate) fn rate(&mut self, now: Instant) -> f64 {
        match self.elapsed(now) {
            young if young < SPAN => self.delivered as f64 / young.as_secs_f64().max(0.001),
            _ => self.total.rate(now).unwrap_or_default(),
        }
    }

    /// Bytes of the stream a second over a link.
    pub(crate) fn link_rate(&mut self, now: Instant, link: usize) -> f64 {
        self.links[link].rate(now).unwrap_or_default()
    }

    /// Bytes of the stream a second over a connection.
    pub(crate) fn connection_rate(&mut self, now: Instant, connection: usize) -> f64 {
        self.connections[connection].rate(now).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_accounted_to_what_was_waited_for() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut meters = Meters::new(start);
        meters.wait_for(at(5), Cause::Network);
        meters.wait_for(at(7), Cause::Input);
        meters.wait_for(at(8), Cause::Input);
        meters.wait_for(at(10), Cause::Output);
        let waited = meters.waited(at(11));
        let secs = Duration::from_secs;
        assert_eq!(waited, Waited { network: secs(2), input: secs(3), output: secs(1), ..Waited::default() });
        assert_eq!(meters.waited(at(12)).output, secs(2), "asking goes on counting");
    }

    #[test]
    fn time_begins_with_the_first_connection() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut meters = Meters::new(start);
        assert_eq!(meters.elapsed(at(9)), Duration::from_secs(9));
        meters.meet(at(10));
        meters.meet(at(11));
        assert_eq!(meters.elapsed(at(12)), Duration::from_secs(2));
    }

    #[test]
    fn what_was_delivered_never_shrinks() {
        let now = Instant::now();
        let mut meters = Meters::new(now);
        meters.delivered(now, 100);
        meters.delivered(now, 50);
        meters.delivered(now, 150);
        assert_eq!(meters.rate(now + Duration::from_millis(500)), 300.0);
        assert_eq!(meters.rate(now + SPAN + SPAN), 0.0);
    }
}
