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

impl Ended {
    /// Resets the connection, or leaves it to an orderly end when it is dropped; why it ended, if there is somebody to tell.
    /// `orderly`: where the peer has closed it, this end is to do the same. `has_spoken`: the session has its last word.
    pub(super) fn leave(
        self,
        writer: Option<Writer>,
        channel: &Channel,
        orderly: bool,
        has_spoken: impl FnOnce() -> bool,
    ) -> Option<LossReason> {
        match self {
            Ended::Over => {
                channel.give_up();
                None
            }
            Ended::Harmed(harm) => {
                harm_now(writer, channel, harm);
                if has_spoken() {
                    channel.give_up();
                }
                Some(LossReason::Failed(harm.to_string()))
            }
            Ended::Lost(why) => {
                // everything was received: the peer shall see an orderly end
                let closes = matches!(why, LossReason::Left | LossReason::Closed);
                if !(closes && orderly) {
                    channel.give_up();
                }
                Some(why)
            }
        }
    }
}

/// Does to a connection what the fault plan wants.
fn harm_now(writer: Option<Writer>, channel: &Channel, harm: Harm) {
    let Some(mut writer) = writer else { return };
    match harm {
        Harm::Cut => writer.cut(),
        Harm::Close | Harm::Reset | Harm::Silence => writer.push(),
    }
    if harm == Harm::Reset {
        channel.give_up();
    }
}
