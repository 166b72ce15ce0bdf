//! The receiving hub: owns the [`Reception`], lets guests in, commands carriers and output.

use super::tally::{Cause, Tally};
use super::{Asker, FRAMES, LEGS, Order, next_events, phase};
use crate::chaos::Hazard;
use crate::message;
use crate::proto::ending::Ending;
use crate::proto::hello::{Expectations, Id, RefusalCode, Reply};
use crate::proto::leg::{CONNECTIONS_MAX, WINDOW_LEGS};
use crate::proto::life::Steady;
use crate::proto::links::LossReason;
use crate::proto::reception::{Action, Reception, Settings, SlotStats};
use crate::proto::wire::Code;
use crate::report::{Connection, Detail, Link, Side, Snapshot, State, Waited};
use crate::run::accept::{self, Door, Guest};
use crate::run::conn::{FAREWELL, Handle};
use crate::run::egress::{self, Blocked, Egress};
use crate::run::endpoint::Sink;
use crate::run::pool::Pool;
use crate::run::spawn;
use crate::run::summary::Summary;
use crate::run::worker::receiving::{self, Position, Receiving, Shared};
use crate::run::worker::{Command, Role, Worker};
use crate::stage::StreamCrc;
use crossbeam_channel::{Receiver, Sender};
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Connections that did not bring the latest leg hear of it within this.
const ACK_DELAY: Duration = Duration::from_millis(100);

/// Sizes of legs are rounded up to this, at most.
const PAGE: u64 = 4096;

/// Everything that happens to a receiving process.
pub enum Event {
    /// A peer whose hello is in order.
    Guest(Box<Guest>),
    /// From a connection: its place, and which of those that had it (they are numbered).
    Worker(usize, u64, receiving::Report),
    /// From the output.
    Output(egress::Report),
    /// From outside.
    Order(Order),
}

/// One connection's thread.
struct Place {
    handle: Handle<Command>,
    number: u64,
}

/// The hub's state.
pub struct Hub {
    core: Reception,
    events: Receiver<Event>,
    ear: Sender<Event>,
    door: accept::Handle,
    places: [Option<Place>; CONNECTIONS_MAX],
    /// Connections let in so far.
    admitted: u64,
    /// The last session that was refused because another receiver has its beginning.
    stranded: Option<Id>,
    shared: Shared,
    output: egress::Handle,
    ack_due: Option<Instant>,
    steady: Steady,
    stream_crc: StreamCrc,
    /// When the session's first connection was up.
    met: Option<Instant>,
    ending: Option<Ending>,
    tally: Tally,
    /// Where each link comes from, and the leg each connection brought last.
    sources: BTreeMap<usize, IpAddr>,
    brought: [Option<u64>; CONNECTIONS_MAX],
    last_loss: Option<String>,
    /// Told of what each peer can do.
    announce: super::Announce,
}

/// A receiving direction that is ready to start, and where its orders go.
pub struct Start {
    hub: Hub,
    door: Box<dyn FnOnce() + Send>,
    egress: Box<dyn FnOnce() + Send>,
}

impl Start {
    /// Builds everything around a listening socket, starts nothing.
    ///
    /// # Errors
    /// The kernel has no descriptors left.
    pub fn new(
        settings: Settings,
        expectations: Expectations,
        listener: std::net::TcpListener,
        sink: Box<dyn Sink>,
        hazard: Hazard,
    ) -> io::Result<(Self, Sender<Event>)> {
        let (ear, events) = crossbeam_channel::unbounded();
        // a leg inside the window has a place, even if all of them are tiny and rounded up to pages
        let rounding = (WINDOW_LEGS * PAGE).min(settings.buffer);
        let pool = Pool::with_rounding(settings.buffer, rounding);
        let shared = Shared {
            position: Arc::new(Position::default()),
            blocked: Arc::new(Blocked::default()),
            again: Arc::new(AtomicU64::new(0)),
            pool,
            hazard,
        };
        let guests = ear.clone();
        let admit = move |guest| drop(guests.send(Event::Guest(Box::new(guest))));
        let (door, door_handle) = Door::new(listener, expectations, admit)?;
        let reports = ear.clone();
        let report = move |report| drop(reports.send(Event::Output(report)));
        let (egress, output) = Egress::new(sink, shared.blocked.clone(), report)?;
        let hub = Hub {
            core: Reception::new(Instant::now(), settings),
            events,
            ear: ear.clone(),
            door: door_handle,
            places: Default::default(),
            admitted: 0,
            stranded: None,
            shared,
            output,
            ack_due: None,
            steady: Steady::new(),
            stream_crc: StreamCrc::new(),
            met: None,
            ending: None,
            tally: Tally::new(Instant::now()),
            sources: BTreeMap::new(),
            brought: [None; CONNECTIONS_MAX],
            last_loss: None,
            announce: Box::new(|_| {}),
        };
        Ok((Start { hub, door: Box::new(move || door.run()), egress: Box::new(move || egress.run()) }, ear))
    }

    /// Tells `met` what the sender makes use of, whenever one is let in.
    pub fn on_meeting(&mut self, announce: super::Announce) {
        self.hub.announce = announce;
    }

    /// Starts every thread and works until the session is over; how it ended.
    ///
    /// # Errors
    /// The kernel has no threads left.
    pub fn run(self) -> io::Result<Ending> {
        spawn("door", self.door)?;
        spawn("egress", self.egress)?;
        Ok(self.hub.run())
    }
}

impl Hub {
    fn run(mut self) -> Ending {
        let mut burst = Vec::new();
        let mut now = Instant::now();
        while self.ending.is_none() {
            // as of the last step: what has fallen due since then is due at once, not forgotten
            let until = self.core.deadline(now).into_iter().chain(self.ack_due).min();
            let Some(later) = next_events(&self.events, &mut self.steady, until, &mut burst) else { break };
            now = later;
            if until.is_some_and(|at| at <= now) {
                self.core.tick(now);
            }
            for event in burst.drain(..) {
                self.hear(now, event);
                self.act(now);
            }
            self.act(now);
            if self.ack_due.is_some_and(|at| at <= now) {
                self.acknowledge(false);
            }
            self.tally.delivered(now, self.core.position().1);
        }
        message::note(1, || self.summary().to_string());
        self.farewell();
        let last = self.snapshot();
        self.tally.last(|_| last);
        self.ending
            .unwrap_or_else(|| Ending::here(Code::Incomplete, "all threads of the receiver have ended"))
    }

    fn summary(&self) -> Summary {
        let again = self.shared.again.load(Relaxed);
        Summary {
            sent: false,
            bytes: self.core.receiver().map_or(0, |receiver| receiver.delivered_bytes()),
            time: self.met.map(|met| met.elapsed()).unwrap_or_default(),
            legs_again: again + self.core.receiver().map_or(0, |receiver| receiver.duplicates()),
            connections_lost: self.core.connections_lost(),
        }
    }

    fn hear(&mut self, now: Instant, event: Event) {
        match event {
            Event::Guest(guest) => self.receive_guest(now, *guest),
            Event::Worker(place, number, report) => self.hear_worker(now, place, number, report),
            Event::Output(egress::Report::Delivered(legs, bytes)) => {
                self.core.delivered(now, legs, bytes);
                self.publish();
            }
            Event::Output(egress::Report::Closed) => {
                self.core.output_closed(now, self.stream_crc.value());
            }
            Event::Output(egress::Report::Failed(error)) => {
                self.core.output_failed(now, error.code, &error.sentence);
            }
            Event::Order(Order::Stop(ending)) => self.core.fail(ending),
            Event::Order(Order::Report(asker)) => self.report(asker),
        }
    }

    fn receive_guest(&mut self, now: Instant, guest: Guest) {
        let Guest { stream, hello, address } = guest;
        let admission = match self.core.hello(now, &hello) {
            Ok(admission) => admission,
            Err(refusal) => {
                // one sender asks for the rest of its stream again and again
                let stranded = refusal.code == RefusalCode::NotThatReceiver
                    && self.stranded.replace(hello.session) != Some(hello.session);
                let level = if stranded { 0 } else { 2 };
                message::note(level, || format!("{address}: refused: {}", refusal.sentence));
                return self.door.refuse(stream, refusal);
            }
        };
        self.publish();
        (self.announce)(hello.features);
        self.tally.meet(now);
        self.tally.wait_for(now, Cause::Network);
        self.sources.insert(usize::from(hello.link), address.ip());
        self.admitted += 1;
        let (place, number, ear) = (admission.connection, self.admitted, self.ear.clone());
        let origin: Arc<str> = format!("connection {place} from {address}").into();
        let report = move |report| ear.send(Event::Worker(place, number, report)).is_ok();
        let welcome = Reply::Welcome(admission.welcome).encode();
        message::note(2, || format!("{origin} is up"));
        let receiving = Receiving::new(origin, self.shared.clone(), report);
        let hazard = self.shared.hazard.clone();
        let started = Worker::given(stream, &welcome, receiving, hazard).and_then(|(worker, handle)| {
            spawn(&format!("connection {place}"), move || worker.run())?;
            Ok(handle)
        });
        match started {
            Ok(handle) => {
                self.met.get_or_insert(Instant::now());
                if let Some(old) = self.places[place].replace(Place { handle, number }) {
                    old.handle.command(Command::Drop(Role::Receiving, LossReason::Left));
                }
            }
            Err(error) => {
                self.core.lost(now, place, crate::proto::reception::Loss::Closed, &error.to_string())
            }
        }
    }

    fn hear_worker(&mut self, now: Instant, place: usize, number: u64, report: receiving::Report) {
        use receiving::Report;
        let current = self.places[place].as_ref().is_some_and(|p| p.number == number);
        let obeyed = match report {
            // a leg is the same leg whoever brought it
            Report::Leg(leg) => {
                message::note(LEGS, || {
                    format!("{}: {leg:?} came", leg.origin.as_deref().unwrap_or_default())
                });
                let link = usize::from(self.core.slots()[place].link);
                self.tally.leg(now, place, Some(link), leg.len());
                self.brought[place] = Some(leg.sequence);
                let taken = self.core.leg(now, place, leg);
                self.publish();
                taken
            }
            Report::Fin(fin) => self.core.fin(now, fin),
            Report::Bye => {
                self.core.bye();
                Ok(())
            }
            Report::Abort(abort) => {
                self.core.abort(abort);
                Ok(())
            }
            Report::Lost(loss, why) if current => {
                self.places[place] = None;
                self.core.lost(now, place, loss, &why);
                self.last_loss = Some(format!("connection {place}: {why}"));
                Ok(())
            }
            Report::Lost(..) | Report::Closed => Ok(()),
        };
        if let (Err(contradiction), true) = (obeyed, current) {
            let why = LossReason::Breach(contradiction.to_string());
            self.command(place, Command::Drop(Role::Receiving, why));
            self.places[place] = None;
            self.core.lost(now, place, crate::proto::reception::Loss::Closed, &contradiction.to_string());
        }
    }

    fn publish(&self) {
        let (next, delivered, edge) = self.core.position();
        self.shared.position.publish(next, delivered, edge);
    }

    fn act(&mut self, now: Instant) {
        while let Some(action) = self.core.poll() {
            match action {
                Action::Deliver(leg) => {
                    self.stream_crc.append(&leg);
                    self.output.command(egress::Command::Write(leg));
                }
                Action::CloseOutput => self.output.command(egress::Command::Close),
                Action::Acknowledge { now: true } => self.acknowledge(true),
                Action::Acknowledge { now: false } => {
                    self.ack_due.get_or_insert(now + ACK_DELAY);
                }
                Action::Tell(place, frame) => {
                    message::note(FRAMES, || format!("connection {place}: {frame:?} goes out"));
                    self.command(place, Command::Tell(frame));
                }
                Action::Drop(place, why) => {
                    self.command(place, Command::Drop(Role::Receiving, LossReason::Breach(why)));
                }
                Action::Say(level, line) => message::note(level, || line),
                Action::Settle(_) => {}
                Action::End(ending) => self.ending = Some(ending),
            }
        }
    }

    fn command(&self, place: usize, command: Command) {
        if let Some(place) = &self.places[place] {
            place.handle.command(command);
        }
    }

    fn acknowledge(&mut self, always: bool) {
        self.ack_due = None;
        for place in self.places.iter().flatten() {
            place.handle.command(Command::Acknowledge { always });
        }
    }

    /// Lets every connection write its last words and close in order, for a short while.
    fn farewell(&mut self) {
        let mut closing: Vec<u64> = self.places.iter().flatten().map(|place| place.number).collect();
        for place in self.places.iter().flatten() {
            place.handle.command(Command::Finish(Role::Receiving));
        }
        if self.core.is_dismissed() {
            return;
        }
        let deadline = Instant::now() + FAREWELL + Duration::from_millis(100);
        while !closing.is_empty() {
            match self.events.recv_deadline(deadline) {
                Ok(Event::Worker(_, number, receiving::Report::Closed | receiving::Report::Lost(..))) => {
                    closing.retain(|n| *n != number);
                }
                Ok(Event::Order(Order::Report(asker))) => self.report(asker),
                Ok(_) => {}
                Err(_) => break,
            }
        }
    }

    // ---- reports --------------------------------------------------------------------------------------

    fn report(&mut self, asker: Asker) {
        for (index, place) in self.places.iter().enumerate() {
            if let (Some(place), Some(informer)) = (place, asker.informer(index)) {
                place.handle.command(Command::Inform(informer));
            }
        }
        let snapshot = self.snapshot();
        self.tally.answer(asker, snapshot);
    }

    fn snapshot(&mut self) -> Snapshot {
        let now = Instant::now();
        let (next, delivered, _) = self.core.position();
        let slots = self.core.slots();
        let receiver = self.core.receiver();
        let (ahead, ahead_bytes) = receiver.map_or((0, 0), |r| r.ahead());
        let connection = |(number, slot): (usize, &SlotStats)| Connection {
            number,
            link: Some(slot.link.into()),
            state: if slot.up { State::Up } else { State::Down },
            leg: self.brought[number],
            bytes: slot.bytes,
            rate: self.tally.connection_rate(now, number),
            kernel: None,
        };
        let known = slots.iter().enumerate().filter(|(_, slot)| slot.up || slot.legs > 0);
        let connections = known.map(connection).collect();
        let link = |(&index, address): (&usize, &IpAddr)| Link {
            name: format!("from {}", address.to_canonical()),
            index,
            up: slots.iter().filter(|slot| slot.up && usize::from(slot.link) == index).count(),
            rate: self.tally.link_rate(now, index),
            trouble: String::new(),
        };
        let links = self.sources.iter().map(link).collect();
        Snapshot {
            side: Side::Rx,
            phase: phase(
                self.ending.as_ref(),
                self.tally.has_met(),
                receiver.is_some_and(|r| r.whole().is_some()),
            ),
            elapsed: self.tally.elapsed(now),
            expected: None,
            delivered,
            rate: self.tally.rate(now),
            held: self.shared.pool.in_use(),
            buffer: self.shared.pool.capacity(),
            detail: Detail::Rx {
                received: receiver.map_or(0, |r| r.received_bytes()),
                next,
                ahead: (ahead as u64, ahead_bytes),
                copies: receiver.map_or(0, |r| r.duplicates()),
                blocked: self.shared.blocked.for_how_long(now),
            },
            waited: self.waited(now),
            lost: self.core.connections_lost(),
            last_loss: self.last_loss.clone(),
            links,
            connections,
        }
    }

    /// The output's waiting is measured where it happens; all other time is the network's, or the input's.
    fn waited(&mut self, now: Instant) -> Waited {
        let all = self.tally.waited(now).network;
        let output = self.shared.blocked.total(now).min(all);
        Waited { network: all - output, output, ..Waited::default() }
    }
}
