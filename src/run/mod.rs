//! Threads and sockets: what moves the bytes that `proto` decides about.
//!
//! ```text
//!  ingest ─▶ hub::tx ─▶ worker × N ═══ TCP ═══ worker × N ─▶ hub::rx ─▶ egress
//!    1          2         3, 4                    5              6          7
//! ```
//!
//! Step 1 cuts the input into legs (one thread), 2 keeps window and schedule (the owner of the sending
//! state), 3 checks and 4 writes legs (in parallel), 5 reads and checks them (in parallel), 6 reorders and
//! acknowledges (the owner of the receiving state), 7 writes in order (one thread). Acknowledgements come
//! back on the same connections.

pub mod accept;
pub mod conn;
pub mod dial;
pub mod egress;
pub mod endpoint;
pub mod ends;
pub mod gather;
pub mod hub;
pub mod ingest;
pub mod monitor;
pub mod pool;
pub mod pump;
pub mod signals;
mod start;
pub mod summary;
pub mod tunnel;
pub mod worker;

use crate::chaos::Hazard;
use crate::error::Failure;
use crate::plan::Plan;
use crate::proto::ending::Ending;
use crossbeam_channel::Sender;
use ends::{Ends, write_prbs};
use hub::{Order, rx, tx};
use monitor::{Ask, Monitor, Style, Subject};
use std::io;
use std::thread;

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
    let (hazard, ends) = (Hazard::new(plan.common.chaos), Ends::new(plan)?);
    let mut directions = Directions::default();
    let mut size = None;
    let mut starts: Vec<(&'static str, Start)> = Vec::new();
    if let Some(receive) = &plan.receive {
        let (start, orders) = start::receive(receive, &plan.common, &ends, hazard.clone())?;
        directions.receive = Some(orders);
        starts.push(("the sender", Box::new(move || start.run())));
    }
    if let Some(transmit) = &plan.transmit {
        let (start, orders, known) = start::transmit(transmit, &plan.common, &ends, &hazard)?;
        size = known;
        directions.transmit = Some(orders);
        starts.push(("the receiver", Box::new(move || start.run())));
    }
    let subjects = directions.subjects(plan.common.size, plan.common.size.or(size));
    let monitor = Monitor::start(subjects, style).map_err(no_thread)?;
    signals.watch(directions.clone(), monitor.clone()).map_err(no_thread)?;
    let (sender, endings) = crossbeam_channel::unbounded();
    for (peer, start) in starts {
        let sender = sender.clone();
        spawn("hub", move || drop(sender.send((peer, start())))).map_err(no_thread)?;
    }
    drop(sender);
    let result = gather::gather(&endings, &directions, &ends);
    monitor.end();
    result
}

fn no_thread(error: io::Error) -> Failure {
    Failure::network(format!("cannot start a thread: {}", conn::reason(&error)))
}

/// A thread of this process. One that panics ends the process, with a message: never a hang.
///
/// # Errors
/// The kernel has no threads left.
pub fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(body).map(drop)
}
