//! A connection that is there before its session: two pipes to another program's connection, of which there is but one.
//!
//! The end that dials has it as its last link. At the end that listens it is a guest that came through no door: whoever
//! has the other end of the pipes started this process, and is no stranger.

use super::accept::Guest;
use super::admission::Admission;
use super::connection::SessionDesk;
use crate::channel::Channel;
use crate::channel::hear::{self, Arrived};
use crate::proto::check::Expectations;
use crate::proto::handshake::{Heard, Hearing};
use crate::proto::hello::{Refusal, Reply};
use crate::proto::outcome::{Outcome, Status};
use crate::sync::Unpoisoned;
use crate::sys::pipe::{Interest, wait};
use std::io::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long the end that dials may take to say hello: it says so at once, but through a connection that may be slow.
const HELLO: Duration = Duration::from_secs(60);

/// What an end that listens has from the start: a connection, and what came on it already.
pub(crate) struct Lifeline {
    /// The connection.
    pub(crate) channel: Channel,
    /// Its first bytes.
    pub(crate) early: Vec<u8>,
    /// How long the far end took to answer what this end said before the session; None if nothing was asked.
    pub(crate) round_trip: Option<Duration>,
}

impl Lifeline {
    /// Hears the hello on it, and has the session let it in. If it ends where no other connection is up, so does the session.
    pub(crate) fn meet(self, desk: &SessionDesk, admission: &Mutex<Admission>, expectations: &Expectations) {
        let Lifeline { channel, early, round_trip } = self;
        let mut hearing = Hearing::new(Instant::now(), HELLO);
        hearing.push(&early);
        loop {
            match hearing.hello(expectations) {
                Heard::More => {}
                Heard::Hello(hello) => {
                    let guest = Guest { channel, hello: *hello, address: None, round_trip };
                    let admitted = admission.lock().unpoisoned().admit(guest);
                    return match admitted {
                        Ok(true) => {}
                        Ok(false) => end(desk),
                        Err((channel, refusal)) => refuse(&channel, refusal),
                    };
                }
                Heard::Refused(refusal) => return refuse(&channel, refusal),
                Heard::Foreign => return end(desk),
            }
            let left = hearing.until().saturating_duration_since(Instant::now());
            match hear::read(&mut &channel, &mut hearing) {
                Ok(Arrived::Bytes) => {}
                Ok(Arrived::Nothing) if !left.is_zero() => {
                    // if waiting fails, so does the next reading
                    let _ = wait(&[Interest::read(&channel.readable())], Some(left));
                }
                Ok(Arrived::Nothing | Arrived::End) | Err(_) => return end(desk),
            }
        }
    }
}

/// The connection has ended without being let in. Where no other one is up, nobody will come. Who has come on another
/// one may not have said anything yet, and the session knows how long to wait for that.
fn end(desk: &SessionDesk) {
    let gone = Outcome::here(Status::Incomplete, "the connection ended before the session began");
    desk.tell(|core, now| {
        let somebody = core.met.is_some() && core.session.alone_since().is_none();
        if !somebody && !core.session.has_begun() {
            core.session.fail(now, &gone);
        }
    });
}

fn refuse(mut channel: &Channel, refusal: Refusal) {
    // smaller than any pipe; a peer that is gone needs none
    let _ = channel.write_all(&Reply::Refusal(refusal).encode());
    channel.finish_writing();
}
