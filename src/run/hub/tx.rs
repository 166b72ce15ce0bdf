//! The sending hub: owns the [`Transmission`], commands the workers, feeds on the input.
//!
//! Its workers dial. Where it borrows the connections of the session's other direction they are that one's, and are
//! lent to it by a [`Lender`] as they are let in.

mod lend;
mod report;

pub use lend::{Lender, Loan};

use super::tally::Tally;
use super::{FRAMES, LEGS, Order, Pairing, Thread, next_events, rx};
use crate::chaos::Hazard;
use crate::message;
use crate::plan::{LinkPlan, StreamPlan};
use crate::proto::life::Steady;
use crate::proto::outcome::{Outcome, Status};
use crate::proto::pacing::Pacing;
use crate::proto::sharing::Sharing;
use crate::proto::transmission::{Action, Settings, Transmission};
use crate::run::conn::{FAREWELL, Handle};
use crate::run::dial::Target;
use crate::run::endpoint::Source;
use crate::run::ingest::{self, Appetite, Hunger, Ingest};
use crate::run::pool::Pool;
use crate::run::spawn;
use crate::run::worker::sending::{self, Sending};
use crate::run::worker::{Command, Role, Worker};
use crate::wording::word;
use crossbeam_channel::{Receiver, Sender};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Memory the input may fill before any receiver was met: legs cut then are small, because nothing is known.
const BEFORE_MEETING: u64 = 2 << 20;

/// How long after that the input reads ahead only as far as the size of legs suits: a buffer full of small
/// legs would be sent as such, at a multiple of the work.
const SETTLING: Duration = Duration::from_secs(2);

/// Everything that happens to a sending session.
pub enum Event {
    /// From the input.
    Input(ingest::Report),
    /// From a worker: which, and which of those that had this place (they are numbered; those that dial have 0).
    Worker(usize, u64, sending::Report),
    /// A connection that the other direction lends.
    Loan(Box<Loan>),
    /// From outside.
    Order(Order),
}

/// The hub's state.
pub struct Hub {
    core: Transmission,
    events: Receiver<Event>,
    workers: Vec<Option<Arc<Handle<Command>>>>,
    /// Which of those that had its place each worker is.
    numbers: Vec<u64>,
    targets: Vec<Arc<Target>>,
    /// Links as the user typed them, or where those of the far end come from.
    names: BTreeMap<usize, String>,
    pool: Pool,
    buffer: u64,
    appetite: Appetite,
    /// Whether the input asks how hungry the connections are.
    selective: bool,
    /// Legs that the input has given.
    inputs: u64,
    /// When the first connection was up.
    met: Option<Instant>,
    steady: Steady,
    ending: Option<Outcome>,
    /// How the stream ended, where connections are kept for another.
    settled: Option<Outcome>,
    /// Told of that.
    settle: super::Settle,
    /// Workers whose connection has not closed yet, once the session is over.
    closing: Vec<usize>,
    tally: Tally,
    /// Told of what the peer can do.
    announce: super::Announce,
    /// Where the session has two streams: what this hub and the other tell each other.
    pairing: Arc<Pairing>,
}

/// What a sending direction is made from.
pub struct Setup {
    /// For the core.
    pub settings: Settings,
    /// Its links; none for a borrower of connections.
    pub links: Vec<LinkPlan>,
    /// How far and how fast the input is read, and sent how.
    pub stream: StreamPlan,
    /// Whether what was read goes at once.
    pub charmode: bool,
    /// Where the stream comes from.
    pub source: Box<dyn Source>,
}

/// A sending direction that is ready to start, and where its orders go.
pub struct Start {
    hub: Hub,
    workers: Vec<Thread>,
    ingest: Thread,
}

impl Start {
    /// Builds everything, starts nothing. Where this direction owns the connections of two, `borrower` is the other.
    ///
    /// # Errors
    /// The kernel has no descriptors left.
    pub fn new(
        setup: Setup,
        hazard: &Hazard,
        mut borrower: Option<&mut rx::Start>,
    ) -> io::Result<(Self, Sender<Event>)> {
        let (sender, events) = crossbeam_channel::unbounded();
        let pairing = borrower.as_ref().map(|rx| rx.pairing()).unwrap_or_default();
        let settings = setup.settings.clone();
        let (hub, ingest) = Hub::new(setup, events, sender.clone(), pairing)?;
        let mut start = Start { hub, workers: Vec::new(), ingest };
        if settings.sharing == Sharing::Borrower {
            return Ok((start, sender));
        }
        for index in 0..settings.workers {
            let ear = sender.clone();
            let report = move |report| ear.send(Event::Worker(index, 0, report)).is_ok();
            let sending = Sending::new(index, settings.checked, report);
            let receiving = borrower.as_ref().map(|rx| rx.role(index));
            let (worker, handle) = Worker::dialling(sending, receiving, hazard.clone())?;
            let handle = Arc::new(handle);
            if let Some(rx) = &mut borrower {
                rx.borrow_from(handle.clone());
            }
            start.workers.push(Box::new(move || worker.run()));
            start.hub.workers[index] = Some(handle);
        }
        Ok((start, sender))
    }

    /// Where the other direction, which owns the connections, lends them to this one.
    pub fn lender(&self, ear: Sender<Event>) -> Lender {
        Lender::new(ear, self.hub.pairing.clone())
    }

    /// Tells `settle` how the stream ended, where that is not the direction's end.
    pub fn on_settling(&mut self, settle: super::Settle) {
        self.hub.settle = settle;
    }

    /// Tells `met` what the receiver makes use of, whenever it welcomes a connection.
    pub fn on_meeting(&mut self, announce: super::Announce) {
        self.hub.announce = announce;
    }

    /// Starts every thread and works until the session is over; how it ended.
    ///
    /// # Errors
    /// The kernel has no threads left.
    pub fn run(self) -> io::Result<Outcome> {
        for (index, worker) in self.workers.into_iter().enumerate() {
            spawn(&format!("worker {index}"), worker)?;
        }
        spawn("ingest", self.ingest)?;
        Ok(self.hub.run())
    }
}

impl Hub {
    /// The hub and its input.
    fn new(
        setup: Setup,
        events: Receiver<Event>,
        ear: Sender<Event>,
        pairing: Arc<Pairing>,
    ) -> io::Result<(Self, Thread)> {
        let Setup { settings, links, stream, charmode, source } = setup;
        let buffer = settings.hello.buffer;
        let core = Transmission::new(Instant::now(), settings.clone());
        let pool = Pool::new(buffer.min(BEFORE_MEETING));
        let appetite = Appetite::new(core.leg_size())?;
        let report = move |report| drop(ear.send(Event::Input(report)));
        let target = |link: &LinkPlan| Arc::new(Target::new(link.clone(), stream.congestion.clone()));
        let delay = Duration::from_micros(stream.delayus.unwrap_or(0));
        let pacing = Pacing::new(stream.leglimit, delay, stream.rate);
        let selective = charmode || pacing.has_rate();
        let ingest = Ingest::new(source, pool.clone(), appetite.clone(), pacing, charmode, report);
        let hub = Hub {
            core,
            events,
            workers: vec![None; settings.workers],
            numbers: vec![0; settings.workers],
            targets: links.iter().map(target).collect(),
            names: settings.links.into_iter().enumerate().collect(),
            pool,
            buffer,
            appetite,
            selective,
            inputs: 0,
            met: None,
            steady: Steady::new(),
            ending: None,
            settled: None,
            settle: Box::new(|_| {}),
            closing: Vec::new(),
            tally: Tally::new(Instant::now()),
            announce: Box::new(|_| {}),
            pairing,
        };
        Ok((hub, Box::new(move || ingest.run())))
    }

    fn run(mut self) -> Outcome {
        let mut burst = Vec::new();
        let mut now = Instant::now();
        self.core.tick(now);
        self.act();
        while self.ending.is_none() {
            // as of the last step: what has fallen due since then is due at once, not forgotten
            let until = self.core.deadline(now);
            let Some(later) = next_events(&self.events, &mut self.steady, until, &mut burst) else { break };
            now = later;
            if until.is_some_and(|at| at <= now) {
                self.core.tick(now);
            }
            self.consult();
            for event in burst.drain(..) {
                self.hear(now, event);
            }
            self.act();
            self.publish();
            self.appetite.set_size(self.core.leg_size());
            self.read_ahead();
            if self.selective {
                self.appetite.set_hunger(self.inputs, self.hunger());
            }
            self.account(now);
        }
        if self.settled.is_none() {
            message::note(1, || self.summary().to_string());
        }
        self.farewell();
        let last = self.snapshot();
        self.tally.last(|_| last);
        self.ending
            .unwrap_or_else(|| Outcome::here(Status::Incomplete, "all threads of the sender have ended"))
    }

    /// Lets the input read ahead as far as it should by now.
    fn read_ahead(&self) {
        let Some(met) = self.met else { return };
        if self.pool.capacity() >= self.buffer {
            return;
        }
        let (_, sent, delivered) = self.core.sender().bytes();
        let suits = (64 * self.core.leg_size() as u64).max(4 * (sent - delivered)).max(BEFORE_MEETING);
        let settled = met.elapsed() >= SETTLING;
        self.pool.widen(if settled { self.buffer } else { suits.min(self.buffer) });
    }

    fn hunger(&self) -> Hunger {
        match (self.core.is_hungry(), self.core.sender().busy()) {
            (false, _) => Hunger::None,
            (true, 0) => Hunger::Idle,
            (true, _) => Hunger::Free,
        }
    }

    fn hear(&mut self, now: Instant, event: Event) {
        match event {
            Event::Input(ingest::Report::Leg(payload)) => {
                self.inputs += 1;
                self.core.input(now, payload);
            }
            Event::Input(ingest::Report::End) => self.core.input_ended(now),
            // what nobody wants any more may fail
            Event::Input(ingest::Report::Failed(_)) if self.core.is_settled() => {}
            Event::Input(ingest::Report::Failed(why)) => {
                self.core.fail(now, Outcome::here(Status::Input, why))
            }
            Event::Order(Order::Stop(ending)) => self.core.fail(now, ending),
            // it needs no more than the connections, and keeps them in any case
            Event::Order(Order::OtherSettled) => {}
            Event::Order(Order::Release) => self.core.release(now),
            Event::Order(Order::Report(asker)) => self.report(asker),
            Event::Worker(worker, number, report) => self.hear_worker(now, worker, number, report),
            Event::Loan(loan) => self.borrow(now, *loan),
        }
    }

    fn hear_worker(&mut self, now: Instant, worker: usize, number: u64, report: sending::Report) {
        use sending::Report;
        let replaced = self.numbers[worker] != number;
        match report {
            // a leg is the same leg whoever carries it
            Report::Checked(sequence, crc) => self.core.checked(sequence, crc),
            _ if replaced => {}
            Report::Welcomed(welcome, round_trip) => {
                self.core.welcomed(now, worker, &welcome, round_trip);
                if self.core.links().link_of(worker).is_some() {
                    self.command(worker, Command::Accept);
                }
                (self.announce)(welcome.features);
                self.appetite.meet();
                self.met.get_or_insert(Instant::now());
                self.tally.meet(now);
            }
            Report::Refused(refusal) => self.core.refused(now, worker, &refusal),
            Report::DialFailed(error) => self.core.dial_failed(now, worker, &error),
            Report::Ready => self.core.ready(now, worker),
            Report::Frame(frame) => {
                message::note(FRAMES, || format!("connection {worker}: {frame:?} came"));
                self.core.frame(now, worker, frame);
            }
            Report::Quiet(silence) => self.core.quiet(now, worker, silence),
            Report::Lost(why) => self.core.lost(now, worker, &why),
            Report::Closed(_) => self.closing.retain(|w| *w != worker),
        }
    }

    fn act(&mut self) {
        while let Some(action) = self.core.poll() {
            match action {
                Action::Dial { worker, link, hello, timeout } => {
                    let target = self.targets[link].clone();
                    self.command(worker, Command::Dial { target, hello, timeout });
                }
                Action::Send(worker, leg) => {
                    message::note(LEGS, || format!("connection {worker}: {leg:?} goes out"));
                    self.tally.leg(Instant::now(), worker, self.core.links().link_of(worker), leg.len());
                    self.command(worker, Command::Send(leg));
                }
                Action::Tell(worker, frame) => {
                    message::note(FRAMES, || format!("connection {worker}: {frame:?} goes out"));
                    self.command(worker, Command::Tell(frame));
                }
                Action::Drop(worker, why) => self.command(worker, Command::Drop(Role::Sending, why)),
                Action::Leave(worker) => self.command(worker, Command::Leave),
                Action::Say(event) => {
                    let name = |link| self.names.get(&link).cloned().unwrap_or_default();
                    message::note(event.level(), || word(&event, &name));
                }
                Action::Settle(ending) => self.settled(ending),
                Action::End(ending) => self.ending = Some(ending),
            }
        }
    }

    fn command(&self, worker: usize, command: Command) {
        if let Some(worker) = &self.workers[worker] {
            worker.command(command);
        }
    }

    /// The stream was judged: nothing more is read, and the connections may still be wanted.
    fn settled(&mut self, ending: Outcome) {
        self.settled = Some(ending.clone());
        self.pool.close();
        message::note(1, || self.summary().to_string());
        (self.settle)(ending);
    }

    /// How the stream ended, if it has.
    fn outcome(&self) -> Option<&Outcome> {
        self.settled.as_ref().or(self.ending.as_ref())
    }

    // ---- two streams ----------------------------------------------------------------------------------

    /// Hears of the other direction, if that borrows from this one.
    fn consult(&mut self) {
        if self.pairing.has_borrower_begun() {
            self.core.other_begun();
        }
    }

    /// Tells the other direction, if this one borrows from that.
    fn publish(&self) {
        if self.core.borrows() {
            self.pairing.publish(self.core.begun(), self.core.sender().head());
        }
    }

    /// A connection is lent: its far end has been answered.
    fn borrow(&mut self, now: Instant, loan: Loan) {
        // what was decided before is for the connection that this one replaces
        self.act();
        let Loan { given, number, handle, source } = loan;
        self.names.insert(given.link, source);
        self.workers[given.worker] = Some(handle);
        self.numbers[given.worker] = number;
        self.core.given(now, given);
    }

    // ---- the end --------------------------------------------------------------------------------------

    /// Lets every connection write its last words and close in order, for a short while.
    fn farewell(&mut self) {
        use sending::Report;
        self.pool.close();
        self.closing =
            (0..self.workers.len()).filter(|worker| self.core.links().link_of(*worker).is_some()).collect();
        for worker in &self.closing {
            self.command(*worker, Command::Finish(Role::Sending));
        }
        let deadline = Instant::now() + FAREWELL + Duration::from_millis(100);
        while !self.closing.is_empty() {
            match self.events.recv_deadline(deadline) {
                Ok(Event::Worker(worker, _, report @ (Report::Closed(_) | Report::Lost(_)))) => {
                    self.closing.retain(|w| *w != worker);
                    let heard = matches!(report, Report::Closed(true));
                    let enough = |ending: &Outcome| match self.settled {
                        None => ending.by_peer,
                        Some(_) => heard && (ending.by_peer || ending.status == Status::Complete),
                    };
                    if self.ending.as_ref().is_some_and(enough) {
                        // it has said its last word and closed: it waits for nothing from here, and a dead
                        // link's connections never close
                        return;
                    }
                }
                Ok(Event::Order(Order::Report(asker))) => self.report(asker),
                Ok(Event::Loan(loan)) => loan.return_at_once(),
                Ok(_) => {}
                Err(_) => break,
            }
        }
    }
}
