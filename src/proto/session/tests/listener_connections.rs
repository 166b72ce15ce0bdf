//! The end that listens, with one stream: who is let in, legs, and a sender that goes away.

use super::super::super::acknowledging::RETELL;
use super::super::super::breach::Breach;
use super::super::super::event::Event;
use super::super::super::hello::{Hello, RefusalCode};
use super::super::super::leg::{Leg, window};
use super::super::super::links::{DialError, LossReason};
use super::super::super::mailbox::NACKS_MAX;
use super::super::super::outcome::Status;
use super::super::super::way::Way;
use super::super::super::wire::Frame;
use super::super::{Brought, Loss, Losses};
use super::rig::*;
use std::sync::Arc;

// ---- who is let in ------------------------------------------------------------------------------------

#[test]
fn the_first_hello_makes_the_session_and_both_buffers_its_sizes() {
    let mut rig = listener();
    let welcome = rig.hello(&hello(3, 1)).unwrap();
    assert_eq!((welcome.instance, welcome.next, welcome.buffer), (id(7), 0, 128 << 20));
    assert_eq!(welcome.leg_max, 1 << 20, "a 32nd of the sender's buffer");
    assert_eq!(welcome.edge.bytes, window(128 << 20, 1 << 20), "and 16 of these fit beside the window");
}

#[test]
fn later_welcomes_say_how_far_it_is() {
    let mut rig = listener_begun(None);
    rig.leg(1, 1);
    rig.delivered(1);
    let before = rig.session.receiving().unwrap().position();
    let welcome = rig.hello(&begun_hello(2, 1)).unwrap();
    assert_eq!((welcome.next, before.delivered, welcome.edge), (2, LEN, before.edge));
}

#[test]
fn a_higher_attempt_replaces_and_others_are_stale() {
    let mut rig = listener_begun(None);
    assert_eq!(rig.hello(&begun_hello(0, 1)).err(), Some(RefusalCode::Stale), "the same attempt twice");
    assert!(rig.hello(&begun_hello(0, 3)).is_ok(), "the old one has not been missed yet");
    assert_eq!(rig.hello(&begun_hello(0, 2)).err(), Some(RefusalCode::Stale));
    rig.lost(0, LossReason::Closed);
    assert_eq!(
        rig.hello(&begun_hello(0, 2)).err(),
        Some(RefusalCode::Stale),
        "late, although that place is free"
    );
    assert!(rig.hello(&begun_hello(0, 4)).is_ok());
}

#[test]
fn sixteen_connections_are_counted_each_for_itself() {
    let mut rig = listener();
    for connection in 0..16 {
        assert!(rig.hello(&hello(connection, 1)).is_ok());
    }
    rig.leg(15, 0);
    rig.leg(15, 0);
    let brought = |rig: &Rig, connection| rig.session.receiving().unwrap().brought(connection);
    assert_eq!(rig.up_count(), 16);
    assert_eq!(brought(&rig, 15), Brought { legs: 2, bytes: 2 * LEN }, "copies are counted");
    assert_eq!(brought(&rig, 0), Brought::default());
    rig.hello(&hello(15, 2)).unwrap();
    assert_eq!(brought(&rig, 15), Brought::default(), "counted per connection, not per number");
}

#[test]
fn another_session_is_told_busy_and_changes_nothing() {
    let mut rig = listener_begun(None);
    assert_eq!(rig.hello(&other_session()).err(), Some(RefusalCode::Busy));
    rig.leg(0, 1);
    assert_eq!((&rig.delivers[..], rig.over), (&[1][..], false));
}

#[test]
fn a_session_that_began_with_another_receiver_is_not_taken() {
    let mut rig = listener();
    let code = Some(RefusalCode::NotThatReceiver);
    assert_eq!(rig.hello(&Hello { instance: Some(id(8)), ..begun_hello(0, 5) }).err(), code);
    assert_eq!(rig.hello(&Hello { instance: None, ..begun_hello(0, 5) }).err(), code);
    assert_eq!(rig.hello(&Hello { instance: Some(id(8)), ..hello(0, 1) }).err(), code);
    assert!(rig.hello(&other_session()).is_ok(), "and it goes on waiting");
}

#[test]
fn a_refused_first_hello_leaves_nothing_behind() {
    let mut rig = listener();
    assert_eq!(rig.hello(&hello(0, 0)).err(), Some(RefusalCode::Stale));
    rig.pass(secs(60));
    assert!(rig.hello(&other_session()).is_ok());
}

#[test]
fn a_session_that_never_began_is_forgotten_after_5_s() {
    let mut rig = listener();
    rig.hello(&hello(0, 1)).unwrap();
    rig.lost(0, LossReason::Closed);
    rig.pass(ms(5000));
    assert_eq!(rig.hello(&hello(0, 1)).map(|welcome| welcome.next), Ok(0), "its attempts are forgotten too");
    assert_eq!((rig.said(), rig.over), (vec![], false));
}

/// What its sender says behind such legs is not read, not even that it gives up.
#[test]
fn a_session_whose_first_legs_were_decoded_when_its_connections_were_lost_has_begun() {
    let mut rig = listener();
    rig.hello(&hello(0, 1)).unwrap();
    rig.does(|session, now| session.decodes(now, 0, true));
    rig.lost(0, LossReason::Closed);
    rig.does(|session, now| session.decodes(now, 0, false));
    rig.pass(secs(65));
    assert_eq!(rig.ended(Way::In).0, Status::Incomplete);
}

#[test]
fn a_session_that_has_not_begun_gives_way_to_another_one() {
    let mut rig = listener();
    rig.hello(&hello(0, 1)).unwrap();
    rig.hello(&hello(1, 1)).unwrap();
    rig.frame(0, Frame::Ping { token: 1 });
    rig.frame(0, fin(3));
    assert_eq!(rig.hello(&other_session()).err(), Some(RefusalCode::Busy), "it had no time to begin");
    rig.pass(ms(250));
    rig.forget();
    assert!(rig.hello(&other_session()).is_ok());
    assert_eq!(rig.drops, [(1, LossReason::Left)], "connection 0 was replaced");
    rig.frame(0, fin(1));
    rig.leg(0, 0);
    assert_eq!(
        (&rig.delivers[..], rig.drops.len()),
        (&[0][..], 1),
        "the end that was announced is forgotten"
    );
    rig.pass(secs(1));
    assert_eq!(rig.hello(&hello(1, 2)).err(), Some(RefusalCode::Busy), "this one has begun");
}

#[test]
fn what_a_stranger_goes_on_saying_keeps_nobody_out() {
    let mut rig = listener();
    rig.hello(&hello(0, 1)).unwrap();
    for token in 0..4 {
        rig.pass(ms(62));
        rig.frame(0, Frame::Ping { token });
        assert_eq!(rig.hello(&other_session()).err(), Some(RefusalCode::Busy));
    }
    rig.pass(ms(2));
    assert!(rig.hello(&other_session()).is_ok());
}

#[test]
fn a_begun_session_gives_way_to_nobody() {
    let mut rig = listener_begun(None);
    rig.pass(secs(10));
    assert_eq!(rig.hello(&other_session()).err(), Some(RefusalCode::Busy));
    assert!(rig.drops.is_empty());
}

#[test]
fn a_waiting_receiver_waits_for_ever() {
    for patience in [None, patience(0)] {
        let mut rig = listener_with(patience);
        rig.pass(secs(1_000_000));
        assert_eq!((rig.session.deadline(rig.now), rig.said(), rig.over), (None, vec![], false));
    }
}

#[test]
fn a_receiver_with_patience_does_not_wait_longer_for_a_stream_to_begin() {
    let (waited, status, why) = listener_with(patience(3)).endures(Way::In, &DialError::Refused);
    assert_eq!((waited, status, &why[..]), (3, Status::Incomplete, "no sender came for 3 s"));

    // senders come, and nothing gets through but hellos
    let mut rig = listener_with(patience(10));
    for attempt in 1..=4 {
        assert!(rig.hello(&hello(0, attempt)).is_ok(), "attempt {attempt}");
        rig.pass(secs(2));
        rig.lost(0, LossReason::Silent);
    }
    let (waited, _, why) = rig.endures(Way::In, &DialError::Refused);
    assert_eq!(waited, 2);
    assert!(why.contains("a sender came, but nothing"), "{why}");
}

#[test]
fn who_comes_just_before_patience_is_over_is_heard_out_whoever_came_before() {
    // a stranger, the sender, and with a flood of strangers: those keep it no longer than the sender would
    for flood in [false, true] {
        let mut rig = listener_with(patience(10));
        rig.hello(&other_session()).unwrap();
        rig.lost(0, LossReason::Closed);
        rig.pass(ms(9900));
        rig.hello(&hello(0, 1)).unwrap();
        for attempt in 1..30 {
            rig.pass(ms(100));
            if flood && !rig.over {
                rig.hello(&hello(1, attempt)).unwrap();
            }
            let ends = if flood { ms(12_000) } else { ms(11_900) };
            assert_eq!(rig.over, rig.elapsed() >= ends, "{:?}", rig.elapsed());
        }
    }
}

#[test]
fn a_sender_with_nothing_to_send_yet_is_waited_for() {
    for seconds in [1, 4] {
        let mut rig = listener_with(patience(seconds));
        rig.hello(&hello(0, 1)).unwrap();
        rig.pass(secs(1));
        rig.frame(0, Frame::Ping { token: 1 });
        rig.pass(secs(1000));
        assert!(!rig.over, "its connection works");
        rig.lost(0, LossReason::Closed);
        let (waited, _, why) = rig.endures(Way::In, &DialError::Refused);
        assert_eq!(waited, seconds);
        // it had spoken, and did not come again
        assert!(why.contains("a sender came, but nothing"), "{why}");
    }
}

// ---- legs ---------------------------------------------------------------------------------------------

#[test]
fn legs_reach_the_output_in_order_and_once() {
    let mut rig = listener_begun(None);
    rig.leg(1, 2);
    assert!(rig.delivers.is_empty());
    rig.leg(0, 1);
    rig.leg(0, 2);
    rig.leg(1, 1);
    assert_eq!(rig.delivers, [1, 2]);
    assert_eq!(
        rig.acks(),
        [(1, 1), (0, 2), (0, 3), (1, 2)],
        "each is acknowledged at once where it came, copies too"
    );
    assert_eq!(rig.session.receiving().unwrap().receiver().map(|receiver| receiver.duplicates()), Some(2));
}

#[test]
fn a_leg_against_the_rules_is_an_error_of_its_connection_alone() {
    let mut rig = listener_begun(None);
    let beyond = Leg::new(1, 1 << 40, Arc::new([1u8]));
    rig.does(|s, now| s.leg(now, 0, beyond));
    assert_eq!(rig.drops, [(0, LossReason::Breach(Breach::BeyondWindow(1)))]);
    rig.hello(&begun_hello(0, 2)).unwrap();
    rig.frame(0, fin(3));
    rig.frame(0, fin(4));
    assert_eq!(rig.drops[1..], [(0, LossReason::Breach(Breach::OtherEnd))]);
    rig.leg(1, 1);
    assert_eq!((&rig.delivers[..], rig.over), (&[1][..], false));
}

#[test]
fn a_connection_on_which_too_many_complaints_wait_is_given_up() {
    let mut rig = listener_begun(None);
    let damaged = 1..=NACKS_MAX as u64 + 1;
    rig.does(|s, now| damaged.for_each(|sequence| s.leg_damaged(now, 0, sequence)));
    let why = LossReason::TakesNoComplaints;
    assert_eq!((rig.drops, rig.over), (vec![(0, why.clone())], false));
    let last = Some(Loss { connection: 0, link: 0, why });
    assert_eq!(*rig.session.losses(), Losses { count: 1, last }, "what this end gives up is lost too");
}

#[test]
fn a_window_that_opens_is_told_at_once() {
    let mut rig = listener();
    let edge = rig.hello(&hello(0, 1)).unwrap().edge.bytes;
    let half = |sequence| Leg::new(sequence, sequence * (edge / 2), Arc::new(vec![0u8; edge as usize / 2]));
    rig.does(|s, now| s.leg(now, 0, half(0)));
    rig.does(|s, now| s.leg(now, 0, half(1)));
    rig.hello(&hello(1, 1)).unwrap();
    rig.forget();
    rig.does(|s, now| s.delivered(now, 1, edge / 2));
    assert_eq!(rig.acks(), [(0, 2)], "so much is told at once, where the latest leg came from");
    rig.forget();
    rig.does(|s, now| s.delivered(now, 1, edge / 2));
    assert_eq!(rig.acks(), [(0, 2)], "once, where the legs came from");
    rig.forget();
    rig.later(RETELL);
    assert_eq!(rig.acks(), [(0, 2), (1, 0)], "and on every connection, because none follow");
    assert_eq!(rig.session.receiving().unwrap().position().edge.bytes, 2 * edge);
}

#[test]
fn a_sender_that_asks_and_sends_nothing_of_what_is_missing_is_given_up_after_patience() {
    for missing in [false, true] {
        let mut rig = listener_begun(patience(20));
        if missing {
            rig.leg(0, 2);
        }
        for second in 0..30 {
            rig.later(secs(1));
            if !rig.over {
                rig.frame(0, Frame::Ping { token: second });
            }
        }
        assert_eq!(rig.over, missing, "an input with nothing to send is no lack of progress");
    }
}

// ---- the sender goes away -----------------------------------------------------------------------------

#[test]
fn a_sender_whose_connections_all_closed_is_gone_after_60_s() {
    let mut rig = listener_begun(None);
    rig.lost(0, LossReason::Closed);
    rig.pass(secs(100));
    assert!(!rig.over, "connection 1 is there");
    rig.lost(1, LossReason::Closed);
    let (waited, code, why) = rig.endures(Way::In, &DialError::Refused);
    assert_eq!((waited, code), (60, Status::Incomplete));
    assert!(why.contains("the sender is gone"), "{why}");
}

#[test]
fn a_silent_sender_may_still_be_trying() {
    let mut rig = listener_begun(None);
    rig.lost(0, LossReason::Closed);
    rig.lost(1, LossReason::Silent);
    assert_eq!(rig.endures(Way::In, &DialError::Refused).0, 3600);
}

#[test]
fn patience_given_is_patience_kept() {
    for loss in [LossReason::Closed, LossReason::Silent] {
        for seconds in [4, 200] {
            let mut rig = listener_begun(patience(seconds));
            rig.lost(0, loss.clone());
            rig.lost(1, loss.clone());
            let (waited, code, _) = rig.endures(Way::In, &DialError::Refused);
            assert_eq!((waited, code), (seconds, Status::Incomplete), "{loss:?}");
        }
        let mut rig = listener_begun(patience(0));
        rig.lost(0, loss.clone());
        rig.lost(1, loss);
        rig.pass(secs(100_000));
        assert!(!rig.over);
    }
}

#[test]
fn a_connection_that_comes_back_stops_the_clock() {
    let mut rig = listener_begun(None);
    for attempt in 2..10 {
        rig.lost(0, LossReason::Closed);
        rig.lost(1, LossReason::Closed);
        rig.pass(secs(50));
        rig.hello(&begun_hello(0, attempt)).unwrap();
        rig.hello(&begun_hello(1, attempt)).unwrap();
    }
    rig.pass(secs(1000));
    assert_eq!((rig.over, rig.session.losses().count), (false, 16));
}

#[test]
fn a_connection_is_lost_once() {
    let mut rig = listener();
    rig.hello(&hello(0, 1)).unwrap();
    rig.leg(0, 0);
    rig.lost(0, LossReason::Closed);
    rig.lost(0, LossReason::Closed);
    assert_eq!(rig.session.losses().count, 1);
}

#[test]
fn waiting_is_told_after_5_s_then_each_minute_and_when_it_ends() {
    let mut rig = listener_begun(None);
    rig.lost(0, LossReason::Silent);
    rig.lost(1, LossReason::Silent);
    rig.pass(ms(4999));
    assert!(rig.said().is_empty());
    rig.pass(ms(1));
    let said = rig.said();
    assert!(matches!(said[..], [Event::SenderAway { left: Some(left) }] if left == secs(3595)), "{said:?}");
    rig.pass(secs(121));
    assert_eq!(rig.said().len(), 2);
    rig.hello(&begun_hello(0, 2)).unwrap();
    rig.leg(0, 1);
    assert_eq!(rig.said(), [Event::WorksAgain { begun: true }]);
    rig.pass(secs(300));
    assert!(rig.said().is_empty());
}

#[test]
fn the_end_of_waiting_is_told_also_when_no_leg_is_missing() {
    let mut rig = listener_begun(None);
    rig.lost(0, LossReason::Silent);
    rig.lost(1, LossReason::Silent);
    rig.pass(secs(10));
    assert_eq!(rig.said().len(), 1);
    rig.hello(&begun_hello(0, 2)).unwrap();
    rig.frame(0, fin(1));
    assert_eq!(rig.said(), [Event::WorksAgain { begun: true }]);
}

#[test]
fn what_heals_within_5_s_is_not_mentioned() {
    let mut rig = listener_begun(None);
    rig.lost(0, LossReason::Closed);
    rig.lost(1, LossReason::Closed);
    rig.pass(ms(4900));
    rig.hello(&begun_hello(0, 2)).unwrap();
    rig.pass(secs(100));
    assert!(rig.said().is_empty());
}

#[test]
fn an_abort_ends_it_as_the_sender_says() {
    let mut rig = listener_begun(None);
    rig.frame(0, abort(Status::Input, "zfs send failed"));
    assert_eq!(rig.ended(Way::In), (Status::Input, "zfs send failed", true));
    assert_eq!(
        (rig.hello(&begun_hello(0, 2)).err(), rig.session.deadline(rig.now)),
        (Some(RefusalCode::Finished), None)
    );
}
