//! What is to be done: a checked plan that cannot be wrong in itself.
//!
//! Made by [`crate::cli`] from the words as typed, read by everything that runs. It knows nothing of how it was
//! typed and nothing of sockets: names are not resolved, nothing is opened. Defaults that depend on how the
//! session goes stay `None` here.

pub(crate) use crate::proto::waiting::Patience;
pub(crate) use crate::proto::way::Ways;

use crate::proto::way::PerWay;
use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

/// Memory for legs per direction, unless `buffer` is given: enough for 1 Gbit/s at a second of round trip.
pub(crate) const BUFFER_DEFAULT: u64 = 128 << 20;

/// The least memory for legs: with less, legs get too small to be efficient.
pub(crate) const BUFFER_MIN: u64 = 4 << 20;

/// The most memory for legs that can be asked for: beyond any machine, and sums of it never overflow.
pub(crate) const BUFFER_MAX: u64 = 1 << 40;

/// What a process is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// To carry streams.
    Carry(Box<Plan>),
    /// To receive files, for ever.
    Serve(Box<ServePlan>),
    /// To send files.
    Put(Box<PutPlan>),
    /// To send the files of a folder, for ever.
    Watch(Box<WatchPlan>),
    /// To make a key: this file, and the one beside it for the public half.
    Keygen(PathBuf),
    /// To run a command at another host.
    Ssh(Box<SshPlan>),
    /// To be the far end of that, started by ssh.
    Far(FarPlan),
}

/// A command at another host, started through ssh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshPlan {
    /// The command line of ssh, as typed.
    pub(crate) line: Vec<OsString>,
    /// Where the far end is reached directly, in this order; empty: where ssh connects to.
    pub(crate) over: Vec<Host>,
    /// Which addresses count where a name has several.
    pub(crate) family: Family,
    /// The ports that the far end may listen on.
    pub(crate) ports: Option<Ports>,
    /// This program at the far end, a path; None: as the login shell finds it.
    pub(crate) program: Option<String>,
    /// Connections, besides that of ssh; 1 to [`crate::proto::leg::CONNECTIONS_MAX`].
    pub(crate) threads: usize,
    /// How both streams are sent: `rate` and `congestion` alone may be there.
    pub(crate) stream: StreamPlan,
    /// Memory for legs per direction at either end, as in [`Common::buffer`]; None: what each end's host allows.
    pub(crate) buffer: Option<u64>,
    /// How long to wait with no working connection; `None`: not given.
    pub(crate) patience: Option<Patience>,
    /// 0 to [`crate::message::LEVEL_MAX`].
    pub(crate) verbose: u8,
}

/// The far end of a command that was started through ssh.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FarPlan {
    /// The ports that it may listen on; None: any free one.
    pub(crate) ports: Option<Ports>,
}

/// A range of ports, none of them 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ports {
    /// The first one.
    pub(crate) first: u16,
    /// The last one, no less than the first.
    pub(crate) last: u16,
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// A standing receiver of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServePlan {
    /// Where to listen.
    pub(crate) listen: ListenPlan,
    /// Where files and streams go.
    pub(crate) goal: Goal,
    /// Runs after each file; never empty, and only with [`Goal::Into`].
    pub(crate) then: Option<String>,
    /// Sessions at a time; at least 1, and no more than `buffer` has [`BUFFER_MIN`].
    pub(crate) sessions: usize,
    /// Keys that metadata must have.
    pub(crate) require: Vec<String>,
    /// Newer files take older ones' places.
    pub(crate) replace: bool,
    /// Sums stand beside files.
    pub(crate) sums: bool,
    /// The most bytes of each key.
    pub(crate) quota: Option<u64>,
    /// Days that unfinished files are kept.
    pub(crate) keep: u64,
    /// Bytes of the disk that stay free.
    pub(crate) keepfree: u64,
    /// What holds for any plan; without `edge`, `oneshot` and `prbs`.
    pub common: Common,
}

/// Where a standing receiver puts what comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Into this folder. It has not been opened.
    Into(PathBuf),
    /// Each into the stdin of this command, run by `sh -c`; never empty.
    Exec(String),
}

/// Files, or a stream with a name, for a standing receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutPlan {
    /// Where to, and how.
    pub(crate) transmit: TransmitPlan,
    /// The files; none: stdin, and there is a name. With a name, one at most.
    pub(crate) files: Vec<PathBuf>,
    /// What it is called. It has not been checked.
    pub(crate) name: Option<String>,
    /// A file with metadata. It has not been opened.
    pub(crate) meta: Option<PathBuf>,
    /// `KEY=VALUE`, each. They have not been checked.
    pub(crate) tags: Vec<String>,
    /// What holds for any plan; without `edge`, `oneshot` and `prbs`.
    pub common: Common,
}

/// A folder whose files go to a standing receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchPlan {
    /// Where to, and what is said of each file; no files and no name.
    pub put: PutPlan,
    /// The folder. It has not been opened.
    pub(crate) folder: PathBuf,
    /// Where files are moved to that are stored. It has not been opened.
    pub(crate) archive: Option<PathBuf>,
    /// Which files are passed over. They have not been checked.
    pub(crate) ignored: Vec<String>,
}

/// The streams that a process is asked to carry. At least one of `receive` and `transmit` is there, unless `common.prbs` is:
/// then the pseudorandom stream goes to stdout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The receiving direction.
    pub(crate) receive: Option<ReceivePlan>,
    /// The transmitting direction, independent of the other.
    pub(crate) transmit: Option<TransmitPlan>,
    /// What holds for both.
    pub common: Common,
}

impl Plan {
    /// Which streams this process has.
    pub(crate) fn ways(&self) -> Ways {
        let both = self.is_duplex();
        let (incoming, outgoing) = (both || self.receive.is_some(), both || self.transmit.is_some());
        PerWay { incoming, outgoing }.into()
    }

    /// Whether two streams share their connections.
    pub(crate) fn is_duplex(&self) -> bool {
        self.receive.as_ref().is_some_and(|receive| receive.duplex.is_some())
            || self.transmit.as_ref().is_some_and(|transmit| transmit.duplex)
    }
}

/// What holds for both directions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Common {
    /// Who this end is and who is let in; `None`: nothing is encrypted. With both directions and without `duplex`,
    /// its `peers` are there.
    pub(crate) trust: Option<TrustPlan>,
    /// Must be equal at both ends; absent matches only absent.
    pub(crate) checkphrase: Option<[u8; 4]>,
    /// Pass on whatever has been read at once. Always set with [`EdgePlan::Terminate`] and [`EdgePlan::Initiate`].
    pub(crate) charmode: bool,
    /// Where the stream comes from and goes to.
    pub(crate) edge: EdgePlan,
    /// End after the first connection; only with [`EdgePlan::Terminate`] and [`EdgePlan::Initiate`].
    pub(crate) oneshot: bool,
    /// Generate (when transmitting) and verify (when receiving) the pseudorandom stream of this seed. When
    /// transmitting, `edge` is then [`EdgePlan::Stdio`].
    pub(crate) prbs: Option<u16>,
    /// Break the connection in use at every Nth frame; at least 2.
    pub(crate) chaos: Option<u64>,
    /// Bytes of memory for legs per direction, [`BUFFER_MIN`] to [`BUFFER_MAX`].
    pub(crate) buffer: u64,
    /// The programs that legs go through, if they do.
    pub(crate) through: Option<Through>,
    /// How long to wait with no working connection; `None`: not given, so that the default of each phase holds.
    pub(crate) patience: Option<Patience>,
    /// 0 to [`crate::message::LEVEL_MAX`].
    pub verbose: u8,
    /// Whether there is a live line.
    pub progress: Progress,
    /// What the user says that the stream's size is, in bytes.
    pub(crate) size: Option<u64>,
}

/// The files that say who is who. Neither has been opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TrustPlan {
    /// Has this end's private key.
    pub(crate) key: PathBuf,
    /// Lists the public keys that are let in; `None`: exactly the own one is.
    pub(crate) peers: Option<PathBuf>,
}

/// Whether there is a live line on stderr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Progress {
    /// If stderr is a terminal that this process has for itself.
    #[default]
    Automatic,
    /// Yes; where stderr is no terminal, as plain lines.
    Always,
    /// No.
    Never,
}

/// Where the stream comes from and goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EdgePlan {
    /// Standard input and output.
    Stdio,
    /// TCP connections accepted here; on loopback unless an address is given.
    Terminate(ListenPlan),
    /// TCP connections opened when the far side has one.
    Initiate {
        /// The host to connect to.
        host: Host,
        /// Its port, never 0.
        port: u16,
    },
    /// A command, run by `sh -c`.
    Exec {
        /// The command; never empty.
        command: String,
    },
}

/// Which version of IP may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Family {
    /// Both.
    #[default]
    Any,
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
}

impl Family {
    /// Whether an address is of it; one that is mapped from IPv4 is IPv4.
    pub(crate) fn has(self, address: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::V4 => address.to_canonical().is_ipv4(),
            Self::V6 => address.to_canonical().is_ipv6(),
        }
    }
}

/// A host as the user named it, and displayed as that. Not resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// An IP address; never one that is mapped from IPv4. Link-local IPv6 only with [`LinkPlan::via`].
    Address(IpAddr),
    /// An IPv6 address on one network interface of this host.
    Scoped {
        /// The address.
        address: Ipv6Addr,
        /// The interface's name or number, never empty.
        interface: String,
    },
    /// A name.
    Name {
        /// The name, never empty.
        name: String,
        /// Which of its addresses count.
        family: Family,
    },
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Scoped { address, interface } => write!(f, "{address}%{interface}"),
            Self::Name { name, .. } => f.write_str(name),
        }
    }
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListenPlan {
    /// On which addresses.
    pub(crate) on: ListenOn,
    /// The port; 0 takes a free one.
    pub(crate) port: u16,
}

/// On which addresses to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ListenOn {
    /// On all of this host that are of this family.
    All(Family),
    /// On this one; of a name, on its first.
    Host(Host),
}

/// The receiving direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReceivePlan {
    /// Where to listen.
    pub(crate) listen: ListenPlan,
    /// The stream that goes the other way over the same connections, and the congestion control for it. Then the
    /// plan has no other transmitting direction.
    pub(crate) duplex: Option<StreamPlan>,
}

/// The programs that legs go through, each for `sh -c`; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Through {
    /// What this end gives the legs that it sends; there where it sends any.
    pub(crate) encode: Option<String>,
    /// What it gives the legs that it receives.
    pub(crate) decode: Option<String>,
}

/// The levels of zstd that the user may ask for: above these, memory and time grow and legs do not shrink.
pub(crate) const LEVELS: std::ops::RangeInclusive<u64> = 1..=19;

/// How the legs of a stream are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compress {
    /// With a level that follows what holds the stream back.
    Adaptive,
    /// With this level of zstd, one of [`LEVELS`].
    Level(i32),
}

/// A stream to be sent: how far and how fast it is read, and how it is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StreamPlan {
    /// End the stream after this many times 2 MiB; in bytes, it fits a u64.
    pub(crate) leglimit: Option<u64>,
    /// Wait this many microseconds before each 2 MiB of the stream.
    pub(crate) delayus: Option<u64>,
    /// At most this many bytes a second; never 0.
    pub(crate) rate: Option<u64>,
    /// The kernel's congestion control for the connections; never empty. `None`: the kernel's default.
    pub(crate) congestion: Option<String>,
    /// How its legs are compressed, if they are.
    pub(crate) compress: Option<Compress>,
}

/// The transmitting direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TransmitPlan {
    /// The ordered list of links; 1 to [`crate::proto::leg::LINKS_MAX`].
    pub(crate) links: Vec<LinkPlan>,
    /// Connections; 1 to [`crate::proto::leg::CONNECTIONS_MAX`].
    pub(crate) threads: usize,
    /// CRC-32 on every leg and over the stream; with `duplex`, of both streams.
    pub(crate) checksum: bool,
    /// What is sent.
    pub(crate) stream: StreamPlan,
    /// Another stream comes the other way over the same connections. Then the plan has no other receiving direction.
    pub(crate) duplex: bool,
}

/// A link: one way to the receiver. Displayed as the user typed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LinkPlan {
    /// The host to connect to.
    pub(crate) host: Host,
    /// Its port, never 0.
    pub(crate) port: u16,
    /// The local address or interface that this link is bound to, never empty; of the same IP version as `host`
    /// where both are addresses.
    pub(crate) via: Option<String>,
}

impl fmt::Display for LinkPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(IpAddr::V6(_)) | Host::Scoped { .. } => write!(f, "[{}]:{}", self.host, self.port)?,
            Host::Address(IpAddr::V4(_)) | Host::Name { .. } => write!(f, "{}:{}", self.host, self.port)?,
        }
        self.via.as_ref().map_or(Ok(()), |via| write!(f, " via {via}"))
    }
}
