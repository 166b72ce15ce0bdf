//! `terminate` and `initiate`: TCP connections in place of stdin and stdout.
//!
//! ```text
//!  local sockets ─▶ Local, Mux ─▶ TunnelSource ─▶ ingest … egress ─▶ TunnelSink ─▶ Local, Mux ─▶ local sockets
//! ```
//!
//! Where both ends tunnel in both directions, the stream holds records ([`record`]) of any number of connections,
//! and the tunnel stays. Otherwise one connection's bytes are the stream, as they are. Which of the two it is shows
//! when the far ends of all directions have been met ([`Tunnel::meet`]); nothing is accepted or opened before. A far end
//! may be a stranger: until something was read or written others may decide anew.

pub mod attending;
pub mod dial;
pub mod handover;
pub mod loan;
pub mod local;
mod meeting;
pub mod mux;
pub mod open;
pub mod origin;
pub mod poller;
pub mod raw;
pub mod record;
pub mod shared;
pub mod streams;

pub use origin::{Origin, Target};
pub use shared::{Config, Tunnel};
pub use streams::{TunnelSink, TunnelSource};
