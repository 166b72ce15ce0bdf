//! millipede: a pipe between two hosts over many TCP connections that does not lose a byte.
//!
//! This page is the map. The words below are the same in code, messages and documents.
//!
//! # Words
//!
//! - **stream**: the bytes from start to end. **leg**: a piece of it, at most 2 MiB, with a sequence number
//!   from 0.
//! - **link**: one `tx HOST PORT` of the ordered list. **connection**: one TCP connection on a link; a
//!   **worker** owns it.
//! - **session**: one stream's transfer, or that of two with `duplex`, named by a random 128-bit id.
//!   **instance**: the receiving process, named by another.
//! - **window**: how far beyond what is delivered the sender may go. **head**: the leg that the receiver wants
//!   next.
//! - **received**: whole in the receiver's memory. **delivered**: taken by the receiver's output.
//! - **rescue**: sending an overtaken leg again on another connection.
//! - **verdict**: the receiver's last word on the whole stream. **patience**: how long a session waits with no
//!   working connection.
//!
//! # The way of the data
//!
//! ```text
//!  stdin │ tunnel │ prbs                                                    stdout │ tunnel │ prbs check
//!    ▼                                                                        ▲
//!  ingest   1 cut and number legs     (one thread)              egress   7 write in order      (one thread)
//!    ▼                                                                        ▲
//!  hub      2 window, schedule        (owns the sender's core)  hub      6 reorder, ack        (owns the receiver's)
//!    ▼                                                                        ▲
//!  conn × N 3 stages  4 pump          (parallel)                conn × N 5 pump, stages        (parallel)
//!    ╰──────────── TCP connections on ordered links; acks come back on the same ones ────────────╯
//! ```
//!
//! With `duplex` a session has two streams, one each way, over the same connections.
//!
//! Payload moves by handle from one thread to the next and is never copied between them. Each side's state has
//! one owner, the hub: everyone else sends it events, and it never blocks on a channel.
//!
//! # Who calls whom
//!
//! `main` has [`cli`] make a [`plan`] of the words, and `run` carries it out: it starts the threads and
//! drives one core per session, [`proto::session`]. A core has a method for
//! each event, given the time with it, and answers with actions until `poll()` has no more; it never looks at a
//! clock and never waits. So the simulator drives the same cores as the threads do, on a clock and a network
//! of its own.
//!
//! ```text
//!  main ─▶ cli ─▶ plan
//!    │
//!    ╰──▶ run ─▶ proto::session ──────▶ sender   which leg goes next, where each one is, which goes again
//!          │                        ├─▶ sched    rates, leg sizes, when a leg is late
//!          │                        ├─▶ receiver order, once each, within the window
//!          │                        ├─▶ links    who dials what and when, and who is passed over
//!          │                        ╰─▶ life     when a connection is dead
//!          ├───▶ proto::pacing                   how far and how fast the input may be read
//!          ├───▶ proto::{hello, wire} ▶ codec    bytes to and from the wire
//!          ├───▶ stage                           rewrites a leg on its way
//!          ├───▶ endpoint                        what the stream comes from and goes to
//!          ├───▶ report                          what the user is told while it runs
//!          ╰───▶ sys                             the kernel
//! ```
//!
//! A session also has `proto::waiting`, how patient an end is and when it says so; `proto::outcome`, how a stream
//! ended; `proto::breach`, what a peer may not do; `proto::event`, what the user is told; and `proto::leg`.
//!
//! # Where things live
//!
//! - [`cli`] has the words as typed; [`plan`] what they mean, checked.
//! - [`proto`] decides; pure: no clock, socket, thread or file.
//! - [`stage`] rewrites one leg; pure too.
//! - [`endpoint`] is what a stream comes from and goes to: stdin and stdout, a command, a tunnel's connections, prbs.
//! - [`run`] has the threads and sockets.
//! - [`sys`] is the kernel's side: the only home of `unsafe`.
//! - [`error`] names errors by who is at fault, which decides retry and exit status; [`message`] has every line
//!   that a user reads, [`report`] what is told while it runs.
//! - [`chaos`] is the fault plan, [`prbs`] the data that knows its own position; tests and the real thing share
//!   both.
//!
//! `tests/layers.rs` holds which part may see which.

pub mod channel;
pub mod chaos;
pub mod cli;
pub mod endpoint;
pub mod error;
pub mod message;
pub mod plan;
pub mod prbs;
pub mod proto;
pub mod report;
pub mod run;
pub mod session;
pub mod stage;
pub mod sys;
pub mod wording;
