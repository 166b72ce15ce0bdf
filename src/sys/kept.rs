//! Pipes that hold a piece of a stream without its bytes ever being copied: what they are given are references to the
//! pages of the pipe that the stream comes from. What one holds can be given on any number of times (tee).
//!
//! No call here waits. An end is never inferred from a count: a pipe that takes nothing may be full though it holds few
//! bytes, since each page that is referred to takes a place, whatever there is of it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

/// What one is made to hold at most, in bytes: what an unprivileged process may have where nothing was changed
/// (/proc/sys/fs/pipe-max-size).
pub(crate) const SIZE: usize = 1 << 20;

/// Whether the kernel does for this process what such pipes are for: a sandbox may refuse that, in whichever words.
pub(crate) fn works() -> bool {
    let tried = || {
        let ((from, mut into), (kept, keep), (_given, give)) = (io::pipe()?, io::pipe()?, io::pipe()?);
        into.write_all(&[0])?;
        Ok::<_, io::Error>((calls::splice(from, keep, 1)?, calls::tee(kept, give, 1)?))
    };
    tried().is_ok_and(|bytes| bytes == (1, 1))
}

/// A pipe, both ends of it.
#[derive(Debug)]
pub(crate) struct KeptPipe {
    out: File,
    into: OwnedFd,
    len: usize,
    /// Bytes that it holds where each of its pages is full.
    size: usize,
}

impl KeptPipe {
    /// An empty one that may hold so many bytes, a power of two and at most [`SIZE`].
    ///
    /// # Errors
    /// The kernel has no descriptors left, or makes no pipe of this size for this user.
    pub(crate) fn new(size: usize) -> io::Result<Self> {
        let (out, into) = calls::pipe(size)?;
        Ok(KeptPipe { out: out.into(), into, len: 0, size })
    }

    /// Bytes that it holds where each of its pages is full.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Bytes that it holds.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes up to `most` bytes out of another pipe; 0 at its end.
    ///
    /// # Errors
    /// The kernel's; `WouldBlock` where there is nothing now, or no place for it here.
    pub(crate) fn take_from(&mut self, source: impl AsFd, most: usize) -> io::Result<usize> {
        let taken = calls::splice(source, &self.into, most)?;
        self.len += taken;
        Ok(taken)
    }

    /// Gives all that it holds to an empty one of at least its size as well; false if that was not all, and the other
    /// holds some of it.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn give_to(&self, other: &mut KeptPipe) -> io::Result<bool> {
        let given = calls::tee(&self.out, &other.into, self.len)?;
        other.len += given;
        Ok(given == self.len)
    }

    /// Moves what it holds to a socket, as much as that takes now.
    ///
    /// # Errors
    /// The socket's.
    pub(crate) fn move_to(&mut self, socket: impl AsFd) -> io::Result<usize> {
        let moved = calls::splice(&self.out, socket, self.len)?;
        self.len -= moved;
        Ok(moved)
    }

    /// Reads all that it holds into a space of exactly that length.
    ///
    /// # Errors
    /// The kernel's; it holds less.
    pub(crate) fn read_all(&mut self, space: &mut [u8]) -> io::Result<()> {
        self.out.read_exact(space)?;
        self.len -= space.len();
        Ok(())
    }
}

/// The kernel's calls. None of them waits.
#[cfg(target_os = "linux")]
mod calls {
    use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with};
    use std::io::{self, ErrorKind};
    use std::os::fd::{AsFd, OwnedFd};

    pub(super) fn pipe(size: usize) -> io::Result<(OwnedFd, OwnedFd)> {
        let (out, into) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let has = fcntl_setpipe_size(&into, size)?;
        if has < size { Err(ErrorKind::Unsupported.into()) } else { Ok((out, into)) }
    }

    pub(super) fn splice(from: impl AsFd, to: impl AsFd, most: usize) -> io::Result<usize> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        Ok(rustix::pipe::splice(from, None, to, None, most, flags)?)
    }

    pub(super) fn tee(from: impl AsFd, to: impl AsFd, most: usize) -> io::Result<usize> {
        Ok(rustix::pipe::tee(from, to, most, SpliceFlags::NONBLOCK)?)
    }
}

#[cfg(not(target_os = "linux"))]
mod calls {
    use std::io::{self, ErrorKind};
    use std::os::fd::{AsFd, OwnedFd};

    pub(super) fn pipe(_: usize) -> io::Result<(OwnedFd, OwnedFd)> {
        Err(ErrorKind::Unsupported.into())
    }

    pub(super) fn splice(_: impl AsFd, _: impl AsFd, _: usize) -> io::Result<usize> {
        Err(ErrorKind::Unsupported.into())
    }

    pub(super) fn tee(_: impl AsFd, _: impl AsFd, _: usize) -> io::Result<usize> {
        Err(ErrorKind::Unsupported.into())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::sys::pipe::{Interest, wait};
    use std::io::{ErrorKind, pipe};
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
        let mut kept = KeptPipe::new(SIZE).unwrap();
        assert_eq!(kept.take_from(&reader, 100_000).unwrap(), 100_000);
        assert_eq!(kept.take_from(&reader, SIZE).unwrap(), 200_001);
        let nothing = kept.take_from(&reader, SIZE).unwrap_err();
        assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
        for _ in 0..3 {
            let (near, mut far) = UnixStream::pair().unwrap();
            near.set_nonblocking(true).unwrap();
            let mut work = KeptPipe::new(SIZE).unwrap();
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
                assert!(wait(&[Interest::read(&far)], None).unwrap()[0].any());
                let n = far.read(&mut space).unwrap();
                came.extend_from_slice(&space[..n]);
            }
            assert!(came == bytes && work.is_empty());
        }
        drop(writer);
        // a process that another test forks may have the writer for a moment
        wait(&[Interest::end(&reader)], None).unwrap();
        assert_eq!(kept.take_from(&reader, 1).unwrap(), 0, "the end");
        assert!(read_all(&mut kept) == bytes && kept.is_empty());
    }

    #[test]
    fn small_pages_fill_it_before_its_bytes_do_and_none_is_lost() {
        let mut kept = KeptPipe::new(SIZE).unwrap();
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
        let mut other = KeptPipe::new(SIZE).unwrap();
        assert!(kept.give_to(&mut other).unwrap());
        assert!(read_all(&mut other) == sent);
    }

    /// Has the kernel refuse this call to this thread from now on, as sandboxes do.
    #[cfg(target_arch = "x86_64")]
    // only libc sets up such filters; nothing else here needs it
    #[allow(unsafe_code)]
    fn refuse(call: libc::c_long, errno: libc::c_int) {
        let step = |code: u32, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf, k };
        let mut steps = [
            // the number of the call is what the filter sees first
            step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
            step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, call as u32),
            step(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ERRNO | errno as u32),
            step(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
        ];
        let filter = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
        // SAFETY: both calls take these arguments, and the filter lives until the second one has returned.
        let refused = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) == 0
        };
        assert!(refused, "{}", io::Error::last_os_error());
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn a_kernel_that_refuses_either_call_is_found_out_before_a_byte_is_at_stake() {
        assert!(works());
        for (call, errno) in [(libc::SYS_splice, libc::EPERM), (libc::SYS_tee, libc::ENOSYS)] {
            // the filter goes with its thread
            let found = std::thread::spawn(move || {
                refuse(call, errno);
                works()
            });
            assert!(!found.join().unwrap());
        }
    }
}
