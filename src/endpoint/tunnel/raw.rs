//! One local connection whose bytes are the stream, where the far side does not tunnel.

use super::dial::{TIME, is_its_own};
use super::local::EXHAUSTED;
use super::origin::Target;
use crate::endpoint::file::{FileSink, FileSource};
use crate::error::reason;
use crate::message;
use crate::sys::bell::Bell;
use crate::sys::pipe::{Interest, wait};
use crate::sys::socket::{end_on_close, keep_alive, reset_on_close, urgent_in_place};
use crate::sys::thread::spawn;
use std::fs::File;
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// The connection, once it is there.
pub(crate) struct Raw {
    /// Both ends of the stream use it.
    pub(crate) stream: Option<TcpStream>,
    /// Why it could not be opened.
    pub(crate) failed: Option<String>,
    /// It was tried a second time, when there was something to write.
    pub(crate) tried_again: bool,
    /// Rung when nobody wants it any more.
    pub(crate) stop: Bell,
    /// Rung when the far end is known to be no stranger.
    pub(crate) trusted: Bell,
}

/// Tells the user that a local connection is not accepted.
pub(super) fn tell_not_accepted(why: &str) {
    let line = || format!("cannot accept a connection: {why}");
    message::peer(0, "connections that the tunnel cannot accept", line);
}

/// For so long a far end that has sent nothing may be a stranger that is forgotten soon; a session forgets one whose
/// connections are gone a second earlier.
pub(super) const CAUTION: Duration = Duration::from_secs(6);

impl Raw {
    /// There is none yet.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Raw { stream: None, failed: None, tried_again: false, stop: Bell::new()?, trusted: Bell::new()? })
    }

    /// It is there. If it gets the stream (`receives`), its peer sees a reset, not an end, should this process be killed
    /// before all was written: an end would say that all has come.
    pub(crate) fn begin(&mut self, stream: TcpStream, receives: bool) {
        if receives {
            // if it fails the peer sees an end in place of a break
            let _ = reset_on_close(&stream);
        }
        self.stream = Some(stream);
    }

    /// Nobody wants it any more: it breaks, and whoever waits for it or reads from it stops.
    pub(crate) fn give_up(self) {
        self.stop.ring();
        if let Some(stream) = self.stream {
            // if it fails the connection is gone
            let _ = reset_on_close(&stream);
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// The end that the stream comes from.
    pub(crate) fn source(&self) -> io::Result<Option<FileSource>> {
        let Some(stream) = &self.stream else { return Ok(None) };
        let file = File::from(OwnedFd::from(stream.try_clone()?));
        Ok(Some(FileSource::new(file, "the tunnelled connection")))
    }

    /// The end that the stream goes to.
    pub(crate) fn sink(&self) -> io::Result<Option<RawSink>> {
        let Some(stream) = &self.stream else { return Ok(None) };
        let file = File::from(OwnedFd::from(stream.try_clone()?));
        Ok(Some(RawSink {
            file: FileSink::new(file, "the tunnelled connection"),
            stream: stream.try_clone()?,
        }))
    }
}

/// A file that is shut for writing at the end, because the other direction may still use it.
pub(crate) struct RawSink {
    /// What is written to.
    pub(crate) file: FileSink,
    stream: TcpStream,
}

impl RawSink {
    /// Nothing more will be written.
    pub(crate) fn shut(&self) {
        // if one of them fails the connection is gone, which draining will show
        let _ = end_on_close(&self.stream);
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}

/// Accepts the one connection, in a thread of its own; nothing is heard of it once `stop` has rung. Where the far end
/// may be a stranger, a local client that comes early waits in the kernel for a while, or until `trusted` rings: it is
/// there for the far end that it is meant for.
///
/// # Errors
/// The kernel has no threads left.
pub(super) fn accept(
    listener: TcpListener,
    raw: &Raw,
    caution: Duration,
    accepted: impl FnOnce(Result<TcpStream, String>) + Send + 'static,
) -> io::Result<()> {
    let (stop, trusted) = (raw.stop.clone(), raw.trusted.clone());
    let one = move || {
        wait(&[Interest::read(&trusted), Interest::read(&stop)], Some(caution))?;
        accept_one(&listener, &stop)
    };
    spawn("tunnel", move || match one() {
        Ok(None) => {}
        Ok(Some(stream)) => accepted(Ok(stream)),
        Err(e) => accepted(Err(format!("cannot accept a connection: {}", reason(&e)))),
    })
}

fn accept_one(listener: &TcpListener, stop: &Bell) -> io::Result<Option<TcpStream>> {
    loop {
        let [_, stopped] = wait(&[Interest::read(listener), Interest::read(stop)], None)?;
        if stopped.any() {
            return Ok(None);
        }
        match listener.accept() {
            Ok((stream, _)) => return prepared(stream).map(Some),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) if matches!(e.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted) => {}
            // no descriptor is left, or the kernel tells of the network: others will come
            Err(e) => {
                tell_not_accepted(&reason(&e));
                if wait(&[Interest::read(stop)], Some(EXHAUSTED))?[0].any() {
                    return Ok(None);
                }
            }
        }
    }
}

/// Opens the one connection, in a thread of its own.
///
/// # Errors
/// The kernel has no threads left.
pub(super) fn connect(
    target: Target,
    connected: impl FnOnce(Result<TcpStream, String>) + Send + 'static,
) -> io::Result<()> {
    spawn("tunnel", move || {
        let Target { host, port, .. } = &target;
        connected(open(&target).map_err(|why| format!("cannot connect to {host} port {port}: {why}")));
    })
}

fn open(target: &Target) -> Result<TcpStream, String> {
    let mut why = "it has no address".to_owned();
    for address in (target.ask)()? {
        match TcpStream::connect_timeout(&address, TIME).and_then(prepared) {
            Ok(stream) if is_its_own(stream.local_addr(), stream.peer_addr()) => {
                why = reason(&io::ErrorKind::ConnectionRefused.into());
            }
            Ok(stream) => return Ok(stream),
            Err(e) => why = reason(&e),
        }
    }
    Err(why)
}

fn prepared(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    // without it a peer whose host has vanished is waited for without end
    let _ = keep_alive(&stream);
    // without it the urgent byte is lost
    let _ = urgent_in_place(&stream);
    Ok(stream)
}
