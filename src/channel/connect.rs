//! Getting a connection to one address: connect, say hello, hear the answer.
//!
//! Blocks the thread that calls, for no longer than it is told, and never tries again: when and where to do that is
//! for [`crate::proto::links`] to say.

use super::hear::{self, Arrived};
use super::{Channel, Shaking, TlsError, Transport, prepare, tls_error};
use crate::error::{reason, told};
use crate::proto::handshake::Hearing;
use crate::proto::hello::{Hello, HelloError, Refusal, RefusalCode, Reply, Welcome};
use crate::proto::links::DialError;
use crate::sys::interface::bind_to;
use crate::sys::pipe::{Interest, wait};
use crate::sys::socket::{TcpInfo, set_congestion};
use crate::trust::Trust;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What came of an attempt.
pub(crate) enum Dialled {
    /// The receiver wants this connection.
    Welcomed(Box<Welcomed>),
    /// It does not, and says why.
    Refused(Refusal),
    /// There is no connection.
    Failed(DialError),
}

/// A connection and what the receiver said on it.
pub(crate) struct Welcomed {
    /// The connection.
    pub(crate) channel: Channel,
    /// What the receiver said.
    pub(crate) welcome: Welcome,
    /// From the hello's leaving to the welcome's coming.
    pub(crate) round_trip: Duration,
    /// Bytes that followed the welcome.
    pub(crate) early: Vec<u8>,
}

/// How a link's sockets are made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// The local address or interface that they are bound to.
    pub(crate) via: Option<String>,
    /// The kernel's congestion control, where the user chose one.
    pub(crate) congestion: Option<String>,
    /// The largest segments in both directions, in bytes; None for what the path says it can.
    pub(crate) segment: Option<u16>,
    /// The keys, if the connections are encrypted.
    pub(crate) trust: Option<Arc<Trust>>,
}

/// One attempt at one address, answered by a welcome or a refusal until `deadline`.
///
/// # Errors
/// Why there is no answer.
pub(crate) fn dial(
    address: SocketAddr,
    options: &Options,
    hello: &Hello,
    deadline: Instant,
) -> Result<Dialled, DialError> {
    let transport = Transport::tcp(connect(address, options, deadline)?);
    let channel = match &options.trust {
        None => Ok(Channel::plain(transport)),
        Some(trust) => secure(transport, trust, deadline, hello.instance.is_some()),
    };
    channel.and_then(|channel| greet(channel, hello, deadline, options)).map_err(|error| match error {
        DialError::TimedOut => DialError::NoWelcome,
        error => error,
    })
}

/// Has the far end prove its key, before anything is said to it. `met`: the receiver was met before, and so has a key.
fn secure(transport: Transport, trust: &Trust, deadline: Instant, met: bool) -> Result<Channel, DialError> {
    let channel = Channel::dialled(transport, trust).map_err(|e| DialError::Unreachable(reason(&e)))?;
    loop {
        match channel.shake() {
            Ok(Shaking::Done) => return Ok(channel),
            Ok(Shaking::Reads) => await_answer(&channel, deadline)?,
            Ok(Shaking::Writes) => await_room(&channel, deadline)?,
            Err(error) => return Err(unproven(&error, met)),
        }
    }
}

/// Why whoever answers has not proved that it is the receiver. Anybody on the way can bring this about, so it is
/// nothing that the receiver says.
fn unproven(error: &io::Error, met: bool) -> DialError {
    let cause = if met { "no receiver behind it?" } else { "has the receiver no key?" };
    DialError::Unproven(match tls_error(error) {
        Some(TlsError::Unknown(key)) => format!("the receiver's key {key} is not among the peers"),
        Some(TlsError::Plain) => format!("not encrypted: {cause}"),
        Some(TlsError::Closed) => format!("closed without a key: {cause}"),
        Some(error) => format!("no encrypted connection: {error}"),
        None if is_reset(error) => format!("closed without a key: {cause}"),
        None => return failure(error),
    })
}

fn is_reset(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

fn connect(address: SocketAddr, options: &Options, deadline: Instant) -> Result<TcpStream, DialError> {
    let unreachable = |error: io::Error| DialError::Unreachable(reason(&error));
    let socket =
        Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP)).map_err(unreachable)?;
    if let Some(via) = &options.via {
        let bound = bind_to(&socket, via, Domain::for_address(address));
        bound.map_err(|error| DialError::Unreachable(told(&error)))?;
    }
    socket.set_nonblocking(true).map_err(unreachable)?;
    prepare(&socket).map_err(unreachable)?;
    if let Some(name) = &options.congestion {
        choose_congestion(&socket, name).map_err(DialError::Unreachable)?;
    }
    if let Some(segment) = options.segment {
        // without it the connection may be of no use, which will show
        let _ = socket.set_tcp_mss(segment.into());
    }
    match socket.connect(&SockAddr::from(address)) {
        Ok(()) => return Ok(socket.into()),
        Err(e) if e.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
        Err(e) => return Err(failure(&e)),
    }
    await_socket(&[Interest::write(&socket)], deadline)?;
    match socket.take_error() {
        Ok(None) => Ok(socket.into()),
        Ok(Some(error)) | Err(error) => Err(failure(&error)),
    }
}

/// Says hello and waits for the answer, until `deadline`.
///
/// # Errors
/// Why there is no answer.
pub(crate) fn greet(
    channel: Channel,
    hello: &Hello,
    deadline: Instant,
    options: &Options,
) -> Result<Dialled, DialError> {
    say(&channel, &hello.encode(), deadline)?;
    let now = Instant::now();
    let mut hearing = Hearing::new(now, deadline.saturating_duration_since(now));
    loop {
        match hearing.reply().map_err(stranger)? {
            Some(Reply::Welcome(welcome)) => {
                let round_trip = hearing.taken(Instant::now());
                let early = hearing.rest();
                let welcomed = Welcomed { channel, welcome, round_trip, early };
                return Ok(Dialled::Welcomed(Box::new(welcomed)));
            }
            Some(Reply::Refusal(refusal)) => return Ok(Dialled::Refused(refusal)),
            None => {}
        }
        let heard = match hear::read(&mut &channel, &mut hearing) {
            Ok(heard) => heard,
            Err(error) => return turned_away(&channel, &error, options),
        };
        match heard {
            Arrived::Bytes => {}
            Arrived::Nothing => await_answer(&channel, hearing.until())?,
            Arrived::End => return Err(DialError::Closed),
        }
    }
}

/// The far end has proved who it is, and then ended the handshake from its side: it looks at this end's key last.
fn turned_away(channel: &Channel, error: &io::Error, options: &Options) -> Result<Dialled, DialError> {
    let tls = tls_error(error);
    match (tls, &options.trust) {
        (Some(TlsError::NotWanted), Some(trust)) if channel.key().is_some() => {
            let sentence = format!("the receiver does not let in this key: {}", trust.own());
            Ok(Dialled::Refused(Refusal { code: RefusalCode::Key, sentence }))
        }
        (Some(error), _) => Err(DialError::Unproven(error.to_string())),
        (None, _) => Err(failure(error)),
    }
}

fn say(mut channel: &Channel, mut unsent: &[u8], deadline: Instant) -> Result<(), DialError> {
    loop {
        let written = if unsent.is_empty() { channel.flush().map(|()| 0) } else { channel.write(unsent) };
        match written {
            Ok(_) if unsent.is_empty() => return Ok(()),
            Ok(n) => unsent = &unsent[n..],
            Err(e) if e.kind() == ErrorKind::WouldBlock => await_room(channel, deadline)?,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            // the answer may be there all the same
            Err(_) => return Ok(()),
        }
    }
}

fn await_answer(channel: &Channel, deadline: Instant) -> Result<(), DialError> {
    await_socket(&[Interest::read(&channel.readable())], deadline).map_err(|error| unwelcomed(channel, error))
}

fn await_room(channel: &Channel, deadline: Instant) -> Result<(), DialError> {
    await_socket(&[Interest::write(&channel.writable())], deadline)
        .map_err(|error| unwelcomed(channel, error))
}

/// Tells a peer that does not answer, whose kernel has all that was said, from a path that swallows segments.
fn unwelcomed(channel: &Channel, error: DialError) -> DialError {
    let missing = |info: TcpInfo| info.unacked > 0 || info.out_of_order > 0;
    match error {
        DialError::TimedOut if channel.info().is_some_and(missing) => DialError::Swallowed,
        DialError::TimedOut => DialError::NoWelcome,
        error => error,
    }
}

fn await_socket(interests: &[Interest<'_>; 1], deadline: Instant) -> Result<(), DialError> {
    let left = deadline.saturating_duration_since(Instant::now());
    match wait(interests, Some(left)) {
        Ok([ready]) if ready.any() => Ok(()),
        Ok(_) => Err(DialError::TimedOut),
        Err(e) => Err(failure(&e)),
    }
}

fn failure(error: &io::Error) -> DialError {
    match error.kind() {
        ErrorKind::ConnectionRefused => DialError::Refused,
        // only of a connection that was accepted: by a proxy that gave up before it had read the hello
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => DialError::Closed,
        ErrorKind::TimedOut => DialError::TimedOut,
        _ => DialError::Unreachable(reason(error)),
    }
}

fn stranger(error: HelloError) -> DialError {
    DialError::Unreachable(match error {
        HelloError::NotMillipede => "whatever answers there is no millipede".into(),
        other => format!("the answer makes no sense: {other}"),
    })
}

/// Checks that this kernel gives this user the congestion control of that name.
///
/// # Errors
/// Why not, and what to do about it.
pub(crate) fn check_congestion(name: &str) -> Result<(), String> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP));
    choose_congestion(&socket.map_err(|e| reason(&e))?, name)
}

fn choose_congestion(socket: &Socket, name: &str) -> Result<(), String> {
    set_congestion(socket, name).map_err(|error| match error.kind() {
        ErrorKind::NotFound => format!(
            "this kernel has no congestion control {name:?}; sysctl net.ipv4.tcp_available_congestion_control \
             lists those it has, modprobe tcp_{name} may add it"
        ),
        ErrorKind::PermissionDenied => format!(
            "only root may use congestion control {name:?} here; add it to sysctl \
             net.ipv4.tcp_allowed_congestion_control"
        ),
        _ => format!("cannot use congestion control {name:?}: {}", reason(&error)),
    })
}
