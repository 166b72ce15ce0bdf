//! The near end's stdin and stdout, as the input and the output of the command.
//!
//! Both are what they are for ssh: what was written counts, and whoever wrote the input is not asked how that ended. That
//! the reader of stdout has gone is no failure here, since the command is told; everything else is one.

use crate::endpoint::file::{FileSink, FileSource};
use crate::endpoint::{Discard, NamedFile, Sink, SinkError};
use crate::error::{Failure, reason};
use crate::sync::Unpoisoned;
use crate::sys::bell::Bell;
use crate::sys::pipe::{Interest, wait};
use crate::sys::stdio::{nothing_to_read, stdin_was_closed, stdout_was_closed};
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

/// Whether nobody has the other end of this any more.
fn has_hung_up(fd: &impl AsFd) -> bool {
    wait(&[Interest::end(fd)], Some(Duration::ZERO)).is_ok_and(|[end]| end.any())
}

/// What a stream has taken, for the question of who has the other end. It is not held open for that: the reader of stdout
/// is to see its end.
#[derive(Debug)]
struct Taken<T>(Arc<Mutex<Option<Weak<T>>>>);

impl<T> Default for Taken<T> {
    fn default() -> Self {
        Taken(Arc::default())
    }
}

impl<T> Clone for Taken<T> {
    fn clone(&self) -> Self {
        Taken(self.0.clone())
    }
}

impl<T> Taken<T> {
    fn set(&self, file: Weak<T>) {
        *self.0.lock().unpoisoned() = Some(file);
    }

    /// Whether this holds of what was taken; None if nothing was. What is gone has no other end. Meanwhile it is not let go.
    fn is_gone_or(&self, holds: impl FnOnce(&T) -> bool) -> Option<bool> {
        let taken = self.0.lock().unpoisoned();
        taken.as_ref().map(|file| file.upgrade().is_none_or(|file| holds(&file)))
    }
}

/// Where the command's input comes from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Input {
    none: bool,
    taken: Taken<NamedFile>,
}

impl Input {
    /// With `none` it is empty, whatever stdin is.
    pub(crate) fn new(none: bool) -> Self {
        Input { none, taken: Taken::default() }
    }

    /// Whether nobody has the other end of stdin any more, or it is done with.
    pub(crate) fn is_abandoned(&self) -> bool {
        let taken = self.taken.is_gone_or(|file| has_hung_up(&file.file));
        taken.unwrap_or_else(|| has_hung_up(&io::stdin()))
    }

    /// The source of the stream to the command.
    ///
    /// # Errors
    /// Stdin cannot be used.
    pub(crate) fn source(&self) -> Result<FileSource, Failure> {
        match self.none || stdin_was_closed() {
            true => {
                let nothing = nothing_to_read().map(File::from);
                nothing.map(|file| FileSource::new(file, "stdin")).map_err(|e| Failure::input(reason(&e)))
            }
            false => {
                FileSource::stdin().map_err(Failure::input).inspect(|stdin| self.taken.set(stdin.held()))
            }
        }
        .map(FileSource::passing)
    }
}

/// Where the command's output goes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Output {
    unwanted: Arc<AtomicBool>,
    taken: Taken<File>,
}

impl Output {
    /// The sink of the stream from the command.
    ///
    /// # Errors
    /// Stdout cannot be used.
    pub(crate) fn sink(&self) -> Result<Box<dyn Sink>, Failure> {
        if stdout_was_closed() {
            return Ok(Box::new(Discard));
        }
        let stdout = FileSink::stdout().map_err(|e| Failure::output(e.sentence))?;
        Ok(Box::new(Stdout::new(stdout, self)))
    }

    /// Whether nobody has the other end of stdout any more, or it is done with.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.taken.is_gone_or(has_hung_up).unwrap_or_else(|| has_hung_up(&io::stdout()))
    }

    /// Whether its reader went before it had all.
    pub(crate) fn is_unwanted(&self) -> bool {
        self.unwanted.load(Ordering::Relaxed)
    }

    fn heed<T>(&self, done: Result<T, SinkError>) -> Result<T, SinkError> {
        if done.as_ref().is_err_and(|error| error.is_unwanted) {
            self.unwanted.store(true, Ordering::Relaxed);
        }
        done
    }
}

/// Standard output, and what becomes of its reader.
struct Stdout {
    sink: FileSink,
    output: Output,
}

impl Stdout {
    fn new(sink: FileSink, output: &Output) -> Self {
        output.taken.set(sink.held());
        Stdout { sink: sink.passing(), output: output.clone() }
    }
}

impl Sink for Stdout {
    fn write(&mut self, slices: &[IoSlice<'_>]) -> Result<usize, SinkError> {
        self.output.heed(self.sink.write(slices))
    }

    fn watch(&mut self, bell: &Bell) -> Result<(), SinkError> {
        self.output.heed(self.sink.watch(bell))
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        // nobody else has it open then, so that a failure to close it is told
        self.output.taken.set(Weak::new());
        self.output.heed(self.sink.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits for the end of the other end: a process that another test forks may have that for a moment.
    fn await_end(fd: &impl AsFd) {
        wait(&[Interest::end(fd)], None).unwrap();
    }

    #[test]
    fn a_reader_that_goes_is_told_from_a_disk_that_is_full() {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        await_end(&writer);
        let gone = File::from(std::os::fd::OwnedFd::from(writer));
        let full = File::options().write(true).open("/dev/full").unwrap();
        for (file, unwanted) in [(gone, true), (full, false)] {
            let output = Output::default();
            let mut sink = Stdout::new(FileSink::new(file, "stdout"), &output);
            assert!(sink.write(&[IoSlice::new(b"some")]).is_err());
            assert_eq!(output.is_unwanted(), unwanted);
        }
    }

    #[test]
    fn what_was_taken_is_abandoned_when_its_other_end_is_gone_and_nobody_holds_it_open_to_know() {
        let (reader, writer) = std::io::pipe().unwrap();
        let output = Output::default();
        let file = |end: std::os::fd::OwnedFd| File::from(end);
        let same = writer.try_clone().unwrap();
        let mut sink = Stdout::new(FileSink::new(file(writer.into()), "stdout"), &output);
        assert!(!output.is_abandoned(), "it is read");
        drop(reader);
        await_end(&same);
        assert!(output.is_abandoned());
        sink.finish().unwrap();
        assert!(output.is_abandoned(), "it is done with");

        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut sink = Stdout::new(FileSink::new(file(writer.into()), "stdout"), &output);
        assert!(!output.is_abandoned());
        sink.finish().unwrap();
        assert_eq!(io::Read::read(&mut reader, &mut [0]).unwrap(), 0, "its reader sees the end");

        let (reader, writer) = std::io::pipe().unwrap();
        let same = reader.try_clone().unwrap();
        let (input, source) = (Input::new(false), FileSource::new(file(reader.into()), "stdin"));
        input.taken.set(source.held());
        assert!(!input.is_abandoned(), "somebody may write");
        drop(writer);
        await_end(&same);
        assert!(input.is_abandoned());
        drop(source);
        assert!(input.is_abandoned(), "it is done with");
    }
}
