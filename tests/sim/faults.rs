//! Harm, one kind a line, and how it is done to the world.

use super::net::{DIALS, LISTENS, Port};
use super::world::World;
use std::time::Duration;

#[derive(Clone, Debug)]
pub enum Fault {
    /// A connection ends in mid-byte; only the ends marked learn of it.
    Cut {
        pick: usize,
        informed: [bool; 2],
    },
    /// What these ends of a connection send vanishes, and no kernel knows.
    Forget {
        pick: usize,
        ends: [bool; 2],
    },
    /// A byte on its way is changed: of a leg where legs are checked, of a message anywhere.
    Flip {
        pick: usize,
    },
    /// A link lets nothing through, in these directions.
    Silence {
        link: usize,
        ends: [bool; 2],
    },
    Speak {
        link: usize,
    },
    /// New connections are turned away, or no longer.
    Port {
        link: usize,
        port: Port,
    },
    /// Every connection of a link is reset.
    Kill {
        link: usize,
    },
    Rate {
        link: usize,
        rate: f64,
    },
    Delay {
        link: usize,
        delay: Duration,
    },
    /// The output of an end takes so many bytes a second; 0 is asleep.
    Sink {
        end: usize,
        rate: f64,
    },
    Input {
        end: usize,
        rate: f64,
    },
}

impl Fault {
    pub fn strike(self, world: &mut World) {
        if self.would_end(world.config.lifeline()) {
            return;
        }
        let net = &mut world.net;
        match self {
            Fault::Cut { pick, informed } => {
                if let Some(conn) = choose(world, pick) {
                    world.net.cut(conn, informed);
                }
            }
            Fault::Forget { pick, ends } => {
                if let Some(conn) = choose(world, pick) {
                    (0..2).filter(|end| ends[*end]).for_each(|end| world.net.forget(conn, end));
                }
            }
            Fault::Flip { pick } => {
                if let Some(conn) = choose(world, pick).filter(|_| world.config.checked) {
                    world.flips += 1;
                    world.net.flip(conn, pick / 8 % world.streams());
                }
            }
            Fault::Silence { link, ends } => {
                (0..2).filter(|end| ends[*end]).for_each(|end| net.silence(link, end));
            }
            Fault::Speak { link } => [DIALS, LISTENS].into_iter().for_each(|end| net.unsilence(link, end)),
            Fault::Port { link, port } => net.links[link].port = port,
            Fault::Kill { link } => {
                net.open_on(link).into_iter().for_each(|conn| net.cut(conn, [true; 2]));
            }
            Fault::Rate { link, rate } => net.links[link].ways.iter_mut().for_each(|way| way.rate = rate),
            Fault::Delay { link, delay } => net.links[link].ways.iter_mut().for_each(|way| way.delay = delay),
            Fault::Sink { end, rate } => {
                let sink = world.ends[end].sink.as_mut();
                sink.into_iter().for_each(|sink| sink.set_rate(&mut net.clock, rate));
            }
            Fault::Input { end, rate } => {
                world.ends[end].source.iter_mut().for_each(|source| source.flow.rate = rate);
            }
        }
    }

    /// Whether this harm to a whole link would be the end of the lifeline, which cannot be had again.
    fn would_end(&self, lifeline: Option<usize>) -> bool {
        match self {
            Fault::Silence { link, .. } | Fault::Port { link, .. } | Fault::Kill { link } => {
                lifeline == Some(*link)
            }
            _ => false,
        }
    }
}

/// One of the connections that are open, and not a lifeline.
fn choose(world: &World, pick: usize) -> Option<usize> {
    let links = (0..world.net.links.len()).filter(|link| world.config.lifeline() != Some(*link));
    let open: Vec<usize> = links.flat_map(|link| world.net.open_on(link)).collect();
    (!open.is_empty()).then(|| open[pick % open.len()])
}
