//! The connections of a session: a [`Seat`] for each, which everybody knows, and the thread that owns it.
//!
//! ```text
//!  wait ─▶ how do I stand? ─▶ read a turn ─▶ signs of life ─▶ write what waits ─▶ wait
//! ```
//!
//! The owner reads, and decides nothing. It tells the desk what comes, and takes what is to be written from there. It
//! asks the desk how its connection stands ([`Standing`](super::orders::Standing)), and closes the connection when
//! that is not wanted any more. The poll is edge-triggered: the owner remembers what is readable or writable until the
//! socket says otherwise.

mod borrowing;
mod dialling;
mod drain;
mod ended;
mod holding;
mod intake;
mod owner;
mod seat;
mod shared;
mod stages;
mod unsent;
mod writer;

pub(crate) use dialling::Dialling;
pub(crate) use owner::Accepted;
pub(crate) use seat::{Seat, SessionDesk};
pub(crate) use shared::Shared;
