//! Pseudorandom data as ends of the stream: made in place of an input, verified before an output.

use super::{Sink, SinkError, Source, WokenBy};
use crate::prbs::Prbs;
use crate::proto::leg::Leg;
use crate::proto::outcome::Status;
use crate::sys::bell::Bell;
use std::io::IoSlice;
use std::time::Duration;

/// How much of the stream is made at a time where it goes straight to a file: so much stays in the cache.
const CHUNK: usize = 256 << 10;

/// The stream of a seed, without end.
pub(crate) struct PrbsSource {
    prbs: Prbs,
    offset: u64,
}

impl PrbsSource {
    /// From the stream's start.
    pub(crate) fn new(seed: u16) -> Self {
        PrbsSource { prbs: Prbs::new(seed), offset: 0 }
    }
}

impl Source for PrbsSource {
    fn read(&mut self, space: &mut [u8]) -> Result<usize, String> {
        self.prbs.fill(self.offset, space);
        self.offset += space.len() as u64;
        Ok(space.len())
    }

    fn wait(&self, _: Option<&Bell>, _: Option<Duration>) -> Result<WokenBy, String> {
        Ok(WokenBy::Input)
    }

    fn finish(&mut self) -> Result<(), String> {
        Ok(())
    }
}

/// Lets through to another sink only what is in its place in the stream of a seed.
pub(crate) struct PrbsSink {
    prbs: Prbs,
    inner: Box<dyn Sink>,
}

impl PrbsSink {
    /// Verifies what goes to `inner`.
    pub(crate) fn new(seed: u16, inner: Box<dyn Sink>) -> Self {
        PrbsSink { prbs: Prbs::new(seed), inner }
    }
}

impl Sink for PrbsSink {
    fn verify(&mut self, leg: &Leg) -> Result<(), SinkError> {
        self.prbs.check(leg.offset, leg.bytes()).map_err(|mismatch| {
            let origin = leg.origin.as_deref().unwrap_or("an unknown connection");
            let sentence =
                format!("prbs does not verify: {mismatch}; it came in leg {} by {origin}", leg.sequence);
            SinkError { status: Status::Corrupt, ..SinkError::output(sentence) }
        })?;
        self.inner.verify(leg)
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> Result<usize, SinkError> {
        self.inner.write(slices)
    }

    fn watch(&mut self, bell: &Bell) -> Result<(), SinkError> {
        self.inner.watch(bell)
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        self.inner.finish()
    }
}

/// Writes the stream of a seed to `sink` until the sink takes no more; why it takes no more.
pub(crate) fn generate(seed: u16, sink: &mut dyn Sink) -> SinkError {
    let (prbs, mut offset) = (Prbs::new(seed), 0);
    let mut chunk = vec![0; CHUNK];
    loop {
        prbs.fill(offset, &mut chunk);
        let mut done = 0;
        while done < CHUNK {
            match sink.write(&[IoSlice::new(&chunk[done..])]) {
                Ok(n) => done += n,
                Err(error) => return error,
            }
        }
        offset += CHUNK as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Discard;
    use std::sync::Arc;

    #[test]
    fn what_the_source_makes_passes_the_sink() {
        let (mut source, mut sink) = (PrbsSource::new(7), PrbsSink::new(7, Box::new(Discard)));
        let mut offset = 0;
        for (sequence, len) in [1, 1000, 4096, 77].into_iter().enumerate() {
            let mut bytes = vec![0; len];
            assert_eq!(source.read(&mut bytes), Ok(len));
            let mut leg = Leg::new(sequence as u64, offset, Arc::new(bytes.clone()));
            assert_eq!(sink.verify(&leg), Ok(()));
            bytes[len - 1] ^= 1;
            leg.payload = Arc::new(bytes);
            leg.origin = Some("connection 3 from 10.0.0.1:99".into());
            let error = sink.verify(&leg).unwrap_err();
            assert_eq!(error.status, Status::Corrupt);
            let last = offset + len as u64 - 1;
            assert!(error.sentence.contains(&format!("byte {last} is")), "{}", error.sentence);
            let brought = format!("leg {sequence} by connection 3 from 10.0.0.1:99");
            assert!(error.sentence.ends_with(&brought), "{}", error.sentence);
            offset += len as u64;
        }
    }

    #[test]
    fn the_stream_is_written_until_nobody_takes_it() {
        struct Full(Vec<u8>);
        impl Sink for Full {
            fn write(&mut self, slices: &[IoSlice<'_>]) -> Result<usize, SinkError> {
                let room = slices[0].len().min(CHUNK + 99 - self.0.len());
                self.0.extend_from_slice(&slices[0][..room]);
                if room > 0 { Ok(room) } else { Err(SinkError::output("full")) }
            }
            fn watch(&mut self, _: &Bell) -> Result<(), SinkError> {
                Ok(())
            }
            fn finish(&mut self) -> Result<(), SinkError> {
                Ok(())
            }
        }
        let mut sink = Full(Vec::new());
        assert_eq!(generate(9, &mut sink), SinkError::output("full"));
        assert_eq!((sink.0.len(), Prbs::new(9).check(0, &sink.0)), (CHUNK + 99, Ok(())));
    }
}
