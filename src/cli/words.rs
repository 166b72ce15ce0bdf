//! The table of words: the one place that says which words there are and what they do.
//!
//! The parser, the help, README's table, the manual's section WORDS and the completions are made from it, so a word
//! is added by an entry here and a field in the plan. What is made and kept in files is made again by the tests:
//! `UPDATE=1 cargo test --test completion --test documents --test man`. Nothing here reads what was typed.

mod store;

use super::entry::{Operands, Side, WORD, Word};
use crate::message::LEVEL_MAX;
use crate::plan::{BUFFER_MAX, BUFFER_MIN, LEVELS};
use crate::proto::leg::{CONNECTIONS_MAX, LEG_MAX};

/// The longest times that can be asked for, in their unit: over a century of patience, over an hour before each
/// 2 MiB. Adding one to a clock never overflows.
pub(crate) const TIME_MAX: u64 = u32::MAX as u64;

/// The entry of a word or of another spelling of it.
pub fn word(name: &str) -> Option<&'static Word> {
    WORDS.iter().find(|word| word.name == name || word.aliases.contains(&name))
}

/// Every word, in the order of the help.
pub const WORDS: &[Word] = &[
    Word {
        name: "rx",
        operands: Operands::AddressPort,
        side: Side::Free,
        short: "receive, and write to stdout",
        long: "Receives a stream and writes it to stdout. Listens on PORT, on all addresses of this host unless \
               ADDRESS, an IP address or a name, is given.\n\n\
               Port 0 takes a free port and says which. Of a name the first address is used. A link-local address \
               needs its interface: `fe80::1%eth0`. The form `ADDRESS:PORT` is accepted too.",
        ..WORD
    },
    Word {
        name: "tx",
        operands: Operands::HostPort,
        side: Side::Free,
        repeats: true,
        short: "transmit stdin; repeat it for more links",
        long: "Sends stdin to the receiver at HOST. Given more than once, at most 16 times, it is an ordered list of \
               links to the same receiver: the first link that has room is used, the next ones when the earlier \
               links are full or dead.\n\n\
               HOST is an IP address or a name; every address of a name is tried. The forms `HOST:PORT` and \
               `[ADDRESS]:PORT` are accepted too.",
        ..WORD
    },
    Word {
        name: "ssh",
        operands: Operands::Rest,
        side: Side::Ssh,
        common: false,
        short: "run COMMAND at HOST, over many connections",
        long: "Runs COMMAND at HOST as `ssh` does, and carries its stdin and stdout over many connections: ssh starts the \
               far end and proves who is who. All that follows `ssh` is the command line of ssh, options included; \
               other words stand before it. The exit status is that of COMMAND, or 255.\n\n\
               HOST needs millipede too. The connections lead to where ssh connects to, and are encrypted with keys \
               made for this one command. Where none can be made, all goes through ssh itself. What is no command \
               without a terminal (no COMMAND, `-t`, `-N`, `-V` and the like) is left to ssh. Called by the name \
               `millipede-ssh`, the program takes its whole command line as that of ssh. `MILLIPEDE_SSH` in the \
               environment names another ssh.",
        ..WORD
    },
    Word {
        name: "over",
        operands: Operands::Host("ADDRESS"),
        side: Side::Ssh,
        repeats: true,
        common: false,
        short: "reach HOST at this address for the data",
        long: "Makes the connections to ADDRESS, a name or an IP address, instead of to where ssh connects to. Given more \
               than once, it is an ordered list of links to the same host.",
        ..WORD
    },
    Word {
        name: "ports",
        operands: Operands::Ports("FROM-TO"),
        side: Side::Ssh,
        common: false,
        short: "ports that the far end may listen on",
        long: "Has the far end listen on one of these ports, such as `5000-5099`, which a firewall may let through. \
               Otherwise it takes any free one.",
        ..WORD
    },
    Word {
        name: "program",
        operands: Operands::Path("PATH"),
        side: Side::Ssh,
        common: false,
        short: "where millipede is at HOST",
        long: "Runs the millipede at PATH of HOST. Otherwise it is found as the login shell there finds it. `~/` is the home \
               directory there.",
        ..WORD
    },
    Word {
        name: "via",
        operands: Operands::Interface("ADDRESS-OR-INTERFACE"),
        side: Side::Tx,
        repeats: true,
        common: false,
        short: "bind the link before it to this address or interface",
        long: "Binds the link of the `tx` before it to this address or network interface of this host, which must \
               exist when the program starts.",
        ..WORD
    },
    Word {
        name: "ipv4",
        letter: Some('4'),
        excludes: &["ipv6"],
        with_ssh: true,
        common: false,
        short: "use IPv4 only between the two hosts",
        long: "Uses IPv4 only between the two hosts: of the names after `tx` and `rx` the IPv4 addresses, and where \
               `rx` has no ADDRESS all IPv4 addresses of this host.",
        ..WORD
    },
    Word {
        name: "ipv6",
        letter: Some('6'),
        excludes: &["ipv4"],
        with_ssh: true,
        common: false,
        short: "use IPv6 only between the two hosts",
        long: "Uses IPv6 only between the two hosts: of the names after `tx` and `rx` the IPv6 addresses, and where \
               `rx` has no ADDRESS all IPv6 addresses of this host.",
        ..WORD
    },
    Word {
        name: "duplex",
        short: "both directions over the same connections",
        long: "Sends a stream each way over the connections that `tx` dials, so that only the side with `rx` need be \
               reachable. Both sides must say `duplex`.\n\n\
               Stdin and stdout of both sides are used, or what `exec`, `terminate`, `initiate` or `prbs` put in \
               their place. Each stream has an end and an outcome of its own. A stream that has ended, or whose \
               output has failed, does not end the other; a signal, an input that fails, or a peer that is gone ends \
               both. The words `leglimit`, `delayus`, `rate` and `congestion` may then stand with `rx` too, for the \
               stream that it sends. The word `checksum`, given with `tx`, holds for both streams.",
        ..WORD
    },
    Word {
        name: "threads",
        operands: Operands::Number("N", 1, CONNECTIONS_MAX as u64),
        side: Side::Tx,
        with_ssh: true,
        short: "connections, 1 to 16 (default 16)",
        long: "Uses N connections, 1 to 16. The default is 16. With as many `tx` as threads, each link has one \
               connection.",
        ..WORD
    },
    Word {
        name: "key",
        operands: Operands::File("FILE"),
        short: "encrypt, and let in only who has a known key",
        long: "Encrypts every connection with TLS 1.3, and shows the far end that this end has the private key in \
               FILE: an Ed25519 key in the format of OpenSSH, without a passphrase, that only its owner may read. \
               Both ends must have a `key`. Without `peers`, exactly that same key is let in, so that one FILE \
               copied to both hosts is a shared secret.\n\n\
               The words `keygen FILE` make such a key, and `ssh-keygen -t ed25519 -N ''` does. Take a key of its \
               own for this, not the one that you log in with.",
        ..WORD
    },
    Word {
        name: "peers",
        operands: Operands::File("FILE"),
        common: false,
        short: "with key, let in whoever has a key listed here",
        long: "Lets in whoever has one of the public keys that FILE lists, a line for each, as in a `.pub` file; what \
               follows the key in its line is the name by which that peer is shown. Needs `key`.\n\n\
               A name that several keys have is nobody's: they are shown by their fingerprints. \
               Empty lines and lines that begin with # are passed over. Anything else that is not an Ed25519 key, \
               such as the options of an authorized_keys file, is an error and not ignored. FILE is read again when \
               it changes: sessions of a key that is no longer in it end. If it then has an error, it is said, and \
               the list stays as it was. One process with both `rx` and `tx` needs `peers` with its `key`.",
        ..WORD
    },
    Word {
        name: "keygen",
        operands: Operands::File("FILE"),
        side: Side::Free,
        common: false,
        short: "make a key, in FILE and FILE.pub",
        long: "Makes a new key and ends: the private half in FILE, which only its owner may read, the public half in \
               FILE.pub. Nothing is overwritten. Shows the public half as a line for `peers`. Stands alone.",
        ..WORD
    },
    store::SERVE,
    store::INTO,
    store::THEN,
    store::INSECURE,
    store::SESSIONS,
    store::REQUIRE,
    store::REPLACE,
    store::SUMS,
    store::QUOTA,
    store::KEEP,
    store::KEEPFREE,
    store::NAME,
    store::META,
    store::TAG,
    store::WATCH,
    store::ARCHIVE,
    store::IGNORE,
    store::PUT,
    Word {
        name: "checkphrase",
        operands: Operands::Phrase("WORD"),
        common: false,
        short: "4 bytes that must be the same at both ends",
        long: "Lets the two ends meet only if both give the same WORD of exactly 4 bytes. A receiver without one \
               takes only a sender without one. It prevents mistakes; it is no authentication.",
        ..WORD
    },
    Word {
        name: "checksum",
        aliases: &["checksums"],
        side: Side::Tx,
        common: false,
        short: "verify every leg and the whole stream",
        long: "Sends a CRC-32 with every leg and one of the whole stream. A leg that arrives damaged is sent again.",
        ..WORD
    },
    Word {
        name: "charmode",
        common: false,
        short: "pass on whatever has been read, at once",
        long: "Passes on at once whatever has been read, for interactive streams. Both `terminate` and `initiate` \
               imply it.",
        ..WORD
    },
    Word {
        name: "exec",
        operands: Operands::Command("COMMAND"),
        excludes: &["terminate", "initiate"],
        is_source: true,
        short: "pipe into (rx) or from (tx) a command",
        long: "Runs `sh -c COMMAND`: `rx` pipes the stream into it, `tx` pipes the stream from it. Its exit status \
               counts: when the command fails, the stream fails at both ends.\n\n\
               The command is one argument, so it must be quoted: `exec \"zfs receive tank/home\"`.",
        ..WORD
    },
    Word {
        name: "terminate",
        operands: Operands::AddressPort,
        excludes: &["exec", "initiate"],
        is_source: true,
        short: "tunnel from TCP connections accepted here",
        long: "Carries TCP connections that are accepted here in place of stdin and stdout: any number of them where \
               the far side has `initiate`, otherwise one. Listens on 127.0.0.1 unless ADDRESS, an IP address or a \
               name, is given.\n\n\
               If the far side has neither `terminate` nor `initiate` and there is no `key`, the connection is not \
               read until the far side has sent a byte, for at most 6 s, so that a stranger's hello cannot end it.\n\n\
               Implies `charmode`.",
        ..WORD
    },
    Word {
        name: "initiate",
        operands: Operands::HostPort,
        excludes: &["exec", "terminate"],
        is_source: true,
        short: "tunnel to TCP connections opened from here",
        long: "Carries TCP connections that are opened from here to HOST in place of stdin and stdout: one for each \
               that `terminate` at the far side accepts, otherwise one.\n\n\
               Implies `charmode`.",
        ..WORD
    },
    Word {
        name: "oneshot",
        common: false,
        short: "end the tunnel after its first connection",
        long: "Ends the tunnel in order after the first connection that it carried. Needs `terminate` or `initiate`.",
        ..WORD
    },
    Word {
        name: "prbs",
        operands: Operands::Number("SEED", 0, u16::MAX as u64),
        side: Side::Free,
        is_source: true,
        common: false,
        short: "send and verify a pseudorandom stream",
        long: "Sends a pseudorandom stream in place of stdin (`tx`), or verifies every byte of it and passes it on \
               (`rx`). Without `rx` and `tx`, writes the stream to stdout.\n\n\
               SEED has 16 bits; the same seed gives the same bytes everywhere. The stream ends only with \
               `leglimit`, which goes with `tx` or `duplex`; on stdout it ends when its reader does, as with `| head \
               -c 1G`.",
        ..WORD
    },
    Word {
        name: "leglimit",
        operands: Operands::Number("N", 0, u64::MAX / LEG_MAX as u64),
        side: Side::Stream,
        common: false,
        short: "end the stream after N times 2 MiB",
        long: "Ends the stream after N times 2 MiB.\n\n\
               With `exec`, COMMAND's stdout is closed then, as `head` would do it: \
               that it is killed by SIGPIPE, or exits with 141 as a shell does then, is no failure.",
        ..WORD
    },
    Word {
        name: "delayus",
        operands: Operands::Number("N", 0, TIME_MAX),
        side: Side::Stream,
        common: false,
        short: "wait N microseconds before each 2 MiB",
        long: "Waits N microseconds before each 2 MiB of the stream.",
        ..WORD
    },
    Word {
        name: "congestion",
        operands: Operands::Algorithm("NAME"),
        side: Side::Stream,
        with_ssh: true,
        common: false,
        short: "congestion control of the connections, e.g. bbr",
        long: "Uses the kernel's congestion control NAME for the connections, such as `bbr` for a long path that \
               loses packets at random.\n\n\
               On such a path `bbr` carries many times what the usual `cubic` does. The kernel must list it in \
               `net.ipv4.tcp_available_congestion_control` and, for users other than root, in \
               `net.ipv4.tcp_allowed_congestion_control`.",
        ..WORD
    },
    Word {
        name: "rate",
        operands: Operands::Size("SIZE", 1, 1, u64::MAX),
        side: Side::Stream,
        with_ssh: true,
        common: false,
        short: "at most this many bytes a second, such as 10M",
        long: "Sends at most SIZE bytes of the stream a second.",
        ..WORD
    },
    Word {
        name: "compress",
        operands: Operands::Perhaps("LEVEL", *LEVELS.start(), *LEVELS.end()),
        side: Side::Stream,
        with_ssh: true,
        short: "compress legs in parallel, if that is faster",
        long: "Compresses the stream with zstd, each leg in the thread of its connection. Without LEVEL the level \
               follows what holds the stream back: it rises while the network does, and falls to none where the \
               processor would. With LEVEL, 1 to 19, it is fixed. The far side needs no word.\n\n\
               What does not shrink is sent as it is, after a look at a sample of each leg. Without LEVEL the stream \
               begins as it is, and the level rises one step at a time, from -3 to 9, each after some seconds in which \
               the network was waited for and more than a tenth could be gained. A step that does not keep its promise \
               is undone. With `duplex` each side says this for the stream that it sends. A quarter of `buffer` is \
               used for compressing. SIGUSR1 shows what it comes to. Compressed secrets in a tunnel can be guessed \
               from the lengths of what is sent by whoever can add text of his own to them.",
        ..WORD
    },
    Word {
        name: "through",
        operands: Operands::Programs("ENCODE", "DECODE"),
        common: false,
        short: "pass each leg through a program and its inverse",
        long: "Gives each leg to a program of the user's: `tx` to ENCODE, `rx` to DECODE, which must undo what ENCODE \
               did, as with `through \"gzip -1\" \"gzip -d\"` at `tx` and `through \"gzip -d\"` at `rx`. Both sides must \
               say it; with `duplex` both give both.\n\n\
               Each program is run as `sh -c` would, one argument, so it must be quoted. Each leg, of at most 256 KiB, is a \
               run of its own: it is the program's stdin, and what comes out of its stdout is sent. As many run at once \
               as there are connections. A program that fails, makes nothing, makes more of a leg than 2 MiB or a 64th \
               of the smaller `buffer`, or does nothing for 30 seconds ends the stream, with status 4 at `tx` and 5 at \
               `rx`; what it says on stderr is passed on. A DECODE that makes another number of bytes than the leg had \
               is status 5. That it makes other bytes, only `checksum` finds out (status 6). What the far side names is never run. Encryption by such a program authenticates nothing: whoever changes the \
               wire can still change, repeat and drop legs.",
        ..WORD
    },
    Word {
        name: "chaos",
        operands: Operands::Number("N", 2, u64::MAX),
        common: false,
        short: "break the connection in use at every Nth frame",
        long: "Breaks the connection in use at every Nth frame, the same way each run, to see the stream survive it. \
               The least N is 2.",
        ..WORD
    },
    Word {
        name: "buffer",
        operands: Operands::Size("SIZE", 1 << 20, BUFFER_MIN, BUFFER_MAX),
        with_ssh: true,
        common: false,
        short: "memory per direction, at most (default 128M)",
        long: "Uses at most SIZE of memory for the legs of each direction. The default is 128M, or a quarter of what \
               the machine has or its control group or ulimit allows, if that is less. The least is 4M; a plain \
               number is MiB.\n\n\
               The smaller buffer of the two ends bounds what can be on its way, however many connections there \
               are: a path needs its rate times its round-trip time. With `ssh`, each end heeds what its own host has; \
               SIZE, where it is given, holds for both.",
        ..WORD
    },
    Word {
        name: "patience",
        operands: Operands::Time("SECONDS"),
        with_ssh: true,
        common: false,
        short: "give up after this long without a connection",
        long: "Gives up when no connection has worked for SECONDS; 0 waits for ever. The default is 3600 once the \
               session has begun; before that `tx` waits 60 seconds and `rx` for ever.\n\n\
               A time may also be written with a unit: `90s`, `5m`, `2h` or `1d`. Where `patience` is not given, a \
               session that has begun also ends sooner: at a receiver when all connections were closed and none came \
               back for 60 seconds, at a sender when every link has refused connections for 15 seconds; with `key` \
               either after 5 minutes, since anybody on the way can refuse and close.\n\n\
               A peer that answers and brings the stream nothing forward is waited for as long, a minute before the session \
               has begun, and 30 seconds longer where legs go `through` programs. Of a slow stream, 2 KiB a second are \
               progress.",
        ..WORD
    },
    Word {
        name: "progress",
        excludes: &["quiet"],
        common: false,
        short: "a live line on stderr",
        long: "Shows a live line on stderr: bytes delivered, rate, time and buffer in use and, where the size is \
               known, a bar and the time left.\n\n\
               On a terminal it is there without this word, unless stdin or stdout is the terminal too. Where stderr \
               is no terminal, this word gives a plain line every 10 seconds.",
        ..WORD
    },
    Word {
        name: "quiet",
        excludes: &["progress"],
        common: false,
        short: "no live line and no last line",
        long: "Shows no live line and no last line, even on a terminal. `verbose 1` and higher override it. Messages \
               about trouble are still shown.",
        ..WORD
    },
    Word {
        name: "size",
        operands: Operands::Size("SIZE", 1, 0, u64::MAX),
        common: false,
        short: "how large the stream is, for the time left",
        long: "Says how many bytes the stream will have, for the bar and the time left. A stream that turns out \
               smaller is told; the exit status stays the same. The size of a file on stdin is known without it.",
        ..WORD
    },
    Word {
        name: "verbose",
        operands: Operands::Number("N", 0, LEVEL_MAX as u64),
        side: Side::Free,
        with_ssh: true,
        common: false,
        short: "say more, 0 to 20",
        long: "Says more on stderr. 0: one line at the end, only on a terminal or in a service's journal. 1: that \
               line everywhere. 2: also links and connections. 3 to 20: also legs and frames.",
        ..WORD
    },
    Word {
        name: "help",
        letter: Some('h'),
        operands: Operands::Word("WORD"),
        side: Side::Free,
        common: false,
        short: "explain, or explain one word",
        long: "Shows one screen of help, or explains one word.",
        ..WORD
    },
    Word {
        name: "version",
        letter: Some('V'),
        side: Side::Free,
        common: false,
        short: "show the version",
        long: "Shows the version.",
        ..WORD
    },
];

/// A word as typed, without its dashes, and the operand behind its `=`.
pub(super) fn split(typed: &str) -> (&str, Option<&str>) {
    if let Some(long) = typed.strip_prefix("--") {
        return long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
    }
    let letter = |word: &&Word| {
        word.letter
            .is_some_and(|letter| typed.strip_prefix('-').is_some_and(|rest| rest.chars().eq([letter])))
    };
    (WORDS.iter().find(letter).map_or(typed, |word| word.name), None)
}
