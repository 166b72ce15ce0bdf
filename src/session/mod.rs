//! One session's threads: its streams, and the connections that carry them.
//!
//! ```text
//!  ingest ─▶ desk ─▶ connection × N ═══ TCP ═══ connection × N ─▶ desk ─▶ egress
//!    1        2          3, 4                       5              6        7
//! ```
//!
//! Step 1 cuts the input into legs (one thread), 2 keeps window and schedule (whoever comes with news, behind one
//! lock), 3 checks and 4 writes legs (in parallel), 5 reads and checks them (in parallel), 6 reorders and acknowledges
//! (behind the lock), 7 writes in order (one thread). Acknowledgements come back on the same connections. With
//! `duplex` the same connections carry a second stream the other way, behind the same lock.
//!
//! Everything is built before any thread starts. The thread that runs a session is its clock.

pub(crate) mod accept;
pub(crate) mod admission;
mod allowance;
pub(crate) mod build;
pub(crate) mod choice;
pub(crate) mod compressing;
pub(crate) mod connection;
pub(crate) mod core;
pub(crate) mod decoding;
pub(crate) mod desk;
pub(crate) mod destination;
pub(crate) mod egress;
pub(crate) mod encoders;
pub(crate) mod filter;
pub(crate) mod filters;
mod first;
pub(crate) mod ingest;
pub(crate) mod lifeline;
pub(crate) mod limits;
pub(crate) mod lobby;
pub(crate) mod lookup;
pub(crate) mod meters;
pub(crate) mod moving;
pub(crate) mod orders;
pub(crate) mod origins;
pub(crate) mod part;
pub(crate) mod pending;
pub(crate) mod pool;
mod program;
pub(crate) mod pump;
pub(crate) mod resolve;
pub(crate) mod setup;
pub(crate) mod snapshot;
pub(crate) mod taking;
mod waits;

pub(crate) use build::{Handle, Start};
pub(crate) use lifeline::Lifeline;
pub(crate) use orders::News;
pub(crate) use setup::{Approach, Hear, Incoming, Outgoing, Setup};
