//! Two processes, the network between them, and what must hold at every moment.

use super::clock::Event;
use super::end::End;
use super::imp::Imp;
use super::line::Line;
use super::net::{DIALS, LISTENS, Net};
use super::passing::Passing;
use super::sink::Sink;
use super::source::{Flow, Source};
use millipede::proto::hello::{Features, Hello, Id};
use millipede::proto::mailbox::NACKS_MAX;
use millipede::proto::outcome::Status;
use millipede::proto::session::{DiallerConfig, InboundConfig, OutboundConfig, Session};
use millipede::proto::waiting::Patience;
use millipede::proto::way::Way;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use std::time::{Duration, Instant};

/// Mistakes that are made on purpose, to show that they do not go unnoticed. All but the last are made to
/// what passes between the sessions and the network, and leave the sessions as they are; without rescue, nothing
/// passes that could be changed, so the session has a switch for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    None,
    /// The count of an acknowledgement is read as "every leg below this number".
    CountsAreSequences,
    /// The receiver loses a leg after it has acknowledged it.
    DropAfterAck,
    /// The verdict goes out when all is received, before the output has taken it.
    EarlyVerdict,
    /// The sender takes the edge of the window to be one leg further.
    WindowOffByOne,
    /// The session is told that a connection is lost, although it was replaced.
    TellReplaced,
    /// What is next is written before a complaint about a damaged leg.
    LateComplaint,
    /// A leg of which the output has a part is written from its first byte.
    ResumeAtStart,
    /// What the output did not take of a leg that is moved counts as taken.
    CountUnmoved,
    /// Overtaken legs are not sent again.
    NoRescue,
}

/// What a world is made of.
#[derive(Clone, Debug)]
pub struct Config {
    pub seed: u64,
    /// Rate and one-way delay of each link.
    pub links: Vec<(f64, Duration)>,
    pub workers: usize,
    /// Memory of the ends.
    pub buffers: [u64; 2],
    pub patience: [Option<Duration>; 2],
    pub checked: bool,
    /// What each end sends; the one that listens only in a duplex world.
    pub flows: [Option<Flow>; 2],
    /// How fast the output of each end is.
    pub sink_rates: [f64; 2],
    /// The output of the end that listens is a command, which ends when it has taken so many bytes (at least 1), or all;
    /// and that is the result.
    pub command: Option<u64>,
    /// That command has enough then, and ends when its input does.
    pub lingers: bool,
    pub low_water: usize,
    /// How much more than that a socket takes.
    pub room: usize,
    pub mutation: Mutation,
    /// The ends wait for the stream's turn, each until this time.
    pub waits: Option<[Duration; 2]>,
    /// The last link is a lifeline, which no harm comes to: it may be slow, and it stays.
    pub lifeline: bool,
}

impl Config {
    /// Two links of 2 MB/s and 10 ms, an endless input, a fast output.
    pub fn plain(seed: u64) -> Self {
        let flow = Flow {
            total: 4 << 20,
            rate: 1e9,
            pause: Duration::ZERO,
            period: Duration::from_secs(1),
            leg_max: 2 << 20,
            charmode: false,
        };
        Config {
            seed,
            links: vec![(2e6, Duration::from_millis(10)); 2],
            workers: 4,
            buffers: [4 << 20; 2],
            patience: [None; 2],
            checked: false,
            flows: [Some(flow), None],
            sink_rates: [1e9; 2],
            command: None,
            lingers: false,
            low_water: 16 << 10,
            room: 64 << 10,
            mutation: Mutation::None,
            waits: None,
            lifeline: false,
        }
    }

    /// The link that is a lifeline.
    pub fn lifeline(&self) -> Option<usize> {
        self.links.len().checked_sub(1).filter(|_| self.lifeline)
    }
}

/// More events than this at one moment are a busy loop.
const BUSY: u32 = 50_000;

pub struct World {
    pub net: Net,
    /// By number: the end that dials, and the one that listens.
    pub ends: Vec<End>,
    /// Who means ill, if anybody does.
    pub imp: Option<Imp>,
    /// Whether both ends are honest, so that what one says of success can be held against the other.
    pub honest: bool,
    pub config: Config,
    /// Whether planned harm still happens.
    pub war: bool,
    pub flips: u32,
    at_once: (Instant, u32),
    pub events: u64,
    /// Whether to print what happens: `TRACE=1`, of use with `SEED`.
    trace: bool,
}

impl World {
    pub fn new(config: Config) -> Self {
        let rng = SmallRng::seed_from_u64(config.seed ^ 0x5eed);
        let mut net = Net::new(rng, &config.links, config.low_water, config.room);
        let ends = [DIALS, LISTENS].map(|which| end(&mut net, &config, which, 1)).into();
        let at_once = (net.clock.now, 0);
        let trace = std::env::var_os("TRACE").is_some();
        World { net, ends, imp: None, honest: true, config, war: true, flips: 0, at_once, events: 0, trace }
    }

    /// Another receiving process takes the place of the one that was there, which is killed.
    pub fn replace_receiver(&mut self) {
        self.ends[LISTENS].exit(&mut self.net);
        self.ends[LISTENS] = end(&mut self.net, &self.config, LISTENS, 2);
        self.net.listening = true;
    }

    /// Runs until `done`, at most for `time`. Whether it was done.
    ///
    /// # Errors
    /// What did not hold.
    pub fn run(&mut self, time: Duration, done: impl Fn(&World) -> bool) -> Result<bool, String> {
        let until = self.net.clock.now + time;
        while !done(self) {
            let Some(event) = self.net.clock.next(until) else { return Ok(done(self)) };
            if self.trace && matches!(event, Event::Fault(_) | Event::Signal(_)) {
                self.tell(&format!("{event:?}"));
            }
            let end = self.happen(event);
            self.tell_said();
            self.check(end)?;
        }
        Ok(true)
    }

    /// A line of the trace.
    pub fn tell(&self, what: &str) {
        if self.trace {
            println!("{:10.4} {what}", self.net.clock.elapsed().as_secs_f64());
        }
    }

    fn tell_said(&mut self) {
        for which in 0..self.ends.len() {
            let said = std::mem::take(&mut self.ends[which].said);
            said.iter().for_each(|line| self.tell(&format!("{}: {line}", ["dialler", "listener"][which])));
        }
    }

    // ---- what is known of it --------------------------------------------------------------------------

    /// How many streams there are.
    pub fn streams(&self) -> usize {
        self.config.flows.iter().flatten().count()
    }

    pub fn both_over(&self) -> bool {
        self.ends.iter().all(|end| end.over.is_some())
    }

    /// Whether both ends know how every stream went.
    pub fn is_judged(&self) -> bool {
        (0..self.streams()).all(|stream| self.codes(stream).iter().all(Option::is_some))
    }

    /// Whether every sender knows how its stream went, or nobody is left to tell it.
    pub fn senders_know(&self) -> bool {
        (0..self.streams())
            .all(|stream| self.codes(stream)[0].is_some() || self.ends[1 - stream].over.is_some())
    }

    /// How the stream of an end was judged there, and where it was received.
    pub fn codes(&self, stream: usize) -> [Option<Status>; 2] {
        [self.ends[stream].code(Way::Out), self.ends[1 - stream].code(Way::In)]
    }

    /// Bytes of a stream that the output has taken.
    pub fn taken(&self, stream: usize) -> u64 {
        self.ends[1 - stream].sink.as_ref().map_or(0, |sink| sink.taken)
    }

    /// Bytes that a stream has in all.
    pub fn total(&self, stream: usize) -> u64 {
        self.config.flows[stream].map_or(0, |flow| flow.total)
    }

    /// Whether the output has taken all of a stream and was closed.
    pub fn is_whole(&self, stream: usize) -> bool {
        let closed = self.ends[1 - stream].sink.as_ref().is_some_and(|sink| sink.closed);
        let enough = self.config.command.filter(|_| stream == DIALS).unwrap_or(u64::MAX);
        let total = self.total(stream);
        let ended = closed || !self.config.lingers;
        (closed && self.taken(stream) == total) || (self.taken(stream) >= enough && enough < total && ended)
    }

    // ---- what happens, and what must hold then --------------------------------------------------------

    /// One event; the end that it was for.
    fn happen(&mut self, event: Event) -> Option<usize> {
        let World { net, ends, imp, .. } = self;
        let which = match event {
            Event::Net(what) => {
                net.happen(what);
                return None;
            }
            Event::Malice => {
                imp.iter_mut().for_each(|imp| imp.act(net));
                return None;
            }
            Event::Fault(fault) => {
                if self.war {
                    fault.strike(self);
                }
                return None;
            }
            Event::Deliver(ref news) if imp.as_ref().is_some_and(|imp| imp.has(news)) => {
                let Event::Deliver(news) = event else { return None };
                imp.iter_mut().for_each(|imp| imp.delivery(net, &news));
                return None;
            }
            Event::Deliver(ref news) => news.end,
            Event::Wake(end) | Event::Input(end) | Event::Taken(end) => end,
            Event::Turn(end)
            | Event::Patrol(end)
            | Event::Exit(end)
            | Event::Signal(end)
            | Event::Heard { end, .. } => end,
        };
        let end = ends.get_mut(which).filter(|end| !end.gone)?;
        match event {
            Event::Deliver(news) => end.delivery(net, news),
            Event::Wake(_) => end.wake(net),
            Event::Input(_) => end.input(net),
            Event::Taken(_) => end.taken(net),
            Event::Heard { conn, .. } => end.time_out(net, conn),
            Event::Turn(_) => end.use_all(net),
            Event::Patrol(_) => end.patrol(net),
            Event::Exit(_) => end.exit(net),
            Event::Signal(_) => end.signal(net),
            Event::Net(_) | Event::Malice | Event::Fault(_) => {}
        }
        Some(which)
    }

    /// What must hold after every event.
    fn check(&mut self, which: Option<usize>) -> Result<(), String> {
        self.events += 1;
        let now = self.net.clock.now;
        self.at_once = if self.at_once.0 == now { (now, self.at_once.1 + 1) } else { (now, 0) };
        if self.at_once.1 > BUSY {
            return Err("a busy loop: time stands still".into());
        }
        let Some(which) = which else { return Ok(()) };
        let name = ["dialler", "listener"][which];
        if let Some(failure) = self.ends[which].failure.take() {
            return Err(format!("{name}: {failure}"));
        }
        self.check_memory(which).map_err(|why| format!("{name}: {why}"))?;
        self.check_lines(which).map_err(|why| format!("{name}: {why}"))?;
        self.check_success(which).map_err(|why| format!("{name}: {why}"))
    }

    /// Memory stays within the buffer, what is held within the window, and no mailbox grows.
    fn check_memory(&self, which: usize) -> Result<(), String> {
        let end = &self.ends[which];
        for connection in 0..end.lines.len() {
            let nacks = end.session.mailbox(connection).nacks();
            if nacks > NACKS_MAX {
                return Err(format!("{nacks} complaints wait on connection {connection}"));
            }
        }
        let (held, coming) = end.memory();
        if held + coming > self.config.buffers[which] {
            return Err(format!("{held} bytes are held and {coming} are coming, beyond the buffer"));
        }
        let receiver = end.session.receiving().and_then(|receiving| receiving.receiver());
        let window = receiver.map_or(0, |receiver| receiver.edge().bytes - receiver.delivered_bytes());
        if held > window {
            return Err(format!("{held} bytes are held with a window of {window}"));
        }
        Ok(())
    }

    /// The session knows every connection that it let in or was told of.
    fn check_lines(&self, which: usize) -> Result<(), String> {
        let end = &self.ends[which];
        if end.waits && end.connections_up() > [1, 2][which] {
            return Err(format!("{} connections are up, and the stream waits", end.connections_up()));
        }
        if end.over.is_some() || end.session.receiving().is_none() {
            return Ok(());
        }
        let unknown = |(connection, line): &(usize, &Option<Line>)| {
            line.as_ref().is_some_and(Line::is_known) && end.session.link_of(*connection).is_none()
        };
        match end.lines.iter().enumerate().find(unknown) {
            Some((connection, _)) => {
                Err(format!("connection {connection} is there, and the session does not know it"))
            }
            None => Ok(()),
        }
    }

    /// Nobody speaks of success who has not had it.
    fn check_success(&self, which: usize) -> Result<(), String> {
        let streams = [(Way::Out, which), (Way::In, 1 - which)];
        for (way, stream) in streams {
            let success = self.ends[which].code(way) == Some(Status::Complete);
            if success && self.honest && !self.is_whole(stream) {
                let (taken, total) = (self.taken(stream), self.total(stream));
                return Err(format!("{way:?} is a success when {taken} bytes of {total} are delivered"));
            }
        }
        Ok(())
    }
}

// ---- the ends of a world ----------------------------------------------------------------------------------

/// An end of this world; `instance` names its process.
pub fn end(net: &mut Net, config: &Config, which: usize, instance: u8) -> End {
    let duplex = config.flows[LISTENS].is_some();
    let now = net.clock.now;
    let receives = inbound(config, which, instance);
    let inseparable = duplex && config.seed.is_multiple_of(2);
    let mut session = match which {
        DIALS => Session::dialling(now, dialler(config), duplex.then_some(receives), inseparable),
        _ => {
            let sends = OutboundConfig { buffer: config.buffers[which] };
            Session::listening(now, receives, duplex.then_some(sends), inseparable)
        }
    };
    config.lifeline().into_iter().for_each(|link| session.set_lifeline(link));
    if config.mutation == Mutation::NoRescue {
        session.forgo_rescue();
    }
    let receives = session.receiving().is_some();
    let mut end = End::new(net, which, session, config.mutation);
    end.checked = config.checked && which == DIALS;
    end.passing = Passing::new(config.seed);
    end.command = config.command.filter(|_| which == LISTENS);
    end.lingers = config.lingers;
    end.source = config.flows[which].map(|flow| Source::new(which, flow, config.buffers[which]));
    if let Some(waits) = config.waits {
        end.waits = true;
        // the end that listens has its turn before the other one hears that it has
        let turn = if which == DIALS { waits[DIALS].max(waits[LISTENS]) } else { waits[which] };
        net.clock.after(turn, Event::Turn(which));
    }
    end.sink = receives.then(|| Sink::new(&net.clock, which, config.sink_rates[which]));
    end
}

/// What both ends make use of.
fn features(config: &Config) -> u64 {
    if config.flows[LISTENS].is_some() { Features::DUPLEX.0 } else { Features::NONE.0 }
}

fn dialler(config: &Config) -> DiallerConfig {
    let checked = if config.checked { Features::CHECKSUM.0 } else { 0 };
    let stops = if config.command.is_some() { Features::ENOUGH.0 } else { 0 };
    let features = Features(features(config) | checked | stops);
    let hello = Hello::of(Id::new([7; 16]), features, config.buffers[DIALS]);
    let links = (0..config.links.len()).map(|link| format!("link {link}")).collect();
    DiallerConfig {
        patience: patience(config.patience[DIALS]),
        waits: config.waits.is_some(),
        lifeline: config.lifeline,
        ..DiallerConfig::new(hello, links, config.workers, config.seed)
    }
}

fn inbound(config: &Config, which: usize, instance: u8) -> InboundConfig {
    let instance = Id::new([instance + 10 * which as u8; 16]);
    let features = Features(features(config) | Features::CHECKSUM.0);
    InboundConfig {
        patience: patience(config.patience[which]),
        waits: config.waits.is_some(),
        ..InboundConfig::new(instance, features, config.buffers[which])
    }
}

/// Zero is for ever.
fn patience(time: Option<Duration>) -> Option<Patience> {
    time.map(|time| if time.is_zero() { Patience::ForEver } else { Patience::For(time) })
}
