//! One end: the owner of a `Session`, on the fake network. It carries out what the session decides, and reports what
//! happens; it decides nothing.
//!
//! Here are the events and the actions. In files of their own: `reading`, from the network to the session; `writing`,
//! from the mailboxes to the network; `line`, one connection and its books.

use super::clock::Event;
use super::line::{Line, Stage};
use super::net::{DIALS, Delivery, LISTENS, Net, News};
use super::passing::Passing;
use super::sink::Sink;
use super::source::Source;
use super::world::Mutation;
use millipede::proto::handshake::{HELLO_TIME, Hearing};
use millipede::proto::hello::{Features, Hello, Refusal};
use millipede::proto::kernel::KernelView;
use millipede::proto::life::REAP;
use millipede::proto::links::{DialError, LossReason};
use millipede::proto::outcome::{CommandEnd, Outcome, Status};
use millipede::proto::session::{Action, Farewell, Session, Whereabouts};
use millipede::proto::way::Way;
use millipede::proto::wire::WindowEdge;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How often every connection is looked at.
const PATROL: Duration = Duration::from_millis(500);

/// How a command ends here.
pub const COMMAND_END: CommandEnd = CommandEnd::Exit(7);

/// How soon a signal is obeyed.
const OBEDIENCE: Duration = Duration::from_millis(1001);

pub struct End {
    pub session: Session,
    /// Whether it dials or listens.
    pub which: usize,
    /// By number.
    pub lines: [Option<Line>; 16],
    /// Connections without a hello yet.
    pub strangers: BTreeMap<usize, Hearing>,
    pub source: Option<Source>,
    /// How legs are moved to the output as they come, if they are.
    pub passing: Passing,
    pub sink: Option<Sink>,
    /// Legs are sent with a checksum.
    pub checked: bool,
    pub mutation: Mutation,
    /// The stream has to wait for its turn.
    pub waits: bool,
    wake_at: Option<Instant>,
    pub over: Option<Instant>,
    pub gone: bool,
    /// Connections lost before the end, and why.
    pub losses: Vec<LossReason>,
    pub refused: Vec<Refusal>,
    pub failure: Option<String>,
    pub said: Vec<String>,
    /// Whether anybody wants to know of every leg.
    pub talks: bool,
    /// The furthest edge that was read.
    pub edge: WindowEdge,
    /// Every leg whose turn it is leaves damaged; 0 is none.
    pub damage_every: u64,
    pub sent: u64,
    /// Verdicts are written to nobody, as if each were lost on its way.
    pub mute_verdict: bool,
    pub early: bool,
    /// The output is a command, which ends when it has taken so much, or has enough then and ends later.
    pub command: Option<u64>,
    pub lingers: bool,
    /// When it was told to end.
    pub asked: Option<Instant>,
}

impl End {
    pub fn new(net: &mut Net, which: usize, session: Session, mutation: Mutation) -> Self {
        net.clock.after(PATROL, Event::Patrol(which));
        net.clock.after(Duration::ZERO, Event::Wake(which));
        net.clock.after(Duration::ZERO, Event::Input(which));
        End {
            session,
            which,
            lines: Default::default(),
            strangers: BTreeMap::new(),
            source: None,
            passing: Passing::new(0),
            sink: None,
            checked: false,
            mutation,
            waits: false,
            wake_at: None,
            over: None,
            gone: false,
            losses: Vec::new(),
            refused: Vec::new(),
            failure: None,
            said: Vec::new(),
            talks: std::env::var_os("TRACE").is_some(),
            edge: WindowEdge { bytes: 0, legs: 0 },
            damage_every: 0,
            sent: 0,
            mute_verdict: false,
            early: false,
            command: None,
            lingers: false,
            asked: None,
        }
    }

    // ---- events ---------------------------------------------------------------------------------------

    pub fn wake(&mut self, net: &mut Net) {
        let now = net.clock.now;
        if self.wake_at.is_some_and(|at| at <= now) {
            self.wake_at = None;
        }
        if self.over.is_some() {
            return;
        }
        self.session.tick(now);
        if self.session.deadline(now).is_some_and(|at| at <= now) {
            self.fail("a tick leaves a deadline in the past");
        }
        self.settle(net);
    }

    /// The stream waits no longer for its turn.
    pub fn use_all(&mut self, net: &mut Net) {
        self.waits = false;
        if self.over.is_none() {
            self.session.use_all(net.clock.now);
            self.settle(net);
        }
    }

    /// Connections that are up, and not about to leave.
    pub fn connections_up(&self) -> usize {
        let whereabouts = (0..self.lines.len()).map(|connection| self.session.whereabouts(connection));
        whereabouts.filter(|whereabouts| matches!(whereabouts, Whereabouts::Up(_))).count()
    }

    pub fn input(&mut self, net: &mut Net) {
        self.source.iter_mut().for_each(|source| source.due = None);
        self.settle(net);
    }

    pub fn delivery(&mut self, net: &mut Net, delivery: Delivery) {
        self.tell_blocked(net);
        let Delivery { conn, news, .. } = delivery;
        match news {
            News::Connected if self.which == LISTENS => {
                self.strangers.insert(conn, Hearing::new(net.clock.now, HELLO_TIME));
                net.clock.after(HELLO_TIME, Event::Heard { end: LISTENS, conn });
            }
            News::Connected => self.say_hello(net, conn),
            News::Refused => self.dial_failed(net, conn, &DialError::Refused),
            News::Bytes(bytes) => self.read(net, conn, &bytes),
            News::Closed { reset } => self.closed(net, conn, reset),
            News::Drained => self.drained(net, conn),
        }
        self.settle(net);
    }

    /// The output has taken the leg it was at.
    pub fn taken(&mut self, net: &mut Net) {
        let Some(sink) = &mut self.sink else { return };
        let Some(leg) = sink.took(&mut net.clock) else { return };
        let resumed = self.passing.resume(leg.sequence, self.mutation);
        let wrong = sink.check(&leg, resumed);
        let ends = self.command.is_some_and(|enough| sink.taken >= enough);
        self.failure = self.failure.take().or(wrong);
        if self.over.is_none() {
            self.tell_blocked(net);
            self.session.delivered(net.clock.now, 1, leg.len());
            match ends {
                true if self.lingers => self.session.output_has_enough(net.clock.now),
                true => self.session.command_ended(net.clock.now, None, COMMAND_END, ""),
                false => {}
            }
            self.settle(net);
        }
    }

    /// Looks at every connection.
    pub fn patrol(&mut self, net: &mut Net) {
        if self.gone {
            return;
        }
        net.clock.after(PATROL, Event::Patrol(self.which));
        self.tell_blocked(net);
        let now = net.clock.now;
        for connection in 0..self.lines.len() {
            let Some(line) = self.lines[connection].as_ref().filter(|line| line.is_up()) else { continue };
            if self.over.is_none() && now - line.heard_at >= REAP && self.session.receiving().is_some() {
                self.lose(net, connection, &LossReason::Silent);
            }
            self.settle(net);
        }
    }

    /// The user ends it by a signal: it obeys at once, or within a second where it looks for its peer.
    pub fn signal(&mut self, net: &mut Net) {
        if self.over.is_some() {
            return;
        }
        let now = net.clock.now;
        match self.asked {
            None => {
                self.asked = Some(now);
                self.session.fail(now, &Outcome::here(Status::Incomplete, "ended by a signal"));
                self.settle(net);
                net.clock.after(OBEDIENCE, Event::Signal(self.which));
            }
            Some(at) if now - at >= OBEDIENCE => self.fail("a signal is not obeyed"),
            Some(_) => {}
        }
    }

    /// Gone at once, as by SIGKILL: the kernel closes what is open.
    pub fn exit(&mut self, net: &mut Net) {
        self.gone = true;
        for line in self.lines.iter_mut().filter_map(Option::take) {
            net.close(line.conn, self.which);
        }
        for conn in std::mem::take(&mut self.strangers).into_keys() {
            net.close(conn, self.which);
        }
        if self.which == LISTENS {
            net.listening = false;
        }
    }

    pub fn fail(&mut self, what: &str) {
        self.failure.get_or_insert(what.to_owned());
    }

    /// How the stream that goes this way was judged here.
    pub fn code(&self, way: Way) -> Option<Status> {
        self.session.outcome(way).map(|ending| ending.status)
    }

    /// Bytes of memory for legs that came and were not taken, and for those that are coming.
    pub fn memory(&self) -> (u64, u64) {
        let held = self.session.receiving().and_then(|receiving| receiving.receiver());
        let coming = self.lines.iter().flatten().map(Line::in_flight).sum();
        (held.map_or(0, |receiver| receiver.held_bytes()), coming)
    }

    // ---- one connection -------------------------------------------------------------------------------

    /// The number of a connection that was not replaced or given up.
    pub fn number_of(&self, conn: usize) -> Option<usize> {
        self.lines.iter().position(|line| line.as_ref().is_some_and(|line| line.conn == conn))
    }

    fn dial(&mut self, net: &mut Net, connection: usize, link: usize, hello: &Hello, timeout: Duration) {
        let conn = net.dial(link);
        net.clock.after(timeout, Event::Heard { end: DIALS, conn });
        let line = Line::new(net.clock.now, conn, Stage::Dialling(hello.encode()));
        if self.lines[connection].replace(line).is_some() {
            self.fail("dials a connection that is there");
        }
    }

    pub fn dial_failed(&mut self, net: &mut Net, conn: usize, why: &DialError) {
        let Some(connection) = self.number_of(conn) else { return };
        self.lines[connection] = None;
        net.reset(conn, self.which);
        if self.over.is_none() {
            self.session.dial_failed(net.clock.now, connection, why);
        }
    }

    /// The time for what is heard is over.
    pub fn time_out(&mut self, net: &mut Net, conn: usize) {
        if self.strangers.remove(&conn).is_some() {
            return net.reset(conn, self.which);
        }
        let Some(connection) = self.number_of(conn) else { return };
        match self.lines[connection].as_ref().map(|line| &line.stage) {
            Some(Stage::Dialling(_) | Stage::Asked(..)) => self.dial_failed(net, conn, &DialError::TimedOut),
            Some(Stage::Welcomed(hearing)) if hearing.until() <= net.clock.now => {
                self.lose(net, connection, &LossReason::Silent);
            }
            Some(Stage::Welcomed(_) | Stage::Up) | None => return,
        }
        self.settle(net);
    }

    fn closed(&mut self, net: &mut Net, conn: usize, reset: bool) {
        net.close(conn, self.which);
        if self.strangers.remove(&conn).is_some() {
            return;
        }
        let Some(connection) = self.number_of(conn) else { return };
        let Some(line) = self.lines[connection].take() else { return };
        if self.over.is_some() {
            return self.part(net, !reset);
        }
        if matches!(line.stage, Stage::Dialling(_) | Stage::Asked(..)) {
            return self.session.dial_failed(net.clock.now, connection, &DialError::Refused);
        }
        let why = if reset { LossReason::Failed("reset".into()) } else { LossReason::Closed };
        let before = self.session.losses().count;
        self.session.lost(net.clock.now, connection, &why);
        // how an ordinary end shows counts as no loss
        self.losses.extend((self.session.losses().count > before).then_some(why));
    }

    /// This end closes the connection at once, and says so.
    pub fn lose(&mut self, net: &mut Net, connection: usize, why: &LossReason) {
        self.reset(net, connection, why);
        if self.over.is_none() {
            self.session.lost(net.clock.now, connection, why);
        }
    }

    fn reset(&mut self, net: &mut Net, connection: usize, why: &LossReason) {
        if let Some(line) = self.lines[connection].take() {
            net.reset(line.conn, self.which);
            self.losses.push(why.clone());
        }
    }

    // ---- what the session wants -----------------------------------------------------------------------

    fn tell_blocked(&mut self, net: &Net) {
        if let Some(sink) = &self.sink {
            self.session.output_blocked(sink.blocked(net.clock.now));
        }
    }

    /// Everything that follows from an event: actions, what is to be written, more input, the next time to wake.
    pub fn settle(&mut self, net: &mut Net) {
        self.carry_out(net);
        // whoever dials sends nothing before it hears that it is its turn
        let holds = self.waits && self.which == DIALS;
        while self.over.is_none()
            && !holds
            && self.source.as_mut().is_some_and(|source| source.feed(&mut net.clock, &mut self.session))
        {
            self.carry_out(net);
        }
        self.judge_early(net);
        if self.over.is_some() {
            return;
        }
        // asked a little later, as by a thread that was busy in between
        let later = net.clock.now + Duration::from_millis(1);
        let Some(at) = self.session.deadline(later) else { return };
        if self.wake_at.is_none_or(|planned| at < planned) {
            self.wake_at = Some(at);
            net.clock.at(at, Event::Wake(self.which));
        }
    }

    pub fn carry_out(&mut self, net: &mut Net) {
        loop {
            while let Some(action) = self.session.poll() {
                self.act(net, action);
            }
            drop(self.session.take_freed());
            let posted = self.session.take_posted();
            if posted.is_empty() {
                return;
            }
            posted.iter().for_each(|connection| self.write(net, connection));
        }
    }

    /// Tells what is seen of a connection. No path here swallows large segments alone, so the kernel has none to send again.
    fn look(&mut self, net: &Net, connection: usize) {
        let Some(line) = self.lines[connection].as_mut().filter(|line| line.is_up()) else { return };
        let (now, conn) = (net.clock.now, &net.conns[line.conn]);
        let view = KernelView {
            bytes_acked: conn.confirmed(self.which) as u64,
            since_ack: now - conn.kernel_at(self.which),
            unacked: conn.has_to_take(self.which).into(),
            ..KernelView::default()
        };
        let signs = line.progress.examine(now, line.heard_at, Some(view));
        self.session.examined(now, connection, signs);
    }

    fn act(&mut self, net: &mut Net, action: Action) {
        let now = net.clock.now;
        if self.over.is_some() {
            return self.fail(&format!("{action:?} after the end"));
        }
        match action {
            Action::Dial { connection, link, hello, timeout, .. } => {
                self.dial(net, connection, link, &hello, timeout);
            }
            Action::Drop(connection, why) => self.reset(net, connection, &why),
            Action::Leave(connection) => {
                if let Some(line) = self.lines[connection].take() {
                    net.close(line.conn, self.which);
                }
                self.session.lost(now, connection, &LossReason::Left);
            }
            Action::Look(connection) => self.look(net, connection),
            Action::Deliver(leg) => {
                self.sink.iter_mut().for_each(|sink| sink.give(&mut net.clock, leg.clone()));
            }
            Action::CloseOutput => {
                let crc = self.sink.as_mut().and_then(|sink| {
                    sink.closed = true;
                    sink.crc()
                });
                match self.command {
                    Some(_) => self.session.command_ended(now, crc, COMMAND_END, ""),
                    None => self.session.output_closed(now, crc),
                }
            }
            // the end that dials says for both whether legs are checked
            Action::Met(Way::In, far) if self.which == LISTENS => {
                self.checked = far.features.contains(Features::CHECKSUM);
            }
            Action::Met(..) => {}
            Action::Cease => self.source.iter_mut().for_each(Source::stop),
            Action::Settled(way, ending) => self.settled(way, &ending),
            Action::Tell(event) => self.said.push(format!("{event:?}")),
            Action::Over => self.end(net),
        }
    }

    fn settled(&mut self, way: Way, ending: &Outcome) {
        self.said.push(format!("{way:?} is judged {ending:?}"));
        if self.session.outcome(way) != Some(ending) {
            self.fail("the outcome is another one than was told");
        }
        if way == Way::Out {
            self.source.iter_mut().for_each(Source::stop);
        }
    }

    /// The last words leave; then whoever is owed a farewell is waited for.
    fn end(&mut self, net: &mut Net) {
        self.over = Some(net.clock.now);
        self.said.push(format!("over; then {:?}", self.session.farewell()));
        if !self.session.is_over() {
            self.fail("is not over, though it says so");
        }
        net.clock.after(Farewell::TIME, Event::Exit(self.which));
        for connection in 0..self.lines.len() {
            let begun = self.lines[connection].as_ref().is_some_and(|line| line.is_up());
            if !begun && let Some(line) = self.lines[connection].take() {
                net.close(line.conn, self.which);
            }
            self.write(net, connection);
        }
        self.part(net, false);
    }

    /// Whether nobody is waited for any more; `told` if a connection was closed in order.
    pub fn part(&mut self, net: &mut Net, told: bool) {
        let open = self.lines.iter().flatten().count();
        if self.session.farewell().is_over(open, told) {
            net.clock.after(Duration::ZERO, Event::Exit(self.which));
        }
    }
}
