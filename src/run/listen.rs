//! Opening a listening socket, for the receiver and for `terminate`.
//!
//! Every error names where it was to listen and why it cannot. The socket never shares its port with another
//! process (no SO_REUSEPORT); a port whose last connections are still in TIME_WAIT is free again at once.

use super::names::look_up;
use crate::error::{Failure, reason};
use crate::message;
use crate::plan::{Family, Host, ListenOn, ListenPlan};
use crate::proto::waiting::Patience;
use crate::session::resolve::shown;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

/// How many connections may wait to be accepted: more than arrive, in a flood, while the poll is busy.
const BACKLOG: i32 = 4096;

/// Listens, and says on which port: `what` is followed by its number.
///
/// # Errors
/// Those of [`open`].
pub(crate) fn announced(
    plan: &ListenPlan,
    patience: Option<Patience>,
    what: &str,
) -> Result<TcpListener, Failure> {
    let listener = open(plan, patience)?;
    let port = listener.local_addr().map_or(plan.port, |address| address.port());
    let line = format!("{what} {port}");
    match plan.port {
        // the user cannot know the port otherwise
        0 => message::say(line),
        _ => message::announce(|| line),
    }
    Ok(listener)
}

/// Listens, non-blocking. Of a name the first address is used; if the name has several, a line says which it is.
/// The resolver is waited for with this patience.
///
/// # Errors
/// The name cannot be resolved, the port is taken or not allowed, or the address is not one of this host.
pub(crate) fn open(plan: &ListenPlan, patience: Option<Patience>) -> Result<TcpListener, Failure> {
    let port = plan.port;
    let host = match &plan.on {
        ListenOn::All(family) => return all(*family, port).map_err(|e| cannot("", port, &e)),
        ListenOn::Host(host) => host,
    };
    let unknown = |why: String| Failure::network(format!("cannot listen on {host} port {port}: {why}"));
    let addresses = look_up(host, port, patience).map_err(|error| unknown(error.to_string()))?;
    let first = addresses.first().ok_or_else(|| unknown("it has no address".into()))?;
    let place = match host {
        Host::Name { name, .. } => format!("{name} ({}) ", shown(first)),
        Host::Address(_) | Host::Scoped { .. } => format!("{host} "),
    };
    let listener = on(*first, true).map_err(|e| cannot(&place, port, &e))?;
    if addresses.len() > 1 {
        let (count, address) = (addresses.len(), shown(first));
        message::say(format_args!("{host} has {count} addresses; listening on the first, {address}"));
    }
    Ok(listener)
}

/// Listens on all addresses of a family.
fn all(family: Family, port: u16) -> io::Result<TcpListener> {
    let v4 = || on(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port), false);
    let v6 = |alone| on(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port), alone);
    match family {
        Family::V4 => v4(),
        Family::V6 => v6(true),
        Family::Any => match v6(false) {
            // a host without IPv6
            Err(e) if e.kind() != ErrorKind::AddrInUse && e.kind() != ErrorKind::PermissionDenied => v4(),
            result => result,
        },
    }
}

/// Listens on one address; `alone`: an IPv6 one takes no IPv4.
fn on(address: SocketAddr, alone: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // of `::` IPv4 is a part, unless the user wants IPv6 alone
        socket.set_only_v6(alone)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Where it is to listen, if not on all addresses, and why it cannot.
fn cannot(place: &str, port: u16, error: &io::Error) -> Failure {
    let why = match error.kind() {
        ErrorKind::AddrNotAvailable => "not an address of this host".to_owned(),
        _ => reason(error),
    };
    let hint =
        if error.kind() == ErrorKind::PermissionDenied && port < 1024 { "; take one above 1023" } else { "" };
    Failure::network(format!("cannot listen on {place}port {port}: {why}{hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn plan(on: ListenOn, port: u16) -> ListenPlan {
        ListenPlan { on, port }
    }

    fn address(text: &str) -> ListenOn {
        ListenOn::Host(Host::Address(text.parse().unwrap()))
    }

    fn bound(on: ListenOn) -> IpAddr {
        open(&plan(on, 0), None).unwrap().local_addr().unwrap().ip()
    }

    #[test]
    fn a_family_has_a_wildcard_of_its_own() {
        assert_eq!(bound(ListenOn::All(Family::V4)), Ipv4Addr::UNSPECIFIED);
        if bound(ListenOn::All(Family::Any)).is_ipv4() {
            return eprintln!("skipped: a_family_has_a_wildcard_of_its_own (no IPv6 here)");
        }
        let six = open(&plan(ListenOn::All(Family::V6), 0), None).unwrap();
        let port = six.local_addr().unwrap().port();
        assert!(six.local_addr().unwrap().is_ipv6());
        assert!(std::net::TcpStream::connect((Ipv6Addr::LOCALHOST, port)).is_ok());
        // another process may have the same port of the other family
        assert!(socket2::SockRef::from(&six).only_v6().unwrap());
    }

    #[test]
    fn a_name_is_its_first_address() {
        let name = || Host::Name { name: "localhost".to_owned(), family: Family::V4 };
        if look_up(&name(), 0, None).is_err() {
            return eprintln!("skipped: a_name_is_its_first_address (localhost has no IPv4 address here)");
        }
        assert!(bound(ListenOn::Host(name())).is_loopback());
    }

    #[test]
    fn an_error_names_the_place_and_the_reason() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        assert_eq!(
            open(&plan(address("127.0.0.1"), port), None).unwrap_err().sentence,
            format!("cannot listen on 127.0.0.1 port {port}: address already in use")
        );
        assert_eq!(
            open(&plan(address("192.0.2.1"), 8834), None).unwrap_err().sentence,
            "cannot listen on 192.0.2.1 port 8834: not an address of this host"
        );
        let scoped = Host::Scoped { address: "fe80::1".parse().unwrap(), interface: "wlan99".to_owned() };
        assert_eq!(
            open(&plan(ListenOn::Host(scoped), 8834), None).unwrap_err().sentence,
            "cannot listen on fe80::1%wlan99 port 8834: wlan99 is not a network interface of this host"
        );
    }
}
