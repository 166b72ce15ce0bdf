//! What the person at the terminal is told: the report, the live line, the last line.
//!
//! Pure: a [`Snapshot`] of plain figures in, text out. `run` takes snapshots and decides when; it never formats. A
//! report fits 80 columns, and with one link 24 rows, with any number of connections, before the first and after the
//! last.

mod board;
mod figures;
mod live;
mod snapshot;
mod summary;

pub(crate) use board::{Board, FileUnderWay, Sent, Served, ServedSession};
pub(crate) use figures::{COLUMNS, size, time};
pub(crate) use live::{live, plain};
pub(crate) use snapshot::{
    Compressed, Connection, Detail, Kernel, Link, Passage, Phase, Side, Snapshot, State, Waited,
};
pub(crate) use summary::Summary;

use crate::message::text::clipped;
use figures::{count, rate};
use std::fmt::Write as _;
use std::time::Duration;

/// Rows for connections that carry something: with one link, a report is seen whole on a screen of 24.
const ROWS: usize = 8;

/// Several lines, of which the first begins as all messages do.
pub(crate) fn render(snapshot: &Snapshot) -> String {
    let mut lines = vec![headline(snapshot)];
    if snapshot.has_met() {
        lines.push(format!("  held back by: {}", held_back(snapshot)));
    }
    lines.extend(snapshot.peer.as_ref().map(|name| format!("  encrypted; key of the peer: {name}")));
    lines.extend(stream(snapshot));
    lines.extend(snapshot.compressed.map(|compressed| compression(snapshot.side, &compressed)));
    lines.push(format!(
        "  buffer: {} % in use, {} of {}",
        snapshot.fill(),
        size(snapshot.held),
        size(snapshot.buffer)
    ));
    lines.extend(trouble(snapshot));
    lines.extend(links(&snapshot.links));
    lines.extend(connections(&snapshot.connections));
    lines.iter().map(|line| clipped(line, COLUMNS) + "\n").collect()
}

fn headline(snapshot: &Snapshot) -> String {
    let (side, elapsed) = (snapshot.side.name(), time(snapshot.elapsed));
    let overall = rate(snapshot.overall());
    let done = format!("{} delivered in {elapsed}", size(snapshot.delivered));
    match &snapshot.phase {
        Phase::Over(Ok(())) => format!("millipede: {side}: complete: {done}, {overall}"),
        Phase::Over(Err(why)) => format!("millipede: {side}: ended after {done}: {why}"),
        _ if !snapshot.has_met() => match snapshot.side {
            Side::Tx => format!("millipede: tx: no connection yet, after {elapsed}"),
            Side::Rx => format!("millipede: rx: no sender yet, after {elapsed}"),
        },
        Phase::Moving if !snapshot.is_connected() => {
            format!("millipede: {side}: {done}, {overall}; no connection now")
        }
        _ => format!("millipede: {side}: {done}, {overall}; now {}", rate(snapshot.rate)),
    }
}

/// Shares of the time. They add up.
fn held_back(snapshot: &Snapshot) -> String {
    let Waited { network, input, pacing, output } = snapshot.waited;
    let total = (network + input + pacing + output).as_secs_f64();
    if total == 0.0 {
        return "nothing yet".into();
    }
    // rounded, they may come to more
    let mut rest = 100;
    let mut percent = |part: Duration| {
        let share = ((part.as_secs_f64() / total * 100.0).round() as u64).min(rest);
        rest -= share;
        share
    };
    let (input, pacing, output) = (percent(input), percent(pacing), percent(output));
    let limit = if pacing > 0 { format!("rate limit {pacing} %, ") } else { String::new() };
    match snapshot.side {
        Side::Tx => format!("network {rest} %, input {input} %, {limit}output {output} %"),
        Side::Rx => format!("output {output} %, network or input {rest} % (the sender can tell which)"),
    }
}

fn stream(snapshot: &Snapshot) -> Vec<String> {
    let mut lines = vec![match snapshot.detail {
        Detail::Tx { read, sent, .. } => {
            let how = match snapshot.passage {
                Passage::Copied => "",
                Passage::File => ", from the file without a copy",
                Passage::Moved => ", moved without a copy",
            };
            format!("  stream: {} read, {} sent{how}", size(read), size(sent))
        }
        Detail::Rx { received, next, ahead: (legs, bytes), .. } => {
            let how = if snapshot.passage == Passage::Moved { ", to the output without a copy" } else { "" };
            let mut line = format!("  stream: {} received{how}; wants leg {next}", size(received));
            if legs > 0 {
                let _ = write!(line, ", holds {legs} beyond it, {}", size(bytes));
            }
            line
        }
    }];
    if snapshot.phase == Phase::Closing && snapshot.has_met() {
        lines.push(match snapshot.side {
            Side::Tx => "  all of it has arrived; waiting for the receiver's verdict".into(),
            Side::Rx => "  all of it has arrived; waiting for the output to take it".into(),
        });
    }
    if let (Some(expected), Some(fraction)) = (snapshot.expected, snapshot.fraction()) {
        let left = snapshot.left().map_or(String::new(), |left| format!(", {} left", time(left)));
        lines.push(format!("  done: {} % of {}{left}", (fraction * 100.0).floor(), size(expected)));
    }
    lines
}

fn compression(side: Side, compressed: &Compressed) -> String {
    let Compressed { raw, sent, as_it_is, level } = *compressed;
    if raw == 0 {
        return "  compressed: nothing yet".into();
    }
    let made = format!("{} to {}, {:.2} times smaller", size(raw), size(sent), compressed.ratio());
    if side == Side::Rx {
        return format!("  decompressed: {made}");
    }
    let share = (as_it_is * 100).div_ceil(raw);
    let level = match level {
        Some(level) => format!("level {level}"),
        None => "not now".into(),
    };
    format!("  compressed: {made}; {level}; {share} % as it is")
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

fn connections(all: &[Connection]) -> Vec<String> {
    let is_busy = |c: &&Connection| c.state.is_up() && c.rate >= 1.0;
    let (mut busy, others): (Vec<&Connection>, Vec<&Connection>) = all.iter().partition(is_busy);
    busy.sort_by(|a, b| b.rate.total_cmp(&a.rate));
    let beyond = busy.split_off(busy.len().min(ROWS));
    let mut folds = Vec::new();
    for state in [State::Up, State::Leaving, State::Dialling, State::Down] {
        let alike: Vec<&Connection> = others.iter().copied().filter(|c| c.state == state).collect();
        match &alike[..] {
            [] => {}
            // it takes a line either way
            [one] => busy.push(one),
            _ => folds.push(fold(state, &alike)),
        }
    }
    if !beyond.is_empty() {
        let sum = rate(beyond.iter().map(|c| c.rate).sum());
        folds.push(format!(
            "  and {}, slower ones, at {sum} together",
            count(beyond.len() as u64, "connection")
        ));
    }
    busy.sort_by_key(|c| c.number);
    let head = "  conn link  state         leg    bytes       rate      rtt  cwnd resent control";
    let head = (!busy.is_empty()).then(|| head.to_owned());
    head.into_iter().chain(busy.into_iter().map(row)).chain(folds).collect()
}

/// Connections of which each would say the same.
fn fold(state: State, alike: &[&Connection]) -> String {
    let does = if state == State::Up { "idle" } else { state.name() };
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for number in alike.iter().map(|c| c.number) {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let shown = ranges.iter().map(|(first, last)| match last - first {
        0 => first.to_string(),
        1 => format!("{first}, {last}"),
        _ => format!("{first} to {last}"),
    });
    format!("  {} connections {does}: {}", alike.len(), shown.collect::<Vec<_>>().join(", "))
}

fn row(c: &Connection) -> String {
    let link = c.link.map_or("-".into(), |link| (link + 1).to_string());
    let leg = c.leg.map_or("-".into(), |leg| leg.to_string());
    let rate = if c.state.is_up() { rate(c.rate) } else { "-".into() };
    let (number, state, bytes) = (c.number, c.state.name(), size(c.bytes));
    let line = format!("  {number:>4}{link:>5}  {state:8}{leg:>9}{bytes:>9}{rate:>11}");
    let Some(kernel) = &c.kernel else { return line };
    let rtt = kernel.rtt.as_secs_f64() * 1e3;
    let decimals = if rtt < 100.0 { 2 } else { 0 };
    let rtt = format!("{rtt:.decimals$} ms");
    let (window, again) = (short(kernel.window), short(kernel.retransmits));
    format!("{line}{rtt:>9}{window:>6}{again:>7} {:.7}", kernel.control)
}

/// A count in at most five characters.
fn short(n: u32) -> String {
    match n {
        0..100_000 => n.to_string(),
        100_000..10_000_000 => format!("{}k", n / 1000),
        _ => format!("{}M", n / 1_000_000),
    }
}

#[cfg(test)]
mod tests;
