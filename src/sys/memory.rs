//! Memory straight from the kernel, and straight back to it.
//!
//! `malloc` keeps what is freed, so a program that promises to stay within a number of bytes cannot build
//! on it; an unmapped region is gone at once.
#![allow(unsafe_code)]

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::{NonNull, null_mut};
use std::slice;

/// The usual size of a huge page, in bytes: that of x86-64, and of arm64 with pages of 4 KiB.
const HUGE_PAGE: usize = 2 << 20;

/// An anonymous private mapping, zero at first. Pages that are never touched cost nothing.
#[derive(Debug)]
pub(crate) struct Region {
    /// The start of a mapping of `len` bytes that only this value knows of.
    start: NonNull<u8>,
    /// Always ≥ 1 and ≤ `isize::MAX`.
    len: usize,
}

// SAFETY: the mapping belongs to this value alone and is bound to no thread.
unsafe impl Send for Region {}
// SAFETY: through a shared reference it can only be read.
unsafe impl Sync for Region {}

impl Region {
    /// Maps `len` bytes, which may be any number from 1; the kernel rounds up to pages. Whole huge pages are
    /// asked for as such.
    ///
    /// Errors: `ENOMEM` when the kernel gives no more, `EINVAL` for a length of 0.
    pub(crate) fn new(len: usize) -> io::Result<Region> {
        let whole = len > 0 && len.is_multiple_of(HUGE_PAGE);
        if whole { Self::aligned(len) } else { Self::map(len) }
    }

    fn map(len: usize) -> io::Result<Region> {
        if isize::try_from(len).is_err() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: no address is asked for, so no other mapping is touched.
        let start = unsafe { mmap_anonymous(null_mut(), len, access, MapFlags::PRIVATE) }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let region = Region { start, len };
        region.keep_from_children();
        Ok(region)
    }

    /// A process that is forked does not get it: it would share the pages, and writing to them would copy them all.
    fn keep_from_children(&self) {
        #[cfg(target_os = "linux")]
        // SAFETY: the mapping is this value's own, and the advice changes no byte of it. A child that knows of this
        // value must not use it; those of this program use nothing of what they share.
        let _ = unsafe {
            let advice = rustix::mm::Advice::LinuxDontFork;
            rustix::mm::madvise(self.start.as_ptr().cast(), self.len, advice)
        };
    }

    /// `len` bytes, a multiple of [`HUGE_PAGE`], that begin where a huge page can: one fault and one entry of the
    /// TLB where there would be 512.
    fn aligned(len: usize) -> io::Result<Region> {
        let mut region = Self::map(len.saturating_add(HUGE_PAGE))?;
        region.give_up_start(region.start.align_offset(HUGE_PAGE));
        region.give_up_end(len);
        region.ask_for_huge_pages();
        Ok(region)
    }

    /// Unmaps the first `bytes`, a multiple of a page and less than all.
    fn give_up_start(&mut self, bytes: usize) {
        assert!(bytes < self.len);
        // SAFETY: they are part of this value's own mapping, and `&mut self` excludes any reference to them.
        if bytes > 0 && unsafe { munmap(self.start.as_ptr().cast(), bytes) }.is_ok() {
            // SAFETY: still inside the mapping.
            self.start = unsafe { self.start.add(bytes) };
            self.len -= bytes;
        }
    }

    /// Unmaps all but the first `len` bytes, a multiple of a page and not 0.
    fn give_up_end(&mut self, len: usize) {
        assert!(0 < len && len <= self.len);
        // SAFETY: inside the mapping, or at its end.
        let end = unsafe { self.start.add(len) };
        if len < self.len {
            // SAFETY: they are part of this value's own mapping, and `&mut self` excludes any reference to them.
            // Should it fail they stay mapped, unused and untouched.
            let _ = unsafe { munmap(end.as_ptr().cast(), self.len - len) };
            self.len = len;
        }
    }

    /// A kernel without huge pages says no, which is no loss.
    fn ask_for_huge_pages(&self) {
        #[cfg(target_os = "linux")]
        // SAFETY: the mapping is this value's own, and the advice changes no byte of it.
        let _ = unsafe {
            let advice = rustix::mm::Advice::LinuxHugepage;
            rustix::mm::madvise(self.start.as_ptr().cast(), self.len, advice)
        };
    }
}

impl Deref for Region {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the mapping is `len` readable, initialised bytes for as long as this value lives.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for Region {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and writable; `&mut self` excludes any other reference.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and no reference outlives it.
        let result = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert!(result.is_ok(), "munmap of {} bytes: {result:?}", self.len);
    }
}

/// Up to this size, in bytes, memory comes from the allocator: below, whole pages would waste too much.
pub(crate) const SMALL_MAX: usize = 4 << 10;

/// Zeroed bytes of either origin, by their number.
#[derive(Debug)]
pub(crate) enum Memory {
    /// From the kernel.
    Mapped(Region),
    /// From the allocator.
    Boxed(Box<[u8]>),
}

impl Memory {
    /// `len` bytes: mapped above [`SMALL_MAX`]. None where the kernel gives no more.
    pub(crate) fn new(len: usize) -> Option<Memory> {
        if len <= SMALL_MAX {
            return Some(Memory::Boxed(vec![0; len].into_boxed_slice()));
        }
        Region::new(len).ok().map(Memory::Mapped)
    }
}

impl Deref for Memory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Memory::Mapped(region) => region,
            Memory::Boxed(bytes) => bytes,
        }
    }
}

impl DerefMut for Memory {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Memory::Mapped(region) => region,
            Memory::Boxed(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_at_first_and_writable() {
        let mut region = Region::new(10_000).unwrap();
        assert_eq!(region.len(), 10_000);
        assert!(region.iter().all(|&byte| byte == 0));
        region.fill(7);
        assert!(std::thread::spawn(move || region.iter().all(|&byte| byte == 7)).join().unwrap());
    }

    #[test]
    fn impossible_lengths_are_errors() {
        assert!(Region::new(0).is_err());
        assert!(Region::new(usize::MAX).is_err());
        assert!(Region::new(1 << 60).is_err());
    }

    #[test]
    fn whole_huge_pages_begin_where_one_can() {
        for pages in 1..4 {
            let mut region = Region::new(pages * HUGE_PAGE).unwrap();
            assert_eq!((region.as_ptr().align_offset(HUGE_PAGE), region.len()), (0, pages * HUGE_PAGE));
            region.fill(1);
        }
    }

    #[test]
    fn small_memory_is_not_mapped() {
        assert!(matches!(Memory::new(SMALL_MAX), Some(Memory::Boxed(_))));
        let mut large = Memory::new(SMALL_MAX + 1).unwrap();
        assert!(matches!(large, Memory::Mapped(_)));
        assert_eq!(large.len(), SMALL_MAX + 1);
        large[SMALL_MAX] = 1;
    }

    #[test]
    fn what_is_dropped_goes_back() {
        let mappings = || std::fs::read_to_string("/proc/self/maps").map(|maps| maps.lines().count());
        let before = mappings().unwrap_or(0);
        for _ in 0..1000 {
            Region::new(64 << 20).unwrap()[0] = 1;
        }
        assert!(mappings().unwrap_or(0) < before + 500);
    }
}
