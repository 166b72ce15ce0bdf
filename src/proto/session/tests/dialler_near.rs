//! The end that dials, on paths so short that few connections and little memory are enough.

use super::super::super::hello::Welcome;
use super::super::super::links::{HEADSTART, LossReason};
use super::super::super::wire::{Ack, Frame};
use super::super::{DiallerConfig, Outbound, Session};
use super::rig::*;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[test]
fn while_the_output_is_slow_two_connections_carry_what_is_new() {
    let mut rig = dialler(1, 4);
    let taken = |delivered| {
        let edge = edge(16_000 + delivered);
        Frame::Ack(Ack { next: 4, delivered, edge, count: 1, blocked_ms: 0 })
    };
    for connection in 0..4 {
        let small = Welcome { edge: edge(16_000), ..welcome(7, 0) };
        rig.does(|s, now| s.welcomed(now, connection, &small, None, ms(1)));
    }
    rig.all_ready();
    for _ in 0..4 {
        rig.input(1);
        rig.later(ms(20));
    }
    for connection in 0..4 {
        rig.frame(connection, taken(100));
    }
    rig.later(secs(1));
    rig.all_ready();
    rig.forget();
    rig.input(8);
    rig.later(ms(20));
    rig.later(ms(20));
    assert_eq!(rig.sent(), [(3, 4), (2, 5)], "a quarter of the window waits for the output");
    rig.ready(2);
    assert_eq!(rig.sent(), [(2, 6)], "the next goes out where one has left");
    rig.lost(2, LossReason::Closed);
    assert_eq!(rig.sent(), [(0, 6), (1, 5)], "what was lost is no more than before");
    rig.ready(3);
    rig.later(ms(20));
    assert!(rig.sent().is_empty());
    rig.frame(3, taken(3000));
    assert_eq!(rig.sent(), [(3, 7)], "the output has little left");
}

#[test]
fn on_a_near_path_idle_connections_carry_when_those_at_work_do_not_keep_up() {
    for (trip, near) in [(ms(2), true), (ms(6), false)] {
        let mut rig = dialler(1, 4);
        for connection in 0..4 {
            rig.does(|s, now| s.welcomed(now, connection, &welcome(7, 0), None, trip));
        }
        rig.all_ready();
        rig.forget();
        rig.input(4);
        if !near {
            assert_eq!(rig.sent(), [(3, 0), (2, 1), (1, 2), (0, 3)]);
            continue;
        }
        assert_eq!(rig.sent(), [(3, 0)], "the others have time to rest");
        rig.ready(3);
        assert_eq!(rig.sent(), [(3, 1)], "it was quick");
        assert_eq!(rig.session.deadline(rig.now), Some(rig.now + ms(20)));
        rig.later(ms(20));
        assert_eq!(rig.sent(), [(2, 2)], "it is not");
        let much = Arc::new(vec![0u8; 4 << 20]);
        rig.does(|s, now| s.input(now, much));
        assert_eq!(rig.sent(), [(0, 4), (1, 3)], "that is too much for one");
    }
}

#[test]
fn on_the_shortest_paths_one_connection_carries_while_it_is_quick() {
    let mut rig = dialler(1, 4);
    for connection in 0..4 {
        rig.does(|s, now| s.welcomed(now, connection, &welcome(7, 0), None, ms(1)));
    }
    rig.all_ready();
    rig.forget();
    rig.does(|s, now| s.input(now, Arc::new(vec![0u8; 4 << 20])));
    assert_eq!(rig.sent(), [(3, 0)], "however much there is");
    for sequence in 1..4 {
        rig.later(ms(10));
        rig.ready(3);
        assert_eq!(rig.sent(), [(3, sequence)]);
    }
    rig.later(ms(20));
    assert_eq!(rig.sent(), [(2, 4)], "it is not");
    rig.lost(3, LossReason::Closed);
    let mut again: Vec<u64> = rig.sent().iter().map(|(_, leg)| *leg).collect();
    again.sort();
    assert_eq!(again, [0, 1], "what was lost goes on the two that rest");
}

#[test]
fn over_two_links_all_connections_carry_on_the_shortest_paths_too() {
    let mut rig = dialler(2, 2);
    for connection in 0..2 {
        rig.does(|s, now| s.welcomed(now, connection, &welcome(7, 0), None, ms(1)));
    }
    rig.all_ready();
    rig.forget();
    rig.does(|s, now| s.input(now, Arc::new(vec![0u8; 4 << 20])));
    assert_eq!(rig.sent().len(), 2);
}

#[test]
fn the_input_is_to_wait_while_much_waits_for_connections_on_a_near_path_that_carries() {
    for (trip, near) in [(ms(2), true), (ms(6), false)] {
        let mut rig = dialler(1, 1);
        rig.does(|s, now| s.welcomed(now, 0, &welcome(7, 0), None, trip));
        rig.ready(0);
        rig.input(1);
        let taken = Ack { next: 1, delivered: 1, edge: edge(1 << 30), count: 1, blocked_ms: 0 };
        rig.frame(0, Frame::Ack(taken));
        rig.ready(0);
        for n in 0..10 {
            assert_eq!(rig.session.has_enough_input(), near && n >= 5, "{n} MiB, of which a leg was taken");
            rig.does(|s, now| s.input(now, Arc::new(vec![0u8; 1 << 20])));
        }
        rig.later(secs(1));
        assert!(!rig.session.has_enough_input(), "the producer shall not have to wait where nothing moves");
    }
}

#[test]
fn what_is_read_at_once_grows_with_the_legs_on_a_near_path_and_is_much_elsewhere() {
    for (trip, first) in [(ms(1), 16 << 10), (ms(6), 2 << 20)] {
        let mut rig = dialler(1, 1);
        let most = |rig: &Rig| rig.session.appetite().most;
        assert_eq!(most(&rig), 2 << 20, "where the receiver is, nobody knows");
        rig.does(|s, now| s.welcomed(now, 0, &welcome(7, 0), None, trip));
        assert_eq!(most(&rig), first, "{trip:?}");
        bring(&mut rig, 40);
        assert_eq!(most(&rig), if trip == ms(1) { 1 << 20 } else { 2 << 20 });
    }
}

#[test]
fn one_connection_carries_what_is_new_where_a_round_trip_is_next_to_nothing() {
    let alone = |rig: &Rig| rig.session.sending().is_some_and(Outbound::one_carries);
    for (links, trip, one) in [(1, ms(1), true), (1, ms(2), false), (2, ms(1), false)] {
        let mut rig = dialler(links, links);
        assert!(!alone(&rig), "none is up");
        (0..links).for_each(|n| rig.does(|s, now| s.welcomed(now, n, &welcome(7, 0), None, trip)));
        assert_eq!(alone(&rig), one, "{links} links, {trip:?}");
    }
}

#[test]
fn where_memory_is_small_legs_have_a_32nd_of_it_and_half_of_that_where_they_are_encoded() {
    for (trip, whole) in [(ms(1), Some(256 << 10)), (ms(6), None)] {
        let mut rig = near_with_little_memory(trip);
        let sizes =
            |rig: &Rig| rig.session.sending().map(|sending| (sending.leg_size(), sending.whole_leg()));
        assert_eq!(sizes(&rig), Some((256 << 10, whole)));
        rig.does(|s, _| s.keep_legs_short());
        assert_eq!(sizes(&rig), Some((128 << 10, None)), "what takes 128 KiB is not worth a pipe");
    }
}

/// Five connections to a receiver with 8 MiB, of which one has brought 40 legs fast.
fn near_with_little_memory(trip: Duration) -> Rig {
    let mut rig = dialler(1, 5);
    for connection in 0..5 {
        let small = Welcome { leg_max: 256 << 10, buffer: 8 << 20, ..welcome(7, 0) };
        rig.does(|s, now| s.welcomed(now, connection, &small, None, trip));
    }
    bring(&mut rig, 40);
    rig
}

/// The first connection brings so many legs fast.
fn bring(rig: &mut Rig, legs: u64) {
    for count in 1..=legs {
        let size = rig.session.sending().unwrap().leg_size();
        rig.does(|s, now| s.input(now, Arc::new(vec![0u8; size])));
        rig.ready(0);
        rig.later(ms(2));
        let brought = Ack { next: count, delivered: 0, edge: edge(1 << 30), count, blocked_ms: 0 };
        rig.frame(0, Frame::Ack(brought));
    }
}

#[test]
fn the_other_connections_are_dialled_once_the_first_had_its_start_and_later_if_it_is_enough() {
    for (trip, alone) in [(ms(1), ms(50)), (ms(2), HEADSTART)] {
        let now = Instant::now();
        let dials = DiallerConfig::new(hello(0, 0), vec!["host".into()], 4, 1);
        let mut rig = Rig::from_the_start(now, Session::dialling(now, dials, None, false));
        let first = std::mem::take(&mut rig.dials);
        assert_eq!(first.iter().map(|dial| dial.connection).collect::<Vec<_>>(), [0], "{trip:?}");
        rig.does(|s, now| s.welcomed(now, 0, &welcome(7, 0), None, trip));
        let due = rig.session.deadline(rig.now).map(|at| at - now);
        assert!(
            due.is_some_and(|due| due <= alone),
            "{trip:?}: nobody would wake at {alone:?}, but at {due:?}"
        );
        rig.later(alone - ms(1));
        assert!(rig.dials.is_empty(), "{trip:?}");
        rig.later(ms(1));
        assert_eq!(rig.dials.len(), 3, "{trip:?}");
    }
}
