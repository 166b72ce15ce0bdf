//! A process that keeps a command's stdin open when this process dies, however it dies.
//!
//! A command that reads a pipe cannot tell "that was all" from "the writer is dead". So the guard holds the pipe's
//! writing end too. If this process dies without having dismissed the guard, the guard ends the command's process
//! group. It closes its end of the pipe only when nobody reads the pipe any more. The guard is forked and not
//! executed, so it needs neither /proc nor the program's file; between fork and exit it makes system calls only.
//!
//! What always holds: the guard has the pipe's writing end and the socket to this process, and no other descriptor. It
//! is in a session of its own, so that neither ^C nor a terminal's end reaches it. It blocks every signal that can be
//! blocked. It has a name and a command line of its own, so that killing this program by name does not kill the guard.
//!
//! What it cannot prevent: SIGKILL to the guard and to this process, and not to the command. Whatever kills whole
//! cgroups or users kills the command in the same sweep, before it can read an end. A command that changed its user
//! (sudo) may not be signalled: then the guard stays, and holds the pipe, for as long as somebody reads it.
#![allow(unsafe_code)]

use crate::sys::signal::block_all;
use crate::sys::title;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::process::{Pid, Signal, WaitOptions};
use rustix::process::{kill_process, kill_process_group, setsid, test_kill_process_group, waitpid};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// As `ps` and `pkill` see it; at most 15 bytes.
const NAME: &std::ffi::CStr = c"stdin-guard";

/// How long the command has to end after SIGTERM, before SIGKILL.
pub(super) const TERM_GRACE_MS: i64 = 3000;

/// How often the guard looks whether the group has gone.
const STEP_MS: i64 = 20;

/// What this process says to the guard, a byte each.
const DISMISSED: u8 = 1;
const LET_GO: u8 = 2;

/// Without the call that closes a range, descriptors are closed one by one up to this: many more than we ever have, and
/// closing them takes some 10 ms.
const FDS_MAX: RawFd = 1 << 16;

/// The guard of one command's stdin. Dropped without [`Guard::dismiss`], it does its work: the command is ended.
#[derive(Debug)]
pub(crate) struct Guard {
    /// Closed with us; nobody else has it.
    voice: UnixStream,
    pid: Pid,
}

impl Guard {
    /// Starts a guard that holds `stdin`, the writing end of a pipe.
    ///
    /// # Errors
    /// The kernel has no processes or descriptors left.
    pub(crate) fn start(stdin: BorrowedFd<'_>) -> io::Result<Guard> {
        let (voice, ear) = UnixStream::pair()?;
        // SAFETY: `guard` makes system calls only: it neither allocates nor locks.
        let pid = unsafe { fork_off(|| guard(ear.as_raw_fd(), stdin.as_raw_fd())) }?;
        Ok(Guard { voice, pid })
    }

    /// The guard learns of the command before that runs, as the leader of its process group. To be called before it is
    /// spawned, with [`CommandExt::process_group`] 0; spawning fails if the guard is gone.
    pub(crate) fn watch(&self, command: &mut Command) -> io::Result<()> {
        let voice = self.voice.try_clone()?;
        let tell = move || {
            let id = rustix::process::getpid().as_raw_pid().to_ne_bytes();
            send(&voice, &id, SendFlags::NOSIGNAL)?;
            Ok(())
        };
        // SAFETY: between fork and exec the closure makes two system calls; it neither allocates nor locks.
        unsafe { command.pre_exec(tell) };
        Ok(())
    }

    /// From now on the end of the command's stdin means the end of the stream: the guard closes its end of the pipe. It
    /// still ends the command if this process dies without having dismissed it.
    pub(crate) fn let_go(&self) {
        // fails only when the guard is gone already
        let _ = send(&self.voice, &[LET_GO], SendFlags::NOSIGNAL);
    }

    /// From now on the end of the command's stdin means the end of the stream, or nothing any more. When this returns
    /// the guard is gone, and its end of the pipe closed.
    pub(crate) fn dismiss(self) {
        // fails only when the guard is gone already
        let _ = send(&self.voice, &[DISMISSED], SendFlags::NOSIGNAL);
        // fails only if other code has reaped our child
        let _ = retry_on_intr(|| waitpid(Some(self.pid), WaitOptions::empty()));
    }
}

/// Forks a process that blocks every signal, does no more than this, and ends.
///
/// # Safety
/// `life` makes system calls only: it neither allocates nor locks, since other threads' locks may be held for ever in that
/// process.
pub(super) unsafe fn fork_off(life: impl FnOnce()) -> io::Result<Pid> {
    // no signal handler of this program may ever run there
    let before = block_all();
    // SAFETY: the child runs what the caller answers for, and nothing else.
    let forked = match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            life();
            // SAFETY: ends this process without running anything of what it shares with its parent.
            unsafe { libc::_exit(0) }
        }
        pid => Pid::from_raw(pid).ok_or_else(|| io::ErrorKind::Other.into()),
    };
    before.restore();
    forked
}

/// The guard's whole life. No allocation, no lock, no panic: other threads' locks may be held for ever here.
fn guard(ear: RawFd, stdin: RawFd) {
    prepare(NAME, ear, stdin);
    // SAFETY: both are open in the parent, and so here; they are closed only by the end of this process.
    let (ear, stdin) = unsafe { (BorrowedFd::borrow_raw(ear), BorrowedFd::borrow_raw(stdin)) };
    if let Some(command) = await_command(ear) {
        match await_word(ear, stdin) {
            Word::Dismissed => {}
            Word::None => end(command, Some(stdin)),
            Word::LetGo => end(command, None),
        }
    }
}

/// Lets go of everything that is not needed: of all descriptors but these two, which may be the same one. What fails is
/// not needed either. Only for a process that was forked and runs nothing else.
pub(super) fn prepare(name: &std::ffi::CStr, one: RawFd, other: RawFd) {
    let _ = setsid();
    let (low, high) = (one.min(other), one.max(other));
    close_range(0, low - 1);
    close_range(low + 1, high - 1);
    close_range(high + 1, RawFd::MAX);
    let _ = rustix::process::chdir(c"/");
    title::change(name);
    spare_from_oom();
}

/// Closes every descriptor from `first` to `last`, if there is any number between.
fn close_range(first: RawFd, last: RawFd) {
    if first > last {
        return;
    }
    #[cfg(target_os = "linux")]
    // SAFETY: nothing of this process uses them: it has no other code than this file's.
    if unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } == 0 {
        return;
    }
    // before Linux 5.9, or where only known calls are allowed
    close_each(first, last);
}

fn close_each(first: RawFd, last: RawFd) {
    for fd in first..=last.min(FDS_MAX) {
        // SAFETY: the caller says that nobody uses them. A number that is no descriptor is refused.
        unsafe { libc::close(fd) };
    }
}

/// Where only root may ask for this, the guard is still too small to be chosen.
fn spare_from_oom() {
    use rustix::fs::{Mode, OFlags, open};
    if let Ok(file) = open(c"/proc/self/oom_score_adj", OFlags::WRONLY, Mode::empty()) {
        let _ = rustix::io::write(&file, b"-1000");
    }
}

/// The command's process, once it is there; none if we are gone or have dismissed it before.
fn await_command(ear: BorrowedFd<'_>) -> Option<Pid> {
    let mut id = [0; 4];
    let (n, _) = retry_on_intr(|| recv(ear, &mut id, RecvFlags::empty())).ok()?;
    // never the group of all processes
    (n == id.len()).then(|| Pid::from_raw(i32::from_ne_bytes(id))).flatten().filter(|pid| !pid.is_init())
}

/// What was said last before we died, if we did.
enum Word {
    /// The guard is not needed any more.
    Dismissed,
    /// We died without a word.
    None,
    /// We died after the end of the stream.
    LetGo,
}

/// Waits for the last word, or for our death. When the stream has ended, the pipe's end is closed.
fn await_word(ear: BorrowedFd<'_>, stdin: BorrowedFd<'_>) -> Word {
    let mut last = Word::None;
    loop {
        let mut word = [0; 1];
        match retry_on_intr(|| recv(ear, &mut word, RecvFlags::empty())) {
            Ok((1, _)) if word == [LET_GO] => {
                if matches!(last, Word::None) {
                    // SAFETY: it is not used again: what follows goes by the word.
                    unsafe { libc::close(stdin.as_raw_fd()) };
                }
                last = Word::LetGo;
            }
            Ok((1, _)) => return Word::Dismissed,
            Ok(_) | Err(_) => return last,
        }
    }
}

/// Ends the command's group; returns when nobody reads its stdin any more, if that is still held.
fn end(command: Pid, stdin: Option<BorrowedFd<'_>>) {
    // whom a signal does not reach is waited for all the same
    ask_to_end(command);
    let mut left = TERM_GRACE_MS;
    // whose group is gone may be gone too, and its number another's
    while test_kill_process_group(command) != Err(Errno::SRCH) {
        if left <= 0 {
            kill(command);
            break;
        }
        left -= STEP_MS;
        pause(STEP_MS);
    }
    while stdin.is_some_and(|stdin| !has_no_reader(stdin)) {}
}

/// Has this group end. Its leader goes first: the kernel signals the processes of a group one after another, and a shell
/// that saw its child die before would go on with its next command.
pub(super) fn ask_to_end(leader: Pid) {
    let _ = kill_process(leader, Signal::TERM);
    let _ = kill_process_group(leader, Signal::TERM);
    // SIGCONT, so that a stopped command ends as well
    let _ = kill_process_group(leader, Signal::CONT);
}

/// Kills this group, its leader first.
pub(super) fn kill(leader: Pid) {
    let _ = kill_process(leader, Signal::KILL);
    let _ = kill_process_group(leader, Signal::KILL);
}

/// Waits until the pipe has no reader: whether it has none.
fn has_no_reader(stdin: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(stdin, PollFlags::empty())];
    // what cannot be waited for is over
    match poll(&mut polled, None) {
        Ok(_) => polled[0].revents().intersects(PollFlags::ERR | PollFlags::NVAL),
        Err(error) => error != Errno::INTR,
    }
}

/// Waits so many milliseconds.
pub(super) fn pause(ms: i64) {
    let time = Timespec { tv_sec: 0, tv_nsec: ms * 1_000_000 };
    let _ = poll(&mut [], Some(&time));
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::fs::{read_dir, read_link, read_to_string};
    use std::io::{BufRead, BufReader, PipeWriter, Read, Write, pipe};
    use std::os::fd::{AsFd, IntoRawFd};
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, Stdio};

    /// A command whose stdin is guarded; it has run this far once it has said a byte.
    fn guarded(script: &str) -> (Guard, Child, PipeWriter) {
        let (reader, writer) = pipe().unwrap();
        let guard = Guard::start(writer.as_fd()).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(reader).stdout(Stdio::piped()).process_group(0);
        guard.watch(&mut command).unwrap();
        let mut child = command.spawn().unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        (guard, child, writer)
    }

    fn rest(child: &mut Child) -> String {
        let mut rest = String::new();
        child.stdout.as_mut().unwrap().read_to_string(&mut rest).unwrap();
        rest
    }

    /// As if this process had died: its end of the pipe goes first, as the kernel may have it.
    fn die(guard: Guard, writer: PipeWriter) {
        drop(writer);
        drop(guard);
    }

    /// Whether it was ended by this signal, or on a machine so busy that it had no turn before, by the one after.
    fn is_ended(child: &mut Child, signo: i32) -> bool {
        child.wait().unwrap().signal().is_some_and(|by| by == signo || by == libc::SIGKILL)
    }

    #[test]
    fn a_command_whose_guard_is_dismissed_is_told_the_end() {
        let (guard, mut child, mut writer) = guarded("echo; cat; echo committed");
        let id = guard.pid.as_raw_pid();
        writer.write_all(b"all ").unwrap();
        drop(writer);
        guard.dismiss();
        assert_eq!(rest(&mut child), "all committed\n");
        assert!(child.wait().unwrap().success());
        assert!(!std::path::Path::new(&format!("/proc/{id}")).exists());
    }

    #[test]
    fn a_command_is_ended_before_it_is_told_the_end() {
        for (script, signo) in [
            ("echo; cat; echo committed", libc::SIGTERM),
            ("trap '' TERM; echo; cat; echo committed", libc::SIGKILL),
            ("echo; kill -STOP $$; cat; echo committed", libc::SIGTERM),
        ] {
            let (guard, mut child, writer) = guarded(script);
            die(guard, writer);
            assert_eq!(rest(&mut child), "", "{script}");
            assert!(is_ended(&mut child, signo), "{script}");
        }
    }

    #[test]
    fn a_command_that_was_told_the_end_is_ended_all_the_same() {
        let (guard, mut child, writer) = guarded("echo; cat; echo told; sleep 100; echo committed");
        let id = guard.pid;
        guard.let_go();
        guard.let_go();
        drop(writer);
        let mut told = [0; 5];
        child.stdout.as_mut().unwrap().read_exact(&mut told).unwrap();
        assert_eq!(&told, b"told\n");
        drop(guard);
        assert_eq!(rest(&mut child), "");
        assert!(is_ended(&mut child, libc::SIGTERM));
        waitpid(Some(id), WaitOptions::empty()).unwrap();
    }

    #[test]
    fn one_that_has_left_the_group_is_not_told_the_end() {
        // not <&0: what a shell runs beside itself has /dev/null there before it is redirected
        let (guard, mut child, writer) =
            guarded("exec 3<&0; setsid sh -c 'echo; echo $$; cat; echo committed' <&3 3<&- & wait");
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        stdout.read_line(&mut said).unwrap();
        let escaped = Pid::from_raw(said.trim_end().parse().unwrap()).unwrap();
        let link = |fd: String| read_link(format!("/proc/{fd}")).unwrap();
        let stdin = link(format!("{}/fd/0", escaped.as_raw_pid()));
        assert_eq!(stdin, link(format!("self/fd/{}", writer.as_raw_fd())), "it reads the guarded pipe");
        let id = guard.pid;
        die(guard, writer);
        assert!(is_ended(&mut child, libc::SIGTERM));
        assert!(waitpid(Some(id), WaitOptions::NOHANG).unwrap().is_none(), "it stays");
        // the shell first, or it would go on when it saw the other one die
        kill_process(escaped, Signal::KILL).unwrap();
        let _ = kill_process_group(escaped, Signal::KILL);
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "");
        waitpid(Some(id), WaitOptions::empty()).unwrap();
    }

    #[test]
    fn it_holds_nothing_but_the_pipe_and_is_called_by_its_own_name() {
        let (guard, mut child, writer) = guarded("echo; cat");
        let proc = |what: &str| format!("/proc/{}/{what}", guard.pid.as_raw_pid());
        let pipe = read_link(format!("/proc/self/fd/{}", writer.as_raw_fd())).unwrap();
        let links = || -> Vec<_> {
            let entries = read_dir(proc("fd")).unwrap();
            entries.filter_map(|entry| read_link(entry.unwrap().path()).ok()).collect()
        };
        // the command runs only after the guard was told of it, not after it has heard
        while read_to_string(proc("comm")).unwrap().trim_end() != NAME.to_str().unwrap() {
            std::thread::yield_now();
        }
        let links = links();
        assert!(links.len() == 2 && links.contains(&pipe), "{links:?}");
        let called = read_to_string(proc("cmdline")).unwrap();
        if cfg!(target_env = "gnu") {
            assert_eq!(called.trim_end_matches('\0'), NAME.to_str().unwrap());
        }
        assert_eq!(read_link(proc("cwd")).unwrap(), std::path::Path::new("/"));
        let stat = read_to_string(proc("stat")).unwrap();
        // pid (name) state ppid pgrp session
        let session = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(3).unwrap().to_owned();
        assert_eq!(session, guard.pid.as_raw_pid().to_string());
        drop(writer);
        guard.dismiss();
        child.wait().unwrap();
    }

    #[test]
    fn descriptors_are_closed_one_by_one_too() {
        // a number that no other test is given meanwhile
        let far = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 900).unwrap().into_raw_fd();
        close_each(far, far);
        // SAFETY: it was closed, which is what is asked; nothing is done with it.
        let gone = unsafe { BorrowedFd::borrow_raw(far) };
        assert_eq!(rustix::io::fcntl_getfd(gone), Err(Errno::BADF));
    }
}
