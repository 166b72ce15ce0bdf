//! millipede: a pipe between two hosts over many TCP connections that does not lose a byte.

pub mod chaos;
pub mod cli;
pub mod error;
pub mod message;
pub mod plan;
pub mod prbs;
pub mod proto;
pub mod run;
pub mod stage;
pub mod sys;
