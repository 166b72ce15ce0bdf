//! One seed: a world and its harm drawn at random; act one hurts it, act two heals one link and demands
//! that the rest arrives in the time that link needs.

use super::clock::Event;
use super::faults::Fault;
use super::net::{Door, RX, TX};
use super::source::Flow;
use super::world::{Config, Mutation, World};
use millipede::proto::leg::{leg_max, window};
use millipede::proto::outcome::{Outcome, Status};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::time::Duration;

/// What the healed link is allowed beyond twice the time its rate needs.
const GRACE: Duration = Duration::from_secs(10);
/// Before anything has been received, attempts to connect may take 30 s, and TCP's own pauses grow.
const GRACE_UNBEGUN: Duration = Duration::from_secs(40);
/// The receiver repeats its last word for as long as this if the sender's "bye" is lost.
const LINGER: Duration = Duration::from_secs(62);
/// Patience that is over in some runs.
const SHORT: [u64; 3] = [4, 20, 60];

/// One run from its seed. How many events it had.
///
/// # Errors
/// What did not hold.
pub fn play(seed: u64, mutation: Mutation) -> Result<u64, String> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let lasts = Duration::from_secs_f64(spread(&mut rng, 0.05, 20.0));
    let mut world = World::new(config(&mut rng, seed, mutation, lasts));
    world.tell(&format!("{:#?}", world.config));
    harm(&mut rng, &mut world, lasts);
    world.run(lasts, World::both_ended)?;
    world.war = false;
    world.tell("act two");
    let begun = world.tx.ending.is_none();
    let time = heal(&mut rng, &mut world);
    world.run(time, |world| world.tx.ending.is_some()).and_then(|_| judge(&world, time, begun))?;
    world.run(LINGER, World::both_ended)?;
    judge_end(&world)?;
    Ok(world.events)
}

/// A number between two others, as likely small as large in proportion.
fn spread(rng: &mut SmallRng, from: f64, to: f64) -> f64 {
    (rng.random_range(from.ln()..to.ln())).exp()
}

fn millis(rng: &mut SmallRng, from: f64, to: f64) -> Duration {
    Duration::from_secs_f64(spread(rng, from, to) / 1e3)
}

fn config(rng: &mut SmallRng, seed: u64, mutation: Mutation, lasts: Duration) -> Config {
    let links = (0..[1, 2, 2, 3, 4][rng.random_range(0..5)])
        .map(|_| (spread(rng, 1e3, 2e7), millis(rng, 0.05, 300.0)))
        .collect::<Vec<_>>();
    let workers = links.len().max([1, 2, 3, 4, 6, 16][rng.random_range(0..6)]);
    let buffers = [0; 2].map(|_| [512 << 10, 1 << 20, 2 << 20, 4 << 20][rng.random_range(0..4)]);
    let patience = match rng.random_range(0..10) {
        0..6 => [Some(Duration::ZERO); 2],
        6..8 => [None; 2],
        _ => [0; 2].map(|_| Some(Duration::from_secs(SHORT[rng.random_range(0..3)]))),
    };
    let rate: f64 = links.iter().map(|(rate, _)| rate).sum();
    Config {
        seed,
        workers,
        buffers,
        patience,
        checked: rng.random_ratio(1, 3),
        flow: flow(rng, rate * lasts.as_secs_f64()),
        sink_rate: if rng.random() { 1e9 } else { spread(rng, 1e4, 1e7) },
        low_water: [1, 4 << 10, 64 << 10][rng.random_range(0..3)],
        mutation,
        links,
    }
}

/// An input; `could` is what the links could carry in the first act.
fn flow(rng: &mut SmallRng, could: f64) -> Flow {
    let tiny = rng.random_ratio(1, 8);
    let leg_max = if tiny { spread(rng, 1.0, 2000.0) as usize } else { 2 << 20 };
    let most = if tiny { 1000.0 * leg_max as f64 } else { (2 << 20) as f64 };
    let total = match rng.random_range(0..16) {
        0 => 0,
        1 => rng.random_range(1..100),
        _ => (could * spread(rng, 0.1, 3.0)).min(most) as u64,
    };
    let period = millis(rng, 10.0, 3000.0);
    let bursty = rng.random_ratio(1, 4);
    Flow {
        total,
        rate: if rng.random() { 1e9 } else { spread(rng, 1e4, 1e7) },
        pause: if bursty { period.mul_f64(rng.random()) } else { Duration::ZERO },
        period,
        leg_max,
        charmode: rng.random_ratio(1, 8),
    }
}

/// Plans the harm of act one. Some links are dead from the start.
fn harm(rng: &mut SmallRng, world: &mut World, lasts: Duration) {
    let links = world.net.links.len();
    for link in 0..links {
        match rng.random_range(0..12) {
            0 => Fault::Silence { link, ends: [true; 2] }.strike(world),
            1 => Fault::Door { link, door: Door::Refuses }.strike(world),
            _ => {}
        }
    }
    for _ in 0..rng.random_range(0..=10) {
        let at = lasts.mul_f64(rng.random());
        let link = rng.random_range(0..links);
        let (fault, ends_with) = fault(rng, link);
        world.net.clock.after(at, Event::Fault(fault));
        if rng.random_ratio(2, 3) {
            let later = at + (lasts - at).mul_f64(rng.random());
            world.net.clock.after(later, Event::Fault(ends_with));
        }
    }
}

/// Harm to a link or a connection, and what ends it.
fn fault(rng: &mut SmallRng, link: usize) -> (Fault, Fault) {
    const SOME: [[bool; 2]; 3] = [[true, true], [true, false], [false, true]];
    let pick = rng.random_range(0..usize::MAX);
    let some = SOME[rng.random_range(0..3)];
    let open = Fault::Door { link, door: Door::Open };
    let cut = Fault::Cut { pick, informed: [true; 2] };
    match rng.random_range(0..14) {
        0..3 => (Fault::Cut { pick, informed: [true; 2] }, cut),
        3 => (Fault::Cut { pick, informed: some }, cut),
        4..6 => (Fault::Forget { pick, ends: some }, cut),
        6 => (Fault::Flip { pick }, Fault::Flip { pick: pick / 2 }),
        7..9 => (Fault::Silence { link, ends: some }, Fault::Speak { link }),
        9 if rng.random() => (Fault::Door { link, door: Door::Forwards }, open),
        9 => (Fault::Door { link, door: Door::Refuses }, open),
        10 => (Fault::Kill { link }, Fault::Kill { link }),
        11 => {
            let rate = spread(rng, 1e3, 2e7);
            (Fault::Rate { link, rate }, Fault::Rate { link, rate: spread(rng, 1e3, 2e7) })
        }
        12 => (Fault::Delay { link, delay: millis(rng, 0.05, 500.0) }, Fault::Input { rate: 1e7 }),
        _ => (Fault::Sink { rate: 0.0 }, Fault::Sink { rate: spread(rng, 1e4, 1e7) }),
    }
}

/// Heals one link, the input and the output. How long the rest may take.
fn heal(rng: &mut SmallRng, world: &mut World) -> Duration {
    let link = rng.random_range(0..world.net.links.len());
    let (rate, delay, sink) = (spread(rng, 5e4, 2e7), millis(rng, 0.05, 40.0), spread(rng, 1e5, 1e8));
    for fault in [
        Fault::Speak { link },
        Fault::Door { link, door: Door::Open },
        Fault::Rate { link, rate },
        Fault::Delay { link, delay },
        Fault::Sink { rate: sink },
        Fault::Input { rate: 1e9 },
    ] {
        world.tell(&format!("{fault:?}"));
        fault.strike(world);
    }
    world.tx.source.flow.pause = Duration::ZERO;
    let Config { buffers, flow, .. } = &world.config;
    let leg = leg_max(buffers[TX], buffers[RX]);
    let open = window(buffers[RX], leg).min(buffers[TX]) as f64 / 2.0;
    let by_window = open / (world.net.round_trip(link).as_secs_f64() + 0.05);
    // a leg's header, and its acknowledgement the other way
    let wasted = 1.0 + 100.0 / flow.leg_max as f64;
    let remaining = (flow.total - world.rx.sink.taken) as f64;
    let seconds = 2.0 * remaining * wasted / rate.min(by_window) + remaining / sink;
    Duration::from_secs_f64(seconds) + grace(world)
}

/// The time to notice what is dead grows with the round trips that were measured while the network was
/// hurt: 3 of them, twice that on a link that was wronged before.
fn grace(world: &World) -> Duration {
    let core = &world.tx.core;
    let known = (0..world.config.workers).filter_map(|worker| core.sender().pace(worker)?.rtt());
    let begun = if core.begun() { GRACE } else { GRACE_UNBEGUN };
    begun + known.max().unwrap_or_default() * 6
}

/// After act two: the sender has ended, and as it should.
fn judge(world: &World, time: Duration, begun: bool) -> Result<(), String> {
    let Some((_, ending)) = &world.tx.ending else {
        if let Some((_, gone)) = &world.rx.ending {
            return may_end(world, "rx", gone, RX);
        }
        let (taken, total) = (world.rx.sink.taken, world.config.flow.total);
        return Err(format!("not complete {time:?} after the healing: {taken} bytes of {total} delivered"));
    };
    may_end(world, "tx", ending, TX).map_err(|why| if begun { why } else { format!("act one: {why}") })
}

/// After the lingering: the receiver has ended as well.
fn judge_end(world: &World) -> Result<(), String> {
    match &world.rx.ending {
        Some((_, ending)) => may_end(world, "rx", ending, RX),
        None if world.config.patience == [Some(Duration::ZERO); 2] => Err("rx does not end".into()),
        None => Ok(()),
    }
}

/// Without success only when patience may be over, or data was damaged again and again.
fn may_end(world: &World, who: &str, ending: &Outcome, end: usize) -> Result<(), String> {
    let forever = world.config.patience[end] == Some(Duration::ZERO);
    match ending.status {
        Status::Complete => Ok(()),
        Status::Corrupt if world.flips >= 4 => Ok(()),
        Status::Incomplete if !forever => Ok(()),
        code => Err(format!("{who} ends with {code:?}: {}", ending.sentence)),
    }
}
