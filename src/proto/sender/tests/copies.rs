//! Which legs go again, when, and on which connection.

use super::super::super::sched::LATE_AT_LEAST;
use super::*;

// ---- rescue -------------------------------------------------------------------------------------------

#[test]
fn the_overtaken_head_is_rescued_when_it_is_late() {
    let (mut s, now) = overtaken();
    assert_eq!(s.rescue(now + ms(999)), None, "nothing is known of its connection: a second");
    assert_eq!(s.deadline(now + ms(20)), Some(now + ms(1000)));
    assert_eq!(s.rescue(now + ms(1000)), Some((0, 0)));
    assert_eq!(s.rescue(now + ms(1000)), None, "once");
    assert_eq!(s.avoid(), ConnectionSet::of(0), "the connection that holds it");
    assert_eq!(take_all(&mut s, now + ms(1000), 1), [0, 1, 2, 4, 5], "all that the slow one holds, in order");
    assert_eq!((s.stats().rescues, s.stats().legs_again), (1, 3));
}

#[test]
fn the_slow_connection_gets_nothing_until_it_answers() {
    let (mut s, now) = overtaken();
    s.rescue(now + ms(1000)).unwrap();
    assert_eq!(take(&mut s, now + ms(1000), 0), None);
    s.ack(now + ms(1000), 0, &ack(0, 0)).unwrap();
    assert_eq!(take(&mut s, now + ms(1000), 0), None, "an ack that counts nothing new is no answer");
    s.ack(now + ms(1001), 0, &ack(1, 1)).unwrap();
    assert_eq!(take(&mut s, now + ms(1001), 1), Some(1));
    assert_eq!(take(&mut s, now + ms(1001), 0), Some(4), "never a second copy of what it carries itself");
}

#[test]
fn the_first_copy_of_a_rescued_leg_wins() {
    let (mut s, now) = overtaken();
    s.rescue(now + ms(1000)).unwrap();
    assert_eq!(take(&mut s, now + ms(1000), 1), Some(0));
    s.ack(now + ms(1001), 0, &ack(3, 3)).unwrap();
    assert_eq!((s.head(), take(&mut s, now + ms(1001), 2)), (4, Some(4)), "1 and 2 need no copies any more");
    let copy = s.ack(now + ms(1002), 1, &ack(4, 2)).unwrap();
    assert_eq!((copy.bytes, copy.moved, s.is_idle(1)), (0, true, true));
}

#[test]
fn a_copy_that_is_damaged_when_another_has_come_is_no_failure_of_the_leg() {
    let (mut s, now) = overtaken();
    s.rescue(now + ms(1000)).unwrap();
    assert_eq!(take_some(&mut s, now + ms(1000), 1, 2), [0, 1]);
    assert_eq!(s.nack(1, 0), Ok(true));
    s.ack(now + ms(1001), 1, &ack(0, 3)).unwrap();
    assert_eq!(s.nack(0, 1), Ok(true));
    assert_eq!([0, 1].map(|leg| s.get(leg).unwrap().failures), [1, 0], "leg 1 came, and waits for leg 0");
}

#[test]
fn a_shut_window_does_not_stop_the_rescue() {
    let (mut s, now) = (new_sender(2), Instant::now());
    push(&mut s, 3);
    attach(&mut s, 0, 0, edge(2 * LEN)).unwrap();
    attach(&mut s, 1, 0, edge(2 * LEN)).unwrap();
    take_some(&mut s, now, 0, 1);
    take_some(&mut s, now + ms(1), 1, 1);
    s.ack(now + ms(2), 1, &Ack { edge: edge(2 * LEN), ..ack(0, 1) }).unwrap();
    assert!(s.is_shut());
    assert_eq!(s.rescue(now + ms(1000)), Some((0, 0)));
    assert_eq!(take_all(&mut s, now + ms(1000), 1), [0]);
}

#[test]
fn a_late_head_that_nothing_overtook_is_left_alone() {
    let (mut s, now) = sender(2, 2);
    take_some(&mut s, now, 1, 1);
    take_some(&mut s, now + ms(1), 0, 1);
    assert_eq!(s.rescue(now + ms(60_000)), None);
    s.ack(now + ms(60_000), 1, &ack(1, 1)).unwrap();
    assert_eq!(s.rescue(now + ms(60_000)), None, "what was received had been sent before it");
}

#[test]
fn each_further_copy_is_given_twice_the_time() {
    let (mut s, now) = overtaken();
    s.rescue(now + ms(1000)).unwrap();
    take_some(&mut s, now + ms(1000), 2, 1);
    take_some(&mut s, now + ms(1001), 1, 3);
    s.ack(now + ms(1002), 1, &ack(0, 4)).unwrap();
    assert_eq!(s.rescue(now + ms(2999)), None);
    assert_eq!(s.rescue(now + ms(3000)).map(|(head, _)| head), Some(0));
}

#[test]
fn a_measured_connection_is_late_by_its_own_measure() {
    let (mut s, now) = sender(2, 1);
    s.round_trip(0, ms(400));
    take_some(&mut s, now, 0, 1);
    s.ack(now + ms(500), 0, &ack(1, 1)).unwrap();
    push(&mut s, 2);
    assert_eq!(take(&mut s, now + ms(500), 0), Some(1));
    assert_eq!(take(&mut s, now + ms(501), 1), Some(2));
    s.ack(now + ms(510), 1, &ack(1, 1)).unwrap();
    // 400 ms of round trip and 500 ms for the bytes, half as much again
    assert_eq!(s.rescue(now + ms(500 + 1349)), None);
    assert_eq!(s.rescue(now + ms(500 + 1351)), Some((1, 0)));
}

// ---- the last legs ------------------------------------------------------------------------------------

#[test]
fn idle_connections_take_what_one_holds_too_long() {
    let (mut s, now) = sender(3, 2);
    take_some(&mut s, now, 0, 1);
    take_some(&mut s, now, 1, 1);
    s.end();
    s.ack(now, 1, &ack(0, 1)).unwrap();
    assert_eq!(take(&mut s, now + ms(999), 1), None);
    assert_eq!(s.deadline(now), Some(now + ms(1000)));
    assert_eq!(take(&mut s, now + ms(1000), 0), None, "not the one that holds it");
    assert_eq!(take(&mut s, now + ms(1000), 1), Some(0));
    assert_eq!(take(&mut s, now + ms(1001), 2), None, "that copy has its time");
    assert_eq!(take(&mut s, now + ms(60_000), 2), Some(0), "but not for ever");
}

/// A connection that is to get no further leg, as its receiver has enough to decode, may bring what it has.
#[test]
fn a_copy_that_waits_for_a_program_has_its_time_too() {
    let (mut s, now) = sender(3, 3);
    s.through(1000);
    let mates: ConnectionSet = (0..3).collect();
    let take = |s: &mut Sender, at, connection| {
        let leg = s.take(at, connection, mates).map(|leg| leg.sequence);
        leg.into_iter().for_each(|_| s.encoded(connection, 1000));
        leg
    };
    assert_eq!([0, 0, 0].map(|connection| take(&mut s, now, connection)), [Some(0), Some(1), None]);
    assert_eq!(take(&mut s, now, 1), Some(2));
    s.end();
    s.ack(now + ms(1), 1, &ack(0, 1)).unwrap();
    assert_eq!([2, 2].map(|connection| take(&mut s, now + ms(1000), connection)), [Some(0), Some(1)]);
    assert_eq!(take(&mut s, now + ms(2300), 1), None, "two copies have twice the time of one");
    assert_eq!(take(&mut s, now + ms(60_000), 1), Some(0), "but not for ever");
}

#[test]
fn a_link_that_brings_nothing_to_anybody_is_not_filled_with_copies() {
    let (mut s, now) = sender(3, 2);
    let mates: ConnectionSet = (0..3).collect();
    let take = |s: &mut Sender, at, connection| s.take(at, connection, mates).map(|leg| leg.sequence);
    assert_eq!([0, 1].map(|connection| take(&mut s, now, connection)), [Some(0), Some(1)]);
    s.end();
    assert_eq!(take(&mut s, now + ms(10_000), 2), None, "both need long");
    s.ack(now + ms(10_001), 1, &ack(0, 1)).unwrap();
    assert_eq!(take(&mut s, now + ms(10_001), 2), Some(0), "the link works");

    let (mut s, now) = sender(3, 1);
    assert_eq!(take(&mut s, now, 0), Some(0));
    s.end();
    assert_eq!(take(&mut s, now + ms(3000), 2), Some(0), "nothing else could show that the link works");
}

#[test]
fn at_the_end_a_fast_connection_takes_over_before_the_slow_one_is_late() {
    let (mut s, now) = sender(2, 2);
    take_some(&mut s, now, 0, 1);
    take_some(&mut s, now, 1, 1);
    s.ack(now + ms(10), 1, &ack(0, 1)).unwrap();
    s.ack(now + ms(10_000), 0, &ack(2, 1)).unwrap();
    push(&mut s, 1);
    let now = now + ms(10_000);
    assert_eq!(take(&mut s, now, 0), Some(2), "ten seconds, as is known of it");
    assert_eq!(take(&mut s, now, 1), None, "more input may come, and be better use of this one");
    s.end();
    assert_eq!(take(&mut s, now, 1), Some(2));
}

#[test]
fn stragglers_wait_for_legs_that_must_go_again() {
    let (mut s, now) = sender(3, 3);
    for connection in 0..3 {
        take_some(&mut s, now, connection, 1);
    }
    s.end();
    s.detach(2);
    assert_eq!(take_some(&mut s, now + ms(5000), 1, 2), [2, 0]);
}

// ---- which connection helps ---------------------------------------------------------------------------

#[test]
fn what_starves_the_output_is_tried_on_one_unknown_connection_at_a_time() {
    const SECOND: Duration = Duration::from_secs(1);
    let (mut sender, start) = (new_sender(4), Instant::now());
    for connection in 0..4 {
        assert_eq!(attach(&mut sender, connection, 0, edge(2 * LEN)), Ok(true));
    }
    push(&mut sender, 3);
    assert_eq!(take(&mut sender, start, 0), Some(0));
    let slow = Ack { next: 1, delivered: LEN, edge: edge(2 * LEN), count: 1, blocked_ms: 0 };
    let now = start + 3 * SECOND;
    sender.ack(now, 0, &slow).unwrap();
    assert_eq!(take(&mut sender, now, 0), Some(1), "which will take it 3 s, and the window is shut");
    let mates: ConnectionSet = (1..4).collect();
    let tried =
        (1..4).filter(|connection| sender.take(now, *connection, mates).is_some()).collect::<Vec<_>>();
    assert_eq!(tried, [1]);
}

#[test]
fn a_link_that_is_slow_as_a_whole_first_brings_as_much_as_it_carries() {
    let (mut sender, start) = sender(3, 4);
    let mates: ConnectionSet = (0..3).collect();
    assert_eq!(sender.take(start, 0, mates).map(|leg| leg.sequence), Some(0));
    for sequence in 1..4 {
        assert_eq!(sender.take(start, 1, mates).map(|leg| leg.sequence), Some(sequence));
    }
    let late = start + LATE_UNMEASURED + LATE_AT_LEAST;
    assert_eq!(sender.take(late, 2, mates).map(|leg| leg.sequence), None, "nothing was brought");
    sender.ack(late, 1, &ack(0, 1)).unwrap();
    assert_eq!(
        sender.take(late, 2, mates).map(|leg| leg.sequence),
        None,
        "a leg was brought, and two are under way"
    );
    sender.ack(late, 1, &ack(0, 2)).unwrap();
    assert_eq!(sender.take(late, 2, mates).map(|leg| leg.sequence), Some(0));
}

#[test]
fn a_suspect_does_not_keep_its_link_from_helping() {
    let (mut sender, start) = sender(4, 2);
    let (first, second) = ((0..2).collect(), (2..4).collect());
    assert_eq!(sender.take(start, 0, first).map(|leg| leg.sequence), Some(0));
    assert_eq!(sender.take(start + ms(1), 2, second).map(|leg| leg.sequence), Some(1));
    sender.round_trip(2, ms(10));
    sender.ack(start + ms(11), 2, &ack(0, 1)).unwrap();
    let late = start + LATE_UNMEASURED;
    assert_eq!(sender.rescue(late), Some((0, 0)));
    assert_eq!(sender.take(late, 1, first).map(|leg| leg.sequence), None, "another link first");
    assert_eq!(sender.take(late, 2, second).map(|leg| leg.sequence), Some(0));
    let later = late + 2 * LATE_AT_LEAST + ms(1);
    assert_eq!(sender.take(later, 1, first).map(|leg| leg.sequence), Some(0), "its mate is not its link");
}

#[test]
fn whoever_a_copy_has_beaten_by_far_gets_nothing_until_it_answers() {
    let (mut sender, start) = sender(2, 1);
    assert_eq!(take(&mut sender, start, 0), Some(0));
    assert_eq!(
        take(&mut sender, start + LATE_UNMEASURED, 1),
        Some(0),
        "late, though nothing has overtaken it"
    );
    let won = start + 2 * LATE_UNMEASURED;
    sender.ack(won, 1, &ack(1, 1)).unwrap();
    push(&mut sender, 2);
    assert_eq!((take(&mut sender, won, 0), take(&mut sender, won, 1)), (None, Some(1)));
    sender.ack(won, 0, &ack(1, 1)).unwrap();
    assert_eq!(take(&mut sender, won, 0), Some(2));
}

#[test]
fn a_slow_connection_leaves_a_further_copy_to_a_quick_one_on_the_link_of_the_first() {
    let (mut sender, start) = sender(3, 3);
    let (first, second) = ((0..2).collect(), ConnectionSet::of(2));
    for (connection, mates) in [(0, first), (1, first), (2, second)] {
        assert!(sender.take(start, connection, mates).is_some());
    }
    sender.ack(start + ms(10), 0, &ack(0, 1)).unwrap();
    sender.ack(start + ms(10), 1, &ack(0, 1)).unwrap();
    let now = start + ms(5000);
    sender.ack(now, 2, &ack(3, 1)).unwrap();
    push(&mut sender, 1);
    assert_eq!(sender.take(now, 0, first).map(|leg| leg.sequence), Some(3));
    let late = now + LATE_UNMEASURED;
    assert_eq!(sender.take(late, 2, second).map(|leg| leg.sequence), None, "it would need 5 s");
    assert_eq!(sender.take(late, 1, first).map(|leg| leg.sequence), Some(3));
}
