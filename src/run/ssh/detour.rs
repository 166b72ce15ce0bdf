//! What the user is told of a session in which all goes through ssh: it costs speed and nothing else.
//!
//! What always holds: there is one line at most, and none once a direct link has worked. A short command is not worth it.

use crate::plan::Ports;
use crate::proto::event::Event;
use crate::proto::links::DialError;
use crate::ssh::Resolved;
use std::time::{Duration, Instant};

/// It is told after this time, or so many bytes.
const PATIENT: Duration = Duration::from_secs(5);
const WORTH_A_LINE: u64 = 8 << 20;

/// Why there is no direct link to `host`, where there is none. `port`: the far end's, 0 for none of `ports`.
pub fn why_none(host: &str, port: u16, ports: Option<Ports>, resolved: &Resolved) -> String {
    match (port, ports) {
        (0, Some(Ports { first, last })) if first == last => {
            format!("{host}: cannot listen on port {first} there")
        }
        (0, Some(ports)) => format!("{host}: cannot listen on any port of {ports} there"),
        (0, None) => format!("{host}: cannot listen on any port there"),
        _ if resolved.is_indirect => format!("{host}: reached through a jump host or a proxy"),
        _ => format!("{host}: ssh does not say where that is"),
    }
}

/// Why a direct link is not there, for a line that says what becomes of that. Nothing is to be asked or done then.
fn briefly(why: &DialError) -> String {
    match why {
        DialError::Refused => "refused".into(),
        DialError::Closed | DialError::Unproven(_) => "closed".into(),
        DialError::Unresolved(why) | DialError::Unanswered(why) | DialError::Unreachable(why) => why.clone(),
        DialError::TimedOut | DialError::NoWelcome | DialError::Swallowed => "no answer".into(),
    }
}

/// Whether all goes through ssh, and why. The first links of the session are direct, the last one is the connection of ssh.
#[derive(Debug)]
pub struct Detour {
    began: Instant,
    /// A connection has been up, over whichever link.
    met: bool,
    /// The user still is to be told if no direct link works.
    untold: bool,
    /// Direct links.
    links: Vec<String>,
    /// Why that is certain.
    why: Option<String>,
}

impl Detour {
    /// These are the direct links; `none`: why there are none.
    pub fn new(began: Instant, links: Vec<String>, none: Option<String>) -> Self {
        Detour { began, met: false, untold: true, links, why: none }
    }

    /// The session tells this.
    pub fn heed(&mut self, event: &Event) {
        match event {
            Event::ConnectionUp { link, .. } => {
                self.met = true;
                // a direct link works
                self.untold &= *link >= self.links.len();
            }
            Event::LinkDied { link, reason } => {
                let why = reason.as_ref().map_or("silent".into(), briefly);
                self.why = self.links.get(*link).map(|name| format!("{name}: {why}"));
            }
            _ => {}
        }
    }

    /// Whether the far end was met.
    pub fn has_met(&self) -> bool {
        self.met
    }

    /// Whether there may be a line yet.
    pub fn is_open(&self) -> bool {
        self.untold
    }

    /// The line, once it is certain and worth it. `over`: it will not be otherwise. `moved`: bytes of the streams so far.
    pub fn line(&mut self, now: Instant, over: bool, moved: u64) -> Option<String> {
        let late = now.saturating_duration_since(self.began) >= PATIENT;
        let certain = over || self.why.is_some();
        if !self.untold || !(late || (certain && moved >= WORTH_A_LINE)) {
            return None;
        }
        self.untold = false;
        let silent = || self.links.first().map(|name| format!("{name}: no answer"));
        let why = self.why.take().or_else(silent)?;
        Some(format!("{why}; the data goes through ssh instead"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LITTLE: u64 = WORTH_A_LINE - 1;

    fn up(link: usize) -> Event {
        Event::ConnectionUp { connection: link, link, rtt: Duration::ZERO, key: None }
    }

    fn line(detour: &mut Detour, after: Duration, moved: u64) -> Option<String> {
        detour.line(detour.began + after, false, moved)
    }

    #[test]
    fn no_direct_link_at_all_is_told_once_unless_the_command_is_short() {
        let start = || Detour::new(Instant::now(), Vec::new(), Some("backup: none".into()));
        let told = Some("backup: none; the data goes through ssh instead".to_owned());
        let mut much = start();
        assert_eq!(line(&mut much, Duration::ZERO, LITTLE), None);
        assert_eq!(line(&mut much, Duration::ZERO, WORTH_A_LINE), told);
        assert_eq!((line(&mut much, PATIENT, WORTH_A_LINE), much.is_open()), (None, false));
        assert_eq!(line(&mut start(), PATIENT, 0), told);
    }

    #[test]
    fn a_link_that_is_dead_or_silent_is_told_and_one_that_works_is_not() {
        let start = || Detour::new(Instant::now(), vec!["host:1".into()], None);
        let mut dead = start();
        assert_eq!(line(&mut dead, Duration::ZERO, WORTH_A_LINE), None, "it may work yet");
        dead.heed(&Event::LinkDied { link: 0, reason: Some(DialError::Refused) });
        let told = |why: &str| Some(format!("host:1: {why}; the data goes through ssh instead"));
        assert_eq!(line(&mut dead, Duration::ZERO, WORTH_A_LINE), told("refused"));
        assert_eq!(line(&mut start(), PATIENT, 0), told("no answer"));
        let mut over = start();
        assert_eq!(over.line(over.began, true, WORTH_A_LINE), told("no answer"));
        let mut works = start();
        assert!(!works.has_met());
        works.heed(&up(0));
        assert_eq!((line(&mut works, PATIENT, WORTH_A_LINE), works.has_met()), (None, true));
        let mut through = start();
        through.heed(&up(1));
        assert_eq!((line(&mut through, PATIENT, 0), through.has_met()), (told("no answer"), true));
    }

    #[test]
    fn why_there_is_no_direct_link_is_known() {
        let ports = Some(Ports { first: 5000, last: 5009 });
        let (plain, through) = (Resolved::default(), Resolved { is_indirect: true, ..Resolved::default() });
        for (port, ports, resolved, why) in [
            (0, ports, &through, "backup: cannot listen on any port of 5000-5009 there"),
            (0, Some(Ports { first: 5000, last: 5000 }), &plain, "backup: cannot listen on port 5000 there"),
            (0, None, &plain, "backup: cannot listen on any port there"),
            (5000, ports, &through, "backup: reached through a jump host or a proxy"),
            (5000, None, &plain, "backup: ssh does not say where that is"),
        ] {
            assert_eq!(why_none("backup", port, ports, resolved), why);
        }
    }
}
