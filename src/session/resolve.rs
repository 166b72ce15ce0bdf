//! From a host as the user named it to socket addresses.
//!
//! Asks the system's resolver, so it may take as long as that does. Never connects or binds; remembers nothing.

use crate::error::reason;
use crate::plan::{Family, Host};
use crate::sys::interface::index;
use dns_lookup::{AddrInfoHints, LookupErrorKind, SockType, getaddrinfo};
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use thiserror::Error;

/// Why a host has no address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum NotResolved {
    /// There is none: the resolver knows, or there is no such interface.
    #[error("{0}")]
    Unknown(String),
    /// The resolver gives no answer for now.
    #[error("{0}")]
    Unanswered(String),
}

/// The addresses of a host, in the resolver's order; at least one. Those of another family are left out.
///
/// # Errors
/// What the resolver says; in words where the name has no address of the family, or there is no such interface.
pub(crate) fn resolve(host: &Host, port: u16) -> Result<Vec<SocketAddr>, NotResolved> {
    match host {
        Host::Address(address) => Ok(vec![SocketAddr::new(*address, port)]),
        Host::Scoped { address, interface } => {
            let scope = interface.parse().or_else(|_| index(interface));
            let scope = scope.map_err(|error| NotResolved::Unknown(error.to_string()))?;
            Ok(vec![SocketAddrV6::new(*address, port, 0, scope).into()])
        }
        Host::Name { name, family } => {
            let mut found = look_up(name, port)?;
            found.retain(|address| family.has(address.ip()));
            if found.is_empty() { Err(NotResolved::Unknown(none(*family).into())) } else { Ok(found) }
        }
    }
}

/// Every address of a name.
fn look_up(name: &str, port: u16) -> Result<Vec<SocketAddr>, NotResolved> {
    let hints = AddrInfoHints { socktype: SockType::Stream.into(), ..Default::default() };
    let answer = getaddrinfo(Some(name), None, Some(hints)).map_err(|error| {
        let kind = error.kind();
        let why = reason(&io::Error::from(error));
        let why = why.strip_prefix("failed to lookup address information: ").unwrap_or(&why).to_owned();
        match kind {
            // no server that answers, or a resolver that could not even ask
            LookupErrorKind::Again | LookupErrorKind::System | LookupErrorKind::Memory => {
                NotResolved::Unanswered(why)
            }
            _ => NotResolved::Unknown(why),
        }
    })?;
    // an address of a family that is not IP is of no use here
    let addresses = answer.map_while(Result::ok).map(|found| found.sockaddr);
    Ok(addresses.map(|address| with_port(address, port)).collect())
}

fn with_port(mut address: SocketAddr, port: u16) -> SocketAddr {
    address.set_port(port);
    address
}

fn none(family: Family) -> &'static str {
    match family {
        Family::Any => "it has no address",
        Family::V4 => "it has no IPv4 address",
        Family::V6 => "it has no IPv6 address",
    }
}

/// An address as the user would write it: with its scope, and IPv4 where it is mapped from that.
pub(crate) fn shown(address: &SocketAddr) -> String {
    match address {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
        address => IpAddr::to_canonical(&address.ip()).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str, family: Family) -> Host {
        Host::Name { name: name.to_owned(), family }
    }

    #[test]
    fn an_address_is_itself() {
        let host = Host::Address("192.0.2.1".parse().unwrap());
        assert_eq!(resolve(&host, 7).unwrap(), ["192.0.2.1:7".parse().unwrap()]);
    }

    #[test]
    fn a_scope_is_an_interface_by_name_or_by_number() {
        let scoped = |interface: &str| Host::Scoped {
            address: "fe80::1".parse().unwrap(),
            interface: interface.to_owned(),
        };
        let number = index("lo").unwrap();
        for interface in ["lo", &number.to_string()] {
            let found = resolve(&scoped(interface), 7).unwrap();
            assert_eq!(found, [SocketAddr::V6(SocketAddrV6::new("fe80::1".parse().unwrap(), 7, 0, number))]);
            assert_eq!(shown(&found[0]), format!("fe80::1%{number}"));
        }
        let error = resolve(&scoped("wlan99"), 7).unwrap_err();
        assert_eq!(error, NotResolved::Unknown("wlan99 is not a network interface of this host".into()));
    }

    #[test]
    fn a_name_that_cannot_be_is_unknown_without_asking_anybody() {
        // a label has 63 characters at most
        let error = resolve(&name(&"x".repeat(64), Family::Any), 7).unwrap_err();
        assert!(matches!(error, NotResolved::Unknown(_)), "{error:?}");
    }

    #[test]
    fn a_family_leaves_the_other_addresses_out() {
        for (family, there) in
            [(Family::V4, IpAddr::is_ipv4 as fn(&IpAddr) -> bool), (Family::V6, IpAddr::is_ipv6)]
        {
            match resolve(&name("localhost", family), 7) {
                Ok(found) => assert!(found.iter().all(|address| there(&address.ip())), "{found:?}"),
                Err(error) => assert!(error.to_string().starts_with("it has no IPv"), "{error}"),
            }
        }
        let found = resolve(&name("localhost", Family::Any), 7).unwrap();
        assert!(!found.is_empty() && found.iter().all(|address| address.port() == 7), "{found:?}");
    }
}
