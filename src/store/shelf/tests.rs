//! The shelf on a disk that loses its power, and in a folder of the kernel's.

mod client;
mod frail;
mod power;
mod quota;
mod rules;
