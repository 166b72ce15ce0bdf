//! Why this process cannot go on: a [`Status`] and a sentence for the user.
//!
//! A failure is made where it is known what went wrong; nobody guesses later from an errno. Nothing here prints or
//! exits. A failure's status is never [`Status::Complete`], unless somebody builds it so.

pub use crate::proto::outcome::Status;

use crate::proto::outcome::Outcome;
use std::io;
use std::process::ExitCode;
use thiserror::Error;

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status.code())
    }
}

/// Why a session, a stream or the whole process cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{sentence}")]
pub struct Failure {
    /// The exit status that goes with it.
    pub status: Status,
    /// What happened and what to do, for the user: one line, without the program's name.
    pub(crate) sentence: String,
}

impl Failure {
    fn new(status: Status, sentence: impl Into<String>) -> Self {
        Self { status, sentence: sentence.into() }
    }

    /// A link or the peer is gone, the patience is over, or this machine lacks what is needed.
    pub(crate) fn network(sentence: impl Into<String>) -> Self {
        Self::new(Status::Incomplete, sentence)
    }

    /// The command line is wrong.
    pub(crate) fn usage(sentence: impl Into<String>) -> Self {
        Self::new(Status::Usage, sentence)
    }

    /// Our input failed.
    pub(crate) fn input(sentence: impl Into<String>) -> Self {
        Self::new(Status::Input, sentence)
    }

    /// Our output failed.
    pub(crate) fn output(sentence: impl Into<String>) -> Self {
        Self::new(Status::Output, sentence)
    }

    /// A stream ended so, if it did not end well. `peer` is what the user calls the far end.
    ///
    /// # Errors
    /// The failure.
    pub(crate) fn unless_complete(outcome: Outcome, peer: &str) -> Result<(), Self> {
        let Outcome { status, sentence, by_peer, .. } = outcome;
        match (status, by_peer) {
            (Status::Complete, _) => Ok(()),
            (status, true) => Err(Self::new(status, format!("{peer}: {sentence}"))),
            (status, false) => Err(Self::new(status, sentence)),
        }
    }
}

/// What the kernel says, without the number.
pub fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionReset => "connection reset".into(),
        io::ErrorKind::ConnectionAborted => "connection aborted".into(),
        io::ErrorKind::BrokenPipe => "connection closed".into(),
        _ => {
            let text = error.to_string();
            text.split(" (os error").next().unwrap_or_default().to_lowercase()
        }
    }
}

/// An error that may be one of ours, whose words stay as they are, or the kernel's.
pub(crate) fn told(error: &io::Error) -> String {
    if error.raw_os_error().is_some() { reason(error) } else { error.to_string() }
}

/// What is said where the kernel has no thread for something.
pub(crate) fn cannot_start_thread(error: &io::Error) -> String {
    format!("cannot start a thread: {}", reason(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_words_stay_as_they_are_and_the_kernels_lose_their_number() {
        assert_eq!(told(&io::Error::other("WLAN0 has no IPv6 address")), "WLAN0 has no IPv6 address");
        let refused = io::Error::from_raw_os_error(1);
        assert_eq!(told(&refused), "operation not permitted");
        assert_eq!(cannot_start_thread(&refused), "cannot start a thread: operation not permitted");
    }

    #[test]
    fn what_a_peer_says_is_told_as_the_peers() {
        let judged = |outcome| Failure::unless_complete(outcome, "the sender");
        assert_eq!(judged(Outcome::there(Status::Complete, "")), Ok(()));
        let theirs = judged(Outcome::there(Status::Input, "zfs send failed")).unwrap_err();
        assert_eq!(
            (theirs.status, theirs.to_string()),
            (Status::Input, "the sender: zfs send failed".into())
        );
        let ours = judged(Outcome::here(Status::Output, "the disk is full")).unwrap_err();
        assert_eq!((ours.status, ours.to_string()), (Status::Output, "the disk is full".into()));
    }

    #[test]
    fn every_failure_has_its_status_and_is_shown_as_its_sentence() {
        for (failure, status) in [
            (Failure::network("it"), Status::Incomplete),
            (Failure::usage("it"), Status::Usage),
            (Failure::input("it"), Status::Input),
            (Failure::output("it"), Status::Output),
        ] {
            assert_eq!((failure.status, failure.to_string()), (status, "it".to_owned()));
        }
    }
}
