//! The receiver's side where every stream goes to a command of its own: its name and what is said of it in the
//! environment, its bytes on stdin, and its exit status as the verdict.
//!
//! One stream at a time for each session: the next one's bytes wait until the command before has ended. Nothing is kept
//! of a stream that was interrupted; its command is ended before its stdin closes. A name that one session has is no
//! other one's meanwhile.

use super::ledger::Ledger;
use super::outbox::Outbox;
use super::place::Place;
use crate::endpoint::exec::{CommandSink, Exec};
use crate::endpoint::{Sink, SinkError};
use crate::error::reason;
use crate::store::claims::{Claim, Claims};
use crate::store::meta::Meta;
use crate::store::name::{BadName, Name, peer_for_commands};
use crate::store::record::{Down, FileVerdict, Item, Open, RecordReader, Up};
use crate::store::shelf::Peer;
use crate::store::sum::{Mark, Running};
use crate::sys::bell::Bell;
use crate::sys::pipe::{Interest, wait};
use crossbeam_channel::Sender;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{IoSlice, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

mod current;
#[cfg(test)]
mod tests;

pub(crate) use current::Current;

/// Streams that a sender may have said of before their verdicts.
const STREAMS_MAX: usize = 32;

/// Why a stream goes no further whose sender is given up. Nobody is there to read it.
const GONE: &str = "the sender is gone";

/// The names that commands have at this moment.
pub(crate) type Names = Claims<()>;

/// Why a stream is not taken, or not any more.
struct No(FileVerdict, String);

impl From<SinkError> for No {
    fn from(error: SinkError) -> Self {
        No(FileVerdict::Output, error.sentence)
    }
}

/// Metadata as a file, for as long as a command may read it.
pub(crate) struct MetaFile(PathBuf);

impl MetaFile {
    /// A new file that only this user may read.
    ///
    /// # Errors
    /// The disk fails, in words.
    pub(crate) fn new(json: &str) -> Result<Self, String> {
        Self::within(&std::env::temp_dir(), json)
    }

    fn within(folder: &Path, json: &str) -> Result<Self, String> {
        let name = format!("millipede-{:032x}.json", rand::random::<u128>());
        let file = MetaFile(folder.join(name));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let written = options.open(&file.0).and_then(|mut made| made.write_all(json.as_bytes()));
        match written {
            Ok(()) => Ok(file),
            // the folder is named: no word says which it is, but TMPDIR
            Err(e) => Err(format!("cannot write metadata to {}: {}", folder.display(), reason(&e))),
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for MetaFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// What a command knows of a stream or a file. `peer`: what its sender is called, and the fingerprint of its key.
pub(crate) fn environment(
    name: &Name,
    peer: (&str, &str),
    size: Option<u64>,
    meta: &MetaFile,
) -> Vec<(String, OsString)> {
    let peer = peer_for_commands(peer.0, peer.1);
    let mut known: Vec<(&str, OsString)> =
        vec![("NAME", name.as_str().into()), ("PEER", peer.into()), ("META", meta.path().into())];
    known.extend(size.map(|size| ("SIZE", size.to_string().into())));
    known.into_iter().map(|(word, value)| (format!("MILLIPEDE_{word}"), value)).collect()
}

/// What holds for all streams of a sender.
pub(crate) struct Orders {
    /// Run for each stream.
    pub(crate) command: String,
    /// Keys that metadata must have.
    pub(crate) require: Vec<String>,
    /// Who sends.
    pub(crate) peer: Peer,
    /// Those of all senders.
    pub(crate) names: Names,
    /// The place that the session has.
    pub(crate) place: Place,
    /// Account is kept here.
    pub(crate) ledger: Arc<Ledger>,
    /// The command that takes a stream now, for who ends it when the sender is gone.
    pub(crate) current: Arc<Current>,
    /// This end holds its sender up: a command does not take what is there, is begun, ended or waited for.
    pub(crate) holds_up: Arc<AtomicBool>,
    /// Dropped when no command of this sender runs any more.
    pub(crate) _alive: Sender<()>,
}

/// A stream that may come, or comes.
struct Stream {
    _claim: Claim<()>,
    name: Name,
    size: Option<u64>,
    meta: Meta,
    coming: Option<Coming>,
}

struct Coming {
    sink: CommandSink,
    running: Running,
    _meta: MetaFile,
}

/// The stream goes to commands.
pub(crate) struct CommandedSink {
    /// Before `orders`: these have to be over when that is dropped.
    streams: HashMap<u32, Stream>,
    orders: Orders,
    out: Arc<Outbox>,
    reader: RecordReader<Up>,
    /// The number of the stream that was opened last.
    last: u32,
}

impl CommandedSink {
    /// No streams yet. The answers go to this outbox.
    pub(crate) fn new(orders: Orders, out: Arc<Outbox>) -> Self {
        CommandedSink { orders, out, reader: RecordReader::default(), streams: HashMap::new(), last: 0 }
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<(), SinkError> {
        loop {
            match self.reader.next(&mut bytes).map_err(|breach| SinkError::output(breach.to_string()))? {
                None => return Ok(()),
                Some(_) if self.orders.current.is_given_up() => return Err(SinkError::output(GONE)),
                Some(Item::Record(file, up)) => self.hear(file, up)?,
                Some(Item::Data(file, data)) => {
                    self.with(file, |this, stream| this.data(stream, data).map(|()| None))?;
                    self.orders.ledger.advance(file, data.len() as u64);
                    (self.orders.place.progress)();
                }
            }
        }
    }

    fn hear(&mut self, file: u32, up: Up) -> Result<(), SinkError> {
        match up {
            Up::Open(open) => {
                self.enter(file)?;
                match self.opened(open) {
                    Ok(stream) => {
                        self.streams.insert(file, stream);
                        self.out.say(file, &Down::Go(Vec::new()));
                    }
                    Err(no) => self.judge(file, Err(no)),
                }
            }
            Up::Whole(open, sum, bytes) => {
                self.enter(file)?;
                self.begin_alone()?;
                let verdict = self.opened(open).and_then(|mut stream| {
                    self.begin(&mut stream)?;
                    self.data(&mut stream, &bytes)?;
                    self.close(&mut stream, Mark { length: bytes.len() as u64, sum })
                });
                self.judge(file, verdict);
            }
            Up::From(0) => {
                self.begin_alone()?;
                self.with(file, |this, stream| {
                    this.begin(stream)?;
                    this.orders.ledger.begin(file, stream.name.as_str(), stream.size, 0);
                    Ok(None)
                })?;
            }
            Up::End(mark) => self.with(file, |this, stream| this.close(stream, mark).map(Some))?,
            Up::Stop(why) => self.with(file, |_, _| Err(No(FileVerdict::Input, why)))?,
            Up::From(_) | Up::Same | Up::Reads => return Err(SinkError::senseless()),
            Up::Data(_) => {}
        }
        Ok(())
    }

    /// A new stream.
    fn enter(&mut self, file: u32) -> Result<(), SinkError> {
        if file <= self.last || self.streams.len() >= STREAMS_MAX {
            return Err(SinkError::senseless());
        }
        self.last = file;
        Ok(())
    }

    /// A stream is about to begin: the one before has to be over.
    fn begin_alone(&self) -> Result<(), SinkError> {
        if self.coming().is_some() { Err(SinkError::senseless()) } else { Ok(()) }
    }

    /// The number of the stream that comes, if one does.
    fn coming(&self) -> Option<u32> {
        self.streams.iter().find_map(|(file, stream)| stream.coming.as_ref().map(|_| *file))
    }

    fn opened(&self, open: Open) -> Result<Stream, No> {
        let bad = |e: BadName| No(FileVerdict::Refused, format!("the name {e}"));
        let name = String::from_utf8(open.name).map_err(|_| bad(BadName::NotText))?;
        let name = Name::commanded(name).map_err(bad)?;
        let meta = Meta::said(&open.meta, &self.orders.require);
        let meta = meta.map_err(|e| No(FileVerdict::Refused, format!("the metadata {e}")))?;
        let claim = self.claim(&name)?;
        Ok(Stream { _claim: claim, name, size: open.size, meta, coming: None })
    }

    /// Takes a name. Whoever has it gives way if no connection of that one is left.
    fn claim(&self, name: &Name) -> Result<Claim<()>, No> {
        let Orders { names, peer, place, .. } = &self.orders;
        loop {
            match names.take(&peer.key, peer.visit, name, ()) {
                Ok(claim) => return Ok(claim),
                Err(held) if held.by != peer.visit && names.await_turn(name, held.by, &place.gives_way) => {}
                Err(held) if held.own => {
                    return Err(No(
                        FileVerdict::Later,
                        "another session sends a stream of this name now".into(),
                    ));
                }
                Err(_) => return Err(No(FileVerdict::Taken, "the name is taken".into())),
            }
        }
    }

    fn begin(&self, stream: &mut Stream) -> Result<(), No> {
        if !(self.orders.place.set_busy)(true) {
            return Err(No(FileVerdict::Later, "the receiver ends".into()));
        }
        let meta = MetaFile::new(&stream.meta.encode()).map_err(|why| No(FileVerdict::Output, why))?;
        let peer = &self.orders.peer;
        let known = environment(&stream.name, (&peer.name, &peer.key), stream.size, &meta);
        let exec = Exec::informed(&self.orders.command, true, known);
        if !self.orders.current.begin(&exec) {
            return Err(No(FileVerdict::Later, GONE.into()));
        }
        let sink = CommandSink::new(exec);
        stream.coming = Some(Coming { sink, running: Running::new(u64::MAX), _meta: meta });
        Ok(())
    }

    fn data(&self, stream: &mut Stream, mut bytes: &[u8]) -> Result<(), No> {
        let coming = stream.coming.as_mut().ok_or_else(no_sense)?;
        coming.running.add(bytes);
        while !bytes.is_empty() {
            let wrote = coming.sink.write(&[IoSlice::new(bytes)])?;
            bytes = &bytes[wrote..];
        }
        Ok(())
    }

    /// All has come: the command's status is the verdict.
    fn close(&self, stream: &mut Stream, mark: Mark) -> Result<FileVerdict, No> {
        let coming = stream.coming.as_mut().ok_or_else(no_sense)?;
        let Mark { length, sum } = mark;
        if coming.running.length() != length || coming.running.sum() != sum {
            return Err(No(FileVerdict::Corrupt, "what came has another sum than what was sent".into()));
        }
        if !self.orders.current.note_whole() {
            return Err(No(FileVerdict::Later, GONE.into()));
        }
        let finished = coming.sink.finish();
        self.orders.current.note_over();
        finished?;
        Ok(FileVerdict::Stored)
    }

    /// Does something with a stream that is not over; it is over with a verdict, or with an error.
    fn with(
        &mut self,
        file: u32,
        act: impl FnOnce(&Self, &mut Stream) -> Result<Option<FileVerdict>, No>,
    ) -> Result<(), SinkError> {
        let Some(mut stream) = self.streams.remove(&file) else {
            // it was refused while this was on its way
            return if file <= self.last { Ok(()) } else { Err(SinkError::senseless()) };
        };
        match act(self, &mut stream) {
            Ok(None) => drop(self.streams.insert(file, stream)),
            Ok(Some(verdict)) => {
                drop(stream);
                self.judge(file, Ok(verdict));
            }
            Err(no) => {
                // the command first, so that it does not go on when its sender has heard of the end
                drop(stream);
                self.judge(file, Err(no));
            }
        }
        Ok(())
    }

    fn judge(&self, file: u32, verdict: Result<FileVerdict, No>) {
        let (verdict, sentence) = match verdict {
            Ok(verdict) => (verdict, String::new()),
            Err(No(verdict, sentence)) => (verdict, sentence),
        };
        self.orders.ledger.judge(file, Some(verdict).filter(|verdict| *verdict != FileVerdict::Later), None);
        self.out.say(file, &Down::Verdict(verdict, sentence));
        // another stream that comes must not be stopped for this one
        if self.coming().is_none() {
            (self.orders.place.set_busy)(false);
        }
        (self.orders.place.progress)();
    }
}

fn no_sense() -> No {
    No(FileVerdict::Refused, "the sender says what makes no sense".into())
}

impl Sink for CommandedSink {
    fn write(&mut self, slices: &[IoSlice<'_>]) -> Result<usize, SinkError> {
        self.orders.place.allow()?;
        // a sender that takes no answers gets no more of them
        self.out.await_room();
        // from here on nothing waits for the sender
        self.orders.holds_up.store(true, Ordering::Relaxed);
        let taken = slices.iter().try_for_each(|slice| self.take(slice));
        self.orders.holds_up.store(false, Ordering::Relaxed);
        taken?;
        Ok(slices.iter().map(|slice| slice.len()).sum())
    }

    /// A command that ends before its stream is told at once.
    fn watch(&mut self, bell: &Bell) -> Result<(), SinkError> {
        let Some(file) = self.coming() else {
            let waited = wait(&[Interest::read(bell)], None);
            return waited.map(drop).map_err(|e| SinkError::output(format!("cannot wait: {e}")));
        };
        self.with(file, |_, stream| {
            stream.coming.as_mut().map_or(Ok(()), |coming| coming.sink.watch(bell))?;
            Ok(None)
        })
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        self.streams.clear();
        (self.orders.place.set_busy)(false);
        self.out.end(Ok(()));
        if self.reader.is_between() {
            Ok(())
        } else {
            Err(SinkError::output("the sender stopped in a record"))
        }
    }
}

impl Drop for CommandedSink {
    fn drop(&mut self) {
        self.streams.clear();
        (self.orders.place.set_busy)(false);
    }
}
