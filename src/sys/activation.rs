//! What a service manager hands to this process: a socket that listens already.
//!
//! The protocol is that of systemd (LISTEN_FDS); the variables are of no use to commands that this process starts.

#![allow(unsafe_code)]

use std::io;
use std::net::TcpListener;
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// The variables that a service manager sets for this process alone.
pub const OURS: [&str; 4] = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET"];

/// The sockets were taken.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The sockets that were handed to this process, non-blocking; none at the second call.
///
/// # Errors
/// What was handed to it is no socket that listens, or the variables make no sense.
pub fn listeners() -> io::Result<Vec<TcpListener>> {
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Ok(Vec::new());
    }
    let mut listeners = Vec::new();
    for descriptor in sd_notify::listen_fds()? {
        // SAFETY: the service manager says that the descriptor is open and this process's, nothing else in it knows of
        // it, and it is taken once.
        let owned = unsafe { OwnedFd::from_raw_fd(descriptor) };
        if !rustix::net::sockopt::socket_acceptconn(&owned)? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it does not listen"));
        }
        let listener = TcpListener::from(owned);
        listener.local_addr()?;
        listener.set_nonblocking(true)?;
        listeners.push(listener);
    }
    Ok(listeners)
}
