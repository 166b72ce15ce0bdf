//! What the person at the terminal is told while it runs: the report, and the live line.
//!
//! Pure: a [`Snapshot`] of plain figures in, text out. `run` takes snapshots and decides when; it never formats.
//! A report fits 100 columns, with any number of connections, before the first and after the last.

pub mod summary;

use std::fmt::Write as _;
use std::time::Duration;

/// The right margin of a report.
const COLUMNS: usize = 100;

/// One direction at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Which of the two.
    pub side: Side,
    /// How far it has come.
    pub phase: Phase,
    /// Since the first connection; before there was one, since the start.
    pub elapsed: Duration,
    /// The stream's size, where that is known beforehand.
    pub expected: Option<u64>,
    /// Bytes that the output has taken.
    pub delivered: u64,
    /// The same per second, of late.
    pub rate: f64,
    /// Bytes in legs now. At most `buffer`.
    pub held: u64,
    /// Memory for legs.
    pub buffer: u64,
    /// What only this side knows.
    pub detail: Detail,
    /// What it has waited for.
    pub waited: Waited,
    /// Connections that ended before the stream did.
    pub lost: u64,
    /// Which was the last of them, and why.
    pub last_loss: Option<String>,
    /// In the order of the sender's list.
    pub links: Vec<Link>,
    /// In the order of their numbers.
    pub connections: Vec<Connection>,
}

/// The two directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Sends.
    Tx,
    /// Receives.
    Rx,
}

impl Side {
    fn name(self) -> &'static str {
        match self {
            Side::Tx => "tx",
            Side::Rx => "rx",
        }
    }
}

/// How far a direction has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// There has been no connection.
    Waiting,
    /// The stream moves.
    Moving,
    /// All has arrived; the output has the last word.
    Closing,
    /// It is over: well, or why not.
    Over(Result<(), String>),
}

/// What only one side knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Of the sender.
    Tx {
        /// Bytes read from the input.
        read: u64,
        /// Bytes sent at least once.
        sent: u64,
        /// Legs and bytes that were sent more than once.
        again: (u64, u64),
        /// Overtaken legs that were rescued.
        rescues: u64,
        /// Legs that arrived damaged.
        damaged: u64,
    },
    /// Of the receiver.
    Rx {
        /// Bytes received in order.
        received: u64,
        /// The leg wanted next.
        next: u64,
        /// Legs beyond it, and their bytes.
        ahead: (u64, u64),
        /// Legs that came again.
        copies: u64,
        /// How long the write under way has waited.
        blocked: Duration,
    },
}

/// Time spent waiting, by what for. At the receiver `input` is zero: it cannot tell it from the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waited {
    /// For the network, and for what cannot be told from it.
    pub network: Duration,
    /// For the input.
    pub input: Duration,
    /// For the output.
    pub output: Duration,
}

/// One way to the receiver.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// As the sender's user typed it; at the receiver where it comes from.
    pub name: String,
    /// Its place in the sender's list.
    pub index: usize,
    /// Connections that are up.
    pub up: usize,
    /// Bytes of the stream a second over these.
    pub rate: f64,
    /// What went wrong last; empty if nothing has, or it is over.
    pub trouble: String,
}

/// One connection.
#[derive(Clone, Debug, PartialEq)]
pub struct Connection {
    /// The same at both ends.
    pub number: usize,
    /// The link it is on or was on last, by its place.
    pub link: Option<usize>,
    /// What it does.
    pub state: State,
    /// The leg it was given, or brought, last.
    pub leg: Option<u64>,
    /// Bytes in legs it was given or has brought, copies included.
    pub bytes: u64,
    /// The same per second.
    pub rate: f64,
    /// What the kernel knows, of a connection that is up.
    pub kernel: Option<Kernel>,
}

/// What a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Is up.
    Up,
    /// Is being made.
    Dialling,
    /// Will be made again, or was lost.
    Down,
    /// Finishes what it has, to serve another link then.
    Leaving,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            State::Up => "up",
            State::Dialling => "dialling",
            State::Down => "down",
            State::Leaving => "leaving",
        }
    }

    /// Whether it carries anything.
    pub fn is_up(self) -> bool {
        matches!(self, State::Up | State::Leaving)
    }
}

/// What the kernel knows about a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// The round-trip time.
    pub rtt: Duration,
    /// Segments that may be in flight.
    pub window: u32,
    /// Segments sent again.
    pub retransmits: u32,
    /// The congestion control's name.
    pub control: String,
}

impl Snapshot {
    /// Bytes per second since the first connection.
    fn overall(&self) -> f64 {
        per_second(self.delivered, self.elapsed)
    }

    /// How much of the stream is there, where its size is known and right so far.
    pub fn fraction(&self) -> Option<f64> {
        let expected = self.expected.filter(|size| *size >= self.delivered && *size > 0)?;
        Some(self.delivered as f64 / expected as f64)
    }

    /// How long the rest should take, from how it went of late and how it went on the whole.
    fn left(&self) -> Option<Duration> {
        let rest = self.expected?.checked_sub(self.delivered)?;
        let rate = (self.rate + self.overall()) / 2.0;
        let seconds = (rest as f64 / rate).ceil();
        (rate >= 1.0).then(|| Duration::from_secs(seconds as u64))
    }

    fn fill(&self) -> u64 {
        (self.held * 100).div_ceil(self.buffer.max(1)).min(100)
    }
}

// ---- the live line --------------------------------------------------------------------------------------

/// The live line, without its bar.
pub fn live(snapshot: &Snapshot) -> String {
    format!(
        "{}  {:>8}  {:>10}  {}  buffer {:>3} %",
        snapshot.side.name(),
        size(snapshot.delivered),
        rate(snapshot.rate),
        time(snapshot.elapsed),
        snapshot.fill()
    )
}

/// What stands behind the bar; nothing where the size is not known.
pub fn rest(snapshot: &Snapshot) -> Option<String> {
    let percent = (snapshot.fraction()? * 100.0).floor();
    Some(match snapshot.left() {
        Some(left) => format!("{percent:>3} %  {} left", time(left)),
        None => format!("{percent:>3} %"),
    })
}

/// What has been done, when it is over.
pub fn summary(snapshot: &Snapshot) -> String {
    format!(
        "{}: {} delivered in {}, {}",
        snapshot.side.name(),
        size(snapshot.delivered),
        time(snapshot.elapsed),
        rate(snapshot.overall())
    )
}

// ---- the report -----------------------------------------------------------------------------------------

/// Several lines, of which the first begins as all messages do.
pub fn render(snapshot: &Snapshot) -> String {
    let mut lines = vec![headline(snapshot)];
    if snapshot.phase != Phase::Waiting {
        lines.push(format!("  held back by: {}", held_back(snapshot)));
    }
    lines.extend(stream(snapshot));
    lines.push(format!(
        "  buffer: {} % in use, {} of {}",
        snapshot.fill(),
        size(snapshot.held),
        size(snapshot.buffer)
    ));
    lines.extend(trouble(snapshot));
    lines.extend(links(&snapshot.links));
    lines.extend(connections(&snapshot.connections));
    lines.iter().map(|line| clipped(line) + "\n").collect()
}

fn headline(snapshot: &Snapshot) -> String {
    let (side, elapsed) = (snapshot.side.name(), time(snapshot.elapsed));
    let overall = rate(snapshot.overall());
    let done = format!("{} delivered in {elapsed}", size(snapshot.delivered));
    let alone = !snapshot.connections.iter().any(|c| c.state.is_up());
    match &snapshot.phase {
        Phase::Waiting if snapshot.side == Side::Tx => {
            format!("millipede: tx: no connection yet, after {elapsed}")
        }
        Phase::Waiting => format!("millipede: rx: no sender yet, after {elapsed}"),
        Phase::Over(Ok(())) => format!("millipede: {side}: complete: {done}, {overall}"),
        Phase::Over(Err(why)) => format!("millipede: {side}: ended after {done}: {why}"),
        Phase::Moving if alone => format!("millipede: {side}: {done}, {overall} overall; no connection now"),
        _ => format!("millipede: {side}: {done}, {} now, {overall} overall", rate(snapshot.rate)),
    }
}

/// Shares of the time. They add up.
fn held_back(snapshot: &Snapshot) -> String {
    let Waited { network, input, output } = snapshot.waited;
    let total = (network + input + output).as_secs_f64();
    if total == 0.0 {
        return "nothing yet".into();
    }
    let percent = |part: Duration| (part.as_secs_f64() / total * 100.0).round() as u64;
    let (input, output) = (percent(input), percent(output).min(100 - percent(input)));
    let network = 100 - input - output;
    match snapshot.side {
        Side::Tx => format!("network {network} %, input {input} %, output {output} %"),
        Side::Rx => format!("output {output} %, network or input {network} % (the sender can tell which)"),
    }
}

fn stream(snapshot: &Snapshot) -> Vec<String> {
    let mut first = match snapshot.detail {
        Detail::Tx { read, sent, .. } => format!("  stream: {} read, {} sent", size(read), size(sent)),
        Detail::Rx { received, next, ahead: (legs, bytes), .. } => {
            let mut line = format!("  stream: {} received; next leg wanted {next}", size(received));
            if legs > 0 {
                let _ = write!(line, ", {} held beyond it, {}", count(legs, "leg"), size(bytes));
            }
            line
        }
    };
    if snapshot.phase == Phase::Closing {
        first += match snapshot.side {
            Side::Tx => "; all of it has arrived, waiting for the receiver's verdict",
            Side::Rx => "; that is all, waiting for the output to take it",
        };
    }
    let mut lines = vec![first];
    if let (Some(expected), Some(fraction)) = (snapshot.expected, snapshot.fraction()) {
        let left = snapshot.left().map_or(String::new(), |left| format!(", {} left", time(left)));
        lines.push(format!("  done: {} % of {}{left}", (fraction * 100.0).floor(), size(expected)));
    }
    lines
}

fn trouble(snapshot: &Snapshot) -> Vec<String> {
    let mut lines = vec![match snapshot.detail {
        Detail::Tx { again: (legs, bytes), rescues, damaged, .. } => format!(
            "  sent again: {}, {}; {}; {damaged} damaged",
            count(legs, "leg"),
            size(bytes),
            count(rescues, "rescue")
        ),
        Detail::Rx { copies, blocked, .. } => {
            let now = if blocked < Duration::from_millis(100) {
                "not blocked now".to_owned()
            } else {
                format!("blocked for {:.1} s now", blocked.as_secs_f64())
            };
            let all = snapshot.waited.output.as_secs_f64();
            format!("  output: {now}, {all:.1} s in all; {} came twice", count(copies, "leg"))
        }
    }];
    let mut lost = format!("  connections lost: {}", snapshot.lost);
    if let Some(last) = &snapshot.last_loss {
        let _ = write!(lost, ", the last: {last}");
    }
    lines.push(lost);
    lines
}

fn links(links: &[Link]) -> Vec<String> {
    let mut lines: Vec<String> = links
        .iter()
        .map(|link| {
            let trouble = if link.trouble.is_empty() { String::new() } else { format!(": {}", link.trouble) };
            let rate = if link.up == 0 { "-".into() } else { rate(link.rate) };
            format!("  {:>4}{:>6}{rate:>13}  {}{trouble}", link.index + 1, link.up, link.name)
        })
        .collect();
    if !lines.is_empty() {
        lines.insert(0, "  link    up         rate".into());
    }
    lines
}

fn connections(connections: &[Connection]) -> Vec<String> {
    let row = |c: &Connection| {
        let link = c.link.map_or("-".into(), |link| (link + 1).to_string());
        let leg = c.leg.map_or("-".into(), |leg| leg.to_string());
        let rate = if c.state.is_up() { rate(c.rate) } else { "-".into() };
        let line = format!(
            "  {:>4}{link:>6}  {:9}{leg:>8}{:>11}{rate:>13}",
            c.number,
            c.state.name(),
            size(c.bytes)
        );
        let Some(kernel) = &c.kernel else { return line };
        let rtt = kernel.rtt.as_secs_f64() * 1e3;
        let decimals = if rtt < 100.0 { 2 } else { 0 };
        format!(
            "{line}{:>10}{:>7}{:>9}  {}",
            format!("{rtt:.decimals$} ms"),
            kernel.window,
            kernel.retransmits,
            kernel.control
        )
    };
    let head = "  conn  link  state         leg      bytes         rate       rtt   cwnd  retrans  control";
    let rows = connections.iter().map(row);
    if connections.is_empty() { Vec::new() } else { [head.to_owned()].into_iter().chain(rows).collect() }
}

// ---- figures --------------------------------------------------------------------------------------------

/// Bytes, with three digits that count: `12.4 GiB`.
pub fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // what would be shown as 1024 is 1.00 of the next
    while value >= 1023.5 && unit + 1 < units.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    let decimals = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.decimals$} {}", units[unit])
}

fn rate(bytes_per_second: f64) -> String {
    format!("{}/s", size(bytes_per_second as u64))
}

/// `h:mm:ss`, with days before it where there are any.
pub fn time(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    let days = if days > 0 { format!("{days}d ") } else { String::new() };
    format!("{days}{hours}:{minutes:02}:{:02}", seconds % 60)
}

fn per_second(bytes: u64, elapsed: Duration) -> f64 {
    let seconds = elapsed.as_secs_f64();
    if seconds < 0.001 { 0.0 } else { bytes as f64 / seconds }
}

fn count(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// The line, at the margin at the latest. What names and peers say can be as long as they like.
fn clipped(line: &str) -> String {
    if line.chars().count() <= COLUMNS {
        return line.to_owned();
    }
    line.chars().take(COLUMNS - 3).chain("...".chars()).collect()
}

#[cfg(test)]
mod tests;
