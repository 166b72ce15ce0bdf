//! The lobby: behind one door, many sessions.
//!
//! A session is its name together with the key of whoever began it: another key that says the same name begins another
//! one. A hello of a session that is here goes to that session's [`Admission`]. For a new one a session is made, if there
//! is room. Whoever makes sessions decides what they are for, and may refuse. What was here is remembered for a while, so
//! that a late connection of a session that is over begins no other one.

use super::accept::Guest;
use super::admission::Admission;
use super::build::{Handle, Start};
use crate::channel::{Channel, peer_key};
use crate::error::reason;
use crate::message;
use crate::proto::hello::{Hello, Refusal, RefusalCode};
use crate::proto::outcome::Status;
use crate::proto::peer_key::{Party, PeerKey};
use crate::sys::thread::spawn;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Sessions that are over and remembered: more than end while a connection's attempt is under way.
const OVER_MAX: usize = 1024;

/// Makes a session for a hello of none that is here, or says why not. It is one that is visited
/// ([`Approach::Visit`](super::setup::Approach::Visit)).
pub type Make = Box<dyn FnMut(&Hello, Option<PeerKey>) -> Result<Made, Refusal> + Send>;

/// A session that was made for a guest.
pub struct Made {
    /// The session.
    pub start: Start,
    /// Is called once it is over, or will never begin.
    pub over: Box<dyn FnOnce() + Send>,
}

/// The sessions behind a door.
pub struct Lobby {
    make: Make,
    /// At most so many at a time.
    most: usize,
    known: Arc<Mutex<Known>>,
}

/// The sessions that are known. A session's thread takes its own out when it ends: what a session has is given back then,
/// and not when somebody comes.
#[derive(Default)]
struct Known {
    here: Vec<(Party, Admission)>,
    /// With why they ended, where something went wrong. The oldest first, at most [`OVER_MAX`].
    over: VecDeque<(Party, String)>,
}

impl Known {
    /// A session is over, for this reason if something went wrong.
    fn leave(&mut self, party: Party, why: String) -> Option<Admission> {
        self.over.push_back((party, why));
        if self.over.len() > OVER_MAX {
            self.over.pop_front();
        }
        let index = self.here.iter().position(|(here, _)| *here == party)?;
        Some(self.here.swap_remove(index).1)
    }
}

/// Why a session has ended, in this end's words; nothing if all went well, or the peer knows best.
fn why(session: &Handle) -> String {
    let mut failed = session.settled().into_iter().filter(|(_, how)| how.status != Status::Complete);
    failed.find(|(_, how)| !how.by_peer).map(|(_, how)| how.sentence).unwrap_or_default()
}

impl Lobby {
    /// With nobody in it.
    pub fn new(most: usize, make: Make) -> Self {
        Lobby { make, most, known: Arc::default() }
    }

    /// Lets a guest into its session, or into a new one. False: there was no means to let it in.
    ///
    /// # Errors
    /// The refusal to answer with.
    pub fn admit(&mut self, guest: Guest) -> Result<bool, (Channel, Refusal)> {
        let known = self.known.clone();
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        let party = (guest.hello.session, peer_key(&guest.channel));
        if let Some((_, admission)) = known.here.iter_mut().find(|(here, _)| *here == party) {
            return admission.admit(guest);
        }
        let refuse = |code, sentence: &str| Refusal { code, sentence: sentence.into() };
        if let Some((_, why)) = known.over.iter().find(|(over, _)| *over == party) {
            let why = if why.is_empty() { "this session is over" } else { why };
            return Err((guest.channel, refuse(RefusalCode::Finished, why)));
        }
        if known.here.len() >= self.most {
            let busy = refuse(RefusalCode::Busy, "busy with as many sessions as it takes");
            return Err((guest.channel, busy));
        }
        match (self.make)(&guest.hello, party.1) {
            Ok(made) => self.begin(&mut known, party, made, guest),
            Err(refusal) => Err((guest.channel, refusal)),
        }
    }

    /// Lets the first guest into a session; a session whose first guest is not let in never starts.
    fn begin(
        &self,
        known: &mut Known,
        party: Party,
        made: Made,
        guest: Guest,
    ) -> Result<bool, (Channel, Refusal)> {
        let Made { mut start, over } = made;
        let Some(mut admission) = start.take_admission() else {
            drop(start);
            over();
            return Ok(false);
        };
        match admission.admit(guest) {
            Ok(true) => {}
            other => {
                // what it holds is waited for
                drop((start, admission));
                over();
                return other;
            }
        }
        let (all, handle) = (self.known.clone(), start.handle());
        let run = move || {
            start.run();
            over();
            let admission = all.lock().unwrap_or_else(PoisonError::into_inner).leave(party, why(&handle));
            // outside of the lock
            drop(admission);
        };
        match spawn("session", run) {
            Ok(()) => {
                known.here.push((party, admission));
                Ok(true)
            }
            Err(error) => {
                message::peer(2, "sessions without a thread left", || reason(&error));
                Ok(false)
            }
        }
    }
}
