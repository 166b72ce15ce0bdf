//! One sending session: the legs, the links and the end, put together.
//!
//! Call order: one of the event methods, each with the time; then drain [`Transmission::poll`]; then wait
//! for the next event, [`Transmission::deadline`] at the latest, when `tick` is the event. The owner (a
//! thread, or the simulator) carries out the actions and never decides anything itself.
//!
//! Here are the events and what follows from each. In files of their own: `terms`, what the owner gives and gets;
//! `answers`, what the receiver says on a connection; `placing`, who dials and which connection takes the next leg;
//! `finish`, how and when it is over; `shared`, what follows from a second stream over the same connections.
//!
//! ```text
//!  Beginning ──first leg received──▶ Begun ──verdict, abort, nothing left to try──▶ Over
//! ```

use super::event::Event;
use super::hello::{Id, Refusal, RefusalCode, Welcome};
use super::leg::Payload;
use super::life::Silence;
use super::links::{DialError, Links, LossReason, WorkerState};
use super::outcome::{Outcome, Status};
use super::sched::{LegSize, Meter};
use super::sender::{Breach, Sender};
use super::sharing::Sharing;
use super::waiting::Reminder;
use super::wire::{Abort, Frame};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

mod answers;
mod finish;
mod placing;
mod shared;
mod terms;

pub use shared::Given;
pub use terms::{Action, LineStats, Settings, TransmissionStats};

/// A ping to every connection this often: life for the receiver, a round trip for the sender.
const PING: Duration = Duration::from_secs(1);

/// What the session knows of a worker's connection, beyond its legs.
#[derive(Clone, Debug, Default)]
struct Line {
    attempt: u32,
    /// The head when the latest hello was made; no welcome to it may want less.
    known: u64,
    /// Whether it can take a leg: its path drains.
    ready: bool,
    /// Whether it has achieved anything.
    progressed: bool,
    fin_told: bool,
    ping: Option<(u64, Instant)>,
    ping_at: Option<Instant>,
    /// The latest ping when bye was said here.
    bye: Option<u64>,
    stats: LineStats,
}

/// One sending session.
pub struct Transmission {
    settings: Settings,
    sender: Sender,
    links: Links,
    lines: Vec<Line>,
    /// Workers whose lines are ready, the most recently drained last.
    ready: Vec<usize>,
    leg_size: LegSize,
    meter: Meter,
    /// What the receiver's output has taken.
    taken: Meter,
    /// Legs that were never sent wait for the receiver's output, though there are connections for them.
    held_back: bool,
    instance: Option<Id>,
    ending: Option<Outcome>,
    actions: VecDeque<Action>,
    /// Until when all that was due has been done.
    stepped: Instant,
    /// Since when no connection achieves anything: set when the last one goes, cleared by progress.
    alone: Option<Instant>,
    /// When the user is told so (again).
    reminder: Reminder,
    pings: u64,
    blocked_at_peer: Duration,
    connections_lost: u64,
    /// Of the session's other stream, where there is one: it has begun; it has ended.
    other_begun: bool,
    released: bool,
    /// The stream was judged; what remains is kept for the other one.
    settled: bool,
    /// The peer has heard bye.
    parted: bool,
    /// Until when somebody is looked for who has not.
    part_until: Option<Instant>,
    last_loss: Option<(usize, LossReason)>,
}

impl Transmission {
    /// A session that begins to dial as soon as it is first polled after `tick`.
    pub fn new(now: Instant, settings: Settings) -> Self {
        let (workers, borrows) = (settings.workers, settings.sharing == Sharing::Borrower);
        let links = || Links::new(now, settings.links.len(), workers, settings.seed);
        Transmission {
            sender: Sender::new(workers, settings.hello.buffer),
            links: if borrows { Links::given(now) } else { links() },
            lines: vec![Line::default(); workers],
            ready: Vec::new(),
            leg_size: LegSize::new(),
            meter: Meter::default(),
            taken: Meter::default(),
            held_back: false,
            instance: None,
            ending: None,
            actions: VecDeque::new(),
            stepped: now,
            alone: Some(now),
            // that there is no connection is the owner's to say
            reminder: if borrows { Reminder::default() } else { Reminder::starting(now) },
            pings: 0,
            blocked_at_peer: Duration::ZERO,
            connections_lost: 0,
            other_begun: false,
            released: false,
            settled: false,
            parted: false,
            part_until: None,
            last_loss: None,
            settings,
        }
    }

    /// Never sends overtaken legs again: for the simulator, which shows that this would be noticed.
    #[doc(hidden)]
    pub fn forgo_rescue(&mut self) {
        self.sender.forgo_rescue();
    }

    // ---- events ---------------------------------------------------------------------------------------

    /// The next piece of the stream.
    pub fn input(&mut self, now: Instant, payload: Payload) {
        if self.ending.is_none() && !self.settled {
            self.sender.push(payload);
            self.step(now);
        }
    }

    /// The stream has ended with what was given.
    pub fn input_ended(&mut self, now: Instant) {
        self.sender.end();
        self.step(now);
    }

    /// This side cannot go on; the peer is told why.
    pub fn fail(&mut self, _now: Instant, ending: Outcome) {
        let abort = Frame::Abort(Abort { status: ending.status, sentence: ending.sentence.clone() });
        self.end(ending, Some(abort));
    }

    /// The receiver welcomed this worker's connection, `rtt` after the hello had left.
    pub fn welcomed(&mut self, now: Instant, worker: usize, welcome: &Welcome, rtt: Duration) {
        if self.ending.is_some() {
            return self.actions.push_back(Action::Drop(worker, LossReason::Left));
        }
        let begun = self.begun();
        let WorkerState::Dialling(link) = self.links.state(worker) else { return };
        if !begun && self.links.connections() == 0 && self.instance.is_some_and(|i| i != welcome.instance) {
            // nothing was received and no connection is left: any receiver will do, with a window of its own
            self.instance = None;
            self.sender.start_again();
        }
        if *self.instance.get_or_insert(welcome.instance) != welcome.instance {
            let sentence = "another receiver answers there; all links must lead to one";
            if !self.links.is_bad(link) {
                self.tell(Event::OtherReceiver { link });
            }
            self.actions.push_back(Action::Drop(worker, LossReason::Left));
            if self.borrows() {
                return self.dial_failed(now, worker, &DialError::Unreachable(sentence.into()));
            }
            self.links.condemn(now, worker, RefusalCode::NotThatReceiver, sentence);
            return self.step(now);
        }
        match self.sender.attach(worker, self.lines[worker].known, welcome.next, welcome.edge) {
            Ok(true) => self.line_up(now, worker, link, welcome, rtt),
            Ok(false) => {
                let why = format!(
                    "the receiver wants leg {} again, which is gone: it has lost what it had confirmed",
                    welcome.next
                );
                self.fail(now, Outcome::here(Status::Incomplete, why));
            }
            Err(breach) => {
                self.actions.push_back(Action::Drop(worker, LossReason::Breach(breach.to_string())));
                self.dial_failed(now, worker, &DialError::Unreachable(format!("the peer {breach}")));
            }
        }
    }

    /// The receiver, or a stranger, refused this worker's connection in words.
    pub fn refused(&mut self, now: Instant, worker: usize, refusal: &Refusal) {
        let gone = matches!(refusal.code, RefusalCode::Finished | RefusalCode::NotThatReceiver);
        self.parted |= gone && self.settled && self.released;
        match refusal.code {
            // a session that just ended, or an attempt that a newer one replaced: try again
            RefusalCode::Finished if !self.begun() => self.dial_failed(now, worker, &DialError::Refused),
            RefusalCode::Stale | RefusalCode::TooMany | RefusalCode::Malformed => {
                let why = DialError::Unreachable(refusal.sentence.clone());
                self.dial_failed(now, worker, &why);
            }
            code => {
                if let WorkerState::Dialling(link) = self.links.state(worker)
                    && !self.links.is_bad(link)
                {
                    let begun = self.begun();
                    self.tell(Event::LinkRefused { link, sentence: refusal.sentence.clone(), begun });
                }
                self.links.condemn(now, worker, code, &refusal.sentence);
                self.step(now);
            }
        }
    }

    /// This worker could not get a connection.
    pub fn dial_failed(&mut self, now: Instant, worker: usize, why: &DialError) {
        let link = match self.links.state(worker) {
            WorkerState::Dialling(link) => link,
            _ => return,
        };
        if self.links.failed(now, worker, why) {
            self.tell(Event::LinkDied { link, reason: Some(why.clone()) });
        }
        self.step(now);
    }

    /// The path of this worker's connection drains: it can take a leg.
    pub fn ready(&mut self, now: Instant, worker: usize) {
        if self.links.link_of(worker).is_some() && !self.lines[worker].ready {
            self.lines[worker].ready = true;
            self.ready.push(worker);
            self.step(now);
        }
    }

    /// The CRC-32 of a leg, before its first byte leaves.
    pub fn checked(&mut self, sequence: u64, crc: u32) {
        self.sender.checked(sequence, crc);
    }

    /// A frame came on this worker's connection.
    pub fn frame(&mut self, now: Instant, worker: usize, frame: Frame) {
        if self.links.link_of(worker).is_none() || self.ending.is_some() {
            return;
        }
        let outcome = match frame {
            Frame::Ack(ack) => self.acked(now, worker, &ack),
            Frame::Nack { sequence } => self.nacked(now, worker, sequence),
            Frame::Pong { token } => self.ponged(now, worker, token),
            // a repeated one: the answer was lost
            Frame::Verdict(_) if self.settled => {
                self.say_bye(now, worker);
                Ok(())
            }
            Frame::Verdict(verdict) => return self.judged(now, verdict),
            Frame::Abort(abort) => return self.end(Outcome::there(abort.status, abort.sentence), None),
            Frame::Leg(_) | Frame::Fin(_) | Frame::Ping { .. } | Frame::Bye => {
                Err(Breach::OutOfPlace("a sender's message"))
            }
        };
        if let Err(breach) = outcome {
            self.actions.push_back(Action::Drop(worker, LossReason::Breach(breach.to_string())));
            return self.lost(now, worker, &LossReason::Breach(breach.to_string()));
        }
        self.step(now);
    }

    /// This worker's connection has ended.
    pub fn lost(&mut self, now: Instant, worker: usize, why: &LossReason) {
        let Some(link) = self.links.link_of(worker) else { return self.not_given(now, worker, why) };
        self.part(worker, why);
        let again = self.sender.detach(worker);
        self.ready.retain(|w| *w != worker);
        self.lines[worker].ready = false;
        let progressed = self.lines[worker].progressed;
        let died = self.links.lost(now, worker, why, progressed);
        if *why != LossReason::Left {
            self.connections_lost += 1;
            self.last_loss = Some((link, why.clone()));
            let reason = why.clone();
            self.tell(Event::ConnectionLost { connection: worker, link: Some(link), reason, again });
        }
        if died {
            self.tell(Event::LinkDied { link, reason: None });
        }
        if self.links.connections() == 0 && self.alone.is_none() {
            self.alone = Some(now);
            if !self.borrows() {
                self.reminder.start(now);
            }
        }
        self.step(now);
    }

    /// This worker's connection has nothing to read now, and has shown no life for so long; to be reported
    /// every second or so for every connection, as what comes in is no proof that anything gets out.
    pub fn quiet(&mut self, now: Instant, worker: usize, silence: Silence) {
        let Some(link) = self.links.link_of(worker) else { return };
        let rtt = self.sender.pace(worker).and_then(|pace| pace.rtt()).unwrap_or_default();
        let asked = self.lines[worker].ping.map(|(_, sent)| now.saturating_duration_since(sent));
        let asked = asked.unwrap_or_default();
        if silence.is_death(asked, rtt, self.links.lenience(link)) {
            if let Some(since) = now.checked_sub(silence.lasts(asked)) {
                self.links.fell_silent(worker, since);
            }
            self.actions.push_back(Action::Drop(worker, LossReason::Silent));
            self.lost(now, worker, &LossReason::Silent);
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Instant) {
        self.step(now);
    }

    // ---- answers --------------------------------------------------------------------------------------

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When `tick` is due, if nothing happens before; in the past if time has gone on since the last event.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        if self.ending.is_some() {
            return None;
        }
        let now = self.stepped.min(now);
        let pings = self.lines.iter().filter_map(|line| line.ping_at);
        let sender = self.sender.deadline(now).filter(|_| !self.settled);
        let gone = self.refused_until();
        let patience = self.patience_ends();
        [self.links.deadline(now), sender, self.reminder.at(), gone, patience, self.part_until()]
            .into_iter()
            .flatten()
            .chain(pings)
            .filter(|at| *at > now)
            .min()
    }

    /// Bytes that the next leg should have.
    pub fn leg_size(&self) -> usize {
        self.leg_size.get()
    }

    /// Whether a connection waits for input that is not there.
    pub fn is_hungry(&self) -> bool {
        !self.ready.is_empty() && self.sender.is_drained()
    }

    /// Whether the receiver has confirmed anything, or sent anything of its own stream, so that only it can finish
    /// this session.
    pub fn begun(&self) -> bool {
        self.sender.has_received() || self.other_begun || self.settled
    }

    /// Whether all has been received, so that only the verdict is missing.
    pub fn awaits_verdict(&self) -> bool {
        self.sender.all_received()
    }

    /// The legs.
    pub fn sender(&self) -> &Sender {
        &self.sender
    }

    /// The links.
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// Whether legs and stream are checked by CRC-32.
    pub fn is_checked(&self) -> bool {
        self.settings.checked
    }

    /// Connections that it may have.
    pub fn connections(&self) -> usize {
        self.lines.len()
    }

    /// Counters of one connection.
    pub fn line_stats(&self, worker: usize) -> LineStats {
        self.lines[worker].stats
    }

    /// Counters of the session.
    pub fn stats(&self) -> TransmissionStats {
        TransmissionStats {
            sender: self.sender.stats(),
            connections_lost: self.connections_lost,
            last_loss: self.last_loss.clone(),
        }
    }

    /// Whether the receiver's output is all that the next leg waits for.
    pub fn waits_for_output(&self) -> bool {
        self.held_back || self.sender.is_shut()
    }

    /// How long the receiver's output has been blocked, as it said last.
    pub fn blocked_at_peer(&self) -> Duration {
        self.blocked_at_peer
    }

    /// Bytes received by the peer per second, over the last second.
    pub fn rate(&mut self, now: Instant) -> Option<f64> {
        self.meter.rate(now)
    }

    // ---- one connection -------------------------------------------------------------------------------

    fn line_up(&mut self, now: Instant, worker: usize, link: usize, welcome: &Welcome, rtt: Duration) {
        self.leg_size.agree(welcome.leg_max as usize);
        self.sender.round_trip(worker, rtt);
        let Line { attempt, known, .. } = self.lines[worker];
        self.lines[worker] = Line { attempt, known, ping_at: Some(now + PING), ..Line::default() };
        let leaving = self.links.up(now, worker);
        if let Some(worker) = leaving.iter().find(|w| **w != worker) {
            self.tell(Event::LinkWorksAgain { link, connection: *worker });
        }
        self.tell(Event::ConnectionUp { connection: worker, link, rtt });
        self.step(now);
    }

    // ---- the whole ------------------------------------------------------------------------------------

    /// Everything that follows from the state, in an order that never gives a leg to a doomed connection.
    fn step(&mut self, now: Instant) {
        self.stepped = now;
        if self.ending.is_some() {
            return;
        }
        if self.may_part(now) {
            return self.end(Outcome::here(Status::Complete, ""), None);
        }
        if let Some(ending) = self.given_up(now) {
            let abort = Frame::Abort(Abort { status: ending.status, sentence: ending.sentence.clone() });
            return self.end(ending, Some(abort));
        }
        self.leave();
        self.dial(now);
        if !self.settled {
            if let Some((sequence, connection)) = self.sender.rescue(now) {
                self.actions.push_back(Action::Say(Event::Rescued { sequence, connection }));
            }
            self.assign(now);
            self.tell_fin();
        }
        for worker in 0..self.lines.len() {
            let due = self.lines[worker].ping_at.is_some_and(|at| at <= now);
            if due && self.links.link_of(worker).is_some() {
                self.ping(now, worker);
            } else if due {
                self.lines[worker].ping_at = None;
            }
        }
        self.remind(now);
    }

    fn tell(&mut self, event: Event) {
        // the owner of the connections tells of them
        if !self.borrows() {
            self.actions.push_back(Action::Say(event));
        }
    }
}

#[cfg(test)]
mod tests;
