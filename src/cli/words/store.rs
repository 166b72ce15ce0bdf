//! The words of the standing receiver, and of those who send to it.

use crate::cli::entry::{Operands, Side, WORD, Word};

/// What goes with a stream that is one pipe, and not with files.
const PIPES_ALONE: &[&str] = &[
    "rx",
    "duplex",
    "exec",
    "terminate",
    "initiate",
    "prbs",
    "through",
    "charmode",
    "leglimit",
    "delayus",
    "size",
];

pub(super) const SERVE: Word = Word {
    name: "serve",
    operands: Operands::AddressPort,
    side: Side::Free,
    excludes: &[
        "rx",
        "tx",
        "duplex",
        "terminate",
        "initiate",
        "prbs",
        "through",
        "charmode",
        "size",
        "oneshot",
    ],
    short: "receive files of many senders, for ever",
    long: "Receives files of many senders, beside and after each other, and stores them below the folder that \
           `into` names, or gives each to a command of its own, which `exec` names. Listens as `rx` does. Needs `key`, \
           or `insecure`.\n\n\
           With `exec`, MILLIPEDE_NAME, MILLIPEDE_PEER, MILLIPEDE_SIZE (where it is known) and MILLIPEDE_META (a file \
           with the metadata) are in the command's environment, and its exit status is the result. Names are made of \
           letters, digits and `._@+=,:/-` then.\n\n\
           A file comes into DIR/.millipede/partial and gets its name once it is whole and on the disk, with its \
           sum and metadata in DIR/.millipede/meta/NAME.json. A file whose sender is interrupted goes on where it was. \
           A finished file is its key's: another key learns that the name is taken, and nothing else.",
    ..WORD
};

pub(super) const INTO: Word = Word {
    name: "into",
    operands: Operands::File("DIR"),
    side: Side::Serve,
    common: false,
    short: "with serve, store files below this folder",
    excludes: &["exec"],
    long: "Stores files below DIR, which must exist. One process serves a folder at a time. Where DIR is moved or removed, or \
           another folder takes its place, nothing is stored until it is back or `serve` was started anew.",
    ..WORD
};

pub(super) const THEN: Word = Word {
    name: "then",
    operands: Operands::Command("COMMAND"),
    side: Side::Serve,
    with_into: true,
    common: false,
    short: "with serve, run this after each file",
    long: "Runs COMMAND, with `sh -c`, after each file that is stored. A file whose COMMAND has failed is not a success; \
           when it is sent again, COMMAND runs again, until it has succeeded once. When `serve` is to end, a COMMAND that has \
           begun is waited for.\n\n\
           MILLIPEDE_FILE (its path), MILLIPEDE_NAME, MILLIPEDE_PEER, MILLIPEDE_SIZE and MILLIPEDE_META (a file with the \
           metadata) are in its environment. Names are as with `exec`.",
    ..WORD
};

pub(super) const INSECURE: Word = Word {
    name: "insecure",
    side: Side::Serve,
    common: false,
    excludes: &["key"],
    short: "with serve, let in everybody, without a key",
    long: "Serves without `key`: whoever reaches the port stores files, other users of this host too. All senders \
           count as one.",
    ..WORD
};

pub(super) const SESSIONS: Word = Word {
    name: "sessions",
    operands: Operands::Number("N", 1, 1024),
    side: Side::Serve,
    common: false,
    short: "with serve, so many at once (default 4)",
    long: "Serves N sessions at once, 4 by default; each has its part of `buffer`, 4M at least. The others wait, each key in its turn, \
           and who comes first within a key goes first. While others wait, a session of which nothing comes for a \
           minute loses its place, and one that has no connection after 10 seconds. The minute does not pass while \
           this end is at work on what came: a COMMAND that hangs keeps a place for as long as its sender is there.",
    ..WORD
};

pub(super) const REQUIRE: Word = Word {
    name: "require",
    operands: Operands::Text("KEY[,KEY]"),
    side: Side::Serve,
    common: false,
    short: "with serve, metadata that files must have",
    long: "Refuses files whose metadata lacks one of these keys, before any of their bytes.",
    ..WORD
};

pub(super) const REPLACE: Word = Word {
    name: "replace",
    side: Side::Serve,
    with_into: true,
    common: false,
    short: "with serve, let newer files replace older ones",
    long: "Lets a newer file of the same key and name take an older one's place, from one moment to the next once \
           it is whole. Without it, nothing finished is ever overwritten.",
    ..WORD
};

pub(super) const SUMS: Word = Word {
    name: "sums",
    side: Side::Serve,
    with_into: true,
    common: false,
    short: "with serve, put NAME.sha256 beside each file",
    long: "Puts a file NAME.sha256 beside each, which sha256sum -c checks. Names that end so are refused then.",
    ..WORD
};

pub(super) const QUOTA: Word = Word {
    name: "quota",
    operands: Operands::Size("SIZE", 1, 1, u64::MAX),
    side: Side::Serve,
    with_into: true,
    common: false,
    short: "with serve, the most bytes of each key",
    long: "Lets each key have SIZE bytes here at most, finished and not, with what is known of its files.",
    ..WORD
};

pub(super) const KEEP: Word = Word {
    name: "keep",
    operands: Operands::Number("DAYS", 0, 36500),
    side: Side::Serve,
    with_into: true,
    common: false,
    short: "with serve, keep unfinished files (default 7)",
    long: "Removes what has not come whole when nothing more of it has come for DAYS days, 7 by default.",
    ..WORD
};

pub(super) const KEEPFREE: Word = Word {
    name: "keepfree",
    operands: Operands::Size("SIZE", 1, 0, u64::MAX),
    side: Side::Serve,
    with_into: true,
    common: false,
    short: "with serve, leave so much of the disk free",
    long: "Takes no file that would leave less than SIZE bytes of the disk free.",
    ..WORD
};

pub(super) const NAME: Word = Word {
    name: "name",
    operands: Operands::Text("NAME"),
    side: Side::Tx,
    common: false,
    excludes: PIPES_ALONE,
    short: "send stdin to serve, as the file NAME",
    long: "Sends stdin to a standing receiver, which stores it as NAME. With `put` and one file, that is what it is \
           called.\n\n\
           A name is relative, of parts with / between them, none of which begins with a dot or a dash.",
    ..WORD
};

pub(super) const META: Word = Word {
    name: "meta",
    operands: Operands::File("FILE"),
    side: Side::Named,
    common: false,
    short: "with put, name or watch, what there is to say",
    long: "Sends with each file what FILE says: a JSON object of at most 64 KiB.",
    ..WORD
};

pub(super) const TAG: Word = Word {
    name: "tag",
    operands: Operands::Text("KEY=VALUE"),
    side: Side::Named,
    repeats: true,
    common: false,
    short: "with put, name or watch, one thing to say of it",
    long: "Sends with each file that KEY is VALUE, on top of `meta`. May be repeated.",
    ..WORD
};

pub(super) const WATCH: Word = Word {
    name: "watch",
    operands: Operands::File("DIR"),
    side: Side::Tx,
    excludes: &[
        "rx",
        "duplex",
        "exec",
        "terminate",
        "initiate",
        "prbs",
        "through",
        "charmode",
        "leglimit",
        "delayus",
        "size",
        "put",
        "name",
    ],
    common: false,
    short: "send each complete file of DIR to serve, for ever",
    long: "Sends the files below DIR to a standing receiver, those that are there and those that come, for ever. A file \
           is sent when it is closed after writing or moved in, and again when it has changed, for which `serve` needs \
           `replace`.\n\n\
           Passed over are symbolic links, what `ignore` says, hidden files and folders, and names whose last part after a \
           dot is part, filepart, partial, tmp or crdownload; these are sent when they are renamed. What is removed here \
           stays there.\n\n\
           A receiver that is gone is tried again for ever; this is said once. A file that is refused is told of, and \
           sent again when it changes; one that is not stored for another reason is tried again, at most 5 minutes later. \
           A signal ends it, and what was under way is continued the next time.",
    ..WORD
};

pub(super) const ARCHIVE: Word = Word {
    name: "archive",
    operands: Operands::File("DIR"),
    side: Side::Watch,
    common: false,
    short: "with watch, move files to DIR once stored",
    long: "Moves each file that is stored to the same place below DIR, which must exist on the same file system. One that \
           has changed since it was sent stays, and is sent again; one whose place is taken stays too.",
    ..WORD
};

pub(super) const IGNORE: Word = Word {
    name: "ignore",
    operands: Operands::Text("GLOB"),
    side: Side::Watch,
    repeats: true,
    common: false,
    short: "with watch, pass over files of such a name",
    long: "Passes over files and folders whose name matches GLOB, as in a shell. With a / in it, GLOB \
           is for the path below the watched folder, and `**` stands for any folders. May be repeated.",
    ..WORD
};

pub(super) const PUT: Word = Word {
    name: "put",
    operands: Operands::Files("FILE"),
    side: Side::Tx,
    repeats: true,
    excludes: PIPES_ALONE,
    short: "send these files to serve; it stands last",
    long: "Sends files to a standing receiver. Each is called as its path says; one whose path leads elsewhere than \
           below this folder, as its last part. Takes all that follows, so it stands last.\n\n\
           Repeated, it goes on where it was, and sends nothing of what is there already. A file that changes \
           while it is sent is not stored. The exit status is that of the first file that was not.",
    ..WORD
};
