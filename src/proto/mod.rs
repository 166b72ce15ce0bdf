//! Decides; pure: no clock, socket, thread or file. Time and events come in as arguments.

mod codec;
pub mod hello;
pub mod leg;
pub mod wire;
