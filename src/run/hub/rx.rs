//! The receiving hub: owns the [`Reception`], lets guests in, commands workers and output.
//!
//! Where the session's other stream goes over the same connections, it lends them to the sending hub as it lets them
//! in; or, where that one dials, it borrows them and has no door.

mod report;
mod share;

use super::tally::{Cause, Tally};
use super::tx::{Lender, Loan};
use super::{FRAMES, LEGS, Order, Thread, next_events};
use crate::chaos::Hazard;
use crate::message;
use crate::proto::hello::{Expectations, Features, Hello, Id, RefusalCode, Reply};
use crate::proto::leg::{CONNECTIONS_MAX, WINDOW_LEGS};
use crate::proto::life::Steady;
use crate::proto::links::LossReason;
use crate::proto::outcome::{Outcome, Status};
use crate::proto::reception::{Action, Admission, Loss, Reception, Settings};
use crate::proto::transmission::Given;
use crate::run::accept::{self, Door, Guest};
use crate::run::conn::{self, FAREWELL, Handle};
use crate::run::egress::{self, Blocked, Egress};
use crate::run::endpoint::Sink;
use crate::run::pool::Pool;
use crate::run::spawn;
use crate::run::worker::receiving::{self, Position, Receiving, Shared, Terms};
use crate::run::worker::{Command, Role, Worker};
use crate::stage::StreamCrc;
use crate::sys::socket::set_congestion;
use crossbeam_channel::{Receiver, Sender};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
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
    handle: Arc<Handle<Command>>,
    number: u64,
}

/// The hub's state.
pub struct Hub {
    core: Reception,
    events: Receiver<Event>,
    ear: Sender<Event>,
    /// None for a borrower: nobody comes to it.
    door: Option<accept::Handle>,
    /// Where the session has another stream, and this direction owns the connections.
    lender: Option<Lender>,
    /// The kernel's congestion control for what goes out, where the user chose one.
    congestion: Option<String>,
    /// The workers that connections are borrowed from, by place.
    lines: Vec<Arc<Handle<Command>>>,
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
    ending: Option<Outcome>,
    /// How the stream ended, where connections are kept for another.
    settled: Option<Outcome>,
    /// Told of that.
    settle: super::Settle,
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
    door: Option<Thread>,
    egress: Thread,
    /// For a borrower.
    terms: Terms,
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
        let (mut start, ear) = Self::borrowing(settings, sink, hazard)?;
        let guests = ear.clone();
        let admit = move |guest| drop(guests.send(Event::Guest(Box::new(guest))));
        let (door, handle) = Door::new(listener, expectations, admit)?;
        start.hub.door = Some(handle);
        start.door = Some(Box::new(move || door.run()));
        Ok((start, ear))
    }

    /// Builds everything but connections, which are the other direction's; starts nothing.
    ///
    /// # Errors
    /// The kernel has no descriptors left.
    pub fn borrowing(
        settings: Settings,
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
            begun: Arc::default(),
        };
        let reports = ear.clone();
        let report = move |report| drop(reports.send(Event::Output(report)));
        let (egress, output) = Egress::new(sink, shared.blocked.clone(), report)?;
        let Settings { instance, features, buffer, .. } = settings;
        let hub = Hub::new(Reception::new(Instant::now(), settings), events, ear.clone(), shared, output);
        hub.publish();
        let terms = Terms { instance, features, buffer };
        Ok((Start { hub, door: None, egress: Box::new(move || egress.run()), terms }, ear))
    }

    /// Tells `settle` how the stream ended, where that is not the direction's end.
    pub fn on_settling(&mut self, settle: super::Settle) {
        self.hub.settle = settle;
    }

    /// Tells `met` what the sender makes use of, whenever one is let in.
    pub fn on_meeting(&mut self, announce: super::Announce) {
        self.hub.announce = announce;
    }

    /// Starts every thread and works until the session is over; how it ended.
    ///
    /// # Errors
    /// The kernel has no threads left.
    pub fn run(self) -> io::Result<Outcome> {
        if let Some(door) = self.door {
            spawn("door", door)?;
        }
        spawn("egress", self.egress)?;
        Ok(self.hub.run())
    }
}

impl Hub {
    fn new(
        core: Reception,
        events: Receiver<Event>,
        ear: Sender<Event>,
        shared: Shared,
        output: egress::Handle,
    ) -> Self {
        Hub {
            core,
            events,
            ear,
            door: None,
            lender: None,
            congestion: None,
            lines: Vec::new(),
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
            settled: None,
            settle: Box::new(|_| {}),
            tally: Tally::new(Instant::now()),
            sources: BTreeMap::new(),
            brought: [None; CONNECTIONS_MAX],
            last_loss: None,
            announce: Box::new(|_| {}),
        }
    }

    fn run(mut self) -> Outcome {
        let mut burst = Vec::new();
        let mut now = Instant::now();
        while self.ending.is_none() {
            // as of the last step: what has fallen due since then is due at once, not forgotten
            let until = self.core.deadline(now).into_iter().chain(self.ack_due).min();
            let Some(later) = next_events(&self.events, &mut self.steady, until, &mut burst) else { break };
            now = later;
            self.consult();
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
            self.tally.delivered(now, self.core.position().delivered);
        }
        if self.settled.is_none() {
            message::note(1, || self.summary().to_string());
        }
        self.farewell();
        let last = self.snapshot();
        self.tally.last(|_| last);
        self.ending
            .unwrap_or_else(|| Outcome::here(Status::Incomplete, "all threads of the receiver have ended"))
    }

    fn hear(&mut self, now: Instant, event: Event) {
        match event {
            Event::Guest(guest) => self.receive_guest(now, *guest),
            Event::Worker(place, number, report) => self.hear_worker(now, place, number, report),
            Event::Output(egress::Report::Delivered(legs, bytes)) => {
                self.core.note_told(self.shared.position.told());
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
            Event::Order(Order::OtherSettled) => self.core.other_settled(now),
            Event::Order(Order::Release) => self.core.release(),
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
                if let Some(door) = &self.door {
                    door.refuse(stream, refusal);
                }
                return;
            }
        };
        self.shared.position.forget_told();
        self.publish();
        (self.announce)(hello.features);
        self.meet(now, hello.link, address.ip());
        self.admitted += 1;
        let (place, number) = (admission.connection, self.admitted);
        if let Err(error) = self.admit(stream, &hello, admission, address) {
            let why = conn::reason(&error);
            self.core.lost(now, place, Loss::Closed, &why);
            self.lender.iter().for_each(|lender| lender.lost(place, number, why.clone()));
        }
    }

    /// A connection is up, or about to be.
    fn meet(&mut self, now: Instant, link: u8, address: IpAddr) {
        self.tally.meet(now);
        self.tally.wait_for(now, Cause::Network);
        self.sources.insert(usize::from(link), address);
        self.met.get_or_insert(Instant::now());
    }

    /// Starts the thread of a connection that was let in.
    fn admit(
        &mut self,
        stream: TcpStream,
        hello: &Hello,
        admission: Admission,
        address: SocketAddr,
    ) -> io::Result<()> {
        let (place, number, ear) = (admission.connection, self.admitted, self.ear.clone());
        let origin: Arc<str> = format!("connection {place} from {address}").into();
        message::note(2, || format!("{origin} is up"));
        let report = move |number, report| ear.send(Event::Worker(place, number, report)).is_ok();
        let receiving = Receiving::given((place, number), origin, self.shared.clone(), report);
        let checked = hello.features.contains(Features::CHECKSUM);
        let sending = self.lender.as_ref().map(|lender| lender.role(place, number, checked));
        if let Some(name) = &self.congestion {
            set_congestion(&stream, name)?;
        }
        let welcome = Reply::Welcome(admission.welcome).encode();
        let hazard = self.shared.hazard.clone();
        let (worker, handle) = Worker::given(stream, &welcome, receiving, sending, hazard)?;
        let handle = Arc::new(handle);
        if let Some(lender) = &self.lender {
            let known = lender.pairing().head();
            let given = Given { worker: place, link: usize::from(hello.link), known, checked };
            let source = format!("from {}", address.ip());
            lender.lend(Loan { given, number, handle: handle.clone(), source });
        }
        spawn(&format!("connection {place}"), move || worker.run())?;
        if let Some(old) = self.places[place].replace(Place { handle, number }) {
            old.handle.command(Command::Drop(Role::Receiving, LossReason::Left));
        }
        Ok(())
    }

    /// The stream was judged; the connections may still be wanted.
    fn settled(&mut self, ending: Outcome) {
        self.settled = Some(ending.clone());
        message::note(1, || self.summary().to_string());
        (self.settle)(ending);
    }

    fn hear_worker(&mut self, now: Instant, place: usize, number: u64, report: receiving::Report) {
        use receiving::Report;
        let current = self.places[place].as_ref().is_some_and(|p| p.number == number);
        let obeyed = match report {
            Report::Where(asker) => {
                let crate::proto::acknowledging::Position { next, edge, .. } = self.core.position();
                // a worker that is gone needs no answer
                let _ = asker.send((next, edge));
                Ok(())
            }
            Report::Up(met) => {
                self.borrow(now, place, number, met);
                Ok(())
            }
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
            Report::Lost(..) | Report::Closed(_) => Ok(()),
        };
        if let (Err(contradiction), true) = (obeyed, current) {
            let why = LossReason::Breach(contradiction.to_string());
            self.command(place, Command::Drop(Role::Receiving, why));
            self.places[place] = None;
            self.core.lost(now, place, Loss::Closed, &contradiction.to_string());
        }
    }

    fn publish(&self) {
        let crate::proto::acknowledging::Position { next, delivered, edge } = self.core.position();
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
                Action::Say(event) => {
                    message::note(event.level(), || crate::wording::word(&event, &|_| String::new()));
                }
                Action::Settle(ending) => self.settled(ending),
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
        use receiving::Report;
        let numbered = |(at, place): (usize, &Option<Place>)| place.as_ref().map(|place| (at, place.number));
        let mut closing: Vec<(usize, u64)> = self.places.iter().enumerate().filter_map(numbered).collect();
        let borrowed = self.lines.iter();
        for handle in self.places.iter().flatten().map(|place| &place.handle).chain(borrowed) {
            handle.command(Command::Finish(Role::Receiving));
        }
        let shares = self.lender.is_some() || self.core.borrows();
        if self.core.is_dismissed() && !shares {
            return;
        }
        let deadline = Instant::now() + FAREWELL + Duration::from_millis(100);
        while !closing.is_empty() {
            match self.events.recv_deadline(deadline) {
                Ok(Event::Worker(at, number, report @ (Report::Closed(_) | Report::Lost(..)))) => {
                    closing.retain(|open| *open != (at, number));
                    if self.core.is_dismissed() && matches!(report, Report::Closed(true)) {
                        // the peer waits for nothing more; this was for the other direction's last words
                        return;
                    }
                }
                Ok(Event::Order(Order::Report(asker))) => self.report(asker),
                Ok(_) => {}
                Err(_) => break,
            }
        }
    }
}
