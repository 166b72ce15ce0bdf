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

pub mod accept;
pub mod admission;
mod allowance;
pub mod build;
pub mod choice;
pub mod compressing;
pub mod connection;
pub mod core;
pub mod decoding;
pub mod desk;
pub mod destination;
pub mod egress;
pub mod encoders;
pub mod filter;
pub mod filters;
mod first;
pub mod ingest;
pub mod lifeline;
pub mod limits;
pub mod lobby;
pub mod lookup;
pub mod meters;
pub mod moving;
pub mod orders;
pub mod origins;
pub mod part;
pub mod pending;
pub mod pool;
mod program;
pub mod pump;
pub mod resolve;
pub mod setup;
pub mod snapshot;
pub mod taking;
mod waits;

pub use build::{Handle, Start};
pub use lifeline::Lifeline;
pub use orders::News;
pub use setup::{Approach, Hear, Incoming, Outgoing, Setup};
