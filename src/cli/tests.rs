//! Command lines as users type them, and the plans or sentences they become.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::plan::{
    BUFFER_DEFAULT, Compress, EdgePlan, Family, Host, LinkPlan, ListenOn, ListenPlan, Patience, Plan,
    ReceivePlan, StreamPlan, Through, TransmitPlan, TrustPlan, Ways,
};

mod addresses;
mod commands;
mod keys;
mod ssh;
mod store;

fn parse_words(words: &[&str]) -> Result<Plan, Stop> {
    match parse(words.iter().map(OsString::from))? {
        Task::Carry(plan) => Ok(*plan),
        other => panic!("{words:?}: {other:?}"),
    }
}

/// The plan of a line without quoted words.
fn plan(line: &str) -> Plan {
    parse_words(&line.split_whitespace().collect::<Vec<_>>())
        .unwrap_or_else(|stop| panic!("{line}: {stop:?}"))
}

/// The sentence that a wrong line gets.
fn wrong(line: &str) -> String {
    match parse_words(&line.split_whitespace().collect::<Vec<_>>()) {
        Err(Stop::Usage(sentence)) => sentence,
        other => panic!("{line}: {other:?}"),
    }
}

fn transmit(line: &str) -> TransmitPlan {
    plan(line).transmit.unwrap()
}

fn name(name: &str) -> Host {
    Host::Name { name: name.to_owned(), family: Family::Any }
}

fn address(text: &str) -> Host {
    Host::Address(text.parse().unwrap())
}

fn scoped(address: &str, interface: &str) -> Host {
    Host::Scoped { address: address.parse().unwrap(), interface: interface.to_owned() }
}

fn link(host: &str, port: u16) -> LinkPlan {
    LinkPlan { host: name(host), port, via: None }
}

fn receive(on: ListenOn, port: u16) -> Option<ReceivePlan> {
    Some(ReceivePlan { listen: ListenPlan { on, port }, duplex: None })
}

const ALL: ListenOn = ListenOn::All(Family::Any);

#[test]
fn the_main_job() {
    let rx = plan("rx 8834");
    assert_eq!(rx.receive, receive(ALL, 8834));
    assert_eq!(rx.transmit, None);
    let common = &rx.common;
    let buffer = crate::sys::limits::memory_share(BUFFER_DEFAULT, crate::plan::BUFFER_MIN);
    assert_eq!((common.buffer, common.patience, common.verbose), (buffer, None, 0));
    assert_eq!((common.checkphrase, common.charmode, common.prbs, common.chaos), (None, false, None, None));
    assert_eq!(common.edge, EdgePlan::Stdio);

    let tx = plan("tx host 8834");
    assert_eq!(tx.receive, None);
    let expected = TransmitPlan {
        links: vec![link("host", 8834)],
        threads: 16,
        checksum: false,
        stream: StreamPlan::default(),
        duplex: false,
    };
    assert_eq!(tx.transmit, Some(expected));
}

#[test]
fn words_options_and_equals_signs_are_the_same_in_any_order() {
    let expected = plan("tx a 1 threads 8 charmode rx ::1 2 terminate 9");
    for line in [
        "charmode threads 8 terminate 9 rx ::1 2 tx a 1",
        "--tx a 1 --threads 8 --charmode --rx ::1 2 --terminate 9",
        "--terminate=9 --rx=::1 2 --threads=8 --tx=a 1 charmode",
        "--threads 0x8 tx a 0x1 --rx [::1] 2 terminate 127.0.0.1 9 --charmode",
    ] {
        assert_eq!(plan(line), expected, "{line}");
    }
}

#[test]
fn a_host_may_be_called_like_a_word() {
    assert_eq!(transmit("tx rx 99 tx help 98").links, [link("rx", 99), link("help", 98)]);
    let tunnel = plan("rx 1 initiate version 22").common.edge;
    assert_eq!(tunnel, EdgePlan::Initiate { host: name("version"), port: 22 });
}

#[test]
fn the_ancestors_command_lines() {
    for line in [
        "rx 8834",
        "tx host1.yoyodyne.com 8834",
        "tx localhost 3434 verbose 3 rx 3434 leglimit 0x800 prbs 0xd00f",
        "rx 12323 chaos 180002",
        "tx localhost 12323 threads 3 verbose 3 rx 12323 leglimit 50 prbs 0x5aa5 delayus 50",
        "charmode prbs 0xd00f tx localhost 3434 verbose 3 threads 2 rx 3434 leglimit 4",
        "prbs 0xd00f tx localhost 3434 rx 3434",
        "rx 7788 tx host2 9900 charmode",
        "rx 7788 tx host2 9900 charmode terminate 9022",
        "rx 9900 tx host1 7788 charmode initiate localhost 22",
        "charmode initiate localhost 22 tx txhost 4545 rx 5555",
        "charmode terminate 8022 tx rxhost 5555 rx 4545",
        "rx 4545 tx localhost 4545 verbose 5 threads 3",
        "tx localhost 6661 tx localhost 6662 verbose 3 threads 2",
        "tx foreign.shore.net 8834 checksum",
        "checksums chaos 1731 tx localhost 12323 verbose 3 threads 16",
        "tx localhost 12334 checkphrase wat!",
        "rx 12334 checkphrase wat!",
    ] {
        plan(line);
    }
}

#[test]
fn every_word_reaches_the_plan() {
    let all = plan(
        "rx 1 tx a 2 via lo threads 3 checkphrase wat! checksums charmode leglimit 4 delayus 5 rate 6K \
         chaos 7 buffer 8 patience 9 verbose 10 terminate ::1 11",
    );
    let transmit = all.transmit.unwrap();
    assert_eq!((transmit.threads, transmit.checksum), (3, true));
    let stream = transmit.stream;
    assert_eq!((stream.leglimit, stream.delayus, stream.rate), (Some(4), Some(5), Some(6 << 10)));
    let common = all.common;
    assert_eq!(common.checkphrase, Some(*b"wat!"));
    assert_eq!((common.chaos, common.buffer, common.verbose), (Some(7), 8 << 20, 10));
    assert_eq!(common.patience, Some(Patience::For(Duration::from_secs(9))));
    assert_eq!(common.edge, EdgePlan::Terminate(ListenPlan { on: ListenOn::Host(address("::1")), port: 11 }));
    assert_eq!(plan("rx 1 prbs 0xffff").common.prbs, Some(0xffff));
    assert_eq!(plan("rx 1 patience 0").common.patience, Some(Patience::ForEver));
    assert_eq!(plan("rx 1 buffer 4M").common.buffer, 4 << 20);
}

#[test]
fn a_tunnel_implies_charmode_and_loopback() {
    let common = plan("rx 1 terminate 0").common;
    assert_eq!(
        common.edge,
        EdgePlan::Terminate(ListenPlan {
            on: ListenOn::Host(Host::Address(IpAddr::V4(Ipv4Addr::LOCALHOST))),
            port: 0
        })
    );
    assert!(common.charmode);
    assert!(plan("rx 1 initiate localhost 22").common.charmode);
}

#[test]
fn oneshot_needs_a_tunnel() {
    assert!(plan("rx 1 terminate 0 oneshot").common.oneshot);
    assert!(plan("rx 1 --oneshot initiate localhost 22").common.oneshot);
    assert!(!plan("rx 1 terminate 0").common.oneshot);
    for line in ["rx 1 oneshot", "tx h 1 exec true oneshot"] {
        let sentence = wrong(line);
        assert!(sentence.starts_with("oneshot goes with terminate or initiate"), "{line}: {sentence}");
    }
}

#[test]
fn duplex_goes_with_either_side_but_not_with_both() {
    let rx = plan("rx 8834 duplex rate 5K leglimit 3 delayus 7 congestion bbr compress");
    let stream = StreamPlan {
        leglimit: Some(3),
        delayus: Some(7),
        rate: Some(5 << 10),
        congestion: Some("bbr".to_owned()),
        compress: Some(Compress::Adaptive),
    };
    assert_eq!(rx.receive.as_ref().unwrap().duplex, Some(stream));
    assert!(rx.transmit.is_none() && rx.ways() == Ways::BOTH && rx.is_duplex());
    let tx = plan("tx host 8834 duplex checksum");
    assert!(tx.receive.is_none() && tx.ways() == Ways::BOTH && tx.is_duplex());
    assert!(!plan("rx 1 tx a 2").is_duplex());
    assert!(wrong("rx 1 tx a 2 duplex").starts_with("duplex goes with rx or with tx: "));
    assert_eq!(wrong("duplex"), "duplex goes with rx or tx, and there is neither");
    assert_eq!(wrong("rx 1 duplex checksum"), "checksum goes with tx, and there is no tx");
    assert_eq!(wrong("rx 1 duplex threads 4"), "threads goes with tx, and there is no tx");
    assert!(wrong("rx 1 duplex prbs 7 exec cat").starts_with("exec and prbs exclude each other"));
}

#[test]
fn a_level_may_be_left_out() {
    for (line, compress) in [
        ("tx a 1 compress", Some(Compress::Adaptive)),
        ("tx a 1 compress threads 3", Some(Compress::Adaptive)),
        ("compress tx a 1", Some(Compress::Adaptive)),
        ("tx a 1 --compress --threads 3", Some(Compress::Adaptive)),
        ("tx a 1 compress 1", Some(Compress::Level(1))),
        ("tx a 1 compress 19 threads 3", Some(Compress::Level(19))),
        ("tx a 1 --compress=0x10", Some(Compress::Level(16))),
        ("tx a 1", None),
    ] {
        assert_eq!(transmit(line).stream.compress, compress, "{line}");
    }
    assert_eq!(wrong("rx 1 compress"), "compress goes with tx or duplex, and there is neither");
    for level in ["0", "20", "99"] {
        assert!(wrong(&format!("tx a 1 compress {level}")).starts_with("compress: "), "{level}");
    }
    assert!(wrong("tx a 1 compress fast").starts_with("unknown word \"fast\""));
    assert!(wrong("tx a 1 --compress=fast").starts_with("compress: "));
    assert_eq!(wrong("tx a 1 compress compress 3"), "compress is given twice");
}

#[test]
fn through_takes_two_programs_where_something_is_sent_and_else_one() {
    let programs = |words: &[&str]| parse_words(words).unwrap().common.through.unwrap();
    let both = Through { encode: Some("gzip -1".into()), decode: Some("gzip -d".into()) };
    for words in [
        &["tx", "a", "1", "through", "gzip -1", "gzip -d", "threads", "2"][..],
        &["through", "gzip -1", "gzip -d", "rx", "1", "duplex"],
        &["rx", "1", "--through", "gzip -1", "gzip -d", "tx", "a", "2"],
    ] {
        assert_eq!(programs(words), both, "{words:?}");
    }
    let one = programs(&["rx", "1", "through", "gzip -d", "verbose", "2"]);
    assert_eq!(one, Through { encode: None, decode: Some("gzip -d".into()) });
    // a program may be called like a word
    assert_eq!(programs(&["rx", "1", "through", "size"]).decode.unwrap(), "size");
    for (line, said) in [
        ("tx a 1 through cat", "through wants "),
        ("rx 1 through", "through wants "),
        ("rx 1 through cat cat", "unknown word \"cat\"; through takes ENCODE and DECODE with tx"),
        ("through cat", "through goes with rx or tx"),
    ] {
        assert!(wrong(line).starts_with(said), "{line}: {}", wrong(line));
    }
    assert_eq!(
        parse_words(&["rx", "1", "through", " "]),
        Err(Stop::Usage("through: the command is empty".to_owned()))
    );
}

#[test]
fn prbs_stands_alone_or_with_either_side() {
    let alone = plan("prbs 0xd00f");
    assert_eq!((alone.receive, alone.transmit, alone.common.prbs), (None, None, Some(0xd00f)));
    assert_eq!(wrong("prbs 1 leglimit 3"), "leglimit goes with tx or duplex, and there is neither");
    assert_eq!(wrong("prbs 1 exec cat"), "exec goes with rx or tx, and there is neither");
    plan("rx 1 prbs 1 exec cat");
}

#[test]
fn words_that_exclude_each_other() {
    for (line, pair) in [
        ("rx 1 terminate 2 exec cat", "exec and terminate"),
        ("rx 1 exec cat initiate a 2", "exec and initiate"),
        ("rx 1 initiate a 2 terminate 3", "terminate and initiate"),
        ("tx a 1 prbs 1 exec cat", "exec and prbs"),
        ("tx a 1 rx 1 prbs 1 terminate 3", "terminate and prbs"),
    ] {
        let sentence = wrong(line);
        assert!(sentence.starts_with(&format!("{pair} exclude each other")), "{line}: {sentence}");
    }
}

#[test]
fn a_word_on_the_wrong_side_is_named() {
    for word in WORDS.iter().filter(|word| word.side == Side::Tx && !word.excludes.contains(&"rx")) {
        let operand = if word.operands == Operands::None { "" } else { "4" };
        let sentence = wrong(&format!("rx 1 {} {operand}", word.name));
        assert_eq!(sentence, format!("{} goes with tx, and there is no tx", word.name));
    }
    assert!(wrong("verbose 3").starts_with("rx or tx is missing"));
    assert_eq!(wrong("chaos 3"), "chaos goes with rx or tx, and there is neither");
}

#[test]
fn only_tx_and_via_repeat() {
    for line in
        ["rx 1 rx 2", "tx a 1 threads 1 --threads=2", "rx 1 charmode --charmode", "tx a 1 checksum checksums"]
    {
        assert!(wrong(line).ends_with(" is given twice"), "{line}: {}", wrong(line));
    }
    assert_eq!(transmit(&"tx a 1 ".repeat(16)).links.len(), 16);
    assert_eq!(wrong(&"tx a 1 ".repeat(17)), "tx is given 17 times: at most 16");
}

#[test]
fn an_operand_that_is_wrong_is_quoted_after_its_word() {
    for (line, sentence) in [
        ("tx a 1 threads 17", "threads: \"17\" is not a number from 1 to 16"),
        ("tx a 1 threads -5", "threads: \"-5\" is not a number from 1 to 16"),
        ("tx a 1 --threads=", "threads: \"\" is not a number from 1 to 16"),
        ("tx a 0", "tx: \"0\" is not a port from 1 to 65535"),
        ("tx -x 8", "tx: \"-x\" is not a name or address"),
        ("tx a -5", "tx: \"-5\" is not a port from 1 to 65535"),
        ("rx 65536", "rx: \"65536\" is not a port from 0 to 65535"),
        ("rx 1 prbs 0x10000", "prbs: \"0x10000\" is not a number from 0 to 65535"),
        ("rx 1 checkphrase word5", "checkphrase: \"word5\" has 5 bytes: it must have exactly 4"),
        ("rx 1 chaos 1", "chaos: \"1\" is not a number of at least 2"),
        ("rx 1 verbose 21", "verbose: \"21\" is not a number from 0 to 20"),
        ("rx 1 buffer 3", "buffer: \"3\" is too small: at least 4M"),
        (
            "rx 1 patience 1.5",
            "patience: \"1.5\" is not a time; a time is seconds, or a number with s, m, h or d",
        ),
        (
            "tx a 1 congestion b/r",
            "congestion: \"b/r\" is no name of a congestion control, such as cubic or bbr",
        ),
        ("tx a 1 rate 0", "rate: \"0\" is too small: at least 1"),
        (
            "tx a 1 leglimit 8796093022208",
            "leglimit: \"8796093022208\" is not a number from 0 to 8796093022207",
        ),
        ("rx 1 charmode=yes", "unknown word \"charmode=yes\"; did you mean \"charmode yes\"?"),
        ("rx 1 --charmode=yes", "charmode stands alone, without a value"),
    ] {
        assert_eq!(wrong(line), sentence, "{line}");
    }
}

#[test]
fn an_operand_that_is_missing_is_asked_for() {
    for (line, start) in [
        ("tx", "tx wants HOST PORT: transmit"),
        ("tx a", "tx wants HOST PORT: transmit"),
        ("tx a threads 8", "tx wants HOST PORT: transmit"),
        ("tx a 1 threads charmode", "threads wants N: connections"),
        ("tx a --rx 1", "tx wants HOST PORT: transmit"),
        ("--tx --threads 8", "tx wants HOST PORT: transmit"),
        ("rx", "rx wants [ADDRESS] PORT: receive"),
        ("tx a 1 --threads", "threads wants N: connections"),
        ("tx a 1 threads --checksum", "threads wants N: connections"),
        ("rx 1 exec", "exec wants COMMAND: pipe"),
    ] {
        assert!(wrong(line).starts_with(start), "{line}: {}", wrong(line));
    }
}

#[test]
fn a_misspelt_word_is_guessed() {
    for (line, meant) in [
        ("thread 8 tx a 1", "threads"),
        ("--thread=8 tx a 1", "threads 8"),
        ("tx a 1 cheksum", "checksum"),
        ("rx 1 -verbose 3", "verbose"),
        ("rx 1 threads=8", "threads 8"),
        ("hepl", "help"),
        ("help bufer", "buffer"),
        ("help --thread", "threads"),
    ] {
        let sentence = wrong(line);
        let guess = format!("did you mean {meant:?}?");
        assert!(sentence.starts_with("unknown word ") && sentence.ends_with(&guess), "{line}: {sentence}");
    }
    for line in ["xyzzy", "--", "-", "-9", "=", "rx 1 8", "tx a 1 t", "rx 1 rate.", "tx a 1 tz"] {
        assert!(!wrong(line).contains("did you mean"), "{line}: {}", wrong(line));
    }
}

/// Words of other programs, and of this one's future, are not taken for words that mean something else.
#[test]
fn a_word_that_means_something_else_is_not_guessed() {
    for typed in [
        "resume", "resumes", "monitor", "host", "user", "file", "time", "speed", "encrypt", "tls", "zstd",
        "gzip", "debug", "force", "dry-run", "delete", "udp", "tcp", "listen", "connect", "input", "output",
        "timeout", "retry", "store",
    ] {
        let expected = format!("unknown word {typed:?}; \"millipede help\" shows the words");
        assert_eq!(wrong(&format!("tx a 1 {typed} x")), expected);
    }
}

#[test]
fn a_file_is_redirected() {
    for (line, hint) in [
        ("tx a 1 disk.img", "to send a file, redirect stdin: < disk.img"),
        ("--tx a 1 /tmp/disk", "to send a file, redirect stdin: < /tmp/disk"),
        ("rx 1 disk.img", "to write the stream to a file, redirect stdout: > disk.img"),
        ("disk.img", "files are redirected with < and >"),
        // one that is there: tests run in the package's folder
        ("tx a 1 Makefile", "to send a file, redirect stdin: < Makefile"),
    ] {
        let sentence = wrong(line);
        assert!(sentence.starts_with("unknown word ") && sentence.ends_with(hint), "{line}: {sentence}");
    }
}

#[test]
fn no_size_is_too_small_to_say() {
    assert_eq!(plan("tx a 1 size 0").common.size, Some(0));
    assert_eq!(plan("tx a 1 size 1.5G").common.size, Some(3 << 29));
    assert_eq!(
        wrong("tx a 1 rate 10MB"),
        "rate: \"10MB\" has two meanings: write 10M for 10485760 bytes, or write 10000000"
    );
    assert_eq!(plan("rx 1 patience 5m").common.patience, Some(Patience::For(Duration::from_secs(300))));
}

#[test]
fn help_and_version_are_printed_wherever_a_word_may_stand() {
    let printed = |line: &str| match parse_words(&line.split_whitespace().collect::<Vec<_>>()) {
        Err(Stop::Print(text)) => text,
        other => panic!("{line}: {other:?}"),
    };
    for line in ["help", "--help", "-h", "rx 8834 --help", "tx a 1 -h"] {
        assert_eq!(printed(line), help::screen(), "{line}");
    }
    for line in ["help rx", "--help=rx", "rx --help", "-h rx", "help --rx"] {
        assert!(printed(line).starts_with("rx [ADDRESS] PORT\n"), "{line}");
    }
    for line in ["version", "--version", "-V", "rx 1 version"] {
        assert!(printed(line).starts_with("millipede 0."), "{line}");
    }
}

#[test]
fn an_argument_that_is_not_text_is_quoted() {
    let args = ["rx".into(), OsString::from_vec(b"88\xff".to_vec())];
    assert_eq!(parse(args), Err(Stop::Usage("\"88\\xFF\" is not valid UTF-8".to_owned())));
}

#[test]
fn the_table_is_sound() {
    let spellings = || WORDS.iter().flat_map(|word| word.aliases.iter().copied().chain([word.name]));
    for word in WORDS {
        let twice = spellings().filter(|name| *name == word.name).count();
        assert_eq!(twice, 1, "{} is spelt like another word", word.name);
        assert!(word.long.ends_with('.') && !word.short.ends_with('.'), "{}", word.name);
        assert!(!word.common || word.short.len() <= 50, "{}", word.name);
    }
}

proptest! {
    /// Whatever is typed, the answer is a plan or a sentence, never a panic, and a sentence is one line.
    #[test]
    fn anything_typed_is_answered(words in prop::collection::vec(typed_word(), 1..8)) {
        if let Err(Stop::Usage(sentence)) = parse(words.iter().map(OsString::from)) {
            prop_assert_eq!(sentence.lines().count(), 1, "{:?}", sentence);
        }
    }
}

/// Words, options, operands of every kind, and noise.
fn typed_word() -> impl Strategy<Value = String> {
    let name = prop::sample::select(WORDS).prop_map(|word| word.name.to_owned());
    let operand =
        prop::sample::select(&["0", "8", "8834", "::1", "host", "4M", "0x10", "wat!", "-", "--", ""][..]);
    prop_oneof![
        3 => name.clone(),
        1 => name.clone().prop_map(|name| format!("--{name}")),
        1 => (name, operand.clone()).prop_map(|(name, operand)| format!("--{name}={operand}")),
        4 => operand.prop_map(str::to_owned),
        1 => any::<String>(),
    ]
}
