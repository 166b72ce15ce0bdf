//! Pipes that hold a piece of a stream without its bytes ever being copied: what they are given are references to the
//! pages of the pipe that the stream comes from. What one holds can be given on any number of times (tee).
//!
//! No call here waits. An end is never inferred from a count: a pipe that takes nothing may be full though it holds few
//! bytes, since each page that is referred to takes a place, whatever there is of it.

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice, tee};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, OwnedFd};

/// What each of them is made to hold, in bytes: what an unprivileged process may have where nothing was changed
/// (/proc/sys/fs/pipe-max-size).
pub const SIZE: usize = 1 << 20;

/// A pipe of [`SIZE`] bytes, both ends of it.
#[derive(Debug)]
pub struct KeptPipe {
    out: File,
    into: OwnedFd,
    len: usize,
}

impl KeptPipe {
    /// An empty one.
    ///
    /// # Errors
    /// The kernel has no descriptors left, or makes no pipe of this size for this user.
    pub fn new() -> io::Result<Self> {
        let (out, into) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        if fcntl_setpipe_size(&into, SIZE)? < SIZE {
            return Err(ErrorKind::Unsupported.into());
        }
        Ok(KeptPipe { out: out.into(), into, len: 0 })
    }

    /// Bytes that it holds.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes up to `most` bytes out of another pipe; 0 at its end.
    ///
    /// # Errors
    /// The kernel's; `WouldBlock` where there is nothing now, or no place for it here.
    pub fn take_from(&mut self, source: impl AsFd, most: usize) -> io::Result<usize> {
        let taken = splice(source, None, &self.into, None, most, SpliceFlags::MOVE | SpliceFlags::NONBLOCK)?;
        self.len += taken;
        Ok(taken)
    }

    /// Gives all that it holds to an empty one as well; false if that was not all, and the other holds some of it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn give_to(&self, other: &mut KeptPipe) -> io::Result<bool> {
        let given = tee(&self.out, &other.into, self.len, SpliceFlags::NONBLOCK)?;
        other.len += given;
        Ok(given == self.len)
    }

    /// Moves what it holds to a socket, as much as that takes now.
    ///
    /// # Errors
    /// The socket's.
    pub fn move_to(&mut self, socket: impl AsFd) -> io::Result<usize> {
        let moved =
            splice(&self.out, None, socket, None, self.len, SpliceFlags::MOVE | SpliceFlags::NONBLOCK)?;
        self.len -= moved;
        Ok(moved)
    }

    /// Reads all that it holds into a space of exactly that length.
    ///
    /// # Errors
    /// The kernel's; it holds less.
    pub fn read_all(&mut self, space: &mut [u8]) -> io::Result<()> {
        self.out.read_exact(space)?;
        self.len -= space.len();
        Ok(())
    }
}

/// Whether this is a pipe out of which bytes can be moved.
pub fn can_take_from(source: impl AsFd) -> bool {
    let mut pipe = match KeptPipe::new() {
        Ok(pipe) => pipe,
        Err(_) => return false,
    };
    // nothing is asked for, so nothing is taken; what is no pipe says so
    let is_pipe = rustix::pipe::fcntl_getpipe_size(&source).is_ok();
    is_pipe && pipe.take_from(&source, 0).is_ok_and(|taken| taken == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Write, pipe};
    use std::os::unix::net::UnixStream;

    fn pattern(len: usize) -> Vec<u8> {
        (0..len as u64).map(|at| (at * 31 + at / 251) as u8).collect()
    }

    fn read_all(kept: &mut KeptPipe) -> Vec<u8> {
        let mut bytes = vec![0; kept.len()];
        kept.read_all(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn what_is_kept_can_be_sent_again_and_again_and_read() {
        let (reader, mut writer) = pipe().unwrap();
        rustix::pipe::fcntl_setpipe_size(&writer, SIZE).unwrap();
        let bytes = pattern(300_001);
        writer.write_all(&bytes).unwrap();
        let mut kept = KeptPipe::new().unwrap();
        assert_eq!(kept.take_from(&reader, 100_000).unwrap(), 100_000);
        assert_eq!(kept.take_from(&reader, SIZE).unwrap(), 200_001);
        let nothing = kept.take_from(&reader, SIZE).unwrap_err();
        assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
        for _ in 0..3 {
            let (near, mut far) = UnixStream::pair().unwrap();
            near.set_nonblocking(true).unwrap();
            let mut work = KeptPipe::new().unwrap();
            assert!(kept.give_to(&mut work).unwrap());
            let mut came = Vec::new();
            while came.len() < bytes.len() {
                if !work.is_empty() {
                    match work.move_to(&near) {
                        Ok(n) => assert!(n > 0),
                        Err(e) => assert_eq!(e.kind(), ErrorKind::WouldBlock),
                    }
                }
                let mut space = [0; 65_536];
                let n = far.read(&mut space).unwrap();
                came.extend_from_slice(&space[..n]);
            }
            assert!(came == bytes && work.is_empty());
        }
        drop(writer);
        assert_eq!(kept.take_from(&reader, 1).unwrap(), 0, "the end");
        assert!(read_all(&mut kept) == bytes && kept.is_empty());
    }

    #[test]
    fn small_pages_fill_it_before_its_bytes_do_and_none_is_lost() {
        let mut kept = KeptPipe::new().unwrap();
        let (reader, mut writer) = pipe().unwrap();
        let mut sent = Vec::new();
        loop {
            writer.write_all(&[sent.len() as u8; 100]).unwrap();
            match kept.take_from(&reader, 100) {
                Ok(100) => sent.extend_from_slice(&[sent.len() as u8; 100]),
                Ok(other) => panic!("{other} bytes of 100"),
                Err(e) => break assert_eq!(e.kind(), ErrorKind::WouldBlock),
            }
        }
        assert!(sent.len() < SIZE / 2, "{}", sent.len());
        let mut other = KeptPipe::new().unwrap();
        assert!(kept.give_to(&mut other).unwrap());
        assert!(read_all(&mut other) == sent);
    }

    #[test]
    fn only_a_pipe_gives_its_bytes_so() {
        let (reader, mut writer) = pipe().unwrap();
        writer.write_all(b"x").unwrap();
        assert!(can_take_from(&reader));
        let mut byte = [0; 2];
        assert_eq!((&reader).read(&mut byte).unwrap(), 1, "nothing was taken");
        assert!(!can_take_from(UnixStream::pair().unwrap().0));
        assert!(!can_take_from(File::open("/dev/null").unwrap()));
    }
}
