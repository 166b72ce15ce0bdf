//! The end that dials, with one stream: which connection carries what, peers that break the rules, refusals.

use super::super::super::breach::Breach;
use super::super::super::event::Event;
use super::super::super::hello::{RefusalCode, Welcome};
use super::super::super::leg::LEG_FIRST;
use super::super::super::links::{DialError, LossReason};
use super::super::super::outcome::Status;
use super::super::super::way::Way;
use super::super::super::wire::Frame;
use super::rig::*;
use std::time::Duration;

// ---- beginning ----------------------------------------------------------------------------------------

#[test]
fn all_connections_are_dialled_at_once_and_the_first_one_up_carries() {
    let mut rig = dialler(2, 4);
    let links: Vec<_> = rig.dials.iter().map(|d| (d.connection, d.link, d.attempt, d.begun)).collect();
    assert_eq!(links, [(0, 0, 1, false), (1, 1, 1, false), (2, 0, 1, false), (3, 1, 1, false)]);
    rig.input(1);
    rig.welcomed(3, 7, 0);
    assert!(rig.sent().is_empty(), "not before its path drains");
    rig.ready(3);
    assert_eq!(rig.sent(), [(3, 0)]);
}

#[test]
fn attempts_count_up_and_the_receiver_is_named_once_it_is_known() {
    let mut rig = begun(1, 2);
    rig.lost(1, LossReason::Closed);
    let again =
        Dialled { connection: 1, link: 0, attempt: 2, begun: true, instance: Some(id(7)), segment: None };
    assert_eq!(rig.dials, [again]);
}

#[test]
fn a_hello_that_had_to_wait_says_how_the_session_stands() {
    let renewed = |rig: &Rig| {
        let hello = rig.session.renewed(hello(1, 3));
        (hello.begun, hello.instance, hello.connection, hello.attempt)
    };
    assert_eq!(renewed(&Rig::dialling(1, 2, None, false)), (false, None, 1, 3));
    assert_eq!(renewed(&up(1, 2)), (false, Some(id(7)), 1, 3));
    assert_eq!(renewed(&begun(1, 2)), (true, Some(id(7)), 1, 3));
}

#[test]
fn until_something_is_received_any_receiver_will_do() {
    let mut rig = up(1, 1);
    rig.input(1);
    assert_eq!(rig.sent(), [(0, 0)]);
    rig.lost(0, LossReason::Closed);
    assert_eq!(rig.dials.last().map(|d| (d.begun, d.instance)), Some((false, None)));
    rig.welcomed(0, 8, 0);
    rig.all_ready();
    assert_eq!((rig.sent(), rig.over), (vec![(0, 0)], false));
}

#[test]
fn another_receiver_before_anything_was_received_gives_its_own_window() {
    let mut rig = up(1, 1);
    rig.lost(0, LossReason::Closed);
    let small = Welcome { edge: edge(LEN), ..welcome(8, 0) };
    rig.does(|s, now| s.welcomed(now, 0, &small, None, RTT));
    rig.input(2);
    rig.all_ready();
    rig.all_ready();
    assert_eq!(rig.sent(), [(0, 0)]);
}

// ---- which connection ---------------------------------------------------------------------------------

#[test]
fn links_are_filled_in_order_and_of_a_link_the_last_drained_first() {
    let mut rig = up(2, 4);
    rig.input(5);
    assert_eq!(rig.sent(), [(2, 0), (0, 1), (3, 2), (1, 3)], "link 0 has connections 0 and 2");
    rig.ready(1);
    rig.ready(0);
    rig.input(1);
    assert_eq!(rig.sent(), [(1, 4), (0, 5)]);
}

#[test]
fn the_second_link_has_nothing_while_the_first_drains() {
    let mut rig = up(2, 4);
    for _ in 0..10 {
        rig.input(1);
        let (connection, _) = rig.sent()[0];
        assert_eq!(connection, 2);
        rig.ready(connection);
    }
}

#[test]
fn a_rescued_leg_prefers_another_link() {
    let mut rig = up(2, 4);
    rig.input(1);
    rig.now += ms(1);
    rig.input(1);
    assert_eq!(rig.sent(), [(2, 0), (0, 1)]);
    rig.frame(0, ack(0, 1));
    rig.ready(0);
    rig.later(ms(198));
    assert!(rig.sent().is_empty());
    rig.later(ms(1));
    assert_eq!(rig.sent(), [(3, 0)], "connection 0 is ready too, but on the link that is slow");
}

#[test]
fn legs_of_a_lost_connection_go_out_on_those_that_are_there() {
    let mut rig = up(1, 2);
    rig.input(2);
    rig.ready(0);
    assert_eq!(rig.sent(), [(1, 0), (0, 1)]);
    rig.lost(1, LossReason::Failed("reset".into()));
    assert_eq!(rig.sent(), [(0, 0)]);
    assert_eq!(rig.session.losses().count, 1);
}

#[test]
fn connections_called_home_bring_their_legs_first() {
    let mut rig = dialler(2, 4);
    rig.failed(0, DialError::Refused);
    rig.failed(2, DialError::Refused);
    for connection in [1, 2, 3] {
        rig.welcomed(connection, 7, 0);
    }
    rig.ready(2);
    rig.input(1);
    assert_eq!(rig.sent(), [(2, 0)], "connection 2 serves link 1 while its own is dead");
    rig.later(secs(5));
    rig.welcomed(0, 7, 0);
    rig.ready(2);
    assert!(rig.leaves.is_empty(), "leg 0 is on the way");
    rig.input(1);
    assert!(rig.sent().is_empty(), "and it gets no other");
    rig.frame(2, ack(1, 1));
    assert_eq!(rig.leaves, [2]);
    rig.forget();
    rig.lost(2, LossReason::Left);
    assert_eq!(rig.dials.iter().map(|d| (d.connection, d.link)).collect::<Vec<_>>(), [(2, 0)]);
    assert_eq!(rig.session.losses().count, 0, "nothing went wrong");
}

/// Handshakes pass, and no leg does.
#[test]
fn a_link_whose_connections_come_up_and_fall_silent_is_dialled_with_smaller_segments() {
    let mut rig = up(1, 1);
    rig.input(1);
    let smaller = Event::SmallerSegments { link: 0, size: 1220 };
    for silent in [1, 2] {
        assert_eq!(rig.sent(), [(0, 0)]);
        rig.lost(0, LossReason::Silent);
        rig.later(secs(6));
        rig.welcomed(0, LISTENER, 0);
        assert_eq!(rig.events.contains(&smaller), silent == 2);
        rig.ready(0);
    }
}

// ---- peers that break the rules -----------------------------------------------------------------------

#[test]
fn a_breach_closes_its_connection_and_no_other() {
    for bad in [ack(0, 9), ack(9, 0), Frame::Nack { sequence: 5 }, Frame::Ping { token: 1 }, Frame::Bye] {
        let mut rig = up(1, 2);
        rig.input(1);
        rig.frame(1, bad);
        assert!(matches!(rig.drops[..], [(1, LossReason::Breach(_))]), "{:?}", rig.drops);
        assert_eq!((rig.up_count(), rig.over), (1, false));
        assert_eq!(rig.sent(), [(1, 0), (0, 0)], "what it carried goes on");
    }
}

#[test]
fn a_welcome_that_wants_what_was_never_sent_is_dropped_and_tried_again() {
    let mut rig = dialler(1, 1);
    rig.welcomed(0, 7, 3);
    assert!(matches!(rig.drops[..], [(0, LossReason::Breach(_))]), "{:?}", rig.drops);
    assert_eq!((rig.up_count(), rig.over), (0, false));
}

#[test]
fn a_receiver_that_lost_what_it_confirmed_ends_the_session_in_words() {
    let mut rig = begun(1, 2);
    rig.lost(1, LossReason::Closed);
    rig.welcomed(1, 7, 0);
    let (code, why, by_peer) = rig.ended(Way::Out);
    assert!(code == Status::Incomplete && why.contains("leg 0") && !by_peer, "{why}");
    assert_eq!(rig.told(is_abort), [0]);
}

#[test]
fn a_welcome_may_be_older_than_what_other_connections_brought_since() {
    let mut rig = dialler(1, 2);
    rig.welcomed(0, 7, 0);
    rig.all_ready();
    rig.input(1);
    rig.frame(0, ack(1, 1));
    rig.welcomed(1, 7, 0);
    assert_eq!((rig.up_count(), rig.over), (2, false));
}

#[test]
fn another_receiver_on_one_link_condemns_the_link_and_not_the_session() {
    let mut rig = dialler(2, 2);
    rig.welcomed(0, 7, 0);
    rig.welcomed(1, 8, 0);
    assert_eq!(rig.drops, [(1, LossReason::Left)]);
    let said = rig.said();
    assert!(matches!(said[..], [Event::OtherReceiver { link: 1 }]), "{said:?}");
    assert_eq!(rig.dials.last().map(|d| (d.connection, d.link)), Some((1, 0)), "it serves the other link");
    rig.all_ready();
    rig.input(1);
    assert_eq!((rig.sent(), rig.over), (vec![(0, 0)], false));
}

#[test]
fn a_moment_without_the_link_that_led_to_the_receiver_is_borne_while_another_leads_elsewhere() {
    let mut rig = dialler_with(2, 2, patience(60));
    rig.welcomed(0, 7, 0);
    rig.welcomed(1, 8, 0);
    rig.lost(0, LossReason::Closed);
    let (waited, status, _) = rig.endures(Way::Out, &DialError::TimedOut);
    assert!(waited >= 59, "{waited} s: somebody on the way to the first can bring this about");
    assert_eq!(status, Status::Incomplete);
}

#[test]
fn another_receiver_on_one_link_is_told_once() {
    let mut rig = dialler(2, 4);
    rig.welcomed(0, 7, 0);
    rig.welcomed(1, 8, 0);
    rig.welcomed(3, 8, 0);
    assert_eq!(rig.said().len(), 1);
}

// ---- refusals -----------------------------------------------------------------------------------------

#[test]
fn refused_for_good_before_the_start_is_status_3_and_says_who_and_why() {
    for code in [
        RefusalCode::Checkphrase,
        RefusalCode::Version,
        RefusalCode::Feature,
        RefusalCode::Option,
        RefusalCode::Direction,
    ] {
        let mut rig = dialler(1, 4);
        rig.refused(2, code);
        let (status, why, by_peer) = rig.ended(Way::Out);
        assert_eq!((status, by_peer), (Status::Refused, false), "{code:?}");
        assert!(why.contains("host0") && why.contains(&refusal(code).sentence), "{why}");
    }
}

#[test]
fn a_receiver_that_has_finished_is_no_news_while_its_verdict_may_be_on_its_way() {
    let mut rig = dialler(2, 4);
    rig.welcomed(0, LISTENER, 0);
    rig.all_ready();
    rig.input(1);
    rig.frame(0, ack(1, 1));
    rig.said();
    rig.refused(2, RefusalCode::Finished);
    assert_eq!((rig.said(), rig.over), (vec![], false));
    // it never comes
    rig.lost(0, LossReason::Closed);
    rig.said();
    rig.refused(1, RefusalCode::Finished);
    let said = rig.said();
    assert!(matches!(said[..], [Event::LinkRefused { link: 1, begun: true, .. }]), "{said:?}");
}

#[test]
fn a_welcome_that_asks_for_tiny_legs_is_a_breach() {
    let mut rig = dialler(2, 2);
    let least = LEG_FIRST as u32;
    let tiny = Welcome { leg_max: least - 1, ..welcome(LISTENER, 0) };
    rig.does(|s, now| s.welcomed(now, 0, &tiny, None, RTT));
    assert_eq!(rig.drops, [(0, LossReason::Breach(Breach::LegsTooSmall(least - 1)))]);
    assert!(rig.session.trouble(0).contains("asks for legs of"), "{}", rig.session.trouble(0));
    let least = Welcome { leg_max: least, ..tiny };
    rig.does(|s, now| s.welcomed(now, 1, &least, None, RTT));
    assert_eq!((rig.up_count(), rig.over), (1, false));
}

#[test]
fn a_busy_receiver_is_waited_for_and_that_is_said_once() {
    let mut rig = dialler(1, 2);
    rig.refused(0, RefusalCode::Busy);
    rig.refused(1, RefusalCode::Busy);
    rig.forget_dials_but_say_busy(secs(30));
    assert!(!rig.over);
    let said = rig.said();
    assert!(
        matches!(said[..], [Event::ReceiverBusy { link: 0, left: Some(left), .. }] if left == secs(60)),
        "{said:?}"
    );
    rig.forget_dials_but_say_busy(secs(31));
    let (status, why, _) = rig.ended(Way::Out);
    assert_eq!(status, Status::Refused);
    assert!(why.contains("host0: refused") && why.contains("for 60 s"), "{why}");

    let mut rig = dialler(1, 1);
    rig.refused(0, RefusalCode::Busy);
    rig.later(secs(5));
    rig.welcomed(0, LISTENER, 0);
    rig.all_ready();
    rig.input(1);
    rig.frame(0, ack(1, 1));
    assert_eq!(rig.said().last(), Some(&Event::WorksAgain { begun: true }));
}

impl Rig {
    /// Time passes, and whoever is dialled is busy.
    fn forget_dials_but_say_busy(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until && !self.over {
            self.later(ms(500));
            for dial in std::mem::take(&mut self.dials) {
                if !self.over {
                    self.refused(dial.connection, RefusalCode::Busy);
                }
            }
        }
    }
}

#[test]
fn a_busy_receiver_that_went_away_has_not_refused() {
    let mut rig = dialler(1, 1);
    rig.refused(0, RefusalCode::Busy);
    let (waited, code, why) = rig.endures(Way::Out, &DialError::Refused);
    assert_eq!((waited, code), (60, Status::Incomplete), "{why}");
}

#[test]
fn a_receiver_that_cannot_be_used_was_not_met() {
    let mut rig = begun(2, 2);
    rig.lost(1, LossReason::Closed);
    rig.pass(secs(1));
    rig.met.clear();
    rig.welcomed(1, 99, 0);
    assert_eq!(rig.met, []);
}

#[test]
fn one_refusal_waits_for_the_links_that_may_still_answer() {
    let mut rig = dialler(2, 2);
    rig.refused(0, RefusalCode::Checkphrase);
    assert!(!rig.over);
    rig.failed(1, DialError::Refused);
    assert_eq!(rig.ended(Way::Out).0, Status::Refused, "nothing is left to hope for");
}

#[test]
fn a_refusal_on_one_link_does_not_end_a_session_on_another() {
    for code in [RefusalCode::Busy, RefusalCode::Checkphrase, RefusalCode::NotThatReceiver] {
        let mut rig = dialler(2, 2);
        rig.welcomed(0, 7, 0);
        rig.refused(1, code);
        rig.all_ready();
        rig.input(1);
        assert_eq!((rig.sent(), rig.over), (vec![(0, 0)], false));
    }
}

#[test]
fn a_refusal_does_not_end_a_session_that_has_a_connection() {
    let mut rig = begun(1, 2);
    rig.lost(1, LossReason::Closed);
    rig.refused(1, RefusalCode::Busy);
    assert!(!rig.over, "connection 0 works");
    rig.all_ready();
    rig.input(1);
    assert_eq!(rig.sent(), [(0, 2)]);
}

#[test]
fn a_receiver_that_has_just_finished_is_tried_again_as_if_it_had_not_started() {
    let mut rig = dialler(1, 1);
    rig.refused(0, RefusalCode::Finished);
    assert_eq!(rig.session.trouble(0), refusal(RefusalCode::Finished).sentence);
    rig.forget();
    rig.later(secs(5));
    assert_eq!(rig.dials.len(), 1);
    rig.welcomed(0, 7, 0);
    assert!(!rig.over);
}

#[test]
fn stale_and_too_many_are_tried_again() {
    for code in [RefusalCode::Stale, RefusalCode::TooMany] {
        let mut rig = begun(1, 1);
        rig.lost(0, LossReason::Closed);
        rig.refused(0, code);
        rig.forget();
        rig.later(secs(6));
        assert_eq!((rig.dials.len(), rig.over), (1, false), "{code:?}");
    }
}

#[test]
fn a_begun_session_that_the_receiver_does_not_know_is_status_1() {
    let mut rig = begun(1, 1);
    rig.lost(0, LossReason::Closed);
    rig.refused(0, RefusalCode::NotThatReceiver);
    let (code, why, by_peer) = rig.ended(Way::Out);
    assert_eq!((code, by_peer), (Status::Incomplete, false), "{why}");
}

#[test]
fn a_begun_session_whose_receiver_serves_another_is_status_1() {
    for code in [RefusalCode::Finished, RefusalCode::Busy] {
        let mut rig = begun(1, 1);
        rig.lost(0, LossReason::Closed);
        rig.refused(0, code);
        assert_eq!(rig.ended(Way::Out).0, Status::Incomplete, "{code:?}");
    }
}

#[test]
fn names_without_an_address_end_it_at_once_and_by_name() {
    let mut rig = dialler(2, 2);
    rig.failed(0, DialError::Unresolved("no address for host0".into()));
    assert!(!rig.over, "link 1 may have one");
    rig.failed(1, DialError::Unresolved("no address for host1".into()));
    let (code, why, _) = rig.ended(Way::Out);
    assert!(code == Status::Incomplete && why.contains("host0") && why.contains("host1"), "{why}");
    assert_eq!(rig.elapsed(), Duration::ZERO);
}

#[test]
fn a_name_that_loses_its_address_later_is_waited_for() {
    let mut rig = begun(1, 1);
    rig.lost(0, LossReason::Closed);
    rig.pass_with(secs(100), &DialError::Unresolved("no address".into()));
    assert!(!rig.over);
}

// ---- a path that swallows large segments --------------------------------------------------------------

#[test]
fn connections_that_are_stuck_are_dialled_anew_and_that_is_said_once() {
    let mut rig = up(1, 2);
    rig.input(2);
    rig.pass(secs(2));
    rig.forget();
    for connection in [0, 1] {
        rig.does(|s, now| s.stuck(now, connection, now));
    }
    assert_eq!(rig.drops, [(0, LossReason::Swallows), (1, LossReason::Swallows)]);
    assert_eq!(rig.dials.len(), 2, "at once");
    assert_eq!(rig.said(), []);
    [0, 1].into_iter().for_each(|connection| rig.welcomed(connection, LISTENER, 0));
    assert_eq!(rig.said(), [Event::SmallerSegments { link: 0, size: 1220 }]);
}

/// The path to the far end has died: what was sent is not taken there either, and the peer is heard.
#[test]
fn where_nobody_answers_the_dial_that_follows_nothing_is_said_of_segments() {
    let mut rig = up(1, 1);
    rig.input(1);
    rig.pass(secs(2));
    rig.forget();
    rig.does(|s, now| s.stuck(now, 0, now));
    assert_eq!(rig.dials.pop().and_then(|dial| dial.segment), Some(1220));
    rig.failed(0, DialError::TimedOut);
    rig.later(secs(6));
    assert_eq!(rig.dials.pop().and_then(|dial| dial.segment), None);
    rig.welcomed(0, LISTENER, 0);
    assert!(!rig.said().iter().any(|event| matches!(event, Event::SmallerSegments { .. })));
}

#[test]
fn two_attempts_that_connect_and_are_not_welcomed_are_the_same_sign() {
    let mut rig = dialler(1, 1);
    rig.failed(0, DialError::Swallowed);
    rig.later(secs(6));
    assert!(!rig.events.iter().any(|event| matches!(event, Event::SmallerSegments { .. })));
    rig.failed(0, DialError::Swallowed);
    rig.later(secs(6));
    rig.welcomed(0, LISTENER, 0);
    assert!(rig.events.contains(&Event::SmallerSegments { link: 0, size: 1220 }));
}

/// It is stopped, or its host is: its kernel has heard what was said.
#[test]
fn a_receiver_that_does_not_answer_has_nothing_to_do_with_segments() {
    let mut rig = dialler(1, 1);
    for _ in 0..5 {
        rig.failed(0, DialError::NoWelcome);
        rig.later(secs(60));
    }
    assert_eq!(rig.dials.pop().and_then(|dial| dial.segment), None);
}
