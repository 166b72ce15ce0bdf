//! Has what was written to a file go to its disk early, by a thread of its own.
//!
//! Nothing is durable by this, and nothing fails: a sync later has less to wait for, that is all. Where the kernel has no
//! such call, it waits for all of it.

#![allow(unsafe_code)]

use super::thread::spawn;
use crossbeam_channel::{Sender, bounded};
use std::fs::File;
use std::io;
use std::ops::Range;

/// Ranges that may wait for the thread. Where a disk is that slow, more are left to the sync.
const WAITING: usize = 4;

/// The thread for one file. It ends with this, without being waited for.
pub(crate) struct Writeback {
    ranges: Sender<Range<u64>>,
}

impl Writeback {
    /// For this file.
    ///
    /// # Errors
    /// There are no descriptors or threads left.
    pub(crate) fn new(file: &File) -> io::Result<Self> {
        let file = file.try_clone()?;
        let (ranges, work) = bounded::<Range<u64>>(WAITING);
        spawn("writeback", move || work.iter().for_each(|range| begin(&file, &range)))?;
        Ok(Writeback { ranges })
    }

    /// These bytes were written. Never waits.
    pub(crate) fn wrote(&self, range: Range<u64>) {
        let _ = self.ranges.try_send(range);
    }
}

#[cfg(target_os = "linux")]
fn begin(file: &File, range: &Range<u64>) {
    use std::os::fd::AsRawFd;
    let offset = |at: u64| libc::off64_t::try_from(at).unwrap_or(libc::off64_t::MAX);
    let (from, length) = (offset(range.start), offset(range.end.saturating_sub(range.start)));
    // SAFETY: takes no memory of ours; the descriptor is open as long as `file` lives. What fails here the sync reports.
    unsafe { libc::sync_file_range(file.as_raw_fd(), from, length, libc::SYNC_FILE_RANGE_WRITE) };
}

#[cfg(not(target_os = "linux"))]
fn begin(_file: &File, _range: &Range<u64>) {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn it_never_waits_and_changes_nothing() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 100_000]).unwrap();
        let writeback = Writeback::new(&file).unwrap();
        for n in 0..1000 {
            writeback.wrote(n * 100..u64::MAX);
        }
        assert_eq!(file.metadata().unwrap().len(), 100_000);
    }
}
