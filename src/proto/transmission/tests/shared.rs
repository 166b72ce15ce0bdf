//! Two streams over the same connections, from the sending side.

use super::*;

// ---- who dials, and owns ------------------------------------------------------------------------------

fn owner(workers: usize) -> Rig {
    let mut rig = Rig::sharing(1, workers, None, Sharing::Owner);
    for worker in 0..workers {
        rig.welcomed(worker, 7, 0);
    }
    rig.ready();
    rig
}

/// An owner whose stream of one leg was judged, with its connections up.
fn settled(code: Status) -> Rig {
    let mut rig = owner(2);
    rig.input(1);
    rig.end_input();
    rig.frame(1, ack(1, 1));
    rig.frame(0, verdict(code, LEN as u64));
    rig.dials.clear();
    rig
}

fn pings(rig: &mut Rig, worker: usize) -> Vec<u64> {
    let token = |(w, frame): &(usize, Frame)| match frame {
        Frame::Ping { token } if *w == worker => Some(*token),
        _ => None,
    };
    rig.tells.iter().filter_map(token).collect()
}

fn pong(rig: &mut Rig, worker: usize) {
    let token = pings(rig, worker).pop().expect("it has asked");
    rig.frame(worker, Frame::Pong { token });
}

#[test]
fn a_stream_that_is_judged_is_settled_and_its_connections_are_kept() {
    let mut rig = settled(Status::Complete);
    assert_eq!(rig.settled, Some(Outcome::there(Status::Complete, "")));
    assert_eq!((rig.ending.clone(), rig.told(|f| *f == Frame::Bye)), (None, vec![0, 1]));
    rig.lost(0, LossReason::Failed("reset".into()));
    let again = Dialled { worker: 0, link: 0, attempt: 2, begun: true, instance: Some(id(7)) };
    assert_eq!(rig.dials, [again]);
    rig.welcomed(0, 7, 1);
    rig.frame(0, verdict(Status::Complete, LEN as u64));
    assert_eq!(rig.told(|f| *f == Frame::Bye), [0], "whoever says it again is answered again");
}

#[test]
fn after_a_verdict_nothing_more_of_the_stream_is_sent() {
    let mut rig = owner(2);
    rig.input(1);
    rig.frame(0, verdict(Status::Output, 0));
    assert_eq!(rig.settled, Some(Outcome::there(Status::Output, "so it is")));
    rig.sends.clear();
    rig.lost(1, LossReason::Closed);
    rig.welcomed(1, 7, 0);
    rig.ready();
    rig.input(3);
    rig.end_input();
    rig.later(secs(20));
    assert_eq!((rig.sent(), rig.told(is_fin), rig.ending), (vec![], vec![], None));
}

#[test]
fn an_owner_that_is_released_goes_when_its_last_word_has_come() {
    let mut rig = settled(Status::Complete);
    rig.does(|s, now| s.release(now));
    assert_eq!(rig.ending, None, "whether bye has come is not known");
    pong(&mut rig, 1);
    assert_eq!(rig.ended().0, Status::Complete);

    let mut rig = settled(Status::Complete);
    pong(&mut rig, 1);
    assert_eq!(rig.ending, None, "the other stream goes on");
    rig.does(|s, now| s.release(now));
    assert_eq!(rig.ended().0, Status::Complete);

    let mut rig = settled(Status::Complete);
    rig.lost(0, LossReason::Closed);
    rig.does(|s, now| s.release(now));
    assert_eq!(rig.ended().0, Status::Complete, "who closes in order has heard it");
}

#[test]
fn it_goes_too_when_nobody_is_there_to_hear_it() {
    let gone = || {
        let mut rig = settled(Status::Complete);
        rig.lost(0, LossReason::Failed("reset".into()));
        rig.lost(1, LossReason::Failed("reset".into()));
        rig.does(|s, now| s.release(now));
        assert_eq!(rig.ending, None);
        rig
    };
    let mut rig = gone();
    rig.failed(0, DialError::Refused);
    assert_eq!(rig.ending, None, "that may have been a connection that broke before its welcome");
    let (waited, code, _) = endures(rig, &DialError::Refused);
    assert_eq!((waited, code), (1, Status::Complete));
    let (waited, code, _) = endures(gone(), &DialError::TimedOut);
    assert_eq!((waited, code), (60, Status::Complete), "as long as a receiver lingers");
    let mut rig = gone();
    rig.refused(0, RefusalCode::NotThatReceiver);
    assert_eq!(rig.ended().0, Status::Complete);
}

#[test]
fn the_other_stream_may_end_first() {
    let mut rig = owner(1);
    rig.does(|s, now| s.release(now));
    rig.input(1);
    rig.end_input();
    assert_eq!(rig.ending, None);
    rig.frame(0, verdict(Status::Complete, LEN as u64));
    pong(&mut rig, 0);
    assert_eq!((rig.settled.is_some(), rig.ended().0), (true, Status::Complete));
}

#[test]
fn while_it_keeps_connections_it_gives_up_as_ever() {
    let mut rig = settled(Status::Complete);
    rig.lost(0, LossReason::Closed);
    rig.lost(1, LossReason::Closed);
    let (waited, code, why) = endures(rig, &DialError::Refused);
    assert_eq!((waited, code), (15, Status::Incomplete));
    assert!(why.starts_with("the receiver is gone") && !why.contains("not known"), "{why}");
}

#[test]
fn what_was_received_of_the_other_stream_binds_to_its_sender() {
    let mut rig = owner(1);
    rig.does(|s, _| s.other_begun());
    rig.lost(0, LossReason::Closed);
    assert_eq!(rig.dials.last().map(|d| (d.begun, d.instance)), Some((true, Some(id(7)))));
    rig.welcomed(0, 8, 0);
    assert_eq!(rig.drops.len(), 1, "another instance has not the rest of it");
    assert_eq!(rig.ended().0, Status::Incomplete);
}

#[test]
fn an_abort_ends_what_is_kept() {
    let mut rig = settled(Status::Complete);
    rig.frame(0, Frame::Abort(Abort { status: Status::Incomplete, sentence: "ended by SIGTERM".into() }));
    assert_eq!(rig.ended(), (Status::Incomplete, "ended by SIGTERM", true));
    let mut rig = settled(Status::Complete);
    rig.does(|s, now| s.fail(now, Outcome::here(Status::Incomplete, "ended by SIGTERM")));
    assert_eq!((rig.ended().0, rig.told(is_abort)), (Status::Incomplete, vec![0, 1]));
}

// ---- who listens, and borrows -------------------------------------------------------------------------

/// Without connections.
fn borrower() -> Rig {
    Rig::sharing(0, 16, None, Sharing::Borrower)
}

impl Rig {
    /// The far end's worker gets a connection on this link, and has all below `known`.
    fn given(&mut self, worker: usize, link: usize, known: u64) {
        let given = Given { worker, link, known, checked: false };
        self.does(|s, now| s.given(now, given));
    }

    /// The same, up and ready.
    fn lent(&mut self, worker: usize, link: usize, known: u64) {
        self.given(worker, link, known);
        self.welcomed(worker, 7, known);
        self.does(|s, now| s.ready(now, worker));
    }
}

#[test]
fn a_borrower_dials_nothing_and_waits_for_ever() {
    let mut rig = borrower();
    rig.input(1);
    rig.pass(secs(100_000), &DialError::Refused);
    assert_eq!((rig.ending.clone(), rig.dials.len(), rig.said()), (None, 0, vec![]));
    rig.lent(5, 3, 0);
    assert_eq!(rig.sent(), [(5, 0)]);
    rig.frame(5, ack(1, 1));
    rig.lost(5, LossReason::Closed);
    rig.pass(secs(100_000), &DialError::Refused);
    assert_eq!((rig.ending.clone(), rig.dials.len(), rig.said()), (None, 0, vec![]));
    assert_eq!(rig.session.deadline(rig.now), None);
}

#[test]
fn what_a_given_connection_carried_goes_over_the_others_and_the_next() {
    let mut rig = borrower();
    rig.lent(0, 0, 0);
    rig.lent(9, 1, 0);
    rig.input(2);
    assert_eq!(rig.sent(), [(0, 0), (9, 1)]);
    rig.lost(0, LossReason::Failed("reset".into()));
    rig.frame(9, ack(0, 1));
    rig.does(|s, now| s.ready(now, 9));
    assert_eq!(rig.sent(), [(9, 0)]);
    rig.lost(9, LossReason::Failed("reset".into()));
    rig.lent(0, 0, 0);
    assert_eq!(rig.sent(), [(0, 0)]);
    assert_eq!(rig.session.stats().connections_lost, 2);
}

#[test]
fn a_connection_given_in_place_of_another_takes_what_that_carried() {
    let mut rig = borrower();
    rig.lent(2, 0, 0);
    rig.input(1);
    rig.lent(2, 1, 0);
    assert_eq!(rig.sent(), [(2, 0), (2, 0)]);
    assert_eq!((rig.session.links().connections(), rig.session.links().link_of(2)), (1, Some(1)));
}

#[test]
fn a_connection_that_was_given_and_never_came_up_is_none() {
    let mut rig = borrower();
    rig.given(2, 0, 0);
    rig.lost(2, LossReason::Silent);
    assert_eq!(rig.session.links().state(2), WorkerState::Resting(rig.now));
    rig.given(2, 0, 0);
    rig.given(2, 1, 0);
    rig.welcomed(2, 7, 0);
    assert_eq!(rig.session.links().link_of(2), Some(1));
    assert_eq!(rig.session.stats().connections_lost, 0);
}

#[test]
fn links_of_the_far_end_are_filled_in_its_order_and_nobody_is_called_home() {
    let mut rig = borrower();
    for (worker, link) in [(0, 1), (1, 1), (4, 0), (5, 0)] {
        rig.lent(worker, link, 0);
    }
    rig.input(4);
    assert_eq!(rig.sent(), [(5, 0), (4, 1), (1, 2), (0, 3)]);
    assert_eq!(rig.leaves, []);
}

#[test]
fn a_silent_connection_is_given_up_here_too() {
    let mut rig = borrower();
    rig.lent(0, 0, 0);
    rig.lent(1, 0, 0);
    rig.input(1);
    let silence = Silence { peer: secs(9), kernel: secs(9) };
    rig.does(|s, now| s.quiet(now, 1, silence));
    assert_eq!(rig.drops, [(1, LossReason::Silent)]);
}

#[test]
fn a_receiver_that_began_nothing_may_be_replaced_and_one_that_did_may_not() {
    let mut rig = borrower();
    rig.lent(0, 0, 0);
    rig.input(1);
    rig.lost(0, LossReason::Closed);
    rig.given(0, 0, 0);
    rig.welcomed(0, 8, 0);
    rig.ready();
    assert_eq!(rig.sent(), [(0, 0), (0, 0)]);
    rig.frame(0, ack(1, 1));
    rig.lost(0, LossReason::Closed);
    rig.given(0, 0, 1);
    rig.welcomed(0, 9, 1);
    assert_eq!(rig.drops.len(), 1);
    assert_eq!((rig.session.links().link_of(0), rig.ending), (None, None));
}

#[test]
fn a_borrower_ends_with_its_stream() {
    let mut rig = borrower();
    rig.lent(0, 0, 0);
    rig.input(1);
    rig.end_input();
    rig.frame(0, ack(1, 1));
    rig.frame(0, verdict(Status::Complete, LEN as u64));
    assert_eq!(rig.told(|f| *f == Frame::Bye), [0]);
    assert_eq!(rig.settled, Some(Outcome::there(Status::Complete, "")));
    assert_eq!(rig.ended().0, Status::Complete);
    assert!(rig.session.begun(), "the peer has all of it");
}
