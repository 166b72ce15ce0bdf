//! From the network to the session: the handshake, then frames and legs.

use super::clock::Event;
use super::end::End;
use super::line::{Line, Read, Stage};
use super::net::Net;
use super::world::Mutation;
use millipede::proto::check::Expectations;
use millipede::proto::handshake::{CHUNK, Heard, Hearing, WELCOME_TIME};
use millipede::proto::hello::{Features, Hello, HelloError, Refusal, Reply, Welcome};
use millipede::proto::leg::Leg;
use millipede::proto::links::{DialError, LossReason};
use millipede::proto::session::Landing;
use millipede::proto::welcoming::Welcoming;
use millipede::proto::wire::{Frame, LegFlags, LegHeader, WindowEdge};
use rand::RngExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

impl End {
    pub fn read(&mut self, net: &mut Net, conn: usize, bytes: &[u8]) {
        if self.strangers.contains_key(&conn) {
            return self.hear_stranger(net, conn, bytes);
        }
        let Some(connection) = self.number_of(conn) else { return };
        let Some(line) = self.lines[connection].as_mut().filter(|_| self.over.is_none()) else { return };
        let now = net.clock.now;
        line.heard_at = now;
        match &mut line.stage {
            Stage::Dialling(_) => self.fail("bytes before the connection"),
            Stage::Asked(_, hearing) => {
                let before = hear(now, hearing, bytes, Hearing::reply);
                self.answered(net, connection, before);
            }
            Stage::Welcomed(hearing) => {
                let taken = hearing.taken(now);
                let welcome = hear(now, hearing, bytes, Hearing::welcome);
                self.welcomed_back(net, connection, taken, welcome);
            }
            Stage::Up => line.inbox.extend_from_slice(bytes),
        }
        self.read_frames(net, conn);
    }

    // ---- the handshake --------------------------------------------------------------------------------

    pub fn say_hello(&mut self, net: &mut Net, conn: usize) {
        let Some(line) = self.number_of(conn).and_then(|connection| self.lines[connection].as_mut()) else {
            return;
        };
        let now = net.clock.now;
        if let Stage::Dialling(hello) = &mut line.stage {
            let hello = std::mem::take(hello);
            // the time is that of the whole attempt, which has a clock of its own
            line.stage = Stage::Asked(now, Hearing::new(now, WELCOME_TIME));
            net.write(conn, self.which, &hello);
        }
    }

    fn hear_stranger(&mut self, net: &mut Net, conn: usize, bytes: &[u8]) {
        let duplex = self.source.is_some();
        let features = if duplex { Features::DUPLEX } else { Features::NONE };
        let features = Features(features.0 | Features::CHECKSUM.0);
        let ours = Expectations {
            checkphrase: None,
            features,
            duplex,
            through: false,
            compresses: false,
            initiates: false,
        };
        let Some(hearing) = self.strangers.get_mut(&conn) else { return };
        let mut heard = Heard::More;
        for chunk in bytes.chunks(CHUNK) {
            if heard != Heard::More {
                heard = Heard::Foreign;
                break;
            }
            hearing.push(chunk);
            heard = hearing.hello(&ours);
        }
        if heard == Heard::More {
            return;
        }
        self.strangers.remove(&conn);
        match heard {
            Heard::Hello(hello) => self.hello(net, conn, &hello),
            Heard::Refused(refusal) => self.refuse(net, conn, refusal),
            Heard::Foreign | Heard::More => net.reset(conn, self.which),
        }
    }

    fn hello(&mut self, net: &mut Net, conn: usize, hello: &Hello) {
        let now = net.clock.now;
        let screened = self.session.screen(hello, None);
        match self.session.hello(now, hello, None) {
            Ok(connection) => {
                if screened.is_err() {
                    self.fail("lets in what it would not");
                }
                if let Some(old) = self.lines[connection].take() {
                    net.reset(old.conn, self.which);
                    if self.mutation == Mutation::TellReplaced {
                        self.session.lost(now, connection, &LossReason::Closed);
                    }
                }
                let stage = match self.source {
                    Some(_) => {
                        net.clock.after(WELCOME_TIME, Event::Heard { end: self.which, conn });
                        Stage::Welcomed(Hearing::new(now, WELCOME_TIME))
                    }
                    None => Stage::Up,
                };
                let welcoming = Welcoming::let_in(self.source.is_some(), false);
                let mut line = Line::new(now, conn, stage);
                line.welcoming = welcoming;
                self.lines[connection] = Some(line);
                net.came_up(conn, self.which);
            }
            Err(refusal) => self.refuse(net, conn, refusal),
        }
        self.carry_out(net);
    }

    fn refuse(&mut self, net: &mut Net, conn: usize, refusal: Refusal) {
        net.write(conn, self.which, &Reply::Refusal(refusal.clone()).encode());
        net.close(conn, self.which);
        self.refused.push(refusal);
    }

    /// What the listener answers to a hello.
    fn answered(
        &mut self,
        net: &mut Net,
        connection: usize,
        reply: Result<Option<(Reply, Vec<u8>)>, HelloError>,
    ) {
        let Some(line) = &mut self.lines[connection] else { return };
        let (conn, now) = (line.conn, net.clock.now);
        match reply {
            Ok(None) => {}
            Ok(Some((Reply::Welcome(welcome), rest))) => {
                let asked = if let Stage::Asked(at, _) = line.stage { at } else { now };
                self.come_up(net, connection, rest);
                self.welcomed(net, connection, &welcome, asked);
            }
            Ok(Some((Reply::Refusal(refusal), _))) => {
                net.reset(conn, self.which);
                self.lines[connection] = None;
                self.session.refused(now, connection, &refusal);
            }
            Err(error) => self.dial_failed(net, conn, &DialError::Unreachable(error.to_string())),
        }
        self.carry_out(net);
    }

    /// What the far end of a duplex connection answers to its welcome, after so long.
    fn welcomed_back(
        &mut self,
        net: &mut Net,
        connection: usize,
        taken: Duration,
        welcome: Result<Option<(Welcome, Vec<u8>)>, LossReason>,
    ) {
        match welcome {
            Ok(None) => {}
            Ok(Some((welcome, rest))) => {
                self.come_up(net, connection, rest);
                self.welcomed(net, connection, &welcome, net.clock.now - taken);
                // what was put there meanwhile
                self.write(net, connection);
            }
            Err(why) => self.lose(net, connection, &why),
        }
        self.carry_out(net);
    }

    fn come_up(&mut self, net: &mut Net, connection: usize, rest: Vec<u8>) {
        if let Some(line) = &mut self.lines[connection] {
            (line.stage, line.inbox) = (Stage::Up, rest);
            line.welcoming.note_heard();
            net.came_up(line.conn, self.which);
        }
    }

    fn welcomed(&mut self, net: &mut Net, connection: usize, welcome: &Welcome, asked: Instant) {
        self.note_edge(welcome.edge);
        let welcome = Welcome { edge: self.stretch(welcome.edge), ..*welcome };
        self.session.welcomed(net.clock.now, connection, &welcome, None, net.clock.now - asked);
        if let Some(line) = &self.lines[connection] {
            net.want_drained(line.conn, self.which);
        }
    }

    // ---- frames and legs ------------------------------------------------------------------------------

    /// Everything that is whole. An action may close the connection in between, or end it all.
    fn read_frames(&mut self, net: &mut Net, conn: usize) {
        while self.over.is_none()
            && let Some(connection) = self.number_of(conn)
            && let passes = self.passes()
            && let Some(line) = self.lines[connection].as_mut().filter(|line| line.is_up())
        {
            match line.next() {
                Ok(None) => {
                    if let Some(bytes) = line.partly(net.clock.now) {
                        self.session.coming(net.clock.now, connection, bytes);
                    }
                    return;
                }
                Ok(Some(Read::Header(header))) => match self.session.landing(connection, &header) {
                    Ok(landing) => {
                        (line.coming, line.moved) =
                            (Some((header, landing)), passes(&header, landing).then_some(0));
                    }
                    Err(why) => self.lose(net, connection, &why),
                },
                Ok(Some(Read::Leg(header, landing, bytes))) => {
                    self.leg(net, connection, &header, landing, bytes)
                }
                Ok(Some(Read::Piece(header, moved, bytes))) => {
                    self.piece(net, connection, &header, moved, bytes);
                }
                Ok(Some(Read::Frame(frame))) => {
                    line.books.read_frame(&frame);
                    let frame = self.mutate(frame);
                    self.session.frame(net.clock.now, connection, frame);
                }
                Err(why) => self.lose(net, connection, &why),
            }
            self.carry_out(net);
        }
    }

    fn leg(
        &mut self,
        net: &mut Net,
        connection: usize,
        header: &LegHeader,
        landing: Landing,
        bytes: Vec<u8>,
    ) {
        let now = net.clock.now;
        let checked = header.flags & LegFlags::CHECKED != 0;
        let damaged = landing == Landing::Keep && checked && crc32fast::hash(&bytes) != header.crc;
        if let Some(line) = &mut self.lines[connection] {
            line.books.read_leg(header.sequence, damaged);
        }
        let dropped = self.mutation == Mutation::DropAfterAck && net.rng.random_ratio(1, 50);
        if damaged {
            self.session.leg_damaged(now, connection, header.sequence);
        } else if landing == Landing::Scratch || dropped {
            self.session.leg_again(now, connection);
        } else {
            let crc = checked.then_some(header.crc);
            let leg = Leg { crc, ..Leg::new(header.sequence, header.offset, Arc::new(bytes)) };
            self.session.leg(now, connection, leg);
        }
    }

    /// What passes from the network to the session, made wrong if this run is to show that it would be noticed.
    fn mutate(&mut self, frame: Frame) -> Frame {
        let Frame::Ack(mut ack) = frame else { return frame };
        self.note_edge(ack.edge);
        ack.edge = self.stretch(ack.edge);
        if self.mutation == Mutation::CountsAreSequences {
            ack.next = ack.next.max(ack.count);
        }
        Frame::Ack(ack)
    }

    fn note_edge(&mut self, edge: WindowEdge) {
        self.edge.bytes = self.edge.bytes.max(edge.bytes);
        self.edge.legs = self.edge.legs.max(edge.legs);
    }

    fn stretch(&self, edge: WindowEdge) -> WindowEdge {
        let piece = self.session.appetite().enough as u64;
        let one = if self.mutation == Mutation::WindowOffByOne { piece } else { 0 };
        WindowEdge { bytes: edge.bytes + one, legs: edge.legs + one.min(1) }
    }
}

/// Gives the bytes to a hearing in pieces of the size that it takes; what it makes of them, and what followed.
fn hear<T, E>(
    now: Instant,
    hearing: &mut Hearing,
    bytes: &[u8],
    ask: impl Fn(&mut Hearing) -> Result<Option<T>, E>,
) -> Result<Option<(T, Vec<u8>)>, E> {
    let mut at = 0;
    while at < bytes.len() {
        let chunk = &bytes[at..bytes.len().min(at + CHUNK)];
        hearing.push(chunk);
        at += chunk.len();
        if let Some(heard) = ask(hearing)? {
            let fresh = Hearing::new(now, WELCOME_TIME);
            let mut rest = std::mem::replace(hearing, fresh).rest();
            rest.extend_from_slice(&bytes[at..]);
            return Ok(Some((heard, rest)));
        }
    }
    Ok(None)
}
