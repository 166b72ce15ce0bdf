//! The harness of all tests with real processes: start them, feed them, check what comes out, break what lies
//! between them, and wait with a deadline.
//!
//! ```ignore
//! let rx = Rx::start(&["buffer", "4M"]);           // on a free port of its own choice
//! let relay = Relay::to(rx.port);                  // a network in the test's hand
//! let tx = tx(relay.port, &["threads", "3"]);
//! let output = rx.collect();                       // checks each byte by its position
//! tx.feed(5_000_000);                              // position-determined bytes, then the end of the input
//! output.await_bytes(1_000_000);
//! relay.kill_all();                                // they are dead when this returns
//! assert_complete(&rx, &tx, output, 5_000_000);    // both exit 0, and every byte is right
//! ```
//!
//! Nothing sleeps to let something happen, and no port is fixed. A wait is for an event and has a deadline far
//! beyond what a loaded machine needs; past it the test fails and shows what the processes said. A process that is
//! dropped is killed. A test that cannot run here says so by [`skip`].

// each test program uses a part of it
#![allow(dead_code, unused_imports)]

mod data;
mod keys;
pub mod pair;
mod process;
pub mod proxy;
pub mod relay;
mod signals;
mod skip;
mod sshd;
pub mod stranger;
mod tcp;
mod wait;

pub use data::{Collector, check, feed, pattern};
pub use keys::Keys;
pub use process::{
    Ended, MILLIPEDE, Process, Rx, Signal, assert_complete, carry, millipede, send, shell, tx, tx_over,
};
pub use signals::heed;
pub use skip::{has, skip};
pub use sshd::Sshd;
pub use tcp::{connect, echo, free_port, ping, server, there_and_back};
pub use wait::{DEADLINE, Shared, eventually, side_by_side, until, until_still};
