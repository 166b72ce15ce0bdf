//! Whether stdin and stdout were there when the program was executed.
//!
//! Rust's runtime opens /dev/null on those that were closed, before `main`. So `rx >&-` would write the
//! stream to /dev/null and call it delivered. Hence they are looked at earlier still: functions listed in
//! the section `.init_array` are called before the runtime begins.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

static STDIN_CLOSED: AtomicBool = AtomicBool::new(false);
static STDOUT_CLOSED: AtomicBool = AtomicBool::new(false);

/// Whether descriptor 0 was closed when the process was executed. Elsewhere than on Linux: false.
pub fn stdin_was_closed() -> bool {
    STDIN_CLOSED.load(Ordering::Relaxed)
}

/// Whether descriptor 1 was closed when the process was executed. Elsewhere than on Linux: false.
pub fn stdout_was_closed() -> bool {
    STDOUT_CLOSED.load(Ordering::Relaxed)
}

/// Takes standard input away from everyone else in this process: descriptor 0 reads nothing from now on.
///
/// Errors: no descriptor left.
pub(crate) fn take_stdin() -> io::Result<File> {
    let taken = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    rustix::stdio::dup2_stdin(nothing_to_read()?)?;
    Ok(taken)
}

/// What reads as empty: /dev/null, or where there is none (a bare chroot) a pipe that nobody writes to.
///
/// Errors: no descriptor left.
pub(crate) fn nothing_to_read() -> io::Result<OwnedFd> {
    File::open("/dev/null").map(OwnedFd::from).or_else(|_| io::pipe().map(|(reader, _)| reader.into()))
}

/// /dev/null, or where there is none a pipe that nobody reads.
///
/// Errors: no descriptor left.
pub(crate) fn nowhere_to_write() -> io::Result<OwnedFd> {
    let null = File::options().write(true).open("/dev/null").map(OwnedFd::from);
    null.or_else(|_| io::pipe().map(|(_, writer)| writer.into()))
}

/// Takes standard output away from everyone else in this process, so that closing what is returned ends it
/// for its reader: what goes to descriptor 1 from now on goes nowhere.
///
/// Errors: no descriptor left.
pub(crate) fn take_stdout() -> io::Result<File> {
    let taken = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    rustix::stdio::dup2_stdout(nowhere_to_write()?)?;
    Ok(taken)
}

/// Closes a file and says what the kernel says to it: on some file systems that is where a write fails.
///
/// Errors: the kernel's; the descriptor is gone all the same.
pub(crate) fn close(file: File) -> io::Result<()> {
    // SAFETY: the descriptor was owned, and nobody uses it after this.
    match unsafe { libc::close(file.into_raw_fd()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(target_os = "linux")]
#[used]
// SAFETY: the section is an array of pointers to C functions, and this is one.
#[unsafe(link_section = ".init_array.00098")]
static LOOK: extern "C" fn() = look;

/// Runs before the runtime: no allocation, no panic, nothing of std but atomics.
#[cfg(target_os = "linux")]
extern "C" fn look() {
    STDIN_CLOSED.store(is_closed(libc::STDIN_FILENO), Ordering::Relaxed);
    STDOUT_CLOSED.store(is_closed(libc::STDOUT_FILENO), Ordering::Relaxed);
}

#[cfg(target_os = "linux")]
fn is_closed(fd: libc::c_int) -> bool {
    // SAFETY: asks for a flag of a number that need not be a descriptor; fails only where it is none.
    unsafe { libc::fcntl(fd, libc::F_GETFD) == -1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    // That it works from the library, linked into another program, is held by tests/start.rs.

    #[test]
    fn the_test_runner_has_both() {
        assert!(!stdin_was_closed());
        assert!(!stdout_was_closed());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_closed_descriptor_is_known() {
        assert!(!is_closed(2));
        assert!(is_closed(1_000_000));
    }
}
