//! The words for what a session tells the user: one line for each [`Event`].
//!
//! Pure: links and keys are named by the caller, who also decides from [`Event::level`] whether the line is wanted.

use crate::proto::event::Event;
use crate::proto::links::{DialError, LossReason};
use crate::proto::peer_key::PeerKey;
use std::time::Duration;
use unicode_width::UnicodeWidthStr;

/// Columns of a line that fits a terminal of 80 with the program's name before it.
pub(crate) const LINE: usize = 80 - "millipede: ".len();

/// The line for an event, without the program's name. `links` gives the name of a link as the user typed it, `keys` the
/// name of a peer's key.
pub(crate) fn word(
    event: &Event,
    links: &dyn Fn(usize) -> String,
    keys: &dyn Fn(PeerKey) -> String,
) -> String {
    match event {
        Event::SessionBegins => "a session begins".into(),
        Event::SessionForgotten => "the session that never began is forgotten".into(),
        Event::ConnectionUp { connection, link, rtt, key } => {
            let millis = rtt.as_secs_f64() * 1e3;
            let key = key.map_or(String::new(), |key| format!(", key {}", keys(key)));
            format!("{}: connection {connection} is up, round trip {millis:.1} ms{key}", links(*link))
        }
        Event::ConnectionLost { connection, link, reason, again, .. } => {
            lost(*connection, link.map(links), reason, *again)
        }
        Event::LinkDied { link, reason } => {
            let reason = reason.as_ref().map_or("silent".into(), ToString::to_string);
            format!("{}: {reason}; passed over until it answers", links(*link))
        }
        Event::LinkWorksAgain { link, connection, others } => {
            format!("{}: answers again; {} back to it", links(*link), come(*connection, *others))
        }
        Event::LinkRefused { link, sentence, .. } => format!("{}: refused: {sentence}", links(*link)),
        Event::SmallerSegments { link, size } => {
            format!("{}: large packets get lost; using {size} bytes", links(*link))
        }
        Event::OtherReceiver { link } => format!("{}: {}", links(*link), DialError::OtherReceiver),
        Event::Rescued { sequence, connection } => {
            format!("leg {sequence} overtaken on connection {connection}, rescued")
        }
        Event::Waiting { troubles, left } => waiting(troubles, links, &until(*left, "trying until one does")),
        Event::ReceiverBusy { link, sentence, left } => {
            let why = if sentence.is_empty() { "busy" } else { sentence };
            format!("{}: {why}; {}", links(*link), until(*left, "waiting for its turn"))
        }
        Event::SenderAway { left } => {
            format!("no connection from the sender; {}", until(*left, "waiting until it comes back"))
        }
        Event::WorksAgain { begun: true } => "the transfer goes on".into(),
        Event::WorksAgain { begun: false } => "a connection works; the transfer begins".into(),
    }
}

/// A connection is lost, and so many legs with it: on a link that was dialled, or one that a sender dialled.
fn lost(connection: usize, link: Option<String>, reason: &LossReason, again: usize) -> String {
    match (link, reason) {
        (Some(link), reason) => {
            let s = if again == 1 { "" } else { "s" };
            format!("{link}: connection {connection} lost ({reason}), {again} leg{s} to send again")
        }
        (None, LossReason::Closed) => format!("connection {connection} lost (closed by the sender)"),
        (None, reason) => format!("connection {connection} lost ({reason})"),
    }
}

/// This connection and so many others come.
fn come(connection: usize, others: usize) -> String {
    match others {
        0 => format!("connection {connection} comes"),
        1 => format!("connection {connection} and another one come"),
        others => format!("connection {connection} and {others} others come"),
    }
}

/// What is wrong with each link, in order; less of it where the line would not fit a terminal beside the live line.
fn waiting(troubles: &[String], links: &dyn Fn(usize) -> String, until: &str) -> String {
    let troubles = troubles.iter().map(|trouble| if trouble.is_empty() { "no answer yet" } else { trouble });
    let troubles: Vec<&str> = troubles.collect();
    let each = |told: &[&str]| {
        let one = |(link, trouble): (usize, &&str)| format!("{}: {trouble}", links(link));
        told.iter().enumerate().map(one).collect::<Vec<_>>().join("; ")
    };
    // what happened, without what that may mean
    let briefly: Vec<_> =
        troubles.iter().map(|trouble| trouble.split(": ").next().unwrap_or(trouble)).collect();
    let mut kinds = briefly.clone();
    kinds.sort_unstable();
    kinds.dedup();
    let all = troubles.len();
    let whole = format!("no connection works ({}); {until}", each(&troubles));
    let shorter = match all {
        1 => [each(&troubles), each(&briefly)].map(|told| format!("{told}; {until}")).to_vec(),
        _ => vec![
            format!("no connection works ({}); {until}", each(&briefly)),
            format!("none of {all} links works ({}); {until}", kinds.join(", ")),
            format!("none of {all} links works; {until}"),
        ],
    };
    let shortest = shorter.last().cloned();
    let mut lines = [whole].into_iter().chain(shorter);
    lines.find(|line| line.width() <= LINE).or(shortest).unwrap_or_default()
}

/// How long is still waited.
fn until(left: Option<Duration>, for_ever: &str) -> String {
    left.map_or(for_ever.into(), |left| format!("giving up in {} s", left.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worded(event: &Event) -> String {
        word(event, &|link| format!("host{link}"), &|PeerKey(bytes)| format!("of {}", bytes[0]))
    }

    /// With a link of ordinary length.
    fn far(event: &Event) -> String {
        word(event, &|_| "192.168.1.7:8834".to_owned(), &|_| String::new())
    }

    #[test]
    fn whose_key_a_connection_has_is_said_where_there_are_keys() {
        let up = |key| Event::ConnectionUp { connection: 3, link: 1, rtt: Duration::from_millis(2), key };
        assert_eq!(worded(&up(None)), "host1: connection 3 is up, round trip 2.0 ms");
        let keyed = "host1: connection 3 is up, round trip 2.0 ms, key of 7";
        assert_eq!(worded(&up(Some(PeerKey([7; 32])))), keyed);
    }

    #[test]
    fn waiting_names_every_link_and_says_when_it_ends() {
        let troubles = vec!["silent".into(), "refused".into()];
        let mut event = Event::Waiting { troubles, left: Some(Duration::from_millis(54_900)) };
        let links = "no connection works (a0: silent; a1: refused); ";
        assert_eq!(
            word(&event, &|link| format!("a{link}"), &|_| String::new()),
            format!("{links}giving up in 54 s")
        );
        let Event::Waiting { left, .. } = &mut event else { unreachable!() };
        *left = None;
        assert_eq!(
            word(&event, &|link| format!("a{link}"), &|_| String::new()),
            format!("{links}trying until one does")
        );
    }

    #[test]
    fn waiting_fits_a_terminal_whatever_the_trouble_is() {
        let closed = DialError::Closed.to_string();
        for (troubles, line) in [
            (vec!["silent"], "no connection works (192.168.1.7:8834: silent); giving up in 3595 s"),
            (vec!["connection refused"], "192.168.1.7:8834: connection refused; giving up in 3595 s"),
            (vec![&closed], "192.168.1.7:8834: accepted, then closed; giving up in 3595 s"),
            (vec!["silent"; 2], "none of 2 links works (silent); giving up in 3595 s"),
            (vec!["silent", "connection refused", &closed], "none of 3 links works; giving up in 3595 s"),
        ] {
            let left = Some(Duration::from_secs(3595));
            let event = Event::Waiting { troubles: troubles.into_iter().map(String::from).collect(), left };
            assert_eq!(far(&event), line);
            assert!(line.width() <= LINE, "{line}");
        }
    }

    #[test]
    fn what_happens_in_ordinary_trouble_fits_a_terminal() {
        let left = Some(Duration::from_secs(3595));
        for event in [
            Event::SmallerSegments { link: 0, size: 1220 },
            Event::OtherReceiver { link: 0 },
            Event::ReceiverBusy { link: 0, sentence: "busy with another session".into(), left },
            Event::SenderAway { left },
            Event::WorksAgain { begun: false },
            Event::LinkDied { link: 0, reason: Some(DialError::Refused) },
            Event::LinkDied { link: 0, reason: None },
        ] {
            assert!(far(&event).width() <= LINE, "{}", far(&event));
        }
    }

    #[test]
    fn a_transfer_goes_on_only_if_it_has_begun() {
        assert_eq!(worded(&Event::WorksAgain { begun: true }), "the transfer goes on");
        assert!(!worded(&Event::WorksAgain { begun: false }).contains("goes on"));
    }

    #[test]
    fn who_closed_a_connection_is_named_as_this_end_sees_it() {
        let lost = |link| Event::ConnectionLost {
            connection: 3,
            link,
            reason: LossReason::Closed,
            again: 2,
            strange: false,
        };
        assert_eq!(worded(&lost(None)), "connection 3 lost (closed by the sender)");
        let sender = "host1: connection 3 lost (closed by the peer), 2 legs to send again";
        assert_eq!(worded(&lost(Some(1))), sender);
    }

    #[test]
    fn why_a_connection_is_lost_is_said_in_a_few_words() {
        for (reason, why) in [
            (LossReason::Swallows, "large segments do not get through"),
            (LossReason::TakesNoComplaints, "brings damaged legs and takes no complaints"),
            (LossReason::Failed("connection reset".into()), "connection reset"),
        ] {
            let lost = |link| {
                let reason = reason.clone();
                Event::ConnectionLost { connection: 3, link, reason, again: 1, strange: false }
            };
            let line = format!("host1: connection 3 lost ({why}), 1 leg to send again");
            assert_eq!(worded(&lost(Some(1))), line);
            assert_eq!(worded(&lost(None)), format!("connection 3 lost ({why})"));
        }
    }

    #[test]
    fn why_a_link_died_is_said_in_a_few_words_or_in_those_of_whoever_answered() {
        let other = "another receiver; all links must lead to one";
        for (reason, why) in [
            (DialError::RefusedInWords("busy with another session".into()), "busy with another session"),
            (DialError::OtherReceiver, other),
            (DialError::Unreachable("no route to host".into()), "no route to host"),
        ] {
            let line = format!("host1: {why}; passed over until it answers");
            assert_eq!(worded(&Event::LinkDied { link: 1, reason: Some(reason) }), line);
        }
        assert_eq!(worded(&Event::OtherReceiver { link: 1 }), format!("host1: {other}"));
    }

    #[test]
    fn connections_that_come_back_are_counted() {
        for (others, who) in [
            (0, "connection 3 comes"),
            (1, "connection 3 and another one come"),
            (2, "connection 3 and 2 others come"),
        ] {
            let event = Event::LinkWorksAgain { link: 1, connection: 3, others };
            assert_eq!(worded(&event), format!("host1: answers again; {who} back to it"));
        }
    }

    #[test]
    fn events_of_links_begin_with_the_link() {
        for event in [
            Event::LinkDied { link: 1, reason: None },
            Event::LinkRefused { link: 1, sentence: "busy".into(), begun: true },
            Event::LinkWorksAgain { link: 1, connection: 0, others: 1 },
            Event::OtherReceiver { link: 1 },
        ] {
            assert!(worded(&event).starts_with("host1: "), "{event:?}");
        }
    }
}
