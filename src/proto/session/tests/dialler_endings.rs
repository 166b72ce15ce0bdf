//! The end that dials, with one stream: patience, what the user reads, and the end.

use super::super::super::event::Event;
use super::super::super::hello::RefusalCode;
use super::super::super::links::{DialError, LossReason};
use super::super::super::outcome::Status;
use super::super::super::way::Way;
use super::super::super::wire::{Frame, Verdict};
use super::rig::*;

// ---- patience -----------------------------------------------------------------------------------------

#[test]
fn a_first_connection_is_waited_for_a_minute() {
    let (waited, code, why) = (dialler(1, 2)).endures(Way::Out, &DialError::Refused);
    assert_eq!((waited, code), (60, Status::Incomplete));
    assert!(why.contains("host0") && why.contains("connection refused"), "{why}");
}

#[test]
fn a_begun_session_waits_an_hour_for_a_silent_network() {
    let mut rig = begun(1, 2);
    rig.lost(0, LossReason::Silent);
    rig.lost(1, LossReason::Silent);
    assert_eq!(rig.endures(Way::Out, &DialError::TimedOut).0, 3600);
}

#[test]
fn patience_given_is_patience_kept() {
    assert_eq!((dialler_with(1, 2, patience(4))).endures(Way::Out, &DialError::TimedOut).0, 4);
    let mut rig = begun_with(1, 1, patience(100));
    rig.lost(0, LossReason::Closed);
    assert_eq!(rig.endures(Way::Out, &DialError::Refused).0, 100, "also where every link is refused");
}

#[test]
fn patience_zero_is_for_ever() {
    for mut rig in [dialler_with(1, 1, patience(0)), begun_with(1, 1, patience(0))] {
        rig.lost(0, LossReason::Closed);
        rig.pass_with(secs(20_000), &DialError::Refused);
        assert!(!rig.over);
    }
}

#[test]
fn a_session_that_is_refused_everywhere_for_15_s_has_lost_its_receiver() {
    let mut rig = begun(2, 2);
    rig.lost(0, LossReason::Closed);
    rig.lost(1, LossReason::Closed);
    let (waited, code, why) = rig.endures(Way::Out, &DialError::Refused);
    assert_eq!((waited, code), (15, Status::Incomplete));
    assert!(why.contains("the receiver is gone"), "{why}");
}

#[test]
fn one_link_that_is_only_silent_keeps_up_hope() {
    let mut rig = begun(2, 2);
    rig.lost(0, LossReason::Closed);
    rig.lost(1, LossReason::Silent);
    let until = rig.now + secs(100);
    while rig.now < until {
        for dial in std::mem::take(&mut rig.dials) {
            let fate = [DialError::Refused, DialError::TimedOut][dial.link].clone();
            rig.failed(dial.connection, fate);
        }
        rig.later(ms(500));
    }
    assert!(!rig.over);
}

#[test]
fn progress_alone_resets_patience() {
    let mut rig = begun_with(1, 1, patience(10));
    rig.lost(0, LossReason::Closed);
    rig.pass_with(secs(6), &DialError::TimedOut);
    rig.later(secs(2));
    rig.welcomed(0, 7, 1);
    rig.lost(0, LossReason::Closed);
    rig.pass_with(secs(3), &DialError::TimedOut);
    assert_eq!(
        rig.ended(Way::Out).0,
        Status::Incomplete,
        "a connection that achieved nothing changed nothing"
    );

    let mut rig = begun_with(1, 1, patience(10));
    rig.lost(0, LossReason::Closed);
    rig.later(secs(8));
    rig.welcomed(0, 7, 1);
    rig.all_ready();
    rig.input(1);
    rig.frame(0, ack(2, 1));
    rig.lost(0, LossReason::Closed);
    rig.pass_with(secs(9), &DialError::TimedOut);
    assert!(!rig.over);
}

#[test]
fn a_connection_that_is_up_is_never_out_of_patience() {
    let mut rig = begun_with(1, 1, patience(4));
    for _ in 0..100 {
        rig.later(secs(1));
    }
    assert!(!rig.over);
}

// ---- what the user reads ------------------------------------------------------------------------------

#[test]
fn waiting_is_told_after_5_s_then_each_minute_and_when_it_ends() {
    let mut rig = begun(1, 1);
    rig.lost(0, LossReason::Silent);
    rig.pass_with(ms(4999), &DialError::TimedOut);
    assert!(rig.said().is_empty());
    rig.pass_with(ms(2), &DialError::TimedOut);
    let said = rig.said();
    let [Event::Waiting { troubles, left: Some(left) }] = &said[..] else { panic!("{said:?}") };
    assert_eq!((&troubles[..], left.as_secs()), (&["no answer".to_owned()][..], 3595));
    rig.pass_with(secs(59), &DialError::TimedOut);
    assert!(rig.said().is_empty());
    rig.pass_with(secs(122), &DialError::TimedOut);
    assert_eq!(rig.said().len(), 3);
    rig.later(secs(5));
    rig.welcomed(0, 7, 1);
    rig.all_ready();
    rig.input(1);
    rig.frame(0, ack(2, 1));
    assert_eq!(rig.said(), [Event::WorksAgain { begun: true }]);
    rig.pass_with(secs(200), &DialError::TimedOut);
    assert!(rig.said().is_empty());
}

#[test]
fn what_heals_within_5_s_is_not_mentioned() {
    let mut rig = begun(1, 2);
    for _ in 0..20 {
        rig.lost(0, LossReason::Closed);
        rig.lost(1, LossReason::Closed);
        rig.later(secs(4));
        let next = rig.session.sending().unwrap().sender().head();
        rig.welcomed(0, 7, next);
        rig.welcomed(1, 7, next);
        rig.all_ready();
        rig.input(1);
        let (connection, _) = rig.sent()[0];
        rig.frame(connection, ack(next + 1, 1));
    }
    assert!(rig.said().is_empty());
}

// ---- the end ------------------------------------------------------------------------------------------

/// Two connections, one leg received, the input ended.
fn waiting_for_the_verdict() -> Rig {
    let mut rig = up(1, 2);
    rig.input(1);
    rig.end_input();
    rig.frame(1, ack(1, 1));
    assert!(rig.session.sending().unwrap().awaits_verdict());
    rig
}

#[test]
fn fin_is_told_on_every_connection_when_all_has_been_sent() {
    let mut rig = up(1, 2);
    rig.input(3);
    rig.end_input();
    assert_eq!(rig.told(is_fin), [0; 0], "leg 2 waits for a connection");
    rig.ready(0);
    assert_eq!(rig.told(is_fin), [0, 1]);
    rig.later(secs(1));
    assert_eq!(rig.told(is_fin), [0; 0], "once each");
    rig.lost(0, LossReason::Closed);
    rig.welcomed(0, 7, 0);
    assert_eq!(rig.told(is_fin), [0], "and again on each new one");
}

#[test]
fn only_the_verdict_ends_it_well() {
    let mut rig = waiting_for_the_verdict();
    rig.later(secs(1));
    assert!(!rig.over, "all is received, and that is not enough");
    rig.frame(0, verdict(Status::Complete, LEN));
    assert_eq!(rig.judged(Way::Out), (Status::Complete, "", true));
    assert_eq!(rig.told(is_bye), [0, 1]);
}

#[test]
fn a_bye_is_said_until_it_is_heard() {
    let judged = || {
        let mut rig = waiting_for_the_verdict();
        rig.frame(0, verdict(Status::Complete, LEN));
        rig.forget();
        assert!(!rig.over, "whether bye has come is not known");
        rig
    };
    let mut rig = judged();
    rig.lost(0, LossReason::Failed("reset".into()));
    assert!(!rig.over, "the bye may be lost with it");
    rig.lost(1, LossReason::Closed);
    assert_eq!(rig.ended(Way::Out).0, Status::Complete, "who closes in order has heard it");

    let mut rig = judged();
    (0..2).for_each(|connection| rig.lost(connection, LossReason::Failed("reset".into())));
    rig.later(secs(1));
    rig.welcomed(0, 7, 1);
    rig.frame(0, verdict(Status::Complete, LEN));
    assert!(!rig.over);
    rig.pong(0);
    assert_eq!(rig.ended(Way::Out).0, Status::Complete);
    assert_eq!(rig.told(is_bye), [0], "the verdict came again, and so did the bye");
}

#[test]
fn a_refusal_beside_a_connection_that_is_up_does_not_keep_the_bye_from_being_said() {
    let mut rig = up(1, 2);
    rig.lost(1, LossReason::Closed);
    rig.later(secs(1));
    rig.failed(1, DialError::Refused);
    rig.input(1);
    rig.end_input();
    rig.later(secs(5));
    rig.frame(0, ack(1, 1));
    rig.frame(0, verdict(Status::Complete, LEN));
    rig.lost(0, LossReason::Failed("reset".into()));
    assert_eq!((rig.judged(Way::Out).0, rig.over), (Status::Complete, false));
}

#[test]
fn a_bye_that_nobody_hears_is_not_said_for_long() {
    for (fate, time) in [(DialError::Refused, 1), (DialError::TimedOut, 10)] {
        let mut rig = waiting_for_the_verdict();
        rig.frame(0, verdict(Status::Complete, LEN));
        for connection in 0..2 {
            rig.lost(connection, LossReason::Failed("reset".into()));
            rig.failed(connection, fate.clone());
        }
        rig.forget();
        let said = rig.said();
        assert!(said.is_empty() && rig.session.losses().count == 0, "all is well: {said:?}");
        let (waited, code, _) = rig.endures(Way::Out, &fate);
        assert_eq!((waited, code), (time, Status::Complete));
    }
}

#[test]
fn a_verdict_that_does_not_fit_the_stream_is_not_believed() {
    let mut rig = waiting_for_the_verdict();
    rig.frame(0, verdict(Status::Complete, LEN - 1));
    assert_eq!(rig.judged(Way::Out).0, Status::Corrupt);

    let mut rig = waiting_for_the_verdict();
    let other_crc = Verdict {
        bytes: LEN,
        crc: Some(1),
        status: Status::Complete,
        command: None,
        sentence: String::new(),
    };
    rig.frame(0, Frame::Verdict(other_crc));
    assert_eq!(rig.judged(Way::Out).0, Status::Corrupt);

    let mut rig = up(1, 1);
    rig.input(1);
    rig.frame(0, verdict(Status::Complete, LEN));
    assert_eq!(rig.judged(Way::Out).0, Status::Incomplete, "the input goes on");
}

#[test]
fn a_failure_at_the_receiver_is_the_status_here_whenever_it_comes() {
    for code in [Status::Output, Status::Corrupt, Status::Incomplete] {
        let mut rig = up(1, 1);
        rig.input(1);
        rig.frame(0, verdict(code, 0));
        assert_eq!(rig.judged(Way::Out), (code, "so it is", true));
        assert_eq!(rig.told(is_bye), [0]);
    }
}

#[test]
fn an_abort_ends_it_as_the_peer_says() {
    let mut rig = up(1, 1);
    rig.frame(0, abort(Status::Output, "the disk is full"));
    assert_eq!(rig.ended(Way::Out), (Status::Output, "the disk is full", true));
}

#[test]
fn a_failure_here_is_told_on_every_connection() {
    let mut rig = up(1, 3);
    rig.fail(Status::Input, "cannot read");
    assert_eq!(rig.ended(Way::Out), (Status::Input, "cannot read", false));
    assert_eq!(rig.told(is_abort), [0, 1, 2]);
    rig.input(1);
    rig.later(secs(10));
    assert!(rig.sent().is_empty());
    assert_eq!(rig.session.deadline(rig.now), None);
}

#[test]
fn without_the_verdict_it_does_not_claim_to_know() {
    let mut rig = waiting_for_the_verdict();
    rig.lost(0, LossReason::Closed);
    rig.lost(1, LossReason::Closed);
    let (waited, code, why) = rig.endures(Way::Out, &DialError::Refused);
    assert_eq!((waited, code), (15, Status::Incomplete));
    assert!(why.starts_with("all has arrived, but no verdict: "), "{why}");

    let mut rig = waiting_for_the_verdict();
    rig.lost(0, LossReason::Closed);
    rig.lost(1, LossReason::Closed);
    rig.refused(0, RefusalCode::Finished);
    let (code, why, _) = rig.ended(Way::Out);
    assert!(code == Status::Incomplete && why.starts_with("all has arrived, but no verdict: "), "{why}");
}

#[test]
fn a_leg_damaged_four_times_ends_both_ends_with_6() {
    let mut rig = up(1, 1);
    rig.input(1);
    for count in 1..=4 {
        rig.frame(0, Frame::Nack { sequence: 0 });
        if count < 4 {
            rig.frame(0, ack(0, count));
            rig.ready(0);
        }
    }
    assert_eq!(rig.sent().len(), 4);
    assert_eq!(rig.ended(Way::Out).0, Status::Corrupt);
    assert_eq!(rig.told(|f| matches!(f, Frame::Abort(abort) if abort.status == Status::Corrupt)), [0]);
}

#[test]
fn a_welcome_after_the_end_changes_nothing() {
    let mut rig = dialler(1, 2);
    rig.welcomed(0, 7, 0);
    rig.fail(Status::Incomplete, "interrupted");
    rig.welcomed(1, 7, 0);
    assert_eq!((rig.up_count(), rig.drops.len()), (1, 0));
}

// ---- an end before there is anybody to tell -----------------------------------------------------------

#[test]
fn an_input_that_fails_before_the_welcome_is_told_with_it() {
    let mut rig = dialler(1, 2);
    rig.does(|s, now| s.input_failed(now, "cannot read stdin"));
    assert!(!rig.over && rig.settled.is_empty());
    rig.later(secs(1));
    rig.welcomed(1, LISTENER, 0);
    assert_eq!(rig.ended(Way::Out), (Status::Input, "cannot read stdin", false));
    assert_eq!(rig.frames, [(1, abort(Status::Input, "cannot read stdin"))]);
}

#[test]
fn an_input_that_fails_looks_for_its_receiver_for_10_s_and_not_beyond_patience() {
    for (patience, waited) in [(None, 10), (patience(0), 10), (patience(2), 2)] {
        let mut rig = dialler_with(1, 1, patience);
        rig.does(|s, now| s.input_failed(now, "cannot read stdin"));
        assert_eq!(
            rig.endures(Way::Out, &DialError::Refused),
            (waited, Status::Input, "cannot read stdin".into())
        );
    }
    let mut rig = begun(1, 1);
    rig.lost(0, LossReason::Closed);
    rig.does(|s, now| s.input_failed(now, "cannot read stdin"));
    let next = rig.session.sending().unwrap().sender().head();
    rig.welcomed(0, LISTENER, next);
    assert_eq!(rig.told(is_abort), [0], "in mid-session as well");
}

#[test]
fn an_order_to_end_waits_a_moment_for_an_attempt_and_not_at_all_without_one() {
    let mut rig = dialler(1, 1);
    rig.fail(Status::Incomplete, "ended by SIGTERM");
    assert!(!rig.over);
    rig.later(ms(449));
    assert!(!rig.over);
    rig.later(ms(1));
    assert_eq!(rig.ended(Way::Out), (Status::Incomplete, "ended by SIGTERM", false));

    let mut rig = dialler(1, 1);
    rig.failed(0, DialError::Refused);
    rig.fail(Status::Incomplete, "ended by SIGTERM");
    assert!(rig.over);

    let mut rig = dialler(1, 1);
    rig.fail(Status::Incomplete, "ended by SIGTERM");
    rig.failed(0, DialError::Refused);
    assert!(rig.over, "nobody is there");

    let mut rig = dialler(1, 1);
    rig.fail(Status::Incomplete, "ended by SIGTERM");
    rig.welcomed(0, LISTENER, 0);
    assert_eq!((rig.over, rig.told(is_abort)), (true, vec![0]));
}

#[test]
fn an_order_hurries_an_input_that_has_failed() {
    let mut rig = dialler(1, 1);
    rig.does(|s, now| s.input_failed(now, "cannot read stdin"));
    rig.fail(Status::Incomplete, "ended by SIGTERM");
    rig.later(secs(1));
    assert_eq!(rig.ended(Way::Out), (Status::Input, "cannot read stdin", false));
}

#[test]
fn a_receiver_that_has_lost_what_it_confirmed_ends_the_stream_even_if_no_other_connection_is_up() {
    let mut rig = begun(1, 1);
    rig.lost(0, LossReason::Closed);
    rig.welcomed(0, LISTENER, 0);
    let (status, sentence, _) = rig.ended(Way::Out);
    assert_eq!(status, Status::Incomplete);
    assert!(sentence.contains("has lost what it had confirmed"), "{sentence}");
}
