//! Two streams over the same connections, from the receiving side.

use super::*;

// ---- who listens, and owns ----------------------------------------------------------------------------

/// A stream of one leg was delivered, the output closed well, the verdict told; connections 0 and 1 are up.
fn settled(patience: Option<Duration>) -> Rig {
    let mut rig = Rig::sharing(patience, Sharing::Owner);
    rig.hello(&hello(0, 1)).unwrap();
    rig.hello(&hello(1, 1)).unwrap();
    rig.leg(0, 0);
    rig.does(|s, now| s.fin(now, fin(1))).unwrap();
    rig.delivered(1);
    rig.does(|s, now| s.output_closed(now, None));
    assert_eq!(rig.settled, Some(Outcome::here(Status::Complete, "")));
    assert_eq!(rig.verdicts(), [(0, Status::Complete), (1, Status::Complete)]);
    rig
}

#[test]
fn connections_are_let_in_after_the_stream_has_ended() {
    let mut rig = settled(None);
    rig.does(|s, _| s.bye());
    rig.lost(0, Loss::Closed);
    rig.lost(1, Loss::Closed);
    rig.pass(secs(30));
    let welcome = rig.hello(&begun(0, 2)).unwrap().welcome;
    assert_eq!((welcome.next, rig.ending.clone()), (1, None));
    assert_eq!(rig.verdicts(), [(0, Status::Complete)], "for whoever has missed it");
    assert_eq!(rig.hello(&other_session()).err(), Some(RefusalCode::Finished));
    rig.pass(secs(10_000));
    assert_eq!(rig.ending, None);
    rig.does(|s, _| s.release());
    assert_eq!(rig.ended().0, Status::Complete);
}

#[test]
fn an_owner_that_is_released_waits_for_bye_as_ever() {
    let mut rig = settled(None);
    rig.does(|s, _| s.release());
    assert_eq!(rig.ending, None);
    rig.does(|s, _| s.bye());
    assert_eq!(rig.ended().0, Status::Complete);

    let mut rig = settled(None);
    rig.does(|s, _| s.release());
    assert_eq!(rig.endures(), (60, Status::Complete, String::new()));
}

#[test]
fn the_other_stream_may_end_first() {
    let mut rig = Rig::sharing(None, Sharing::Owner);
    rig.hello(&hello(0, 1)).unwrap();
    rig.does(|s, _| s.release());
    rig.leg(0, 0);
    rig.does(|s, now| s.fin(now, fin(1))).unwrap();
    rig.delivered(1);
    rig.does(|s, now| s.output_closed(now, None));
    assert_eq!(rig.ending, None);
    rig.does(|s, _| s.bye());
    assert_eq!(rig.ended().0, Status::Complete);
}

#[test]
fn while_it_keeps_connections_it_gives_the_sender_up_as_ever() {
    for (patience, seconds) in [(None, 60), (Some(secs(4)), 4)] {
        let mut rig = settled(patience);
        rig.does(|s, _| s.bye());
        rig.lost(0, Loss::Closed);
        rig.lost(1, Loss::Closed);
        let (waited, code, _) = rig.endures();
        assert_eq!((waited, code), (seconds, Status::Incomplete));
    }
}

#[test]
fn what_was_sent_of_the_other_stream_keeps_the_session() {
    let mut rig = Rig::sharing(None, Sharing::Owner);
    rig.hello(&hello(0, 1)).unwrap();
    rig.lost(0, Loss::Closed);
    rig.pass(secs(6));
    assert!(rig.hello(&other_session()).is_ok(), "nothing had begun");

    let mut rig = Rig::sharing(None, Sharing::Owner);
    rig.hello(&hello(0, 1)).unwrap();
    rig.does(|s, _| s.other_begun());
    rig.lost(0, Loss::Closed);
    rig.pass(secs(6));
    assert_eq!(rig.hello(&other_session()).err(), Some(RefusalCode::Busy));
    assert_eq!(rig.endures().0, 54, "it is gone after a minute, as ever");
}

#[test]
fn waiting_is_over_when_a_connection_is_back_though_no_leg_comes() {
    let mut rig = settled(None);
    rig.does(|s, _| s.bye());
    rig.lost(0, Loss::Closed);
    rig.lost(1, Loss::Closed);
    rig.pass(secs(10));
    assert_eq!(rig.said().len(), 1);
    rig.hello(&begun(0, 2)).unwrap();
    assert_eq!(rig.said(), [Event::WorksAgain { begun: true }]);
}

#[test]
fn an_output_that_failed_settles_its_stream_and_an_abort_ends_both() {
    let mut rig = Rig::sharing(None, Sharing::Owner);
    rig.hello(&hello(0, 1)).unwrap();
    rig.does(|s, now| s.output_failed(now, Status::Output, "the disk is full"));
    assert_eq!(rig.settled, Some(Outcome::here(Status::Output, "the disk is full")));
    rig.does(|s, _| s.bye());
    assert_eq!(rig.ending, None);
    rig.does(|s, _| s.abort(Abort { status: Status::Incomplete, sentence: "ended by SIGTERM".into() }));
    assert_eq!(rig.ended(), (Status::Incomplete, "ended by SIGTERM", true));
}

// ---- who dials, and borrows ---------------------------------------------------------------------------

fn borrower() -> Rig {
    Rig::sharing(None, Sharing::Borrower)
}

#[test]
fn a_borrower_has_its_window_from_the_start_and_waits_for_ever() {
    let mut rig = borrower();
    let Position { next, delivered, edge } = rig.side.position();
    assert_eq!((next, delivered, edge.bytes), (0, 0, window(128 << 20, leg_max(128 << 20, u64::MAX))));
    rig.pass(secs(100_000));
    rig.does(|s, now| s.given(now, 3, 1));
    rig.leg(3, 0);
    rig.lost(3, Loss::Closed);
    rig.pass(secs(100_000));
    assert_eq!((rig.ending.clone(), rig.said(), rig.side.connections_lost()), (None, vec![], 1));
    assert_eq!(rig.delivers, [0]);
}

#[test]
fn its_verdict_is_told_on_connections_given_later_and_bye_ends_it() {
    let mut rig = borrower();
    rig.does(|s, now| s.given(now, 0, 0));
    rig.leg(0, 0);
    rig.does(|s, now| s.fin(now, fin(1))).unwrap();
    rig.delivered(1);
    rig.lost(0, Loss::Closed);
    rig.does(|s, now| s.output_closed(now, None));
    assert_eq!((rig.settled.clone(), rig.verdicts()), (Some(Outcome::here(Status::Complete, "")), vec![]));
    rig.does(|s, now| s.given(now, 5, 2));
    assert_eq!(rig.verdicts(), [(5, Status::Complete)]);
    assert_eq!(rig.ending, None);
    rig.does(|s, _| s.bye());
    assert_eq!(rig.ended().0, Status::Complete);
}

#[test]
fn without_bye_it_lingers_and_what_stops_the_owner_stops_it() {
    let judged = || {
        let mut rig = borrower();
        rig.does(|s, now| s.given(now, 0, 0));
        rig.does(|s, now| s.output_failed(now, Status::Output, "nobody reads"));
        rig
    };
    let mut rig = judged();
    rig.pass(secs(10_000));
    assert_eq!(rig.ending, None, "the other stream goes on, and may bring somebody who wants to know");
    rig.verdicts();
    rig.does(|s, now| s.given(now, 1, 0));
    assert_eq!(rig.verdicts(), [(1, Status::Output)]);
    rig.does(|s, now| s.other_settled(now));
    assert_eq!(rig.endures(), (60, Status::Complete, String::new()), "how it went is settled");
    let mut rig = judged();
    rig.does(|s, _| s.fail(Outcome::here(Status::Incomplete, "the receiver is gone")));
    assert_eq!(rig.ended().1, "the receiver is gone");
}

#[test]
fn a_session_that_was_forgotten_with_legs_on_the_way_there_is_taken_again() {
    let mut rig = Rig::sharing(None, Sharing::Owner);
    rig.hello(&hello(0, 1)).unwrap();
    rig.lost(0, Loss::Closed);
    rig.pass(secs(10));
    assert!(rig.side.receiver().is_none(), "nothing has begun, as far as is known here");
    let unnamed = Hello { instance: None, ..begun(0, 2) };
    assert_eq!(rig.hello(&unnamed).err(), Some(RefusalCode::NotThatReceiver));
    let again = rig.hello(&begun(0, 2)).unwrap();
    assert_eq!(again.welcome.next, 0);
}
