//! Worlds in which somebody means ill: beside an honest session, or in the place of one of its ends.
//!
//! Whatever it does, there is no panic, memory stays within the buffer, nobody speaks of a success that was not, a
//! signal is obeyed at once, and the honest session beside it, or after it, completes.

use super::clock::Event;
use super::imp::Imp;
use super::net::{DIALS, LISTENS};
use super::sink::Sink;
use super::source::Flow;
use super::world::{self, Config, World};
use millipede::proto::hello::Id;
use millipede::proto::outcome::Status;
use millipede::proto::way::Way;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::time::Duration;

/// How long an honest session takes at most, whoever is beside it.
const HONEST: Duration = Duration::from_secs(20);
/// A session that never began is forgotten by then.
const FORGOTTEN: Duration = Duration::from_secs(7);
/// How long the ends wait without a connection.
const PATIENCE: Duration = Duration::from_secs(30);

/// One run from its seed. How many events it had.
///
/// # Errors
/// What did not hold.
pub fn play(seed: u64) -> Result<u64, String> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let duplex = rng.random();
    let mut world = World::new(config(&mut rng, seed, duplex));
    world.tell(&format!("{:#?}", world.config));
    match rng.random_range(0..3) {
        0 => beside(&mut rng, &mut world, duplex)?,
        1 => dials(&mut rng, &mut world, duplex)?,
        _ => listens(&mut rng, &mut world, duplex)?,
    }
    Ok(world.events)
}

fn config(rng: &mut SmallRng, seed: u64, duplex: bool) -> Config {
    let plain = Config::plain(seed);
    let total = [0, 1000, 200_000][rng.random_range(0..3)];
    let flow = Flow { total, ..plain.flows[DIALS].expect("the end that dials sends") };
    Config {
        links: vec![(1e8, Duration::from_micros(500)); 2],
        buffers: [0; 2].map(|_| [512 << 10, 1 << 20, 4 << 20][rng.random_range(0..3)]),
        patience: [Some(PATIENCE); 2],
        checked: rng.random_ratio(1, 3),
        flows: [Some(flow), duplex.then_some(flow)],
        sink_rates: [if rng.random() { 1e9 } else { 1e5 }; 2],
        room: 4 << 20,
        waits: (seed % 5 == 2).then_some([Duration::from_millis(300); 2]),
        ..plain
    }
}

/// An honest session, and strangers at its door.
fn beside(rng: &mut SmallRng, world: &mut World, duplex: bool) -> Result<(), String> {
    world.tell("a stranger dials beside an honest session");
    // the honest one comes first, and has its turn: whoever has brought something has the receiver
    world.run(HONEST, |world| world.ends.iter().all(|end| !end.waits))?;
    world.run(Duration::from_millis(20), |_| false)?;
    let seed = SmallRng::seed_from_u64(rng.random());
    world.imp = Some(Imp::new(&mut world.net, seed, DIALS, duplex, Id::new([9; 16])));
    world.run(HONEST, World::both_over)?;
    completes(world)
}

fn completes(world: &World) -> Result<(), String> {
    for stream in 0..world.streams() {
        let codes = world.codes(stream);
        if codes != [Some(Status::Complete); 2] || !world.is_whole(stream) {
            return Err(format!("the honest stream {stream} comes to {codes:?}"));
        }
    }
    Ok(())
}

/// Somebody who means ill dials, then goes away.
fn dials(rng: &mut SmallRng, world: &mut World, duplex: bool) -> Result<(), String> {
    world.tell("somebody who means ill dials");
    world.honest = false;
    world.ends[DIALS].gone = true;
    world.ends[LISTENS].sink.iter_mut().for_each(|sink| sink.take_anything());
    let seed = SmallRng::seed_from_u64(rng.random());
    world.imp = Some(Imp::new(&mut world.net, seed, DIALS, duplex, Id::new([9; 16])));
    suffer(rng, world)?;
    if let Some(imp) = &mut world.imp {
        imp.leave(&mut world.net);
    }
    if rng.random() {
        world.net.clock.after(Duration::ZERO, Event::Signal(LISTENS));
        world.run(Duration::from_secs(4), |world| world.ends[LISTENS].gone)?;
        return ends(world, LISTENS);
    }
    world.run(FORGOTTEN, |world| world.ends[LISTENS].gone)?;
    let waits =
        world.ends[LISTENS].session.receiving().is_some_and(|receiving| receiving.receiver().is_none());
    if waits && world.ends[LISTENS].over.is_none() {
        return succeeds(world);
    }
    // it waits for its sender, and perhaps lingers
    world.run(PATIENCE * 4, |world| world.ends[LISTENS].gone)?;
    ends(world, LISTENS)
}

/// An honest sender comes to a receiver that has forgotten all that was.
fn succeeds(world: &mut World) -> Result<(), String> {
    world.tell("an honest sender comes");
    world.honest = true;
    world.ends[DIALS] = world::end(&mut world.net, &world.config, DIALS, 1);
    // it must be the known stream now
    let sink = Sink::new(&world.net.clock, LISTENS, world.config.sink_rates[LISTENS]);
    world.ends[LISTENS].sink = Some(sink);
    world.run(HONEST, World::both_over)?;
    completes(world)
}

/// Somebody who means ill answers where an honest end dials.
fn listens(rng: &mut SmallRng, world: &mut World, duplex: bool) -> Result<(), String> {
    world.tell("somebody who means ill listens");
    world.honest = false;
    world.ends[LISTENS].gone = true;
    world.ends[DIALS].sink.iter_mut().for_each(|sink| sink.take_anything());
    let seed = SmallRng::seed_from_u64(rng.random());
    world.imp = Some(Imp::new(&mut world.net, seed, LISTENS, duplex, Id::new([9; 16])));
    suffer(rng, world)?;
    world.net.clock.after(Duration::ZERO, Event::Signal(DIALS));
    world.run(Duration::from_secs(4), |world| world.ends[DIALS].gone)?;
    ends(world, DIALS)
}

fn suffer(rng: &mut SmallRng, world: &mut World) -> Result<(), String> {
    let time = [0.05, 0.3, 2.0, 10.0][rng.random_range(0..4)];
    world.run(Duration::from_secs_f64(time), |world| world.ends.iter().all(|end| end.gone))?;
    Ok(())
}

/// An end is gone, and speaks of success only if it was one, as far as it can know.
fn ends(world: &World, which: usize) -> Result<(), String> {
    let end = &world.ends[which];
    if !end.gone {
        return Err("it does not end".into());
    }
    let Some(imp) = &world.imp else { return Ok(()) };
    if end.code(Way::In) == Some(Status::Complete) {
        let (taken, closed) = end.sink.as_ref().map_or((0, false), |sink| (sink.taken, sink.closed));
        if !closed || !imp.announced.contains(&taken) {
            return Err(format!("a success with {taken} bytes where {:?} were announced", imp.announced));
        }
    }
    let total = world.total(which);
    let confirmed = imp.confirmed.contains(&total);
    if end.code(Way::Out) == Some(Status::Complete) && !confirmed {
        return Err(format!("a success that nobody confirmed, of {total} bytes"));
    }
    Ok(())
}
