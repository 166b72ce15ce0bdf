//! The sending process: what the owner of a `Transmission` does, on the fake network.
//!
//! It carries out what the core decides and reports what happens, as the real owner does with sockets. On
//! the way it keeps the books that show whether the core stays within what it was allowed.

use super::clock::Event;
use super::net::{Delivery, Net, News, TX};
use super::source::Source;
use super::world::Mutation;
use millipede::proto::hello::{Reply, Welcome};
use millipede::proto::leg::Leg;
use millipede::proto::life::Silence;
use millipede::proto::links::{DialError, LossReason};
use millipede::proto::outcome::Outcome;
use millipede::proto::transmission::{Action, Transmission};
use millipede::proto::wire::{self, Edge, Frame, LegFlags, LegHeader};
use std::time::{Duration, Instant};

/// How often every connection is looked at.
pub const PATROL: Duration = Duration::from_millis(500);

/// A worker's connection.
struct Line {
    conn: usize,
    inbox: Vec<u8>,
    hello_left: Option<Instant>,
    hello: Vec<u8>,
    welcomed: bool,
    heard_at: Instant,
}

pub struct Tx {
    pub core: Transmission,
    lines: Vec<Option<Line>>,
    pub source: Source,
    pub edge: Edge,
    checked: bool,
    mutation: Mutation,
    wake_at: Option<Instant>,
    pub ending: Option<(Instant, Outcome)>,
    pub gone: bool,
    /// Connections closed before the end, and the reason of the last.
    pub drops: Vec<LossReason>,
    pub failure: Option<String>,
    pub said: Vec<String>,
    /// Every leg whose turn it is leaves damaged; 0 is none.
    pub damage_every: u64,
    sent: u64,
}

impl Tx {
    pub fn new(net: &mut Net, core: Transmission, source: Source, checked: bool, mutation: Mutation) -> Self {
        net.clock.after(PATROL, Event::Patrol(TX));
        net.clock.after(Duration::ZERO, Event::WakeTx);
        net.clock.after(Duration::ZERO, Event::Input);
        let edge = Edge { bytes: 0, legs: 0 };
        Tx {
            core,
            lines: (0..16).map(|_| None).collect(),
            source,
            edge,
            checked,
            mutation,
            wake_at: None,
            ending: None,
            gone: false,
            drops: Vec::new(),
            failure: None,
            said: Vec::new(),
            damage_every: 0,
            sent: 0,
        }
    }

    // ---- events ---------------------------------------------------------------------------------------

    pub fn wake(&mut self, net: &mut Net) {
        if self.wake_at.is_some_and(|at| at <= net.clock.now) {
            self.wake_at = None;
        }
        self.core.tick(net.clock.now);
        self.settle(net);
    }

    pub fn input(&mut self, net: &mut Net) {
        self.source.due = None;
        self.settle(net);
    }

    pub fn delivery(&mut self, net: &mut Net, delivery: Delivery) {
        let Delivery { conn, news, .. } = delivery;
        let Some(worker) = self.worker_of(conn) else { return };
        match news {
            News::Connected => {
                let Some(line) = &mut self.lines[worker] else { return };
                line.hello_left = Some(net.clock.now);
                let hello = std::mem::take(&mut line.hello);
                net.write(conn, TX, &hello);
            }
            News::Refused => self.dial_failed(net, worker, &DialError::Refused),
            News::Bytes(bytes) => self.bytes(net, worker, &bytes),
            News::Closed { reset } => self.closed(net, worker, reset),
            News::Drained => self.core.ready(net.clock.now, worker),
        }
        self.settle(net);
    }

    pub fn dial_timeout(&mut self, net: &mut Net, conn: usize) {
        let Some(worker) = self.worker_of(conn) else { return };
        if self.lines[worker].as_ref().is_some_and(|line| !line.welcomed) {
            self.dial_failed(net, worker, &DialError::TimedOut);
            self.settle(net);
        }
    }

    pub fn patrol(&mut self, net: &mut Net) {
        if self.gone {
            return;
        }
        net.clock.after(PATROL, Event::Patrol(TX));
        let now = net.clock.now;
        for worker in 0..self.lines.len() {
            let Some(line) = self.lines[worker].as_ref().filter(|line| line.welcomed) else { continue };
            let silence = Silence { peer: now - line.heard_at, kernel: now - net.conns[line.conn].kernel_at };
            self.core.quiet(now, worker, silence);
            self.settle(net);
        }
    }

    /// Gone at once, as by SIGKILL: the kernel closes what is open.
    pub fn exit(&mut self, net: &mut Net) {
        self.gone = true;
        for line in self.lines.iter_mut().filter_map(Option::take) {
            net.close(line.conn, TX);
        }
    }

    // ---- one connection -------------------------------------------------------------------------------

    fn worker_of(&self, conn: usize) -> Option<usize> {
        self.lines.iter().position(|line| line.as_ref().is_some_and(|line| line.conn == conn))
    }

    fn dial_failed(&mut self, net: &mut Net, worker: usize, why: &DialError) {
        if let Some(line) = self.lines[worker].take() {
            net.reset(line.conn, TX);
            self.core.dial_failed(net.clock.now, worker, why);
        }
    }

    fn closed(&mut self, net: &mut Net, worker: usize, reset: bool) {
        let Some(line) = self.lines[worker].take() else { return };
        net.close(line.conn, TX);
        if !line.welcomed {
            return self.core.dial_failed(net.clock.now, worker, &DialError::Refused);
        }
        let why = if reset { LossReason::Failed("reset".into()) } else { LossReason::Closed };
        self.drops.push(why.clone());
        self.core.lost(net.clock.now, worker, &why);
    }

    fn bytes(&mut self, net: &mut Net, worker: usize, bytes: &[u8]) {
        let Some(line) = &mut self.lines[worker] else { return };
        let conn = line.conn;
        line.heard_at = net.clock.now;
        line.inbox.extend_from_slice(bytes);
        if !line.welcomed {
            self.reply(net, worker);
        }
        // an action may have closed the connection in between
        while let Some(line) = self.lines[worker].as_mut().filter(|line| line.welcomed && line.conn == conn) {
            match wire::decode(&line.inbox) {
                Ok(None) => return,
                Ok(Some((frame, len))) => {
                    line.inbox.drain(..len);
                    let frame = self.mutate(frame);
                    self.core.frame(net.clock.now, worker, frame);
                    self.carry_out(net);
                }
                Err(error) => {
                    self.lines[worker] = None;
                    net.reset(conn, TX);
                    let why = LossReason::Breach(error.to_string());
                    self.drops.push(why.clone());
                    return self.core.lost(net.clock.now, worker, &why);
                }
            }
        }
    }

    fn reply(&mut self, net: &mut Net, worker: usize) {
        let now = net.clock.now;
        let Some(line) = &mut self.lines[worker] else { return };
        let reply = match Reply::decode(&line.inbox) {
            Ok(None) => return,
            Ok(Some((reply, len))) => {
                line.inbox.drain(..len);
                reply
            }
            Err(error) => {
                return self.dial_failed(net, worker, &DialError::Unreachable(error.to_string()));
            }
        };
        match reply {
            Reply::Welcome(welcome) => {
                line.welcomed = true;
                let rtt = line.hello_left.map_or(Duration::ZERO, |at| now - at);
                let conn = line.conn;
                net.conns[conn].kernel_at = now;
                self.note_edge(welcome.edge);
                let welcome = Welcome { edge: self.stretch(welcome.edge), ..welcome };
                self.core.welcomed(now, worker, &welcome, rtt);
                net.want_drained(conn);
            }
            Reply::Refusal(refusal) => {
                net.reset(line.conn, TX);
                self.lines[worker] = None;
                self.core.refused(now, worker, &refusal);
            }
        }
        self.carry_out(net);
    }

    /// What passes from the network to the core, made wrong if this run is to show that it would be noticed.
    fn mutate(&mut self, frame: Frame) -> Frame {
        let Frame::Ack(mut ack) = frame else { return frame };
        self.note_edge(ack.edge);
        ack.edge = self.stretch(ack.edge);
        if self.mutation == Mutation::CountsAreSequences {
            ack.next = ack.next.max(ack.count);
        }
        Frame::Ack(ack)
    }

    fn note_edge(&mut self, edge: Edge) {
        self.edge.bytes = self.edge.bytes.max(edge.bytes);
        self.edge.legs = self.edge.legs.max(edge.legs);
    }

    fn stretch(&self, edge: Edge) -> Edge {
        let one = if self.mutation == Mutation::WindowOffByOne { self.core.leg_size() as u64 } else { 0 };
        Edge { bytes: edge.bytes + one, legs: edge.legs + one.min(1) }
    }

    // ---- what the core wants --------------------------------------------------------------------------

    /// Everything that follows from an event: actions, more input, the next time to wake.
    fn settle(&mut self, net: &mut Net) {
        self.carry_out(net);
        while self.ending.is_none() && self.source.feed(&mut net.clock, &mut self.core) {
            self.carry_out(net);
        }
        if self.ending.is_some() {
            return;
        }
        // asked a little later, as by a thread that was busy in between
        let later = net.clock.now + Duration::from_millis(1);
        let Some(at) = self.core.deadline(later) else { return };
        if self.wake_at.is_none_or(|planned| at < planned) {
            self.wake_at = Some(at);
            net.clock.at(at, Event::WakeTx);
        }
    }

    fn carry_out(&mut self, net: &mut Net) {
        while let Some(action) = self.core.poll() {
            match action {
                Action::Dial { worker, link, hello, timeout } => {
                    let conn = net.dial(link);
                    net.clock.after(timeout, Event::DialTimeout(conn));
                    self.lines[worker] = Some(Line {
                        conn,
                        inbox: Vec::new(),
                        hello_left: None,
                        hello: hello.encode(),
                        welcomed: false,
                        heard_at: net.clock.now,
                    });
                }
                Action::Send(worker, leg) => self.send(net, worker, &leg),
                Action::Tell(worker, frame) => self.tell(net, worker, &frame),
                Action::Drop(worker, why) => {
                    if let Some(line) = self.lines[worker].take() {
                        self.drops.push(why);
                        net.reset(line.conn, TX);
                    }
                }
                Action::Leave(worker) => {
                    if let Some(line) = self.lines[worker].take() {
                        net.close(line.conn, TX);
                    }
                    self.core.lost(net.clock.now, worker, &LossReason::Left);
                }
                Action::Say(event) => self.said.push(format!("{event:?}")),
                Action::Settle(_) => unreachable!("connections are not shared here"),
                Action::End(ending) => self.end(net, ending),
            }
        }
    }

    fn send(&mut self, net: &mut Net, worker: usize, leg: &Leg) {
        self.said.push(format!("{leg:?} to connection {worker}"));
        if leg.sequence >= self.edge.legs || leg.range().end > self.edge.bytes {
            self.failure = Some(format!("{leg:?} was sent beyond the window, {:?}", self.edge));
        }
        let Some(line) = &self.lines[worker] else {
            self.failure = Some(format!("{leg:?} was given to a worker without a connection"));
            return;
        };
        let (conn, link) = (line.conn, net.conns[line.conn].link);
        net.links[link].carried += leg.len();
        let crc = if self.checked { crc32fast::hash(leg.bytes()) } else { 0 };
        if self.checked {
            self.core.checked(leg.sequence, crc);
        }
        let header = LegHeader {
            sequence: leg.sequence,
            offset: leg.offset,
            raw: leg.len() as u32,
            encoded: leg.len() as u32,
            flags: if self.checked { LegFlags::CHECKED } else { 0 },
            crc,
        };
        self.tell(net, worker, &Frame::Leg(header));
        self.sent += 1;
        if self.damage_every > 0 && self.sent.is_multiple_of(self.damage_every) {
            let mut bytes = leg.bytes().to_vec();
            bytes[0] ^= 1;
            net.write(conn, TX, &bytes);
        } else {
            net.write(conn, TX, leg.bytes());
        }
        net.want_drained(conn);
    }

    fn tell(&mut self, net: &mut Net, worker: usize, frame: &Frame) {
        if let Some(line) = &self.lines[worker] {
            let mut out = Vec::new();
            frame.encode(&mut out);
            net.write(line.conn, TX, &out);
        }
    }

    /// The last words leave; what comes is read for 2 s more.
    fn end(&mut self, net: &mut Net, ending: Outcome) {
        for line in self.lines.iter().flatten() {
            net.shutdown(line.conn, TX);
        }
        self.ending = Some((net.clock.now, ending));
        net.clock.after(Duration::from_secs(2), Event::Exit(TX));
    }
}
