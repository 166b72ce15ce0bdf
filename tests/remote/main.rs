//! `millipede ssh` with a real sshd on loopback: what it carries, what it leaves behind, and what may happen to it.
// nothing of a test program is seen from outside: `pub` is for its own modules
#![allow(unreachable_pub)]

#[path = "../util/mod.rs"]
mod util;

mod far;
mod faults;
mod logins;
mod measures;
mod semantics;
mod server;
mod tools;
