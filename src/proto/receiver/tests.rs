//! Order, once each, within the window.

use super::*;
use proptest::prelude::*;
use std::sync::Arc;

fn leg(sequence: u64, offset: u64, len: usize) -> Leg {
    Leg::new(sequence, offset, Arc::new(vec![sequence as u8; len]))
}

fn ready(receiver: &mut Receiver) -> Vec<u64> {
    std::iter::from_fn(|| receiver.next_ready()).map(|leg| leg.sequence).collect()
}

#[test]
fn legs_come_out_in_order_and_once() {
    let mut r = Receiver::new(1000);
    assert_eq!(r.leg(leg(1, 10, 10)), Ok(LegFate::Ahead));
    assert_eq!(ready(&mut r), [0; 0]);
    assert_eq!(r.leg(leg(0, 0, 10)), Ok(LegFate::InOrder));
    assert_eq!(ready(&mut r), [0, 1]);
    assert_eq!(r.leg(leg(0, 0, 10)), Ok(LegFate::Duplicate));
    assert_eq!(r.leg(leg(1, 10, 10)), Ok(LegFate::Duplicate));
    assert_eq!((r.next(), r.received_bytes(), r.duplicates()), (2, 20, 2));
}

#[test]
fn the_window_ends_where_it_was_said_to_end() {
    let mut r = Receiver::new(100);
    assert_eq!(r.leg(leg(0, 0, 101)), Err(Breach::BeyondWindow(0)));
    assert_eq!(r.leg(leg(0, 0, 100)), Ok(LegFate::InOrder));
    assert_eq!(r.leg(leg(1, 100, 1)), Err(Breach::BeyondWindow(1)));
    assert_eq!(r.leg(leg(WINDOW_LEGS, 1, 1)), Err(Breach::BeyondWindow(WINDOW_LEGS)));
    assert!(r.delivered(1, 100), "it was shut and is open");
    assert_eq!(r.edge(), WindowEdge { bytes: 200, legs: WINDOW_LEGS + 1 });
    assert_eq!(r.leg(leg(1, 100, 1)), Ok(LegFate::InOrder));
}

#[test]
fn a_gap_that_legs_cannot_fill_is_refused() {
    let fin = |legs, bytes| Fin { legs, bytes, crc: None };
    let ahead = || {
        let mut r = Receiver::new(1 << 30);
        assert_eq!(r.leg(leg(0, 0, 10)), Ok(LegFate::InOrder));
        assert_eq!(r.leg(leg(2, 20, 10)), Ok(LegFate::Ahead));
        r
    };
    // the last leg is here, and the end lies elsewhere; or legs are to come, and no bytes; or bytes, and no room
    for (legs, bytes) in [(3, 31), (4, 30), (6, 32), (2, 20), (4, 31 + LEG_MAX as u64)] {
        assert_eq!(ahead().fin(fin(legs, bytes)), Err(Breach::PastEnd(3)), "{legs} legs, {bytes} bytes");
    }
    for (legs, bytes) in [(3, 30), (4, 31), (4, 30 + LEG_MAX as u64)] {
        assert_eq!(ahead().fin(fin(legs, bytes)), Ok(()), "{legs} legs, {bytes} bytes");
    }
    let mut r = ahead();
    r.fin(fin(4, 40)).unwrap();
    assert_eq!(r.leg(leg(3, 30, 5)), Err(Breach::PastEnd(3)), "nothing would come behind it");
    assert_eq!(ahead().leg(leg(5, 31, 10)), Err(Breach::Misfit(5)), "two legs have two bytes at least");
    assert_eq!(ahead().leg(leg(5, 32, 10)), Ok(LegFate::Ahead));
}

#[test]
fn a_sender_that_may_wait_at_the_edge_it_knows_is_told_of_the_next() {
    let mut r = Receiver::new(80);
    let fill = |r: &mut Receiver, legs: std::ops::Range<u64>| {
        legs.for_each(|n| assert_eq!(r.leg(leg(n, n * 5, 5)), Ok(LegFate::InOrder)));
    };
    fill(&mut r, 0..16);
    assert!(!r.delivered(1, 5), "so little is not worth a message");
    assert!(r.delivered(1, 5));
    // the sender uses what it was told of; by then more has been taken, and the window never looks shut
    for turn in 0..10 {
        assert!(!r.delivered(1, 5));
        let from = 16 + 2 * turn;
        fill(&mut r, from..from + 2);
        assert!(r.delivered(1, 5), "it waits at the edge it knows");
    }
    r.note_told(r.edge());
    assert!(!r.delivered(1, 5), "it knows of enough");
    r.note_told(WindowEdge { bytes: 10_000, legs: 10_000 });
    fill(&mut r, 36..39);
    assert!(r.delivered(2, 10), "it cannot have been told of what never was");
}

#[test]
fn legs_that_lie_about_their_place_are_not_taken() {
    let mut r = Receiver::new(1000);
    r.leg(leg(0, 0, 10)).unwrap();
    r.leg(leg(3, 30, 10)).unwrap();
    for bad in [leg(1, 11, 5), leg(1, 9, 5), leg(2, 10, 5), leg(2, 25, 4), leg(4, 41, 1), leg(5, 40, 1)] {
        let sequence = bad.sequence;
        assert_eq!(r.leg(bad), Err(Breach::Misfit(sequence)));
    }
    assert_eq!(r.leg(leg(2, 20, 10)), Ok(LegFate::Ahead));
    assert_eq!(r.leg(leg(1, 10, 10)), Ok(LegFate::InOrder));
    assert_eq!(ready(&mut r), [0, 1, 2, 3]);
}

#[test]
fn the_end_is_announced_once_and_holds() {
    let fin = |legs, bytes| Fin { legs, bytes, crc: None };
    let mut r = Receiver::new(1000);
    r.leg(leg(1, 10, 10)).unwrap();
    assert_eq!(r.fin(fin(1, 10)), Err(Breach::PastEnd(2)));
    assert_eq!(r.fin(fin(2, 20)), Ok(()));
    assert_eq!(r.fin(fin(2, 20)), Ok(()));
    assert_eq!(r.fin(fin(3, 30)), Err(Breach::OtherEnd));
    assert_eq!(r.leg(leg(2, 20, 1)), Err(Breach::PastEnd(2)));
    r.leg(leg(0, 0, 10)).unwrap();
    assert_eq!((r.whole().is_some(), r.complete()), (true, None));
    r.delivered(2, 20);
    assert_eq!(r.complete(), Some(fin(2, 20)));
}

#[test]
fn the_output_begins_with_the_head_when_it_has_taken_all_before_it() {
    let mut r = Receiver::new(1000);
    assert!(!r.begin_head(1, 10, 10), "it is not the head");
    assert!(!r.begin_head(0, 1, 10), "it does not begin where the stream does");
    assert!(!r.begin_head(0, 0, 1001), "it ends beyond the window");
    assert!(!r.has_begun_head());
    r.leg(leg(0, 0, 10)).unwrap();
    assert!(!r.begin_head(1, 10, 10), "the output has another to take first");
    r.delivered(1, 10);
    assert!(!r.begin_head(0, 0, 10), "it is here");
    assert!(r.begin_head(1, 10, 10) && r.begin_head(1, 10, 10));
    r.leg(leg(2, 20, 10)).unwrap();
    assert_eq!(ready(&mut r), [0], "nothing of what was begun is given to the output");
    assert_eq!(r.head_through(1, 10, 10), Ok(LegFate::InOrder));
    assert_eq!((ready(&mut r), r.has_begun_head()), (vec![2], false));
    assert_eq!(r.head_through(1, 10, 10), Ok(LegFate::Duplicate));
    assert_eq!((r.next(), r.received_bytes(), r.duplicates()), (3, 30, 1));
    assert!(!r.delivered(2, 20));
    assert_eq!(r.head_through(3, 30, 10), Err(Breach::Misfit(3)), "nothing was begun");
    assert!(r.begin_head(3, 30, 10));
    assert_eq!(r.leg(leg(3, 30, 10)), Ok(LegFate::InOrder), "another copy was whole first");
    assert_eq!((ready(&mut r), r.has_begun_head()), (vec![3], false));
    assert_eq!(r.head_through(3, 30, 10), Ok(LegFate::Duplicate));
}

#[test]
fn a_leg_of_which_the_output_has_taken_nothing_has_not_begun() {
    let mut r = Receiver::new(1000);
    assert!(r.begin_head(0, 0, 10));
    r.leave_head(1);
    assert!(r.has_begun_head(), "that is another one");
    r.leave_head(0);
    assert!(!r.has_begun_head() && r.begin_head(0, 0, 9), "nothing is known of its length");
}

#[test]
fn what_the_output_has_begun_with_keeps_its_length() {
    let fin = |legs, bytes| Fin { legs, bytes, crc: None };
    let begun = || {
        let mut r = Receiver::new(1000);
        assert!(r.begin_head(0, 0, 10));
        r
    };
    let mut r = begun();
    assert!(!r.begin_head(0, 0, 9));
    assert_eq!(r.head_through(0, 0, 9), Err(Breach::Misfit(0)));
    assert_eq!(r.leg(leg(0, 0, 11)), Err(Breach::Misfit(0)));
    assert_eq!(r.leg(leg(1, 9, 5)), Err(Breach::Misfit(1)), "it would begin within the head");
    assert_eq!(r.leg(leg(2, 10, 5)), Err(Breach::Misfit(2)), "leg 1 would be empty");
    assert_eq!(begun().fin(fin(0, 0)), Err(Breach::PastEnd(1)));
    assert_eq!(begun().fin(fin(1, 9)), Err(Breach::PastEnd(1)));
    assert_eq!((begun().fin(fin(1, 10)), begun().fin(fin(2, 11))), (Ok(()), Ok(())));
    assert_eq!(r.leg(leg(1, 10, 5)), Ok(LegFate::Ahead));
    assert_eq!(r.leg(leg(0, 0, 10)), Ok(LegFate::InOrder));
    assert_eq!(ready(&mut r), [0, 1]);
    // the end was announced, and says how long the last leg is
    let mut r = Receiver::new(1000);
    r.fin(fin(1, 10)).unwrap();
    assert!(!r.begin_head(0, 0, 9) && r.begin_head(0, 0, 10));
}

#[test]
fn an_empty_stream_is_complete_at_its_end() {
    let mut r = Receiver::new(1000);
    assert_eq!(r.complete(), None);
    r.fin(Fin { legs: 0, bytes: 0, crc: None }).unwrap();
    assert!(r.complete().is_some());
    assert!(Receiver::new(9).fin(Fin { legs: 0, bytes: 5, crc: None }).is_err());
}

proptest! {
    /// Any order, any repetition, any delivery in between: the output is the input, and the bounds hold.
    #[test]
    fn any_arrival_order_gives_the_stream(
        lens in prop::collection::vec(1usize..50, 1..60),
        picks in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..400),
    ) {
        let window = 200;
        let mut r = Receiver::new(window);
        let starts: Vec<u64> = lens.iter().scan(0, |at, l| { let s = *at; *at += *l as u64; Some(s) }).collect();
        let (mut out, mut waiting) = (Vec::new(), VecDeque::new());
        let order = picks.iter().map(|(i, d)| (i.index(lens.len()), *d)).chain((0..lens.len()).map(|i| (i, true)));
        for (index, deliver) in order {
            let before = r.next();
            match r.leg(leg(index as u64, starts[index], lens[index])) {
                Ok(LegFate::Duplicate) => prop_assert!((index as u64) < before || r.ahead.contains_key(&(index as u64))),
                Ok(_) => {}
                Err(e) => prop_assert_eq!(e, Breach::BeyondWindow(index as u64)),
            }
            while let Some(l) = r.next_ready() { waiting.push_back(l.len()); out.push(l.sequence); }
            if deliver { while let Some(len) = waiting.pop_front() { r.delivered(1, len); } }
            prop_assert!(r.held_bytes() <= window);
        }
        prop_assert!(out.iter().copied().eq(0..lens.len() as u64));
    }
}
