//! Legs that take longer than patience.

use super::super::faults::Fault;
use super::super::net::DIALS;
use super::super::world::{Config, World};
use super::{after, completes, s};

/// So many links, with a connection and patience each way.
fn world(links: usize, rate: f64, total: u64, patience: f64) -> World {
    let mut config = Config::plain(1);
    config.links = vec![(rate, s(0.01)); links];
    (config.workers, config.patience) = (links, [Some(s(patience)); 2]);
    config.flows[DIALS].as_mut().unwrap().total = total;
    World::new(config)
}

#[test]
fn a_leg_that_takes_longer_than_patience_arrives_if_its_bytes_flow() {
    for links in [1, 4] {
        completes(&mut world(links, 3e3, 16 << 10, 5.0), 20.0);
    }
}

#[test]
fn so_do_legs_on_links_that_become_slow() {
    let mut world = world(4, 2e6, 2 << 20, 5.0);
    for link in 0..4 {
        after(&mut world, 0.1, Fault::Rate { link, rate: 3e3 });
    }
    completes(&mut world, 400.0);
}
