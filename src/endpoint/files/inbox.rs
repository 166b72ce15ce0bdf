//! The inbox: what the receiver has said of files, until the sending thread hears it.

use super::outbox::Outbox;
use crate::endpoint::{Sink, SinkError};
use crate::store::record::{Down, Item, RecordReader};
use crate::sync::Unpoisoned;
use crate::sys::bell::Bell;
use crate::sys::pipe::{Interest, wait};
use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

/// Records that may wait here. A receiver says few things of each file, and of few files at a time.
const WAITING_MAX: usize = 4096;

/// What was said of files, by number.
#[derive(Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    news: Condvar,
    /// Where the sending thread may wait.
    also: OnceLock<Arc<Outbox>>,
}

#[derive(Default)]
struct State {
    records: VecDeque<(u32, Down)>,
    /// Nothing more comes.
    closed: bool,
}

impl Inbox {
    /// With nothing in it.
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The next one, if there is one.
    pub(crate) fn take(&self) -> Option<(u32, Down)> {
        self.lock().records.pop_front()
    }

    /// The next one, as soon as there is one; none: no more come.
    pub(crate) fn next(&self) -> Option<(u32, Down)> {
        let mut state = self.lock();
        loop {
            if let Some(record) = state.records.pop_front() {
                return Some(record);
            }
            if state.closed {
                return None;
            }
            state = self.news.wait(state).unpoisoned();
        }
    }

    /// Waits until there is one, or no more come, but no longer than this; whether that is so.
    pub(crate) fn await_news(&self, time: Duration) -> bool {
        let nothing = |state: &mut State| state.records.is_empty() && !state.closed;
        let waited = self.news.wait_timeout_while(self.lock(), time, nothing);
        !waited.unpoisoned().1.timed_out()
    }

    /// Has whoever waits for room there hear that there is news here.
    pub(super) fn tell_at(&self, outbox: Arc<Outbox>) {
        let _ = self.also.set(outbox);
    }

    /// The one sink of this inbox. When it is dropped, no more come.
    pub(crate) fn sink(self: &Arc<Self>) -> InboxSink {
        InboxSink { inbox: self.clone(), reader: RecordReader::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unpoisoned()
    }

    fn close(&self) {
        self.lock().closed = true;
        self.news.notify_all();
    }
}

/// The stream goes to an inbox.
pub(crate) struct InboxSink {
    inbox: Arc<Inbox>,
    reader: RecordReader<Down>,
}

impl InboxSink {
    fn hear(&mut self, mut bytes: &[u8]) -> Result<(), SinkError> {
        loop {
            match self.reader.next(&mut bytes).map_err(|breach| SinkError::output(breach.to_string()))? {
                None => return Ok(()),
                Some(Item::Data(..)) => {}
                Some(Item::Record(file, record)) => {
                    let mut state = self.inbox.lock();
                    if state.records.len() >= WAITING_MAX {
                        return Err(SinkError::output("the far end says more than there is to say"));
                    }
                    state.records.push_back((file, record));
                    drop(state);
                    self.inbox.news.notify_all();
                    self.inbox.also.get().into_iter().for_each(|outbox| outbox.tell_news());
                }
            }
        }
    }
}

impl Sink for InboxSink {
    fn write(&mut self, slices: &[IoSlice<'_>]) -> Result<usize, SinkError> {
        slices.iter().try_for_each(|slice| self.hear(slice))?;
        Ok(slices.iter().map(|slice| slice.len()).sum())
    }

    fn write_now(&mut self, slices: &[IoSlice<'_>]) -> Result<Option<usize>, SinkError> {
        self.write(slices).map(Some)
    }

    fn is_prompt(&mut self) -> bool {
        true
    }

    fn watch(&mut self, bell: &Bell) -> Result<(), SinkError> {
        let waited = wait(&[Interest::read(bell)], None);
        waited.map(drop).map_err(|e| SinkError::output(format!("cannot wait: {e}")))
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        self.inbox.close();
        if self.reader.is_between() {
            Ok(())
        } else {
            Err(SinkError::output("the far end stopped in a record"))
        }
    }
}

impl Drop for InboxSink {
    fn drop(&mut self) {
        self.inbox.close();
    }
}
