//! What a service manager hands to this process, a socket that listens already, and what it hears of this process.
//!
//! The protocols are those of systemd (LISTEN_FDS, NOTIFY_SOCKET); the variables are of no use to commands that this
//! process starts.

#![allow(unsafe_code)]

use sd_notify::NotifyState;
use std::env;
use std::io;
use std::net::TcpListener;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, Ordering};

/// The variables that a service manager sets for this process alone.
pub(crate) const OURS: [&str; 4] = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET"];

/// The sockets were taken.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The sockets that were handed to this process, non-blocking; none at the second call.
///
/// # Errors
/// What was handed to it is no socket that listens, or the variables make no sense.
pub(crate) fn listeners() -> io::Result<Vec<TcpListener>> {
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

/// Tells the service manager that this process is ready, if there is one that wants to know.
pub(crate) fn tell_ready() {
    tell(&NotifyState::Ready);
}

/// Tells it that this process ends.
pub(crate) fn tell_stopping() {
    tell(&NotifyState::Stopping);
}

fn tell(state: &NotifyState<'_>) {
    let socket = env::var_os("NOTIFY_SOCKET").unwrap_or_default();
    // whoever started this process may be gone, or not care
    let _ = match socket.as_bytes().strip_prefix(b"@") {
        // no path, but a name of its own kind, which the library does not know
        Some(name) => tell_abstract(name, state),
        None => sd_notify::notify(std::slice::from_ref(state)),
    };
}

#[cfg(target_os = "linux")]
fn tell_abstract(name: &[u8], state: &NotifyState<'_>) -> io::Result<()> {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    let address = SocketAddr::from_abstract_name(name)?;
    UnixDatagram::unbound()?.send_to_addr(format!("{state}\n").as_bytes(), &address).map(drop)
}

#[cfg(not(target_os = "linux"))]
fn tell_abstract(_: &[u8], _: &NotifyState<'_>) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
