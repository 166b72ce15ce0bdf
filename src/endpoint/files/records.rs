//! The stream of a sender of files, taken apart: records to who keeps them, and the bytes of files where they belong.

use super::receiving::Receiving;
use crate::endpoint::{Sink, SinkError};
use crate::proto::leg::{Leg, Payload};
use crate::store::disk::Disk;
use crate::store::record::{Item, RecordReader, Up};
use crate::store::summing::Shared;
use crate::sys::bell::Bell;
use crate::sys::pipe::{Interest, wait};
use std::io::IoSlice;
use std::sync::Arc;

impl<D: Disk + 'static> Receiving<D>
where
    D::File: 'static,
{
    /// The one sink of this sender.
    pub(crate) fn sink(self: &Arc<Self>) -> RecordSink<D> {
        RecordSink { receiving: self.clone(), reader: RecordReader::default() }
    }
}

/// The stream goes to a receiver of files.
pub(crate) struct RecordSink<D: Disk> {
    receiving: Arc<Receiving<D>>,
    reader: RecordReader<Up>,
}

impl<D: Disk + 'static> RecordSink<D>
where
    D::File: 'static,
{
    /// All of these, from there on.
    fn take(&mut self, whole: &Shared, from: usize) -> Result<(), SinkError> {
        self.receiving.hooks.place.allow()?;
        // a sender that takes no answers gets no more of them
        self.receiving.out.await_room();
        let all = (**whole).as_ref();
        let mut bytes = &all[from..];
        loop {
            match self.reader.next(&mut bytes).map_err(|breach| SinkError::output(breach.to_string()))? {
                None => return Ok(()),
                Some(Item::Record(file, up)) => self.receiving.hear(file, up)?,
                Some(Item::Data(file, data)) => {
                    let end = all.len() - bytes.len();
                    self.receiving.data(file, whole, end - data.len()..end)?;
                }
            }
        }
    }
}

/// The bytes of a leg, for whoever knows no legs.
struct Whole(Payload);

impl AsRef<[u8]> for Whole {
    fn as_ref(&self) -> &[u8] {
        self.0.bytes()
    }
}

impl<D: Disk + 'static> Sink for RecordSink<D>
where
    D::File: 'static,
{
    fn write(&mut self, slices: &[IoSlice<'_>]) -> Result<usize, SinkError> {
        for slice in slices {
            let whole: Shared = Arc::new(slice.to_vec());
            self.take(&whole, 0)?;
        }
        Ok(slices.iter().map(|slice| slice.len()).sum())
    }

    fn write_legs(&mut self, legs: &[Leg], mut taken: usize) -> Result<usize, SinkError> {
        let mut wrote = 0;
        for leg in legs {
            let whole: Shared = Arc::new(Whole(leg.payload.clone()));
            self.take(&whole, taken)?;
            wrote += leg.bytes().len() - taken;
            taken = 0;
        }
        Ok(wrote)
    }

    fn watch(&mut self, bell: &Bell) -> Result<(), SinkError> {
        let waited = wait(&[Interest::read(bell)], None);
        waited.map(drop).map_err(|e| SinkError::output(format!("cannot wait: {e}")))
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        self.receiving.finish_all();
        if self.reader.is_between() {
            Ok(())
        } else {
            Err(SinkError::output("the sender stopped in a record"))
        }
    }
}

impl<D: Disk> Drop for RecordSink<D> {
    fn drop(&mut self) {
        self.receiving.abandon();
    }
}
