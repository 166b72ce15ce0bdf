//! The shelf: files come in as partials, and stand under their names once they are whole.
//!
//! ```text
//!  open ─▶ taken, refused
//!    ├───▶ there ─▶ same: finished           differs: an arrival, if files may be replaced
//!    ╰───▶ arrival ─▶ begin ─▶ write… ─▶ finish ─▶ finished ─▶ note_then
//! ```
//!
//! There is no journal. A partial's beginning is what is durable of it, and which beginning that is, its sum tells: it
//! is computed from the file again whenever the sender comes back, and compared with the sender's own file. Whatever the
//! moment at which this process or the machine dies: a file under its name is whole, right and durable once that was
//! said, and the same sender completes the rest by sending it again.
//!
//! A partial is its key's and its name's; a finished file is its key's. Another key learns that the name is taken, and
//! nothing else. The shelf never opens a path outside of its folder, and never changes a file that is finished: one that
//! has another name besides its partial's is never written to.

mod arrival;
mod base;
mod finish;
mod hold;
mod known;
mod no;
mod open;
mod quota;
mod rules;
#[cfg(test)]
mod tests;

pub(crate) use arrival::Arrival;
pub(crate) use base::Shelf;
pub(crate) use finish::{Finished, There};
pub(crate) use no::{FileBreach, No};
pub(crate) use open::OpenAnswer;
pub(crate) use rules::{Peer, Rules, Wanted};
