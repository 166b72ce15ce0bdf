//! The sender's side: a thread that opens files, sums them up, and sends what the receiver lacks of them.
//!
//! Small files go at once, without a word before; of larger ones a few are asked for ahead, so that the answer is there
//! when their turn comes. A file is what it was when it was opened: if it changes while it is sent, that is told and
//! nothing of it is stored. What becomes of each file is told as soon as it is known.

use super::inbox::Inbox;
use super::outbox::Outbox;
use crate::store::name::Name;
use crate::store::record::{DATA_MAX, Down, HEADER, Open, Up, Verdict, WHOLE_MAX, encode};
use crate::store::sum::{Mark, Running, Sum};
use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Larger files that are asked for before their turn.
const AHEAD: usize = 8;
/// Another session that sends the same file is waited for so long: one that was killed is given up after a minute.
const LATER: Duration = Duration::from_secs(70);
/// How often it is tried again then.
const AGAIN: Duration = Duration::from_secs(1);
/// Files whose verdicts have not come, at most.
const UNJUDGED: usize = 512;

/// A file that is to be sent.
pub struct Item {
    /// What it is to be called.
    pub name: Name,
    /// JSON; empty for nothing.
    pub meta: Vec<u8>,
    /// Its bytes.
    pub matter: Matter,
}

/// Where its bytes come from.
pub enum Matter {
    /// A file here.
    File(PathBuf),
    /// Something that is read once, to its end.
    Pipe(Box<dyn Read + Send>),
}

/// What became of a file: in the words of the receiver, or in ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fate {
    /// In one word.
    pub verdict: Verdict,
    /// What there is to say about it; may be empty.
    pub sentence: String,
}

/// How all of it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Every file has its verdict.
    Whole,
    /// The streams ended before that.
    Broken,
    /// The receiver said what makes no sense.
    Senseless,
}

/// The sending thread's work.
pub struct Sending<F> {
    out: Arc<Outbox>,
    inbox: Arc<Inbox>,
    /// Hears what became of which file.
    tell: F,
    last: u32,
    /// Those that have no verdict yet.
    unjudged: BTreeMap<u32, Sent>,
    /// Those that another session sends.
    later: Vec<Item>,
    started: Instant,
    /// Those that were asked for, with the answer if there is one.
    ahead: VecDeque<Asked>,
}

/// A file that was sent, or asked for.
struct Sent {
    name: Name,
    /// To send it again, if it can be.
    again: Option<(Vec<u8>, PathBuf)>,
}

struct Asked {
    file: u32,
    opened: Opened,
    answer: Option<Down>,
}

/// A file as it was when it was opened.
struct Opened {
    matter: Box<dyn Matters>,
    size: Option<u64>,
}

trait Matters: Read + Send {
    fn rewind_to(&mut self, offset: u64) -> io::Result<()>;
    fn has_changed(&self) -> bool;
}

struct Regular {
    file: File,
    was: Identity,
}

#[derive(PartialEq, Eq)]
struct Identity([i128; 5]);

impl Identity {
    fn of(file: &Metadata) -> Self {
        let time = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        let (modified, changed) =
            (time(file.mtime(), file.mtime_nsec()), time(file.ctime(), file.ctime_nsec()));
        Identity([file.dev().into(), file.ino().into(), file.size().into(), modified, changed])
    }
}

impl Read for Regular {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        self.file.read(space)
    }
}

impl Matters for Regular {
    fn rewind_to(&mut self, offset: u64) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(offset)).map(drop)
    }

    fn has_changed(&self) -> bool {
        self.file.metadata().map_or(true, |now| Identity::of(&now) != self.was)
    }
}

struct Pipe(Box<dyn Read + Send>);

impl Read for Pipe {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        self.0.read(space)
    }
}

impl Matters for Pipe {
    fn rewind_to(&mut self, offset: u64) -> io::Result<()> {
        if offset == 0 { Ok(()) } else { Err(ErrorKind::NotSeekable.into()) }
    }

    fn has_changed(&self) -> bool {
        false
    }
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
        let text = error.to_string();
        Halt::Here(text.split(" (os error").next().unwrap_or_default().to_lowercase())
    }
}

const CHANGED: &str = "it changed while it was sent";

impl<F: FnMut(&Name, Fate)> Sending<F> {
    /// Nothing sent yet.
    pub fn new(out: Arc<Outbox>, inbox: Arc<Inbox>, tell: F) -> Self {
        Sending {
            out,
            inbox,
            tell,
            last: 0,
            unjudged: BTreeMap::new(),
            later: Vec::new(),
            started: Instant::now(),
            ahead: VecDeque::new(),
        }
    }

    /// Sends all of these, and waits for their verdicts.
    pub fn run(mut self, items: impl IntoIterator<Item = Item>) -> Ending {
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
        loop {
            match self.inbox.next().ok_or(Ending::Broken)? {
                (0, Down::Go(_)) => return Ok(()),
                (0, Down::Wait(_)) => {}
                _ => return Err(Ending::Senseless),
            }
        }
    }

    fn send_all(&mut self, items: impl IntoIterator<Item = Item>) -> Result<(), Ending> {
        self.started = Instant::now();
        self.send_these(items)?;
        while !self.later.is_empty() {
            thread::sleep(AGAIN);
            let later = std::mem::take(&mut self.later);
            self.send_these(later)?;
        }
        Ok(())
    }

    fn send_these(&mut self, items: impl IntoIterator<Item = Item>) -> Result<(), Ending> {
        let mut items = items.into_iter();
        loop {
            while self.ahead.len() < AHEAD {
                let Some(item) = items.next() else { break };
                self.begin(item)?;
            }
            match self.ahead.pop_front() {
                Some(asked) => self.carry(asked)?,
                None => break,
            }
        }
        while !self.unjudged.is_empty() {
            let (file, down) = self.inbox.next().ok_or(Ending::Broken)?;
            self.hear(file, down)?;
        }
        Ok(())
    }

    /// Sends a small file; asks for a larger one.
    fn begin(&mut self, item: Item) -> Result<(), Ending> {
        while self.unjudged.len() >= UNJUDGED {
            let (file, down) = self.inbox.next().ok_or(Ending::Broken)?;
            self.hear(file, down)?;
        }
        while let Some((file, down)) = self.inbox.take() {
            self.hear(file, down)?;
        }
        let Item { name, meta, matter } = item;
        let again = match &matter {
            Matter::File(path) => Some((meta.clone(), path.clone())),
            Matter::Pipe(_) => None,
        };
        let mut opened = match open(matter) {
            Ok(opened) => opened,
            Err(why) => return self.fail(&name, why),
        };
        let open = Open { size: opened.size, name: name.as_str().into(), meta };
        let up = match opened.size {
            Some(size) if size <= WHOLE_MAX as u64 => match whole(&mut opened, size as usize) {
                Ok(bytes) => Up::Whole(open, Sum::of(&bytes), bytes),
                Err(why) => return self.fail(&name, why),
            },
            _ => Up::Open(open),
        };
        self.last += 1;
        self.say(self.last, &up)?;
        self.unjudged.insert(self.last, Sent { name, again });
        if let Up::Open(_) = up {
            self.ahead.push_back(Asked { file: self.last, opened, answer: None });
        }
        Ok(())
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
            Ok(()) | Err(Halt::Judged) => Ok(()),
            Err(Halt::Here(why)) => {
                self.say(file, &Up::Stop(why.clone()))?;
                if let Some(sent) = self.unjudged.remove(&file) {
                    self.fail(&sent.name, why)?;
                }
                Ok(())
            }
            Err(Halt::Over(ending)) => Err(ending),
        }
    }

    /// There is a file of this size: it may be the same.
    fn compare(&mut self, file: u32, opened: &mut Opened, mark: Mark) -> Result<(), Halt> {
        let known = [mark];
        let (running, found) = self.sum_up(file, opened, &known)?;
        drop(running);
        if opened.matter.has_changed() {
            return Err(Halt::Here(CHANGED.into()));
        }
        if found == mark.length {
            return self.speak(file, &Up::Same);
        }
        opened.matter.rewind_to(0)?;
        self.send(file, opened, Running::new(u64::MAX), 0)
    }

    /// Some beginnings are there: goes on behind the longest that is this file's.
    fn go_on(&mut self, file: u32, opened: &mut Opened, marks: &[Mark]) -> Result<(), Halt> {
        // what can be read only once is sent from its beginning
        let marks = if opened.size.is_some() { marks } else { &[] };
        let (running, from) = self.sum_up(file, opened, marks)?;
        opened.matter.rewind_to(from)?;
        self.send(file, opened, running, from)
    }

    /// The sum of the longest of these beginnings that is this file's, and its length.
    fn sum_up(&mut self, file: u32, opened: &mut Opened, marks: &[Mark]) -> Result<(Running, u64), Halt> {
        let mut running = Running::new(u64::MAX);
        let mut best = (running.clone(), 0);
        let mut space = vec![0; DATA_MAX];
        for mark in marks.iter().filter(|mark| opened.size.is_some_and(|size| mark.length <= size)) {
            while running.length() < mark.length {
                let left = (mark.length - running.length()).min(DATA_MAX as u64) as usize;
                match opened.matter.read(&mut space[..left]) {
                    Ok(0) => return Err(Halt::Here(CHANGED.into())),
                    Ok(read) => running.add(&space[..read]),
                    Err(e) if e.kind() == ErrorKind::Interrupted => {}
                    Err(e) => return Err(e.into()),
                }
                self.attend(file)?;
            }
            // a file that differs early may still be the same as a shorter beginning of what is there, not a longer one
            if running.sum() != mark.sum {
                break;
            }
            best = (running.clone(), mark.length);
        }
        Ok(best)
    }

    fn send(&mut self, file: u32, opened: &mut Opened, mut running: Running, from: u64) -> Result<(), Halt> {
        self.speak(file, &Up::From(from))?;
        loop {
            let mut piece = vec![0; HEADER + DATA_MAX];
            match opened.matter.read(&mut piece[HEADER..]) {
                Ok(0) => break,
                Ok(read) => {
                    piece.truncate(HEADER + read);
                    running.add(&piece[HEADER..]);
                    if opened.size.is_some_and(|size| running.length() > size) {
                        return Err(Halt::Here(CHANGED.into()));
                    }
                    let mut header = Vec::with_capacity(HEADER);
                    encode(file, &Up::Data(read as u32), &mut header);
                    piece[..HEADER].copy_from_slice(&header);
                    if !self.out.put_when_room(piece) {
                        return Err(Halt::Over(Ending::Broken));
                    }
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
            self.attend(file)?;
        }
        let length = running.length();
        if opened.matter.has_changed() || opened.size.is_some_and(|size| size != length) {
            return Err(Halt::Here(CHANGED.into()));
        }
        self.speak(file, &Up::End(Mark { length, sum: running.sum() }))
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
                let Some(Sent { name, again }) = self.unjudged.remove(&file) else { return Ok(()) };
                self.ahead.retain(|asked| asked.file != file);
                match again.filter(|_| verdict == Verdict::Later && self.started.elapsed() < LATER) {
                    Some((meta, path)) => self.later.push(Item { name, meta, matter: Matter::File(path) }),
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
    fn fail(&mut self, name: &Name, sentence: String) -> Result<(), Ending> {
        (self.tell)(name, Fate { verdict: Verdict::Input, sentence });
        Ok(())
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

fn open(matter: Matter) -> Result<Opened, String> {
    let path = match matter {
        Matter::Pipe(pipe) => return Ok(Opened { matter: Box::new(Pipe(pipe)), size: None }),
        Matter::File(path) => path,
    };
    let told = |e: io::Error| match Halt::from(e) {
        Halt::Here(why) => why,
        Halt::Judged | Halt::Over(_) => String::new(),
    };
    // before it is opened: a pipe that stands there would be waited for
    if !path.metadata().map_err(told)?.is_file() {
        return Err("it is no file".into());
    }
    let file = File::open(&path).map_err(told)?;
    let metadata = file.metadata().map_err(told)?;
    let (was, size) = (Identity::of(&metadata), Some(metadata.len()));
    Ok(Opened { matter: Box::new(Regular { file, was }), size })
}

/// All of a small file.
fn whole(opened: &mut Opened, size: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(size + 1);
    let read = (&mut opened.matter).take(size as u64 + 1).read_to_end(&mut bytes);
    match read {
        Ok(read) if read == size && !opened.matter.has_changed() => Ok(bytes),
        Ok(_) => Err(CHANGED.into()),
        Err(e) => Err(e.to_string()),
    }
}
