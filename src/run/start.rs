//! From the plan of a direction to its session: built and not started.

use super::ends::Ends;
use super::listen;
use super::sessions::News;
use super::signals;
use crate::channel::connect::check_congestion;
use crate::chaos::Hazard;
use crate::error::{Failure, reason};
use crate::message;
use crate::plan::{Common, LinkPlan, ListenPlan, Patience, Plan, ReceivePlan, StreamPlan, TransmitPlan};
use crate::proto::hello::{Direction, Expectations, Features, Hello, Id};
use crate::proto::leg::{CONNECTIONS_MAX, LEG_MAX};
use crate::proto::sharing::Sharing;
use crate::proto::{reception, transmission};
use crate::session::{Approach, Hear, Incoming, Outgoing, Setup, Start, orders};
use crate::sys::interface;
use crossbeam_channel::Sender;
use std::cell::Cell;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

/// What this program can do with a stream, whatever its ends are: a sender that tunnels is met by one that does not
/// with its bytes as they are.
const ABILITIES: Features = Features(Features::CHECKSUM.0 | Features::TUNNEL.0);

/// Everything that all sessions are made from.
pub struct Parts<'a> {
    /// What holds for all.
    pub common: &'a Common,
    /// Where streams come from and go to.
    pub ends: &'a Arc<Ends>,
    /// What is done to connections on purpose.
    pub hazard: Hazard,
    /// Where it is heard how streams end.
    pub news: Sender<News>,
    /// The size of the stream that goes out, where its source knows that.
    pub source_size: Cell<Option<u64>>,
}

impl Parts<'_> {
    /// A session that listens already; with `duplex` it sends a stream as well.
    ///
    /// # Errors
    /// The port is taken, stdout or stdin is closed, or the kernel refuses the congestion control.
    pub fn receive(&self, plan: &ReceivePlan) -> Result<Start, Failure> {
        let sharing = if plan.duplex.is_some() { Sharing::Owner } else { Sharing::Sole };
        let receives = self.incoming(sharing)?;
        let lent = |stream| {
            let config = transmission::Settings {
                workers: CONNECTIONS_MAX,
                sharing: Sharing::Borrower,
                ..self.transmission(Features::NONE)
            };
            self.outgoing(config, stream)
        };
        let sends = plan.duplex.as_ref().map(lent).transpose()?;
        let listener = listening(&plan.listen)?;
        let features = if sends.is_some() { ABILITIES | Features::DUPLEX } else { ABILITIES };
        let expectations = Expectations {
            checkphrase: self.common.checkphrase,
            features,
            duplex: sends.is_some(),
            initiates: self.ends.features().contains(Features::INITIATES),
        };
        self.session(Approach::Listen(listener, expectations), sends, Some(receives))
    }

    /// A session that dials; with `duplex` it receives a stream as well.
    ///
    /// # Errors
    /// stdin or stdout is closed, or the kernel refuses the congestion control.
    pub fn transmit(&self, plan: &TransmitPlan) -> Result<Start, Failure> {
        plan.links.iter().try_for_each(check_via)?;
        let (sharing, duplex) = match plan.duplex {
            true => (Sharing::Owner, Features::DUPLEX),
            false => (Sharing::Sole, Features::NONE),
        };
        let receives = plan.duplex.then(|| self.incoming(Sharing::Borrower)).transpose()?;
        let checksum = if plan.checksum { Features::CHECKSUM } else { Features::NONE };
        let config = transmission::Settings {
            links: plan.links.iter().map(ToString::to_string).collect(),
            workers: plan.threads,
            checked: plan.checksum,
            sharing,
            ..self.transmission(checksum | duplex)
        };
        let sends = self.outgoing(config, &plan.stream)?;
        self.session(Approach::Dial(plan.links.clone()), Some(sends), receives)
    }

    /// The size of the stream that goes out, where it is known: that of the file, up to the limit; prbs ends at the
    /// limit alone.
    pub fn size(&self, plan: &Plan) -> Option<u64> {
        let received = plan.receive.as_ref().and_then(|receive| receive.duplex.as_ref());
        let stream = plan.transmit.as_ref().map(|transmit| &transmit.stream).or(received);
        let limit = stream.and_then(|stream| stream.leglimit).map(|legs| legs * LEG_MAX as u64);
        match (self.source_size.get(), limit) {
            (Some(size), Some(limit)) => Some(size.min(limit)),
            (None, limit) if self.common.prbs.is_some() => limit,
            (size, _) => size,
        }
    }

    fn session(
        &self,
        approach: Approach,
        sends: Option<Outgoing>,
        receives: Option<Incoming>,
    ) -> Result<Start, Failure> {
        let (inseparable, hazard) = (self.ends.need_both(), self.hazard.clone());
        let setup = Setup { approach, sends, receives, inseparable, hazard, hear: self.hear() };
        Start::new(setup).map_err(|e| Failure::network(format!("cannot start: {}", reason(&e))))
    }

    /// Who hears how a session goes: the ends of its streams, the user, and whoever gathers its outcome.
    fn hear(&self) -> Hear {
        let (ends, news) = (self.ends.clone(), self.news.clone());
        Box::new(move |event| match event {
            orders::News::Met(way, features) => ends.meet(way, features),
            orders::News::Say(level, line) => message::note(level, || line),
            // nobody gathers any more: it came too late
            orders::News::Settled(way, ending) => drop(news.send(News::Settled(way, ending))),
        })
    }

    fn incoming(&self, sharing: Sharing) -> Result<Incoming, Failure> {
        Ok(Incoming { sink: self.ends.sink()?, config: self.reception(sharing) })
    }

    fn outgoing(&self, config: transmission::Settings, stream: &StreamPlan) -> Result<Outgoing, Failure> {
        if let Some(name) = &stream.congestion {
            check_congestion(name).map_err(Failure::network)?;
        }
        let source = self.ends.source()?;
        self.source_size.set(source.size());
        let (charmode, stream) = (self.common.charmode, stream.clone());
        Ok(Outgoing { config, stream, charmode, source, is_asked_to_end: signals::is_asked_to_end })
    }

    fn reception(&self, sharing: Sharing) -> reception::Settings {
        let duplex = if sharing == Sharing::Sole { Features::NONE } else { Features::DUPLEX };
        reception::Settings {
            instance: random_id(),
            buffer: self.common.buffer,
            patience: patience(self.common),
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
            patience: patience(self.common),
            checked: false,
            seed: rand::random(),
            sharing: Sharing::Sole,
        }
    }
}

fn listening(plan: &ListenPlan) -> Result<TcpListener, Failure> {
    let listener = listen::open(plan)?;
    let port = listener.local_addr().map_or(plan.port, |address| address.port());
    let line = format!("listening on port {port}");
    match plan.port {
        // nobody could know it otherwise
        0 => message::say(line),
        _ => message::announce(|| line),
    }
    Ok(listener)
}

/// A `via` that this host does not have would never work.
fn check_via(link: &LinkPlan) -> Result<(), Failure> {
    let found = link.via.as_ref().map_or(Ok(()), |via| interface::check(via));
    found.map_err(|e| Failure::network(format!("{link}: {e}")))
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
