//! Payload that nobody needs any more is given to the owner, which drops it without the lock. Nothing drops it in here.

use super::super::super::leg::{Leg, Payload};
use super::super::super::links::LossReason;
use super::super::super::outcome::{Outcome, Status};
use super::super::Inbound;
use super::rig::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes whose end is counted.
struct Counted(Vec<u8>, Arc<AtomicUsize>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

/// Payload, and how much of it was dropped.
#[derive(Default)]
struct Count(Arc<AtomicUsize>);

impl Count {
    fn payload(&self) -> Payload {
        Arc::new(Counted(vec![7; LEN as usize], self.0.clone()))
    }

    fn leg(&self, sequence: u64) -> Leg {
        Leg::new(sequence, sequence * LEN, self.payload())
    }

    /// None was dropped so far, and so many are given to be dropped.
    fn assert_given(&self, rig: &mut Rig, expected: usize) {
        let before = self.0.swap(0, Ordering::Relaxed);
        drop(rig.session.take_freed());
        let given = self.0.swap(0, Ordering::Relaxed);
        assert_eq!((before, given), (0, expected), "dropped in the session, and given to the owner");
    }
}

/// An end that listens and has one connection.
fn met(duplex: bool) -> Rig {
    let mut rig = Rig::listening(patience(60), duplex);
    rig.hello(&hello(0, 1)).unwrap();
    rig
}

fn comes(rig: &mut Rig, leg: Leg) {
    rig.does(|s, now| s.leg(now, 0, leg));
}

#[test]
fn a_leg_that_came_twice_and_one_that_does_not_fit() {
    let (mut rig, count) = (met(false), Count::default());
    comes(&mut rig, count.leg(1));
    count.assert_given(&mut rig, 0);
    comes(&mut rig, count.leg(1));
    count.assert_given(&mut rig, 1);
    comes(&mut rig, Leg::new(2, LEN, count.payload()));
    assert!(matches!(rig.drops[..], [(0, LossReason::Breach(_))]), "{:?}", rig.drops);
    count.assert_given(&mut rig, 1);
}

#[test]
fn a_leg_of_a_stream_that_was_judged() {
    let (mut rig, count) = (met(true), Count::default());
    rig.empty_stream_comes(0);
    comes(&mut rig, count.leg(0));
    count.assert_given(&mut rig, 1);
}

#[test]
fn a_leg_behind_a_frame_for_which_its_connection_was_given_up() {
    let (mut rig, count) = (met(false), Count::default());
    let leg = count.leg(0);
    // nobody sends acknowledgements to an end that sends nothing
    rig.does(|s, now| s.frame_and_leg(now, 0, ack(0, 0), leg));
    assert_eq!(rig.drops.len(), 1);
    count.assert_given(&mut rig, 1);
}

#[test]
fn input_that_nobody_wants_any_more() {
    let (mut rig, count) = (Rig::dialling(1, 1, None, false), Count::default());
    rig.welcomed(0, LISTENER, 0);
    rig.frame(0, verdict(Status::Output, 0));
    let payload = count.payload();
    rig.does(|s, now| s.input(now, payload));
    count.assert_given(&mut rig, 1);
}

#[test]
fn all_that_is_left_of_a_leg_that_waits_to_be_written() {
    for aborts in [false, true] {
        let (mut rig, count) = (Rig::dialling(1, 2, None, false), Count::default());
        rig.welcomed(0, LISTENER, 0);
        // from here on nothing is written
        let (session, now) = (&mut rig.session, rig.now);
        session.ready(now, 0);
        session.input(now, count.payload());
        assert_eq!(session.mailbox(0).leg_bytes(), LEN);
        // the receiver has the leg, so that only the mailbox holds it
        session.welcomed(now, 1, &welcome(LISTENER, 1), None, RTT);
        count.assert_given(&mut rig, 0);
        match aborts {
            true => rig.session.fail(now, &Outcome::here(Status::Input, "so it is")),
            false => rig.session.lost(now, 0, &LossReason::Closed),
        }
        count.assert_given(&mut rig, 1);
    }
}

#[test]
fn what_has_come_of_a_stream_that_is_forgotten() {
    let mut inbound = Inbound::new(inbound(LISTENER, None));
    let count = Count::default();
    inbound.begin(1 << 30);
    inbound.leg(0, count.leg(1)).unwrap();
    inbound.forget();
    let freed = inbound.take_freed();
    assert_eq!((freed.len(), count.0.load(Ordering::Relaxed)), (1, 0));
}
