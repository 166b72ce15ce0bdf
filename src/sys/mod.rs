//! The only home of unsafe or raw kernel calls.
//!
//! One topic a file; what is safe to call from anywhere is all that leaves it. Where the kernel's wrapper
//! crates have a safe function, it is used here as well, so that the rest of the program speaks of links,
//! pipes and children and not of options and ioctls.

pub mod account;
pub mod activation;
pub mod bell;
pub mod child;
pub mod cpu;
pub mod file_id;
pub mod guard;
pub mod interface;
pub mod kept;
pub mod limits;
pub mod memory;
pub mod mounts;
pub mod notify;
pub mod out_of_memory;
pub mod pipe;
pub mod sendfile;
pub mod signal;
pub mod socket;
pub mod splice;
pub mod start;
pub mod stdio;
pub mod thread;
mod title;
pub mod wards;
pub mod writeback;
