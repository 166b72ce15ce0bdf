//! millipede: a pipe between two hosts over many TCP connections that does not lose a byte.

pub mod error;
pub mod message;
pub mod proto;
