//! The receiving process: what the owner of a `Reception` does, on the fake network.
//!
//! It reads every leg to its end, counts it on its connection whatever it was, and acknowledges: at once
//! where it came, elsewhere within 100 ms, everywhere when a shut window opens, and every second unasked.

use super::clock::Event;
use super::net::{Delivery, Net, News, RX};
use super::sink::Sink;
use super::world::Mutation;
use millipede::proto::acknowledging::Position;
use millipede::proto::hello::{self, Expectations, Features, Hello, Refusal, Reply};
use millipede::proto::leg::Leg;
use millipede::proto::life::REAP;
use millipede::proto::outcome::{Outcome, Status};
use millipede::proto::reception::{Action, Loss, Reception};
use millipede::proto::wire::{self, Ack, Edge, Frame, LegFlags, LegHeader, Verdict};
use rand::RngExt;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Acknowledgements that may wait do so this long.
const ACK_DELAY: Duration = Duration::from_millis(100);
const EVERY_SECOND: Duration = Duration::from_secs(1);

struct Peer {
    inbox: Vec<u8>,
    /// Its place in the session; none before its hello.
    slot: Option<usize>,
    /// Legs taken whole.
    count: u64,
    heard_at: Instant,
    last_ack: Option<Ack>,
}

pub struct Rx {
    pub core: Reception,
    conns: BTreeMap<usize, Peer>,
    pub sink: Sink,
    mutation: Mutation,
    wake_at: Option<Instant>,
    ack_at: Option<Instant>,
    /// The furthest edge that an acknowledgement has carried.
    told: Edge,
    pub ending: Option<(Instant, Outcome)>,
    pub gone: bool,
    pub failure: Option<String>,
    pub refused: Vec<Refusal>,
    pub losses: Vec<(Loss, String)>,
    pub said: Vec<String>,
    early: bool,
    /// Verdicts are written to nobody, as if each were lost on its way.
    pub mute_verdict: bool,
}

impl Rx {
    pub fn new(net: &mut Net, core: Reception, sink: Sink, mutation: Mutation) -> Self {
        net.clock.after(EVERY_SECOND, Event::Patrol(RX));
        Rx {
            core,
            conns: BTreeMap::new(),
            sink,
            mutation,
            wake_at: None,
            ack_at: None,
            told: Edge { bytes: 0, legs: 0 },
            ending: None,
            gone: false,
            failure: None,
            refused: Vec::new(),
            losses: Vec::new(),
            said: Vec::new(),
            early: false,
            mute_verdict: false,
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

    pub fn delivery(&mut self, net: &mut Net, delivery: Delivery) {
        let (conn, now) = (delivery.conn, net.clock.now);
        match delivery.news {
            News::Connected => {
                let peer = Peer { inbox: Vec::new(), slot: None, count: 0, heard_at: now, last_ack: None };
                self.conns.insert(conn, peer);
            }
            News::Bytes(bytes) => self.bytes(net, conn, &bytes),
            News::Closed { reset } => {
                net.close(conn, RX);
                self.lose(net, conn, Loss::Closed, if reset { "reset" } else { "closed by the peer" });
            }
            News::Refused | News::Drained => {}
        }
        self.settle(net);
    }

    /// The output has taken the leg it was at.
    pub fn taken(&mut self, net: &mut Net) {
        let Some(leg) = self.sink.took(&mut net.clock) else { return };
        if let Some(wrong) = self.sink.check(&leg) {
            self.failure = Some(wrong);
        }
        self.core.note_told(self.told);
        self.core.delivered(net.clock.now, 1, leg.len());
        self.settle(net);
    }

    /// Once a second: acknowledgements unasked, and connections that nobody uses.
    pub fn patrol(&mut self, net: &mut Net) {
        if self.gone {
            return;
        }
        net.clock.after(EVERY_SECOND, Event::Patrol(RX));
        for conn in self.conns.keys().copied().collect::<Vec<_>>() {
            let Some(peer) = self.conns.get(&conn) else { continue };
            if net.clock.now - peer.heard_at >= REAP {
                net.reset(conn, RX);
                self.lose(net, conn, Loss::Silent, "silent");
            } else {
                self.acknowledge(net, conn);
            }
        }
        self.settle(net);
    }

    pub fn ack_soon(&mut self, net: &mut Net) {
        self.ack_at = None;
        for conn in self.conns.keys().copied().collect::<Vec<_>>() {
            let ack = self.ack(net, conn);
            if self.conns[&conn].last_ack != ack {
                self.acknowledge(net, conn);
            }
        }
    }

    pub fn exit(&mut self, net: &mut Net) {
        self.gone = true;
        for conn in std::mem::take(&mut self.conns).into_keys() {
            net.close(conn, RX);
        }
    }

    // ---- one connection -------------------------------------------------------------------------------

    fn bytes(&mut self, net: &mut Net, conn: usize, bytes: &[u8]) {
        let Some(peer) = self.conns.get_mut(&conn) else { return };
        peer.heard_at = net.clock.now;
        peer.inbox.extend_from_slice(bytes);
        if peer.slot.is_none() {
            self.hello(net, conn);
        }
        while let Some(peer) = self.conns.get_mut(&conn)
            && peer.slot.is_some()
        {
            let step = match wire::decode(&peer.inbox) {
                Ok(None) => return,
                Ok(Some((Frame::Leg(header), len))) => {
                    let end = len + header.encoded as usize;
                    if peer.inbox.len() < end {
                        return;
                    }
                    let payload = peer.inbox[len..end].to_vec();
                    peer.inbox.drain(..end);
                    self.leg(net, conn, &header, payload)
                }
                Ok(Some((frame, len))) => {
                    peer.inbox.drain(..len);
                    self.frame(net, conn, frame)
                }
                Err(error) => Err(error.to_string()),
            };
            if let Err(why) = step {
                net.reset(conn, RX);
                self.lose(net, conn, Loss::Closed, &why);
            }
            self.carry_out(net);
        }
    }

    fn hello(&mut self, net: &mut Net, conn: usize) {
        let ours =
            Expectations { checkphrase: None, features: Features::CHECKSUM, duplex: false, initiates: false };
        let Some(peer) = self.conns.get_mut(&conn) else { return };
        let hello = match Hello::decode(&peer.inbox) {
            Ok(None) => return,
            Ok(Some((hello, len))) => {
                peer.inbox.drain(..len);
                hello
            }
            Err(_) => {
                self.conns.remove(&conn);
                return net.reset(conn, RX);
            }
        };
        let answer = hello::check(&hello, &ours).and_then(|()| self.core.hello(net.clock.now, &hello));
        match answer {
            Ok(admission) => {
                if let Some(old) = self.conn_of(admission.connection) {
                    self.conns.remove(&old);
                    net.reset(old, RX);
                }
                if let Some(peer) = self.conns.get_mut(&conn) {
                    peer.slot = Some(admission.connection);
                }
                net.write(conn, RX, &Reply::Welcome(admission.welcome).encode());
            }
            Err(refusal) => {
                net.write(conn, RX, &Reply::Refusal(refusal.clone()).encode());
                self.refused.push(refusal);
                self.conns.remove(&conn);
                net.close(conn, RX);
            }
        }
        self.carry_out(net);
    }

    fn leg(&mut self, net: &mut Net, conn: usize, header: &LegHeader, bytes: Vec<u8>) -> Result<(), String> {
        let Some(peer) = self.conns.get_mut(&conn) else { return Ok(()) };
        peer.count += 1;
        let slot = peer.slot.unwrap_or_default();
        let dropped = self.mutation == Mutation::DropAfterAck && net.rng.random_ratio(1, 50);
        if header.flags & LegFlags::CHECKED != 0 && crc32fast::hash(&bytes) != header.crc {
            self.write(net, conn, &Frame::Nack { sequence: header.sequence });
        } else if !dropped {
            let leg = Leg::new(header.sequence, header.offset, Arc::new(bytes));
            self.core.leg(net.clock.now, slot, leg).map_err(|wrong| wrong.to_string())?;
        }
        self.acknowledge(net, conn);
        Ok(())
    }

    fn frame(&mut self, net: &mut Net, conn: usize, frame: Frame) -> Result<(), String> {
        let now = net.clock.now;
        match frame {
            Frame::Fin(fin) => self.core.fin(now, fin).map_err(|wrong| wrong.to_string())?,
            Frame::Ping { token } => self.write(net, conn, &Frame::Pong { token }),
            Frame::Bye => self.core.bye(),
            Frame::Abort(abort) => self.core.abort(abort),
            _ => return Err("out of place".into()),
        }
        Ok(())
    }

    fn lose(&mut self, net: &mut Net, conn: usize, loss: Loss, why: &str) {
        if let Some(Peer { slot: Some(slot), .. }) = self.conns.remove(&conn) {
            self.losses.push((loss, why.to_owned()));
            self.core.lost(net.clock.now, slot, loss, why);
        }
    }

    fn conn_of(&self, slot: usize) -> Option<usize> {
        self.conns.iter().find(|(_, peer)| peer.slot == Some(slot)).map(|(conn, _)| *conn)
    }

    // ---- acknowledging --------------------------------------------------------------------------------

    fn ack(&self, net: &Net, conn: usize) -> Option<Ack> {
        let peer = self.conns.get(&conn).filter(|peer| peer.slot.is_some())?;
        let Position { next, delivered, edge } = self.core.position();
        let blocked_ms = self.sink.blocked(net.clock.now).as_millis() as u32;
        Some(Ack { next, delivered, edge, count: peer.count, blocked_ms })
    }

    fn acknowledge(&mut self, net: &mut Net, conn: usize) {
        if self.core.receiver().is_none() || self.ending.is_some() {
            return;
        }
        if let Some(ack) = self.ack(net, conn) {
            self.write(net, conn, &Frame::Ack(ack));
            self.told =
                Edge { bytes: self.told.bytes.max(ack.edge.bytes), legs: self.told.legs.max(ack.edge.legs) };
            if let Some(peer) = self.conns.get_mut(&conn) {
                peer.last_ack = Some(ack);
            }
        }
    }

    fn write(&mut self, net: &mut Net, conn: usize, frame: &Frame) {
        if self.mute_verdict && matches!(frame, Frame::Verdict(_)) {
            return;
        }
        let mut out = Vec::new();
        frame.encode(&mut out);
        net.write(conn, RX, &out);
    }

    // ---- what the core wants --------------------------------------------------------------------------

    fn settle(&mut self, net: &mut Net) {
        self.carry_out(net);
        self.check();
        self.judge_early(net);
        if self.ending.is_some() {
            return;
        }
        // asked a little later, as by a thread that was busy in between
        let later = net.clock.now + Duration::from_millis(1);
        let Some(at) = self.core.deadline(later) else { return };
        if self.wake_at.is_none_or(|planned| at < planned) {
            self.wake_at = Some(at);
            net.clock.at(at, Event::WakeRx);
        }
    }

    fn carry_out(&mut self, net: &mut Net) {
        while let Some(action) = self.core.poll() {
            match action {
                Action::Deliver(leg) => self.sink.give(&mut net.clock, leg),
                Action::CloseOutput => {
                    self.sink.closed = true;
                    let crc = self.sink.crc();
                    self.core.output_closed(net.clock.now, Some(crc));
                }
                Action::Acknowledge { now: true } => {
                    for conn in self.conns.keys().copied().collect::<Vec<_>>() {
                        self.acknowledge(net, conn);
                    }
                }
                Action::Acknowledge { now: false } => {
                    if self.ack_at.is_none() {
                        self.ack_at = Some(net.clock.now + ACK_DELAY);
                        net.clock.after(ACK_DELAY, Event::AckSoon);
                    }
                }
                Action::Tell(slot, frame) => {
                    if let Some(conn) = self.conn_of(slot) {
                        self.write(net, conn, &frame);
                    }
                }
                Action::Drop(slot, why) => {
                    if let Some(conn) = self.conn_of(slot) {
                        net.reset(conn, RX);
                        self.lose(net, conn, Loss::Closed, &why);
                    }
                }
                Action::Say(event) => self.said.push(format!("{event:?}")),
                Action::Settle(_) => unreachable!("connections are not shared here"),
                Action::End(ending) => self.end(net, ending),
            }
        }
    }

    fn end(&mut self, net: &mut Net, ending: Outcome) {
        for conn in self.conns.keys() {
            net.shutdown(*conn, RX);
        }
        self.ending = Some((net.clock.now, ending));
        net.clock.after(Duration::from_secs(2), Event::Exit(RX));
    }

    fn check(&mut self) {
        let Some(receiver) = self.core.receiver() else { return };
        let window = receiver.edge().bytes - receiver.delivered_bytes();
        if receiver.held_bytes() > window {
            self.failure =
                Some(format!("{} bytes are held with a window of {window}", receiver.held_bytes()));
        }
    }

    /// The mutation: a verdict when all has been received, though the output has not taken it.
    fn judge_early(&mut self, net: &mut Net) {
        let whole = self.core.receiver().and_then(|receiver| receiver.whole());
        let Some(fin) = whole.filter(|_| self.mutation == Mutation::EarlyVerdict && !self.early) else {
            return;
        };
        self.early = true;
        let verdict =
            Verdict { bytes: fin.bytes, crc: fin.crc, status: Status::Complete, sentence: String::new() };
        for conn in self.conns.keys().copied().collect::<Vec<_>>() {
            self.write(net, conn, &Frame::Verdict(verdict.clone()));
        }
    }
}
