//! What carries a connection's bytes: one TCP connection, or two pipes that lead to some other program's connection.
//!
//! Whether it is encrypted is not known here: that is for [`super::Channel`]. Nothing here waits.

use crate::sys::kept::KeptPipe;
use crate::sys::pipe::lead_nowhere;
use crate::sys::sendfile;
use crate::sys::socket::{self, TcpInfo};
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Connected and non-blocking.
#[derive(Debug)]
pub struct Transport(Kind);

#[derive(Debug)]
enum Kind {
    Tcp(TcpStream),
    /// What comes is read from the one, what goes is written to the other. The kernel knows of no path behind them.
    Pipes {
        from: File,
        to: File,
    },
}

impl Transport {
    /// A TCP connection that is connected, non-blocking and [prepared](super::prepare).
    pub fn tcp(stream: TcpStream) -> Self {
        Transport(Kind::Tcp(stream))
    }

    /// Two pipes, or sockets: what comes, and what goes. Nobody else here may have the second one open, or the peer
    /// never sees its end.
    ///
    /// # Errors
    /// The kernel does not make them non-blocking.
    pub(crate) fn pipes(from: OwnedFd, to: OwnedFd) -> io::Result<Self> {
        for pipe in [&from, &to] {
            fcntl_setfl(pipe, fcntl_getfl(pipe)? | OFlags::NONBLOCK)?;
        }
        Ok(Transport(Kind::Pipes { from: from.into(), to: to.into() }))
    }

    /// Whether this is another program's connection, which cannot be had again and whose life is that program's care.
    pub(super) fn is_borrowed(&self) -> bool {
        matches!(self.0, Kind::Pipes { .. })
    }

    /// Puts it under a poll, edge-triggered, for both directions.
    pub(super) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        match &self.0 {
            Kind::Tcp(stream) => {
                let both = Interest::READABLE | Interest::WRITABLE;
                registry.register(&mut SourceFd(&stream.as_raw_fd()), token, both)
            }
            Kind::Pipes { from, to } => {
                registry.register(&mut SourceFd(&from.as_raw_fd()), token, Interest::READABLE)?;
                registry.register(&mut SourceFd(&to.as_raw_fd()), token, Interest::WRITABLE)
            }
        }
    }

    /// Takes it out of that poll.
    pub(super) fn deregister(&self, registry: &Registry) {
        // fails only where it was not registered
        let _ = registry.deregister(&mut SourceFd(&self.readable().as_raw_fd()));
        if self.is_borrowed() {
            let _ = registry.deregister(&mut SourceFd(&self.writable().as_raw_fd()));
        }
    }

    /// What becomes readable when the peer speaks.
    pub(super) fn readable(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Kind::Tcp(stream) => stream.as_fd(),
            Kind::Pipes { from, .. } => from.as_fd(),
        }
    }

    /// What becomes writable when the path takes more.
    pub(super) fn writable(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Kind::Tcp(stream) => stream.as_fd(),
            Kind::Pipes { to, .. } => to.as_fd(),
        }
    }

    /// Whether the path takes more now.
    pub(super) fn drains(&self) -> bool {
        let mut ask = [PollFd::from_borrowed_fd(self.writable(), PollFlags::OUT)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(poll(&mut ask, Some(&now)), Ok(n) if n > 0)
    }

    fn as_tcp(&self) -> Option<&TcpStream> {
        match &self.0 {
            Kind::Tcp(stream) => Some(stream),
            Kind::Pipes { .. } => None,
        }
    }

    /// Whether [`Transport::send_file`] has a chance.
    pub(super) fn sends_files(&self) -> bool {
        self.as_tcp().is_some()
    }

    /// Sends up to `len` bytes of a file from `at` on, without reading them; 0 at the end of the file.
    pub(super) fn send_file(&self, file: &File, at: u64, len: usize) -> io::Result<usize> {
        sendfile::sendfile(self.as_tcp().ok_or(ErrorKind::Unsupported)?, file, at, len)
    }

    /// Moves what a pipe holds, as much as is taken now.
    pub(super) fn send_kept(&self, pipe: &mut KeptPipe) -> io::Result<usize> {
        pipe.move_to(self.as_tcp().ok_or(ErrorKind::Unsupported)?)
    }

    /// Writes what more follows at once.
    pub(super) fn write_with_more(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.as_tcp() {
            Some(stream) => sendfile::write_with_more(stream, slices),
            None => (&mut &*self).write_vectored(slices),
        }
    }

    /// Has the kernel send at once what it holds back for what follows: Linux does when it is told once more that small
    /// segments may go.
    pub(super) fn push(&self) {
        // without it they go a little later
        let _ = self.as_tcp().map(|stream| stream.set_nodelay(true));
    }

    /// Lets the kernel hold so many bytes unsent.
    pub(super) fn hold_unsent(&self, bytes: u32) {
        // without it only the choice of links suffers
        let _ = self.as_tcp().map(|stream| socket::set_notsent_lowat(stream, bytes));
    }

    /// What waits to be read, as far as there is space for it; it goes on waiting. 0 at the end.
    pub(super) fn peek(&self, space: &mut [u8]) -> io::Result<usize> {
        self.as_tcp().ok_or(ErrorKind::Unsupported)?.peek(space)
    }

    /// Nothing more will be written.
    pub(super) fn finish_writing(&self) {
        // if it fails the connection is gone, which reading will show
        let _ = match &self.0 {
            Kind::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Kind::Pipes { to, .. } => lead_nowhere(to),
        };
    }

    /// When it is dropped it is reset. Pipes are just closed.
    pub(super) fn give_up(&self) {
        // if it fails the kernel tries to deliver what nobody wants any more: harmless
        let _ = self.as_tcp().map(socket::reset_on_close);
    }

    /// Uses this congestion control of the kernel for what goes out.
    pub(super) fn choose_congestion(&self, name: &str) -> io::Result<()> {
        self.as_tcp().map_or(Ok(()), |stream| socket::set_congestion(stream, name))
    }

    /// What the kernel knows about it.
    pub(super) fn info(&self) -> Option<TcpInfo> {
        socket::tcp_info(self.as_tcp()?).ok()
    }

    /// The kernel's congestion control for it; empty where that is unknown.
    pub(super) fn congestion(&self) -> String {
        self.as_tcp().and_then(|stream| socket::congestion(stream).ok()).unwrap_or_default()
    }

    /// Where it leads.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        let address = self.as_tcp()?.peer_addr().ok()?;
        Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }
}

impl Read for &Transport {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        match &self.0 {
            Kind::Tcp(stream) => (&mut &*stream).read(space),
            Kind::Pipes { from, .. } => (&mut &*from).read(space),
        }
    }

    fn read_vectored(&mut self, spaces: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        match &self.0 {
            Kind::Tcp(stream) => (&mut &*stream).read_vectored(spaces),
            Kind::Pipes { from, .. } => (&mut &*from).read_vectored(spaces),
        }
    }
}

impl Write for &Transport {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &self.0 {
            Kind::Tcp(stream) => (&mut &*stream).write(bytes),
            Kind::Pipes { to, .. } => (&mut &*to).write(bytes),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match &self.0 {
            Kind::Tcp(stream) => (&mut &*stream).write_vectored(slices),
            Kind::Pipes { to, .. } => (&mut &*to).write_vectored(slices),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::pipe;
    use mio::{Events, Poll};
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    /// What passes both ways between pipes of these kinds, and that each end sees the other's.
    fn passes(near: Transport, far: Transport) {
        let mut poll = Poll::new().unwrap();
        near.register(poll.registry(), Token(0)).unwrap();
        let mut events = Events::with_capacity(8);
        assert!(near.drains() && near.is_borrowed());
        assert_eq!((&near).read(&mut [0; 9]).unwrap_err().kind(), ErrorKind::WouldBlock);
        (&far).write_all(b"there").unwrap();
        poll.poll(&mut events, Some(Duration::from_secs(10))).unwrap();
        let mut came = [0; 9];
        assert_eq!((&near).read(&mut came).unwrap(), 5);
        while (&near).write(&[7; 65536]).is_ok() {}
        assert!(!near.drains());
        near.finish_writing();
        let mut read = 0;
        loop {
            match (&far).read(&mut [0; 65536]).unwrap() {
                0 => break,
                n => read += n,
            }
        }
        assert!(read > 0);
        drop(far);
        // a process that another test forks may have it for a moment
        pipe::wait(&[pipe::Interest::end(&near.readable())], None).unwrap();
        near.deregister(poll.registry());
        assert_eq!((&near).read(&mut came).unwrap(), 0);
        assert!(near.info().is_none() && near.peer().is_none() && near.congestion().is_empty());
    }

    #[test]
    fn pipes_and_sockets_carry_both_ways_and_end_one_way_at_a_time() {
        let ((there, from_near), (here, from_far)) = (io::pipe().unwrap(), io::pipe().unwrap());
        let near = Transport::pipes(here.into(), from_near.into()).unwrap();
        passes(near, Transport::pipes(there.into(), from_far.into()).unwrap());
        let (near, far) = UnixStream::pair().unwrap();
        let both = |socket: UnixStream| {
            let other = socket.try_clone().unwrap();
            Transport::pipes(socket.into(), other.into()).unwrap()
        };
        passes(both(near), both(far));
    }
}
