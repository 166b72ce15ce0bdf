//! What parsing ends with where there is nothing to do.

/// Why there is nothing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The user asked for this text: print it to stdout and end well.
    Print(String),
    /// The command line is wrong: say these lines, which do not have the program's name yet, and exit 2.
    Usage(String),
}

/// A bare sentence is a usage error.
impl From<String> for Stop {
    fn from(sentence: String) -> Self {
        Self::Usage(sentence)
    }
}
