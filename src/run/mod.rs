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
//! back on the same connections. With `duplex` the same workers carry a second stream the other way: both ends have
//! both hubs, and one of the two owns the connections.

pub mod accept;
pub mod conn;
pub mod dial;
pub mod egress;
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
pub mod worker;

use crate::chaos::Hazard;
pub use crate::endpoint;
use crate::error::Failure;
use crate::plan::Plan;
use crate::proto::outcome::Outcome;
use crate::proto::way::Way;
pub use crate::sys::thread::spawn;
use crossbeam_channel::Sender;
use ends::{Ends, write_prbs};
use gather::News;
use hub::{Order, rx, tx};
use monitor::{Ask, Monitor, Style, Subject};
use std::io;

/// Where the orders of each direction go.
#[derive(Clone, Default)]
pub struct Directions {
    receive: Option<Sender<rx::Event>>,
    transmit: Option<Sender<tx::Event>>,
    /// Their connections are the same.
    shared: bool,
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

    /// Keeps no connection any more for this direction, which has ended.
    fn release(&self, ended: Way) {
        self.tell_other(ended, Order::Release);
    }

    /// Tells the direction other than this one.
    fn tell_other(&self, way: Way, order: Order) {
        // one that is over listens no more
        let _ = match way {
            Way::In => self.transmit.as_ref().map(|tx| tx.send(tx::Event::Order(order)).is_ok()),
            Way::Out => self.receive.as_ref().map(|rx| rx.send(rx::Event::Order(order)).is_ok()),
        };
    }

    /// Ends every direction, telling the peers.
    pub fn stop(&self, ending: &Outcome) {
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
    let ends = Ends::new(plan)?;
    let hazard = Hazard::new(plan.common.chaos);
    let (mut receive, mut transmit) =
        build(plan, &start::Parts { common: &plan.common, ends: &ends, hazard })?;
    let directions = Directions {
        receive: receive.as_ref().map(|(_, orders)| orders.clone()),
        transmit: transmit.as_ref().map(|(_, orders, _)| orders.clone()),
        shared: plan.is_duplex(),
    };
    let size = transmit.as_ref().and_then(|(.., size)| *size);
    let subjects = directions.subjects(plan.common.size, plan.common.size.or(size));
    let monitor = Monitor::start(subjects, style).map_err(no_thread)?;
    signals.watch(directions.clone(), monitor.clone()).map_err(no_thread)?;
    let (sender, news) = crossbeam_channel::unbounded();
    let settle = |way| -> hub::Settle {
        let sender = sender.clone();
        Box::new(move |ending| drop(sender.send((way, News::Settled(ending)))))
    };
    if let Some((mut start, _)) = receive.take() {
        start.on_settling(settle(Way::In));
        let sender = sender.clone();
        spawn("hub", move || drop(sender.send((Way::In, News::Ended(start.run()))))).map_err(no_thread)?;
    }
    if let Some((mut start, ..)) = transmit.take() {
        start.on_settling(settle(Way::Out));
        let sender = sender.clone();
        spawn("hub", move || drop(sender.send((Way::Out, News::Ended(start.run()))))).map_err(no_thread)?;
    }
    drop(sender);
    let result = gather::gather(&news, &directions, &ends);
    monitor.end();
    result
}

/// The directions that the plan wants, ready to start.
fn build(
    plan: &Plan,
    parts: &start::Parts<'_>,
) -> Result<(Option<start::Receive>, Option<start::Transmit>), Failure> {
    let (mut receive, mut transmit) = (None, None);
    if let Some(plan) = &plan.receive {
        let (listening, lent) = parts.receive(plan)?;
        (receive, transmit) = (Some(listening), lent);
    }
    if let Some(plan) = &plan.transmit {
        let (dialling, borrowing) = parts.transmit(plan)?;
        (receive, transmit) = (receive.or(borrowing), Some(dialling));
    }
    Ok((receive, transmit))
}

fn no_thread(error: io::Error) -> Failure {
    Failure::network(format!("cannot start a thread: {}", conn::reason(&error)))
}
