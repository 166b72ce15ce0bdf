//! The one thread that writes to stderr, and what everybody else hands to it.
//!
//! A thread that has something to say puts it in a bounded queue and goes on; no lock is held while anything is
//! written. A stderr that takes nothing (a pipe nobody reads, a terminal at ^S) stops only this thread. It does not
//! hold up the end of the process either: the thread is never joined. The open file may be shared with a shell, so it
//! is never made non-blocking.

use super::limit::{Kind, Limiter};
use super::notices;
use super::queue::{PIECE_MAX, Queue};
use super::screen::{ERASE, LiveLines, Screen};
use super::text::one_line;
use crate::sync::Unpoisoned;
use crate::sys::thread::spawn;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr, write};
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// At the end, the process waits no longer than this for a pipe or a terminal that takes nothing: a process that was asked
/// to end ends within a second.
const STALL: Duration = Duration::from_millis(400);

/// At the end, the process waits no longer than this, however steadily stderr takes what it gets.
const FAREWELL: Duration = Duration::from_secs(2);

/// The width of a terminal that does not tell its own.
const COLUMNS: u16 = 80;

/// The queue, and the thread that empties it.
pub(crate) struct Printer {
    state: Mutex<State>,
    /// There is something to write, or a time to wait for.
    work: Condvar,
    /// Something was written.
    written: Condvar,
    /// A live line stands on the terminal, the cursor at its start.
    drawn: AtomicBool,
}

struct State {
    queue: Queue,
    limiter: Limiter,
    live: Option<Arc<LiveLines>>,
    /// The live lines are others than those drawn last.
    redraw: bool,
    /// The thread is writing what it took.
    writing: bool,
    /// When stderr took something last.
    progress: Option<Instant>,
    thread: Thread,
}

/// The thread is started with the first line, and only then.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Thread {
    NotYet,
    Running,
    /// The kernel has no threads left. The thread that says something writes as much as can be written without waiting.
    Impossible,
}

impl Printer {
    /// Without a thread yet.
    pub(crate) const fn new() -> Self {
        let state = State {
            queue: Queue::new(),
            limiter: Limiter::new(),
            live: None,
            redraw: false,
            writing: false,
            progress: None,
            thread: Thread::NotYet,
        };
        Printer {
            state: Mutex::new(state),
            work: Condvar::new(),
            written: Condvar::new(),
            drawn: AtomicBool::new(false),
        }
    }

    /// Hands over one line or several, each ending in a newline. Never waits.
    pub(crate) fn say(&'static self, lines: String) {
        let mut state = self.lock();
        state.queue.push(lines);
        self.wake(state);
    }

    /// Whether a line of this kind may be said now. If not, it is counted, and told later.
    pub(crate) fn may_say(&'static self, kind: Kind) -> bool {
        let mut state = self.lock();
        let may = state.limiter.may_say(Instant::now(), kind);
        if !may {
            // the printer's thread computes anew when to tell of unsaid lines
            self.work.notify_one();
        }
        may
    }

    /// From now on this stands below the lines, or nothing. Never waits; what is not drawn in time is never drawn.
    pub(crate) fn show(&'static self, live: Option<LiveLines>) {
        let mut state = self.lock();
        if live.is_some() || state.live.is_some() {
            (state.live, state.redraw) = (live.map(Arc::new), true);
            self.wake(state);
        }
    }

    /// Waits until all is written, if `stderr` takes it: [`STALL`] at most while it takes nothing, [`FAREWELL`] in all. What
    /// the thread has not even begun by then is written here.
    pub(crate) fn finish(&'static self, stderr: impl AsFd) {
        let mut state = self.lock();
        for (kind, lines) in state.limiter.rest() {
            state.queue.push(one_line(&notices::more_like_it(kind, lines)));
        }
        if state.is_idle() {
            return;
        }
        self.wake(state);
        let (mut state, start) = (self.lock(), Instant::now());
        let end = start + FAREWELL;
        while state.thread == Thread::Running && !state.is_idle() {
            let now = Instant::now();
            let stalled = state.progress.map_or(start, |progress| progress.max(start)) + STALL;
            // a stderr with room is not what holds it up: the thread gets no time on a processor
            let until = if stalled <= now && has_room(&stderr) { end } else { stalled.min(end) };
            let left = until.saturating_duration_since(now);
            if left.is_zero() {
                let rest = if state.writing { String::new() } else { self.rest(Some(&mut state)) };
                drop(state);
                return write_if_ready(stderr, rest.as_bytes());
            }
            state = self.written.wait_timeout(state, left).unpoisoned().0;
        }
    }

    /// Writes what waits and this line, past the thread and whoever holds the lock, as far as stderr takes it at
    /// once.
    pub(crate) fn say_at_last(&self, line: &str) {
        let rest = self.rest(self.state.try_lock().ok().as_deref_mut());
        write_if_ready(io::stderr(), (rest + line).as_bytes());
    }

    /// All that waits, for another thread than the printer's to write.
    fn rest(&self, state: Option<&mut State>) -> String {
        let mut text = String::new();
        if self.drawn.load(Ordering::Relaxed) {
            text += ERASE;
        }
        text.extend(state.into_iter().flat_map(|state| std::iter::from_fn(|| state.queue.take())));
        text
    }

    /// Sees to it that what the state now has is written.
    fn wake(&'static self, mut state: MutexGuard<'_, State>) {
        if state.thread == Thread::NotYet {
            let started = spawn("messages", move || self.serve(io::stderr()));
            state.thread = if started.is_ok() { Thread::Running } else { Thread::Impossible };
        }
        match state.thread {
            Thread::Impossible => {
                let text: String = std::iter::from_fn(|| state.queue.take()).collect();
                drop(state);
                write_if_ready(io::stderr(), text.as_bytes());
            }
            _ => self.work.notify_one(),
        }
    }

    /// Writes for ever.
    fn serve(&self, stderr: impl AsFd) {
        let mut screen = Screen::default();
        loop {
            let lines = self.next(&mut screen);
            let text = screen.compose(&lines, columns(&stderr), is_in_foreground(&stderr));
            self.drawn.store(screen.is_drawn(), Ordering::Relaxed);
            write_all(&stderr, text.as_bytes());
            let mut state = self.lock();
            (state.writing, state.progress) = (false, Some(Instant::now()));
            self.written.notify_all();
        }
    }

    /// Waits for something to write, and takes it: lines into the answer, live lines into the screen.
    fn next(&self, screen: &mut Screen) -> String {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            for (kind, lines) in state.limiter.due(now) {
                state.queue.push(one_line(&notices::more_like_it(kind, lines)));
            }
            let lines = state.queue.take();
            if lines.is_some() || state.redraw {
                state.writing = true;
                if std::mem::take(&mut state.redraw) {
                    screen.show(state.live.clone());
                }
                return lines.unwrap_or_default();
            }
            state = match state.limiter.next_due() {
                Some(at) => {
                    let left = at.saturating_duration_since(now);
                    self.work.wait_timeout(state, left).unpoisoned().0
                }
                None => self.work.wait(state).unpoisoned(),
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unpoisoned()
    }
}

impl State {
    fn is_idle(&self) -> bool {
        self.queue.is_empty() && !self.redraw && !self.writing
    }
}

/// The width of this terminal, as it is now.
fn columns(terminal: impl AsFd) -> usize {
    let size = rustix::termios::tcgetwinsize(terminal).map_or(0, |size| size.ws_col);
    if size == 0 { COLUMNS.into() } else { size.into() }
}

/// Whether the terminal's keys are for this process, so that its lines are too.
pub(crate) fn is_in_foreground(terminal: impl AsFd) -> bool {
    rustix::termios::tcgetpgrp(terminal).is_ok_and(|group| group == rustix::process::getpgrp())
}

/// Writes all of it, however long that takes. What cannot be written is lost: there is nobody to tell.
fn write_all(stderr: impl AsFd, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match retry_on_intr(|| write(&stderr, bytes)) {
            Ok(written @ 1..) => bytes = &bytes[written..],
            // somebody else has made it non-blocking
            Err(Errno::AGAIN) => drop(wait_for_room(&stderr, None)),
            Ok(0) | Err(_) => return,
        }
    }
}

/// Writes as much as is taken at once.
fn write_if_ready(stderr: impl AsFd, bytes: &[u8]) {
    // a pipe that is ready takes at least as much as this without waiting
    for piece in bytes.chunks(PIECE_MAX) {
        if !has_room(&stderr) || retry_on_intr(|| write(&stderr, piece)).is_err() {
            return;
        }
    }
}

fn has_room(stderr: impl AsFd) -> bool {
    wait_for_room(stderr, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))
}

fn wait_for_room(stderr: impl AsFd, timeout: Option<&Timespec>) -> bool {
    let mut fds = [PollFd::new(&stderr, PollFlags::OUT)];
    matches!(poll(&mut fds, timeout), Ok(1..))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::pipe;
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::OwnedFd;

    /// A printer of the test's own, to a pipe. Its thread has not run yet.
    fn starved() -> (&'static Printer, OwnedFd, OwnedFd) {
        let (reader, stderr) = pipe().unwrap();
        let printer: &'static Printer = Box::leak(Box::new(Printer::new()));
        printer.lock().thread = Thread::Running;
        (printer, reader, stderr)
    }

    /// A printer of the test's own, to a pipe.
    fn printer() -> (&'static Printer, OwnedFd, OwnedFd) {
        let (printer, reader, stderr) = starved();
        let its_own = stderr.try_clone().unwrap();
        std::thread::spawn(move || printer.serve(its_own));
        (printer, reader, stderr)
    }

    #[test]
    fn what_is_said_is_written_before_the_end() {
        let (printer, reader, stderr) = printer();
        for n in 0..1000 {
            printer.say(format!("{n}\n"));
        }
        printer.finish(&stderr);
        let mut written = vec![0; 10 * 2 + 90 * 3 + 900 * 4];
        File::from(reader).read_exact(&mut written).unwrap();
        let expected: String = (0..1000).map(|n| format!("{n}\n")).collect();
        assert_eq!(String::from_utf8(written).unwrap(), expected);
    }

    #[test]
    fn a_pipe_that_nobody_reads_stops_nobody() {
        let (printer, reader, stderr) = printer();
        let line = "x".repeat(99) + "\n";
        let lines = 30_000;
        (0..lines).for_each(|_| printer.say(line.clone()));
        let start = Instant::now();
        printer.finish(&stderr);
        // the test is that it comes to an end; but surely not at once, or it would not wait for anybody
        assert!(start.elapsed() >= STALL);
        printer.say("the last\n".to_owned());
        let (mut heard, mut reader) = (Vec::new(), File::from(reader));
        while !heard.ends_with(b"the last\n") {
            let mut chunk = [0; 4096];
            let read = reader.read(&mut chunk).unwrap();
            heard.extend_from_slice(&chunk[..read]);
        }
        let heard = String::from_utf8(heard).unwrap();
        let whole = heard.matches(&line).count();
        let told = heard.split("millipede: … ").skip(1).map(|rest| rest.split(' ').next().unwrap());
        let dropped: usize = told.map(|lines| lines.parse::<usize>().unwrap()).sum();
        assert_eq!(whole + dropped, lines, "each was written or counted");
    }

    #[test]
    fn what_the_thread_has_no_time_for_is_written_all_the_same() {
        let (printer, reader, stderr) = starved();
        printer.say("why it ends\n".to_owned());
        let start = Instant::now();
        printer.finish(&stderr);
        assert!(start.elapsed() >= FAREWELL, "the thread is given its time");
        drop(stderr);
        let mut written = String::new();
        File::from(reader).read_to_string(&mut written).unwrap();
        assert_eq!(written, "why it ends\n");
    }

    #[test]
    fn what_was_not_said_is_told_at_the_end() {
        let (printer, reader, stderr) = printer();
        let said = (0..100).filter(|_| printer.may_say("knocking")).count();
        printer.finish(&stderr);
        let mut written = [0; 100];
        let read = File::from(reader).read(&mut written).unwrap();
        let expected = format!("millipede: … and {} more like it: knocking\n", 100 - said);
        assert_eq!(std::str::from_utf8(&written[..read]).unwrap(), expected);
    }

    #[test]
    fn a_full_pipe_is_not_waited_for_at_the_last() {
        let (reader, stderr) = pipe().unwrap();
        write_if_ready(&stderr, &vec![b'x'; 4 << 20]);
        assert!(!has_room(&stderr));
        assert!(rustix::io::ioctl_fionread(&reader).unwrap() >= PIECE_MAX as u64);
    }
}
