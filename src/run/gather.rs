//! How the directions of a process end, as one result.
//!
//! Each direction ends by itself; the process by the first that failed. What fails while the other goes on
//! is told at once, what ends both is told once.

use super::ends::Ends;
use super::{Directions, no_thread};
use crate::error::{Failure, Fault, Status};
use crate::message;
use crate::proto::ending::Ending;
use crate::proto::wire::Code;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::io;
use std::time::Duration;

/// Directions that end for one reason do so within this time.
const TOGETHER: Duration = Duration::from_secs(1);

/// The first failure, once every direction has ended. Each ending comes with what its peer is called.
///
/// # Errors
/// That failure.
pub fn gather(
    endings: &Receiver<(&'static str, io::Result<Ending>)>,
    directions: &Directions,
    ends: &Ends,
) -> Result<(), Failure> {
    let mut first: Option<Failure> = None;
    let mut untold = false;
    loop {
        let (peer, ending) = match endings.recv_timeout(if untold { TOGETHER } else { Duration::MAX }) {
            Ok(ended) => ended,
            Err(RecvTimeoutError::Disconnected) => return first.map_or(Ok(()), Err),
            Err(RecvTimeoutError::Timeout) => {
                first.iter().for_each(|e| message::say(format_args!("{e}; the other direction goes on")));
                untold = false;
                continue;
            }
        };
        let Err(failure) = ending.map_err(no_thread).and_then(|ending| judge(ending, peer)) else { continue };
        ends.abandon();
        match &first {
            None => {
                if ends.need_both() {
                    directions.stop(&Ending::here(Code::Incomplete, failure.sentence.clone()));
                }
                (first, untold) = (Some(failure), true);
            }
            Some(told) if told.sentence == failure.sentence => {}
            Some(_) => message::say(failure.sentence),
        }
    }
}

fn judge(ending: Ending, peer: &str) -> Result<(), Failure> {
    let fault = match (ending.code, ending.by_peer) {
        (Code::Complete, _) => return Ok(()),
        (code, true) => Fault::Peer(Status::from_code(code as u8).unwrap_or(Status::Incomplete)),
        (Code::Incomplete, false) => Fault::Network,
        (Code::Refused, false) => Fault::Refused,
        (Code::Input, false) => Fault::Input,
        (Code::Output, false) => Fault::Output,
        (Code::Corrupt, false) => Fault::Data,
    };
    let sentence = if ending.by_peer { format!("{peer}: {}", ending.sentence) } else { ending.sentence };
    Err(Failure { fault, sentence })
}
