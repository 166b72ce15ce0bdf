//! Both ends of a session in one process, on a fake network and a fake clock.
//!
//! ```text
//!  source ─▶ end (owner of a Session) ─▶ net: links, connections, harm ─▶ end (of another) ─▶ sink
//!                              └───────────── one clock, one queue of events ────────────┘
//! ```
//!
//! The ends are driven as the threads drive them: events in, actions and mailboxes out. Worlds are of two kinds, with
//! one stream and with one each way; in a third, `malice`, one of the two ends means ill.
//!
//! Everything follows from a seed. `SEEDS=n` plays that many of each kind (a few thousand otherwise), `SEED=n` one alone.
//! Nothing here sleeps, and nothing depends on the machine.
// nothing of a test program is seen from outside: `pub` is for its own modules
#![allow(unreachable_pub)]

mod acts;
mod clock;
mod data;
mod end;
mod faults;
mod imp;
mod line;
mod malice;
mod net;
mod passing;
mod reading;
mod scenarios;
mod sink;
mod source;
mod world;
mod writing;

use acts::Kind;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use world::Mutation;

/// Seeds of an ordinary test run.
const SEEDS: u64 = 3000;
/// Of the worlds with somebody who means ill, which are short.
const MALICE: u64 = 10_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}

/// What one seed comes to, panics of the sessions included.
fn caught(play: impl FnOnce() -> Result<u64, String>) -> Result<u64, String> {
    catch_unwind(AssertUnwindSafe(play)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        Err(format!("panic: {}", text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("?")))
    })
}

/// Plays seeds on all processors; the failures, and how many events there were.
fn play_all(
    seeds: Range<u64>,
    play: impl Fn(u64) -> Result<u64, String> + Sync,
) -> (Vec<(u64, String)>, u64) {
    let (next, events) = (AtomicU64::new(seeds.start), AtomicU64::new(0));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        let mut failed = Vec::new();
        while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|s| *s < seeds.end) {
            match caught(|| play(seed)) {
                Ok(count) => _ = events.fetch_add(count, Ordering::Relaxed),
                Err(why) => failed.push((seed, why)),
            }
        }
        failed
    };
    let mut failed = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("no panic gets this far"))
            .collect::<Vec<_>>()
    });
    failed.sort();
    (failed, events.into_inner())
}

/// Plays as many seeds as were asked for, `ordinarily` otherwise; none may fail. `test` says how to play one again.
fn all_hold(test: &str, ordinarily: u64, play: impl Fn(u64) -> Result<u64, String> + Sync) {
    let first = number("SEED").unwrap_or(0);
    let count = if number("SEED").is_some() { 1 } else { number("SEEDS").unwrap_or(ordinarily) };
    let began = Instant::now();
    let (failed, events) = play_all(first..first + count, play);
    println!("{test}: {count} seeds, {events} events in {:.1?}", began.elapsed());
    for (seed, why) in failed.iter().take(20) {
        println!("seed {seed}: {why}\n    replay: SEED={seed} cargo test --test sim {test}");
    }
    assert!(failed.is_empty(), "{} of {count} seeds failed", failed.len());
}

#[test]
fn whatever_happens_the_stream_arrives_once_in_order_and_soon() {
    all_hold("whatever", SEEDS, |seed| acts::play(seed, Kind::Simplex, Mutation::None));
}

#[test]
fn so_do_two_streams_over_the_same_connections() {
    all_hold("so_do_two", SEEDS, |seed| acts::play(seed, Kind::Duplex, Mutation::None));
}

#[test]
fn whoever_means_ill_harms_nobody_else() {
    all_hold("whoever_means_ill", MALICE, malice::play);
}

/// Every mistake on purpose is noticed, within so many seeds of either kind.
fn noticed(mutation: Mutation) {
    for kind in [Kind::Simplex, Kind::Duplex] {
        let play = |seed, mutation| caught(|| acts::play(seed, kind, mutation));
        let found = (0..1000).find_map(|seed| play(seed, mutation).err().map(|why| (seed, why)));
        let (seed, why) = found.unwrap_or_else(|| panic!("{mutation:?} goes unnoticed, {kind:?}"));
        println!("{mutation:?}, {kind:?}: seed {seed}: {why}");
        assert_eq!(play(seed, Mutation::None).err(), None, "seed {seed} must blame the mutation alone");
    }
}

#[test]
fn counts_read_as_sequence_numbers_are_noticed() {
    noticed(Mutation::CountsAreSequences);
}

#[test]
fn a_leg_dropped_after_its_ack_is_noticed() {
    noticed(Mutation::DropAfterAck);
}

#[test]
fn an_early_verdict_is_noticed() {
    noticed(Mutation::EarlyVerdict);
}

#[test]
fn a_window_off_by_one_leg_is_noticed() {
    noticed(Mutation::WindowOffByOne);
}

#[test]
fn a_loss_that_is_told_of_a_replaced_connection_is_noticed() {
    noticed(Mutation::TellReplaced);
}

#[test]
fn a_late_complaint_is_noticed() {
    noticed(Mutation::LateComplaint);
}

#[test]
fn the_lack_of_rescue_is_noticed() {
    noticed(Mutation::NoRescue);
}

#[test]
fn a_leg_that_is_written_again_from_its_first_byte_is_noticed() {
    noticed(Mutation::ResumeAtStart);
}

#[test]
fn bytes_that_count_as_moved_and_were_not_are_noticed() {
    noticed(Mutation::CountUnmoved);
}
