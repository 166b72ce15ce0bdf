//! Legs that are moved to the output as they come, as a connection's thread does with a sink that is a pipe.

use super::end::End;
use super::net::Net;
use super::world::Mutation;
use millipede::proto::front::Front;
use millipede::proto::session::Landing;
use millipede::proto::wire::LegHeader;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// How far the output has got, and what decides whether the sink takes something. Draws of its own: the other seeds mean
/// what they meant.
pub struct Passing {
    front: Front<usize>,
    /// Of so many pieces the sink refuses one; 0: nothing is moved.
    refuses: u32,
    rng: SmallRng,
}

impl Passing {
    pub fn new(seed: u64) -> Self {
        let refuses = [0, 3, 40][(seed / 2 % 3) as usize];
        Passing { front: Front::new(), refuses, rng: SmallRng::seed_from_u64(seed) }
    }

    /// A leg is written that came whole: from which byte on.
    pub fn resume(&mut self, sequence: u64, mutation: Mutation) -> usize {
        let from = self.front.resume(sequence);
        if mutation == Mutation::ResumeAtStart { 0 } else { from }
    }
}

impl End {
    /// Whether the bytes of a leg that comes may be tried to be moved. A command's are not.
    pub fn passes(&self) -> impl Fn(&LegHeader, Landing) -> bool + use<> {
        let passes = self.passing.refuses > 0 && self.command.is_none();
        move |header, landing| passes && landing == Landing::Keep && !header.has_crc()
    }

    /// Some bytes of a leg have come, behind those that were moved.
    pub fn piece(&mut self, net: &mut Net, connection: usize, header: &LegHeader, at: usize, bytes: Vec<u8>) {
        let Some(conn) = self.lines[connection].as_ref().map(|line| line.conn) else { return };
        let Passing { front, refuses, rng } = &mut self.passing;
        let takes = self.sink.as_ref().is_some_and(|sink| sink.is_idle())
            && (at > 0 || self.session.begin_head(connection, header))
            && front.may_move(conn, header.sequence, at);
        if !takes || rng.random_ratio(1, *refuses) {
            match takes {
                true if self.mutation == Mutation::CountUnmoved => front.moved(bytes.len()),
                true if at == 0 => self.session.leave_head(header),
                _ => {}
            }
            return self.keep(net, connection, header, at, bytes);
        }
        let n = if rng.random() { bytes.len() } else { rng.random_range(1..=bytes.len()) };
        let offset = header.offset + at as u64;
        let wrong = self.sink.as_mut().and_then(|sink| sink.pass(net.clock.now, offset, &bytes[..n]));
        self.failure = self.failure.take().or(wrong);
        self.passing.front.moved(n);
        let Some(line) = &mut self.lines[connection] else { return };
        line.inbox.splice(0..0, bytes[n..].iter().copied());
        line.moved = Some(at + n);
        if at + n == header.encoded as usize {
            (line.coming, line.moved) = (None, None);
            line.books.read_leg(header.sequence, false);
            if self.session.head_through(net.clock.now, connection, header) {
                self.passing.front.through();
            }
        }
    }

    /// The leg goes on into memory, where the bytes that were moved are not.
    fn keep(&mut self, net: &mut Net, connection: usize, header: &LegHeader, at: usize, bytes: Vec<u8>) {
        let landing = self.session.landing(connection, header);
        let Some(line) = &mut self.lines[connection] else { return };
        line.inbox.splice(0..0, vec![0xee; at].into_iter().chain(bytes));
        line.moved = None;
        match landing {
            Ok(landing) => line.coming = Some((*header, landing)),
            Err(why) => self.lose(net, connection, &why),
        }
    }
}
