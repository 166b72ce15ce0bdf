//! Where the stream comes from and goes to.
//!
//! A sink tells what became of the bytes, not only that the kernel took them; a source tells an end from a
//! failure. Both wait only in their own direction's thread. Neither cuts or orders legs.

pub mod exec;
pub(crate) mod file;
pub(crate) mod files;
pub(crate) mod prbs;
pub mod tunnel;

use crate::error::reason;
use crate::proto::leg::Leg;
use crate::proto::outcome::{CommandEnd, Status};
use crate::sys::bell::Bell;
use crate::sys::kept::KeptPipe;
use crate::sys::pipe::{Interest, Ready, wait};
use mio::{Registry, Token};
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A reader that has gone, or a command that has succeeded, after it took everything may have known the stream's length
/// (`head -c`) or its end (`tar -x`). Then the end of the stream must follow within this time, in which a link may have to be
/// dialled anew; otherwise there may be bytes that it did not take. Where there are, they tell it at once.
const END_GRACE: Duration = Duration::from_secs(30);

/// No event tells that a pipe has been drained. So it is looked at again and again; the pauses grow from the first
/// time to the second.
const DRAIN_PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// Called from any thread when a source or sink has news. The argument: whether the calling thread may read or write at
/// once.
pub(crate) type OnNews = Box<dyn Fn(bool) + Send + Sync>;

/// The wait for news of the sockets behind a sink. A thread has it, and may lend it to another one that writes to the sink: to
/// one at a time, the last that borrows it.
pub(crate) trait Lookout: Send + Sync {
    /// Borrows it: from now on, this registry's poll tells under this token when to [look](Lookout::look). The loan's number;
    /// None if it is not to be had. The borrower is to look at once.
    fn borrow(&self, registry: &Registry, token: Token) -> Option<u64>;

    /// Does what the news calls for, without waiting: whether there is more to look at; None if another thread has
    /// borrowed it since.
    fn look(&self, loan: u64) -> Option<bool>;

    /// Ends a loan.
    fn give_back(&self, loan: u64, registry: &Registry);
}

/// Why a sink takes no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SinkError {
    /// [`Status::Output`]; [`Status::Corrupt`] for a stream that does not verify; [`Status::Incomplete`] where nothing is
    /// wrong with the output, and the same may be sent again.
    pub(crate) status: Status,
    /// What happened, for the user.
    pub(crate) sentence: String,
    /// Nothing is wrong but that the reader wants no more of it.
    pub(crate) is_unwanted: bool,
}

impl SinkError {
    /// The output failed.
    pub(crate) fn output(sentence: impl Into<String>) -> Self {
        SinkError { status: Status::Output, sentence: sentence.into(), is_unwanted: false }
    }

    /// What comes is no record that may come there.
    pub(crate) fn senseless() -> Self {
        Self::output("the sender says what makes no sense")
    }

    /// The place of the session at a standing receiver is another one's.
    pub(crate) fn displaced() -> Self {
        SinkError {
            status: Status::Incomplete,
            ..Self::output("this session has lost its place, and others wait")
        }
    }

    /// The reader has gone.
    pub(crate) fn unwanted(sentence: impl Into<String>) -> Self {
        SinkError { is_unwanted: true, ..Self::output(sentence) }
    }
}

/// Where the stream goes. Call order: `verify` for each leg before any of it is written, `write` and `watch`
/// as they come, `finish` once, after the last byte; dropped without `finish` if the stream was not completed.
pub(crate) trait Sink: Send {
    /// Looks at the next leg: whether it may be written.
    ///
    /// # Errors
    /// The leg has not the bytes that belong there.
    fn verify(&mut self, _leg: &Leg) -> Result<(), SinkError> {
        Ok(())
    }

    /// Waits until the sink takes some bytes, and writes as many as it takes in one go; how many these are.
    ///
    /// # Errors
    /// The sink takes no more.
    fn write(&mut self, slices: &[IoSlice<'_>]) -> Result<usize, SinkError>;

    /// The same for legs of whose first so many bytes were taken. For a sink that keeps handles on them for a while.
    ///
    /// # Errors
    /// The sink takes no more.
    fn write_legs(&mut self, legs: &[Leg], taken: usize) -> Result<usize, SinkError> {
        self.write(&slices(legs, taken))
    }

    /// The same without waiting; none if that would be needed. A sink that does this leaves less to the thread that
    /// may wait.
    ///
    /// # Errors
    /// The sink takes no more.
    fn write_now(&mut self, _slices: &[IoSlice<'_>]) -> Result<Option<usize>, SinkError> {
        Ok(None)
    }

    /// The same for legs of whose first so many bytes were taken.
    ///
    /// # Errors
    /// The sink takes no more.
    fn write_legs_now(&mut self, legs: &[Leg], taken: usize) -> Result<Option<usize>, SinkError> {
        self.write_now(&slices(legs, taken))
    }

    /// The pipe that it writes to, if bytes may get there in another way than by `write`.
    fn pipe(&self) -> Option<Arc<File>> {
        None
    }

    /// Moves up to so many bytes from a socket into its pipe, without a copy and without waiting. Within, what the kernel
    /// says: how many were moved, 0 at the socket's end, or what is wrong with the socket, or why nothing is moved.
    ///
    /// # Errors
    /// The sink takes no more.
    fn take_from(&mut self, _socket: BorrowedFd<'_>, _most: usize) -> Result<io::Result<usize>, SinkError> {
        Ok(Err(io::ErrorKind::InvalidInput.into()))
    }

    /// What [`Sink::watch`] does, for a sink that has a pipe and is not to be held meanwhile: looks at what was seen of the
    /// pipe's end. For how long the bell alone is to be waited for then, at most; None for the bell or news of the pipe.
    ///
    /// # Errors
    /// The reader is gone, and bytes are lost.
    fn look(&mut self, _seen: Ready) -> Result<Option<Duration>, SinkError> {
        Ok(None)
    }

    /// Whether nobody need watch it, because it tells its news.
    fn is_prompt(&mut self) -> bool {
        false
    }

    /// Has this called when the sink has news while no thread watches it. Only a sink that is prompt has such news.
    fn on_news(&mut self, _call: OnNews) {}

    /// What a thread that writes to the sink may wait for, beside its own work.
    fn lookout(&self) -> Option<Arc<dyn Lookout>> {
        None
    }

    /// Waits for the bell, and meanwhile watches whether there still is a reader.
    ///
    /// # Errors
    /// The reader is gone, and bytes are lost.
    fn watch(&mut self, bell: &Bell) -> Result<(), SinkError>;

    /// Closes the sink, once everything written was taken.
    ///
    /// # Errors
    /// Not everything was taken.
    fn finish(&mut self) -> Result<(), SinkError>;

    /// Whether it takes no more, which is no failure: what is written goes nowhere from then on. Asked after each writing.
    fn has_enough(&self) -> bool {
        false
    }

    /// How the command ended that the sink leads to, where that is the result of the whole: asked after the sink has
    /// finished, and when it takes no more, which is then no failure. With a sentence for the user, which may be empty.
    fn ended_as(&self) -> Option<(CommandEnd, String)> {
        None
    }
}

/// The bytes of these legs, without so many of the first.
fn slices(legs: &[Leg], taken: usize) -> Vec<IoSlice<'_>> {
    let first = legs.iter().take(1).map(|leg| &leg.bytes()[taken..]);
    first.chain(legs.iter().skip(1).map(Leg::bytes)).map(IoSlice::new).collect()
}

/// The stream goes nowhere.
pub(crate) struct Discard;

impl Sink for Discard {
    fn write(&mut self, slices: &[IoSlice<'_>]) -> Result<usize, SinkError> {
        Ok(slices.iter().map(|slice| slice.len()).sum())
    }

    fn watch(&mut self, bell: &Bell) -> Result<(), SinkError> {
        let waited = wait(&[Interest::read(bell)], None);
        waited.map(drop).map_err(|e| SinkError::output(format!("cannot wait: {e}")))
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

/// What is wrong with a file that has lost bytes which were to be sent.
pub(crate) const SHORTER: &str = "it became shorter while it was sent";

/// A file that the stream comes from, under this name in messages.
#[derive(Debug)]
pub(crate) struct NamedFile {
    /// Open for reading.
    pub(crate) file: File,
    /// As the user knows it.
    pub(crate) name: String,
    /// Zeros go in the place of bytes that cannot be read any more: whoever sends it has summed it up before, so that the
    /// receiver finds out.
    pub(crate) padded: bool,
    /// Why zeros went, where the kernel failed to read. A file that became shorter says that itself.
    pub(crate) unread: OnceLock<String>,
}

impl NamedFile {
    /// A file that is open for reading, under this name in messages; with zeros in the place of what cannot be read, or
    /// not.
    pub(crate) fn new(file: File, name: String, padded: bool) -> Arc<Self> {
        Arc::new(NamedFile { file, name, padded, unread: OnceLock::new() })
    }
}

/// A file of fewer bytes is read: in parts nothing is saved, and each file that is sent so is open until the receiver has
/// all of it.
pub(crate) const PARTED_LEAST: u64 = 1 << 20;

/// A part of a file, in place of the bytes that are there; never empty.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// The file.
    pub(crate) file: Arc<NamedFile>,
    /// Where the part begins, in bytes.
    pub(crate) at: u64,
    /// Its length in bytes.
    pub(crate) len: usize,
}

impl Part {
    /// What of it is behind so many bytes.
    pub(crate) fn behind(&self, bytes: usize) -> Self {
        Part { file: self.file.clone(), at: self.at + bytes as u64, len: self.len - bytes }
    }

    /// Reads its beginning, as much as there is space for; never nothing.
    ///
    /// # Errors
    /// The file cannot be read there, in words for the user.
    pub(crate) fn read(&self, space: &mut [u8]) -> Result<usize, String> {
        let most = self.len.min(space.len());
        loop {
            let failed = match self.file.file.read_at(&mut space[..most], self.at) {
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => Some(reason(&e)),
                Ok(0) => None,
                Ok(n) => return Ok(n),
            };
            if self.file.padded {
                failed.into_iter().for_each(|why| drop(self.file.unread.set(why)));
                space[..most].fill(0);
                return Ok(most);
            }
            let why = failed.unwrap_or_else(|| SHORTER.to_owned());
            return Err(format!("cannot read {}: {why}", self.file.name));
        }
    }
}

/// Where the stream comes from. Call order: `read` and `wait` as they come, `finish` once after `read` gave 0; or
/// `cut_off` once, before that.
pub(crate) trait Source: Send {
    /// Waits until there is something to read, and reads it; 0 at the end.
    ///
    /// # Errors
    /// Why not, for the user.
    fn read(&mut self, space: &mut [u8]) -> Result<usize, String>;

    /// Reads what there is. `None`: there is nothing now, and not the end; the source will tell when it has news. A
    /// source that never tells news waits instead.
    ///
    /// # Errors
    /// Why not, for the user.
    fn pull(&mut self, space: &mut [u8]) -> Result<Option<usize>, String> {
        self.read(space).map(Some)
    }

    /// Whether the stream can be had in parts of a file.
    fn has_parts(&mut self) -> bool {
        false
    }

    /// Whether parts come among other bytes: [`Source::is_at_part`] says when.
    fn mixes(&self) -> bool {
        false
    }

    /// Whether what comes next is a part, where these come among other bytes.
    fn is_at_part(&self) -> bool {
        false
    }

    /// The next part of the stream, of `most` bytes at most, if it is a part of a file that can be sent without being
    /// read here. Otherwise it is to be read.
    fn part(&mut self, _most: usize) -> Option<Part> {
        None
    }

    /// Whether [`Source::move_into`] moves anything.
    fn has_pipe(&self) -> bool {
        false
    }

    /// Moves up to `most` bytes of the stream into a pipe without reading them; 0 at the end. None: there is nothing now,
    /// or the pipe has no place for it.
    ///
    /// # Errors
    /// Why not, for the user.
    fn move_into(&mut self, _pipe: &mut KeptPipe, _most: usize) -> Result<Option<usize>, String> {
        Ok(None)
    }

    /// Has this called when there is something after [`Source::pull`] gave nothing.
    fn on_news(&mut self, _call: OnNews) {}

    /// Waits until there is something to read, the bell (if any) rings or the time is up.
    ///
    /// # Errors
    /// The kernel's, for the user.
    fn wait(&self, bell: Option<&Bell>, timeout: Option<Duration>) -> Result<WokenBy, String>;

    /// The end was read. Checks that the stream was complete.
    ///
    /// # Errors
    /// Whoever produced the stream failed; why, for the user.
    fn finish(&mut self) -> Result<(), String>;

    /// The stream ends here, although its end was not read, and nothing more is. Checks that nothing is wrong with what was
    /// read.
    ///
    /// # Errors
    /// Whoever produced the stream failed; why, for the user.
    fn cut_off(&mut self) -> Result<(), String> {
        self.finish()
    }

    /// Whether nothing should be read before a receiver has welcomed the session.
    fn follows_a_welcome(&self) -> bool {
        false
    }

    /// Its size in bytes, where that is known beforehand.
    fn size(&self) -> Option<u64> {
        None
    }
}

/// The stream comes from nowhere: it is empty.
pub(crate) struct Nothing;

impl Source for Nothing {
    fn read(&mut self, _space: &mut [u8]) -> Result<usize, String> {
        Ok(0)
    }

    fn wait(&self, _bell: Option<&Bell>, _timeout: Option<Duration>) -> Result<WokenBy, String> {
        Ok(WokenBy::Input)
    }

    fn finish(&mut self) -> Result<(), String> {
        Ok(())
    }
}

/// What ended a wait for input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WokenBy {
    /// There is input, or its end.
    Input,
    /// The bell rang.
    Bell,
    /// The time is up.
    Timeout,
}

/// Waits until `input` has something to read, the bell (if any) rings or the time is up.
fn wait_for(input: &impl AsFd, bell: Option<&Bell>, timeout: Option<Duration>) -> io::Result<WokenBy> {
    let input = Interest::read(input);
    let [input, rung] = match bell {
        Some(bell) => wait(&[input, Interest::read(bell)], timeout)?,
        None => wait(&[input], timeout).map(|[input]| [input, Default::default()])?,
    };
    Ok(if input.any() {
        WokenBy::Input
    } else if rung.any() {
        WokenBy::Bell
    } else {
        WokenBy::Timeout
    })
}
