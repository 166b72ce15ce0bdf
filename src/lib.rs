//! millipede: a pipe between two hosts over many TCP connections that does not lose a byte.
//!
//! This page is the map. The words below are the same in code, messages and documents.
//!
//! # Words
//!
//! - **stream**: the bytes from start to end. **leg**: a piece of it, at most 2 MiB, with a sequence number
//!   from 0.
//! - **link**: one `tx HOST PORT` of the ordered list. **connection**: one of up to 16, by its number: a TCP connection on
//!   a link, with a thread that owns it. When the TCP connection is made anew, the number stays.
//! - **session**: one stream's transfer, or that of two with `duplex`, named by a random 128-bit id.
//!   **instance**: the receiving process, named by another.
//! - **window**: how far beyond what is delivered the sender may go. **head**: the leg that the receiver wants
//!   next.
//! - **received**: whole in the receiver's memory. **delivered**: taken by the receiver's output.
//! - **rescue**: sending an overtaken leg again on another connection.
//! - **verdict**: the receiver's last word on the whole stream. **patience**: how long a session waits with no
//!   working connection.
//! - **core**: what decides for a session, [`proto::session`]. **desk**: the lock it stands behind,
//!   [`session::desk`]. **channel**: a connection's bytes on the wire.
//!
//! # The way of the data
//!
//! ```text
//!  stdin │ file │ exec │ tunnel │ prbs                             stdout │ file │ exec │ tunnel │ prbs check
//!    ▼                                                                        ▲
//!  ingest   1 cut and number legs     (one thread)              egress   7 write in order      (one thread)
//!    ▼                                                                        ▲
//!  core     2 window, schedule        (behind the desk)         core     6 reorder, ack        (behind the desk)
//!    ▼                                                                        ▲
//!  conn × N 3 stages  4 pump, channel (parallel)                conn × N 5 channel, pump, stages  (parallel)
//!    ╰──────────── TCP connections on ordered links; acks come back on the same ones ────────────╯
//! ```
//!
//! With `duplex` a session has two streams, one each way, over the same connections and behind the same lock.
//!
//! Payload moves by handle from one thread to the next and is never copied between them. Nor need it be in memory at
//! the sender: a leg may be a part of a file, or be in a pipe, and go from there to a socket without being read. The
//! core knows the length of a leg's content and no more ([`proto::leg::Content`]); [`session::part`] and
//! [`session::moving`] make such content, and the writing half of the pump sends it.
//!
//! At the receiver, the thread of a connection moves the leg that is wanted next into an output that is a pipe, while it
//! comes, past steps 6 and 7: [`session::taking`].
//!
//! # One lock
//!
//! A session has one lock, the desk. No thread owns the core: whoever has news calls it under the lock.
//!
//! ```text
//!  a connection read a leg ─╮
//!  the input cut one        ├─▶ lock ─▶ core ─▶ post ─▶ unlock ─▶ wake threads, write small things, tell the user
//!  the clock says it is time╯
//! ```
//!
//! - The core has a method for each event, given the time with it. It answers with actions, never looks at a clock
//!   and never waits. So the simulator drives the same core as the threads do, on a clock and a network of its own.
//! - Everything whose order counts is posted under the lock: legs for the output, and into a mailbox for each
//!   connection what is to be written there.
//! - Everything that takes time comes after the lock. Under the lock there is no I/O, no waiting and no line for
//!   the user.
//!
//! # Who calls whom
//!
//! `main` has [`cli`] make a [`plan`] of the words. [`run`] carries the plan out: it makes the endpoints, starts a
//! session for each direction, and attends to signals and to what the user sees.
//!
//! ```text
//!  main ─▶ cli ─▶ plan
//!    │
//!    ╰──▶ run ─┬─▶ endpoint                  what a stream comes from and goes to
//!              ├─▶ report, wording, message  what the user is told
//!              ╰─▶ session ─┬─▶ desk ─▶ proto::session ─┬─▶ sender    which leg goes next, where it is, which goes again
//!                           │                           ├─▶ sched     rates, leg sizes, when a leg is late
//!                           │                           ├─▶ receiver  order, once each, within the window
//!                           │                           ├─▶ links     who dials what and when, and who is passed over
//!                           │                           ╰─▶ life      when a connection is dead
//!                           ├─▶ proto::pacing           how far and how fast the input may be read
//!                           ├─▶ pump ─▶ proto::wire     frames and legs out of and into a connection
//!                           ├─▶ channel                 one TCP connection, and the handshake on it
//!                           ├─▶ stage                   checks or rewrites a leg on its way
//!                           ├─▶ endpoint                by its traits: sources, sinks and who is told
//!                           ╰─▶ report, message         the figures of a report, and lines for the user
//! ```
//!
//! # Where things live
//!
//! - [`cli`] has the words as typed; [`plan`] what they mean, checked.
//! - [`proto`] decides; pure: no clock, socket, thread or file.
//! - [`stage`] checks or rewrites one leg, and finds the level of compression; pure too.
//! - [`channel`] is one connection's bytes on the wire, and how a connection is got.
//! - [`store`] has files that others send: names, partials, what is durable, whose turn it is.
//! - [`trust`] has the keys: this end's own, and those that are let in.
//! - [`endpoint`] is what a stream comes from and goes to: stdin and stdout, a command, a tunnel's connections, prbs.
//! - [`session`] has one session's threads: ingest, connections, egress, the clock, and at a receiver the door.
//! - [`run`] carries out a plan with sessions and endpoints; [`run::ssh`] does so for one command at another host,
//!   `run::serve` for many senders of files, `run::put` and `run::watch` for one of them.
//! - [`ssh`] is what is known of the system's ssh.
//! - [`sys`] is the kernel's side: the only home of `unsafe`.
//! - [`error`] names failures by who is at fault, which decides the exit status. [`message`] has every line that a user
//!   reads and how it gets to stderr, [`wording`] the words for what a session tells, [`report`] what is told
//!   while it runs.
//! - `sync` has the locks and flags of what is tried in every order of its threads (`tests/desk.rs`,
//!   `tests/readiness.rs`).
//! - [`chaos`] is the fault plan, [`prbs`] the data that knows its own position; tests and the real thing share
//!   both.
//!
//! No arrow runs upward, and no two files import each other: `tests/layers.rs` holds which part may see which.
//!
//! But for [`proto`], `pub` is what the program, the tests, the benches and the fuzzing use, and no more: then the compiler
//! finds what nobody uses. With `cargo doc --document-private-items` all the links on this page lead somewhere.

// the map is of what is private too
#![allow(rustdoc::private_intra_doc_links)]

pub mod channel;
mod chaos;
pub mod cli;
pub mod endpoint;
pub mod error;
pub mod message;
pub mod plan;
pub mod prbs;
pub mod proto;
mod report;
pub mod run;
mod session;
pub mod ssh;
pub mod stage;
pub mod store;
mod sync;
pub mod sys;
pub mod trust;
mod wording;
