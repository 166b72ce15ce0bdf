//! From a file to a socket without a copy in this process.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;

/// A file on the disk whose bytes can go to a socket in this way, of at least so many bytes.
///
/// Files of the kernel's own (/proc, /sys) say a length that is not theirs; few of them are so long, and none of those
/// passes the trial, which sends one byte to a pipe.
#[cfg(target_os = "linux")]
pub(crate) fn can_send(file: &File, least: u64) -> bool {
    let is_long = file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() >= least);
    let tried = || {
        let (_reader, writer) = rustix::pipe::pipe().ok()?;
        sendfile(&writer, file, 0, 1).ok()
    };
    is_long && tried() == Some(1)
}

/// Nothing can be sent so.
#[cfg(not(target_os = "linux"))]
pub(crate) fn can_send(_: &File, _: u64) -> bool {
    false
}

/// Sends up to `len` bytes of the file from `at` on, as many as the socket takes now; 0 at the end of the file.
///
/// # Errors
/// The kernel's, for either of the two; `Unsupported` elsewhere than on Linux.
#[cfg(target_os = "linux")]
pub(crate) fn sendfile(socket: impl AsFd, file: &File, at: u64, len: usize) -> io::Result<usize> {
    let mut at = at;
    Ok(rustix::fs::sendfile(socket, file, Some(&mut at), len)?)
}

/// Nothing can be sent so.
///
/// # Errors
/// `Unsupported`.
#[cfg(not(target_os = "linux"))]
pub(crate) fn sendfile(_: impl AsFd, _: &File, _: u64, _: usize) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Writes to a socket what more follows at once, so that the kernel need not send it alone.
///
/// # Errors
/// The kernel's; not a socket.
#[cfg(target_os = "linux")]
pub(crate) fn write_with_more(socket: impl AsFd, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
    let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
    Ok(sendmsg(socket, slices, &mut SendAncillaryBuffer::default(), flags)?)
}

/// Nothing is said of what follows.
///
/// # Errors
/// The kernel's.
#[cfg(not(target_os = "linux"))]
pub(crate) fn write_with_more(socket: impl AsFd, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    Ok(rustix::io::writev(socket, slices)?)
}

/// Has the kernel read these bytes of the file soon.
#[cfg(target_os = "linux")]
pub(crate) fn want(file: &File, at: u64, len: u64) {
    let Some(len) = std::num::NonZeroU64::new(len) else { return };
    // without it only the first reader waits
    let _ = rustix::fs::fadvise(file, at, Some(len), rustix::fs::Advice::WillNeed);
}

/// Nobody is asked.
#[cfg(not(target_os = "linux"))]
pub(crate) fn want(_: &File, _: u64, _: u64) {}
