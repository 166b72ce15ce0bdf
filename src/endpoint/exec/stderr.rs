//! A command's stderr, passed on to ours.
//!
//! What always holds: the command is never held up for longer than a bounded time by whoever reads ours. What is not
//! taken by then is counted and dropped, until something is taken again.

use crate::sys::bell::Bell;
use crate::sys::pipe::{Interest, wait};
use rustix::io::{Errno, write};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A pipe that takes anything takes so much at once. Whatever ours leads to may be shared, so it is not made
/// non-blocking.
const PIECE: usize = 4096;

/// What became of some bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Taken {
    All,
    /// Only so many, and no more in the time allowed.
    Some(usize),
    /// Only so many, and nobody will take the others.
    Gone(usize),
}

/// Where a stderr goes, and what becomes of it there.
#[derive(Debug)]
pub struct Passing<'a> {
    /// How long the command is held up when nothing is taken.
    pub patience: Duration,
    /// Counts bytes for which there was nobody.
    pub lost: &'a AtomicU64,
    /// Rung when all was passed on, or there is nobody to pass it on to.
    pub told: &'a Bell,
}

impl Passing<'_> {
    /// Reads to the end, whatever becomes of what is read.
    pub fn pass_on(&self, mut from: File, to: &impl AsFd) {
        let mut space = vec![0; 64 << 10];
        let (mut heard, mut patience) = (true, self.patience);
        loop {
            let watched = match heard {
                true => wait(&[Interest::read(&from), Interest::end(to)], None),
                false => wait(&[Interest::read(&from)], None).map(|[from]| [from, Default::default()]),
            };
            let Ok([from_it, to_us]) = watched else { break };
            if heard && (to_us.error || to_us.hung_up) {
                heard = false;
                self.told.ring();
            }
            if !from_it.any() {
                continue;
            }
            let came = match from.read(&mut space) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            let taken = if heard { deliver(&space[..came], to, patience) } else { Taken::Gone(0) };
            let passed = match taken {
                Taken::All => came,
                Taken::Some(n) | Taken::Gone(n) => n,
            };
            self.lost.fetch_add((came - passed) as u64, Ordering::Relaxed);
            // who has taken nothing for so long is not waited for again before all of something is taken
            patience = if taken == Taken::All { self.patience } else { Duration::ZERO };
            if taken != Taken::All {
                heard &= !matches!(taken, Taken::Gone(_));
                self.told.ring();
            }
        }
        self.told.ring();
    }
}

/// Writes these bytes, as long as some are taken within `patience`.
fn deliver(bytes: &[u8], to: &impl AsFd, patience: Duration) -> Taken {
    let mut taken = 0;
    while taken < bytes.len() {
        let Ok([ready]) = wait(&[Interest::write(to)], Some(patience)) else { return Taken::Gone(taken) };
        if ready.error || ready.hung_up {
            return Taken::Gone(taken);
        }
        if !ready.writable {
            return Taken::Some(taken);
        }
        match write(to, &bytes[taken..bytes.len().min(taken + PIECE)]) {
            Ok(n) => taken += n,
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => return Taken::Gone(taken),
        }
    }
    Taken::All
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::pipe::unread;
    use std::io::{Write, pipe};
    use std::os::fd::OwnedFd;
    use std::thread;

    /// More than any pipe holds.
    const MUCH: usize = 4 << 20;

    #[test]
    fn who_reads_nothing_holds_nobody_up_for_good_and_is_heard_again() {
        let (from, mut command) = pipe().unwrap();
        let (mut reader, to) = pipe().unwrap();
        let (lost, told) = (AtomicU64::new(0), Bell::new().unwrap());
        let passing = Passing { patience: Duration::from_millis(50), lost: &lost, told: &told };
        let last = b"the last words";
        let came = thread::scope(|scope| {
            let passing = &passing;
            scope.spawn(move || passing.pass_on(File::from(OwnedFd::from(from)), &to));
            // with nobody who reads, this ends all the same
            command.write_all(&vec![b'x'; MUCH]).unwrap();
            // nothing is on its way any more before somebody reads
            let held = loop {
                let held = unread(&reader).unwrap();
                if lost.load(Ordering::Relaxed) + held as u64 == MUCH as u64 {
                    break held;
                }
                thread::yield_now();
            };
            reader.read_exact(&mut vec![0; held]).unwrap();
            command.write_all(last).unwrap();
            drop(command);
            let mut rest = Vec::new();
            reader.read_to_end(&mut rest).unwrap();
            assert_eq!(rest, last);
            held
        });
        assert!(wait(&[Interest::read(&told)], None).unwrap()[0].any());
        assert_eq!(lost.load(Ordering::Relaxed), (MUCH - came) as u64);
        assert!(came < MUCH);
    }

    #[test]
    fn what_is_read_slowly_arrives_whole_and_a_reader_that_has_gone_is_counted_for() {
        let (from, mut command) = pipe().unwrap();
        let (mut reader, to) = pipe().unwrap();
        let (lost, told) = (AtomicU64::new(0), Bell::new().unwrap());
        let passing = Passing { patience: Duration::from_secs(60), lost: &lost, told: &told };
        thread::scope(|scope| {
            scope.spawn(|| passing.pass_on(File::from(OwnedFd::from(from)), &to));
            let writes = scope.spawn(move || command.write_all(&vec![b'x'; MUCH]).map(|()| command));
            reader.read_exact(&mut vec![0; MUCH]).unwrap();
            drop(reader);
            let mut command = writes.join().unwrap().unwrap();
            command.write_all(b"lost").unwrap();
        });
        assert_eq!(lost.load(Ordering::Relaxed), 4);
    }
}
