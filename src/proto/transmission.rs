//! One sending session: the legs, the links and the end, put together.
//!
//! Call order: one of the event methods, each with the time; then drain [`Transmission::poll`]; then wait
//! for the next event, [`Transmission::deadline`] at the latest, when `tick` is the event. The owner (a
//! thread, or the simulator) carries out the actions and never decides anything itself.
//!
//! ```text
//!  Beginning ──first leg received──▶ Begun ──verdict, abort, nothing left to try──▶ Over
//! ```

use super::hello::{Hello, Id, Refusal, RefusalCode, Welcome};
use super::leg::{Leg, Payload};
use super::life::Silence;
use super::links::{DialError, Links, LossReason, REFUSED_MAX, WorkerState};
use super::sched::{LegSize, Meter};
use super::sender::{Breach, Sender, SenderStats};
use super::wire::{Abort, Ack, Code, Fin, Frame, Verdict};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long tx waits for a first connection, unless told otherwise.
pub const PATIENCE_BEFORE: Duration = Duration::from_secs(60);
/// How long a begun session waits with no working connection, unless told otherwise.
pub const PATIENCE_BEGUN: Duration = Duration::from_secs(3600);
/// Trouble shorter than this is healed, not told.
pub const QUIET: Duration = Duration::from_secs(5);
/// Waiting is told again this often.
const REMIND: Duration = Duration::from_secs(60);
/// A ping to every connection this often: life for the receiver, a round trip for the sender.
const PING: Duration = Duration::from_secs(1);

/// What the user asked for, as far as this core is concerned.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What every hello says; its instance, link, connection, attempt and begun fields are filled in here.
    pub hello: Hello,
    /// Names of the links, as the user typed them.
    pub links: Vec<String>,
    /// Connections.
    pub workers: usize,
    /// How long to wait with no working connection: None is the default, zero is for ever.
    pub patience: Option<Duration>,
    /// Whether legs and stream are checked by CRC-32.
    pub checked: bool,
    /// Decides jitter alone.
    pub seed: u64,
}

/// What the owner shall do.
#[derive(Debug)]
pub enum Action {
    /// Get a connection, say hello, and report `welcomed`, `refused` or `dial_failed`.
    Dial {
        /// Which worker.
        worker: usize,
        /// On which link.
        link: usize,
        /// What to say.
        hello: Box<Hello>,
        /// How long it may take in all.
        timeout: Duration,
    },
    /// Write a leg; report `ready` when its last byte has left and the path drains again.
    Send(usize, Leg),
    /// Write a frame as soon as the leg under way is written.
    Tell(usize, Frame),
    /// Give the connection up at once, without waiting for anything.
    Drop(usize, LossReason),
    /// Close the connection in order: it has nothing on the way.
    Leave(usize),
    /// A line for the user, at this verbosity.
    Say(u8, String),
    /// The session is over; the last frames have been told. Nothing follows.
    End(Ending),
}

/// How a direction ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The exit status.
    pub code: Code,
    /// Why, for the user; empty if all is well.
    pub sentence: String,
    /// Whether the sentence is the peer's own: it told of itself. A refusal is told in this side's words.
    pub by_peer: bool,
}

impl Ending {
    /// Decided on this side.
    pub fn here(code: Code, sentence: impl Into<String>) -> Self {
        Ending { code, sentence: sentence.into(), by_peer: false }
    }

    /// As the peer said.
    pub fn there(code: Code, sentence: impl Into<String>) -> Self {
        Ending { code, sentence: sentence.into(), by_peer: true }
    }
}

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
    stats: LineStats,
}

/// Counters of one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineStats {
    /// Stream bytes given to it.
    pub bytes: u64,
    /// Legs given to it.
    pub legs: u64,
    /// The leg it was given last.
    pub leg: Option<u64>,
}

/// Counters of a sending session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransmissionStats {
    /// Of its legs.
    pub sender: SenderStats,
    /// Connections that were up and ended before the session did.
    pub connections_lost: u64,
    /// The link and reason of the last one.
    pub last_loss: Option<(usize, LossReason)>,
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
    instance: Option<Id>,
    ending: Option<Ending>,
    actions: VecDeque<Action>,
    /// Until when all that was due has been done.
    stepped: Instant,
    /// Since when no connection achieves anything: set when the last one goes, cleared by progress.
    alone: Option<Instant>,
    /// When the user is told so (again), and whether that has begun.
    remind_at: Option<Instant>,
    reminded: bool,
    pings: u64,
    blocked_at_peer: Duration,
    connections_lost: u64,
    last_loss: Option<(usize, LossReason)>,
}

impl Transmission {
    /// A session that begins to dial as soon as it is first polled after `tick`.
    pub fn new(now: Instant, settings: Settings) -> Self {
        let workers = settings.workers;
        Transmission {
            sender: Sender::new(workers, settings.hello.buffer),
            links: Links::new(now, settings.links.len(), workers, settings.seed),
            lines: vec![Line::default(); workers],
            ready: Vec::new(),
            leg_size: LegSize::new(),
            meter: Meter::default(),
            instance: None,
            ending: None,
            actions: VecDeque::new(),
            stepped: now,
            alone: Some(now),
            remind_at: Some(now + QUIET),
            reminded: false,
            pings: 0,
            blocked_at_peer: Duration::ZERO,
            connections_lost: 0,
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
        if self.ending.is_none() {
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
    pub fn fail(&mut self, _now: Instant, ending: Ending) {
        let abort = Frame::Abort(Abort { code: ending.code, sentence: ending.sentence.clone() });
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
                self.say_link(0, link, sentence);
            }
            self.actions.push_back(Action::Drop(worker, LossReason::Left));
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
                self.fail(now, Ending::here(Code::Incomplete, why));
            }
            Err(breach) => {
                self.actions.push_back(Action::Drop(worker, LossReason::Breach(breach.to_string())));
                self.dial_failed(now, worker, &DialError::Unreachable(format!("the peer {breach}")));
            }
        }
    }

    /// The receiver, or a stranger, refused this worker's connection in words.
    pub fn refused(&mut self, now: Instant, worker: usize, refusal: &Refusal) {
        match refusal.code {
            // a session that just ended, or an attempt that a newer one replaced: try again
            RefusalCode::Finished if !self.begun() => self.dial_failed(now, worker, &DialError::Refused),
            RefusalCode::Stale | RefusalCode::TooMany => {
                let why = DialError::Unreachable(refusal.sentence.clone());
                self.dial_failed(now, worker, &why);
            }
            code => {
                if let WorkerState::Dialling(link) = self.links.state(worker)
                    && !self.links.is_bad(link)
                {
                    self.say_link(
                        if self.begun() { 0 } else { 2 },
                        link,
                        &format!("refused: {}", refusal.sentence),
                    );
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
            self.say_link(2, link, &format!("{why}; passed over until it answers"));
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
            Frame::Verdict(verdict) => return self.judged(verdict),
            Frame::Abort(abort) => return self.end(Ending::there(abort.code, abort.sentence), None),
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
        let Some(link) = self.links.link_of(worker) else { return };
        let again = self.sender.detach(worker);
        self.ready.retain(|w| *w != worker);
        self.lines[worker].ready = false;
        let progressed = self.lines[worker].progressed;
        let died = self.links.lost(now, worker, why, progressed);
        if *why != LossReason::Left {
            self.connections_lost += 1;
            self.last_loss = Some((link, why.clone()));
            self.say_link(2, link, &format!("connection {worker} lost ({why}), {again} legs to send again"));
        }
        if died {
            self.say_link(2, link, "silent; passed over until it answers");
        }
        if self.links.connections() == 0 && self.alone.is_none() {
            self.alone = Some(now);
            self.remind_at.get_or_insert(now + QUIET);
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
        let sender = self.sender.deadline(now);
        let gone = self.links.refused_since().filter(|_| self.gives_up_early()).map(|at| at + REFUSED_MAX);
        let patience = self.patience_ends();
        [self.links.deadline(now), sender, self.remind_at, gone, patience]
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

    /// Whether the receiver has confirmed anything, so that only it can finish this session.
    pub fn begun(&self) -> bool {
        self.sender.has_received()
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
            self.say_link(3, link, &format!("answers again; connection {worker} and others come back to it"));
        }
        self.say_link(
            2,
            link,
            &format!("connection {worker} is up, round trip {:.1} ms", rtt.as_secs_f64() * 1e3),
        );
        self.step(now);
    }

    fn acked(&mut self, now: Instant, worker: usize, ack: &Ack) -> Result<(), Breach> {
        let progress = self.sender.ack(now, worker, ack)?;
        self.blocked_at_peer = Duration::from_millis(ack.blocked_ms.into());
        if progress.moved {
            self.progress(now, worker);
        }
        if progress.bytes > 0 {
            self.meter.add(now, progress.bytes);
            if let Some(rate) = self.meter.rate(now) {
                self.leg_size.follow(now, rate, self.sender.busy());
            }
        }
        Ok(())
    }

    fn nacked(&mut self, now: Instant, worker: usize, sequence: u64) -> Result<(), Breach> {
        if !self.sender.nack(worker, sequence)? {
            let why = format!("leg {sequence} arrived damaged again and again; the path corrupts data");
            self.fail(now, Ending::here(Code::Corrupt, why));
        }
        Ok(())
    }

    fn ponged(&mut self, now: Instant, worker: usize, token: u64) -> Result<(), Breach> {
        if let Some((_, sent)) = self.lines[worker].ping.take_if(|(expected, _)| *expected == token) {
            self.sender.round_trip(worker, now.saturating_duration_since(sent));
            self.progress(now, worker);
        }
        Ok(())
    }

    /// The connection works: in both directions, up to the receiver's core.
    fn progress(&mut self, _now: Instant, worker: usize) {
        self.lines[worker].progressed = true;
        self.alone = None;
        self.remind_at = None;
        if std::mem::take(&mut self.reminded) {
            self.actions.push_back(Action::Say(0, "the transfer goes on".into()));
        }
    }

    fn ping(&mut self, now: Instant, worker: usize) {
        let line = &mut self.lines[worker];
        line.ping_at = Some(now + PING);
        if line.ping.is_none() {
            self.pings += 1;
            line.ping = Some((self.pings, now));
            self.actions.push_back(Action::Tell(worker, Frame::Ping { token: self.pings }));
        }
    }

    // ---- the whole ------------------------------------------------------------------------------------

    /// Everything that follows from the state, in an order that never gives a leg to a doomed connection.
    fn step(&mut self, now: Instant) {
        self.stepped = now;
        if self.ending.is_some() {
            return;
        }
        if let Some(ending) = self.given_up(now) {
            let abort = Frame::Abort(Abort { code: ending.code, sentence: ending.sentence.clone() });
            return self.end(ending, Some(abort));
        }
        self.leave();
        self.dial(now);
        if let Some((leg, worker)) = self.sender.rescue(now) {
            self.actions
                .push_back(Action::Say(3, format!("leg {leg} overtaken on connection {worker}, rescued")));
        }
        self.assign(now);
        self.tell_fin();
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

    /// Connections that were called back and have nothing on the way any more.
    fn leave(&mut self) {
        for worker in 0..self.lines.len() {
            let leaving = matches!(self.links.state(worker), WorkerState::Leaving(_));
            if leaving && self.lines[worker].ready && self.sender.is_idle(worker) {
                self.lines[worker].ready = false;
                self.ready.retain(|w| *w != worker);
                self.actions.push_back(Action::Leave(worker));
            }
        }
    }

    fn dial(&mut self, now: Instant) {
        for worker in 0..self.lines.len() {
            let Some((link, timeout)) = self.links.place(now, worker, self.begun()) else { continue };
            self.lines[worker].attempt += 1;
            self.lines[worker].known = self.sender.head();
            let hello = Hello {
                instance: self.instance.filter(|_| self.begun() || self.links.connections() > 0),
                begun: self.begun(),
                link: link as u8,
                connection: worker as u8,
                attempt: self.lines[worker].attempt,
                ..self.settings.hello.clone()
            };
            self.actions.push_back(Action::Dial { worker, link, hello: Box::new(hello), timeout });
        }
    }

    /// Legs to connections, until either runs out.
    fn assign(&mut self, now: Instant) {
        let mut passed = 0u32;
        while let Some(worker) = self.choose(passed) {
            passed |= 1 << worker;
            let mates = self.mates(worker);
            let Some(leg) = self.sender.take(now, worker, mates) else { continue };
            passed = 0;
            let line = &mut self.lines[worker];
            line.ready = false;
            line.stats.bytes += leg.len();
            line.stats.legs += 1;
            line.stats.leg = Some(leg.sequence);
            self.ready.retain(|w| *w != worker);
            self.actions.push_back(Action::Send(worker, leg));
        }
    }

    /// The connections on the link of this one, a bit each.
    fn mates(&self, worker: usize) -> u32 {
        let link = self.links.link_of(worker);
        (0..self.lines.len()).filter(|w| self.links.link_of(*w) == link).fold(0, |mates, w| mates | 1 << w)
    }

    /// The ready connection that takes the next leg: the first link's first, and of a link's the one that
    /// drained last, whose path and caches are warm. For a leg sent again, another link than before first.
    fn choose(&self, passed: u32) -> Option<usize> {
        let avoid: u32 = (0..self.lines.len())
            .filter(|w| self.sender.avoid() & (1 << w) != 0)
            .filter_map(|w| self.links.link_of(w))
            .fold(0, |links, link| links | 1 << link);
        self.ready
            .iter()
            .rev()
            .filter(|w| passed & (1 << **w) == 0)
            .filter_map(|w| match self.links.state(*w) {
                WorkerState::Up(link) => Some((avoid & (1 << link) != 0, link, *w)),
                _ => None,
            })
            .min_by_key(|(avoided, link, _)| (*avoided, *link))
            .map(|(.., worker)| worker)
    }

    fn tell_fin(&mut self) {
        let Some(fin) = self.fin() else { return };
        for worker in 0..self.lines.len() {
            if self.links.link_of(worker).is_some() && !self.lines[worker].fin_told {
                self.lines[worker].fin_told = true;
                self.actions.push_back(Action::Tell(worker, Frame::Fin(fin)));
            }
        }
    }

    fn fin(&self) -> Option<Fin> {
        self.sender.fin(self.settings.checked)
    }

    /// The receiver's last word. It ends the session, and must fit what was sent.
    fn judged(&mut self, verdict: Verdict) {
        let ending = match (verdict.code, self.fin()) {
            (Code::Complete, Some(fin)) if fin.bytes == verdict.bytes && fin.crc == verdict.crc => {
                Ending::there(Code::Complete, "")
            }
            (Code::Complete, Some(fin)) => {
                let why = format!("the receiver confirms {} bytes of {}", verdict.bytes, fin.bytes);
                Ending::here(Code::Corrupt, why)
            }
            (Code::Complete, None) => {
                Ending::here(Code::Incomplete, "the receiver confirms a stream that has not ended")
            }
            (code, _) => Ending::there(code, verdict.sentence),
        };
        self.end(ending, Some(Frame::Bye));
    }

    fn end(&mut self, ending: Ending, last_word: Option<Frame>) {
        if self.ending.is_some() {
            return;
        }
        for worker in 0..self.lines.len() {
            if let (Some(frame), Some(_)) = (&last_word, self.links.link_of(worker)) {
                self.actions.push_back(Action::Tell(worker, frame.clone()));
            }
        }
        self.ending = Some(ending.clone());
        self.actions.push_back(Action::End(ending));
    }

    // ---- giving up ------------------------------------------------------------------------------------

    /// The reason to end now, if there is one.
    fn given_up(&self, now: Instant) -> Option<Ending> {
        let begun = self.begun();
        if self.links.connections() > 0 {
            return None;
        }
        if let Some((link, _, sentence)) = self.links.all_bad() {
            return Some(self.unwanted(link, sentence));
        }
        if let Some((link, _, sentence)) = self.links.first_bad()
            && !begun
            && !self.links.hopeful()
        {
            return Some(self.unwanted(link, sentence));
        }
        if !begun && self.links.all_unresolved() {
            return Some(Ending::here(Code::Incomplete, self.troubles()));
        }
        let refused = self.links.refused_since().filter(|_| self.gives_up_early());
        if refused.is_some_and(|at| at + REFUSED_MAX <= now) {
            let why = format!("the receiver is gone: {}", self.troubles());
            return Some(self.with_doubt(why));
        }
        let over = self.patience_ends().is_some_and(|at| at <= now);
        let waited = self.alone.map_or(0, |at| now.saturating_duration_since(at).as_secs());
        over.then(|| self.with_doubt(format!("no connection for {waited} s: {}", self.troubles())))
    }

    fn unwanted(&self, link: usize, sentence: &str) -> Ending {
        // once it has begun, being refused is only how the receiver's loss shows
        let status = if self.begun() { Code::Incomplete } else { Code::Refused };
        self.ended_without(Ending::here(
            status,
            format!("{}: refused: {sentence}", self.settings.links[link]),
        ))
    }

    /// If only the verdict is missing, the truth is that nobody here knows.
    fn with_doubt(&self, why: String) -> Ending {
        self.ended_without(Ending::here(Code::Incomplete, why))
    }

    fn ended_without(&self, mut ending: Ending) -> Ending {
        if self.awaits_verdict() && self.begun() {
            ending.code = Code::Incomplete;
            ending.sentence += "; every byte arrived there, but whether the output took them is not known";
        }
        ending
    }

    /// What is wrong with each link, in order.
    fn troubles(&self) -> String {
        let each = self.settings.links.iter().enumerate().map(|(index, name)| {
            let trouble = self.links.trouble(index);
            format!("{name}: {}", if trouble.is_empty() { "no answer yet" } else { trouble })
        });
        each.collect::<Vec<_>>().join("; ")
    }

    /// Refusals are believed before patience is over only if the user gave no patience.
    fn gives_up_early(&self) -> bool {
        self.begun() && self.settings.patience.is_none()
    }

    fn patience_ends(&self) -> Option<Instant> {
        let default = if self.begun() { PATIENCE_BEGUN } else { PATIENCE_BEFORE };
        let patience = self.settings.patience.unwrap_or(default);
        let alone = self.alone.filter(|_| self.links.connections() == 0 && !patience.is_zero())?;
        Some(alone + patience)
    }

    fn remind(&mut self, now: Instant) {
        if self.remind_at.is_none_or(|at| at > now) {
            return;
        }
        self.remind_at = Some(now + REMIND);
        if self.links.connections() > 0 {
            return;
        }
        self.reminded = true;
        let left = self.patience_ends().map(|at| at.saturating_duration_since(now).as_secs());
        let until = left.map_or("until one does".into(), |s| format!("for {s} s more"));
        let line = format!("no connection works ({}); trying {until}", self.troubles());
        self.actions.push_back(Action::Say(0, line));
    }

    fn say_link(&mut self, level: u8, link: usize, what: &str) {
        self.actions.push_back(Action::Say(level, format!("{}: {what}", self.settings.links[link])));
    }
}

#[cfg(test)]
mod tests;
