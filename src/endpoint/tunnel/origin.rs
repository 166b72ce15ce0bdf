//! Where the tunnel's local connections come from: a socket that listens here, or a host to connect to.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

/// Where the local connections come from.
pub(crate) enum Origin {
    /// They are accepted here.
    Terminate(TcpListener),
    /// They are opened there.
    Initiate(Target),
}

/// A host that connections are opened to.
#[derive(Clone)]
pub(crate) struct Target {
    /// Its name or address, for the user.
    pub(crate) host: String,
    /// Its port.
    pub(crate) port: u16,
    /// Gives its addresses, or why it has none. May take as long as it likes.
    pub(crate) ask: Arc<dyn Fn() -> Result<Vec<SocketAddr>, String> + Send + Sync>,
}

impl Origin {
    /// The host and its port that connections are opened to, for the user; empty if none are.
    pub(super) fn target(&self) -> String {
        match self {
            Origin::Terminate(_) => String::new(),
            Origin::Initiate(Target { host, port, .. }) if host.contains(':') => format!("[{host}]:{port}"),
            Origin::Initiate(Target { host, port, .. }) => format!("{host}:{port}"),
        }
    }
}
