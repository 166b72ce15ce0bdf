//! Bytes that go from a socket into a pipe without being copied: the pipe is given the pages that the network brought.

use std::io;
use std::os::fd::AsFd;

/// Moves up to `len` bytes that have come on a socket into a pipe, as many as there are and the pipe has room for; 0 at the
/// peer's end. Waits neither for the one nor for the other: if either has nothing now, that is `WouldBlock`, and it does not
/// say which. The socket must be non-blocking; the pipe need not be.
///
/// Errors: the socket's; `BrokenPipe` also where the pipe has no reader; `InvalidInput` where the kernel does not do this.
#[cfg(target_os = "linux")]
pub(crate) fn into_pipe(socket: impl AsFd, pipe: impl AsFd, len: usize) -> io::Result<usize> {
    use rustix::pipe::{SpliceFlags, splice};
    Ok(splice(socket, None, pipe, None, len, SpliceFlags::MOVE | SpliceFlags::NONBLOCK)?)
}

/// Nothing is moved here.
///
/// Errors: `InvalidInput`, always.
#[cfg(not(target_os = "linux"))]
pub(crate) fn into_pipe(_: impl AsFd, _: impl AsFd, _: usize) -> io::Result<usize> {
    Err(io::ErrorKind::InvalidInput.into())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::sys::pipe::{Interest, grow, wait};
    use std::io::{ErrorKind, Read, Write, pipe};
    use std::net::{TcpListener, TcpStream};

    fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let far = listener.accept().unwrap().0;
        far.set_nonblocking(true).unwrap();
        (near, far)
    }

    fn nothing_now(moved: io::Result<usize>) -> bool {
        moved.is_err_and(|e| e.kind() == ErrorKind::WouldBlock)
    }

    #[test]
    fn bytes_are_moved_in_order_and_the_end_is_seen() {
        let ((mut near, far), (mut reader, writer)) = (connection(), pipe().unwrap());
        assert!(nothing_now(into_pipe(&far, &writer, 10)), "nothing has come");
        near.write_all(b"hello, world").unwrap();
        wait(&[Interest::read(&far)], None).unwrap();
        assert_eq!(into_pipe(&far, &writer, 5).unwrap(), 5);
        assert_eq!(into_pipe(&far, &writer, 1000).unwrap(), 7);
        drop(near);
        wait(&[Interest::read(&far)], None).unwrap();
        assert_eq!(into_pipe(&far, &writer, 1000).unwrap(), 0);
        let mut bytes = [0; 12];
        reader.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"hello, world");
    }

    #[test]
    fn a_full_pipe_is_not_waited_for_and_one_without_a_reader_is_an_error() {
        let ((mut near, far), (mut reader, writer)) = (connection(), pipe().unwrap());
        let size = grow(&writer);
        (&writer).write_all(&vec![7; size]).unwrap();
        near.write_all(b"hello").unwrap();
        wait(&[Interest::read(&far)], None).unwrap();
        assert!(nothing_now(into_pipe(&far, &writer, 5)));
        reader.read_exact(&mut vec![0; size]).unwrap();
        assert_eq!(into_pipe(&far, &writer, 2).unwrap(), 2);
        drop(reader);
        // a process that another test starts may have the reader for a moment
        wait(&[Interest::end(&writer)], None).unwrap();
        assert_eq!(into_pipe(&far, &writer, 3).unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}
