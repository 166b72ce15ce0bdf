//! What a session is made from: its streams, how its connections come about, and what is done to what they carry.

use super::lifeline::Lifeline;
use super::orders::News;
use crate::chaos::Hazard;
use crate::endpoint::{Sink, Source};
use crate::plan::{self, LinkPlan, StreamPlan};
use crate::proto::check::Expectations;
use crate::proto::session::{DiallerConfig, InboundConfig, OutboundConfig};
use crate::trust::Trust;
use std::net::TcpListener;
use std::sync::Arc;

/// Called with every piece of news of a session.
pub(crate) type Hear = Box<dyn Fn(News) + Send + Sync>;

/// A stream that goes out.
pub(crate) struct Outgoing {
    /// For the core.
    pub(crate) config: OutboundConfig,
    /// The user's words for this stream: limit, delay, rate, congestion control.
    pub(crate) stream: StreamPlan,
    /// In charmode whatever was read is sent at once.
    pub(crate) charmode: bool,
    /// Where the stream comes from.
    pub(crate) source: Box<dyn Source>,
    /// Whether this process was asked to end.
    pub(crate) is_asked_to_end: fn() -> bool,
}

/// A stream that comes in.
pub(crate) struct Incoming {
    /// For the core.
    pub(crate) config: InboundConfig,
    /// Where the stream goes.
    pub(crate) sink: Box<dyn Sink>,
    /// Whether this process was asked to end.
    pub(crate) is_asked_to_end: fn() -> bool,
}

/// How the connections of a session come about.
pub(crate) enum Approach {
    /// This end dials its connections, on these links. It always sends a stream.
    Dial(Vec<LinkPlan>, Box<DiallerConfig>),
    /// This end accepts its connections, if it listens anywhere. It always receives a stream.
    Listen(Option<TcpListener>, Expectations),
    /// Another accepts connections, and gives them to the session's
    /// [`Admission`](super::admission::Admission). This end always receives a stream.
    Visit,
}

impl Approach {
    /// The names of the links that are dialled, as the user typed them.
    pub(crate) fn links(&self) -> Vec<String> {
        match self {
            Approach::Dial(_, config) => config.links.clone(),
            Approach::Listen(..) | Approach::Visit => Vec::new(),
        }
    }

    /// Whether this end wants the stream that goes out checked.
    pub(super) fn checks(&self) -> bool {
        matches!(self, Approach::Dial(_, config) if config.checks())
    }
}

/// What a session is made from.
pub(crate) struct Setup {
    /// How its connections come about.
    pub(crate) approach: Approach,
    /// A connection that is there already: the last link of an end that dials, which has no other place for it.
    pub(crate) lifeline: Option<Lifeline>,
    /// The stream that goes out.
    pub(crate) sends: Option<Outgoing>,
    /// The stream that comes in.
    pub(crate) receives: Option<Incoming>,
    /// One stream is of no use without the other: if one fails, the session ends.
    pub(crate) inseparable: bool,
    /// The programs of the user's that legs go through, if they do.
    pub(crate) through: Option<plan::Through>,
    /// The fault plan: how connections are broken on purpose.
    pub(crate) hazard: Hazard,
    /// The keys, if connections are encrypted.
    pub(crate) trust: Option<Arc<Trust>>,
    /// Is called with every piece of news.
    pub(crate) hear: Hear,
}

impl Setup {
    /// Connections come about like this and carry these streams, neither of which needs the other; they are not
    /// encrypted, and nothing else is done to what they carry.
    pub(crate) fn new(
        approach: Approach,
        sends: Option<Outgoing>,
        receives: Option<Incoming>,
        hazard: Hazard,
        hear: Hear,
    ) -> Self {
        Setup {
            approach,
            lifeline: None,
            sends,
            receives,
            inseparable: false,
            through: None,
            hazard,
            trust: None,
            hear,
        }
    }
}
