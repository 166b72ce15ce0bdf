//! The sending hub: owns the [`Transmission`], commands the workers, feeds on the input.

use super::tally::{Cause, Tally};
use super::{Asker, FRAMES, LEGS, Order, next_events, phase};
use crate::chaos::Hazard;
use crate::message;
use crate::plan::{LinkPlan, TransmitPlan};
use crate::proto::ending::Ending;
use crate::proto::life::Steady;
use crate::proto::links::WorkerState;
use crate::proto::pacing::Pacing;
use crate::proto::transmission::{Action, Settings, Transmission};
use crate::proto::wire::Code;
use crate::report::{Connection, Detail, Link, Side, Snapshot, State};
use crate::run::conn::{FAREWELL, Handle};
use crate::run::dial::Target;
use crate::run::endpoint::Source;
use crate::run::ingest::{self, Appetite, Hunger, Ingest};
use crate::run::pool::Pool;
use crate::run::spawn;
use crate::run::summary::Summary;
use crate::run::worker::sending::{self, Sending};
use crate::run::worker::{Command, Role, Worker};
use crossbeam_channel::{Receiver, Sender};
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
    /// From a worker.
    Worker(usize, sending::Report),
    /// From outside.
    Order(Order),
}

/// The hub's state.
pub struct Hub {
    core: Transmission,
    events: Receiver<Event>,
    workers: Vec<Handle<Command>>,
    targets: Vec<Arc<Target>>,
    /// As the user typed the links.
    names: Vec<String>,
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
    ending: Option<Ending>,
    /// Workers whose connection has not closed yet, once the session is over.
    closing: Vec<usize>,
    tally: Tally,
    /// Told of what the peer can do.
    announce: super::Announce,
}

/// A sending direction that is ready to start, and where its orders go.
pub struct Start {
    hub: Hub,
    workers: Vec<Box<dyn FnOnce() + Send>>,
    ingest: Box<dyn FnOnce() + Send>,
}

impl Start {
    /// Builds everything, starts nothing.
    ///
    /// # Errors
    /// The kernel has no descriptors left.
    pub fn new(
        plan: &TransmitPlan,
        settings: Settings,
        charmode: bool,
        buffer: u64,
        source: Box<dyn Source>,
        hazard: &Hazard,
    ) -> io::Result<(Self, Sender<Event>)> {
        let (sender, events) = crossbeam_channel::unbounded();
        let core = Transmission::new(Instant::now(), settings.clone());
        let pool = Pool::new(buffer.min(BEFORE_MEETING));
        let appetite = Appetite::new(core.leg_size())?;
        let mut handles = Vec::new();
        let mut workers: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
        for index in 0..settings.workers {
            let ear = sender.clone();
            let report = move |report| ear.send(Event::Worker(index, report)).is_ok();
            let sending = Sending::new(index, settings.checked, report);
            let (worker, handle) = Worker::dialling(sending, hazard.clone())?;
            workers.push(Box::new(move || worker.run()));
            handles.push(handle);
        }
        let ear = sender.clone();
        let report = move |report| drop(ear.send(Event::Input(report)));
        let target = |link: &LinkPlan| Arc::new(Target::new(link.clone(), plan.congestion.clone()));
        let delay = Duration::from_micros(plan.delayus.unwrap_or(0));
        let pacing = Pacing::new(plan.leglimit, delay, plan.rate);
        let selective = charmode || pacing.has_rate();
        let ingest = Ingest::new(source, pool.clone(), appetite.clone(), pacing, charmode, report);
        let hub = Hub {
            core,
            events,
            workers: handles,
            targets: plan.links.iter().map(target).collect(),
            names: settings.links,
            pool,
            buffer,
            appetite,
            selective,
            inputs: 0,
            met: None,
            steady: Steady::new(),
            ending: None,
            closing: Vec::new(),
            tally: Tally::new(Instant::now()),
            announce: Box::new(|_| {}),
        };
        Ok((Start { hub, workers, ingest: Box::new(move || ingest.run()) }, sender))
    }

    /// Tells `met` what the receiver makes use of, whenever it welcomes a connection.
    pub fn on_meeting(&mut self, announce: super::Announce) {
        self.hub.announce = announce;
    }

    /// Starts every thread and works until the session is over; how it ended.
    ///
    /// # Errors
    /// The kernel has no threads left.
    pub fn run(self) -> io::Result<Ending> {
        for (index, worker) in self.workers.into_iter().enumerate() {
            spawn(&format!("worker {index}"), worker)?;
        }
        spawn("ingest", self.ingest)?;
        Ok(self.hub.run())
    }
}

impl Hub {
    fn run(mut self) -> Ending {
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
            for event in burst.drain(..) {
                self.hear(now, event);
            }
            self.act();
            self.appetite.set_size(self.core.leg_size());
            self.read_ahead();
            if self.selective {
                self.appetite.set_hunger(self.inputs, self.hunger());
            }
            self.account(now);
        }
        message::note(1, || self.summary().to_string());
        self.farewell();
        let last = self.snapshot();
        self.tally.last(|_| last);
        self.ending.unwrap_or_else(|| Ending::here(Code::Incomplete, "all threads of the sender have ended"))
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

    fn summary(&self) -> Summary {
        let (pushed, _, delivered) = self.core.sender().bytes();
        let complete = self.ending.as_ref().is_some_and(|ending| ending.code == Code::Complete);
        let stats = self.core.stats();
        Summary {
            sent: true,
            bytes: if complete { pushed } else { delivered },
            time: self.met.map(|met| met.elapsed()).unwrap_or_default(),
            legs_again: stats.sender.legs_again,
            connections_lost: stats.connections_lost,
        }
    }

    fn hear(&mut self, now: Instant, event: Event) {
        match event {
            Event::Input(ingest::Report::Leg(payload)) => {
                self.inputs += 1;
                self.core.input(now, payload);
            }
            Event::Input(ingest::Report::End) => self.core.input_ended(now),
            Event::Input(ingest::Report::Failed(why)) => self.core.fail(now, Ending::here(Code::Input, why)),
            Event::Order(Order::Stop(ending)) => self.core.fail(now, ending),
            Event::Order(Order::Report(asker)) => self.report(asker),
            Event::Worker(worker, report) => self.hear_worker(now, worker, report),
        }
    }

    fn hear_worker(&mut self, now: Instant, worker: usize, report: sending::Report) {
        use sending::Report;
        match report {
            Report::Welcomed(welcome, round_trip) => {
                self.core.welcomed(now, worker, &welcome, round_trip);
                (self.announce)(welcome.features);
                self.appetite.meet();
                self.met.get_or_insert(Instant::now());
                self.tally.meet(now);
            }
            Report::Refused(refusal) => self.core.refused(now, worker, &refusal),
            Report::DialFailed(error) => self.core.dial_failed(now, worker, &error),
            Report::Ready => self.core.ready(now, worker),
            Report::Checked(sequence, crc) => self.core.checked(sequence, crc),
            Report::Frame(frame) => {
                message::note(FRAMES, || format!("connection {worker}: {frame:?} came"));
                self.core.frame(now, worker, frame);
            }
            Report::Quiet(silence) => self.core.quiet(now, worker, silence),
            Report::Lost(why) => self.core.lost(now, worker, &why),
            Report::Closed => self.closing.retain(|w| *w != worker),
        }
    }

    fn act(&mut self) {
        while let Some(action) = self.core.poll() {
            match action {
                Action::Dial { worker, link, hello, timeout } => {
                    let target = self.targets[link].clone();
                    self.workers[worker].command(Command::Dial { target, hello, timeout });
                }
                Action::Send(worker, leg) => {
                    message::note(LEGS, || format!("connection {worker}: {leg:?} goes out"));
                    self.tally.leg(Instant::now(), worker, self.core.links().link_of(worker), leg.len());
                    self.workers[worker].command(Command::Send(leg));
                }
                Action::Tell(worker, frame) => {
                    message::note(FRAMES, || format!("connection {worker}: {frame:?} goes out"));
                    self.workers[worker].command(Command::Tell(frame));
                }
                Action::Drop(worker, why) => self.workers[worker].command(Command::Drop(Role::Sending, why)),
                Action::Leave(worker) => self.workers[worker].command(Command::Leave),
                Action::Say(level, line) => message::note(level, || line),
                Action::Settle(_) => {}
                Action::End(ending) => self.ending = Some(ending),
            }
        }
    }

    /// Lets every connection write its last words and close in order, for a short while.
    fn farewell(&mut self) {
        self.pool.close();
        self.closing =
            (0..self.workers.len()).filter(|worker| self.core.links().link_of(*worker).is_some()).collect();
        for worker in &self.closing {
            self.workers[*worker].command(Command::Finish(Role::Sending));
        }
        let deadline = Instant::now() + FAREWELL + Duration::from_millis(100);
        while !self.closing.is_empty() {
            match self.events.recv_deadline(deadline) {
                Ok(Event::Worker(worker, sending::Report::Closed | sending::Report::Lost(_))) => {
                    self.closing.retain(|w| *w != worker);
                    if self.ending.as_ref().is_some_and(|ending| ending.by_peer) {
                        // it has said its last word and closed: it waits for nothing from here, and a dead
                        // link's connections never close
                        return;
                    }
                }
                Ok(Event::Order(Order::Report(asker))) => self.report(asker),
                Ok(_) => {}
                Err(_) => break,
            }
        }
    }

    // ---- reports --------------------------------------------------------------------------------------

    fn account(&mut self, now: Instant) {
        self.tally.delivered(now, self.core.sender().bytes().2);
        self.tally.wait_for(now, self.cause());
    }

    /// What keeps the stream from going faster. A full buffer means that the network takes long to confirm
    /// what is on its way, not that the input is slow.
    fn cause(&self) -> Cause {
        let sender = self.core.sender();
        let hungry = self.core.is_hungry() && !sender.has_ended();
        let room = || self.pool.in_use() + self.core.leg_size() as u64 <= self.pool.capacity();
        if !self.tally.has_met() {
            Cause::Nobody
        } else if hungry && room() {
            Cause::Input
        } else if self.core.awaits_verdict()
            || (!self.core.blocked_at_peer().is_zero() && (hungry || sender.is_shut()))
        {
            Cause::Output
        } else {
            Cause::Network
        }
    }

    fn report(&mut self, asker: Asker) {
        for (index, worker) in self.workers.iter().enumerate() {
            if self.core.links().link_of(index).is_some()
                && let Some(informer) = asker.informer(index)
            {
                worker.command(Command::Inform(informer));
            }
        }
        let snapshot = self.snapshot();
        self.tally.answer(asker, snapshot);
    }

    fn snapshot(&mut self) -> Snapshot {
        let now = Instant::now();
        let (stats, links) = (self.core.stats(), self.core.links());
        let (read, sent, delivered) = self.core.sender().bytes();
        // the verdict may overtake the last acknowledgement
        let complete = self.ending.as_ref().is_some_and(|ending| ending.code == Code::Complete);
        let delivered = if complete { read } else { delivered };
        let name = |link: usize| self.names[link].clone();
        let link = |index| Link {
            name: name(index),
            index,
            up: links.connections_on(index),
            rate: self.tally.link_rate(now, index),
            trouble: if links.connections_on(index) > 0 {
                String::new()
            } else {
                links.trouble(index).into()
            },
        };
        let all_links = (0..self.targets.len()).map(link).collect();
        let connection = |number| {
            let (state, link) = match links.state(number) {
                WorkerState::Resting(_) => (State::Down, None),
                WorkerState::Dialling(link) => (State::Dialling, Some(link)),
                WorkerState::Up(link) => (State::Up, Some(link)),
                WorkerState::Leaving(link) => (State::Leaving, Some(link)),
            };
            let line = self.core.line_stats(number);
            let rate = self.tally.connection_rate(now, number);
            Connection { number, link, state, leg: line.leg, bytes: line.bytes, rate, kernel: None }
        };
        let connections = (0..self.workers.len()).map(connection).collect();
        Snapshot {
            side: Side::Tx,
            phase: phase(self.ending.as_ref(), self.tally.has_met(), self.core.awaits_verdict()),
            elapsed: self.tally.elapsed(now),
            expected: None,
            delivered,
            connections,
            links: all_links,
            rate: self.tally.rate(now),
            held: self.pool.in_use(),
            buffer: self.buffer,
            detail: Detail::Tx {
                read,
                sent,
                again: (stats.sender.legs_again, stats.sender.bytes_again),
                rescues: stats.sender.rescues,
                damaged: stats.sender.damaged,
            },
            waited: self.tally.waited(now),
            lost: stats.connections_lost,
            last_loss: stats.last_loss.map(|(link, why)| format!("{}: {why}", name(link))),
        }
    }
}
