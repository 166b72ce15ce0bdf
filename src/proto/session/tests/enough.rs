//! An output that takes no more, which is no failure: who is told, and what the sender makes of it.

use super::super::super::breach::Breach;
use super::super::super::hello::{Features, Hello, RefusalCode};
use super::super::super::links::LossReason;
use super::super::super::outcome::{CommandEnd, Status};
use super::super::super::way::Way;
use super::super::super::wire::{Fin, Frame, Verdict};
use super::super::{DiallerConfig, Session};
use super::rig::*;
use std::time::Instant;

/// The hello of a sender that may stop.
fn may_stop(connection: u8, attempt: u32) -> Hello {
    Hello { features: Features::ENOUGH, ..hello(connection, attempt) }
}

fn is_enough(frame: &Frame) -> bool {
    *frame == Frame::Enough
}

/// Connections 0 and 1 are up, and one leg has come.
fn met(hello: impl Fn(u8, u32) -> Hello) -> Rig {
    let mut rig = listener();
    rig.hello(&hello(0, 1)).unwrap();
    rig.hello(&hello(1, 1)).unwrap();
    rig.leg(0, 0);
    rig.forget();
    rig
}

#[test]
fn the_sender_is_told_on_every_connection_until_the_stream_is_judged() {
    let mut rig = met(may_stop);
    rig.does(|s, now| s.output_has_enough(now));
    assert_eq!(rig.told(is_enough), [0, 1]);
    rig.hello(&may_stop(2, 1)).unwrap();
    assert_eq!(rig.told(is_enough), [2], "the others may have died before they told it");
    rig.does(|s, now| s.command_ended(now, None, CommandEnd::Exit(3), ""));
    rig.forget();
    rig.hello(&may_stop(3, 1)).unwrap();
    assert_eq!(rig.verdicts(), [(3, Status::Complete)]);
}

#[test]
fn a_sender_that_cannot_stop_is_not_told() {
    let mut rig = met(hello);
    rig.does(|s, now| s.output_has_enough(now));
    rig.hello(&hello(2, 1)).unwrap();
    assert!(rig.told(is_enough).is_empty());
    assert_eq!(rig.hello(&other_session()).err(), Some(RefusalCode::Busy));
}

#[test]
fn the_sender_ends_its_stream_with_what_it_has_sent() {
    let mut rig = begun(1, 2);
    rig.input(3);
    rig.ready(0);
    assert_eq!(rig.sent(), [(0, 2)]);
    rig.frame(0, Frame::Enough);
    let fin = Frame::Fin(Fin { legs: 3, bytes: 3 * LEN, crc: None });
    assert_eq!((rig.told(|frame| *frame == fin), rig.ceases), (vec![0, 1], 1));
    // what was read meanwhile, the end of the input, and what becomes of it
    rig.input(1);
    rig.end_input();
    rig.does(|s, now| s.input_failed(now, "cannot read"));
    rig.frame(1, Frame::Enough);
    rig.ready(0);
    assert_eq!((rig.sent(), rig.ceases, rig.over), (vec![], 1, false));
    let command = Some(CommandEnd::Exit(5));
    let verdict =
        Verdict { bytes: 2 * LEN, crc: None, status: Status::Complete, command, sentence: String::new() };
    rig.frame(0, Frame::Verdict(verdict));
    assert_eq!(rig.judged(Way::Out).0, Status::Complete);
    assert_eq!(rig.session.outcome(Way::Out).unwrap().command, command);
}

#[test]
fn a_leg_that_was_sent_before_is_still_wanted_and_its_failure_is_the_streams() {
    let mut rig = begun(1, 2);
    rig.input(1);
    rig.ready(0);
    rig.frame(0, Frame::Enough);
    rig.does(|s, now| s.leg_failed(now, None, "it became shorter"));
    assert_eq!(rig.ended(Way::Out), (Status::Input, "it became shorter", false));
}

#[test]
fn what_is_sent_when_the_output_has_enough_is_still_sent_again() {
    let mut rig = begun(1, 2);
    rig.input(1);
    rig.ready(0);
    assert_eq!(rig.sent(), [(0, 2)]);
    rig.frame(1, Frame::Enough);
    rig.lost(0, LossReason::Closed);
    rig.ready(1);
    assert_eq!(rig.sent(), [(1, 2)], "the receiver counts legs, whatever becomes of their bytes");
}

#[test]
fn a_stream_that_is_wanted_whole_does_not_stop() {
    let now = Instant::now();
    let dials = DiallerConfig::new(hello(0, 0), vec!["host".into()], 1, 1);
    let mut rig = Rig::of(now, Session::dialling(now, dials, None, false));
    rig.welcomed(0, LISTENER, 0);
    rig.frame(0, Frame::Enough);
    assert_eq!((&rig.drops[..], rig.ceases), (&[(0, LossReason::Breach(Breach::Enough))][..], 0));
}
