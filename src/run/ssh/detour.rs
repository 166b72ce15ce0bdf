//! What the user is told of a session in which all goes through ssh: it costs speed and nothing else.
//!
//! What always holds: there is one line at most, and none once a direct link has worked. A short command is not worth it.

use crate::plan::Ports;
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

/// Whether all goes through ssh, and why.
#[derive(Debug)]
pub struct Detour {
    began: Instant,
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
        Detour { began, untold: true, links, why: none }
    }

    /// A direct link works.
    pub fn note_works(&mut self) {
        self.untold = false;
    }

    /// A direct link is dead, for this reason.
    pub fn note_dead(&mut self, link: usize, why: &str) {
        self.why = self.links.get(link).map(|name| format!("{name}: {why}"));
    }

    /// Whether there may be a line yet.
    pub fn is_open(&self) -> bool {
        self.untold
    }

    /// The line, once it is certain and worth it. `over`: it will not be otherwise. `moved`: bytes of the streams so far.
    pub fn line(&mut self, now: Instant, over: bool, moved: impl FnOnce() -> u64) -> Option<String> {
        let late = now.saturating_duration_since(self.began) >= PATIENT;
        let certain = over || self.why.is_some();
        if !self.untold || !(late || (certain && moved() >= WORTH_A_LINE)) {
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

    fn line(detour: &mut Detour, after: Duration, moved: u64) -> Option<String> {
        detour.line(detour.began + after, false, || moved)
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
        dead.note_dead(0, "refused");
        let told = |why: &str| Some(format!("host:1: {why}; the data goes through ssh instead"));
        assert_eq!(line(&mut dead, Duration::ZERO, WORTH_A_LINE), told("refused"));
        assert_eq!(line(&mut start(), PATIENT, 0), told("no answer"));
        let mut over = start();
        assert_eq!(over.line(over.began, true, || WORTH_A_LINE), told("no answer"));
        let mut works = start();
        works.note_works();
        assert_eq!(line(&mut works, PATIENT, WORTH_A_LINE), None);
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
