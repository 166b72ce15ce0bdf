//! A command as an end of the stream: rx writes into it, tx reads from it, and its exit status counts.
//!
//! [`command`] starts it, and [`running`] ends it; [`pipes`] are the sink and the source that it is used through. A command
//! that runs for somebody at another host, as with ssh, has another sink and source, [`remote`], and
//! its [`stderr`] is passed on.

pub(crate) mod command;
pub(crate) mod pipes;
pub(crate) mod remote;
pub(crate) mod running;
pub(crate) mod stderr;

pub(crate) use command::Exec;
pub use command::kill;
pub(crate) use pipes::{CommandSink, CommandSource};
pub(crate) use remote::{Remote, RemoteSink, RemoteSource};
