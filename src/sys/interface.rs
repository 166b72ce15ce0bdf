//! Which way a connection leaves this host: `via` an address or a network interface.
#![allow(unsafe_code)]

use socket2::{Domain, SockAddr, Socket, Type};
use std::ffi::CStr;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::ptr::null_mut;

/// Binds a socket of this family, not yet bound or connected, to `via`: an IP address of this host (IPv6
/// may carry `%interface`), or the name of an interface. Where the kernel does not let us bind to an
/// interface (before Linux 5.7 that took root), the first address of that family on it is taken instead.
///
/// Errors say in words which part of `via` does not fit: the address's family is not `family`, no such
/// address or interface on this host, or no address of that family on it; others are the kernel's.
pub(crate) fn bind_to(socket: &Socket, via: &str, family: Domain) -> io::Result<()> {
    match parse_address(via) {
        Some(address) => bind_to_address(socket, via, address?, family),
        None => bind_to_interface(socket, via, family),
    }
}

/// Whether `via` is there: an IP address or a network interface of this host.
///
/// Errors say in words that it is not, or what the kernel says.
pub(crate) fn check(via: &str) -> io::Result<()> {
    let Some(address) = parse_address(via) else {
        let unknown = || fault("neither an address nor a network interface of this host".to_owned());
        return if exists(via) { Ok(()) } else { Err(unknown()) };
    };
    let address = address?;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.bind(&SockAddr::from(address)).map_err(|e| match e.kind() {
        io::ErrorKind::AddrNotAvailable => fault("not an address of this host".to_owned()),
        _ => e,
    })
}

/// The address that `via` is; None if it is none and so must be a name.
fn parse_address(via: &str) -> Option<io::Result<SocketAddr>> {
    let (address, zone) = via.split_once('%').map_or((via, None), |(a, z)| (a, Some(z)));
    let address: IpAddr = address.parse().ok()?;
    Some(match (address, zone) {
        (IpAddr::V6(address), Some(zone)) => {
            index(zone).map(|scope| SocketAddrV6::new(address, 0, 0, scope).into())
        }
        (IpAddr::V4(_), Some(_)) => Err(fault(format!("{via}: only an IPv6 address takes a %interface"))),
        (address, None) => Ok(SocketAddr::new(address, 0)),
    })
}

fn bind_to_address(socket: &Socket, via: &str, address: SocketAddr, family: Domain) -> io::Result<()> {
    if Domain::for_address(address) != family {
        let (ours, wanted) = (family_name(Domain::for_address(address)), family_name(family));
        return Err(fault(format!("{via} is an {ours} address, the far one is {wanted}")));
    }
    socket.bind(&SockAddr::from(address)).map_err(|e| explain(e, via, "not an address of this host"))
}

fn bind_to_interface(socket: &Socket, name: &str, family: Domain) -> io::Result<()> {
    if !exists(name) {
        return Err(fault(format!("{name} is neither an IP address nor a network interface of this host")));
    }
    match bind_device(socket, name) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            let address = first_address(name, family)?
                .ok_or_else(|| fault(format!("{name} has no {} address", family_name(family))))?;
            socket.bind(&SockAddr::from(address)).map_err(|e| explain(e, name, "its address has gone"))
        }
        Err(e) => Err(e),
    }
}

#[cfg(target_os = "linux")]
fn bind_device(socket: &Socket, name: &str) -> io::Result<()> {
    socket.bind_device(Some(name.as_bytes()))
}

/// Elsewhere there is no such option: the interface's address is bound instead.
#[cfg(not(target_os = "linux"))]
fn bind_device(_: &Socket, _: &str) -> io::Result<()> {
    Err(io::ErrorKind::PermissionDenied.into())
}

/// The first address of a family on an interface, port 0; link-local ones last.
///
/// Errors: the kernel's list of interfaces cannot be read.
pub(crate) fn first_address(name: &str, family: Domain) -> io::Result<Option<SocketAddr>> {
    let mut found = Vec::new();
    each_interface(|interface, address| {
        if interface == name && address.is_some_and(|a| Domain::for_address(a) == family) {
            found.extend(address);
        }
    })?;
    found.sort_by_key(is_link_local);
    Ok(found.first().copied())
}

/// Whether this host has an interface of this name.
fn exists(name: &str) -> bool {
    index(name).is_ok()
}

/// The number of an interface of this host.
///
/// Errors: there is none of this name.
#[cfg(target_os = "linux")]
pub(crate) fn index(name: &str) -> io::Result<u32> {
    // any socket will do, and this family is always there
    let socket = Socket::new(Domain::UNIX, socket2::Type::DGRAM, None)?;
    let found = rustix::net::netdevice::name_to_index(socket, name);
    found.map_err(|_| fault(format!("{name} is not a network interface of this host")))
}

/// The number of an interface of this host.
///
/// Errors: there is none of this name.
#[cfg(not(target_os = "linux"))]
pub(crate) fn index(name: &str) -> io::Result<u32> {
    let unknown = || fault(format!("{name} is not a network interface of this host"));
    let name = std::ffi::CString::new(name).map_err(|_| unknown())?;
    // SAFETY: the name ends with a zero byte.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(unknown()),
        index => Ok(index),
    }
}

/// Calls `visit` with each interface's name, once for each of its addresses; None for other families.
fn each_interface(mut visit: impl FnMut(&str, Option<SocketAddr>)) -> io::Result<()> {
    let mut list = null_mut();
    // SAFETY: the pointer is valid for writing the list's head.
    if unsafe { libc::getifaddrs(&mut list) } == -1 {
        return Err(io::Error::last_os_error());
    }
    let mut next = list;
    // SAFETY: `next` is null or an entry of the list, which is freed only after the loop.
    while let Some(entry) = unsafe { next.as_ref() } {
        // SAFETY: every entry has a name that ends with a zero byte.
        let name = unsafe { CStr::from_ptr(entry.ifa_name) };
        // SAFETY: an entry's address is null or valid for the size that its family has.
        let address = unsafe { address(entry.ifa_addr) };
        visit(&name.to_string_lossy(), address);
        next = entry.ifa_next;
    }
    // SAFETY: the list came from getifaddrs, and nothing of it is kept.
    unsafe { libc::freeifaddrs(list) };
    Ok(())
}

/// A native address as ours, with port 0; None for other families.
///
/// # Safety
///
/// `raw` is null or points to a whole address of the family that it names.
unsafe fn address(raw: *const libc::sockaddr) -> Option<SocketAddr> {
    // SAFETY: null or valid, by the caller's promise.
    let family = i32::from(unsafe { raw.as_ref() }?.sa_family);
    match family {
        libc::AF_INET => {
            // SAFETY: this family means this struct, by the caller's promise.
            let v4 = unsafe { raw.cast::<libc::sockaddr_in>().read_unaligned() };
            let ip = v4.sin_addr.s_addr.to_ne_bytes().into();
            Some(SocketAddrV4::new(ip, 0).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { raw.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(SocketAddrV6::new(v6.sin6_addr.s6_addr.into(), 0, 0, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}

fn is_link_local(address: &SocketAddr) -> bool {
    match address.ip() {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

fn family_name(family: Domain) -> &'static str {
    if family == Domain::IPV6 { "IPv6" } else { "IPv4" }
}

fn fault(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::AddrNotAvailable, text)
}

/// The same error in words, if it is the one that has these words.
fn explain(error: io::Error, via: &str, gone: &str) -> io::Error {
    match error.kind() {
        io::ErrorKind::AddrNotAvailable => fault(format!("{via}: {gone}")),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn socket(family: Domain) -> Socket {
        Socket::new(family, Type::STREAM, None).unwrap()
    }

    fn says(via: &str, family: Domain) -> String {
        bind_to(&socket(family), via, family).unwrap_err().to_string()
    }

    #[test]
    fn an_address_is_bound() {
        let socket = socket(Domain::IPV4);
        bind_to(&socket, "127.0.0.2", Domain::IPV4).unwrap();
        let bound = socket.local_addr().unwrap().as_socket().unwrap();
        assert_eq!(bound.ip(), Ipv4Addr::new(127, 0, 0, 2));
    }

    #[test]
    fn the_loopback_interface_reaches_only_this_host() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = socket(Domain::IPV4);
        bind_to(&socket, "lo", Domain::IPV4).unwrap();
        socket.connect(&listener.local_addr().unwrap().into()).unwrap();
    }

    #[test]
    fn an_interface_has_its_address() {
        let found = first_address("lo", Domain::IPV4).unwrap();
        assert_eq!(found, Some("127.0.0.1:0".parse().unwrap()));
        assert_eq!(first_address("no-such-thing", Domain::IPV4).unwrap(), None);
    }

    #[test]
    fn what_is_not_there_is_known_without_a_link() {
        check("127.0.0.1").unwrap();
        check("lo").unwrap();
        let said = |via: &str| check(via).unwrap_err().to_string();
        assert_eq!(said("192.0.2.1"), "not an address of this host");
        assert_eq!(said("wlan99"), "neither an address nor a network interface of this host");
        assert_eq!(said("fe80::1%wlan99"), "wlan99 is not a network interface of this host");
    }

    #[test]
    fn errors_say_what_does_not_fit() {
        assert_eq!(says("::1", Domain::IPV4), "::1 is an IPv6 address, the far one is IPv4");
        assert_eq!(says("127.0.0.1", Domain::IPV6), "127.0.0.1 is an IPv4 address, the far one is IPv6");
        assert_eq!(says("192.0.2.1", Domain::IPV4), "192.0.2.1: not an address of this host");
        assert_eq!(
            says("wlan99", Domain::IPV4),
            "wlan99 is neither an IP address nor a network interface of this host"
        );
        assert_eq!(says("fe80::1%no", Domain::IPV6), "no is not a network interface of this host");
        assert_eq!(
            says("127.0.0.1%lo", Domain::IPV4),
            "127.0.0.1%lo: only an IPv6 address takes a %interface"
        );
        assert!(says("", Domain::IPV4).contains("neither"));
        assert!(says("a\0b", Domain::IPV4).contains("neither"));
    }
}
