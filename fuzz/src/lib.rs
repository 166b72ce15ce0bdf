//! What each fuzz target does with its bytes, and what must hold then; a panic is a failure.
//!
//! The targets call these functions, and so does `tests/corpus.rs`, which includes this file: what a fuzzer found stays
//! played by every test run. Whatever the bytes, a function ends soon and uses little memory.

// the file is part of a program and of a library, and neither is documented for users
#![allow(unreachable_pub, missing_docs, dead_code)]

mod checks;
mod files;
#[path = "../../tests/sim/line.rs"]
mod line;
mod messages;
mod owner;
mod peer;
mod rendezvous;
mod script;
mod tunnel;

pub use files::files;
pub use messages::{frames, hearing, hello, reply, words};
pub use peer::{dials, listens};
pub use rendezvous::rendezvous;
pub use tunnel::records;

/// What a target does with its bytes.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: &[(&str, Target)] = &[
    ("hello", hello),
    ("reply", reply),
    ("hearing", hearing),
    ("frames", frames),
    ("records", records),
    ("words", words),
    ("rendezvous", rendezvous),
    ("files", files),
    ("dials", dials),
    ("listens", listens),
];
