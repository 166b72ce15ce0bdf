//! Builds the session of a direction from its plan, and does not start it.

use super::conclusion::Conclusion;
use super::descriptors::{Others, connections};
use super::ends::Ends;
use super::listen;
use super::sessions::cannot_start;
use super::signals;
use crate::channel::connect::check_congestion;
use crate::chaos::Hazard;
use crate::error::{Failure, told};
use crate::message;
use crate::plan::{Common, LinkPlan, Plan, ReceivePlan, StreamPlan, TransmitPlan};
use crate::proto::check::Expectations;
use crate::proto::event::Event;
use crate::proto::hello::{Features, Hello, Id};
use crate::proto::leg::LEG_MAX;
use crate::proto::peer_key::PeerKey;
use crate::proto::session::{DiallerConfig, InboundConfig, OutboundConfig};
use crate::proto::way::{PerWay, Ways};
use crate::session::{Approach, Hear, Incoming, News, Outgoing, Setup, Start};
use crate::sys::interface;
use crate::trust::{PublicKey, Trust};
use crate::wording::word;
use crossbeam_channel::Sender;
use std::cell::Cell;
use std::sync::Arc;

/// What this program can do with a stream, whatever its ends are. If only one end tunnels, the bytes of one connection
/// are the stream.
const ABILITIES: Features = Features(Features::CHECKSUM.0 | Features::TUNNEL.0 | Features::COMPRESS.0);

/// Everything that all sessions are made from.
pub(crate) struct Parts<'a> {
    /// What holds for all.
    pub(crate) common: &'a Common,
    /// Where streams come from and go to.
    pub(crate) ends: &'a Arc<Ends>,
    /// What is done to connections on purpose.
    pub(crate) hazard: Hazard,
    /// The keys, if connections are encrypted.
    pub(crate) trust: Option<Arc<Trust>>,
    /// The channel for the news of how streams end.
    pub(crate) news: Sender<Conclusion>,
    /// The size of the stream that goes out, where its source knows that.
    pub(crate) source_size: Cell<Option<u64>>,
}

impl Parts<'_> {
    /// A session that listens already; with `duplex` it sends a stream as well.
    ///
    /// # Errors
    /// The port is taken, stdout or stdin is closed, or the kernel refuses the congestion control.
    pub(crate) fn receive(&self, plan: &ReceivePlan) -> Result<Start, Failure> {
        let duplex = if plan.duplex.is_some() { Features::DUPLEX } else { Features::NONE };
        let compress = plan.duplex.as_ref().map_or(Features::NONE, compress);
        let receives = self.incoming(duplex | compress)?;
        let sends = plan.duplex.as_ref().map(|stream| self.outgoing(stream)).transpose()?;
        let listener = listen::announced(&plan.listen, self.common.patience, "listening on port")?;
        let expectations = Expectations {
            checkphrase: self.common.checkphrase,
            features: ABILITIES | duplex | self.through(),
            duplex: sends.is_some(),
            through: self.common.through.is_some(),
            compresses: compress != Features::NONE,
            initiates: self.ends.features().contains(Features::INITIATES),
        };
        self.session(Approach::Listen(Some(listener), expectations), sends, Some(receives))
    }

    /// A session that dials; with `duplex` it receives a stream as well.
    ///
    /// # Errors
    /// stdin or stdout is closed, or the kernel refuses the congestion control.
    pub(crate) fn transmit(&self, plan: &TransmitPlan) -> Result<Start, Failure> {
        plan.links.iter().try_for_each(check_via)?;
        let duplex = if plan.duplex { Features::DUPLEX | Features::DECOMPRESSES } else { Features::NONE };
        let receives = plan.duplex.then(|| self.incoming(duplex)).transpose()?;
        let checksum = if plan.checksum { Features::CHECKSUM } else { Features::NONE };
        let config = self.dialler(plan, checksum | duplex | compress(&plan.stream));
        let sends = self.outgoing(&plan.stream)?;
        self.session(Approach::Dial(plan.links.clone(), Box::new(config)), Some(sends), receives)
    }

    /// The size of the stream that goes out, where it is known: that of the file, up to the limit; prbs ends at the
    /// limit alone.
    pub(crate) fn size(&self, plan: &Plan) -> Option<u64> {
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
        let names = approach.links();
        let ways = PerWay { incoming: receives.is_some(), outgoing: sends.is_some() }.into();
        let setup = Setup {
            inseparable,
            through: self.common.through.clone(),
            trust: self.trust.clone(),
            ..Setup::new(approach, sends, receives, hazard, self.hear(names, ways))
        };
        Start::new(setup).map_err(cannot_start)
    }

    /// Who hears how a session goes: the ends of its streams, the user, and whoever gathers its outcome. Links are
    /// told to the user by these names. The session has these streams.
    fn hear(&self, names: Vec<String>, ways: Ways) -> Hear {
        let (ends, news) = (self.ends.clone(), self.news.clone());
        let names = Labels { links: names, trust: self.trust.clone() };
        Box::new(move |event| match event {
            News::Met(way, far) => ends.meet(way, far),
            News::Tell(event) => {
                if matches!(event, Event::SessionForgotten) {
                    ways.iter().for_each(|way| ends.forget(way));
                }
                match event.of_strangers() {
                    Some(kind) => message::peer(event.level(), kind, || names.word(&event)),
                    None => message::note(event.level(), || names.word(&event)),
                }
            }
            // nobody gathers any more: it came too late
            News::Settled(way, ending) => drop(news.send(Conclusion::Settled(way, ending))),
        })
    }

    /// What legs that go through programs need of the other end.
    fn through(&self) -> Features {
        if self.common.through.is_some() { Features::THROUGH } else { Features::NONE }
    }

    fn incoming(&self, features: Features) -> Result<Incoming, Failure> {
        let features = Features::CHECKSUM | self.ends.features() | features | self.through();
        let (patience, buffer) = (self.common.patience, self.common.buffer);
        let config = InboundConfig { patience, ..InboundConfig::new(random_id(), features, buffer) };
        Ok(Incoming { sink: self.ends.sink()?, config, is_asked_to_end: signals::is_asked_to_end })
    }

    fn outgoing(&self, stream: &StreamPlan) -> Result<Outgoing, Failure> {
        if let Some(name) = &stream.congestion {
            check_congestion(name).map_err(Failure::network)?;
        }
        let source = self.ends.source()?;
        self.source_size.set(source.size());
        let (charmode, stream) = (self.common.charmode, stream.clone());
        let config = OutboundConfig { buffer: self.common.buffer };
        Ok(Outgoing { config, stream, charmode, source, is_asked_to_end: signals::is_asked_to_end })
    }

    /// A sender that makes use of these features and those of its ends.
    fn dialler(&self, plan: &TransmitPlan, features: Features) -> DiallerConfig {
        dialler(self.common, plan, features | self.ends.features() | self.through())
    }
}

/// What a user calls the links of a session and the keys of its peers.
pub(super) struct Labels {
    /// As typed, by the number of the link.
    pub(super) links: Vec<String>,
    /// Where keys are known by name.
    pub(super) trust: Option<Arc<Trust>>,
}

impl Labels {
    /// The line for an event, with these names.
    pub(super) fn word(&self, event: &Event) -> String {
        let link = |link: usize| self.links.get(link).cloned().unwrap_or_default();
        let key = |PeerKey(bytes)| {
            let key = PublicKey::new(bytes);
            self.trust.as_ref().map_or_else(|| key.to_string(), |trust| trust.name(&key))
        };
        word(event, &link, &key)
    }
}

/// The end of a new session that dials as planned and makes use of these features.
pub(super) fn dialler(common: &Common, transmit: &TransmitPlan, features: Features) -> DiallerConfig {
    let hello = Hello { checkphrase: common.checkphrase, ..Hello::of(random_id(), features, common.buffer) };
    let links = transmit.links.iter().map(ToString::to_string).collect();
    let others = Others { files: features.contains(Features::FILES), ..Others::of(common) };
    let connections = connections(transmit.threads, others);
    DiallerConfig {
        patience: common.patience,
        ..DiallerConfig::new(hello, links, connections, rand::random())
    }
}

/// What a stream that is sent like this needs of its receiver.
pub(crate) fn compress(stream: &StreamPlan) -> Features {
    if stream.compress.is_some() { Features::COMPRESS } else { Features::NONE }
}

/// Checks that this host has the link's `via`: one that it does not have would never work.
pub(crate) fn check_via(link: &LinkPlan) -> Result<(), Failure> {
    let found = link.via.as_ref().map_or(Ok(()), |via| interface::check(via));
    found.map_err(|e| Failure::network(format!("{link}: {}", told(&e))))
}

/// The name of a new session, or of this process in it.
pub(super) fn random_id() -> Id {
    Id::new(rand::random())
}
