//! Files as ends of the stream: standard input and output, pipes, sockets, terminals, files on a disk.
//!
//! What is written to a pipe or a socket counts when it has been read or acknowledged, what is written to a
//! file when it is on the disk.

use super::{
    DRAIN_PAUSES, END_GRACE, NamedFile, PARTED_LEAST, Part, SHORTER, Sink, SinkError, Source, WokenBy,
    wait_for,
};
use crate::error::reason;
use crate::sys::bell::Bell;
use crate::sys::kept::KeptPipe;
use crate::sys::pipe::{
    Interest, Kind, Ready, grow, has_datagrams, kind, lead_nowhere, unread, unsent, wait,
};
use crate::sys::stdio::{close, stdin_was_closed, stdout_was_closed, take_stdin, take_stdout};
use crate::sys::{sendfile, signal, splice};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, Read, Seek, SeekFrom, Write};
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// The kernel is asked so many bytes ahead of what is sent to read a file from the disk.
const AHEAD: u64 = 8 << 20;

/// The stream goes to a file.
pub(crate) struct FileSink {
    file: Option<Arc<File>>,
    kind: Kind,
    name: String,
    /// Since when the reader is gone, although everything was taken so far.
    orphaned: Option<Instant>,
    /// Written means done: the reader is neither watched nor waited for.
    passing: bool,
    /// The source of this process is the same socket.
    two_way: bool,
}

impl FileSink {
    /// Standard output; it is this sink's alone from now on.
    ///
    /// # Errors
    /// It is closed.
    pub(crate) fn stdout() -> Result<Self, SinkError> {
        if stdout_was_closed() {
            return Err(SinkError::output("stdout is closed; redirect it to where the stream shall go"));
        }
        let file =
            take_stdout().map_err(|e| SinkError::output(format!("cannot use stdout: {}", reason(&e))))?;
        Ok(Self::new(file, "stdout"))
    }

    /// Any file, under this name in messages.
    pub(crate) fn new(file: File, name: &str) -> Self {
        let kind = match kind(&file) {
            Kind::Socket if is_uncounted(&file) => Kind::Other,
            kind => kind,
        };
        grow(&file);
        FileSink {
            file: Some(Arc::new(file)),
            kind,
            name: name.to_owned(),
            orphaned: None,
            passing: false,
            two_way: false,
        }
    }

    /// The same, but what was written counts, as it does for most programs: whoever reads is neither watched nor waited
    /// for, and no disk either.
    #[must_use]
    pub(crate) fn passing(self) -> Self {
        FileSink { passing: true, ..self }
    }

    /// The same, but of a socket that this process may read from as well: closing one descriptor of it does not tell the
    /// reader that the stream has ended. So the end is told in another way, and nobody writes there afterwards.
    #[must_use]
    pub(crate) fn two_way(self, two_way: bool) -> Self {
        FileSink { two_way, ..self }
    }

    /// The file, without holding it open; nothing once this has finished.
    pub(crate) fn held(&self) -> Weak<File> {
        self.file.as_ref().map_or_else(Weak::new, Arc::downgrade)
    }

    fn drained(&self, file: &File) -> Result<(), SinkError> {
        let (mut pause, last) = DRAIN_PAUSES;
        loop {
            let taken = self.backlog(file)? == 0;
            let timeout = if taken { Duration::ZERO } else { pause };
            let [sink] = wait(&[Interest::end(file)], Some(timeout)).map_err(|e| self.failed(&e))?;
            if sink.error && self.has_lost(file)? {
                return Err(self.reader_gone());
            }
            if taken {
                return Ok(());
            }
            pause = (pause * 2).min(last);
        }
    }

    /// Whether the reader has left bytes, given that the sink has an error. A pipe keeps them. A socket throws them
    /// away, but has an error only then: a reader who took everything just hangs up.
    fn has_lost(&self, file: &File) -> Result<bool, SinkError> {
        Ok(self.kind == Kind::Socket || self.backlog(file)? > 0)
    }

    /// Bytes written that nobody has taken yet.
    fn backlog(&self, file: &File) -> Result<usize, SinkError> {
        let backlog = if self.kind == Kind::Socket { unsent(file) } else { unread(file) };
        backlog.map_err(|e| self.failed(&e))
    }

    fn is_watched(&self) -> bool {
        !self.passing && matches!(self.kind, Kind::Pipe | Kind::Socket)
    }

    fn reader_gone(&self) -> SinkError {
        SinkError::unwanted(format!("whoever read {} has gone before the end of the stream", self.name))
    }

    fn failed(&self, error: &io::Error) -> SinkError {
        match error.kind() {
            ErrorKind::BrokenPipe => self.reader_gone(),
            _ => SinkError::output(format!("cannot write to {}: {}", self.name, reason(error))),
        }
    }
}

/// Whether this is a socket of a family for which the kernel does not say what its peer has taken.
fn is_uncounted(socket: &File) -> bool {
    let why = unsent(socket).err().and_then(|e| Errno::from_io_error(&e));
    why.is_some_and(|why| [Errno::NOTTY, Errno::OPNOTSUPP].contains(&why))
}

/// Waits until what was written to a file is on the disk, if there is a disk behind it. What goes to a file without one, as
/// in /proc, is where it belongs once it was written.
fn sync(file: &File) -> io::Result<()> {
    let is_invalid = |synced: &io::Result<()>| {
        synced.as_ref().is_err_and(|e| Errno::from_io_error(e) == Some(Errno::INVAL))
    };
    let synced = file.sync_all();
    // a file that cannot be synced says so each time; that a disk has not taken something is said once
    if is_invalid(&synced) && is_invalid(&file.sync_all()) { Ok(()) } else { synced }
}

impl Sink for FileSink {
    fn write(&mut self, slices: &[IoSlice<'_>]) -> Result<usize, SinkError> {
        if self.orphaned.is_some() {
            return Err(self.reader_gone());
        }
        loop {
            let Some(mut file) = self.file.as_deref() else { return Err(self.reader_gone()) };
            match file.write_vectored(slices) {
                Ok(0) => return Err(SinkError::output(format!("{} takes nothing more", self.name))),
                Ok(n) => return Ok(n),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                // another process has made the file non-blocking
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    wait(&[Interest::write(&file)], None).map_err(|e| self.failed(&e))?;
                }
                Err(e) => return Err(self.failed(&e)),
            }
        }
    }

    fn pipe(&self) -> Option<Arc<File>> {
        self.file.clone().filter(|_| self.kind == Kind::Pipe && !self.passing)
    }

    fn take_from(&mut self, socket: BorrowedFd<'_>, most: usize) -> Result<io::Result<usize>, SinkError> {
        if self.orphaned.is_some() {
            return Err(self.reader_gone());
        }
        let Some(file) = &self.file else { return Ok(Err(ErrorKind::InvalidInput.into())) };
        let moved = splice::into_pipe(socket, file, most);
        if moved.as_ref().is_err_and(|e| e.kind() == ErrorKind::BrokenPipe) {
            // a socket may say so too
            let [sink] = wait(&[Interest::end(file)], Some(Duration::ZERO)).map_err(|e| self.failed(&e))?;
            if sink.error {
                return Err(self.reader_gone());
            }
        }
        Ok(moved)
    }

    fn watch(&mut self, bell: &Bell) -> Result<(), SinkError> {
        let mut seen = Ready::default();
        loop {
            let left = self.look(seen)?;
            let file = self.file.as_ref().filter(|_| left.is_none() && self.is_watched());
            let waited = match file {
                Some(file) => wait(&[Interest::read(bell), Interest::end(file)], None),
                None => wait(&[Interest::read(bell)], left).map(|[rung]| [rung, Ready::default()]),
            };
            let [rung, end] = waited.map_err(|e| self.failed(&e))?;
            seen = end;
            if rung.any() {
                return self.look(seen).map(drop);
            }
        }
    }

    fn look(&mut self, seen: Ready) -> Result<Option<Duration>, SinkError> {
        let Some(file) = self.file.as_ref().filter(|_| self.is_watched()) else { return Ok(None) };
        if self.orphaned.is_none() && (seen.error || seen.hung_up) {
            let lost = seen.error && self.has_lost(file)?;
            if lost || self.backlog(file)? > 0 {
                return Err(self.reader_gone());
            }
            self.orphaned = Some(Instant::now());
        }
        match self.orphaned.map(|since| END_GRACE.saturating_sub(since.elapsed())) {
            Some(Duration::ZERO) => Err(self.reader_gone()),
            left => Ok(left),
        }
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        let Some(file) = self.file.take() else { return Ok(()) };
        match self.kind {
            _ if self.passing => {}
            Kind::Pipe | Kind::Socket => self.drained(&file)?,
            Kind::File => sync(&file).map_err(|e| self.failed(&e))?,
            Kind::Terminal | Kind::Other => {}
        }
        if self.two_way {
            // fails where the reader has closed its end, having taken everything
            let _ = lead_nowhere(&file);
        }
        // if another thread still holds the file, that thread closes it
        Arc::into_inner(file).map_or(Ok(()), |file| close(file).map_err(|e| self.failed(&e)))
    }
}

/// The stream comes from a file.
pub(crate) struct FileSource {
    source: Arc<NamedFile>,
    kind: Kind,
    /// Its end is an end, whoever wrote it.
    passing: bool,
    /// The kernel was asked to read so far.
    wanted: u64,
    /// Where the file was to be read from, and how long it was then, if it is one that says so.
    began: Option<(u64, u64)>,
}

impl FileSource {
    /// Standard input.
    ///
    /// # Errors
    /// It is closed, or a socket of datagrams.
    pub(crate) fn stdin() -> Result<Self, String> {
        if stdin_was_closed() {
            return Err("stdin is closed; there is nothing to send".into());
        }
        let file = take_stdin().map_err(|e| format!("cannot use stdin: {}", reason(&e)))?;
        if has_datagrams(&file) {
            return Err("stdin is a socket of datagrams, which lose bytes here; use a stream".into());
        }
        Ok(Self::new(file, "stdin"))
    }

    /// Any file, under this name in messages.
    pub(crate) fn new(file: File, name: &str) -> Self {
        let kind = kind(&file);
        grow(&file);
        // a disk as a whole, and what the kernel makes up when it is read, have no length
        let length =
            file.metadata().ok().filter(|file| file.is_file() && file.len() > 0).map(|file| file.len());
        let began = (&file).stream_position().ok().zip(length);
        let source = NamedFile::new(file, name.to_owned(), false);
        FileSource { source, kind, passing: false, wanted: 0, began }
    }

    /// The same, but its end is an end, as it is for most programs: whoever wrote it is not asked why. A terminal that
    /// has hung up and what was opened for writing alone are empty. A terminal is read when something was
    /// typed, not before.
    #[must_use]
    pub(crate) fn passing(self) -> Self {
        FileSource { passing: true, ..self }
    }

    /// The file, without holding it open.
    pub(crate) fn held(&self) -> Weak<NamedFile> {
        Arc::downgrade(&self.source)
    }

    fn failed(&self, error: &io::Error) -> String {
        format!("cannot read {}: {}", self.source.name, reason(error))
    }

    /// Whether the file has become shorter than what was read of it: its new end was no end of the stream. A file that was cut
    /// in front of what was to be read next looks like any file that ends there.
    fn ends_before_what_was_read(&self) -> bool {
        let file = &self.source.file;
        let Some(((began, before), at)) = self.began.zip((&*file).stream_position().ok()) else {
            return false;
        };
        at > began && file.metadata().is_ok_and(|now| now.len() < at && now.len() != before)
    }

    /// Whether there is nothing to read, rather than something that is lost.
    fn is_empty(&self, error: &io::Error) -> bool {
        self.passing
            && match Errno::from_io_error(error) {
                // nohup(1) takes a terminal away in this way
                Some(Errno::BADF) => true,
                Some(Errno::IO) => self.kind == Kind::Terminal,
                _ => false,
            }
    }
}

impl Source for FileSource {
    fn read(&mut self, space: &mut [u8]) -> Result<usize, String> {
        // who reads a terminal from the background is stopped, and a command that wants no input need not be
        if self.passing && self.kind == Kind::Terminal {
            wait(&[Interest::read(&self.source.file)], None).map_err(|e| self.failed(&e))?;
        }
        loop {
            match (&self.source.file).read(space) {
                Ok(n) => return Ok(n),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    wait(&[Interest::read(&self.source.file)], None).map_err(|e| self.failed(&e))?;
                }
                Err(e) if self.is_empty(&e) => return Ok(0),
                Err(e) => return Err(self.failed(&e)),
            }
        }
    }

    fn has_parts(&mut self) -> bool {
        sendfile::can_send(&self.source.file, PARTED_LEAST)
    }

    fn part(&mut self, most: usize) -> Option<Part> {
        let file = &self.source.file;
        let at = (&*file).stream_position().ok()?;
        let left = file.metadata().ok()?.len().saturating_sub(at);
        let len = most.min(usize::try_from(left).unwrap_or(usize::MAX));
        // what is read afterwards, by whomever, begins behind it
        if len == 0 || (&*file).seek(SeekFrom::Start(at + len as u64)).is_err() {
            return None;
        }
        let ahead = at + len as u64 + AHEAD;
        self.wanted = self.wanted.max(at);
        if self.wanted + AHEAD / 2 < ahead {
            sendfile::want(file, self.wanted, ahead - self.wanted);
            self.wanted = ahead;
        }
        Some(Part { file: self.source.clone(), at, len })
    }

    fn has_pipe(&self) -> bool {
        self.kind == Kind::Pipe
    }

    fn move_into(&mut self, pipe: &mut KeptPipe, most: usize) -> Result<Option<usize>, String> {
        loop {
            match pipe.take_from(&self.source.file, most) {
                Ok(n) => return Ok(Some(n)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(self.failed(&e)),
            }
        }
    }

    fn wait(&self, bell: Option<&Bell>, timeout: Option<Duration>) -> Result<WokenBy, String> {
        wait_for(&self.source.file, bell, timeout).map_err(|e| self.failed(&e))
    }

    fn finish(&mut self) -> Result<(), String> {
        if !self.passing && matches!(self.kind, Kind::Pipe | Kind::Socket) {
            signal::await_late();
        }
        if self.ends_before_what_was_read() {
            return Err(format!("cannot read {}: {SHORTER}", self.source.name));
        }
        Ok(())
    }

    fn size(&self) -> Option<u64> {
        let metadata = self.source.file.metadata().ok()?;
        let read = (&self.source.file).stream_position().ok()?;
        (self.kind == Kind::File && metadata.is_file()).then(|| metadata.len().saturating_sub(read))
    }
}

#[cfg(test)]
mod tests;
