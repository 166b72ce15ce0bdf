//! The tunnel as the stream's source and as its sink.

use super::raw::RawSink;
use super::shared::{Commit, Phase, Tunnel};
use crate::endpoint::file::FileSource;
use crate::endpoint::{Lookout, OnNews, Sink, SinkError, Source, WokenBy, wait_for};
use crate::error::reason;
use crate::sys::bell::Bell;
use crate::sys::pipe::{Interest, wait};
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The stream comes from the tunnel.
pub(crate) struct TunnelSource {
    tunnel: Arc<Tunnel>,
    /// The one connection, if that is the stream, and the phase it belongs to.
    raw: Option<(FileSource, u64)>,
}

impl TunnelSource {
    /// The one source of this tunnel.
    pub(crate) fn new(tunnel: Arc<Tunnel>) -> Self {
        TunnelSource { tunnel, raw: None }
    }

    /// Gives what there is now; `None`: nothing, and no end.
    fn pull_now(&mut self, space: &mut [u8]) -> Result<Option<usize>, String> {
        let mut guard = self.tunnel.lock();
        let (fits, state) = (guard.fits(), &mut *guard);
        if fits && self.tunnel.needs_no_leg() {
            self.tunnel.try_again(state)?;
        }
        match &mut state.phase {
            Phase::Failed(why) => Err(why.clone()),
            Phase::Raw(_) if fits => {
                let raw = state.raw().map(|(raw, generation)| (raw.source(), generation));
                if let Some((source, generation)) = raw {
                    self.raw = source.map_err(|e| failed(&e))?.map(|source| (source, generation));
                }
                Ok(None)
            }
            Phase::Records(local) if fits => {
                let pulled = local.pull(space);
                // a connection that ended may have been the last
                if local.is_drained() {
                    self.tunnel.to_sink.ring();
                }
                let over = local.is_over();
                if pulled == 0 {
                    return Ok(over.then_some(0));
                }
                state.meeting.begin();
                Ok(Some(pulled))
            }
            // whatever there is waits for a far end that it is for
            Phase::Unmet | Phase::Raw(_) | Phase::Records(_) => Ok(None),
        }
    }

    fn has_input(&self) -> bool {
        let mut state = self.tunnel.lock();
        let fits = state.fits();
        match &mut state.phase {
            Phase::Unmet => false,
            Phase::Failed(_) => true,
            Phase::Raw(raw) => {
                fits && (raw.stream.is_some() || self.tunnel.needs_no_leg() && raw.failed.is_some())
            }
            Phase::Records(local) => fits && (local.has_output() || local.is_over()),
        }
    }

    /// Reads from the one connection; none if that was for a far end that is gone.
    fn read_raw(&mut self, space: &mut [u8]) -> Option<Result<usize, String>> {
        let (raw, generation) = self.raw.as_mut()?;
        let read = raw.read(space);
        let end = !matches!(read, Ok(1..));
        loop {
            self.tunnel.to_source.clear();
            match self.tunnel.commit(*generation, end) {
                Commit::Stream => return Some(read),
                Commit::Stale => {
                    self.raw = None;
                    return None;
                }
                Commit::Early => {
                    if let Err(e) = wait(&[Interest::read(&self.tunnel.to_source)], None) {
                        return Some(Err(failed(&e)));
                    }
                }
            }
        }
    }
}

impl Source for TunnelSource {
    fn read(&mut self, space: &mut [u8]) -> Result<usize, String> {
        loop {
            if let Some(read) = self.read_raw(space) {
                return read;
            }
            self.tunnel.to_source.clear();
            if let Some(n) = self.pull_now(space)? {
                return Ok(n);
            }
            if self.raw.is_none() {
                wait(&[Interest::read(&self.tunnel.to_source)], None).map_err(|e| failed(&e))?;
            }
        }
    }

    fn pull(&mut self, space: &mut [u8]) -> Result<Option<usize>, String> {
        loop {
            if let Some(read) = self.read_raw(space) {
                return read.map(Some);
            }
            let pulled = self.pull_now(space)?;
            // there may be a connection now, whose bytes are the stream
            if self.raw.is_none() {
                return Ok(pulled);
            }
        }
    }

    fn on_news(&mut self, call: OnNews) {
        self.tunnel.on_source_news(call);
    }

    fn wait(&self, bell: Option<&Bell>, timeout: Option<Duration>) -> Result<WokenBy, String> {
        if let Some((raw, _)) = &self.raw {
            return raw.wait(bell, timeout);
        }
        let deadline = timeout.map(|time| Instant::now() + time);
        loop {
            self.tunnel.to_source.clear();
            if self.has_input() {
                return Ok(WokenBy::Input);
            }
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            match wait_for(&self.tunnel.to_source, bell, left).map_err(|e| failed(&e))? {
                WokenBy::Bell => return Ok(WokenBy::Bell),
                WokenBy::Timeout if left.is_some_and(|left| left.is_zero()) => return Ok(WokenBy::Timeout),
                WokenBy::Input | WokenBy::Timeout => {}
            }
        }
    }

    fn finish(&mut self) -> Result<(), String> {
        Ok(())
    }
}

/// The stream goes to the tunnel.
pub(crate) struct TunnelSink {
    tunnel: Arc<Tunnel>,
    /// The one connection, if that is the stream, and the phase it belongs to.
    raw: Option<(RawSink, u64)>,
}

impl TunnelSink {
    /// The one sink of this tunnel.
    pub(crate) fn new(tunnel: Arc<Tunnel>) -> Self {
        TunnelSink { tunnel, raw: None }
    }

    /// A leg, or the end, has come: whether it is known what becomes of it; if the answer is one connection, it is
    /// there now.
    fn is_ready(&mut self) -> Result<bool, SinkError> {
        let mut state = self.tunnel.lock();
        self.tunnel.leg_came(&mut state).map_err(SinkError::output)?;
        drop(state);
        self.look()
    }

    /// Whether there is something to write to.
    fn look(&mut self) -> Result<bool, SinkError> {
        let state = self.tunnel.lock();
        match (&state.phase, state.raw()) {
            (Phase::Records(_), _) => Ok(true),
            (_, Some((_, generation))) if self.raw.as_ref().is_some_and(|(_, own)| *own == generation) => {
                Ok(true)
            }
            (_, Some((raw, generation))) => {
                let sink = raw.sink().map_err(|e| SinkError::output(failed(&e)))?;
                self.raw = sink.map(|sink| (sink, generation));
                Ok(self.raw.is_some())
            }
            (_, None) => Ok(false),
        }
    }

    fn await_ready(&mut self) -> Result<(), SinkError> {
        while !self.is_ready()? {
            self.tunnel.to_sink.clear();
            if self.is_ready()? {
                break;
            }
            self.listen(None)?;
        }
        Ok(())
    }

    /// Whether the one connection is to be watched.
    fn is_raw(&self) -> Result<bool, SinkError> {
        let state = self.tunnel.lock();
        match &state.phase {
            Phase::Failed(why) => Err(SinkError::output(why.clone())),
            // a reader that goes away counts once something has begun
            Phase::Raw(_) => Ok(state.meeting.has_begun()),
            Phase::Unmet | Phase::Records(_) => Ok(false),
        }
    }

    /// Waits for the tunnel's bell, and for this one.
    fn listen(&self, bell: Option<&Bell>) -> Result<bool, SinkError> {
        let ours = Interest::read(&self.tunnel.to_sink);
        let ready = match bell {
            Some(bell) => wait(&[Interest::read(bell), ours], None).map(|[bell, _]| bell.any()),
            None => wait(&[ours], None).map(|_| false),
        };
        ready.map_err(|e| SinkError::output(failed(&e)))
    }
}

impl TunnelSink {
    /// Gives all of it to the local side, which never waits.
    fn push(&self, slices: &[IoSlice<'_>]) -> Result<usize, SinkError> {
        let pushed = self.tunnel.write_with(|local| slices.iter().try_for_each(|slice| local.push(slice)));
        match pushed {
            Some(Ok(())) => Ok(slices.iter().map(|slice| slice.len()).sum()),
            Some(Err(breach)) => Err(SinkError::output(breach.to_string())),
            None => Err(SinkError::output("the tunnel has ended")),
        }
    }
}

impl Sink for TunnelSink {
    fn write(&mut self, slices: &[IoSlice<'_>]) -> Result<usize, SinkError> {
        self.await_ready()?;
        if let Some((raw, _)) = &mut self.raw {
            return raw.file.write(slices);
        }
        self.push(slices)
    }

    fn write_now(&mut self, slices: &[IoSlice<'_>]) -> Result<Option<usize>, SinkError> {
        if !self.is_ready()? || self.raw.is_some() {
            return Ok(None);
        }
        self.push(slices).map(Some)
    }

    fn is_prompt(&mut self) -> bool {
        let state = self.tunnel.lock();
        self.raw.is_none() && matches!(state.phase, Phase::Records(_)) && state.fits()
    }

    fn on_news(&mut self, call: OnNews) {
        self.tunnel.on_sink_news(call);
    }

    fn lookout(&self) -> Option<Arc<dyn Lookout>> {
        Some(self.tunnel.clone())
    }

    fn watch(&mut self, bell: &Bell) -> Result<(), SinkError> {
        loop {
            self.tunnel.to_sink.clear();
            if self.is_raw()?
                && self.look()?
                && let Some((raw, _)) = &mut self.raw
            {
                return raw.file.watch(bell);
            }
            if self.listen(Some(bell))? {
                return Ok(());
            }
        }
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        self.await_ready()?;
        if let Some((raw, _)) = &mut self.raw {
            raw.shut();
            return raw.file.finish();
        }
        self.tunnel.with(|local| local.stream_ended());
        loop {
            self.tunnel.to_sink.clear();
            if let Phase::Records(local) = &self.tunnel.lock().phase
                && local.is_drained()
            {
                return Ok(());
            }
            self.listen(None)?;
        }
    }
}

fn failed(error: &io::Error) -> String {
    format!("cannot wait for the tunnel: {}", reason(error))
}
