//! A process that ends the programs of this one when this process dies, however it dies: those of `through`, and the
//! commands of `exec` and `then` that take no stream. (A command that takes one has a guard of its own,
//! [`super::guard`].)
//!
//! One for all of them, since a program may run for every leg: the two processes share a page of memory, the table. A
//! program's group stands there while it runs, so that to enter it and to strike it out is one store each. The guard
//! sleeps until this process is dead, and then ends every group in the table. It is forked and not executed, and makes
//! system calls only, as [`super::guard`] does.
//!
//! What always holds: a program stands in the table before it runs, and no more once it may be reaped, when its number
//! may become another's. One that is being started when this process dies is in the table when the guard reads that, or
//! sees the death itself and does not run. Where no program runs at the end of this process, the guard is gone before
//! ([`dismiss`]).
//!
//! What it cannot prevent: SIGKILL to the guard and to this process, and not to the programs; and that a program which
//! ended with this process is reaped by another one, and its number given away, before the guard looks again, or that this
//! process dies just when it has reaped a command that could not be run. A command that changed its user (sudo) may not
//! be signalled.
#![allow(unsafe_code)]

use super::guard::{TERM_GRACE_MS, ask_to_end, fork_off, kill, pause, prepare};
use crate::sync::Unpoisoned;
use rustix::io::{Errno, retry_on_intr};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use rustix::process::{Pid, WaitOptions, getpid, getppid, test_kill_process_group, waitpid};
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr::null_mut;
use std::slice;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, OnceLock};

/// As `ps` and `pkill` see the guard; at most 15 bytes.
const NAME: &std::ffi::CStr = c"command-guard";

/// Programs that may run at once: a page of them. 32 sessions with a program on each connection run half as many, and
/// commands are far fewer.
const PLACES: usize = 1024;

/// What stands in a place that nobody has, in one whose program does not run yet, and in one that nobody gets any more.
const FREE: i32 = 0;
const TAKEN: i32 = -1;
const CLOSED: i32 = -2;

/// What this process says to the guard: it is not needed any more.
const DISMISSED: u8 = 1;

/// How often the guard looks whether this process has gone whose descriptors are closed.
const STEP_MS: i64 = 1;

/// How often it looks whether the groups have gone that were asked to end.
const LOOK_MS: i64 = 20;

/// What the two processes share.
#[derive(Clone, Copy)]
struct Table(&'static [AtomicI32]);

impl Table {
    /// In memory that a process which is forked shares, and that is never given back.
    fn new() -> io::Result<Table> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let len = PLACES * size_of::<AtomicI32>();
        // SAFETY: no address is asked for, so no other mapping is touched.
        let start = unsafe { mmap_anonymous(null_mut(), len, access, MapFlags::SHARED) }?;
        // SAFETY: `len` bytes that begin with a page, are zero, which is a valid number, and stay mapped for ever.
        // Whoever shares them uses atomic operations only.
        Ok(Table(unsafe { slice::from_raw_parts(start.cast::<AtomicI32>(), PLACES) }))
    }

    /// A place for a program.
    fn claim(self) -> Option<Ward> {
        let is_claimed = |place: &&'static AtomicI32| {
            place.compare_exchange(FREE, TAKEN, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        };
        self.0.iter().find(is_claimed).map(|place| Ward { place })
    }

    /// Whether nobody has a place. Then nobody gets one any more.
    fn close(self) -> bool {
        let close = |place: &AtomicI32| {
            place.compare_exchange(FREE, CLOSED, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        };
        self.0.iter().all(close)
    }

    /// Ends every group that stands in it: SIGTERM, and after a while SIGKILL. Only where nobody else uses it any more.
    fn end(self) {
        self.leaders().for_each(|(_, leader)| ask_to_end(leader));
        let mut left = TERM_GRACE_MS;
        while left > 0 && self.is_any_left() {
            left -= LOOK_MS;
            pause(LOOK_MS);
        }
        self.leaders().for_each(|(_, leader)| kill(leader));
    }

    /// Whether any group is still there. Those that are not stand in it no more.
    fn is_any_left(self) -> bool {
        for (place, leader) in self.leaders() {
            // whose group is gone may be gone too, and its number another's
            if test_kill_process_group(leader) == Err(Errno::SRCH) {
                place.store(FREE, Ordering::Release);
            }
        }
        self.leaders().next().is_some()
    }

    /// The groups that stand in it, and where.
    fn leaders(self) -> impl Iterator<Item = (&'static AtomicI32, Pid)> {
        self.0.iter().filter_map(|place| {
            // never the group of all processes
            let leader = Pid::from_raw(place.load(Ordering::Acquire).max(0)).filter(|pid| !pid.is_init());
            leader.map(|leader| (place, leader))
        })
    }
}

/// A program's place in the table, until this is dropped.
#[derive(Debug)]
pub(crate) struct Ward {
    place: &'static AtomicI32,
}

impl Ward {
    /// A place for a program that is about to be started.
    ///
    /// # Errors
    /// `EAGAIN` where as many run as may; the kernel has no processes, descriptors or memory left for the guard.
    pub(crate) fn claim() -> io::Result<Ward> {
        wards()?.table.claim().ok_or_else(|| Errno::AGAIN.into())
    }

    /// The command stands in the table before it runs, as the leader of its process group. To be called before it is
    /// spawned, with [`CommandExt::process_group`] 0; what is spawned is to be reaped only after this is dropped.
    pub(crate) fn watch(&self, command: &mut Command) {
        let place = self.place;
        let enter = move || {
            place.store(getpid().as_raw_pid(), Ordering::Release);
            Ok(())
        };
        // SAFETY: between fork and exec the closure makes one system call and one store into memory that is shared with
        // this process and never given back; it neither allocates nor locks.
        unsafe { command.pre_exec(enter) };
    }

    /// The program leads the group of this number. Safe between fork and exec.
    pub(super) fn enter(&self, group: i32) {
        self.place.store(group, Ordering::Release);
    }

    /// The program has not been started after all.
    pub(super) fn strike(&self) {
        self.place.store(TAKEN, Ordering::Release);
    }
}

impl Drop for Ward {
    fn drop(&mut self) {
        self.place.store(FREE, Ordering::Release);
    }
}

/// The guard, and what is shared with it.
struct Wards {
    table: Table,
    /// Closed with us; nobody else has it.
    voice: PipeWriter,
    guard: Pid,
}

impl Wards {
    /// The guard ends, and is gone when this returns, and no program can be started any more; unless one runs: then the
    /// guard has its work to do.
    fn dismiss(&self) {
        if self.table.close() {
            // fails only when the guard is gone already
            let _ = rustix::io::write(&self.voice, &[DISMISSED]);
            // fails only if other code has reaped our child
            let _ = retry_on_intr(|| waitpid(Some(self.guard), WaitOptions::empty()));
        }
    }
}

/// Those of this process, once one was started.
static WARDS: OnceLock<Wards> = OnceLock::new();

/// To be called at the end of this process, so that it leaves no guard behind, unless a program still runs.
pub fn dismiss() {
    if let Some(wards) = WARDS.get() {
        wards.dismiss();
    }
}

/// Those of this process, with a guard from the first call on.
fn wards() -> io::Result<&'static Wards> {
    static STARTING: Mutex<()> = Mutex::new(());
    if let Some(wards) = WARDS.get() {
        return Ok(wards);
    }
    let _turn = STARTING.lock().unpoisoned();
    match WARDS.get() {
        Some(wards) => Ok(wards),
        None => {
            let wards = start(table()?)?;
            Ok(WARDS.get_or_init(|| wards))
        }
    }
}

/// The one of this process: there may be several attempts to start its guard.
fn table() -> io::Result<Table> {
    static TABLE: OnceLock<Table> = OnceLock::new();
    match TABLE.get() {
        Some(table) => Ok(*table),
        None => {
            let table = Table::new()?;
            Ok(*TABLE.get_or_init(|| table))
        }
    }
}

fn start(table: Table) -> io::Result<Wards> {
    let (ear, voice) = io::pipe()?;
    let us = getpid();
    // SAFETY: `guard` makes system calls only: it neither allocates nor locks.
    let guard = unsafe { fork_off(|| guard(&ear, us, table)) }?;
    Ok(Wards { table, voice, guard })
}

/// The guard's whole life. No allocation, no lock, no panic: other threads' locks may be held for ever here.
fn guard(ear: &PipeReader, parent: Pid, table: Table) {
    prepare(NAME, ear.as_raw_fd(), ear.as_raw_fd());
    if retry_on_intr(|| rustix::io::read(ear.as_fd(), &mut [0; 1])) == Ok(1) {
        return;
    }
    // The kernel closes the descriptors first. Once this has another parent, so has whoever was being started, and does
    // not run.
    while getppid() == Some(parent) {
        pause(STEP_MS);
    }
    table.end();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::child::{Exit, await_exit, exit_so_far, reap};
    use crate::sys::signal::kill_group;
    use crate::sys::start::Program;
    use std::ffi::OsStr;
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::OwnedFd;

    // That the guard does it when this process dies is held by tests/real/through.rs and tests/real/commands.rs.

    const SHELL: &str = "sleep 1000 & echo; sleep 1000; echo";

    /// This line of shell, which runs another program, and one beside it: its number, and a pipe that ends with all of
    /// them.
    fn begun(ward: &Ward, line: &str) -> (u32, PipeReader) {
        let (mut from, to) = io::pipe().unwrap();
        let null = || OwnedFd::from(File::options().read(true).write(true).open("/dev/null").unwrap());
        let words = ["sh", "-c", line].map(OsStr::new);
        let pid = Program::new("/bin/sh".as_ref(), words).unwrap();
        let pid = pid.start([null(), to.into(), null()], ward).unwrap();
        from.read_exact(&mut [0]).unwrap();
        (pid, from)
    }

    #[test]
    fn all_that_stand_in_the_table_are_ended_with_what_they_started() {
        let table = Table::new().unwrap();
        let wards = [table.claim().unwrap(), table.claim().unwrap(), table.claim().unwrap()];
        let [one, other] =
            [begun(&wards[0], SHELL), begun(&wards[2], &format!("trap '' TERM; {SHELL}; {SHELL}"))];
        table.end();
        for ((pid, mut from), signals) in
            [(one, &[libc::SIGTERM, libc::SIGKILL][..]), (other, &[libc::SIGKILL])]
        {
            // on a machine so busy that it had no turn before, the first one is ended by the second signal too
            let Exit::Signal(by) = await_exit(pid).unwrap() else { panic!("{signals:?}") };
            assert!(signals.contains(&by), "{by}");
            assert_eq!(from.read_to_end(&mut Vec::new()).unwrap(), 0);
            reap(pid).unwrap();
        }
    }

    #[test]
    fn a_command_stands_in_the_table_while_it_runs() {
        let table = Table::new().unwrap();
        let ward = table.claim().unwrap();
        let mut command = Command::new("sleep");
        command.arg("1000").process_group(0);
        ward.watch(&mut command);
        let mut child = command.spawn().unwrap();
        assert_eq!(ward.place.load(Ordering::Acquire), child.id() as i32);
        kill_group(child.id(), libc::SIGKILL).unwrap();
        drop(ward);
        child.wait().unwrap();
    }

    #[test]
    fn who_has_left_the_table_is_spared_and_the_place_is_free() {
        let table = Table::new().unwrap();
        let ward = table.claim().unwrap();
        let (pid, _from) = begun(&ward, SHELL);
        drop(ward);
        table.end();
        assert_eq!(exit_so_far(pid), None);
        kill_group(pid, libc::SIGKILL).unwrap();
        reap(pid).unwrap();
        let wards: Vec<Ward> = (0..PLACES).map_while(|_| table.claim()).collect();
        assert!(wards.len() == PLACES && table.claim().is_none());
    }

    #[test]
    fn a_guard_is_dismissed_where_no_program_runs_and_none_starts_any_more() {
        let wards = start(Table::new().unwrap()).unwrap();
        wards.dismiss();
        assert_eq!(waitpid(Some(wards.guard), WaitOptions::NOHANG).err(), Some(Errno::CHILD));
        assert!(wards.table.claim().is_none());
    }

    #[test]
    fn one_that_has_work_to_do_stays() {
        let wards = start(Table::new().unwrap()).unwrap();
        let ward = wards.table.claim().unwrap();
        let (pid, _from) = begun(&ward, SHELL);
        wards.dismiss();
        assert!(waitpid(Some(wards.guard), WaitOptions::NOHANG).unwrap().is_none());
        kill_group(pid, libc::SIGKILL).unwrap();
        drop(ward);
        reap(pid).unwrap();
        rustix::io::write(&wards.voice, &[DISMISSED]).unwrap();
        waitpid(Some(wards.guard), WaitOptions::empty()).unwrap();
    }

    #[test]
    fn one_that_was_not_started_does_not_stand_in_it() {
        let table = Table::new().unwrap();
        let ward = table.claim().unwrap();
        let null = || OwnedFd::from(File::open("/dev/null").unwrap());
        let program = Program::new("/no/such".as_ref(), [OsStr::new("x")]).unwrap();
        program.start([null(), null(), null()], &ward).unwrap_err();
        assert_eq!(ward.place.load(Ordering::Acquire), TAKEN);
    }
}
