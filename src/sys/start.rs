//! Starts a program hundreds of times a second: without a copy of this process in between.
//!
//! `fork` copies the page tables, and every page that this process writes to afterwards is copied too, while all its
//! threads run: that takes as long as the start of a small program. Here the child borrows the memory until it runs the
//! program, and the calling thread waits for so long, as with `vfork`. What always holds: the child makes system calls
//! and no more, with every signal blocked and no handler of ours left.
#![allow(unsafe_code)]

use super::wards::Ward;
use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

/// A program, and the words it is given.
pub(crate) struct Program {
    /// The file, as it is to be found from the working directory.
    path: CString,
    /// The words, the first of them its name.
    words: Vec<CString>,
}

impl Program {
    /// The program in this file, which is not looked for in `PATH`; the first word is its name.
    ///
    /// Errors: `EINVAL` for a path or a word with a byte 0 in it, or no file name.
    pub(crate) fn new<'a>(path: &OsStr, words: impl IntoIterator<Item = &'a OsStr>) -> io::Result<Program> {
        let bytes = path.as_bytes();
        // a name without a slash would be looked for
        let path = if bytes.contains(&b'/') { bytes.to_vec() } else { [b"./", bytes].concat() };
        let words = words.into_iter().map(|word| CString::new(word.as_bytes()));
        let (path, words) = (CString::new(path)?, words.collect::<Result<Vec<_>, _>>()?);
        if words.is_empty() { Err(io::ErrorKind::InvalidInput.into()) } else { Ok(Program { path, words }) }
    }

    /// Runs it with these as stdin, stdout and stderr and no other descriptor that this process has or was given; in
    /// a process group of its own, with the signals blocked that this process began with, and SIGPIPE as it is by
    /// default. The kernel sends it SIGTERM when the calling thread ends, and its whole group is ended if this process
    /// dies while it is a ward. Its number; it is to be reaped, and to be no ward any more before that.
    ///
    /// Errors: it cannot be run; those of `execve` and `clone`.
    #[cfg(target_os = "linux")]
    pub(crate) fn start(&self, stdio: [OwnedFd; 3], ward: &Ward) -> io::Result<u32> {
        linux::start(&self.path, &self.words, stdio, ward)
    }

    /// The same in the ordinary way.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn start(&self, stdio: [OwnedFd; 3], ward: &Ward) -> io::Result<u32> {
        use std::os::unix::process::CommandExt;
        let [stdin, stdout, stderr] = stdio;
        let word = |word: &CString| OsStr::from_bytes(word.to_bytes()).to_owned();
        let mut command = std::process::Command::new(OsStr::from_bytes(self.path.to_bytes()));
        command.arg0(word(&self.words[0])).args(self.words[1..].iter().map(word));
        command.process_group(0).stdin(stdin).stdout(stdout).stderr(stderr);
        super::child::begin_with_our_mask(&mut command);
        let id = command.spawn()?.id();
        ward.enter(id as i32);
        Ok(id)
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use super::Ward;
    use crate::sys::signal::{Mask, block_all, forget_handlers};
    use rustix::io::fcntl_dupfd_cloexec;
    use std::ffi::{CString, c_char, c_int, c_void};
    use std::io;
    use std::mem::MaybeUninit;
    use std::os::fd::{AsRawFd, OwnedFd, RawFd};
    use std::ptr::{from_ref, null};
    use std::sync::atomic::{AtomicI32, Ordering};

    /// The child's stack, in bytes: for a dozen system calls.
    const STACK: usize = 64 << 10;

    /// What the child is told, and tells.
    struct Errand {
        path: *const c_char,
        /// Ends with a null pointer, as `execv` wants it.
        words: *const *const c_char,
        /// None of them is 0, 1 or 2.
        stdio: [RawFd; 3],
        ward: *const Ward,
        mask: Mask,
        parent: libc::pid_t,
        /// Why the program does not run; 0 while that is not known.
        errno: AtomicI32,
    }

    pub(super) fn start(
        path: &CString,
        words: &[CString],
        stdio: [OwnedFd; 3],
        ward: &Ward,
    ) -> io::Result<u32> {
        let stdio = above_stdio(stdio)?;
        let mut pointers: Vec<*const c_char> = words.iter().map(|word| word.as_ptr()).collect();
        pointers.push(null());
        let errand = Errand {
            path: path.as_ptr(),
            words: pointers.as_ptr(),
            stdio: stdio.each_ref().map(AsRawFd::as_raw_fd),
            ward: from_ref(ward),
            mask: Mask::at_start(),
            // SAFETY: it touches no memory.
            parent: unsafe { libc::getpid() },
            errno: AtomicI32::new(0),
        };
        let mut stack = vec![MaybeUninit::<u128>::uninit(); STACK / size_of::<u128>()];
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        let mask = block_all();
        // SAFETY: the child has a stack of its own, aligned to 16 bytes, and this thread does not go on before the child
        // has left this memory: so everything that `errand` points to outlives it. No signal handler runs in it.
        let pid = unsafe {
            let errand = from_ref(&errand).cast_mut().cast();
            libc::clone(carry_out, stack.as_mut_ptr_range().end.cast(), flags, errand)
        };
        let failed = io::Error::last_os_error();
        mask.restore();
        let Ok(pid) = u32::try_from(pid) else { return Err(failed) };
        match errand.errno.load(Ordering::Relaxed) {
            0 => Ok(pid),
            errno => {
                ward.strike();
                let _ = crate::sys::child::reap(pid);
                Err(io::Error::from_raw_os_error(errno))
            }
        }
    }

    /// The same descriptors, none of them one that the child puts another one at.
    fn above_stdio(stdio: [OwnedFd; 3]) -> io::Result<[OwnedFd; 3]> {
        let mut above = Vec::with_capacity(stdio.len());
        for fd in stdio {
            let is_above = fd.as_raw_fd() > libc::STDERR_FILENO;
            above.push(if is_above { fd } else { fcntl_dupfd_cloexec(&fd, libc::STDERR_FILENO + 1)? });
        }
        above.try_into().map_err(|_| io::ErrorKind::InvalidInput.into())
    }

    /// The child's work.
    extern "C" fn carry_out(errand: *mut c_void) -> c_int {
        // SAFETY: it is what `start` gave, which waits until this process has ended or runs the program.
        let errand = unsafe { &*errand.cast::<Errand>() };
        let errno = run(errand).raw_os_error().unwrap_or(libc::EINVAL);
        errand.errno.store(errno, Ordering::Relaxed);
        127
    }

    /// Becomes the program; why not, if it does not.
    fn run(errand: &Errand) -> io::Error {
        forget_handlers();
        // SAFETY: none of these calls touches memory of ours, except for what `start` keeps.
        unsafe {
            libc::setpgid(0, 0);
            // before the look at who is the parent: who dies after that finds it there
            (*errand.ward).enter(libc::getpid());
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) != 0 {
                return io::Error::last_os_error();
            }
            // a death before that call would go unnoticed
            if libc::getppid() != errand.parent {
                return io::Error::from_raw_os_error(libc::ESRCH);
            }
            // nothing is closed before the program runs. A kernel that does not know the call refuses it; then what
            // this process was given without close-on-exec stays open
            libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
            for (fd, at) in errand.stdio.into_iter().zip(0..) {
                if libc::dup2(fd, at) < 0 {
                    return io::Error::last_os_error();
                }
            }
        }
        errand.mask.restore();
        // SAFETY: both end as they must, and are kept by `start`.
        unsafe { libc::execvp(errand.path, errand.words) };
        io::Error::last_os_error()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::child::{Exit, await_exit, reap};
    use std::fs::File;
    use std::io::{Read, pipe};

    fn program(path: &str, words: &[&str]) -> Program {
        Program::new(path.as_ref(), words.iter().map(|word| OsStr::new(*word))).unwrap()
    }

    /// Starts it with nothing to read; what it wrote to stdout and stderr, and how it ended.
    fn run(program: &Program) -> io::Result<(String, Exit)> {
        let (mut from, to) = pipe().unwrap();
        let [stdin, stdout] = [File::open("/dev/null").unwrap().into(), OwnedFd::from(to)];
        let stderr = stdout.try_clone().unwrap();
        let ward = Ward::claim()?;
        let pid = program.start([stdin, stdout, stderr], &ward)?;
        let mut said = String::new();
        from.read_to_string(&mut said).unwrap();
        let exit = await_exit(pid).unwrap();
        reap(pid).unwrap();
        Ok((said, exit))
    }

    #[test]
    fn a_program_gets_its_words_and_its_end_is_told() {
        let shell =
            program("/bin/sh", &["name", "-c", "echo $0 $1; echo err >&2; exit 7", "one", "two words"]);
        assert_eq!(run(&shell).unwrap(), ("one two words\nerr\n".into(), Exit::Status(7)));
    }

    #[test]
    fn what_cannot_be_run_is_told_and_leaves_no_child() {
        for (path, error) in [("/no/such", libc::ENOENT), ("/etc", libc::EACCES), ("no-such", libc::ENOENT)] {
            let failed = run(&program(path, &["x"])).unwrap_err();
            assert_eq!(failed.raw_os_error(), Some(error), "{path}");
        }
        assert!(Program::new("a\0b".as_ref(), [OsStr::new("x")]).is_err());
        assert!(Program::new("/bin/sh".as_ref(), [OsStr::new("x\0")]).is_err());
        assert!(Program::new("/bin/sh".as_ref(), []).is_err());
    }

    #[test]
    fn many_threads_start_programs_at_once() {
        std::thread::scope(|scope| {
            for thread in 0..8 {
                scope.spawn(move || {
                    for turn in 0..25 {
                        let said = format!("{thread} {turn}");
                        let echo = program("/bin/sh", &["sh", "-c", "echo $0", &said]);
                        assert_eq!(run(&echo).unwrap(), (format!("{said}\n"), Exit::Status(0)));
                    }
                });
            }
        });
    }

    #[test]
    fn it_leads_a_group_and_its_signals_are_as_they_were() {
        let shell =
            program("/bin/sh", &["sh", "-c", "read _ _ _ _ group _ < /proc/$$/stat; echo $((group - $$))"]);
        assert_eq!(run(&shell).unwrap().0, "0\n");
        let status = program("/bin/grep", &["grep", "-E", "^Sig(Blk|Ign|Cgt):", "/proc/self/status"]);
        let (said, _) = run(&status).unwrap();
        for line in said.lines() {
            let bits = u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap();
            // one less than their numbers: SIGPIPE is not ignored, though it is here
            let is = |signo: i32| bits & (1 << (signo - 1)) != 0;
            assert!(!is(libc::SIGPIPE) && !is(libc::SIGCHLD) && !is(libc::SIGTERM), "{line}");
        }
        assert_eq!(said.lines().count(), 3);
    }

    #[test]
    fn it_ends_with_the_thread_that_started_it() {
        let start = || {
            let null = || OwnedFd::from(File::options().read(true).write(true).open("/dev/null").unwrap());
            let (sleep, ward) = (program("/bin/sleep", &["sleep", "60"]), Ward::claim().unwrap());
            sleep.start([null(), null(), null()], &ward).unwrap()
        };
        let pid = std::thread::spawn(start).join().unwrap();
        assert_eq!(await_exit(pid).unwrap(), Exit::Signal(libc::SIGTERM));
        reap(pid).unwrap();
    }
}
