//! A connection's bytes on the wire, and how a connection is got.
//!
//! A [`Channel`] is one connection over a [`Transport`]. Its two directions are used by different threads at the same
//! time. It knows neither frames nor sessions, and never waits. [`connect`] gets one for the side that dials, hello and
//! answer included; [`hear`] reads the messages of the handshake.

pub(crate) mod connect;
pub(crate) mod hear;
mod tls;
mod transport;

pub use tls::Shaking;
pub(crate) use tls::TlsError;
pub use transport::Transport;

use crate::error::reason;
use crate::proto::peer_key::PeerKey;
use crate::sync::Unpoisoned;
use crate::sys::kept::KeptPipe;
use crate::sys::socket::{self, TcpInfo};
use crate::trust::{PublicKey, Trust};
use mio::{Registry, Token};
use socket2::SockRef;
use std::fmt;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard};
use tls::Tls;

/// What the kernel may hold unsent at least before a connection counts as full, in bytes, and what it may at first: about
/// a first leg. Sixteen connections on a link of 2 Mbit/s that held 256 KiB each would queue for 16 s.
pub(crate) const UNSENT_LEAST: u32 = 16 << 10;

/// One connection's bytes.
pub struct Channel {
    transport: Transport,
    /// Of a connection that is encrypted. Held while a turn's worth of bytes is sealed or opened.
    tls: Option<Box<Mutex<Tls>>>,
    /// Whose it is, if that need not be proved: somebody who is trusted has said so.
    vouched: Option<PublicKey>,
}

/// Options every connection gets, on both sides.
///
/// # Errors
/// The kernel's; a connection without them would break promises about latency.
pub fn prepare(stream: &impl AsFd) -> io::Result<()> {
    SockRef::from(stream).set_tcp_nodelay(true)?;
    // not on every system; without it only the choice of links suffers
    let _ = socket::set_notsent_lowat(stream, UNSENT_LEAST);
    Ok(())
}

impl Channel {
    /// A connection whose bytes cross as they are.
    pub(crate) fn plain(transport: Transport) -> Self {
        Channel { transport, tls: None, vouched: None }
    }

    /// The same connection, known to be this peer's: what its bytes cross keeps them safe, and has proved whose it is.
    #[must_use]
    pub(crate) fn vouched(self, key: PublicKey) -> Self {
        Channel { vouched: Some(key), ..self }
    }

    /// A connection that is encrypted, at the end that dialled.
    ///
    /// # Errors
    /// The library's: its settings do not fit each other.
    pub fn dialled(transport: Transport, trust: &Trust) -> io::Result<Self> {
        let tls = Tls::client(trust.dial().map_err(io::Error::other)?);
        Ok(Channel { tls: Some(Box::new(Mutex::new(tls))), ..Self::plain(transport) })
    }

    /// The same connection, encrypted from its first byte on, at the end that listens. Its handshake goes on while it is
    /// read.
    ///
    /// # Errors
    /// The library's: its settings do not fit each other.
    pub(crate) fn accepted(self, trust: &Trust) -> io::Result<Self> {
        let tls = Tls::server(trust.accept().map_err(io::Error::other)?);
        Ok(Channel { tls: Some(Box::new(Mutex::new(tls))), ..self })
    }

    /// Whether it is encrypted.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// Reads to nowhere what nobody wants any more, without a look at it; 0 at the peer's end.
    ///
    /// # Errors
    /// The kernel's; that there is nothing more for now.
    pub(crate) fn discard(&self, space: &mut [u8]) -> io::Result<usize> {
        (&self.transport).read(space)
    }

    /// Whether a read that brings less than there is space for has brought all that the kernel had.
    pub(crate) fn is_read_whole(&self) -> bool {
        self.tls.is_none() && !self.transport.is_borrowed()
    }

    fn tls(&self) -> Option<MutexGuard<'_, Tls>> {
        self.tls.as_ref().map(|tls| tls.lock().unpoisoned())
    }

    /// Goes on with the handshake, as far as it goes without waiting.
    ///
    /// # Errors
    /// The kernel's, or a [`TlsError`].
    pub fn shake(&self) -> io::Result<Shaking> {
        self.tls().map_or(Ok(Shaking::Done), |mut tls| tls.shake(&self.transport))
    }

    /// The peer's key, which it has proved, or which is known; None where nothing is encrypted, and while the handshake is
    /// going on.
    pub fn key(&self) -> Option<PublicKey> {
        self.tls().map_or(self.vouched, |tls| tls.peer())
    }

    /// Whether bytes cross as they are, so that [`Channel::send_file`] and [`Channel::send_kept`] can send them.
    pub(crate) fn sends_files(&self) -> bool {
        self.tls.is_none() && self.transport.sends_files()
    }

    /// Sends up to `len` bytes of a file from `at` on, as many as the socket takes now, without reading them; 0 at the end
    /// of the file.
    ///
    /// # Errors
    /// The kernel's, for the socket or the file; `Unsupported` where files cannot be sent so.
    pub(crate) fn send_file(&self, file: &File, at: u64, len: usize) -> io::Result<usize> {
        match self.tls {
            Some(_) => Err(io::ErrorKind::Unsupported.into()),
            None => self.transport.send_file(file, at, len),
        }
    }

    /// Moves what a pipe holds, as much as the socket takes now.
    ///
    /// # Errors
    /// The kernel's; `Unsupported` where bytes do not cross as they are.
    pub(crate) fn send_kept(&self, pipe: &mut KeptPipe) -> io::Result<usize> {
        match self.tls {
            Some(_) => Err(io::ErrorKind::Unsupported.into()),
            None => self.transport.send_kept(pipe),
        }
    }

    /// Writes what more follows at once, so that it need not go alone.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn write_with_more(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.tls {
            Some(_) => (&mut &*self).write_vectored(slices),
            None => self.transport.write_with_more(slices),
        }
    }

    /// Has the kernel send at once what it holds back for what follows.
    pub(crate) fn push(&self) {
        self.transport.push();
    }

    /// What the peer has sent, as far as there is space for it; it goes on waiting. 0 at its end.
    ///
    /// # Errors
    /// The kernel's; that there is none yet.
    pub(crate) fn peek(&self, space: &mut [u8]) -> io::Result<usize> {
        self.transport.peek(space)
    }

    /// Whether this is another program's connection, which cannot be had again and whose life is that program's care.
    pub(crate) fn is_borrowed(&self) -> bool {
        self.transport.is_borrowed()
    }

    /// Puts it under a poll, edge-triggered, for both directions. To be left to that poll until it is closed, or
    /// taken out of it.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        self.transport.register(registry, token)
    }

    /// Takes it out of that poll.
    pub(crate) fn deregister(&self, registry: &Registry) {
        self.transport.deregister(registry);
    }

    /// What becomes readable when the peer speaks.
    pub(crate) fn readable(&self) -> BorrowedFd<'_> {
        self.transport.readable()
    }

    /// What becomes writable when the path takes more.
    pub(crate) fn writable(&self) -> BorrowedFd<'_> {
        self.transport.writable()
    }

    /// Whether the path takes more now: fewer bytes wait unsent in the kernel than it may hold. If not, the poll says
    /// when it does: to ask is what makes the kernel report that.
    pub(crate) fn drains(&self) -> bool {
        self.transport.drains()
    }

    /// Lets the kernel hold so many bytes unsent, no fewer than [`UNSENT_LEAST`].
    pub(crate) fn hold_unsent(&self, bytes: u32) {
        self.transport.hold_unsent(bytes);
    }

    /// Nothing more will be written.
    pub(crate) fn finish_writing(&self) {
        if let Some(mut tls) = self.tls() {
            tls.close(&self.transport);
        }
        self.transport.finish_writing();
    }

    /// When it is dropped it is reset: the peer's kernel is told at once, and nothing lingers here.
    pub(crate) fn give_up(&self) {
        self.transport.give_up();
    }

    /// Uses this congestion control of the kernel for what goes out.
    ///
    /// # Errors
    /// The kernel does not have it, or not for this user.
    pub(crate) fn choose_congestion(&self, name: &str) -> io::Result<()> {
        self.transport.choose_congestion(name)
    }

    /// What the kernel knows about it.
    pub(crate) fn info(&self) -> Option<TcpInfo> {
        self.transport.info()
    }

    /// The kernel's congestion control for it; empty where that is unknown.
    pub(crate) fn congestion(&self) -> String {
        self.transport.congestion()
    }

    /// Where it leads.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        self.transport.peer()
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encrypted = self.tls.is_some();
        f.debug_struct("Channel").field("transport", &self.transport).field("encrypted", &encrypted).finish()
    }
}

impl Read for &Channel {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        match self.tls() {
            Some(mut tls) => tls.read(&self.transport, &mut [IoSliceMut::new(space)]),
            None => (&self.transport).read(space),
        }
    }

    fn read_vectored(&mut self, spaces: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        match self.tls() {
            Some(mut tls) => tls.read(&self.transport, spaces),
            None => (&self.transport).read_vectored(spaces),
        }
    }
}

/// What is written may wait in the channel until it is flushed. Flushed is what has left for the kernel: if not all can
/// leave, that is [`io::ErrorKind::WouldBlock`], and the poll says when to try again.
impl Write for &Channel {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.tls() {
            Some(mut tls) => tls.write(&self.transport, slices),
            None => (&self.transport).write_vectored(slices),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.tls() {
            Some(mut tls) => tls.push(&self.transport),
            None => (&self.transport).flush(),
        }
    }
}

/// Why a connection is gone, as the kernel says.
pub(crate) fn failure(error: &io::Error) -> crate::proto::links::LossReason {
    crate::proto::links::LossReason::Failed(reason(error))
}

/// The peer's key, as the core knows it.
pub(crate) fn peer_key(channel: &Channel) -> Option<PeerKey> {
    channel.key().map(|key| PeerKey(*key.bytes()))
}

/// What was wrong with a connection's encryption, if that was the failure.
pub(crate) fn tls_error(error: &io::Error) -> Option<&TlsError> {
    error.get_ref()?.downcast_ref()
}
