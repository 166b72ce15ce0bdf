//! The plan's ends: what streams come from and go to. Only this file knows all kinds of ends.
//!
//! Commands and tunnels serve both directions of a process at once; they are made here, before any
//! direction starts, and ended when the directions are.

use crate::endpoint::exec::{CommandSink, CommandSource, Exec};
use crate::endpoint::file::{FileSink, FileSource};
use crate::endpoint::prbs::{PrbsSink, PrbsSource, generate};
use crate::endpoint::tunnel::{Config, Origin, Target, Tunnel, TunnelSink, TunnelSource};
use crate::endpoint::{Discard, Sink, Source};
use crate::error::{Failure, reason};
use crate::plan::{EdgePlan, Host, Plan};
use crate::proto::hello::{FarEnd, Features};
use crate::proto::waiting::Patience;
use crate::proto::way::{Way, Ways};
use crate::run::descriptors::beside_local;
use crate::run::listen;
use crate::run::names::look_up;
use crate::sys::pipe::is_one_socket;
use std::io;
use std::sync::Arc;

/// The ends of a process's streams.
pub(crate) struct Ends {
    edge: Edge,
    prbs: Option<u16>,
    /// The received stream may go to a terminal.
    interactive: bool,
    /// The stream that is sent comes from the socket that the received one goes to, as inetd gives it.
    one_socket: bool,
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
    pub(crate) fn new(plan: &Plan) -> Result<Self, Failure> {
        let ways = plan.ways();
        let edge = match &plan.common.edge {
            EdgePlan::Stdio => Edge::Stdio,
            EdgePlan::Exec { command } => Edge::Exec(Exec::new(command, ways)),
            EdgePlan::Terminate(on) => {
                let listener = listen::announced(on, plan.common.patience, "tunnel on port")?;
                Edge::Tunnel(tunnel(plan, Origin::Terminate(listener))?)
            }
            EdgePlan::Initiate { host, port } => {
                let target = target(host, *port, plan.common.patience);
                Edge::Tunnel(tunnel(plan, Origin::Initiate(target))?)
            }
        };
        let interactive = plan.common.charmode || plan.is_duplex();
        let one_socket = ways == Ways::BOTH && is_one_socket(io::stdin(), io::stdout());
        Ok(Ends { edge, prbs: plan.common.prbs, interactive, one_socket })
    }

    /// Where the received stream goes.
    ///
    /// # Errors
    /// stdout is closed, or is a terminal and no word of the user explains that.
    pub(crate) fn sink(&self) -> Result<Box<dyn Sink>, Failure> {
        // nobody wants to see pseudorandom bytes on a terminal: they are only verified
        let terminal = rustix::termios::isatty(io::stdout());
        let unseen = self.prbs.is_some() && terminal;
        let sink: Box<dyn Sink> = match &self.edge {
            Edge::Exec(exec) => Box::new(CommandSink::new(exec.clone())),
            Edge::Tunnel(tunnel) => Box::new(TunnelSink::new(tunnel.clone())),
            Edge::Stdio if unseen => Box::new(Discard),
            Edge::Stdio if terminal && !self.interactive => {
                let why = "stdout is a terminal: add > FILE or | COMMAND, or charmode to see it";
                return Err(Failure::usage(why));
            }
            Edge::Stdio => {
                let stdout = FileSink::stdout().map_err(|e| Failure::output(e.sentence))?;
                Box::new(stdout.two_way(self.one_socket))
            }
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
    pub(crate) fn source(&self) -> Result<Box<dyn Source>, Failure> {
        Ok(match (self.prbs, &self.edge) {
            (Some(seed), _) => Box::new(PrbsSource::new(seed)),
            (None, Edge::Exec(exec)) => Box::new(CommandSource::new(exec.clone())),
            (None, Edge::Tunnel(tunnel)) => Box::new(TunnelSource::new(tunnel.clone())),
            (None, Edge::Stdio) => Box::new(FileSource::stdin().map_err(Failure::input)?),
        })
    }

    /// What the far ends should know of these ends.
    pub(crate) fn features(&self) -> Features {
        match &self.edge {
            Edge::Tunnel(tunnel) => tunnel.features(),
            Edge::Stdio | Edge::Exec(_) => Features::NONE,
        }
    }

    /// The far end of a stream was met.
    pub(crate) fn meet(&self, way: Way, far: FarEnd) {
        if let Edge::Tunnel(tunnel) = &self.edge {
            tunnel.meet(way, far);
        }
    }

    /// The far end of a stream that has not begun is gone.
    pub(crate) fn forget(&self, way: Way) {
        if let Edge::Tunnel(tunnel) = &self.edge {
            tunnel.forget(way);
        }
    }

    /// Whether one direction is of no use without the other.
    pub(crate) fn need_both(&self) -> bool {
        matches!(self.edge, Edge::Tunnel(_))
    }

    /// A direction has failed: ends the command, if there is one.
    pub(crate) fn abandon(&self) {
        if let Edge::Exec(exec) = &self.edge {
            exec.end();
        }
    }
}

fn tunnel(plan: &Plan, origin: Origin) -> Result<Arc<Tunnel>, Failure> {
    let config = Config {
        origin,
        ways: plan.ways(),
        // whoever is dialled is no stranger, nor is who has shown a key
        meets_strangers: plan.transmit.is_none() && plan.common.trust.is_none(),
        oneshot: plan.common.oneshot,
        budget: plan.common.buffer,
        beside: beside_local(plan),
    };
    Tunnel::new(config).map_err(|e| Failure::network(format!("cannot start the tunnel: {}", reason(&e))))
}

/// Where a tunnel leads.
fn target(host: &Host, port: u16, patience: Option<Patience>) -> Target {
    let asked = host.clone();
    let ask = move || look_up(&asked, port, patience).map_err(|why| why.to_string());
    Target { host: host.to_string(), port, ask: Arc::new(ask) }
}

/// Writes the stream of a seed to stdout, for other programs, until stdout takes no more.
///
/// # Errors
/// Always: that is how it ends.
pub(crate) fn write_prbs(seed: u16) -> Result<(), Failure> {
    if rustix::termios::isatty(io::stdout()) {
        let why = "prbs alone writes binary data to stdout, which is a terminal: redirect it";
        return Err(Failure::usage(why));
    }
    let mut sink = FileSink::stdout().map_err(|e| Failure::output(e.sentence))?;
    Err(Failure::output(generate(seed, &mut sink).sentence))
}
