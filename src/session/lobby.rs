//! The lobby: behind one door, many sessions.
//!
//! A session is its name together with the key of whoever began it: another key that says the same name begins another
//! one. A hello of a session that is here goes to that session's [`Admission`]. For a new one a session is made, if there
//! is room. Whoever makes sessions decides what they are for, and may refuse. What was here is remembered for a while, so
//! that a late connection of a session that is over begins no other one. A session of which nothing was received at either
//! end is no such one: its sender may begin it anew.
//!
//! A new session has its thread before its first guest is let in: where there are no threads left, the guest is still here
//! to be told, and whatever was made for the session is given back.

use super::accept::{Guest, Host};
use super::admission::Admission;
use super::build::{Handle, Start};
use crate::channel::{Channel, peer_key};
use crate::error::reason;
use crate::message;
use crate::proto::hello::{Hello, Refusal, RefusalCode};
use crate::proto::outcome::Status;
use crate::proto::peer_key::{Party, PeerKey};
use crate::sync::Unpoisoned;
use crate::sys::thread::spawn;
use crossbeam_channel::{Receiver, SendError};
use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

/// Sessions that are over and remembered: more than end while a connection's attempt is under way.
const OVER_MAX: usize = 1024;

/// Makes a session for a hello of none that is here, or says why not. It is one that is visited
/// ([`Approach::Visit`](super::setup::Approach::Visit)).
pub(crate) type Make = Box<dyn FnMut(&Hello, Option<PeerKey>) -> Result<Made, Refusal> + Send>;

/// Called once a session is over, or will never begin. When it has returned, the sender may come again, and others may have
/// its place. The [`Rest`] that it gives is called afterwards.
type Over = Box<dyn FnOnce() -> Rest + Send>;

/// Waits for what goes on after a session, such as a command, for as long as that takes.
pub(crate) type Rest = Box<dyn FnOnce() + Send>;

/// A session that was made for a guest.
pub(crate) struct Made {
    /// The session.
    pub(crate) start: Start,
    /// Is called once it is over, or will never begin.
    pub(crate) over: Over,
}

impl Made {
    /// The session will never begin.
    fn give_back(self) {
        let Made { start, over } = self;
        drop(start);
        over()();
    }
}

/// Starts the thread of a session.
type Threads = Box<dyn Fn(Box<dyn FnOnce() + Send>) -> io::Result<()> + Send>;

/// The sessions behind a door.
pub(crate) struct Lobby {
    make: Make,
    threads: Threads,
    /// At most so many at a time.
    most: usize,
    known: Arc<Mutex<Known>>,
}

/// The sessions that are known. A session's thread takes its own out when it ends: what a session has is given back then,
/// and not when somebody comes.
#[derive(Default)]
struct Known {
    here: Vec<(Party, Admission)>,
    /// Each party once, the oldest first, at most [`OVER_MAX`].
    over: VecDeque<Past>,
}

/// A session that is over.
struct Past {
    party: Party,
    /// Why it ended, in this end's words; nothing if all went well, or the peer knows best.
    why: String,
    /// As far as is known here, nothing of it was received at either end, and its sender did not end it.
    unbegun: bool,
}

impl Past {
    fn new(party: Party, session: &Handle) -> Self {
        let settled = session.settled();
        let unbegun = !session.has_received() && !settled.iter().any(|(_, how)| how.by_peer);
        let mut failed = settled.into_iter().filter(|(_, how)| how.status != Status::Complete);
        let why = failed.find(|(_, how)| !how.by_peer).map(|(_, how)| how.sentence);
        Past { party, why: why.unwrap_or_default(), unbegun }
    }

    /// Whether this is a late hello of that session. It is not if the session begins anew with it.
    fn is_late(&self, party: Party, hello: &Hello) -> bool {
        self.party == party && (hello.begun || !self.unbegun)
    }
}

impl Known {
    /// A session is over.
    fn leave(&mut self, past: Past) -> Option<Admission> {
        let party = past.party;
        self.over.retain(|before| before.party != party);
        self.over.push_back(past);
        if self.over.len() > OVER_MAX {
            self.over.pop_front();
        }
        let index = self.here.iter().position(|(here, _)| *here == party)?;
        Some(self.here.swap_remove(index).1)
    }
}

impl Host for Lobby {
    /// Into its session, or into a new one.
    fn admit(&mut self, guest: Guest) -> Result<bool, (Channel, Refusal)> {
        let known = self.known.clone();
        let mut known = known.lock().unpoisoned();
        let party = (guest.hello.session, peer_key(&guest.channel));
        if let Some((_, admission)) = known.here.iter_mut().find(|(here, _)| *here == party) {
            return admission.admit(guest);
        }
        let refuse = |code, sentence: &str| Refusal { code, sentence: sentence.into() };
        if let Some(past) = known.over.iter().find(|past| past.is_late(party, &guest.hello)) {
            let why = if past.why.is_empty() { "this session is over" } else { &past.why };
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

    fn knows(&self, address: IpAddr) -> bool {
        let known = self.known.lock().unpoisoned();
        known.here.iter().any(|(_, admission)| admission.knows(address))
    }
}

impl Lobby {
    /// With nobody in it.
    pub(crate) fn new(most: usize, make: Make) -> Self {
        Self::with(most, make, Box::new(|body| spawn("session", body)))
    }

    fn with(most: usize, make: Make, threads: Threads) -> Self {
        Lobby { make, threads, most, known: Arc::default() }
    }

    /// Lets the first guest into a session; a session whose first guest is not let in never starts.
    fn begin(
        &self,
        known: &mut Known,
        party: Party,
        mut made: Made,
        guest: Guest,
    ) -> Result<bool, (Channel, Refusal)> {
        let Some(mut admission) = made.start.take_admission() else {
            made.give_back();
            return Ok(false);
        };
        // what is to be called in any case stays out of the thread's closure: that is dropped where there is no thread
        let (begin, begun) = crossbeam_channel::bounded(1);
        let admitted = match (self.threads)(Box::new(self.life(party, made.start.handle(), begun))) {
            Ok(()) => admission.admit(guest),
            Err(error) => {
                message::peer(0, "sessions without a thread left", || {
                    format!("cannot start a thread for a session: {}", reason(&error))
                });
                let sentence = format!("no means for a session: {}", reason(&error));
                Err((guest.channel, Refusal { code: RefusalCode::Busy, sentence }))
            }
        };
        if let Ok(true) = admitted {
            known.here.push((party, admission));
            // it waits for this, and cannot have gone
            if let Err(SendError(made)) = begin.send(made) {
                made.give_back();
            }
        } else {
            // what it holds is waited for
            drop(admission);
            made.give_back();
        }
        admitted
    }

    /// What the thread of a session does: one whose first guest is not let in never begins.
    fn life(&self, party: Party, session: Handle, begun: Receiver<Made>) -> impl FnOnce() + Send + 'static {
        let all = self.known.clone();
        move || {
            let Ok(Made { start, over }) = begun.recv() else { return };
            start.run();
            let rest = over();
            let past = Past::new(party, &session);
            let admission = all.lock().unpoisoned().leave(past);
            // outside of the lock
            drop(admission);
            rest();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Transport;
    use crate::proto::hello::{Features, Id};
    use crate::proto::outcome::Outcome;
    use std::io::{ErrorKind, PipeReader, PipeWriter, pipe};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc::{Receiver, channel};

    fn address(session: u8) -> IpAddr {
        [192, 0, 2, session].into()
    }

    /// Whoever comes, with its ends of the connection.
    fn guest() -> (Guest, (PipeReader, PipeWriter)) {
        guest_of(2, false)
    }

    /// The same, of this session, from an address of its own; it has received something of a stream, or not.
    fn guest_of(session: u8, begun: bool) -> (Guest, (PipeReader, PipeWriter)) {
        let ((from, theirs), (ours, to)) = (pipe().unwrap(), pipe().unwrap());
        let channel = Channel::plain(Transport::pipes(from.into(), to.into()).unwrap());
        let hello = Hello { attempt: 1, begun, ..Hello::of(Id::new([session; 16]), Features::NONE, 1 << 20) };
        (
            Guest { channel, hello, address: Some((address(session), 1).into()), round_trip: None },
            (ours, theirs),
        )
    }

    /// A lobby where every session tells when it is made, and when it is over.
    fn lobby(threads: Threads) -> (Lobby, Receiver<Handle>, Receiver<()>) {
        let (made, sessions) = channel();
        let (gone, over) = channel();
        let make: Make = Box::new(move |_, _| {
            let (start, gone) = (Start::to_nowhere(), gone.clone());
            made.send(start.handle()).unwrap();
            let over = Box::new(move || Box::new(move || gone.send(()).unwrap()) as Rest);
            Ok(Made { start, over })
        });
        (Lobby::with(4, make, threads), sessions, over)
    }

    #[test]
    fn where_no_thread_can_be_started_the_guest_hears_busy_and_all_is_given_back() {
        let lacks = AtomicBool::new(true);
        let threads = move |body| match lacks.swap(false, Ordering::Relaxed) {
            true => Err(ErrorKind::WouldBlock.into()),
            false => spawn("session", body),
        };
        let (mut lobby, sessions, over) = lobby(Box::new(threads));
        let (first, _theirs) = guest();
        let (_channel, refusal) = lobby.admit(first).err().unwrap();
        assert_eq!(refusal.code, RefusalCode::Busy);
        assert!(refusal.sentence.starts_with("no means for a session: "), "{}", refusal.sentence);
        assert_eq!(over.try_iter().count(), 1, "what was made for it is given back, once");
        sessions.recv().unwrap();
        // it comes again
        let (again, _theirs) = guest();
        assert!(lobby.admit(again).is_ok_and(|is_in| is_in));
        sessions.recv().unwrap().stop(&Outcome::here(Status::Incomplete, "the test is over"));
        over.recv().unwrap();
        assert_eq!(over.try_iter().count(), 0);
    }

    #[test]
    fn a_session_that_never_began_begins_anew_and_whoever_has_begun_it_hears_why_it_is_over() {
        let (mut lobby, sessions, over) = lobby(Box::new(|body| spawn("session", body)));
        let (first, _theirs) = guest();
        assert!(lobby.admit(first).is_ok_and(|is_in| is_in));
        sessions.recv().unwrap().stop(&Outcome::here(Status::Incomplete, "no connection"));
        over.recv().unwrap();
        let (late, _theirs) = guest_of(2, true);
        let (_channel, refusal) = lobby.admit(late).err().unwrap();
        assert_eq!((&*refusal.sentence, sessions.try_iter().count()), ("no connection", 0));
        let (again, _theirs) = guest();
        assert!(lobby.admit(again).is_ok_and(|is_in| is_in));
        sessions.recv().unwrap().stop(&Outcome::here(Status::Incomplete, "the test is over"));
    }

    #[test]
    fn what_goes_on_after_sessions_keeps_nobody_out() {
        let (made, sessions) = channel();
        let (goes_on, ends) = crossbeam_channel::bounded::<()>(0);
        let make: Make = Box::new(move |_, _| {
            let (start, ends) = (Start::to_nowhere(), ends.clone());
            made.send(start.handle()).unwrap();
            let rest = move || {
                let _ = ends.recv();
            };
            Ok(Made { start, over: Box::new(|| Box::new(rest)) })
        });
        let mut lobby = Lobby::new(1, make);
        for number in 0..3 {
            let admitted = loop {
                let (guest, _theirs) = guest_of(number, false);
                match lobby.admit(guest) {
                    // the one before is about to leave
                    Err((_, refusal)) if refusal.code == RefusalCode::Busy => std::thread::yield_now(),
                    answer => break answer,
                }
            };
            assert!(admitted.is_ok_and(|is_in| is_in));
            sessions.recv().unwrap().stop(&Outcome::here(Status::Incomplete, "the test is over"));
        }
        drop(goes_on);
    }

    #[test]
    fn addresses_are_known_of_all_sessions_that_are_here_and_of_no_other() {
        let (mut lobby, sessions, over) = lobby(Box::new(|body| spawn("session", body)));
        let mut theirs = Vec::new();
        for session in 1..=3 {
            let (guest, ends) = guest_of(session, false);
            theirs.push(ends);
            assert!(lobby.admit(guest).is_ok_and(|is_in| is_in));
        }
        let known = |lobby: &Lobby| [1, 2, 3, 4].map(|session| lobby.knows(address(session)));
        assert_eq!(known(&lobby), [true, true, true, false]);
        let ending = Outcome::here(Status::Incomplete, "the test is over");
        sessions.recv().unwrap().stop(&ending);
        over.recv().unwrap();
        assert_eq!(known(&lobby), [false, true, true, false]);
        sessions.try_iter().for_each(|session| session.stop(&ending));
    }
}
