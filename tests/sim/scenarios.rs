//! Directed runs: one fault each, as users meet it, and what must come of it.

use super::clock::Event;
use super::end::COMMAND_END;
use super::faults::Fault;
use super::net::{DIALS, LISTENS, Port};
use super::sink::Sink;
use super::source::Flow;
use super::world::{Config, World, end};
use millipede::proto::hello::RefusalCode;
use millipede::proto::links::LossReason;
use millipede::proto::outcome::Status;
use millipede::proto::way::Way;
use std::time::Duration;

mod resting;
mod slow;

/// The longest pause at the output that a single fault may cause.
const GAP: Duration = Duration::from_millis(2500);

fn s(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// A world with these links (rate, delay in seconds), connections and bytes.
fn world(links: &[(f64, f64)], workers: usize, total: u64) -> World {
    let mut config = Config::plain(1);
    config.links = links.iter().map(|(rate, delay)| (*rate, s(*delay))).collect();
    config.workers = workers;
    config.flows[DIALS].as_mut().unwrap().total = total;
    World::new(config)
}

/// The same with a stream each way.
fn duplex(links: &[(f64, f64)], workers: usize, totals: [u64; 2]) -> World {
    let mut config = Config::plain(1);
    config.links = links.iter().map(|(rate, delay)| (*rate, s(*delay))).collect();
    config.workers = workers;
    let flow = config.flows[DIALS].unwrap();
    config.flows = totals.map(|total| Some(Flow { total, ..flow }));
    World::new(config)
}

fn after(world: &mut World, seconds: f64, fault: Fault) {
    world.net.clock.after(s(seconds), Event::Fault(fault));
}

/// Runs until both have ended, with success.
fn completes(world: &mut World, within: f64) {
    run(world, within, World::both_over);
    assert!(world.both_over(), "not complete in {within} s: {} bytes delivered", world.taken(0));
    for stream in 0..world.streams() {
        assert_eq!(world.codes(stream), [Some(Status::Complete); 2]);
        assert!(world.is_whole(stream));
    }
}

fn run(world: &mut World, seconds: f64, done: impl Fn(&World) -> bool) {
    world.run(s(seconds), done).unwrap();
}

/// How the one stream was judged at this end.
fn code(world: &World, end: usize) -> Option<Status> {
    world.ends[end].code([Way::Out, Way::In][end])
}

/// The output of the end that listens.
fn sink(world: &World) -> &Sink {
    world.ends[LISTENS].sink.as_ref().unwrap()
}

/// Connections that were lost, at both ends.
fn losses(world: &World) -> Vec<&LossReason> {
    world.ends.iter().flat_map(|end| &end.losses).collect()
}

fn no_gap(world: &World) {
    assert!(sink(world).gap.0 < GAP, "a gap of {:?} at the output", sink(world).gap.0);
}

#[test]
fn a_healthy_run_uses_its_links_and_loses_no_connection() {
    let mut world = world(&[(2e6, 0.01); 2], 4, 8 << 20);
    completes(&mut world, 6.0);
    assert!(losses(&world).is_empty(), "{:?}", losses(&world));
    assert!(world.ends[DIALS].session.sending().unwrap().sender().stats().bytes_again < 1 << 18);
}

#[test]
fn an_empty_stream_completes() {
    completes(&mut world(&[(1e6, 0.01)], 2, 0), 2.0);
}

#[test]
fn a_lost_fin_is_told_again() {
    let mut world = world(&[(1e6, 0.01)], 1, 1 << 20);
    run(&mut world, 10.0, |world| world.ends[DIALS].session.sending().unwrap().awaits_verdict());
    Fault::Cut { pick: 0, informed: [true; 2] }.strike(&mut world);
    completes(&mut world, 5.0);
}

#[test]
fn a_lost_verdict_is_told_again() {
    let mut world = world(&[(1e6, 0.05)], 2, 1 << 20);
    run(&mut world, 10.0, |world| world.is_whole(0));
    Fault::Kill { link: 0 }.strike(&mut world);
    completes(&mut world, 5.0);
}

#[test]
fn the_end_of_a_command_is_the_result_whatever_it_has_taken() {
    for (enough, total) in [(1, 8 << 20), (1 << 20, 8 << 20), (9 << 20, 1 << 20), (1, 0)] {
        let mut config = Config::plain(1);
        config.command = Some(enough);
        config.flows[DIALS].as_mut().unwrap().total = total;
        let mut world = World::new(config);
        completes(&mut world, 8.0);
        let ends = world.ends.iter().zip([Way::Out, Way::In]);
        let told: Vec<_> = ends.map(|(end, way)| end.session.outcome(way).unwrap().command).collect();
        assert_eq!(told, [Some(COMMAND_END); 2], "{enough} of {total}");
    }
}

#[test]
fn a_command_that_nobody_asked_for_is_no_success() {
    let mut config = Config::plain(1);
    config.command = Some(1);
    let mut world = World::new(config.clone());
    config.command = None;
    world.ends[DIALS] = end(&mut world.net, &config, DIALS, 1);
    run(&mut world, 10.0, World::both_over);
    assert_eq!(code(&world, DIALS), Some(Status::Incomplete));
}

#[test]
fn without_a_verdict_tx_says_that_it_does_not_know() {
    let mut world = world(&[(1e6, 0.01)], 2, 1 << 20);
    world.ends[LISTENS].mute_verdict = true;
    run(&mut world, 10.0, |world| world.is_whole(0));
    after(&mut world, 1.0, Fault::Port { link: 0, port: Port::Refuses });
    after(&mut world, 1.0, Fault::Kill { link: 0 });
    run(&mut world, 100.0, World::both_over);
    assert_eq!(world.codes(0), [Some(Status::Incomplete), Some(Status::Complete)]);
    let ending = world.ends[DIALS].session.outcome(Way::Out).unwrap();
    assert!(ending.sentence.contains("all has arrived, but no verdict: "), "{}", ending.sentence);
}

#[test]
fn another_receiving_process_is_not_the_one() {
    let mut world = world(&[(1e6, 0.01)], 2, 8 << 20);
    run(&mut world, 2.0, |_| false);
    world.replace_receiver();
    run(&mut world, 20.0, |world| world.ends[DIALS].over.is_some());
    assert_eq!(code(&world, DIALS), Some(Status::Incomplete));
    assert_eq!(code(&world, LISTENS), None, "the new one waits for a stream of its own");
    assert!(world.ends[LISTENS].refused.iter().all(|refusal| refusal.code == RefusalCode::NotThatReceiver));
    assert!(!world.ends[LISTENS].refused.is_empty());
}

#[test]
fn whoever_takes_the_place_of_a_receiver_that_vanished_before_anything_was_received_gets_the_stream() {
    let mut world = world(&[(1e6, 0.01)], 16, 1 << 20);
    world.ends[DIALS].source.as_mut().unwrap().flow.rate = 0.0;
    run(&mut world, 5.0, |_| false);
    for conn in world.net.open_on(0) {
        [DIALS, LISTENS].into_iter().for_each(|end| world.net.forget(conn, end));
    }
    world.replace_receiver();
    after(&mut world, 40.0, Fault::Input { end: DIALS, rate: 1e9 });
    completes(&mut world, 60.0);
}

#[test]
fn what_a_dead_connection_carried_waits_for_no_lifeline() {
    let mut config = Config::plain(1);
    config.links = vec![(2e4, s(0.05)), (2e7, s(0.001))];
    (config.lifeline, config.workers) = (true, 3);
    let flow = config.flows[DIALS].as_mut().unwrap();
    (flow.total, flow.rate) = (400 << 10, 5e5);
    let mut world = World::new(config);
    run(&mut world, 10.0, |_| false);
    Fault::Port { link: 0, port: Port::Refuses }.strike(&mut world);
    Fault::Cut { pick: 0, informed: [true; 2] }.strike(&mut world);
    completes(&mut world, 60.0);
}

#[test]
fn refused_everywhere_for_15_s_the_receiver_is_gone() {
    let mut world = world(&[(1e6, 0.01); 2], 4, 64 << 20);
    run(&mut world, 2.0, |_| false);
    for link in [0, 1] {
        Fault::Port { link, port: [Port::Refuses, Port::Forwards][link] }.strike(&mut world);
        Fault::Kill { link }.strike(&mut world);
    }
    run(&mut world, 14.0, |_| false);
    assert_eq!(code(&world, DIALS), None);
    run(&mut world, 6.0, |world| world.ends[DIALS].over.is_some());
    assert_eq!(code(&world, DIALS), Some(Status::Incomplete));
}

#[test]
fn a_sender_that_is_gone_is_given_up_after_60_s() {
    let mut world = world(&[(1e6, 0.01)], 4, 64 << 20);
    run(&mut world, 2.0, |_| false);
    world.ends[DIALS].exit(&mut world.net);
    run(&mut world, 59.0, |_| false);
    assert_eq!(code(&world, LISTENS), None);
    run(&mut world, 5.0, |world| world.ends[LISTENS].over.is_some());
    assert_eq!(code(&world, LISTENS), Some(Status::Incomplete));
}

#[test]
fn patience_that_was_given_is_kept_and_over_at_both_ends() {
    let mut config = Config::plain(1);
    config.patience = [Some(s(30.0)), Some(s(90.0))];
    config.flows[DIALS].as_mut().unwrap().total = 64 << 20;
    let mut world = World::new(config);
    run(&mut world, 2.0, |_| false);
    for link in [0, 1] {
        Fault::Silence { link, ends: [true; 2] }.strike(&mut world);
    }
    run(&mut world, 30.0, |_| false);
    assert_eq!(code(&world, DIALS), None);
    run(&mut world, 6.0, |world| world.ends[DIALS].over.is_some());
    assert_eq!(code(&world, DIALS), Some(Status::Incomplete));
    // rx notices nothing for 60 s, and then has patience
    run(&mut world, 110.0, |_| false);
    assert_eq!(code(&world, LISTENS), None);
    run(&mut world, 10.0, |world| world.ends[LISTENS].over.is_some());
    assert_eq!(code(&world, LISTENS), Some(Status::Incomplete));
}

#[test]
fn one_connection_of_eight_is_forgotten() {
    for pick in 0..8 {
        let mut world = world(&[(2e6, 0.01)], 8, 20 << 20);
        after(&mut world, 3.0, Fault::Forget { pick, ends: [true; 2] });
        completes(&mut world, 20.0);
        no_gap(&world);
    }
}

#[test]
fn one_of_two_links_goes_silent() {
    for ends in [[true, true], [true, false], [false, true]] {
        for link in [0, 1] {
            let mut world = world(&[(2e6, 0.01); 2], 4, 32 << 20);
            after(&mut world, 3.0, Fault::Silence { link, ends });
            completes(&mut world, 25.0);
            no_gap(&world);
        }
    }
}

#[test]
fn all_links_dead_for_15_s() {
    for fault in [Port::Open, Port::Refuses] {
        let mut config = Config::plain(1);
        config.flows[DIALS].as_mut().unwrap().total = 16 << 20;
        config.patience[DIALS] = Some(s(60.0));
        let mut world = World::new(config);
        for link in [0, 1] {
            if fault == Port::Open {
                after(&mut world, 2.0, Fault::Silence { link, ends: [true; 2] });
                after(&mut world, 17.0, Fault::Speak { link });
            } else {
                after(&mut world, 2.0, Fault::Port { link, port: fault });
                after(&mut world, 2.0, Fault::Kill { link });
                after(&mut world, 17.0, Fault::Port { link, port: Port::Open });
            }
        }
        completes(&mut world, 40.0);
        assert!(sink(&world).gap.0 < s(21.0), "moves again {:?} after it stopped", sink(&world).gap.0);
    }
}

#[test]
fn the_first_link_dead_from_the_start_is_passed_over() {
    for fault in [
        Fault::Silence { link: 0, ends: [true; 2] },
        Fault::Port { link: 0, port: Port::Refuses },
        Fault::Port { link: 0, port: Port::Forwards },
    ] {
        let mut world = world(&[(2e6, 0.01); 2], 4, 4 << 20);
        fault.strike(&mut world);
        run(&mut world, 2.0, |world| sink(world).first_at.is_some());
        assert!(sink(&world).first_at.is_some());
        completes(&mut world, 10.0);
    }
}

#[test]
fn a_slow_input_leaves_the_second_link_alone() {
    let mut config = Config::plain(1);
    config.links = vec![(50e6, s(0.01)); 2];
    config.flows[DIALS].as_mut().unwrap().rate = 8e6;
    config.flows[DIALS].as_mut().unwrap().total = 64 << 20;
    config.low_water = 256 << 10;
    let mut world = World::new(config);
    completes(&mut world, 20.0);
    let carried: Vec<u64> = world.net.links.iter().map(|link| link.carried).collect();
    assert!(carried[1] * 100 <= carried[0] + carried[1], "{carried:?}");
}

#[test]
fn a_window_shut_for_25_s_closes_nothing() {
    let mut world = world(&[(2e6, 0.01); 2], 4, 16 << 20);
    after(&mut world, 2.0, Fault::Sink { end: LISTENS, rate: 0.0 });
    after(&mut world, 27.0, Fault::Sink { end: LISTENS, rate: 1e8 });
    completes(&mut world, 45.0);
    assert!(losses(&world).is_empty(), "{:?}", losses(&world));
}

/// A world where legs are checked, and that damages every nth leg.
fn damaged(every: u64) -> World {
    let mut config = Config::plain(1);
    config.checked = true;
    config.flows[DIALS].as_mut().unwrap().total = 8 << 20;
    let mut world = World::new(config);
    world.ends[DIALS].damage_every = every;
    world
}

#[test]
fn a_damaged_leg_is_sent_again() {
    let mut world = damaged(10);
    completes(&mut world, 10.0);
    let stats = world.ends[DIALS].session.sending().unwrap().sender().stats();
    assert!(stats.damaged >= 5 && stats.legs_again >= 5, "{stats:?}");
    assert!(world.ends[DIALS].losses.is_empty());
}

#[test]
fn a_path_that_corrupts_ends_both_sides() {
    let mut world = damaged(1);
    run(&mut world, 10.0, World::both_over);
    assert_eq!(world.codes(0), [Some(Status::Corrupt), Some(Status::Corrupt)]);
}

#[test]
fn a_way_there_that_is_dead_is_noticed_though_the_peer_speaks() {
    let mut world = world(&[(1e6, 0.01)], 1, 4 << 20);
    after(&mut world, 1.0, Fault::Forget { pick: 0, ends: [true, false] });
    completes(&mut world, 15.0);
    assert_eq!(world.ends[DIALS].losses, [LossReason::Silent]);
    assert!(world.ends[LISTENS].losses.iter().all(|why| *why != LossReason::Silent));
}

/// A firewall that forgets flows: each of the connections in turn, and then all at once.
#[test]
fn connections_that_are_forgotten_again_and_again_cost_little_and_give_their_link_no_lenience() {
    let mut world = world(&[(4e6, 0.005)], 4, 60 << 20);
    for round in 0..40 {
        let fault = Fault::Forget { pick: round, ends: [true; 2] };
        after(&mut world, 1.0 + 0.4 * f64::from(round as u32), fault);
    }
    completes(&mut world, 15.7 * 1.5);
    no_gap(&world);
    assert_eq!(world.ends[DIALS].session.lenience(0), 1);
    assert!(losses(&world).len() >= 20, "{:?}", losses(&world));
}

#[test]
fn where_all_connections_are_forgotten_at_once_the_stream_moves_again_soon() {
    let mut world = world(&[(4e6, 0.005)], 8, 24 << 20);
    for pick in 0..8 {
        after(&mut world, 2.0, Fault::Forget { pick, ends: [true; 2] });
    }
    completes(&mut world, 12.0);
    assert!(sink(&world).gap.0 < s(1.5), "a gap of {:?} at the output", sink(&world).gap.0);
    assert_eq!(world.ends[DIALS].session.lenience(0), 1);
}

/// A time in which nothing worked leaves neither small pieces nor small legs behind.
#[test]
fn legs_are_as_large_after_a_bad_moment_as_before() {
    let mut config = Config::plain(1);
    config.links = vec![(8e6, s(0.005))];
    config.buffers = [32 << 20; 2];
    config.flows[DIALS].as_mut().unwrap().total = 96 << 20;
    let mut world = World::new(config);
    run(&mut world, 3.0, |_| false);
    let size = |world: &World| world.ends[DIALS].session.sending().unwrap().leg_size();
    let before = size(&world);
    assert!(before >= 128 << 10, "{before}");
    for _ in 0..6 {
        for pick in 0..4 {
            Fault::Forget { pick, ends: [true; 2] }.strike(&mut world);
        }
        run(&mut world, 2.0, |_| false);
    }
    assert!(size(&world) >= before / 2, "{} where it was {before}", size(&world));
    completes(&mut world, 30.0);
}

/// A proxy that gives each connection so many bytes and no more.
#[test]
fn a_stream_gets_through_where_no_connection_carries_the_largest_leg() {
    let mut config = Config::plain(1);
    config.links = vec![(30e6, s(0.005))];
    config.buffers = [64 << 20; 2];
    config.flows[DIALS].as_mut().unwrap().total = 24 << 20;
    let mut world = World::new(config);
    world.net.lifetime = 500_000;
    completes(&mut world, 60.0);
}

/// A connection whose way there is dead takes no legs again and again, each of which waits until it is late.
#[test]
fn a_connection_that_lets_nothing_through_is_not_fed() {
    for pick in 0..4 {
        let mut config = Config::plain(1);
        config.links = vec![(2e6, s(0.8))];
        config.buffers[LISTENS] = 512 << 10;
        config.flows[DIALS].as_mut().unwrap().total = 8 << 20;
        let mut world = World::new(config);
        // what was measured on the long way is known of each
        after(&mut world, 8.0, Fault::Delay { link: 0, delay: s(0.002) });
        after(&mut world, 8.0, Fault::Forget { pick, ends: [true, false] });
        completes(&mut world, 100.0);
        // it is called dead after 15 s only
        assert!(sink(&world).gap.0 < s(6.0), "a gap of {:?} at the output", sink(&world).gap.0);
    }
}

#[test]
fn a_hello_that_was_damaged_is_said_again() {
    for pick in 0..50 {
        let mut config = Config::plain(pick);
        config.links = vec![(1e6, s(0.1))];
        config.workers = 1;
        config.checked = true;
        let mut world = World::new(config);
        after(&mut world, 0.25, Fault::Flip { pick: 0 });
        completes(&mut world, 30.0);
    }
}

/// A command that takes no more, and goes on running, stops an input that would never end; though the word of it is lost on
/// every connection that there is.
#[test]
fn a_command_that_has_enough_stops_its_sender() {
    for cuts in [false, true] {
        let mut config = Config::plain(1);
        config.flows[DIALS].as_mut().unwrap().total = 1 << 40;
        (config.command, config.lingers) = (Some(3 << 20), true);
        let mut world = World::new(config);
        run(&mut world, 60.0, |world| world.taken(0) >= 3 << 20);
        if cuts {
            for link in [0, 1] {
                Fault::Kill { link }.strike(&mut world);
            }
        }
        completes(&mut world, 10.0);
        let sent = world.ends[DIALS].source.as_ref().unwrap().pushed;
        assert!(sent < 32 << 20, "{sent} bytes were read");
    }
}

// ---- two streams --------------------------------------------------------------------------------------

#[test]
fn two_streams_use_the_same_connections_and_lose_none() {
    let mut world = duplex(&[(2e6, 0.01); 2], 4, [8 << 20, 4 << 20]);
    completes(&mut world, 6.0);
    assert!(losses(&world).is_empty(), "{:?}", losses(&world));
}

#[test]
fn a_stream_that_is_done_with_leaves_new_connections_to_the_other() {
    for totals in [[8 << 20, 1000], [1000, 8 << 20], [8 << 20, 0], [0, 8 << 20]] {
        let mut world = duplex(&[(2e6, 0.01); 2], 4, totals);
        for link in [0, 1] {
            after(&mut world, 1.0, Fault::Kill { link });
        }
        completes(&mut world, 8.0);
        let lost = world.ends[DIALS].losses.len();
        assert!(lost <= 4, "{lost} connections were lost where 4 broke");
    }
}

#[test]
fn a_far_end_that_welcomes_nobody_is_given_up_after_5_s() {
    let mut world = duplex(&[(2e6, 0.4)], 1, [1 << 20, 1 << 20]);
    // its hello comes after 1.2 s, and its welcome would after 2 s; it waits longer for an answer, as this way is long
    after(&mut world, 1.4, Fault::Forget { pick: 0, ends: [true, false] });
    run(&mut world, 6.1, |_| false);
    assert!(world.ends[LISTENS].losses.is_empty());
    run(&mut world, 0.2, |_| false);
    assert_eq!(world.ends[LISTENS].losses, [LossReason::Silent]);
    completes(&mut world, 30.0);
}
