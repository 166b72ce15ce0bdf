//! What the receiver's last word means for the stream that goes out.

use super::super::outcome::{Outcome, Status};
use super::super::wire::Verdict;
use super::outbound::Outbound;
use super::why::Why;

impl Outbound {
    /// What the receiver's last word means. It must fit what was sent.
    pub fn judge(&self, verdict: Verdict) -> Outcome {
        match (verdict.status, self.fin()) {
            // it may have taken less than was sent, and less than there is to send
            (Status::Complete, _) if self.to_command && verdict.command.is_some() => {
                Outcome::there(Status::Complete, verdict.sentence).of_command(verdict.command)
            }
            (Status::Complete, Some(fin)) if fin.bytes == verdict.bytes && fin.crc == verdict.crc => {
                Outcome::there(Status::Complete, "")
            }
            (Status::Complete, Some(fin)) => {
                let (confirmed, sent) = (verdict.bytes, fin.bytes);
                let same = confirmed == sent;
                let why = if same { Why::AnotherChecksum } else { Why::AnotherLength { confirmed, sent } };
                why.outcome()
            }
            (Status::Complete, None) => Why::Unended.outcome(),
            (status, _) => Outcome::there(status, verdict.sentence),
        }
    }
}
