//! Commands that do not outlive us, and how they ended.
#![allow(unsafe_code)]

use crate::sys::signal::Mask;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// By itself, with this status.
    Status(i32),
    /// By this signal.
    Signal(i32),
}

/// Restores the default action of SIGCHLD. The parent may have set it to be ignored, and then no child's exit status is
/// kept.
pub(crate) fn heed_children() {
    // SAFETY: the default action runs no code of ours, and nothing here handles this signal.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// Bytes that a child has written in all, to files, pipes and sockets; None if the kernel does not tell.
pub(crate) fn written(pid: u32) -> Option<u64> {
    let counts = std::fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    counts.lines().find_map(|line| line.strip_prefix("wchar: "))?.parse().ok()
}

/// Waits until a child has ended, and leaves it to be reaped: until that, its number and its group's are
/// nobody else's, and signals to them hit nobody else.
///
/// Errors: it is no child of ours, or was reaped already (`ECHILD`); `EINVAL` for a number that is no process.
pub(crate) fn await_exit(pid: u32) -> io::Result<Exit> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    loop {
        match waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
            Ok(Some(status)) => {
                let by_itself = status.exit_status().map(Exit::Status);
                let end = by_itself.or(status.terminating_signal().map(Exit::Signal));
                return end.ok_or_else(|| io::ErrorKind::InvalidData.into());
            }
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// How a child has ended, if it has; it is left to be reaped. One that is no child of ours has ended too.
pub(crate) fn exit_so_far(pid: u32) -> Option<Exit> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw)?;
    match waitid(WaitId::Pid(pid), options) {
        Ok(Some(status)) => {
            let by_itself = status.exit_status().map(Exit::Status);
            Some(by_itself.or(status.terminating_signal().map(Exit::Signal)).unwrap_or(Exit::Status(-1)))
        }
        Ok(None) | Err(rustix::io::Errno::INTR) => None,
        Err(_) => Some(Exit::Status(-1)),
    }
}

/// Waits until a child has ended, and reaps it.
///
/// Errors: as [`await_exit`].
pub(crate) fn reap(pid: u32) -> io::Result<()> {
    await_exit(pid)?;
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty())?;
    Ok(())
}

/// The command begins with the signals blocked that this process began with, not with what our threads block.
pub(crate) fn begin_with_our_mask(command: &mut Command) {
    let mask = Mask::at_start();
    let restore = move || {
        mask.restore();
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes one system call; it neither allocates nor locks.
    unsafe { command.pre_exec(restore) };
}

/// What is typed to end or stop a program is not for the command: it ignores SIGINT and SIGQUIT, and so does what it
/// starts.
pub(crate) fn spare_the_keyboard(command: &mut Command) {
    let ignore = || {
        for signo in [libc::SIGINT, libc::SIGQUIT] {
            // SAFETY: to ignore a signal runs no code of ours.
            unsafe { libc::signal(signo, libc::SIG_IGN) };
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes two system calls; it neither allocates nor locks.
    unsafe { command.pre_exec(ignore) };
}

/// This process leaves the session of whoever started it, and its terminal, if it can: the leader of a process group
/// cannot, but leads a session mostly.
pub(crate) fn leave_session() {
    // fails only for the leader of a group
    let _ = rustix::process::setsid();
}

/// Has the kernel send SIGTERM to the command when we die, however that comes about.
///
/// The kernel takes the death of the _thread_ that spawns the command for ours, so that one has to live as
/// long as the command may. Only the command itself gets the signal, not what it starts; setuid programs
/// shed it. Elsewhere than on Linux nothing is done.
///
/// Spawning fails with `ESRCH` if we are gone before the command runs.
#[cfg(target_os = "linux")]
pub(crate) fn die_with_parent(command: &mut Command) {
    use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};
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
pub(crate) fn die_with_parent(_: &mut Command) {}

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
    fn an_exit_is_told_and_the_child_left_to_be_reaped() {
        let ends = |script: &str| {
            let mut child = Command::new("sh").args(["-c", script]).spawn().unwrap();
            let exit = await_exit(child.id()).unwrap();
            assert_eq!(await_exit(child.id()).unwrap(), exit);
            child.wait().unwrap();
            assert!(await_exit(child.id()).is_err());
            exit
        };
        assert_eq!(ends("exit 7"), Exit::Status(7));
        assert_eq!(ends("kill -KILL $$"), Exit::Signal(9));
        assert!(await_exit(0).is_err());
    }

    #[test]
    fn a_command_runs_as_ever() {
        let mut command = Command::new("sh");
        command.args(["-c", "exit 3"]);
        die_with_parent(&mut command);
        assert_eq!(command.status().unwrap().code(), Some(3));
    }
}
