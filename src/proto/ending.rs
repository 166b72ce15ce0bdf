//! How a direction ended: exit status, sentence, and whose word it is.

use super::wire::Code;

/// How a direction ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The exit status.
    pub code: Code,
    /// Why, for the user; empty if all is well.
    pub sentence: String,
    /// Whether the sentence is the peer's own: it told of itself. A refusal is told in this side's words.
    pub by_peer: bool,
}

impl Ending {
    /// Decided on this side.
    pub fn here(code: Code, sentence: impl Into<String>) -> Self {
        Ending { code, sentence: sentence.into(), by_peer: false }
    }

    /// As the peer said.
    pub fn there(code: Code, sentence: impl Into<String>) -> Self {
        Ending { code, sentence: sentence.into(), by_peer: true }
    }
}
