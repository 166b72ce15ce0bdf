//! A stream that has to wait for its turn: one connection suffices at both ends, until all are wanted.

use super::super::super::breach::Breach;
use super::super::super::hello::{Direction, Hello, RefusalCode};
use super::super::super::links::LossReason;
use super::super::super::outcome::Status;
use super::super::super::peer_key::PeerKey;
use super::super::super::way::Way;
use super::super::super::wire::LegHeader;
use super::super::{DiallerConfig, InboundConfig, Landing, OutboundConfig, Session};
use super::rig::*;
use std::time::Instant;

fn dialler(links: usize) -> Rig {
    let now = Instant::now();
    let links = (0..links).map(|link| format!("host{link}")).collect();
    let dials = DiallerConfig { waits: true, ..DiallerConfig::new(hello(0, 0), links, 4, 1) };
    Rig::of(now, Session::dialling(now, dials, Some(inbound(DIALLER, None)), true))
}

/// Hellos of other sessions come to others.
fn listener() -> Rig {
    let now = Instant::now();
    let receives = InboundConfig { waits: true, of_one: true, ..inbound(LISTENER, None) };
    let sends = Some(OutboundConfig { buffer: 128 << 20 });
    Rig::of(now, Session::listening(now, receives, sends, true))
}

fn asks(connection: u8, attempt: u32) -> Hello {
    Hello { direction: Direction::Duplex, ..hello(connection, attempt) }
}

fn dialled(rig: &mut Rig) -> Vec<usize> {
    std::mem::take(&mut rig.dials).into_iter().map(|dial| dial.connection).collect()
}

#[test]
fn whoever_waits_dials_one_connection_and_the_others_when_it_waits_no_longer() {
    let mut rig = dialler(1);
    assert_eq!(dialled(&mut rig), [0]);
    rig.welcomed(0, LISTENER, 0);
    rig.later(secs(2));
    assert_eq!(dialled(&mut rig), [0; 0]);
    rig.lost(0, LossReason::Closed);
    rig.later(secs(5));
    assert_eq!(dialled(&mut rig), [0], "again");
    rig.welcomed(0, LISTENER, 0);
    rig.does(|s, now| s.use_all(now));
    assert_eq!(dialled(&mut rig), [1, 2, 3]);
}

#[test]
fn of_two_that_come_up_while_it_waits_the_later_one_leaves() {
    let mut rig = dialler(2);
    rig.later(ms(250));
    assert_eq!(dialled(&mut rig), [0, 1], "the first link has not answered");
    rig.welcomed(1, LISTENER, 0);
    rig.welcomed(0, LISTENER, 0);
    rig.all_ready();
    assert_eq!(rig.leaves, [0]);
}

#[test]
fn a_link_that_is_refused_for_good_does_not_end_it_before_the_next_was_tried() {
    let mut rig = dialler(2);
    rig.refused(0, RefusalCode::NotThatReceiver);
    let dials: Vec<_> = rig.dials.iter().map(|dial| (dial.connection, dial.link)).collect();
    assert_eq!((rig.over, dials), (false, vec![(0, 0), (0, 1)]), "the connection of a link that is no more");
    rig.refused(0, RefusalCode::NotThatReceiver);
    assert!(rig.over);
}

#[test]
fn whoever_is_told_that_there_are_enough_has_a_link_that_works() {
    let mut rig = dialler(1);
    rig.refused(0, RefusalCode::TooMany);
    assert!(!rig.over && rig.said().is_empty());
    rig.forget();
    rig.later(secs(1));
    assert_eq!(dialled(&mut rig), [0]);
}

#[test]
fn a_sender_that_waits_has_one_connection_and_one_that_takes_its_place() {
    let mut rig = listener();
    assert!(rig.hello(&asks(0, 1)).is_ok());
    assert!(rig.hello(&asks(0, 2)).is_ok(), "it is dialled anew");
    assert!(rig.hello(&asks(1, 1)).is_ok());
    assert_eq!(rig.hello(&asks(2, 1)).err(), Some(RefusalCode::TooMany));
    rig.lost(0, LossReason::Closed);
    assert!(rig.hello(&asks(2, 2)).is_ok());
    assert_eq!(rig.hello(&asks(3, 1)).err(), Some(RefusalCode::TooMany));
    rig.does(|s, now| s.use_all(now));
    for connection in 3..16 {
        assert!(rig.hello(&asks(connection, 2)).is_ok(), "{connection}");
    }
}

#[test]
fn no_leg_of_a_sender_that_waits_is_taken() {
    let mut rig = listener();
    rig.hello(&asks(0, 1)).unwrap();
    let header = |sequence| LegHeader { sequence, offset: sequence, raw: 1, encoded: 1, flags: 0, crc: 0 };
    for sequence in [0, 1] {
        let told = rig.session.landing(0, &header(sequence));
        assert_eq!(told, Err(LossReason::Breach(Breach::NotItsTurn)), "leg {sequence}");
    }
    rig.does(|s, now| s.use_all(now));
    assert_eq!(rig.session.landing(0, &header(0)), Ok(Landing::Keep));
}

/// Its answer may have got there, and nobody else could go on behind it.
#[test]
fn a_sender_whose_first_connection_breaks_finds_its_session_when_the_path_is_back() {
    let answer_lost = asks(0, 2);
    let answered = Hello { direction: Direction::Duplex, ..begun_hello(0, 2) };
    for (loss, again) in [LossReason::Closed, LossReason::Silent].into_iter().zip([answer_lost, answered]) {
        let mut rig = listener();
        rig.hello(&asks(0, 1)).unwrap();
        rig.input(1);
        rig.lost(0, loss);
        let lost = rig.now;
        rig.pass(secs(59));
        assert_eq!((rig.session.alone_since(), rig.over), (Some(lost), false));
        rig.hello(&again).unwrap();
        assert_eq!((rig.session.alone_since(), rig.said()), (None, vec![]));
        rig.pass(secs(59));
        assert!(!rig.over);
    }
}

/// With a key for as long as others can make a path look dead.
#[test]
fn a_sender_that_stays_away_before_it_has_begun_is_given_up() {
    for (key, time) in [(None, 60), (Some(PeerKey([1; 32])), 300)] {
        let mut rig = listener();
        rig.does(|s, now| s.hello(now, &asks(0, 1), key)).unwrap();
        rig.lost(0, LossReason::Silent);
        rig.pass(secs(time) - ms(1));
        assert!(!rig.over);
        rig.pass(ms(1));
        assert_eq!(rig.ended(Way::In), (Status::Incomplete, "the sender went away before it began", false));
        assert_eq!(rig.said(), []);
    }
}
