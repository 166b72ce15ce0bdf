//! Decides; pure: no clock, socket, thread or file. Time and events come in as arguments.

pub mod acknowledging;
pub mod breach;
pub mod check;
mod codec;
pub mod coming;
pub mod event;
pub mod front;
pub mod handshake;
pub mod hello;
pub mod leg;
pub mod life;
pub mod links;
pub mod mailbox;
pub mod outcome;
pub mod pacing;
pub mod peer_key;
pub mod receiver;
pub mod rendezvous;
pub mod sched;
pub mod segment;
pub mod sender;
pub mod session;
pub mod set;
pub mod waiting;
pub mod way;
pub mod welcoming;
pub mod wire;
