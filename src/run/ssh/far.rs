//! The far end: started by ssh as one line of the login shell, it runs COMMAND for whoever started it, and for nobody
//! else.
//!
//! It says nothing to the user while all is well, as its stderr is that of COMMAND; what goes wrong is said by the near
//! end. It ends with its session, and COMMAND with it, whatever becomes of ssh.

use super::end::FAILED;
use super::memory::buffer;
use super::talk::{ANSWER, ONE_TIME, await_answer, say};
use crate::channel::{Channel, Transport};
use crate::chaos::Hazard;
use crate::endpoint::exec::{Remote, RemoteSink, RemoteSource};
use crate::error::{Failure, reason};
use crate::message;
use crate::plan::{Compress, Family, FarPlan, LEVELS, ListenOn, ListenPlan, Patience, Ports, StreamPlan};
use crate::proto::check::Expectations;
use crate::proto::hello::Features;
use crate::proto::rendezvous::{Answer, Greeting};
use crate::proto::session::{InboundConfig, OutboundConfig, Tied};
use crate::proto::way::Way;
use crate::run::conclusion::{self, Conclusion, Outcomes};
use crate::run::direction::random_id;
use crate::run::monitor::{Monitor, Subject, Wanted};
use crate::run::sessions::{Sessions, cannot_start, no_signals, no_thread};
use crate::run::{listen, signals};
use crate::session::{Approach, Hear, Incoming, Lifeline, News, Outgoing, Setup, Start};
use crate::sys::account::login_shell;
use crate::sys::child::leave_session;
use crate::sys::stdio::{take_stdin, take_stdout};
use crate::trust::{PrivateKey, PublicKey, Roll, Trust};
use crate::wording::word;
use crossbeam_channel::{Receiver, Sender};
use std::env;
use std::ffi::OsString;
use std::io;
use std::net::TcpListener;
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the near end may take to begin its session, once it has answered.
const UNMET: Duration = Duration::from_secs(60);

/// ssh and all connections closed for so long: the near end is gone.
const GONE: Duration = Duration::from_secs(10);

/// Features that this end can make use of.
const FEATURES: Features = Features(Features::CHECKSUM.0 | Features::DUPLEX.0 | Features::COMPRESS.0);

/// Works for the near end that has started this process. The exit status is for nobody: it is told in the session.
pub fn far(plan: &FarPlan) -> u8 {
    leave_session();
    match attempt(plan) {
        Ok(()) => 0,
        Err(failure) => {
            message::say(failure);
            FAILED
        }
    }
}

fn attempt(plan: &FarPlan) -> Result<(), Failure> {
    if rustix::termios::isatty(io::stdin()) {
        return Err(Failure::usage(
            "far is started by \"millipede ssh\", through ssh; it is of no use by hand",
        ));
    }
    let unusable = |e: io::Error| Failure::network(format!("cannot use stdin and stdout: {}", reason(&e)));
    let pipes = take_stdin().and_then(|from| Transport::pipes(from.into(), take_stdout()?.into()));
    let channel = Channel::plain(pipes.map_err(unusable)?);
    let listener = open(plan.ports);
    let key = PrivateKey::generate().map_err(Failure::network)?;
    let greeting = Greeting { port: port(listener.as_ref()), key: *key.public().bytes() };
    let said = say(&channel, &greeting.encode(), ANSWER);
    let began = Instant::now();
    // without an answer whoever called has gone, or is no millipede: nobody is there to be told
    let Some((answer, early)) = said.ok().and_then(|()| await_answer(&channel)) else { return Ok(()) };
    let round_trip = Some(began.elapsed());
    message::set_level(answer.verbose);
    let listener = listener.filter(|_| answer.direct);
    let near = PublicKey::new(answer.key);
    let trust = Trust::new(&key, Roll::only(near)).map_err(Failure::network)?;
    serve(answer, listener, Lifeline { channel: channel.vouched(near), early, round_trip }, Arc::new(trust))
}

/// Listens on a port of these, or on any; without one all goes through ssh.
fn open(ports: Option<Ports>) -> Option<TcpListener> {
    let (first, last) = ports.map_or((0, 0), |ports| (ports.first, ports.last));
    let mut ports = (first..=last).map(|port| ListenPlan { on: ListenOn::All(Family::Any), port });
    ports.find_map(|plan| listen::open(&plan, None).ok())
}

fn port(listener: Option<&TcpListener>) -> u16 {
    listener.and_then(|listener| listener.local_addr().ok()).map_or(0, |address| address.port())
}

fn serve(
    answer: Answer,
    listener: Option<TcpListener>,
    lifeline: Lifeline,
    trust: Arc<Trust>,
) -> Result<(), Failure> {
    let command = OsString::from_vec(answer.command.clone());
    let remote = Remote::new(shell(), command).map_err(cannot_start)?;
    let signals = signals::hear().map_err(no_signals)?;
    let (sender, news) = conclusion::channel(1);
    let start = Start::new(setup(&answer, listener, lifeline, trust, &remote, sender.clone()))
        .map_err(cannot_start)?;
    let handle = start.handle();
    let subjects = handle.ways().map(|way| Subject { session: handle.clone(), way, expected: None });
    let monitor = Monitor::start(subjects.collect(), Wanted::nothing()).map_err(no_thread)?;
    signals.watch(Sessions::new(vec![handle.clone()]), monitor).map_err(no_thread)?;
    conclusion::run(start, sender)?;
    match gather(&news, &remote).incoming.and_then(|input| input.command) {
        Some(_) => remote.await_stderr(),
        None => remote.end(),
    }
    Ok(())
}

/// The user's login shell, as ssh takes it: what the shell that started this process has read may have changed SHELL.
fn shell() -> OsString {
    let named = || env::var_os("SHELL").filter(|shell| !shell.is_empty());
    login_shell().or_else(named).unwrap_or_else(|| "/bin/sh".into())
}

fn setup(
    answer: &Answer,
    listener: Option<TcpListener>,
    lifeline: Lifeline,
    trust: Arc<Trust>,
    remote: &Arc<Remote>,
    news: Sender<Conclusion>,
) -> Setup {
    let compress = answer.compress.map(compress);
    let expectations = Expectations {
        checkphrase: None,
        features: FEATURES,
        duplex: true,
        initiates: false,
        compresses: compress.is_some(),
        through: false,
    };
    let approach = Approach::Listen(listener, expectations);
    let buffer = buffer(answer.buffer);
    let sends = output(answer, buffer, compress, remote);
    let receives = input(answer, buffer, compress, remote);
    Setup {
        lifeline: Some(lifeline),
        trust: Some(trust),
        ..Setup::new(approach, Some(sends), Some(receives), Hazard::new(None), hear(news))
    }
}

/// The stream that is the command's input.
fn input(answer: &Answer, buffer: u64, compress: Option<Compress>, remote: &Arc<Remote>) -> Incoming {
    let compresses = if compress.is_some() { Features::COMPRESS } else { Features::NONE };
    let features = Features::CHECKSUM | Features::DUPLEX | compresses;
    let config = InboundConfig {
        patience: answer.patience.map(patience),
        tied: Some(Tied { unmet: UNMET, gone: GONE }),
        ..InboundConfig::new(random_id(), features, buffer)
    };
    Incoming { config, sink: Box::new(RemoteSink::new(remote.clone())), is_asked_to_end: || false }
}

/// The stream that is the command's output.
fn output(answer: &Answer, buffer: u64, compress: Option<Compress>, remote: &Arc<Remote>) -> Outgoing {
    let congestion = Some(answer.congestion.clone()).filter(|name| !name.is_empty());
    Outgoing {
        config: OutboundConfig { buffer },
        stream: StreamPlan { rate: answer.rate, congestion, compress, ..StreamPlan::default() },
        charmode: true,
        source: Box::new(RemoteSource::new(remote.clone())),
        is_asked_to_end: signals::is_asked_to_end,
    }
}

fn hear(news: Sender<Conclusion>) -> Hear {
    Box::new(move |event| match event {
        News::Met(..) => {}
        // what the user need know is said at the near end
        News::Tell(event) => {
            message::note(event.level().max(1), || word(&event, &|_| String::new(), &|_| ONE_TIME.to_owned()))
        }
        News::Settled(way, outcome) => drop(news.send(Conclusion::Settled(way, outcome))),
    })
}

/// A level; 0 is one that follows what holds the stream back.
fn compress(level: u8) -> Compress {
    match level {
        0 => Compress::Adaptive,
        level => Compress::Level(u64::from(level).clamp(*LEVELS.start(), *LEVELS.end()) as i32),
    }
}

/// Seconds; 0 is for ever.
fn patience(seconds: u64) -> Patience {
    match seconds {
        0 => Patience::ForEver,
        seconds => Patience::For(Duration::from_secs(seconds.min(u32::MAX.into()))),
    }
}

/// Waits until the session has ended. Meanwhile the command's stdout is closed when nobody wants it, and the command is
/// ended when the session fails.
fn gather(news: &Receiver<Conclusion>, remote: &Remote) -> Outcomes {
    let mut outcomes = Outcomes::default();
    while let Ok(Conclusion::Settled(way, outcome)) = news.recv() {
        match (way, conclusion::note(&mut outcomes, way, outcome)) {
            (Way::Out, Some(output)) if !output.is_complete() => remote.unwanted(),
            (Way::In, Some(input)) if input.command.is_none() => remote.end(),
            _ => {}
        }
    }
    outcomes
}
