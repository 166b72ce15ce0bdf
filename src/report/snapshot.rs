//! The plain figures that a report, the live line and the last line are made from.
//!
//! Taken by whoever owns a direction's state, in passing; nothing here asks or measures. [`Snapshot`] is a copy: it
//! holds no lock and changes nothing.

use super::figures::per_second;
use std::time::Duration;

/// One direction at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Snapshot {
    /// Which of the two.
    pub(crate) side: Side,
    /// What the key is called that the peer has proved, where connections are encrypted and it is known.
    pub(crate) peer: Option<String>,
    /// How far it has come.
    pub(crate) phase: Phase,
    /// Since the first connection; before there was one, since the start.
    pub(crate) elapsed: Duration,
    /// The stream's size, where that is known beforehand.
    pub(crate) expected: Option<u64>,
    /// Bytes that the output has taken.
    pub(crate) delivered: u64,
    /// The same per second, of late.
    pub(crate) rate: f64,
    /// Bytes in legs now. At most `buffer`.
    pub(crate) held: u64,
    /// Memory for legs.
    pub(crate) buffer: u64,
    /// What only this side knows.
    pub(crate) detail: Detail,
    /// How its bytes get through this process.
    pub(crate) passage: Passage,
    /// What compressing has come to, where legs are compressed.
    pub(crate) compressed: Option<Compressed>,
    /// What it has waited for.
    pub(crate) waited: Waited,
    /// Connections that ended before the stream did.
    pub(crate) lost: u64,
    /// Which was the last of them, and why.
    pub(crate) last_loss: Option<String>,
    /// In the order of the sender's list.
    pub(crate) links: Vec<Link>,
    /// In the order of their numbers.
    pub(crate) connections: Vec<Connection>,
}

/// The two directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Sends.
    Tx,
    /// Receives.
    Rx,
}

impl Side {
    /// As the user typed it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Side::Tx => "tx",
            Side::Rx => "rx",
        }
    }
}

/// How far a direction has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// There has been no connection.
    Waiting,
    /// The stream moves.
    Moving,
    /// All has arrived; the output has the last word.
    Closing,
    /// It is over: well, or why not.
    Over(Result<(), String>),
}

/// What only one side knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Of the sender.
    Tx {
        /// Bytes read from the input.
        read: u64,
        /// Bytes sent at least once.
        sent: u64,
        /// Legs and bytes that were sent more than once.
        again: (u64, u64),
        /// Overtaken legs that were rescued.
        rescues: u64,
        /// Legs that arrived damaged.
        damaged: u64,
    },
    /// Of the receiver.
    Rx {
        /// Bytes received in order.
        received: u64,
        /// The leg wanted next.
        next: u64,
        /// Legs beyond it, and their bytes.
        ahead: (u64, u64),
        /// Legs that came again.
        copies: u64,
        /// How long the write under way has waited.
        blocked: Duration,
        /// The output may take more than is counted.
        in_doubt: bool,
    },
}

/// How the bytes of a stream get through a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Passage {
    /// They are read, and written from memory.
    #[default]
    Copied,
    /// The kernel sends them from the file that they come from.
    File,
    /// The kernel moves them: from one pipe to the next where the paths are near, or from the socket to the pipe that they
    /// go to.
    Moved,
}

/// What compressing has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Compressed {
    /// Bytes of the stream that were sent, again or not; at the receiver, of those that came compressed.
    pub(crate) raw: u64,
    /// What they were sent as.
    pub(crate) sent: u64,
    /// Of `raw`, what was sent as it is.
    pub(crate) as_it_is: u64,
    /// The level by now; None where legs go as they are. Not known at the receiver.
    pub(crate) level: Option<i32>,
}

impl Compressed {
    /// How many times smaller it was made.
    pub(crate) fn ratio(&self) -> f64 {
        self.raw as f64 / self.sent.max(1) as f64
    }

    /// What so many bytes of the stream come to, each sent once; None if that is not less.
    pub(crate) fn saved(&self, bytes: u64) -> Option<u64> {
        let come_to = (bytes as f64 / self.ratio()) as u64;
        (self.sent < self.raw && come_to < bytes).then_some(come_to)
    }
}

/// Time spent waiting, by what for; all zero as long as there has been no connection. At the receiver `input` and
/// `pacing` are zero: it cannot tell them from the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Waited {
    /// For the network, and for what cannot be told from it.
    pub(crate) network: Duration,
    /// For the input.
    pub(crate) input: Duration,
    /// For the pace that `rate` or `delayus` sets.
    pub(crate) pacing: Duration,
    /// For the output.
    pub(crate) output: Duration,
}

/// One way to the receiver.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Link {
    /// As the sender's user typed it; at the receiver where it comes from.
    pub(crate) name: String,
    /// Its place in the sender's list.
    pub(crate) index: usize,
    /// Connections that are up.
    pub(crate) up: usize,
    /// Bytes of the stream a second over these.
    pub(crate) rate: f64,
    /// What went wrong last; empty if nothing has, or it is over.
    pub(crate) trouble: String,
}

/// One connection.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Connection {
    /// The same at both ends.
    pub(crate) number: usize,
    /// The link it is on or was on last, by its place.
    pub(crate) link: Option<usize>,
    /// What it does.
    pub(crate) state: State,
    /// The leg it was given, or brought, last.
    pub(crate) leg: Option<u64>,
    /// Bytes in legs it was given or has brought, copies included.
    pub(crate) bytes: u64,
    /// The same per second.
    pub(crate) rate: f64,
    /// What the kernel knows, of a connection that is up.
    pub(crate) kernel: Option<Kernel>,
}

/// What a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Is up.
    Up,
    /// Is being made.
    Dialling,
    /// Will be made again, or was lost.
    Down,
    /// Finishes what it has, to serve another link then.
    Leaving,
}

impl State {
    /// For a table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            State::Up => "up",
            State::Dialling => "dialling",
            State::Down => "down",
            State::Leaving => "leaving",
        }
    }

    /// Whether it carries anything.
    pub(crate) fn is_up(self) -> bool {
        matches!(self, State::Up | State::Leaving)
    }
}

/// What the kernel knows about a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kernel {
    /// The round-trip time.
    pub(crate) rtt: Duration,
    /// Segments that may be in flight.
    pub(crate) window: u32,
    /// Segments sent again.
    pub(crate) retransmits: u32,
    /// The congestion control's name.
    pub(crate) control: String,
}

impl Snapshot {
    /// Whether the other end was ever met. A sender whose input was empty has sent all there is without that.
    pub(crate) fn has_met(&self) -> bool {
        self.delivered > 0 || self.lost > 0 || self.waited != Waited::default() || self.is_connected()
    }

    /// Whether a connection is up.
    pub(crate) fn is_connected(&self) -> bool {
        self.connections.iter().any(|connection| connection.state.is_up())
    }

    /// Whether the whole stream has arrived, and the output has been given all of it but does not say that it is
    /// safe there: it may be flushing a disk.
    pub(crate) fn awaits_output(&self) -> bool {
        let all = match self.detail {
            Detail::Tx { read, .. } => read,
            Detail::Rx { received, .. } => received,
        };
        self.phase == Phase::Closing && self.has_met() && self.delivered >= all
    }

    /// Bytes per second since the first connection.
    pub(crate) fn overall(&self) -> f64 {
        per_second(self.delivered, self.elapsed)
    }

    /// How much of the stream is there, where its size is known and right so far.
    pub(crate) fn fraction(&self) -> Option<f64> {
        let expected = self.expected.filter(|size| *size >= self.delivered && *size > 0)?;
        Some(self.delivered as f64 / expected as f64)
    }

    /// How long the rest should take, from how it went of late and how it went on the whole.
    pub(crate) fn left(&self) -> Option<Duration> {
        let rest = self.expected?.checked_sub(self.delivered).filter(|rest| *rest > 0)?;
        let rate = (self.rate + self.overall()) / 2.0;
        let seconds = (rest as f64 / rate).ceil();
        (rate >= 1.0).then(|| Duration::from_secs(seconds as u64))
    }

    /// How much of the memory for legs is in use, in percent.
    pub(crate) fn fill(&self) -> u64 {
        (self.held * 100).div_ceil(self.buffer.max(1)).min(100)
    }
}
