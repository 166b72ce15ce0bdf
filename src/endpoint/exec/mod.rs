//! A command as an end of the stream: rx writes into it, tx reads from it, and its exit status counts.
//!
//! [`command`] starts it, and [`running`] ends it; [`pipes`] are the sink and the source that it is used through. A command
//! that runs for somebody at another host, as with ssh, has another sink and source, [`remote`], and
//! its [`stderr`] is passed on.

pub mod command;
pub mod pipes;
pub mod remote;
pub mod running;
pub mod stderr;

pub use command::{Exec, kill};
pub use pipes::{CommandSink, CommandSource};
pub use remote::{Remote, RemoteSink, RemoteSource};
