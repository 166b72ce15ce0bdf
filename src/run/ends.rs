//! What the stream comes from and goes to, by the plan: one place knows all kinds of ends.
//!
//! Commands and tunnels serve both directions of a process at once; they are made here, before any
//! direction starts, and ended when the directions are.

use crate::endpoint::exec::{CommandSink, CommandSource, Exec};
use crate::endpoint::file::{FileSink, FileSource};
use crate::endpoint::prbs::{PrbsSink, PrbsSource, generate};
use crate::endpoint::tunnel::{Config, Place, Tunnel, TunnelSink, TunnelSource};
use crate::endpoint::{Discard, Sink, Source};
use crate::error::{Failure, reason};
use crate::message;
use crate::plan::{EdgePlan, Plan};
use crate::proto::hello::Features;
use crate::proto::way::Way;
use crate::run::hub::Announce;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// The ends of a process's streams.
pub struct Ends {
    edge: Edge,
    prbs: Option<u16>,
}

enum Edge {
    Stdio,
    Exec(Arc<Exec>),
    Tunnel(Arc<Tunnel>),
}

impl Ends {
    /// The ends that the plan wants; a tunnel listens from now on.
    ///
    /// # Errors
    /// The tunnel's port is taken, or the kernel has no descriptors left.
    pub fn new(plan: &Plan) -> Result<Self, Failure> {
        let directions = [plan.receives(), plan.transmits()];
        let edge = match &plan.common.edge {
            EdgePlan::Stdio => Edge::Stdio,
            EdgePlan::Exec { command } => Edge::Exec(Exec::new(command, directions[0], directions[1])),
            EdgePlan::Terminate { address, port } => {
                Edge::Tunnel(tunnel(plan, listen(SocketAddr::new(*address, *port))?)?)
            }
            EdgePlan::Initiate { host, port } => {
                Edge::Tunnel(tunnel(plan, Place::Initiate(host.clone(), *port))?)
            }
        };
        Ok(Ends { edge, prbs: plan.common.prbs })
    }

    /// Where the received stream goes.
    ///
    /// # Errors
    /// stdout is closed.
    pub fn sink(&self) -> Result<Box<dyn Sink>, Failure> {
        // nobody wants to see pseudorandom bytes on a terminal: they are only verified
        let unseen = self.prbs.is_some() && rustix::termios::isatty(io::stdout());
        let sink: Box<dyn Sink> = match &self.edge {
            Edge::Exec(exec) => Box::new(CommandSink::new(exec.clone())),
            Edge::Tunnel(tunnel) => Box::new(TunnelSink::new(tunnel.clone())),
            Edge::Stdio if unseen => Box::new(Discard),
            Edge::Stdio => Box::new(FileSink::stdout().map_err(|e| Failure::output(e.sentence))?),
        };
        Ok(match self.prbs {
            Some(seed) => Box::new(PrbsSink::new(seed, sink)),
            None => sink,
        })
    }

    /// Where the stream to send comes from.
    ///
    /// # Errors
    /// stdin is closed.
    pub fn source(&self) -> Result<Box<dyn Source>, Failure> {
        Ok(match (self.prbs, &self.edge) {
            (Some(seed), _) => Box::new(PrbsSource::new(seed)),
            (None, Edge::Exec(exec)) => Box::new(CommandSource::new(exec.clone())),
            (None, Edge::Tunnel(tunnel)) => Box::new(TunnelSource::new(tunnel.clone())),
            (None, Edge::Stdio) => Box::new(FileSource::stdin().map_err(Failure::input)?),
        })
    }

    /// What the far ends should know of these ends.
    pub fn features(&self) -> Features {
        match &self.edge {
            Edge::Tunnel(tunnel) => tunnel.features(),
            Edge::Stdio | Edge::Exec(_) => Features::NONE,
        }
    }

    /// Who wants to hear of the far end's features, in this direction.
    pub fn announce(&self, way: Way) -> Option<Announce> {
        match &self.edge {
            Edge::Tunnel(tunnel) => {
                let tunnel = tunnel.clone();
                Some(Box::new(move |features| tunnel.meet(way, features)))
            }
            Edge::Stdio | Edge::Exec(_) => None,
        }
    }

    /// Whether one direction is of no use without the other.
    pub fn need_both(&self) -> bool {
        matches!(self.edge, Edge::Tunnel(_))
    }

    /// A direction has failed: a command is not left to itself.
    pub fn abandon(&self) {
        if let Edge::Exec(exec) = &self.edge {
            exec.end();
        }
    }
}

fn tunnel(plan: &Plan, place: Place) -> Result<Arc<Tunnel>, Failure> {
    let directions = [plan.receives(), plan.transmits()];
    let config = Config { place, directions, oneshot: plan.common.oneshot, budget: plan.common.buffer };
    Tunnel::new(config).map_err(|e| Failure::network(format!("cannot start the tunnel: {}", reason(&e))))
}

/// Listens for the tunnel, and says which port it was given.
fn listen(address: SocketAddr) -> Result<Place, Failure> {
    let cannot = |e| Failure::network(format!("cannot listen on {address} for the tunnel: {}", reason(&e)));
    let place = Place::listen(address).map_err(cannot)?;
    if let (0, Some(port)) = (address.port(), place.port()) {
        message::say(format_args!("tunnel on port {port}"));
    }
    Ok(place)
}

/// The stream of a seed on stdout, for other programs: it ends when nobody takes it any more.
///
/// # Errors
/// Always: that is how it ends.
pub fn write_prbs(seed: u16) -> Result<(), Failure> {
    if rustix::termios::isatty(io::stdout()) {
        let why = "prbs alone writes binary data to stdout, which is a terminal: redirect it";
        return Err(Failure::usage(why));
    }
    let mut sink = FileSink::stdout().map_err(|e| Failure::output(e.sentence))?;
    Err(Failure::output(generate(seed, &mut sink).sentence))
}
