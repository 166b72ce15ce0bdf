//! The listening side's part of the handshake where a connection serves both directions: its welcome goes out, the
//! dialling side's comes back.
//!
//! Blocks the worker's own thread, for no longer than a hello may take: until the far end has spoken there is nothing
//! that this connection could do.

use crate::proto::hello::{Reply, Welcome};
use crate::proto::links::LossReason;
use crate::run::conn::reason;
use crate::sys::pipe::{Interest, wait};
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
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

/// Writes the one welcome and reads the other.
///
/// # Errors
/// Why there is no connection.
pub fn exchange(stream: &mut TcpStream, welcome: &[u8]) -> Result<Greeted, LossReason> {
    let failed = |e: &io::Error| LossReason::Failed(reason(e));
    let began = Instant::now();
    // smaller than any socket's buffer, and the first to be written
    stream.write_all(welcome).map_err(|e| failed(&e))?;
    let mut heard = Vec::new();
    loop {
        if let Some((welcome, early)) = understand(&mut heard)? {
            return Ok(Greeted { welcome, round_trip: began.elapsed(), early });
        }
        let mut chunk = [0; 1024];
        match stream.read(&mut chunk) {
            Ok(0) => return Err(LossReason::Closed),
            Ok(n) => heard.extend_from_slice(&chunk[..n]),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                let left = WELCOME_TIME.saturating_sub(began.elapsed());
                match wait(&[Interest::read(&*stream)], Some(left)) {
                    Ok([ready]) if ready.any() => {}
                    Ok(_) => return Err(LossReason::Silent),
                    Err(e) => return Err(failed(&e)),
                }
            }
            Err(e) => return Err(failed(&e)),
        }
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
