//! The near end: what `millipede ssh` does here.

use super::carrier::{Carrier, hand_over, resolve};
use super::detour::{Detour, why_none};
use super::end::{FAILED, SessionEnd, result};
use super::memory::buffer;
use super::stdio::{Input, Output};
use super::talk::{ANSWER, NoGreeting, ONE_TIME, await_greeting, say};
use crate::channel::connect::check_congestion;
use crate::channel::{Channel, Transport};
use crate::chaos::Hazard;
use crate::error::{Failure, reason};
use crate::message;
use crate::plan::{Compress, Family, Host, LinkPlan, Patience, SshPlan};
use crate::proto::event::Event;
use crate::proto::hello::{Features, Hello};
use crate::proto::leg::CONNECTIONS_MAX;
use crate::proto::rendezvous::{Answer, COMMAND_MAX};
use crate::proto::session::{DiallerConfig, InboundConfig, OutboundConfig};
use crate::proto::way::Way;
use crate::run::conclusion::{self, Conclusion, Outcomes};
use crate::run::descriptors::{self, Others};
use crate::run::direction::{compress, random_id};
use crate::run::monitor::{Monitor, Subject, Unless, Wanted};
use crate::run::sessions::{Sessions, cannot_start, no_signals, no_thread};
use crate::run::signals;
use crate::session::{Approach, Handle, Hear, Incoming, Lifeline, News, Outgoing, Setup, Start};
use crate::ssh::resolved::Terminal;
use crate::ssh::{Line, Reading, Resolved, read};
use crate::sync::Unpoisoned;
use crate::sys::interface;
use crate::sys::out_of_memory;
use crate::trust::{PrivateKey, PublicKey, Roll, Trust};
use crate::wording::word;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// For how long ssh may write nothing, once the session has ended, before it is ended. The far end ends by itself, and so
/// does ssh then. Only a slow line, or a busy machine, makes it late.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The same while it may still bring the last of the command's stderr.
const LAST_OF_STDERR: Duration = Duration::from_secs(10);

/// What this end makes use of, and can take.
const FEATURES: Features = Features(Features::DUPLEX.0 | Features::DECOMPRESSES.0 | Features::ENOUGH.0);

/// What the last link is called.
const LIFELINE: &str = "ssh";

/// Whether it is to be told that all goes through ssh is looked at this often.
const LOOK: Duration = Duration::from_millis(200);

/// Runs the command that the plan's line names, or has ssh do what that line asks for. The exit status is the command's,
/// or that of ssh.
pub fn near(plan: &SshPlan) -> u8 {
    message::set_level(plan.verbose);
    // every other status may be the command's
    out_of_memory::end_with(FAILED);
    let line = match read(&plan.line) {
        Reading::Command(line) => line,
        Reading::Other => return leave_to_ssh(plan),
    };
    let Some(resolved) = resolve(&line).filter(is_ours) else {
        return leave_to_ssh(plan);
    };
    match attempt(plan, &line, &resolved) {
        Ok(status) => status,
        Err(failure) => {
            message::say(failure);
            FAILED
        }
    }
}

fn leave_to_ssh(plan: &SshPlan) -> u8 {
    message::say(hand_over(&plan.line));
    FAILED
}

/// Whether ssh would run a command without a terminal.
fn is_ours(resolved: &Resolved) -> bool {
    let terminal = match resolved.terminal {
        Terminal::Never => false,
        Terminal::IfThere => rustix::termios::isatty(io::stdin()),
        Terminal::Always => true,
    };
    !terminal && !resolved.is_other
}

fn attempt(plan: &SshPlan, line: &Line, resolved: &Resolved) -> Result<u8, Failure> {
    if line.command.len() > COMMAND_MAX {
        return Err(Failure::usage(format!("the command is longer than {COMMAND_MAX} bytes")));
    }
    if let Some(name) = &plan.stream.congestion {
        check_congestion(name).map_err(Failure::network)?;
    }
    let host = line.host.to_string_lossy();
    let started = Carrier::start(line, resolved, plan.program.as_deref(), plan.ports);
    let (mut carrier, from, to) = started.map_err(Failure::network)?;
    let unusable = |e: io::Error| Failure::network(format!("cannot talk to ssh: {}", reason(&e)));
    let channel = Channel::plain(Transport::pipes(from, to).map_err(unusable)?);
    let greeting = match await_greeting(&channel, &carrier, &host, plan.program.as_deref()) {
        Ok(greeting) => greeting,
        Err(why) => {
            drop(channel);
            carrier.close_stdout();
            carrier.end(LAST_WORDS, signals::is_asked_to_end);
            return match why {
                NoGreeting::Ssh => Ok(FAILED),
                NoGreeting::Other(line) => Err(Failure::network(line)),
            };
        }
    };
    let links = links(plan, resolved, greeting.port);
    let none = links.is_empty().then(|| why_none(&host, greeting.port, plan.ports, resolved));
    let detour = Detour::new(Instant::now(), links.iter().map(ToString::to_string).collect(), none);
    let key = PrivateKey::generate().map_err(Failure::network)?;
    let answer = answer(plan, line, &key, !links.is_empty());
    // if it cannot be said, the session finds out why
    let _ = say(&channel, &answer.encode(), ANSWER);
    let input = Input::new(line.no_input || resolved.no_input);
    let far = PublicKey::new(greeting.key);
    let trust = Trust::new(&key, Roll::only(far)).map_err(Failure::network)?;
    let output = Output::default();
    let gathered = session(plan, links, channel.vouched(far), trust, (&input, &output), detour)?;
    let exit = carrier.end(gathered.pause(), signals::is_asked_to_end);
    if exit.is_none() && gathered.knows_end() && !signals::is_asked_to_end() {
        message::say("ssh did not end after the command; the last of the command's stderr may be lost");
    }
    let Gathered { outcomes, met } = gathered;
    let ended = SessionEnd { outcomes, unwanted: output.is_unwanted(), unmet: exit.filter(|_| !met) };
    let (status, told) = result(&ended, &host);
    // ssh says nothing of a signal either: svn ends its ssh by one each time
    let level = u8::from(signals::is_asked_to_end());
    told.into_iter().for_each(|line| message::note(level, || line));
    Ok(status)
}

/// Where far is reached directly.
fn links(plan: &SshPlan, resolved: &Resolved, port: u16) -> Vec<LinkPlan> {
    if port == 0 {
        return Vec::new();
    }
    if !plan.over.is_empty() {
        return plan.over.iter().map(|host| LinkPlan { host: host.clone(), port, via: None }).collect();
    }
    let family = if plan.family == Family::Any { resolved.family } else { plan.family };
    let host = resolved.hostname.as_deref().filter(|_| !resolved.is_indirect);
    let via = resolved.bound_to.clone().filter(|via| interface::check(via).is_ok());
    host.map(|host| LinkPlan { host: named(host, family), port, via }).into_iter().collect()
}

/// A host as ssh names it.
fn named(host: &str, family: Family) -> Host {
    let scoped =
        host.split_once('%').and_then(|(address, interface)| Some((address.parse().ok()?, interface)));
    match (host.parse::<IpAddr>(), scoped) {
        (Ok(address), _) => Host::Address(address.to_canonical()),
        (_, Some((address, interface))) => Host::Scoped { address, interface: interface.to_owned() },
        _ => Host::Name { name: host.to_owned(), family },
    }
}

fn answer(plan: &SshPlan, line: &Line, key: &PrivateKey, direct: bool) -> Answer {
    Answer {
        key: *key.public().bytes(),
        direct,
        buffer: plan.buffer,
        patience: plan.patience.map(|patience| match patience {
            Patience::ForEver => 0,
            Patience::For(time) => time.as_secs(),
        }),
        rate: plan.stream.rate,
        compress: plan.stream.compress.map(|compress| match compress {
            Compress::Adaptive => 0,
            Compress::Level(level) => level as u8,
        }),
        verbose: plan.verbose,
        congestion: plan.stream.congestion.clone().unwrap_or_default(),
        command: line.command.clone(),
    }
}

/// What has come of a session.
struct Gathered {
    outcomes: Outcomes,
    /// A connection has been up.
    met: bool,
}

impl Gathered {
    /// Whether it is known how the command ended. Then the last of its stderr may still be on its way.
    fn knows_end(&self) -> bool {
        self.outcomes.outgoing.as_ref().is_some_and(|input| input.command.is_some())
    }

    /// For how long ssh may write nothing before it is ended.
    fn pause(&self) -> Duration {
        if self.knows_end() { LAST_OF_STDERR } else { LAST_WORDS }
    }
}

/// What is known of the links, which the session tells as often as its peer likes.
type Known = Arc<Mutex<Detour>>;

/// Carries the streams.
fn session(
    plan: &SshPlan,
    links: Vec<LinkPlan>,
    channel: Channel,
    trust: Trust,
    stdio: (&Input, &Output),
    detour: Detour,
) -> Result<Gathered, Failure> {
    let signals = signals::hear().map_err(no_signals)?;
    let (sender, news) = conclusion::channel(1);
    let known = Arc::new(Mutex::new(detour));
    let hear = hear(&links, known.clone(), sender.clone());
    let start = Start::new(setup(plan, links, channel, trust, stdio, hear)?).map_err(cannot_start)?;
    let handle = start.handle();
    let subjects = handle.ways().map(|way| Subject { session: handle.clone(), way, expected: None });
    let monitor =
        Monitor::start_unless(subjects.collect(), Wanted::nothing(), is_left(stdio)).map_err(no_thread)?;
    signals.watch(Sessions::new(vec![handle.clone()]), monitor.clone()).map_err(no_thread)?;
    conclusion::run(start, sender)?;
    let gathered = gather(&news, &handle, &known);
    if plan.verbose > 0 {
        monitor.end();
    }
    Ok(gathered)
}

/// Whether this process is to end, or whoever started it has gone, who is the one to ask for reports then: rsync sends
/// SIGUSR1 to its ssh to end it.
fn is_left((input, output): (&Input, &Output)) -> Unless {
    let (input, output) = (input.clone(), output.clone());
    Box::new(move || signals::is_asked_to_end() || (input.is_abandoned() && output.is_abandoned()))
}

fn setup(
    plan: &SshPlan,
    links: Vec<LinkPlan>,
    channel: Channel,
    trust: Trust,
    (input, output): (&Input, &Output),
    hear: Hear,
) -> Result<Setup, Failure> {
    let dials = dialler(plan, names(&links));
    let buffer = dials.hello.buffer;
    let approach = Approach::Dial(links, Box::new(dials));
    let sends = Outgoing {
        config: OutboundConfig { buffer },
        stream: plan.stream.clone(),
        charmode: true,
        source: Box::new(input.source()?),
        is_asked_to_end: signals::is_asked_to_end,
    };
    let config = InboundConfig::new(random_id(), FEATURES, buffer);
    let config = InboundConfig { patience: plan.patience, ..config };
    let receives = Incoming { config, sink: output.sink()?, is_asked_to_end: || false };
    Ok(Setup {
        lifeline: Some(Lifeline { channel, early: Vec::new(), round_trip: None }),
        trust: Some(Arc::new(trust)),
        ..Setup::new(approach, Some(sends), Some(receives), Hazard::new(None), hear)
    })
}

/// What the links are called; the lifeline comes last.
fn names(links: &[LinkPlan]) -> Vec<String> {
    links.iter().map(ToString::to_string).chain([LIFELINE.into()]).collect()
}

/// The end that dials these links, of which the last is the lifeline and has a connection for itself.
fn dialler(plan: &SshPlan, links: Vec<String>) -> DiallerConfig {
    let connections = match links.len() {
        1 => 1,
        links => {
            let most = (plan.threads + 1).min(CONNECTIONS_MAX);
            descriptors::connections(most, Others::of_ssh()).max(links)
        }
    };
    let hello = Hello::of(random_id(), FEATURES | compress(&plan.stream), buffer(plan.buffer));
    DiallerConfig {
        patience: plan.patience,
        lifeline: true,
        ..DiallerConfig::new(hello, links, connections, rand::random())
    }
}

/// Tells the user what a session tells, and the main thread what that depends on.
fn hear(links: &[LinkPlan], known: Known, news: Sender<Conclusion>) -> Hear {
    let names = names(links);
    let name = move |link: usize| names.get(link).cloned().unwrap_or_default();
    Box::new(move |event| match event {
        News::Met(..) => {}
        News::Settled(way, outcome) => drop(news.send(Conclusion::Settled(way, outcome))),
        News::Tell(event) => {
            known.lock().unpoisoned().heed(&event);
            // one that is dialled late may find the session over
            let refused = matches!(event, Event::LinkRefused { .. });
            message::note(event.level().max(refused.into()), || {
                word(&event, &name, &|_| ONE_TIME.to_owned())
            });
        }
    })
}

/// Waits for the end of the session.
fn gather(news: &Receiver<Conclusion>, session: &Handle, known: &Known) -> Gathered {
    let mut outcomes = Outcomes::default();
    loop {
        let time = if known.lock().unpoisoned().is_open() { LOOK } else { Duration::MAX };
        match news.recv_timeout(time) {
            Ok(Conclusion::Settled(way, outcome)) => _ = conclusion::note(&mut outcomes, way, outcome),
            Ok(Conclusion::Ended) | Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => tell_detour(session, known, false),
        }
    }
    let gathered = Gathered { outcomes, met: known.lock().unpoisoned().has_met() };
    if gathered.knows_end() {
        tell_detour(session, known, true);
    }
    gathered
}

/// Says that all goes through ssh, once that is certain and worth a line; see [`Detour::line`].
fn tell_detour(session: &Handle, known: &Known, over: bool) {
    let snapshots = Way::BOTH.into_iter().filter_map(|way| session.snapshot(way, false));
    let moved = snapshots.map(|snapshot| snapshot.delivered).sum();
    let line = known.lock().unpoisoned().line(Instant::now(), over, moved);
    line.into_iter().for_each(message::say);
}
