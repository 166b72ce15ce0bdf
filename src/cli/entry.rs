//! What an entry in the table of words says.

/// Which side of the pipe a word belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The transmitting side alone: needs `tx`.
    Tx,
    /// Whoever sends a stream: needs `tx` or `duplex`.
    Stream,
    /// Both sides: needs `rx`, `tx` or `serve`.
    Both,
    /// The standing receiver alone: needs `serve`.
    Serve,
    /// Whoever sends what has a name: needs `put`, `name` or `watch`.
    Named,
    /// Whoever sends a folder: needs `watch`.
    Watch,
    /// Goes with `ssh`, or is it.
    Ssh,
    /// Needs neither.
    Free,
}

/// What follows a word. The text in each is the operand's name, as shown to the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operands {
    /// Nothing.
    None,
    /// A whole number, from the first to the second.
    Number(&'static str, u64, u64),
    /// The same, or nothing.
    Perhaps(&'static str, u64, u64),
    /// A size, from the second to the third in bytes; a plain number is in units of the first.
    Size(&'static str, u64, u64, u64),
    /// A time in seconds, up to `TIME_MAX`.
    Time(&'static str),
    /// Exactly four bytes.
    Phrase(&'static str),
    /// One of the kernel's congestion controls.
    Algorithm(&'static str),
    /// A command for the shell: one operand.
    Command(&'static str),
    /// Two commands for the shell, or only the second where nothing is sent.
    Programs(&'static str, &'static str),
    /// An address or network interface of this host.
    Interface(&'static str),
    /// A file of this host.
    File(&'static str),
    /// Files of this host: all that follows.
    Files(&'static str),
    /// Any text of one operand.
    Text(&'static str),
    /// A path at another host.
    Path(&'static str),
    /// A range of ports.
    Ports(&'static str),
    /// A host, without a port.
    Host(&'static str),
    /// All that follows, as it is: the command line of ssh.
    Rest,
    /// A word, or nothing.
    Word(&'static str),
    /// `HOST PORT`, or `HOST:PORT`.
    HostPort,
    /// `[ADDRESS] PORT`, or `ADDRESS:PORT`.
    AddressPort,
}

impl Operands {
    /// As shown to the user after the word.
    pub fn shown(self) -> String {
        match self {
            Self::None => String::new(),
            Self::Number(name, ..)
            | Self::Size(name, ..)
            | Self::Time(name)
            | Self::Phrase(name)
            | Self::Algorithm(name)
            | Self::Command(name)
            | Self::Interface(name)
            | Self::File(name)
            | Self::Path(name)
            | Self::Text(name)
            | Self::Ports(name)
            | Self::Host(name) => name.to_owned(),
            Self::Files(name) => format!("{name}..."),
            Self::Rest => "HOST COMMAND".to_owned(),
            Self::Word(name) | Self::Perhaps(name, ..) => format!("[{name}]"),
            Self::Programs(encode, decode) => format!("[{encode}] {decode}"),
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
    /// The spelling as one letter after a dash.
    pub(crate) letter: Option<char>,
    /// What follows it.
    pub operands: Operands,
    /// Where it may stand.
    pub side: Side,
    /// Whether it may stand before `ssh` too, though its side is another.
    pub with_ssh: bool,
    /// Whether it is of use with `into` alone, and not with the `exec` of `serve`.
    pub with_into: bool,
    /// Whether the stream that is sent comes from it, in place of stdin: one such word is enough.
    pub is_source: bool,
    /// Whether it may be given more than once.
    pub(crate) repeats: bool,
    /// The words that cannot stand beside it.
    pub(crate) excludes: &'static [&'static str],
    /// Whether it has a line of its own in the one screen of help.
    pub(crate) common: bool,
    /// What it does, for that line and the completions: at most 50 characters.
    pub short: &'static str,
    /// What it does, in whole sentences; what is typed stands in backticks. The first paragraph is enough by itself
    /// and is all that README has; the manual and `help WORD` have all.
    pub long: &'static str,
}

impl Word {
    /// The word and what follows it, as shown to the user.
    pub fn shown(&self) -> String {
        format!("{} {}", self.name, self.operands.shown()).trim_end().to_owned()
    }

    /// How it may be spelt besides its name.
    pub fn spellings(&self) -> Vec<String> {
        let aliases = self.aliases.iter().map(|&alias| alias.to_owned());
        aliases.chain(self.letter.map(|letter| format!("-{letter}"))).collect()
    }
}

/// What most entries leave as it is.
pub(super) const WORD: Word = Word {
    name: "",
    aliases: &[],
    letter: None,
    operands: Operands::None,
    side: Side::Both,
    with_ssh: false,
    with_into: false,
    is_source: false,
    repeats: false,
    excludes: &[],
    common: true,
    short: "",
    long: "",
};
