//! Why there is no connection, and why one ended: decided where it happened.

use super::super::breach::Breach;
use std::fmt;

/// Why an attempt to get a connection failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialError {
    /// A reset where a connection was asked for.
    Refused,
    /// An end before any welcome: forwarded ports and proxies end so when nobody is behind them.
    Closed,
    /// No connection in the time allowed.
    TimedOut,
    /// A connection, and no welcome in the time allowed.
    NoWelcome,
    /// The same, and segments are missing: of what was said, or of the answer.
    Swallowed,
    /// The name has no address.
    Unresolved(String),
    /// The resolver has no answer for now; nothing is known about the name.
    Unanswered(String),
    /// Whoever answers has not proved a key that is let in: it may be another than the receiver, or stand between.
    Unproven(String),
    /// Whoever answered refused the connection in these words, and may take the next attempt. Somebody is there:
    /// unlike [`DialError::Refused`], this is no sign that the receiver is gone.
    RefusedInWords(String),
    /// Another receiver than the session's welcomed the connection. The session's own may be there at the next attempt.
    OtherReceiver,
    /// Anything else: what the kernel says, a peer that is no millipede or breaks the rules, a link that cannot be had again.
    Unreachable(String),
}

impl DialError {
    /// Nobody said anything in the time allowed.
    pub fn is_silence(&self) -> bool {
        matches!(self, DialError::TimedOut | DialError::NoWelcome | DialError::Swallowed)
    }

    /// Nobody wants the connection. That another than the receiver answers is no more of an answer than none.
    pub fn is_refusal(&self) -> bool {
        matches!(self, DialError::Refused | DialError::Closed | DialError::Unproven(_))
    }
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DialError::Refused => f.write_str("connection refused"),
            DialError::Closed => f.write_str("accepted, then closed: no receiver behind it?"),
            DialError::TimedOut => f.write_str("no answer"),
            DialError::NoWelcome | DialError::Swallowed => f.write_str("connected, but no answer"),
            DialError::OtherReceiver => f.write_str("another receiver; all links must lead to one"),
            DialError::Unresolved(why)
            | DialError::Unanswered(why)
            | DialError::Unproven(why)
            | DialError::RefusedInWords(why)
            | DialError::Unreachable(why) => f.write_str(why),
        }
    }
}

/// Why a connection ended; decided where it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LossReason {
    /// The peer closed it.
    Closed,
    /// Why it cannot be used any more, in words: mostly the kernel's, as reset or unreachable; also those of this end, where
    /// it has no thread for it, say.
    Failed(String),
    /// No life for too long.
    Silent,
    /// The path swallows large segments, while small ones get through.
    Swallows,
    /// More complaints about damaged legs wait than may: the peer goes on to send, and takes nothing.
    TakesNoComplaints,
    /// The peer broke the rules.
    Breach(Breach),
    /// This side closed it on purpose: to move to another link, or as its own fault plan demands.
    Left,
}

impl fmt::Display for LossReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LossReason::Closed => f.write_str("closed by the peer"),
            LossReason::Failed(why) => f.write_str(why),
            LossReason::Silent => f.write_str("silent"),
            LossReason::Swallows => f.write_str("large segments do not get through"),
            LossReason::TakesNoComplaints => f.write_str("brings damaged legs and takes no complaints"),
            LossReason::Breach(what) => write!(f, "the peer {what}"),
            LossReason::Left => f.write_str("left"),
        }
    }
}
