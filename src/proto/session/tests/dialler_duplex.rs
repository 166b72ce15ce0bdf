//! The end that dials, with a stream each way.

use super::super::super::event::Event;
use super::super::super::hello::RefusalCode;
use super::super::super::leg::{Leg, leg_max, window};
use super::super::super::life::Silence;
use super::super::super::links::{DialError, LossReason};
use super::super::super::outcome::{Outcome, Status};
use super::super::super::way::Way;
use super::super::super::wire::Frame;
use super::super::Farewell;
use super::rig::*;
use std::sync::Arc;
use std::time::Duration;

/// All connections are welcomed and ready.
fn both(connections: usize) -> Rig {
    let mut rig = Rig::dialling(1, connections, None, true);
    (0..connections).for_each(|connection| rig.welcomed(connection, LISTENER, 0));
    rig.all_ready();
    rig.welcomes.clear();
    rig
}

/// The stream that goes out, of one leg, was judged; both connections are up.
fn settled(status: Status) -> Rig {
    let mut rig = both(2);
    rig.input(1);
    rig.end_input();
    rig.frame(1, ack(1, 1));
    rig.frame(0, verdict(status, LEN));
    rig.dials.clear();
    rig
}

/// What a look at connection 0 finds, and whether that is its death.
fn dies(rig: &mut Rig, peer: Duration, kernel: Duration, waits: bool) -> bool {
    rig.does(|s, now| s.quiet(now, 0, Silence { peer, kernel, waits }));
    !std::mem::take(&mut rig.drops).is_empty()
}

fn reset() -> LossReason {
    LossReason::Failed("reset".into())
}

// ---- life ---------------------------------------------------------------------------------------------

#[test]
fn a_peer_that_speaks_lives_while_its_answer_is_behind_its_stream() {
    let asked = || {
        let mut rig = both(1);
        rig.pass(ms(200));
        assert_eq!(rig.pings(0).len(), 1);
        rig.later(secs(20));
        rig
    };
    let mut rig = asked();
    assert!(!dies(&mut rig, ms(400), secs(20), false), "the answer is behind a long queue");
    rig.leg(0, 0);
    rig.later(secs(29));
    assert!(!dies(&mut rig, ms(400), secs(49), false), "which goes on");
    rig.later(secs(1));
    assert!(dies(&mut rig, ms(400), secs(50), false), "nothing of a stream comes, and no answer");
    assert!(dies(&mut asked(), ms(400), secs(20), true), "it takes nothing");
    assert!(dies(&mut asked(), secs(4), secs(20), false), "nor does it say anything");
}

#[test]
fn while_only_the_other_stream_is_to_come_connections_are_asked_as_ever() {
    // the receiver's output had enough before the input ended
    let mut rig = both(1);
    rig.input(1);
    rig.frame(0, ack(1, 1));
    rig.frame(0, verdict(Status::Output, LEN));
    rig.pong(0);
    rig.frames.clear();
    rig.later(secs(1));
    assert_eq!(rig.pings(0).len(), 1);
    rig.later(secs(4));
    assert!(dies(&mut rig, secs(4), secs(4), true));
}

#[test]
fn while_a_stream_comes_connections_are_asked_although_the_other_one_rests() {
    let asks = |bytes: usize, after: u64| {
        let mut rig = both(1);
        rig.pass(ms(200));
        rig.pong(0);
        rig.later(secs(1));
        rig.does(|s, now| s.leg(now, 0, Leg::new(0, 0, Arc::new(vec![0; bytes]))));
        rig.frames.clear();
        rig.later(secs(after));
        rig.pings(0).len() == 1
    };
    assert!(asks(5000, 1) && asks(5000, 9), "more may be on its way");
    assert!(!asks(5000, 10), "it has come to rest");
    assert!(!asks(100, 1), "a keystroke");
}

// ---- the stream that goes out -------------------------------------------------------------------------

#[test]
fn a_stream_that_is_judged_is_settled_and_its_connections_are_kept() {
    let mut rig = settled(Status::Complete);
    assert_eq!(rig.judged(Way::Out), (Status::Complete, "", true));
    assert_eq!((rig.over, rig.told(is_bye)), (false, vec![0, 1]));
    rig.lost(0, reset());
    let again = Dialled {
        connection: 0,
        link: 0,
        attempt: 2,
        begun: true,
        instance: Some(id(LISTENER)),
        segment: None,
    };
    assert_eq!(rig.dials, [again]);
    rig.welcomed(0, LISTENER, 1);
    rig.frame(0, verdict(Status::Complete, LEN));
    assert_eq!(rig.told(is_bye), [0], "whoever says it again is answered again");
}

#[test]
fn after_a_verdict_nothing_more_of_the_stream_is_sent() {
    let mut rig = both(2);
    rig.input(1);
    rig.frame(0, verdict(Status::Output, 0));
    assert_eq!(rig.judged(Way::Out), (Status::Output, "so it is", true));
    rig.forget();
    rig.lost(1, LossReason::Closed);
    rig.welcomed(1, LISTENER, 0);
    rig.all_ready();
    rig.input(3);
    rig.end_input();
    rig.later(secs(20));
    assert_eq!((rig.sent(), rig.told(is_fin), rig.over), (vec![], vec![], false));
}

#[test]
fn a_receiver_whose_output_failed_may_want_what_it_has_counted() {
    let mut rig = both(2);
    rig.input(2);
    rig.frame(0, ack(0, 1));
    rig.frame(1, ack(2, 1));
    rig.frame(0, verdict(Status::Output, 0));
    rig.lost(0, reset());
    rig.welcomed(0, LISTENER, 1);
    assert_eq!((rig.up_count(), rig.over), (2, false), "nothing more of that stream is sent");
}

#[test]
fn it_goes_when_the_other_stream_is_over_and_its_last_word_has_come() {
    let mut rig = settled(Status::Complete);
    rig.empty_stream_comes(1);
    assert_eq!(rig.judged(Way::In), (Status::Complete, "", false));
    assert!(!rig.over, "whether bye has come is not known");
    rig.pong(1);
    assert_eq!(rig.ended(Way::Out).0, Status::Complete);

    let mut rig = settled(Status::Complete);
    rig.pong(1);
    assert!(!rig.over, "the other stream goes on");
    rig.empty_stream_comes(1);
    assert_eq!(rig.ended(Way::Out).0, Status::Complete);

    let mut rig = settled(Status::Complete);
    rig.lost(0, LossReason::Closed);
    rig.empty_stream_comes(1);
    assert_eq!(rig.ended(Way::Out).0, Status::Complete, "who closes in order has heard it");
    assert_eq!(rig.session.farewell(), Farewell::First);
}

#[test]
fn it_goes_too_when_nobody_is_there_to_hear_it() {
    let gone = || {
        let mut rig = settled(Status::Complete);
        rig.empty_stream_comes(1);
        rig.lost(0, reset());
        rig.lost(1, reset());
        assert!(!rig.over);
        rig.dials.clear();
        rig
    };
    let mut rig = gone();
    rig.failed(0, DialError::Refused);
    assert!(!rig.over, "that may have been a connection that broke before its welcome");
    rig.failed(1, DialError::Refused);
    let (waited, status, _) = rig.endures(Way::Out, &DialError::Refused);
    assert_eq!((waited, status), (1, Status::Complete));
    let mut rig = gone();
    rig.failed(0, DialError::TimedOut);
    rig.failed(1, DialError::TimedOut);
    let (waited, status, _) = rig.endures(Way::Out, &DialError::TimedOut);
    assert_eq!((waited, status), (60, Status::Complete), "as long as a receiver lingers");
    let mut rig = gone();
    rig.refused(0, RefusalCode::NotThatReceiver);
    assert_eq!(rig.ended(Way::Out).0, Status::Complete);
}

#[test]
fn the_other_stream_may_end_first() {
    let mut rig = both(1);
    rig.empty_stream_comes(0);
    rig.input(1);
    rig.end_input();
    assert!(!rig.over);
    rig.frame(0, verdict(Status::Complete, LEN));
    assert!(!rig.over, "whether bye has come is not known");
    rig.pong(0);
    assert_eq!(rig.ended(Way::Out), (Status::Complete, "", true));
}

#[test]
fn while_it_keeps_connections_it_gives_up_as_ever() {
    let mut rig = settled(Status::Complete);
    rig.lost(0, LossReason::Closed);
    rig.lost(1, LossReason::Closed);
    let (waited, status, why) = rig.endures(Way::In, &DialError::Refused);
    assert_eq!((waited, status), (15, Status::Incomplete));
    assert!(why.starts_with("the receiver is gone") && !why.contains("not known"), "{why}");
}

#[test]
fn what_was_received_of_the_other_stream_binds_to_its_sender() {
    for comes in [false, true] {
        let mut rig = both(1);
        match comes {
            true => rig.leg(0, 0),
            false => rig.frame(0, fin(1)),
        }
        rig.lost(0, LossReason::Closed);
        assert_eq!(rig.dials.last().map(|d| (d.begun, d.instance)), Some((true, Some(id(LISTENER)))));
        rig.welcomed(0, LISTENER + 1, 0);
        assert_eq!(rig.drops.len(), 1, "another instance has not the rest of it");
        assert_eq!(rig.ended(Way::Out).0, Status::Incomplete);
    }
}

// ---- the stream that comes in -------------------------------------------------------------------------

#[test]
fn every_connection_is_welcomed_back_with_a_window_that_is_there_from_the_start() {
    let mut rig = Rig::dialling(1, 2, None, true);
    rig.welcomed(0, LISTENER, 0);
    let [(0, welcome)] = &rig.welcomes[..] else { panic!("{:?}", rig.welcomes) };
    assert_eq!((welcome.instance, welcome.next), (id(DIALLER), 0));
    assert_eq!(welcome.edge.bytes, window(128 << 20, leg_max(128 << 20, u64::MAX)));
    rig.leg(0, 0);
    rig.lost(0, LossReason::Closed);
    rig.welcomed(0, LISTENER, 0);
    assert_eq!((rig.welcomes[1].1.next, &rig.delivers[..]), (1, &[0][..]));
    assert_eq!(rig.session.losses().count, 1, "once for both streams");
}

#[test]
fn its_verdict_is_told_on_connections_that_come_later_and_bye_ends_it() {
    let mut rig = both(2);
    rig.leg(0, 0);
    rig.frame(0, fin(1));
    rig.delivered(1);
    rig.lost(0, LossReason::Closed);
    rig.lost(1, LossReason::Closed);
    rig.output_closed();
    assert_eq!(rig.judged(Way::In), (Status::Complete, "", false));
    assert!(rig.verdicts().is_empty());
    rig.welcomed(1, LISTENER, 0);
    assert_eq!(rig.verdicts(), [(1, Status::Complete)]);
    rig.frame(1, Frame::Bye);
    rig.later(secs(1));
    assert!(rig.acks().is_empty(), "it is over, and the other one goes on");
    assert!(!rig.over);
}

#[test]
fn without_bye_it_is_kept_while_the_other_stream_goes_on_and_then_lingers() {
    let mut rig = both(1);
    rig.input(1);
    rig.end_input();
    rig.frame(0, ack(1, 1));
    rig.output_failed(Status::Output, "nobody reads");
    rig.pass(secs(10_000));
    assert_eq!(rig.up_count(), 1, "the other stream goes on, and may bring somebody who wants to know");
    rig.lost(0, reset());
    rig.forget();
    rig.welcomed(0, LISTENER, 1);
    assert_eq!(rig.verdicts(), [(0, Status::Output)]);
    rig.frame(0, verdict(Status::Complete, LEN));
    rig.pong(0);
    let (waited, ..) = rig.endures(Way::In, &DialError::Refused);
    assert_eq!(waited, 60);
}

#[test]
fn what_is_received_is_progress_too() {
    let mut rig = both(1);
    rig.leg(0, 0);
    rig.lost(0, LossReason::Silent);
    rig.pass_with(secs(6), &DialError::TimedOut);
    assert!(matches!(rig.said()[..], [Event::Waiting { .. }]));
    rig.later(secs(5));
    rig.welcomed(0, LISTENER, 0);
    assert_eq!(rig.said(), []);
    rig.leg(0, 1);
    assert_eq!(rig.said(), [Event::WorksAgain { begun: true }]);
}

// ---- both ---------------------------------------------------------------------------------------------

#[test]
fn an_abort_ends_what_is_kept() {
    let mut rig = settled(Status::Complete);
    rig.frame(0, abort(Status::Incomplete, "ended by SIGTERM"));
    assert_eq!(rig.ended(Way::In), (Status::Incomplete, "ended by SIGTERM", true));
    assert_eq!(rig.ended(Way::Out).0, Status::Complete, "that was judged");
    let mut rig = settled(Status::Complete);
    rig.fail(Status::Incomplete, "ended by SIGTERM");
    assert_eq!((rig.ended(Way::In).0, rig.told(is_abort)), (Status::Incomplete, vec![0, 1]));
}

#[test]
fn an_input_that_fails_ends_both_and_the_peer_hears_why() {
    let mut rig = both(2);
    rig.does(|s, now| s.input_failed(now, "cannot read stdin"));
    assert_eq!(rig.ended(Way::Out), (Status::Input, "cannot read stdin", false));
    assert_eq!(rig.ended(Way::In), (Status::Incomplete, "cannot read stdin", false));
    let aborts = rig.frames.iter().filter(|(_, frame)| *frame == abort(Status::Input, "cannot read stdin"));
    assert_eq!(aborts.count(), 2);
    assert_eq!(rig.session.farewell(), Farewell::All);
}

#[test]
fn a_session_that_is_given_up_ends_both_streams_with_the_reason() {
    let mut rig = Rig::dialling(1, 1, None, true);
    rig.refused(0, RefusalCode::Checkphrase);
    let refused = |way| rig.session.outcome(way).map(|Outcome { status, .. }| *status);
    assert_eq!((refused(Way::Out), refused(Way::In)), (Some(Status::Refused), Some(Status::Refused)));
    assert!(rig.over);
}

#[test]
fn whoever_has_met_nobody_has_not_begun_although_its_output_has_failed() {
    let mut rig = Rig::dialling(1, 1, None, true);
    rig.output_failed(Status::Output, "the reader is gone");
    assert_eq!(rig.judged(Way::In).0, Status::Output);
    assert!(!rig.session.has_begun() && !rig.session.has_received());
    rig.forget();
    rig.failed(0, DialError::Refused);
    rig.later(secs(1));
    assert_eq!(rig.dials.iter().map(|dial| dial.begun).collect::<Vec<_>>(), [false]);
    rig.welcomed(0, LISTENER, 0);
    assert_eq!(rig.verdicts(), [(0, Status::Output)], "the first receiver hears of it");
    assert!(rig.session.has_begun(), "and no other can be told it");

    let mut rig = Rig::dialling(1, 1, None, true);
    rig.output_failed(Status::Output, "the reader is gone");
    rig.failed(0, DialError::Refused);
    let (waited, status, _) = rig.endures(Way::Out, &DialError::Refused);
    assert_eq!((waited, status), (60, Status::Incomplete), "as long as any receiver is looked for");
}

#[test]
fn that_all_has_arrived_is_said_of_the_stream_that_goes_out_alone() {
    let waiting = || {
        let mut rig = both(2);
        rig.input(1);
        rig.end_input();
        rig.frame(1, ack(1, 1));
        rig.lost(0, LossReason::Closed);
        rig.lost(1, LossReason::Closed);
        rig
    };
    let said = |way| waiting().endures(way, &DialError::Refused).2;
    let why = said(Way::In);
    assert!(why.starts_with("the receiver is gone"), "{why}");
    assert_eq!(said(Way::Out), format!("all has arrived, but no verdict: {why}"));
}
