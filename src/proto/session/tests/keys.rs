//! Where connections are encrypted: whose session it is, and when its peer is trusted no more.

use super::super::super::event::Event;
use super::super::super::hello::{Hello, RefusalCode, Welcome};
use super::super::super::links::{DialError, LossReason};
use super::super::super::outcome::{Outcome, Status};
use super::super::super::peer_key::PeerKey;
use super::super::super::way::Way;
use super::super::super::wire::Frame;
use super::super::{Session, Whereabouts};
use super::rig::*;
use std::time::Instant;

const THEIRS: Option<PeerKey> = Some(PeerKey([1; 32]));
const ANOTHERS: Option<PeerKey> = Some(PeerKey([2; 32]));

/// Whoever has this key says hello.
fn says(rig: &mut Rig, key: Option<PeerKey>, hello: &Hello) -> Result<Welcome, RefusalCode> {
    rig.does(|s, now| s.hello(now, hello, key)).map_err(|refusal| refusal.code)?;
    Ok(rig.welcomes.pop().expect("a welcome").1)
}

/// Whoever has this key, as this instance, welcomes a connection, some time after its dial.
fn welcomes(rig: &mut Rig, key: Option<PeerKey>, connection: usize, instance: u8) {
    rig.later(ms(50));
    let next = rig.session.sending().map_or(0, |sending| sending.sender().head());
    rig.does(|s, now| s.welcomed(now, connection, &welcome(instance, next), key, RTT));
}

/// The next connection that is dialled is welcomed by whoever has this key.
fn answers(rig: &mut Rig, key: Option<PeerKey>, instance: u8) {
    let dialling = |rig: &Rig| {
        let is_dialled = |c: &usize| matches!(rig.session.whereabouts(*c), Whereabouts::Dialling(_));
        (0..2).find(is_dialled)
    };
    for _ in 0..100 {
        if let Some(connection) = dialling(rig) {
            return welcomes(rig, key, connection, instance);
        }
        rig.later(ms(100));
    }
    panic!("nothing is dialled");
}

/// Connections 0 and 1 of whoever has that key are up, and nothing has come.
fn met() -> Rig {
    let mut rig = listener();
    says(&mut rig, THEIRS, &hello(0, 1)).unwrap();
    says(&mut rig, THEIRS, &hello(1, 1)).unwrap();
    rig.forget();
    rig
}

/// One leg has come.
fn met_and_begun() -> Rig {
    let mut rig = met();
    rig.leg(0, 0);
    rig.forget();
    rig
}

/// A connection on each of two links, to a receiver of that key.
fn dialled() -> Rig {
    let mut rig = dialler(2, 2);
    (0..2).for_each(|connection| welcomes(&mut rig, THEIRS, connection, LISTENER));
    rig.all_ready();
    rig.forget();
    rig
}

fn dialled_and_begun() -> Rig {
    let mut rig = dialled();
    rig.input(2);
    (0..2).for_each(|connection| rig.frame(connection, ack(2, 1)));
    assert!(rig.session.has_begun());
    rig.forget();
    rig
}

// ---- whose session it is ------------------------------------------------------------------------------

#[test]
fn another_key_that_names_the_session_is_a_stranger() {
    for stranger in [ANOTHERS, None] {
        let mut rig = met_and_begun();
        for hello in [hello(0, 9), hello(5, 1), begun_hello(0, 9), begun_hello(5, 1)] {
            assert_eq!(says(&mut rig, stranger, &hello).err(), Some(RefusalCode::Busy));
        }
        assert_eq!((rig.drops.len(), rig.up_count(), rig.over), (0, 2, false));
        assert_eq!(rig.session.peer_key(), THEIRS);
        // nor has it used up anybody's attempts
        assert!(says(&mut rig, THEIRS, &begun_hello(0, 2)).is_ok());
        rig.leg(1, 1);
        assert_eq!(rig.delivers, [1]);
    }
}

#[test]
fn a_session_that_has_not_begun_gives_way_to_another_key_that_names_it() {
    let mut rig = met();
    assert_eq!(says(&mut rig, ANOTHERS, &hello(0, 9)).err(), Some(RefusalCode::Busy), "no time to begin");
    rig.pass(secs(1));
    rig.forget();
    assert!(says(&mut rig, ANOTHERS, &hello(3, 1)).is_ok());
    assert_eq!(rig.session.peer_key(), ANOTHERS);
    assert_eq!(rig.drops, [(0, LossReason::Left), (1, LossReason::Left)], "none of theirs is left");
    rig.leg(3, 0);
    assert_eq!(says(&mut rig, THEIRS, &hello(0, 2)).err(), Some(RefusalCode::Busy));
}

#[test]
fn who_says_no_more_than_hello_keeps_nobody_out_for_long() {
    let mut rig = listener();
    says(&mut rig, THEIRS, &hello(0, 1)).unwrap();
    rig.pass(ms(900));
    assert_eq!(says(&mut rig, ANOTHERS, &hello(0, 1)).err(), Some(RefusalCode::Busy));
    rig.pass(ms(100));
    assert!(says(&mut rig, ANOTHERS, &hello(0, 1)).is_ok());
}

#[test]
fn who_was_there_first_keeps_its_place_while_it_shows_life() {
    let mut rig = listener();
    says(&mut rig, THEIRS, &hello(0, 1)).unwrap();
    let anothers = |rig: &mut Rig| says(rig, ANOTHERS, &hello(0, 1)).err();
    for token in 0..4 {
        rig.frame(0, Frame::Ping { token });
        rig.pass(secs(25));
        assert_eq!(anothers(&mut rig), Some(RefusalCode::Busy), "it has nothing to send yet");
    }
    // one that has gone does not, once it had time to come again
    rig.lost(0, LossReason::Closed);
    rig.pass(ms(900));
    assert_eq!(anothers(&mut rig), Some(RefusalCode::Busy));
    rig.pass(ms(100));
    assert_eq!(anothers(&mut rig), None);
}

#[test]
fn a_judged_session_tells_no_other_key_how_it_went() {
    let mut rig = met_and_begun();
    rig.frame(0, fin(1));
    rig.delivered(1);
    rig.output_closed();
    rig.forget();
    assert_eq!(says(&mut rig, ANOTHERS, &begun_hello(4, 1)).err(), Some(RefusalCode::Finished));
    assert!(rig.verdicts().is_empty());
    assert!(says(&mut rig, THEIRS, &begun_hello(4, 1)).is_ok());
    assert_eq!(rig.verdicts(), [(4, Status::Complete)]);
}

#[test]
fn the_first_receivers_key_is_every_receivers() {
    // of the same instance, as whoever has seen its welcome would say, and of another
    for instance in [LISTENER, LISTENER + 1] {
        let mut rig = dialler(2, 2);
        welcomes(&mut rig, THEIRS, 0, LISTENER);
        rig.all_ready();
        rig.forget();
        welcomes(&mut rig, ANOTHERS, 1, instance);
        assert_eq!(rig.drops, [(1, LossReason::Left)]);
        assert_eq!(rig.said(), [Event::OtherReceiver { link: 1 }]);
        assert_eq!(rig.session.peer_key(), THEIRS);
        rig.input(1);
        assert_eq!((rig.sent(), rig.over), (vec![(0, 0)], false));
        rig.frame(0, ack(1, 1));
        rig.end_input();
        rig.frame(0, verdict(Status::Complete, LEN));
        assert_eq!(rig.judged(Way::Out).0, Status::Complete);
    }
}

#[test]
fn a_welcome_that_is_a_breach_does_not_make_its_key_the_receivers() {
    let mut rig = dialler(2, 2);
    // a leg that was never sent
    rig.does(|s, now| s.welcomed(now, 0, &welcome(LISTENER, 5), ANOTHERS, RTT));
    assert!(matches!(rig.drops[..], [(0, LossReason::Breach(_))]), "{:?}", rig.drops);
    welcomes(&mut rig, THEIRS, 1, 8);
    assert_eq!((rig.up_count(), rig.over), (1, false));
}

#[test]
fn another_key_is_not_believed_when_no_connection_is_left_either() {
    for begun in [false, true] {
        let mut rig = if begun { dialled_and_begun() } else { dialled() };
        (0..2).for_each(|connection| rig.lost(connection, LossReason::Closed));
        answers(&mut rig, ANOTHERS, LISTENER);
        assert_eq!((rig.up_count(), rig.session.peer_key(), rig.over), (0, THEIRS, false));
        // the same receiver started again is one that has its key
        answers(&mut rig, THEIRS, if begun { LISTENER } else { LISTENER + 1 });
        assert_eq!((rig.up_count(), rig.session.peer_key()), (1, THEIRS));
    }
}

#[test]
fn a_connection_that_comes_up_names_the_key() {
    let mut rig = dialler(1, 1);
    welcomes(&mut rig, THEIRS, 0, LISTENER);
    let up = |event: &Event| matches!(event, Event::ConnectionUp { key, .. } if *key == THEIRS);
    assert!(rig.events.iter().any(up), "{:?}", rig.events);
}

// ---- whoever has not proved a key ---------------------------------------------------------------------

fn unproven() -> DialError {
    DialError::Unproven("what answers there is not encrypted".into())
}

#[test]
fn who_has_not_proved_a_key_is_asked_again_and_refuses_only_when_patience_is_over() {
    for (given, waits) in [(None, 60), (patience(9), 9)] {
        let (waited, status, why) = dialler_with(1, 2, given).endures(Way::Out, &unproven());
        assert_eq!((waited, status), (waits, Status::Refused), "{why}");
        assert!(why.contains("host0: what answers there is not encrypted"), "{why}");
    }
    // once it has begun it was somebody on the way, and not the receiver
    let mut rig = begun_with(1, 1, patience(9));
    rig.lost(0, LossReason::Failed("reset".into()));
    let (waited, status, _) = rig.endures(Way::Out, &unproven());
    assert_eq!((waited, status), (9, Status::Incomplete));
}

#[test]
fn what_anybody_can_say_for_a_receiver_with_a_key_is_believed_late() {
    for why in [DialError::Refused, DialError::Closed, unproven()] {
        let mut rig = dialled_and_begun();
        (0..2).for_each(|connection| rig.lost(connection, LossReason::Closed));
        let (waited, status, told) = rig.endures(Way::Out, &why);
        assert_eq!((waited, status), (300, Status::Incomplete), "{told}");
        assert!(told.starts_with("the receiver is gone: "), "{told}");
    }
    // silence is no word at all
    let mut rig = dialled_and_begun();
    (0..2).for_each(|connection| rig.lost(connection, LossReason::Silent));
    assert_eq!(rig.endures(Way::Out, &DialError::TimedOut).0, 3600);
}

#[test]
fn a_sender_with_a_key_whose_connections_were_closed_is_waited_for_longer() {
    let mut rig = met_and_begun();
    (0..2).for_each(|connection| rig.lost(connection, LossReason::Closed));
    rig.pass(secs(299));
    assert!(!rig.over);
    rig.pass(secs(2));
    let (status, why, _) = rig.ended(Way::In);
    assert_eq!(status, Status::Incomplete);
    assert!(why.contains("the sender is gone"), "{why}");
}

#[test]
fn who_has_not_proved_a_key_on_one_link_ends_nothing() {
    let mut rig = dialler(2, 2);
    for _ in 0..5 {
        rig.failed(0, unproven());
        rig.later(secs(5));
    }
    assert!(!rig.over);
    rig.failed(1, DialError::Closed);
    rig.later(secs(5));
    assert!(!rig.over);
    let second = rig.dials.iter().rev().find(|dial| dial.connection == 1).map(|dial| dial.link);
    assert_eq!(second, Some(1));
    welcomes(&mut rig, THEIRS, 1, LISTENER);
    rig.input(1);
    rig.ready(1);
    rig.frame(1, ack(1, 1));
    rig.pass_with(secs(120), &unproven());
    assert!(!rig.over);
}

#[test]
fn a_receiver_that_does_not_let_the_key_in_refuses_for_good() {
    let mut rig = dialler(1, 1);
    rig.refused(0, RefusalCode::Key);
    assert_eq!(rig.ended(Way::Out).0, Status::Refused);
    // on one link of a session that goes on elsewhere it is no more than that link's end
    let mut rig = dialled_and_begun();
    rig.lost(1, LossReason::Closed);
    rig.later(secs(1));
    rig.refused(1, RefusalCode::Key);
    rig.pass(secs(100));
    assert!(!rig.over);
}

// ---- a key that is taken out --------------------------------------------------------------------------

fn distrust(key: Option<PeerKey>) -> impl Fn(&mut Session, Instant) {
    let outcome = Outcome::here(Status::Refused, "taken out");
    move |session, now| session.distrust(now, key.unwrap(), &outcome)
}

#[test]
fn a_session_that_has_begun_ends_with_the_trust_in_its_peer() {
    for mut rig in [met_and_begun(), dialled_and_begun(), dialled()] {
        rig.does(distrust(ANOTHERS));
        assert_eq!((rig.over, rig.frames.len(), rig.drops.len()), (false, 0, 0));
        rig.does(distrust(THEIRS));
        assert!(rig.over);
        let aborts = |frame: &Frame| matches!(frame, Frame::Abort(abort) if abort.status == Status::Refused);
        assert_eq!(rig.told(aborts), [0, 1], "and the peer is told");
        rig.does(distrust(THEIRS));
        assert!(rig.frames.is_empty(), "once");
    }
}

#[test]
fn a_session_of_which_nothing_has_come_is_forgotten_with_the_trust_in_its_peer() {
    let mut rig = met();
    rig.does(distrust(THEIRS));
    assert_eq!(rig.drops, [(0, LossReason::Left), (1, LossReason::Left)]);
    assert_eq!((rig.over, rig.up_count()), (false, 0));
    rig.pass(secs(6));
    assert_eq!((rig.over, rig.session.peer_key()), (false, None));
    assert!(says(&mut rig, ANOTHERS, &other_session()).is_ok(), "it goes on waiting");
}

#[test]
fn the_key_of_a_session_that_never_began_shuts_nobody_out() {
    let mut rig = Rig::listening(None, true);
    let comes = |rig: &mut Rig, key, hello: &Hello, instance| {
        says(rig, key, hello).unwrap();
        welcomes(rig, key, 0, instance);
        assert_eq!((rig.up_count(), rig.drops.len()), (1, 0), "{key:?}");
    };
    comes(&mut rig, THEIRS, &hello(0, 1), DIALLER);
    rig.lost(0, LossReason::Closed);
    rig.pass(secs(10));
    comes(&mut rig, ANOTHERS, &other_session(), LISTENER);
}

#[test]
fn a_sender_that_has_met_nobody_trusts_whom_it_will_meet() {
    let mut rig = dialler(1, 1);
    rig.does(distrust(THEIRS));
    assert_eq!((rig.over, rig.session.peer_key()), (false, None));
    welcomes(&mut rig, ANOTHERS, 0, LISTENER);
    assert_eq!(rig.up_count(), 1);
}
