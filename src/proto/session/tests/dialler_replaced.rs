//! The end that dials, before anything was received, where another receiver takes the place of the one that was met.

use super::super::super::event::Event;
use super::super::super::hello::RefusalCode;
use super::super::super::links::{DialError, LossReason};
use super::super::super::way::Way;
use super::rig::*;

/// The host of receiver [`LISTENER`] has vanished without a word, and another receiver is at its address. All that is dialled
/// gets there, until that one is found.
fn is_found(rig: &mut Rig) {
    while rig.elapsed() < secs(30) {
        for dial in std::mem::take(&mut rig.dials) {
            match dial.instance {
                Some(_) => rig.refused(dial.connection, RefusalCode::NotThatReceiver),
                None => {
                    rig.welcomed(dial.connection, LISTENER + 1, 0);
                    rig.ready(dial.connection);
                    rig.input(1);
                    return assert_eq!(rig.sent(), [(dial.connection, 0)]);
                }
            }
        }
        rig.later(ms(100));
        assert!(!rig.over, "{:?}", rig.session.outcome(Way::Out));
    }
    panic!("not found");
}

#[test]
fn a_receiver_that_took_anothers_place_before_anything_was_received_gets_the_stream() {
    // its answer may come before or after the others are found dead
    for early in [true, false] {
        let mut rig = up(1, 3);
        rig.forget();
        rig.lost(1, LossReason::Silent);
        let named: Vec<_> = rig.dials.iter().map(|dial| (dial.connection, dial.instance)).collect();
        assert_eq!(named, [(1, Some(id(LISTENER)))], "the others count as up");
        if early {
            rig.dials.clear();
            rig.refused(1, RefusalCode::NotThatReceiver);
        }
        [0, 2].into_iter().for_each(|connection| rig.lost(connection, LossReason::Silent));
        is_found(&mut rig);
    }
}

#[test]
fn so_does_one_that_was_dialled_before_the_first_was_met() {
    let mut rig = up(1, 2);
    rig.forget();
    rig.lost(0, LossReason::Silent);
    rig.dials.clear();
    rig.welcomed(0, LISTENER + 1, 0);
    assert_eq!((rig.up_count(), rig.over), (1, false));
    rig.lost(1, LossReason::Silent);
    is_found(&mut rig);
}

#[test]
fn where_a_link_never_led_to_the_receiver_another_one_there_is_no_successor() {
    let mut rig = dialler(2, 2);
    rig.welcomed(0, LISTENER, 0);
    rig.refused(1, RefusalCode::NotThatReceiver);
    rig.lost(0, LossReason::Silent);
    rig.forget();
    (0..30).for_each(|_| rig.later(secs(1)));
    assert!(!rig.over && rig.dials.iter().all(|dial| dial.link == 0));
}

#[test]
fn that_another_receiver_answers_is_said_of_a_link_that_may_lead_to_the_first_one_again() {
    let mut rig = up(1, 2);
    rig.lost(0, LossReason::Silent);
    rig.welcomed(0, LISTENER + 1, 0);
    assert_eq!(rig.session.trouble(0), "another receiver; all links must lead to one");
    assert_eq!(rig.said(), [], "it is not refused for good");
}

#[test]
fn whoever_refuses_for_now_is_quoted_and_tried_again() {
    for code in [RefusalCode::Stale, RefusalCode::Malformed, RefusalCode::Finished] {
        let mut rig = dialler(1, 1);
        rig.refused(0, code);
        let why = refusal(code).sentence;
        assert_eq!(rig.session.trouble(0), why);
        let reason = Some(DialError::RefusedInWords(why));
        assert!(rig.events.contains(&Event::LinkDied { link: 0, reason }), "{:?}", rig.events);
        rig.forget();
        rig.later(secs(1));
        assert_eq!((rig.dials.len(), rig.over), (1, false));
    }
}
