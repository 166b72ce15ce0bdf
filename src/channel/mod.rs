//! A connection's bytes on the wire, and how a connection is got.
//!
//! A [`Channel`] is one TCP connection, connected, non-blocking and prepared. Its two directions are used by different
//! threads at the same time. It knows neither frames nor sessions, and never waits. [`connect`] gets one for the side
//! that dials, hello and answer included; [`hear`] reads the messages of the handshake.

pub mod connect;
pub mod hear;

use crate::error::reason;
use crate::sys::socket::{self, TcpInfo};
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::SockRef;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, AsRawFd};

/// Bounds of what the kernel may hold unsent before a connection counts as full, in bytes. The least is about a first
/// leg: sixteen connections on a link of 2 Mbit/s that held 256 KiB each would queue for 16 s.
pub const UNSENT: RangeInclusive<u32> = 16 << 10..=256 << 10;

/// One connection's bytes.
#[derive(Debug)]
pub struct Channel {
    stream: TcpStream,
}

/// Options every connection gets, on both sides.
///
/// # Errors
/// The kernel's; a connection without them would break promises about latency.
pub fn prepare(stream: &impl AsFd) -> io::Result<()> {
    SockRef::from(stream).set_tcp_nodelay(true)?;
    // not on every system; without it only the choice of links suffers
    let _ = socket::set_notsent_lowat(stream, *UNSENT.start());
    Ok(())
}

impl Channel {
    /// A stream that is connected, non-blocking and [prepared](prepare).
    pub fn new(stream: TcpStream) -> Self {
        Channel { stream }
    }

    /// Puts it under a poll, edge-triggered, for both directions. To be left to that poll until it is closed.
    ///
    /// # Errors
    /// The kernel's.
    pub fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut SourceFd(&self.stream.as_raw_fd()), token, both)
    }

    /// Takes it out of that poll.
    pub fn deregister(&self, registry: &Registry) {
        // fails only where it was not registered
        let _ = registry.deregister(&mut SourceFd(&self.stream.as_raw_fd()));
    }

    /// Whether the path takes more now: fewer bytes wait unsent in the kernel than it may hold. If not, the poll says
    /// when it does: to ask is what makes the kernel report that.
    pub fn drains(&self) -> bool {
        let mut ask = [PollFd::new(&self.stream, PollFlags::OUT)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(poll(&mut ask, Some(&now)), Ok(n) if n > 0)
    }

    /// Lets the kernel hold so many bytes unsent, as [`UNSENT`] bounds them.
    pub fn hold_unsent(&self, bytes: u32) {
        // without it only the choice of links suffers
        let _ = socket::set_notsent_lowat(&self.stream, bytes);
    }

    /// Nothing more will be written.
    pub fn finish_writing(&self) {
        // if it fails the connection is gone, which reading will show
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// When it is dropped it is reset: the peer's kernel is told at once, and nothing lingers here.
    pub fn give_up(&self) {
        // if it fails the kernel tries to deliver what nobody wants any more: harmless
        let _ = socket::reset_on_close(&self.stream);
    }

    /// What the kernel knows about it.
    pub fn info(&self) -> Option<TcpInfo> {
        socket::tcp_info(&self.stream).ok()
    }

    /// The kernel's congestion control for it; empty where that is unknown.
    pub fn congestion(&self) -> String {
        socket::congestion(&self.stream).unwrap_or_default()
    }

    /// Where it leads.
    pub fn peer(&self) -> Option<SocketAddr> {
        let address = self.stream.peer_addr().ok()?;
        Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }
}

impl Read for &Channel {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        (&self.stream).read(space)
    }

    fn read_vectored(&mut self, spaces: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&self.stream).read_vectored(spaces)
    }
}

impl Write for &Channel {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&self.stream).write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        (&self.stream).write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Why a connection is gone, as the kernel says.
pub fn failure(error: &io::Error) -> crate::proto::links::LossReason {
    crate::proto::links::LossReason::Failed(reason(error))
}
