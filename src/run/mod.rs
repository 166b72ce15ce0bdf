//! Threads and sockets: what moves the bytes that `proto` decides about.

pub mod pool;
