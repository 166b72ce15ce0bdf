//! The listening side's part of the handshake where a connection serves both directions: its welcome goes out, the
//! dialling side's comes back. Until then there is nothing that the connection could do.

use crate::proto::hello::{Reply, Welcome};
use crate::proto::links::LossReason;
use crate::run::conn::reason;
use crate::sys::socket::reset_on_close;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

/// How long the far end may take to welcome this one: as long as for its hello.
const WELCOME_TIME: Duration = Duration::from_secs(5);

/// What the far end said.
pub struct Greeted {
    /// Where its reception stands.
    pub welcome: Welcome,
    /// From this side's welcome leaving to that coming.
    pub round_trip: Duration,
    /// Bytes that followed it.
    pub early: Vec<u8>,
}

/// A connection whose far end has not welcomed this side yet.
pub struct Greeting {
    stream: TcpStream,
    heard: Vec<u8>,
    began: Instant,
}

impl Greeting {
    /// Writes this side's welcome. The stream never blocks.
    ///
    /// # Errors
    /// Why there is no connection.
    pub fn begin(mut stream: TcpStream, welcome: &[u8]) -> Result<Self, LossReason> {
        let began = Instant::now();
        // smaller than any socket's buffer, and the first to be written
        stream.write_all(welcome).map_err(|e| LossReason::Failed(reason(&e)))?;
        Ok(Greeting { stream, heard: Vec::new(), began })
    }

    /// Reads what there is; what the far end said, once that is whole.
    ///
    /// # Errors
    /// Why there is no connection.
    pub fn listen(&mut self) -> Result<Option<Greeted>, LossReason> {
        loop {
            if let Some((welcome, early)) = understand(&mut self.heard)? {
                return Ok(Some(Greeted { welcome, round_trip: self.began.elapsed(), early }));
            }
            let mut chunk = [0; 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(LossReason::Closed),
                Ok(n) => self.heard.extend_from_slice(&chunk[..n]),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(e) => return Err(LossReason::Failed(reason(&e))),
            }
        }
    }

    /// How long it may still take.
    ///
    /// # Errors
    /// Its time is up.
    pub fn time_left(&self) -> Result<Duration, LossReason> {
        WELCOME_TIME.checked_sub(self.began.elapsed()).ok_or(LossReason::Silent)
    }

    /// When it is dropped, it goes at once: what is still to be written is not.
    pub fn give_up(&self) {
        // a socket that cannot be told so is closed in order
        let _ = reset_on_close(&self.stream);
    }

    /// The connection, which has become one.
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }
}

impl AsRawFd for Greeting {
    fn as_raw_fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
}

/// The welcome, once it is whole, and what follows it.
fn understand(heard: &mut Vec<u8>) -> Result<Option<(Welcome, Vec<u8>)>, LossReason> {
    match Reply::decode(heard) {
        Ok(None) => Ok(None),
        Ok(Some((Reply::Welcome(welcome), len))) => Ok(Some((welcome, heard.split_off(len)))),
        Ok(Some((Reply::Refusal(_), _))) => {
            Err(LossReason::Breach("refused a connection that it had asked for".into()))
        }
        Err(error) => Err(LossReason::Breach(format!("sent no welcome: {error}"))),
    }
}
