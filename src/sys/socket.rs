//! What the kernel can be told and asked about a TCP socket.
//!
//! Nothing here reads or writes data.
#![allow(unsafe_code)]

use rustix::net::sockopt;
use socket2::SockRef;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

/// Lets the socket be writable only while fewer than `bytes` wait in the kernel that have not been sent
/// (TCP_NOTSENT_LOWAT), so that "writable" means that the network drains.
///
/// Errors: not a TCP socket.
pub(crate) fn set_notsent_lowat(fd: impl AsFd, bytes: u32) -> io::Result<()> {
    SockRef::from(&fd).set_tcp_notsent_lowat(bytes)
}

/// Makes the coming close a reset (SO_LINGER of 0): what is unsent is discarded and the peer knows at once.
///
/// Errors: not a socket.
pub(crate) fn reset_on_close(fd: impl AsFd) -> io::Result<()> {
    Ok(sockopt::set_socket_linger(fd, Some(Duration::ZERO))?)
}

/// Makes the coming close an end again, after [`reset_on_close`]: what is unsent is sent.
///
/// Errors: not a socket.
pub(crate) fn end_on_close(fd: impl AsFd) -> io::Result<()> {
    Ok(sockopt::set_socket_linger(fd, None)?)
}

/// Has urgent data read in its place among the other data (SO_OOBINLINE). A read still stops once before it.
///
/// Errors: not a socket.
pub(crate) fn urgent_in_place(fd: impl AsFd) -> io::Result<()> {
    Ok(sockopt::set_socket_oobinline(fd, true)?)
}

/// Has the kernel ask a peer that says nothing for hours whether it is still there (SO_KEEPALIVE), and break the connection
/// if it is not.
///
/// Errors: not a socket.
pub(crate) fn keep_alive(fd: impl AsFd) -> io::Result<()> {
    Ok(sockopt::set_socket_keepalive(fd, true)?)
}

/// The name of the socket's congestion control, like `cubic`.
///
/// Errors: not a TCP socket.
pub(crate) fn congestion(fd: impl AsFd) -> io::Result<String> {
    Ok(sockopt::tcp_congestion(fd)?)
}

/// Chooses the congestion control by name.
///
/// Errors: `ENOENT` where the kernel has none of that name, `EPERM` where it is not allowed.
pub(crate) fn set_congestion(fd: impl AsFd, name: &str) -> io::Result<()> {
    Ok(sockopt::set_tcp_congestion(fd, name)?)
}

/// Lets a listening socket give connections only when they have brought bytes, or a second or so later
/// (TCP_DEFER_ACCEPT): the kernel holds the silent ones, as long as it has room.
///
/// Errors: not a TCP socket; `Unsupported` elsewhere than on Linux.
#[cfg(target_os = "linux")]
pub(crate) fn accept_with_bytes(fd: impl AsFd) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let seconds: libc::c_int = 1;
    // SAFETY: the pointer and the length describe `seconds`, of the type that the option has.
    let result = unsafe {
        libc::setsockopt(
            fd.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const seconds).cast(),
            size_of_val(&seconds) as libc::socklen_t,
        )
    };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Lets a listening socket give connections only when they have brought bytes.
///
/// Errors: `Unsupported`.
#[cfg(not(target_os = "linux"))]
pub(crate) fn accept_with_bytes(_: impl AsFd) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// What the kernel knows about a TCP connection. A field that an older kernel does not have is 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TcpInfo {
    /// Probes of a shut window that were not answered.
    pub(crate) probes: u8,
    /// How often in a row the oldest segment was sent again in vain, each time after twice the pause.
    pub(crate) backoff: u8,
    /// The smoothed round-trip time.
    pub(crate) rtt: Duration,
    /// How much may be in flight, in segments.
    pub(crate) congestion_window: u32,
    /// Segments sent and not yet acknowledged.
    pub(crate) unacked: u32,
    /// Segments sent again since the connection began.
    pub(crate) retransmits: u32,
    /// Bytes the peer's kernel has acknowledged since the connection began.
    pub(crate) bytes_acked: u64,
    /// How long ago the peer's kernel acknowledged anything last, be it nothing new; in whole milliseconds.
    pub(crate) since_ack: Duration,
    /// Segments that came before others that were sent earlier, since the connection began.
    pub(crate) out_of_order: u32,
}

/// Reads TCP_INFO.
///
/// Errors: not a TCP socket; `Unsupported` elsewhere than on Linux.
#[cfg(target_os = "linux")]
pub(crate) fn tcp_info(fd: impl AsFd) -> io::Result<TcpInfo> {
    use std::os::fd::AsRawFd;
    let mut raw = [0u8; INFO_LEN];
    let mut len = INFO_LEN as libc::socklen_t;
    // SAFETY: the pointer and the length describe `raw`, and any bytes are valid there.
    let result = unsafe {
        libc::getsockopt(
            fd.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            raw.as_mut_ptr().cast(),
            &mut len,
        )
    };
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(parse(&raw[..(len as usize).min(INFO_LEN)]))
}

/// Reads TCP_INFO.
///
/// Errors: `Unsupported`.
#[cfg(not(target_os = "linux"))]
pub(crate) fn tcp_info(_: impl AsFd) -> io::Result<TcpInfo> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Where `struct tcp_info` of linux/tcp.h is read up to; the kernel only ever adds fields behind.
#[cfg(target_os = "linux")]
const INFO_LEN: usize = 228;

/// The fields by their offsets in linux/tcp.h, from as many bytes as the kernel returned. The C library's
/// struct is not used, because it ends where the C library's age does.
#[cfg(target_os = "linux")]
fn parse(raw: &[u8]) -> TcpInfo {
    let u32_at = |at: usize| {
        raw.get(at..at + 4).map_or(0, |bytes| u32::from_ne_bytes(bytes.try_into().expect("4 bytes")))
    };
    let u64_at = |at: usize| {
        raw.get(at..at + 8).map_or(0, |bytes| u64::from_ne_bytes(bytes.try_into().expect("8 bytes")))
    };
    TcpInfo {
        probes: raw.get(3).copied().unwrap_or(0),
        backoff: raw.get(4).copied().unwrap_or(0),
        unacked: u32_at(24),
        since_ack: Duration::from_millis(u32_at(56).into()),
        rtt: Duration::from_micros(u32_at(68).into()),
        congestion_window: u32_at(80),
        retransmits: u32_at(100),
        bytes_acked: u64_at(120),
        out_of_order: u32_at(224),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (near, listener.accept().unwrap().0)
    }

    #[test]
    fn info_counts_what_crossed() {
        let (mut near, mut far) = pair();
        near.write_all(&[1; 1000]).unwrap();
        far.read_exact(&mut [0; 1000]).unwrap();
        far.write_all(&[2; 300]).unwrap();
        near.read_exact(&mut [0; 300]).unwrap();
        let info = tcp_info(&near).unwrap();
        // The reply carried the acknowledgement; the SYN counts as a byte in bytes_acked.
        assert_eq!(info.bytes_acked, 1001);
        assert!(info.congestion_window >= 1, "{info:?}");
        assert!(info.rtt > Duration::ZERO && info.rtt < Duration::from_secs(1), "{info:?}");
        assert_eq!((info.retransmits, info.unacked, info.probes, info.backoff), (0, 0, 0, 0));
        assert!(info.since_ack < Duration::from_secs(10), "{info:?}");
        assert!(tcp_info(std::fs::File::open("/dev/null").unwrap()).is_err());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_shorter_answer_of_an_older_kernel_is_enough() {
        let mut raw = [0xff; INFO_LEN];
        raw[68..72].copy_from_slice(&2500u32.to_ne_bytes());
        let old = parse(&raw[..104]);
        assert_eq!((old.rtt, old.retransmits), (Duration::from_micros(2500), u32::MAX));
        assert_eq!(old.bytes_acked, 0);
        assert_eq!(parse(&raw[..123]).bytes_acked, 0, "half a field is none");
        assert_eq!(parse(&[]), TcpInfo::default());
    }

    #[test]
    fn notsent_lowat_is_set() {
        let (near, _far) = pair();
        set_notsent_lowat(&near, 256 << 10).unwrap();
        assert_eq!(SockRef::from(&near).tcp_notsent_lowat().unwrap(), 256 << 10);
    }

    #[test]
    fn a_reset_is_what_the_peer_sees() {
        let (near, mut far) = pair();
        reset_on_close(&near).unwrap();
        drop(near);
        assert_eq!(far.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn a_reset_can_become_an_end_again() {
        let (near, mut far) = pair();
        reset_on_close(&near).unwrap();
        end_on_close(&near).unwrap();
        drop(near);
        assert_eq!(far.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn congestion_control_by_name() {
        let (near, _far) = pair();
        let name = congestion(&near).unwrap();
        assert!(!name.is_empty());
        set_congestion(&near, &name).unwrap();
        assert!(set_congestion(&near, "no-such-thing").is_err());
    }
}
