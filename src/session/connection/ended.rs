//! How a connection ends, as its owner sees it.

use super::writer::Writer;
use crate::channel::Channel;
use crate::chaos::Harm;
use crate::proto::links::LossReason;
use crate::session::pump::Stop;

/// How the work on a connection ends.
pub(super) enum Ended {
    /// For a reason that the core does not know yet.
    Lost(LossReason),
    /// The fault plan broke it.
    Harmed(Harm),
    /// The core gave it up, or put another in its place.
    Over,
}

impl From<Stop> for Ended {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Over => Ended::Over,
            Stop::Lost(why) => Ended::Lost(why),
            Stop::Harmed(harm) => Ended::Harmed(harm),
        }
    }
}

/// Does to a connection what the fault plan wants.
pub(super) fn harm_now(writer: Option<Writer>, channel: &Channel, harm: Harm) {
    let Some(mut writer) = writer else { return };
    match harm {
        Harm::Cut => writer.cut(),
        Harm::Close | Harm::Reset | Harm::Silence => writer.push(),
    }
    if harm == Harm::Reset {
        channel.give_up();
    }
}
