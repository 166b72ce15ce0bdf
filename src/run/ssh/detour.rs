//! What the user is told of a session in which all goes through ssh: it costs speed and nothing else.
//!
//! What always holds: there is one line at most, none once a direct link has worked, and none while nothing goes through
//! ssh. A short command is not worth it.

use crate::plan::Ports;
use crate::proto::event::Event;
use crate::proto::links::DialError;
use crate::ssh::Resolved;
use crate::wording::LINE;
use std::time::{Duration, Instant};
use unicode_width::UnicodeWidthStr;

/// It is told after this time, or so many bytes.
const PATIENT: Duration = Duration::from_secs(5);
const WORTH_A_LINE: u64 = 8 << 20;

/// Why there is no direct link to `host`, where there is none. `port`: the far end's, 0 for none of `ports`.
pub(crate) fn why_none(host: &str, port: u16, ports: Option<Ports>, resolved: &Resolved) -> String {
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
        DialError::Unresolved(_) | DialError::Unanswered(_) | DialError::Unreachable(_) => why.to_string(),
        DialError::RefusedInWords(_) | DialError::OtherReceiver => why.to_string(),
        DialError::TimedOut | DialError::NoWelcome | DialError::Swallowed => "no answer".into(),
    }
}

/// The connection of ssh, as a link of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lifeline {
    ToCome,
    Up,
    Ended,
}

/// A direct link.
#[derive(Debug)]
struct Direct {
    name: String,
    /// Why it is dead, if it is.
    dead: Option<String>,
}

/// Whether all goes through ssh, and why. The first links of the session are direct, the last one is the lifeline.
#[derive(Debug)]
pub(crate) struct Detour {
    began: Instant,
    /// A connection has been up, over whichever link.
    met: bool,
    /// The user still is to be told if no direct link works.
    untold: bool,
    lifeline: Lifeline,
    links: Vec<Direct>,
    /// Why there are none.
    none: Option<String>,
}

impl Detour {
    /// These are the direct links; `none`: why there are none.
    pub(crate) fn new(began: Instant, links: Vec<String>, none: Option<String>) -> Self {
        let links = links.into_iter().map(|name| Direct { name, dead: None }).collect();
        Detour { began, met: false, untold: true, lifeline: Lifeline::ToCome, links, none }
    }

    /// The session tells this.
    pub(crate) fn heed(&mut self, event: &Event) {
        let direct = self.links.len();
        match event {
            Event::ConnectionUp { link, .. } if *link < direct => (self.met, self.untold) = (true, false),
            Event::ConnectionUp { .. } => (self.met, self.lifeline) = (true, Lifeline::Up),
            Event::ConnectionLost { link: Some(link), .. } if *link == direct => {
                self.lifeline = Lifeline::Ended;
            }
            Event::LinkDied { link, reason } => {
                let why = reason.as_ref().map_or("silent".into(), briefly);
                self.links.get_mut(*link).into_iter().for_each(|link| link.dead = Some(why.clone()));
            }
            _ => {}
        }
    }

    /// Whether the far end was met.
    pub(crate) fn has_met(&self) -> bool {
        self.met
    }

    /// Whether there may be a line before the end.
    pub(crate) fn is_open(&self) -> bool {
        self.untold && self.lifeline != Lifeline::Ended
    }

    /// The line, once it is certain and worth it. `over`: the session is, and has brought the end of the command.
    /// `moved`: bytes of the streams so far.
    pub(crate) fn line(&mut self, now: Instant, over: bool, moved: u64) -> Option<String> {
        let goes_through = over || self.lifeline == Lifeline::Up;
        let late = now.saturating_duration_since(self.began) >= PATIENT;
        let certain = over || self.links.iter().all(|link| link.dead.is_some());
        if !self.untold || !goes_through || !(late || (certain && moved >= WORTH_A_LINE)) {
            return None;
        }
        self.untold = false;
        let (why, shorter) = self.why();
        let told = |why: &str| format!("{why}; the data goes through ssh instead");
        let line = told(&why);
        Some(if line.width() > LINE { told(&shorter.unwrap_or(why)) } else { line })
    }

    /// Why it does, in full; and shorter, if there are several reasons.
    fn why(&self) -> (String, Option<String>) {
        let each = |link: &Direct| format!("{}: {}", link.name, link.dead.as_deref().unwrap_or("no answer"));
        let why: Vec<_> = self.links.iter().map(each).collect();
        let shorter = (why.len() > 1).then(|| format!("none of {} direct links works", why.len()));
        (self.none.clone().unwrap_or_else(|| why.join(", ")), shorter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::links::LossReason;

    const LITTLE: u64 = WORTH_A_LINE - 1;

    fn up(link: usize) -> Event {
        Event::ConnectionUp { connection: link, link, rtt: Duration::ZERO, key: None }
    }

    fn line(detour: &mut Detour, after: Duration, moved: u64) -> Option<String> {
        detour.line(detour.began + after, false, moved)
    }

    /// With the connection of ssh up.
    fn started(links: &[&str], none: Option<&str>) -> Detour {
        let names = links.iter().map(ToString::to_string).collect();
        let mut detour = Detour::new(Instant::now(), names, none.map(str::to_owned));
        detour.heed(&up(links.len()));
        detour
    }

    fn dies(detour: &mut Detour, link: usize, why: DialError) {
        detour.heed(&Event::LinkDied { link, reason: Some(why) });
    }

    /// The connection on this link ends.
    fn ends(detour: &mut Detour, link: usize) {
        let (connection, reason) = (link, LossReason::Closed);
        let (link, again, strange) = (Some(link), 0, false);
        detour.heed(&Event::ConnectionLost { connection, link, reason, again, strange });
    }

    fn told(why: &str) -> Option<String> {
        Some(format!("{why}; the data goes through ssh instead"))
    }

    #[test]
    fn no_direct_link_at_all_is_told_once_unless_the_command_is_short() {
        let start = || started(&[], Some("backup: none"));
        let mut much = start();
        assert_eq!(line(&mut much, Duration::ZERO, LITTLE), None);
        assert_eq!(line(&mut much, Duration::ZERO, WORTH_A_LINE), told("backup: none"));
        assert_eq!((line(&mut much, PATIENT, WORTH_A_LINE), much.is_open()), (None, false));
        assert_eq!(line(&mut start(), PATIENT, 0), told("backup: none"));
    }

    #[test]
    fn a_link_that_is_dead_or_silent_is_told_and_one_that_works_is_not() {
        let start = || started(&["host:1"], None);
        let mut dead = start();
        assert_eq!(line(&mut dead, Duration::ZERO, WORTH_A_LINE), None, "it may work yet");
        dies(&mut dead, 0, DialError::Refused);
        assert_eq!(line(&mut dead, Duration::ZERO, WORTH_A_LINE), told("host:1: refused"));
        assert_eq!(line(&mut start(), PATIENT, 0), told("host:1: no answer"));
        let mut works = start();
        works.heed(&up(0));
        assert_eq!(line(&mut works, PATIENT, WORTH_A_LINE), None);
    }

    #[test]
    fn whoever_answers_and_refuses_is_quoted() {
        for (why, because) in [
            (DialError::RefusedInWords("so many are enough".into()), "host:1: so many are enough"),
            (DialError::OtherReceiver, "host:1: another receiver; all links must lead to one"),
        ] {
            let mut dead = started(&["host:1"], None);
            dies(&mut dead, 0, why);
            assert_eq!(line(&mut dead, PATIENT, 0), told(because));
        }
    }

    #[test]
    fn of_several_links_each_must_be_dead_and_is_named() {
        let mut detour = started(&["a:1", "b:1"], None);
        dies(&mut detour, 0, DialError::Refused);
        assert_eq!(line(&mut detour, Duration::ZERO, WORTH_A_LINE), None, "the second one may work yet");
        dies(&mut detour, 1, DialError::TimedOut);
        let both = told("a:1: refused, b:1: no answer");
        assert_eq!(line(&mut detour, Duration::ZERO, WORTH_A_LINE), both);
    }

    #[test]
    fn the_line_fits_a_terminal_however_many_links_there_are() {
        let names = ["backup-1.example.org:18806", "backup-2.example.org:18806"];
        let mut detour = started(&names, None);
        let line = line(&mut detour, PATIENT, 0).unwrap();
        assert!(line.width() <= LINE, "{line}");
        assert_eq!(Some(line), told("none of 2 direct links works"));
    }

    #[test]
    fn nothing_is_told_while_nothing_goes_through_ssh() {
        let mut unmet = Detour::new(Instant::now(), vec!["host:1".into()], None);
        assert_eq!((line(&mut unmet, PATIENT, WORTH_A_LINE), unmet.has_met()), (None, false));
        let mut ended = started(&["host:1"], None);
        assert!(ended.is_open() && ended.has_met());
        ends(&mut ended, 1);
        assert_eq!((line(&mut ended, PATIENT, WORTH_A_LINE), ended.is_open()), (None, false));
    }

    #[test]
    fn at_the_end_all_went_through_ssh_whichever_end_closed_it_first() {
        for ends_first in [false, true] {
            let mut detour = started(&["host:1"], None);
            if ends_first {
                ends(&mut detour, 1);
            }
            assert_eq!(detour.line(detour.began, true, LITTLE), None);
            assert_eq!(detour.line(detour.began, true, WORTH_A_LINE), told("host:1: no answer"));
        }
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
