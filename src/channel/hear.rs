//! Reads a message of the handshake into its [`Hearing`], as far as it is there.

use crate::proto::handshake::{CHUNK, Hearing};
use std::io::{self, ErrorKind, Read};

/// What one reading has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrived {
    /// Bytes: ask the [`Hearing`], then read on.
    Bytes,
    /// The peer has said nothing more yet.
    Nothing,
    /// The peer has ended.
    End,
}

/// Reads once. The stream never blocks.
///
/// # Errors
/// The kernel's.
pub(crate) fn read(stream: &mut impl Read, hearing: &mut Hearing) -> io::Result<Arrived> {
    let mut chunk = [0; CHUNK];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(Arrived::End),
            Ok(n) => {
                hearing.push(&chunk[..n]);
                return Ok(Arrived::Bytes);
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(Arrived::Nothing),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}
