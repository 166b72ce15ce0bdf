//! Whether stdin and stdout were there when the program was executed.
//!
//! Rust's runtime opens /dev/null on those that were closed, before `main`. So `rx >&-` would write the
//! stream to /dev/null and call it delivered. Hence they are looked at earlier still: functions listed in
//! the section `.init_array` are called before the runtime begins.
#![allow(unsafe_code)]

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
