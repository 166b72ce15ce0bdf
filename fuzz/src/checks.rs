//! What must hold after every event, whoever the far end is.

use super::line::Line;
use super::owner::Owner;
use millipede::proto::mailbox::NACKS_MAX;
use millipede::proto::outcome::Status;
use millipede::proto::way::Way;
use std::time::Duration;

/// How soon a signal is obeyed.
const OBEDIENCE: Duration = Duration::from_millis(1001);

/// What the far end claimed: ends of its own stream, and bytes of this one that it confirmed.
#[derive(Default)]
pub struct Claims {
    pub announced: Vec<u64>,
    pub confirmed: Vec<u64>,
}

impl Owner {
    pub fn check(&self) {
        self.check_memory();
        for connection in 0..self.lines.len() {
            let nacks = self.session.mailbox(connection).nacks();
            assert!(nacks <= NACKS_MAX, "{nacks} complaints wait on connection {connection}");
            let known = self.session.link_of(connection).is_some() || self.session.receiving().is_none();
            let there = self.lines[connection].as_ref().is_some_and(Line::is_known);
            assert!(self.over || known || !there, "connection {connection} is there and not known");
        }
        for way in Way::BOTH {
            assert_eq!(self.session.outcome(way), self.settled[way as usize].as_ref(), "{way:?}");
        }
        assert_eq!(self.over, self.session.is_over());
        let late = self.ordered.is_some_and(|at| self.now - at >= OBEDIENCE);
        assert!(!late || self.over, "a signal is not obeyed");
    }

    /// What is held is within the window, and with what is coming within the buffer.
    fn check_memory(&self) {
        let Some(receiver) = self.session.receiving().and_then(|receiving| receiving.receiver()) else {
            return;
        };
        let held = receiver.held_bytes();
        let coming: u64 = self.lines.iter().flatten().map(Line::in_flight).sum();
        assert!(held + coming <= self.buffer, "{held} bytes are held and {coming} are coming");
        let window = receiver.edge().bytes - receiver.delivered_bytes();
        assert!(held <= window, "{held} bytes are held with a window of {window}");
    }

    /// No success that was not one, as far as this end can know.
    pub fn check_success(&self, claims: &Claims) {
        let is_complete =
            |way: Way| self.session.outcome(way).is_some_and(|outcome| outcome.status == Status::Complete);
        if is_complete(Way::In) {
            let announced = claims.announced.contains(&self.output.taken);
            assert!(self.output.closed && announced, "a success with {} bytes", self.output.taken);
        }
        if is_complete(Way::Out) {
            // a stream that the far end stopped is what was announced as the whole of it
            let (ended, bytes) = match self.told.fin {
                Some(fin) if self.ceased => (true, fin.bytes),
                _ => (self.input.over, self.input.bytes),
            };
            assert!(ended && claims.confirmed.contains(&bytes), "a success that nobody confirmed");
        }
    }
}
