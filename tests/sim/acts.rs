//! One seed: a world and its harm drawn at random; act one hurts it, act two heals one link and demands
//! that the rest arrives in the time that link needs.

use super::clock::Event;
use super::end::COMMAND_END;
use super::faults::Fault;
use super::net::{DIALS, LISTENS, Port};
use super::source::Flow;
use super::world::{Config, Mutation, World};
use millipede::proto::leg::{leg_max, window};
use millipede::proto::outcome::Status;
use millipede::proto::way::Way;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::time::Duration;

/// What the healed link is allowed beyond twice the time its rate needs.
const GRACE: Duration = Duration::from_secs(10);
/// Before anything has been received, attempts to connect may take 30 s, and TCP's own pauses grow.
const GRACE_UNBEGUN: Duration = Duration::from_secs(40);
/// How long a connection may be silent, beyond its round trips.
const SILENCE: Duration = Duration::from_secs(3);
/// The receiver repeats its last word for as long as this if the sender's "bye" is lost.
const LINGER: Duration = Duration::from_secs(62);
/// Patience that is over in some runs.
const SHORT: [u64; 3] = [4, 20, 60];

/// What a seed is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One stream, from the end that dials.
    Simplex,
    /// A stream each way over the same connections.
    Duplex,
}

/// One run from its seed. How many events it had.
///
/// # Errors
/// What did not hold.
pub fn play(seed: u64, kind: Kind, mutation: Mutation) -> Result<u64, String> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let lasts = Duration::from_secs_f64(spread(&mut rng, 0.05, 20.0));
    let mut world = World::new(config(&mut rng, seed, kind, mutation, lasts));
    world.tell(&format!("{:#?}", world.config));
    harm(&mut rng, &mut world, lasts);
    world.run(lasts, World::both_over)?;
    world.war = false;
    world.tell("act two");
    let begun = !world.is_judged();
    let time = heal(&mut rng, &mut world);
    world.run(time, World::senders_know).and_then(|_| judge(&world, time, begun))?;
    // with two streams the lingering of one may follow that of the other
    let lingering = LINGER * world.streams() as u32;
    world.run(lingering, World::both_over)?;
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

fn config(rng: &mut SmallRng, seed: u64, kind: Kind, mutation: Mutation, lasts: Duration) -> Config {
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
    let could = rate * lasts.as_secs_f64();
    // two streams of a seed have about as much as one
    let flows = match kind {
        Kind::Simplex => [Some(flow(rng, could, 1000, 2 << 20)), None],
        Kind::Duplex => [0; 2].map(|_| Some(flow(rng, could, 300, 1 << 20))),
    };
    // without a draw of its own, so that seeds mean what they meant
    let total = flows[DIALS].map_or(0, |flow| flow.total);
    let command = (seed % 7 == 3).then(|| 1 + total * (seed / 7 % 5) / 3);
    let lingers = seed / 35 % 2 == 1;
    let turn = |end: u64| lasts.mul_f64(((seed / 5 + end) % 4) as f64 / 4.0);
    let waits = (seed % 5 == 2).then(|| [turn(0), turn(seed / 20)]);
    let mut sink_rate = || if rng.random() { 1e9 } else { spread(rng, 1e4, 1e7) };
    let sink_rates = [sink_rate(), sink_rate()];
    let lifeline = links.len() > 1 && seed % 4 == 1;
    Config {
        seed,
        workers,
        buffers,
        patience,
        checked: rng.random_ratio(1, 3),
        flows,
        sink_rates,
        command,
        lingers,
        low_water: [1, 4 << 10, 64 << 10][rng.random_range(0..3)],
        room: [2 << 10, 32 << 10, 256 << 10, 4 << 20][rng.random_range(0..4)],
        mutation,
        waits,
        lifeline,
        links,
    }
}

/// An input; `could` is what the links could carry in the first act. It has at most so many legs if these are tiny, and
/// else so many bytes.
fn flow(rng: &mut SmallRng, could: f64, legs: usize, bytes: usize) -> Flow {
    let tiny = rng.random_ratio(1, 8);
    let leg_max = if tiny { spread(rng, 1.0, 2000.0) as usize } else { 2 << 20 };
    let most = if tiny { legs * leg_max } else { bytes } as f64;
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
            1 => Fault::Port { link, port: Port::Refuses }.strike(world),
            _ => {}
        }
    }
    for _ in 0..rng.random_range(0..=10) {
        let at = lasts.mul_f64(rng.random());
        let link = rng.random_range(0..links);
        let end = rng.random_range(0..world.streams());
        let (fault, ends_with) = fault(rng, link, end);
        world.net.clock.after(at, Event::Fault(fault));
        if rng.random_ratio(2, 3) {
            let later = at + (lasts - at).mul_f64(rng.random());
            world.net.clock.after(later, Event::Fault(ends_with));
        }
    }
}

/// Harm to a link or a connection, or to the input of an end or the output of the other, and what ends it.
fn fault(rng: &mut SmallRng, link: usize, end: usize) -> (Fault, Fault) {
    const SOME: [[bool; 2]; 3] = [[true, true], [true, false], [false, true]];
    let pick = rng.random_range(0..usize::MAX);
    let some = SOME[rng.random_range(0..3)];
    let open = Fault::Port { link, port: Port::Open };
    let cut = Fault::Cut { pick, informed: [true; 2] };
    match rng.random_range(0..14) {
        0..3 => (Fault::Cut { pick, informed: [true; 2] }, cut),
        3 => (Fault::Cut { pick, informed: some }, cut),
        4..6 => (Fault::Forget { pick, ends: some }, cut),
        6 => (Fault::Flip { pick }, Fault::Flip { pick: pick / 2 }),
        7..9 => (Fault::Silence { link, ends: some }, Fault::Speak { link }),
        9 if rng.random() => (Fault::Port { link, port: Port::Forwards }, open),
        9 => (Fault::Port { link, port: Port::Refuses }, open),
        10 => (Fault::Kill { link }, Fault::Kill { link }),
        11 => {
            let rate = spread(rng, 1e3, 2e7);
            (Fault::Rate { link, rate }, Fault::Rate { link, rate: spread(rng, 1e3, 2e7) })
        }
        12 => (Fault::Delay { link, delay: millis(rng, 0.05, 500.0) }, Fault::Input { end, rate: 1e7 }),
        _ => {
            let end = 1 - end;
            (Fault::Sink { end, rate: 0.0 }, Fault::Sink { end, rate: spread(rng, 1e4, 1e7) })
        }
    }
}

/// Heals one link, the inputs and the outputs. How long the rest may take.
fn heal(rng: &mut SmallRng, world: &mut World) -> Duration {
    let link = rng.random_range(0..world.net.links.len());
    // while others are up, a lifeline may stay as slow as it is
    let link = if world.config.lifeline() == Some(link) { 0 } else { link };
    let (rate, delay, sink) = (spread(rng, 5e4, 2e7), millis(rng, 0.05, 40.0), spread(rng, 1e5, 1e8));
    for fault in [
        Fault::Speak { link },
        Fault::Port { link, port: Port::Open },
        Fault::Rate { link, rate },
        Fault::Delay { link, delay },
        Fault::Sink { end: DIALS, rate: sink },
        Fault::Sink { end: LISTENS, rate: sink },
        Fault::Input { end: DIALS, rate: 1e9 },
        Fault::Input { end: LISTENS, rate: 1e9 },
    ] {
        world.tell(&format!("{fault:?}"));
        fault.strike(world);
    }
    for source in world.ends.iter_mut().filter_map(|end| end.source.as_mut()) {
        source.flow.pause = Duration::ZERO;
    }
    let trip = world.net.round_trip(link).as_secs_f64() + 0.05;
    let each = (0..world.streams()).map(|stream| needs(world, stream, rate, trip, sink));
    // what one stream's bytes are, the other's acknowledgements wait behind
    Duration::from_secs_f64(each.sum()) + grace(world)
}

/// The seconds that the rest of a stream may take.
fn needs(world: &World, stream: usize, rate: f64, trip: f64, sink: f64) -> f64 {
    let Config { buffers, flows, .. } = &world.config;
    let open = window(buffers[1 - stream], leg_max(buffers[DIALS], buffers[LISTENS]));
    let by_window = open.min(buffers[stream]) as f64 / 2.0 / trip;
    // a leg's header, and its acknowledgement the other way
    let longest = flows[stream].map_or(1, |flow| flow.leg_max);
    let wasted = 1.0 + 100.0 / longest as f64;
    let remaining = (world.total(stream) - world.taken(stream)) as f64;
    2.0 * remaining * wasted / rate.min(by_window) + remaining / sink
}

/// The time to notice what is dead grows with the round trips that were measured while the network was
/// hurt: 3 of them, and 3 s, and twice that on a link that was wronged before.
fn grace(world: &World) -> Duration {
    // how long an attempt may take is decided by whoever dials, by what that end knows
    let begun = if world.ends[DIALS].session.has_begun() { GRACE } else { GRACE_UNBEGUN };
    let (mut longest, mut wronged) = (Duration::ZERO, false);
    for end in &world.ends {
        let Some(sending) = end.session.sending() else { continue };
        let known = (0..world.config.workers).filter_map(|worker| sending.sender().pace(worker)?.rtt());
        longest = longest.max(known.max().unwrap_or_default());
        wronged |= (0..world.net.links.len()).any(|link| end.session.lenience(link) > 1);
    }
    begun + longest * 6 + if wronged { SILENCE } else { Duration::ZERO }
}

/// After act two: the senders have ended, and as they should.
fn judge(world: &World, time: Duration, begun: bool) -> Result<(), String> {
    for stream in 0..world.streams() {
        let (taken, total) = (world.taken(stream), world.total(stream));
        match world.codes(stream) {
            [None, None] => {
                return Err(format!(
                    "stream {stream} is not complete {time:?} after the healing: {taken} bytes of {total} delivered"
                ));
            }
            [None, Some(Status::Complete)] if world.ends[1 - stream].over.is_none() => {
                return Err(format!(
                    "stream {stream} was judged, and its sender does not know {time:?} later"
                ));
            }
            _ => {}
        }
    }
    may_end(world).map_err(|why| if begun { why } else { format!("act one: {why}") })
}

/// After the lingering: both ends are over.
fn judge_end(world: &World) -> Result<(), String> {
    may_end(world)?;
    let forever = world.config.patience == [Some(Duration::ZERO); 2];
    match world.both_over() {
        false if forever => {
            let over: Vec<bool> = world.ends.iter().map(|end| end.over.is_some()).collect();
            Err(format!("the ends are not over: {over:?}"))
        }
        _ => Ok(()),
    }
}

/// Without success only when patience may be over, or data was damaged again and again.
fn may_end(world: &World) -> Result<(), String> {
    let forever = world.config.patience == [Some(Duration::ZERO); 2];
    for end in &world.ends {
        for way in Way::BOTH {
            let Some(ending) = end.session.outcome(way) else { continue };
            let to_command = world.config.command.is_some() && (way == Way::Out) == (end.which == DIALS);
            match ending.status {
                Status::Complete if ending.command != to_command.then_some(COMMAND_END) => {
                    return Err(format!("the {way:?} stream of end {} ends as {ending:?}", end.which));
                }
                Status::Complete => {}
                Status::Corrupt | Status::Incomplete if world.flips >= 4 => {}
                Status::Incomplete if !forever => {}
                code => {
                    let name = ["dialler", "listener"][end.which];
                    return Err(format!("the {name} ends with {code:?}: {}", ending.sentence));
                }
            }
        }
    }
    Ok(())
}
