//! What a person sees of files: at the end that sends them, and at a receiver of many senders.
//!
//! Lines for a report, rows for a terminal of any width, and one line for a log. Names come from peers: whoever writes
//! lines makes them harmless.

use super::figures::{COLUMNS, rate, size};
use crate::message::text::clipped;

/// Sessions that have a row of their own on a terminal; the others are counted.
const ROWS: usize = 8;

/// A file that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileUnderWay {
    /// What it is called.
    pub(crate) name: String,
    /// So much of it is through, or was there.
    pub(crate) at: u64,
    /// Bytes in all, where that is known.
    pub(crate) size: Option<u64>,
}

/// Files as their sender sees them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    /// The folder that is watched, if one is.
    pub(crate) folder: Option<String>,
    /// The one that is under way, or was last.
    pub(crate) file: Option<FileUnderWay>,
    /// Files that are stored, were there already, and were not stored.
    pub(crate) judged: [u64; 3],
    /// How many there are by now.
    pub(crate) total: u64,
    /// Bytes that have moved.
    pub(crate) moved: u64,
    /// Bytes that did not have to move, because they were there.
    pub(crate) there: u64,
    /// So many go first, as long as this sender waits for a place.
    pub(crate) ahead: Option<u32>,
}

/// A standing receiver.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Served {
    /// Places, and how many are taken.
    pub(crate) places: (usize, usize),
    /// In the order in which they came.
    pub(crate) sessions: Vec<ServedSession>,
}

/// One of its sessions.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ServedSession {
    /// Who sends.
    pub(crate) peer: String,
    /// So many go first, if it has no place.
    pub(crate) ahead: Option<usize>,
    /// Bytes a second, of late.
    pub(crate) rate: f64,
    /// What is under way, the one that was begun first before the others.
    pub(crate) files: Vec<FileUnderWay>,
    /// Files that are stored, were there already, and were not stored.
    pub(crate) judged: [u64; 3],
}

/// What stands above the streams.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Board {
    /// At a sender.
    Sent(Sent),
    /// At a receiver.
    Served(Served),
}

impl Board {
    /// Lines of a report, each of at most 80 columns with the program's name before the first.
    pub(crate) fn report(&self) -> Vec<String> {
        let lines = match self {
            Board::Sent(sent) => sent.report(),
            Board::Served(served) => served.report(),
        };
        lines.iter().map(|line| clipped(line, COLUMNS)).collect()
    }

    /// Rows for a terminal of so many columns; none where there is nothing to see.
    pub(crate) fn rows(&self, columns: usize) -> Vec<String> {
        let rows = match self {
            Board::Sent(sent) => sent.row(columns).into_iter().collect(),
            Board::Served(served) => served.rows(columns),
        };
        rows.iter().map(|row| clipped(row, columns)).collect()
    }

    /// Whether there is anything to see, though no stream moves.
    pub(crate) fn is_busy(&self) -> bool {
        match self {
            Board::Sent(sent) => sent.ahead.is_some(),
            Board::Served(served) => !served.sessions.is_empty(),
        }
    }

    /// One line for a log, if there is anything to say.
    pub(crate) fn plain(&self) -> Option<String> {
        match self {
            Board::Sent(sent) => sent.row(usize::MAX),
            Board::Served(served) => (!served.sessions.is_empty()).then(|| served.headline()),
        }
    }
}

impl FileUnderWay {
    /// How far it is, in words.
    fn progress(&self) -> String {
        match self.size {
            Some(all) => format!("{} of {}, {} %", size(self.at), size(all), percent(self.at, all)),
            None => format!("{} so far", size(self.at)),
        }
    }
}

impl Sent {
    fn report(&self) -> Vec<String> {
        let judged = self.judged_of();
        let folder = self.folder.as_ref().map_or(String::new(), |folder| {
            let room = COLUMNS.saturating_sub("millipede: watching : ".len() + judged.len());
            format!("watching {}: ", shortened(folder, room))
        });
        let mut lines = vec![format!("millipede: {folder}{judged}")];
        if let Some(ahead) = self.ahead {
            lines.push(format!("  waits for a place at the receiver: {}", first(ahead as usize)));
        }
        let left = self.judged.iter().sum::<u64>() < self.total;
        if let Some(file) = self.file.as_ref().filter(|_| left) {
            // what is behind the name has to be seen
            let rest = format!(": {}", file.progress());
            lines.push(format!("  now {}{rest}", shortened(&file.name, COLUMNS - 6 - rest.len())));
        }
        let there = match self.there {
            0 => String::new(),
            there => format!("; {} were there already", size(there)),
        };
        lines.push(format!("  {} of files sent{there}", size(self.moved)));
        lines
    }

    fn judged_of(&self) -> String {
        let done: u64 = self.judged.iter().sum();
        match done < self.total {
            true => format!("file {} of {}: {}", done + 1, self.total, counts(self.judged)),
            false if self.folder.is_some() => format!("{}; nothing waits", counts(self.judged)),
            false => counts(self.judged),
        }
    }

    fn row(&self, columns: usize) -> Option<String> {
        if let Some(ahead) = self.ahead {
            return Some(format!("waiting for a place at the receiver: {}", first(ahead as usize)));
        }
        let file = self.file.as_ref()?;
        let done: u64 = self.judged.iter().sum();
        let head = format!("file {} of {}  ", (done + 1).min(self.total), self.total);
        let tail = match file.size {
            Some(all) => format!("  {:>3} % of {}", percent(file.at, all), size(all)),
            None => format!("  {}", size(file.at)),
        };
        let room = columns.saturating_sub(head.len() + tail.len());
        Some(format!("{head}{}{tail}", shortened(&file.name, room)))
    }
}

impl Served {
    fn headline(&self) -> String {
        let (all, taken) = self.places;
        let waiting = self.sessions.iter().filter(|session| session.ahead.is_some()).count();
        let rate = rate(self.sessions.iter().map(|session| session.rate).sum());
        let wait = if waiting == 0 { String::new() } else { format!(", {waiting} waiting") };
        format!("{taken} of {all} places taken{wait}; {rate}")
    }

    fn report(&self) -> Vec<String> {
        let mut lines = vec![format!("millipede: {}", self.headline())];
        for session in &self.sessions {
            lines.push(format!("  {}", session.line(COLUMNS - 2)));
            let others = session.files.iter().skip(1);
            lines.extend(others.map(|file| {
                let rest = format!(": {}", file.progress());
                format!("    {}{rest}", shortened(&file.name, COLUMNS - 4 - rest.len()))
            }));
        }
        lines
    }

    fn rows(&self, columns: usize) -> Vec<String> {
        if self.sessions.is_empty() {
            return Vec::new();
        }
        let mut rows = vec![self.headline()];
        let line = |session: &ServedSession| format!("  {}", session.line(columns.saturating_sub(2)));
        rows.extend(self.sessions.iter().take(ROWS).map(line));
        let more = self.sessions.len().saturating_sub(ROWS);
        rows.extend((more > 0).then(|| format!("  and {more} more")));
        rows
    }
}

impl ServedSession {
    fn line(&self, columns: usize) -> String {
        if let Some(ahead) = self.ahead {
            return format!("{}: waits, {}", self.peer, first(ahead));
        }
        let Some(file) = self.files.first() else {
            return format!("{}: {}", self.peer, counts(self.judged));
        };
        let done: u64 = self.judged.iter().sum();
        let done = if done == 0 { String::new() } else { format!("; {done} before") };
        let rest = format!(": {}{done}", file.progress());
        let room = columns.saturating_sub(self.peer.len() + 2 + rest.len());
        format!("{}: {}{rest}", self.peer, shortened(&file.name, room))
    }
}

/// Of files that are stored, were there already, and were not stored.
fn counts([stored, already, failed]: [u64; 3]) -> String {
    let mut words = format!("{stored} stored");
    if already > 0 {
        words += &format!(", {already} there already");
    }
    if failed > 0 {
        words += &format!(", {failed} not stored");
    }
    words
}

fn first(ahead: usize) -> String {
    match ahead {
        0 => "it is the next one".into(),
        1 => "one goes first".into(),
        ahead => format!("{ahead} go first"),
    }
}

fn percent(part: u64, all: u64) -> u64 {
    if all == 0 { 100 } else { (u128::from(part) * 100 / u128::from(all)).min(100) as u64 }
}

/// A name of at most so many columns, but of a few at least: its end tells more than its beginning.
fn shortened(name: &str, columns: usize) -> String {
    let (length, columns) = (name.chars().count(), columns.max(8));
    if length <= columns {
        return name.to_owned();
    }
    std::iter::once('…').chain(name.chars().skip(length - columns + 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn file(name: &str, at: u64, size: Option<u64>) -> FileUnderWay {
        FileUnderWay { name: name.into(), at, size }
    }

    fn sent() -> Sent {
        Sent {
            file: Some(file("run7/0038.raw", 1200 * MIB, Some(3000 * MIB))),
            judged: [25, 12, 0],
            total: 2000,
            moved: 1240 * MIB,
            there: 300 * MIB,
            ..Sent::default()
        }
    }

    #[test]
    fn a_sender_sees_which_file_is_under_way_of_how_many() {
        let board = Board::Sent(sent());
        assert_eq!(
            board.report(),
            [
                "millipede: file 38 of 2000: 25 stored, 12 there already",
                "  now run7/0038.raw: 1.17 GiB of 2.93 GiB, 40 %",
                "  1.21 GiB of files sent; 300 MiB were there already",
            ]
        );
        assert_eq!(board.rows(80), ["file 38 of 2000  run7/0038.raw   40 % of 2.93 GiB"]);
        assert_eq!(
            board.rows(44),
            ["file 38 of 2000  …8.raw   40 % of 2.93 GiB"].map(|_| board.rows(44)[0].clone())
        );
        let waits = Board::Sent(Sent { ahead: Some(1), file: None, judged: [0; 3], ..sent() });
        assert_eq!(waits.rows(80), ["waiting for a place at the receiver: one goes first"]);
        assert_eq!(waits.report()[1], "  waits for a place at the receiver: one goes first");
    }

    #[test]
    fn a_watch_that_has_nothing_to_do_says_so_however_long_its_folder_is_called() {
        let idle = Sent { folder: Some("/data".repeat(30) + "/out"), total: 37, ..sent() };
        let line = Board::Sent(idle.clone()).report().remove(0);
        assert_eq!(line.chars().count(), 80);
        assert!(line.ends_with("a/data/out: 25 stored, 12 there already; nothing waits"), "{line}");
        let short = Board::Sent(Sent { folder: Some("/data".into()), total: 38, ..idle }).report();
        assert_eq!(short[0], "millipede: watching /data: file 38 of 38: 25 stored, 12 there already");
    }

    fn served() -> Served {
        let session = |peer: &str, ahead, files, stored| ServedSession {
            peer: peer.into(),
            ahead,
            rate: 10.0 * MIB as f64,
            files,
            judged: [stored, 0, 0],
        };
        let two = vec![file("big", MIB, Some(4 * MIB)), file("other", 5, None)];
        let sessions = vec![
            session("lab-a", None, two, 3),
            session("lab-b", None, vec![], 2),
            ServedSession { rate: 0.0, ..session("lab-c", Some(0), vec![], 0) },
        ];
        Served { places: (4, 2), sessions }
    }

    #[test]
    fn a_receiver_shows_who_is_in_and_who_waits() {
        let board = Board::Served(served());
        assert_eq!(
            board.report(),
            [
                "millipede: 2 of 4 places taken, 1 waiting; 20.0 MiB/s",
                "  lab-a: big: 1.00 MiB of 4.00 MiB, 25 %; 3 before",
                "    other: 5 B so far",
                "  lab-b: 2 stored",
                "  lab-c: waits, it is the next one",
            ]
        );
        assert_eq!(board.rows(80).len(), 4);
        let many = Served { sessions: vec![served().sessions[0].clone(); 30], ..served() };
        assert_eq!(Board::Served(many).rows(80).last().unwrap(), "  and 22 more");
        assert_eq!(Board::Served(Served::default()).rows(80), [""; 0]);
    }

    #[test]
    fn it_fits_whatever_there_is_to_say() {
        let long = "x".repeat(300) + "/the end";
        let large = file(&long, u64::MAX / 3, Some(u64::MAX));
        let sent = Sent { file: Some(large.clone()), judged: [u64::MAX / 4; 3], total: u64::MAX, ..sent() };
        let sessions = vec![ServedSession {
            peer: "p".repeat(200),
            files: vec![large; 3],
            ..served().sessions[0].clone()
        }];
        for board in [Board::Sent(sent), Board::Served(Served { sessions, ..served() })] {
            assert!(board.report().iter().all(|line| line.chars().count() <= 80), "{:?}", board.report());
            for columns in 1..200 {
                assert!(board.rows(columns).iter().all(|row| row.chars().count() <= columns));
            }
        }
        let one = Sent { file: Some(file(&long, 1, Some(2))), ..self::sent() };
        // what is behind a name is seen on a terminal of any width
        let session = ServedSession { files: vec![file(&long, 1, Some(2))], ..served().sessions[0].clone() };
        let narrow = Board::Served(Served { sessions: vec![session], ..served() }).rows(60).remove(1);
        assert!(narrow.ends_with("/the end: 1 B of 2 B, 50 %; 3 before"), "{narrow}");
        assert!(Board::Sent(one.clone()).rows(80)[0].contains("/the end   50 % of 2 B"), "{one:?}");
        assert!(Board::Sent(one).report()[1].ends_with("/the end: 1 B of 2 B, 50 %"));
    }
}
