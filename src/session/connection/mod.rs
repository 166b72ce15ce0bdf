//! The connections of a session: a [`Seat`] for each, which everybody knows, and the thread that owns it.
//!
//! ```text
//!  wait ─▶ how do I stand? ─▶ write what waits ─▶ read a turn ─▶ signs of life ─▶ write ─▶ wait
//! ```
//!
//! The owner reads, and decides nothing: what comes is told at the desk, what is to be written is taken from there. It
//! notices that its connection is not wanted any more by how that stands ([`Standing`]), and closes it. Edge-triggered:
//! what is readable or writable is remembered until the socket said otherwise.

mod intake;
mod owner;
mod seat;
mod writer;

pub use owner::{Accepted, Dialling, Shared};
pub use seat::{Seat, SessionDesk};
