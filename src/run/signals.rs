//! Signals: ends that tell the peer first, reports, and the verbosity.
//!
//! A thread of its own hears them, all others block them. Handlers only take note. The first signal to end aborts
//! every direction and is remembered, so that the process can end by it; the second one ends at once.

use crate::endpoint::exec;
use crate::message;
use crate::proto::outcome::{Outcome, Status};
use crate::run::monitor::Monitor;
use crate::run::sessions::Sessions;
use crate::sys::pipe::{Interest, wait};
use crate::sys::refusal;
use crate::sys::signal::{ASKING, any_pending, block, end_by, ignored_at_start, unblock};
use crate::sys::thread::spawn;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::flag;
use signal_hook::iterator::Signals;
use signal_hook::low_level::signal_name;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};

/// The signals that end this process.
const ENDS: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

/// The signals that ask for a report. Where SIGINFO exists, a key of the terminal sends it.
#[cfg(not(any(target_os = "macos", target_os = "freebsd", target_os = "netbsd", target_os = "openbsd")))]
const REPORT: &[i32] = &[SIGUSR1];
#[cfg(any(target_os = "macos", target_os = "freebsd", target_os = "netbsd", target_os = "openbsd"))]
const REPORT: &[i32] = &[SIGUSR1, signal_hook::consts::SIGINFO];

/// What is said, here and to the peer, when the kernel refuses memory.
const REFUSED: &str = "out of memory: the kernel gives no more; a smaller buffer needs less";

/// The signal that ends this process; 0 while there is none.
static ENDING: AtomicI32 = AtomicI32::new(0);

/// The signal that has asked this process to end, if one has.
pub fn ending() -> Option<i32> {
    match ENDING.load(Ordering::SeqCst) {
        0 => None,
        signal => Some(signal),
    }
}

/// Set by the handlers themselves: one of [`ENDS`] has come, whether or not the thread knows of it already.
static HEARD: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Whether this process has been asked to end, also if the signal has not reached the thread that acts on it. False
/// until signals are heard. Must be called by a thread that blocks signals, as all do except that one.
pub fn is_asked_to_end() -> bool {
    // in this order, because a signal that is not pending any more was heard before
    HEARD.get().is_some_and(|heard| any_pending(&heeded()) || heard.load(Ordering::SeqCst))
}

/// Those of [`ENDS`] that were not ignored when the process started.
fn heeded() -> Vec<i32> {
    ENDS.into_iter().filter(|signal| !ignored_at_start(*signal)).collect()
}

/// Signals are heard, and no thread acts on them yet.
pub struct Heard(Signals);

/// Hears signals from now on. Those that were ignored when the process started stay ignored. The calling thread, and
/// all that it starts from now on, are not interrupted by them.
///
/// # Errors
/// The kernel's.
pub fn hear() -> io::Result<Heard> {
    block(ASKING).forget();
    let ends = heeded();
    let heard = HEARD.get_or_init(Arc::default);
    for end in &ends {
        flag::register(*end, heard.clone())?;
    }
    Signals::new(ends.into_iter().chain(REPORT.iter().copied()).chain([SIGUSR2])).map(Heard)
}

impl Heard {
    /// Acts on every signal from the first one that was heard, and on the kernel's refusing memory.
    ///
    /// # Errors
    /// The kernel has no threads left, or no memory.
    pub fn watch(mut self, sessions: Sessions, monitor: Monitor) -> io::Result<()> {
        let (refused, ending) = (refusal::heard()?, sessions.clone());
        spawn("memory", move || {
            // without this wait, the thread that is refused memory ends the process itself
            if wait(&[Interest::read(&refused)], None).is_ok() {
                ending.stop(&Outcome::here(Status::Incomplete, REFUSED));
            }
        })?;
        spawn("signals", move || {
            unblock(ASKING);
            for signal in self.0.forever() {
                match signal {
                    SIGUSR2 => message::raise(),
                    report if REPORT.contains(&report) => monitor.report(),
                    end => stop(&sessions, end),
                }
            }
        })
    }
}

fn stop(sessions: &Sessions, signal: i32) {
    if ENDING.swap(signal, Ordering::SeqCst) != 0 {
        exec::kill();
        end_by(signal);
    }
    let name = signal_name(signal).unwrap_or("a signal");
    sessions.stop(&Outcome::here(Status::Incomplete, format!("ended by {name}")));
}
