//! From the plan of a direction to the direction, built and not started.

use super::ends::Ends;
use super::hub::{rx, tx};
use super::tunnel::Way;
use super::{accept, conn, dial};
use crate::chaos::Hazard;
use crate::error::Failure;
use crate::message;
use crate::plan::{Common, Patience, ReceivePlan, TransmitPlan};
use crate::proto::hello::{Direction, Expectations, Features, Hello, Id};
use crate::proto::leg::LEG_MAX;
use crate::proto::sharing::Sharing;
use crate::proto::{reception, transmission};
use crossbeam_channel::Sender;
use std::io;
use std::time::Duration;

/// A receiving direction that is ready to start, listening already, and where its orders go.
///
/// # Errors
/// The port is taken, or stdout is closed.
pub fn receive(
    plan: &ReceivePlan,
    common: &Common,
    ends: &Ends,
    hazard: Hazard,
) -> Result<(rx::Start, Sender<rx::Event>), Failure> {
    let sink = ends.sink()?;
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
        features: Features::CHECKSUM | ends.features(),
        sharing: Sharing::Sole,
    };
    // a sender that tunnels is met by one that does not with its bytes as they are
    let features = Features::CHECKSUM | Features::TUNNEL;
    let expectations = Expectations { checkphrase: common.checkphrase, features, duplex: false };
    let (mut start, orders) =
        rx::Start::new(settings, expectations, listener, sink, hazard).map_err(cannot)?;
    if let Some(announce) = ends.announce(Way::In) {
        start.on_meeting(announce);
    }
    Ok((start, orders))
}

/// A sending direction that is ready to start, where its orders go, and the stream's size where it is known.
///
/// # Errors
/// stdin is closed, or the kernel refuses the congestion control.
pub fn transmit(
    plan: &TransmitPlan,
    common: &Common,
    ends: &Ends,
    hazard: &Hazard,
) -> Result<(tx::Start, Sender<tx::Event>, Option<u64>), Failure> {
    if let Some(name) = &plan.congestion {
        dial::check_congestion(name).map_err(Failure::network)?;
    }
    let source = ends.source()?;
    let size = size(plan, common, source.size());
    let checksum = if plan.checksum { Features::CHECKSUM } else { Features::NONE };
    let hello = Hello {
        session: random_id(),
        instance: None,
        direction: Direction::Transmit,
        begun: false,
        checkphrase: common.checkphrase,
        link: 0,
        connection: 0,
        attempt: 0,
        features: checksum | ends.features(),
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
        sharing: Sharing::Sole,
    };
    let (mut start, orders) = tx::Start::new(plan, settings, common.charmode, common.buffer, source, hazard)
        .map_err(|e| Failure::network(format!("cannot start: {e}")))?;
    if let Some(announce) = ends.announce(Way::Out) {
        start.on_meeting(announce);
    }
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

/// The stream's size, where it is known: that of the file, up to the limit; prbs ends at the limit alone.
fn size(plan: &TransmitPlan, common: &Common, source: Option<u64>) -> Option<u64> {
    let limit = plan.leglimit.map(|legs| legs * LEG_MAX as u64);
    match (source, limit) {
        (Some(size), Some(limit)) => Some(size.min(limit)),
        (None, limit) if common.prbs.is_some() => limit,
        (size, _) => size,
    }
}
