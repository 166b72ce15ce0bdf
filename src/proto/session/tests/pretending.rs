//! The end that dials, and a peer that pretends to be alive.

use super::super::super::links::{DialError, LossReason};
use super::super::super::outcome::Status;
use super::super::super::way::Way;
use super::super::super::wire::{Ack, Frame};
use super::super::Session;
use super::rig::*;
use std::sync::Arc;
use std::time::Instant;

/// Pongs come every second, and such a frame if there is one; for how many seconds the session goes on, 100 at most.
fn pretends(rig: &mut Rig, frame: impl Fn(u64) -> Option<Frame>) -> u64 {
    for second in 0..100 {
        rig.later(secs(1));
        if !rig.over && !rig.pings(0).is_empty() {
            rig.pong(0);
        }
        if let Some(frame) = frame(second).filter(|_| !rig.over) {
            rig.frame(0, frame);
        }
        if rig.over {
            return second + 1;
        }
    }
    100
}

#[test]
fn a_receiver_that_only_answers_is_given_up_after_patience() {
    let mut rig = begun_with(1, 1, patience(20));
    rig.ready(0);
    assert_eq!(pretends(&mut rig, |_| None), 100, "an input with nothing to send is no lack of progress");
    rig.forget();
    rig.input(1);
    assert_eq!(pretends(&mut rig, |_| Some(ack(1, 1))), 20);
    let (status, why, by_peer) = rig.ended(Way::Out);
    assert_eq!((status, by_peer), (Status::Incomplete, false));
    assert!(why.contains("took nothing of the stream for 20 s"), "{why}");
}

#[test]
fn programs_that_legs_go_through_may_take_their_time_besides() {
    let mut rig = begun_with(1, 1, patience(20));
    rig.session.sending.as_mut().unwrap().through = true;
    rig.ready(0);
    rig.input(1);
    assert_eq!(pretends(&mut rig, |_| None), 50);
}

#[test]
fn a_receiver_that_takes_nothing_before_anything_was_received_is_given_up_after_a_minute() {
    let mut rig = up(1, 1);
    rig.input(1);
    assert_eq!(pretends(&mut rig, |_| None), 60);
    assert_eq!(rig.ended(Way::Out).0, Status::Incomplete);
}

#[test]
fn a_verdict_that_never_comes_is_not_waited_for_beyond_patience() {
    let mut rig = begun_with(1, 1, patience(20));
    rig.end_input();
    assert_eq!(pretends(&mut rig, |_| None), 20);
    assert!(rig.ended(Way::Out).1.contains("no verdict"), "{:?}", rig.ended(Way::Out));
}

#[test]
fn a_receiver_whose_output_is_blocked_is_waited_for() {
    let mut rig = begun_with(1, 1, patience(5));
    rig.ready(0);
    rig.input(1);
    let blocked = Ack { next: 1, delivered: 0, edge: edge(1 << 30), count: 1, blocked_ms: 700 };
    assert_eq!(pretends(&mut rig, |_| Some(Frame::Ack(blocked))), 100);
    assert_eq!(pretends(&mut rig, |_| None), 5, "until it does not say so any more");
}

#[test]
fn a_receiver_that_welcomes_and_closes_for_ever_is_given_up_after_patience() {
    let mut rig = begun_with(1, 1, patience(20));
    rig.ready(0);
    rig.input(1);
    while !rig.over && rig.elapsed() < secs(100) {
        rig.lost(0, LossReason::Closed);
        rig.pass_with(secs(1), &DialError::TimedOut);
        while rig.dials.is_empty() && !rig.over {
            rig.later(ms(100));
        }
        rig.forget();
        rig.welcomed(0, LISTENER, 1);
        if !rig.over {
            rig.later(secs(1));
            rig.pong(0);
        }
    }
    assert_eq!(rig.ended(Way::Out).0, Status::Incomplete);
    assert!(rig.elapsed() < secs(30), "{:?}", rig.elapsed());
}

/// A sign of life comes every second, and such news; for how many seconds the session goes on, 200 at most.
fn lives(rig: &mut Rig, life: Frame, news: impl Fn(&mut Session, Instant)) -> u64 {
    for second in 1..=200 {
        rig.now += secs(1);
        rig.does(|s, now| news(s, now));
        rig.frame(0, life.clone());
        if rig.over {
            return second;
        }
    }
    200
}

#[test]
fn a_leg_whose_bytes_flow_is_waited_for_and_a_peer_that_takes_them_for_ever_is_not() {
    let takes = |bytes| {
        let mut rig = begun_with(1, 1, patience(20));
        rig.ready(0);
        rig.does(|s, now| s.input(now, Arc::new(vec![1u8; 15_000])));
        lives(&mut rig, ack(1, 1), |s, now| s.taken(0, now, bytes))
    };
    assert_eq!(takes(1000), 20, "questions may be as much");
    assert_eq!(takes(3000), 10 + 20, "twice the leg");
}

#[test]
fn what_the_peers_kernel_took_of_legs_that_are_whole_is_not_counted_for_the_next() {
    let mut rig = begun_with(1, 1, patience(20));
    rig.ready(0);
    rig.does(|s, now| s.input(now, Arc::new(vec![1u8; 15_000])));
    rig.frame(0, ack(2, 2));
    rig.ready(0);
    rig.does(|s, now| s.input(now, Arc::new(vec![1u8; 3000])));
    rig.does(|s, now| s.taken(0, now, 15_000));
    assert_eq!(lives(&mut rig, ack(2, 2), |s, now| s.taken(0, now, 3000)), 2 + 20, "the leg, twice");
}

#[test]
fn a_sender_whose_leg_comes_slowly_is_waited_for() {
    for (bytes, time) in [(1000, 20), (3000, 200)] {
        let mut rig = listener_begun(patience(20));
        rig.frame(0, fin(2));
        let ping = Frame::Ping { token: 1 };
        assert_eq!(lives(&mut rig, ping, |s, now| s.coming(now, 0, bytes)), time);
    }
    let mut rig = listener_with(patience(5));
    rig.hello(&hello(0, 1)).unwrap();
    rig.later(secs(1));
    rig.does(|s, now| s.coming(now, 0, 3000));
    rig.pass(secs(10));
    assert!(!rig.over, "the first message is behind the first leg");
}
