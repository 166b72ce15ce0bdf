//! Makes the plan of the words typed, or says which word is wrong and why.
//!
//! Every rule between words is here or in the table, where clap holds it; every rule on one operand is in `value`. A
//! plan that this returns keeps every promise made at the declarations in [`crate::plan`].

use super::entry::Side;
use super::typed::Typed;
use super::words::{WORDS, word};
use super::{value, wrong};
use crate::plan::{
    BUFFER_DEFAULT, BUFFER_MIN, Common, Compress, EdgePlan, Family, FarPlan, Goal, Host, LinkPlan, ListenOn,
    ListenPlan, Plan, Progress, PutPlan, ReceivePlan, ServePlan, SshPlan, StreamPlan, Task, Through,
    TransmitPlan, TrustPlan, WatchPlan,
};
use crate::proto::leg::{CONNECTIONS_MAX, LINKS_MAX};
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

/// What is to be done, or a sentence that names the word that is wrong. `rest` follows `ssh` or `put`.
pub(super) fn task(typed: &Typed, rest: &[OsString]) -> Result<Task, String> {
    if let Some(file) = typed.one("keygen") {
        return keygen(typed, file);
    }
    if typed.given("ssh") {
        return ssh(typed, rest).map(|plan| Task::Ssh(Box::new(plan)));
    }
    if typed.given("serve") {
        return serve(typed).map(|plan| Task::Serve(Box::new(plan)));
    }
    if typed.given("put") || typed.given("name") {
        return put(typed, rest).map(|plan| Task::Put(Box::new(plan)));
    }
    if let Some(folder) = typed.one("watch") {
        let (archive, ignored) = (typed.one("archive"), typed.every("ignore"));
        let plan = |put| WatchPlan { put, folder, archive, ignored };
        return put(typed, rest).map(|put| Task::Watch(Box::new(plan(put))));
    }
    plan(typed).map(|plan| Task::Carry(Box::new(plan)))
}

/// A standing receiver.
fn serve(typed: &Typed) -> Result<ServePlan, String> {
    sides(typed)?;
    conflicts(typed)?;
    if !typed.given("key") && !typed.given("insecure") {
        return Err("serve needs key: without it everybody is let in, which insecure allows".to_owned());
    }
    let operands = typed.operands("serve").unwrap_or_default();
    let goal = match (typed.one("into"), typed.one("exec")) {
        (Some(into), None) => Goal::Into(into),
        (None, Some(command)) => Goal::Exec(command),
        _ => return Err("serve needs into, the folder for the files, or exec, a command for each".to_owned()),
    };
    let folders = WORDS.iter().find(|word| word.with_into && typed.given(word.name));
    if let (Goal::Exec(_), Some(word)) = (&goal, folders) {
        return Err(format!("{} goes with into, and there is exec in its place", word.name));
    }
    let keys: Option<String> = typed.one("require");
    let require: Vec<String> = keys.iter().flat_map(|keys| keys.split(',')).map(str::to_owned).collect();
    if require.iter().any(String::is_empty) {
        return Err("require takes the names of keys, with commas between them".to_owned());
    }
    let (sessions, common) = (typed.one("sessions").unwrap_or(4), common(typed)?);
    if sessions * BUFFER_MIN > common.buffer {
        let (least, has) = (sessions * (BUFFER_MIN >> 20), common.buffer >> 20);
        return Err(format!("sessions {sessions} need a buffer of {least}M, which is {has}M"));
    }
    Ok(ServePlan {
        listen: listen("serve", &operands, ListenOn::All(family(typed)), family(typed))?,
        goal,
        then: typed.one("then"),
        sessions: sessions as usize,
        require,
        replace: typed.given("replace"),
        sums: typed.given("sums"),
        quota: typed.one("quota"),
        keep: typed.one("keep").unwrap_or(7),
        keepfree: typed.one("keepfree").unwrap_or(0),
        common,
    })
}

/// Files, or a stream with a name, for a standing receiver. `rest` are the files as the system has them: what was typed
/// is text, which they need not be.
fn put(typed: &Typed, rest: &[OsString]) -> Result<PutPlan, String> {
    sides(typed)?;
    conflicts(typed)?;
    let (mut files, name): (Vec<PathBuf>, Option<String>) = (typed.every("put"), typed.one("name"));
    // the first one may be attached to the word, and be no part of the rest
    files.truncate(files.len().saturating_sub(rest.len()));
    files.extend(rest.iter().map(PathBuf::from));
    if name.is_some() && files.len() > 1 {
        return Err("name goes with one file, and put has several".to_owned());
    }
    let transmit = transmit(typed)?.ok_or("put goes with tx, and there is no tx")?;
    let (meta, tags) = (typed.one("meta"), typed.every("tag"));
    Ok(PutPlan { transmit, files, name, meta, tags, common: common(typed)? })
}

/// A key is made, and nothing else is done.
fn keygen(typed: &Typed, file: PathBuf) -> Result<Task, String> {
    match WORDS.iter().find(|word| word.name != "keygen" && typed.given(word.name)) {
        None => Ok(Task::Keygen(file)),
        Some(word) => Err(format!("{} cannot stand beside keygen, which makes a key and ends", word.name)),
    }
}

/// What the far end of `ssh` was told.
pub(super) fn far(args: &[OsString]) -> Result<FarPlan, String> {
    let args: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
    match &args[..] {
        [] => Ok(FarPlan::default()),
        [word, ports] if word == "ports" => Ok(FarPlan { ports: Some(value::ports(ports)?) }),
        _ => Err("far is said by \"millipede ssh\", to nobody else".to_owned()),
    }
}

fn ssh(typed: &Typed, rest: &[OsString]) -> Result<SshPlan, String> {
    let wrong = WORDS.iter().find(|word| {
        let goes = matches!(word.side, Side::Ssh) || word.with_ssh;
        typed.given(word.name) && !goes
    });
    if let Some(word) = wrong {
        return Err(format!("{} does not go with ssh, which takes its place", word.name));
    }
    let family = family(typed);
    let over: Result<Vec<_>, _> =
        typed.each("over").iter().map(|(_, host)| value::host_anywhere(host[0], family)).collect();
    let over = over.map_err(at("over"))?;
    if over.len() >= LINKS_MAX {
        return Err(format!("over is given {} times: at most {}", over.len(), LINKS_MAX - 1));
    }
    Ok(SshPlan {
        line: rest.to_vec(),
        over,
        family,
        ports: typed.one("ports"),
        program: typed.one("program"),
        threads: typed.one("threads").map_or(CONNECTIONS_MAX, |n: u64| n as usize),
        stream: stream(typed),
        buffer: typed.one("buffer"),
        patience: typed.one("patience"),
        verbose: verbose(typed),
    })
}

fn plan(typed: &Typed) -> Result<Plan, String> {
    sides(typed)?;
    conflicts(typed)?;
    Ok(Plan { receive: receive(typed)?, transmit: transmit(typed)?, common: common(typed)? })
}

/// Every word is on a side that is there, and there is something to do.
fn sides(typed: &Typed) -> Result<(), String> {
    let (rx, tx, duplex) = (typed.given("rx"), typed.given("tx"), typed.given("duplex"));
    let serve = typed.given("serve");
    for word in WORDS.iter().filter(|word| typed.given(word.name)) {
        match word.side {
            Side::Tx if !tx => return Err(format!("{} goes with tx, and there is no tx", word.name)),
            Side::Stream if !tx && !duplex => {
                return Err(format!("{} goes with tx or duplex, and there is neither", word.name));
            }
            Side::Named if !["put", "name", "watch"].into_iter().any(|name| typed.given(name)) => {
                return Err(format!("{} goes with put, name or watch, and there is none", word.name));
            }
            Side::Watch if !typed.given("watch") => {
                return Err(format!("{} goes with watch, and there is no watch", word.name));
            }
            Side::Ssh => return Err(format!("{} goes with ssh, and there is none", word.name)),
            Side::Serve if !serve => {
                return Err(format!("{} goes with serve, and there is no serve", word.name));
            }
            Side::Both if !rx && !tx && !serve => {
                return Err(format!("{} goes with rx or tx, and there is neither", word.name));
            }
            _ => {}
        }
    }
    if rx || tx || serve || typed.given("prbs") {
        return Ok(());
    }
    Err("rx or tx is missing: \"rx PORT\" receives, \"tx HOST PORT\" transmits".to_owned())
}

/// The rules between words that depend on a third one; clap holds the others.
fn conflicts(typed: &Typed) -> Result<(), String> {
    if typed.given("duplex") && typed.given("rx") && typed.given("tx") {
        return Err(
            "duplex goes with rx or with tx: one process listens, the other dials, and both streams go \
                    over its connections"
                .to_owned(),
        );
    }
    if typed.given("oneshot") && !typed.given("terminate") && !typed.given("initiate") {
        return Err("oneshot goes with terminate or initiate, and there is neither".to_owned());
    }
    if typed.given("peers") && !typed.given("key") {
        return Err("peers goes with key, and there is no key".to_owned());
    }
    if typed.given("key") && typed.given("rx") && typed.given("tx") && !typed.given("peers") {
        return Err("key with rx and tx needs peers: else tx can be led to its own rx".to_owned());
    }
    let mut sources = WORDS.iter().filter(|word| word.is_source && typed.given(word.name));
    match (sources.next(), sources.next()) {
        // where nothing is sent, both are for the stream that comes
        (Some(one), Some(other)) if typed.given("tx") || typed.given("duplex") => {
            Err(wrong::exclusive(one, other))
        }
        _ => Ok(()),
    }
}

fn receive(typed: &Typed) -> Result<Option<ReceivePlan>, String> {
    let Some(operands) = typed.operands("rx") else { return Ok(None) };
    let family = family(typed);
    let listen = listen("rx", &operands, ListenOn::All(family), family)?;
    Ok(Some(ReceivePlan { listen, duplex: typed.given("duplex").then(|| stream(typed)) }))
}

fn transmit(typed: &Typed) -> Result<Option<TransmitPlan>, String> {
    if !typed.given("tx") {
        return Ok(None);
    }
    Ok(Some(TransmitPlan {
        links: links(typed)?,
        threads: typed.one("threads").map_or(CONNECTIONS_MAX, |n: u64| n as usize),
        checksum: typed.given("checksum"),
        stream: stream(typed),
        duplex: typed.given("duplex"),
    }))
}

fn stream(typed: &Typed) -> StreamPlan {
    StreamPlan {
        leglimit: typed.one("leglimit"),
        delayus: typed.one("delayus"),
        rate: typed.one("rate"),
        congestion: typed.one("congestion"),
        compress: typed.given("compress").then(|| compress(typed)),
    }
}

/// The programs of `through`: the first of two is for what is sent.
fn through(typed: &Typed) -> Result<Option<Through>, String> {
    let Some(programs) = typed.operands("through") else { return Ok(None) };
    let read = |program: &str| value::command(program).map_err(at("through"));
    let (encode, decode) = match *programs {
        [decode] => (None, read(decode)?),
        [encode, decode] => (Some(read(encode)?), read(decode)?),
        _ => return Err(wants("through")),
    };
    Ok(Some(Through { encode, decode: Some(decode) }))
}

fn compress(typed: &Typed) -> Compress {
    typed.one("compress").map_or(Compress::Adaptive, |level: u64| Compress::Level(level as i32))
}

fn family(typed: &Typed) -> Family {
    match (typed.given("ipv4"), typed.given("ipv6")) {
        (true, _) => Family::V4,
        (_, true) => Family::V6,
        _ => Family::Any,
    }
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
    let family = family(typed);
    let ends = links.iter().skip(1).map(|next| next.0).chain([usize::MAX]);
    let link = |((_, operands), end): (&(usize, Vec<&str>), usize)| {
        let via = vias.next_if(|via| via.0 < end).map(|via| via.1[0].to_owned());
        if vias.peek().is_some_and(|again| again.0 < end) {
            return Err("via is given twice for one tx".to_owned());
        }
        link(operands, via, family)
    };
    links.iter().zip(ends).map(link).collect()
}

fn link(operands: &[&str], via: Option<String>, family: Family) -> Result<LinkPlan, String> {
    let read = if via.is_some() { value::host } else { value::host_anywhere };
    let (host, port) = host_port("tx", operands, |text| read(text, family))?;
    if let (Host::Address(far), Some(Ok(near))) = (&host, via.as_ref().map(|via| via.parse::<IpAddr>()))
        && far.is_ipv4() != near.to_canonical().is_ipv4()
    {
        return Err(format!("via: {near} and {far} are not of the same IP version"));
    }
    Ok(LinkPlan { host, port, via })
}

fn common(typed: &Typed) -> Result<Common, String> {
    let edge = edge(typed)?;
    let tunnel = matches!(edge, EdgePlan::Terminate(_) | EdgePlan::Initiate { .. });
    Ok(Common {
        trust: typed.one("key").map(|key| TrustPlan { key, peers: typed.one("peers") }),
        checkphrase: typed.one("checkphrase"),
        charmode: typed.given("charmode") || tunnel,
        oneshot: typed.given("oneshot"),
        edge,
        prbs: typed.one("prbs").map(|seed: u64| seed as u16),
        through: through(typed)?,
        chaos: typed.one("chaos"),
        buffer: buffer(typed),
        patience: typed.one("patience"),
        verbose: verbose(typed),
        progress: match (typed.given("progress"), typed.given("quiet")) {
            (true, _) => Progress::Always,
            (_, true) => Progress::Never,
            _ => Progress::Automatic,
        },
        size: typed.one("size"),
    })
}

fn buffer(typed: &Typed) -> u64 {
    typed.one("buffer").unwrap_or_else(|| crate::sys::limits::memory_share(BUFFER_DEFAULT, BUFFER_MIN))
}

fn verbose(typed: &Typed) -> u8 {
    typed.one("verbose").map_or(0, |level: u64| level as u8)
}

/// What takes the place of stdin and stdout; clap has seen to it that there is one at most.
fn edge(typed: &Typed) -> Result<EdgePlan, String> {
    if let Some(operands) = typed.operands("terminate") {
        let loopback = ListenOn::Host(Host::Address(Ipv4Addr::LOCALHOST.into()));
        return listen("terminate", &operands, loopback, Family::Any).map(EdgePlan::Terminate);
    }
    if let Some(operands) = typed.operands("initiate") {
        let read = |text: &str| value::host_anywhere(text, Family::Any);
        let (host, port) = host_port("initiate", &operands, read)?;
        return Ok(EdgePlan::Initiate { host, port });
    }
    Ok(typed.one("exec").map_or(EdgePlan::Stdio, |command| EdgePlan::Exec { command }))
}

fn host_port(
    name: &'static str,
    operands: &[&str],
    read: impl Fn(&str) -> Result<Host, String>,
) -> Result<(Host, u16), String> {
    let [host, port] = operands else { return Err(wants(name)) };
    let host = read(host).map_err(at(name))?;
    Ok((host, value::port(port, 1).map_err(at(name))?))
}

/// `[ADDRESS] PORT`, and what it means without an address.
fn listen(
    name: &'static str,
    operands: &[&str],
    otherwise: ListenOn,
    family: Family,
) -> Result<ListenPlan, String> {
    let (on, port) = match *operands {
        [address] if address.parse::<IpAddr>().is_ok() => return Err(wants(name)),
        [port] => (otherwise, port),
        [address, port] => (on(value::host_anywhere(address, family).map_err(at(name))?, family), port),
        _ => return Err(wants(name)),
    };
    Ok(ListenPlan { on, port: value::port(port, 0).map_err(at(name))? })
}

/// The addresses that a host stands for: the unspecified one for all.
fn on(host: Host, family: Family) -> ListenOn {
    match host {
        Host::Address(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => ListenOn::All(Family::V4),
        Host::Address(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => ListenOn::All(family),
        host => ListenOn::Host(host),
    }
}

fn wants(name: &'static str) -> String {
    word(name).map_or_else(String::new, wrong::wants)
}

/// Puts the word before what is wrong with its operand.
fn at(word: &'static str) -> impl Fn(String) -> String {
    move |wrong| format!("{word}: {wrong}")
}
