//! Where the tunnel's local connections come from: a socket that listens here, or a host to connect to.

use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};

/// How many connections may wait to be accepted: more than arrive while the poll is busy.
const BACKLOG: i32 = 128;

/// Where the local connections come from.
pub enum Place {
    /// They are accepted here.
    Terminate(TcpListener),
    /// They are opened to this host, a name or an address, at this port.
    Initiate(String, u16),
}

impl Place {
    /// Listens on this address; accepts nothing. Port 0 takes a free one.
    ///
    /// # Errors
    /// The kernel's: the port is taken, or not allowed; no such address here; no descriptors left.
    pub fn listen(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // a port whose last connections are still in TIME_WAIT is free again at once
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(!address.ip().is_unspecified())?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(Place::Terminate(socket.into()))
    }

    /// The port that is listened on, if one is.
    pub fn port(&self) -> Option<u16> {
        match self {
            Place::Terminate(listener) => listener.local_addr().ok().map(|address| address.port()),
            Place::Initiate(..) => None,
        }
    }
}
