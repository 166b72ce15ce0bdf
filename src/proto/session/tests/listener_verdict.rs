//! The end that listens, with one stream: the last word.

use super::super::super::hello::RefusalCode;
use super::super::super::links::{DialError, LossReason};
use super::super::super::outcome::Status;
use super::super::super::way::Way;
use super::super::super::wire::{Fin, Frame};
use super::rig::*;

// ---- the last word ------------------------------------------------------------------------------------

#[test]
fn the_output_is_closed_when_all_is_delivered_and_judged_when_that_went_well() {
    let mut rig = listener_begun(None);
    rig.frame(0, fin(2));
    rig.leg(0, 1);
    rig.delivered(1);
    assert_eq!(rig.closes, 0, "received is not delivered");
    rig.delivered(1);
    assert_eq!((rig.closes, rig.verdicts()), (1, vec![]), "delivered is not closed");
    rig.frame(0, fin(2));
    assert_eq!(rig.closes, 1);
    rig.output_closed();
    assert_eq!(rig.verdicts(), [(0, Status::Complete), (1, Status::Complete)]);
    assert!(!rig.over, "it waits for the bye");
    rig.frame(0, Frame::Bye);
    assert_eq!(rig.ended(Way::In), (Status::Complete, "", false));
}

#[test]
fn an_output_that_is_slow_to_close_is_told_of_all_the_while() {
    let mut rig = listener_begun(None);
    rig.frame(0, fin(2));
    rig.leg(0, 1);
    rig.delivered(2);
    rig.does(|session, _| session.output_blocked(secs(5)));
    rig.forget();
    rig.pass(secs(10));
    let blocked = rig.told(|frame| matches!(frame, Frame::Ack(ack) if ack.blocked_ms == 5000));
    assert!(blocked.len() >= 9, "the sender does not know why no verdict comes: {blocked:?}");
    rig.output_closed();
    rig.forget();
    rig.pass(secs(10));
    assert_eq!(rig.told(|frame| matches!(frame, Frame::Ack(_))), [0; 0]);
}

#[test]
fn who_decodes_legs_of_a_stream_that_is_judged_is_to_look_up() {
    let mut rig = listener_begun(None);
    rig.does(|session, now| session.decodes(now, 1, true));
    rig.looks.clear();
    rig.output_failed(Status::Output, "the disk is full");
    assert_eq!(rig.looks, [1], "the bye is behind legs that it would decode first");
}

#[test]
fn a_session_that_is_stopped_after_its_output_has_failed_says_that_it_failed() {
    let mut rig = listener_begun(None);
    rig.output_failed(Status::Output, "the disk is full");
    rig.forget();
    rig.fail(Status::Incomplete, "this end stops");
    let is_right = |frame: &Frame| matches!(frame, Frame::Abort(abort) if abort.status == Status::Output && abort.sentence == "the disk is full");
    assert_eq!(rig.told(is_right), [0, 1], "the verdict may not have been written when the abort is");
}

#[test]
fn an_empty_stream_is_judged_too() {
    let mut rig = listener();
    rig.hello(&hello(0, 1)).unwrap();
    rig.frame(0, fin(0));
    assert_eq!(rig.closes, 1);
    rig.output_closed();
    assert_eq!(rig.verdicts(), [(0, Status::Complete)]);
}

#[test]
fn an_empty_stream_whose_sender_is_cut_off_is_not_forgotten() {
    let mut rig = listener();
    rig.hello(&hello(0, 1)).unwrap();
    rig.frame(0, fin(0));
    rig.lost(0, LossReason::Closed);
    rig.pass(secs(10));
    rig.output_closed();
    rig.hello(&hello(0, 2)).unwrap();
    assert_eq!(rig.verdicts(), [(0, Status::Complete)]);
}

#[test]
fn the_verdict_is_told_after_every_welcome_until_it_is_answered() {
    let mut rig = listener_judged(None);
    assert_eq!(rig.verdicts(), [(0, Status::Complete), (1, Status::Complete)]);
    rig.lost(0, LossReason::Closed);
    rig.lost(1, LossReason::Closed);
    rig.pass(secs(30));
    for (connection, attempt) in [(0, 2), (5, 1), (0, 3)] {
        assert_eq!(rig.hello(&begun_hello(connection, attempt)).unwrap().next, 1);
        assert_eq!(rig.verdicts(), [(connection as usize, Status::Complete)]);
    }
}

#[test]
fn it_lingers_a_minute_or_as_long_as_patience_says() {
    for (patience, lingers) in [(None, 60), (patience(4), 4), (patience(1000), 60), (patience(0), 60)] {
        let (waited, code, _) = listener_judged(patience).endures(Way::In, &DialError::Refused);
        assert_eq!((waited, code), (lingers, Status::Complete), "{patience:?}");
    }
}

#[test]
fn while_it_lingers_another_session_is_told_finished() {
    let mut rig = listener_judged(None);
    assert_eq!(rig.hello(&other_session()).err(), Some(RefusalCode::Finished));
    assert!(rig.hello(&begun_hello(0, 2)).is_ok());
    rig.frame(0, Frame::Bye);
    assert_eq!(rig.hello(&other_session()).err(), Some(RefusalCode::Finished));
}

#[test]
fn a_bye_before_the_verdict_means_nothing() {
    let mut rig = listener_begun(None);
    rig.frame(0, Frame::Bye);
    rig.leg(0, 1);
    assert_eq!((&rig.delivers[..], rig.over), (&[1][..], false));
}

#[test]
fn an_abort_after_the_verdict_does_not_change_it() {
    let mut rig = listener_judged(None);
    rig.frame(0, abort(Status::Incomplete, "interrupted"));
    assert_eq!(
        rig.ended(Way::In).0,
        Status::Complete,
        "every byte was delivered, whatever the sender thinks"
    );
}

#[test]
fn a_failed_output_is_the_verdict_at_any_time() {
    for code in [Status::Output, Status::Corrupt] {
        let mut rig = listener_begun(None);
        rig.output_failed(code, "the disk is full");
        assert_eq!(rig.verdicts(), [(0, code), (1, code)]);
        rig.output_failed(Status::Output, "again");
        rig.output_closed();
        assert!(rig.verdicts().is_empty(), "the first word holds");
        rig.frame(0, Frame::Bye);
        assert_eq!(rig.ended(Way::In), (code, "the disk is full", false));
    }
}

#[test]
fn an_output_that_fails_after_the_end_was_announced_is_not_complete() {
    let mut rig = listener_begun(None);
    rig.frame(0, fin(1));
    rig.delivered(1);
    assert_eq!(rig.closes, 1);
    rig.output_failed(Status::Output, "the reader left");
    assert_eq!(rig.verdicts(), [(0, Status::Output), (1, Status::Output)]);
}

#[test]
fn an_output_that_fails_before_any_session_ends_it_at_once() {
    let mut rig = listener();
    rig.output_failed(Status::Output, "stdout is closed");
    assert_eq!(rig.ended(Way::In), (Status::Output, "stdout is closed", false));
}

#[test]
fn the_checksum_of_the_stream_must_be_the_one_announced() {
    for (found, code) in [(0xfeed, Status::Complete), (0xdead, Status::Corrupt)] {
        let mut rig = listener_begun(None);
        rig.frame(0, Frame::Fin(Fin { legs: 1, bytes: LEN, crc: Some(0xfeed) }));
        rig.delivered(1);
        rig.does(|s, now| s.output_closed(now, Some(found)));
        assert_eq!(rig.verdicts(), [(0, code), (1, code)]);
    }
}

#[test]
fn a_failure_here_is_told_on_every_connection() {
    let mut rig = listener_begun(None);
    rig.fail(Status::Incomplete, "interrupted");
    assert_eq!(rig.told(is_abort), [0, 1]);
    assert_eq!(rig.ended(Way::In), (Status::Incomplete, "interrupted", false));
}
