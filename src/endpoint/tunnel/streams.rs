//! The tunnel as the stream's source and as its sink.

use super::raw::RawSink;
use super::shared::{Phase, Tunnel};
use crate::endpoint::file::FileSource;
use crate::endpoint::{OnNews, Sink, SinkError, Source, Waited};
use crate::error::reason;
use crate::sys::event::Bell;
use crate::sys::pipe::{Interest, wait};
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The stream comes from the tunnel.
pub struct TunnelSource {
    tunnel: Arc<Tunnel>,
    /// The one connection, if that is the stream.
    raw: Option<FileSource>,
}

impl TunnelSource {
    /// The one source of this tunnel.
    pub fn new(tunnel: Arc<Tunnel>) -> Self {
        TunnelSource { tunnel, raw: None }
    }

    /// Gives what there is now; `None`: nothing, and no end.
    fn pull_now(&mut self, space: &mut [u8]) -> Result<Option<usize>, String> {
        let mut state = self.tunnel.lock();
        match &mut state.phase {
            Phase::Unmet => Ok(None),
            Phase::Failed(why) => Err(why.clone()),
            Phase::Raw(raw) => {
                self.raw = raw.source().map_err(|e| failed(&e))?;
                Ok(None)
            }
            Phase::Records(local) => match local.pull(space) {
                0 => Ok(local.is_over().then_some(0)),
                n => Ok(Some(n)),
            },
        }
    }

    fn has_input(&self) -> bool {
        match &mut self.tunnel.lock().phase {
            Phase::Unmet => false,
            Phase::Failed(_) => true,
            Phase::Raw(raw) => raw.stream.is_some(),
            Phase::Records(local) => local.has_output() || local.is_over(),
        }
    }
}

impl Source for TunnelSource {
    fn read(&mut self, space: &mut [u8]) -> Result<usize, String> {
        loop {
            if let Some(raw) = &mut self.raw {
                return raw.read(space);
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
        match &mut self.raw {
            Some(raw) => raw.read(space).map(Some),
            None => {
                let pulled = self.pull_now(space)?;
                // there is a connection now, whose bytes are the stream
                if self.raw.is_some() { self.pull(space) } else { Ok(pulled) }
            }
        }
    }

    fn on_news(&mut self, call: OnNews) {
        self.tunnel.on_source_news(call);
    }

    fn wait(&self, bell: Option<&Bell>, timeout: Option<Duration>) -> Result<Waited, String> {
        if let Some(raw) = &self.raw {
            return raw.wait(bell, timeout);
        }
        let deadline = timeout.map(|time| Instant::now() + time);
        loop {
            self.tunnel.to_source.clear();
            if self.has_input() {
                return Ok(Waited::Input);
            }
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            let input = Interest::read(&self.tunnel.to_source);
            let ready = match bell {
                Some(bell) => wait(&[input, Interest::read(bell)], left),
                None => wait(&[input], left).map(|[input]| [input, Default::default()]),
            };
            let [input, rung] = ready.map_err(|e| failed(&e))?;
            if rung.any() {
                return Ok(Waited::Rung);
            }
            if !input.any() && left.is_some_and(|left| left.is_zero()) {
                return Ok(Waited::Nothing);
            }
        }
    }

    fn finish(&mut self) -> Result<(), String> {
        Ok(())
    }
}

/// The stream goes to the tunnel.
pub struct TunnelSink {
    tunnel: Arc<Tunnel>,
    /// The one connection, if that is the stream.
    raw: Option<RawSink>,
}

impl TunnelSink {
    /// The one sink of this tunnel.
    pub fn new(tunnel: Arc<Tunnel>) -> Self {
        TunnelSink { tunnel, raw: None }
    }

    /// Whether it is known what becomes of the stream; if the answer is one connection, it is there now.
    fn is_ready(&mut self) -> Result<bool, SinkError> {
        if self.raw.is_some() {
            return Ok(true);
        }
        match &self.tunnel.lock().phase {
            Phase::Unmet => Ok(false),
            Phase::Failed(why) => Err(SinkError::output(why.clone())),
            Phase::Records(_) => Ok(true),
            Phase::Raw(raw) => {
                self.raw = raw.sink().map_err(|e| SinkError::output(failed(&e)))?;
                Ok(self.raw.is_some())
            }
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

impl Sink for TunnelSink {
    fn write(&mut self, slices: &[IoSlice<'_>]) -> Result<usize, SinkError> {
        self.await_ready()?;
        if let Some(raw) = &mut self.raw {
            return raw.file.write(slices);
        }
        let pushed = self.tunnel.with(|local| slices.iter().try_for_each(|slice| local.push(slice)));
        match pushed {
            Some(Ok(())) => Ok(slices.iter().map(|slice| slice.len()).sum()),
            Some(Err(breach)) => Err(SinkError::output(breach.to_string())),
            None => Err(SinkError::output("the tunnel has ended")),
        }
    }

    fn is_prompt(&mut self) -> bool {
        self.raw.is_none() && matches!(self.tunnel.lock().phase, Phase::Records(_))
    }

    fn on_news(&mut self, call: OnNews) {
        self.tunnel.on_sink_news(call);
    }

    fn watch(&mut self, bell: &Bell) -> Result<(), SinkError> {
        loop {
            self.tunnel.to_sink.clear();
            self.is_ready()?;
            if let Some(raw) = &mut self.raw {
                return raw.file.watch(bell);
            }
            if self.listen(Some(bell))? {
                return Ok(());
            }
        }
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        self.await_ready()?;
        if let Some(raw) = &mut self.raw {
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
