//! Real processes on loopback: what a user sees, and what a peer, a network or the kernel may do to it.
// nothing of a test program is seen from outside: `pub` is for its own modules
#![allow(unreachable_pub)]

#[path = "../util/mod.rs"]
mod util;

mod checksum;
mod commands;
mod compress;
mod door;
mod duplex;
mod duplex_peers;
mod encrypted;
mod encrypted_attacked;
mod encrypted_peers;
mod encrypted_strangers;
mod faults;
mod harness;
mod instruments;
mod keys;
mod lines;
#[cfg(target_os = "linux")]
mod moved;
#[cfg(target_os = "linux")]
mod names;
mod parts;
mod pipe;
mod processes;
mod signals;
mod sinks;
mod ssh;
mod store;
mod strangers;
mod through;
mod tunnel;
mod watch;

const MIB: u64 = 1 << 20;

/// Both ends have ended with this status, and both said this.
#[track_caller]
fn both(rx: &util::Ended, tx: &util::Ended, code: i32, said: &str) {
    assert_eq!((rx.code(), tx.code()), (code, code), "{rx:?} {tx:?}");
    assert!(rx.stderr.contains(said), "{rx:?}");
    assert!(tx.stderr.contains(said), "{tx:?}");
}

/// Panics unless these are the right bytes, all of them; names the first wrong one.
#[track_caller]
fn assert_same(found: &[u8], right: &[u8]) {
    let differs = found.iter().zip(right).position(|(a, b)| a != b);
    assert_eq!((found.len(), differs), (right.len(), None));
}

/// Of a process's status file in `/proc`, the set of signals of this name.
fn signal_set(status: &str, name: &str) -> u64 {
    let set = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    u64::from_str_radix(set.trim_start_matches(':').trim(), 16).unwrap()
}
