//! Threads and sockets: what moves the bytes that `proto` decides about.
//!
//! ```text
//!  ingest ─▶ hub::tx ─▶ worker × N ═══ TCP ═══ carrier × N ─▶ hub::rx ─▶ egress
//!    1          2         3, 4                    5              6          7
//! ```
//!
//! Step 1 cuts the input into legs (one thread), 2 keeps window and schedule (the owner of the sending
//! state), 3 checks and 4 writes legs (in parallel), 5 reads and checks them (in parallel), 6 reorders and
//! acknowledges (the owner of the receiving state), 7 writes in order (one thread). Acknowledgements come
//! back on the same connections.

pub mod accept;
pub mod carrier;
pub mod conn;
pub mod dial;
pub mod egress;
pub mod endpoint;
pub mod hub;
pub mod ingest;
pub mod monitor;
pub mod pool;
pub mod pump;
pub mod signals;
pub mod summary;
pub mod worker;

use crate::chaos::Hazard;
use crate::error::{Failure, Fault, Status};
use crate::message;
use crate::plan::{Common, EdgePlan, Patience, Plan, ReceivePlan, TransmitPlan};
use crate::proto::hello::{Direction, Expectations, Features, Hello, Id};
use crate::proto::transmission::Ending;
use crate::proto::wire::Code;
use crate::proto::{reception, transmission};
use crossbeam_channel::Sender;
use endpoint::exec::{CommandSink, CommandSource, Exec};
use endpoint::file::{FileSink, FileSource};
use endpoint::prbs::{PrbsSink, PrbsSource, generate};
use endpoint::{Discard, Sink, Source};
use hub::{Order, rx, tx};
use monitor::{Ask, Monitor, Style, Subject};
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// A direction that is ready to start: works until it is over.
type Start = Box<dyn FnOnce() -> io::Result<Ending> + Send>;

/// Where the orders of each direction go.
#[derive(Clone, Default)]
pub struct Directions {
    receive: Option<Sender<rx::Event>>,
    transmit: Option<Sender<tx::Event>>,
}

impl Directions {
    /// How each direction is asked how it goes, with the stream's size where it is known.
    fn subjects(&self, receive_size: Option<u64>, transmit_size: Option<u64>) -> Vec<Subject> {
        let receive = self.receive.clone().map(|events| {
            let ask: Ask = Box::new(move |asker| events.send(rx::Event::Order(Order::Report(asker))).is_ok());
            Subject { ask, expected: receive_size }
        });
        let transmit = self.transmit.clone().map(|events| {
            let ask: Ask = Box::new(move |asker| events.send(tx::Event::Order(Order::Report(asker))).is_ok());
            Subject { ask, expected: transmit_size }
        });
        receive.into_iter().chain(transmit).collect()
    }

    /// Ends every direction, telling the peers.
    pub fn stop(&self, ending: &Ending) {
        // a direction that is over listens no more
        if let Some(receive) = &self.receive {
            let _ = receive.send(rx::Event::Order(Order::Stop(ending.clone())));
        }
        if let Some(transmit) = &self.transmit {
            let _ = transmit.send(tx::Event::Order(Order::Stop(ending.clone())));
        }
    }
}

/// Does what the plan says; returns when every direction has ended.
///
/// # Errors
/// The first direction that failed, in the order they ended.
pub fn run(plan: &Plan) -> Result<(), Failure> {
    if let (None, None, Some(seed)) = (&plan.receive, &plan.transmit, plan.common.prbs) {
        return write_prbs(seed);
    }
    let style = Style::of(plan);
    let signals = signals::hear()
        .map_err(|e| Failure::network(format!("cannot hear signals: {}", conn::reason(&e))))?;
    let hazard = Hazard::new(plan.common.chaos);
    let mut directions = Directions::default();
    let mut size = None;
    let mut starts: Vec<(&'static str, Start)> = Vec::new();
    let exec = match &plan.common.edge {
        EdgePlan::Exec { command } => {
            Some(Exec::new(command, plan.receive.is_some(), plan.transmit.is_some()))
        }
        _ => None,
    };
    if let Some(receive) = &plan.receive {
        let (start, orders) = prepare_receive(receive, &plan.common, exec.as_ref(), hazard.clone())?;
        directions.receive = Some(orders);
        starts.push(("the sender", Box::new(move || start.run())));
    }
    if let Some(transmit) = &plan.transmit {
        let (start, orders, known) = prepare_transmit(transmit, &plan.common, exec.as_ref(), &hazard)?;
        size = known;
        directions.transmit = Some(orders);
        starts.push(("the receiver", Box::new(move || start.run())));
    }
    let cannot = |e| Failure::network(format!("cannot start a thread: {e}"));
    let subjects = directions.subjects(plan.common.size, plan.common.size.or(size));
    let monitor = Monitor::start(subjects, style).map_err(cannot)?;
    signals.watch(directions, monitor.clone()).map_err(cannot)?;
    let (sender, endings) = crossbeam_channel::unbounded();
    for (peer, start) in starts {
        let sender = sender.clone();
        let ended = move || drop(sender.send((peer, start())));
        spawn("hub", ended).map_err(cannot)?;
    }
    drop(sender);
    let mut result = Ok(());
    for (peer, ending) in endings {
        let ended = ending.map_err(cannot).and_then(|ending| judge(ending, peer));
        if ended.is_err() {
            exec.iter().for_each(|exec| exec.end());
        }
        if result.is_ok() {
            result = ended;
        } else if let Err(second) = ended {
            message::say(second.sentence);
        }
    }
    monitor.end();
    result
}

fn judge(ending: Ending, peer: &str) -> Result<(), Failure> {
    let fault = match (ending.code, ending.by_peer) {
        (Code::Complete, _) => return Ok(()),
        (code, true) => Fault::Peer(Status::from_code(code as u8).unwrap_or(Status::Incomplete)),
        (Code::Incomplete, false) => Fault::Network,
        (Code::Refused, false) => Fault::Refused,
        (Code::Input, false) => Fault::Input,
        (Code::Output, false) => Fault::Output,
        (Code::Corrupt, false) => Fault::Data,
    };
    let sentence = if ending.by_peer { format!("{peer}: {}", ending.sentence) } else { ending.sentence };
    Err(Failure { fault, sentence })
}

/// The stream of a seed on stdout, for other programs: it ends when nobody takes it any more.
fn write_prbs(seed: u16) -> Result<(), Failure> {
    if rustix::termios::isatty(io::stdout()) {
        return Err(Failure::usage(
            "prbs alone writes binary data to stdout, which is a terminal: redirect it",
        ));
    }
    let mut sink = FileSink::stdout().map_err(|e| Failure::output(e.sentence))?;
    Err(Failure::output(generate(seed, &mut sink).sentence))
}

/// Where the received stream goes.
fn sink(common: &Common, exec: Option<&Arc<Exec>>) -> Result<Box<dyn Sink>, Failure> {
    // nobody wants to see that on a terminal: it is only verified
    let unseen =
        common.prbs.is_some() && common.edge == EdgePlan::Stdio && rustix::termios::isatty(io::stdout());
    let sink: Box<dyn Sink> = match exec {
        Some(exec) => Box::new(CommandSink::new(exec.clone())),
        None if unseen => Box::new(Discard),
        None => Box::new(FileSink::stdout().map_err(|e| Failure::output(e.sentence))?),
    };
    Ok(match common.prbs {
        Some(seed) => Box::new(PrbsSink::new(seed, sink)),
        None => sink,
    })
}

/// Where the stream to send comes from.
fn source(common: &Common, exec: Option<&Arc<Exec>>) -> Result<Box<dyn Source>, Failure> {
    Ok(match (common.prbs, exec) {
        (Some(seed), _) => Box::new(PrbsSource::new(seed)),
        (None, Some(exec)) => Box::new(CommandSource::new(exec.clone())),
        (None, None) => Box::new(FileSource::stdin().map_err(Failure::input)?),
    })
}

fn prepare_receive(
    plan: &ReceivePlan,
    common: &Common,
    exec: Option<&Arc<Exec>>,
    hazard: Hazard,
) -> Result<(rx::Start, Sender<rx::Event>), Failure> {
    let sink = sink(common, exec)?;
    let place =
        plan.address.map_or_else(|| format!("port {}", plan.port), |a| format!("{a} port {}", plan.port));
    let cannot = |e: io::Error| Failure::network(format!("cannot listen on {place}: {}", conn::reason(&e)));
    let listener = accept::listen(plan.address, plan.port).map_err(cannot)?;
    let port = listener.local_addr().map_err(cannot)?.port();
    if plan.port == 0 || rustix::termios::isatty(io::stderr()) {
        message::say(format_args!("listening on port {port}"));
    }
    let settings = reception::Settings {
        instance: random_id(),
        buffer: common.buffer,
        patience: patience(common),
        features: Features::CHECKSUM,
    };
    let expectations =
        Expectations { checkphrase: common.checkphrase, features: Features::CHECKSUM, duplex: false };
    rx::Start::new(settings, expectations, listener, sink, hazard).map_err(cannot)
}

/// A sending direction that is ready to start, where its orders go, and the stream's size where it is known.
fn prepare_transmit(
    plan: &TransmitPlan,
    common: &Common,
    exec: Option<&Arc<Exec>>,
    hazard: &Hazard,
) -> Result<(tx::Start, Sender<tx::Event>, Option<u64>), Failure> {
    if let Some(name) = &plan.congestion {
        dial::check_congestion(name).map_err(Failure::network)?;
    }
    let source = source(common, exec)?;
    let size = source.size();
    let hello = Hello {
        session: random_id(),
        instance: None,
        direction: Direction::Transmit,
        begun: false,
        checkphrase: common.checkphrase,
        link: 0,
        connection: 0,
        attempt: 0,
        features: if plan.checksum { Features::CHECKSUM } else { Features::NONE },
        buffer: common.buffer,
        options: Vec::new(),
    };
    let settings = transmission::Settings {
        hello,
        links: plan.links.iter().map(ToString::to_string).collect(),
        workers: plan.threads,
        patience: patience(common),
        checked: plan.checksum,
        seed: rand::random(),
    };
    let (start, orders) = tx::Start::new(plan, settings, common.charmode, common.buffer, source, hazard)
        .map_err(|e| Failure::network(format!("cannot start: {e}")))?;
    Ok((start, orders, size))
}

fn patience(common: &Common) -> Option<Duration> {
    common.patience.map(|patience| match patience {
        Patience::ForEver => Duration::ZERO,
        Patience::For(time) => time,
    })
}

fn random_id() -> Id {
    Id::new(rand::random())
}

/// A thread of this process. One that panics ends the process, with a message: never a hang.
///
/// # Errors
/// The kernel has no threads left.
pub fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(body).map(drop)
}
