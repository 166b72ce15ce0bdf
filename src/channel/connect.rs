//! Getting a connection to one address: connect, say hello, hear the answer.
//!
//! Blocks the thread that calls, for no longer than it is told, and never tries again: when and where to do that is
//! for [`crate::proto::links`] to say.

use super::hear::{self, Heard};
use super::{Channel, prepare};
use crate::error::{reason, told};
use crate::proto::handshake::Hearing;
use crate::proto::hello::{Hello, HelloError, Refusal, Reply, Welcome};
use crate::proto::links::DialError;
use crate::sys::interface::bind_to;
use crate::sys::pipe::{Interest, wait};
use crate::sys::socket::set_congestion;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// What came of an attempt.
pub enum Dialled {
    /// The receiver wants this connection.
    Welcomed(Box<Welcomed>),
    /// It does not, and says why.
    Refused(Refusal),
    /// There is no connection.
    Failed(DialError),
}

/// A connection and what the receiver said on it.
pub struct Welcomed {
    /// The connection.
    pub channel: Channel,
    /// What the receiver said.
    pub welcome: Welcome,
    /// From the hello's leaving to the welcome's coming.
    pub round_trip: Duration,
    /// Bytes that followed the welcome.
    pub early: Vec<u8>,
}

/// How a link's sockets are made.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The local address or interface that they are bound to.
    pub via: Option<String>,
    /// The kernel's congestion control, where the user chose one.
    pub congestion: Option<String>,
    /// The largest segments in both directions, in bytes; None for what the path says it can.
    pub segment: Option<u16>,
}

/// One attempt at one address, answered by a welcome or a refusal until `deadline`.
///
/// # Errors
/// Why there is no answer.
pub fn dial(
    address: SocketAddr,
    options: &Options,
    hello: &Hello,
    deadline: Instant,
) -> Result<Dialled, DialError> {
    connect(address, options, deadline).and_then(|stream| {
        greet(stream, hello, deadline).map_err(|error| match error {
            DialError::TimedOut => DialError::NoWelcome,
            error => error,
        })
    })
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

/// Says hello and waits for the answer.
fn greet(mut stream: TcpStream, hello: &Hello, deadline: Instant) -> Result<Dialled, DialError> {
    say(&mut stream, &hello.encode(), deadline)?;
    let now = Instant::now();
    let mut hearing = Hearing::new(now, deadline.saturating_duration_since(now));
    loop {
        match hearing.reply().map_err(stranger)? {
            Some(Reply::Welcome(welcome)) => {
                let round_trip = hearing.taken(Instant::now());
                let (channel, early) = (Channel::new(stream), hearing.rest());
                let welcomed = Welcomed { channel, welcome, round_trip, early };
                return Ok(Dialled::Welcomed(Box::new(welcomed)));
            }
            Some(Reply::Refusal(refusal)) => return Ok(Dialled::Refused(refusal)),
            None => {}
        }
        match hear::read(&mut stream, &mut hearing).map_err(|e| failure(&e))? {
            Heard::Bytes => {}
            Heard::Nothing => await_socket(&[Interest::read(&stream)], hearing.until())?,
            Heard::End => return Err(DialError::Closed),
        }
    }
}

fn say(stream: &mut TcpStream, mut unsent: &[u8], deadline: Instant) -> Result<(), DialError> {
    while !unsent.is_empty() {
        match stream.write(unsent) {
            Ok(n) => unsent = &unsent[n..],
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                await_socket(&[Interest::write(&*stream)], deadline)?
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            // the answer may be there all the same
            Err(_) => return Ok(()),
        }
    }
    Ok(())
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
pub fn check_congestion(name: &str) -> Result<(), String> {
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
