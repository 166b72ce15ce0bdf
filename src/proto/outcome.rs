//! How a stream, a session or the whole process ended.
//!
//! [`Status`] is the one list of outcomes: its numbers are the exit statuses of the program and what one end tells the
//! other on the wire. [`Outcome`] adds the sentence for the user, and whose word it is.

/// The status of both ends, a contract with scripts and with the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Status {
    /// Every byte was delivered, and the far command, where there is one, succeeded.
    Complete = 0,
    /// The stream could not be completed: network, peer gone, patience over, port taken.
    Incomplete = 1,
    /// The command line is wrong. Never on the wire.
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
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The status that a peer means by this number. None for a number that no peer may send.
    pub fn from_wire(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied().filter(|status| *status != Self::Usage)
    }
}

/// How a command ended whose own end is the result of a session. A status of it is no failure of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CommandEnd {
    /// By itself, with this status.
    Exit(u8),
    /// By this signal, 1 to [`CommandEnd::SIGNAL_MAX`].
    Signal(u8),
}

impl CommandEnd {
    /// The highest number of a signal: what a process's status has room for.
    pub const SIGNAL_MAX: u8 = 127;
}

/// How a stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The exit status.
    pub status: Status,
    /// Why, for the user; empty if all is well.
    pub sentence: String,
    /// Whether the sentence is the peer's own, about itself. A refusal is told in this end's words.
    pub by_peer: bool,
    /// How the command ended that took the stream, where that is what counts.
    pub command: Option<CommandEnd>,
}

impl Outcome {
    /// Decided at this end.
    pub fn here(status: Status, sentence: impl Into<String>) -> Self {
        Outcome { status, sentence: sentence.into(), by_peer: false, command: None }
    }

    /// As the peer said.
    pub fn there(status: Status, sentence: impl Into<String>) -> Self {
        Outcome { status, sentence: sentence.into(), by_peer: true, command: None }
    }

    /// The same, for a stream whose command ended so.
    pub fn of_command(self, command: Option<CommandEnd>) -> Self {
        Outcome { command, ..self }
    }

    /// Whether all is well.
    pub fn is_complete(&self) -> bool {
        self.status == Status::Complete
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_contract_and_go_both_ways_on_the_wire() {
        for (number, status) in (0u8..).zip(Status::ALL) {
            assert_eq!(status.code(), number);
            let known = (status != Status::Usage).then_some(status);
            assert_eq!(Status::from_wire(number), known);
        }
        assert_eq!([7, 255].map(Status::from_wire), [None; 2]);
        assert_eq!(Status::Corrupt.code(), 6);
    }
}
