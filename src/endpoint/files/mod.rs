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

pub use commanding::{CommandedSink, Current, MetaFile, Names, Orders, environment};
pub use inbox::{Inbox, InboxSink};
pub use ledger::{Files, Ledger, UnderWay};
pub use matter::{Matter, check};
pub use outbox::{Outbox, OutboxSource};
pub use place::{MaySend, Place};
pub use receiving::{Hooks, Receiving, Then};
pub use records::RecordSink;
pub use sending::{Ending, Fate, Item, Pause, Sending};
pub use workers::Workers;
