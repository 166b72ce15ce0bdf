//! Signals: ends that tell the peer first, reports, and the verbosity.
//!
//! A thread of its own hears them, all others block them. Handlers only take note. The first signal to end aborts
//! every direction and is remembered, so that the process can end by it; the second one ends at once. So does the first
//! one where there is no session yet: a name is being looked up, or a port taken. One that comes when everything else is
//! over is not lost either: the process ends by it.

use crate::endpoint::exec;
use crate::message;
use crate::proto::outcome::{Outcome, Status};
use crate::run::monitor::Monitor;
use crate::run::sessions::Sessions;
use crate::sync::Unpoisoned;
use crate::sys::out_of_memory;
use crate::sys::pipe::{Interest, wait};
use crate::sys::signal::{ASKING, any_pending, block, blocked_at_start, end_by, ignored_at_start, unblock};
use crate::sys::thread::spawn;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::flag;
use signal_hook::iterator::{Handle, Signals};
use signal_hook::low_level::signal_name;
use std::io;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

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

/// How long the thread that hears signals may take to end: it may wait for a session that is busy.
const LAST_WORD: Duration = Duration::from_secs(1);

/// The thread that hears signals.
struct Hearing {
    handle: Handle,
    /// Disconnected when the thread takes no more signals.
    done: Receiver<()>,
}

/// None before that thread is there, and when it is to end.
static HEARING: Mutex<Option<Hearing>> = Mutex::new(None);

/// Ends this process by the signal that has asked it to end, if one has. To be called once, at the end, by a thread that
/// blocks signals: no signal is acted on any more.
pub fn end_as_asked() {
    if let Some(signal) = ending() {
        end_by(signal);
    }
}

fn ending() -> Option<i32> {
    let hearing = HEARING.lock().unpoisoned().take();
    if let Some(Hearing { handle, done }) = hearing {
        // the kernel may have given that thread a signal whose handler has not run yet
        handle.close();
        let _ = done.recv_timeout(LAST_WORD);
    }
    let heard = HEARD.get()?;
    // in this order: what is no longer pending has been heard
    let pending = heeded().into_iter().find(|signal| any_pending(&[*signal]));
    let noted = [ENDING.load(Ordering::SeqCst), heard.load(Ordering::SeqCst) as i32];
    noted.into_iter().find(|signal| *signal != 0).or(pending)
}

/// Set by the handlers themselves: the one of [`ENDS`] that came last, whether or not the thread knows of it already;
/// 0 while there is none.
static HEARD: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// Whether this process has been asked to end, also if the signal has not reached the thread that acts on it. False
/// until signals are heard. Must be called by a thread that blocks signals, as all do except that one.
pub(crate) fn is_asked_to_end() -> bool {
    // in this order, because a signal that is not pending any more was heard before
    HEARD.get().is_some_and(|heard| any_pending(&heeded()) || heard.load(Ordering::SeqCst) != 0)
}

/// Those of [`ENDS`] that were neither ignored nor blocked when the process started.
fn heeded() -> Vec<i32> {
    ENDS.into_iter().filter(|signal| !ignored_at_start(*signal) && !blocked_at_start(*signal)).collect()
}

/// What signals are for.
enum Charge {
    /// Nothing yet; whether a report was asked for already, as may be once this process has said that it listens.
    None { asked: bool },
    /// These.
    Known(Sessions, Monitor),
}

/// Signals are heard, and end the process.
pub(crate) struct Heard(Arc<Mutex<Charge>>);

/// Hears signals from now on. Those that were ignored when the process started stay ignored. The calling thread, and
/// all that it starts from now on, are not interrupted by them.
///
/// # Errors
/// The kernel's.
pub(crate) fn hear() -> io::Result<Heard> {
    block(ASKING).forget();
    let ends = heeded();
    let heard = HEARD.get_or_init(Arc::default);
    for end in &ends {
        flag::register_usize(*end, heard.clone(), *end as usize)?;
    }
    let others = REPORT.iter().copied().chain([SIGUSR2]).filter(|signal| !ignored_at_start(*signal));
    let mut signals = Signals::new(ends.into_iter().chain(others))?;
    let (until_done, done) = channel::<()>();
    let hearing = Hearing { handle: signals.handle(), done };
    *HEARING.lock().unpoisoned() = Some(hearing);
    let charge = Arc::new(Mutex::new(Charge::None { asked: false }));
    let heard = Heard(charge.clone());
    spawn("signals", move || {
        unblock(ASKING);
        signals.forever().for_each(|signal| act(signal, &charge));
        // the handlers of all that this thread was given have run when it blocks them
        block(ASKING).forget();
        drop(until_done);
    })?;
    Ok(heard)
}

impl Heard {
    /// From now on signals are for these, and so is the kernel's refusing memory.
    ///
    /// # Errors
    /// The kernel has no threads left, or no memory.
    pub(crate) fn watch(self, sessions: Sessions, monitor: Monitor) -> io::Result<()> {
        let (refused, ending) = (out_of_memory::heard()?, sessions.clone());
        let mut charge = self.0.lock().unpoisoned();
        if let Charge::None { asked: true } = *charge {
            monitor.report();
        }
        *charge = Charge::Known(sessions, monitor);
        drop(charge);
        let (listening, listens) = channel::<()>();
        spawn("memory", move || {
            out_of_memory::listen();
            drop(listening);
            // if waiting fails, the thread that was refused memory ends the process after a while
            if wait(&[Interest::read(&refused)], None).is_ok() {
                ending.stop(&Outcome::here(Status::Incomplete, REFUSED));
            }
        })?;
        // the session's threads start after this; nothing is ever sent, and receiving ends when the thread listens
        let _ = listens.recv();
        Ok(())
    }
}

fn act(signal: i32, charge: &Mutex<Charge>) {
    let mut charge = charge.lock().unpoisoned();
    match (signal, &mut *charge) {
        (SIGUSR2, _) => message::raise(),
        (report, Charge::Known(_, monitor)) if REPORT.contains(&report) => monitor.report(),
        (report, Charge::None { asked }) if REPORT.contains(&report) => *asked = true,
        (end, Charge::Known(sessions, _)) => {
            let sessions = sessions.clone();
            // what a session does when it ends may take a while
            drop(charge);
            stop(&sessions, end);
        }
        // nobody has to be told, and whatever the main thread waits for does not know of signals
        (end, Charge::None { .. }) => {
            message::say(ended_by(end));
            message::finish();
            end_by(end);
        }
    }
}

fn stop(sessions: &Sessions, signal: i32) {
    if ENDING.swap(signal, Ordering::SeqCst) != 0 {
        exec::kill();
        end_by(signal);
    }
    sessions.hurry();
    sessions.stop(&Outcome::here(Status::Incomplete, ended_by(signal)));
}

fn ended_by(signal: i32) -> String {
    format!("ended by {}", signal_name(signal).unwrap_or("a signal"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_that_is_asked_for_early_is_not_forgotten() {
        let charge = Mutex::new(Charge::None { asked: false });
        act(SIGUSR1, &charge);
        assert!(matches!(*charge.lock().unwrap(), Charge::None { asked: true }));
    }
}
