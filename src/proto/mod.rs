//! Decides; pure: no clock, socket, thread or file. Time and events come in as arguments.

pub mod leg;
