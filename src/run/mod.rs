//! Carries out a plan: makes its sessions and their endpoints, attends to signals, and shows the user what happens.

mod boards;
pub(crate) mod conclusion;
mod descriptors;
mod direction;
pub(crate) mod ends;
pub(crate) mod gather;
mod keys;
mod lasting;
pub(crate) mod listen;
pub(crate) mod monitor;
pub(crate) mod names;
mod places;
pub mod put;
pub mod serve;
pub(crate) mod sessions;
pub mod signals;
pub mod ssh;
mod visits;
pub mod watch;

use crate::chaos::Hazard;
use crate::error::Failure;
use crate::plan::Plan;
use crate::proto::way::Way;
use crate::session::Start;
use ends::{Ends, write_prbs};
use monitor::{Monitor, Subject, Wanted};
use sessions::{Sessions, no_signals, no_thread};
use std::cell::Cell;
use std::sync::Arc;

/// Does what the plan says; returns when every session has ended.
///
/// # Errors
/// The stream that failed first; see `gather`.
pub fn run(plan: &Plan) -> Result<(), Failure> {
    if let (None, None, Some(seed)) = (&plan.receive, &plan.transmit, plan.common.prbs) {
        return write_prbs(seed);
    }
    let wanted = Wanted::of(plan);
    let trust = plan.common.trust.as_ref().map(keys::load).transpose()?;
    let signals = signals::hear().map_err(no_signals)?;
    let ends = Arc::new(Ends::new(plan)?);
    let (sender, news) = conclusion::channel(Way::BOTH.len());
    let hazard = Hazard::new(plan.common.chaos);
    let parts = direction::Parts {
        common: &plan.common,
        ends: &ends,
        hazard,
        trust: trust.clone(),
        news: sender.clone(),
        source_size: Cell::default(),
    };
    let starts = build(plan, &parts)?;
    let sessions = Sessions::new(starts.iter().map(Start::handle).collect());
    let size = parts.size(plan);
    let all = sessions.all();
    let subjects = all.iter().flat_map(|session| {
        session.ways().map(|way| {
            let expected = plan.common.size.or(size.filter(|_| way == crate::proto::way::Way::Out));
            Subject { session: session.clone(), way, expected }
        })
    });
    let monitor = Monitor::start(subjects.collect(), wanted).map_err(no_thread)?;
    signals.watch(sessions.clone(), monitor.clone()).map_err(no_thread)?;
    drop(parts);
    if let Some(trust) = trust {
        keys::watch(trust, sessions.clone()).map_err(no_thread)?;
    }
    starts.into_iter().try_for_each(|start| conclusion::run(start, sender.clone()))?;
    drop(sender);
    let result = gather::gather(&news, &sessions, &ends, plan.is_duplex());
    monitor.end();
    result
}

/// The sessions that the plan wants, ready to start.
fn build(plan: &Plan, parts: &direction::Parts<'_>) -> Result<Vec<Start>, Failure> {
    let receive = plan.receive.as_ref().map(|plan| parts.receive(plan)).transpose()?;
    let transmit = plan.transmit.as_ref().map(|plan| parts.transmit(plan)).transpose()?;
    Ok(receive.into_iter().chain(transmit).collect())
}
