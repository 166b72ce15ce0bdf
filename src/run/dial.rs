//! Getting a connection on a link: resolve, connect, say hello, hear the answer.
//!
//! Blocks the worker's own thread, for no longer than it is told; nothing else depends on that thread while
//! it has no connection. Never retries: when and where to try again is [`crate::proto::links`]' decision.

use crate::plan::LinkPlan;
use crate::proto::hello::{Hello, HelloError, Refusal, Reply, Welcome};
use crate::proto::links::DialError;
use crate::run::conn::{prepare, reason};
use crate::run::resolve::resolve;
use crate::sys::interface::bind_to;
use crate::sys::pipe::{Interest, wait};
use crate::sys::socket::set_congestion;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Mutex, PoisonError};
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
    /// Connected, non-blocking, prepared.
    pub stream: TcpStream,
    /// What the receiver said.
    pub welcome: Welcome,
    /// From the hello's leaving to the welcome's coming.
    pub round_trip: Duration,
    /// Bytes that followed the welcome.
    pub early: Vec<u8>,
}

/// One link's far end, shared by the workers that dial it.
pub struct Target {
    plan: LinkPlan,
    /// The kernel's congestion control, where the user chose one.
    congestion: Option<String>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// As resolved last.
    addresses: Vec<SocketAddr>,
    /// The address that answered last.
    good: Option<SocketAddr>,
}

impl Target {
    /// Nothing is resolved yet.
    pub fn new(plan: LinkPlan, congestion: Option<String>) -> Self {
        Target { plan, congestion, known: Mutex::default() }
    }

    /// As the user typed it.
    pub fn name(&self) -> String {
        self.plan.to_string()
    }

    /// One attempt: each address of the name in turn, each for `timeout` at most. Workers begin with
    /// different addresses until one is known to answer.
    pub fn dial(&self, worker: usize, hello: &Hello, timeout: Duration) -> Dialled {
        let addresses = match self.addresses(worker) {
            Ok(addresses) => addresses,
            Err(error) => return Dialled::Failed(error),
        };
        let mut failed = DialError::Refused;
        for address in addresses {
            let deadline = Instant::now() + timeout;
            let answer = self.connect(address, deadline).and_then(|stream| greet(stream, hello, deadline));
            match answer {
                Ok(answer) => {
                    self.known.lock().unwrap_or_else(PoisonError::into_inner).good = Some(address);
                    return answer;
                }
                // of several reasons the last that is not a plain refusal says most
                Err(DialError::Refused) => {}
                Err(error) => failed = error,
            }
        }
        Dialled::Failed(failed)
    }

    fn connect(&self, address: SocketAddr, deadline: Instant) -> Result<TcpStream, DialError> {
        let unreachable = |error: io::Error| DialError::Unreachable(reason(&error));
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))
            .map_err(unreachable)?;
        if let Some(via) = &self.plan.via {
            let bound = bind_to(&socket, via, Domain::for_address(address));
            bound.map_err(|error| DialError::Unreachable(error.to_string()))?;
        }
        socket.set_nonblocking(true).map_err(unreachable)?;
        prepare(&socket).map_err(unreachable)?;
        if let Some(name) = &self.congestion {
            choose_congestion(&socket, name).map_err(DialError::Unreachable)?;
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

    /// The addresses to try, in order. A name that cannot be resolved any more keeps its last addresses.
    fn addresses(&self, worker: usize) -> Result<Vec<SocketAddr>, DialError> {
        let resolved = resolve(&self.plan.host, self.plan.port);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match resolved {
            Ok(addresses) => known.addresses = addresses,
            Err(error) if known.addresses.is_empty() => {
                let why = reason(&error);
                let why = why.strip_prefix("failed to lookup address information: ").unwrap_or(&why);
                return Err(DialError::Unresolved(format!("cannot resolve {}: {why}", self.plan.host)));
            }
            Err(_) => {}
        }
        let mut addresses = known.addresses.clone();
        if addresses.is_empty() {
            return Err(DialError::Unresolved(format!("{} has no address", self.plan.host)));
        }
        let first = known.good.and_then(|good| addresses.iter().position(|a| *a == good));
        let count = addresses.len();
        addresses.rotate_left(first.unwrap_or(worker % count));
        Ok(addresses)
    }
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

/// Says hello and waits for the answer.
fn greet(mut stream: TcpStream, hello: &Hello, deadline: Instant) -> Result<Dialled, DialError> {
    let mut unsent = &hello.encode()[..];
    while !unsent.is_empty() {
        match stream.write(unsent) {
            Ok(n) => unsent = &unsent[n..],
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                await_socket(&[Interest::write(&stream)], deadline)?
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            // the answer may be there all the same
            Err(_) => break,
        }
    }
    let said = Instant::now();
    let mut answer = Vec::new();
    loop {
        if let Some((reply, len)) = Reply::decode(&answer).map_err(stranger)? {
            let early = answer.split_off(len);
            let round_trip = said.elapsed();
            return Ok(match reply {
                Reply::Welcome(welcome) => {
                    Dialled::Welcomed(Box::new(Welcomed { stream, welcome, round_trip, early }))
                }
                Reply::Refusal(refusal) => Dialled::Refused(refusal),
            });
        }
        let mut chunk = [0; 1024];
        match stream.read(&mut chunk) {
            Ok(0) => return Err(DialError::Refused),
            Ok(n) => answer.extend_from_slice(&chunk[..n]),
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                await_socket(&[Interest::read(&stream)], deadline)?
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(failure(&e)),
        }
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
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
            DialError::Refused
        }
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
