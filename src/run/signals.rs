//! Signals: ends that tell the peer first, and the verbosity.
//!
//! A thread of its own hears them; handlers do nothing. The first signal to end aborts every direction and
//! is remembered, so that the process can end by it; the second one ends at once.

use crate::message;
use crate::proto::transmission::Ending;
use crate::proto::wire::Code;
use crate::run::{Directions, spawn};
use crate::sys::signal::{end_by, ignored_at_start};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;
use std::io;
use std::sync::atomic::{AtomicI32, Ordering};

/// The signal that ends this process; 0 while there is none.
static ENDING: AtomicI32 = AtomicI32::new(0);

/// The signal that has asked this process to end, if one has.
pub fn ending() -> Option<i32> {
    match ENDING.load(Ordering::SeqCst) {
        0 => None,
        signal => Some(signal),
    }
}

/// Hears signals from now on. Those that were ignored when the process started stay ignored.
///
/// # Errors
/// The kernel's.
pub fn watch(directions: Directions) -> io::Result<()> {
    let ends = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| !ignored_at_start(*signal));
    let mut signals = Signals::new(ends.chain([SIGUSR1, SIGUSR2]))?;
    spawn("signals", move || {
        for signal in signals.forever() {
            match signal {
                SIGUSR1 => {}
                SIGUSR2 => message::raise(),
                end => stop(&directions, end),
            }
        }
    })
}

fn stop(directions: &Directions, signal: i32) {
    if ENDING.swap(signal, Ordering::SeqCst) != 0 {
        end_by(signal);
    }
    directions.stop(&Ending::here(Code::Incomplete, format!("ended by {}", name(signal))));
}

fn name(signal: i32) -> &'static str {
    match signal {
        SIGINT => "SIGINT",
        SIGTERM => "SIGTERM",
        _ => "SIGHUP",
    }
}
