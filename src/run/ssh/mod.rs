//! One command: `ssh` here starts `far` there, and a session carries the command's stdin and stdout between them.
//!
//! ```text
//!  near                                    the system's ssh                            far
//!   1 what is asked for? (line, -G) ─ not a command without a terminal ─▶ ssh, unchanged
//!   2 start ssh (carrier) ────────────────────────────────────────────▶ login shell ─▶ far: a port, a key
//!   3 ◀──────────────────────────────── greeting ──────────────────────────────────────
//!   4 ── answer: a key, wishes, COMMAND ─────────────────────────────────────────────▶
//!   5 one session of two streams: direct links, and ssh's own stdin and stdout as the last (lifeline)
//!   6 COMMAND's end, its stdout's end, ssh's end                                        nothing is left
//! ```
//!
//! What always holds: nothing is sent before the greeting. What COMMAND comes to is the exit status, as with ssh; 255
//! is for everything else. Nothing outlives the session at either end.

pub(crate) mod carrier;
pub(crate) mod detour;
pub(crate) mod end;
pub(crate) mod far;
mod memory;
pub(crate) mod near;
pub(crate) mod stdio;
pub(crate) mod talk;

pub use far::far;
pub use near::near;
