//! Where the tunnel's local connections come from: a socket that listens here, or a host to connect to.

use std::net::TcpListener;

/// Where the local connections come from.
pub enum Place {
    /// They are accepted here.
    Terminate(TcpListener),
    /// They are opened to this host, a name or an address, at this port.
    Initiate(String, u16),
}

impl Place {
    /// The port that is listened on, if one is.
    pub fn port(&self) -> Option<u16> {
        match self {
            Place::Terminate(listener) => listener.local_addr().ok().map(|address| address.port()),
            Place::Initiate(..) => None,
        }
    }

    /// The host and its port that connections are opened to, for the user; empty if none are.
    pub(super) fn target(&self) -> String {
        match self {
            Place::Terminate(_) => String::new(),
            Place::Initiate(host, port) if host.contains(':') => format!("[{host}]:{port}"),
            Place::Initiate(host, port) => format!("{host}:{port}"),
        }
    }
}
