//! Commands that do not outlive us.
#![allow(unsafe_code)]

use std::process::Command;

/// Has the kernel send SIGTERM to the command when we die, however that comes about. It stays in our process
/// group, so that a terminal's ^C reaches it and it may read from the terminal.
///
/// The kernel takes the death of the _thread_ that spawns the command for ours, so that one has to live as
/// long as the command may. Only the command itself gets the signal, not what it starts; setuid programs
/// shed it. Elsewhere than on Linux nothing is done.
///
/// Spawning fails with `ESRCH` if we are gone before the command runs.
#[cfg(target_os = "linux")]
pub fn die_with_parent(command: &mut Command) {
    use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};
    use std::os::unix::process::CommandExt;
    let us = getpid();
    let ask = move || {
        set_parent_process_death_signal(Some(Signal::TERM))?;
        // A death before that call would go unnoticed.
        if getppid() == Some(us) { Ok(()) } else { Err(rustix::io::Errno::SRCH.into()) }
    };
    // SAFETY: between fork and exec the closure makes two system calls; it neither allocates nor locks.
    unsafe { command.pre_exec(ask) };
}

/// Not possible here: does nothing.
#[cfg(not(target_os = "linux"))]
pub fn die_with_parent(_: &mut Command) {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn the_command_ends_with_the_thread_that_started_it() {
        let spawn = || {
            let mut command = Command::new("sleep");
            command.arg("60");
            die_with_parent(&mut command);
            command.spawn().unwrap()
        };
        let mut child = std::thread::spawn(spawn).join().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGTERM));
    }

    #[test]
    fn a_command_runs_as_ever() {
        let mut command = Command::new("sh");
        command.args(["-c", "exit 3"]);
        die_with_parent(&mut command);
        assert_eq!(command.status().unwrap().code(), Some(3));
    }
}
