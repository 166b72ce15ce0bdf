//! A leg that cannot be sent: whom that is told, and on which connection.

use super::super::super::links::LossReason;
use super::super::super::outcome::Status;
use super::super::super::way::Way;
use super::rig::*;

const WHY: &str = "stdin became shorter";

impl Rig {
    fn leg_fails(&mut self, broken: Option<usize>) {
        self.does(|session, now| session.leg_failed(now, broken, WHY));
    }

    /// As many legs, one on each of the first connections.
    fn carry(&mut self, legs: usize) {
        self.input(legs);
        (0..legs).for_each(|connection| self.ready(connection));
        self.forget();
    }
}

#[test]
fn a_leg_that_breaks_off_is_told_of_on_a_connection_that_carries_none() {
    let mut rig = begun(1, 3);
    rig.carry(2);
    rig.leg_fails(Some(1));
    assert_eq!(rig.frames, [(2, abort(Status::Input, WHY))]);
    assert_eq!(rig.drops, [(0, LossReason::Left), (1, LossReason::Left)], "the other one may break off too");
    assert_eq!(rig.ended(Way::Out), (Status::Input, WHY, false));
}

#[test]
fn where_every_connection_carries_a_leg_it_is_told_on_the_next_one() {
    let mut rig = begun(1, 2);
    rig.carry(2);
    rig.leg_fails(Some(0));
    assert!(!rig.over && rig.frames.is_empty() && rig.drops.len() == 2);
    // another one finds the same
    rig.leg_fails(Some(1));
    let next = rig.session.sending().unwrap().sender().head();
    rig.welcomed(1, LISTENER, next);
    assert_eq!(rig.frames, [(1, abort(Status::Input, WHY))]);
    assert_eq!(rig.ended(Way::Out), (Status::Input, WHY, false));
}

#[test]
fn a_leg_of_which_nothing_was_written_harms_no_connection() {
    let mut rig = begun(1, 1);
    rig.carry(1);
    rig.leg_fails(None);
    assert_eq!((rig.drops.len(), rig.frames.as_slice()), (0, &[(0, abort(Status::Input, WHY))][..]));
}

/// The end that listens, of both streams, with a leg that breaks off on its only connection.
fn host_broken() -> Rig {
    let mut rig = Rig::listening(None, true);
    rig.hello(&begun_hello(0, 1)).unwrap();
    rig.welcomed(0, DIALLER, 0);
    rig.leg(0, 0);
    rig.carry(1);
    rig.leg_fails(Some(0));
    assert!(!rig.over && rig.drops.len() == 1);
    rig
}

#[test]
fn the_end_that_listens_tells_its_sender_when_that_is_back_and_waits_10_s_for_it() {
    let mut rig = host_broken();
    rig.hello(&begun_hello(0, 2)).unwrap();
    rig.welcomed(0, DIALLER, 0);
    assert_eq!(rig.told(is_abort), [0]);
    assert_eq!(rig.ended(Way::Out), (Status::Input, WHY, false));

    let mut rig = host_broken();
    rig.later(ms(9_999));
    assert!(!rig.over);
    rig.later(ms(1));
    assert_eq!(rig.ended(Way::Out), (Status::Input, WHY, false));
}
