//! One open local connection, edge-triggered: what is readable or writable is remembered until the socket said
//! otherwise. Never waits.
//!
//! One that broke is read to its end all the same: the kernel keeps what had come before the break, and gives it first.
//! The kernel tells of the break once, to whoever asks first, be it a write or a question for the error; a read after
//! that says that the data has ended. So nobody asks before reading has found it, and a write that heard it notes that.

use crate::sys::socket::{end_on_close, keep_alive, reset_on_close, urgent_in_place};
use mio::Interest;
use mio::net::TcpStream;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Instant;

/// What the poll is to tell of a connection.
#[cfg(target_os = "linux")]
pub(crate) const INTEREST: Interest = Interest::READABLE.add(Interest::WRITABLE).add(Interest::PRIORITY);
#[cfg(not(target_os = "linux"))]
pub(crate) const INTEREST: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// An open connection.
pub(crate) struct Open {
    /// Non-blocking, under the poll.
    pub(crate) stream: TcpStream,
    /// It may have something to read.
    pub(crate) readable: bool,
    /// The poll said so since it was last read.
    pub(crate) fresh: bool,
    /// The end of its data is here or behind what is here.
    pub(crate) ended: bool,
    /// It may take something.
    pub(crate) writable: bool,
    /// It has brought urgent data: a read that is short may have stopped before such, and not have emptied it.
    pub(crate) urgent: bool,
    /// It has a place in the turn.
    pub(crate) queued: bool,
    /// A write has failed like this; nothing is written any more.
    failed: Option<ErrorKind>,
    /// It may have broken: what had come before is given up then.
    pub(crate) until: Option<Instant>,
}

impl Open {
    /// Nothing was read or written yet. Until it is shut its peer sees a reset, not an end, when it is dropped or this
    /// process is killed: an end would say that all has come.
    pub(crate) fn new(stream: TcpStream) -> Self {
        // without it only the latency suffers
        let _ = stream.set_nodelay(true);
        // without it a connection whose peer's host has vanished keeps its place for good
        let _ = keep_alive(&stream);
        // if it fails the peer sees an end in place of a break
        let _ = reset_on_close(&stream);
        // without it the urgent byte is lost
        let _ = urgent_in_place(&stream);
        Open {
            stream,
            readable: true,
            fresh: false,
            ended: false,
            writable: true,
            urgent: false,
            queued: false,
            failed: None,
            until: None,
        }
    }

    /// All that the far end had for it has been written.
    pub(crate) fn shut(&self) {
        // if one of them fails the connection is gone, which reading will show
        let _ = end_on_close(&self.stream);
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Whether something stands behind what there is to read: its end, or perhaps a break.
    pub(crate) fn is_ending(&self) -> bool {
        self.ended || self.until.is_some()
    }

    /// Reads what is there.
    ///
    /// # Errors
    /// `WouldBlock`: nothing is. Otherwise the data has broken off.
    pub(crate) fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match retry(|| self.stream.read(room))? {
            // the write has heard of the break. If it was a broken pipe the data had ended before that.
            0 if self.failed.is_some_and(|kind| kind != ErrorKind::BrokenPipe) => {
                Err(ErrorKind::ConnectionReset.into())
            }
            n => Ok(n),
        }
    }

    /// Whether it is broken. To be asked when there is nothing to read any more: see the head of this file.
    pub(crate) fn is_broken(&self) -> bool {
        self.failed.is_some() || !matches!(self.stream.take_error(), Ok(None))
    }

    /// Writes as much as the socket takes; nothing any more once that has failed.
    ///
    /// # Errors
    /// The connection is broken.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        while self.writable && self.failed.is_none() && written < bytes.len() {
            match retry(|| self.stream.write(&bytes[written..])) {
                Ok(n) => written += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(e) => {
                    self.failed = Some(e.kind());
                    return Err(e);
                }
            }
        }
        Ok(written)
    }
}

/// Makes an interrupted call again.
///
/// # Errors
/// All others.
pub(crate) fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net;

    /// What the peer of a connection reads to its end when this was done with the connection.
    fn peer_reads(act: impl FnOnce(&mut Open)) -> io::Result<Vec<u8>> {
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut open = Open::new(TcpStream::from_std(listener.accept().unwrap().0));
        assert_eq!(open.write(b"all of it").unwrap(), 9);
        act(&mut open);
        drop(open);
        let mut read = Vec::new();
        peer.read_to_end(&mut read).map(|_| read)
    }

    #[test]
    fn one_that_was_shut_ends_and_any_other_breaks() {
        assert_eq!(peer_reads(|open| open.shut()).unwrap(), b"all of it");
        assert_eq!(peer_reads(|_| {}).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}
