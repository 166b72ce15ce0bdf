//! The words for what a session tells the user: one line for each [`Event`].
//!
//! Pure: links and keys are named by the caller, who also decides from [`Event::level`] whether the line is wanted.

use crate::proto::event::Event;
use crate::proto::links::LossReason;
use crate::proto::peer_key::PeerKey;
use std::time::Duration;

/// The line for an event, without the program's name. `links` gives the name of a link as the user typed it, `keys` the
/// name of a peer's key.
pub fn word(event: &Event, links: &dyn Fn(usize) -> String, keys: &dyn Fn(PeerKey) -> String) -> String {
    match event {
        Event::SessionBegins => "a session begins".into(),
        Event::SessionForgotten => "the session that never began is forgotten".into(),
        Event::ConnectionUp { connection, link, rtt, key } => {
            let millis = rtt.as_secs_f64() * 1e3;
            let key = key.map_or(String::new(), |key| format!(", key {}", keys(key)));
            format!("{}: connection {connection} is up, round trip {millis:.1} ms{key}", links(*link))
        }
        Event::ConnectionLost { connection, link: Some(link), reason, again, .. } => {
            let s = if *again == 1 { "" } else { "s" };
            format!("{}: connection {connection} lost ({reason}), {again} leg{s} to send again", links(*link))
        }
        Event::ConnectionLost { connection, link: None, reason, .. } => {
            let reason = match reason {
                LossReason::Closed => "closed by the sender".into(),
                reason => reason.to_string(),
            };
            format!("connection {connection} lost ({reason})")
        }
        Event::LinkDied { link, reason } => {
            let reason = reason.as_ref().map_or("silent".into(), ToString::to_string);
            format!("{}: {reason}; passed over until it answers", links(*link))
        }
        Event::LinkWorksAgain { link, connection, others } => {
            let who = match others {
                0 => format!("connection {connection} comes"),
                1 => format!("connection {connection} and another one come"),
                others => format!("connection {connection} and {others} others come"),
            };
            format!("{}: answers again; {who} back to it", links(*link))
        }
        Event::LinkRefused { link, sentence, .. } => format!("{}: refused: {sentence}", links(*link)),
        Event::SmallerSegments { link, size } => {
            format!("{}: large packets get lost there; trying segments of {size} bytes", links(*link))
        }
        Event::OtherReceiver { link } => {
            format!("{}: another receiver answers there; all links must lead to one", links(*link))
        }
        Event::Rescued { sequence, connection } => {
            format!("leg {sequence} overtaken on connection {connection}, rescued")
        }
        Event::Waiting { troubles, left } => {
            let troubles = each_link(troubles, links);
            format!("no connection works ({troubles}); {}", until(*left, "trying until one does"))
        }
        Event::ReceiverBusy { link, left } => {
            let until = until(*left, "waiting for its end");
            format!("{}: the receiver is busy with another session; {until}", links(*link))
        }
        Event::SenderAway { left } => {
            format!("no connection from the sender; {}", until(*left, "waiting until it comes back"))
        }
        Event::WorksAgain { begun: true } => "the transfer goes on".into(),
        Event::WorksAgain { begun: false } => "a connection works; the transfer begins".into(),
    }
}

/// What is wrong with each link, in order.
fn each_link(troubles: &[String], links: &dyn Fn(usize) -> String) -> String {
    let one = |(link, trouble): (usize, &String)| {
        format!("{}: {}", links(link), if trouble.is_empty() { "no answer yet" } else { trouble })
    };
    troubles.iter().enumerate().map(one).collect::<Vec<_>>().join("; ")
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

    #[test]
    fn whose_key_a_connection_has_is_said_where_there_are_keys() {
        let up = |key| Event::ConnectionUp { connection: 3, link: 1, rtt: Duration::from_millis(2), key };
        assert_eq!(worded(&up(None)), "host1: connection 3 is up, round trip 2.0 ms");
        let keyed = "host1: connection 3 is up, round trip 2.0 ms, key of 7";
        assert_eq!(worded(&up(Some(PeerKey([7; 32])))), keyed);
    }

    #[test]
    fn waiting_names_every_link_and_says_when_it_ends() {
        let troubles = vec!["connection refused".into(), String::new()];
        let mut event = Event::Waiting { troubles, left: Some(Duration::from_millis(54_900)) };
        let links = "no connection works (host0: connection refused; host1: no answer yet); ";
        assert_eq!(worded(&event), format!("{links}giving up in 54 s"));
        let Event::Waiting { left, .. } = &mut event else { unreachable!() };
        *left = None;
        assert_eq!(worded(&event), format!("{links}trying until one does"));
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
