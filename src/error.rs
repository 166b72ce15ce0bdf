//! Errors by who is at fault: that decides what is done about them and the exit status.
//!
//! A failure is made where it is known what went wrong, with a sentence for the user; nobody guesses later from
//! an errno. Nothing here prints or exits. A failure's status is never [`Status::Complete`].

use std::io;
use std::process::ExitCode;

use thiserror::Error;

/// The exit status, a contract with scripts; also what one end tells the other about the whole stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// Every byte was delivered, and the far command, where there is one, succeeded.
    Complete = 0,
    /// The stream could not be completed: network, peer gone, patience over, port taken.
    Incomplete = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The peer refused: checkphrase, version, busy with another session.
    Refused = 3,
    /// The input failed: unreadable, or the transmitting end's command failed.
    Input = 4,
    /// The output failed: reader gone, disk full, the receiving end's command failed.
    Output = 5,
    /// Data did not verify: prbs, or checksum beyond repair.
    Corrupt = 6,
}

impl Status {
    /// Every status, each at the place of its number.
    pub const ALL: [Self; 7] = [
        Self::Complete,
        Self::Incomplete,
        Self::Usage,
        Self::Refused,
        Self::Input,
        Self::Output,
        Self::Corrupt,
    ];

    /// The number that the shell and the peer see.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The status with this number, if there is one: numbers from a peer are not trusted.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status.code())
    }
}

/// Who or what is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A link or the peer is gone, or the patience is over.
    Network,
    /// The user's command line.
    Usage,
    /// The peer does not want this session, or speaks another version.
    Refused,
    /// Our input.
    Input,
    /// Our output.
    Output,
    /// The data: it did not verify.
    Data,
    /// This program: something that cannot happen did.
    Bug,
    /// A signal with this number asked us to end.
    Signal(i32),
    /// The peer said that it ended, with this status.
    Peer(Status),
}

impl Fault {
    /// The exit status that goes with it. A signal's is what the peer is told; the process itself then ends by
    /// the signal.
    pub fn status(self) -> Status {
        match self {
            Self::Network | Self::Bug | Self::Signal(_) => Status::Incomplete,
            Self::Usage => Status::Usage,
            Self::Refused => Status::Refused,
            Self::Input => Status::Input,
            Self::Output => Status::Output,
            Self::Data => Status::Corrupt,
            // A peer that calls a failure complete is not believed.
            Self::Peer(Status::Complete) => Status::Incomplete,
            Self::Peer(status) => status,
        }
    }
}

/// Why a session, a direction or the whole process cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{sentence}")]
pub struct Failure {
    /// Who is at fault.
    pub fault: Fault,
    /// What happened and what to do, for the user: one line, without the program's name.
    pub sentence: String,
}

impl Failure {
    /// A failure with this fault.
    pub fn new(fault: Fault, sentence: impl Into<String>) -> Self {
        Self { fault, sentence: sentence.into() }
    }

    /// A link or the peer is gone, or the patience is over.
    pub fn network(sentence: impl Into<String>) -> Self {
        Self::new(Fault::Network, sentence)
    }

    /// The command line is wrong.
    pub fn usage(sentence: impl Into<String>) -> Self {
        Self::new(Fault::Usage, sentence)
    }

    /// The peer refused.
    pub fn refused(sentence: impl Into<String>) -> Self {
        Self::new(Fault::Refused, sentence)
    }

    /// Our input failed.
    pub fn input(sentence: impl Into<String>) -> Self {
        Self::new(Fault::Input, sentence)
    }

    /// Our output failed.
    pub fn output(sentence: impl Into<String>) -> Self {
        Self::new(Fault::Output, sentence)
    }

    /// Data did not verify.
    pub fn data(sentence: impl Into<String>) -> Self {
        Self::new(Fault::Data, sentence)
    }

    /// This program is at fault.
    pub fn bug(sentence: impl Into<String>) -> Self {
        Self::new(Fault::Bug, sentence)
    }

    /// A signal asked us to end.
    pub fn signal(signal: i32, sentence: impl Into<String>) -> Self {
        Self::new(Fault::Signal(signal), sentence)
    }

    /// The peer ended with this status and said why.
    pub fn peer(status: Status, sentence: impl Into<String>) -> Self {
        Self::new(Fault::Peer(status), sentence)
    }

    /// The exit status that goes with it.
    pub fn status(&self) -> Status {
        self.fault.status()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_contract_and_go_both_ways() {
        for (number, status) in (0u8..).zip(Status::ALL) {
            assert_eq!(status.code(), number);
            assert_eq!(Status::from_code(number), Some(status));
        }
        assert_eq!(Status::from_code(7), None);
        assert_eq!(Status::from_code(255), None);
        assert_eq!(Status::Corrupt.code(), 6);
    }

    #[test]
    fn every_fault_has_its_status() {
        for (failure, status) in [
            (Failure::network("n"), Status::Incomplete),
            (Failure::usage("u"), Status::Usage),
            (Failure::refused("r"), Status::Refused),
            (Failure::input("i"), Status::Input),
            (Failure::output("o"), Status::Output),
            (Failure::data("d"), Status::Corrupt),
            (Failure::bug("b"), Status::Incomplete),
            (Failure::signal(15, "s"), Status::Incomplete),
            (Failure::peer(Status::Output, "p"), Status::Output),
        ] {
            assert_eq!(failure.status(), status, "{failure:?}");
        }
    }

    #[test]
    fn no_failure_is_complete_whatever_the_peer_says() {
        assert_eq!(Failure::peer(Status::Complete, "p").status(), Status::Incomplete);
    }

    #[test]
    fn shown_as_its_sentence() {
        let failure = Failure::network("link 1: connection refused");
        assert_eq!(failure.to_string(), "link 1: connection refused");
    }
}
