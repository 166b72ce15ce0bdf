//! Files as ends of a session: many of them over its two streams, as records ([`crate::store::record`]).
//!
//! ```text
//!  Sending ─▶ Outbox ─▶ source ══ stream ══▶ RecordSink ─▶ Receiving ─▶ shelf
//!  Sending ◀─ Inbox ◀──── sink ◀══ stream ══ source ◀─ Outbox ◀──┘
//! ```
//!
//! Sending is a thread's work: it reads files and sums them up. Long ones go in parts, from the file to the network.
//! Receiving is done by the thread that writes the stream's bytes; what takes long there (opening, finishing) is done by
//! others, so that many small files do not wait for the disk one after the other.

mod commanding;
mod inbox;
mod ledger;
mod matter;
mod outbox;
mod place;
mod receiving;
mod records;
mod sending;
#[cfg(test)]
mod tests;
mod workers;

pub(crate) use commanding::{CommandedSink, Current, MetaFile, Names, Orders, environment};
pub(crate) use inbox::Inbox;
pub(crate) use ledger::{Files, Ledger, UnderWay};
pub(crate) use matter::{Matter, check};
pub(crate) use outbox::Outbox;
pub(crate) use place::{MaySend, Place};
pub(crate) use receiving::{Hooks, Receiving, Then};
pub(crate) use sending::{Ending, Fate, Item, Pause, Sending};
pub(crate) use workers::Workers;
