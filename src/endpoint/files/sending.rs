//! The sender's side: a thread that opens files, sums them up, and sends what the receiver lacks of them.
//!
//! Small files go at once, without a word before; of larger ones a few are asked for ahead, so that the answer is there
//! when their turn comes. A file is what it was when it was opened: if it changes while it is sent, that is told and
//! nothing of it is stored. What becomes of each file is told as soon as it is known.

use super::inbox::Inbox;
use super::ledger::Ledger;
use super::matter::{Matter, Matters, Opened, Unopened, open, whole};
use super::outbox::Outbox;
use crate::error::reason;
use crate::store::name::Name;
use crate::store::record::{Down, FileVerdict, Open, STORED_BUT, Up, WHOLE_MAX, encode};
use crate::store::ripe::Seen;
use crate::store::sum::Sum;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

mod lacking;
#[cfg(test)]
mod tests;

/// Larger files that are asked for before their turn.
const AHEAD: usize = 8;
/// The same with small ones, where these are asked for. A receiver keeps 32 for a sender.
const AHEAD_OF_ALL: usize = 28;
/// Another session that sends the same file is waited for so long, for each file: one that was killed is given up after a
/// minute.
const LATER: Duration = Duration::from_secs(70);
/// How often it is tried again then: from the first to the second.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// A place that comes within this time is not worth a word.
const PATIENT: Duration = Duration::from_secs(5);
/// How often the receiver hears that a file is still read to be compared: it takes whoever says nothing for a minute to
/// have stalled.
const READS: Duration = Duration::from_secs(5);
/// Files whose verdicts have not come, at most.
const UNJUDGED: usize = 512;

/// A file that is to be sent.
pub(crate) struct Item {
    /// What it is to be called.
    pub(crate) name: Name,
    /// JSON; empty for nothing.
    pub(crate) meta: Vec<u8>,
    /// Its bytes.
    pub(crate) matter: Matter,
    /// The receiver may well have it: it is asked before the file is sent, however small that is.
    pub(crate) ask: bool,
}

/// What became of a file: in the words of the receiver, or in ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fate {
    /// In one word.
    pub(crate) verdict: FileVerdict,
    /// What there is to say about it; may be empty.
    pub(crate) sentence: String,
}

impl Fate {
    /// For the user: what became of it, in these words, and why.
    pub(crate) fn told(&self, what: &str) -> String {
        match self.sentence.starts_with(STORED_BUT) {
            true => self.sentence.clone(),
            false => format!("{what}: {}", self.sentence),
        }
    }
}

/// Why nothing is sent for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pause<'a> {
    /// So many others go first.
    Place(u32),
    /// That is over.
    Over,
    /// Another session sends a file of this name.
    Busy(&'a Name),
}

/// How all of it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Every file has its verdict.
    Whole,
    /// The streams ended before that.
    Broken,
    /// The receiver said what makes no sense.
    Senseless,
}

/// The sending thread's work.
pub(crate) struct Sending<F> {
    out: Arc<Outbox>,
    inbox: Arc<Inbox>,
    /// Hears what became of which file.
    tell: F,
    /// Hears why nothing is sent.
    pause: Box<dyn FnMut(Pause<'_>) + Send>,
    /// Is called once this session may begin.
    begins: Option<Box<dyn FnOnce() + Send>>,
    ledger: Arc<Ledger>,
    /// Files that may be open at once.
    most: usize,
    /// It is [`open`] but for tests.
    open: Box<dyn FnMut(Matter) -> Result<Opened, Unopened> + Send>,
    last: u32,
    /// Those that have no verdict yet.
    unjudged: BTreeMap<u32, Sent>,
    /// Those that another session sends, and since when that is known.
    later: Vec<(Instant, Item)>,
    /// It is [`READS`] but for tests.
    reads: Duration,
    /// Those that were asked for, with the answer if there is one.
    ahead: VecDeque<Asked>,
}

/// A file that was sent, or asked for.
struct Sent {
    name: Name,
    size: Option<u64>,
    /// To send it again, if it can be.
    again: Option<Again>,
    /// Where its bytes came from, if they may be others than those that were summed up.
    parted: Option<Box<dyn Matters>>,
}

/// A file as it can be sent again.
struct Again {
    meta: Vec<u8>,
    path: PathBuf,
    /// How it has to stand.
    wanted: Option<Seen>,
    /// Since when it is known that another session sends it.
    since: Option<Instant>,
}

impl Again {
    /// Another session sends it: the file for another try, unless it was waited for long enough.
    fn later(self, name: &Name, now: Instant) -> Option<(Instant, Item)> {
        let since = self.since.unwrap_or(now);
        let matter = Matter::File(self.path, self.wanted);
        let item = Item { name: name.clone(), meta: self.meta, matter, ask: false };
        (now.saturating_duration_since(since) < LATER).then_some((since, item))
    }
}

struct Asked {
    file: u32,
    opened: Opened,
    answer: Option<Down>,
}

/// Why a file goes no further.
enum Halt {
    /// It failed here, for this reason.
    Here(String),
    /// Its verdict has come.
    Judged,
    /// All is over.
    Over(Ending),
}

impl From<io::Error> for Halt {
    fn from(error: io::Error) -> Self {
        Halt::Here(reason(&error))
    }
}

impl<F: FnMut(&Name, Fate)> Sending<F> {
    /// Nothing sent yet.
    pub(crate) fn new(out: Arc<Outbox>, inbox: Arc<Inbox>, tell: F) -> Self {
        inbox.tell_at(out.clone());
        Sending {
            out,
            inbox,
            tell,
            pause: Box::new(|_| {}),
            begins: None,
            ledger: Ledger::new(),
            most: usize::MAX,
            open: Box::new(open),
            last: 0,
            unjudged: BTreeMap::new(),
            later: Vec::new(),
            reads: READS,
            ahead: VecDeque::new(),
        }
    }

    /// Has this told why nothing is sent for a while.
    pub(crate) fn pausing(self, pause: impl FnMut(Pause<'_>) + Send + 'static) -> Self {
        Sending { pause: Box::new(pause), ..self }
    }

    /// Has this called as soon as there is a place.
    pub(crate) fn beginning(self, begins: impl FnOnce() + Send + 'static) -> Self {
        Sending { begins: Some(Box::new(begins)), ..self }
    }

    /// Has account kept in this ledger.
    pub(crate) fn accounting(self, ledger: Arc<Ledger>) -> Self {
        Sending { ledger, ..self }
    }

    /// Has no more files open at once than so many, at least one.
    pub(crate) fn opening(self, most: usize) -> Self {
        Sending { most: most.max(1), ..self }
    }

    /// Sends all of these, and waits for their verdicts.
    pub(crate) fn run(mut self, items: impl IntoIterator<Item = Item>) -> Ending {
        self.ledger.open();
        let ending = match self.await_place().and_then(|()| self.send_all(items)) {
            Ok(()) => Ending::Whole,
            Err(ending) => ending,
        };
        self.out.end(match ending {
            Ending::Senseless => Err("the receiver says what makes no sense".into()),
            Ending::Whole | Ending::Broken => Ok(()),
        });
        ending
    }

    /// Waits until this session may begin.
    fn await_place(&mut self) -> Result<(), Ending> {
        let (mut ahead, mut told) = (None, None);
        let patient = Instant::now() + PATIENT;
        loop {
            let left = patient.saturating_duration_since(Instant::now());
            if ahead.is_some() && ahead != told && (left.is_zero() || !self.inbox.await_news(left)) {
                ahead.into_iter().for_each(|ahead| (self.pause)(Pause::Place(ahead)));
                told = ahead;
            }
            match self.inbox.next().ok_or(Ending::Broken)? {
                (0, Down::Go(_)) => break,
                (0, Down::Wait(others)) => {
                    self.ledger.wait(Some(others));
                    ahead = Some(others);
                }
                _ => return Err(Ending::Senseless),
            }
        }
        self.ledger.wait(None);
        self.begins.take().into_iter().for_each(|begins| begins());
        if told.is_some() {
            (self.pause)(Pause::Over);
        }
        Ok(())
    }

    fn send_all(&mut self, items: impl IntoIterator<Item = Item>) -> Result<(), Ending> {
        self.send_these(items.into_iter().map(|item| (None, item)))?;
        let (mut again, since, mut told) = (AGAIN.0, Instant::now(), false);
        while let Some((_, Item { name, .. })) = self.later.first() {
            if !told && since.elapsed() >= PATIENT {
                (self.pause)(Pause::Busy(name));
                told = true;
            }
            if self.inbox.await_news(again) {
                // nothing of files is under way: the session may be over
                let (file, down) = self.inbox.next().ok_or(Ending::Broken)?;
                self.hear(file, down)?;
                continue;
            }
            again = (again * 2).min(AGAIN.1);
            let later = std::mem::take(&mut self.later);
            self.send_these(later.into_iter().map(|(since, item)| (Some(since), item)))?;
        }
        Ok(())
    }

    /// Sends these, each with the time since when it is known that another session sends it, and hears their verdicts. Where
    /// there is none at a moment, one may come while others are sent.
    fn send_these(&mut self, items: impl Iterator<Item = (Option<Instant>, Item)>) -> Result<(), Ending> {
        let (mut items, mut unopened) = (items, None);
        loop {
            while self.has_room_ahead() {
                let Some((since, item)) = unopened.take().or_else(|| items.next()) else { break };
                unopened = self.begin(item, since)?.map(|item| (since, item));
                if unopened.is_some() {
                    break;
                }
            }
            match self.ahead.pop_front() {
                Some(asked) => self.carry(asked)?,
                // the others are open until the receiver has all of them
                None if unopened.is_some() || self.open_files() >= self.most => self.hear_next()?,
                None => break,
            }
        }
        while !self.unjudged.is_empty() {
            self.hear_next()?;
        }
        Ok(())
    }

    /// Waits for what the receiver says next.
    fn hear_next(&mut self) -> Result<(), Ending> {
        let (file, down) = self.inbox.next().ok_or(Ending::Broken)?;
        self.hear(file, down)
    }

    /// Files that are open: those that were asked for, and those that are read until their verdicts.
    fn open_files(&self) -> usize {
        self.ahead.len() + self.unjudged.values().filter(|sent| sent.parted.is_some()).count()
    }

    /// Whether more may be asked for before their turn.
    fn has_room_ahead(&self) -> bool {
        let is_large = |asked: &&Asked| asked.opened.size.is_none_or(|size| size > WHOLE_MAX as u64);
        let is_ahead =
            self.ahead.len() >= AHEAD_OF_ALL || self.ahead.iter().filter(is_large).count() >= AHEAD;
        !is_ahead && self.open_files() < self.most
    }

    /// Sends a small file; asks for a larger one. Gives back one that may be opened when another one is closed.
    fn begin(&mut self, item: Item, since: Option<Instant>) -> Result<Option<Item>, Ending> {
        while self.unjudged.len() >= UNJUDGED {
            self.hear_next()?;
        }
        while let Some((file, down)) = self.inbox.take() {
            self.hear(file, down)?;
        }
        let Item { name, meta, matter, ask } = item;
        let again = match &matter {
            Matter::File(path, wanted) => {
                Some(Again { meta: meta.clone(), path: path.clone(), wanted: *wanted, since })
            }
            Matter::Pipe(_) => None,
        };
        let mut opened = match (self.open)(matter) {
            Ok(opened) => opened,
            Err(Unopened::Short(matter, _)) if self.open_files() > 0 => {
                return Ok(Some(Item { name, meta, matter, ask }));
            }
            Err(Unopened::Short(_, why) | Unopened::Not(why)) => {
                self.fail(&name, why);
                return Ok(None);
            }
        };
        let open = Open { size: opened.size, name: name.as_str().into(), meta };
        let up = match opened.size {
            Some(size) if size <= WHOLE_MAX as u64 && !ask => match whole(&mut opened, size as usize) {
                Ok(bytes) => {
                    self.ledger.pass(name.as_str(), size);
                    Up::Whole(open, Sum::of(&bytes), bytes)
                }
                Err(why) => {
                    self.fail(&name, why);
                    return Ok(None);
                }
            },
            _ => Up::Open(open),
        };
        self.last += 1;
        self.say(self.last, &up)?;
        self.unjudged.insert(self.last, Sent { name, size: opened.size, again, parted: None });
        if let Up::Open(_) = up {
            self.ahead.push_back(Asked { file: self.last, opened, answer: None });
        }
        Ok(None)
    }

    /// Sends what the receiver lacks of a file that was asked for.
    fn carry(&mut self, mut asked: Asked) -> Result<(), Ending> {
        let file = asked.file;
        while asked.answer.is_none() {
            let (of, down) = self.inbox.next().ok_or(Ending::Broken)?;
            match down {
                Down::Go(_) | Down::There(_) if of == file => asked.answer = Some(down),
                down => self.hear(of, down)?,
            }
            if !self.unjudged.contains_key(&file) {
                return Ok(());
            }
        }
        let sent = match asked.answer {
            Some(Down::There(mark)) => self.compare(file, &mut asked.opened, mark),
            Some(Down::Go(marks)) => self.go_on(file, &mut asked.opened, &marks),
            _ => Ok(()),
        };
        match sent {
            Ok(()) => {
                if let Some(sent) = self.unjudged.get_mut(&file) {
                    sent.parted = Some(asked.opened.matter).filter(|matter| matter.in_parts().is_some());
                }
                Ok(())
            }
            Err(Halt::Judged) => Ok(()),
            Err(Halt::Here(why)) => {
                self.say(file, &Up::Stop(why.clone()))?;
                if let Some(sent) = self.unjudged.remove(&file) {
                    self.ledger.forget(file);
                    self.fail(&sent.name, why);
                }
                Ok(())
            }
            Err(Halt::Over(ending)) => Err(ending),
        }
    }

    /// Hears what has come meanwhile.
    fn attend(&mut self, file: u32) -> Result<(), Halt> {
        while let Some((of, down)) = self.inbox.take() {
            self.hear(of, down).map_err(Halt::Over)?;
        }
        if self.unjudged.contains_key(&file) { Ok(()) } else { Err(Halt::Judged) }
    }

    fn hear(&mut self, file: u32, down: Down) -> Result<(), Ending> {
        match down {
            Down::Verdict(verdict, sentence) if file == 0 => {
                for (_, sent) in std::mem::take(&mut self.unjudged) {
                    (self.tell)(&sent.name, Fate { verdict, sentence: sentence.clone() });
                }
                Err(Ending::Broken)
            }
            Down::Verdict(verdict, sentence) => {
                let Some(Sent { name, size, again, parted }) = self.unjudged.remove(&file) else {
                    return Ok(());
                };
                // where the receiver finds other bytes than were summed up, the reason may be here
                let fault =
                    parted.filter(|_| verdict == FileVerdict::Corrupt).and_then(|matter| matter.fault());
                let (verdict, sentence) = fault.map_or((verdict, sentence), |why| (FileVerdict::Input, why));
                self.ahead.retain(|asked| asked.file != file);
                let again = again.filter(|_| verdict == FileVerdict::Later);
                let later = again.and_then(|again| again.later(&name, Instant::now()));
                self.ledger.judge(file, Some(verdict).filter(|_| later.is_none()), size);
                match later {
                    Some(later) => self.later.push(later),
                    None => (self.tell)(&name, Fate { verdict, sentence }),
                }
                Ok(())
            }
            Down::Go(_) | Down::There(_) => {
                let asked = self.ahead.iter_mut().find(|asked| asked.file == file && asked.answer.is_none());
                asked.ok_or(Ending::Senseless)?.answer = Some(down);
                Ok(())
            }
            Down::Wait(_) => Ok(()),
        }
    }

    /// It failed here, which ends nothing else.
    fn fail(&mut self, name: &Name, sentence: String) {
        self.ledger.fail();
        (self.tell)(name, Fate { verdict: FileVerdict::Input, sentence });
    }

    fn speak(&mut self, file: u32, up: &Up) -> Result<(), Halt> {
        self.say(file, up).map_err(Halt::Over)
    }

    fn say(&mut self, file: u32, up: &Up) -> Result<(), Ending> {
        let mut record = Vec::new();
        encode(file, up, &mut record);
        if self.out.put_when_room(record) { Ok(()) } else { Err(Ending::Broken) }
    }
}
