//! Two processes, the network between them, and what must hold at every moment.

use super::clock::Event;
use super::net::{Net, RX, TX};
use super::rx::Rx;
use super::sink::Sink;
use super::source::{Flow, Source};
use super::tx::Tx;
use millipede::proto::hello::{Direction, Features, Hello, Id};
use millipede::proto::outcome::{Outcome, Status};
use millipede::proto::reception::{self, Reception};
use millipede::proto::sharing::Sharing;
use millipede::proto::transmission::{self, Transmission};
use millipede::proto::waiting::Patience;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use std::time::{Duration, Instant};

/// Mistakes that are made on purpose, to show that they do not go unnoticed. All but the last are made to
/// what passes between the cores and the network, and leave the cores as they are; without rescue, nothing
/// passes that could be changed, so the core has a switch for it.
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
    /// Memory of tx and rx.
    pub buffers: [u64; 2],
    pub patience: [Option<Duration>; 2],
    pub checked: bool,
    pub flow: Flow,
    pub sink_rate: f64,
    pub low_water: usize,
    pub mutation: Mutation,
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
            flow,
            sink_rate: 1e9,
            low_water: 16 << 10,
            mutation: Mutation::None,
        }
    }
}

/// More events than this at one moment are a busy loop.
const BUSY: u32 = 50_000;

pub struct World {
    pub net: Net,
    pub tx: Tx,
    pub rx: Rx,
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
        let mut net = Net::new(rng, &config.links, config.low_water);
        let mut core = Transmission::new(net.clock.now, sender_settings(&config));
        if config.mutation == Mutation::NoRescue {
            core.forgo_rescue();
        }
        let source = Source::new(config.flow, config.buffers[TX]);
        let tx = Tx::new(&mut net, core, source, config.checked, config.mutation);
        let rx = receiver(&mut net, &config, 1);
        let at_once = (net.clock.now, 0);
        let trace = std::env::var_os("TRACE").is_some();
        World { net, tx, rx, config, war: true, flips: 0, at_once, events: 0, trace }
    }

    /// Another receiving process takes the place of the one that was there, which is killed.
    pub fn replace_receiver(&mut self) {
        self.rx.exit(&mut self.net);
        self.rx = receiver(&mut self.net, &self.config, 2);
    }

    /// Runs until `done`, at most for `time`. Whether it was done.
    ///
    /// # Errors
    /// What did not hold.
    pub fn run(&mut self, time: Duration, done: impl Fn(&World) -> bool) -> Result<bool, String> {
        let until = self.net.clock.now + time;
        while !done(self) {
            let Some(event) = self.net.clock.next(until) else { return Ok(done(self)) };
            if self.trace && matches!(event, Event::Fault(_)) {
                self.tell(&format!("{event:?}"));
            }
            self.happen(event);
            self.check()?;
            self.tell_said();
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
        for (who, said) in [("tx", self.tx.said.split_off(0)), ("rx", self.rx.said.split_off(0))] {
            said.iter().for_each(|line| self.tell(&format!("{who}: {line}")));
        }
    }

    pub fn both_ended(&self) -> bool {
        self.tx.ending.is_some() && self.rx.ending.is_some()
    }

    pub fn is_whole(&self) -> bool {
        self.rx.sink.closed && self.rx.sink.taken == self.config.flow.total
    }

    fn happen(&mut self, event: Event) {
        let World { net, tx, rx, .. } = self;
        match event {
            Event::Net(what) => net.happen(what),
            Event::Deliver(news) if news.end == TX && !tx.gone => tx.delivery(net, news),
            Event::Deliver(news) if news.end == RX && !rx.gone => rx.delivery(net, news),
            Event::Deliver(_) => {}
            Event::WakeTx if tx.ending.is_none() && !tx.gone => tx.wake(net),
            Event::WakeRx if rx.ending.is_none() => rx.wake(net),
            Event::WakeTx | Event::WakeRx => {}
            Event::Input if !tx.gone => tx.input(net),
            Event::Input => {}
            Event::Taken => rx.taken(net),
            Event::DialTimeout(conn) => tx.dial_timeout(net, conn),
            Event::Patrol(TX) => tx.patrol(net),
            Event::Patrol(_) => rx.patrol(net),
            Event::AckSoon => rx.ack_soon(net),
            Event::Exit(TX) => tx.exit(net),
            Event::Exit(_) => {
                rx.exit(net);
                net.listening = false;
            }
            Event::Fault(fault) if self.war => fault.strike(self),
            Event::Fault(_) => {}
        }
    }

    /// What must hold after every event.
    fn check(&mut self) -> Result<(), String> {
        self.events += 1;
        let now = self.net.clock.now;
        self.at_once = if self.at_once.0 == now { (now, self.at_once.1 + 1) } else { (now, 0) };
        if self.at_once.1 > BUSY {
            return Err("a busy loop: time stands still".into());
        }
        if let Some(failure) = self.tx.failure.take().or_else(|| self.rx.failure.take()) {
            return Err(failure);
        }
        for (who, ending) in [("tx", &self.tx.ending), ("rx", &self.rx.ending)] {
            if let Some((_, Outcome { status: Status::Complete, .. })) = ending
                && !self.is_whole()
            {
                let (taken, total) = (self.rx.sink.taken, self.config.flow.total);
                return Err(format!("{who} ends with success when {taken} bytes of {total} are delivered"));
            }
        }
        Ok(())
    }
}

fn sender_settings(config: &Config) -> transmission::Settings {
    let hello = Hello {
        session: Id::new([7; 16]),
        instance: None,
        direction: Direction::Transmit,
        begun: false,
        checkphrase: None,
        link: 0,
        connection: 0,
        attempt: 0,
        features: if config.checked { Features::CHECKSUM } else { Features::NONE },
        buffer: config.buffers[TX],
        options: Vec::new(),
    };
    transmission::Settings {
        hello,
        links: (0..config.links.len()).map(|link| format!("link {link}")).collect(),
        workers: config.workers,
        patience: config.patience[TX].map(patience),
        checked: config.checked,
        seed: config.seed,
        sharing: Sharing::Sole,
    }
}

fn receiver(net: &mut Net, config: &Config, instance: u8) -> Rx {
    let settings = reception::Settings {
        instance: Id::new([instance; 16]),
        buffer: config.buffers[RX],
        patience: config.patience[RX].map(patience),
        features: Features::CHECKSUM,
        sharing: Sharing::Sole,
    };
    let sink = Sink::new(&net.clock, config.sink_rate, config.checked);
    let core = Reception::new(net.clock.now, settings);
    Rx::new(net, core, sink, config.mutation)
}

fn patience(time: Duration) -> Patience {
    if time.is_zero() { Patience::ForEver } else { Patience::For(time) }
}
