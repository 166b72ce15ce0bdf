//! Decides; pure: no clock, socket, thread or file. Time and events come in as arguments.

mod codec;
pub mod ending;
pub mod hello;
pub mod leg;
pub mod life;
pub mod links;
pub mod pacing;
pub mod receiver;
pub mod reception;
pub mod sched;
pub mod sender;
pub mod sharing;
pub mod transmission;
pub mod waiting;
pub mod way;
pub mod wire;
