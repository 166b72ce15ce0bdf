//! One local connection whose bytes are the stream, where the far side does not tunnel.

use super::dial;
use super::place::Place;
use crate::endpoint::file::{FileSink, FileSource};
use crate::error::reason;
use crate::sys::pipe::{Interest, wait};
use crate::sys::thread::spawn;
use std::fs::File;
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// How long one address may take to answer.
const TIME: Duration = Duration::from_secs(10);

/// The connection, once it is there.
#[derive(Default)]
pub struct Raw {
    /// Both ends of the stream use it.
    pub stream: Option<TcpStream>,
}

impl Raw {
    /// The end that the stream comes from.
    pub fn source(&self) -> io::Result<Option<FileSource>> {
        let Some(stream) = &self.stream else { return Ok(None) };
        let file = File::from(OwnedFd::from(stream.try_clone()?));
        Ok(Some(FileSource::new(file, "the tunnelled connection")))
    }

    /// The end that the stream goes to.
    pub fn sink(&self) -> io::Result<Option<RawSink>> {
        let Some(stream) = &self.stream else { return Ok(None) };
        let file = File::from(OwnedFd::from(stream.try_clone()?));
        Ok(Some(RawSink {
            file: FileSink::new(file, "the tunnelled connection"),
            stream: stream.try_clone()?,
        }))
    }
}

/// A file that is shut for writing at the end, because the other direction may still use it.
pub struct RawSink {
    /// What is written to.
    pub file: FileSink,
    stream: TcpStream,
}

impl RawSink {
    /// Nothing more will be written.
    pub fn shut(&self) {
        // if it fails the connection is gone, which draining will show
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}

/// Gets the one connection, in a thread of its own.
///
/// # Errors
/// The kernel has no threads left.
pub(super) fn start(
    place: Place,
    ready: impl FnOnce(Result<TcpStream, String>) + Send + 'static,
) -> io::Result<()> {
    spawn("tunnel", move || {
        ready(match place {
            Place::Terminate(listener) => {
                accept(&listener).map_err(|e| format!("cannot accept a connection: {}", reason(&e)))
            }
            Place::Initiate(host, port) => {
                connect(&host, port).map_err(|why| format!("cannot connect to {host} port {port}: {why}"))
            }
        });
    })
}

fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    loop {
        match listener.accept() {
            Ok((stream, _)) => return prepared(stream),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                wait(&[Interest::read(listener)], None)?;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    let mut why = "it has no address".to_owned();
    for address in dial::resolve(host, port)? {
        match TcpStream::connect_timeout(&address, TIME).and_then(prepared) {
            Ok(stream) => return Ok(stream),
            Err(e) => why = reason(&e),
        }
    }
    Err(why)
}

fn prepared(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
