//! Why a session ends a stream by its own judgement: each reason, its exit status and its words.
//!
//! The words are here, and not where the user's lines are made, because most of them go to the peer too. Times are in whole
//! seconds. What the ends of the streams say of themselves comes in as it is.

use super::super::outcome::{Outcome, Status};
use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Why {
    // ---- the end that dials has no connection ----
    /// No link is left that could lead to the receiver; what is wrong with each.
    NoWay { troubles: String },
    /// Whoever answers on a link does not want the session. Once it has `begun`, that is only how the receiver's loss shows.
    Refused { link: String, sentence: String, begun: bool },
    /// Every link refused for long enough.
    ReceiverGone { troubles: String },
    /// The receiver had no room for the session until patience was over.
    Busy { link: String, sentence: String, waited: u64 },
    /// Patience is over. `unproven`: whoever answers has not proved its key.
    NoConnection { waited: u64, troubles: String, unproven: bool },
    // ---- the end that listens has no connection ----
    /// The one sender that there could be has left.
    LeftBeforeItBegan,
    /// No sender brought anything; whether one came.
    NothingCame { came: bool, waited: u64 },
    /// The sender that has started this end has closed all connections.
    SenderGone,
    /// Patience is over.
    NoSender { waited: u64 },
    // ---- the peer answers, and brings nothing forward ----
    /// Nothing of the stream that comes in came.
    SenderStalls { waited: u64 },
    /// Nothing of the stream that goes out was taken.
    ReceiverStalls { waited: u64 },
    /// All of the stream that goes out was taken, and it was not judged.
    NoVerdict { waited: u64 },
    /// The session ends so while only the verdict is missing.
    InDoubt { why: String },
    // ---- what was sent and what was received differ ----
    /// A leg was damaged on its way too often.
    Damaged { sequence: u64 },
    /// The receiver has forgotten legs that it had confirmed, from this one on.
    Forgotten { sequence: u64 },
    /// The receiver confirms what was not sent.
    AnotherChecksum,
    /// The receiver confirms so many bytes.
    AnotherLength { confirmed: u64, sent: u64 },
    /// The receiver confirms a stream whose end it cannot know.
    Unended,
    /// The stream that came in is not the one that was sent.
    ChecksumDiffers { found: u32, announced: u32 },
    /// The stream that came in has a checksum, and some of its legs have none.
    PartlyChecked,
}

impl Why {
    /// The outcome that this means at this end.
    pub(super) fn outcome(&self) -> Outcome {
        Outcome::here(self.status(), self.to_string())
    }

    pub(super) fn status(&self) -> Status {
        match self {
            Why::Refused { begun: false, .. } | Why::Busy { .. } => Status::Refused,
            Why::NoConnection { unproven: true, .. } => Status::Refused,
            Why::Damaged { .. } | Why::AnotherChecksum | Why::AnotherLength { .. } => Status::Corrupt,
            Why::ChecksumDiffers { .. } | Why::PartlyChecked => Status::Corrupt,
            Why::NoWay { .. }
            | Why::Refused { begun: true, .. }
            | Why::ReceiverGone { .. }
            | Why::NoConnection { unproven: false, .. }
            | Why::LeftBeforeItBegan
            | Why::NothingCame { .. }
            | Why::SenderGone
            | Why::NoSender { .. }
            | Why::SenderStalls { .. }
            | Why::ReceiverStalls { .. }
            | Why::NoVerdict { .. }
            | Why::InDoubt { .. }
            | Why::Forgotten { .. }
            | Why::Unended => Status::Incomplete,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::NoWay { troubles } => f.write_str(troubles),
            Why::Refused { link, sentence, .. } => write!(f, "{link}: refused: {sentence}"),
            Why::ReceiverGone { troubles } => write!(f, "the receiver is gone: {troubles}"),
            Why::Busy { link, sentence, waited } => {
                write!(f, "{link}: refused: {sentence}, for {waited} s")
            }
            Why::NoConnection { waited, troubles, .. } => {
                write!(f, "no connection for {waited} s: {troubles}")
            }
            Why::LeftBeforeItBegan => f.write_str("the sender went away before it began"),
            Why::NothingCame { came: true, waited } => {
                write!(f, "a sender came, but nothing of a stream in {waited} s")
            }
            Why::NothingCame { came: false, waited } => write!(f, "no sender came for {waited} s"),
            Why::SenderGone => f.write_str("the sender is gone: all connections closed, and none came back"),
            Why::NoSender { waited } => write!(f, "no connection from the sender for {waited} s"),
            Why::SenderStalls { waited } => {
                write!(f, "the sender answers, but nothing of the stream came for {waited} s")
            }
            Why::ReceiverStalls { waited } => {
                write!(f, "the receiver answers, but took nothing of the stream for {waited} s")
            }
            Why::NoVerdict { waited } => {
                write!(f, "the receiver answers, but gave no verdict for {waited} s")
            }
            Why::InDoubt { why } => write!(f, "all has arrived, but no verdict: {why}"),
            Why::Damaged { sequence } => {
                write!(f, "leg {sequence} arrived damaged again and again; the path corrupts data")
            }
            Why::Forgotten { sequence } => {
                write!(f, "the receiver has lost what it had confirmed, from leg {sequence} on")
            }
            Why::AnotherChecksum => {
                f.write_str("the receiver confirms another checksum than that of what was sent")
            }
            Why::AnotherLength { confirmed, sent } => {
                write!(f, "the receiver confirms {confirmed} bytes of {sent}")
            }
            Why::Unended => f.write_str("the receiver confirms a stream that has not ended"),
            Why::ChecksumDiffers { found, announced } => {
                write!(f, "the stream's checksum is {found:08x} where {announced:08x} was sent")
            }
            Why::PartlyChecked => f.write_str("the stream has a checksum, but not each of its legs"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Status::{Corrupt, Incomplete, Refused};

    fn hold<const N: usize>(rows: [(Why, Status, &str); N]) {
        for (why, status, words) in rows {
            let outcome = why.outcome();
            assert_eq!((outcome.status, outcome.sentence.as_str()), (status, words));
            assert!(!outcome.by_peer, "{why:?}");
        }
    }

    #[test]
    fn why_the_end_that_dials_gives_up() {
        let (link, sentence) = (|| "a:1".to_owned(), || "busy".to_owned());
        let (troubles, waited) = (|| "a:1: silent".to_owned(), 60);
        let refused = |begun| Why::Refused { link: link(), sentence: sentence(), begun };
        let silent = |unproven| Why::NoConnection { waited, troubles: troubles(), unproven };
        hold([
            (Why::NoWay { troubles: troubles() }, Incomplete, "a:1: silent"),
            (refused(false), Refused, "a:1: refused: busy"),
            (refused(true), Incomplete, "a:1: refused: busy"),
            (Why::ReceiverGone { troubles: troubles() }, Incomplete, "the receiver is gone: a:1: silent"),
            (
                Why::Busy { link: link(), sentence: sentence(), waited },
                Refused,
                "a:1: refused: busy, for 60 s",
            ),
            (silent(true), Refused, "no connection for 60 s: a:1: silent"),
            (silent(false), Incomplete, "no connection for 60 s: a:1: silent"),
        ]);
    }

    #[test]
    fn why_the_end_that_listens_gives_up() {
        let nothing = |came| Why::NothingCame { came, waited: 60 };
        hold([
            (Why::LeftBeforeItBegan, Incomplete, "the sender went away before it began"),
            (nothing(true), Incomplete, "a sender came, but nothing of a stream in 60 s"),
            (nothing(false), Incomplete, "no sender came for 60 s"),
            (Why::SenderGone, Incomplete, "the sender is gone: all connections closed, and none came back"),
            (Why::NoSender { waited: 60 }, Incomplete, "no connection from the sender for 60 s"),
        ]);
    }

    #[test]
    fn why_a_peer_that_answers_is_given_up() {
        let waited = 60;
        let stalls = "the sender answers, but nothing of the stream came for 60 s";
        let takes_nothing = "the receiver answers, but took nothing of the stream for 60 s";
        hold([
            (Why::SenderStalls { waited }, Incomplete, stalls),
            (Why::ReceiverStalls { waited }, Incomplete, takes_nothing),
            (Why::NoVerdict { waited }, Incomplete, "the receiver answers, but gave no verdict for 60 s"),
            (Why::InDoubt { why: "it left".into() }, Incomplete, "all has arrived, but no verdict: it left"),
        ]);
    }

    #[test]
    fn why_what_was_sent_is_not_what_was_received() {
        let damaged = "leg 7 arrived damaged again and again; the path corrupts data";
        let forgotten = "the receiver has lost what it had confirmed, from leg 7 on";
        let checksum = "the receiver confirms another checksum than that of what was sent";
        let differs = "the stream's checksum is 00000001 where 00000abc was sent";
        hold([
            (Why::Damaged { sequence: 7 }, Corrupt, damaged),
            (Why::Forgotten { sequence: 7 }, Incomplete, forgotten),
            (Why::AnotherChecksum, Corrupt, checksum),
            (Why::AnotherLength { confirmed: 1, sent: 2 }, Corrupt, "the receiver confirms 1 bytes of 2"),
            (Why::Unended, Incomplete, "the receiver confirms a stream that has not ended"),
            (Why::ChecksumDiffers { found: 1, announced: 0xabc }, Corrupt, differs),
            (Why::PartlyChecked, Corrupt, "the stream has a checksum, but not each of its legs"),
        ]);
    }
}
