//! Carries out a plan: its sessions and what they begin and end in, signals, and what the user sees.

pub mod ends;
pub mod gather;
pub mod monitor;
pub mod signals;
mod start;

use crate::chaos::Hazard;
use crate::error::{Failure, reason};
use crate::plan::Plan;
use crate::proto::outcome::Outcome;
use crate::session::{Handle, Start};
use crate::sys::thread::spawn;
use ends::{Ends, write_prbs};
use gather::News;
use monitor::{Monitor, Style, Subject};
use std::cell::Cell;
use std::io;
use std::sync::{Arc, OnceLock};

/// The sessions of this process, for orders. None of them before all are built.
#[derive(Clone, Default)]
pub struct Sessions(Arc<OnceLock<Vec<Handle>>>);

impl Sessions {
    fn all(&self) -> &[Handle] {
        self.0.get().map_or(&[], Vec::as_slice)
    }

    /// Ends every session, telling the peers.
    pub fn stop(&self, ending: &Outcome) {
        self.all().iter().for_each(|session| session.stop(ending));
    }
}

/// Does what the plan says; returns when every session has ended.
///
/// # Errors
/// The first stream that failed, in the order they ended.
pub fn run(plan: &Plan) -> Result<(), Failure> {
    if let (None, None, Some(seed)) = (&plan.receive, &plan.transmit, plan.common.prbs) {
        return write_prbs(seed);
    }
    let style = Style::of(plan);
    let signals =
        signals::hear().map_err(|e| Failure::network(format!("cannot hear signals: {}", reason(&e))))?;
    let ends = Arc::new(Ends::new(plan)?);
    let (sender, news) = crossbeam_channel::unbounded();
    let hazard = Hazard::new(plan.common.chaos);
    let parts = start::Parts {
        common: &plan.common,
        ends: &ends,
        hazard,
        news: sender.clone(),
        source_size: Cell::default(),
    };
    let starts = build(plan, &parts)?;
    let sessions = Sessions(Arc::new(OnceLock::from(starts.iter().map(Start::handle).collect::<Vec<_>>())));
    let size = parts.size(plan);
    let subjects = sessions.all().iter().flat_map(|session| {
        session.ways().map(|way| {
            let expected = plan.common.size.or(size.filter(|_| way == crate::proto::way::Way::Out));
            Subject { session: session.clone(), way, expected }
        })
    });
    let monitor = Monitor::start(subjects.collect(), style).map_err(no_thread)?;
    signals.watch(sessions.clone(), monitor.clone()).map_err(no_thread)?;
    drop(parts);
    for start in starts {
        let sender = sender.clone();
        spawn("session", move || drop(sender.send(News::Ended(start.run())))).map_err(no_thread)?;
    }
    drop(sender);
    let result = gather::gather(&news, &sessions, &ends, plan.is_duplex());
    monitor.end();
    result
}

/// The sessions that the plan wants, ready to start.
fn build(plan: &Plan, parts: &start::Parts<'_>) -> Result<Vec<Start>, Failure> {
    let receive = plan.receive.as_ref().map(|plan| parts.receive(plan)).transpose()?;
    let transmit = plan.transmit.as_ref().map(|plan| parts.transmit(plan)).transpose()?;
    Ok(receive.into_iter().chain(transmit).collect())
}

fn no_thread(error: io::Error) -> Failure {
    Failure::network(format!("cannot start a thread: {}", reason(&error)))
}
