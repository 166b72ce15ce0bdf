//! One open local connection, edge-triggered: what is readable or writable is remembered until the socket said
//! otherwise. Never waits.

use mio::net::TcpStream;
use std::io::{self, ErrorKind, Write};

/// An open connection.
pub struct Open {
    /// Non-blocking, under the poll.
    pub stream: TcpStream,
    /// It may have something to read.
    pub readable: bool,
    /// The poll said so since it was last read.
    pub fresh: bool,
    /// The end of its data is here or behind what is here.
    pub ended: bool,
    /// It may take something.
    pub writable: bool,
    /// Its place in the turn, if it has one.
    pub queued: Option<u64>,
}

impl Open {
    /// Writes as much as the socket takes.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        while self.writable && written < bytes.len() {
            match retry(|| self.stream.write(&bytes[written..])) {
                Ok(n) => written += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(e) => return Err(e),
            }
        }
        Ok(written)
    }
}

/// Makes an interrupted call again.
///
/// # Errors
/// All others.
pub fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
