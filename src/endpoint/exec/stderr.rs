//! A command's stderr, passed on to ours.
//!
//! What always holds: the command is never held up for longer than a bounded time by whoever reads ours. What is not
//! taken by then is counted and dropped, until something is taken again. What the command had written when it ended was
//! passed on before `told` rings, unless it was dropped.

use crate::sys::bell::Bell;
use crate::sys::pipe::{Interest, wait};
use rustix::io::{Errno, write};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A pipe that takes anything takes so much at once. Whatever ours leads to may be shared, so it is not made
/// non-blocking.
const PIECE: usize = 4096;

/// Once the command has ended, processes that it left behind may hold its stderr open. That counts as ended when it has
/// been empty for so long. It is far less than the near end waits for ssh (`LAST_OF_STDERR` in `run/ssh/near.rs`).
pub(crate) const QUIET: Duration = Duration::from_millis(1500);

/// What became of some bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Taken {
    All,
    /// Only so many, and no more in the time allowed.
    Some(usize),
    /// Only so many, and nobody will take the others.
    Gone(usize),
}

/// What is known of the command, and of whoever reads ours.
struct Known {
    /// There is somebody to pass it on to.
    heard: bool,
    /// The command has ended.
    exited: bool,
    /// Whoever waits for the end of its stderr was not told yet.
    awaited: bool,
}

/// Where a stderr goes, and what becomes of it there.
#[derive(Debug)]
pub(crate) struct Passing<'a> {
    /// How long the command is held up when nothing is taken.
    pub(crate) patience: Duration,
    /// Counts bytes for which there was nobody.
    pub(crate) lost: &'a AtomicU64,
    /// Rung once the command has ended.
    pub(crate) exited: &'a Bell,
    /// For how long processes that the command left behind may write nothing: [`QUIET`].
    pub(crate) quiet: Duration,
    /// Rung when all was passed on, nothing more is expected, or there is nobody to pass it on to. Never before the
    /// command has ended, unless nobody will ever take anything again.
    pub(crate) told: &'a Bell,
}

impl Passing<'_> {
    /// Reads to the end, whatever becomes of what is read.
    pub(crate) fn pass_on(&self, mut from: File, to: &impl AsFd) {
        let mut space = vec![0; 64 << 10];
        let mut known = Known { heard: true, exited: false, awaited: true };
        let mut patience = self.patience;
        while let Ok(input) = self.await_input(&from, to, &mut known) {
            if !input {
                continue;
            }
            let came = match from.read(&mut space) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            let taken = if known.heard { deliver(&space[..came], to, patience) } else { Taken::Gone(0) };
            let passed = match taken {
                Taken::All => came,
                Taken::Some(n) | Taken::Gone(n) => n,
            };
            self.lost.fetch_add((came - passed) as u64, Ordering::Relaxed);
            // who has taken nothing for so long is not waited for again before all of something is taken
            patience = if taken == Taken::All { self.patience } else { Duration::ZERO };
            known.heard &= !matches!(taken, Taken::Gone(_));
            // a command that runs on may have last words that are taken; the bell is never cleared
            if !known.heard || (known.exited && taken != Taken::All) {
                self.told.ring();
            }
        }
        self.told.ring();
    }

    /// Waits for something to read, or for what changes how that is waited for; whether there is something to read.
    fn await_input(&self, from: &File, to: &impl AsFd, known: &mut Known) -> io::Result<bool> {
        // no bell ever hangs up, so this is nothing to wait for
        let nothing = Interest::end(self.exited);
        let ours = if known.heard { Interest::end(to) } else { nothing };
        let exit = if known.exited { nothing } else { Interest::read(self.exited) };
        let time = (known.exited && known.awaited).then_some(self.quiet);
        let [input, ours, exit] = wait(&[Interest::read(from), ours, exit], time)?;
        known.heard &= !(ours.error || ours.hung_up);
        let is_quiet = time.is_some() && !input.any() && !ours.any();
        if known.awaited && (is_quiet || !known.heard) {
            known.awaited = false;
            self.told.ring();
        }
        known.exited |= exit.any();
        Ok(input.any())
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
    const LONG: Duration = Duration::from_secs(60);

    struct Shared {
        lost: AtomicU64,
        exited: Bell,
        told: Bell,
    }

    impl Shared {
        fn new() -> Self {
            Shared { lost: AtomicU64::new(0), exited: Bell::new().unwrap(), told: Bell::new().unwrap() }
        }

        fn passing(&self, patience: Duration, quiet: Duration) -> Passing<'_> {
            let Shared { lost, exited, told } = self;
            Passing { patience, lost, exited, quiet, told }
        }
    }

    fn rings(bell: &Bell, time: Option<Duration>) -> bool {
        wait(&[Interest::read(bell)], time).unwrap()[0].any()
    }

    #[test]
    fn who_reads_nothing_holds_nobody_up_for_good_and_is_heard_again() {
        let (from, mut command) = pipe().unwrap();
        let (mut reader, to) = pipe().unwrap();
        let shared = Shared::new();
        let passing = shared.passing(Duration::from_millis(50), QUIET);
        let Shared { lost, told, .. } = &shared;
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
            let mut rest = [0; 14];
            reader.read_exact(&mut rest).unwrap();
            assert_eq!(&rest, last);
            assert!(!rings(told, Some(Duration::ZERO)), "the command may write more, and that is taken");
            drop(command);
            assert_eq!(reader.read(&mut rest).unwrap(), 0);
            held
        });
        assert!(rings(told, None));
        assert_eq!(lost.load(Ordering::Relaxed), (MUCH - came) as u64);
        assert!(came < MUCH);
    }

    #[test]
    fn who_takes_nothing_after_the_end_of_the_command_is_not_waited_for_though_others_write_on() {
        let (from, mut left_behind) = pipe().unwrap();
        let (_reader, to) = pipe().unwrap();
        let shared = Shared::new();
        shared.exited.ring();
        let passing = shared.passing(Duration::from_millis(50), LONG);
        thread::scope(|scope| {
            scope.spawn(|| passing.pass_on(File::from(OwnedFd::from(from)), &to));
            left_behind.write_all(&vec![b'x'; MUCH]).unwrap();
            assert!(rings(&shared.told, Some(LONG / 2)), "it is neither quiet nor at its end");
            drop(left_behind);
        });
    }

    #[test]
    fn what_is_read_slowly_arrives_whole_and_a_reader_that_has_gone_is_counted_for() {
        let (from, mut command) = pipe().unwrap();
        let (mut reader, to) = pipe().unwrap();
        let shared = Shared::new();
        let passing = shared.passing(LONG, QUIET);
        thread::scope(|scope| {
            scope.spawn(|| passing.pass_on(File::from(OwnedFd::from(from)), &to));
            let writes = scope.spawn(move || command.write_all(&vec![b'x'; MUCH]).map(|()| command));
            reader.read_exact(&mut vec![0; MUCH]).unwrap();
            drop(reader);
            // a process that another test forks may have it as well, for a moment
            assert!(wait(&[Interest::end(&to)], Some(LONG)).unwrap()[0].any());
            let mut command = writes.join().unwrap().unwrap();
            command.write_all(b"lost").unwrap();
        });
        assert_eq!(shared.lost.load(Ordering::Relaxed), 4);
    }

    #[test]
    fn what_was_written_before_the_command_ended_is_passed_on_first_and_who_holds_it_open_is_not_waited_for()
    {
        let (from, mut command) = pipe().unwrap();
        let (mut reader, to) = pipe().unwrap();
        let shared = Shared::new();
        command.write_all(b"the last words").unwrap();
        shared.exited.ring();
        let passing = shared.passing(LONG, Duration::ZERO);
        thread::scope(|scope| {
            scope.spawn(|| passing.pass_on(File::from(OwnedFd::from(from)), &to));
            assert!(rings(&shared.told, None));
            let mut came = [0; 14];
            assert_eq!(unread(&reader).unwrap(), came.len());
            reader.read_exact(&mut came).unwrap();
            assert_eq!(&came, b"the last words");
            // a process that the command left behind still writes
            command.write_all(b"more").unwrap();
            reader.read_exact(&mut came[..4]).unwrap();
            assert_eq!(&came[..4], b"more");
            drop(command);
        });
        assert_eq!(shared.lost.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_stderr_that_is_open_is_waited_for_as_long_as_the_command_runs() {
        let (from, command) = pipe().unwrap();
        let (_reader, to) = pipe().unwrap();
        let shared = Shared::new();
        let passing = shared.passing(LONG, Duration::ZERO);
        let mut known = Known { heard: true, exited: false, awaited: true };
        let from = File::from(OwnedFd::from(from));
        thread::scope(|scope| {
            let waits = scope.spawn(|| (passing.await_input(&from, &to, &mut known).unwrap(), known.exited));
            shared.exited.ring();
            assert_eq!(waits.join().unwrap(), (false, true));
        });
        assert!(!rings(&shared.told, Some(Duration::ZERO)));
        assert!(!passing.await_input(&from, &to, &mut known).unwrap());
        assert!(rings(&shared.told, Some(Duration::ZERO)));
        drop(command);
        assert!(passing.await_input(&from, &to, &mut known).unwrap(), "the end");
    }
}
