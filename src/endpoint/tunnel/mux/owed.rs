//! What is owed to the far end of a connection besides its data.

use super::super::record::Record;

/// What the far end has not been told yet of a connection that it knows; told in this order.
#[derive(Debug, Default)]
pub(super) struct Owed {
    pub(super) credit: u32,
    pub(super) finish: bool,
    pub(super) reset: bool,
}

impl Owed {
    /// The next record; whether there is another one.
    pub(super) fn take(&mut self, id: u32) -> (Option<Record>, bool) {
        let record = if self.credit > 0 {
            Some(Record::Credit(id, std::mem::take(&mut self.credit)))
        } else if std::mem::take(&mut self.finish) {
            Some(Record::Finish(id))
        } else {
            std::mem::take(&mut self.reset).then_some(Record::Reset(id))
        };
        (record, self.credit > 0 || self.finish || self.reset)
    }
}
