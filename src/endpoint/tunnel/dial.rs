//! Getting a connection for the tunnel: the name is resolved by a thread, addresses are tried in turn.
//!
//! All connections of a tunnel go to the same name, so one thread that resolves is enough: when it has to wait,
//! they all have to, and one answer is for all that wait.

use super::open::INTEREST;
use super::origin::{Origin, Target};
use crate::sys::pipe::unread;
use crate::sys::thread::spawn;
use crossbeam_channel::Sender;
use mio::net::TcpStream;
use mio::{Registry, Token};
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long one address may take to answer.
pub(super) const TIME: Duration = Duration::from_secs(10);

/// Resolves one name, as often as it is asked; once at a time.
pub(crate) struct Resolver {
    target: Target,
    requests: Sender<()>,
}

impl Resolver {
    /// Starts the thread; `answer` hears of every result.
    ///
    /// # Errors
    /// The kernel has no threads left.
    pub(crate) fn start(
        target: Target,
        answer: impl Fn(Result<Vec<SocketAddr>, String>) + Send + 'static,
    ) -> io::Result<Self> {
        let (requests, asked) = crossbeam_channel::bounded(1);
        let ask = target.ask.clone();
        spawn("resolver", move || asked.iter().for_each(|()| answer(ask())))?;
        Ok(Resolver { target, requests })
    }

    /// Resolves the name.
    pub(crate) fn resolve(&self) {
        // fails only when it is asked already
        let _ = self.requests.try_send(());
    }

    /// What it resolves, to be begun anew.
    pub(crate) fn into_origin(self) -> Origin {
        Origin::Initiate(self.target)
    }
}

/// Whether a connection to an address of this host came to itself: where nobody listens, and the kernel chose that very port
/// for this end.
pub(super) fn is_its_own(local: io::Result<SocketAddr>, peer: io::Result<SocketAddr>) -> bool {
    matches!((local, peer), (Ok(local), Ok(peer)) if local == peer)
}

/// The addresses that have not been tried, and the one that is.
pub(crate) struct Attempt {
    addresses: VecDeque<SocketAddr>,
    stream: Option<TcpStream>,
    /// The address under way is given up then.
    pub(crate) until: Instant,
}

impl Attempt {
    /// None is under way.
    pub(crate) fn new(addresses: Vec<SocketAddr>) -> Self {
        Attempt { addresses: addresses.into(), stream: None, until: Instant::now() }
    }

    /// Tries the next address; `None` if there is none.
    pub(crate) fn next(&mut self, now: Instant, registry: &Registry, token: Token) -> Option<io::Result<()>> {
        self.until = now + TIME;
        let address = self.addresses.pop_front()?;
        Some(TcpStream::connect(address).and_then(|mut stream| {
            registry.register(&mut stream, token, INTEREST)?;
            self.stream = Some(stream);
            Ok(())
        }))
    }

    /// After an event: the connection, or why it failed; `None` if neither is known.
    pub(crate) fn outcome(&mut self) -> Option<io::Result<TcpStream>> {
        let stream = self.stream.as_ref()?;
        if is_its_own(stream.local_addr(), stream.peer_addr()) {
            return Some(Err(ErrorKind::ConnectionRefused.into()));
        }
        // it was there, even if it broke since: what it has brought is to be read first
        if unread(stream).is_ok_and(|bytes| bytes > 0) {
            return self.stream.take().map(Ok);
        }
        match stream.take_error().and_then(|error| error.map_or(Ok(()), Err)) {
            Err(e) => return Some(Err(e)),
            Ok(()) => match stream.peer_addr() {
                Err(e) if e.kind() == ErrorKind::NotConnected => return None,
                Err(e) => return Some(Err(e)),
                Ok(_) => {}
            },
        }
        self.stream.take().map(Ok)
    }
}
