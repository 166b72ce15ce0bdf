//! Signals: what they meant when the program was executed, and how to end by one.
//!
//! Handling them in the ordinary way is not done here. What is done must come before `main`: functions
//! listed in the section `.init_array` are called before the runtime begins (which itself has SIGPIPE
//! ignored before `main`).
#![allow(unsafe_code)]

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::io;
use std::mem::zeroed;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// The far end of a pipe may have been killed by a signal that is sent to us next. A signal to both as a group is pending
/// when the end is seen. If somebody sends two signals, one after the other, the second one comes within this time.
const GRACE: Duration = Duration::from_millis(5);

/// On a busy machine the sender of the signal waits for a processor. This process yields so often to let it run. With
/// an idle processor this takes no time.
const TURNS: usize = 32;

/// The signals that were ignored when the process was executed: bit `n` for signal `n`. Linux has 1 to 64;
/// 64 is left out.
static IGNORED: AtomicU64 = AtomicU64::new(0);

/// The signals that were blocked when the process was executed, in the same way.
static BLOCKED: AtomicU64 = AtomicU64::new(0);

/// Whether whoever started the program had this signal ignored, as `nohup` does with SIGHUP; such a signal
/// should stay ignored. Elsewhere than on Linux: false.
pub fn ignored_at_start(signo: i32) -> bool {
    (1..64).contains(&signo) && IGNORED.load(Ordering::Relaxed) & (1 << signo) != 0
}

/// Whether whoever started the program had this signal blocked; such a signal stays blocked. Elsewhere than on Linux:
/// false.
pub(crate) fn blocked_at_start(signo: i32) -> bool {
    (1..64).contains(&signo) && BLOCKED.load(Ordering::Relaxed) & (1 << signo) != 0
}

/// Ends the process as if this signal had not been handled, so that whoever waits for it sees which signal
/// ended it. Where that cannot be (the first process of a namespace, which no default action ends; a signal
/// that ends nothing), the status is 128 + `signo`, as a shell would say it.
pub fn end_by(signo: i32) -> ! {
    // SAFETY: the default action runs no code of ours.
    unsafe { set_action(signo, libc::SIG_DFL) };
    change_mask(libc::SIG_UNBLOCK, &set_of([signo].into_iter())).forget();
    // SAFETY: `raise` and `_exit` touch no memory of ours.
    unsafe {
        libc::raise(signo);
        libc::_exit(128 + signo)
    }
}

/// Sends a signal to a process.
///
/// Errors: `ESRCH` where it has gone, `EPERM`, `EINVAL` for a number that is no signal or process.
pub(crate) fn kill(pid: u32, signo: i32) -> io::Result<()> {
    let (pid, signal) = checked(pid, signo)?;
    Ok(kill_process(pid, signal)?)
}

/// Sends a signal to all processes of the group that `pid` leads; that is, a child which was started with
/// `process_group(0)`. One that was not leads none.
///
/// Errors: `ESRCH` where there is no such group, `EPERM`, `EINVAL` for a number that is no signal or process.
pub(crate) fn kill_group(pid: u32, signo: i32) -> io::Result<()> {
    let (pid, signal) = checked(pid, signo)?;
    // the leader first, if it is still there: a shell that saw its child die before would go on with its next command
    let _ = kill_process(pid, signal);
    Ok(kill_process_group(pid, signal)?)
}

/// The signals by which somebody asks the process for something: to end, to report, to say more. One thread hears
/// them, all others block them.
#[cfg(not(any(target_os = "macos", target_os = "freebsd", target_os = "netbsd", target_os = "openbsd")))]
pub(crate) const ASKING: &[i32] = &[libc::SIGHUP, libc::SIGINT, libc::SIGTERM, libc::SIGUSR1, libc::SIGUSR2];
/// The signals by which somebody asks the process for something: to end, to report, to say more. One thread hears
/// them, all others block them.
#[cfg(any(target_os = "macos", target_os = "freebsd", target_os = "netbsd", target_os = "openbsd"))]
pub(crate) const ASKING: &[i32] =
    &[libc::SIGHUP, libc::SIGINT, libc::SIGTERM, libc::SIGUSR1, libc::SIGUSR2, libc::SIGINFO];

/// What a thread blocked before.
#[must_use = "the signals stay blocked unless it is restored or forgotten"]
pub(crate) struct Mask(libc::sigset_t);

impl Mask {
    /// The mask that the process was executed with; where that is not known, nothing is blocked.
    pub(crate) fn at_start() -> Mask {
        let blocked = BLOCKED.load(Ordering::Relaxed);
        let signos: [i32; 63] = std::array::from_fn(|at| at as i32 + 1);
        Mask(set_of(signos.into_iter().filter(|signo| blocked & (1 << signo) != 0)))
    }

    /// Makes it the calling thread's. Safe between fork and exec.
    pub(crate) fn restore(&self) {
        // SAFETY: the set is initialised, and the old one not asked for.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, null_mut()) };
    }

    /// The blocking stays, for as long as the thread lives.
    pub(crate) fn forget(self) {}
}

/// Blocks these signals in the calling thread; what it blocked before.
pub(crate) fn block(signos: &[i32]) -> Mask {
    change_mask(libc::SIG_BLOCK, &set_of(signos.iter().copied()))
}

/// Blocks every signal that can be in the calling thread; what it blocked before.
pub(crate) fn block_all() -> Mask {
    // SAFETY: a zeroed set is valid to be written to.
    let mut all: libc::sigset_t = unsafe { zeroed() };
    // SAFETY: the pointer is to a set of our own.
    unsafe { libc::sigfillset(&mut all) };
    change_mask(libc::SIG_BLOCK, &all)
}

/// The calling thread is the one that hears these signals, unless they were blocked when the process was executed.
pub(crate) fn unblock(signos: &[i32]) {
    let blocked = BLOCKED.load(Ordering::Relaxed);
    let ours = signos.iter().copied().filter(|signo| blocked & (1 << signo) == 0);
    change_mask(libc::SIG_UNBLOCK, &set_of(ours)).forget();
}

/// Whoever wrote or read a pipe has gone: gives a signal that has ended it, and is for this process too, time to come.
pub(crate) fn await_late() {
    thread::sleep(GRACE);
    for _ in 0..TURNS {
        thread::yield_now();
    }
}

/// Whether one of these signals has been sent to this process, or to the calling thread, and not been taken by any
/// thread yet. The kernel tells a thread only of those that it blocks itself.
pub(crate) fn any_pending(signos: &[i32]) -> bool {
    // SAFETY: a zeroed set is valid to be written to.
    let mut pending: libc::sigset_t = unsafe { zeroed() };
    // SAFETY: both calls touch nothing but this set, which the first one fills.
    unsafe {
        libc::sigpending(&mut pending);
        signos.iter().any(|signo| libc::sigismember(&pending, *signo) == 1)
    }
}

fn change_mask(how: i32, signos: &libc::sigset_t) -> Mask {
    // SAFETY: a zeroed set is valid to be written to.
    let mut before: libc::sigset_t = unsafe { zeroed() };
    // SAFETY: both sets are valid. It fails only for a `how` that is none.
    unsafe { libc::pthread_sigmask(how, signos, &mut before) };
    Mask(before)
}

fn set_of(signos: impl Iterator<Item = i32>) -> libc::sigset_t {
    // SAFETY: a zeroed set is valid to be written to.
    let mut set: libc::sigset_t = unsafe { zeroed() };
    // SAFETY: the pointer is to a set of our own.
    unsafe { libc::sigemptyset(&mut set) };
    for signo in signos {
        // SAFETY: as before; a number that is no signal is refused and changes nothing.
        unsafe { libc::sigaddset(&mut set, signo) };
    }
    set
}

/// What is handled does what it does by default from now on, and so does SIGPIPE, which the runtime has ignored. For a
/// child about to run a program, which shares no handlers with its parent.
#[cfg(target_os = "linux")]
pub(super) fn forget_handlers() {
    for signo in (1..=64).filter(|signo| is_handled(*signo)).chain([libc::SIGPIPE]) {
        // SAFETY: the default action runs no code of ours.
        unsafe { set_action(signo, libc::SIG_DFL) };
    }
}

/// Sends a signal to the calling thread.
#[cfg(test)]
pub(crate) fn kill_thread(signo: i32) {
    // SAFETY: the calling thread is alive.
    unsafe { libc::pthread_kill(libc::pthread_self(), signo) };
}

fn checked(pid: u32, signo: i32) -> io::Result<(Pid, Signal)> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    // Process 1 is never a child of ours, and "group 1" would be every process there is.
    let pid = pid.filter(|pid| *pid != Pid::INIT);
    pid.zip(Signal::from_named_raw(signo)).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

#[cfg(target_os = "linux")]
#[used]
// SAFETY: the section is an array of pointers to C functions, and this is one.
#[unsafe(link_section = ".init_array.00099")]
static EARLY: extern "C" fn() = early;

/// Runs before the runtime: no allocation, no panic, nothing of std but atomics.
#[cfg(target_os = "linux")]
extern "C" fn early() {
    let bits = |is: &dyn Fn(i32) -> bool| (1..64).filter(|&n| is(n)).fold(0, |set, n| set | 1 << n);
    IGNORED.store(bits(&is_ignored), Ordering::Relaxed);
    let mask = change_mask(libc::SIG_BLOCK, &set_of([].into_iter()));
    // SAFETY: the set is initialised; the call only reads it.
    BLOCKED.store(bits(&|n| unsafe { libc::sigismember(&mask.0, n) == 1 }), Ordering::Relaxed);
    ignore_early();
}

/// Sees to it that SIGUSR1 and SIGUSR2 do not end the process, not even between its start and `main`; the
/// program's own handlers replace this. Nor does SIGXFSZ: a write beyond the limit of a file's size fails with
/// `EFBIG` instead, which is an error like any other. By a handler that does nothing, because a child would inherit
/// "ignored", while handlers are reset to the default when a program is executed. One that was ignored
/// at the start stays so. Called before `main` on Linux; elsewhere `main` should begin with it.
pub(crate) fn ignore_early() {
    extern "C" fn nothing(_: libc::c_int) {}
    for signo in [libc::SIGUSR1, libc::SIGUSR2, libc::SIGXFSZ] {
        if !is_ignored(signo) {
            // SAFETY: the handler touches nothing.
            unsafe { set_action(signo, nothing as extern "C" fn(libc::c_int) as libc::sighandler_t) };
        }
    }
}

/// Whether this signal is ignored now.
fn is_ignored(signo: i32) -> bool {
    handler(signo) == Some(libc::SIG_IGN)
}

/// Whether a function is called for this signal.
#[cfg(target_os = "linux")]
fn is_handled(signo: i32) -> bool {
    handler(signo).is_some_and(|handler| handler != libc::SIG_IGN && handler != libc::SIG_DFL)
}

/// What is done for this signal now; None for a number that is none.
fn handler(signo: i32) -> Option<libc::sighandler_t> {
    // SAFETY: a zeroed sigaction is a valid one, and the call only writes it.
    unsafe {
        let mut action: libc::sigaction = zeroed();
        (libc::sigaction(signo, null(), &mut action) == 0).then_some(action.sa_sigaction)
    }
}

/// Sets what a signal does; interrupted calls go on where they can.
///
/// # Safety
///
/// `handler` is SIG_DFL, SIG_IGN or a function that does only what a signal handler may.
unsafe fn set_action(signo: i32, handler: libc::sighandler_t) {
    // SAFETY: a zeroed sigaction is a valid one, with no signal blocked.
    let mut action: libc::sigaction = unsafe { zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: by the caller's promise. It fails only for numbers that are no signal, and does nothing then.
    unsafe { libc::sigaction(signo, &action, null_mut()) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::{Command, Stdio};

    // What holds from the start on is held by tests/start.rs, where the library is part of another program.

    #[test]
    fn a_group_is_ended_with_all_its_children() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 60 | sleep 60"]).stdin(Stdio::null()).process_group(0);
        let mut child = shell.spawn().unwrap();
        kill_group(child.id(), libc::SIGTERM).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGTERM));
    }

    #[test]
    fn numbers_that_would_hit_others_are_refused() {
        for pid in [0, 1, u32::MAX, 1 << 31] {
            assert_eq!(kill_group(pid, libc::SIGTERM).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
        assert!(kill_group(std::process::id(), 0).is_err());
        assert!(!ignored_at_start(0) && !ignored_at_start(-1) && !ignored_at_start(64));
    }
}
