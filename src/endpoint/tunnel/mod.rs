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

pub(crate) mod attending;
pub(crate) mod dial;
pub(crate) mod handover;
pub(crate) mod loan;
pub(crate) mod local;
mod meeting;
pub mod mux;
pub(crate) mod open;
pub(crate) mod origin;
pub(crate) mod poller;
pub(crate) mod raw;
pub mod record;
pub(crate) mod shared;
pub(crate) mod streams;

pub(crate) use origin::{Origin, Target};
pub(crate) use shared::{Config, Tunnel};
pub(crate) use streams::{TunnelSink, TunnelSource};
