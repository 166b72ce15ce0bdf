//! The only home of unsafe or raw kernel calls.
//!
//! One topic a file; what is safe to call from anywhere is all that leaves it. Where the kernel's wrapper
//! crates have a safe function, it is used here as well, so that the rest of the program speaks of links,
//! pipes and children and not of options and ioctls.

pub(crate) mod account;
pub(crate) mod activation;
pub(crate) mod bell;
pub(crate) mod child;
pub(crate) mod cpu;
pub(crate) mod file_id;
pub(crate) mod guard;
pub(crate) mod interface;
pub(crate) mod kept;
pub(crate) mod limits;
pub(crate) mod memory;
pub(crate) mod mounts;
pub(crate) mod notify;
pub mod out_of_memory;
pub(crate) mod pipe;
pub(crate) mod sendfile;
pub mod signal;
pub(crate) mod socket;
pub(crate) mod splice;
pub(crate) mod start;
pub mod stdio;
pub(crate) mod thread;
mod title;
pub mod wards;
pub(crate) mod writeback;
