//! Legs, acknowledgements and connections, one step at a time.

use super::super::wire::Ack;
use super::*;
use std::sync::Arc;

mod copies;
mod model;

const LEN: u64 = 5000;
const OPEN: WindowEdge = WindowEdge { bytes: 1 << 40, legs: 1 << 20 };

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn edge(bytes: u64) -> WindowEdge {
    WindowEdge { bytes, legs: 1 << 20 }
}

/// An ack of `count` legs on its connection, with the head `next`.
fn ack(next: u64, count: u64) -> Ack {
    Ack { next, delivered: 0, edge: OPEN, count, blocked_ms: 0 }
}

fn push(sender: &mut Sender, legs: u64) {
    for _ in 0..legs {
        sender.push(Arc::new(vec![7u8; LEN as usize]));
    }
}

/// One with places for these connections.
fn new_sender(connections: usize) -> Sender {
    Sender::new(connections, u64::MAX)
}

/// A connection is up, and its welcome is the latest word.
/// In legs.
fn progress(pushed: u64, sent: u64, delivered: u64) -> Progress {
    Progress { pushed: pushed * LEN, sent: sent * LEN, delivered: delivered * LEN }
}

fn attach(sender: &mut Sender, connection: usize, next: u64, edge: WindowEdge) -> Result<bool, Breach> {
    sender.attach(connection, sender.head(), next, edge).map(|received| received.is_some())
}

/// Connections that are all up, with an open window, and `legs` waiting.
fn sender(connections: usize, legs: u64) -> (Sender, Instant) {
    let mut sender = new_sender(connections);
    for connection in 0..connections {
        assert_eq!(attach(&mut sender, connection, 0, OPEN), Ok(true));
    }
    push(&mut sender, legs);
    (sender, Instant::now())
}

/// The next leg for this connection.
fn take_leg(sender: &mut Sender, now: Instant, connection: usize) -> Option<Leg> {
    sender.take(now, connection, ConnectionSet::of(connection))
}

fn take(sender: &mut Sender, now: Instant, connection: usize) -> Option<u64> {
    take_leg(sender, now, connection).map(|leg| leg.sequence)
}

/// All that this connection is given now.
fn take_all(sender: &mut Sender, now: Instant, connection: usize) -> Vec<u64> {
    std::iter::from_fn(|| take(sender, now, connection)).collect()
}

fn take_some(sender: &mut Sender, now: Instant, connection: usize, legs: usize) -> Vec<u64> {
    (0..legs).filter_map(|_| take(sender, now, connection)).collect()
}

/// Connection 0 holds legs 0 to 2; connection 1 was given leg 3 later and has brought it.
fn overtaken() -> (Sender, Instant) {
    let (mut s, now) = sender(3, 6);
    take_some(&mut s, now, 0, 3);
    assert_eq!(take(&mut s, now + ms(1), 1), Some(3));
    s.ack(now + ms(20), 1, &ack(0, 1)).unwrap();
    (s, now)
}

// ---- programs -----------------------------------------------------------------------------------------

/// Behind a leg that waits to be read, no question is heard, and nothing else that this end says.
#[test]
fn a_connection_is_given_no_leg_that_is_not_read_before_others_are_decoded() {
    let (mut s, now) = sender(2, 20);
    s.through(1000);
    let give = |s: &mut Sender, bytes| {
        let given = take(s, now, 0);
        if given.is_some() {
            s.encoded(0, bytes);
        }
        given
    };
    assert_eq!(
        (give(&mut s, 1000), give(&mut s, 1000)),
        (Some(0), Some(1)),
        "one waits beside the one that is decoded"
    );
    assert_eq!(give(&mut s, 1000), None);
    assert_eq!(take(&mut s, now, 1), Some(2), "another connection takes it");
    s.ack(now, 0, &ack(1, 1)).unwrap();
    assert_eq!((give(&mut s, 999), give(&mut s, 1)), (Some(3), None));
    s.ack(now, 0, &ack(2, 2)).unwrap();
    let short = std::iter::from_fn(|| give(&mut s, 1)).count();
    assert_eq!(short, 1, "999 and 1 are as much as one leg may be");
    s.ack(now, 0, &ack(2, 4)).unwrap();
    assert_eq!(std::iter::from_fn(|| give(&mut s, 30)).count(), 4, "there may be more that are short");
}

#[test]
fn where_there_are_no_programs_a_connection_takes_as_many_legs_as_its_path_does() {
    let (mut s, now) = sender(1, 20);
    assert_eq!(take_all(&mut s, now, 0).len(), 20);
}

// ---- the window ---------------------------------------------------------------------------------------

#[test]
fn nothing_is_sent_at_or_beyond_the_edge() {
    let (mut s, now) = (new_sender(1), Instant::now());
    push(&mut s, 5);
    assert_eq!(take(&mut s, now, 0), None, "no connection");
    attach(&mut s, 0, 0, edge(3 * LEN - 1)).unwrap();
    assert_eq!(take_all(&mut s, now, 0), [0, 1]);
    assert!(s.is_shut());
    s.ack(now, 0, &Ack { edge: edge(3 * LEN), ..ack(0, 0) }).unwrap();
    assert_eq!(take_all(&mut s, now, 0), [2]);
    assert_eq!(s.progress(), progress(5, 3, 0));
}

#[test]
fn the_window_counts_legs_too() {
    let (mut s, now) = (new_sender(1), Instant::now());
    push(&mut s, 5);
    let few = |legs| WindowEdge { bytes: 1 << 40, legs };
    attach(&mut s, 0, 0, few(2)).unwrap();
    assert_eq!(take_all(&mut s, now, 0), [0, 1]);
    s.ack(now, 0, &Ack { edge: few(4), ..ack(0, 0) }).unwrap();
    assert_eq!(take_all(&mut s, now, 0), [2, 3]);
}

#[test]
fn the_window_never_moves_back() {
    let (mut s, now) = (new_sender(2), Instant::now());
    push(&mut s, 3);
    attach(&mut s, 0, 0, edge(2 * LEN)).unwrap();
    attach(&mut s, 1, 0, edge(LEN)).unwrap();
    s.ack(now, 0, &Ack { edge: edge(0), ..ack(0, 0) }).unwrap();
    assert_eq!(take_all(&mut s, now, 0), [0, 1]);
}

#[test]
fn a_leg_sent_again_needs_no_window() {
    let (mut s, now) = (new_sender(2), Instant::now());
    push(&mut s, 3);
    attach(&mut s, 0, 0, edge(2 * LEN)).unwrap();
    attach(&mut s, 1, 0, edge(2 * LEN)).unwrap();
    assert_eq!(take_all(&mut s, now, 0), [0, 1]);
    assert!(s.is_shut());
    assert_eq!(s.detach(0), 2);
    assert_eq!(take_all(&mut s, now, 1), [0, 1]);
}

// ---- acknowledgements ---------------------------------------------------------------------------------

#[test]
fn counts_follow_the_send_order_of_their_connection() {
    let (mut s, now) = sender(2, 13);
    assert_eq!(take_some(&mut s, now, 0, 6), [0, 1, 2, 3, 4, 5]);
    assert_eq!(take_some(&mut s, now, 1, 7), [6, 7, 8, 9, 10, 11, 12]);
    s.ack(now, 0, &ack(5, 5)).unwrap();
    s.detach(0);
    assert_eq!(take_all(&mut s, now, 1), [5], "the copy of leg 5 follows leg 12");
    let progress = s.ack(now, 1, &ack(5, 7)).unwrap();
    assert_eq!((progress.bytes, s.head()), (7 * LEN, 5), "seven counted, and 5 is not one");
    assert!(!s.is_idle(1));
    let progress = s.ack(now, 1, &ack(5, 8)).unwrap();
    assert_eq!((progress.bytes, s.head()), (LEN, 13));
    assert!(s.is_idle(1));
}

#[test]
fn every_leg_is_received_once_however_often_it_is_confirmed() {
    let (mut s, now) = sender(2, 2);
    take_some(&mut s, now, 0, 2);
    s.detach(0);
    attach(&mut s, 0, 0, OPEN).unwrap();
    take_some(&mut s, now, 0, 1);
    take_some(&mut s, now, 1, 1);
    let by_count = s.ack(now, 1, &ack(0, 1)).unwrap();
    assert_eq!(by_count.bytes, LEN);
    let by_head = s.ack(now, 0, &ack(2, 1)).unwrap();
    assert_eq!(by_head.bytes, LEN, "leg 0 by its count, and not again by the head");
    assert_eq!(s.ack(now, 1, &ack(2, 1)), Ok(Acked::default()));
}

#[test]
fn an_ack_beyond_what_was_sent_is_a_breach_and_frees_nothing() {
    let (mut s, now) = (new_sender(2), Instant::now());
    push(&mut s, 4);
    attach(&mut s, 0, 0, edge(2 * LEN)).unwrap();
    attach(&mut s, 1, 0, edge(2 * LEN)).unwrap();
    take_some(&mut s, now, 0, 1);
    take_some(&mut s, now, 1, 1);
    let count = Breach::CountBeyondSent { counted: 2, sent: 1 };
    assert_eq!(s.ack(now, 0, &ack(0, 2)), Err(count), "what others carry does not count here");
    assert_eq!(s.ack(now, 0, &ack(3, 1)), Err(Breach::BeyondSent), "wants what follows an unsent leg");
    let delivered = Ack { delivered: 2 * LEN + 1, ..ack(2, 1) };
    assert_eq!(s.ack(now, 0, &delivered), Err(Breach::BeyondSent));
    assert!(s.ack(now, 0, &ack(0, u64::MAX)).is_err());
    assert_eq!((s.head(), s.progress(), s.has_received()), (0, progress(4, 2, 0), false));
    assert!(!s.is_idle(0) && s.is_shut(), "the edge in a lying ack is not believed either");
    assert_eq!(s.detach(0), 1);
}

#[test]
fn old_acks_are_normal() {
    let (mut s, now) = sender(2, 4);
    take_some(&mut s, now, 0, 2);
    take_some(&mut s, now, 1, 2);
    s.ack(now, 0, &Ack { delivered: LEN, ..ack(2, 2) }).unwrap();
    let old = Ack { next: 0, delivered: 0, edge: edge(5), count: 1, blocked_ms: 0 };
    assert_eq!(s.ack(now, 0, &old), Ok(Acked::default()));
    assert_eq!((s.head(), s.progress().delivered), (2, LEN));
    assert_eq!(s.ack(now, 1, &Ack { count: 0, ..old }), Ok(Acked::default()));
}

#[test]
fn an_ack_after_the_connection_is_gone_means_nothing() {
    let (mut s, now) = sender(1, 1);
    take_some(&mut s, now, 0, 1);
    s.detach(0);
    assert_eq!(s.ack(now, 0, &ack(1, 1)), Ok(Acked::default()));
    assert_eq!(s.head(), 0);
}

#[test]
fn an_opening_window_and_a_delivery_are_movement_without_legs() {
    let (mut s, now) = (new_sender(1), Instant::now());
    push(&mut s, 1);
    attach(&mut s, 0, 0, edge(LEN)).unwrap();
    take_some(&mut s, now, 0, 1);
    assert!(s.ack(now, 0, &Ack { edge: edge(LEN), ..ack(1, 1) }).unwrap().moved);
    let taken = Ack { delivered: LEN, edge: edge(LEN), ..ack(1, 1) };
    assert_eq!(s.ack(now, 0, &taken), Ok(Acked { bytes: 0, moved: true }));
    assert_eq!(s.ack(now, 0, &taken), Ok(Acked::default()));
    assert!(s.ack(now, 0, &Ack { edge: edge(2 * LEN), ..taken }).unwrap().moved);
}

// ---- connections come and go --------------------------------------------------------------------------

#[test]
fn what_a_lost_connection_carried_goes_again_in_order_before_fresh_legs() {
    let (mut s, now) = sender(3, 8);
    for (connection, expected) in [(0, 0), (1, 1), (0, 2), (1, 3), (0, 4)] {
        assert_eq!(take(&mut s, now, connection), Some(expected));
    }
    s.ack(now, 0, &ack(1, 1)).unwrap();
    assert_eq!(s.detach(0), 2, "legs 2 and 4; leg 0 is received");
    assert_eq!(s.detach(0), 0);
    assert_eq!(take_all(&mut s, now, 2), [2, 4, 5, 6, 7]);
    assert_eq!((s.stats().legs_again, s.stats().bytes_again), (2, 2 * LEN));
}

#[test]
fn a_leg_that_another_connection_carries_too_is_not_sent_a_third_time() {
    let (mut s, now) = sender(3, 2);
    take_some(&mut s, now, 0, 1);
    take_some(&mut s, now + ms(1), 1, 1);
    s.ack(now + ms(2), 1, &ack(0, 1)).unwrap();
    assert!(s.rescue(now + ms(1000)).is_some());
    assert_eq!(take(&mut s, now + ms(1000), 1), Some(0));
    assert_eq!(s.detach(0), 0, "connection 1 still carries it");
    assert_eq!(s.detach(1), 1);
    assert_eq!(take_all(&mut s, now, 2), [0]);
}

#[test]
fn a_welcome_tells_what_was_received_while_nothing_was_heard() {
    let (mut s, now) = sender(1, 4);
    take_some(&mut s, now, 0, 3);
    assert_eq!(s.detach(0), 3);
    assert_eq!(attach(&mut s, 0, 2, OPEN), Ok(true));
    assert_eq!((s.head(), take_all(&mut s, now, 0)), (2, vec![2, 3]));
}

#[test]
fn a_receiver_that_lost_what_it_confirmed_cannot_be_served() {
    let (mut s, now) = sender(2, 3);
    take_some(&mut s, now, 0, 3);
    s.ack(now, 0, &ack(2, 2)).unwrap();
    s.detach(1);
    assert_eq!(attach(&mut s, 1, 1, OPEN), Ok(false));
    assert_eq!(take(&mut s, now, 1), None, "nothing is attached");
    assert_eq!(attach(&mut s, 1, 4, OPEN), Err(Breach::BeyondSent));
    assert_eq!(attach(&mut s, 1, 2, OPEN), Ok(true));
}

#[test]
fn a_welcome_may_be_older_than_what_others_brought_but_not_than_its_hello() {
    let (mut s, now) = sender(2, 3);
    take_some(&mut s, now, 0, 3);
    s.ack(now, 0, &ack(1, 1)).unwrap();
    s.detach(1);
    let known = s.head();
    s.ack(now, 0, &ack(3, 3)).unwrap();
    assert_eq!(s.attach(1, known, 0, OPEN), Ok(None), "it had confirmed leg 0 before it was asked");
    assert_eq!(s.attach(1, known, 1, OPEN), Ok(Some(0)), "it had not when it answered");
    assert_eq!(s.head(), 3);
}

#[test]
fn counts_start_anew_on_a_new_connection() {
    let (mut s, now) = sender(1, 3);
    take_some(&mut s, now, 0, 2);
    s.ack(now, 0, &ack(1, 1)).unwrap();
    s.detach(0);
    attach(&mut s, 0, 1, OPEN).unwrap();
    assert_eq!(take_some(&mut s, now, 0, 1), [1]);
    assert!(s.ack(now, 0, &ack(1, 2)).is_err(), "one was sent on this connection");
    s.ack(now, 0, &ack(2, 1)).unwrap();
    assert_eq!(s.head(), 2);
}

// ---- damage -------------------------------------------------------------------------------------------

#[test]
fn a_damaged_leg_is_not_received_when_it_is_counted() {
    let (mut s, now) = sender(2, 2);
    take_some(&mut s, now, 0, 2);
    assert_eq!(s.nack(0, 0), Ok(true));
    let progress = s.ack(now, 0, &ack(0, 2)).unwrap();
    assert_eq!((progress.bytes, s.head(), s.is_idle(0)), (LEN, 0, true), "leg 1 alone");
    assert!(take_all(&mut s, now, 0).is_empty(), "not the same connection again");
    assert_eq!(take_all(&mut s, now, 1), [0]);
    s.ack(now, 1, &ack(0, 1)).unwrap();
    assert_eq!((s.head(), s.stats().damaged), (2, 1));
}

#[test]
fn a_damaged_leg_goes_where_it_was_damaged_if_there_is_nowhere_else() {
    let (mut s, now) = sender(2, 1);
    s.detach(1);
    take_some(&mut s, now, 0, 1);
    assert_eq!(s.nack(0, 0), Ok(true));
    assert_eq!(take_all(&mut s, now, 0), [0]);
}

#[test]
fn a_leg_that_was_damaged_once_does_not_wait_for_a_slow_connection() {
    let (mut s, now) = sender(2, 2);
    assert_eq!([0, 1].map(|connection| take(&mut s, now, connection)), [Some(0), Some(1)]);
    s.ack(now + ms(10), 0, &ack(1, 1)).unwrap();
    s.ack(now + ms(10_000), 1, &ack(2, 1)).unwrap();
    push(&mut s, 1);
    let now = now + ms(10_000);
    assert_eq!(take(&mut s, now, 0), Some(2));
    assert_eq!(s.nack(0, 2), Ok(true));
    assert_eq!(take(&mut s, now, 1), None, "it would need ten seconds");
    assert_eq!(take(&mut s, now, 0), Some(2));
    assert_eq!(s.nack(0, 2), Ok(true));
    assert_eq!(take(&mut s, now, 0), None, "that was no chance");
    assert_eq!(take(&mut s, now, 1), Some(2));
}

#[test]
fn the_fourth_failure_of_a_leg_is_the_last() {
    let (mut s, now) = sender(2, 1);
    for turn in 0..4 {
        let connection = turn % 2;
        assert_eq!(take(&mut s, now, connection), Some(0));
        assert_eq!(s.nack(connection, 0), Ok(turn < 3), "failure {}", turn + 1);
    }
}

#[test]
fn failures_of_different_legs_do_not_add_up() {
    let (mut s, now) = sender(1, 6);
    take_some(&mut s, now, 0, 6);
    for sequence in 0..6 {
        assert_eq!(s.nack(0, sequence), Ok(true));
    }
    assert_eq!(take_all(&mut s, now, 0), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_complaint_about_a_leg_that_is_not_on_the_way_is_a_breach() {
    let (mut s, now) = sender(2, 3);
    take_some(&mut s, now, 0, 2);
    assert_eq!(s.nack(1, 0), Err(Breach::UnknownLeg(0)), "another connection carries it");
    assert_eq!(s.nack(0, 2), Err(Breach::UnknownLeg(2)), "not sent yet");
    s.ack(now, 0, &ack(1, 1)).unwrap();
    assert_eq!(s.nack(0, 0), Err(Breach::UnknownLeg(0)), "counted, so the nack came too late");
    assert_eq!(s.nack(0, 1), Ok(true));
    assert_eq!(s.nack(0, 1), Err(Breach::UnknownLeg(1)), "one copy fails once");
    s.detach(0);
    assert_eq!(s.nack(0, 1), Err(Breach::UnknownLeg(1)));
}

#[test]
fn a_damaged_copy_of_what_another_brought_is_forgotten() {
    let (mut s, now) = overtaken();
    s.rescue(now + ms(1000)).unwrap();
    assert_eq!(take(&mut s, now + ms(1000), 1), Some(0));
    s.ack(now + ms(1001), 0, &ack(3, 3)).unwrap();
    assert_eq!(s.nack(1, 0), Ok(true));
    assert_eq!(take(&mut s, now + ms(1001), 2), Some(4));
}

// ---- the end ------------------------------------------------------------------------------------------

#[test]
fn fin_is_known_when_the_input_has_ended_and_all_has_been_sent() {
    let (mut s, now) = sender(1, 2);
    take_some(&mut s, now, 0, 1);
    assert_eq!(s.fin(false), None);
    s.end();
    assert_eq!(s.fin(false), None, "leg 1 waits");
    take_some(&mut s, now, 0, 1);
    let fin = Fin { legs: 2, bytes: 2 * LEN, crc: None };
    assert_eq!((s.fin(false), s.all_received()), (Some(fin), false));
    s.ack(now, 0, &ack(2, 2)).unwrap();
    assert_eq!((s.fin(false), s.all_received()), (Some(fin), true), "it stays known until it is answered");
}

#[test]
fn an_empty_stream_has_an_end_too() {
    let mut s = new_sender(1);
    s.end();
    assert_eq!(s.fin(false), Some(Fin { legs: 0, bytes: 0, crc: None }));
    assert_eq!(s.fin(true), Some(Fin { legs: 0, bytes: 0, crc: Some(0) }));
    assert!(s.all_received() && !s.has_received());
}

#[test]
fn the_crc_of_the_stream_is_made_of_its_legs_in_any_order() {
    let (mut s, now) = (new_sender(1), Instant::now());
    attach(&mut s, 0, 0, OPEN).unwrap();
    let pieces = [b"many feet ".as_slice(), b"carry ", b"one worm"];
    for piece in pieces {
        s.push(Arc::new(piece));
    }
    s.end();
    take_all(&mut s, now, 0);
    for sequence in [2, 0, 0] {
        s.note_crc(sequence, crc32fast::hash(pieces[sequence as usize]));
    }
    s.ack(now, 0, &Ack { delivered: 10, ..ack(1, 1) }).unwrap();
    assert_eq!(s.fin(true), None, "leg 1 is not checked yet");
    s.note_crc(1, crc32fast::hash(pieces[1]));
    let crc = Some(crc32fast::hash(b"many feet carry one worm"));
    assert_eq!(s.fin(true), Some(Fin { legs: 3, bytes: 24, crc }));
}
