//! The near end's stdin and stdout, as the input and the output of the command.
//!
//! Both are what they are for ssh: what was written counts, and whoever wrote the input is not asked how that ended. That
//! the reader of stdout has gone is no failure here, since the command is told; everything else is one.

use crate::endpoint::file::{FileSink, FileSource};
use crate::endpoint::{Discard, Sink, SinkError};
use crate::error::{Failure, reason};
use crate::sys::bell::Bell;
use crate::sys::pipe::{Interest, Ready, wait};
use crate::sys::stdio::{nothing_to_read, stdin_was_closed, stdout_was_closed};
use std::fs::File;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Whether nobody has the other ends of stdin and stdout any more.
pub fn is_abandoned() -> bool {
    let (stdin, stdout) = (io::stdin(), io::stdout());
    let ends = wait(&[Interest::end(&stdin), Interest::end(&stdout)], Some(Duration::ZERO));
    ends.is_ok_and(|ends| ends.iter().all(Ready::any))
}

/// Where the command's input comes from.
pub struct Input {
    /// It is empty, whatever stdin is.
    pub none: bool,
}

impl Input {
    /// The source of the stream to the command.
    ///
    /// # Errors
    /// Stdin cannot be used.
    pub fn source(&self) -> Result<FileSource, Failure> {
        match self.none || stdin_was_closed() {
            true => {
                let nothing = nothing_to_read().map(File::from);
                nothing.map(|file| FileSource::new(file, "stdin")).map_err(|e| Failure::input(reason(&e)))
            }
            false => FileSource::stdin().map_err(Failure::input),
        }
        .map(FileSource::passing)
    }
}

/// Where the command's output goes.
#[derive(Clone, Debug, Default)]
pub struct Output {
    unwanted: Arc<AtomicBool>,
}

impl Output {
    /// The sink of the stream from the command.
    ///
    /// # Errors
    /// Stdout cannot be used.
    pub fn sink(&self) -> Result<Box<dyn Sink>, Failure> {
        if stdout_was_closed() {
            return Ok(Box::new(Discard));
        }
        let stdout = FileSink::stdout().map_err(|e| Failure::output(e.sentence))?;
        Ok(Box::new(Stdout { sink: stdout.passing(), output: self.clone() }))
    }

    /// Whether its reader went before it had all.
    pub fn is_unwanted(&self) -> bool {
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

impl Sink for Stdout {
    fn write(&mut self, slices: &[IoSlice<'_>]) -> Result<usize, SinkError> {
        self.output.heed(self.sink.write(slices))
    }

    fn watch(&mut self, bell: &Bell) -> Result<(), SinkError> {
        self.output.heed(self.sink.watch(bell))
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        self.output.heed(self.sink.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_goes_is_told_from_a_disk_that_is_full() {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let gone = File::from(std::os::fd::OwnedFd::from(writer));
        let full = File::options().write(true).open("/dev/full").unwrap();
        for (file, unwanted) in [(gone, true), (full, false)] {
            let output = Output::default();
            let mut sink = Stdout { sink: FileSink::new(file, "stdout").passing(), output: output.clone() };
            assert!(sink.write(&[IoSlice::new(b"some")]).is_err());
            assert_eq!(output.is_unwanted(), unwanted);
        }
    }
}
