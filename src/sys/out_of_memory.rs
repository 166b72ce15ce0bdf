//! What happens when the kernel refuses memory (`ulimit -v`, strict overcommit): the process ends in words, and in
//! order where it can.
//!
//! The first thread that is refused memory rings the bell of [`heard`], so that the session is ended and the peer is
//! told. It also gives a spare mapping back to the kernel, so that there is memory for ending. Small allocations are
//! tried again meanwhile ([`Allocator`]); memory for legs is not given out any more. If that does not help in time, or
//! no thread listens to the bell yet, the process says so and ends by itself.
#![allow(unsafe_code)]

use crate::sys::bell::Bell;
use crate::sys::memory::Region;
use std::alloc::{GlobalAlloc, Layout, System};
use std::io;
use std::panic::PanicHookInfo;
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, Ordering};
use std::thread::sleep;
use std::time::Duration;

/// Enough for the heap to grow by what ending takes.
const SPARE: usize = 4 << 20;

/// For how long an allocation is tried again, and how often in that time. A session that is ended gives its memory back
/// in less than this, on a machine that is busy as well.
const PATIENCE: Duration = Duration::from_secs(20);
const TRIES: u32 = 2000;

/// The last words where nothing can be put into words any more.
const LAST_WORDS: &[u8] = b"millipede: out of memory: the kernel gives no more\n";

/// How the standard library words ENOMEM, in every language.
const REFUSAL: &str = "(os error 12)";

/// The exit status then: 1, the stream could not be completed, unless another was set.
static STATUS: AtomicI32 = AtomicI32::new(1);

static REFUSED: AtomicBool = AtomicBool::new(false);
static SPARED: AtomicPtr<Region> = AtomicPtr::new(null_mut());
static BELL: OnceLock<Bell> = OnceLock::new();
/// Somebody hears the bell.
static HEARD: AtomicBool = AtomicBool::new(false);

/// The bell that rings when memory was refused. Whoever takes it must end the process in order when it rings, and calls
/// [`listen`] before it waits for that.
///
/// # Errors
/// No descriptor left, or no memory for the spare.
pub(crate) fn heard() -> io::Result<Bell> {
    let bell = Bell::new()?;
    if let Some(earlier) = BELL.get() {
        return Ok(earlier.clone());
    }
    share_heaps();
    let spare = Box::into_raw(Box::new(Region::new(SPARE)?));
    drop_spare(SPARED.swap(spare, Ordering::AcqRel));
    let bell = BELL.get_or_init(|| bell).clone();
    if is_known() {
        // it was refused before there was a bell to ring
        bell.ring();
    }
    Ok(bell)
}

/// Sets the exit status of a process that cannot end in order. It is 1 before.
pub(crate) fn end_with(status: u8) {
    STATUS.store(status.into(), Ordering::Relaxed);
}

/// That status.
pub fn status() -> i32 {
    STATUS.load(Ordering::Relaxed)
}

/// The bell is heard from now on.
pub(crate) fn listen() {
    HEARD.store(true, Ordering::Release);
}

/// Whether memory was refused: the process is about to end, and nothing that goes wrong now is news.
pub(crate) fn is_known() -> bool {
    REFUSED.load(Ordering::Acquire)
}

/// Memory was refused. Allocates nothing and waits for nothing.
pub(crate) fn tell() {
    if !REFUSED.swap(true, Ordering::AcqRel) {
        drop_spare(SPARED.swap(null_mut(), Ordering::AcqRel));
        if let Some(bell) = BELL.get() {
            bell.ring();
        }
    }
}

fn drop_spare(spare: *mut Region) {
    if !spare.is_null() {
        // SAFETY: it came from `Box::into_raw`, and whoever swapped it out is the only one that has it.
        drop(unsafe { Box::from_raw(spare) });
    }
}

/// Where the address space is limited: glibc would reserve 64 MiB of it for a heap of each thread.
fn share_heaps() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    if rustix::process::getrlimit(rustix::process::Resource::As).current.is_some() {
        // SAFETY: sets a number that is read when a thread first allocates.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, 2) };
    }
}

/// The program's allocator: the system's, but what is refused ends the process in words instead of a backtrace.
pub struct Allocator;

// SAFETY: every call is the system allocator's, made once or several times until it succeeds.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: by the caller's promise.
        insist(|| unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: by the caller's promise.
        insist(|| unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: by the caller's promise; what fails leaves the old block as it was.
        insist(|| unsafe { System.realloc(start, layout, size) })
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: by the caller's promise.
        unsafe { System.dealloc(start, layout) }
    }
}

fn insist(allocate: impl Fn() -> *mut u8) -> *mut u8 {
    let first = allocate();
    if first.is_null() { again(allocate) } else { first }
}

/// Never null: the process ends instead.
#[cold]
fn again(allocate: impl Fn() -> *mut u8) -> *mut u8 {
    tell();
    for _ in 0..TRIES {
        let start = allocate();
        if !start.is_null() {
            return start;
        }
        if !is_heard() {
            break;
        }
        sleep(PATIENCE / TRIES);
    }
    end()
}

/// Whether a thread panics because the kernel refused it memory. The standard library does so where it asks for memory
/// itself, as for the stack of a new thread's signals, and then names the kernel's error.
pub fn is_why(panic: &PanicHookInfo<'_>) -> bool {
    let words = panic.payload();
    let words = words.downcast_ref::<String>().map(String::as_str).or(words.downcast_ref::<&str>().copied());
    words.is_some_and(|words| words.contains(REFUSAL))
}

/// For a thread that was refused memory and can go on with nothing: it stays as it is while the process ends in order, and
/// ends that if it takes too long.
pub fn stay() -> ! {
    tell();
    if is_heard() {
        sleep(PATIENCE);
    }
    end()
}

/// Whether the process is to end in order.
fn is_heard() -> bool {
    HEARD.load(Ordering::Acquire)
}

fn end() -> ! {
    // if that fails nothing more can be said
    let _ = rustix::io::write(rustix::stdio::stderr(), LAST_WORDS);
    // SAFETY: ends the process without running anything else, which might allocate.
    unsafe { libc::_exit(status()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    // What the process does is held by tests/real/processes.rs. Nothing here may tell: it is told to the whole process.

    #[test]
    fn a_refusal_is_worded_so() {
        let error = io::Error::from_raw_os_error(libc::ENOMEM).to_string();
        assert!(error.ends_with(REFUSAL), "{error}");
    }

    #[test]
    fn what_succeeds_is_asked_for_once() {
        let asked = Cell::new(0);
        let mut byte = 7u8;
        let start: *mut u8 = &mut byte;
        let got = insist(|| {
            asked.set(asked.get() + 1);
            start
        });
        assert_eq!((got, asked.get(), is_known()), (start, 1, false));
    }

    #[test]
    fn blocks_are_the_system_allocators() {
        let layout = Layout::from_size_align(100, 8).unwrap();
        // SAFETY: the layout is not empty, the block is used within its size and freed by its layout.
        unsafe {
            let start = Allocator.alloc_zeroed(layout);
            assert_eq!(*start.add(99), 0);
            start.add(99).write(9);
            let larger = Allocator.realloc(start, layout, 1000);
            assert_eq!(*larger.add(99), 9);
            Allocator.dealloc(larger, Layout::from_size_align(1000, 8).unwrap());
        }
    }
}
