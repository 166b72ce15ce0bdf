//! A session, and everything it has asked for and not been asked about.

use super::super::super::event::Event;
use super::super::super::hello::{Features, Hello, Id, RefusalCode, Welcome};
use super::super::super::links::{DialError, LossReason};
use super::super::super::mailbox::Item;
use super::super::super::outcome::{Outcome, Status};
use super::super::super::waiting::Patience;
use super::super::super::way::Way;
use super::super::super::wire::Frame;
use super::super::ownership::Ownership;
use super::super::{Action, DiallerConfig, InboundConfig, OutboundConfig, Session};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) use super::messages::*;

/// A dial, as tests look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dialled {
    pub connection: usize,
    pub link: usize,
    pub attempt: u32,
    pub begun: bool,
    pub instance: Option<Id>,
    pub segment: Option<u16>,
}

pub(super) struct Rig {
    pub session: Session,
    pub now: Instant,
    pub start: Instant,
    pub dials: Vec<Dialled>,
    pub sends: Vec<(usize, u64)>,
    pub frames: Vec<(usize, Frame)>,
    pub welcomes: Vec<(usize, Welcome)>,
    pub drops: Vec<(usize, LossReason)>,
    pub leaves: Vec<usize>,
    pub looks: Vec<usize>,
    pub events: Vec<Event>,
    pub delivers: Vec<u64>,
    pub closes: usize,
    pub ceases: usize,
    pub met: Vec<Way>,
    pub settled: Vec<(Way, Outcome)>,
    pub over: bool,
    /// By connection: when it was dialled last.
    dialled: [Option<Instant>; 16],
}

impl Rig {
    /// An end that dials does so with all its connections at once, as if the first one had had its start of the others.
    pub(super) fn of(now: Instant, mut session: Session) -> Self {
        if let Ownership::Dialler(dialler) = &mut session.ownership {
            dialler.forgo_headstart();
        }
        Self::from_the_start(now, session)
    }

    pub(super) fn from_the_start(now: Instant, session: Session) -> Self {
        let mut rig = Rig {
            session,
            now,
            start: now,
            dials: Vec::new(),
            sends: Vec::new(),
            frames: Vec::new(),
            welcomes: Vec::new(),
            drops: Vec::new(),
            leaves: Vec::new(),
            looks: Vec::new(),
            events: Vec::new(),
            delivers: Vec::new(),
            closes: 0,
            ceases: 0,
            met: Vec::new(),
            settled: Vec::new(),
            over: false,
            dialled: [None; 16],
        };
        rig.does(|session, now| session.tick(now));
        rig
    }

    /// An end that dials, with or without a stream that comes in.
    pub(super) fn dialling(
        links: usize,
        connections: usize,
        patience: Option<Patience>,
        duplex: bool,
    ) -> Self {
        let now = Instant::now();
        let links = (0..links).map(|link| format!("host{link}")).collect();
        let hello = Hello { buffer: 128 << 20, features: Features::ENOUGH, ..hello(0, 0) };
        let dials = DiallerConfig { patience, ..DiallerConfig::new(hello, links, connections, 1) };
        let receives = duplex.then(|| inbound(DIALLER, patience));
        Self::of(now, Session::dialling(now, dials, receives, false))
    }

    /// An end that listens, with or without a stream that goes out.
    pub(super) fn listening(patience: Option<Patience>, duplex: bool) -> Self {
        let now = Instant::now();
        let sends = duplex.then_some(OutboundConfig { buffer: 128 << 20 });
        Self::of(now, Session::listening(now, inbound(LISTENER, patience), sends, false))
    }

    /// One event, and its actions.
    pub(super) fn does<T>(&mut self, event: impl FnOnce(&mut Session, Instant) -> T) -> T {
        let result = event(&mut self.session, self.now);
        while let Some(action) = self.session.poll() {
            assert!(!self.over, "nothing follows the end, but {action:?}");
            self.act(action);
        }
        for connection in self.session.take_posted().iter() {
            while let Some(item) = self.session.take(connection) {
                match item {
                    Item::Welcome(welcome) => self.welcomes.push((connection, welcome)),
                    Item::Frame(frame) => self.frames.push((connection, frame)),
                    Item::Leg(leg) => self.sends.push((connection, leg.sequence)),
                }
            }
        }
        result
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Dial { connection, link, hello, segment, .. } => {
                assert_eq!((hello.connection, hello.link), (connection as u8, link as u8));
                self.dialled[connection] = Some(self.now);
                let (attempt, begun, instance) = (hello.attempt, hello.begun, hello.instance);
                self.dials.push(Dialled { connection, link, attempt, begun, instance, segment });
            }
            Action::Drop(connection, why) => self.drops.push((connection, why)),
            Action::Look(connection) => self.looks.push(connection),
            Action::Leave(connection) => self.leaves.push(connection),
            Action::Deliver(leg) => self.delivers.push(leg.sequence),
            Action::CloseOutput => self.closes += 1,
            Action::Cease => self.ceases += 1,
            Action::Met(way, _) => self.met.push(way),
            Action::Settled(way, outcome) => self.settled.push((way, outcome)),
            Action::Tell(event) => self.events.push(event),
            Action::Over => self.over = true,
        }
    }

    // ---- events ---------------------------------------------------------------------------------------

    /// A connection is welcomed, no sooner after its dial than it may be dialled again.
    pub(super) fn welcomed(&mut self, connection: usize, instance: u8, next: u64) {
        let dialled = self.dialled[connection].unwrap_or(self.now);
        self.now = self.now.max(dialled + ms(50));
        self.does(|s, now| s.welcomed(now, connection, &welcome(instance, next), None, RTT));
    }

    pub(super) fn ready(&mut self, connection: usize) {
        self.does(|s, now| s.ready(now, connection));
    }

    /// Every connection drains, the first one first.
    pub(super) fn all_ready(&mut self) {
        (0..self.session.connections()).for_each(|connection| self.ready(connection));
    }

    pub(super) fn input(&mut self, legs: usize) {
        for _ in 0..legs {
            self.does(|s, now| s.input(now, Arc::new(vec![1u8; LEN as usize])));
        }
    }

    pub(super) fn end_input(&mut self) {
        self.does(|s, now| s.input_ended(now));
    }

    pub(super) fn frame(&mut self, connection: usize, frame: Frame) {
        self.does(|s, now| s.frame(now, connection, frame));
    }

    pub(super) fn lost(&mut self, connection: usize, why: LossReason) {
        self.does(|s, now| s.lost(now, connection, &why));
    }

    pub(super) fn refused(&mut self, connection: usize, code: RefusalCode) {
        self.does(|s, now| s.refused(now, connection, &refusal(code)));
    }

    pub(super) fn failed(&mut self, connection: usize, why: DialError) {
        self.does(|s, now| s.dial_failed(now, connection, &why));
    }

    pub(super) fn fail(&mut self, status: Status, sentence: &str) {
        self.does(|s, now| s.fail(now, &Outcome::here(status, sentence)));
    }

    /// A peer says hello; the welcome that it gets.
    pub(super) fn hello(&mut self, hello: &Hello) -> Result<Welcome, RefusalCode> {
        let connection = self.does(|s, now| s.hello(now, hello, None)).map_err(|refusal| refusal.code)?;
        assert_eq!(connection, usize::from(hello.connection));
        match self.welcomes.pop() {
            Some((to, welcome)) if to == connection => Ok(welcome),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn leg(&mut self, connection: usize, sequence: u64) {
        self.does(|s, now| s.leg(now, connection, leg(sequence)));
    }

    pub(super) fn delivered(&mut self, legs: u64) {
        self.does(|s, now| s.delivered(now, legs, legs * LEN));
    }

    pub(super) fn output_closed(&mut self) {
        self.does(|s, now| s.output_closed(now, None));
    }

    pub(super) fn output_failed(&mut self, status: Status, sentence: &str) {
        self.does(|s, now| s.output_failed(now, status, sentence));
    }

    /// The stream that comes in is empty, and its sender has the verdict: it is over.
    pub(super) fn empty_stream_comes(&mut self, connection: usize) {
        self.frame(connection, fin(0));
        self.output_closed();
        self.frame(connection, Frame::Bye);
    }

    // ---- time -----------------------------------------------------------------------------------------

    /// Time passes as it does for an owner, who wakes at every deadline; whatever is dialled meanwhile fails like this
    /// at once.
    pub(super) fn pass_with(&mut self, time: Duration, fate: &DialError) {
        let until = self.now + time;
        loop {
            for dial in std::mem::take(&mut self.dials) {
                self.failed(dial.connection, fate.clone());
            }
            if !self.dials.is_empty() {
                continue;
            }
            let next = self.session.deadline(self.now).filter(|at| *at < until);
            self.now = next.unwrap_or(until);
            self.does(|s, now| s.tick(now));
            if next.is_none() || self.over {
                return;
            }
        }
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.pass_with(time, &DialError::Refused);
    }

    /// Time passes in one step.
    pub(super) fn later(&mut self, time: Duration) {
        self.now += time;
        self.does(|s, now| s.tick(now));
    }

    /// How many seconds the session goes on whose dials all fail like this, and how the stream ends.
    pub(super) fn endures(mut self, way: Way, fate: &DialError) -> (u64, Status, String) {
        let from = self.now;
        self.pass_with(secs(10_000), fate);
        assert!(self.over, "it has not ended");
        let outcome = self.session.outcome(way).unwrap();
        ((self.now - from).as_secs(), outcome.status, outcome.sentence.clone())
    }

    // ---- what it said ---------------------------------------------------------------------------------

    pub(super) fn forget(&mut self) {
        self.dials.clear();
        self.sends.clear();
        self.frames.clear();
        self.drops.clear();
        self.events.clear();
        self.delivers.clear();
    }

    pub(super) fn sent(&mut self) -> Vec<(usize, u64)> {
        std::mem::take(&mut self.sends)
    }

    /// The connections on which such frames were told since this was asked last.
    pub(super) fn told(&mut self, wanted: impl Fn(&Frame) -> bool) -> Vec<usize> {
        let frames = std::mem::take(&mut self.frames);
        frames.into_iter().filter(|(_, frame)| wanted(frame)).map(|(connection, _)| connection).collect()
    }

    pub(super) fn verdicts(&mut self) -> Vec<(usize, Status)> {
        let frames = std::mem::take(&mut self.frames);
        let verdict = |(connection, frame)| match frame {
            Frame::Verdict(verdict) => Some((connection, verdict.status)),
            _ => None,
        };
        frames.into_iter().filter_map(verdict).collect()
    }

    /// Acknowledgements since this was asked last: the connection, and how many legs it has brought.
    pub(super) fn acks(&mut self) -> Vec<(usize, u64)> {
        let frames = std::mem::take(&mut self.frames);
        let ack = |(connection, frame)| match frame {
            Frame::Ack(ack) => Some((connection, ack.count)),
            _ => None,
        };
        frames.into_iter().filter_map(ack).collect()
    }

    /// Tokens of the pings on a connection.
    pub(super) fn pings(&self, connection: usize) -> Vec<u64> {
        let token = |(on, frame): &(usize, Frame)| match frame {
            Frame::Ping { token } if *on == connection => Some(*token),
            _ => None,
        };
        self.frames.iter().filter_map(token).collect()
    }

    /// The last ping on a connection is answered.
    pub(super) fn pong(&mut self, connection: usize) {
        let token = self.pings(connection).pop().expect("it has asked");
        self.frame(connection, Frame::Pong { token });
    }

    /// What the user reads without having asked for more.
    pub(super) fn said(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events).into_iter().filter(|event| event.level() == 0).collect()
    }

    /// How many connections are up.
    pub(super) fn up_count(&self) -> usize {
        (0..16).filter(|connection| self.session.link_of(*connection).is_some()).count()
    }

    /// How the stream ended of a session that is over.
    pub(super) fn ended(&self, way: Way) -> (Status, &str, bool) {
        assert!(self.over && self.session.is_over(), "it has not ended");
        self.judged(way)
    }

    /// How the stream was judged.
    pub(super) fn judged(&self, way: Way) -> (Status, &str, bool) {
        let outcome = self.session.outcome(way).expect("it was not judged");
        let told: Vec<_> = self.settled.iter().filter(|(of, _)| *of == way).map(|(_, told)| told).collect();
        assert_eq!(told, [outcome], "the owner hears of it, once");
        (outcome.status, &outcome.sentence, outcome.by_peer)
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.now - self.start
    }
}

pub(super) fn inbound(instance: u8, patience: Option<Patience>) -> InboundConfig {
    InboundConfig { patience, ..InboundConfig::new(id(instance), Features::NONE, 128 << 20) }
}

// ---- ends that have come some way ---------------------------------------------------------------------

/// One stream, before anything was answered.
pub(super) fn dialler(links: usize, connections: usize) -> Rig {
    dialler_with(links, connections, None)
}

pub(super) fn dialler_with(links: usize, connections: usize, patience: Option<Patience>) -> Rig {
    Rig::dialling(links, connections, patience, false)
}

/// All connections welcomed by the listener, and ready.
pub(super) fn up(links: usize, connections: usize) -> Rig {
    up_with(links, connections, None)
}

pub(super) fn up_with(links: usize, connections: usize, patience: Option<Patience>) -> Rig {
    let mut rig = dialler_with(links, connections, patience);
    (0..connections).for_each(|connection| rig.welcomed(connection, LISTENER, 0));
    rig.all_ready();
    rig
}

/// One leg was sent and received by each connection of `up`.
pub(super) fn begun(links: usize, connections: usize) -> Rig {
    begun_with(links, connections, None)
}

pub(super) fn begun_with(links: usize, connections: usize, patience: Option<Patience>) -> Rig {
    let mut rig = up_with(links, connections, patience);
    rig.input(connections);
    (0..connections).for_each(|connection| rig.frame(connection, ack(connections as u64, 1)));
    assert!(rig.session.has_begun());
    rig.forget();
    rig
}

/// One stream, and nobody has come.
pub(super) fn listener() -> Rig {
    listener_with(None)
}

pub(super) fn listener_with(patience: Option<Patience>) -> Rig {
    Rig::listening(patience, false)
}

/// Connections 0 and 1 are up, and one leg has come.
pub(super) fn listener_begun(patience: Option<Patience>) -> Rig {
    let mut rig = listener_with(patience);
    rig.hello(&hello(0, 1)).unwrap();
    rig.hello(&hello(1, 1)).unwrap();
    rig.leg(0, 0);
    rig.forget();
    rig
}

/// A stream of one leg was delivered, and the output closed well.
pub(super) fn listener_judged(patience: Option<Patience>) -> Rig {
    let mut rig = listener_begun(patience);
    rig.frame(0, fin(1));
    rig.delivered(1);
    assert_eq!(rig.closes, 1);
    rig.output_closed();
    rig
}
