//! What carries a connection's bytes: one TCP connection.
//!
//! Whether it is encrypted is not known here: that is for [`super::Channel`]. Nothing here waits.

use crate::sys::socket::{self, TcpInfo};
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// Connected and non-blocking.
#[derive(Debug)]
pub struct Transport {
    stream: TcpStream,
}

impl Transport {
    /// A TCP connection that is connected, non-blocking and [prepared](super::prepare).
    pub fn tcp(stream: TcpStream) -> Self {
        Transport { stream }
    }

    /// Puts it under a poll, edge-triggered, for both directions.
    pub(super) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut SourceFd(&self.stream.as_raw_fd()), token, both)
    }

    /// Takes it out of that poll.
    pub(super) fn deregister(&self, registry: &Registry) {
        // fails only where it was not registered
        let _ = registry.deregister(&mut SourceFd(&self.stream.as_raw_fd()));
    }

    /// What becomes readable when the peer speaks.
    pub(super) fn readable(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// What becomes writable when the path takes more.
    pub(super) fn writable(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Whether the path takes more now.
    pub(super) fn drains(&self) -> bool {
        let mut ask = [PollFd::from_borrowed_fd(self.writable(), PollFlags::OUT)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(poll(&mut ask, Some(&now)), Ok(n) if n > 0)
    }

    /// Lets the kernel hold so many bytes unsent.
    pub(super) fn hold_unsent(&self, bytes: u32) {
        // without it only the choice of links suffers
        let _ = socket::set_notsent_lowat(&self.stream, bytes);
    }

    /// The first byte that waits to be read, which goes on waiting; None at the end.
    pub(super) fn peek(&self) -> io::Result<Option<u8>> {
        let mut first = [0];
        Ok((self.stream.peek(&mut first)? > 0).then_some(first[0]))
    }

    /// Nothing more will be written.
    pub(super) fn finish_writing(&self) {
        // if it fails the connection is gone, which reading will show
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// When it is dropped it is reset.
    pub(super) fn give_up(&self) {
        // if it fails the kernel tries to deliver what nobody wants any more: harmless
        let _ = socket::reset_on_close(&self.stream);
    }

    /// Uses this congestion control of the kernel for what goes out.
    pub(super) fn choose_congestion(&self, name: &str) -> io::Result<()> {
        socket::set_congestion(&self.stream, name)
    }

    /// What the kernel knows about it.
    pub(super) fn info(&self) -> Option<TcpInfo> {
        socket::tcp_info(&self.stream).ok()
    }

    /// The kernel's congestion control for it; empty where that is unknown.
    pub(super) fn congestion(&self) -> String {
        socket::congestion(&self.stream).unwrap_or_default()
    }

    /// Where it leads.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        let address = self.stream.peer_addr().ok()?;
        Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }
}

impl Read for &Transport {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        (&self.stream).read(space)
    }

    fn read_vectored(&mut self, spaces: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&self.stream).read_vectored(spaces)
    }
}

impl Write for &Transport {
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
