//! Streams that rest, and what that must not cost the other.

use super::super::faults::Fault;
use super::super::net::{DIALS, LISTENS};
use super::super::world::World;
use super::{after, completes, duplex, losses, run, s, world};

/// A session of 16 connections with an input that has paused for long.
fn resting(each_way: bool) -> World {
    let mut world =
        if each_way { duplex(&[(4e6, 0.02)], 16, [2 << 20; 2]) } else { world(&[(4e6, 0.02)], 16, 2 << 20) };
    for end in 0..world.streams() {
        let source = world.ends[end].source.as_mut().unwrap();
        (source.flow.charmode, source.flow.rate) = (true, 2e5);
        after(&mut world, 2.0, Fault::Input { end, rate: 0.0 });
    }
    run(&mut world, 10.0, |_| false);
    world
}

/// About 100 bytes each with all headers, and as much for what only confirms it: 26 MB a day.
#[test]
fn connections_that_rest_cost_next_to_nothing_and_live() {
    for each_way in [false, true] {
        let mut world = resting(each_way);
        let before = world.net.segments;
        run(&mut world, 600.0, |_| false);
        let a_day = (world.net.segments - before) * 144;
        assert!(a_day * 200 < 40_000_000, "{a_day} segments a day");
        assert!(losses(&world).is_empty(), "{:?}", losses(&world));
        after(&mut world, 0.0, Fault::Input { end: DIALS, rate: 1e9 });
        after(&mut world, 0.0, Fault::Input { end: LISTENS, rate: 1e9 });
        completes(&mut world, 10.0);
    }
}

#[test]
fn a_keystroke_on_a_connection_that_died_while_it_rested_comes_within_half_a_second() {
    for (pick, each_way) in (0..16).flat_map(|pick| [(pick, false), (pick, true)]) {
        for ends in [[true, true], [true, false], [false, true]] {
            let mut world = resting(each_way);
            Fault::Forget { pick, ends }.strike(&mut world);
            run(&mut world, 3.0, |_| false);
            for stream in 0..world.streams() {
                let before = world.taken(stream);
                Fault::Input { end: stream, rate: 100.0 }.strike(&mut world);
                // the input is looked at every 0.1 s
                run(&mut world, 0.6, |world| world.taken(stream) > before);
                assert!(world.taken(stream) > before, "stream {stream} with {pick} dead, {ends:?}");
            }
        }
    }
}

#[test]
fn a_stream_whose_connections_are_all_forgotten_moves_again_soon_although_the_other_one_rests() {
    for (resting, connections) in
        [DIALS, LISTENS].into_iter().flat_map(|resting| [(resting, 8), (resting, 1)])
    {
        let mut world = duplex(&[(4e6, 0.005)], connections, [24 << 20; 2]);
        Fault::Input { end: resting, rate: 0.0 }.strike(&mut world);
        for pick in 0..connections {
            after(&mut world, 2.0, Fault::Forget { pick, ends: [true; 2] });
        }
        run(&mut world, 15.0, |world| world.taken(1 - resting) == 24 << 20);
        assert_eq!(world.taken(1 - resting), 24 << 20, "stream {} over {connections}", 1 - resting);
        let gap = world.ends[resting].sink.as_ref().unwrap().gap.0;
        assert!(
            gap < s(if connections > 1 { 1.5 } else { 4.0 }),
            "a gap of {gap:?}, {connections} connections"
        );
    }
}
