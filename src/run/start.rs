//! From the plan of a direction to the direction, or the two that share its connections: built and not started.

use super::ends::Ends;
use super::hub::{rx, tx};
use super::{accept, conn, dial};
use crate::chaos::Hazard;
use crate::error::Failure;
use crate::message;
use crate::plan::{Common, LinkPlan, ReceivePlan, StreamPlan, TransmitPlan};
use crate::proto::hello::{Direction, Expectations, Features, Hello, Id};
use crate::proto::leg::{CONNECTIONS_MAX, LEG_MAX};
use crate::proto::sharing::Sharing;
use crate::proto::way::Way;
use crate::proto::{reception, transmission};
use crossbeam_channel::Sender;
use std::io;
use std::net::TcpListener;

/// The receiving direction of a process, ready to start.
pub type Receive = (rx::Start, Sender<rx::Event>);

/// The sending direction of a process, ready to start; and the stream's size, where it is known.
pub type Transmit = (tx::Start, Sender<tx::Event>, Option<u64>);

/// What this program can do with a stream, whatever its ends are: a sender that tunnels is met by one that does not
/// with its bytes as they are.
const ABILITIES: Features = Features(Features::CHECKSUM.0 | Features::TUNNEL.0);

/// Everything that both directions are made from.
pub struct Parts<'a> {
    /// What holds for both.
    pub common: &'a Common,
    /// Where streams come from and go to.
    pub ends: &'a Ends,
    /// What is done to connections on purpose.
    pub hazard: Hazard,
}

impl Parts<'_> {
    /// A receiving direction, listening already; with `duplex` also the sending one that goes over its connections.
    ///
    /// # Errors
    /// The port is taken, stdout or stdin is closed, or the kernel refuses the congestion control.
    pub fn receive(&self, plan: &ReceivePlan) -> Result<(Receive, Option<Transmit>), Failure> {
        let sink = self.ends.sink()?;
        let lent = plan.duplex.as_ref().map(|stream| self.lent(stream)).transpose()?;
        let listener = listen(plan)?;
        let sharing = if lent.is_some() { Sharing::Owner } else { Sharing::Sole };
        let settings = self.reception(sharing);
        let features = if lent.is_some() { ABILITIES | Features::DUPLEX } else { ABILITIES };
        let expectations = Expectations {
            checkphrase: self.common.checkphrase,
            features,
            duplex: lent.is_some(),
            initiates: self.ends.features().contains(Features::INITIATES),
        };
        let (mut start, orders) =
            rx::Start::new(settings, expectations, listener, sink, self.hazard.clone()).map_err(cannot)?;
        if let Some(announce) = self.ends.announce(Way::In) {
            start.on_meeting(announce);
        }
        if let (Some((tx, ear, _)), Some(stream)) = (&lent, &plan.duplex) {
            start.lend_to(tx.lender(ear.clone()), stream.congestion.clone());
        }
        Ok(((start, orders), lent))
    }

    /// A sending direction; with `duplex` also the receiving one that borrows its connections.
    ///
    /// # Errors
    /// stdin or stdout is closed, or the kernel refuses the congestion control.
    pub fn transmit(&self, plan: &TransmitPlan) -> Result<(Transmit, Option<Receive>), Failure> {
        let (sharing, duplex) = match plan.duplex {
            true => (Sharing::Owner, Features::DUPLEX),
            false => (Sharing::Sole, Features::NONE),
        };
        let mut borrower = plan.duplex.then(|| self.borrowing()).transpose()?;
        let checksum = if plan.checksum { Features::CHECKSUM } else { Features::NONE };
        let settings = transmission::Settings {
            links: plan.links.iter().map(ToString::to_string).collect(),
            workers: plan.threads,
            checked: plan.checksum,
            sharing,
            ..self.transmission(checksum | duplex)
        };
        let rx = borrower.as_mut().map(|(start, _)| start);
        let transmit = self.sending(settings, plan.links.clone(), &plan.stream, rx)?;
        Ok((transmit, borrower))
    }

    /// A receiving direction without connections of its own.
    fn borrowing(&self) -> Result<Receive, Failure> {
        let sink = self.ends.sink()?;
        let settings = self.reception(Sharing::Borrower);
        let (mut start, orders) =
            rx::Start::borrowing(settings, sink, self.hazard.clone()).map_err(cannot)?;
        if let Some(announce) = self.ends.announce(Way::In) {
            start.on_meeting(announce);
        }
        Ok((start, orders))
    }

    /// A sending direction without connections of its own.
    fn lent(&self, stream: &StreamPlan) -> Result<Transmit, Failure> {
        let settings = transmission::Settings {
            workers: CONNECTIONS_MAX,
            sharing: Sharing::Borrower,
            ..self.transmission(Features::NONE)
        };
        self.sending(settings, Vec::new(), stream, None)
    }

    fn sending(
        &self,
        settings: transmission::Settings,
        links: Vec<LinkPlan>,
        stream: &StreamPlan,
        borrower: Option<&mut rx::Start>,
    ) -> Result<Transmit, Failure> {
        if let Some(name) = &stream.congestion {
            dial::check_congestion(name).map_err(Failure::network)?;
        }
        let source = self.ends.source()?;
        let size = size(stream, self.common, source.size());
        let (charmode, stream) = (self.common.charmode, stream.clone());
        let setup = tx::Setup { settings, links, stream, charmode, source };
        let (mut start, orders) = tx::Start::new(setup, &self.hazard, borrower).map_err(cannot)?;
        if let Some(announce) = self.ends.announce(Way::Out) {
            start.on_meeting(announce);
        }
        Ok((start, orders, size))
    }

    fn reception(&self, sharing: Sharing) -> reception::Settings {
        let duplex = if sharing == Sharing::Sole { Features::NONE } else { Features::DUPLEX };
        reception::Settings {
            instance: random_id(),
            buffer: self.common.buffer,
            patience: self.common.patience,
            features: Features::CHECKSUM | self.ends.features() | duplex,
            sharing,
        }
    }

    /// Of a sender that makes use of these features and those of its ends, without links and workers.
    fn transmission(&self, features: Features) -> transmission::Settings {
        let duplex = features.contains(Features::DUPLEX);
        let hello = Hello {
            session: random_id(),
            instance: None,
            direction: if duplex { Direction::Duplex } else { Direction::Transmit },
            begun: false,
            checkphrase: self.common.checkphrase,
            link: 0,
            connection: 0,
            attempt: 0,
            features: features | self.ends.features(),
            buffer: self.common.buffer,
            options: Vec::new(),
        };
        transmission::Settings {
            hello,
            links: Vec::new(),
            workers: 0,
            patience: self.common.patience,
            checked: false,
            seed: rand::random(),
            sharing: Sharing::Sole,
        }
    }
}

fn listen(plan: &ReceivePlan) -> Result<TcpListener, Failure> {
    let place =
        plan.address.map_or_else(|| format!("port {}", plan.port), |a| format!("{a} port {}", plan.port));
    let cannot = |e: io::Error| Failure::network(format!("cannot listen on {place}: {}", conn::reason(&e)));
    let listener = accept::listen(plan.address, plan.port).map_err(cannot)?;
    let port = listener.local_addr().map_err(cannot)?.port();
    if plan.port == 0 || rustix::termios::isatty(io::stderr()) {
        message::say(format_args!("listening on port {port}"));
    }
    Ok(listener)
}

fn cannot(error: io::Error) -> Failure {
    Failure::network(format!("cannot start: {}", conn::reason(&error)))
}

fn random_id() -> Id {
    Id::new(rand::random())
}

/// The stream's size, where it is known: that of the file, up to the limit; prbs ends at the limit alone.
fn size(plan: &StreamPlan, common: &Common, source: Option<u64>) -> Option<u64> {
    let limit = plan.leglimit.map(|legs| legs * LEG_MAX as u64);
    match (source, limit) {
        (Some(size), Some(limit)) => Some(size.min(limit)),
        (None, limit) if common.prbs.is_some() => limit,
        (size, _) => size,
    }
}
