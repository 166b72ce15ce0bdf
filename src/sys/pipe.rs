//! Where the stream comes from and goes to: what kind of thing it is, how much is in it, when it is ready.
#![allow(unsafe_code)]

use crate::sys::file_id::FileId;
use crate::sys::stdio::nowhere_to_write;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};
use rustix::io::{Errno, ioctl_fionread};
use rustix::net::SocketType;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

/// How large a pipe is made: what an unprivileged process may have where nothing was changed
/// (/proc/sys/fs/pipe-max-size); larger ones leave the cache and are no faster.
const PIPE_SIZE: usize = 1 << 20;

/// What a descriptor leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A pipe or a fifo: has a reader that can go, and can be asked how much waits in it.
    Pipe,
    /// A socket of any family.
    Socket,
    /// A regular file or a block device: what is written to it can and must be synced.
    File,
    /// A terminal.
    Terminal,
    /// Anything else, like /dev/null.
    Other,
}

/// What this descriptor leads to; what cannot be asked is `Other`.
pub(crate) fn kind(fd: impl AsFd) -> Kind {
    let Ok(stat) = fstat(&fd) else { return Kind::Other };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo => Kind::Pipe,
        FileType::Socket => Kind::Socket,
        FileType::RegularFile | FileType::BlockDevice => Kind::File,
        FileType::CharacterDevice if rustix::termios::isatty(&fd) => Kind::Terminal,
        _ => Kind::Other,
    }
}

/// Whether both lead to the same socket.
pub(crate) fn is_one_socket(one: impl AsFd, other: impl AsFd) -> bool {
    let [one, other] = [fstat(one), fstat(other)].map(|stat| {
        let socket = stat.ok().filter(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket);
        socket.map(|stat| FileId::from(&stat))
    });
    one.is_some() && one == other
}

/// Whether this is read in datagrams, so that a read with too little space loses the rest of one. A pipe of packets
/// (O_DIRECT) does the same, but its reading end cannot be told from another.
pub(crate) fn has_datagrams(fd: impl AsFd) -> bool {
    rustix::net::sockopt::socket_type(fd).is_ok_and(|kind| kind != SocketType::STREAM)
}

/// Makes a pipe hold 1 MiB, or as much as the kernel lets it; never makes it smaller. The size it has then,
/// in bytes; 0 for what is no pipe.
#[cfg(target_os = "linux")]
pub(crate) fn grow(fd: impl AsFd) -> usize {
    use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};
    let Ok(now) = fcntl_getpipe_size(&fd) else { return 0 };
    let mut size = PIPE_SIZE;
    // The limit is on one pipe (pipe-max-size) and on all of a user's (pipe-user-pages-soft): only
    // trying tells.
    while size > now {
        if let Ok(size) = fcntl_setpipe_size(&fd, size) {
            return size;
        }
        size /= 2;
    }
    now
}

/// How many bytes a pipe holds, where each of its pages is full; 0 for what is no pipe.
#[cfg(target_os = "linux")]
pub(crate) fn capacity(fd: impl AsFd) -> usize {
    rustix::pipe::fcntl_getpipe_size(&fd).unwrap_or(0)
}

/// That is not known here.
#[cfg(not(target_os = "linux"))]
pub(crate) fn capacity(_: impl AsFd) -> usize {
    0
}

/// Pipes have the size that they have.
#[cfg(not(target_os = "linux"))]
pub(crate) fn grow(_: impl AsFd) -> usize {
    let _ = PIPE_SIZE;
    0
}

/// Nothing more is written here: the reader of a pipe, or the peer of a socket, sees the end, unless somebody else has it
/// open for writing too. The descriptor stays, and leads nowhere.
///
/// Errors: no descriptor left.
pub(crate) fn lead_nowhere(fd: impl AsFd) -> io::Result<()> {
    if kind(&fd) == Kind::Socket {
        return Ok(rustix::net::shutdown(fd, rustix::net::Shutdown::Write)?);
    }
    let nowhere = nowhere_to_write()?;
    let (from, to) = (nowhere.as_raw_fd(), fd.as_fd().as_raw_fd());
    // SAFETY: both are open, and the number stays its owner's: only what it leads to is another file from now on.
    match unsafe { libc::dup3(from, to, libc::O_CLOEXEC) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// How many bytes wait to be read (FIONREAD). For either end of a pipe: those its reader has not taken.
///
/// Errors: the descriptor has no such count.
pub(crate) fn unread(fd: impl AsFd) -> io::Result<usize> {
    Ok(ioctl_fionread(fd)? as usize)
}

/// How many bytes written to a socket its peer's kernel has not acknowledged (SIOCOUTQ).
///
/// Errors: not a socket.
#[cfg(target_os = "linux")]
pub(crate) fn unsent(fd: impl AsFd) -> io::Result<usize> {
    use rustix::ioctl::{Getter, Opcode, ioctl};
    /// SIOCOUTQ, which has the number of TIOCOUTQ.
    const OUTQ: Opcode = libc::TIOCOUTQ as Opcode;
    // SAFETY: this ioctl writes one int.
    let count = unsafe { ioctl(fd, Getter::<OUTQ, libc::c_int>::new()) }?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// How many bytes written to a socket its peer's kernel has not acknowledged.
///
/// Errors: `Unsupported`.
#[cfg(not(target_os = "linux"))]
pub(crate) fn unsent(_: impl AsFd) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A descriptor, and what is waited for on it. With neither flag, only its hanging up and errors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Interest<'fd> {
    /// The descriptor.
    pub(crate) fd: BorrowedFd<'fd>,
    /// Wait until reading would not block.
    pub(crate) read: bool,
    /// Wait until writing would not block.
    pub(crate) write: bool,
}

impl<'fd> Interest<'fd> {
    /// Until reading would not block.
    pub(crate) fn read(fd: &'fd impl AsFd) -> Self {
        Interest { fd: fd.as_fd(), read: true, write: false }
    }

    /// Until writing would not block.
    pub(crate) fn write(fd: &'fd impl AsFd) -> Self {
        Interest { fd: fd.as_fd(), read: false, write: true }
    }

    /// Until the other end goes.
    pub(crate) fn end(fd: &'fd impl AsFd) -> Self {
        Interest { fd: fd.as_fd(), read: false, write: false }
    }
}

/// What became of one [`Interest`]; all false after the time was up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Ready {
    /// Reading would not block: there is data, or the end.
    pub(crate) readable: bool,
    /// Writing would not block.
    pub(crate) writable: bool,
    /// The peer of a socket has closed both ways, or the last writer of a pipe has gone.
    pub(crate) hung_up: bool,
    /// An error is pending; on a pipe's writing end: its last reader has gone.
    pub(crate) error: bool,
}

impl Ready {
    /// Whether anything has happened.
    pub(crate) fn any(&self) -> bool {
        *self != Ready::default()
    }
}

/// Waits until one of the interests is met or the time is up; None waits for ever. Signals do not end it.
///
/// Errors: no memory in the kernel, or a descriptor that is none (`EBADF`).
pub(crate) fn wait<const N: usize>(
    interests: &[Interest<'_>; N],
    timeout: Option<Duration>,
) -> io::Result<[Ready; N]> {
    let mut polled = interests.each_ref().map(|i| {
        let mut events = PollFlags::empty();
        events.set(PollFlags::IN, i.read);
        events.set(PollFlags::OUT, i.write);
        PollFd::from_borrowed_fd(i.fd, events)
    });
    poll_for(&mut polled, timeout)?;
    if polled.iter().any(|p| p.revents().contains(PollFlags::NVAL)) {
        return Err(Errno::BADF.into());
    }
    Ok(polled.each_ref().map(|p| ready(p.revents())))
}

/// poll(2), begun anew with the time that is left when a signal interrupts it.
fn poll_for(polled: &mut [PollFd<'_>], timeout: Option<Duration>) -> io::Result<()> {
    // A time too far off to be expressed is for ever.
    let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    loop {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(polled, left.as_ref()) {
            Err(Errno::INTR) => {}
            result => return Ok(result.map(drop)?),
        }
    }
}

fn ready(events: PollFlags) -> Ready {
    Ready {
        readable: events.contains(PollFlags::IN),
        writable: events.contains(PollFlags::OUT),
        hung_up: events.contains(PollFlags::HUP),
        error: events.contains(PollFlags::ERR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Write, pipe};
    use std::os::unix::net::{UnixDatagram, UnixStream};

    #[test]
    fn kinds() {
        let (reader, writer) = pipe().unwrap();
        let (socket, _peer) = UnixStream::pair().unwrap();
        assert_eq!((kind(&reader), kind(&writer)), (Kind::Pipe, Kind::Pipe));
        assert_eq!(kind(&socket), Kind::Socket);
        assert_eq!(kind(tempfile::tempfile().unwrap()), Kind::File);
        assert_eq!(kind(File::open("/dev/null").unwrap()), Kind::Other);
        if let Ok(terminal) = File::open("/dev/ptmx") {
            assert_eq!(kind(&terminal), Kind::Terminal);
        }
    }

    #[test]
    fn a_socket_is_known_by_another_descriptor_and_from_its_peer() {
        let (socket, peer) = UnixStream::pair().unwrap();
        assert!(is_one_socket(&socket, socket.try_clone().unwrap()));
        assert!(!is_one_socket(&socket, peer));
        let file = tempfile::tempfile().unwrap();
        assert!(!is_one_socket(&file, file.try_clone().unwrap()));
    }

    #[test]
    fn datagrams_are_told_from_streams() {
        assert!(!has_datagrams(pipe().unwrap().0) && !has_datagrams(UnixStream::pair().unwrap().0));
        assert!(has_datagrams(UnixDatagram::unbound().unwrap()));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_pipe_grows_and_never_shrinks() {
        let (_reader, writer) = pipe().unwrap();
        let grown = grow(&writer);
        assert!((4096..=PIPE_SIZE).contains(&grown), "{grown}");
        assert_eq!(grow(&writer), grown);
        assert_eq!(grow(File::open("/dev/null").unwrap()), 0);
    }

    #[test]
    fn what_the_reader_has_not_taken_is_counted_at_both_ends() {
        let (mut reader, mut writer) = pipe().unwrap();
        writer.write_all(&[0; 100]).unwrap();
        assert_eq!((unread(&writer).unwrap(), unread(&reader).unwrap()), (100, 100));
        reader.read_exact(&mut [0; 100]).unwrap();
        assert_eq!(unread(&writer).unwrap(), 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_the_peer_has_not_taken_is_counted() {
        let (mut near, mut far) = UnixStream::pair().unwrap();
        near.write_all(&[0; 100]).unwrap();
        assert!(unsent(&near).unwrap() >= 100);
        far.read_exact(&mut [0; 100]).unwrap();
        assert_eq!(unsent(&near).unwrap(), 0);
        assert!(unsent(pipe().unwrap().0).is_err());
    }

    #[test]
    fn waiting_ends_with_what_was_waited_for() {
        let (reader, mut writer) = pipe().unwrap();
        let soon = Some(Duration::from_millis(20));
        assert!(!wait(&[Interest::read(&reader)], soon).unwrap()[0].any());
        writer.write_all(b"x").unwrap();
        let [read, write] = wait(&[Interest::read(&reader), Interest::write(&writer)], None).unwrap();
        assert_eq!(read, Ready { readable: true, ..Ready::default() });
        assert_eq!(write, Ready { writable: true, ..Ready::default() });
    }

    #[test]
    fn the_other_end_going_is_seen_while_idle() {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        assert!(wait(&[Interest::end(&writer)], None).unwrap()[0].error);
        let (reader, writer) = pipe().unwrap();
        drop(writer);
        assert!(wait(&[Interest::end(&reader)], None).unwrap()[0].hung_up);
        let (near, far) = UnixStream::pair().unwrap();
        drop(far);
        assert!(wait(&[Interest::end(&near)], None).unwrap()[0].hung_up);
    }

    #[test]
    fn no_time_at_all_and_far_too_much() {
        let (reader, writer) = pipe().unwrap();
        assert!(!wait(&[Interest::read(&reader)], Some(Duration::ZERO)).unwrap()[0].any());
        assert!(wait(&[Interest::write(&writer)], Some(Duration::MAX)).unwrap()[0].writable);
    }
}
