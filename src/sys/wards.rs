//! A process that ends the programs of this one when this process dies, however it dies.
//!
//! One for all of them, since a program may run for every leg: the two processes share a page of memory, the table. A
//! program's group stands there while it runs, so that to enter it and to strike it out is one store each. The guard
//! sleeps until this process is dead, and then kills every group in the table. It is forked and not executed, and makes
//! system calls only, as [`super::guard`] does.
//!
//! What always holds: a program stands in the table before it runs, and no more once it may be reaped, when its number
//! may become another's. One that is being started when this process dies is in the table when the guard reads that, or
//! sees the death itself and does not run.
//!
//! What it cannot prevent: SIGKILL to the guard and to this process, and not to the programs; and that a program which
//! ended with this process is reaped by another one, and its number given away, before the guard wakes.
#![allow(unsafe_code)]

use super::guard::{fork_off, pause, prepare};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use rustix::process::{Pid, Signal, getpid, getppid, kill_process, kill_process_group};
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::null_mut;
use std::slice;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// As `ps` and `pkill` see the guard; at most 15 bytes.
const NAME: &std::ffi::CStr = c"through-guard";

/// Programs that may run at once: a page of them. 32 sessions with a program on each connection run half as many.
const PLACES: usize = 1024;

/// What stands in a place that nobody has, and in one whose program does not run yet.
const FREE: i32 = 0;
const TAKEN: i32 = -1;

/// How often the guard looks whether this process has gone whose descriptors are closed.
const STEP_MS: i64 = 1;

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

    /// Kills every group that stands in it.
    fn sweep(self) {
        for place in self.0 {
            // never the group of all processes
            let leader = Pid::from_raw(place.load(Ordering::Acquire).max(0)).filter(|pid| !pid.is_init());
            let Some(leader) = leader else { continue };
            // the leader first: a shell that saw its child die before would go on with its next command
            let _ = kill_process(leader, Signal::KILL);
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

/// A program's place in the table, until this is dropped.
pub struct Ward {
    place: &'static AtomicI32,
}

impl Ward {
    /// A place for a program that is about to be started.
    ///
    /// # Errors
    /// `EAGAIN` where as many run as may; the kernel has no processes, descriptors or memory left for the guard.
    pub fn claim() -> io::Result<Ward> {
        wards()?.table.claim().ok_or_else(|| Errno::AGAIN.into())
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
    _voice: PipeWriter,
}

/// Those of this process, with a guard from the first call on.
fn wards() -> io::Result<&'static Wards> {
    static WARDS: OnceLock<Wards> = OnceLock::new();
    static STARTING: Mutex<()> = Mutex::new(());
    if let Some(wards) = WARDS.get() {
        return Ok(wards);
    }
    let _turn = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    match WARDS.get() {
        Some(wards) => Ok(wards),
        None => {
            let wards = start()?;
            Ok(WARDS.get_or_init(|| wards))
        }
    }
}

fn start() -> io::Result<Wards> {
    let (ear, voice) = io::pipe()?;
    static TABLE: OnceLock<Table> = OnceLock::new();
    let table = match TABLE.get() {
        Some(table) => *table,
        // once, though it may be tried again
        None => *TABLE.get_or_init({
            let table = Table::new()?;
            move || table
        }),
    };
    let us = getpid();
    // SAFETY: `guard` makes system calls only: it neither allocates nor locks.
    unsafe { fork_off(|| guard(&ear, us, table)) }?;
    Ok(Wards { table, _voice: voice })
}

/// The guard's whole life. No allocation, no lock, no panic: other threads' locks may be held for ever here.
fn guard(ear: &PipeReader, parent: Pid, table: Table) {
    prepare(NAME, ear.as_raw_fd(), ear.as_raw_fd());
    // nothing is ever said
    while rustix::io::read(ear.as_fd(), &mut [0; 1]) == Err(Errno::INTR) {}
    // The kernel closes the descriptors first. Once this has another parent, so has whoever was being started, and does
    // not run.
    while getppid() == Some(parent) {
        pause(STEP_MS);
    }
    table.sweep();
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

    // That the guard does it when this process dies is held by tests/real/through.rs.

    /// A shell that runs another program, and one beside it: its number, and a pipe that ends with all of them.
    fn begun(ward: &Ward) -> (u32, PipeReader) {
        let (mut from, to) = io::pipe().unwrap();
        let null = || OwnedFd::from(File::options().read(true).write(true).open("/dev/null").unwrap());
        let words = ["sh", "-c", "sleep 1000 & echo; sleep 1000; echo"].map(OsStr::new);
        let pid = Program::new("/bin/sh".as_ref(), words).unwrap();
        let pid = pid.start([null(), to.into(), null()], ward).unwrap();
        from.read_exact(&mut [0]).unwrap();
        (pid, from)
    }

    #[test]
    fn all_that_stand_in_the_table_are_killed_with_what_they_started() {
        let table = Table::new().unwrap();
        let wards = [table.claim().unwrap(), table.claim().unwrap(), table.claim().unwrap()];
        let [one, other] = [begun(&wards[0]), begun(&wards[2])];
        table.sweep();
        for (pid, mut from) in [one, other] {
            assert_eq!(await_exit(pid).unwrap(), Exit::Signal(libc::SIGKILL));
            assert_eq!(from.read_to_end(&mut Vec::new()).unwrap(), 0);
            reap(pid).unwrap();
        }
    }

    #[test]
    fn who_has_left_the_table_is_spared_and_the_place_is_free() {
        let table = Table::new().unwrap();
        let ward = table.claim().unwrap();
        let (pid, _from) = begun(&ward);
        drop(ward);
        table.sweep();
        assert_eq!(exit_so_far(pid), None);
        kill_group(pid, libc::SIGKILL).unwrap();
        reap(pid).unwrap();
        let wards: Vec<Ward> = (0..PLACES).map_while(|_| table.claim()).collect();
        assert!(wards.len() == PLACES && table.claim().is_none());
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
