use super::*;
use crate::proto::leg::{LEG_MAX, Payload};
use proptest::prelude::*;
use std::thread;
use std::time::Duration;

const MIB: usize = 1 << 20;

fn start(buffer: &mut Buffer) -> *const u8 {
    buffer.space().as_ptr()
}

#[test]
fn sizes_waste_little_and_are_their_own_class() {
    assert_eq!((class(0), class(1), class(64), class(65)), (64, 64, 64, 128));
    assert_eq!((class(SMALL_MAX), class(SMALL_MAX + 1)), (SMALL_MAX, 2 * PAGE));
    assert_eq!((class(LEG_MAX), class(MIB + 1)), (LEG_MAX, MIB + MIB / 8));
    for size in (1..3 * MIB).step_by(997) {
        let rounded = class(size);
        assert_eq!(class(rounded), rounded);
        assert!(rounded >= size && rounded - size < (size / STEPS).max(PAGE), "{size} to {rounded}");
    }
}

#[test]
fn the_last_to_come_back_is_the_first_to_go_out() {
    let pool = Pool::new(64 << 20);
    let (mut first, mut second) = (pool.take(MIB).unwrap(), pool.take(MIB).unwrap());
    let (at_first, at_second) = (start(&mut first), start(&mut second));
    drop(first);
    drop(second);
    let (mut again, mut then) = (pool.take(MIB).unwrap(), pool.take(MIB - 1).unwrap());
    assert_eq!((start(&mut again), start(&mut then)), (at_second, at_first));
    assert_eq!((pool.in_use(), pool.allocated()), (2 << 20, 2 << 20));
}

#[test]
fn kept_memory_makes_way_for_other_sizes() {
    let pool = Pool::new(4 << 20);
    drop((pool.take(2 * MIB), pool.take(MIB), pool.take(MIB)));
    assert_eq!((pool.in_use(), pool.allocated()), (0, 4 << 20));
    let small = pool.try_take(100).unwrap();
    assert_eq!((small.footprint(), pool.in_use()), (128, 128));
    // The 2 MiB were asked for longest ago.
    assert_eq!(pool.allocated(), (2 << 20) + 128);
    assert!(pool.try_take(4 * MIB).is_none());
    drop(small);
    assert_eq!(pool.take(4 * MIB).unwrap().footprint(), 4 * MIB);
}

#[test]
fn sizes_that_nobody_asks_for_any_more_are_not_kept() {
    let pool = Pool::new(64 << 20);
    drop((pool.take(MIB), pool.take(MIB)));
    (0..2 * MEMORY).for_each(|_| drop(pool.take(2 * MIB)));
    assert_eq!(pool.allocated(), 2 << 20);
}

#[test]
fn a_request_near_the_capacity_is_not_rounded_beyond_it() {
    let pool = Pool::new(3 * MIB as u64 + 5);
    assert_eq!(pool.take(3 * MIB + 1).unwrap().footprint(), 3 * MIB + 1);
}

#[test]
fn waiting_ends_when_memory_comes_back() {
    let pool = Pool::new(4 << 20);
    let (one, two) = (pool.take(2 * MIB).unwrap(), pool.take(2 * MIB).unwrap());
    assert!(pool.try_take(1).is_none());
    let waiter = thread::spawn({
        let pool = pool.clone();
        move || pool.take(3 * MIB).map(|buffer| buffer.size())
    });
    drop(one);
    assert!(pool.take_within(3 * MIB, Duration::from_millis(10)).is_none(), "there is room for 2 MiB only");
    assert!(!waiter.is_finished());
    drop(two);
    assert_eq!(waiter.join().unwrap(), Some(3 * MIB));
}

#[test]
fn room_is_waited_for_as_long_as_is_said() {
    let pool = Pool::new(4 << 20);
    let all = pool.take(4 * MIB).unwrap();
    assert!(pool.take_within(1, Duration::from_millis(1)).is_none());
    let waiter = thread::spawn({
        let pool = pool.clone();
        move || pool.take_within(4 * MIB, Duration::from_secs(60)).is_some()
    });
    drop(all);
    assert!(waiter.join().unwrap());
}

#[test]
fn waiting_ends_when_the_pool_is_closed() {
    let pool = Pool::new(4 << 20);
    let all = pool.take(4 * MIB).unwrap();
    let waiter = thread::spawn({
        let pool = pool.clone();
        move || pool.take(1).is_none()
    });
    pool.close();
    assert!(waiter.join().unwrap());
    assert!(pool.take(1).is_none() && pool.try_take(1).is_none());
    drop(all);
    assert_eq!(pool.allocated(), 0);
}

#[test]
fn a_small_leg_leaves_a_large_buffer() {
    let pool = Pool::new(16 << 20);
    let mut buffer = pool.take(LEG_MAX).unwrap();
    buffer.space()[..5].copy_from_slice(b"bytes");
    let small = pool.shrink(buffer, 5);
    assert_eq!((&small[..], small.footprint(), pool.in_use()), (&b"bytes"[..], 64, 64));
    let stays = pool.shrink(pool.take(LEG_MAX).unwrap(), MIB + 1);
    assert_eq!((stays.len(), stays.footprint()), (MIB + 1, LEG_MAX));
}

#[test]
fn a_small_leg_stays_where_there_is_no_room_to_move() {
    let pool = Pool::new(LEG_MAX as u64);
    let stays = pool.shrink(pool.take(LEG_MAX).unwrap(), 5);
    assert_eq!((stays.len(), stays.footprint()), (5, LEG_MAX));
}

#[test]
fn a_buffer_is_a_payload() {
    let pool = Pool::new(4 << 20);
    let mut buffer = pool.take(3).unwrap();
    buffer.space().copy_from_slice(b"leg");
    buffer.set_len(3);
    let payload: Payload = Arc::new(buffer);
    let other = Arc::clone(&payload);
    thread::spawn(move || assert_eq!(other.bytes(), b"leg")).join().unwrap();
    drop(payload);
    assert_eq!(pool.in_use(), 0);
}

#[test]
#[should_panic(expected = "bytes filled of")]
fn more_than_there_is_cannot_be_filled() {
    Pool::new(4096).take(100).unwrap().set_len(101);
}

#[test]
#[should_panic(expected = "from a pool of")]
fn more_than_there_will_ever_be_is_not_waited_for() {
    Pool::new(4096).take(4097);
}

proptest! {
    #[test]
    fn the_budget_is_never_exceeded_and_the_books_are_right(
        moves in prop::collection::vec((0usize..40, 1usize..300 << 10, 0usize..10), 1..200),
    ) {
        let pool = Pool::new(MIB as u64);
        let mut out: Vec<Buffer> = Vec::new();
        for (which, size, what) in moves {
            match what {
                0..5 => {
                    let room = pool.capacity() - pool.in_use();
                    let taken = pool.try_take(size);
                    prop_assert_eq!(taken.is_some(), class(size) as u64 <= room);
                    out.extend(taken);
                }
                5..7 if which < out.len() => {
                    let buffer = out.swap_remove(which);
                    let len = size.min(buffer.size());
                    let small = pool.shrink(buffer, len);
                    prop_assert_eq!(small.len(), len);
                    out.push(small);
                }
                _ if which < out.len() => drop(out.swap_remove(which)),
                _ => {}
            }
            let sum: usize = out.iter().map(Buffer::footprint).sum();
            prop_assert_eq!(pool.in_use(), sum as u64);
            prop_assert!(pool.allocated() <= pool.capacity());
        }
    }
}

#[test]
fn what_was_rounded_up_may_use_more_but_what_was_asked_for_may_not() {
    let pool = Pool::with_rounding(64 << 10, 64 << 10);
    let small: Vec<Buffer> = (0..12).map_while(|_| pool.try_take(SMALL_MAX + 1)).collect();
    assert_eq!((small.len(), pool.in_use()), (12, 96 << 10));
    let left = (64 << 10) - 12 * (SMALL_MAX + 1);
    assert!(pool.try_take(left + 1).is_none());
    let rest = pool.try_take(left).unwrap();
    assert!(pool.try_take(1).is_none());
    drop(small);
    assert!(pool.try_take((64 << 10) - left + 1).is_none());
    drop(rest);
    assert_eq!(pool.try_take(64 << 10).unwrap().size(), 64 << 10);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn many_threads_share_one_budget() {
    let pool = Pool::new(MIB as u64);
    thread::scope(|scope| {
        for seed in 1..=4usize {
            let pool = &pool;
            scope.spawn(move || {
                for i in 1..2000 {
                    let mut buffer = pool.take(seed * i * 7919 % (400 << 10) + 1).unwrap();
                    buffer.space()[0] = 1;
                    assert!(pool.allocated() <= pool.capacity());
                }
            });
        }
    });
    assert_eq!(pool.in_use(), 0);
}
