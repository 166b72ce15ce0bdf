//! The store: files that others send, each under its name in a folder, whole and right or not at all.
//!

//!
//! Nothing here knows of connections, sessions or threads.

pub mod name;
