//! What a process is called: its name, and its command line as others see it.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// Where the arguments lie, one after the other, and how many bytes they are; null and 0 where that is not known.
static ARGUMENTS: AtomicPtr<c_char> = AtomicPtr::new(null_mut());
static LENGTH: AtomicUsize = AtomicUsize::new(0);

/// Gives the process another name, and a command line of that name alone where there is room for it. Only for a process
/// that was forked and runs nothing else: the arguments are gone. Makes system calls only.
pub(super) fn change(name: &CStr) {
    #[cfg(target_os = "linux")]
    // a name is nothing to fail for
    let _ = rustix::thread::set_name(name);
    let (start, room) = (ARGUMENTS.load(Ordering::Relaxed), LENGTH.load(Ordering::Relaxed));
    let name = name.to_bytes_with_nul();
    if room < name.len() {
        return;
    }
    // SAFETY: the arguments are `room` writable bytes for as long as the process lives, and nobody else uses them.
    unsafe {
        start.write_bytes(0, room);
        start.copy_from_nonoverlapping(name.as_ptr().cast(), name.len());
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[used]
// SAFETY: the section is an array of pointers to C functions, which glibc calls with these arguments.
#[unsafe(link_section = ".init_array.00097")]
static REMEMBER: extern "C" fn(i32, *const *const c_char, *const *const c_char) = remember;

/// Runs before the runtime: no allocation, no panic, nothing of std but atomics.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
extern "C" fn remember(count: i32, arguments: *const *const c_char, _: *const *const c_char) {
    let Some(last) = usize::try_from(count).ok().and_then(|count| count.checked_sub(1)) else { return };
    // SAFETY: there are `count` arguments, each ended by a zero byte.
    let (first, end) = unsafe {
        let last = *arguments.add(last);
        (*arguments, last.add(CStr::from_ptr(last).count_bytes() + 1))
    };
    // the kernel lays them out one after the other; if somebody else has not, they are left alone
    let length = (end as usize).saturating_sub(first as usize);
    if length < (1 << 21) {
        ARGUMENTS.store(first.cast_mut(), Ordering::Relaxed);
        LENGTH.store(length, Ordering::Relaxed);
    }
}
