//! Makes the plan of the words typed, or says which word is wrong and why.
//!
//! Every rule between words is here; every rule on one operand is in `value`. A plan that this returns keeps every
//! promise made at the declarations in [`crate::plan`].

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::typed::Typed;
use super::{Side, WORDS, value};
use crate::message::LEVEL_MAX;
use crate::plan::{
    BUFFER_DEFAULT, BUFFER_MAX, BUFFER_MIN, Common, EdgePlan, LinkPlan, Patience, Plan, Progress,
    ReceivePlan, StreamPlan, TransmitPlan,
};
use crate::proto::leg::{CONNECTIONS_MAX, LEG_MAX, LINKS_MAX};

/// The longest times that can be asked for, in their unit: over a century of patience, over an hour before each
/// 2 MiB. Adding one to a clock never overflows.
const TIME_MAX: u64 = u32::MAX as u64;

/// The words that take the place of stdin and stdout.
const EDGES: [&str; 3] = ["terminate", "initiate", "exec"];

/// The plan, or a sentence that names the word that is wrong.
pub(super) fn plan(typed: &Typed) -> Result<Plan, String> {
    sides(typed)?;
    conflicts(typed)?;
    Ok(Plan { receive: receive(typed)?, transmit: transmit(typed)?, common: common(typed)? })
}

/// Every word is on a side that is there, and there is something to do.
fn sides(typed: &Typed) -> Result<(), String> {
    let (rx, tx, duplex) = (typed.given("rx"), typed.given("tx"), typed.given("duplex"));
    for word in WORDS.iter().filter(|word| typed.given(word.name)) {
        match word.side {
            Side::Tx if !tx => return Err(format!("{} goes with tx, and there is no tx", word.name)),
            Side::Stream if !tx && !duplex => {
                return Err(format!("{} goes with tx or duplex, and there is neither", word.name));
            }
            Side::Both if !rx && !tx => {
                return Err(format!("{} goes with rx or tx, and there is neither", word.name));
            }
            _ => {}
        }
    }
    if rx || tx || typed.given("prbs") {
        return Ok(());
    }
    Err("rx or tx is missing: \"rx PORT\" receives, \"tx HOST PORT\" transmits".to_owned())
}

/// No two words want to be the same end of the stream, or opposites.
fn conflicts(typed: &Typed) -> Result<(), String> {
    if typed.given("progress") && typed.given("quiet") {
        return Err("progress and quiet exclude each other".to_owned());
    }
    if typed.given("duplex") && typed.given("rx") && typed.given("tx") {
        return Err(
            "duplex goes with rx or with tx: one process listens, the other dials, and both streams go \
                    over its connections"
                .to_owned(),
        );
    }
    let generated = (typed.given("tx") || typed.given("duplex")).then_some("prbs");
    let ends: Vec<_> = EDGES.into_iter().chain(generated).filter(|name| typed.given(name)).collect();
    if typed.given("oneshot") && !typed.given("terminate") && !typed.given("initiate") {
        return Err("oneshot goes with terminate or initiate, and there is neither".to_owned());
    }
    match ends[..] {
        [first, second, ..] => {
            Err(format!("{first} and {second} exclude each other: each is the stream's source"))
        }
        _ => Ok(()),
    }
}

fn receive(typed: &Typed) -> Result<Option<ReceivePlan>, String> {
    let Some(operands) = typed.operands("rx") else { return Ok(None) };
    let (address, port) = address_port("rx", &operands)?;
    let duplex = typed.given("duplex").then(|| stream(typed)).transpose()?;
    Ok(Some(ReceivePlan { address, port, duplex }))
}

fn transmit(typed: &Typed) -> Result<Option<TransmitPlan>, String> {
    if !typed.given("tx") {
        return Ok(None);
    }
    let number = |word, range| one(typed, word, |text| value::number(text, range));
    let most = CONNECTIONS_MAX as u64;
    Ok(Some(TransmitPlan {
        links: links(typed)?,
        threads: number("threads", 1..=most)?.unwrap_or(most) as usize,
        checksum: typed.given("checksum"),
        stream: stream(typed)?,
        duplex: typed.given("duplex"),
    }))
}

fn stream(typed: &Typed) -> Result<StreamPlan, String> {
    let number = |word, range| one(typed, word, |text| value::number(text, range));
    Ok(StreamPlan {
        leglimit: number("leglimit", 0..=u64::MAX / LEG_MAX as u64)?,
        delayus: number("delayus", 0..=TIME_MAX)?,
        rate: one(typed, "rate", |text| value::size(text, 1, 1..=u64::MAX))?,
        congestion: one(typed, "congestion", congestion)?,
    })
}

/// Each `tx`, with the `via` that stands between it and the next.
fn links(typed: &Typed) -> Result<Vec<LinkPlan>, String> {
    let (links, mut vias) = (typed.each("tx"), typed.each("via").into_iter().peekable());
    if links.len() > LINKS_MAX {
        return Err(format!("tx is given {} times: at most {LINKS_MAX}", links.len()));
    }
    let first = links.first().map_or(0, |link| link.0);
    if vias.peek().is_some_and(|via| via.0 < first) {
        return Err("via binds the tx before it, and there is none before it".to_owned());
    }
    let ends = links.iter().skip(1).map(|next| next.0).chain([usize::MAX]);
    let link = |((_, operands), end): (&(usize, Vec<&str>), usize)| {
        let via = vias
            .next_if(|via| via.0 < end)
            .map(|via| value::host(via.1[0]).map_err(at("via")))
            .transpose()?;
        if vias.peek().is_some_and(|again| again.0 < end) {
            return Err("via is given twice for one tx".to_owned());
        }
        let (host, port) = host_port("tx", operands)?;
        Ok(LinkPlan { host, port, via })
    };
    links.iter().zip(ends).map(link).collect()
}

fn common(typed: &Typed) -> Result<Common, String> {
    let number = |word, range| one(typed, word, |text| value::number(text, range));
    let edge = edge(typed)?;
    let tunnel = matches!(edge, EdgePlan::Terminate { .. } | EdgePlan::Initiate { .. });
    Ok(Common {
        checkphrase: one(typed, "checkphrase", checkphrase)?,
        charmode: typed.given("charmode") || tunnel,
        oneshot: typed.given("oneshot"),
        edge,
        prbs: one(typed, "prbs", seed)?,
        chaos: number("chaos", 2..=u64::MAX)?,
        buffer: one(typed, "buffer", |text| value::size(text, 1 << 20, BUFFER_MIN..=BUFFER_MAX))?
            .unwrap_or_else(|| crate::sys::limits::memory_share(BUFFER_DEFAULT, BUFFER_MIN)),
        patience: number("patience", 0..=TIME_MAX)?.map(patience),
        verbose: number("verbose", 0..=LEVEL_MAX.into())?.unwrap_or(0) as u8,
        progress: match (typed.given("progress"), typed.given("quiet")) {
            (true, _) => Progress::Always,
            (_, true) => Progress::Never,
            _ => Progress::Automatic,
        },
        size: one(typed, "size", |text| value::size(text, 1, 1..=u64::MAX))?,
    })
}

/// What takes the place of stdin and stdout; `conflicts` has seen to it that there is one at most.
fn edge(typed: &Typed) -> Result<EdgePlan, String> {
    if let Some(operands) = typed.operands("terminate") {
        let (address, port) = address_port("terminate", &operands)?;
        return Ok(EdgePlan::Terminate { address: address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), port });
    }
    if let Some(operands) = typed.operands("initiate") {
        let (host, port) = host_port("initiate", &operands)?;
        return Ok(EdgePlan::Initiate { host, port });
    }
    let command = one(typed, "exec", command)?;
    Ok(command.map_or(EdgePlan::Stdio, |command| EdgePlan::Exec { command }))
}

fn patience(seconds: u64) -> Patience {
    if seconds == 0 { Patience::ForEver } else { Patience::For(Duration::from_secs(seconds)) }
}

fn seed(text: &str) -> Result<u16, String> {
    value::number(text, 0..=u16::MAX.into()).map(|seed| seed as u16)
}

fn checkphrase(text: &str) -> Result<[u8; 4], String> {
    text.as_bytes()
        .try_into()
        .map_err(|_| format!("{text:?} has {} bytes: it must have exactly 4", text.len()))
}

/// A name as the kernel has them: TCP_CA_NAME_MAX is 16, the end included.
fn congestion(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match text.len() {
        1..=15 if text.chars().all(plain) => Ok(text.to_owned()),
        _ => Err(format!("{text:?} is no name of a congestion control, such as cubic or bbr")),
    }
}

fn command(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err("the command is empty".to_owned()) } else { Ok(text.to_owned()) }
}

/// Reads the operand of a word that has one, if the word was given.
fn one<T>(
    typed: &Typed,
    word: &'static str,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, String> {
    let operand = typed.operands(word).and_then(|operands| operands.first().copied());
    operand.map(read).transpose().map_err(at(word))
}

fn host_port(word: &'static str, operands: &[&str]) -> Result<(String, u16), String> {
    let [host, port] = operands else { return Err(format!("{word} wants HOST PORT")) };
    let host = value::host(host).map_err(at(word))?;
    Ok((host, value::port(port, 1).map_err(at(word))?))
}

fn address_port(word: &'static str, operands: &[&str]) -> Result<(Option<IpAddr>, u16), String> {
    let (address, port) = match *operands {
        [port] => (None, port),
        [address, port] => (Some(value::address(address).map_err(at(word))?), port),
        _ => return Err(format!("{word} wants [ADDRESS] PORT")),
    };
    Ok((address, value::port(port, 0).map_err(at(word))?))
}

/// Puts the word before what is wrong with its operand.
fn at(word: &'static str) -> impl Fn(String) -> String {
    move |wrong| format!("{word}: {wrong}")
}
