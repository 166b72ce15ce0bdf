//! The command line: words as typed become a checked [`Plan`].
//!
//! The bare words, in any order, are the documented form; each is accepted as a long option too. One table,
//! [`WORDS`], says which words there are: the parser, the help and the errors are made from it, so a word is
//! added by an entry there and a field in the plan. The steps, each a file: `typed` turns words into options for
//! clap to parse, `checked` makes the plan, `value` reads one operand, `help` explains. Nothing here prints,
//! exits, resolves a name or opens anything.

mod checked;
mod help;
mod typed;
mod value;

use std::ffi::OsString;

use crate::plan::Plan;

/// Which side of the pipe a word belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The transmitting side alone: needs `tx`.
    Tx,
    /// Whoever sends a stream: needs `tx` or `duplex`.
    Stream,
    /// Both sides: needs `rx` or `tx`.
    Both,
    /// Needs neither.
    Free,
}

/// What follows a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operands {
    /// Nothing.
    None,
    /// A number or size with this name.
    Number(&'static str),
    /// A host or interface with this name, which may be called like a word.
    Host(&'static str),
    /// One operand with this name that may be any text, even one that looks like an option.
    Text(&'static str),
    /// One operand with this name, or nothing.
    Maybe(&'static str),
    /// `HOST PORT`.
    HostPort,
    /// `[ADDRESS] PORT`.
    AddressPort,
}

impl Operands {
    /// As shown to the user after the word.
    pub fn shown(self) -> String {
        match self {
            Self::None => String::new(),
            Self::Number(name) | Self::Host(name) | Self::Text(name) => name.to_owned(),
            Self::Maybe(name) => format!("[{name}]"),
            Self::HostPort => "HOST PORT".to_owned(),
            Self::AddressPort => "[ADDRESS] PORT".to_owned(),
        }
    }
}

/// A word of the command line.
#[derive(Clone, Copy, Debug)]
pub struct Word {
    /// The word; with `--` before it, the option.
    pub name: &'static str,
    /// Other spellings.
    pub aliases: &'static [&'static str],
    /// What follows it.
    pub operands: Operands,
    /// Where it may stand.
    pub side: Side,
    /// Whether it may be given more than once.
    pub repeats: bool,
    /// Whether it has a line of its own in the one screen of help.
    pub common: bool,
    /// What it does, for that line: at most 50 characters.
    pub short: &'static str,
    /// What it does, for `help WORD`: whole sentences.
    pub long: &'static str,
}

impl Word {
    /// The word and what follows it, as shown to the user.
    pub fn shown(&self) -> String {
        format!("{} {}", self.name, self.operands.shown()).trim_end().to_owned()
    }
}

/// What most entries leave as it is.
const WORD: Word = Word {
    name: "",
    aliases: &[],
    operands: Operands::None,
    side: Side::Both,
    repeats: false,
    common: true,
    short: "",
    long: "",
};

/// Every word, in the order of the help.
pub const WORDS: &[Word] = &[
    Word {
        name: "rx",
        operands: Operands::AddressPort,
        side: Side::Free,
        short: "receive, and write to stdout",
        long: "Listens on PORT and writes the stream to stdout. Listens on all addresses, IPv6 and IPv4, unless \
               ADDRESS, an IP address of this host, is given. PORT 0 takes a free port and says which.",
        ..WORD
    },
    Word {
        name: "tx",
        operands: Operands::HostPort,
        side: Side::Free,
        repeats: true,
        short: "transmit stdin; repeat it for more links",
        long: "Transmits stdin to the receiver at HOST, PORT. Given more than once, at most 16 times, it is an \
               ordered list of links to the same receiver: the first that has room is used, the next ones when \
               the earlier are full or dead.",
        ..WORD
    },
    Word {
        name: "via",
        operands: Operands::Host("ADDRESS-OR-INTERFACE"),
        side: Side::Tx,
        repeats: true,
        common: false,
        short: "bind the link before it to this address or interface",
        long: "Binds the link of the tx before it to this local address or network interface.",
        ..WORD
    },
    Word {
        name: "duplex",
        short: "both directions over the same connections",
        long: "Two streams, one each way, over the connections that tx dials: only the side with rx need be \
               reachable. Both sides say it; stdin and stdout of both are used. Each stream ends by itself, and has a \
               status of its own. Words for a stream that is sent may then stand with rx too; checksum, said with tx, \
               holds for both streams.",
        ..WORD
    },
    Word {
        name: "threads",
        operands: Operands::Number("N"),
        side: Side::Tx,
        short: "connections, 1 to 16 (default 16)",
        long: "The number of connections, 1 to 16; the default is 16. As many tx as threads pins one connection \
               to each link.",
        ..WORD
    },
    Word {
        name: "checkphrase",
        operands: Operands::Text("WORD"),
        short: "4 bytes that must be the same at both ends",
        long: "Exactly 4 bytes that must be the same at both ends; a sender that has none meets only a receiver \
               that has none. It keeps stale and foreign peers away; it is no authentication.",
        ..WORD
    },
    Word {
        name: "checksum",
        aliases: &["checksums"],
        side: Side::Tx,
        short: "verify every leg and the whole stream",
        long: "Sends a CRC-32 with every leg and one of the whole stream. A leg that arrives damaged is sent \
               again.",
        ..WORD
    },
    Word {
        name: "charmode",
        common: false,
        short: "pass on whatever has been read, at once",
        long: "Passes on whatever has been read at once, for interactive streams. Terminate and initiate imply it.",
        ..WORD
    },
    Word {
        name: "exec",
        operands: Operands::Text("COMMAND"),
        short: "pipe into (rx) or from (tx) a command",
        long: "With rx, pipes the stream into sh -c COMMAND; with tx, pipes it from that. The command's exit \
               status counts: when it fails, so does the stream.",
        ..WORD
    },
    Word {
        name: "terminate",
        operands: Operands::AddressPort,
        short: "tunnel from TCP connections accepted here",
        long: "The stream comes from and goes to TCP connections accepted here, in place of stdin and stdout: with \
               initiate at the far side any number of them, otherwise one. Listens on loopback unless ADDRESS, an \
               IP address of this host, is given. Implies charmode.",
        ..WORD
    },
    Word {
        name: "initiate",
        operands: Operands::HostPort,
        short: "tunnel to TCP connections opened from here",
        long: "The stream comes from and goes to TCP connections to HOST, PORT, in place of stdin and stdout: with \
               terminate at the far side one for each that it accepts, otherwise one. Implies charmode.",
        ..WORD
    },
    Word {
        name: "oneshot",
        common: false,
        short: "end the tunnel after its first connection",
        long: "With terminate or initiate, ends the tunnel in order after the first connection that it carried.",
        ..WORD
    },
    Word {
        name: "prbs",
        operands: Operands::Number("SEED"),
        side: Side::Free,
        common: false,
        short: "send and verify a pseudorandom stream",
        long: "With tx, sends a pseudorandom stream in place of stdin, without end unless leglimit is given. With \
               rx, verifies every byte of it and passes it on. With neither, writes it to stdout. SEED has 16 bits; \
               the same seed gives the same bytes everywhere.",
        ..WORD
    },
    Word {
        name: "leglimit",
        operands: Operands::Number("N"),
        side: Side::Stream,
        common: false,
        short: "end the stream after N times 2 MiB",
        long: "Ends the stream after N times 2 MiB.",
        ..WORD
    },
    Word {
        name: "delayus",
        operands: Operands::Number("N"),
        side: Side::Stream,
        common: false,
        short: "wait N microseconds before each 2 MiB",
        long: "Waits N microseconds before each 2 MiB of the stream.",
        ..WORD
    },
    Word {
        name: "congestion",
        operands: Operands::Text("NAME"),
        side: Side::Stream,
        common: false,
        short: "congestion control of the connections, e.g. bbr",
        long: "Uses the kernel's congestion control NAME for the connections of this sender. On a long path that \
               loses packets at random, bbr carries many times what the usual cubic does; the kernel must have \
               it in net.ipv4.tcp_available_congestion_control and, for other users than root, in \
               net.ipv4.tcp_allowed_congestion_control.",
        ..WORD
    },
    Word {
        name: "rate",
        operands: Operands::Number("SIZE"),
        side: Side::Stream,
        short: "at most this many bytes a second, such as 10M",
        long: "Sends at most SIZE bytes of the stream a second. SIZE takes K, M, G and T.",
        ..WORD
    },
    Word {
        name: "chaos",
        operands: Operands::Number("N"),
        common: false,
        short: "break the connection in use at every Nth frame",
        long: "Breaks the connection in use at every Nth frame, the same way each run, to see the stream survive \
               it. N is at least 2.",
        ..WORD
    },
    Word {
        name: "buffer",
        operands: Operands::Number("SIZE"),
        short: "memory per direction, at most (default 128M)",
        long: "The most memory for the legs of each direction. SIZE takes K, M, G and T; a plain number is MiB. \
               At least 4M; the default is 128M.",
        ..WORD
    },
    Word {
        name: "patience",
        operands: Operands::Number("SECONDS"),
        short: "give up after this long without a connection",
        long: "How long to wait while no connection works; 0 is for ever. Unless given, 3600 seconds once the \
               session has begun; before that tx waits 60 seconds and rx for ever.",
        ..WORD
    },
    Word {
        name: "progress",
        common: false,
        short: "a live line on stderr",
        long: "Shows a live line on stderr: bytes delivered, rate, time, buffer in use and, where the size is known, \
               a bar and the time left. On a terminal it is there by itself, unless stdin or stdout is the \
               terminal too; this word shows it then as well, and elsewhere as a plain line every 10 seconds.",
        ..WORD
    },
    Word {
        name: "quiet",
        common: false,
        short: "no live line",
        long: "Shows no live line, on a terminal either. Messages about trouble are not affected.",
        ..WORD
    },
    Word {
        name: "size",
        operands: Operands::Number("SIZE"),
        common: false,
        short: "how large the stream is, for the time left",
        long: "The size of the stream, as far as it is known beforehand: for the bar and the time left, nothing \
               else. Where stdin is a file it is known. SIZE is in bytes and takes K, M, G and T.",
        ..WORD
    },
    Word {
        name: "verbose",
        operands: Operands::Number("N"),
        side: Side::Free,
        short: "say more, 0 to 20",
        long: "How much is said on stderr, 0 to 20: 0 is silent when all goes well, 1 sums up at the end, 2 tells \
               of links and connections, more of legs and frames.",
        ..WORD
    },
    Word {
        name: "help",
        operands: Operands::Maybe("WORD"),
        side: Side::Free,
        common: false,
        short: "explain, or explain one word",
        long: "Shows one screen of help, or explains one word.",
        ..WORD
    },
    Word {
        name: "version",
        side: Side::Free,
        common: false,
        short: "show the version",
        long: "Shows the version.",
        ..WORD
    },
];

/// The entry of a word or of another spelling of it.
pub fn word(name: &str) -> Option<&'static Word> {
    WORDS.iter().find(|word| word.name == name || word.aliases.contains(&name))
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The user asked for this text: print it to stdout and end well.
    Print(String),
    /// The command line is wrong: say these lines, which do not have the program's name yet, and exit 2.
    Usage(String),
}

/// A bare sentence is a usage error.
impl From<String> for Stop {
    fn from(sentence: String) -> Self {
        Self::Usage(sentence)
    }
}

/// Makes a plan of the command line, given without the program's own name.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Plan, Stop> {
    let args = args.into_iter().map(readable).collect::<Result<Vec<_>, _>>()?;
    if args.is_empty() {
        return Err(Stop::Usage(help::alone().to_owned()));
    }
    let typed = typed::parse(&args)?;
    Ok(checked::plan(&typed)?)
}

/// Every argument is text: a name, a number, or a command that is shown in messages.
fn readable(arg: OsString) -> Result<String, String> {
    arg.into_string().map_err(|arg| format!("{arg:?} is not valid UTF-8"))
}

#[cfg(test)]
mod tests;
